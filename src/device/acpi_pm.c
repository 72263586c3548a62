/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi_pm.c - ACPI fixed hardware (ACPI 6.4, 4.8).
 *
 * The PM timer is a function of the clock: nothing runs while nobody asks. Its
 * status bit, set when the highest counter bit changes, is brought up to date
 * on every access, and a host timer is armed only when that change would raise
 * an SCI that is not raised yet.
 *
 * S5 powers off. S3 asks the machine to stop the processors until an enabled
 * event of the PM1 registers wakes it; the machine then starts the boot processor
 * where the guest asked for. SLP_EN with another type wakes at once (WAK_STS).
 */
#include "device/acpi_pm.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "bus/claims.h"

/* 4.8.3.1: PM1 status and enable bits. */
enum { TMR_STS = 1 << 0, GBL_STS = 1 << 5, PWRBTN_STS = 1 << 8, SLPBTN_STS = 1 << 9,
       RTC_STS = 1 << 10, WAK_STS = 1 << 15 };
enum { EN_BITS = TMR_STS | GBL_STS | PWRBTN_STS | SLPBTN_STS | RTC_STS };
/* 4.8.3.2: PM1 control. GBL_RLS and SLP_EN are write-only. */
enum { SCI_EN = 1 << 0, BM_RLD = 1 << 1, SLP_TYP_SHIFT = 10, SLP_TYP = 7 << 10, SLP_EN = 1 << 13 };

#define NS_PER_S 1000000000ull

struct acpi_pm_state {
    uint16_t sts, en, cnt;
    bool sleeping;               /* in S3 */
    bool rtc_level;
    uint64_t synced_ns;          /* clock time up to which TMR_STS is right */
};

struct acpi_pm {
    struct device dev;
    struct acpi_pm_state state;
    struct acpi_pm_config config;
    struct power_line power;
    struct clock *clock;
    struct timer timer;
    struct log *log;
    struct log_limit sleep_limit;
    struct bus *bus;
    struct bus_claims claims, smi_claims;
};

static struct acpi_pm *to_pm(struct device *dev)
{
    return container_of(dev, struct acpi_pm, dev);
}

/* ---- the timer ---- */

static uint64_t ns_to_tick(uint64_t ns)
{
    return (uint64_t)((unsigned __int128)ns * ACPI_PM_HZ / NS_PER_S);
}

static uint64_t tick_to_ns(uint64_t tick)
{
    return (uint64_t)(((unsigned __int128)tick * NS_PER_S + ACPI_PM_HZ - 1) / ACPI_PM_HZ);
}

static unsigned highest_bit(const struct acpi_pm *pm)
{
    return pm->config.timer_32bit ? 31 : 23;
}

static uint32_t timer_value(const struct acpi_pm *pm)
{
    uint64_t tick = ns_to_tick(clock_now_ns(pm->clock));

    return (uint32_t)(tick & ((2ull << highest_bit(pm)) - 1));
}

static void power(struct acpi_pm *pm, enum power_event event)
{
    if (pm->power.request)
        pm->power.request(pm->power.opaque, event, 0);
}

static void update_sci(struct acpi_pm *pm)
{
    struct acpi_pm_state *s = &pm->state;
    bool wants_timer = (s->cnt & SCI_EN) && (s->en & TMR_STS) && !(s->sts & TMR_STS);

    irq_line_set(&pm->config.sci, (s->cnt & SCI_EN) && (s->sts & s->en));
    if (wants_timer) {
        uint64_t half = ns_to_tick(s->synced_ns) >> highest_bit(pm);
        timer_arm(&pm->timer, tick_to_ns((half + 1) << highest_bit(pm)));
    } else {
        timer_disarm(&pm->timer);
    }
    if (s->sleeping && s->sts & s->en & (RTC_STS | PWRBTN_STS)) {
        s->sleeping = false;
        s->sts |= WAK_STS;
        power(pm, POWER_WAKE);
    }
}

/* Brings TMR_STS up to date. */
static void sync(struct acpi_pm *pm)
{
    struct acpi_pm_state *s = &pm->state;
    uint64_t now = clock_now_ns(pm->clock);
    unsigned bit = highest_bit(pm);

    if (ns_to_tick(now) >> bit != ns_to_tick(s->synced_ns) >> bit)
        s->sts |= TMR_STS;
    s->synced_ns = now;
}

