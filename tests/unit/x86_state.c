/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86_state.c - power-on, INIT and SIPI values; is every field described? */
#include "unit.h"

#include "base/state_desc.h"
#include "base/strbuf.h"
#include "state/state.h"
#include "x86/state.h"

static void mark(const struct state_desc *d, uint8_t *seen)
{
    static const uint8_t bytes[] = {[STATE_TYPE_BOOL] = 1, [STATE_TYPE_U8] = 1,
                                    [STATE_TYPE_U16] = 2, [STATE_TYPE_U32] = 4,
                                    [STATE_TYPE_U64] = 8};
    for (const struct state_field *f = d->fields; f->type != STATE_TYPE_END; f++)
        for (uint32_t i = 0; i < f->count; i++) {
            uint8_t *at = seen + f->offset + i * f->stride;
            if (f->type == STATE_TYPE_STRUCT)
                mark(f->sub, at);
            else
                for (unsigned b = 0; b < bytes[f->type]; b++)
                    at[b]++;
        }
}

/* Padding as the compiler leaves it: bytes no member covers. Every other byte must
 * be described exactly once. */
static void every_byte_is_described_once(void **state)
{
    static uint8_t seen[sizeof(struct x86_state)];
    unsigned missing = 0;
    mark(&x86_state_desc, seen);
    for (unsigned i = 0; i < sizeof seen; i++) {
        assert_true(seen[i] <= 1);
        missing += !seen[i];
    }
    const unsigned segment = sizeof(struct x86_segment) - (8 + 4 + 4 + 2);
    const unsigned table = sizeof(struct x86_table) - (8 + 2);
    const unsigned fpu = sizeof(struct x86_fpu) -
                         (32 * 64 + 8 * 8 + 8 * 16 + 3 * 2 + 1 + 2 * 8 + 2 * 2 + 2 * 4);
    const unsigned events = sizeof(struct x86_events) - (9 * 1 + 1 + 4 + 1 + 1);
    const unsigned whole = sizeof(struct x86_state) - sizeof(struct x86_fpu) -
                           sizeof(struct x86_events) - sizeof(struct x86_msrs) -
                           8 * sizeof(struct x86_segment) - 2 * sizeof(struct x86_table) -
                           8 * (16 + 2 + 5 + 4 + 4);
    assert_int_equal(missing, 8 * segment + 2 * table + fpu + events + whole);
}

static void save_and_load_lose_nothing(void **state)
{
    static struct x86_state a, b;
    struct strbuf stream = {0};
    struct error *err = NULL;
    size_t used;
    state_scramble(&x86_state_desc, &a, 42);
    state_save(&x86_state_desc, &a, "cpu0", &stream);
    assert_int_equal(state_load(&x86_state_desc, &b, "cpu0", stream.text, stream.len, &used, &err),
                     0);
    assert_int_equal(used, stream.len);
    assert_int_equal(state_digest(&x86_state_desc, &a), state_digest(&x86_state_desc, &b));
    strbuf_fini(&stream);
}

static void power_on_values(void **state)
{
    static struct x86_state s;
    memset(&s, 0xff, sizeof s);
    x86_state_power_on(&s, true);
    assert_int_equal(s.rip + s.seg[X86_CS].base, 0xfffffff0);
    assert_int_equal(s.seg[X86_CS].selector, 0xf000);
    assert_int_equal(s.rflags, 2);
    assert_int_equal(s.cr0, 0x60000010);
    assert_int_equal(s.cr4 | s.cr3 | s.msr.efer | s.cr8, 0);
    assert_int_equal(s.dr6, 0xffff0ff0);
    assert_int_equal(s.dr7, 0x400);
    assert_int_equal(s.idtr.limit, 0xffff);
    assert_int_equal(s.tr.attr & 0x1f, 0x0b);
    assert_int_equal(s.msr.pat, 0x0007040600070406);
    assert_int_equal(s.msr.apic_base, 0xfee00900);
    assert_int_equal(s.fpu.mxcsr, 0x1f80);
    assert_int_equal(s.fpu.fcw, 0x40);
    assert_int_equal(s.xcr0, 1);
    assert_int_equal(s.ev.mp_state, X86_MP_RUNNABLE);
    x86_state_power_on(&s, false);
    assert_int_equal(s.msr.apic_base, 0xfee00800);
    assert_int_equal(s.ev.mp_state, X86_MP_WAIT_FOR_SIPI);
}

static void init_keeps_what_it_must(void **state)
{
    static struct x86_state s, before;
    state_scramble(&x86_state_desc, &s, 7);
    s.cr0 = 0xc0050033;                                  /* CD set, NW clear */
    s.msr.apic_base = 0xfee00800;
    before = s;
    x86_state_init(&s);
    assert_int_equal(s.cr0, 0x40000010);
    assert_int_equal(s.rip, 0xfff0);
    assert_int_equal(s.msr.efer | s.cr4 | s.cr3 | s.gpr[X86_RSP], 0);
    assert_int_equal(s.ev.mp_state, X86_MP_WAIT_FOR_SIPI);
    assert_memory_equal(&s.fpu, &before.fpu, sizeof s.fpu);
    before.msr.efer = 0;
    assert_memory_equal(&s.msr, &before.msr, sizeof s.msr);
    assert_int_equal(s.xcr0, before.xcr0);
    assert_int_equal(s.tsc, before.tsc);
    x86_state_sipi(&s, 0x9a);
    assert_int_equal(s.seg[X86_CS].selector, 0x9a00);
    assert_int_equal(s.seg[X86_CS].base, 0x9a000);
    assert_int_equal(s.rip, 0);
    assert_int_equal(s.ev.mp_state, X86_MP_RUNNABLE);
}

static void dump_names_everything(void **state)
{
    static const char *const words[] = {"rax 0000000000000001", "r15", "rip", "[id zf]", "cs",
                                        "gdtr", "cr3", "efer", "xcr0", "dr7", "runnable"};
    static struct x86_state s;
    struct strbuf out = {0};
    x86_state_power_on(&s, true);
    s.gpr[X86_RAX] = 1;
    s.rflags |= X86_FLAG_ZF | X86_FLAG_ID;
    x86_state_print(&s, &out);
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        if (!strstr(strbuf_text(&out), words[i]))
            fail_msg("the dump lacks \"%s\":\n%s", words[i], strbuf_text(&out));
    strbuf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_is_described_once),
        cmocka_unit_test(save_and_load_lose_nothing),
        cmocka_unit_test(power_on_values),
        cmocka_unit_test(init_keeps_what_it_must),
        cmocka_unit_test(dump_names_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
