/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sysport.c - system control port A and the reset control register.
 *
 * Port 0x92 is from the PS/2 (IBM PS/2 Hardware Interface Technical Reference,
 * "System Control Port A"), 0xCF9 from Intel's chip sets (ICH9 data sheet,
 * 13.7.5). What A20 means to the memory map is for the other end of its line.
 *
 * 0xCF9 lies inside of the dword port 0xCF8, the PCI configuration address. The
 * two are told apart by the width of the access (PCI 3.0, 3.2.2.3.2: "anything
 * other than a DWORD passes through"): a guest that looks for PCI by writing a
 * dword to 0xCF8 must find nothing, and not reset itself. So all four ports
 * are claimed.
 */
#include "device/sysport.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "bus/claims.h"

enum { PORT_A = 0x92, CONFIG_ADDRESS = 0xcf8 };
enum { A_FAST_RESET = 1, A_A20 = 2 };
enum { RST_SYS = 2, RST_CPU = 4, RST_FULL = 8, RST_WRITABLE = RST_SYS | RST_CPU | RST_FULL };

struct sysport_state {
    uint8_t port_a, reset_control;
};

struct sysport {
    struct device dev;
    struct sysport_state state;
    struct power_line power;
    struct sysport_config config;
    struct bus_claims claims;
};

static struct sysport *to_sysport(struct device *dev)
{
    return container_of(dev, struct sysport, dev);
}

/* Both registers reset on a 0 to 1 change of one bit. */
static void reset_on_rise(struct sysport *p, uint8_t old, uint8_t new, uint8_t bit)
{
    if (!(old & bit) && (new & bit) && p->power.request)
        p->power.request(p->power.opaque, POWER_RESET, 0);
}

static uint64_t port_a_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct sysport *p = opaque;

    return p->state.port_a;
}

static void port_a_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct sysport *p = opaque;
    uint8_t old = p->state.port_a;

    p->state.port_a = (uint8_t)value & (A_FAST_RESET | A_A20);
    irq_line_set(&p->config.a20, p->state.port_a & A_A20);
    reset_on_rise(p, old, p->state.port_a, A_FAST_RESET);
}

static bool is_reset_control(uint64_t offset, unsigned size)
{
    return size == 1 && offset == SYSPORT_RESET_CONTROL - CONFIG_ADDRESS;
}

static uint64_t reset_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct sysport *p = opaque;

    if (size == 4 && p->config.dword_read)
        return p->config.dword_read(p->config.dword_opaque);
    return is_reset_control(offset, size) ? p->state.reset_control : UINT64_MAX;
}

static void reset_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct sysport *p = opaque;
    uint8_t old = p->state.reset_control;

    if (size == 4 && p->config.dword_write)
        p->config.dword_write(p->config.dword_opaque, value);
    if (!is_reset_control(offset, size))
        return;
    p->state.reset_control = (uint8_t)value & RST_WRITABLE;
    reset_on_rise(p, old, p->state.reset_control, RST_CPU);
}

static void sysport_reset(struct device *dev)
{
    to_sysport(dev)->state = (struct sysport_state){.port_a = A_A20};
    irq_line_set(&to_sysport(dev)->config.a20, true);
}

static void sysport_resume(struct device *dev)
{
    struct sysport *p = to_sysport(dev);

    irq_line_set(&p->config.a20, p->state.port_a & A_A20);
}

static const struct state_field fields[] = {
    STATE_U8(struct sysport_state, port_a),
    STATE_U8(struct sysport_state, reset_control),
    STATE_END
};
static const struct state_desc desc = {"sysport", 1, fields};

static const struct state_desc *sysport_describe(struct device *dev, void **state)
{
    *state = &to_sysport(dev)->state;
    return &desc;
}

static void sysport_destroy(struct device *dev)
{
    struct sysport *p = to_sysport(dev);

    bus_claims_release(&p->claims);
    free(p);
}

static const struct device_ops sysport_ops = {
    .type = "sysport",
    .reset = sysport_reset,
    .resume = sysport_resume,
    .describe = sysport_describe,
    .destroy = sysport_destroy,
};

static const struct bus_region regions[] = {
    {"system control a", PORT_A, 1, port_a_read, port_a_write, NULL, 1, 0},
    {"reset control", CONFIG_ADDRESS, 4, reset_read, reset_write, NULL, 4, 0},
};

struct device *sysport_new(const struct device_env *env, const struct sysport_config *cfg,
                           struct error **err)
{
    struct sysport *p = calloc(1, sizeof *p);

    if (!p) {
        error_set(err, ENOMEM, "no memory for the system control ports");
        return NULL;
    }
    device_init(&p->dev, &sysport_ops, "sysport");
    p->power = env->power;
    p->config = *cfg;
    if (bus_claims_add(&p->claims, env->bus, BUS_PIO, regions, cfg->no_reset_control ? 1 : 2, p,
                       err)) {
        free(p);
        return NULL;
    }
    sysport_reset(&p->dev);
    return &p->dev;
}
