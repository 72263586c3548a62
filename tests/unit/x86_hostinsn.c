/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86_hostinsn.c - what the comparison with the bare processor (tests/isa)
 * cannot reach: control registers that switch the units off, exceptions that
 * the kernel enables for everybody, memory that is no RAM, the pool.
 */
#include "x86_fixture.h"

#include "x86/hostinsn.h"

enum { MMIO = RAM_BYTES + 0x1000, DATA = 0x30000 };

struct host_fixture {
    struct fixture *f;
    struct x86_env_ops ops;
    uint8_t mmio[4096];
    unsigned mmio_reads, mmio_writes, ferr;
};

/* ---- surroundings ------------------------------------------------------ */

/* The test that runs; the fixture's own `env` stays its own. */
static struct host_fixture *now;

static uint64_t mmio_read(void *env, gpa_t a, unsigned size)
{
    uint64_t v = 0;

    now->mmio_reads++;
    memcpy(&v, now->mmio + (a.v & 4095), size);
    return v;
}

static void mmio_write(void *env, gpa_t a, unsigned size, uint64_t v)
{
    now->mmio_writes++;
    memcpy(now->mmio + (a.v & 4095), &v, size);
}

static void ferr(void *env)
{
    now->ferr++;
}

static int setup(void **state)
{
    struct host_fixture *h = calloc(1, sizeof *h);
    struct error *err = NULL;

    assert_non_null(h);
    now = h;
    h->f = fixture_new();
    h->ops = fixture_ops;
    h->ops.phys_read = mmio_read;
    h->ops.phys_write = mmio_write;
    h->ops.ferr = ferr;
    h->f->cpu.ops = &h->ops;
    h->f->cpu.hostinsns = x86_hostinsn_pool_new(&err);
    assert_non_null(h->f->cpu.hostinsns);
    h->f->cpu.s.fpu.mxcsr = 0x1f80;
    h->f->cpu.s.fpu.fcw = 0x37f;
    mode_long(h->f, CODE64, DATA0);
    h->f->cpu.s.cr0 |= X86_CR0_NE | X86_CR0_MP;
    h->f->cpu.s.cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
    h->f->cpu.s.xcr0 = 7;
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    struct host_fixture *h = *state;

    x86_hostinsn_pool_free(h->f->cpu.hostinsns);
    free(h->f);
    free(h);
    return 0;
}

/* cmocka takes the fault signals for itself before each test: takes them back. */
static void catch_faults(struct host_fixture *h)
{
    struct error *err = NULL;

    x86_hostinsn_pool_free(h->f->cpu.hostinsns);
    h->f->cpu.hostinsns = x86_hostinsn_pool_new(&err);
    assert_non_null(h->f->cpu.hostinsns);
}

