/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simple.c - the simple machine: memory, APICs, a table of devices that a page of code can
 * drive, and no firmware (docs/simple-machine.md).
 *
 * Interrupt controllers are always ours, whatever the engine has: without an 8259 pair
 * and with IOAPIC pins counted from 1, as the guests of this machine expect.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "device/text_screen.h"
#include "irqchip/intc.h"
#include "machine/simple_board.h"
#include "memory/memory.h"
#include "ring3/simple.h"

struct ram {
    const char *name;
    uint64_t base, offset, bytes;
};

enum { RAMS_MAX = 3 };

/* What lies under the text window stays unused and therefore costs nothing. */
static unsigned ram_layout(const struct machine *m, struct ram out[RAMS_MAX])
{
    const struct simple_board *b = m->board;
    const uint64_t bytes = m->config.memory_bytes, low = min_u64(bytes, SIMPLE_LOW_END);
    const uint64_t window_end = SIMPLE_TEXT_WINDOW + TEXT_SCREEN_WINDOW_BYTES;
    unsigned n = 0;

    if (b->text_window) {
        out[n++] = (struct ram){"ram", 0, 0, SIMPLE_TEXT_WINDOW};
        out[n++] = (struct ram){"ram behind the window", window_end, window_end, low - window_end};
    } else {
        out[n++] = (struct ram){"ram", 0, 0, low};
    }
    if (bytes > low)
        out[n++] = (struct ram){"high ram", SIMPLE_HIGH, low, bytes - low};
    return n;
}

static int check_memory(const struct machine *m, struct error **err)
{
    const uint64_t most = RING3_SIMPLE_TABLE_ADDRESS - SIMPLE_HIGH + SIMPLE_LOW_END;

    if (m->config.memory_bytes <= most)
        return 0;
    return error_set(err, EINVAL, "the simple machine has no room for more than %lluG of memory",
                     (unsigned long long)(most >> 30));
}

static int map_ram(struct machine *m, struct simple_board *b, struct error **err)
{
    struct ram ram[RAMS_MAX];
    unsigned n = ram_layout(m, ram);
    int rc = check_memory(m, err);

    for (unsigned i = 0; i < n && !rc; i++) {
        rc = memory_map_ram(m->memory, ram[i].name, gpa(ram[i].base), ram[i].offset, ram[i].bytes,
                            0, err);
        e820_set(&b->map, ram[i].base, ram[i].bytes, E820_RAM);
    }
    return rc;
}

/* As after power-on, and given back to the host. */
static void clear_ram(struct machine *m)
{
    struct ram ram[RAMS_MAX];
    unsigned n = ram_layout(m, ram);

    for (unsigned i = 0; i < n; i++) {
        if (fallocate(memory_fd(m->memory), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      (off_t)ram[i].offset, (off_t)ram[i].bytes) == 0)
            memory_written(m->memory, gpa(ram[i].base), ram[i].bytes);
        else
            memory_fill(m->memory, gpa(ram[i].base), 0, ram[i].bytes);
    }
}

/* ---- what it starts --------------------------------------------------------------- */

static int open_images(struct machine *m, struct simple_board *b, struct error **err)
{
    const struct machine_config *cfg = &m->config;
    bool loads = cfg->loads && cfg->loads[0];

    if (loads && cfg->kernel)
        return error_set(err, EINVAL, "--kernel and --load: one of them starts the machine");
    if (!loads && !cfg->kernel) {
        error_set(err, EINVAL, "the simple machine has nothing to start");
        error_hint(err, "name an ELF file with --kernel FILE, or images with --load FILE@ADDRESS");
        return -EINVAL;
    }
    if (!loads && cfg->start) {
        error_set(err, EINVAL, "--start %s is for raw images", cfg->start);
        error_hint(err, "load it with --load FILE@ADDRESS; an ELF file says itself how it starts");
        return -EINVAL;
    }
    b->boots_raw = loads;
    if (loads)
        return boot_raw_open(&b->raw, cfg->loads, cfg->start, err);
    return boot_image_open(&m->image, cfg->kernel, cfg->initrd, cfg->modules, cfg->append, err);
}

