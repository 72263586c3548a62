/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * still.c - changes of the memory map, made while nobody looks (bus/device.h, still_line).
 *
 * A device asks in a vCPU's thread. The gate closes at once, so that vCPU executes nothing
 * more; the loop's thread waits for the others, takes the locks of the I/O threads inside
 * of the VM lock, makes the changes and opens the gate again. While the machine is made or
 * reset the loop's thread holds the vCPUs already (machine.still): then it is done on the
 * spot.
 */
#include "machine/impl.h"

#include "base/bug.h"
#include "base/loop.h"
#include "machine/plug.h"

/* VM lock held. */
static void make_change(struct machine *m, const struct machine_change *c)
{
    bool nested = m->changing;           /* a change that leads to another */

    if (!nested)
        plugs_lock_threads(m);
    m->changing = true;
    c->change(c->arg);
    m->changing = nested;
    if (!nested)
        plugs_unlock_threads(m);
}

/* Posted: in the loop's thread, VM lock not held. */
static void make_changes(void *opaque)
{
    struct machine *m = opaque;

    gate_wait(m);
    machine_lock(m);
    m->still = true;
    for (unsigned i = 0; i < m->changes; i++)
        make_change(m, &m->change[i]);
    m->changes = 0;
    m->still = false;
    machine_unlock(m);
    gate_open(m, GATE_MEMORY);
}

void machine_still_request(void *opaque, void (*change)(void *arg), void *arg)
{
    struct machine *m = opaque;
    const struct machine_change c = {change, arg};

    if (m->still) {
        make_change(m, &c);
        return;
    }
    for (unsigned i = 0; i < m->changes; i++)
        if (m->change[i].change == change && m->change[i].arg == arg)
            return;
    BUG_ON(m->changes == MACHINE_CHANGES_MAX);
    m->change[m->changes++] = c;
    if (m->changes > 1)
        return;
    gate_close(m, GATE_MEMORY);
    loop_post(m->loop, make_changes, m);
}
