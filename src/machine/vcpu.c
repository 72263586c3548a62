/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vcpu.c - a thread per virtual processor.
 *
 * The thread runs the engine, sleeps when the guest has nothing to do, and
 * does what INIT and SIPI ask for, on every engine alike.
 *
 * SLEEPING is a futex wait on the vCPU's request word itself, so waking costs
 * one system call and there is no second copy of the truth. The sleeper says
 * that it sleeps, then waits for the word to differ from what it saw; a waker
 * changes the word, then looks whether somebody sleeps. Whichever comes first,
 * the other notices. Nobody polls: an idle guest uses no host CPU.
 */
#include "machine/impl.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/log.h"

static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
    syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

void vcpu_request(struct machine_vcpu *v, uint32_t bits)
{
    int saved_errno = errno;

    engine_vcpu_request(v->engine, bits);
    if (atomic_load(&v->asleep))
        futex(&v->engine->requests, FUTEX_WAKE, 1);
    errno = saved_errno;
}

/* Until one of `mask` is requested or the gate closes. */
static void vcpu_sleep(struct machine_vcpu *v, uint32_t mask)
{
    struct engine_vcpu *e = v->engine;
    uint32_t seen;

    engine_vcpu_does(e, ENGINE_DOES_IDLE);
    atomic_store(&v->asleep, true);
    while (!((seen = atomic_load(&e->requests)) & (mask | REQUEST_EXIT)))
        futex(&e->requests, FUTEX_WAIT, seen);
    atomic_store(&v->asleep, false);
    engine_vcpu_does(e, ENGINE_DOES_OTHER);
}

/* INIT and SIPI (Intel SDM vol. 3, 8.4). INIT sends the boot processor to the
 * reset vector, where a machine without firmware has nothing: the guest's
 * doing, and the guest's loss. */
static int vcpu_take_init_sipi(struct machine_vcpu *v)
{
    struct engine_vcpu *e = v->engine;
    const uint32_t both = REQUEST_INIT | REQUEST_SIPI;
    /* At once: an INIT that comes now is the next one's. */
    uint32_t bits = atomic_fetch_and(&e->requests, ~both) & both;
    struct x86_state s, now;
    int rc;

    if (!(bits & REQUEST_INIT) && !v->wait_sipi)
        return 0;                          /* a SIPI nobody waits for is dropped */
    rc = e->ops->get_state(e, &s);
    if (rc)
        return rc;
    if (bits & REQUEST_INIT) {
        x86_state_init(&s);
        v->wait_sipi = e->index != 0;
        s.ev.mp_state = v->wait_sipi ? X86_MP_WAIT_FOR_SIPI : X86_MP_RUNNABLE;
    }
    if ((bits & REQUEST_SIPI) && v->wait_sipi) {
        x86_state_sipi(&s, atomic_load(&e->sipi_vector));
        s.ev.mp_state = X86_MP_RUNNABLE;
        v->wait_sipi = false;
    }
    /* The TSC goes on as if nothing had been: what was read above is old by now. */
    rc = e->ops->get_state(e, &now);
    if (rc)
        return rc;
    s.tsc = now.tsc;
    return e->ops->set_state(e, &s);
}

static void vcpu_ended(struct machine_vcpu *v, enum machine_end end)
{
    machine_lock(v->machine);
    machine_end(v->machine, end, 0, v->engine->index);
    machine_unlock(v->machine);
}

uint32_t vcpu_run(struct machine_vcpu *v)
{
    const uint32_t start = REQUEST_INIT | REQUEST_SIPI;
    struct engine_vcpu *e = v->engine;
    enum engine_exit why;

    if ((atomic_load(&e->requests) & (REQUEST_INIT | REQUEST_SIPI)) && vcpu_take_init_sipi(v)) {
        vcpu_ended(v, MACHINE_FAILED);
        return 0;
    }
    if (v->wait_sipi) {
        engine_vcpu_clear(e, REQUEST_EXIT);
        return start;
    }
    if (v->frozen) {
        engine_vcpu_clear(e, REQUEST_EXIT);
        return REQUEST_EXIT;
    }
    engine_vcpu_does(e, ENGINE_DOES_GUEST);
    why = e->ops->run(e, debug_budget(v));
    engine_vcpu_does(e, ENGINE_DOES_OTHER);
    if (debug_stopped(v, why))
        return 0;
    switch (why) {
    case ENGINE_BUDGET:
    case ENGINE_KICKED:
    case ENGINE_DEBUG:
        break;
    case ENGINE_HALTED:
        return atomic_load(&e->wake_mask) | start;
    case ENGINE_SHUTDOWN:
        if (debug_shutdown(v))
            break;
        vcpu_ended(v, MACHINE_TRIPLE_FAULT);
        break;
    case ENGINE_FAILED:
        vcpu_ended(v, MACHINE_FAILED);
        break;
    }
    return 0;
}

