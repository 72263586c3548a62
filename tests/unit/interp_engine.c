/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * interp_engine.c - the loop and the block cache of engine_interp: budget,
 * halting, requests, shadows, self-modifying code, pages, faults.
 */
#include "unit.h"
#include "interp_fixture.h"

static int setup(void **state)
{
    *state = interp_guest_new();
    return 0;
}

static int teardown(void **state)
{
    interp_guest_free(*state);
    return 0;
}

#define LOAD_AT(g, at, name) guest_load(g, at, name, name##_end)
#define START(name)                     \
    struct interp_guest *g = *state;    \
    LOAD_AT(g, CODE, name)

/* ---- budget ------------------------------------------------------------ */

GUEST(counting, "1: inc %eax\n inc %ebx\n inc %ecx\n jmp 1b\n");

static void budget_is_exact(void **state)
{
    START(counting);
    for (unsigned max = 1; max < 150; max++) {
        LOAD_AT(g, CODE, counting);
        g->s.gpr[X86_RAX] = g->s.gpr[X86_RBX] = g->s.gpr[X86_RCX] = 0;
        assert_int_equal(guest_run(g, max), ENGINE_BUDGET);
        assert_int_equal(g->s.gpr[X86_RAX], (max + 3) / 4);
        assert_int_equal(g->s.gpr[X86_RBX], (max + 2) / 4);
        assert_int_equal(g->s.gpr[X86_RCX], (max + 1) / 4);
    }
}

GUEST(faulting, "inc %eax\n ud2\n");

/* A faulting instruction counts as executed; its handler is next. */
static void a_fault_counts_as_one(void **state)
{
    START(faulting);
    assert_int_equal(guest_run(g, 2), ENGINE_BUDGET);
    assert_int_equal(g->s.rip, HANDLERS + 16 * X86_UD);
    assert_int_equal(guest_run(g, 1), ENGINE_BUDGET);
    assert_int_equal(g->s.ev.mp_state, X86_MP_HALTED);
}

static void instructions_are_counted(void **state)
{
    START(counting);
    guest_run(g, 1234567);
    assert_int_equal(counter_get(&g->vcpu->counters, COUNTER_instructions), 1234567);
}

/* ---- halting, requests ------------------------------------------------- */

GUEST(halting, "hlt\n inc %eax\n hlt\n");

static void hlt_waits_for_an_interrupt(void **state)
{
    START(halting);
    assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
    assert_int_equal(g->s.rip, CODE + 1);
    assert_int_equal(g->vcpu->wake_mask & REQUEST_INTR, 0);
    assert_int_equal(g->vcpu->wake_mask & REQUEST_NMI, REQUEST_NMI);
    engine_vcpu_request(g->vcpu, REQUEST_INTR);
    assert_int_equal(engine_interp.run(g->vcpu, 0), ENGINE_HALTED);
    g->s.rflags |= X86_FLAG_IF;
    g->vector = 0x40;
    assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
    assert_int_equal(guest_vector(g), 0x40);
    assert_int_equal(get_le64(guest_ram(g, g->s.gpr[X86_RSP])), CODE + 1);
}

static void nmi_wakes(void **state)
{
    START(halting);
    guest_run(g, 0);
    engine_vcpu_request(g->vcpu, REQUEST_NMI);
    assert_int_equal(engine_interp.run(g->vcpu, 0), ENGINE_HALTED);
    engine_interp.get_state(g->vcpu, &g->s);
    assert_int_equal(guest_vector(g), X86_NMI);
    assert_int_equal(g->vcpu->requests, 0);
}

GUEST(nmi_twice, "mov %rsp, %rbx\n hlt\n hlt\n");
GUEST(counting_handler, "incl %ecx\n iretq\n");

/* Of two NMIs that come before the first is taken, the second waits for IRET; a
 * third has nowhere to wait. */
