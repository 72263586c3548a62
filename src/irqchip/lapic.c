/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lapic.c - the local APIC's registers, its modes, and its life as a device.
 *
 * One register file, two doors: the 4 KiB page of xAPIC mode and the MSRs of
 * x2APIC mode, which differ in a few registers and in what is an error (SDM
 * vol. 3, "Extended XAPIC (x2APIC)"). The APIC ID can be written in
 * xAPIC mode (AMD APM vol. 2, 16.3.3), until the mode changes.
 */
#include "irqchip/lapic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* Version 0x14, highest LVT entry 5, EOI broadcasts can be suppressed. */
#define VERSION (0x14u | 5u << 16 | 1u << 24)

enum { MSR_APIC_BASE = 0x1b, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800 };
enum { LVT_READ_ONLY = 1 << 12 | 1 << 14 };     /* delivery status, remote IRR */
enum { LVT_LINT0_VIRTUAL_WIRE = APIC_EXTINT << LAPIC_LVT_DELIVERY_SHIFT };
#define X2APIC_ICR_RESERVED 0xfff32000u
#define NOT_WRITABLE (1ull << 32)

/* ---- states ---- */

static void set_mode_id(struct lapic *l)
{
    uint32_t id = l->config.index;

    if (lapic_x2apic(l)) {
        l->state.reg[LAPIC_ID] = id;
        l->state.reg[LAPIC_LDR] = (id >> 4) << 16 | 1u << (id & 0xf);
    } else {
        l->state.reg[LAPIC_ID] = id << 24;
        l->state.reg[LAPIC_LDR] = 0;
    }
}

void lapic_init_state(struct lapic *l)
{
    struct lapic_state *s = &l->state;

    memset(s->reg, 0, sizeof s->reg);
    set_mode_id(l);
    s->reg[LAPIC_VERSION] = VERSION;
    s->reg[LAPIC_DFR] = 0xffffffff;
    s->reg[LAPIC_SVR] = 0xff;
    for (unsigned reg = LAPIC_LVT_TIMER; reg <= LAPIC_LVT_ERROR; reg++)
        s->reg[reg] = LAPIC_LVT_MASKED;
    s->tsc_deadline = s->timer_start_ns = s->timer_due_ns = 0;
    s->esr_pending = 0;
    s->extint_latched = false;
    lapic_timer_rearm(l);
    lapic_update(l);
}

static void lapic_reset(struct device *dev)
{
    struct lapic *l = lapic_of(dev);
    bool bsp = l->config.index == 0;

    l->state.apic_base = INTC_LAPIC_BASE | LAPIC_BASE_EN | (bsp ? LAPIC_BASE_BSP : 0);
    l->state.lint_levels = 0;
    lapic_init_state(l);
    if (bsp)
        l->state.reg[LAPIC_LVT_LINT0] = LVT_LINT0_VIRTUAL_WIRE;
}

/* SDM vol. 3, "x2APIC States": from disabled only to xAPIC, from xAPIC to both
 * others, from x2APIC only to disabled. */
static int apic_base_write(struct lapic *l, uint64_t value)
{
    const uint64_t modes = LAPIC_BASE_EN | LAPIC_BASE_EXTD;
    uint64_t address = ((1ull << l->config.phys_bits) - 1) & PAGE_MASK;
    uint64_t from = l->state.apic_base & modes, to = value & modes;

    if (value & ~(address | modes | LAPIC_BASE_BSP))
        return -1;
    if (to == LAPIC_BASE_EXTD || ((to & LAPIC_BASE_EXTD) && !l->config.x2apic))
        return -1;
    if ((from == modes && to == LAPIC_BASE_EN) || (!from && to == modes))
        return -1;
    l->state.apic_base = value;
    if (from && !to)
        lapic_init_state(l);
    else if (from != to)
        set_mode_id(l);
    lapic_update(l);
    return 0;
}

bool lapic_in_page(const struct lapic *l, gpa_t a)
{
    uint64_t base = l->state.apic_base;

    return (base & (LAPIC_BASE_EN | LAPIC_BASE_EXTD)) == LAPIC_BASE_EN &&
           (a.v & PAGE_MASK) == (base & PAGE_MASK);
}

/* ---- registers ---- */

