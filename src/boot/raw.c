/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * raw.c - raw images, and the processor in one of four modes (see raw.h).
 */
#include "boot/raw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "boot/loader.h"
#include "memory/memory.h"

enum { SEL_CODE = 8, SEL_DATA = 16, REAL_END = 0x100000, STACK_END = 2 << 20 };
enum { TABLES = 0x2000, PTE_ALL = 7 /* present, writable, user */, PTE_LARGE = 0x80 };

static const char *const mode_names[] = {"real", "protected", "paging32", "long", NULL};

/* ---- what the user says ------------------------------------------------- */

/* The part in front of the last '@' is `len` bytes long. */
static int split_address(const char *text, size_t *len, uint64_t *address, struct error **err)
{
    const char *at = strrchr(text, '@');

    if (!at || at == text) {
        error_set(err, EINVAL, "'%s' names no address", text);
        error_hint(err, "write FILE@ADDRESS, for example kernel.bin@0x100000");
        return -EINVAL;
    }
    if (str_parse_number(at + 1, address) < 0)
        return error_set(err, EINVAL, "'%s': '%s' is not an address", text, at + 1);
    *len = (size_t)(at - text);
    return 0;
}

static int open_part(struct boot_raw *raw, const char *text, struct error **err)
{
    size_t len = 0;
    char *path;
    int rc;

    if (raw->parts == BOOT_RAW_MAX)
        return error_set(err, E2BIG, "'%s' is one image too many (at most %d)", text,
                         BOOT_RAW_MAX);
    rc = split_address(text, &len, &raw->part[raw->parts].at, err);
    if (rc)
        return rc;
    path = strndup(text, len);
    if (!path)
        return error_set(err, ENOMEM, "cannot open '%s': out of memory", text);
    rc = boot_file_open(&raw->part[raw->parts].file, "image", path, err);
    free(path);
    if (!rc)
        raw->parts++;
    return rc;
}

static int read_start(struct boot_raw *raw, const char *start, struct error **err)
{
    size_t len = strcspn(start, "@");
    char name[16] = "";

    memcpy(name, start, min_u64(len, sizeof name - 1));
    if (start[len] && str_parse_number(start + len + 1, &raw->entry) < 0)
        return error_set(err, EINVAL, "start '%s': '%s' is not an address", start,
                         start + len + 1);
    for (unsigned i = 0; mode_names[i]; i++) {
        if (strcmp(mode_names[i], name) == 0) {
            raw->mode = (enum boot_mode)i;
            return 0;
        }
    }
    return error_no_such(err, "start mode", name, mode_names);
}

static int check_entry(const struct boot_raw *raw, struct error **err)
{
    if (raw->mode == BOOT_REAL && (raw->entry % 16 || raw->entry >= REAL_END))
        return error_set(err, EINVAL, "real mode cannot begin at %#llx: it has to be a multiple "
                         "of 16 below 1 MiB", (unsigned long long)raw->entry);
    if (raw->mode != BOOT_LONG && raw->entry > UINT32_MAX)
        return error_set(err, EINVAL, "32-bit code cannot begin at %#llx",
                         (unsigned long long)raw->entry);
    return 0;
}

int boot_raw_open(struct boot_raw *raw, const char *const *loads, const char *start,
                  struct error **err)
{
    int rc = 0;

    *raw = (struct boot_raw){.parts = 0};
    for (; *loads && !rc; loads++)
        rc = open_part(raw, *loads, err);
    if (!rc)
        raw->entry = raw->part[0].at;
    if (!rc && start)
        rc = read_start(raw, start, err);
    if (!rc)
        rc = check_entry(raw, err);
    if (rc)
        boot_raw_close(raw);
    return rc;
}

void boot_raw_close(struct boot_raw *raw)
{
    while (raw->parts)
        boot_file_close(&raw->part[--raw->parts].file);
}

/* ---- the processor ------------------------------------------------------ */

static void segments(struct x86_state *s, const struct x86_segment *code,
                     const struct x86_segment *data)
{
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        s->seg[i] = i == X86_CS ? *code : *data;
    s->gdtr = s->idtr = (struct x86_table){0, 0};
}

