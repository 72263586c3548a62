/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io.c - IN, OUT, INS, OUTS and who may use which port.
 *
 * Intel SDM vol. 1 ch. 18 and vol. 2. A port access cannot be taken back, so
 * whatever may fault is probed before it. Repeated forms work iteration by
 * iteration on the architectural registers: a fault or an interrupt finds them
 * between two iterations, with s.rip still on the instruction.
 */
#include <string.h>

#include "x86/event.h"
#include "x86/system_ops.h"

/* ---- permission ---------------------------------------------------------------- */

static bool bitmap_allows(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
    const struct x86_segment *tr = &cpu->s.tr;
    uint64_t mask = cpu->mode.long_mode ? UINT64_MAX : 0xffffffff;
    uint32_t at, bits;

    if ((tr->attr & 0xd) != X86_TYPE_TSS || tr->limit < 103)
        return false;
    at = (uint32_t)x86_read_sys(cpu, gva((tr->base + 102) & mask), 2) + port / 8;
    /* Two bytes are always read: the access may straddle them. */
    if (at + 1 > tr->limit)
        return false;
    bits = (uint32_t)x86_read_sys(cpu, gva((tr->base + at) & mask), 2);
    return !(bits >> port % 8 & ((1u << size) - 1));
}

void x86_io_check(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
    bool checked = cpu->mode.vm86 || cpu->mode.cpl > x86_iopl(cpu);

    if (checked && !bitmap_allows(cpu, port, size))
        x86_gp0(cpu);
}

static uint64_t port_read(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
    x86_debug_io_access(cpu, port, size);
    return cpu->ops->pio_read(cpu->env, port, size);
}

static void port_write(struct x86_cpu *cpu, uint16_t port, unsigned size, uint64_t value)
{
    x86_debug_io_access(cpu, port, size);
    cpu->ops->pio_write(cpu->env, port, size, value);
}

/* ---- IN and OUT ------------------------------------------------------------------ */

/* The opcode tells byte from word forms in bit 0 (E4-E7, EC-EF, 6C-6F); it is
 * the last byte but for the port number. There is no 64-bit port access. */
static unsigned port_bytes(const struct x86_insn *insn)
{
    unsigned opcode = insn->bytes[insn->length - 1 - insn->imm_bytes];

    return !(opcode & 1) ? 1 : insn->operand_bits == 16 ? 2 : 4;
}

static uint16_t port_number(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
    return insn->imm_bytes ? insn->bytes[insn->length - 1] : (uint16_t)cpu->s.gpr[X86_RDX];
}

void x86_op_in(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint16_t port = port_number(cpu, insn);
    unsigned size = port_bytes(insn);

    x86_io_check(cpu, port, size);
    x86_gpr_write(cpu, X86_RAX, size, port_read(cpu, port, size));
    x86_next(cpu, insn);
}

void x86_op_out(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    uint16_t port = port_number(cpu, insn);
    unsigned size = port_bytes(insn);

    x86_io_check(cpu, port, size);
    port_write(cpu, port, size, x86_gpr_read(cpu, X86_RAX, size));
    x86_next(cpu, insn);
}

/* ---- INS and OUTS ------------------------------------------------------------------ */

static void pointer_step(struct x86_cpu *cpu, unsigned reg, unsigned address_bytes, uint64_t size)
{
    uint64_t step = cpu->s.rflags & X86_FLAG_DF ? -size : size;

    x86_gpr_write(cpu, reg, address_bytes, cpu->s.gpr[reg] + step);
}

static void ins_once(struct x86_cpu *cpu, unsigned address_bytes, unsigned size)
{
    uint16_t port = (uint16_t)cpu->s.gpr[X86_RDX];
    uint64_t offset = x86_gpr_read(cpu, X86_RDI, address_bytes);
    gva_t a = x86_linear(cpu, X86_ES, offset, size, X86_WRITE);

    x86_probe(cpu, a, size, X86_WRITE);
    x86_write(cpu, a, size, port_read(cpu, port, size));
    pointer_step(cpu, X86_RDI, address_bytes, size);
}

static void outs_once(struct x86_cpu *cpu, enum x86_seg seg, unsigned address_bytes, unsigned size)
{
    uint16_t port = (uint16_t)cpu->s.gpr[X86_RDX];
    uint64_t offset = x86_gpr_read(cpu, X86_RSI, address_bytes);
    gva_t a = x86_linear(cpu, seg, offset, size, X86_READ);

    port_write(cpu, port, size, x86_read(cpu, a, size));
    pointer_step(cpu, X86_RSI, address_bytes, size);
}