static void timer_fired(void *opaque)
{
    struct acpi_pm *pm = opaque;

    sync(pm);
    update_sci(pm);
}

/* ---- registers ---- */

bool acpi_pm_power_button(struct device *dev)
{
    struct acpi_pm *pm = to_pm(dev);

    pm->state.sts |= PWRBTN_STS;
    update_sci(pm);
    return (pm->state.cnt & SCI_EN) && (pm->state.en & PWRBTN_STS);
}

static void rtc_set(void *opaque, unsigned n, bool level)
{
    struct acpi_pm *pm = opaque;

    if (level && !pm->state.rtc_level)
        pm->state.sts |= RTC_STS;
    pm->state.rtc_level = level;
    update_sci(pm);
    irq_line_set(&pm->config.rtc, level);
}

struct irq_line acpi_pm_rtc_line(struct device *dev)
{
    return (struct irq_line){rtc_set, to_pm(dev), 0};
}

static void control_write(struct acpi_pm *pm, uint16_t value)
{
    struct acpi_pm_state *s = &pm->state;
    unsigned type = (value & SLP_TYP) >> SLP_TYP_SHIFT;

    /* SCI_EN is the firmware's to change (4.8.2.5). */
    s->cnt = (s->cnt & SCI_EN) | (value & (BM_RLD | SLP_TYP));
    if (!(value & SLP_EN))
        return;
    if (type == ACPI_PM_S5_TYPE) {
        power(pm, POWER_OFF);
    } else if (type == ACPI_PM_S3_TYPE) {
        s->sleeping = true;
        power(pm, POWER_SUSPEND);
    } else {
        log_guest(pm->log, &pm->sleep_limit, "sleep type %u is not supported: awake again", type);
        s->sts |= WAK_STS;
    }
}

static uint16_t reg16_read(const struct acpi_pm *pm, uint64_t offset)
{
    const struct acpi_pm_state *s = &pm->state;

    switch (offset & ~1ull) {
    case ACPI_PM_EVENT:
        return s->sts;
    case ACPI_PM_EVENT + 2:
        return s->en;
    case ACPI_PM_CONTROL:
        return s->cnt;
    case ACPI_PM_TIMER:
        return (uint16_t)timer_value(pm);
    case ACPI_PM_TIMER + 2:
        return (uint16_t)(timer_value(pm) >> 16);
    default:
        return 0;
    }
}

/* `mask` says which bits of the word are written. */
static void reg16_write(struct acpi_pm *pm, uint64_t offset, uint16_t value, uint16_t mask)
{
    struct acpi_pm_state *s = &pm->state;

    switch (offset) {
    case ACPI_PM_EVENT:          /* write one to clear */
        s->sts &= ~(value & mask);
        break;
    case ACPI_PM_EVENT + 2:
        s->en = ((s->en & ~mask) | (value & mask)) & EN_BITS;
        break;
    case ACPI_PM_CONTROL:
        control_write(pm, (s->cnt & ~mask) | (value & mask));
        break;
    default:
        break;
    }
}

static uint64_t block_read(void *opaque, uint64_t offset, unsigned size)
{
    struct acpi_pm *pm = opaque;
    uint32_t value;

    sync(pm);
    update_sci(pm);
    if (offset == ACPI_PM_TIMER)
        return timer_value(pm);
    value = reg16_read(pm, offset);
    if (size == 4)
        value |= (uint32_t)reg16_read(pm, offset + 2) << 16;
    return value >> (offset & 1) * 8;
}

static void block_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct acpi_pm *pm = opaque;

    sync(pm);
    if (offset == ACPI_PM_RESET && (value & 0xff) == ACPI_PM_RESET_VALUE) {
        power(pm, POWER_RESET);
    } else if (size == 1) {
        unsigned shift = (offset & 1) * 8;
        reg16_write(pm, offset & ~1ull, (uint16_t)(value << shift), (uint16_t)(0xff << shift));
    } else if (!(offset & 1)) {
        reg16_write(pm, offset, (uint16_t)value, 0xffff);
        if (size == 4)
            reg16_write(pm, offset + 2, (uint16_t)(value >> 16), 0xffff);
    }
    update_sci(pm);
}

