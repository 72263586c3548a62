/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_devices.c - the wiring table: one function per device, in reset order.
 */
#include "machine/pc_devices.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "boot/acpi.h"
#include "device/acpi_pm.h"
#include "device/debug_exit.h"
#include "device/debugcon.h"
#include "device/hpet.h"
#include "device/i8042.h"
#include "device/i8254.h"
#include "device/mc146818.h"
#include "device/piix.h"
#include "device/postcode.h"
#include "device/ps2_keyboard.h"
#include "device/ps2_mouse.h"
#include "device/pvpanic.h"
#include "device/sysport.h"
#include "device/testdev.h"
#include "device/uart16550.h"
#include "machine/pc_board.h"
#include "machine/pc_fwcfg.h"
#include "pci/pam.h"
#include "pci/pci.h"

static struct irq_line line(struct pc_wiring *w, unsigned gsi)
{
    return w->gsi(w->machine, gsi);
}

static struct device *make_pit(struct pc_wiring *w, struct error **err)
{
    const struct i8254_config cfg = {.irq = line(w, PC_IRQ_TIMER)};

    return i8254_new(w->env, &cfg, err);
}

/* Two machines whose time is moved by hand see the same, whenever they were made. */
static int64_t epoch_s(const struct machine *m)
{
    enum { YEAR_2000 = 946684800 };

    return m->config.manual_clock ? YEAR_2000 : (int64_t)time(NULL);
}

uint64_t pc_devices_epoch_ns(const struct machine *m)
{
    return (uint64_t)epoch_s(m) * 1000000000 - clock_now_ns(m->clock);
}

static struct device *make_rtc(struct pc_wiring *w, struct error **err)
{
    struct pc *pc = pc_of(w->machine);
    uint8_t cmos[MC146818_CMOS_BYTES];
    const struct mc146818_config cfg = {
        .port = PC_RTC, .cmos = cmos, .irq = acpi_pm_rtc_line(pc->acpi_pm),
        .base_s = epoch_s(w->machine) - (int64_t)(clock_now_ns(w->env->clock) / 1000000000),
    };

    pc_cmos(w->machine, cmos);
    pc->rtc = mc146818_new(w->env, &cfg, err);
    return pc->rtc;
}

static struct device *make_keyboard(struct pc_wiring *w, struct error **err)
{
    const struct ps2_keyboard_config cfg = {.input = w->machine->input};

    w->keyboard = ps2_keyboard_new(w->env, &cfg, err);
    return w->keyboard;
}

static struct device *make_mouse(struct pc_wiring *w, struct error **err)
{
    const struct ps2_mouse_config cfg = {.input = w->machine->input};

    w->mouse = ps2_mouse_new(w->env, &cfg, err);
    return w->mouse;
}

static struct device *make_i8042(struct pc_wiring *w, struct error **err)
{
    const struct i8042_config cfg = {
        .irq = line(w, PC_IRQ_KEYBOARD), .aux_irq = line(w, PC_IRQ_MOUSE),
        .a20 = pc_memory_a20(w->machine),
        .keyboard = ps2_keyboard_plug(w->keyboard), .mouse = ps2_mouse_plug(w->mouse),
    };

    return i8042_new(w->env, &cfg, err);
}

/* PIRQA to PIRQD as firmware routes them. */
static const uint8_t pirq_route[PCI_LINES] = {10, 10, 11, 11};

static struct irq_line pci_line(void *opaque, unsigned n)
{
    return piix_pci_line(pc_of(opaque)->piix, n);
}

static struct device *make_pci(struct pc_wiring *w, struct error **err)
{
    struct pc *pc = pc_of(w->machine);
    struct pci_bus_config cfg = {
        .ecam = PC_PCI_ECAM, .io = {PC_PCI_IO, PC_PCI_IO_BYTES},
        .memory = {PC_PCI_MEMORY, PC_PCI_MEMORY_BYTES}, .line = pci_line,
        .line_opaque = w->machine, .msi = w->msi, .unplaced = pc->rom.image,
        /* Intel 82441FX with QEMU's subsystem, by which firmware knows what it runs on. */
        .bridge = {.vendor = 0x8086, .device = 0x1237, .class = 0x060000, .revision = 2,
                   .subsystem_vendor = 0x1af4, .subsystem = 0x1100},
        .bridge_init = pam_bridge_init, .bridge_changed = pam_bridge_changed,
        .bridge_opaque = pc->pam,
    };

    memcpy(cfg.irq, pirq_route, sizeof cfg.irq);
    cfg.memory64.size = pc_pci_memory64(w->machine->config.memory_bytes,
                                        w->machine->model->phys_bits, &cfg.memory64.base);
    pc->pci = pci_bus_new(w->env, &cfg, err);
    return pc->pci;
}

static void place_pm(void *opaque, uint16_t port)
{
    acpi_pm_place(opaque, port);
}

static struct device *make_piix(struct pc_wiring *w, struct error **err)
{
    struct pc *pc = pc_of(w->machine);
    struct piix_config cfg = {.pci = pci_bus_of(pc->pci), .slot = PC_PIIX_SLOT,
                              .pm_place = place_pm, .pm_opaque = pc->acpi_pm};