static void two_nmis_are_two(void **state)
{
    START(nmi_twice);
    memcpy(guest_ram(g, HANDLERS + 16 * X86_NMI), counting_handler,
           (size_t)(counting_handler_end - counting_handler));
    g->s.gpr[X86_RCX] = 0;
    engine_interp.set_state(g->vcpu, &g->s);
    for (unsigned i = 0; i < 3; i++)
        engine_vcpu_request(g->vcpu, engine_vcpu_nmi(g->vcpu));
    assert_int_equal(engine_interp.run(g->vcpu, 0), ENGINE_HALTED);
    engine_interp.get_state(g->vcpu, &g->s);
    assert_int_equal(g->s.gpr[X86_RCX], 2);
    assert_int_equal(g->vcpu->requests, 0);
}

GUEST(sti_hlt, "sti\n hlt\n hlt\n");

/* The interrupt must not get between STI and HLT. */
static void sti_shadow_covers_hlt(void **state)
{
    START(sti_hlt);
    g->vector = 0x41;
    engine_vcpu_request(g->vcpu, REQUEST_INTR);
    assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
    assert_int_equal(guest_vector(g), 0x41);
    assert_int_equal(get_le64(guest_ram(g, g->s.gpr[X86_RSP])), CODE + 2);
}

GUEST(mov_ss, "sti\n nop\n mov %ss, %eax\n cli\n mov %eax, %ss\n sti\n inc %ecx\n inc %ecx\n"
              " hlt\n");

static void sti_shadow_lasts_one_instruction(void **state)
{
    START(mov_ss);
    g->vector = -1;
    assert_int_equal(guest_run(g, 6), ENGINE_BUDGET);     /* STI done, shadow active */
    g->vector = 0x42;
    engine_vcpu_request(g->vcpu, REQUEST_INTR);
    assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
    assert_int_equal(guest_vector(g), 0x42);
    assert_int_equal(g->s.gpr[X86_RCX], 1);
}

static void requests_end_run(void **state)
{
    START(counting);
    engine_vcpu_request(g->vcpu, REQUEST_EXIT);
    assert_int_equal(guest_run(g, 0), ENGINE_KICKED);
    assert_int_equal(g->vcpu->requests, 0);
    engine_vcpu_request(g->vcpu, REQUEST_INIT);
    assert_int_equal(guest_run(g, 0), ENGINE_KICKED);
    assert_int_equal(g->vcpu->requests, REQUEST_INIT);
    engine_vcpu_clear(g->vcpu, REQUEST_INIT);
    assert_int_equal(guest_run(g, 1), ENGINE_BUDGET);
}

static void stop_from_io(struct interp_guest *g)
{
    engine_vcpu_request(g->vcpu, REQUEST_EXIT);
}

GUEST(port_out, "1: inc %ecx\n mov $0x80, %edx\n out %al, %dx\n inc %ebx\n jmp 1b\n");

static void kick_from_a_device_is_prompt(void **state)
{
    START(port_out);
    g->on_io = stop_from_io;
    assert_int_equal(guest_run(g, 0), ENGINE_KICKED);
    assert_int_equal(g->s.gpr[X86_RCX], 1);
    assert_int_equal(g->s.gpr[X86_RBX], 0);
    assert_int_equal(g->io_address, 0x80);
}

GUEST(triple, "lidt 1f(%rip)\n ud2\n 1: .word 0\n .quad 0\n");

static void triple_fault_shuts_down(void **state)
{
    START(triple);
    struct x86_exception chain[4];
    uint64_t rips[4];

    assert_int_equal(guest_run(g, 0), ENGINE_SHUTDOWN);
    assert_int_equal(g->s.rip, CODE + 7);
    assert_true(engine_interp.fault_chain(g->vcpu, chain, rips, 4) >= 2);
    assert_int_equal(chain[0].vector, X86_UD);
    assert_int_equal(rips[0], CODE + 7);
}

/* ---- self-modifying code ----------------------------------------------- */

/* The store changes the immediate of the very next instruction, in one block. */
GUEST(smc_next, "movb $0x55, 1f+1(%rip)\n 1: mov $0x11, %al\n hlt\n");