/* How many elements of a repeated instruction may be tried at once: upwards, inside of
 * one page, where the segment's limit and the offset's width let them be. */
static uint64_t run_length(const struct x86_cpu *cpu, enum x86_seg seg, uint64_t offset, gva_t a,
                           unsigned address_bytes, unsigned size, uint64_t count)
{
    const struct x86_segment *s = &cpu->s.seg[seg];
    uint64_t last = UINT64_MAX >> (64 - 8 * address_bytes);

    if (cpu->mode.code_bits != 64) {
        if ((s->attr & (X86_SEG_CODE | X86_SEG_DOWN)) == X86_SEG_DOWN)
            return 0;
        last = min_u64(last, s->limit);
    }
    if (offset > last)
        return 0;
    return min_u64(count, min_u64(PAGE_SIZE - (a.v & PAGE_OFFSET_MASK), last - offset) / size);
}

/* What the device takes or gives at once goes through a buffer: while it is asked, other
 * vCPUs may come to execute what lies in the page. 0: element by element. */
static uint64_t string_run(struct x86_cpu *cpu, enum x86_seg seg, bool input,
                           unsigned address_bytes, unsigned size, uint64_t count)
{
    unsigned reg = input ? X86_RDI : X86_RSI;
    enum x86_access access = input ? X86_WRITE : X86_READ;
    uint64_t offset = x86_gpr_read(cpu, reg, address_bytes);
    uint8_t buf[PAGE_SIZE];
    const uint8_t *p;
    gva_t a;

    if (count < 2 || !cpu->ops->pio_string || cpu->s.rflags & X86_FLAG_DF || cpu->s.dr7 & 0xff)
        return 0;
    a = x86_linear(cpu, seg, offset, size, access);
    count = run_length(cpu, seg, offset, a, address_bytes, size, count);
    p = count > 1 ? x86_host_ptr(cpu, a, (unsigned)count * size, access) : NULL;
    if (!p)
        return 0;
    if (!input)
        memcpy(buf, p, count * size);
    count = cpu->ops->pio_string(cpu->env, (uint16_t)cpu->s.gpr[X86_RDX], size, buf, count,
                                 !input);
    for (uint64_t i = 0; input && i < count; i++) {
        uint64_t v = 0;

        memcpy(&v, buf + i * size, size);
        x86_write(cpu, gva_add(a, i * size), size, v);
    }
    pointer_step(cpu, reg, address_bytes, count * size);
    return count;
}

/* How many iterations one call makes, so that interrupts are not kept waiting;
 * one when each may end in a debug trap. */
enum { REP_BATCH = 1024 };

static void string_io(struct x86_cpu *cpu, const struct x86_insn *insn, bool input)
{
    unsigned size = port_bytes(insn), address_bytes = insn->address_bits / 8;
    unsigned batch = x86_step_watch(cpu) ? 1 : REP_BATCH;
    bool repeat = insn->rep || insn->repne;
    uint64_t count = repeat ? x86_gpr_read(cpu, X86_RCX, address_bytes) : 1;
    bool runs = batch > 1;

    if (count)
        x86_io_check(cpu, (uint16_t)cpu->s.gpr[X86_RDX], size);
    for (; count && batch; batch--) {
        uint64_t n = runs ? string_run(cpu, input ? X86_ES : insn->mem.seg, input,
                                       address_bytes, size, count) : 0;

        runs = n != 0;
        if (!n && input)
            ins_once(cpu, address_bytes, size);
        else if (!n)
            outs_once(cpu, insn->mem.seg, address_bytes, size);
        count -= n ? n : 1;
        if (repeat)
            x86_gpr_write(cpu, X86_RCX, address_bytes, count);
    }
    if (!count)
        x86_next(cpu, insn);
    else if (cpu->s.dr7 & 0xff)
        cpu->s.rflags |= X86_FLAG_RF;      /* no second instruction breakpoint */
}

void x86_op_ins(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    string_io(cpu, insn, true);
}

void x86_op_outs(struct x86_cpu *cpu, const struct x86_insn *insn)
{
    string_io(cpu, insn, false);
}
