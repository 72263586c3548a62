/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * irqchip.c - the kernel's 8259 pair, IOAPIC, local APICs and 8254 as devices.
 *
 * Each twin keeps the state struct of irqchip/state.h and the table that goes
 * with it, so what was saved with a chip emulated in user space loads here and
 * the other way round. The kernel holds the truth: describe and quiesce fetch
 * it, resume hands it back, and only if somebody changed it meanwhile, because
 * handing it back restarts the kernel's timers.
 *
 * Wiring is a PC's: ISA interrupt 0 arrives at IOAPIC pin 2 (KVM's own default
 * table has it at pin 0).
 *
 * What KVM's interface does not take or tell: input levels (devices drive them
 * again on resume), the phase of PIT channel 0 (it restarts when loaded), the
 * initial count of an APIC timer that stands still (reads 0 after loading).
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include "base/byteorder.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "bus/device.h"
#include "irqchip/state.h"

#define MSR_IA32_APIC_BASE    0x1bu
#define MSR_IA32_TSC_DEADLINE 0x6e0u
#define IOAPIC_BASE           0xfec00000u
#define APIC_BASE_RESET       0xfee00800u   /* enabled */
#define APIC_BASE_BSP         0x100u
/* Indices into lapic_state.reg: offset >> 4 (SDM vol. 3, table 10-1). */
enum { LAPIC_ID = 0x02, LAPIC_VERSION = 0x03, LAPIC_DFR = 0x0e, LAPIC_SPIV = 0x0f,
       LAPIC_LVT_CMCI = 0x2f, LAPIC_LVT_FIRST = 0x32, LAPIC_LVTT = 0x32, LAPIC_LVT0 = 0x35,
       LAPIC_LVT_LAST = 0x37, LAPIC_TMICT = 0x38, LAPIC_TMCCT = 0x39, LAPIC_TDCR = 0x3e };
enum { LVT_MASKED = 0x10000, LVT_EXTINT = 0x700, LVTT_MODE = 0x60000, LVTT_PERIODIC = 0x20000,
       LVTT_DEADLINE = 0x40000 };

/* ---- creation and lines --------------------------------------------------- */

static void route(struct kvm_irq_routing *table, uint32_t gsi, uint32_t chip, uint32_t pin)
{
    table->entries[table->nr++] = (struct kvm_irq_routing_entry){
        .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
        .u.irqchip = {.irqchip = chip, .pin = pin}};
}

static int set_routing(struct kvm_vm *vm)
{
    union {
        struct kvm_irq_routing table;
        uint8_t bytes[sizeof(struct kvm_irq_routing) +
                      (16 + IOAPIC_PINS) * sizeof(struct kvm_irq_routing_entry)];
    } buffer;

    memset(&buffer, 0, sizeof(buffer));
    for (uint32_t gsi = 0; gsi < IOAPIC_PINS; gsi++) {
        if (gsi == 2)          /* the cascade: nothing can drive it */
            continue;
        if (gsi < 16)
            route(&buffer.table, gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
                  gsi % 8);
        route(&buffer.table, gsi, KVM_IRQCHIP_IOAPIC, gsi ? gsi : 2);
    }
    return ioctl(vm->fd, KVM_SET_GSI_ROUTING, &buffer) < 0 ? -errno : 0;
}

int kvm_irqchip_create(struct kvm_vm *vm, struct error **err)
{
    /* The kernel answers port 0x61 too: the PIT's gate and output are there. */
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};

    if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
        return error_set(err, errno, "KVM cannot create its interrupt controllers: %s",
                         strerror(errno));
    if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
        return error_set(err, errno, "KVM cannot create its interval timer: %s", strerror(errno));
    int result = vm->caps.irq_routing ? set_routing(vm) : -ENOTSUP;
    if (result < 0)
        return error_set(err, -result, "KVM does not take the interrupt routing: %s",
                         strerror(-result));
    vm->irqchip = true;
    vm->vm.irqchip = &kvm_irqchip_ops;
    return 0;
}

