/* SPDX-License-Identifier: MIT-0 */
/*
 * sys.h - what the guests that test the processor's system side have in common.
 *
 * A guest is a flat binary (start.S, sys.ld) that calls guest_main(). It talks
 * through the debug console (port 0xE9), ends through the debug-exit port
 * (0xF4: 0 = all checks passed, 1 = some failed, 2 = lost), and may ask its
 * host for an interrupt (port 0xF0: vector) or an NMI (port 0xF1).
 *
 * The instrument is run(): it enters any code in any mode the frame describes
 * (an IRET to it) and comes back at the first exception or interrupt, with
 * every register in `last`. Code to run is a SNIPPET: it ends in something
 * that traps, usually STOP.
 */
#ifndef GUEST_SYS_H
#define GUEST_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __x86_64__
typedef uint64_t word;
#else
typedef uint32_t word;
#endif
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, GPRS = sizeof(word) * 2 };

/* Filled by trap64.S and trap32.S, which know the offsets. */
struct trap {
    word gpr[GPRS];
    word vector, error, rip, cs, rflags, ss, cr2, dr6;
    word es, ds, fs, gs;
};
extern struct trap last;

/* What run() enters with. gpr[RSP] is the stack pointer. The segments after ss
 * are loaded before the IRET, or, to virtual-8086 mode, by it. */
struct frame {
    word gpr[GPRS];
    word rip, cs, rflags, ss, es, ds, fs, gs;
};
void run(const struct frame *f);

/* Stubs for vectors 0-255, 16 bytes apart. */
extern const uint8_t trap_stubs[];
/* Trap without run(): the guest is lost. */
void trap_lost(void);

enum { DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC, MC, XM };
enum { F_CF = 1, F_1 = 2, F_ZF = 1 << 6, F_TF = 1 << 8, F_IF = 1 << 9, F_DF = 1 << 10,
       F_OF = 1 << 11, F_IOPL3 = 3 << 12, F_NT = 1 << 14, F_RF = 1 << 16, F_VM = 1 << 17,
       F_AC = 1 << 18, F_VIF = 1 << 19, F_VIP = 1 << 20 };

/* ---- reporting ---------------------------------------------------------- */

void print(const char *text);
void print_hex(uint64_t v);
_Noreturn void guest_exit(unsigned code);
/* Prints the tally and leaves. */
_Noreturn void checks_done(const char *name);
void check_equal(const char *file, int line, const char *what, uint64_t got, uint64_t want);
#define CHECK(got, want) check_equal(__FILE_NAME__, __LINE__, #got, (uint64_t)(got), want)
/* The last run ended with this exception. */
#define CHECK_TRAP(vector_, error_)                                               \
    do {                                                                          \
        check_equal(__FILE_NAME__, __LINE__, "vector", last.vector, vector_);     \
        check_equal(__FILE_NAME__, __LINE__, "error code", last.error, error_);   \
    } while (0)

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#ifdef __x86_64__
#define HOME_CODE ".code64\n"
#else
#define HOME_CODE ".code32\n"
#endif
/* Assembly of its own, in code of `bits`. Not part of any function. */
#define SNIPPET(name, bits, text)                                                 \
    __asm__(".pushsection .text\n.balign 16\n.code" #bits "\n" #name ":\n" text   \
            "\n" #name "_end:\n" HOME_CODE ".popsection\n");                      \
    extern const uint8_t name[], name##_end[]
#define STOP "ud2\n"
static inline word address(const void *p) { return (word)(uintptr_t)p; }

/* ---- processor ------------------------------------------------------------ */

static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}
static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;

    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}
static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t out[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "a"(leaf), "c"(sub));
}
#define REGISTER_ACCESS(name, reg)                                                \
    static inline word get_##name(void)                                           \
    {                                                                             \
        word v;                                                                   \
        __asm__ volatile("mov %%" #reg ", %0" : "=r"(v));                         \
        return v;                                                                 \
    }                                                                             \
    static inline void set_##name(word v)                                         \
    {                                                                             \
        __asm__ volatile("mov %0, %%" #reg ::"r"(v) : "memory");                  \
    }
REGISTER_ACCESS(cr0, cr0)
REGISTER_ACCESS(cr3, cr3)
REGISTER_ACCESS(cr4, cr4)
REGISTER_ACCESS(dr0, dr0)
REGISTER_ACCESS(dr1, dr1)
REGISTER_ACCESS(dr6, dr6)
REGISTER_ACCESS(dr7, dr7)

static inline bool cpu_amd(void)
{
    uint32_t r[4];

    cpuid(0, 0, r);
    return r[1] == 0x68747541 || r[1] == 0x6f677948;
}

/* ---- the environment: GDT, IDT, TSS (env64.c, env32.c) ---------------------- */

/* Selectors. Slots of 16 bytes where long mode needs them. */
enum { CODE32 = 0x08, DATA = 0x10, CODE64 = 0x18, CODE32_U = 0x20 | 3, DATA_U = 0x28 | 3,
       CODE64_U = 0x30 | 3, CODE16 = 0x38, DATA16 = 0x40, TSS_SEL = 0x48, CONFORMING = 0x58,
       GATE = 0x60, TSS_B = 0x70, TSS_C = 0x80, LDT_SEL = 0x90, CODE1 = 0xa0 | 1,
       DATA1 = 0xa8 | 1, FREE = 0xb0, FREE2 = 0xb8, CODE16_U = 0xc0 | 3, DATA16_U = 0xc8 | 3,
       GDT_SLOTS = 32 };
#ifdef __x86_64__
enum { CODE = CODE64, CODE_U = CODE64_U, KERNEL_STACK = 0x90000 };
#else
enum { CODE = CODE32, CODE_U = CODE32_U, KERNEL_STACK = 0x90000 };
#endif
enum { TEST_STACK = 0x88000, USER_STACK = 0x98000, IST_STACK = 0x9a000 };

extern uint64_t gdt[GDT_SLOTS];
void env_init(void);
/* Puts back what a test changed of GDT, IDT and TSS. */
void env_reset(void);
void set_gate(unsigned vector, uint16_t selector, word handler, unsigned access, unsigned low);

static inline uint64_t make_desc(uint32_t base, uint32_t limit, uint32_t attr)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(attr & 0xff) << 40 |
           (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)(attr >> 12 & 15) << 52 |
           (uint64_t)(base >> 24) << 56;
}
static inline uint64_t make_gate(uint16_t selector, uint32_t offset, uint32_t access, uint32_t low)
{
    return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)low << 32 |
           (uint64_t)access << 40 | (uint64_t)(offset >> 16) << 48;
}

/* A frame for `code` at CPL 0 or 3, everything else plain. */
struct frame frame_kernel(const void *code);
struct frame frame_user(const void *code);
static inline void run_kernel(const void *code)
{
    struct frame f = frame_kernel(code);

    run(&f);
}
static inline void run_user(const void *code)
{
    struct frame f = frame_user(code);

    run(&f);
}

void guest_main(void);

#endif
