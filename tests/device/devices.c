/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * devices.c - every device that there is, in a typical configuration.
 */
#include "ata.h"
#include "kit.h"
#include "net_cards.h"
#include "ps2.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/types.h"
#include "bus/bus.h"
#include "device/acpi_pm.h"
#include "device/debug_exit.h"
#include "device/debugcon.h"
#include "device/fwcfg.h"
#include "device/hpet.h"
#include "device/hypercall.h"
#include "device/i8042.h"
#include "device/i8254.h"
#include "device/mc146818.h"
#include "device/piix.h"
#include "device/postcode.h"
#include "device/pvpanic.h"
#include "device/simple.h"
#include "device/sysport.h"
#include "device/testdev.h"
#include "device/text_screen.h"
#include "device/uart16550.h"
#include "device/vga.h"
#include "display/display.h"
#include "display/input.h"
#include "irqchip/intc.h"
#include "memory/memory.h"
#include "pci/pci.h"
#include "virtio/balloon.h"
#include "virtio/console.h"

static int one(struct rig *rig, struct device *dev)
{
    rig->device[0] = dev;
    rig->devices = dev != NULL;
    return dev ? 0 : -1;
}

/* ---- uart16550 ---- */

static void uart_ready(void *opaque)
{
    rig_note(opaque, 0x7ead9);
}

static int uart_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct uart16550_config cfg = {.name = "com1", .port = 0x3f8, .irq = rig_line(rig, 4),
                                   .write = rig_write, .ready = uart_ready, .opaque = rig};

    return one(rig, uart16550_new(env, &cfg, err));
}

static uint64_t uart_poke(struct rig *rig, struct rig_random *r)
{
    uint8_t data[40];
    size_t n = rig_random_below(r, rig_random_below(r, 4) ? 4 : sizeof data);
    size_t room = uart16550_room(rig->device[0]);

    for (size_t i = 0; i < n; i++)
        data[i] = (uint8_t)rig_random(r);
    switch (rig_random_below(r, 8)) {
    case 0:
        uart16550_break(rig->device[0]);
        break;
    case 1:                      /* as a driver leaves it: FIFOs, all interrupts */
        bus_write(rig->bus, BUS_PIO, 0x3fb, 1, 3);
        bus_write(rig->bus, BUS_PIO, 0x3fa, 1, 0xc1);
        bus_write(rig->bus, BUS_PIO, 0x3f9, 1, 0x05);
        bus_write(rig->bus, BUS_PIO, 0x3fc, 1, 0x0b);
        break;
    default:                     /* sometimes more than there is room for */
        uart16550_receive(rig->device[0], data, n);
        break;
    }
    return room;
}

/* ---- timers and clocks ---- */

static int pit_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct i8254_config cfg = {.irq = rig_line(rig, 0)};

    return one(rig, i8254_new(env, &cfg, err));
}

static int hpet_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct hpet_config cfg = {.base = HPET_BASE};

    for (unsigned i = 0; i < HPET_LINES; i++)
        cfg.line[i] = rig_line(rig, HPET_FIRST_LINE + i);
    return one(rig, hpet_new(env, &cfg, err));
}

/* A comparator on, soon due, in some mode. */
static uint64_t hpet_poke(struct rig *rig, struct rig_random *r)
{
    unsigned n = rig_random_below(r, 3);
    uint64_t at = HPET_BASE + 0x100 + 0x20 * n;

    bus_write(rig->bus, BUS_MMIO, HPET_BASE + 0x10, 4, rig_random_below(r, 4) != 0);
    bus_write(rig->bus, BUS_MMIO, at, 4, (rig_random(r) & 0x14e) | (16 + n) << 9);
    bus_write(rig->bus, BUS_MMIO, at + 8, rig_random_below(r, 2) ? 4 : 8,
              bus_read(rig->bus, BUS_MMIO, HPET_BASE + 0xf0, 8) + rig_random_below(r, 100000));
    return bus_read(rig->bus, BUS_MMIO, at + 8, 8);
}

static int rtc_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct mc146818_config cfg = {.port = 0x70, .irq = rig_line(rig, 8), .base_s = 1700000000};

    return one(rig, mc146818_new(env, &cfg, err));
}

