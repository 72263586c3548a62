/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostinsn_x87.c - x87 and MMX around the stub, and x87 control in C.
 *
 * Exceptions: a stub may leave FSW.ES set; x86_fpu_check() turns that into #MF
 * at the next waiting instruction, so the host never sees one.
 *
 * Instruction and operand pointers: a stub runs somewhere else, so what the
 * host recorded is replaced by the guest's addresses. Intel's FXSAVE says what
 * the processor recorded (which, of FOP and FDP, depends on the model); AMD's
 * does so only with an exception pending, but its rule is plain: every
 * non-control instruction sets FIP, FCS and FOP, one with a memory operand FDP
 * and FDS. A processor that deprecates selectors stores zeros for them.
 *
 * Formats of the environment: SDM vol. 1, 8.1.10.
 */
#include "x86/hostinsn_priv.h"

#include <string.h>
#include "base/byteorder.h"

enum {
    FSW_INVALID = 1, FSW_OVERFLOW = 8, FSW_UNDERFLOW = 16, FSW_EXCEPTIONS = 0x3f,
    FSW_SF = 0x40, FSW_ES = 0x80, FSW_TOP_SHIFT = 11, FSW_TOP = 7 << FSW_TOP_SHIFT,
    FSW_B = 0x8000,
    FCW_INIT = 0x37f, FCW_WRITABLE = 0x1f3f, FCW_ONE = 0x40, FCW_MASKS = 0x3f,
};

/* ---- state to and from the stub ---------------------------------------- */

void x86_hostinsn_x87_load(const struct x86_cpu *cpu, struct hostinsn_frame *f)
{
    const struct x86_fpu *s = &cpu->s.fpu;
    struct hostinsn_fxsave *x = &f->x87;

    /* With CR0.NE = 0 and a pending exception the guest goes on as if IGNNE#
     * were active; the host would not, so it gets that exception masked. */
    x->fcw = s->fcw | (s->fsw & FSW_ES ? s->fsw & FCW_MASKS : 0);
    x->fsw = s->fsw;
    x->ftw = s->ftw;
    x->reserved = 0;
    x->fop = s->fop;
    x->fip = s->fip;
    x->fdp = s->fdp;
    x->mxcsr = s->mxcsr;
    memcpy(x->st, s->st, sizeof x->st);
}

void x86_hostinsn_x87_store(struct x86_cpu *cpu, const struct hostinsn_frame *f)
{
    struct x86_fpu *s = &cpu->s.fpu;

    s->fsw = f->x87.fsw;
    if (f->x87.fcw != s->fcw)                        /* see above */
        x86_hostinsn_x87_summary(s);
    s->ftw = f->x87.ftw;
    s->mxcsr = f->x87.mxcsr;
    memcpy(s->st, f->x87.st, sizeof s->st);
}

static void set_pointers(struct x86_cpu *cpu, const struct x86_insn *insn,
                         const struct x86_hostinsn *st, const struct hostinsn_frame *f,
                         const void *mem)
{
    const struct hostinsn_host *host = x86_hostinsn_host(cpu->hostinsns);
    struct x86_fpu *s = &cpu->s.fpu;
    uintptr_t at = (uintptr_t)st->enter;
    bool operand = mem != NULL;

    if (st->need != X86_NEED_X87)
        return;
    if (!host->amd) {
        if (f->x87.fip < at || f->x87.fip >= at + st->fault_at)
            return;
        s->fop = f->x87.fop;
        operand = operand && f->x87.fdp == (uintptr_t)mem;
    } else {
        s->fop = (uint16_t)((insn->bytes[insn->modrm_at - 1] & 7) << 8 |
                            insn->bytes[insn->modrm_at]);
    }
    s->fip = cpu->s.rip;
    s->fcs = host->x87_selectors ? cpu->s.seg[X86_CS].selector : 0;
    if (operand) {
        s->fdp = x86_ea(cpu, insn);
        s->fds = host->x87_selectors ? cpu->s.seg[insn->mem.seg].selector : 0;
    }
}

