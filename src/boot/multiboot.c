/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * multiboot.c - multiboot 1 images.
 *
 * Multiboot Specification 0.6.96. The header is somewhere in the first 8 KiB
 * of the file, aligned to 4. Where the image goes comes from the header's
 * address fields if bit 16 says so (the "a.out kludge"), else from its ELF
 * program headers, of either class: kvm-unit-tests and others carry 64-bit
 * code in an image that is entered in 32-bit mode all the same.
 *
 * The information structure follows section 3.3; the initrd, if any, is the
 * first module. Its command line starts with the image's name, which is what
 * boot loaders do and images count on.
 */
#include "boot/loader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"

#define HEADER_MAGIC 0x1badb002u
#define LOADER_MAGIC 0x2badb002u

enum { FLAG_PAGE_ALIGN = 1, FLAG_MEMORY = 2, FLAG_VIDEO = 4, FLAG_REQUIRED = 0xffff,
       FLAG_ADDRESSES = 1 << 16 };
enum { INFO_MEMORY = 1, INFO_CMDLINE = 4, INFO_MODULES = 8, INFO_MMAP = 0x40,
       INFO_LOADER_NAME = 0x200 };
enum {   /* offsets in the information structure */
    MBI_FLAGS = 0, MBI_MEM_LOWER = 4, MBI_MEM_UPPER = 8, MBI_CMDLINE = 16, MBI_MODS_COUNT = 20,
    MBI_MODS_ADDR = 24, MBI_MMAP_LENGTH = 44, MBI_MMAP_ADDR = 48, MBI_LOADER_NAME = 64,
    MBI_BYTES = 120,
};
enum { MODULE_BYTES = 16, MMAP_BYTES = 24 };

struct header {
    uint32_t at;                   /* in the file */
    uint32_t flags;
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct handover {
    uint8_t info[MBI_BYTES];
    uint8_t module[BOOT_MODULES_MAX + 1][MODULE_BYTES];
    uint8_t mmap[E820_MAX][MMAP_BYTES];
    char loader[8];
};

static bool find_header(const struct boot_job *job, struct header *h)
{
    for (uint32_t at = 0; range_inside(at, 12, job->head_bytes); at += 4) {
        const uint8_t *p = job->head + at;

        if (get_le32(p) != HEADER_MAGIC ||
            get_le32(p) + get_le32(p + 4) + get_le32(p + 8) != 0)
            continue;
        *h = (struct header){.at = at, .flags = get_le32(p + 4)};
        if (!(h->flags & FLAG_ADDRESSES))
            return true;
        if (!range_inside(at, 32, job->head_bytes))
            return false;
        h->header_addr = get_le32(p + 12);
        h->load_addr = get_le32(p + 16);
        h->load_end_addr = get_le32(p + 20);
        h->bss_end_addr = get_le32(p + 24);
        h->entry_addr = get_le32(p + 28);
        return true;
    }
    return false;
}

static bool probe(const struct boot_job *job)
{
    struct header h;

    return find_header(job, &h);
}

static int bad(struct error **err, const char *field, uint64_t value, const char *why)
{
    return error_set(err, ENOEXEC, "multiboot header field %s (%#llx) %s", field,
                     (unsigned long long)value, why);
}

static int load_by_addresses(struct boot_job *job, const struct header *h, uint64_t *entry,
                             struct error **err)
{
    uint64_t file = job->image->kernel.size_bytes, start, len, bss_end;
    int rc;

    if (h->header_addr < h->load_addr)
        return bad(err, "load_addr", h->load_addr, "lies after header_addr");
    if (h->header_addr - h->load_addr > h->at)
        return bad(err, "load_addr", h->load_addr, "lies before the start of the file");
    start = h->at - (h->header_addr - h->load_addr);
    if (h->load_end_addr && h->load_end_addr < h->load_addr)
        return bad(err, "load_end_addr", h->load_end_addr, "lies before load_addr");
    len = h->load_end_addr ? h->load_end_addr - h->load_addr : file - start;
    if (!range_inside(start, len, file))
        return bad(err, "load_end_addr", h->load_end_addr, "lies past the end of the file");
    bss_end = h->bss_end_addr ? h->bss_end_addr : h->load_addr + len;
    if (bss_end < h->load_addr + len)
        return bad(err, "bss_end_addr", bss_end, "lies before the end of the data");

    rc = boot_space_claim(&job->space, h->load_addr, bss_end - h->load_addr, "multiboot image",
                          err);
    if (!rc)
        rc = boot_file_load(&job->image->kernel, start, job->target->memory, gpa(h->load_addr),
                            len, err);
    *entry = h->entry_addr;
    if (!rc && !boot_space_holds(&job->space, *entry))
        rc = bad(err, "entry_addr", *entry, "lies outside of the image");
    return rc;
}

static int load_image(struct boot_job *job, uint64_t *entry, struct error **err)
{
    struct boot_elf elf;
    struct header h;
    uint32_t unknown;
    int rc;

    if (!find_header(job, &h))
        return error_set(err, ENOEXEC, "the multiboot header is gone");
    unknown = h.flags & FLAG_REQUIRED & ~(FLAG_PAGE_ALIGN | FLAG_MEMORY | FLAG_VIDEO);
    if (unknown)
        return bad(err, "flags", unknown, "asks for features that nobody has defined");
    if (h.flags & FLAG_ADDRESSES)
        return load_by_addresses(job, &h, entry, err);
    if (!boot_elf_magic(job))
        return bad(err, "flags", h.flags, "gives no load addresses, and the file is not ELF");
    rc = boot_elf_open(job, &elf, err);
    if (!rc)
        rc = boot_elf_load(job, &elf, entry, err);
    if (!rc && *entry > UINT32_MAX)
        rc = error_set(err, ENOEXEC, "entry point %#llx is above 4 GiB",
                       (unsigned long long)*entry);
    return rc;
}

/* "name arguments", as boot loaders pass it. */
static int place_string(struct boot_job *job, const char *name, const char *args, gpa_t *out,
                        struct error **err)
{
    char *text;
    int rc;