static uint64_t rtc_poke(struct rig *rig, struct rig_random *r)
{
    /* The clock's own registers; most of the 128 bytes are just memory. */
    bus_write(rig->bus, BUS_PIO, 0x70, 1, rig_random_below(r, 14));
    if (rig_random_below(r, 8) == 0)
        bus_write(rig->bus, BUS_PIO, 0x71, 1, rig_random_below(r, 0x60));
    else
        rig_note(rig, bus_read(rig->bus, BUS_PIO, 0x71, 1));
    return mc146818_nmi_masked(rig->device[0]);
}

static int pm_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct acpi_pm_config cfg = {.port = 0x600, .sci = rig_line(rig, 9), .smi_port = 0xb2};

    return one(rig, acpi_pm_new(env, &cfg, err));
}

static uint64_t pm_poke(struct rig *rig, struct rig_random *r)
{
    return acpi_pm_power_button(rig->device[0]);
}

/* ---- small ports ---- */

static int i8042_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct i8042_config cfg = {.irq = rig_line(rig, 1)};

    return one(rig, i8042_new(env, &cfg, err));
}

static int sysport_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct sysport_config cfg = {.no_reset_control = false};

    return one(rig, sysport_new(env, &cfg, err));
}

static int debugcon_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct debugcon_config cfg = {.port = 0xe9, .write = rig_write, .opaque = rig};

    return one(rig, debugcon_new(env, &cfg, err));
}

static int fwcfg_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    const struct fwcfg_config cfg = {.port = 0x510};
    struct device *dev = fwcfg_new(env, &cfg, err);

    if (dev) {
        fwcfg_number(dev, FWCFG_NB_CPUS, 2, 3);
        fwcfg_file(dev, "etc/text", "some bytes", 10, NULL);
    }
    return one(rig, dev);
}

static int postcode_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct postcode_config cfg = {.port = 0x80};

    return one(rig, postcode_new(env, &cfg, err));
}

static uint64_t postcode_poke(struct rig *rig, struct rig_random *r)
{
    return postcode_last(rig->device[0]);
}

static int debug_exit_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct debug_exit_config cfg = {.port = 0xf4};

    return one(rig, debug_exit_new(env, &cfg, err));
}

static int testdev_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct testdev_config cfg;

    for (unsigned i = 0; i < TESTDEV_LINES; i++)
        cfg.line[i] = rig_line(rig, i);
    return one(rig, testdev_new(env, &cfg, err));
}

static int pvpanic_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct pvpanic_config cfg = {.port = 0x505};

    return one(rig, pvpanic_new(env, &cfg, err));
}

/* ---- interrupt controllers, which only exist together ---- */

enum { CPUS = 3 };

static void cpu_intr(void *opaque, unsigned cpu, bool pending)
{
    struct irq_line line = rig_line(opaque, 32 + cpu);

    irq_line_set(&line, pending);
}

static void cpu_nmi(void *opaque, unsigned cpu)
{
    rig_note(opaque, 0x100 + cpu);
}

static void cpu_init(void *opaque, unsigned cpu)
{
    rig_note(opaque, 0x200 + cpu);
}

static void cpu_sipi(void *opaque, unsigned cpu, uint8_t vector)
{
    rig_note(opaque, 0x10000 + cpu * 256u + vector);
}

static const struct intc_cpu_ops cpu_ops = {cpu_intr, cpu_nmi, cpu_init, cpu_sipi};

static int intc_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct intc_config cfg = {.cpus = CPUS, .cpu = &cpu_ops, .cpu_opaque = rig, .x2apic = true};

    rig->part = intc_new(env, &cfg, err);
    if (!rig->part)
        return -1;
    rig->devices = intc_devices(rig->part, rig->device, RIG_DEVICES_MAX);
    return 0;
}

static void intc_destroy(struct rig *rig)
{
    intc_free(rig->part);
}

/* Mostly the registers that do something: a uniform choice would hardly ever
 * get an APIC enabled, its timer counting and an interrupt through. */
static uint32_t lapic_register(struct rig_random *r)
{
    static const uint8_t busy[] = {0x08, 0x0b, 0x0b, 0x0d, 0x0f, 0x20, 0x28, 0x30, 0x32, 0x35, 0x37,
                                   0x38, 0x39, 0x3e};

    return rig_random_below(r, 4) ? busy[rig_random_below(r, sizeof busy)]
                                  : (uint32_t)rig_random_below(r, 64);
}

