/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bare.c - ELF programs that are started as if somebody had called them.
 *
 * For whoever writes the first lines of an operating system: the entry point is a C
 * function (System V ABI, 64 or 32 bits), there is a stack, floating point and SSE are
 * switched on, and a 64-bit program finds what boot.h says mapped one to one. When the
 * function returns, a few bytes of code behind the stack end the machine with what it
 * returned (boot_target.bare_exit_port).
 */
#include "boot/loader.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/byteorder.h"

enum { STACK_BYTES = 64 << 10, STUB_BYTES = 64, PTE_PRESENT = 1, PTE_WRITE = 2, PTE_LARGE = 0x80,
       GIB_SHIFT = 30, TABLE_ENTRIES = 512 };

/* The same bytes in either mode: what main returned goes to the port, for ever. */
static gpa_t put_stub(struct boot_job *job, gpa_t stack)
{
    uint8_t stub[] = {0x66, 0xba, 0, 0,       /* mov dx, port */
                      0xef,                   /* out dx, eax */
                      0xfa, 0xf4,             /* cli; hlt */
                      0xeb, 0xfd};            /* jmp to the hlt */
    gpa_t at = gpa_add(stack, STACK_BYTES - STUB_BYTES);

    put_le16(stub + 2, job->target->bare_exit_port);
    boot_put(job, at, stub, sizeof stub);
    return at;
}

/* Further gigabytes beside the first four that boot_start_long() has mapped. */
static int map_device_memory(struct boot_job *job, struct error **err)
{
    const struct boot_target *t = job->target;
    uint64_t first = t->bare_map >> GIB_SHIFT, gibs = t->bare_map_bytes >> GIB_SHIFT;
    uint8_t page[PAGE_SIZE];
    gpa_t tables;
    int rc = boot_place_table(job, "page tables for device memory", gibs * PAGE_SIZE, &tables,
                              err);

    for (uint64_t g = 0; g < gibs && !rc; g++) {
        gpa_t directory = gpa_add(tables, g * PAGE_SIZE);
        uint8_t entry[8];

        for (uint64_t i = 0; i < TABLE_ENTRIES; i++)
            put_le64(page + i * 8, (first + g) << GIB_SHIFT | i << 21 | PTE_PRESENT | PTE_WRITE |
                                       PTE_LARGE);
        boot_put(job, directory, page, sizeof page);
        put_le64(entry, directory.v | PTE_PRESENT | PTE_WRITE);
        /* The page behind the PML4 is that of directory pointers (start.c). */
        boot_put(job, gpa(job->start->cr3 + PAGE_SIZE + (first + g) * 8), entry, sizeof entry);
    }
    return rc;
}

static void floating_point_on(struct x86_state *s)
{
    s->cr0 |= X86_CR0_MP | X86_CR0_NE | X86_CR0_WP;
    s->cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
}

static int start64(struct boot_job *job, uint64_t entry, gpa_t stack, gpa_t cmdline,
                   struct error **err)
{
    struct x86_state *s = job->start;
    uint8_t frame[8];
    int rc = boot_start_long(job, entry, err);

    if (!rc && job->target->bare_map_bytes)
        rc = map_device_memory(job, err);
    if (rc)
        return rc;
    put_le64(frame, put_stub(job, stack).v);
    s->gpr[X86_RSP] = stack.v + STACK_BYTES - STUB_BYTES - sizeof frame;
    boot_put(job, gpa(s->gpr[X86_RSP]), frame, sizeof frame);
    s->gpr[X86_RDI] = job->target->bare_map;
    s->gpr[X86_RSI] = cmdline.v;
    s->gpr[X86_RDX] = e820_ram_bytes(job->target->map);
    return 0;
}

static int start32(struct boot_job *job, uint64_t entry, gpa_t stack, gpa_t cmdline,
                   struct error **err)
{
    struct x86_state *s = job->start;
    uint8_t frame[20] = {0};
    int rc = boot_start_protected(job, entry, err);

    if (rc)
        return rc;
    put_le32(frame, (uint32_t)put_stub(job, stack).v);
    put_le32(frame + 4, (uint32_t)cmdline.v);
    put_le32(frame + 8, (uint32_t)e820_ram_bytes(job->target->map));
    s->gpr[X86_RSP] = stack.v + STACK_BYTES - STUB_BYTES - sizeof frame;
    boot_put(job, gpa(s->gpr[X86_RSP]), frame, sizeof frame);
    return 0;
}

static bool bare_probe(const struct boot_job *job)
{
    return boot_elf_magic(job);
}

static int bare_load(struct boot_job *job, struct error **err)
{
    struct boot_wish room = {.what = "stack", .size_bytes = STACK_BYTES, .align = PAGE_SIZE,
                             .low = BOOT_LOW_START, .high = 1ull << 32, .top_down = true};
    struct boot_elf elf;
    uint64_t entry;
    gpa_t stack, cmdline;
    int rc = boot_elf_open(job, &elf, err);

    if (rc)
        return rc;
    if (boot_elf_has_segment(job, &elf, PT_INTERP) || boot_elf_has_segment(job, &elf, PT_TLS)) {
        error_set(err, ENOEXEC, "it is a program for user space, not a kernel");
        error_hint(err, "link it with -nostdlib -static");
        return -ENOEXEC;
    }
    rc = boot_elf_load(job, &elf, &entry, err);
    if (!rc && !elf.is64 && entry > UINT32_MAX)
        rc = error_set(err, ENOEXEC, "entry point %#llx is above 4 GiB",
                       (unsigned long long)entry);
    if (!rc)
        rc = boot_space_find(&job->space, &room, &stack, err);
    if (!rc)
        rc = boot_place_text(job, "command line", job->image->cmdline, &cmdline, err);
    if (!rc)
        rc = elf.is64 ? start64(job, entry, stack, cmdline, err)
                      : start32(job, entry, stack, cmdline, err);
    if (!rc)
        floating_point_on(job->start);
    return rc;
}

const struct boot_loader boot_bare = {
    .name = "bare", .summary = "ELF program", .probe = bare_probe, .load = bare_load,
};