void x86_hostinsn_run_x87_regs(struct x86_cpu *cpu, const struct x86_insn *insn,
                               const struct x86_hostinsn *st)
{
    struct hostinsn_frame f;

    x86_hostinsn_x87_load(cpu, &f);
    x86_hostinsn_enter(cpu, st, NULL, &f);
    x86_hostinsn_x87_store(cpu, &f);
    set_pointers(cpu, insn, st, &f, NULL);
}

/* ---- operands in parts ------------------------------------------------- */

enum { ENV16_BYTES = 14, ENV32_BYTES = 28, ENV_MAX = 28, REGISTERS_BYTES = 80 };

/* With 16-bit addresses an operand may run over the end of its 64 KiB. What is
 * moved in parts then goes on at 0: fields of an environment, and significand
 * and exponent of a register. */
static bool wraps(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned n)
{
    return insn->address_bits == 16 && x86_ea(cpu, insn) + n > 0x10000;
}

enum part_action { PART_READ, PART_PROBE, PART_WRITE };

static void part(struct x86_cpu *cpu, const struct x86_insn *insn, enum part_action what,
                 unsigned offset, uint8_t *image, unsigned n)
{
    enum x86_access access = what == PART_READ ? X86_READ : X86_WRITE;
    gva_t a = x86_linear(cpu, (enum x86_seg)insn->mem.seg, (x86_ea(cpu, insn) + offset) & 0xffff,
                         n, access);

    if (what == PART_READ)
        x86_read_block(cpu, a, image + offset, n);
    else if (what == PART_PROBE)
        x86_probe(cpu, a, n, access);
    else
        x86_write_block(cpu, a, image + offset, n);
}

/* `env` bytes of environment, then registers up to `n`. */
static void parts(struct x86_cpu *cpu, const struct x86_insn *insn, enum part_action what,
                  unsigned env, uint8_t *image, unsigned n)
{
    for (unsigned at = 0; at < env; at += env / 7)
        part(cpu, insn, what, at, image, env / 7);
    for (unsigned at = env; at < n; at += 10) {
        part(cpu, insn, what, at, image, 8);
        part(cpu, insn, what, at + 8, image, 2);
    }
}

/* Moves an environment or a whole state. Like AMD's microcode, looks at the first
 * field and then at the last byte: that decides what CR2 is when the operand
 * reaches into a missing page. */
static void move_env(struct x86_cpu *cpu, const struct x86_insn *insn, enum x86_access access,
                     unsigned env, uint8_t *image, unsigned n)
{
    if (wraps(cpu, insn, n)) {
        parts(cpu, insn, access == X86_READ ? PART_READ : PART_PROBE, env, image, n);
        if (access == X86_WRITE)
            parts(cpu, insn, PART_WRITE, env, image, n);
        return;
    }
    gva_t a = x86_ea_linear(cpu, insn, n, access);
    x86_probe(cpu, a, env / 7, access);
    x86_probe(cpu, gva_add(a, n - 1), 1, access);
    if (access == X86_READ)
        x86_read_block(cpu, a, image, n);
    else
        x86_write_block(cpu, a, image, n);
}

/* ---- stubs with an operand in memory ----------------------------------- */

/* A store that raises an unmasked invalid operation, overflow or underflow
 * does not happen (SDM vol. 1, 8.5). None of these was pending before. */
static bool store_happened(const struct hostinsn_frame *f)
{
    return !(f->x87.fsw & ~f->x87.fcw & (FSW_INVALID | FSW_OVERFLOW | FSW_UNDERFLOW));
}

/* An 80-bit operand in two parts. */
static void run_wrapped(struct x86_cpu *cpu, const struct x86_insn *insn,
                        const struct x86_hostinsn *st)
{
    struct hostinsn_frame f;
    uint8_t image[16];

    parts(cpu, insn, st->mem_write ? PART_PROBE : PART_READ, 0, image, 10);
    x86_hostinsn_x87_load(cpu, &f);
    x86_hostinsn_enter(cpu, st, image, &f);
    if (st->mem_write && store_happened(&f))
        parts(cpu, insn, PART_WRITE, 0, image, 10);
    x86_hostinsn_x87_store(cpu, &f);
    set_pointers(cpu, insn, st, &f, image);
}