static uint64_t lapic_value(uint32_t reg, struct rig_random *r)
{
    uint64_t value = rig_random(r);

    switch (reg) {
    case 0x08:
        return value & 0x3f;
    case 0x0f:
        return (value & 0xff) | (value % 8 ? 0x100 : 0);
    case 0x32:
        return (value & 0x600ff) | (value % 8 ? 0 : 0x10000);
    case 0x38:
        return value >> 32 >> rig_random_below(r, 32);
    default:
        return value & 0xfffff;
    }
}

static uint64_t lapic_access(struct intc *intc, unsigned cpu, struct rig_random *r)
{
    uint32_t reg = lapic_register(r);
    gpa_t a = gpa(INTC_LAPIC_BASE + reg * 16 +
                  (rig_random_below(r, 16) ? 0 : rig_random_below(r, 16)));
    unsigned size = 1u << (rig_random_below(r, 8) ? 2 : rig_random_below(r, 4));
    uint64_t value = 0;

    if (rig_random(r) & 1)
        return intc_mmio_write(intc, cpu, a, size, lapic_value(reg, r));
    return intc_mmio_read(intc, cpu, a, size, &value) ? value : ~0ull;
}

static uint64_t msr_access(struct intc *intc, unsigned cpu, struct rig_random *r)
{
    static const uint32_t others[] = {0x1b, 0x6e0, 0x10, 0x7ff};
    uint32_t reg = lapic_register(r), msr = 0x800 + reg;
    uint64_t value = lapic_value(reg, r);

    if (rig_random_below(r, 4) == 0) {
        msr = others[rig_random_below(r, 4)];
        value = rig_random(r) >> rig_random_below(r, 64);
    }
    if (msr == 0x1b)             /* otherwise hardly ever valid */
        value = INTC_LAPIC_BASE | (value & (rig_random_below(r, 8) ? 0x100 : 0xd00)) |
                (rig_random_below(r, 16) ? 0x800 : 0);
    if (rig_random(r) & 1)
        return (uint64_t)intc_msr_write(intc, cpu, msr, value);
    value = 0;
    return intc_msr_read(intc, cpu, msr, &value) ? ~0ull : value;
}

static uint64_t intc_poke(struct rig *rig, struct rig_random *r)
{
    struct intc *intc = rig->part;
    unsigned cpu = (unsigned)rig_random_below(r, CPUS);
    struct irq_line line;
    struct irq_msi msi;

    switch (rig_random_below(r, 9)) {
    case 0:
        line = intc_gsi(intc, (unsigned)rig_random_below(r, 26));
        irq_line_set(&line, rig_random(r) & 1);
        return 0;
    case 1:
        line = intc_lint1(intc);
        irq_line_set(&line, rig_random(r) & 1);
        return 0;
    case 2:
        msi = intc_msi(intc);
        irq_msi_send(&msi, INTC_LAPIC_BASE | (rig_random(r) & 0xfffff), (uint32_t)rig_random(r));
        return 0;
    case 3:
        return (uint64_t)intc_ack(intc, cpu);
    case 4:
        intc_tpr_set(intc, cpu, (uint8_t)rig_random(r));
        return intc_tpr_get(intc, cpu);
    case 5:
        return msr_access(intc, cpu, r);
    case 6:                      /* an IOAPIC entry that delivers, often by level */
        bus_write(rig->bus, BUS_MMIO, INTC_IOAPIC_BASE, 4, 0x10 + rig_random_below(r, 48));
        bus_write(rig->bus, BUS_MMIO, INTC_IOAPIC_BASE + 0x10, 4,
                  (rig_random(r) & 0x80ff) | rig_random_below(r, CPUS) << 24);
        return 0;
    default:
        return lapic_access(intc, cpu, r);
    }
}


/* ---- virtio ---- */

enum { VIRTIO_RAM_BYTES = 1 << 20, RINGS = 0x4000 };
#define VIRTIO_MMIO_BASE 0xeb000000ull
#define PCI_ECAM         0xe0000000ull

/* RAM that is nowhere: what is in memory is no state of a device, and copies of a device
 * would see different rings. tests/unit/virtio_queue.c has the rings. */
static int virtio_memory(struct rig *rig, const struct device_env *env, struct device_env *out)
{
    struct memory *m = memory_new(VIRTIO_RAM_BYTES, NULL);

    if (!m)
        return -1;
    rig->part = m;
    *out = *env;
    out->memory = m;
    return 0;
}

