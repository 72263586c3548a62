/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simple_devices.c - the devices of the simple machine, in the order of its table, which
 * is the order of their ports, pins and memories.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/error.h"
#include "device/debug_exit.h"
#include "device/hypercall.h"
#include "device/text_screen.h"
#include "irqchip/intc.h"
#include "machine/simple_board.h"
#include "memory/memory.h"
#include "ring3/simple.h"

enum { NS_PER_S = 1000000000 };

_Static_assert(sizeof(struct ring3_simple_device) == 274, "the table's entries are packed");

static uint64_t table_bytes(void)
{
    return align_up(RING3_SIMPLE_ENTRIES * sizeof(struct ring3_simple_device), PAGE_SIZE);
}

/* ---- places --------------------------------------------------------------------- */

static int map_memory(struct simple_wiring *w, struct simple_slot *slot, struct error **err)
{
    struct simple_board *b = w->board;

    slot->bytes = align_up(slot->bytes, PAGE_SIZE);
    if (!slot->bytes)
        return 0;
    slot->base = b->next_memory;
    if (!memory_map_block(w->machine->memory, slot->name, gpa(slot->base), slot->bytes, 0, err).p)
        return -ENOMEM;
    b->next_memory += slot->bytes;
    b->memory[b->devices].base = slot->base;
    b->memory[b->devices].bytes = slot->bytes;
    return 0;
}

/* Returns the name in the table. */
static const char *put_entry(struct simple_board *b, uint32_t id, const struct simple_slot *slot)
{
    struct ring3_simple_device *to = (struct ring3_simple_device *)b->table + b->devices;
    struct ring3_simple_device e = {
        .port = (uint16_t)(RING3_SIMPLE_FIRST_PORT + b->devices), .memory = slot->base, .id = id,
        .irq = b->devices + 1,
    };

    snprintf(e.name, sizeof e.name, "%s", slot->name);
    *to = e;
    return to->name;
}

int simple_take_slot(struct simple_wiring *w, uint32_t id, const char *name, uint64_t bytes,
                     struct simple_slot *slot, struct error **err)
{
    struct simple_board *b = w->board;
    int rc;

    if (b->devices == SIMPLE_PORTS_MAX)
        return error_set(err, ENOSPC, "no more than %d devices fit into the simple machine",
                         SIMPLE_PORTS_MAX);
    *slot = (struct simple_slot){.name = name, .port = &b->ports.port[b->devices], .bytes = bytes,
                                 .irq = intc_gsi(w->machine->intc, b->devices + 1)};
    rc = map_memory(w, slot, err);
    if (rc)
        return rc;
    slot->name = put_entry(b, id, slot);
    b->devices++;
    return 0;
}

static int made(struct simple_wiring *w, struct device *dev, struct error **err)
{
    if (!dev)
        return err && *err ? -(*err)->code : -ENOMEM;
    machine_add_device(w->machine, dev);
    return 0;
}

/* ---- devices -------------------------------------------------------------------- */

/* Since 1970, when the machine's clock was 0. */
static uint64_t base_ns(const struct machine *m)
{
    enum { YEAR_2000 = 946684800 };

    if (m->config.manual_clock)
        return (uint64_t)YEAR_2000 * NS_PER_S;
    return (uint64_t)time(NULL) * NS_PER_S - clock_now_ns(m->clock);
}

static int make_serial(struct simple_wiring *w, struct error **err)
{
    const struct machine_serial *s = &w->machine->config.serial;
    struct simple_serial_config cfg = {.write = s->write, .ready = s->ready, .opaque = s->opaque};
    int rc = simple_take_slot(w, RING3_SIMPLE_SERIAL, "serial", 0, &cfg.slot, err);

    if (rc)
        return rc;
    w->board->serial = simple_serial_new(w->env, &cfg, err);
    return made(w, w->board->serial, err);
}

static int make_timer(struct simple_wiring *w, struct error **err)
{
    struct simple_slot slot;
    int rc = simple_take_slot(w, RING3_SIMPLE_TIMER, "timer", SIMPLE_TIMER_BYTES, &slot, err);

    return rc ? rc : made(w, simple_timer_new(w->env, &slot, err), err);
}

static int make_clock(struct simple_wiring *w, struct error **err)
{
    struct simple_clock_config cfg = {.base_ns = base_ns(w->machine)};
    int rc = simple_take_slot(w, RING3_SIMPLE_CLOCK, "clock", SIMPLE_CLOCK_BYTES, &cfg.slot, err);

    return rc ? rc : made(w, simple_clock_new(w->env, &cfg, err), err);
}