static void set_line(struct engine_vm *engine_vm, unsigned gsi, bool level)
{
    struct kvm_vm *vm = kvm_vm_of(engine_vm);
    struct kvm_irq_level line = {.irq = gsi, .level = level};
    uint32_t bit;

    if (gsi >= IOAPIC_PINS)
        return;
    /* Most calls repeat the level; those cost no system call. The VM lock makes
     * look and change one step. */
    bit = 1u << gsi;
    if (!!(vm->lines & bit) == level)
        return;
    vm->lines ^= bit;
    log_trace(vm->vm.config.log, IRQ, "kvm: line %u %s", gsi, level ? "high" : "low");
    if (ioctl(vm->fd, KVM_IRQ_LINE, &line) < 0)
        log_warn(vm->vm.config.log, "KVM refuses interrupt line %u: %s", gsi, strerror(errno));
}

static void send_msi(struct engine_vm *engine_vm, uint64_t address, uint32_t data)
{
    struct kvm_vm *vm = kvm_vm_of(engine_vm);
    struct kvm_msi msi = {.address_lo = (uint32_t)address,
                          .address_hi = (uint32_t)(address >> 32), .data = data};

    /* 0: the guest has blocked it, which is its right. */
    if (ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) < 0)
        log_trace(vm->vm.config.log, IRQ, "kvm: MSI 0x%llx/0x%x refused: %s",
                  (unsigned long long)address, data, strerror(errno));
}

/* ---- twins ---------------------------------------------------------------- */

union twin_state {
    struct i8259_pair_state pic;
    struct ioapic_state ioapic;
    struct i8254_state pit;
    struct lapic_state lapic;
};

struct twin;
struct twin_kind {
    struct device_ops ops;
    const struct state_desc *desc;
    int (*fetch)(struct twin *t, union twin_state *out);
    int (*push)(struct twin *t, const union twin_state *in);
    void (*power_on)(struct twin *t, union twin_state *out);
};

struct twin {
    struct device dev;            /* first */
    const struct twin_kind *kind;
    struct kvm_vm *vm;
    struct clock *clock;
    unsigned vcpu;                /* local APICs */
    bool quiesced;
    union twin_state state;       /* what describe shows */
    union twin_state fetched;     /* what the kernel last told */
};

static struct twin *twin_of(struct device *dev) { return (struct twin *)dev; }

static int fetch_chip(struct twin *t, uint32_t id, struct kvm_irqchip *chip)
{
    memset(chip, 0, sizeof(*chip));
    chip->chip_id = id;
    return ioctl(t->vm->fd, KVM_GET_IRQCHIP, chip) < 0 ? -errno : 0;
}

static int push_chip(struct twin *t, struct kvm_irqchip *chip)
{
    return ioctl(t->vm->fd, KVM_SET_IRQCHIP, chip) < 0 ? -errno : 0;
}

static int pic_fetch(struct twin *t, union twin_state *out)
{
    for (unsigned i = 0; i < 2; i++) {
        struct kvm_irqchip chip;
        int result = fetch_chip(t, i ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER, &chip);
        if (result < 0)
            return result;
        const struct kvm_pic_state *k = &chip.chip.pic;
        out->pic.chip[i] = (struct i8259_state){
            .irr = k->irr, .imr = k->imr, .isr = k->isr, .last_lines = k->last_irr,
            .irq_base = k->irq_base, .priority_add = k->priority_add,
            .init_state = k->init_state, .elcr = k->elcr, .read_isr = k->read_reg_select,
            .poll = k->poll, .special_mask = k->special_mask, .auto_eoi = k->auto_eoi,
            .rotate_on_auto_eoi = k->rotate_on_auto_eoi,
            .special_fully_nested = k->special_fully_nested_mode, .init4 = k->init4};
    }
    return 0;
}