static int load_images(struct machine *m, struct x86_state *start, struct error **err)
{
    const struct simple_board *b = m->board;
    const struct boot_target target = {
        .memory = m->memory, .map = &b->map, .log = m->log, .bare = true,
        .bare_exit_port = b->power_port, .bare_map = RING3_SIMPLE_TABLE_ADDRESS,
        .bare_map_bytes = SIMPLE_MAPPED_BYTES,
    };

    return b->boots_raw ? boot_raw_load(&b->raw, &target, start, err)
                        : boot_load(&m->image, &target, start, err);
}

/* ---- machine_ops ------------------------------------------------------------------ */

static void simple_defaults(struct machine_config *cfg)
{
    cfg->debug_exit_port = SIMPLE_DEBUG_EXIT;
}

static int make_intc(struct machine *m, const struct device_env *env, struct error **err)
{
    const struct intc_config cfg = {
        .cpus = m->cpus, .cpu = &machine_intc_cpu_ops, .cpu_opaque = m,
        .x2apic = x86_feature(&m->model->features, X86_FEATURE_X2APIC),
        .phys_bits = m->model->phys_bits, .no_pic = true,
    };

    m->intc = intc_new(env, &cfg, err);
    return m->intc ? 0 : -EIO;
}

static int simple_build(struct machine *m, struct error **err)
{
    const struct device_env env = {
        .memory = m->memory, .bus = m->bus, .clock = m->clock, .loop = m->loop, .log = m->log,
        .power = {machine_power, m},
    };
    struct simple_board *b = calloc(1, sizeof *b);
    int rc;

    if (!b)
        return error_set(err, ENOMEM, "cannot make a simple machine: out of memory");
    m->board = b;
    b->text_window = m->ops == &machine_teach;
    rc = open_images(m, b, err);
    if (!rc)
        rc = map_ram(m, b, err);
    if (rc)
        return rc;
    machine_lock(m);
    rc = make_intc(m, &env, err);
    if (!rc)
        rc = simple_devices_make(m, &env, err);
    machine_unlock(m);
    return rc;
}

/* What devices show in their memory is there again. */
static void resume_devices(struct machine *m)
{
    machine_lock(m);
    for (unsigned i = 0; i < m->devices; i++)
        device_resume(m->device[i]);
    machine_unlock(m);
}

static int simple_reset(struct machine *m, struct error **err)
{
    struct x86_state start = {0};
    int rc;

    machine_reset_devices(m, NULL);
    clear_ram(m);
    simple_devices_clear(m);
    resume_devices(m);
    rc = load_images(m, &start, err);
    return rc ? rc : vcpus_reset(m, &start, err);
}

static void simple_serial_input(struct machine *m, const uint8_t *data, size_t len)
{
    const struct simple_board *b = m->board;

    simple_serial_receive(b->serial, data, len);
}

static size_t simple_serial_takes(struct machine *m)
{
    const struct simple_board *b = m->board;

    return simple_serial_room(b->serial);
}

static void simple_describe(struct machine *m, struct strbuf *out)
{
    const struct simple_board *b = m->board;
    const struct ring3_simple_device *d = (const struct ring3_simple_device *)b->table;

    for (unsigned i = 0; i < b->devices; i++)
        strbuf_addf(out, "port %u  pin %-2u  id %-2u  memory %010llx  %s\n", d[i].port, d[i].irq,
                    d[i].id, (unsigned long long)d[i].memory, d[i].name);
}

static void simple_destroy(struct machine *m)
{
    struct simple_board *b = m->board;

    if (!b)
        return;
    simple_ports_fini(&b->ports, RING3_SIMPLE_FIRST_PORT);
    boot_raw_close(&b->raw);
    free(b);
}

const struct machine_ops machine_simple = {
    .name = "simple",
    .summary = "APICs and devices with one port each: for writing an operating system",
    .own_irqchip = true,
    .takes_images = true,
    .defaults = simple_defaults,
    .build = simple_build,
    .reset = simple_reset,
    .serial_input = simple_serial_input,
    .serial_room = simple_serial_takes,
    .destroy = simple_destroy,
    .describe = simple_describe,
};

const struct machine_ops machine_teach = {
    .name = "teach",
    .summary = "the simple machine with VGA text and an ATA disk, for comparing ways of I/O",
    .own_irqchip = true,
    .takes_images = true,
    .defaults = simple_defaults,
    .build = simple_build,
    .reset = simple_reset,
    .serial_input = simple_serial_input,
    .serial_room = simple_serial_takes,
    .destroy = simple_destroy,
    .describe = simple_describe,
};