static void store_into_the_running_block(void **state)
{
    START(smc_next);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
        assert_int_equal(g->s.gpr[X86_RAX] & 0xff, 0x55);
        LOAD_AT(g, CODE, smc_next);
    }
}

static void store_into_a_shortened_block(void **state)
{
    START(smc_next);
    assert_int_equal(guest_run(g, 2), ENGINE_BUDGET);
    assert_int_equal(g->s.gpr[X86_RAX] & 0xff, 0x55);
}

/* A loop that increments the immediate of its own body each time round. */
GUEST(smc_loop, "mov $100, %ecx\n xor %eax, %eax\n 1: add $0, %eax\n incb 1b+2(%rip)\n"
                " dec %ecx\n jnz 1b\n hlt\n");

static void loop_that_rewrites_itself(void **state)
{
    START(smc_loop);
    assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
    assert_int_equal(g->s.gpr[X86_RAX], 99 * 100 / 2);
}

/* Data in a page with code, but in other granules: code stays. */
GUEST(data_beside_code, "mov $1000, %ecx\n 1: incl 1b+2048(%rip)\n dec %ecx\n jnz 1b\n hlt\n");

static void data_beside_code_is_stored(void **state)
{
    START(data_beside_code);
    assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
    assert_int_equal(get_le32(guest_ram(g, CODE + 5 + 2048)), 1000);
    assert_true(counter_get(&g->vcpu->counters, COUNTER_blocks_dropped) < 5);
}

GUEST(returns_1, "mov $1, %eax\n hlt\n");
GUEST(returns_2, "mov $2, %eax\n hlt\n");

static void host_write_drops_code(void **state)
{
    START(returns_1);
    guest_run(g, 0);
    assert_int_equal(g->s.gpr[X86_RAX], 1);
    LOAD_AT(g, CODE, returns_2);
    guest_run(g, 0);
    assert_int_equal(g->s.gpr[X86_RAX], 2);
}

GUEST(rep_over_code, "mov $0x110000, %edi\n mov $64, %ecx\n mov $0x90, %al\n rep stosb\n"
                     " movb $0xf4, (%rdi)\n mov $0x110000, %eax\n jmp *%rax\n");

static void string_store_drops_code(void **state)
{
    START(returns_1);
    LOAD_AT(g, 0x110000, returns_1);
    guest_run(g, 0);
    LOAD_AT(g, CODE, rep_over_code);
    assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
    assert_int_equal(g->s.rip, 0x110000 + 65);
    assert_int_equal(g->s.gpr[X86_RAX], 0x110000);
}

/* The two mappings of one page (identity and SMALL_PAGES) hold the same block. */
GUEST(remap, "mov $0x410000, %ebx\n call *%rbx\n mov %eax, %ebp\n"
             " movq $0x112007, 0x4080\n invlpg (%rbx)\n call *%rbx\n hlt\n");
GUEST(function_1, "mov $1, %eax\n ret\n");
GUEST(function_2, "mov $2, %eax\n ret\n");

static void new_translation_finds_new_code(void **state)
{
    START(remap);
    LOAD_AT(g, 0x410000, function_1);
    LOAD_AT(g, 0x112000, function_2);
    g->s.rip = CODE;
    assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
    assert_int_equal(g->s.gpr[X86_RBP], 1);
    assert_int_equal(g->s.gpr[X86_RAX], 2);
}

/* ---- page boundaries --------------------------------------------------- */

GUEST(five_bytes, "mov $0x44332211, %eax\n hlt\n");

static void instruction_across_pages(void **state)
{
    START(five_bytes);
    for (unsigned i = 1; i < 5; i++) {
        LOAD_AT(g, 0x201000 - i, five_bytes);
        assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
        assert_int_equal(g->s.gpr[X86_RAX], 0x44332211);
        assert_int_equal(g->s.rip, 0x201000 - i + 6);
        memory_fill(g->memory, gpa(0x201000), 0x77, 5 - i);      /* second page only */
        g->s.rip = 0x201000 - i;
        g->s.ev.mp_state = X86_MP_RUNNABLE;
        guest_run(g, 0);
        assert_int_equal(g->s.gpr[X86_RAX] >> 24, 0x77);
    }
}

