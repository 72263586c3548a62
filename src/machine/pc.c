/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc.c - a PC put together: memory, interrupt controllers, devices, what
 * firmware would have left (pc_firmware.c), and the boot image.
 */
#include "machine/impl.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "boot/boot.h"
#include "device/ata.h"
#include "device/mc146818.h"
#include "device/uart16550.h"
#include "irqchip/intc.h"
#include "machine/pc_board.h"
#include "machine/pc_firmware.h"
#include "machine/pc_fwcfg.h"
#include "machine/pc_vga.h"
#include "machine/plug.h"
#include "memory/memory.h"
#include "pci/pci.h"

/* ---- interrupts -------------------------------------------------------- */

static void twin_line_set(void *opaque, unsigned gsi, bool level)
{
    struct machine *m = opaque;

    m->vm->irqchip->set_line(m->vm, gsi, level);
}

static void twin_msi(void *opaque, uint64_t address, uint32_t data)
{
    struct machine *m = opaque;

    m->vm->irqchip->msi(m->vm, address, data);
}

static struct irq_msi msi_of(struct machine *m)
{
    return m->intc ? intc_msi(m->intc) : (struct irq_msi){twin_msi, m};
}

static struct irq_line gsi_line(struct machine *m, unsigned gsi)
{
    struct irq_line line = {.set = twin_line_set, .opaque = m, .n = gsi};
    struct pc *pc = pc_of(m);
    struct irq_share *share;

    if (m->intc)
        line = intc_gsi(m->intc, gsi);
    if (gsi >= PC_GSIS || !(PC_SHARED_GSI_MASK >> gsi & 1))
        return line;
    share = &pc->share[gsi];
    share->out = line;
    return irq_share_input(share);
}

/* Either our own controllers or the engine's twins of them. */
static int make_irqchip(struct machine *m, const struct device_env *env, struct error **err)
{
    struct intc_config cfg = {
        .cpus = m->cpus, .cpu = &machine_intc_cpu_ops, .cpu_opaque = m,
        .x2apic = x86_feature(&m->model->features, X86_FEATURE_X2APIC),
        .phys_bits = m->model->phys_bits, .elcr = 1 << PC_SCI,
    };
    struct device *twin[MACHINE_DEVICES_MAX];
    int n;

    if (!m->vm->irqchip) {
        m->intc = intc_new(env, &cfg, err);
        return m->intc ? 0 : -EIO;
    }
    n = m->vm->irqchip->devices(m->vm, env, twin, ARRAY_SIZE(twin), err);
    for (int i = 0; i < n; i++)
        machine_add_device(m, twin[i]);
    return n < 0 ? n : 0;
}

/* ---- machine_ops ------------------------------------------------------- */

static void pc_defaults(struct machine_config *cfg)
{
    cfg->debug_exit_port = PC_DEBUG_EXIT;
}

/* A refusal costs speed, nothing else. */
static void engine_doorbell(void *opaque, const struct bus_doorbell *bell, bool on)
{
    struct machine *m = opaque;
    const struct engine_doorbell d = {.address = bell->addr, .value = bell->value,
                                      .size = bell->size, .match = bell->match, .fd = bell->fd};

    if (m->vm->doorbell(m->vm, &d, on) < 0)
        log_trace(m->log, ENGINE, "the engine does not take the doorbell at 0x%llx",
                  (unsigned long long)bell->addr);
}

/* In text modes the window is plain memory, which the card compares with what it painted. */
static bool screen_put(void *opaque, unsigned first, const uint8_t *cells, unsigned count)
{
    struct machine *m = opaque;
    const uint64_t cell_bytes = 2;

    return memory_write(m->memory, gpa(PC_TEXT_WINDOW + first * cell_bytes), cells,
                        count * cell_bytes) == 0;
}

/* The first ATA disk: virtio's may be served in a thread of its own. */
static struct block *hypercall_disk(const struct machine *m)
{
    for (unsigned i = 0; i < m->devices; i++)
        for (unsigned unit = 0; unit < ATA_DRIVES; unit++)
            if (ata_drive_kind(m->device[i], unit) == ATA_DISK)
                return ata_image(m->device[i], unit);
    return NULL;
}

static int make_hypercalls(struct machine *m, const struct device_env *env, struct error **err)
{
    const struct hypercall_config cfg = {
        .groups = HYPERCALL_SHARED_PAGE | (m->config.hypercalls ? HYPERCALL_TEACHING : 0),
        .base_ns = pc_devices_epoch_ns(m), .disk = hypercall_disk(m),
        .screen = pc_vga_wanted(m) ? screen_put : NULL, .screen_opaque = m,
    };

    return machine_add_hypercalls(m, env, &cfg, err);
}

/* What runs first: a kernel that is given, or a firmware. */
static int open_images(struct machine *m, struct error **err)
{
    const struct machine_config *cfg = &m->config;
    struct pc *pc = pc_of(m);

    if (!cfg->kernel) {
        int rc = pc_rom_open(&pc->rom, cfg->firmware, err);

        return rc ? rc : pc_vars_open(&pc->vars, &pc->rom, cfg->firmware_vars, m->log, err);
    }
    if (cfg->firmware || cfg->firmware_vars) {
        error_set(err, EINVAL, "a kernel is started without firmware");
        error_hint(err, "leave out --firmware or --kernel");
        return -EINVAL;
    }
    int rc = boot_image_open(&m->image, cfg->kernel, cfg->initrd, cfg->modules, cfg->append, err);
    return rc ? rc : pc_rom_none(&pc->rom, err);
}