static int pic_push(struct twin *t, const union twin_state *in)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct i8259_state *s = &in->pic.chip[i];
        struct kvm_irqchip chip = {
            .chip_id = i ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER};
        chip.chip.pic = (struct kvm_pic_state){
            .irr = s->irr, .imr = s->imr, .isr = s->isr, .last_irr = s->last_lines,
            .irq_base = s->irq_base, .priority_add = s->priority_add,
            .init_state = s->init_state, .elcr = s->elcr, .read_reg_select = s->read_isr,
            .poll = s->poll, .special_mask = s->special_mask, .auto_eoi = s->auto_eoi,
            .rotate_on_auto_eoi = s->rotate_on_auto_eoi,
            .special_fully_nested_mode = s->special_fully_nested, .init4 = s->init4,
            /* Timer, keyboard, cascade; RTC and FPU: always edge-triggered. */
            .elcr_mask = i ? 0xde : 0xf8};
        int result = push_chip(t, &chip);
        if (result < 0)
            return result;
    }
    return 0;
}

static void pic_power_on(struct twin *t, union twin_state *out)
{
    /* All zero: nothing masked, no vectors, waiting for ICW1 in effect. */
}

static int ioapic_fetch(struct twin *t, union twin_state *out)
{
    struct kvm_irqchip chip;
    int result = fetch_chip(t, KVM_IRQCHIP_IOAPIC, &chip);

    if (result < 0)
        return result;
    out->ioapic.ioregsel = (uint8_t)chip.chip.ioapic.ioregsel;
    out->ioapic.id = (uint8_t)chip.chip.ioapic.id;
    out->ioapic.irr = chip.chip.ioapic.irr;
    out->ioapic.lines = t->vm->lines & ((1u << IOAPIC_PINS) - 1);
    for (unsigned i = 0; i < IOAPIC_PINS; i++)
        out->ioapic.redir[i] = chip.chip.ioapic.redirtbl[i].bits;
    return 0;
}

static int ioapic_push(struct twin *t, const union twin_state *in)
{
    struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};

    chip.chip.ioapic.base_address = IOAPIC_BASE;
    chip.chip.ioapic.ioregsel = in->ioapic.ioregsel;
    chip.chip.ioapic.id = in->ioapic.id;
    chip.chip.ioapic.irr = in->ioapic.irr;
    for (unsigned i = 0; i < IOAPIC_PINS; i++)
        chip.chip.ioapic.redirtbl[i].bits = in->ioapic.redir[i];
    return push_chip(t, &chip);
}

static void ioapic_power_on(struct twin *t, union twin_state *out)
{
    for (unsigned i = 0; i < IOAPIC_PINS; i++)
        out->ioapic.redir[i] = LVT_MASKED;   /* the same bit as in an LVT */
}

/* ---- 8254 ----------------------------------------------------------------- */

static int64_t monotonic_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* The kernel counts 16-bit accesses in the access mode itself: 3 for the low byte
 * next, 4 for the high one; a latched count that was half read is "high byte". A
 * mode of 0xff is a channel that was never programmed. */
enum { KVM_RW_MSB = 2, KVM_RW_WORD0 = 3, KVM_RW_WORD1 = 4, KVM_PIT_MODE_NONE = 0xff };

static void channel_from_kvm(struct i8254_channel_state *out,
                             const struct kvm_pit_channel_state *c, int64_t offset)
{
    int64_t load_time = c->count_load_time + offset;
    bool half_read = c->count_latched == KVM_RW_MSB && c->rw_mode == KVM_RW_WORD0;

    *out = (struct i8254_channel_state){.mode = 3, .rw_mode = 3, .gate = c->gate,
                                        .waiting = true, .null_count = true};
    if (c->mode == KVM_PIT_MODE_NONE)
        return;
    *out = (struct i8254_channel_state){
        .count = c->count, .latched_count = c->latched_count,
        .count_latched = half_read ? KVM_RW_WORD0 : c->count_latched,
        .status_latched = c->status_latched, .status = c->status,
        .read_state = c->read_state == KVM_RW_WORD1 || half_read,
        .write_state = c->write_state == KVM_RW_WORD1, .write_latch = c->write_latch,
        .rw_mode = c->rw_mode, .mode = c->mode, .bcd = c->bcd, .gate = c->gate,
        .load_time_ns = load_time > 0 ? (uint64_t)load_time : 0};
}