static void missing_second_page_faults_there(void **state)
{
    START(five_bytes);
    LOAD_AT(g, NO_PAGE - 2, five_bytes);
    guest_run(g, 0);
    assert_int_equal(guest_vector(g), X86_PF);
    assert_int_equal(g->s.cr2, NO_PAGE);
    assert_int_equal(get_le64(guest_ram(g, g->s.gpr[X86_RSP] + 8)), NO_PAGE - 2);
}

GUEST(nops, ".rept 20\n nop\n .endr\n");

static void code_runs_into_a_missing_page(void **state)
{
    START(nops);
    LOAD_AT(g, NO_PAGE - 20, nops);
    assert_int_equal(guest_run(g, 20), ENGINE_BUDGET);
    assert_int_equal(g->s.rip, NO_PAGE);
    guest_run(g, 0);
    assert_int_equal(guest_vector(g), X86_PF);
    assert_int_equal(get_le64(guest_ram(g, g->s.gpr[X86_RSP] + 8)), NO_PAGE);
}

/* Bytes come from the device one at a time: here INC EAX forever. */
static void code_in_mmio(void **state)
{
    START(nops);
    g->s.rip = MMIO;
    g->io_value = 0x90;
    assert_int_equal(guest_run(g, 10), ENGINE_BUDGET);
    assert_int_equal(g->s.rip, MMIO + 10);
    assert_true(g->io_count >= 10);
}

/* ---- faults and restarts ----------------------------------------------- */

GUEST(rep_movs, "mov $0x20000, %esi\n mov $0x402ff0, %edi\n mov $8, %ecx\n rep movsq\n hlt\n");

static void rep_stops_at_the_fault_and_goes_on(void **state)
{
    START(rep_movs);
    for (unsigned i = 0; i < 8; i++)
        put_le64(guest_ram(g, DATA + 8 * i), i + 1);
    guest_run(g, 0);
    assert_int_equal(guest_vector(g), X86_PF);
    assert_int_equal(g->s.cr2, NO_PAGE);
    assert_int_equal(g->s.gpr[X86_RCX], 6);
    assert_int_equal(g->s.gpr[X86_RSI], DATA + 16);
    assert_int_equal(g->s.gpr[X86_RDI], NO_PAGE);
    assert_int_equal(get_le64(guest_ram(g, NO_PAGE - 8)), 2);
    put_le64(guest_ram(g, TABLES + 0x3000 + 3 * 8), NO_PAGE | 7);
    g->s.rip = get_le64(guest_ram(g, g->s.gpr[X86_RSP] + 8));
    g->s.ev.mp_state = X86_MP_RUNNABLE;
    assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
    assert_int_equal(g->s.gpr[X86_RCX], 0);
    assert_int_equal(get_le64(guest_ram(g, NO_PAGE + 40)), 8);
}

GUEST(push_fault, "mov $0x404000, %esp\n push %rax\n hlt\n");

static void faulting_push_moves_nothing(void **state)
{
    START(push_fault);
    /* The handler's own pushes fault as well, up to a double and triple fault. */
    assert_int_equal(guest_run(g, 0), ENGINE_SHUTDOWN);
    assert_int_equal(g->s.gpr[X86_RSP], 0x404000);
    assert_int_equal(g->s.rip, CODE + 5);
}

GUEST(non_canonical, "mov $0x8000000000000000, %rax\n mov (%rax), %ecx\n");
GUEST(jump_away, "mov $0x8000000000000000, %rax\n jmp *%rax\n");
GUEST(divide, "xor %ecx, %ecx\n div %ecx\n");
GUEST(bad_opcode, "nop\n .byte 0x06\n");
GUEST(too_long, ".rept 15\n .byte 0x3e\n .endr\n nop\n");

