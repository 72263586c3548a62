/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc.c - a PC put together: memory, interrupt controllers, devices, what
 * firmware would have left (pc_firmware.c), and the boot image.
 */
#include "machine/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "boot/boot.h"
#include "bus/irq_share.h"
#include "device/uart16550.h"
#include "irqchip/intc.h"
#include "machine/pc_devices.h"
#include "machine/pc_firmware.h"
#include "machine/pc_map.h"
#include "machine/pc_vga.h"
#include "machine/plug.h"
#include "memory/memory.h"
#include "pci/pci.h"

struct pc {
    struct pc_ram ram[PC_RAM_RANGES];
    unsigned rams;
    struct e820_map map;
    struct device *com1;
    struct irq_share share[PC_SHARED_GSIS];
};

/* ---- memory ------------------------------------------------------------ */

static int map_memory(struct machine *m, struct pc *pc, struct error **err)
{
    int rc = 0;

    pc->rams = pc_ram_layout(m->config.memory_bytes, pc->ram);
    pc_e820(m->config.memory_bytes, &pc->map);
    for (unsigned i = 0; i < pc->rams && !rc; i++)
        rc = memory_map_ram(m->memory, pc->ram[i].name, gpa(pc->ram[i].base), pc->ram[i].offset,
                            pc->ram[i].size_bytes, 0, err);
    if (rc)
        return rc;
    if (!memory_map_block(m->memory, "firmware", gpa(PC_ROM), PC_ROM_BYTES, MEMORY_READONLY,
                          err).p)
        return -ENOMEM;
    return 0;
}

/* RAM as after power-on, and given back to the host. */
static void clear_memory(struct machine *m, const struct pc *pc)
{
    for (unsigned i = 0; i < pc->rams; i++) {
        const struct pc_ram *r = &pc->ram[i];

        if (fallocate(memory_fd(m->memory), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      (off_t)r->offset, (off_t)r->size_bytes) == 0)
            memory_written(m->memory, gpa(r->base), r->size_bytes);
        else
            memory_fill(m->memory, gpa(r->base), 0, r->size_bytes);
    }
}

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
    struct pc *pc = m->board;
    struct irq_share *share;

    if (m->intc)
        line = intc_gsi(m->intc, gsi);
    if (gsi < PC_SHARED_GSI || gsi >= PC_SHARED_GSI + PC_SHARED_GSIS)
        return line;
    share = &pc->share[gsi - PC_SHARED_GSI];
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

static int make_hypercalls(struct machine *m, const struct device_env *env, struct error **err)
{
    const struct hypercall_config cfg = {
        .groups = HYPERCALL_SHARED_PAGE | (m->config.hypercalls ? HYPERCALL_TEACHING : 0),
        .base_ns = pc_devices_epoch_ns(m),
    };

    return machine_add_hypercalls(m, env, &cfg, err);
}

static int pc_build(struct machine *m, struct error **err)
{
    const struct machine_config *cfg = &m->config;
    struct device_env env = {
        .memory = m->memory, .bus = m->bus, .clock = m->clock, .loop = m->loop, .log = m->log,
        .power = {machine_power, m}, .still = {machine_still_request, m},
    };
    struct pc_wiring wiring = {.machine = m, .env = &env, .gsi = gsi_line};
    struct pc *pc = calloc(1, sizeof *pc);
    int rc;

    if (!pc)
        return error_set(err, ENOMEM, "cannot make a PC: out of memory");
    m->board = pc;
    rc = boot_image_open(&m->image, cfg->kernel, cfg->initrd, cfg->modules, cfg->append, err);
    if (!rc)
        rc = map_memory(m, pc, err);
    if (rc)
        return rc;
    machine_lock(m);
    if (m->vm->doorbell)
        bus_doorbell_listen(m->bus, engine_doorbell, m);
    rc = make_irqchip(m, &env, err);
    wiring.msi = msi_of(m);
    if (!rc)
        rc = pc_devices_make(&wiring, err);
    if (!rc)
        rc = pc_vga_make(&wiring, err);
    if (!rc) {
        const struct plug plug = {m, &env, pci_bus_of(wiring.pci), gsi_line};

        rc = plug_all(&plug, err);
    }
    if (!rc)
        rc = make_hypercalls(m, &env, err);
    machine_unlock(m);
    pc->com1 = wiring.com1;
    return rc;
}

static int pc_reset(struct machine *m, struct error **err)
{
    const struct pc *pc = m->board;
    struct boot_target target = {.memory = m->memory, .map = &pc->map, .rsdp = gpa(PC_ROM),
                                 .log = m->log, .vga_text = pc_vga_wanted(m)};
    struct x86_state start = {0};
    int rc;

    machine_reset_devices(m, NULL);
    clear_memory(m, pc);
    rc = pc_firmware_write(m, err);
    if (!rc)
        rc = boot_load(&m->image, &target, &start, err);
    pc_firmware_cpu(&start);
    return rc ? rc : vcpus_reset(m, &start, err);
}

/* These have power in S3, or the guest could not wake. */
static bool powered_in_s3(const struct device *dev)
{
    return !strcmp(dev->ops->type, "mc146818") || !strcmp(dev->ops->type, "acpi_pm");
}

static int pc_wake(struct machine *m, struct error **err)
{
    struct x86_state start;

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
    free(m->board);
}

const struct machine_ops machine_pc = {
    .name = "pc",
    .summary = "a PC with ISA devices, ACPI and no firmware",
    .defaults = pc_defaults,
    .build = pc_build,
    .reset = pc_reset,
    .wake = pc_wake,
    .serial_input = pc_serial_input,
    .serial_room = pc_serial_room,
    .destroy = pc_destroy,
    .describe = pc_describe,
};