static int make_power(struct simple_wiring *w, struct error **err)
{
    struct simple_slot slot;
    int rc;

    w->board->power_port = (uint16_t)(RING3_SIMPLE_FIRST_PORT + w->board->devices);
    rc = simple_take_slot(w, RING3_SIMPLE_POWER, "power", 0, &slot, err);
    return rc ? rc : made(w, simple_power_new(w->env, &slot, err), err);
}

static int make_video(struct simple_wiring *w, struct error **err)
{
    const struct text_screen_config text = {
        .window = w->board->text_window ? SIMPLE_TEXT_WINDOW : 0,
    };
    struct simple_slot slot;
    struct device *dev;
    int rc = simple_take_slot(w, RING3_SIMPLE_VIDEO, "video", SIMPLE_VIDEO_BYTES, &slot, err);

    if (rc)
        return rc;
    w->board->text = text_screen_new(w->env, &text, err);
    rc = made(w, w->board->text, err);
    if (rc)
        return rc;
    dev = simple_video_new(w->env, &slot, w->board->text, err);
    if (dev)
        w->machine->display = simple_video_display(dev);
    return made(w, dev, err);
}

static int make_keyboard(struct simple_wiring *w, struct error **err)
{
    struct simple_keyboard_config cfg = {.input = w->machine->input};
    int rc = simple_take_slot(w, RING3_SIMPLE_KEYBOARD, "keyboard", 0, &cfg.slot, err);

    if (rc)
        return rc;
    w->board->keyboard = simple_keyboard_new(w->env, &cfg, err);
    return made(w, w->board->keyboard, err);
}

/* Not in the table: the ports that test suites expect. */
static int make_debug_exit(struct simple_wiring *w, struct error **err)
{
    uint16_t port = w->machine->config.debug_exit_port;
    const struct debug_exit_config cfg = {.port = port ? port : SIMPLE_DEBUG_EXIT};

    return made(w, debug_exit_new(w->env, &cfg, err), err);
}

static bool screen_put(void *opaque, unsigned first, const uint8_t *cells, unsigned count)
{
    text_screen_put(opaque, first, cells, count);
    return true;
}

static int make_hypercalls(struct simple_wiring *w, struct error **err)
{
    const struct hypercall_config cfg = {
        .groups = HYPERCALL_SHARED_PAGE | HYPERCALL_TEACHING | HYPERCALL_SIMPLE,
        .base_ns = base_ns(w->machine), .disk = w->board->disk,
        .screen = screen_put, .screen_opaque = w->board->text,
    };

    return machine_add_hypercalls(w->machine, w->env, &cfg, err);
}

static int (*const makers[])(struct simple_wiring *w, struct error **err) = {
    make_serial, make_keyboard, make_video, make_timer, make_clock, make_power, simple_plug_all,
    make_debug_exit, make_hypercalls,
};

int simple_devices_make(struct machine *m, const struct device_env *env, struct error **err)
{
    struct simple_board *b = m->board;
    struct simple_wiring w = {m, b, env};
    int rc = 0;

    b->table = memory_map_block(m->memory, "device table", gpa(RING3_SIMPLE_TABLE_ADDRESS),
                                table_bytes(), MEMORY_READONLY, err).p;
    if (!b->table)
        return -ENOMEM;
    b->next_memory = RING3_SIMPLE_TABLE_ADDRESS + table_bytes();
    for (unsigned i = 0; i < ARRAY_SIZE(makers) && !rc; i++)
        rc = makers[i](&w, err);
    if (!rc)
        rc = simple_ports_init(&b->ports, m->bus, RING3_SIMPLE_FIRST_PORT, b->devices, err);
    return rc;
}

void simple_devices_clear(struct machine *m)
{
    const struct simple_board *b = m->board;

    for (unsigned i = 0; i < b->devices; i++) {
        hva_t host = memory_host(m->memory, gpa(b->memory[i].base), b->memory[i].bytes, true);

        /* Given back to the host rather than filled: most of it was never touched. */
        if (!b->memory[i].bytes || madvise(host.p, b->memory[i].bytes, MADV_DONTNEED) != 0)
            continue;
        memory_written(m->memory, gpa(b->memory[i].base), b->memory[i].bytes);
    }
}