    for (unsigned irq = 0; irq < PIIX_ISA_IRQS; irq++)
        if (PC_SHARED_GSI_MASK >> irq & 1)
            cfg.isa[irq] = line(w, irq);
    for (unsigned n = 0; n < PCI_LINES; n++)
        cfg.apic[n] = line(w, PC_PCI_GSI + n);
    if (!pc->rom.image) {
        memcpy(cfg.route, pirq_route, sizeof cfg.route);
        cfg.pm_port = PC_PM;
    }
    pc->piix = piix_new(w->env, &cfg, err);
    return pc->piix;
}

static struct device *make_sysport(struct pc_wiring *w, struct error **err)
{
    const struct sysport_config cfg = {.dword_read = pci_address_read,
                                       .dword_write = pci_address_write,
                                       .dword_opaque = pci_bus_of(pc_of(w->machine)->pci),
                                       .a20 = pc_memory_a20(w->machine)};

    return sysport_new(w->env, &cfg, err);
}

/* The south bridge says where it is. */
static struct device *make_acpi_pm(struct pc_wiring *w, struct error **err)
{
    const struct acpi_pm_config cfg = {.sci = line(w, PC_SCI), .rtc = line(w, PC_IRQ_RTC),
                                       .timer_32bit = true};
    struct pc *pc = pc_of(w->machine);

    pc->acpi_pm = acpi_pm_new(w->env, &cfg, err);
    return pc->acpi_pm;
}

static struct device *make_hpet(struct pc_wiring *w, struct error **err)
{
    struct hpet_config cfg = {.base = HPET_BASE};

    for (unsigned i = 0; i < HPET_LINES; i++)
        cfg.line[i] = line(w, HPET_FIRST_LINE + i);
    return hpet_new(w->env, &cfg, err);
}

static struct device *make_com1(struct pc_wiring *w, struct error **err)
{
    const struct machine_serial *s = &w->machine->config.serial;
    const struct uart16550_config cfg = {
        .name = "com1", .port = PC_COM1, .irq = line(w, PC_IRQ_COM1),
        .write = s->write, .ready = s->ready, .opaque = s->opaque,
    };

    pc_of(w->machine)->com1 = uart16550_new(w->env, &cfg, err);
    return pc_of(w->machine)->com1;
}

static struct device *make_debugcon(struct pc_wiring *w, struct error **err)
{
    const struct machine_serial *s = &w->machine->config.debugcon;
    const struct debugcon_config cfg = {.port = PC_DEBUGCON, .write = s->write,
                                        .opaque = s->opaque};

    return debugcon_new(w->env, &cfg, err);
}

static struct device *make_postcode(struct pc_wiring *w, struct error **err)
{
    const struct postcode_config cfg = {.port = PC_POST};

    return postcode_new(w->env, &cfg, err);
}

static struct device *make_debug_exit(struct pc_wiring *w, struct error **err)
{
    uint16_t port = w->machine->config.debug_exit_port;
    const struct debug_exit_config cfg = {.port = port ? port : PC_DEBUG_EXIT};

    return debug_exit_new(w->env, &cfg, err);
}

static struct device *make_pvpanic(struct pc_wiring *w, struct error **err)
{
    const struct pvpanic_config cfg = {.port = PC_PVPANIC};

    return pvpanic_new(w->env, &cfg, err);
}

static struct device *make_testdev(struct pc_wiring *w, struct error **err)
{
    struct testdev_config cfg;

    for (unsigned i = 0; i < TESTDEV_LINES; i++)
        cfg.line[i] = line(w, i);
    return testdev_new(w->env, &cfg, err);
}

static struct device *make_fwcfg(struct pc_wiring *w, struct error **err)
{
    struct pc *pc = pc_of(w->machine);

    pc->fwcfg = pc_fwcfg_new(w->machine, w->env, err);
    return pc->fwcfg;
}

/* SeaBIOS and OVMF tell there what they do: shown line by line. */
static void firmware_log(void *opaque, const uint8_t *data, size_t len)
{
    struct machine *m = opaque;
    struct pc *pc = pc_of(m);

    for (size_t i = 0; i < len; i++) {
        bool end = data[i] == '\n' || pc->firmware_line_len == sizeof pc->firmware_line - 1;

        if (end) {
            pc->firmware_line[pc->firmware_line_len] = 0;
            log_trace(m->log, FIRMWARE, "%s", pc->firmware_line);
            pc->firmware_line_len = 0;
        }
        if (data[i] >= ' ' && data[i] < 0x7f)
            pc->firmware_line[pc->firmware_line_len++] = (char)data[i];
    }
}

static struct device *make_firmware_log(struct pc_wiring *w, struct error **err)
{
    const struct debugcon_config cfg = {.name = "firmware-log", .port = PC_FIRMWARE_LOG,
                                        .write = firmware_log, .opaque = w->machine};

    return debugcon_new(w->env, &cfg, err);
}

static bool own_irqchip(const struct machine *m)
{
    return !m->vm->irqchip;            /* else the 8254 is among the engine's twins */
}

