/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transfer_host.c - segment loads, far transfers and privileged instructions
 * against the bare processor, as far as user space can reach it.
 *
 * usage: isa-transfer_host [CASES [SEED]]
 *
 * Both run the same random instruction at CPL 3 from the same registers and
 * memory, in 64-bit, 32-bit and 16-bit code, with TF set. On the host a signal
 * handler's frame carries the registers in and, after the single-step trap or
 * the fault, out again; segments of all kinds come from modify_ldt(). On our
 * side it is struct x86_cpu with the same descriptors, in the loop that
 * x86/system.h prescribes, so the shadows and trap rules are compared too.
 *
 * Registers, selectors, defined flags, the scratch memory, and for faults
 * vector and error code must be equal.
 */
#include <asm/ldt.h>
#include <cpuid.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "x86/cpuid.h"
#include "x86/exec.h"
#include "x86/mmu.h"
#include "x86/system.h"

/* One region below 4 GiB, so that every code size can use it; at the same
 * place in our cpu's memory, whose tables lie below it. */
#define REGION 0x40000000ull
enum { REGION_BYTES = 0x10000, CODE = 0x1000, STACK = 0x2800, FAR_POINTER = 0x3400,
       SCRATCH = 0x2000, SCRATCH_BYTES = 0x2000, TARGET = 0x5000,
       TABLES_BYTES = 0x4000, GDT = 0x1000, LDT = 0x2000, IDT = 0x3000, TSS = 0x0800 };
enum { GDT_SLOTS = 16, LDT_SLOTS = 16, USER32 = 0x23, USER_DATA = 0x2b, USER64 = 0x33 };
enum { LDT_CODE32 = 1, LDT_DATA32, LDT_CODE16, LDT_DATA16, LDT_READ_ONLY, LDT_DOWN,
       LDT_CONFORMING, LDT_ABSENT, LDT_EXEC_ONLY, LDT_SMALL, LDT_ABSENT_CODE };
enum { CODE_FLAGS = X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT | X86_FLAG_ID };

struct regs {
    uint64_t gpr[16], rip, rflags;
    uint16_t cs, ss, ds, es, gs;
};
struct outcome {
    struct regs r;
    int vector;                  /* 1: the trap after the instruction; else a fault */
    uint32_t error;
    uint8_t memory[SCRATCH_BYTES];
};
struct test {
    struct regs in;
    uint8_t code[16];
    unsigned length;
    uint8_t memory[SCRATCH_BYTES];
};

static uint16_t ldt_selector(unsigned n)
{
    return (uint16_t)(n << 3 | 7);
}

static bool host_amd(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(0, &a, &b, &c, &d) && (b == signature_AMD_ebx || b == 0x6f677948);
}

/* ---- the host ------------------------------------------------------------- */

/* Signal handlers take no argument of ours, so this is the one place that is
 * not re-entrant: a test program with one thread. */
static const struct test *host_test;
static struct outcome *host_outcome;
static greg_t host_home[NGREG];

static const int gpr_order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};

static void host_enter(int sig, siginfo_t *info, void *context)
{
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    const struct regs *r = &host_test->in;

    memcpy(host_home, g, sizeof host_home);
    for (unsigned i = 0; i < 16; i++)
        g[gpr_order[i]] = (greg_t)r->gpr[i];
    g[REG_RIP] = (greg_t)r->rip;
    g[REG_EFL] = (greg_t)r->rflags;
    g[REG_CSGSFS] = (greg_t)((uint64_t)r->ss << 48 | r->cs);
}

static void host_leave(int sig, siginfo_t *info, void *context)
{
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    struct outcome *o = host_outcome;

    if (!o) {                                        /* a bug of ours: die of it */
        signal(sig, SIG_DFL);
        return;
    }
    host_outcome = NULL;
    for (unsigned i = 0; i < 16; i++)
        o->r.gpr[i] = (uint64_t)g[gpr_order[i]];
    o->r.rip = (uint64_t)g[REG_RIP];
    o->r.rflags = (uint64_t)g[REG_EFL];
    o->r.cs = (uint16_t)g[REG_CSGSFS];
    o->r.ss = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
    o->vector = (int)g[REG_TRAPNO];
    o->error = (uint32_t)g[REG_ERR];
    memcpy(g, host_home, sizeof host_home);
}

