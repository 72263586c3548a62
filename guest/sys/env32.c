/* SPDX-License-Identifier: MIT-0 */
/* env32.c - GDT, IDT, TSS for 32-bit guests. */
#include "env32.h"

uint64_t gdt[GDT_SLOTS], ldt[8];
struct tss32 tss, tss_b;
struct tss16 tss_c;
static uint64_t idt[256];

void set_gate(unsigned vector, uint16_t selector, word handler, unsigned access, unsigned low)
{
    idt[vector] = make_gate(selector, handler, access, low);
}

static void table_load(const char *which, const void *base, uint16_t limit)
{
    struct { uint16_t limit; uint32_t base; } __attribute__((packed)) t = {limit, address(base)};

    if (*which == 'g')
        __asm__ volatile("lgdt %0" ::"m"(t));
    else
        __asm__ volatile("lidt %0" ::"m"(t));
}

static void fill_gdt(void)
{
    for (unsigned i = 0; i < GDT_SLOTS; i++)
        gdt[i] = 0;
    gdt[CODE32 / 8] = make_desc(0, 0xfffff, 0xc09b);
    gdt[DATA / 8] = make_desc(0, 0xfffff, 0xc093);
    gdt[CODE32_U / 8] = make_desc(0, 0xfffff, 0xc0fb);
    gdt[DATA_U / 8] = make_desc(0, 0xfffff, 0xc0f3);
    gdt[CODE1 / 8] = make_desc(0, 0xfffff, 0xc0bb);
    gdt[DATA1 / 8] = make_desc(0, 0xfffff, 0xc0b3);
    gdt[CODE16 / 8] = make_desc(0x10000, 0xffff, 0x009b);
    gdt[DATA16 / 8] = make_desc(0x10000, 0xffff, 0x0093);
    gdt[CODE16_U / 8] = make_desc(0x10000, 0xffff, 0x00fb);
    gdt[DATA16_U / 8] = make_desc(0x10000, 0xffff, 0x00f3);
    gdt[CONFORMING / 8] = make_desc(0, 0xfffff, 0xc09f);
    gdt[TSS_SEL / 8] = make_desc(address(&tss), sizeof tss - 1, 0x0089);
    gdt[TSS_B / 8] = make_desc(address(&tss_b), sizeof tss_b - 1, 0x0089);
    gdt[TSS_C / 8] = make_desc(address(&tss_c), sizeof tss_c - 1, 0x0081);
    gdt[LDT_SEL / 8] = make_desc(address(ldt), sizeof ldt - 1, 0x0082);
}

static void clear(void *at, unsigned bytes)
{
    for (uint8_t *p = at; bytes--;)
        *p++ = 0;
}

void env_reset(void)
{
    fill_gdt();
    clear(&tss, sizeof tss);
    clear(&tss_b, sizeof tss_b);
    clear(&tss_c, sizeof tss_c);
    tss.stack[0].esp = tss.stack[1].esp = tss.stack[2].esp = KERNEL_STACK;
    tss.stack[0].ss = DATA;
    tss.stack[1].ss = DATA1;
    tss.iomap = offsetof(struct tss32, ports);
    for (unsigned i = 0; i < sizeof tss.ports; i++)
        tss.ports[i] = 0xff;
    for (unsigned i = 0; i < sizeof tss.redirect; i++)
        tss.redirect[i] = 0xff;
    for (unsigned i = 0; i < 256; i++)
        set_gate(i, CODE32, address(trap_stubs + 16 * i), INT_GATE, 0);
    table_load("gdt", gdt, sizeof gdt - 1);
    table_load("idt", idt, sizeof idt - 1);
    __asm__ volatile("ltr %w0" ::"r"(TSS_SEL));
}

void env_init(void)
{
    env_reset();
}

struct frame frame_kernel(const void *code)
{
    return (struct frame){.rip = address(code), .cs = CODE32, .rflags = F_1, .ss = DATA,
                          .ds = DATA, .es = DATA, .gpr[RSP] = TEST_STACK};
}

struct frame frame_user(const void *code)
{
    return (struct frame){.rip = address(code), .cs = CODE32_U, .rflags = F_1, .ss = DATA_U,
                          .ds = DATA_U, .es = DATA_U, .gpr[RSP] = USER_STACK};
}

struct frame frame_vm86(const void *code, unsigned iopl)
{
    return (struct frame){.rip = address(code) - 0x10000, .cs = 0x1000,
                          .rflags = F_1 | F_VM | iopl << 12, .ss = 0x7000, .ds = 0x6000,
                          .es = 0x6100, .fs = 0x6200, .gs = 0x6300, .gpr[RSP] = 0x8000};
}
