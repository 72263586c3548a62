/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hypercall_priv.h - between hypercall.c (ports) and hypercall_calls.c (calls). */
#ifndef RING3_DEVICE_HYPERCALL_PRIV_H
#define RING3_DEVICE_HYPERCALL_PRIV_H

#include <pthread.h>

#include "base/log.h"
#include "bus/claims.h"
#include "device/hypercall.h"

enum { HYPERCALL_PORTS_MAX = 16 };

struct hypercalls {
    struct device dev;
    struct hypercall_config config;
    struct memory *memory;
    struct bus *bus;
    struct clock *clock;
    struct log *log;
    struct power_line power;
    pthread_mutex_t *lock;                       /* the VM's */
    uint8_t *registers;                          /* what the guest reads there; NULL: no page */
    uint16_t claimed[HYPERCALL_PORTS_MAX];
    unsigned claims;
    uint8_t row_of_port[0x10000];                /* row + 1, 0: not ours */
    struct log_limit wrong;
    /* State. Words of a vCPU are its thread's. */
    _Atomic uint64_t page;                       /* guest-physical address of the shared page */
    uint32_t result[HYPERCALL_CPUS_MAX];
    uint32_t hva[HYPERCALL_CPUS_MAX];            /* of the last gvaToHva */
};

/* Makes the call with that number for a vCPU; what it gives is the guest's result. */
uint32_t hypercall_do(struct hypercalls *h, unsigned vcpu, uint32_t number);
void hypercall_print(struct hypercalls *h, const void *data, size_t len);   /* no lock held */

#endif