/* What reading the register gives; false when it does not exist in this mode. */
static bool reg_read(const struct lapic *l, unsigned reg, uint32_t *value)
{
    switch (reg) {
    case LAPIC_PPR:
        *value = lapic_priority(l);
        return true;
    case LAPIC_TMCCT:
        *value = lapic_timer_count(l);
        return true;
    case LAPIC_APR:
    case LAPIC_RRD:
    case LAPIC_DFR:
    case LAPIC_ICR_HIGH:
        *value = l->state.reg[reg];
        return !lapic_x2apic(l);
    case LAPIC_ID:
    case LAPIC_VERSION:
    case LAPIC_TPR:
    case LAPIC_LDR:
    case LAPIC_SVR:
    case LAPIC_ISR ... LAPIC_ESR:
    case LAPIC_ICR:
    case LAPIC_LVT_TIMER ... LAPIC_TMICT:
    case LAPIC_TDCR:
        *value = l->state.reg[reg];
        return true;
    default:
        return false;
    }
}

/* The bits a write can set, or NOT_WRITABLE in this mode. */
static uint64_t writable_bits(const struct lapic *l, unsigned reg)
{
    bool x2apic = lapic_x2apic(l);

    switch (reg) {
    case LAPIC_ID:
        return x2apic ? NOT_WRITABLE : 0xff000000;
    case LAPIC_TPR:
        return 0xff;
    case LAPIC_EOI:
    case LAPIC_ESR:
        return 0;
    case LAPIC_LDR:
        return x2apic ? NOT_WRITABLE : 0xff000000;
    case LAPIC_DFR:
        return x2apic ? NOT_WRITABLE : 0xf0000000;
    case LAPIC_SVR:
        return 0x13ff;
    case LAPIC_ICR:
        return 0xccfff;
    case LAPIC_ICR_HIGH:
        return x2apic ? NOT_WRITABLE : 0xff000000;
    case LAPIC_LVT_TIMER:
        return 0x700ff;
    case LAPIC_LVT_THERMAL:
    case LAPIC_LVT_PMC:
        return 0x107ff;
    case LAPIC_LVT_LINT0:
    case LAPIC_LVT_LINT1:
        return 0x1a7ff;
    case LAPIC_LVT_ERROR:
        return 0x100ff;
    case LAPIC_TMICT:
        return 0xffffffff;
    case LAPIC_TDCR:
        return 0xb;
    case LAPIC_SELF_IPI:
        return x2apic ? 0xff : NOT_WRITABLE;
    default:
        return NOT_WRITABLE;
    }
}

static void lvt_write(struct lapic *l, unsigned reg, uint32_t value)
{
    /* While the APIC is disabled by software all masks stay set. */
    if (!(l->state.reg[LAPIC_SVR] & LAPIC_SVR_ENABLE))
        value |= LAPIC_LVT_MASKED;
    if (reg == LAPIC_LVT_TIMER)
        lapic_timer_mode(l, value);
    l->state.reg[reg] = value;
}

static void svr_write(struct lapic *l, uint32_t value)
{
    bool was_off = !(l->state.reg[LAPIC_SVR] & LAPIC_SVR_ENABLE);

    l->state.reg[LAPIC_SVR] = value;
    if (value & LAPIC_SVR_ENABLE) {
        if (was_off)
            apic_bus_ready(l->config.bus);
        return;
    }
    for (unsigned reg = LAPIC_LVT_TIMER; reg <= LAPIC_LVT_ERROR; reg++)
        l->state.reg[reg] |= LAPIC_LVT_MASKED;
}

/* `value` has only writable bits. */
static void reg_write(struct lapic *l, unsigned reg, uint32_t value)
{
    switch (reg) {
    case LAPIC_EOI:
        lapic_eoi(l);
        break;
    case LAPIC_ESR:            /* a write, of whatever, shows the errors since the last one */
        l->state.reg[reg] = l->state.esr_pending;
        l->state.esr_pending = 0;
        break;
    case LAPIC_SVR:
        svr_write(l, value);
        break;
    case LAPIC_DFR:
        l->state.reg[reg] = value | 0x0fffffff;
        break;
    case LAPIC_ICR:
        l->state.reg[reg] = value;
        lapic_icr_send(l);
        break;
    case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
        lvt_write(l, reg, value);
        break;
    case LAPIC_TMICT:
        if ((l->state.reg[LAPIC_LVT_TIMER] & LAPIC_LVT_TIMER_MODE) == LAPIC_LVT_TSC_DEADLINE)
            break;             /* ignored in this mode */
        l->state.reg[reg] = value;
        lapic_timer_start(l);
        break;
    case LAPIC_TDCR:
        lapic_timer_divide(l, value);
        break;
    case LAPIC_SELF_IPI:
        lapic_self_ipi(l, (uint8_t)value);
        break;
    default:                   /* ID, TPR, LDR, ICR high */
        l->state.reg[reg] = value;
        break;
    }
    lapic_update(l);
}

/* ---- the page ---- */