static bool has_firmware(const struct machine *m)
{
    return pc_of(m)->rom.image;
}

static bool wants_fwcfg(const struct machine *m)
{
    return has_firmware(m) || m->config.test_device;
}

static bool wants_testdev(const struct machine *m)
{
    return m->config.test_device;
}

static const struct {
    struct device *(*make)(struct pc_wiring *w, struct error **err);
    bool (*when)(const struct machine *m);     /* NULL = always */
} makers[] = {
    {make_pit, own_irqchip}, {make_acpi_pm, NULL},    {make_rtc, NULL},
    {make_keyboard, NULL},   {make_mouse, NULL},      {make_i8042, NULL},
    {make_pci, NULL},        {make_piix, NULL},       {make_sysport, NULL},
    {make_com1, NULL},       {make_hpet, NULL},
    {make_debugcon, NULL},   {make_postcode, NULL},   {make_debug_exit, NULL},
    {make_pvpanic, NULL},    {make_testdev, wants_testdev},
    {make_fwcfg, wants_fwcfg},
    {make_firmware_log, has_firmware},
};

int pc_devices_make(struct pc_wiring *w, struct error **err)
{
    for (unsigned i = 0; i < ARRAY_SIZE(makers); i++) {
        struct error *why = NULL;
        struct device *dev;

        if (makers[i].when && !makers[i].when(w->machine))
            continue;
        dev = makers[i].make(w, &why);
        if (!dev) {
            int code = why ? why->code : ENOMEM;

            if (err)
                *err = why;
            else
                error_free(&why);
            return -code;
        }
        machine_add_device(w->machine, dev);
    }
    return 0;
}

/* Where firmware put BARs: below the devices at fixed places, and above 4 GiB wherever they
 * are, in whole GiB. Without firmware the windows are ours. */
static void acpi_pci(const struct machine *m, struct acpi_pci *pci)
{
    const struct pc *pc = pc_of(m);
    uint64_t first, last;

    *pci = (struct acpi_pci){
        .present = true, .ecam = PC_PCI_ECAM, .memory = {PC_PCI_MEMORY, PC_PCI_MEMORY_BYTES},
        .first_gsi = PC_PCI_GSI, .gsis = PC_PCI_GSIS,
    };
    memcpy(pci->irq, pirq_route, sizeof pci->irq);
    if (!pc->rom.image) {
        pci->memory64.size = pc_pci_memory64(m->config.memory_bytes, m->model->phys_bits,
                                             &pci->memory64.base);
        return;
    }
    if (m->config.memory_bytes <= PC_PCI_LOWEST)
        pci->memory = (struct acpi_window){PC_PCI_LOWEST, PC_PCI_ECAM - PC_PCI_LOWEST};
    pci->memory2 = (struct acpi_window){PC_PCI_MEMORY2, PC_PCI_MEMORY2_END - PC_PCI_MEMORY2};
    if (pci_bus_high(pci_bus_of(pc->pci), &first, &last)) {
        pci->memory64.base = first >> 30 << 30;
        pci->memory64.size = align_up(last + 1, 1ull << 30) - pci->memory64.base;
    }
}

void pc_devices_acpi(const struct machine *m, struct acpi_config *acpi)
{
    static const struct acpi_isa_device devices[] = {
        {.name = "COM1", .hid = "PNP0501", .port = {PC_COM1}, .ports = {8}, .irq = PC_IRQ_COM1,
         .uid = 1},
        {.name = "KBD_", .hid = "PNP0303", .port = {0x60, 0x64}, .ports = {1, 1},
         .irq = PC_IRQ_KEYBOARD},
        {.name = "MOU_", .hid = "PNP0F13", .irq = PC_IRQ_MOUSE},
        {.name = "RTC_", .hid = "PNP0B00", .port = {PC_RTC}, .ports = {2}, .irq = PC_IRQ_RTC},
        {.name = "PEVT", .hid = "QEMU0001", .port = {PC_PVPANIC}, .ports = {1}},
    };

    uint16_t pm = piix_pm_port(pc_of(m)->piix);

    _Static_assert(ARRAY_SIZE(devices) <= ACPI_ISA_DEVICES_MAX, "they fit");
    acpi_pci(m, &acpi->pci);
    acpi->pm1_event = pm + ACPI_PM_EVENT;
    acpi->pm1_control = pm + ACPI_PM_CONTROL;
    acpi->pm_timer = pm + ACPI_PM_TIMER;
    acpi->pm_timer_32bit = true;
    acpi->power_button = true;
    acpi->has_8042 = true;
    acpi->sci_irq = PC_SCI;
    acpi->s3_sleep_type = ACPI_PM_S3_TYPE;
    acpi->rtc_wakes = true;
    acpi->s5_sleep_type = ACPI_PM_S5_TYPE;
    acpi->reset_port = SYSPORT_RESET_CONTROL;
    acpi->reset_value = SYSPORT_RESET_VALUE;
    acpi->rtc_century = MC146818_CENTURY;
    for (unsigned i = 0; i < ARRAY_SIZE(devices); i++)
        acpi->device[acpi->devices++] = devices[i];
}
