/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pam.c - which of RAM and ROM a guest meets in the upper memory area.
 *
 * Reads of RAM with writes going elsewhere are read-only memory; the other way round,
 * which firmware uses to copy a ROM onto itself, is ROM whose writes come to the bus and
 * are put into RAM here.
 */
#include "pci/pam.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/log.h"
#include "bus/bus.h"
#include "memory/memory.h"

enum { REG_PAM0 = 0x59, SEGMENTS = 13, SMALL_BYTES = 0x4000, LARGE_BYTES = 0x10000, LAST = 12 };
enum { READ_RAM = 1, WRITE_RAM = 2, REG_SMRAM = 0x72, SMRAM_CLOSED = 0x02 };

enum shown { SHOWN_NOTHING, SHOWN_ROM, SHOWN_RAM, SHOWN_RAM_READONLY };

struct pam {
    struct memory *memory;
    struct bus *bus;
    struct log *log;
    struct still_line still;
    struct pam_config config;
    uint8_t attribute[SEGMENTS];       /* READ_RAM, WRITE_RAM: as the registers are */
    enum shown shown[SEGMENTS];        /* as the memory map is */
};

static uint64_t base_of(unsigned segment)
{
    return PAM_START + (uint64_t)segment * SMALL_BYTES;
}

static uint64_t bytes_of(unsigned segment)
{
    return segment == LAST ? LARGE_BYTES : SMALL_BYTES;
}

static unsigned segment_of(uint64_t offset)
{
    uint64_t n = offset / SMALL_BYTES;

    return n < LAST ? (unsigned)n : LAST;
}

static enum shown wanted(const struct pam *p, unsigned segment)
{
    uint8_t a = p->attribute[segment];

    if (a & READ_RAM)
        return a & WRITE_RAM ? SHOWN_RAM : SHOWN_RAM_READONLY;
    return base_of(segment) >= PAM_END - p->config.rom_bytes ? SHOWN_ROM : SHOWN_NOTHING;
}

static int show(struct pam *p, unsigned segment, enum shown what)
{
    uint64_t base = base_of(segment), bytes = bytes_of(segment);
    uint64_t in_rom = base - (PAM_END - p->config.rom_bytes);

    if (what == SHOWN_ROM)
        return memory_map_host(p->memory, "bios", gpa(base), hva(p->config.rom.p + in_rom), bytes,
                               MEMORY_READONLY, NULL);
    return memory_map_ram(p->memory, "shadow", gpa(base), base, bytes,
                          what == SHOWN_RAM ? 0 : MEMORY_READONLY, NULL);
}

/* No vCPU runs. A frame buffer that a guest put here is in the way: its loss. */
static void bring_in_line(void *opaque)
{
    struct pam *p = opaque;

    for (unsigned i = 0; i < SEGMENTS; i++) {
        enum shown what = wanted(p, i);

        if (what == p->shown[i])
            continue;
        if (p->shown[i] != SHOWN_NOTHING)
            memory_unmap(p->memory, gpa(base_of(i)));
        p->shown[i] = SHOWN_NOTHING;
        if (what != SHOWN_NOTHING && show(p, i, what) == 0)
            p->shown[i] = what;
    }
}

/* ---- writes that do not go where reads come from -------------------------- */

static void written(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pam *p = opaque;
    uint8_t *ram = memory_ram_base(p->memory).p + PAM_START;

    for (unsigned i = 0; i < size; i++, offset++, value >>= 8)
        if (p->attribute[segment_of(offset)] == WRITE_RAM)
            ram[offset] = (uint8_t)value;
}

/* ---- the host bridge's registers ------------------------------------------ */

void pam_bridge_init(void *pam, struct pci_function *bridge)
{
    bridge->writable[REG_PAM0] = 0x30;
    for (unsigned i = 1; i <= LAST / 2; i++)
        bridge->writable[REG_PAM0 + i] = 0x33;
    bridge->state->config[REG_SMRAM] = SMRAM_CLOSED;
}

void pam_bridge_changed(void *pam, const struct pci_function *bridge)
{
    struct pam *p = pam;
    const uint8_t *reg = bridge->state->config + REG_PAM0;
    bool changed = false;

    for (unsigned i = 0; i < SEGMENTS; i++) {
        uint8_t both = i == LAST ? reg[0] : reg[1 + i / 2];
        uint8_t mine = (i == LAST || i & 1 ? both >> 4 : both) & (READ_RAM | WRITE_RAM);

        changed |= mine != p->attribute[i];
        p->attribute[i] = mine;
    }
    if (changed)
        still_request(&p->still, bring_in_line, p);
}

/* ---- life ------------------------------------------------------------------ */

void pam_free(struct pam *p)
{
    if (!p)
        return;
    for (unsigned i = 0; i < SEGMENTS; i++)
        if (p->shown[i] != SHOWN_NOTHING)
            memory_unmap(p->memory, gpa(base_of(i)));
    bus_remove(p->bus, BUS_MMIO, PAM_START);
    free(p);
}

struct pam *pam_new(const struct device_env *env, const struct pam_config *cfg,
                    struct error **err)
{
    struct bus_region region = {.name = "shadow", .base = PAM_START,
                                .size = PAM_END - PAM_START, .write = written};
    struct pam *p = calloc(1, sizeof *p);

    BUG_ON(cfg->rom_bytes % LARGE_BYTES || cfg->rom_bytes > PAM_END - PAM_START);
    if (!p) {
        error_set(err, ENOMEM, "no memory for the shadow RAM's map");
        return NULL;
    }
    *p = (struct pam){.memory = env->memory, .bus = env->bus, .log = env->log,
                      .still = env->still, .config = *cfg};
    region.opaque = p;
    if (bus_add(env->bus, BUS_MMIO, &region, err)) {
        free(p);
        return NULL;
    }
    still_request(&p->still, bring_in_line, p);
    return p;
}