/* One round. The gate was open a moment ago. */
static void vcpu_step(struct machine_vcpu *v)
{
    uint32_t wake = vcpu_run(v);

    /* The gate's kick is seen by whoever sleeps, unless the request was taken off. */
    if (wake && atomic_load(&v->machine->closed) == 0)
        vcpu_sleep(v, wake);
}

static void *vcpu_thread(void *arg)
{
    struct machine_vcpu *v = arg;
    char name[16];

    snprintf(name, sizeof name, "vcpu%u", v->engine->index);
    pthread_setname_np(pthread_self(), name);
    while (gate_enter(v->machine)) {
        while (atomic_load(&v->machine->closed) == 0)
            vcpu_step(v);
        gate_leave(v->machine);
    }
    fault_thread_fini();
    return NULL;
}

int vcpus_create(struct machine *m, struct error **err)
{
    m->vcpu = calloc(m->config.cpus, sizeof *m->vcpu);
    if (!m->vcpu)
        return error_set(err, ENOMEM, "cannot make %u vCPUs: out of memory", m->config.cpus);
    for (unsigned i = 0; i < m->config.cpus; i++) {
        struct machine_vcpu *v = &m->vcpu[i];
        int rc = m->engine->vcpu_create(m->vm, i, &v->engine, err);

        if (rc)
            return error_wrap(err, "cannot make vCPU %u", i);
        v->machine = m;
        m->cpus++;
    }
    return 0;
}

void vcpus_destroy(struct machine *m)
{
    for (unsigned i = 0; i < m->cpus; i++)
        m->engine->vcpu_destroy(m->vcpu[i].engine);
    free(m->vcpu);
    m->vcpu = NULL;
    m->cpus = 0;
}

/* Signals are for the process's main thread; those that a vCPU needs (the
 * engine's kick, host faults) it unblocks or cannot have blocked. */
int vcpus_start(struct machine *m, struct error **err)
{
    static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    sigset_t block, before;
    int rc = 0;

    sigfillset(&block);
    for (unsigned i = 0; i < ARRAY_SIZE(synchronous); i++)
        sigdelset(&block, synchronous[i]);
    pthread_sigmask(SIG_BLOCK, &block, &before);
    for (unsigned i = 0; i < m->cpus && !rc; i++) {
        rc = pthread_create(&m->vcpu[i].thread, NULL, vcpu_thread, &m->vcpu[i]);
        m->vcpu[i].started = rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? error_set(err, rc, "cannot start a vCPU thread: %s", strerror(rc)) : 0;
}

void vcpus_join(struct machine *m)
{
    for (unsigned i = 0; i < m->cpus; i++) {
        if (m->vcpu[i].started)
            pthread_join(m->vcpu[i].thread, NULL);
        m->vcpu[i].started = false;
    }
}

int vcpus_reset(struct machine *m, const struct x86_state *start, struct error **err)
{
    for (unsigned i = 0; i < m->cpus; i++) {
        struct machine_vcpu *v = &m->vcpu[i];
        struct x86_state s;
        int rc;

        engine_vcpu_clear(v->engine, REQUEST_NMIS | REQUEST_INIT | REQUEST_SIPI);
        if (i == 0) {
            s = *start;
        } else {
            x86_state_power_on(&s, false);
            s.ev.mp_state = X86_MP_WAIT_FOR_SIPI;
            s.msr.mtrr_def_type = start->msr.mtrr_def_type;   /* firmware's work */
        }
        /* With controllers in the kernel the engine waits inside run(). */
        v->wait_sipi = i != 0 && !m->vm->irqchip;
        rc = m->engine->set_state(v->engine, &s);
        if (rc)
            return error_set(err, -rc, "cannot set the registers of vCPU %u: %s", i,
                             strerror(-rc));
    }
    return 0;
}
