/* SPDX-License-Identifier: MIT-0 */
/* smp.c - starting processors, and giving them work. */
#include "smp.h"

unsigned cpus = 1, scale = 1;

static uint64_t table[8 + 2 * SMP_MAX], gates[512];
static struct tss64 tss_of[SMP_MAX];
static uint8_t user_stack[SMP_MAX][8192] __attribute__((aligned(16)));
static void (*volatile work)(unsigned);
static volatile uint32_t work_number, work_done;
volatile uint32_t smp_started;
static void (*volatile flush)(void);
static volatile uint64_t flushed;

enum { VECTOR_FLUSH = 0xf0, VECTOR_USER_END = 0x80 };

void smp_user_call(void (*fn)(unsigned), uint64_t self, void *stack, void *rsp0);
void smp_user_back(void);
void smp_main(const char *text);
_Noreturn void smp_other(void);

unsigned smp_self(void)
{
    return *(volatile uint32_t *)0xfee00020 >> 24;
}

static void gate(unsigned vector, uintptr_t handler, unsigned access)
{
    gates[vector * 2 + 1] = 0;
    gates[vector * 2] = make_gate(8, (uint32_t)handler, access, 0);
}

void smp_gate(unsigned vector, void (*handler)(struct interrupt_frame *))
{
    gate(vector, (uintptr_t)handler, vector == BP ? 0xee : 0x8e);
}

void smp_gate_error(unsigned vector, void (*handler)(struct interrupt_frame *, uint64_t error))
{
    gate(vector, (uintptr_t)handler, 0x8e);
}

static void lost(const char *what, const struct interrupt_frame *f, uint64_t error)
{
    uint64_t cr2;

    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    print("lost: ");
    print(what);
    print(" at ");
    print_hex(f->rip);
    print(" error ");
    print_hex(error);
    print(" cr2 ");
    print_hex(cr2);
    print(" processor ");
    print_hex(smp_self());
    print("\n");
    guest_exit(2);
}

#define LOST(name, text) \
    static HANDLER name(struct interrupt_frame *f) { lost(text, f, 0); }
#define LOST_ERROR(name, text) \
    static HANDLER name(struct interrupt_frame *f, uint64_t e) { lost(text, f, e); }
LOST(lost_some, "trap")
LOST(lost_ud, "#UD")
LOST_ERROR(lost_error, "trap with error code")
LOST_ERROR(lost_gp, "#GP")
LOST_ERROR(lost_pf, "#PF")

static HANDLER flush_handler(struct interrupt_frame *f)
{
    flush();
    xadd(&flushed, 1);
    eoi();
}

void shoot_down(void (*fn)(void))
{
    flush = fn;
    flushed = 0;
    barrier();
    ipi(0, ICR_OTHERS | ICR_ASSERT | VECTOR_FLUSH);
    while (flushed != cpus - 1)
        pause();
}

void ipi(unsigned to, uint32_t icr)
{
    *(volatile uint32_t *)0xfee00310 = to << 24;
    *(volatile uint32_t *)0xfee00300 = icr;
}

static void tables_load(unsigned self)
{
    struct { uint16_t limit; uint64_t base; } __attribute__((packed))
        g = {sizeof table - 1, address(table)}, i = {sizeof gates - 1, address(gates)};

    tss_of[self].iomap = sizeof tss_of[self];
    table[8 + 2 * self] = make_desc((uint32_t)address(&tss_of[self]), sizeof tss_of[self] - 1,
                                    0x0089);
    __asm__ volatile("lgdt %0; lidt %1; ltr %w2" ::"m"(g), "m"(i), "r"(64 + 16 * self));
    *(volatile uint32_t *)0xfee000f0 = 0x1ff;
}

void in_user_mode(void (*fn)(unsigned self), unsigned self)
{
    smp_user_call(fn, self, user_stack[self] + sizeof user_stack[self] - 8, (uint8_t *)&tss_of[self] + offsetof(struct tss64, rsp));
}

void together(void (*fn)(unsigned self))
{
    work = fn;
    work_done = 0;
    barrier();
    work_number++;
    fn(0);
    while (work_done != cpus - 1)
        pause();
}

void leave_others(void (*fn)(unsigned self))
{
    work = fn;
    barrier();
    work_number++;
}

void smp_other(void)
{
    unsigned self = smp_self();
    uint32_t seen = work_number;

    tables_load(self);
    __asm__ volatile("sti");
    __asm__ volatile("lock incl %0" : "+m"(smp_started)::"memory", "cc");
    for (;;) {
        while (work_number == seen)
            pause();
        seen++;
        work(self);
        __asm__ volatile("lock incl %0" : "+m"(work_done)::"memory", "cc");
    }
}

static unsigned number(const char **text)
{
    unsigned n = 0;

    while (**text && (**text < '0' || **text > '9'))
        (*text)++;
    for (; **text >= '0' && **text <= '9'; (*text)++)
        n = n * 10 + (unsigned)(**text - '0');
    return n;
}

void smp_main(const char *text)
{
    const char *p = text + 15;                  /* the last two words of these 15 characters */

    for (unsigned spaces = 0; p > text && spaces < 2; p--)
        spaces += p[-1] == ' ';
    text = p;
    cpus = number(&text);
    scale = number(&text);
    table[1] = 0x00af9b000000ffff;
    table[2] = 0x00cf93000000ffff;
    table[3] = 0x00cf9b000000ffff;
    table[4] = 0x00cff3000000ffff;
    table[5] = 0x00affb000000ffff;
    for (unsigned v = 0; v < 256; v++)
        smp_gate(v, lost_some);
    smp_gate_error(DF, lost_error);
    smp_gate_error(GP, lost_gp);
    smp_gate_error(PF, lost_pf);
    smp_gate(UD, lost_ud);
    smp_gate(VECTOR_FLUSH, flush_handler);
    gate(VECTOR_USER_END, (uintptr_t)smp_user_back, 0xee);
    tables_load(0);
    __asm__ volatile("sti");
    ipi(0, ICR_OTHERS | ICR_ASSERT | ICR_INIT);
    ipi(0, ICR_OTHERS | ICR_ASSERT | ICR_SIPI | 8);
    while (smp_started != cpus - 1)
        pause();
    smp_test();
}