static void virtio_destroy(struct rig *rig)
{
    while (rig->devices)
        device_destroy(rig->device[--rig->devices]);
    memory_free(rig->part);
    rig->part = NULL;
}

static int virtio_made(struct rig *rig, struct device *dev)
{
    if (dev) {
        rig->device[rig->devices++] = dev;
        return 0;
    }
    virtio_destroy(rig);
    return -1;
}

static int balloon_mmio_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    const struct virtio_mmio_config cfg = {.base = VIRTIO_MMIO_BASE, .irq = rig_line(rig, 5)};
    struct device_env with;
    struct virtio_device *vd;

    if (virtio_memory(rig, env, &with))
        return -1;
    vd = virtio_balloon_new(&with, "balloon0", err);
    vd->features |= VIRTIO_F_PACKED;
    return virtio_made(rig, virtio_mmio_new(&with, &cfg, vd, err));
}

static struct irq_line pci_rig_line(void *opaque, unsigned n)
{
    return rig_line(opaque, n);
}

static void pci_rig_msi(void *opaque, uint64_t address, uint32_t data)
{
    rig_note(opaque, address ^ data);
}

static void last_first_destroy(struct rig *rig)
{
    while (rig->devices)
        device_destroy(rig->device[--rig->devices]);
}

static int piix_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    const struct pci_bus_config bus = {.ecam = PCI_ECAM, .line = pci_rig_line, .line_opaque = rig};
    struct piix_config cfg = {.slot = 1, .route = {10, 10, 11, 11}, .pm_port = 0x600};
    struct device *host = pci_bus_new(env, &bus, err), *dev;

    if (!host)
        return -1;
    cfg.pci = pci_bus_of(host);
    for (unsigned i = 0; i < PIIX_ISA_IRQS; i++)
        cfg.isa[i] = rig_line(rig, i);
    for (unsigned i = 0; i < PCI_LINES; i++)
        cfg.apic[i] = rig_line(rig, 16 + i);
    rig->device[rig->devices++] = host;
    dev = piix_new(env, &cfg, err);
    if (dev)
        rig->device[rig->devices++] = dev;
    return dev ? 0 : -1;
}

static int balloon_pci_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    const struct pci_bus_config cfg = {
        .ecam = PCI_ECAM, .memory = {0xc0000000, 1 << 20}, .line = pci_rig_line,
        .line_opaque = rig, .msi = {pci_rig_msi, rig},
    };
    struct device_env with;
    struct device *host;

    if (virtio_memory(rig, env, &with))
        return -1;
    host = pci_bus_new(&with, &cfg, err);
    if (virtio_made(rig, host))
        return -1;
    return virtio_made(rig, virtio_pci_new(&with, pci_bus_of(host),
                                           virtio_balloon_new(&with, "balloon0", err), err));
}

static int console_mmio_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    const struct virtio_mmio_config cfg = {.base = VIRTIO_MMIO_BASE, .irq = rig_line(rig, 5)};
    const struct virtio_console_port port[] = {{NULL, {.kind = CONSOLE_END_NONE}},
                                               {"stream", {.kind = CONSOLE_END_NONE}}};
    const struct virtio_console_config console = {"console0", port, ARRAY_SIZE(port)};
    struct device_env with;

    if (virtio_memory(rig, env, &with))
        return -1;
    return virtio_made(rig, virtio_mmio_new(&with, &cfg, virtio_console_new(&with, &console, err),
                                            err));
}

