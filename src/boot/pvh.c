/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvh.c - ELF images with a PVH entry, and plain 64-bit Linux ELF images.
 *
 * PVH: Xen's docs/misc/pvh.pandoc, "x86/HVM direct boot ABI", start info
 * version 1. The image names its 32-bit entry point in the note
 * XEN_ELFNOTE_PHYS32_ENTRY; it gets the address of hvm_start_info in EBX. A
 * Linux initrd is the first module.
 *
 * A vmlinux without the note has a 64-bit entry that takes the zero page in
 * RSI, like the one in a bzImage.
 */
#include "boot/loader.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/byteorder.h"

enum { XEN_ELFNOTE_PHYS32_ENTRY = 18 };

enum { START_INFO_MAGIC = 0x336ec578, START_INFO_BYTES = 56, MODULE_BYTES = 32,
       MEMMAP_BYTES = 24 };
enum {   /* offsets in hvm_start_info */
    SI_MAGIC = 0, SI_VERSION = 4, SI_NR_MODULES = 12, SI_MODLIST = 16, SI_CMDLINE = 24,
    SI_RSDP = 32, SI_MEMMAP = 40, SI_MEMMAP_ENTRIES = 48,
};

/* What is handed over, contiguous: start info, module list, memory map. */
struct handover {
    uint8_t info[START_INFO_BYTES];
    uint8_t module[BOOT_MODULES_MAX + 1][MODULE_BYTES];
    uint8_t memmap[E820_MAX][MEMMAP_BYTES];
};

static int place_module(struct boot_job *job, const struct boot_file *f, struct handover *h,
                        unsigned n, struct error **err)
{
    struct boot_wish w = {.align = PAGE_SIZE, .low = BOOT_EXTENDED, .high = 1ull << 32,
                          .top_down = true};
    gpa_t at;
    int rc = boot_place_file(job, f, &w, &at, err);

    if (rc)
        return rc;
    put_le64(h->module[n], at.v);
    put_le64(h->module[n] + 8, f->size_bytes);
    return 0;
}

static int place_modules(struct boot_job *job, struct handover *h, unsigned *count,
                         struct error **err)
{
    const struct boot_image *img = job->image;
    unsigned n = 0;
    int rc = 0;

    if (boot_file_given(&img->initrd))
        rc = place_module(job, &img->initrd, h, n++, err);
    for (unsigned i = 0; !rc && i < img->modules; i++)
        rc = place_module(job, &img->module[i], h, n++, err);
    *count = n;
    return rc;
}

static int place_start_info(struct boot_job *job, gpa_t *out, struct error **err)
{
    const struct e820_map *map = job->target->map;
    struct handover h = {0};
    unsigned modules;
    gpa_t cmdline;
    int rc = boot_place_table(job, "PVH start info", sizeof h, out, err);

    if (!rc)
        rc = boot_place_text(job, "command line", job->image->cmdline, &cmdline, err);
    if (!rc)
        rc = place_modules(job, &h, &modules, err);
    if (rc)
        return rc;
    for (unsigned i = 0; i < map->count; i++) {
        put_le64(h.memmap[i], map->entry[i].base);
        put_le64(h.memmap[i] + 8, map->entry[i].size_bytes);
        put_le32(h.memmap[i] + 16, map->entry[i].type);
    }
    put_le32(h.info + SI_MAGIC, START_INFO_MAGIC);
    put_le32(h.info + SI_VERSION, 1);
    put_le32(h.info + SI_NR_MODULES, modules);
    put_le64(h.info + SI_MODLIST, modules ? out->v + offsetof(struct handover, module) : 0);
    put_le64(h.info + SI_CMDLINE, cmdline.v);
    put_le64(h.info + SI_RSDP, job->target->rsdp.v);
    put_le64(h.info + SI_MEMMAP, out->v + offsetof(struct handover, memmap));
    put_le32(h.info + SI_MEMMAP_ENTRIES, map->count);
    boot_put(job, *out, &h, sizeof h);
    return 0;
}

static bool pvh_probe(const struct boot_job *job)
{
    struct boot_elf elf;
    uint64_t entry;

    return boot_elf_magic(job) && boot_elf_open(job, &elf, NULL) == 0 &&
           boot_elf_note(job, &elf, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, &entry) == 0;
}

static int pvh_load(struct boot_job *job, struct error **err)
{
    struct boot_elf elf;
    uint64_t entry, elf_entry;
    gpa_t info;
    int rc = boot_elf_open(job, &elf, err);

    if (rc)
        return rc;
    rc = boot_elf_note(job, &elf, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, &entry);
    if (rc)
        return error_set(err, -rc, "the PVH note is gone: the file is being changed");
    rc = boot_elf_load(job, &elf, &elf_entry, err);
    if (!rc && !boot_space_holds(&job->space, entry))
        rc = error_set(err, ENOEXEC, "the PVH entry point (%#llx) lies outside of every loaded "
                       "segment", (unsigned long long)entry);
    if (!rc)
        rc = place_start_info(job, &info, err);
    if (!rc)
        rc = boot_start_protected(job, entry, err);
    if (!rc)
        job->start->gpr[X86_RBX] = info.v;
    return rc;
}

/* Anything that is ELF at all ends here, so that what is wrong with it is said
 * by the ELF reader. Only 64-bit Linux has an entry that we know of. */
static bool elf64_probe(const struct boot_job *job)
{
    struct boot_elf elf;

    return boot_elf_magic(job) && (boot_elf_open(job, &elf, NULL) != 0 || elf.is64);
}

static int elf64_load(struct boot_job *job, struct error **err)
{
    struct boot_linux l = {.cmdline_max = 2047};
    struct boot_elf elf;
    uint64_t entry;
    gpa_t zero_page;
    int rc = boot_elf_open(job, &elf, err);

    if (rc)
        return rc;
    if (boot_elf_has_segment(job, &elf, PT_INTERP) || boot_elf_has_segment(job, &elf, PT_TLS))
        return error_set(err, ENOEXEC, "it is a program for user space, not a kernel");
    rc = boot_elf_load(job, &elf, &entry, err);
    if (rc)
        return rc;
    l.load_address = entry;
    rc = boot_linux_params(job, &l, &zero_page, err);
    if (!rc)
        rc = boot_start_long(job, entry, err);
    if (!rc)
        job->start->gpr[X86_RSI] = zero_page.v;
    return rc;
}

const struct boot_loader boot_pvh = {
    .name = "pvh", .summary = "ELF image with a PVH entry", .probe = pvh_probe, .load = pvh_load,
};
const struct boot_loader boot_elf64 = {
    .name = "elf64", .summary = "64-bit ELF image", .probe = elf64_probe, .load = elf64_load,
};
