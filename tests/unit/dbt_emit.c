// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The translator's own bit instructions, in every form that a host may need: with
 * BMI2, with a PEXT that is to be avoided, and without BMI2. Executed, with random
 * operands and flags: same result, same flags, nothing else changed.
 */
#include "unit.h"

#include <cpuid.h>
#include <stdlib.h>

#include "base/code_memory.h"
#include "engine/dbt/emit.h"

enum { ROUNDS = 400, CODE_BYTES = 4096 };

enum op { OP_PEXT, OP_PEXT_SAME, OP_KEEP, OP_RORX_SHLX, OP_JRCXZ, OPS };

/* As translated code sees it: rsp is H_FRAME_BIAS below. */
struct frame {
    uint64_t mask, rcx, r11, rax, flags, host_rsp;
};

static const uint64_t masks[] = {
    0x0000fffffffff000, 0xfff, 0xff8, 0x1f3ff, 0xfe0df0, 0xffff800000000000, 0x8d5,
    0x200, 0x254500, 0xffffffffffffffff, 1, 0x8000000000000000,
};

static uint64_t pext(uint64_t v, uint64_t mask)
{
    uint64_t out = 0;

    for (unsigned i = 0, to = 0; i < 64; i++)
        if (mask >> i & 1)
            out |= (v >> i & 1) << to++;
    return out;
}

static struct host_mem at(size_t offset) { return h_frame(offset); }

static void emit_op(struct emit *e, enum op op)
{
    switch (op) {
    case OP_PEXT:
        emit_pext(e, H_RCX, H_R11, at(offsetof(struct frame, mask)));
        break;
    case OP_PEXT_SAME:
        emit_pext(e, H_RCX, H_RCX, at(offsetof(struct frame, mask)));
        break;
    case OP_KEEP:
        emit_keep(e, H_RCX, H_R11, at(offsetof(struct frame, mask)));
        break;
    case OP_RORX_SHLX:
        emit_rorx(e, H_RCX, H_R11, 3);
        emit_shlx(e, H_RCX, H_RCX, H_RSP);
        break;
    default: {
        uint8_t *zero = emit_jrcxz(e), *over;

        emit_mov_ri(e, H_RCX, 1);
        over = emit_jmp8(e);
        emit_patch8(e, zero);
        emit_mov_ri(e, H_RCX, 2);
        emit_patch8(e, over);
    }
    }
}

static uint64_t expected(enum op op, const struct frame *f)
{
    switch (op) {
    case OP_PEXT: return pext(f->r11, f->mask);
    case OP_PEXT_SAME: return pext(f->rcx, f->mask);
    case OP_KEEP: return f->r11 & f->mask;
    case OP_RORX_SHLX: return (f->r11 >> 3 | f->r11 << 61) << 55;
    default: return f->rcx ? 1 : 2;
    }
}

/* void f(struct frame *): the C stack is left alone meanwhile. */
static void emit_function(struct emit *e, enum op op)
{
    emit_store(e, h_base(H_RDI, offsetof(struct frame, host_rsp)), H_RSP);
    emit_lea(e, H_RSP, h_base(H_RDI, -H_FRAME_BIAS));
    emit_rm(e, 0xff, false, 6, at(offsetof(struct frame, flags)));     /* push */
    e8(e, 0x9d);                                                      /* popfq */
    emit_load(e, H_RCX, at(offsetof(struct frame, rcx)));
    emit_load(e, H_R11, at(offsetof(struct frame, r11)));
    emit_load(e, H_RAX, at(offsetof(struct frame, rax)));
    emit_op(e, op);
    e8(e, 0x9c);                                                      /* pushfq */
    emit_rm(e, 0x8f, false, 0, at(offsetof(struct frame, flags)));     /* pop */
    emit_store(e, at(offsetof(struct frame, rcx)), H_RCX);
    emit_store(e, at(offsetof(struct frame, r11)), H_R11);
    emit_store(e, at(offsetof(struct frame, rax)), H_RAX);
    emit_load(e, H_RSP, at(offsetof(struct frame, host_rsp)));
    e8(e, 0xc3);
}

static uint64_t random64(void)
{
    uint64_t v = (uint64_t)mrand48() << 32 ^ (uint64_t)mrand48();

    return mrand48() % 4 ? v : v % 3;
}

static void check(struct code_memory *m, const struct emit_host *host, struct frame *f, enum op op)
{
    struct emit e = {.start = m->write, .p = m->write, .end = m->write + CODE_BYTES, .host = host};
    const uint64_t arith = 0x8d5;
    void (*run)(struct frame *) = (void (*)(struct frame *))(uintptr_t)m->exec;

    emit_function(&e, op);
    assert_false(e.overflow);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct frame before;

        f->rcx = random64();
        f->r11 = random64();
        f->rax = random64();
        f->flags = (random64() & arith) | 0x202;
        before = *f;
        run(f);
        assert_int_equal(f->rcx, expected(op, &before));
        assert_int_equal(f->r11, before.r11);
        assert_int_equal(f->rax, before.rax);
        assert_int_equal(f->flags & arith, before.flags & arith);
    }
}

static bool host_has_bmi2(void)
{
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & 1u << 8;
}

static void check_all(bool no_bmi2, bool slow_pext)
{
    static uint8_t room[4096] __attribute__((aligned(64)));
    struct frame *f = (struct frame *)(room + 2048);
    const struct emit_host host = {.no_bmi2 = no_bmi2, .slow_pext = slow_pext, .frame = f};
    struct code_memory m;

    if (!no_bmi2 && !host_has_bmi2())
        skip();
    if (code_memory_map(&m, "test", CODE_BYTES, 0, NULL) < 0)
        skip();
    for (unsigned i = 0; i < ARRAY_SIZE(masks); i++) {
        f->mask = masks[i];
        for (unsigned op = 0; op < OPS; op++) {
            /* Several runs need a source to borrow. */
            if (op != OP_PEXT_SAME || !(masks[i] >> __builtin_ctzll(masks[i]) &
                                        ((masks[i] >> __builtin_ctzll(masks[i])) + 1)))
                check(&m, &host, f, op);
        }
    }
    code_memory_unmap(&m);
}

static void with_bmi2(void **state) { check_all(false, false); }
static void with_slow_pext(void **state) { check_all(false, true); }
static void without_bmi2(void **state) { check_all(true, false); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_bmi2), cmocka_unit_test(with_slow_pext),
        cmocka_unit_test(without_bmi2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