    if (asprintf(&text, "%s%s%s", name, *args ? " " : "", args) < 0)
        return error_set(err, ENOMEM, "command line: out of memory");
    rc = boot_place_text(job, "command line", text, out, err);
    free(text);
    return rc;
}

static int place_module(struct boot_job *job, const struct boot_file *f, uint8_t *entry,
                        struct error **err)
{
    struct boot_wish w = {.align = PAGE_SIZE, .low = BOOT_EXTENDED, .high = 1ull << 32};
    gpa_t at, text;
    int rc = boot_place_file(job, f, &w, &at, err);

    if (!rc)
        rc = place_string(job, f->path, "", &text, err);
    if (rc)
        return rc;
    put_le32(entry, (uint32_t)at.v);
    put_le32(entry + 4, (uint32_t)(at.v + f->size_bytes));
    put_le32(entry + 8, (uint32_t)text.v);
    return 0;
}

static int place_modules(struct boot_job *job, struct handover *h, unsigned *count,
                         struct error **err)
{
    const struct boot_image *img = job->image;
    unsigned n = 0;
    int rc = 0;

    if (boot_file_given(&img->initrd))
        rc = place_module(job, &img->initrd, h->module[n++], err);
    for (unsigned i = 0; !rc && i < img->modules; i++)
        rc = place_module(job, &img->module[i], h->module[n++], err);
    *count = n;
    return rc;
}

static void put_memory(const struct e820_map *map, uint8_t *info, uint8_t mmap[][MMAP_BYTES])
{
    uint64_t lower = map->count && map->entry[0].type == E820_RAM && map->entry[0].base == 0
                         ? map->entry[0].size_bytes : 0;
    uint64_t end = e820_extended_end(map);
    uint64_t upper = end > BOOT_EXTENDED ? end - BOOT_EXTENDED : 0;

    put_le32(info + MBI_MEM_LOWER, (uint32_t)(min_u64(lower, 640 << 10) >> 10));
    put_le32(info + MBI_MEM_UPPER, (uint32_t)(upper >> 10));
    for (unsigned i = 0; i < map->count; i++) {
        put_le32(mmap[i], MMAP_BYTES - 4);      /* "size" does not count itself */
        put_le64(mmap[i] + 4, map->entry[i].base);
        put_le64(mmap[i] + 12, map->entry[i].size_bytes);
        put_le32(mmap[i] + 20, map->entry[i].type);
    }
    put_le32(info + MBI_MMAP_LENGTH, map->count * MMAP_BYTES);
}

static int place_info(struct boot_job *job, gpa_t *out, struct error **err)
{
    struct handover h = {.loader = "ring3"};
    unsigned modules = 0;
    gpa_t cmdline;
    int rc = boot_place_table(job, "multiboot information", sizeof h, out, err);

    if (!rc)
        rc = place_string(job, job->image->kernel.path, job->image->cmdline, &cmdline, err);
    if (!rc)
        rc = place_modules(job, &h, &modules, err);
    if (rc)
        return rc;
    put_memory(job->target->map, h.info, h.mmap);
    put_le32(h.info + MBI_FLAGS, INFO_MEMORY | INFO_CMDLINE | INFO_MMAP | INFO_LOADER_NAME |
                                     (modules ? INFO_MODULES : 0));
    put_le32(h.info + MBI_CMDLINE, (uint32_t)cmdline.v);
    put_le32(h.info + MBI_MODS_COUNT, modules);
    put_le32(h.info + MBI_MODS_ADDR, (uint32_t)(out->v + offsetof(struct handover, module)));
    put_le32(h.info + MBI_MMAP_ADDR, (uint32_t)(out->v + offsetof(struct handover, mmap)));
    put_le32(h.info + MBI_LOADER_NAME, (uint32_t)(out->v + offsetof(struct handover, loader)));
    boot_put(job, *out, &h, sizeof h);
    return 0;
}

static int load(struct boot_job *job, struct error **err)
{
    uint64_t entry;
    gpa_t info;
    int rc = load_image(job, &entry, err);

    if (!rc)
        rc = place_info(job, &info, err);
    if (!rc)
        rc = boot_start_protected(job, entry, err);
    if (rc)
        return rc;
    job->start->gpr[X86_RAX] = LOADER_MAGIC;
    job->start->gpr[X86_RBX] = info.v;
    return 0;
}

const struct boot_loader boot_multiboot = {
    .name = "multiboot", .summary = "multiboot image", .probe = probe, .load = load,
};
