/* SPDX-License-Identifier: MIT-0 */
/* env64.c - GDT, IDT, TSS for 64-bit guests. */
#include "env64.h"

uint64_t gdt[GDT_SLOTS];
struct tss64 tss;
static uint64_t idt[512];
static uint64_t page_table[512] __attribute__((aligned(4096)));

void set_gate(unsigned vector, uint16_t selector, word handler, unsigned access, unsigned low)
{
    idt[vector * 2] = make_gate(selector, (uint32_t)handler, access, low);
    idt[vector * 2 + 1] = handler >> 32;
}

static void table_load(const char *which, const void *base, uint16_t limit)
{
    struct { uint16_t limit; uint64_t base; } __attribute__((packed)) t = {limit, address(base)};

    if (*which == 'g')
        __asm__ volatile("lgdt %0" ::"m"(t));
    else
        __asm__ volatile("lidt %0" ::"m"(t));
}

void env_reset(void)
{
    for (unsigned i = 0; i < GDT_SLOTS; i++)
        gdt[i] = 0;
    gdt[CODE32 / 8] = make_desc(0, 0xfffff, 0xc09b);
    gdt[DATA / 8] = make_desc(0, 0xfffff, 0xc093);
    gdt[CODE64 / 8] = make_desc(0, 0xfffff, 0xa09b);
    gdt[CODE32_U / 8] = make_desc(0, 0xfffff, 0xc0fb);
    gdt[DATA_U / 8] = make_desc(0, 0xfffff, 0xc0f3);
    gdt[CODE64_U / 8] = make_desc(0, 0xfffff, 0xa0fb);
    gdt[CODE16 / 8] = make_desc(0x10000, 0xffff, 0x009b);
    gdt[DATA16 / 8] = make_desc(0x10000, 0xffff, 0x0093);
    gdt[TSS_SEL / 8] = make_desc((uint32_t)address(&tss), sizeof tss - 1, 0x0089);
    gdt[TSS_SEL / 8 + 1] = address(&tss) >> 32;
    gdt[CONFORMING / 8] = make_desc(0, 0xfffff, 0xa09f);
    tss = (struct tss64){.rsp = {KERNEL_STACK, KERNEL_STACK, KERNEL_STACK},
                         .ist = {IST_STACK}, .iomap = sizeof tss};
    for (unsigned i = 0; i < 256; i++)
        set_gate(i, CODE64, address(trap_stubs + 16 * i), 0x8e, 0);
    table_load("gdt", gdt, sizeof gdt - 1);
    table_load("idt", idt, sizeof idt - 1);
    __asm__ volatile("ltr %w0" ::"r"(TSS_SEL));
    __asm__ volatile("mov %0, %%ss" ::"r"(DATA));
}

/* [4M, 6M) in 4 KiB pages for tests to change. */
void env_init(void)
{
    uint64_t *directory = (uint64_t *)0x3000;

    for (unsigned i = 0; i < 512; i++)
        page_table[i] = (PAGES + i * 4096u) | 7;
    directory[PAGES >> 21] = address(page_table) | 7;
    set_cr3(get_cr3());
    env_reset();
}

uint64_t *pte(uint64_t a)
{
    return &page_table[(a - PAGES) >> 12];
}

struct frame frame_kernel(const void *code)
{
    return (struct frame){.rip = address(code), .cs = CODE64, .rflags = F_1, .ss = DATA,
                          .gpr[RSP] = TEST_STACK};
}

struct frame frame_user(const void *code)
{
    return (struct frame){.rip = address(code), .cs = CODE64_U, .rflags = F_1, .ss = DATA_U,
                          .gpr[RSP] = USER_STACK};
}
