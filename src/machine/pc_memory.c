/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc_memory.c - RAM and ROM in a PC's address space.
 *
 * A20: with address bit 20 forced to 0, processors see the first MiB twice. What real-mode
 * programs rely on is the 64 KiB from 1 MiB on, which FFFF:0010 reaches: they show the
 * first 64 KiB of RAM while the line is low. The higher odd megabytes are as ever.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/error.h"
#include "machine/pc_board.h"
#include "memory/memory.h"
#include "pci/pam.h"

enum { HIGH_AREA_BYTES = 64 << 10 };

int pc_memory_map(struct machine *m, struct error **err)
{
    struct pc *pc = pc_of(m);
    int rc = 0;

    pc->rams = pc_ram_layout(m->config.memory_bytes, pc->ram);
    pc_e820(m->config.memory_bytes, &pc->map);
    pc->a20 = pc->a20_shown = true;
    for (unsigned i = 0; i < pc->rams && !rc; i++)
        rc = memory_map_ram(m->memory, pc->ram[i].name, gpa(pc->ram[i].base), pc->ram[i].offset,
                            pc->ram[i].size_bytes, 0, err);
    return rc ? rc : pc_rom_map(&pc->rom, m->memory, err);
}

int pc_memory_make_pam(struct machine *m, const struct device_env *env, struct error **err)
{
    struct pam_config cfg;
    struct pc *pc = pc_of(m);

    cfg.rom = pc_rom_low(&pc->rom, &cfg.rom_bytes);
    pc->pam = pam_new(env, &cfg, err);
    return pc->pam ? 0 : -EIO;
}

static void clear(struct machine *m, uint64_t base, uint64_t offset, uint64_t bytes)
{
    if (fallocate(memory_fd(m->memory), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                  (off_t)bytes) == 0)
        memory_written(m->memory, gpa(base), bytes);
    else
        memory_fill(m->memory, gpa(base), 0, bytes);
}

/* The devices are reset: A20 is on, and no shadow RAM is shown. */
void pc_memory_clear(struct machine *m)
{
    const struct pc *pc = pc_of(m);

    for (unsigned i = 0; i < pc->rams; i++)
        clear(m, pc->ram[i].base, pc->ram[i].offset, pc->ram[i].size_bytes);
    memset(memory_ram_base(m->memory).p + PC_LOW_END, 0, PC_EXTENDED - PC_LOW_END);
}

/* ---- A20 ---------------------------------------------------------------------- */

/* No vCPU runs. */
static void show_a20(void *opaque)
{
    struct machine *m = opaque;
    struct pc *pc = pc_of(m);
    const struct pc_ram *r = &pc->ram[1];
    uint64_t rest = r->size_bytes - min_u64(r->size_bytes, HIGH_AREA_BYTES);

    if (pc->a20 == pc->a20_shown || pc->rams < 2 || r->base != PC_EXTENDED)
        return;
    pc->a20_shown = pc->a20;
    memory_unmap(m->memory, gpa(r->base));
    if (pc->a20) {
        if (rest)
            memory_unmap(m->memory, gpa(r->base + HIGH_AREA_BYTES));
        memory_map_ram(m->memory, r->name, gpa(r->base), r->offset, r->size_bytes, 0, NULL);
        return;
    }
    memory_map_ram(m->memory, "a20 off", gpa(r->base), 0, r->size_bytes - rest, 0, NULL);
    if (rest)
        memory_map_ram(m->memory, r->name, gpa(r->base + HIGH_AREA_BYTES),
                       r->offset + HIGH_AREA_BYTES, rest, 0, NULL);
}

static void a20_set(void *opaque, unsigned n, bool level)
{
    struct machine *m = opaque;
    const struct still_line still = {machine_still_request, m};
    struct pc *pc = pc_of(m);

    if (pc->a20 == level)
        return;
    pc->a20 = level;
    still_request(&still, show_a20, m);
}

struct irq_line pc_memory_a20(struct machine *m)
{
    return (struct irq_line){a20_set, m, 0};
}

void pc_memory_unmap(struct machine *m)
{
    struct pc *pc = pc_of(m);

    pam_free(pc->pam);
    pc->pam = NULL;
    if (pc->rom.image && memory_find(m->memory, gpa(PC_HIGH - pc->rom.bytes)))
        memory_unmap(m->memory, gpa(PC_HIGH - pc->rom.bytes));
    pc_rom_close(&pc->rom);
    pc_vars_close(&pc->vars);
}