/* One step of a driver: through status and features to queues and doorbells. */
static uint64_t virtio_poke(struct rig *rig, struct rig_random *r)
{
    struct virtio_device *vd = virtio_of(rig->device[rig->devices - 1]);
    struct virtio_queue *q = virtio_queue_of(vd, (unsigned)rig_random_below(r, vd->queues));

    switch (rig_random_below(r, 3)) {
    case 0:
        virtio_set_status(vd, 0);
        virtio_set_features(vd, 0, (uint32_t)vd->features & (uint32_t)rig_random(r));
        virtio_set_features(vd, 1, 1 | (uint32_t)(rig_random(r) & vd->features >> 32));
        virtio_set_status(vd, VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
        break;
    case 1:
        q->state->descriptors = RINGS * (q->index + 1ull);
        q->state->driver = q->state->descriptors + 0x1000;
        q->state->device = q->state->descriptors + 0x2000;
        virtio_queue_set_ready(q, rig_random_below(r, 8) != 0);
        break;
    default:
        virtio_kick(vd, q->index);
        break;
    }
    return vd->state.status;
}

/* ---- the simple machine ---- */

enum { SIMPLE_FIRST = 100, SIMPLE_DEVICES = 6 };

struct simple_part {
    struct memory *memory;
    struct simple_ports ports;
};

static struct simple_slot simple_slot(struct rig *rig, unsigned n, uint64_t bytes)
{
    struct simple_part *p = rig->part;

    return (struct simple_slot){.name = "simple", .port = &p->ports.port[n],
                                .irq = rig_line(rig, n + 1), .base = bytes ? 0x100000 * n : 0,
                                .bytes = bytes};
}

static void simple_destroy(struct rig *rig);

static int simple_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    struct simple_part *p = calloc(1, sizeof *p);
    struct device_env with = *env;

    rig->part = p;
    with.memory = p->memory = memory_new(PAGE_SIZE, NULL);
    struct simple_serial_config serial = {.slot = simple_slot(rig, 0, 0), .write = rig_write,
                                          .ready = uart_ready, .opaque = rig};
    struct simple_slot timer = simple_slot(rig, 1, SIMPLE_TIMER_BYTES);
    struct simple_clock_config clock = {.slot = simple_slot(rig, 2, SIMPLE_CLOCK_BYTES)};
    struct simple_slot power = simple_slot(rig, 3, 0);
    struct simple_keyboard_config keyboard = {.slot = simple_slot(rig, 4, 0)};
    struct simple_slot video = simple_slot(rig, 5, SIMPLE_VIDEO_BYTES);
    const struct text_screen_config text = {0};

    rig->device[rig->devices++] = simple_serial_new(&with, &serial, err);
    rig->device[rig->devices++] = simple_timer_new(&with, &timer, err);
    rig->device[rig->devices++] = simple_clock_new(&with, &clock, err);
    rig->device[rig->devices++] = simple_power_new(&with, &power, err);
    rig->device[rig->devices++] = simple_keyboard_new(&with, &keyboard, err);
    rig->device[rig->devices++] = text_screen_new(&with, &text, err);
    rig->device[rig->devices++] = simple_video_new(&with, &video, rig->device[5], err);
    if (simple_ports_init(&p->ports, env->bus, SIMPLE_FIRST, SIMPLE_DEVICES, err) == 0)
        return 0;
    simple_destroy(rig);
    return -1;
}

static void simple_destroy(struct rig *rig)
{
    struct simple_part *p = rig->part;

    simple_ports_fini(&p->ports, SIMPLE_FIRST);
    while (rig->devices)
        device_destroy(rig->device[--rig->devices]);
    memory_free(p->memory);
    free(p);
}

static uint64_t simple_poke(struct rig *rig, struct rig_random *r)
{
    struct input_sink *keys = simple_keyboard_sink(rig->device[4]);
    uint8_t typed[3] = {1, 2, 3}, cell[2] = {(uint8_t)rig_random(r), 7};

    switch (rig_random_below(r, 4)) {
    case 0:
        simple_serial_receive(rig->device[0], typed, sizeof typed);
        break;
    case 1:
        return keys->key(keys->opaque, (unsigned)rig_random_below(r, 300), rig_random(r) & 1);
    case 2:
        text_screen_put(rig->device[5], (unsigned)rig_random_below(r, TEXT_SCREEN_CELLS), cell, 1);
        display_refresh(simple_video_display(rig->device[6]));
        break;
    default:
        bus_write(rig->bus, BUS_PIO, SIMPLE_FIRST + 1, 4, rig_random_below(r, 4));
        bus_write(rig->bus, BUS_PIO, SIMPLE_FIRST + 5, 4, 0xf0000000 | rig_random(r));
        break;
    }
    return simple_serial_room(rig->device[0]);
}

static int hypercall_translate(void *machine, unsigned vcpu, gva_t a, gpa_t *out)
{
    return -1;
}

static void hypercall_exits(void *machine, uint64_t out[HYPERCALL_EXITS])
{
    memset(out, 0, HYPERCALL_EXITS * sizeof *out);
}

static int hypercall_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    const struct hypercall_config cfg = {
        .groups = HYPERCALL_SHARED_PAGE | HYPERCALL_TEACHING | HYPERCALL_SIMPLE, .cpus = 2,
        .translate = hypercall_translate, .exits = hypercall_exits, .print = rig_write,
        .print_opaque = rig,
    };
    struct device_env with = *env;

    rig->part = with.memory = memory_new(PAGE_SIZE, NULL);
    return virtio_made(rig, hypercalls_new(&with, &cfg, err));
}