static void channel_to_kvm(struct kvm_pit_channel_state *out,
                           const struct i8254_channel_state *c, int64_t offset)
{
    bool word = c->rw_mode == KVM_RW_WORD0;
    bool half_read = c->count_latched == KVM_RW_WORD0 && c->read_state;

    *out = (struct kvm_pit_channel_state){
        .count = c->count ? c->count : 0x10000, .latched_count = c->latched_count,
        .count_latched = half_read ? KVM_RW_MSB : c->count_latched,
        .status_latched = c->status_latched, .status = c->status,
        .read_state = word && c->read_state && !half_read ? KVM_RW_WORD1 : c->rw_mode,
        .write_state = word && c->write_state ? KVM_RW_WORD1 : c->rw_mode,
        .write_latch = c->write_latch, .rw_mode = c->rw_mode,
        .mode = c->waiting ? KVM_PIT_MODE_NONE : c->mode, .bcd = c->bcd, .gate = c->gate,
        .count_load_time = (int64_t)c->load_time_ns - offset};
}

/* The kernel notes load times in CLOCK_MONOTONIC, we in the VM's clock. */
static int pit_fetch(struct twin *t, union twin_state *out)
{
    struct kvm_pit_state2 k;

    memset(&k, 0, sizeof(k));
    if (ioctl(t->vm->fd, KVM_GET_PIT2, &k) < 0)
        return -errno;
    int64_t offset = (int64_t)clock_now_ns(t->clock) - monotonic_ns();
    for (unsigned i = 0; i < 3; i++)
        channel_from_kvm(&out->pit.channel[i], &k.channels[i], offset);
    out->pit.speaker_on = k.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON;
    return 0;
}

static int pit_push(struct twin *t, const union twin_state *in)
{
    struct kvm_pit_state2 k;
    int64_t offset = (int64_t)clock_now_ns(t->clock) - monotonic_ns();

    memset(&k, 0, sizeof(k));
    for (unsigned i = 0; i < 3; i++)
        channel_to_kvm(&k.channels[i], &in->pit.channel[i], offset);
    k.flags = in->pit.speaker_on ? KVM_PIT_FLAGS_SPEAKER_DATA_ON : 0;
    if (ioctl(t->vm->fd, KVM_SET_PIT2, &k) == 0)
        return 0;
    k.flags = 0;      /* older kernels do not know the speaker flag */
    return ioctl(t->vm->fd, KVM_SET_PIT2, &k) < 0 ? -errno : 0;
}

static void pit_power_on(struct twin *t, union twin_state *out)
{
    for (unsigned i = 0; i < 3; i++)
        out->pit.channel[i] = (struct i8254_channel_state){
            .mode = 3, .rw_mode = 3, .gate = i != 2, .waiting = true, .null_count = true};
}

/* ---- local APIC ----------------------------------------------------------- */

/* KVM's timer counts nanoseconds before the divider. */
static unsigned timer_shift(const struct lapic_state *s)
{
    uint32_t tdcr = s->reg[LAPIC_TDCR];
    return (((tdcr & 3) | (tdcr & 8) >> 1) + 1) & 7;
}

/* From the kernel's current count to when it was full and when it runs out. */
static void timer_fetch(struct lapic_state *s, uint64_t now)
{
    uint32_t initial = s->reg[LAPIC_TMICT], current = s->reg[LAPIC_TMCCT];

    s->reg[LAPIC_TMCCT] = 0;
    if (!initial || !current || (s->reg[LAPIC_LVTT] & LVTT_MODE) == LVTT_DEADLINE)
        return;
    uint64_t gone = (uint64_t)(initial - current) << timer_shift(s);
    s->timer_start_ns = now > gone ? now - gone : 0;
    s->timer_due_ns = s->timer_start_ns + ((uint64_t)initial << timer_shift(s));
}

/* And back: the count with which the kernel goes on. */
static void timer_push(struct lapic_state *s, uint64_t now)
{
    uint64_t gone = now > s->timer_start_ns ? (now - s->timer_start_ns) >> timer_shift(s) : 0;
    uint32_t initial = s->reg[LAPIC_TMICT];

    if (!initial || (s->reg[LAPIC_LVTT] & LVTT_MODE) == LVTT_DEADLINE)
        return;
    if (!s->timer_due_ns) {       /* with a count, the kernel would fire it once more */
        s->reg[LAPIC_TMICT] = 0;
        return;
    }
    if ((s->reg[LAPIC_LVTT] & LVTT_MODE) == LVTT_PERIODIC)
        gone %= initial;
    s->reg[LAPIC_TMCCT] = gone < initial ? initial - (uint32_t)gone : 1;
}

