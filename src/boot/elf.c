/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * elf.c - ELF executables of either class, loaded at physical addresses.
 *
 * System V ABI, "Object Files" and "Program Loading". Only program headers
 * matter to a loader; section headers are not looked at. Every offset, size
 * and count is checked against the file before it is used.
 */
#include "boot/loader.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"

enum { SEGMENTS_MAX = 64, NOTES_MAX_BYTES = 65536 };

struct segment {
    uint32_t type, flags;
    uint64_t offset, filesz, memsz, paddr, vaddr;
};

bool boot_elf_magic(const struct boot_job *job)
{
    const uint8_t *h = job->head;

    return memcmp(h, ELFMAG, SELFMAG) == 0 && h[EI_DATA] == ELFDATA2LSB &&
           (h[EI_CLASS] == ELFCLASS32 || h[EI_CLASS] == ELFCLASS64);
}

static int bad(struct error **err, const char *what, uint64_t value, const char *why)
{
    return error_set(err, ENOEXEC, "%s (%#llx) %s", what, (unsigned long long)value, why);
}

int boot_elf_open(const struct boot_job *job, struct boot_elf *elf, struct error **err)
{
    uint64_t file = job->image->kernel.size_bytes, table;
    Elf64_Ehdr h64;
    Elf32_Ehdr h32;
    uint16_t machine, type;

    memcpy(&h64, job->head, sizeof h64);
    memcpy(&h32, job->head, sizeof h32);
    elf->is64 = job->head[EI_CLASS] == ELFCLASS64;
    elf->entry = elf->is64 ? h64.e_entry : h32.e_entry;
    elf->table_offset = elf->is64 ? h64.e_phoff : h32.e_phoff;
    elf->entry_bytes = elf->is64 ? h64.e_phentsize : h32.e_phentsize;
    elf->segments = elf->is64 ? h64.e_phnum : h32.e_phnum;
    machine = elf->is64 ? h64.e_machine : h32.e_machine;
    type = elf->is64 ? h64.e_type : h32.e_type;

    if (job->head_bytes < (elf->is64 ? sizeof h64 : sizeof h32))
        return bad(err, "file size", file, "is less than an ELF header");
    if (machine != EM_386 && machine != EM_X86_64)
        return bad(err, "e_machine", machine, "is not an x86 processor");
    if (type != ET_EXEC && type != ET_DYN)
        return bad(err, "e_type", type, "is not an executable (an object file or a core dump?)");
    if (elf->entry_bytes < (elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
        return bad(err, "e_phentsize", elf->entry_bytes, "is too small");
    if (elf->segments == 0 || elf->segments > SEGMENTS_MAX)
        return bad(err, "e_phnum", elf->segments, "is not a sensible number of segments");
    table = elf->entry_bytes * elf->segments;
    if (!range_inside(elf->table_offset, table, file))
        return bad(err, "e_phoff", elf->table_offset, "points past the end of the file");
    return 0;
}

static int read_segment(const struct boot_job *job, const struct boot_elf *elf, unsigned n,
                        struct segment *s, struct error **err)
{
    uint64_t at = elf->table_offset + n * elf->entry_bytes;
    union { Elf64_Phdr p64; Elf32_Phdr p32; } u;
    int rc = boot_file_read(&job->image->kernel, at, &u, elf->is64 ? sizeof u.p64 : sizeof u.p32,
                            err);

    if (rc)
        return rc;
    if (elf->is64)
        *s = (struct segment){u.p64.p_type, u.p64.p_flags, u.p64.p_offset, u.p64.p_filesz,
                              u.p64.p_memsz, u.p64.p_paddr, u.p64.p_vaddr};
    else
        *s = (struct segment){u.p32.p_type, u.p32.p_flags, u.p32.p_offset, u.p32.p_filesz,
                              u.p32.p_memsz, u.p32.p_paddr, u.p32.p_vaddr};
    if ((s->type == PT_LOAD || s->type == PT_NOTE) &&
        !range_inside(s->offset, s->filesz, job->image->kernel.size_bytes))
        return error_set(err, ENODATA,
                         "segment %u (%#llx bytes at offset %#llx) reaches past the end of the "
                         "file, which has %#llx bytes; it is truncated or damaged", n,
                         (unsigned long long)s->filesz, (unsigned long long)s->offset,
                         (unsigned long long)job->image->kernel.size_bytes);
    if (s->type == PT_LOAD && s->filesz > s->memsz)
        return bad(err, "p_filesz", s->filesz, "is more than p_memsz");
    return 0;
}

bool boot_elf_has_segment(const struct boot_job *job, const struct boot_elf *elf, uint32_t type)
{
    struct segment s;

    for (unsigned i = 0; i < elf->segments; i++)
        if (read_segment(job, elf, i, &s, NULL) == 0 && s.type == type)
            return true;
    return false;
}

int boot_elf_load(struct boot_job *job, const struct boot_elf *elf, uint64_t *entry,
                  struct error **err)
{
    *entry = elf->entry;
    for (unsigned i = 0; i < elf->segments; i++) {
        struct segment s;
        int rc = read_segment(job, elf, i, &s, err);

        if (rc)
            return rc;
        if (s.type != PT_LOAD)
            continue;
        rc = boot_space_claim(&job->space, s.paddr, s.memsz, "ELF segment", err);
        if (!rc)
            rc = boot_file_load(&job->image->kernel, s.offset, job->target->memory,
                                gpa(s.paddr), s.filesz, err);
        if (rc)
            return rc;
        /* e_entry is virtual; where a segment's addresses differ, follow it. */
        if ((s.flags & PF_X) && elf->entry >= s.vaddr && elf->entry - s.vaddr < s.memsz)
            *entry = elf->entry - s.vaddr + s.paddr;
    }
    if (!boot_space_holds(&job->space, *entry))
        return bad(err, "e_entry", elf->entry, "lies outside of every loaded segment");
    return 0;
}

/* One segment's notes; 4-byte aligned in both classes (gABI aside, that is
 * what Xen and Linux write). */
static int find_note(const uint8_t *notes, uint64_t len, const char *owner, uint32_t type,
                     uint64_t *value)
{
    uint64_t owner_bytes = strlen(owner) + 1, at = 0;

    while (range_inside(at, sizeof(Elf64_Nhdr), len)) {
        uint64_t namesz = get_le32(notes + at), descsz = get_le32(notes + at + 4);
        uint64_t name = at + sizeof(Elf64_Nhdr), desc = name + align_up(namesz, 4);

        if (!range_inside(name, namesz, len) || !range_inside(desc, descsz, len))
            break;
        if (get_le32(notes + at + 8) == type && namesz == owner_bytes &&
            memcmp(notes + name, owner, owner_bytes) == 0 && (descsz == 4 || descsz == 8)) {
            *value = descsz == 4 ? get_le32(notes + desc) : get_le64(notes + desc);
            return 0;
        }
        at = desc + align_up(descsz, 4);
    }
    return -ENOENT;
}

int boot_elf_note(const struct boot_job *job, const struct boot_elf *elf, const char *owner,
                  uint32_t type, uint64_t *value)
{
    uint8_t *notes = malloc(NOTES_MAX_BYTES);
    int rc = -ENOENT;

    for (unsigned i = 0; notes && rc && i < elf->segments; i++) {
        struct segment s;
        uint64_t len;

        if (read_segment(job, elf, i, &s, NULL) || s.type != PT_NOTE)
            continue;
        len = min_u64(s.filesz, NOTES_MAX_BYTES);
        if (boot_file_read(&job->image->kernel, s.offset, notes, len, NULL) == 0)
            rc = find_note(notes, len, owner, type, value);
    }
    free(notes);
    return rc;
}
