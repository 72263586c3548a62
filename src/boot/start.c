/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * start.c - the state of the boot processor at the entry points.
 *
 * Linux, PVH and multiboot agree on flat 4 GiB segments and differ in what
 * they allow besides. One GDT serves all: the selectors are those Linux
 * demands (__BOOT_CS 0x10, __BOOT_DS 0x18; Documentation/x86/boot.rst, "64-bit
 * Boot Protocol"), and a TSS descriptor backs the task register, which PVH
 * wants loaded and hardware virtualization wants busy.
 */
#include "boot/loader.h"

#include <string.h>

#include "base/byteorder.h"

enum { SEL_CODE = 0x10, SEL_DATA = 0x18, SEL_TSS = 0x20, GDT_BYTES = 0x30 };
enum { PTE_PRESENT = 1, PTE_WRITE = 2, PTE_LARGE = 0x80 };
enum { TABLE_PDPT = 1, TABLE_PD = 2, TABLE_COUNT = 6 };   /* one PML4, one PDPT, four PDs */

static const struct x86_segment code32 = {
    .limit = UINT32_MAX, .selector = SEL_CODE,
    .attr = 0xb | X86_ATTR_S | X86_ATTR_P | X86_ATTR_DB | X86_ATTR_G,
};
static const struct x86_segment code64 = {
    .limit = UINT32_MAX, .selector = SEL_CODE,
    .attr = 0xb | X86_ATTR_S | X86_ATTR_P | X86_ATTR_L | X86_ATTR_G,
};
static const struct x86_segment data32 = {
    .limit = UINT32_MAX, .selector = SEL_DATA,
    .attr = 0x3 | X86_ATTR_S | X86_ATTR_P | X86_ATTR_DB | X86_ATTR_G,
};
static const struct x86_segment tss = {
    .limit = 0x67, .selector = SEL_TSS, .attr = 0xb | X86_ATTR_P,
};

/* A segment register's contents as the descriptor it would be loaded from. */
static uint64_t descriptor(const struct x86_segment *s)
{
    uint64_t limit = s->attr & X86_ATTR_G ? s->limit >> 12 : s->limit;

    return (limit & 0xffff) | (s->base & 0xffffff) << 16 | (uint64_t)(s->attr & 0xf0ff) << 40 |
           (limit >> 16 & 0xf) << 48 | (s->base >> 24 & 0xff) << 56;
}

static void flat_segments(struct x86_state *s, const struct x86_segment *code, gpa_t gdt)
{
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        s->seg[i] = i == X86_CS ? *code : data32;
    s->tr = tss;
    s->gdtr = (struct x86_table){gdt.v, GDT_BYTES - 1};
    s->idtr = (struct x86_table){0, 0};
}

static int place_gdt(struct boot_job *job, const struct x86_segment *code, gpa_t *out,
                     struct error **err)
{
    uint8_t gdt[GDT_BYTES] = {0};      /* a 64-bit TSS descriptor takes two slots */
    int rc = boot_place_table(job, "GDT", sizeof gdt, out, err);

    if (rc)
        return rc;
    put_le64(gdt + SEL_CODE, descriptor(code));
    put_le64(gdt + SEL_DATA, descriptor(&data32));
    put_le64(gdt + SEL_TSS, descriptor(&tss));
    boot_put(job, *out, gdt, sizeof gdt);
    return 0;
}

static int place_identity_map(struct boot_job *job, gpa_t *out, struct error **err)
{
    uint8_t page[PAGE_SIZE];
    int rc = boot_place_table(job, "page tables", TABLE_COUNT * PAGE_SIZE, out, err);

    if (rc)
        return rc;
    memset(page, 0, sizeof page);
    put_le64(page, (out->v + TABLE_PDPT * PAGE_SIZE) | PTE_PRESENT | PTE_WRITE);
    boot_put(job, *out, page, sizeof page);

    for (unsigned i = 0; i < 4; i++)
        put_le64(page + i * 8,
                 (out->v + (TABLE_PD + i) * PAGE_SIZE) | PTE_PRESENT | PTE_WRITE);
    boot_put(job, gpa_add(*out, TABLE_PDPT * PAGE_SIZE), page, sizeof page);

    for (unsigned t = 0; t < 4; t++) {
        for (uint64_t i = 0; i < 512; i++)
            put_le64(page + i * 8, (t * 512 + i) << 21 | PTE_PRESENT | PTE_WRITE | PTE_LARGE);
        boot_put(job, gpa_add(*out, (TABLE_PD + t) * PAGE_SIZE), page, sizeof page);
    }
    return 0;
}

int boot_start_protected(struct boot_job *job, uint64_t entry, struct error **err)
{
    struct x86_state *s = job->start;
    gpa_t gdt;
    int rc = place_gdt(job, &code32, &gdt, err);

    if (rc)
        return rc;
    x86_state_power_on(s, true);
    memset(s->gpr, 0, sizeof s->gpr);
    flat_segments(s, &code32, gdt);
    s->cr0 = X86_CR0_PE | X86_CR0_ET;
    s->rip = entry;
    s->rflags = X86_FLAG_1;
    return 0;
}

int boot_start_long(struct boot_job *job, uint64_t entry, struct error **err)
{
    struct x86_state *s = job->start;
    gpa_t gdt, tables;
    int rc = place_gdt(job, &code64, &gdt, err);

    if (!rc)
        rc = place_identity_map(job, &tables, err);
    if (rc)
        return rc;
    x86_state_power_on(s, true);
    memset(s->gpr, 0, sizeof s->gpr);
    flat_segments(s, &code64, gdt);
    s->cr0 = X86_CR0_PG | X86_CR0_PE | X86_CR0_ET;
    s->cr3 = tables.v;
    s->cr4 = X86_CR4_PAE;
    s->msr.efer = X86_EFER_LME | X86_EFER_LMA;
    s->rip = entry;
    s->rflags = X86_FLAG_1;
    return 0;
}