static void exceptions_arrive(void **state)
{
    const struct { const uint8_t *code, *end; int vector; unsigned at; } row[] = {
        {non_canonical, non_canonical_end, X86_GP, 10}, {jump_away, jump_away_end, X86_GP, 10},
        {divide, divide_end, X86_DE, 2}, {bad_opcode, bad_opcode_end, X86_UD, 1},
        {too_long, too_long_end, X86_GP, 0},
    };
    struct interp_guest *g = *state;

    for (unsigned i = 0; i < sizeof row / sizeof row[0]; i++) {
        unsigned error = row[i].vector == X86_GP ? 8 : 0;

        guest_load(g, CODE, row[i].code, row[i].end);
        g->s.gpr[X86_RSP] = STACK;
        guest_run(g, 0);
        assert_int_equal(guest_vector(g), row[i].vector);
        assert_int_equal(get_le64(guest_ram(g, g->s.gpr[X86_RSP] + error)), CODE + row[i].at);
    }
}

GUEST(stepping, "pushfq\n orl $0x100, (%rsp)\n popfq\n inc %eax\n inc %eax\n hlt\n");

static void trap_flag_steps(void **state)
{
    START(stepping);
    guest_run(g, 0);
    assert_int_equal(guest_vector(g), X86_DB);
    assert_int_equal(g->s.gpr[X86_RAX], 1);
    assert_true(g->s.dr6 & 1 << 14);
}

/* ---- time -------------------------------------------------------------- */

GUEST(deadline, "mov $0x6e0, %ecx\n xor %edx, %edx\n mov $1000500, %eax\n wrmsr\n hlt\n"
                " xor %eax, %eax\n wrmsr\n hlt\n mov $1, %eax\n wrmsr\n hlt\n rdtsc\n hlt\n");

/* The platform counts in clock ticks; the offset to the guest's TSC is ours. */
static void tsc_deadline_is_converted(void **state)
{
    START(deadline);
    g->s.tsc = 1000000;
    assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
    assert_int_equal(g->io_value, 500);
    g->s.ev.mp_state = X86_MP_RUNNABLE;
    guest_run(g, 0);
    assert_int_equal(g->io_value, 0);
    g->s.ev.mp_state = X86_MP_RUNNABLE;
    guest_run(g, 0);
    assert_int_equal(g->io_value, 1);              /* long past, but armed */
    clock_advance(g->clock, 1000);
    g->s.ev.mp_state = X86_MP_RUNNABLE;
    engine_interp.set_state(g->vcpu, &g->s);
    clock_advance(g->clock, 77);
    engine_interp.run(g->vcpu, 0);
    engine_interp.get_state(g->vcpu, &g->s);
    assert_int_equal(g->s.gpr[X86_RAX], 1000077);          /* a manual clock ticks in ns */
}

/* ---- dirty log --------------------------------------------------------- */

GUEST(store_loop, "mov $0x20000, %edi\n 1: incl (%rdi)\n jmp 1b\n");

static size_t dirty_pages(struct interp_guest *g, uint64_t *bitmap)
{
    engine_interp.dirty_log(g->vm);
    return memory_dirty_fetch(g->memory, bitmap, GUEST_RAM / PAGE_SIZE / 64);
}

static void dirty_log_sees_every_round(void **state)
{
    uint64_t bitmap[GUEST_RAM / PAGE_SIZE / 64];

    START(store_loop);
    guest_run(g, 100);
    assert_int_equal(memory_dirty_start(g->memory, NULL), 0);
    for (unsigned round = 0; round < 3; round++) {
        engine_interp.run(g->vcpu, 100);
        dirty_pages(g, bitmap);
        assert_true(bitmap[DATA / PAGE_SIZE / 64] >> (DATA / PAGE_SIZE % 64) & 1);
    }
    dirty_pages(g, bitmap);
    assert_int_equal(dirty_pages(g, bitmap), 0);
    memory_dirty_stop(g->memory);
}