static int make_vars(struct machine *m, const struct device_env *env, struct error **err)
{
    struct pc *pc = pc_of(m);
    struct device *dev = pc_vars_chip(&pc->vars, &pc->rom, env, err);

    if (dev)
        machine_add_device(m, dev);
    return dev ? 0 : -EIO;
}

/* VM lock held. */
static int make_devices(struct machine *m, const struct device_env *env, struct error **err)
{
    struct pc *pc = pc_of(m);
    struct pc_wiring wiring = {.machine = m, .env = env, .gsi = gsi_line};
    int rc;

    if (m->vm->doorbell)
        bus_doorbell_listen(m->bus, engine_doorbell, m);
    rc = make_irqchip(m, env, err);
    wiring.msi = msi_of(m);
    if (!rc)
        rc = pc_memory_make_pam(m, env, err);
    if (!rc)
        rc = pc_devices_make(&wiring, err);
    if (!rc && pc->vars.data)
        rc = make_vars(m, env, err);
    if (!rc)
        rc = pc_vga_make(&wiring, err);
    if (!rc) {
        const struct plug plug = {m, env, pci_bus_of(pc->pci), gsi_line};

        rc = plug_all(&plug, err);
    }
    if (!rc)
        rc = make_hypercalls(m, env, err);
    if (!rc && pc->rom.image)
        rc = pc_fwcfg_fill(m, pc->fwcfg, err);
    return rc;
}

static int pc_build(struct machine *m, struct error **err)
{
    struct device_env env = {
        .memory = m->memory, .bus = m->bus, .clock = m->clock, .loop = m->loop, .log = m->log,
        .power = {machine_power, m}, .still = {machine_still_request, m},
    };
    int rc;

    m->board = calloc(1, sizeof(struct pc));
    if (!m->board)
        return error_set(err, ENOMEM, "cannot make a PC: out of memory");
    rc = open_images(m, err);
    if (!rc)
        rc = pc_memory_map(m, err);
    if (rc)
        return rc;
    machine_lock(m);
    rc = make_devices(m, &env, err);
    machine_unlock(m);
    return rc;
}

static int pc_reset(struct machine *m, struct error **err)
{
    const struct pc *pc = pc_of(m);
    struct boot_target target = {.memory = m->memory, .map = &pc->map, .rsdp = gpa(PC_ROM),
                                 .log = m->log, .vga_text = pc_vga_wanted(m)};
    struct x86_state start = {0};
    int rc = 0;

    machine_reset_devices(m, NULL);
    pc_memory_clear(m);
    if (pc->rom.image) {
        x86_state_power_on(&start, true);
        return vcpus_reset(m, &start, err);
    }
    rc = pc_firmware_write(m, err);
    if (!rc)
        rc = boot_load(&m->image, &target, &start, err);
    pc_firmware_cpu(&start);
    return rc ? rc : vcpus_reset(m, &start, err);
}

/* These have power in S3, or the guest could not wake. That the bridges keep what they
 * decode (shadow RAM, ACPI registers) is what firmware counts on. */
static bool powered_in_s3(const struct device *dev)
{
    static const char *const types[] = {"mc146818", "acpi_pm", "pci-host", "piix"};

    for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
        if (!strcmp(dev->ops->type, types[i]))
            return true;
    return false;
}

/* The firmware sees by CMOS byte 0x0F that this is no start, as QEMU tells it. */
static int wake_firmware(struct machine *m, struct error **err)
{
    enum { SHUTDOWN_STATUS = 0x0f, S3_RESUME = 0xfe };
    struct x86_state start;

    machine_reset_devices(m, powered_in_s3);
    machine_lock(m);
    mc146818_cmos_set(pc_of(m)->rtc, SHUTDOWN_STATUS, S3_RESUME);
    machine_unlock(m);
    x86_state_power_on(&start, true);
    return vcpus_reset(m, &start, err);
}

static int pc_wake(struct machine *m, struct error **err)
{
    struct x86_state start;

    if (pc_of(m)->rom.image)
        return wake_firmware(m, err);
    if (!pc_firmware_waking(m, &start)) {
        log_warn(m->log, "the guest slept without saying where to wake: reset");
        return pc_reset(m, err);
    }
    machine_reset_devices(m, powered_in_s3);
    pc_firmware_cpu(&start);
    return vcpus_reset(m, &start, err);
}

static void pc_serial_input(struct machine *m, const uint8_t *data, size_t len)
{
    const struct pc *pc = m->board;

    uart16550_receive(pc->com1, data, len);
}

static size_t pc_serial_room(struct machine *m)
{
    const struct pc *pc = m->board;

    return uart16550_room(pc->com1);
}

static void pc_describe(struct machine *m, struct strbuf *out)
{
    const struct pc *pc = m->board;

    for (unsigned i = 0; i < pc->map.count; i++)
        strbuf_addf(out, "%012llx-%012llx  %s\n", (unsigned long long)pc->map.entry[i].base,
                    (unsigned long long)(pc->map.entry[i].base + pc->map.entry[i].size_bytes),
                    pc->map.entry[i].type == E820_RAM ? "RAM" : "reserved");
}

static void pc_destroy(struct machine *m)
{
    if (m->board)
        pc_memory_unmap(m);
    free(m->board);
}

const struct machine_ops machine_pc = {
    .name = "pc",
    .summary = "a PC with PCI, ISA devices and ACPI; starts a kernel or a firmware",
    .firmware = true,
    .defaults = pc_defaults,
    .build = pc_build,
    .reset = pc_reset,
    .wake = pc_wake,
    .serial_input = pc_serial_input,
    .serial_room = pc_serial_room,
    .destroy = pc_destroy,
    .describe = pc_describe,
};