/* The SMI handler of a firmware that is not there (4.7.2.5). */
static void smi_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct acpi_pm *pm = opaque;

    sync(pm);
    if (value == ACPI_PM_SMI_ENABLE)
        pm->state.cnt |= SCI_EN;
    else if (value == ACPI_PM_SMI_DISABLE)
        pm->state.cnt &= ~SCI_EN;
    update_sci(pm);
}

static uint64_t smi_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

/* ---- the device ---- */

static void pm_reset(struct device *dev)
{
    struct acpi_pm *pm = to_pm(dev);

    pm->state = (struct acpi_pm_state){
        .cnt = pm->config.smi_port ? 0 : SCI_EN,
        .synced_ns = clock_now_ns(pm->clock),
    };
    update_sci(pm);
}

static void pm_quiesce(struct device *dev)
{
    timer_disarm(&to_pm(dev)->timer);
}

static void pm_resume(struct device *dev)
{
    struct acpi_pm *pm = to_pm(dev);

    if (pm->state.sleeping)
        power(pm, POWER_SUSPEND);
    update_sci(pm);
}

static const struct state_field fields[] = {
    STATE_U16(struct acpi_pm_state, sts),
    STATE_U16(struct acpi_pm_state, en),
    STATE_U16(struct acpi_pm_state, cnt),
    STATE_BOOL(struct acpi_pm_state, sleeping),
    STATE_BOOL(struct acpi_pm_state, rtc_level),
    STATE_U64(struct acpi_pm_state, synced_ns),
    STATE_END
};
static const struct state_desc desc = {"acpi_pm", 1, fields};

static const struct state_desc *pm_describe(struct device *dev, void **state)
{
    *state = &to_pm(dev)->state;
    return &desc;
}

static void pm_destroy(struct device *dev)
{
    struct acpi_pm *pm = to_pm(dev);

    timer_disarm(&pm->timer);
    bus_claims_release(&pm->claims);
    bus_claims_release(&pm->smi_claims);
    free(pm);
}

static const struct device_ops pm_ops = {
    .type = "acpi_pm",
    .reset = pm_reset,
    .quiesce = pm_quiesce,
    .resume = pm_resume,
    .describe = pm_describe,
    .destroy = pm_destroy,
};

static int place(struct acpi_pm *pm, uint16_t port, struct error **err)
{
    const struct bus_region region = {"acpi pm", port, ACPI_PM_PORTS, block_read, block_write,
                                      NULL, 4, 0};

    bus_claims_release(&pm->claims);
    return port ? bus_claims_add(&pm->claims, pm->bus, BUS_PIO, &region, 1, pm, err) : 0;
}

void acpi_pm_place(struct device *dev, uint16_t port)
{
    struct acpi_pm *pm = to_pm(dev);

    if (place(pm, port, NULL) < 0)
        log_trace(pm->log, DEVICE, "acpi pm: something else is at port 0x%x", port);
}

struct device *acpi_pm_new(const struct device_env *env, const struct acpi_pm_config *cfg,
                           struct error **err)
{
    const struct bus_region smi = {"acpi smi", cfg->smi_port, 1, smi_read, smi_write, NULL, 1, 0};
    struct acpi_pm *pm = calloc(1, sizeof *pm);

    if (!pm) {
        error_set(err, ENOMEM, "no memory for the ACPI registers");
        return NULL;
    }
    device_init(&pm->dev, &pm_ops, "acpi-pm");
    pm->config = *cfg;
    pm->power = env->power;
    pm->clock = env->clock;
    pm->log = env->log;
    timer_init(&pm->timer, env->clock, timer_fired, pm);
    pm->bus = env->bus;
    if (place(pm, cfg->port, err) ||
        (cfg->smi_port && bus_claims_add(&pm->smi_claims, env->bus, BUS_PIO, &smi, 1, pm, err))) {
        bus_claims_release(&pm->claims);
        free(pm);
        return NULL;
    }
    pm_reset(&pm->dev);
    return &pm->dev;
}