static uint64_t hypercall_poke(struct rig *rig, struct rig_random *r)
{
    static const uint16_t ports[] = {0xabba, 0xabbe, 0xabc2, 0xe9, 0xea, 0xeb, 0xec, 0xee, 0xffff};
    struct hypercalls *h = hypercalls_of(rig->device[0]);
    uint16_t port = ports[rig_random_below(r, ARRAY_SIZE(ports))];
    uint64_t value = 0;

    /* What is in memory is no state of the device. */
    memory_fill(rig->part, gpa(0xfedb0000), 0, PAGE_SIZE);
    if (rig_random_below(r, 2))
        hypercalls_port_write(h, rig_random(r) & 1, port, 4, rig_random_below(r, 16));
    else
        hypercalls_port_read(h, rig_random(r) & 1, port, 4, &value);
    return value;
}

/* ---- vga: the registers; tests/unit/device_vga.c has the memory ---- */

static int vga_make(struct rig *rig, const struct device_env *env, struct error **err)
{
    const struct pci_bus_config pci = {
        .ecam = PCI_ECAM, .memory = {0xc0000000, 1 << 20}, .line = pci_rig_line,
        .line_opaque = rig, .msi = {pci_rig_msi, rig},
    };
    struct vga_config cfg = {.slot = 2};

    if (one(rig, pci_bus_new(env, &pci, err)))
        return -1;
    cfg.pci = pci_bus_of(rig->device[0]);
    rig->device[1] = vga_new(env, &cfg, err);
    rig->devices = 2;
    return rig->device[1] ? 0 : -1;
}

static void vga_kit_destroy(struct rig *rig)
{
    while (rig->devices)
        device_destroy(rig->device[--rig->devices]);
}

static uint64_t vga_poke(struct rig *rig, struct rig_random *r)
{
    static const uint16_t ports[] = {0x3c0, 0x3c4, 0x3c6, 0x3c8, 0x3ce, 0x3d4, 0x1ce};
    uint16_t port = ports[rig_random_below(r, ARRAY_SIZE(ports))];

    display_refresh(vga_display(rig->device[1]));
    if (rig_random_below(r, 2))
        bus_write(rig->bus, BUS_PIO, port, 2, rig_random(r) & 0xff1f);
    return bus_read(rig->bus, BUS_PIO, port + (port == 0x3c0 ? 0x1a : 1), 1);
}

const struct kit_row kit_rows[] = {
    {"ata", ata_make, ata_destroy, ata_poke},
    {"e1000", net_cards_e1000, net_cards_destroy, net_cards_poke},
    {"virtio-net-pci", net_cards_virtio, net_cards_destroy, net_cards_poke},
    {"virtio-balloon-mmio", balloon_mmio_make, virtio_destroy, virtio_poke},
    {"virtio-console-mmio", console_mmio_make, virtio_destroy, virtio_poke},
    {"virtio-balloon-pci", balloon_pci_make, virtio_destroy, virtio_poke},
    {"acpi_pm", pm_make, NULL, pm_poke},
    {"debug_exit", debug_exit_make, NULL, NULL},
    {"debugcon", debugcon_make, NULL, NULL},
    {"piix", piix_make, last_first_destroy, NULL},
    {"fwcfg", fwcfg_make, NULL, NULL},
    {"hpet", hpet_make, NULL, hpet_poke},
    {"hypercalls", hypercall_make, virtio_destroy, hypercall_poke},
    {"i8042", i8042_make, NULL, NULL},
    {"i8042-ps2", ps2_make, ps2_destroy, ps2_poke},
    {"i8254", pit_make, NULL, NULL},
    {"intc", intc_make, intc_destroy, intc_poke},
    {"mc146818", rtc_make, NULL, rtc_poke},
    {"postcode", postcode_make, NULL, postcode_poke},
    {"pvpanic", pvpanic_make, NULL, NULL},
    {"simple", simple_make, simple_destroy, simple_poke},
    {"sysport", sysport_make, NULL, NULL},
    {"testdev", testdev_make, NULL, NULL},
    {"uart16550", uart_make, NULL, uart_poke},
    {"vga", vga_make, vga_kit_destroy, vga_poke},
};
const size_t kit_row_count = ARRAY_SIZE(kit_rows);