/* The way through the kernel leaves these flags as they were here. */
enum { STICKY = X86_FLAG_NT | X86_FLAG_ID };
static void host_sticky_flags(uint64_t value)
{
    __builtin_ia32_writeeflags_u64((__builtin_ia32_readeflags_u64() & ~(uint64_t)STICKY) |
                                   (value & STICKY));
}

static void host_run(const struct test *t, struct outcome *o)
{
    uint16_t zero = 0;

    host_test = t;
    host_outcome = o;
    memcpy((void *)(REGION + SCRATCH), t->memory, SCRATCH_BYTES);
    host_sticky_flags(t->in.rflags);
    __asm__ volatile("mov %0, %%ds\n mov %1, %%es" ::"r"(t->in.ds), "r"(t->in.es));
    raise(SIGUSR1);
    __asm__ volatile("mov %%ds, %0\n mov %%es, %1\n mov %%gs, %2"
                     : "=r"(o->r.ds), "=r"(o->r.es), "=r"(o->r.gs));
    __asm__ volatile("mov %0, %%ds\n mov %0, %%es\n mov %0, %%gs" ::"r"(zero));
    host_sticky_flags(0);
    memcpy(o->memory, (void *)(REGION + SCRATCH), SCRATCH_BYTES);
}

static void host_handlers(void)
{
    static const int ends[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct sigaction enter = {.sa_sigaction = host_enter, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction leave = {.sa_sigaction = host_leave, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    static uint8_t stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};

    sigaltstack(&alternate, NULL);
    sigaction(SIGUSR1, &enter, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(ends); i++)
        sigaction(ends[i], &leave, NULL);
}

static bool host_ldt(unsigned n, struct user_desc d)
{
    d.entry_number = n;
    return syscall(SYS_modify_ldt, 0x11, &d, sizeof d) == 0;
}

/* False when the kernel forbids any of it. */
static bool host_segments(void)
{
    const struct user_desc flat = {.limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1,
                                   .useable = 1};
    const struct user_desc small16 = {.base_addr = REGION, .limit = 0xffff, .useable = 1};
    struct user_desc d;
    bool ok = true;

#define ENTRY(n, from, ...)                 \
    d = from;                               \
    { __VA_ARGS__; }                        \
    ok = ok && host_ldt(n, d)
    ENTRY(LDT_CODE32, flat, d.contents = 2);
    ENTRY(LDT_DATA32, flat, d.contents = 0);
    ENTRY(LDT_CODE16, small16, d.contents = 2);
    ENTRY(LDT_DATA16, small16, d.contents = 0);
    ENTRY(LDT_READ_ONLY, flat, d.read_exec_only = 1);
    ENTRY(LDT_DOWN, flat, d.contents = 1; d.limit = 0x100);
    /* Linux takes conforming code only if it is not present. */
    ENTRY(LDT_CONFORMING, flat, d.contents = 3; d.seg_not_present = 1);
    ENTRY(LDT_ABSENT, flat, d.seg_not_present = 1);
    ENTRY(LDT_EXEC_ONLY, flat, d.contents = 2; d.read_exec_only = 1);
    ENTRY(LDT_SMALL, small16, d.contents = 2; d.limit = 0x10ff; d.seg_32bit = 1);
    ENTRY(LDT_ABSENT_CODE, flat, d.contents = 2; d.seg_not_present = 1);
#undef ENTRY
    return ok;
}

/* ---- our side ------------------------------------------------------------- */

struct model {
    struct x86_cpu cpu;
    uint8_t *region;              /* the same pages at another address */
    struct x86_cpu_model cpu_model;
    struct counters counters;
    uint8_t tables[TABLES_BYTES];
};

static uint8_t *model_page(void *env, gpa_t page, bool for_write)
{
    struct model *m = env;

    if (page.v < TABLES_BYTES)
        return m->tables + page.v;
    return page.v - REGION < REGION_BYTES ? m->region + (page.v - REGION) : NULL;
}

static uint64_t model_phys_read(void *env, gpa_t a, unsigned size)
{
    return 0;
}

static void model_phys_write(void *env, gpa_t a, unsigned size, uint64_t value)
{
}

static const struct x86_env_ops model_ops = {
    .ram_page = model_page, .phys_read = model_phys_read, .phys_write = model_phys_write,
};

/* Guest code runs at REGION; the cpu sees the same pages through a second
 * mapping, because linear addresses equal to host addresses mean "no RAM". */
static bool region_map(struct model *m)
{
    int fd = memfd_create("transfer_host", MFD_CLOEXEC);
    void *at;

    if (fd < 0 || ftruncate(fd, REGION_BYTES) < 0)
        return false;
    at = mmap((void *)REGION, REGION_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
              MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
    m->region = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at == (void *)REGION && m->region != MAP_FAILED;
}

/* The descriptor behind a selector, from what LAR and LSL say; base `base`. */
static uint64_t descriptor(uint16_t selector, uint32_t base)
{
    uint32_t access = 0, limit = 0;

    __asm__("lar %1, %0" : "+r"(access) : "r"((uint32_t)selector) : "cc");
    __asm__("lsl %1, %0" : "+r"(limit) : "r"((uint32_t)selector) : "cc");
    if (access & 1 << 23)
        limit >>= 12;
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
           (uint64_t)(access & 0xf0ff00) << 32 | (uint64_t)(limit & 0xf0000) << 32 |
           (uint64_t)(base >> 24) << 56;
}

/* Linux's GDT: slots that CPL 3 cannot ask about are of privilege 0. */
static void model_tables(struct model *m)
{
    put_le64(m->tables + GDT + 0x08, 0x00cf9b000000ffff);
    put_le64(m->tables + GDT + 0x10, 0x00af9b000000ffff);
    put_le64(m->tables + GDT + 0x18, 0x00cf93000000ffff);
    put_le64(m->tables + GDT + 0x40, 0x00008b0008000067);
    put_le64(m->tables + GDT + 0x50, 0x0000820020000000 | (LDT_SLOTS * 8 - 1));
    for (unsigned i = 4; i < GDT_SLOTS; i++)
        if (i < 8 || i > 11)
            put_le64(m->tables + GDT + i * 8, descriptor((uint16_t)(i << 3 | 3), 0));
    for (unsigned i = 1; i <= LDT_ABSENT_CODE; i++)
        put_le64(m->tables + LDT + i * 8,
                 descriptor(ldt_selector(i), i == LDT_CODE16 || i == LDT_DATA16 ||
                                             i == LDT_SMALL ? REGION : 0));
    put_le16(m->tables + TSS + 102, 0xffff);         /* no I/O bitmap */
    for (unsigned i = 0; i < 256; i++)
        put_le64(m->tables + IDT + i * 16, 0x00008e0000100000);
}

static void model_init(struct model *m)
{
    memset(&m->cpu_model.features, 0xff, sizeof m->cpu_model.features);
    m->cpu_model.phys_bits = 40;
    m->cpu_model.lin_bits = 48;
    m->cpu_model.amd = host_amd();
    x86_cpu_init(&m->cpu, &model_ops, m, &m->cpu_model, &m->counters, NULL, true);
    m->cpu.s.cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_AM | X86_CR0_WP;
    m->cpu.s.cr4 = X86_CR4_PAE | X86_CR4_DE | X86_CR4_UMIP | X86_CR4_FSGSBASE;
    m->cpu.s.msr.efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_SCE | X86_EFER_NXE;
    m->cpu.s.gdtr = (struct x86_table){GDT, GDT_SLOTS * 8 - 1};
    m->cpu.s.idtr = (struct x86_table){IDT, 0xfff};
    m->cpu.s.ldtr = (struct x86_segment){LDT, LDT_SLOTS * 8 - 1, 0x82, 0x50};
    m->cpu.s.tr = (struct x86_segment){TSS, 0x67, 0x8b, 0x40};
    model_tables(m);
}

static struct x86_segment model_segment(struct model *m, uint16_t selector)
{
    uint64_t raw = get_le64(m->tables + (selector & 4 ? LDT : GDT) + (selector & ~7u));
    struct x86_segment s = {.selector = selector, .attr = X86_ATTR_UNUSABLE};

    if (!(selector & ~3))
        return s;
    s.base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000);
    s.limit = (uint32_t)((raw & 0xffff) | (raw >> 32 & 0xf0000));
    s.attr = raw >> 40 & 0xf0ff;
    if (s.attr & X86_ATTR_G)
        s.limit = s.limit << 12 | 0xfff;
    return s;
}

static void model_load(struct model *m, const struct regs *r)
{
    struct x86_state *s = &m->cpu.s;

    memcpy(s->gpr, r->gpr, sizeof r->gpr);
    s->rip = r->rip;
    s->rflags = r->rflags | X86_FLAG_1 | X86_FLAG_IF;
    s->seg[X86_CS] = model_segment(m, r->cs);
    s->seg[X86_SS] = model_segment(m, r->ss);
    s->seg[X86_DS] = model_segment(m, r->ds);
    s->seg[X86_ES] = model_segment(m, r->es);
    s->seg[X86_FS] = s->seg[X86_GS] = model_segment(m, 0);
    s->ev = (struct x86_events){0};
    m->cpu.debug_due = 0;
    x86_mode_update(&m->cpu);
}

/* Instructions until something is raised. */
static void model_steps(struct model *m)
{
    struct x86_cpu *cpu = &m->cpu;
    struct x86_insn insn;

    for (;;) {
        uint64_t flags_before = cpu->s.rflags, at = cpu->s.rip;

        if (cpu->mode.code_bits != 64)
            at = (at + cpu->s.seg[X86_CS].base) & 0xffffffff;
        x86_step_begin(cpu);
        if (x86_decode((const uint8_t *)at, 15, cpu->mode.code_bits, &insn) < 0)
            x86_ud(cpu);
        x86_exec_op(&insn)(cpu, &insn);
        x86_step_done(cpu, flags_before);
    }
}

static void model_run(struct model *m, const struct test *t, struct outcome *o)
{
    struct x86_cpu *cpu = &m->cpu;

    memcpy((void *)(REGION + SCRATCH), t->memory, SCRATCH_BYTES);
    model_load(m, &t->in);
    if (setjmp(cpu->unwind) == 0)
        model_steps(m);
    memcpy(o->r.gpr, cpu->s.gpr, sizeof o->r.gpr);
    o->r.rip = cpu->s.rip;
    o->r.rflags = cpu->s.rflags;
    o->r.cs = cpu->s.seg[X86_CS].selector;
    o->r.ss = cpu->s.seg[X86_SS].selector;
    o->r.ds = cpu->s.seg[X86_DS].selector;
    o->r.es = cpu->s.seg[X86_ES].selector;
    o->r.gs = cpu->s.seg[X86_GS].selector;
    o->vector = cpu->pending.vector;
    o->error = cpu->pending.error;
    memcpy(o->memory, (void *)(REGION + SCRATCH), SCRATCH_BYTES);
}

/* ---- random cases ---------------------------------------------------------- */

static uint64_t random_next(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static unsigned random_below(uint64_t *seed, unsigned n)
{
    return (unsigned)(random_next(seed) % n);
}

static uint16_t random_selector(uint64_t *seed)
{
    static const uint16_t gdt[] = {0, 1, 3, 0x08, 0x10, 0x18, 0x20, 0x23, 0x28, 0x2b, 0x30,
                                   0x33, 0x40, 0x43, 0x50, 0x7b, 0x80, 0xfff8};

    if (random_below(seed, 5) < 2)
        return gdt[random_below(seed, ARRAY_SIZE(gdt))];
    if (random_below(seed, 8) == 0)
        return (uint16_t)(random_below(seed, LDT_SLOTS + 2) << 3 | 4 | random_below(seed, 4));
    return ldt_selector(1 + random_below(seed, LDT_ABSENT_CODE));
}

/* Code selectors most of the time, so that transfers get somewhere. */
static uint16_t random_code_selector(uint64_t *seed)
{
    static const uint16_t code[] = {USER32, USER64, USER32, USER64, LDT_CODE32 << 3 | 7,
                                    LDT_CODE16 << 3 | 7, LDT_CONFORMING << 3 | 7,
                                    LDT_SMALL << 3 | 7, LDT_CONFORMING << 3 | 4};

    return random_below(seed, 4) ? code[random_below(seed, ARRAY_SIZE(code))]
                                 : random_selector(seed);
}

static uint16_t random_stack_selector(uint64_t *seed)
{
    static const uint16_t stack[] = {USER_DATA, LDT_DATA32 << 3 | 7, LDT_DATA16 << 3 | 7};

    return random_below(seed, 4) ? stack[random_below(seed, ARRAY_SIZE(stack))]
                                 : random_selector(seed);
}

static uint64_t random_offset(uint64_t *seed)
{
    static const uint64_t offset[] = {REGION + TARGET, TARGET, REGION + TARGET + 3, 0x1080, 0x1100,
                                      0x10ff, 0xffff, 0x10000, REGION + 0xfff0};
    static const uint64_t wild[] = {0x00007fffffffffff, 0x0000800000000000, 0xffffffffffffffff,
                                    0xffff800000000000, 0x1240005000};

    return random_below(seed, 6) ? offset[random_below(seed, ARRAY_SIZE(offset))]
                                 : wild[random_below(seed, ARRAY_SIZE(wild))];
}

static uint64_t random_flags(uint64_t *seed)
{
    /* Without AC, which the handlers of this program would suffer from. */
    return random_next(seed) & 0x3fffff & ~(uint64_t)X86_FLAG_AC;
}

static void emit(struct test *t, unsigned n, const uint8_t *bytes)
{
    memcpy(t->code + t->length, bytes, n);
    t->length += n;
}
#define EMIT(t, ...) emit(t, sizeof((const uint8_t[]){__VA_ARGS__}), (const uint8_t[]){__VA_ARGS__})

static void put_sized(uint8_t *at, unsigned size, uint64_t value)
{
    memcpy(at, &value, size);
}

/* A 66, REX.W or no prefix; returns the operand size it gives `bits` code. */
static unsigned emit_size(struct test *t, uint64_t *seed, unsigned bits)
{
    unsigned kind = random_below(seed, 3);

    if (kind == 1) {
        EMIT(t, 0x66);
        return bits == 16 ? 4 : 2;
    }
    if (kind == 2 && bits == 64) {
        EMIT(t, 0x48);
        return 8;
    }
    return bits == 16 ? 2 : 4;
}

/* A far pointer for an operand of `size`; AMD has none with 64-bit offsets and
 * takes REX.W for nothing. */
static void put_far(struct test *t, unsigned size, uint64_t offset, uint16_t selector)
{
    if (size == 8 && host_amd())
        size = 4;
    put_sized(t->memory + FAR_POINTER - SCRATCH, size, offset);
    put_le16(t->memory + FAR_POINTER - SCRATCH + size, selector);
}

/* What RETF (no flags) or IRET pops. */
static void fill_stack(struct test *t, uint64_t *seed, unsigned size, bool iret)
{
    uint64_t frame[5];
    unsigned n = 0;

    frame[n++] = random_offset(seed);
    frame[n++] = random_code_selector(seed);
    if (iret)
        frame[n++] = random_flags(seed);
    frame[n++] = random_offset(seed);
    frame[n++] = random_stack_selector(seed);
    for (unsigned i = 0; i < n; i++)
        put_sized(t->memory + STACK - SCRATCH + i * size, size, frame[i]);
}

static void emit_moves(struct test *t, uint64_t *seed, unsigned bits)
{
    static const uint8_t seg[] = {0, 2, 3, 5};       /* not FS: it is the C library's */
    unsigned reg = seg[random_below(seed, 4)], size = emit_size(t, seed, bits);

    t->in.gpr[X86_RAX] = (t->in.gpr[X86_RAX] & ~0xffffull) | random_selector(seed);
    put_sized(t->memory + STACK - SCRATCH, size, random_selector(seed));
    switch (random_below(seed, 6)) {
    case 0: case 1: EMIT(t, 0x8e, 0xc0 | reg << 3); break;         /* mov Sreg, ax */
    case 2: EMIT(t, 0x8c, 0xc0 | random_below(seed, 6) << 3); break;
    case 3: EMIT(t, 0x8c, random_below(seed, 6) << 3 | (bits == 16 ? 7 : 3)); break;
    case 4:
        if (bits == 64 || reg == 5)
            EMIT(t, 0x0f, 0xa8);                                  /* push gs */
        else
            EMIT(t, 0x06 | random_below(seed, 4) << 3);
        break;
    default:
        if (bits == 64 || reg == 5)
            EMIT(t, 0x0f, 0xa9);                                  /* pop gs */
        else
            EMIT(t, 0x07 | reg << 3);
    }
}

static void emit_far_pointer(struct test *t, uint64_t *seed, unsigned bits)
{
    static const uint8_t load[][2] = {{0x0f, 0xb2}, {0x0f, 0xb5}, {0xc4}, {0xc5}};
    unsigned size = emit_size(t, seed, bits), n = random_below(seed, bits == 64 ? 2 : 4);

    put_far(t, size, random_offset(seed),
            n ? random_selector(seed) : random_stack_selector(seed));
    emit(t, load[n][0] == 0x0f ? 2 : 1, load[n]);
    EMIT(t, bits == 16 ? 0x0f : 0x0b);               /* ecx, [ebx] or cx, [bx] */
}

static void emit_far_branch(struct test *t, uint64_t *seed, unsigned bits)
{
    unsigned size = emit_size(t, seed, bits);
    uint16_t selector = random_code_selector(seed);
    uint64_t offset = random_offset(seed);
    bool call = random_below(seed, 2);

    /* A call into 64-bit code pushes by 64-bit rules, on AMD at least. With the
     * kernel's bits in the upper half of RSP (see equal_gprs) that would hang. */
    if (t->in.ss == (LDT_DATA16 << 3 | 7) && (selector & ~3) == (USER64 & ~3))
        call = false;
    if (bits == 64 || random_below(seed, 2)) {
        put_far(t, size, offset, selector);
        EMIT(t, 0xff, (call ? 3 : 5) << 3 | (bits == 16 ? 7 : 3));
        return;
    }
    EMIT(t, call ? 0x9a : 0xea);
    emit(t, size, (uint8_t *)&offset);
    emit(t, 2, (uint8_t *)&selector);
}

static void emit_return(struct test *t, uint64_t *seed, unsigned bits)
{
    unsigned size = emit_size(t, seed, bits), release = 4 * random_below(seed, 3);
    bool iret = random_below(seed, 2);

    fill_stack(t, seed, size, iret);
    if (iret)
        EMIT(t, 0xcf);
    else if (release)
        EMIT(t, 0xca, release, 0);
    else
        EMIT(t, 0xcb);
}

static void emit_question(struct test *t, uint64_t *seed, unsigned bits)
{
    t->in.gpr[X86_RAX] = random_selector(seed);
    emit_size(t, seed, bits);
    switch (random_below(seed, bits == 64 ? 4 : 5)) {
    case 0: EMIT(t, 0x0f, 0x02, 0xc8); break;        /* lar ecx, eax */
    case 1: EMIT(t, 0x0f, 0x03, 0xc8); break;        /* lsl */
    case 2: EMIT(t, 0x0f, 0x00, 0xe0); break;        /* verr ax */
    case 3: EMIT(t, 0x0f, 0x00, 0xe8); break;        /* verw ax */
    default: EMIT(t, 0x63, 0xc8); break;             /* arpl ax, cx */
    }
}

static void emit_guarded(struct test *t, uint64_t *seed, unsigned bits)
{
    static const struct { uint8_t n, b[3]; } op[] = {
        {1, {0xfa}}, {1, {0xfb}}, {1, {0xf4}}, {1, {0xec}}, {2, {0xe6, 0x80}}, {1, {0x6c}},
        {1, {0x6f}}, {2, {0x0f, 0x06}}, {2, {0x0f, 0x08}}, {2, {0x0f, 0x09}}, {2, {0x0f, 0x30}},
        {2, {0x0f, 0x32}}, {3, {0x0f, 0x20, 0xc0}}, {3, {0x0f, 0x22, 0xd8}},
        {3, {0x0f, 0x21, 0xc0}}, {3, {0x0f, 0x23, 0xf8}}, {3, {0x0f, 0x00, 0xd0}},
        {3, {0x0f, 0x00, 0xd8}}, {3, {0x0f, 0x01, 0xf0}}, {2, {0x0f, 0x34}}, {2, {0x0f, 0x35}},
        {2, {0x0f, 0x07}}, {2, {0x0f, 0x0b}}, {2, {0xcd, 0x02}}, {2, {0xcd, 0x20}},
        {2, {0xcd, 0xff}}, {1, {0x9c}}, {1, {0x9d}}, {1, {0x9d}}, {1, {0x9d}},
    };
    unsigned n = random_below(seed, ARRAY_SIZE(op)), size = emit_size(t, seed, bits);

    put_sized(t->memory + STACK - SCRATCH, bits == 64 && size == 4 ? 8 : size,
              random_flags(seed));
    emit(t, op[n].n, op[n].b);
}

/* Mode and registers; returns the code size. */
static unsigned random_mode(struct test *t, uint64_t *seed)
{
    static const uint16_t code32[] = {USER32, LDT_CODE32 << 3 | 7};
    unsigned bits = 16 << random_below(seed, 3);
    bool based = bits == 16, low_stack;

    for (unsigned i = 0; i < 16; i++)
        t->in.gpr[i] = bits == 64 || i < 8 ? random_next(seed) : 0;
    t->in.cs = bits == 64 ? USER64 : bits == 32 ? code32[random_below(seed, 2)]
                                                : LDT_CODE16 << 3 | 7;
    t->in.ds = based ? LDT_DATA16 << 3 | 7 : USER_DATA;
    t->in.es = random_below(seed, 2) ? USER_DATA : 0;
    t->in.ss = bits == 64 ? USER_DATA
                          : (uint16_t[]){USER_DATA, LDT_DATA32 << 3 | 7,
                                         LDT_DATA16 << 3 | 7}[random_below(seed, 3)];
    low_stack = t->in.ss == (LDT_DATA16 << 3 | 7);
    t->in.gpr[X86_RSP] = low_stack ? STACK : REGION + STACK;
    t->in.gpr[X86_RBX] = based ? FAR_POINTER : REGION + FAR_POINTER;
    t->in.rip = based ? CODE : REGION + CODE;
    t->in.rflags = (random_next(seed) & X86_FLAGS_ARITH) | X86_FLAG_1 | X86_FLAG_IF |
                   X86_FLAG_TF;
    if (random_below(seed, 16) == 0)
        t->in.rflags |= random_next(seed) & STICKY;
    if (bits != 64)
        for (unsigned i = 0; i < 8; i++)
            t->in.gpr[i] &= 0xffffffff;
    return bits;
}

static void random_test(struct test *t, uint64_t *seed)
{
    static void (*const emitters[])(struct test *, uint64_t *, unsigned) = {
        emit_moves, emit_far_pointer, emit_far_branch, emit_return, emit_return,
        emit_question, emit_guarded};
    unsigned bits;

    memset(t, 0, sizeof *t);
    for (unsigned i = 0; i < SCRATCH_BYTES; i += 8)
        put_le64(t->memory + i, 0x0101010101010101ull * (i >> 3 & 0x7f));
    bits = random_mode(t, seed);
    emitters[random_below(seed, ARRAY_SIZE(emitters))](t, seed, bits);
    memset((void *)(REGION + CODE), 0x90, 64);
    memcpy((void *)(REGION + CODE), t->code, t->length);
}

/* ---- comparing --------------------------------------------------------------- */

static void print_regs(const char *who, const struct outcome *o)
{
    printf("  %-5s vector %d error %#x cs %04x rip %#llx ss %04x rsp %#llx flags %#llx\n"
           "        ds %04x es %04x gs %04x rax %#llx rcx %#llx\n",
           who, o->vector, o->error, o->r.cs, (unsigned long long)o->r.rip, o->r.ss,
           (unsigned long long)o->r.gpr[X86_RSP], (unsigned long long)o->r.rflags, o->r.ds,
           o->r.es, o->r.gs, (unsigned long long)o->r.gpr[X86_RAX],
           (unsigned long long)o->r.gpr[X86_RCX]);
}

static void print_memory(const struct outcome *host, const struct outcome *ours)
{
    for (unsigned i = 0; i < SCRATCH_BYTES; i += 8)
        if (memcmp(host->memory + i, ours->memory + i, 8))
            printf("  at %#x: host %016llx ours %016llx\n", SCRATCH + i,
                   (unsigned long long)get_le64(host->memory + i),
                   (unsigned long long)get_le64(ours->memory + i));
}

/* The kernel's way back to a 16-bit stack leaves bits of its own in the upper
 * half of RSP ("espfix"). */
static bool equal_gprs(const struct regs *a, const struct regs *b, bool stack16)
{
    for (unsigned i = 0; i < 16; i++)
        if ((a->gpr[i] ^ b->gpr[i]) & (i == X86_RSP && stack16 ? 0xffffffff : UINT64_MAX))
            return false;
    return true;
}

/* On the way out of the kernel null selectors lose their RPL. */
static bool equal_selector(uint16_t a, uint16_t b)
{
    return a == b || !((a | b) & ~3);
}

static bool equal(const struct test *t, const struct outcome *a, const struct outcome *b)
{
    bool error = a->vector == X86_DB || a->error == b->error;

    return a->vector == b->vector && error &&
           equal_gprs(&a->r, &b->r, t->in.ss == (LDT_DATA16 << 3 | 7)) &&
           a->r.rip == b->r.rip && !((a->r.rflags ^ b->r.rflags) & CODE_FLAGS) &&
           a->r.cs == b->r.cs && a->r.ss == b->r.ss && equal_selector(a->r.ds, b->r.ds) &&
           equal_selector(a->r.es, b->r.es) && equal_selector(a->r.gs, b->r.gs) &&
           !memcmp(a->memory, b->memory, SCRATCH_BYTES);
}

static void report(const struct test *t, unsigned long n, uint64_t seed,
                   const struct outcome *host, const struct outcome *ours)
{
    unsigned bits = t->in.cs == USER64 ? 64 : t->in.cs == (LDT_CODE16 << 3 | 7) ? 16 : 32;
    char text[128];

    x86_disassemble(t->code, t->length, bits, t->in.rip, text, sizeof text);
    printf("case %lu (seed %#llx), %u-bit code, ss %04x: %s\n", n, (unsigned long long)seed, bits,
           t->in.ss, text);
    printf("  stack");
    for (unsigned i = 0; i < 5; i++)
        printf(" %llx", (unsigned long long)get_le64(t->memory + STACK - SCRATCH + 8 * i));
    printf("\n");
    print_regs("host", host);
    print_regs("ours", ours);
    print_memory(host, ours);
}

static int skip(const char *why)
{
    printf("SKIP: %s\n", why);
    return 77;
}

int main(int argc, char **argv)
{
    unsigned long cases = argc > 1 ? strtoul(argv[1], NULL, 0) : 100000, bad = 0;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    struct model *m = calloc(1, sizeof *m);
    struct outcome *host = calloc(2, sizeof *host), *ours = host + 1;
    struct test t;
    cpu_set_t cpus;

    if (!region_map(m))
        return skip("no memory at 1 GiB");
    CPU_ZERO(&cpus);
    CPU_SET(sched_getcpu(), &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);        /* selector 7b says which one */
    if (!host_segments())
        return skip("this kernel forbids modify_ldt()");
    host_handlers();
    model_init(m);
    for (unsigned long n = 0; n < cases && bad < 10; n++) {
        uint64_t case_seed = seed;

        random_test(&t, &seed);
        host_run(&t, host);
        model_run(m, &t, ours);
        if (!equal(&t, host, ours)) {
            report(&t, n, case_seed, host, ours);
            bad++;
        }
    }
    printf("%lu cases, %lu differ\n", cases, bad);
    free(host);
    free(m);
    return bad ? 1 : 0;
}
