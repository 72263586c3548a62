/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * interp_smp.c - two vCPUs of engine_interp on two threads: atomic updates,
 * memory order, and code that the other one changes.
 */
#include "unit.h"
#include <pthread.h>
#include "interp_fixture.h"

enum { SECOND_CODE = 0x180000, SECOND_STACK = 0x90000, FUNCTION = 0x200000, FLAGS = 0x28000 };

/* Guests may race in their own memory; the slow paths that carry their accesses
 * are in these files. Everything else is for us to get right. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:x86/mmu.c\nrace:x86/exec_alu.c\nrace:x86/exec_string.c\n";
}

static int setup(void **state)
{
    *state = interp_guest_new_cpus(2);
    return 0;
}

static int teardown(void **state)
{
    interp_guest_free(*state);
    return 0;
}

struct runner {
    struct engine_vcpu *vcpu;
    enum engine_exit why;
};

static void *run(void *opaque)
{
    struct runner *r = opaque;

    do
        r->why = engine_interp.run(r->vcpu, 0);
    while (r->why == ENGINE_BUDGET);
    return NULL;
}

/* Runs `a` on the first and `b` on the second until both halt. */
static void run_both(struct interp_guest *g, const uint8_t *a, const uint8_t *a_end,
                     const uint8_t *b, const uint8_t *b_end)
{
    struct runner r[2] = {{.vcpu = g->vcpu}, {.vcpu = g->second}};
    struct x86_state second;
    pthread_t thread[2];

    guest_load(g, SECOND_CODE, b, b_end);
    second = g->s;
    second.gpr[X86_RSP] = SECOND_STACK;
    engine_interp.set_state(g->second, &second);
    guest_load(g, CODE, a, a_end);
    engine_interp.set_state(g->vcpu, &g->s);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, run, &r[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(r[0].why, ENGINE_HALTED);
    assert_int_equal(r[1].why, ENGINE_HALTED);
    engine_interp.get_state(g->vcpu, &g->s);
}

GUEST(adders, "mov $0x28000, %edi\n mov $30000, %ecx\n 1: lock incl (%rdi)\n"
              " mov $3, %eax\n lock xadd %eax, 4(%rdi)\n"
              " 2: mov 8(%rdi), %eax\n lea 5(%rax), %edx\n lock cmpxchg %edx, 8(%rdi)\n jnz 2b\n"
              " lock btsl $7, 12(%rdi)\n jc 3f\n lock incl 16(%rdi)\n"
              " 3: dec %ecx\n jnz 1b\n hlt\n");

static void locked_updates_lose_nothing(void **state)
{
    struct interp_guest *g = *state;

    run_both(g, adders, adders_end, adders, adders_end);
    assert_int_equal(get_le32(guest_ram(g, FLAGS)), 60000);
    assert_int_equal(get_le32(guest_ram(g, FLAGS + 4)), 180000);
    assert_int_equal(get_le32(guest_ram(g, FLAGS + 8)), 300000);
    assert_int_equal(get_le32(guest_ram(g, FLAGS + 16)), 1);
}

/* The first changes what FUNCTION returns, raises a flag and waits for the
 * second, which calls it and compares. In every round the page turns from
 * being written to being executed. */
GUEST(writer, "mov $0x28000, %edi\n mov $0x200000, %ebx\n xor %ecx, %ecx\n"
              " 1: inc %ecx\n movb $0xb8, (%rbx)\n mov %ecx, 1(%rbx)\n movb $0xc3, 5(%rbx)\n"
              " mov %ecx, (%rdi)\n"
              " 2: pause\n cmp %ecx, 4(%rdi)\n jne 2b\n cmp $2000, %ecx\n jne 1b\n hlt\n");
GUEST(caller, "mov $0x28000, %edi\n mov $0x200000, %ebx\n xor %esi, %esi\n"
              " 1: inc %esi\n 2: pause\n cmp %esi, (%rdi)\n jne 2b\n"
              " call *%rbx\n cmp %esi, %eax\n je 3f\n incl 8(%rdi)\n"
              " 3: mov %esi, 4(%rdi)\n cmp $2000, %esi\n jne 1b\n hlt\n");

static void code_changed_by_the_other_is_seen(void **state)
{
    struct interp_guest *g = *state;

    run_both(g, writer, writer_end, caller, caller_end);
    assert_int_equal(get_le32(guest_ram(g, FLAGS + 4)), 2000);
    assert_int_equal(get_le32(guest_ram(g, FLAGS + 8)), 0);
}

/* Both execute the page and both change it. */
GUEST(ping, "mov $0x28000, %edi\n mov $0x200000, %ebx\n mov $0, %esi\n jmp 9f\n"
            " 9: 1: pause\n cmp %esi, (%rdi)\n jne 1b\n"
            " call *%rbx\n cmp %esi, %eax\n je 2f\n incl 8(%rdi)\n"
            " 2: inc %esi\n mov %esi, 1(%rbx)\n mov %esi, (%rdi)\n inc %esi\n"
            " cmp $2000, %esi\n jb 1b\n hlt\n");
GUEST(pong, "mov $0x28000, %edi\n mov $0x200000, %ebx\n mov $1, %esi\n"
            " 1: pause\n cmp %esi, (%rdi)\n jne 1b\n"
            " call *%rbx\n cmp %esi, %eax\n je 2f\n incl 8(%rdi)\n"
            " 2: inc %esi\n mov %esi, 1(%rbx)\n mov %esi, (%rdi)\n inc %esi\n"
            " cmp $2000, %esi\n jb 1b\n hlt\n");
GUEST(returns_0, "mov $0, %eax\n ret\n");

static void both_change_what_both_execute(void **state)
{
    struct interp_guest *g = *state;

    guest_load(g, FUNCTION, returns_0, returns_0_end);
    run_both(g, ping, ping_end, pong, pong_end);
    assert_int_equal(get_le32(guest_ram(g, FLAGS)), 2000);
    assert_int_equal(get_le32(guest_ram(g, FLAGS + 8)), 0);
}

GUEST(endless, "1: inc %eax\n jmp 1b\n");

static void another_thread_kicks(void **state)
{
    struct interp_guest *g = *state;
    struct runner r = {.vcpu = g->vcpu};
    pthread_t thread;

    guest_load(g, CODE, endless, endless_end);
    engine_interp.set_state(g->vcpu, &g->s);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(pthread_create(&thread, NULL, run, &r), 0);
        engine_vcpu_request(g->vcpu, REQUEST_EXIT);
        pthread_join(thread, NULL);
        assert_int_equal(r.why, ENGINE_KICKED);
    }
}

/* The host writes code that runs at that moment; it is noticed. */
static void host_writes_while_running(void **state)
{
    static const uint8_t hlt = 0xf4;
    struct interp_guest *g = *state;
    struct runner r = {.vcpu = g->vcpu};
    pthread_t thread;

    guest_load(g, CODE, endless, endless_end);
    engine_interp.set_state(g->vcpu, &g->s);
    assert_int_equal(pthread_create(&thread, NULL, run, &r), 0);
    while (!counter_get(&g->vcpu->counters, COUNTER_blocks_made))
        ;
    memory_write(g->memory, gpa(CODE), &hlt, 1);
    pthread_join(thread, NULL);
    assert_int_equal(r.why, ENGINE_HALTED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(locked_updates_lose_nothing),
        TEST(code_changed_by_the_other_is_seen),
        TEST(both_change_what_both_execute),
        TEST(another_thread_kicks),
        TEST(host_writes_while_running),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
