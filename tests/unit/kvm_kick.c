/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvm_kick.c - getting a vCPU out of a guest that loops for ever, and never
 * losing the request, whenever it is made.
 */
#include "kvm_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

struct kicker {
    struct engine_vcpu *vcpu;
    unsigned rounds;
    _Atomic unsigned returned;    /* how often run() has come back */
};

/* With one processor, or a busy one, each round waits for the scheduler's tick. */
static unsigned rounds(void)
{
    return sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 1000 : 100;
}

/* Asks again only after the last request was answered, with a different delay
 * each time: some requests find the vCPU in the guest, some on its way in or
 * out. A lost one leaves both threads waiting, and the watchdog barks. */
static void *kick_many(void *arg)
{
    struct kicker *k = arg;

    for (unsigned i = 0; i < k->rounds; i++) {
        for (volatile unsigned spin = 0; spin < i * 37 % 4096; spin++)
            ;
        engine_vcpu_request(k->vcpu, REQUEST_EXIT);
        while (atomic_load(&k->returned) <= i)
            sched_yield();
    }
    return NULL;
}

static void kicks_are_never_lost(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    struct kicker k = {.vcpu = g->vcpu[0], .rounds = rounds()};
    pthread_t thread;

    GUEST_CODE_BYTES(g, 0xeb, 0xfe);
    guest_start_long(g, 0, 3);
    assert_int_equal(pthread_create(&thread, NULL, kick_many, &k), 0);
    for (unsigned i = 0; i < k.rounds; i++) {
        alarm(WATCHDOG_S);        /* a lost kick is one round without end */
        guest_run(g, 0, ENGINE_KICKED);
        atomic_fetch_add(&k.returned, 1);
    }
    pthread_join(thread, NULL);
    assert_int_equal(guest_state(g, 0).rip, GUEST_CODE);
    guest_free(g);
}

/* The same while the guest leaves all the time by itself. */
static void kicks_between_exits(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    struct kicker k = {.vcpu = g->vcpu[0], .rounds = rounds()};
    pthread_t thread;

    GUEST_CODE_BYTES(g, 0xe6, 0x10, 0xeb, 0xfc);
    guest_start_long(g, 0, 3);
    assert_int_equal(pthread_create(&thread, NULL, kick_many, &k), 0);
    for (unsigned i = 0; i < k.rounds; i++) {
        alarm(WATCHDOG_S);        /* a lost kick is one round without end */
        guest_run(g, 0, ENGINE_KICKED);
        atomic_fetch_add(&k.returned, 1);
    }
    pthread_join(thread, NULL);
    guest_free(g);
}

static void kick_before_run(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);

    GUEST_CODE_BYTES(g, 0xeb, 0xfe);
    guest_start_long(g, 0, 3);
    engine_vcpu_request(g->vcpu[0], REQUEST_EXIT);
    guest_run(g, 0, ENGINE_KICKED);
    assert_int_equal(atomic_load(&g->vcpu[0]->requests), 0);
    /* INIT and SIPI are the machine's: they stay set. */
    engine_vcpu_request(g->vcpu[0], REQUEST_INIT | REQUEST_SIPI);
    guest_run(g, 0, ENGINE_KICKED);
    assert_int_equal(atomic_load(&g->vcpu[0]->requests), REQUEST_INIT | REQUEST_SIPI);
    guest_free(g);
}

static void *run_with_signals_blocked(void *arg)
{
    struct guest *g = arg;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    guest_run(g, 0, ENGINE_KICKED);
    return NULL;
}

/* A thread that blocks every signal can still be kicked. */
static void kick_reaches_blocked_thread(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    pthread_t thread;

    GUEST_CODE_BYTES(g, 0xc7, 0x04, 0x25, 0x00, 0x20, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
                     0xeb, 0xfe);
    guest_start_long(g, 0, 3);
    assert_int_equal(pthread_create(&thread, NULL, run_with_signals_blocked, g), 0);
    /* The guest's own mark says that it runs. */
    volatile uint32_t *mark = (volatile uint32_t *)memory_host(g->memory, gpa(GUEST_DATA), 4,
                                                               false).p;
    while (!*mark)
        sched_yield();
    engine_vcpu_request(g->vcpu[0], REQUEST_EXIT);
    pthread_join(thread, NULL);
    guest_free(g);
}

/* An application processor that nobody starts sleeps in the kernel and can be
 * kicked; the other one runs meanwhile. */
static void *run_second(void *arg)
{
    guest_run(arg, 1, ENGINE_KICKED);
    return NULL;
}

static void waiting_processor(void **state)
{
    struct guest *g = guest_new(2, FIXTURE_IRQCHIP);
    pthread_t thread;

    GUEST_CODE_BYTES(g, 0xe6, 0x10, 0xeb, 0xfe);
    guest_start_real(g, 0);
    assert_int_equal(guest_state(g, 1).ev.mp_state, X86_MP_WAIT_FOR_SIPI);
    assert_int_equal(pthread_create(&thread, NULL, run_second, g), 0);
    g->leave_after = 1;
    guest_run(g, 0, ENGINE_KICKED);
    engine_vcpu_request(g->vcpu[1], REQUEST_EXIT);
    pthread_join(thread, NULL);
    assert_int_equal(g->accesses, 1);
    assert_int_equal(g->access[0].vcpu, 0);
    assert_int_equal(guest_state(g, 1).ev.mp_state, X86_MP_WAIT_FOR_SIPI);
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kicks_are_never_lost), cmocka_unit_test(kicks_between_exits),
        cmocka_unit_test(kick_before_run), cmocka_unit_test(kick_reaches_blocked_thread),
        cmocka_unit_test(waiting_processor),
    };
    fixture_need_kvm();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
