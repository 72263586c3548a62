/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iothread.h - a thread with an event loop and a lock of its own.
 *
 * Devices that are asked to (iothread=on) are served here and not in the VM's
 * loop, so that a slow disk does not hold a vCPU up. Watch callbacks run with
 * the thread's lock held; posted work runs without it (base/loop.h).
 *
 * LOCK ORDER: VM lock, then an I/O thread's lock. A vCPU that resets a device
 * holds the first and takes the second. An I/O thread that needs the VM lock
 * (to raise an interrupt where no irqfd does it) therefore asks for it in
 * posted work, where it holds nothing.
 *
 * No timers: an I/O thread has no clock.
 */
#ifndef RING3_BASE_IOTHREAD_H
#define RING3_BASE_IOTHREAD_H

#include <pthread.h>
#include "base/types.h"

struct error;
struct iothread;
struct loop;

/* `name` (cut to 15 characters) is the thread's, in ps and gdb. All signals are
 * blocked in it. */
struct iothread *iothread_new(const char *name, struct error **err);
/* Ends and joins the thread. Nothing is watched any more. NULL ok. */
void iothread_free(struct iothread *t);

struct loop *iothread_loop(struct iothread *t);
pthread_mutex_t *iothread_lock(struct iothread *t);

#endif
