/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simple.h - the devices of the simple machine: one port, one interrupt, perhaps some
 * memory. What their registers mean is in include/ring3/simple.h and
 * docs/simple-machine.md.
 *
 * PORTS of neighbouring devices are one apart although accesses are four bytes wide, so
 * one bus region has all of them and hands an access to the device at whose port it
 * begins (struct simple_ports). Devices do not claim anything themselves.
 *
 * MEMORY of a device is a block of guest memory that the machine has mapped. The guest
 * writes there without anybody noticing and at any time: everything is copied out before
 * it is looked at.
 *
 * Threads: VM lock held in all callbacks.
 */
#ifndef RING3_DEVICE_SIMPLE_H
#define RING3_DEVICE_SIMPLE_H

#include "bus/device.h"

struct block;
struct bus;
struct display;
struct input;
struct input_sink;
struct net;

/* ---- ports ----------------------------------------------------------------- */

struct simple_port {
    uint32_t (*read)(void *opaque);
    void (*write)(void *opaque, uint32_t value);
    void *opaque;
};

enum { SIMPLE_PORTS_MAX = 23 };                  /* an IOAPIC pin each, from 1 on */

struct simple_ports {
    struct bus *bus;
    unsigned count;
    struct simple_port port[SIMPLE_PORTS_MAX];
};

/* Claims ports `first` to `first` + count + 2. */
int simple_ports_init(struct simple_ports *p, struct bus *bus, uint16_t first, unsigned count,
                      struct error **err);
void simple_ports_fini(struct simple_ports *p, uint16_t first);    /* zeroed is fine */

/* ---- devices ---------------------------------------------------------------- */

struct simple_slot {
    const char *name;
    struct simple_port *port;                    /* the device fills it in */
    struct irq_line irq;
    uint64_t base, bytes;                        /* its memory, guest-physical; 0: none */
};

struct simple_serial_config {
    struct simple_slot slot;
    void (*write)(void *opaque, const uint8_t *data, size_t len);    /* may be NULL */
    void (*ready)(void *opaque);                 /* there is room again; may be NULL */
    void *opaque;
};
struct device *simple_serial_new(const struct device_env *env,
                                 const struct simple_serial_config *cfg, struct error **err);
/* Typed bytes; what there is no room for is lost. */
void simple_serial_receive(struct device *dev, const uint8_t *data, size_t len);
size_t simple_serial_room(struct device *dev);

enum { SIMPLE_TIMER_BYTES = 4096, SIMPLE_CLOCK_BYTES = 4096 };
struct device *simple_timer_new(const struct device_env *env, const struct simple_slot *slot,
                                struct error **err);

struct simple_clock_config {
    struct simple_slot slot;
    uint64_t base_ns;                            /* since 1970, when the machine's clock was 0 */
};
struct device *simple_clock_new(const struct device_env *env,
                                const struct simple_clock_config *cfg, struct error **err);

/* Before the guest sets a mode, the card shows `text_screen` (text_screen.h), which outlives
 * it. The card owns its display. */
enum { SIMPLE_VIDEO_BYTES = 32 << 20 };
struct device *simple_video_new(const struct device_env *env, const struct simple_slot *slot,
                                struct device *text_screen, struct error **err);
struct display *simple_video_display(struct device *dev);

struct simple_keyboard_config {
    struct simple_slot slot;
    struct input *input;                         /* outlives the device; may be NULL */
};
struct device *simple_keyboard_new(const struct device_env *env,
                                   const struct simple_keyboard_config *cfg, struct error **err);
struct input_sink *simple_keyboard_sink(struct device *dev);

/* Takes `block` over when it is made; others may use it until it is destroyed. */
enum { SIMPLE_DISK_BYTES = 4096 };
struct device *simple_disk_new(const struct device_env *env, const struct simple_slot *slot,
                               struct block *block, struct error **err);

/* Takes `net` over, on failure too. */
enum { SIMPLE_NET_BYTES = 32 * 1508 };
struct simple_net_config {
    struct simple_slot slot;
    struct net *net;
    uint8_t mac[6];
};
struct device *simple_net_new(const struct device_env *env, const struct simple_net_config *cfg,
                              struct error **err);

struct device *simple_power_new(const struct device_env *env, const struct simple_slot *slot,
                                struct error **err);

#endif