static void start_real(struct x86_state *s, uint64_t entry)
{
    const struct x86_segment code = {.base = entry, .limit = 0xffff, .attr = 0x9b,
                                     .selector = (uint16_t)(entry >> 4)};
    struct x86_segment data = code;

    data.attr = 0x93;
    segments(s, &code, &data);
    s->idtr.limit = 0x3ff;
    s->cr0 = X86_CR0_ET;
}

static void start_flat(struct x86_state *s, uint64_t entry, unsigned mode_attr)
{
    const struct x86_segment code = {
        .limit = UINT32_MAX, .selector = SEL_CODE,
        .attr = 0xb | X86_ATTR_S | X86_ATTR_P | X86_ATTR_G | mode_attr,
    };
    const struct x86_segment data = {
        .limit = UINT32_MAX, .selector = SEL_DATA,
        .attr = 0x3 | X86_ATTR_S | X86_ATTR_P | X86_ATTR_G | X86_ATTR_DB,
    };

    segments(s, &code, &data);
    s->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE;
    s->rip = entry;
}

static void page_on(struct x86_state *s, uint32_t cr4)
{
    s->cr0 |= X86_CR0_PG | X86_CR0_WP | X86_CR0_AM;
    s->cr3 = TABLES;
    s->cr4 = cr4;
}

/* Claims and fills the tables: `entry[i]` is the first entry of page i. */
static int place_tables(const struct boot_target *target, struct boot_space *space,
                        const uint64_t *entry, unsigned pages, struct error **err)
{
    uint8_t page[PAGE_SIZE] = {0};
    int rc = boot_space_claim(space, TABLES, pages * PAGE_SIZE, "the start mode's page tables",
                              err);

    for (unsigned i = 0; i < pages && !rc; i++) {
        put_le64(page, entry[i]);
        rc = memory_write(target->memory, gpa(TABLES + i * PAGE_SIZE), page, sizeof page);
    }
    return rc;
}

static int enter_mode(const struct boot_raw *raw, const struct boot_target *target,
                      struct boot_space *space, struct x86_state *s, struct error **err)
{
    static const uint64_t directory32[] = {PTE_ALL | PTE_LARGE};
    static const uint64_t tables64[] = {
        (TABLES + PAGE_SIZE) | PTE_ALL, (TABLES + 2 * PAGE_SIZE) | PTE_ALL, PTE_ALL | PTE_LARGE,
    };

    switch (raw->mode) {
    case BOOT_REAL:
        start_real(s, raw->entry);
        return 0;
    case BOOT_PROTECTED:
        start_flat(s, raw->entry, X86_ATTR_DB);
        return 0;
    case BOOT_PAGING32:
        start_flat(s, raw->entry, X86_ATTR_DB);
        page_on(s, X86_CR4_PSE);
        return place_tables(target, space, directory32, ARRAY_SIZE(directory32), err);
    case BOOT_LONG:
        start_flat(s, raw->entry, X86_ATTR_L);
        page_on(s, X86_CR4_PAE);
        s->msr.efer = X86_EFER_LME | X86_EFER_LMA;
        return place_tables(target, space, tables64, ARRAY_SIZE(tables64), err);
    }
    return -EINVAL;
}

int boot_raw_load(const struct boot_raw *raw, const struct boot_target *target,
                  struct x86_state *start, struct error **err)
{
    struct boot_space space = {.map = target->map};
    const struct e820_entry *low = e820_ram_at(target->map, 0, 1);
    int rc = 0;

    for (unsigned i = 0; i < raw->parts && !rc; i++) {
        const struct boot_file *f = &raw->part[i].file;

        rc = boot_space_claim(&space, raw->part[i].at, f->size_bytes, f->path, err);
        if (!rc)
            rc = boot_file_load(f, 0, target->memory, gpa(raw->part[i].at), f->size_bytes, err);
        if (!rc)
            log_trace(target->log, BOOT, "image '%s': %llu bytes at %#llx", f->path,
                      (unsigned long long)f->size_bytes, (unsigned long long)raw->part[i].at);
    }
    if (rc)
        return rc;
    x86_state_power_on(start, true);
    memset(start->gpr, 0, sizeof start->gpr);
    start->rip = 0;
    start->rflags = X86_FLAG_1;
    rc = enter_mode(raw, target, &space, start, err);
    if (raw->mode != BOOT_REAL)
        start->gpr[X86_RSP] = low ? min_u64(STACK_END, low->size_bytes) : 0;
    return rc;
}