static int lapic_fetch(struct twin *t, union twin_state *out)
{
    struct kvm_vcpu *v = t->vm->vcpu[t->vcpu];
    struct lapic_state *s = &out->lapic;
    struct kvm_lapic_state k;
    uint64_t deadline = 0, now = clock_now_ns(t->clock);

    if (!v) {                     /* made before its vCPU, which will come out of reset */
        *out = t->state;
        return 0;
    }
    if (ioctl(v->fd, KVM_GET_LAPIC, &k) < 0)
        return -errno;
    memset(s, 0, sizeof(*s));
    for (unsigned i = 0; i < LAPIC_REGS; i++)
        s->reg[i] = get_le32(k.regs + 16 * i);
    timer_fetch(s, now);
    kvm_msr_read(v, MSR_IA32_APIC_BASE, &s->apic_base);
    kvm_msr_read(v, MSR_IA32_TSC_DEADLINE, &deadline);
    s->tsc_deadline = kvm_deadline_to_clock(v, deadline);
    if (s->tsc_deadline)
        s->timer_due_ns = clock_ticks_to_ns(t->clock, s->tsc_deadline);
    return 0;
}

static int lapic_push(struct twin *t, const union twin_state *in)
{
    struct kvm_vcpu *v = t->vm->vcpu[t->vcpu];
    struct lapic_state s = in->lapic;
    struct kvm_lapic_state k;

    if (!v)
        return 0;
    timer_push(&s, clock_now_ns(t->clock));
    memset(&k, 0, sizeof(k));
    for (unsigned i = 0; i < LAPIC_REGS; i++)
        put_le32(k.regs + 16 * i, s.reg[i]);
    int result = kvm_msr_write(v, MSR_IA32_APIC_BASE, s.apic_base);
    if (result == 0 && ioctl(v->fd, KVM_SET_LAPIC, &k) < 0)
        result = -errno;
    if (result == 0 && t->vm->caps.tsc_deadline)
        result = kvm_msr_write(v, MSR_IA32_TSC_DEADLINE,
                               kvm_deadline_from_clock(v, s.tsc_deadline));
    return result;
}

/* SDM vol. 3, 10.4.7.1; LINT0 of the bootstrap processor is in virtual wire
 * mode because no firmware comes to put it there. */
static void lapic_power_on(struct twin *t, union twin_state *out)
{
    struct lapic_state *s = &out->lapic;
    uint32_t version = t->fetched.lapic.reg[LAPIC_VERSION];

    s->reg[LAPIC_ID] = t->vcpu << 24;
    s->reg[LAPIC_VERSION] = version ? version : 0x50014;
    s->reg[LAPIC_DFR] = 0xffffffff;
    s->reg[LAPIC_SPIV] = 0xff;
    for (unsigned i = LAPIC_LVT_FIRST; i <= LAPIC_LVT_LAST; i++)
        s->reg[i] = LVT_MASKED;
    if ((s->reg[LAPIC_VERSION] >> 16 & 0xff) >= 6)   /* number of the last LVT entry */
        s->reg[LAPIC_LVT_CMCI] = LVT_MASKED;
    if (t->vcpu == 0)
        s->reg[LAPIC_LVT0] = LVT_EXTINT;
    s->apic_base = APIC_BASE_RESET | (t->vcpu == 0 ? APIC_BASE_BSP : 0);
}

/* ---- the device side ------------------------------------------------------ */

static void twin_failed(struct twin *t, const char *what, int result)
{
    log_warn(t->vm->vm.config.log, "%s: the kernel refuses to %s its state: %s", t->dev.name,
             what, strerror(-result));
}

static void twin_fetch(struct twin *t)
{
    union twin_state now;

    memset(&now, 0, sizeof(now));
    int result = t->kind->fetch(t, &now);
    if (result < 0) {
        twin_failed(t, "show", result);
        return;
    }
    t->state = t->fetched = now;
}