void x86_hostinsn_run_x87_mem(struct x86_cpu *cpu, const struct x86_insn *insn,
                              const struct x86_hostinsn *st)
{
    enum x86_access access = st->mem_write ? X86_WRITE : X86_READ;
    struct hostinsn_bounce b;
    struct hostinsn_frame f;
    uint8_t *direct, *p;
    gva_t a;

    if (st->mem_bytes == 10 && wraps(cpu, insn, 10)) {
        run_wrapped(cpu, insn, st);
        return;
    }
    if (st->align)
        x86_hostinsn_align(cpu, insn, st);
    a = x86_ea_linear(cpu, insn, st->mem_bytes, access);
    p = direct = x86_host_ptr(cpu, a, st->mem_bytes, access);
    if (!direct) {
        p = st->align ? b.at : x86_hostinsn_bounce_at(&b, a);
        if (st->mem_write)
            x86_probe(cpu, a, st->mem_bytes, X86_WRITE);
        if (st->mem_read)
            x86_read_block(cpu, a, p, st->mem_bytes);
    }
    x86_hostinsn_x87_load(cpu, &f);
    x86_hostinsn_enter(cpu, st, p, &f);
    if (!direct && st->mem_write && (st->need != X86_NEED_X87 || store_happened(&f)))
        x86_write_block(cpu, a, p, st->mem_bytes);
    x86_hostinsn_x87_store(cpu, &f);
    set_pointers(cpu, insn, st, &f, p);
}

/* ---- the environment --------------------------------------------------- */

/* st[] is in stack order; the registers themselves do not move. */
void x86_hostinsn_x87_set_top(struct x86_fpu *f, unsigned top)
{
    unsigned old = (f->fsw & FSW_TOP) >> FSW_TOP_SHIFT;
    uint8_t moved[8][16];

    for (unsigned i = 0; i < 8; i++)
        memcpy(moved[i], f->st[(i + top - old) & 7], sizeof moved[i]);
    memcpy(f->st, moved, sizeof f->st);
    f->fsw = (uint16_t)((f->fsw & ~FSW_TOP) | top << FSW_TOP_SHIFT);
}

void x86_hostinsn_x87_summary(struct x86_fpu *f)
{
    f->fsw &= (uint16_t)~(FSW_ES | FSW_B);
    if (f->fsw & ~f->fcw & FSW_EXCEPTIONS)
        f->fsw |= FSW_ES | FSW_B;
}

static void set_fcw(struct x86_fpu *f, uint16_t value)
{
    f->fcw = (value & FCW_WRITABLE) | FCW_ONE;
}

/* Tag word: 0 valid, 1 zero, 2 special, 3 empty; by physical register. */
static uint16_t full_tags(const struct x86_fpu *f)
{
    unsigned top = (f->fsw & FSW_TOP) >> FSW_TOP_SHIFT;
    uint16_t tags = 0;

    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *r = f->st[(i - top) & 7];
        uint64_t significand = get_le64(r);
        unsigned exponent = get_le16(r + 8) & 0x7fff, tag = 2;

        if (!(f->ftw & 1u << i))
            tag = 3;
        else if (!exponent && !significand)
            tag = 1;
        else if (exponent != 0 && exponent != 0x7fff && significand >> 63)
            tag = 0;
        tags |= (uint16_t)(tag << 2 * i);
    }
    return tags;
}

static uint8_t abridged_tags(uint16_t tags)
{
    uint8_t out = 0;

    for (unsigned i = 0; i < 8; i++) {
        if ((tags >> 2 * i & 3) != 3)
            out |= (uint8_t)(1u << i);
    }
    return out;
}