/* ---- other modes ------------------------------------------------------- */

GUEST(legacy, ".code32\n mov $0x11223344, %eax\n mov %esp, %ebx\n pusha\n mov $0x79, %al\n"
              " add $0x35, %al\n daa\n mov %al, %cl\n popa\n call 1f\n hlt\n"
              " 1: push $5\n pop %edx\n ret\n");

static void protected_mode_runs(void **state)
{
    START(legacy);
    fixture_protected_mode(g);
    assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
    assert_int_equal(g->s.gpr[X86_RAX], 0x11223344);
    assert_int_equal(g->s.gpr[X86_RSP], STACK);
    assert_int_equal(g->s.gpr[X86_RDX], 5);
}

GUEST(real, ".code16\n mov $0x1000, %ax\n mov %ax, %es\n mov $0x1234, %di\n movb $7, %es:(%di)\n"
            " mov %es:(%di), %bl\n mov $3, %cx\n 1: inc %dx\n loop 1b\n hlt\n");

static void real_mode_runs(void **state)
{
    START(real);
    fixture_segments(&g->s, 0x9b);
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        g->s.seg[i] = (struct x86_segment){.limit = 0xffff, .attr = 0x93};
    g->s.seg[X86_CS].attr = 0x9b;
    g->s.seg[X86_CS].base = CODE;
    g->s.cr0 = X86_CR0_ET;
    g->s.cr4 = 0;
    g->s.msr.efer = 0;
    g->s.rip = 0;
    g->s.gpr[X86_RDX] = 0;
    assert_int_equal(guest_run(g, 0), ENGINE_HALTED);
    assert_int_equal(*guest_ram(g, 0x11234), 7);
    assert_int_equal(g->s.gpr[X86_RBX] & 0xff, 7);
    assert_int_equal(g->s.gpr[X86_RDX] & 0xffff, 3);
}

GUEST(cs_limit, ".code32\n nop\n nop\n nop\n hlt\n");

static void cs_limit_is_enforced(void **state)
{
    START(cs_limit);
    fixture_protected_mode(g);
    g->s.seg[X86_CS].limit = CODE + 1;
    struct x86_exception chain[4];
    uint64_t rips[4];

    assert_int_equal(guest_run(g, 2), ENGINE_BUDGET);
    guest_run(g, 0);
    assert_true(engine_interp.fault_chain(g->vcpu, chain, rips, 4) >= 1);
    assert_int_equal(chain[0].vector, X86_GP);
    assert_int_equal(rips[0], CODE + 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(budget_is_exact),
        TEST(a_fault_counts_as_one),
        TEST(instructions_are_counted),
        TEST(hlt_waits_for_an_interrupt),
        TEST(nmi_wakes),
        TEST(two_nmis_are_two),
        TEST(sti_shadow_covers_hlt),
        TEST(sti_shadow_lasts_one_instruction),
        TEST(requests_end_run),
        TEST(kick_from_a_device_is_prompt),
        TEST(triple_fault_shuts_down),
        TEST(store_into_the_running_block),
        TEST(store_into_a_shortened_block),
        TEST(loop_that_rewrites_itself),
        TEST(data_beside_code_is_stored),
        TEST(host_write_drops_code),
        TEST(string_store_drops_code),
        TEST(new_translation_finds_new_code),
        TEST(instruction_across_pages),
        TEST(missing_second_page_faults_there),
        TEST(code_runs_into_a_missing_page),
        TEST(code_in_mmio),
        TEST(rep_stops_at_the_fault_and_goes_on),
        TEST(faulting_push_moves_nothing),
        TEST(exceptions_arrive),
        TEST(trap_flag_steps),
        TEST(tsc_deadline_is_converted),
        TEST(dirty_log_sees_every_round),
        TEST(protected_mode_runs),
        TEST(real_mode_runs),
        TEST(cs_limit_is_enforced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
