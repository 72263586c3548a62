/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * debug.c - debug registers, breakpoints, single step, and the one-instruction
 * shadows (Intel SDM vol. 3 ch. 17.2-17.3 and 6.8.3; AMD APM vol. 2 ch. 13).
 *
 * Traps collect in cpu->debug_due while an instruction runs and are raised when
 * it is over. A MOV SS or POP SS holds them back for one more instruction.
 */
#include "x86/event.h"
#include "x86/system_ops.h"

enum { DR6_WRITABLE = 0xe00f, DR7_ENABLES = 0xff, DR7_GD = 1 << 13 };
static const uint64_t dr6_fixed = 0xffff0ff0, dr7_fixed = 0x400, dr7_writable = 0xffff23ff;

enum breakpoint_kind { BREAK_EXECUTE, BREAK_WRITE, BREAK_IO, BREAK_ACCESS };

static bool enabled(uint64_t dr7, unsigned n)
{
    return dr7 >> (2 * n) & 3;
}

static enum breakpoint_kind kind(uint64_t dr7, unsigned n)
{
    return dr7 >> (16 + 4 * n) & 3;
}

static unsigned length(uint64_t dr7, unsigned n)
{
    static const uint8_t bytes[] = {1, 2, 8, 4};

    return bytes[dr7 >> (18 + 4 * n) & 3];
}

static bool watches_data(uint64_t dr7)
{
    for (unsigned n = 0; n < 4; n++)
        if (enabled(dr7, n) && kind(dr7, n) & 1)
            return true;
    return false;
}

/* ---- finding hits ------------------------------------------------------------ */

static bool overlaps(const struct x86_cpu *cpu, unsigned n, uint64_t a, unsigned len)
{
    unsigned size = length(cpu->s.dr7, n);
    uint64_t start = cpu->s.dr[n] & ~(uint64_t)(size - 1);

    return a < start + size && start < a + len;
}

void x86_debug_data_access(struct x86_cpu *cpu, gva_t a, unsigned len, bool write)
{
    for (unsigned n = 0; n < 4; n++) {
        enum breakpoint_kind k = kind(cpu->s.dr7, n);

        if (enabled(cpu->s.dr7, n) && (k == BREAK_ACCESS || (k == BREAK_WRITE && write)) &&
            overlaps(cpu, n, a.v, len))
            cpu->debug_due |= 1u << n;
    }
}

void x86_debug_io_access(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
    if (!(cpu->s.dr7 & DR7_ENABLES) || !(cpu->s.cr4 & X86_CR4_DE))
        return;
    for (unsigned n = 0; n < 4; n++)
        if (enabled(cpu->s.dr7, n) && kind(cpu->s.dr7, n) == BREAK_IO &&
            overlaps(cpu, n, port, size))
            cpu->debug_due |= 1u << n;
}

static uint64_t execute_hits(const struct x86_cpu *cpu)
{
    uint64_t a = cpu->s.rip, hits = 0;

    if (cpu->mode.code_bits != 64)
        a = (a + cpu->s.seg[X86_CS].base) & 0xffffffff;
    for (unsigned n = 0; n < 4; n++)
        if (enabled(cpu->s.dr7, n) && kind(cpu->s.dr7, n) == BREAK_EXECUTE &&
            cpu->s.dr[n] == a)
            hits |= 1u << n;
    return hits;
}

/* ---- around each instruction --------------------------------------------------- */

static void trap_raise_due(struct x86_cpu *cpu)
{
    uint64_t bits = cpu->debug_due & ~X86_DEBUG_NO_STEP;

    cpu->debug_due = 0;
    if (!bits)
        return;
    cpu->pending = (struct x86_exception){.vector = X86_DB, .trap = true, .dr6 = bits};
    longjmp(cpu->unwind, 1);
}

void x86_step_begin(struct x86_cpu *cpu)
{
    bool resumed = cpu->s.rflags & X86_FLAG_RF, held = cpu->s.ev.shadow_mov_ss;
    uint64_t hits;

    cpu->s.ev.shadow_sti = cpu->s.ev.shadow_mov_ss = false;
    if (!held)
        trap_raise_due(cpu);
    /* MOV SS holds instruction breakpoints back on Intel's processors only; on
     * AMD's the held trap comes along. */
    if ((!held || cpu->model->amd) && cpu->s.dr7 & DR7_ENABLES && !resumed &&
        (hits = execute_hits(cpu))) {
        hits |= cpu->debug_due & ~X86_DEBUG_NO_STEP;
        cpu->debug_due = 0;
        x86_raise_db(cpu, hits);
    }
    if (held)
        return;
    cpu->s.rflags &= ~(uint64_t)X86_FLAG_RF;
}

void x86_step_done(struct x86_cpu *cpu, uint64_t flags_before)
{
    if (cpu->s.ev.shadow_mov_ss)
        return;
    if (flags_before & X86_FLAG_TF && !(cpu->debug_due & X86_DEBUG_NO_STEP))
        cpu->debug_due |= X86_DR6_BS;
    trap_raise_due(cpu);
}

/* ---- MOV to and from debug registers --------------------------------------------- */

static unsigned debug_register(struct x86_cpu *cpu, const struct x86_operand *o)
{
    unsigned n = o->reg;

    if (n > 7 || ((n == 4 || n == 5) && cpu->s.cr4 & X86_CR4_DE))
        x86_ud(cpu);
    if (cpu->mode.cpl)
        x86_gp0(cpu);
    if (cpu->s.dr7 & DR7_GD)
        x86_raise_db(cpu, X86_DR6_BD);
    return n == 4 || n == 5 ? n + 2 : n;         /* aliases of DR6 and DR7 */
}

static void debug_register_write(struct x86_cpu *cpu, unsigned n, uint64_t value)
{
    bool watched = watches_data(cpu->s.dr7);

    if (n >= 6 && value >> 32)
        x86_gp0(cpu);
    if (n == 6)
        cpu->s.dr6 = (value & DR6_WRITABLE) | dr6_fixed;
    else if (n == 7)
        cpu->s.dr7 = (value & dr7_writable) | dr7_fixed;
    else
        cpu->s.dr[n & 3] = value;
    /* Pages with a data breakpoint must not be in the TLB as plain ones. */
    if (n != 6 && (watched || watches_data(cpu->s.dr7)))
        x86_tlb_flush(cpu, true);
}

void x86_op_mov_dr(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    unsigned size = insn->code_bits == 64 ? 8 : 4, n;
    uint64_t value;

    if (insn->op[0].kind == X86_OPND_DR) {
        n = debug_register(cpu, &insn->op[0]);
        debug_register_write(cpu, n, x86_gpr_read(cpu, insn->op[1].reg, size));
    } else {
        n = debug_register(cpu, &insn->op[1]);
        value = n == 6 ? cpu->s.dr6 : n == 7 ? cpu->s.dr7 : cpu->s.dr[n & 3];
        x86_gpr_write(cpu, insn->op[0].reg, size, value);
    }
    x86_next(cpu, insn);
}