/* A vCPU ioctl waits until the vCPU is out of the guest: never while it runs. */
static bool twin_reachable(const struct twin *t)
{
    const struct kvm_vcpu *v = t->kind->desc == &lapic_state_desc ? t->vm->vcpu[t->vcpu] : NULL;
    return !v || atomic_load(&v->tid) == 0;
}

static void twin_quiesce(struct device *dev)
{
    struct twin *t = twin_of(dev);

    if (!t->quiesced && twin_reachable(t))
        twin_fetch(t);
    t->quiesced = true;
}

static void twin_resume(struct device *dev)
{
    struct twin *t = twin_of(dev);

    if (memcmp(&t->state, &t->fetched, sizeof(t->state)) != 0) {
        int result = t->kind->push(t, &t->state);
        if (result < 0)
            twin_failed(t, "take", result);
        t->fetched = t->state;
    }
    t->quiesced = false;
}

static void twin_reset(struct device *dev)
{
    struct twin *t = twin_of(dev);

    memset(&t->state, 0, sizeof(t->state));
    t->kind->power_on(t, &t->state);
    int result = t->kind->push(t, &t->state);
    if (result < 0)
        twin_failed(t, "take", result);
    t->fetched = t->state;
}

static const struct state_desc *twin_describe(struct device *dev, void **state)
{
    struct twin *t = twin_of(dev);

    if (!t->quiesced && twin_reachable(t))
        twin_fetch(t);
    *state = &t->state;
    return t->kind->desc;
}

static void twin_destroy(struct device *dev)
{
    free(dev);
}

#define TWIN_OPS(name)                                                                      \
    {.type = name, .reset = twin_reset, .quiesce = twin_quiesce, .resume = twin_resume,     \
     .describe = twin_describe, .destroy = twin_destroy}

static const struct twin_kind kinds[] = {
    {TWIN_OPS("i8259"), &i8259_pair_state_desc, pic_fetch, pic_push, pic_power_on},
    {TWIN_OPS("ioapic"), &ioapic_state_desc, ioapic_fetch, ioapic_push, ioapic_power_on},
    {TWIN_OPS("i8254"), &i8254_state_desc, pit_fetch, pit_push, pit_power_on},
    {TWIN_OPS("lapic"), &lapic_state_desc, lapic_fetch, lapic_push, lapic_power_on},
};
enum { KIND_LAPIC = ARRAY_SIZE(kinds) - 1 };

static struct device *twin_new(struct kvm_vm *vm, const struct device_env *env,
                               const struct twin_kind *kind, unsigned vcpu)
{
    struct twin *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->dev.ops = &kind->ops;
    t->kind = kind;
    t->vm = vm;
    t->clock = env->clock;
    t->vcpu = vcpu;
    if (kind == &kinds[KIND_LAPIC])
        snprintf(t->dev.name, sizeof(t->dev.name), "lapic%u", vcpu);
    else
        snprintf(t->dev.name, sizeof(t->dev.name), "%s", kind->ops.type);
    if (twin_reachable(t))
        twin_fetch(t);
    twin_reset(&t->dev);
    return &t->dev;
}

static int make_devices(struct engine_vm *engine_vm, const struct device_env *env,
                        struct device **out, unsigned max, struct error **err)
{
    struct kvm_vm *vm = kvm_vm_of(engine_vm);
    unsigned want = KIND_LAPIC + vm->vcpus, n = 0;

    if (want > max)
        return error_set(err, ENOSPC, "room for %u devices, but there are %u", max, want);
    for (; n < want; n++) {
        bool lapic = n >= KIND_LAPIC;
        out[n] = twin_new(vm, env, &kinds[lapic ? KIND_LAPIC : n], lapic ? n - KIND_LAPIC : 0);
        if (!out[n])
            goto fail;
    }
    return (int)n;
fail:
    while (n)
        device_destroy(out[--n]);
    return error_set(err, ENOMEM, "out of memory for the interrupt controllers");
}

const struct engine_irqchip_ops kvm_irqchip_ops = {
    .set_line = set_line,
    .msi = send_msi,
    .devices = make_devices,
};