static void init_x87(struct x86_fpu *f)
{
    x86_hostinsn_x87_set_top(f, 0);
    f->fcw = FCW_INIT;
    f->fsw = f->fop = f->fcs = f->fds = 0;
    f->ftw = 0;
    f->fip = f->fdp = 0;
}

/* Seven fields of 16 or 32 bits; unused upper halves are ones. */
static unsigned env_build(const struct x86_cpu *cpu, bool wide, uint8_t out[ENV_MAX])
{
    const struct x86_fpu *f = &cpu->s.fpu;
    uint32_t ip = (uint32_t)f->fip, dp = (uint32_t)f->fdp;
    uint32_t v[7] = {f->fcw | 0xffff0000u, f->fsw | 0xffff0000u, full_tags(f) | 0xffff0000u};

    if (cpu->mode.protected_mode) {
        v[3] = ip;
        v[4] = f->fcs | (wide ? (uint32_t)f->fop << 16 : 0);
        v[5] = dp;
        v[6] = f->fds | 0xffff0000u;
    } else {
        ip += (uint32_t)f->fcs << 4;
        dp += (uint32_t)f->fds << 4;
        v[3] = ip | 0xffff0000u;
        v[4] = (ip >> 16 & (wide ? 0xffff : 0xf)) << 12 | f->fop;
        v[5] = dp | 0xffff0000u;
        v[6] = (dp >> 16 & (wide ? 0xffff : 0xf)) << 12;
    }
    for (unsigned i = 0; i < 7; i++) {
        if (wide)
            put_le32(out + 4 * i, v[i]);
        else
            put_le16(out + 2 * i, (uint16_t)v[i]);
    }
    return wide ? ENV32_BYTES : ENV16_BYTES;
}

static void env_pointers(const struct x86_cpu *cpu, bool wide, const uint32_t v[7],
                         struct x86_fpu *f)
{
    if (cpu->mode.protected_mode) {
        f->fip = v[3];
        f->fcs = (uint16_t)v[4];
        f->fop = wide ? v[4] >> 16 & 0x7ff : 0;
        f->fdp = v[5];
        f->fds = (uint16_t)v[6];
        return;
    }
    f->fip = (v[3] & 0xffff) | (v[4] >> 12 & 0xffff) << 16;
    f->fop = v[4] & 0x7ff;
    f->fdp = (v[5] & 0xffff) | (v[6] >> 12 & 0xffff) << 16;
    f->fcs = f->fds = 0;
}

static void env_apply(struct x86_cpu *cpu, bool wide, const uint8_t *in)
{
    struct x86_fpu *f = &cpu->s.fpu;
    uint32_t v[7];

    for (unsigned i = 0; i < 7; i++)
        v[i] = wide ? get_le32(in + 4 * i) : get_le16(in + 2 * i);
    set_fcw(f, (uint16_t)v[0]);
    x86_hostinsn_x87_set_top(f, (v[1] & FSW_TOP) >> FSW_TOP_SHIFT);
    f->fsw = (uint16_t)v[1];
    f->ftw = abridged_tags((uint16_t)v[2]);
    env_pointers(cpu, wide, v, f);
    x86_hostinsn_x87_summary(f);
}

/* ---- control instructions ---------------------------------------------- */

static void run_nothing(struct x86_cpu *cpu, const struct x86_insn *insn,
                        const struct x86_hostinsn *st)
{
}

static void run_fninit(struct x86_cpu *cpu, const struct x86_insn *insn,
                       const struct x86_hostinsn *st)
{
    init_x87(&cpu->s.fpu);
}

static void run_fnclex(struct x86_cpu *cpu, const struct x86_insn *insn,
                       const struct x86_hostinsn *st)
{
    cpu->s.fpu.fsw &= (uint16_t)~(FSW_EXCEPTIONS | FSW_SF | FSW_ES | FSW_B);
}

static void run_fnstcw(struct x86_cpu *cpu, const struct x86_insn *insn,
                       const struct x86_hostinsn *st)
{
    x86_operand_write(cpu, insn, 0, cpu->s.fpu.fcw);
}

