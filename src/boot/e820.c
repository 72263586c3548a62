/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * e820.c - painting the memory map.
 *
 * The map is rebuilt into a scratch copy on every change. It is tiny and made
 * once per start, so clarity wins over moving entries in place.
 */
#include "boot/e820.h"

#include "base/bug.h"

/* Appends, merging with a neighbour of the same type. */
static void append(struct e820_map *map, uint64_t base, uint64_t end, uint32_t type)
{
    struct e820_entry *last = map->count ? &map->entry[map->count - 1] : NULL;

    if (base == end)
        return;
    if (last && last->type == type && last->base + last->size_bytes == base) {
        last->size_bytes += end - base;
        return;
    }
    BUG_ON(map->count == E820_MAX);
    map->entry[map->count++] = (struct e820_entry){base, end - base, type};
}

void e820_set(struct e820_map *map, uint64_t base, uint64_t size_bytes, enum e820_type type)
{
    uint64_t end = base + size_bytes;
    struct e820_map out = {.count = 0};
    bool placed = false;

    BUG_ON(end < base);
    for (unsigned i = 0; i < map->count; i++) {
        uint64_t b = map->entry[i].base, e = b + map->entry[i].size_bytes;
        uint32_t t = map->entry[i].type;

        append(&out, b, max_u64(b, min_u64(e, base)), t);
        if (!placed && e > base) {
            append(&out, base, end, type);
            placed = true;
        }
        append(&out, min_u64(e, max_u64(b, end)), e, t);
    }
    if (!placed)
        append(&out, base, end, type);
    *map = out;
}

const struct e820_entry *e820_ram_at(const struct e820_map *map, uint64_t base,
                                     uint64_t size_bytes)
{
    for (unsigned i = 0; i < map->count; i++) {
        const struct e820_entry *e = &map->entry[i];

        if (e->type == E820_RAM && base >= e->base &&
            range_inside(base - e->base, size_bytes, e->size_bytes))
            return e;
    }
    return NULL;
}

uint64_t e820_ram_bytes(const struct e820_map *map)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < map->count; i++)
        if (map->entry[i].type == E820_RAM)
            sum += map->entry[i].size_bytes;
    return sum;
}

uint64_t e820_extended_end(const struct e820_map *map)
{
    const struct e820_entry *e = e820_ram_at(map, 0x100000, 1);

    return e ? e->base + e->size_bytes : 0;
}
