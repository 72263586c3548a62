/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hypercall.h - what a guest may ask of the monitor itself. The guest's side, register
 * by register, is include/ring3/hypercall.h.
 *
 * TABLES. A call behind RING3_HC_PORT is a row in hypercall_calls.c, a call with a port of
 * its own a row in hypercall.c.
 *
 * NO BUS REGION. What a call does depends on which processor makes it, so the machine
 * asks hypercalls_port_*() and hypercalls_mmio_write() before the bus, as it does for
 * local APICs, with the index of the calling vCPU. The ports are claimed on the bus all
 * the same, so that nothing else gets them.
 *
 * THREADS. Those functions run in the vCPU's thread without the VM lock, which they take
 * where they touch what others share. All else: VM lock held, or no vCPU runs.
 *
 * TRUST. Addresses, lengths, indices and sectors are the guest's: what is wrong with them
 * gives the call an error number and is counted, nothing else. The shared page may change
 * while a call looks at it: everything is copied out first.
 */
#ifndef RING3_DEVICE_HYPERCALL_H
#define RING3_DEVICE_HYPERCALL_H

#include "bus/device.h"

struct block;
struct hypercalls;

enum { HYPERCALL_CPUS_MAX = 255, HYPERCALL_COLUMNS = 80, HYPERCALL_ROWS = 25,
       HYPERCALL_SCREEN_BYTES = HYPERCALL_COLUMNS * HYPERCALL_ROWS * 2 };

enum hypercall_exit { HYPERCALL_IO_IN, HYPERCALL_IO_OUT, HYPERCALL_MMIO_READ,
                      HYPERCALL_MMIO_WRITE, HYPERCALL_EXITS };

enum hypercall_group {
    HYPERCALL_SHARED_PAGE = 1,       /* the call port and the register page */
    HYPERCALL_TEACHING = 2,          /* 0xE9 to 0xEE */
    HYPERCALL_SIMPLE = 4,            /* 0xFFFE, 0xFFFF */
};

struct hypercall_config {
    unsigned groups;                 /* enum hypercall_group */
    /* "name=port" for calls that are elsewhere, NULL-terminated, or NULL. A call that is
     * named is there whatever `groups` says. */
    const char *const *moved;
    unsigned cpus;
    /* Where a linear address of that vCPU, which has stopped to ask, is. -EFAULT. No VM
     * lock held. */
    int (*translate)(void *machine, unsigned vcpu, gva_t a, gpa_t *out);
    void (*exits)(void *machine, uint64_t out[HYPERCALL_EXITS]);
    void *machine;
    void (*print)(void *opaque, const uint8_t *data, size_t len);     /* may be NULL */
    void *print_opaque;
    /* A text screen: cells of character and attribute. False: it shows something else now.
     * NULL: none. VM lock held. */
    bool (*screen)(void *opaque, unsigned first_cell, const uint8_t *cells, unsigned count);
    void *screen_opaque;
    struct block *disk;              /* NULL: none; not owned */
    uint64_t base_ns;                /* since 1970, when the machine's clock was 0 */
};

/* Maps the two pages. EINVAL tells about cfg->moved. */
struct device *hypercalls_new(const struct device_env *env, const struct hypercall_config *cfg,
                              struct error **err);
struct hypercalls *hypercalls_of(struct device *dev);

/* ---- vCPU side ------------------------------------------------------------------- */

/* False: not one of ours; ask the bus. */
bool hypercalls_port_read(struct hypercalls *h, unsigned vcpu, uint16_t port, unsigned size,
                          uint64_t *value);
bool hypercalls_port_write(struct hypercalls *h, unsigned vcpu, uint16_t port, unsigned size,
                           uint64_t value);
bool hypercalls_mmio_write(struct hypercalls *h, unsigned vcpu, gpa_t a, unsigned size,
                           uint64_t value);

#endif
