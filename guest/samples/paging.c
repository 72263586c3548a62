/* SPDX-License-Identifier: MIT-0 */
/*
 * paging.c - page tables of one's own: one page of memory at two addresses, then a write
 * to an address that is not mapped, which the page-fault handler maps.
 */
#include "interrupts.h"

enum { PRESENT = 1, WRITE = 2 };
#define ELSEWHERE 0x4000000000                   /* 256 GiB: nothing is mapped there */

static u64 directory[512] __attribute__((aligned(4096)));
static u64 page_table[512] __attribute__((aligned(4096)));
static u64 page[512] __attribute__((aligned(4096)));
static volatile u32 faults;

static void flush(void)
{
    u64 cr3;

    __asm__ volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(cr3) : : "memory");
}

__attribute__((interrupt)) static void on_fault(struct interrupt_frame *frame, u64 code)
{
    u64 address;

    __asm__ volatile("mov %%cr2, %0" : "=r"(address));
    faults++;
    page_table[address >> 12 & 511] = (u64)page | PRESENT | WRITE;
}

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    u64 cr3, *pml4, *pdpt;

    set_gate(14, (handler)(u64)on_fault);
    interrupts_on();
    __asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
    pml4 = (u64 *)cr3;
    pdpt = (u64 *)(pml4[0] & ~0xffful);
    directory[0] = (u64)page_table | PRESENT | WRITE;
    pdpt[ELSEWHERE >> 30 & 511] = (u64)directory | PRESENT | WRITE;

    page_table[0] = (u64)page | PRESENT | WRITE;
    flush();
    AT(u64, ELSEWHERE)[3] = 42;
    print(page[3] == 42 ? "one page, two addresses\n" : "wrong\n");

    AT(u64, ELSEWHERE + 0x5000)[4] = 43;         /* not mapped: the handler does it */
    print(page[4] == 43 && faults == 1 ? "mapped when it was needed\n" : "wrong\n");
    return page[4] == 43 && faults == 1 ? 0 : 1;
}
