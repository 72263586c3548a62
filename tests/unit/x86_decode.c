/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86_decode.c - what the decoder says about instructions: length, class,
 * operands, sizes, features, and what it says when there is none.
 */
#include "unit.h"

#include <Zydis/Zydis.h>
#include "x86/cpuid_features.h"
#include "x86/decode.h"

struct row {
    const char *hex;
    uint8_t bits;
    enum x86_class class;
    uint16_t mnemonic;
    uint8_t operand_bits, address_bits, operands;
    bool ends_block;
    uint64_t isa;
};

#define M(name) ZYDIS_MNEMONIC_##name
static const struct row rows[] = {
    {"48 01 d8", 64, X86_CLASS_INTEGER, M(ADD), 64, 64, 2, false, 0},
    {"00 d8", 64, X86_CLASS_INTEGER, M(ADD), 32, 64, 2, false, 0},
    {"66 01 d8", 32, X86_CLASS_INTEGER, M(ADD), 16, 32, 2, false, 0},
    {"66 01 d8", 16, X86_CLASS_INTEGER, M(ADD), 32, 16, 2, false, 0},
    {"50", 64, X86_CLASS_INTEGER, M(PUSH), 64, 64, 1, false, 0},
    {"66 50", 64, X86_CLASS_INTEGER, M(PUSH), 16, 64, 1, false, 0},
    {"67 8b 00", 64, X86_CLASS_INTEGER, M(MOV), 32, 32, 2, false, 0},
    {"e8 00 00 00 00", 64, X86_CLASS_BRANCH, M(CALL), 64, 64, 1, true, 0},
    {"74 00", 32, X86_CLASS_BRANCH, M(JZ), 32, 32, 1, true, 0},
    {"c3", 16, X86_CLASS_BRANCH, M(RET), 16, 16, 0, true, 0},
    {"cb", 32, X86_CLASS_SYSTEM, M(RET), 32, 32, 0, true, 0},
    {"ff 2b", 32, X86_CLASS_SYSTEM, M(JMP), 32, 32, 1, true, 0},
    {"a4", 64, X86_CLASS_STRING, M(MOVSB), 32, 64, 0, false, 0},
    {"f3 48 ab", 64, X86_CLASS_STRING, M(STOSQ), 64, 64, 0, false, 0},
    {"a5", 32, X86_CLASS_STRING, M(MOVSD), 32, 32, 0, false, 0},
    {"f2 0f 10 c1", 64, X86_CLASS_HOST, M(MOVSD), 32, 64, 2, false, X86_ISA(SSE2)},
    {"d9 e8", 64, X86_CLASS_HOST, M(FLD1), 32, 64, 0, false, X86_ISA(FPU)},
    {"c5 fd fe c1", 64, X86_CLASS_HOST, M(VPADDD), 32, 64, 3, false, X86_ISA(AVX2)},
    {"62 f1 7d 28 fe c1", 64, X86_CLASS_HOST, M(VPADDD), 32, 64, 4, false,
     X86_ISA(AVX512F) | X86_ISA(AVX512VL)},
    {"f3 0f b8 c1", 64, X86_CLASS_INTEGER, M(POPCNT), 32, 64, 2, false, X86_ISA(POPCNT)},
    {"f3 0f bc c1", 64, X86_CLASS_INTEGER, M(TZCNT), 32, 64, 2, false, 0},
    {"f3 0f 1e fa", 64, X86_CLASS_INTEGER, M(NOP), 32, 64, 2, false, 0},
    {"0f 22 d8", 64, X86_CLASS_SYSTEM, M(MOV), 64, 64, 2, true, 0},
    {"0f 20 d8", 64, X86_CLASS_SYSTEM, M(MOV), 64, 64, 2, false, 0},
    {"8e d0", 64, X86_CLASS_SYSTEM, M(MOV), 32, 64, 2, true, 0},
    {"8c d0", 64, X86_CLASS_SYSTEM, M(MOV), 32, 64, 2, false, 0},
    {"0f a2", 64, X86_CLASS_SYSTEM, M(CPUID), 32, 64, 0, true, 0},
    {"9d", 64, X86_CLASS_SYSTEM, M(POPFQ), 64, 64, 0, true, 0},
    {"0f 05", 64, X86_CLASS_SYSTEM, M(SYSCALL), 64, 64, 0, true, X86_ISA(SYSCALL)},
    {"0f 0b", 64, X86_CLASS_INVALID, M(UD2), 32, 64, 0, true, 0},
    {"0f 0f c1 9e", 64, X86_CLASS_INVALID, M(PFADD), 32, 64, 2, true, 0},
    {"0f 01 d5", 64, X86_CLASS_INVALID, M(XEND), 32, 64, 0, true, 0},
};

static size_t bytes_of(const char *hex, uint8_t out[16])
{
    size_t n = 0;

    while (*hex) {
        char *end;

        out[n++] = (uint8_t)strtoul(hex, &end, 16);
        hex = *end ? end + 1 : end;
    }
    return n;
}

static struct x86_insn decoded(const char *hex, unsigned bits)
{
    uint8_t bytes[16];
    size_t n = bytes_of(hex, bytes);
    struct x86_insn insn;

    assert_int_equal(x86_decode(bytes, n, bits, &insn), 0);
    assert_int_equal(insn.length, n);
    assert_memory_equal(insn.bytes, bytes, n);
    return insn;
}