static void run_fnstsw(struct x86_cpu *cpu, const struct x86_insn *insn,
                       const struct x86_hostinsn *st)
{
    x86_operand_write(cpu, insn, 0, cpu->s.fpu.fsw);
}

static void run_fldcw(struct x86_cpu *cpu, const struct x86_insn *insn,
                      const struct x86_hostinsn *st)
{
    set_fcw(&cpu->s.fpu, (uint16_t)x86_operand_read(cpu, insn, 0));
    x86_hostinsn_x87_summary(&cpu->s.fpu);
}

static void run_fnstenv(struct x86_cpu *cpu, const struct x86_insn *insn,
                        const struct x86_hostinsn *st)
{
    uint8_t image[ENV_MAX];
    unsigned n = env_build(cpu, insn->mem.size == ENV32_BYTES, image);

    move_env(cpu, insn, X86_WRITE, n, image, n);
    cpu->s.fpu.fcw |= FCW_MASKS;
    x86_hostinsn_x87_summary(&cpu->s.fpu);
}

static void run_fldenv(struct x86_cpu *cpu, const struct x86_insn *insn,
                       const struct x86_hostinsn *st)
{
    unsigned n = insn->mem.size;
    uint8_t image[ENV_MAX];

    move_env(cpu, insn, X86_READ, n, image, n);
    env_apply(cpu, n == ENV32_BYTES, image);
}

static void run_fnsave(struct x86_cpu *cpu, const struct x86_insn *insn,
                       const struct x86_hostinsn *st)
{
    bool wide = insn->mem.size == ENV32_BYTES + REGISTERS_BYTES;
    uint8_t image[ENV_MAX + REGISTERS_BYTES];
    unsigned env = env_build(cpu, wide, image);

    for (unsigned i = 0; i < 8; i++)
        memcpy(image + env + 10 * i, cpu->s.fpu.st[i], 10);
    move_env(cpu, insn, X86_WRITE, env, image, env + REGISTERS_BYTES);
    init_x87(&cpu->s.fpu);
}

static void run_frstor(struct x86_cpu *cpu, const struct x86_insn *insn,
                       const struct x86_hostinsn *st)
{
    unsigned n = insn->mem.size, env = n - REGISTERS_BYTES;
    uint8_t image[ENV_MAX + REGISTERS_BYTES];

    move_env(cpu, insn, X86_READ, env, image, n);
    env_apply(cpu, env == ENV32_BYTES, image);
    memset(cpu->s.fpu.st, 0, sizeof cpu->s.fpu.st);
    for (unsigned i = 0; i < 8; i++)
        memcpy(cpu->s.fpu.st[i], image + env + 10 * i, 10);
}

hostinsn_run *x86_hostinsn_x87_control(unsigned mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_FWAIT:
    case ZYDIS_MNEMONIC_FSETPM287_NOP:
    case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FDISI8087_NOP: return run_nothing;
    case ZYDIS_MNEMONIC_FNINIT: return run_fninit;
    case ZYDIS_MNEMONIC_FNCLEX: return run_fnclex;
    case ZYDIS_MNEMONIC_FNSTCW: return run_fnstcw;
    case ZYDIS_MNEMONIC_FNSTSW: return run_fnstsw;
    case ZYDIS_MNEMONIC_FLDCW: return run_fldcw;
    case ZYDIS_MNEMONIC_FNSTENV: return run_fnstenv;
    case ZYDIS_MNEMONIC_FLDENV: return run_fldenv;
    case ZYDIS_MNEMONIC_FNSAVE: return run_fnsave;
    case ZYDIS_MNEMONIC_FRSTOR: return run_frstor;
    default: return NULL;
    }
}

bool x86_hostinsn_is_x87_control(const struct x86_insn *insn)
{
    return x86_hostinsn_x87_control(insn->mnemonic) != NULL;
}

bool x86_hostinsn_x87_selectors(const struct x86_hostinsn_pool *pool)
{
    return x86_hostinsn_host(pool)->x87_selectors;
}
