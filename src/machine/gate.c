/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gate.c - letting vCPU threads in and getting them out (see impl.h).
 *
 * A vCPU counts itself in under the mutex and then looks at `closed` without
 * it before every entry into the engine. A closer first sets its reason, then
 * kicks: either the vCPU sees the reason, or the kick, which the engine never
 * loses, ends the run.
 */
#include "machine/impl.h"

#include <errno.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"

int gate_init(struct machine *m, struct error **err)
{
    int rc = pthread_mutex_init(&m->gate_lock, NULL);

    if (!rc)
        rc = pthread_cond_init(&m->gate_changed, NULL);
    if (rc)
        return error_set(err, rc, "cannot make a lock: %s", strerror(rc));
    atomic_store(&m->closed, GATE_NOT_STARTED);
    return 0;
}

void gate_fini(struct machine *m)
{
    pthread_cond_destroy(&m->gate_changed);
    pthread_mutex_destroy(&m->gate_lock);
}

void gate_close(struct machine *m, uint32_t reason)
{
    atomic_fetch_or(&m->closed, reason);
    for (unsigned i = 0; i < m->cpus; i++)
        vcpu_request(&m->vcpu[i], REQUEST_EXIT);
    if (reason & GATE_QUIT) {
        pthread_mutex_lock(&m->gate_lock);
        pthread_cond_broadcast(&m->gate_changed);
        pthread_mutex_unlock(&m->gate_lock);
    }
}

void gate_open(struct machine *m, uint32_t reason)
{
    pthread_mutex_lock(&m->gate_lock);
    atomic_fetch_and(&m->closed, ~reason);
    pthread_cond_broadcast(&m->gate_changed);
    pthread_mutex_unlock(&m->gate_lock);
}

void gate_wait(struct machine *m)
{
    pthread_mutex_lock(&m->gate_lock);
    BUG_ON(atomic_load(&m->closed) == 0);
    while (m->inside)
        pthread_cond_wait(&m->gate_changed, &m->gate_lock);
    pthread_mutex_unlock(&m->gate_lock);
}

bool gate_enter(struct machine *m)
{
    uint32_t closed;

    pthread_mutex_lock(&m->gate_lock);
    while ((closed = atomic_load(&m->closed)) && !(closed & GATE_QUIT))
        pthread_cond_wait(&m->gate_changed, &m->gate_lock);
    if (!closed)
        m->inside++;
    pthread_mutex_unlock(&m->gate_lock);
    return !closed;
}

void gate_leave(struct machine *m)
{
    pthread_mutex_lock(&m->gate_lock);
    if (--m->inside == 0)
        pthread_cond_broadcast(&m->gate_changed);
    pthread_mutex_unlock(&m->gate_lock);
}