uint64_t lapic_mmio_read(struct lapic *l, uint32_t offset, unsigned size)
{
    unsigned part = offset & 0xf;
    uint32_t value = 0;

    /* Each register is the first dword of its 16 bytes; the rest is undefined. */
    if (offset >> 4 >= LAPIC_REGS || !reg_read(l, offset >> 4, &value))
        lapic_error(l, LAPIC_ESR_REGISTER);
    return part < 4 ? value >> part * 8 : 0;
}

void lapic_mmio_write(struct lapic *l, uint32_t offset, unsigned size, uint64_t value)
{
    uint64_t bits;

    /* "Must be accessed as dwords": narrower and misaligned writes vanish. */
    if ((offset & 0xf) || size < 4)
        return;
    bits = offset >> 4 < LAPIC_REGS ? writable_bits(l, offset >> 4) : NOT_WRITABLE;
    if (bits == NOT_WRITABLE)
        lapic_error(l, LAPIC_ESR_REGISTER);
    else
        reg_write(l, offset >> 4, (uint32_t)(value & bits));
}

/* ---- the MSRs ---- */

static int x2apic_read(const struct lapic *l, uint32_t reg, uint64_t *value)
{
    uint32_t low;

    if (!lapic_x2apic(l) || reg >= LAPIC_REGS || !reg_read(l, reg, &low))
        return -1;
    *value = low;
    if (reg == LAPIC_ICR)
        *value |= (uint64_t)l->state.reg[LAPIC_ICR_HIGH] << 32;
    return 0;
}

static int x2apic_write(struct lapic *l, uint32_t reg, uint64_t value)
{
    uint64_t bits;

    if (!lapic_x2apic(l) || reg >= LAPIC_REGS)
        return -1;
    bits = writable_bits(l, reg);
    if (bits == NOT_WRITABLE)
        return -1;
    if (reg == LAPIC_ICR) {
        if (value & X2APIC_ICR_RESERVED)
            return -1;
        l->state.reg[LAPIC_ICR_HIGH] = (uint32_t)(value >> 32);
    } else if (reg >= LAPIC_LVT_TIMER && reg <= LAPIC_LVT_ERROR) {
        if (value & ~(bits | LVT_READ_ONLY))
            return -1;
    } else if (value & ~bits) {
        return -1;
    }
    reg_write(l, reg, (uint32_t)(value & bits));
    return 0;
}

int lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *value)
{
    switch (msr) {
    case MSR_APIC_BASE:
        *value = l->state.apic_base;
        return 0;
    case MSR_TSC_DEADLINE:
        *value = lapic_timer_deadline(l);
        return 0;
    default:
        return msr < MSR_X2APIC ? -1 : x2apic_read(l, msr - MSR_X2APIC, value);
    }
}

int lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value)
{
    switch (msr) {
    case MSR_APIC_BASE:
        return apic_base_write(l, value);
    case MSR_TSC_DEADLINE:
        lapic_timer_set_deadline(l, value);
        return 0;
    default:
        return msr < MSR_X2APIC ? -1 : x2apic_write(l, msr - MSR_X2APIC, value);
    }
}

/* ---- the device ---- */

static void lapic_quiesce(struct device *dev)
{
    lapic_timer_stop(lapic_of(dev));
}

static void lapic_resume(struct device *dev)
{
    struct lapic *l = lapic_of(dev);

    lapic_timer_rearm(l);
    l->intr = false;
    l->config.cpu->intr(l->config.cpu_opaque, l->config.index, false);
    lapic_update(l);
}

static const struct state_desc *lapic_describe(struct device *dev, void **state)
{
    *state = &lapic_of(dev)->state;
    return &lapic_state_desc;
}

static void lapic_destroy(struct device *dev)
{
    struct lapic *l = lapic_of(dev);

    lapic_timer_stop(l);
    free(l);
}

static const struct device_ops lapic_ops = {
    .type = "lapic",
    .reset = lapic_reset,
    .quiesce = lapic_quiesce,
    .resume = lapic_resume,
    .describe = lapic_describe,
    .destroy = lapic_destroy,
};

struct device *lapic_new(const struct device_env *env, const struct lapic_config *cfg,
                         struct error **err)
{
    struct lapic *l = calloc(1, sizeof *l);
    char name[sizeof l->dev.name];

    if (!l) {
        error_set(err, ENOMEM, "no memory for a local APIC");
        return NULL;
    }
    snprintf(name, sizeof name, "lapic%u", cfg->index);
    device_init(&l->dev, &lapic_ops, name);
    l->config = *cfg;
    l->clock = env->clock;
    l->log = env->log;
    lapic_timer_init(l);
    lapic_reset(&l->dev);
    return &l->dev;
}