static void classes_and_sizes(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *r = &rows[i];
        struct x86_insn insn = decoded(r->hex, r->bits);
        bool same = insn.class == r->class && insn.mnemonic == r->mnemonic &&
                    insn.operand_bits == r->operand_bits &&
                    insn.address_bits == r->address_bits && insn.operands == r->operands &&
                    insn.ends_block == r->ends_block && insn.isa == r->isa;

        if (!same)
            fail_msg("%s: class %d, %s, %d/%d bits, %d operands, ends %d, isa %llx", r->hex,
                     insn.class, ZydisMnemonicGetString(insn.mnemonic), insn.operand_bits,
                     insn.address_bits, insn.operands, insn.ends_block,
                     (unsigned long long)insn.isa);
    }
}

static void memory_operands(void **state)
{
    struct x86_insn i = decoded("65 48 8b 44 8b f0", 64);

    assert_int_equal(i.mem.seg, X86_GS);
    assert_int_equal(i.mem.base, X86_RBX);
    assert_int_equal(i.mem.index, X86_RCX);
    assert_int_equal(i.mem.scale, 4);
    assert_int_equal(i.mem.disp, -16);
    assert_int_equal(i.mem.size, 8);
    i = decoded("48 8b 05 10 00 00 00", 64);
    assert_int_equal(i.mem.base, X86_REG_RIP);
    assert_int_equal(i.mem.disp, 16);
    i = decoded("8b 45 04", 32);                   /* EBP: the stack segment */
    assert_int_equal(i.mem.seg, X86_SS);
    i = decoded("2e 8b 00", 64);                   /* CS override: ignored */
    assert_true(i.mem.seg == X86_DS || i.mem.seg == X86_CS);
    i = decoded("64 ac", 32);                      /* LODSB FS: */
    assert_int_equal(i.mem.seg, X86_FS);
    i = decoded("ae", 32);                         /* SCASB has a size too */
    assert_int_equal(i.mem.size, 1);
    i = decoded("8d 04 48", 64);
    assert_int_equal(i.mem.size, 0);
}

static void registers_and_immediates(void **state)
{
    struct x86_insn i = decoded("88 e7", 32);      /* mov bh, ah */

    assert_int_equal(i.op[0].kind, X86_OPND_GPR_HIGH);
    assert_int_equal(i.op[0].reg, X86_RBX);
    assert_int_equal(i.op[1].kind, X86_OPND_GPR_HIGH);
    assert_int_equal(i.op[1].reg, X86_RAX);
    i = decoded("40 88 e7", 64);                   /* mov dil, spl */
    assert_int_equal(i.op[0].kind, X86_OPND_GPR);
    assert_int_equal(i.op[0].reg, X86_RDI);
    assert_int_equal(i.op[1].reg, X86_RSP);
    i = decoded("83 c0 ff", 32);
    assert_int_equal(i.imm[0], -1);
    i = decoded("c8 10 00 01", 64);
    assert_int_equal(i.imm[0], 16);
    assert_int_equal(i.imm[1], 1);
    i = decoded("ea 44 33 22 11 66 55", 32);
    assert_int_equal(i.op[0].kind, X86_OPND_FAR);
    assert_int_equal(i.imm[0], 0x11223344);
    assert_int_equal(i.imm[1], 0x5566);
    i = decoded("f3 aa", 64);
    assert_int_equal(i.gprs_written, 1 << X86_RDI | 1 << X86_RCX);
    assert_true(i.rep);
}

static void what_is_no_instruction(void **state)
{
    static const struct { const char *hex; unsigned bits; int error; } bad[] = {
        {"06", 64, -ENOEXEC}, {"0f 04", 64, -ENOEXEC}, {"f0 01 c0", 64, -ENOEXEC},
        {"f0 89 03", 64, -ENOEXEC}, {"48", 64, -EAGAIN}, {"e8 00 00 00", 64, -EAGAIN},
        {"2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 90", 64, -E2BIG},
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        uint8_t bytes[16];
        size_t n = bytes_of(bad[i].hex, bytes);
        struct x86_insn insn;
        int r = x86_decode(bytes, n, bad[i].bits, &insn);

        if (r == 0)
            assert_int_equal(insn.class, X86_CLASS_INVALID);
        else
            assert_int_equal(r, bad[i].error);
    }
}

/* An instruction cut anywhere asks for more, and for no more than it needs. */
static void cut_instructions_ask_for_more(void **state)
{
    static const char *const whole[] = {"48 b8 11 22 33 44 55 66 77 88",
                                        "c7 84 8b 11 22 33 44 55 66 77 88",
                                        "f3 0f 6f 05 11 22 33 44", "90"};

    for (size_t i = 0; i < ARRAY_SIZE(whole); i++) {
        uint8_t bytes[16];
        size_t n = bytes_of(whole[i], bytes);
        struct x86_insn insn;

        for (size_t len = 1; len < n; len++)
            assert_int_equal(x86_decode(bytes, len, 64, &insn), -EAGAIN);
        assert_int_equal(x86_decode(bytes, n, 64, &insn), 0);
        assert_int_equal(insn.length, n);
    }
}

static void disassembly_is_readable(void **state)
{
    const uint8_t bytes[] = {0x48, 0x8b, 0x43, 0x08}, bad[] = {0x06};
    char text[64];

    assert_int_equal(x86_disassemble(bytes, sizeof bytes, 64, 0, text, sizeof text), 4);
    assert_string_equal(text, "mov rax, [rbx+0x08]");
    assert_int_equal(x86_disassemble(bad, sizeof bad, 64, 0, text, sizeof text), 1);
    assert_string_equal(text, "(bad)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_and_sizes),
        cmocka_unit_test(memory_operands),
        cmocka_unit_test(registers_and_immediates),
        cmocka_unit_test(what_is_no_instruction),
        cmocka_unit_test(cut_instructions_ask_for_more),
        cmocka_unit_test(disassembly_is_readable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
