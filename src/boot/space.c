/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * space.c - who has which guest memory while an image is being loaded.
 *
 * A plain array: a boot places a dozen things. Addresses come from files, so
 * every sum is checked for wrapping.
 */
#include "boot/loader.h"

#include <errno.h>
#include <stdio.h>

#include "base/bug.h"

static const char *size_text(uint64_t bytes, char buf[32])
{
    if (bytes >= 1 << 20)
        snprintf(buf, 32, "%llu MiB", (unsigned long long)(bytes >> 20));
    else
        snprintf(buf, 32, "%llu KiB", (unsigned long long)((bytes + 1023) >> 10));
    return buf;
}

/* Index of something that overlaps [start, end), or -1. */
static int taken_by(const struct boot_space *s, uint64_t start, uint64_t end)
{
    for (unsigned i = 0; i < s->count; i++)
        if (start < s->used[i].start + s->used[i].size_bytes && s->used[i].start < end)
            return (int)i;
    return -1;
}

bool boot_space_holds(const struct boot_space *s, uint64_t at)
{
    return at < UINT64_MAX && taken_by(s, at, at + 1) >= 0;
}

static int take(struct boot_space *s, uint64_t start, uint64_t size, const char *what,
                struct error **err)
{
    if (s->count == BOOT_SPACE_MAX)
        return error_set(err, E2BIG, "%s: the image has more than %d parts", what,
                         BOOT_SPACE_MAX);
    s->used[s->count].start = start;
    s->used[s->count].size_bytes = size;
    s->used[s->count++].what = what;
    return 0;
}

int boot_space_claim(struct boot_space *s, uint64_t start, uint64_t size_bytes,
                     const char *what, struct error **err)
{
    char have[32], need[32];
    int other;

    if (size_bytes == 0)
        return 0;
    if (!e820_ram_at(s->map, start, size_bytes)) {
        int rc = error_set(err, ENOMEM,
                           "%s wants %s at address %#llx, where the guest has no RAM for it "
                           "(guest memory: %s)",
                           what, size_text(size_bytes, need), (unsigned long long)start,
                           size_text(e820_ram_bytes(s->map), have));

        error_hint(err, "give the guest more --memory");
        return rc;
    }
    other = taken_by(s, start, start + size_bytes);
    if (other >= 0)
        return error_set(err, EEXIST, "%s (%#llx bytes at %#llx) overlaps %s (%#llx bytes at "
                         "%#llx)", what, (unsigned long long)size_bytes,
                         (unsigned long long)start, s->used[other].what,
                         (unsigned long long)s->used[other].size_bytes,
                         (unsigned long long)s->used[other].start);
    return take(s, start, size_bytes, what, err);
}

/* The best place in [low, high), or UINT64_MAX. Whenever something is in the
 * way, goes on just past it. */
static uint64_t find_in(const struct boot_space *s, const struct boot_wish *w, uint64_t low,
                        uint64_t high)
{
    uint64_t at;
    int other;

    if (low >= high || w->size_bytes > high - low)
        return UINT64_MAX;
    at = w->top_down ? align_down(high - w->size_bytes, w->align) : align_up(low, w->align);
    for (;;) {
        if (at < low || at > high - w->size_bytes)
            return UINT64_MAX;
        other = taken_by(s, at, at + w->size_bytes);
        if (other < 0)
            return at;
        if (w->top_down) {
            if (s->used[other].start < w->size_bytes)
                return UINT64_MAX;
            at = align_down(s->used[other].start - w->size_bytes, w->align);
        } else {
            at = align_up(s->used[other].start + s->used[other].size_bytes, w->align);
        }
    }
}

int boot_space_find(struct boot_space *s, const struct boot_wish *w, gpa_t *out,
                    struct error **err)
{
    char need[32], have[32];
    int rc;

    BUG_ON(w->align == 0 || (w->align & (w->align - 1)));
    for (unsigned i = 0; i < s->map->count; i++) {
        unsigned n = w->top_down ? s->map->count - 1 - i : i;
        const struct e820_entry *e = &s->map->entry[n];
        uint64_t at;

        if (e->type != E820_RAM)
            continue;
        at = find_in(s, w, max_u64(w->low, e->base), min_u64(w->high, e->base + e->size_bytes));
        if (at == UINT64_MAX)
            continue;
        *out = gpa(at);
        return take(s, at, w->size_bytes, w->what, err);
    }
    rc = error_set(err, ENOMEM,
                   "%s (%s) does not fit into free guest memory between %#llx and %#llx (guest "
                   "memory: %s)",
                   w->what, size_text(w->size_bytes, need), (unsigned long long)w->low,
                   (unsigned long long)w->high, size_text(e820_ram_bytes(s->map), have));
    error_hint(err, "give the guest more --memory");
    return rc;
}