static int run_bytes(struct host_fixture *h, const uint8_t *bytes, size_t len)
{
    struct x86_cpu *cpu = &h->f->cpu;
    const struct x86_hostinsn *st;
    struct x86_insn insn;

    assert_int_equal(x86_decode(bytes, len, cpu->mode.code_bits, &insn), 0);
    assert_int_equal(insn.class, X86_CLASS_HOST);
    st = x86_hostinsn_get(cpu->hostinsns, &insn);
    assert_non_null(st);
    if (setjmp(cpu->unwind))
        return cpu->pending.vector;
    x86_hostinsn_run(cpu, &insn, st);
    return STEP_OK;
}
#define run(h, ...) \
    run_bytes(h, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
#define assert_ok(h, ...) assert_int_equal(run(h, __VA_ARGS__), STEP_OK)
#define assert_raises(vector, h, ...)                                               \
    do {                                                                            \
        uint64_t rip_ = (h)->f->cpu.s.rip;                                          \
        assert_int_equal(run(h, __VA_ARGS__), vector);                              \
        assert_int_equal((h)->f->cpu.s.rip, rip_);                                  \
    } while (0)

/* One of each kind. */
#define FLD1 0xd9, 0xe8
#define FWAIT 0x9b
#define FNINIT 0xdb, 0xe3
#define MMX_MOVE 0x0f, 0x6f, 0xc1
#define ADDPS 0x0f, 0x58, 0xc1
#define VADDPS 0xc5, 0xf0, 0x58, 0xc1
#define EVEX_VADDPS 0x62, 0xf1, 0x74, 0x08, 0x58, 0xc1
#define ANDN 0xc4, 0xe2, 0x70, 0xf2, 0xc2
#define CRC32 0xf2, 0x0f, 0x38, 0xf1, 0xc1

/* ---- switched off ------------------------------------------------------ */

static void test_task_switched(void **state)
{
    struct host_fixture *h = *state;

    h->f->cpu.s.cr0 |= X86_CR0_TS;
    assert_raises(X86_NM, h, FLD1);
    assert_raises(X86_NM, h, FNINIT);
    assert_raises(X86_NM, h, FWAIT);
    assert_raises(X86_NM, h, MMX_MOVE);
    assert_raises(X86_NM, h, ADDPS);
    assert_raises(X86_NM, h, VADDPS);
    assert_ok(h, ANDN);
    assert_ok(h, CRC32);
    h->f->cpu.s.cr0 &= ~(uint64_t)X86_CR0_MP;
    assert_ok(h, FWAIT);
}

static void test_emulation(void **state)
{
    struct host_fixture *h = *state;

    h->f->cpu.s.cr0 |= X86_CR0_EM | X86_CR0_TS;
    assert_raises(X86_NM, h, FLD1);
    assert_raises(X86_UD, h, MMX_MOVE);
    assert_raises(X86_UD, h, ADDPS);
}

static void test_not_enabled(void **state)
{
    struct host_fixture *h = *state;

    h->f->cpu.s.cr4 &= ~(uint64_t)X86_CR4_OSFXSR;
    h->f->cpu.s.cr0 |= X86_CR0_TS;
    assert_raises(X86_UD, h, ADDPS);                /* before #NM */
    h->f->cpu.s.cr4 &= ~(uint64_t)X86_CR4_OSXSAVE;
    assert_raises(X86_UD, h, VADDPS);
    h->f->cpu.s.cr4 |= X86_CR4_OSXSAVE;
    h->f->cpu.s.xcr0 = 3;
    assert_raises(X86_UD, h, VADDPS);
    h->f->cpu.s.xcr0 = 7;
    assert_raises(X86_NM, h, VADDPS);
}

static void test_avx512_needs_its_components(void **state)
{
    struct host_fixture *h = *state;

    if (!__builtin_cpu_supports("avx512vl"))
        skip();
    assert_raises(X86_UD, h, EVEX_VADDPS);
    h->f->cpu.s.xcr0 = 0xe7;
    assert_ok(h, EVEX_VADDPS);
}

/* VEX does not exist outside protected mode; what needs no state works. */
static void test_real_mode(void **state)
{
    struct host_fixture *h = *state;

    mode_real(h->f);
    h->f->cpu.s.cr4 = X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
    assert_raises(X86_UD, h, VADDPS);
    assert_raises(X86_UD, h, ANDN);
    assert_ok(h, ADDPS);
    assert_ok(h, FLD1);
}

/* ---- exceptions -------------------------------------------------------- */

static void test_unmasked_division(void **state)
{
    struct host_fixture *h = *state;
    struct x86_fpu *fpu = &h->f->cpu.s.fpu;
    uint8_t before[64];

    catch_faults(h);
    memset(fpu->vec[0], 0, 64);
    memset(fpu->vec[1], 0, 64);
    put_le32(fpu->vec[0], 0x3f800000);
    memcpy(before, fpu->vec[0], 64);
    fpu->mxcsr = 0x1f80 & ~0x200u;                  /* division by zero unmasked */
    assert_raises(X86_XM, h, 0xf3, 0x0f, 0x5e, 0xc1);
    assert_int_equal(fpu->mxcsr & 0x3f, 4);
    assert_memory_equal(before, fpu->vec[0], 64);
    h->f->cpu.s.cr4 &= ~(uint64_t)X86_CR4_OSXMMEXCPT;
    assert_raises(X86_UD, h, 0xf3, 0x0f, 0x5e, 0xc1);
}

/* The host's own control registers are not the guest's. */
static void test_host_state_survives(void **state)
{
    struct host_fixture *h = *state;
    uint32_t mxcsr, mxcsr_after;
    uint16_t fcw, fcw_after;

    __asm__("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(fcw));
    h->f->cpu.s.fpu.mxcsr = 0x7f80;
    h->f->cpu.s.fpu.fcw = 0xf7f;
    assert_ok(h, ADDPS);
    assert_ok(h, FLD1);
    assert_ok(h, MMX_MOVE);
    __asm__("stmxcsr %0; fnstcw %1" : "=m"(mxcsr_after), "=m"(fcw_after));
    assert_int_equal(mxcsr, mxcsr_after);
    assert_int_equal(fcw, fcw_after);
    long double third = 1.0L / (long double)(mxcsr | 3);
    assert_true(third > 0);                         /* the x87 stack is free */
}

static void test_pending_x87_exception(void **state)
{
    struct host_fixture *h = *state;

    catch_faults(h);
    h->f->cpu.s.fpu.ftw = 0;
    h->f->cpu.s.fpu.fcw = 0x340;
    h->f->cpu.s.fpu.fsw = 0x8081;
    assert_raises(X86_MF, h, FLD1);
    assert_raises(X86_MF, h, FWAIT);
    assert_raises(X86_MF, h, MMX_MOVE);
    assert_ok(h, ADDPS);
    h->f->cpu.s.cr0 &= ~(uint64_t)X86_CR0_NE;
    assert_ok(h, FLD1);                             /* the platform is told instead */
    assert_int_equal(h->ferr, 1);
    assert_int_equal(h->f->cpu.s.fpu.fsw, 0xb881);  /* and it is still pending */
    assert_int_equal(h->f->cpu.s.fpu.fcw, 0x340);
    assert_ok(h, FNINIT);
    assert_int_equal(h->ferr, 1);
    assert_int_equal(h->f->cpu.s.fpu.fsw, 0);
}

/* ---- memory ------------------------------------------------------------ */

static void test_mmio(void **state)
{
    struct host_fixture *h = *state;
    struct x86_cpu *cpu = &h->f->cpu;

    for (unsigned i = 0; i < 16; i++)
        h->mmio[0x100 + i] = (uint8_t)i;
    cpu->s.gpr[X86_RBX] = MMIO + 0x100;
    assert_ok(h, 0x0f, 0x10, 0x03);                 /* movups xmm0, [rbx] */
    assert_memory_equal(cpu->s.fpu.vec[0], h->mmio + 0x100, 16);
    assert_true(h->mmio_reads > 0);
    cpu->s.gpr[X86_RBX] = MMIO + 0x200;
    assert_ok(h, 0x0f, 0x29, 0x03);                 /* movaps [rbx], xmm0 */
    assert_memory_equal(h->mmio + 0x100, h->mmio + 0x200, 16);
    cpu->s.gpr[X86_RBX] = MMIO + 0x201;
    h->mmio_writes = 0;
    assert_raises(X86_GP, h, 0x0f, 0x29, 0x03);
    assert_int_equal(h->mmio_writes, 0);
    cpu->s.gpr[X86_RBX] = MMIO + 0x300;
    assert_ok(h, 0xdb, 0x3b);                       /* fstp tbyte [rbx] */
    assert_int_not_equal(h->mmio_writes, 0);
}

/* An x87 store that raises an unmasked exception does not happen, on RAM or not. */
static void test_store_that_faults_later(void **state)
{
    struct host_fixture *h = *state;
    struct x86_cpu *cpu = &h->f->cpu;

    cpu->s.fpu.fcw = 0x37e;                         /* invalid operation unmasked */
    cpu->s.fpu.ftw = 0;
    cpu->s.gpr[X86_RBX] = MMIO + 0x100;
    assert_ok(h, 0xdb, 0x1b);                       /* fistp dword: empty stack */
    assert_int_equal(h->mmio_writes, 0);
    assert_int_equal(cpu->s.fpu.fsw & 0x80c1, 0x80c1);
}

static void test_page_crossing(void **state)
{
    struct host_fixture *h = *state;
    struct x86_cpu *cpu = &h->f->cpu;

    for (unsigned i = 0; i < 32; i++)
        h->f->ram[DATA + 4096 - 16 + i] = (uint8_t)(i + 1);
    for (unsigned off = 1; off < 16; off++) {
        cpu->s.gpr[X86_RBX] = DATA + 4096 - off;
        assert_ok(h, 0x0f, 0x10, 0x03);
        assert_memory_equal(cpu->s.fpu.vec[0], h->f->ram + DATA + 4096 - off, 16);
    }
    /* Half RAM, half not. */
    cpu->s.gpr[X86_RBX] = RAM_BYTES - 8;
    memset(h->f->ram + RAM_BYTES - 8, 0x55, 8);
    assert_ok(h, 0x0f, 0x10, 0x03);
    assert_int_equal(cpu->s.fpu.vec[0][0], 0x55);
}

/* ---- renaming ---------------------------------------------------------- */

/* RSP, the stub's own pointers' registers and AH are guest registers like any. */
static void test_any_register(void **state)
{
    struct host_fixture *h = *state;
    uint64_t *gpr = h->f->cpu.s.gpr;

    for (unsigned i = 0; i < 16; i++)
        gpr[i] = 0x1111111111111111ull * i;
    for (unsigned dest = 0; dest < 16; dest++) {
        for (unsigned source = 0; source < 16; source++) {
            uint64_t s = gpr[source], keep = gpr[dest];
            unsigned rxb = (dest & 8 ? 0 : 0x80) | 0x40 | (source & 8 ? 0 : 0x20);

            /* rorx dest, source, 4 */
            assert_ok(h, 0xc4, (uint8_t)(rxb | 3), 0xfb, 0xf0,
                      (uint8_t)(0xc0 | (dest & 7) << 3 | (source & 7)), 4);
            assert_int_equal(gpr[dest], s >> 4 | s << 60);
            gpr[dest] = keep;
        }
    }
}

static void test_high_byte(void **state)
{
    struct host_fixture *h = *state;
    uint64_t *gpr = h->f->cpu.s.gpr, expected = 0x12345678;

    gpr[X86_RAX] = 0xab00;
    gpr[X86_RCX] = 0x12345678;
    __asm__("crc32b %1, %k0" : "+r"(expected) : "r"((uint8_t)0xab));
    assert_ok(h, 0xf2, 0x0f, 0x38, 0xf0, 0xcc);     /* crc32 ecx, ah */
    assert_int_equal(gpr[X86_RCX], expected);
    gpr[X86_RAX] = 0xab00;
    expected = 0xab00;
    __asm__("crc32b %1, %k0" : "+r"(expected) : "r"((uint8_t)0xab));
    assert_ok(h, 0xf2, 0x0f, 0x38, 0xf0, 0xc4);     /* crc32 eax, ah */
    assert_int_equal(gpr[X86_RAX], expected);
}

/* Legacy SSE keeps what lies above bit 127, VEX clears it. */
static void test_upper_bits(void **state)
{
    struct host_fixture *h = *state;
    uint8_t *v = h->f->cpu.s.fpu.vec[0];

    memset(v, 0x77, 64);
    assert_ok(h, 0x66, 0x0f, 0xef, 0xc0);           /* pxor xmm0, xmm0 */
    assert_int_equal(v[15], 0);
    assert_int_equal(v[16], 0x77);
    if (!__builtin_cpu_supports("avx"))
        return;
    assert_ok(h, 0xc5, 0xf9, 0xef, 0xc1);           /* vpxor xmm0, xmm0, xmm1 */
    assert_int_equal(v[16], 0);
    assert_int_equal(v[31], 0);
}

/* ---- the pool ---------------------------------------------------------- */

static void test_pool(void **state)
{
    struct host_fixture *h = *state;
    struct x86_hostinsn_pool *pool = h->f->cpu.hostinsns;
    uint64_t generation = x86_hostinsn_pool_generation(pool);
    uint8_t bytes[] = {0x0f, 0x10, 0x83, 0, 0, 0, 0};     /* movups xmm0, [rbx + n] */
    const struct x86_hostinsn *first;
    struct x86_insn insn;

    assert_int_equal(x86_decode(bytes, sizeof bytes, 64, &insn), 0);
    first = x86_hostinsn_get(pool, &insn);
    assert_ptr_equal(first, x86_hostinsn_get(pool, &insn));
    for (uint32_t i = 1; x86_hostinsn_pool_generation(pool) == generation; i++) {
        put_le32(bytes + 3, i);
        assert_true(i < 1000000);
        assert_int_equal(x86_decode(bytes, sizeof bytes, 64, &insn), 0);
        assert_non_null(x86_hostinsn_get(pool, &insn));
    }
    h->f->cpu.s.gpr[X86_RBX] = DATA;
    assert_ok(h, 0x0f, 0x10, 0x03);                 /* goes on as before */
}

static void test_not_for_the_host(void **state)
{
    struct host_fixture *h = *state;
    const uint8_t syscall[] = {0x0f, 0x05}, add[] = {0x01, 0xc8};
    struct x86_insn insn;

    assert_int_equal(x86_decode(syscall, 2, 64, &insn), 0);
    assert_null(x86_hostinsn_get(h->f->cpu.hostinsns, &insn));
    insn.class = X86_CLASS_HOST;                    /* even if somebody thinks so */
    assert_null(x86_hostinsn_get(h->f->cpu.hostinsns, &insn));
    assert_int_equal(x86_decode(add, 2, 64, &insn), 0);
    assert_null(x86_hostinsn_get(h->f->cpu.hostinsns, &insn));
}

#define H(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        H(test_task_switched), H(test_emulation), H(test_not_enabled),
        H(test_avx512_needs_its_components), H(test_real_mode),
        H(test_unmasked_division), H(test_host_state_survives), H(test_pending_x87_exception),
        H(test_mmio), H(test_store_that_faults_later), H(test_page_crossing),
        H(test_any_register), H(test_high_byte), H(test_upper_bits),
        H(test_pool), H(test_not_for_the_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
