/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host.h - what the translator needs from a host, and makes do with (host.c).
 *
 * Nothing about the host is asked for anywhere else, so that --host-features can
 * hide it and every fallback can be tested on a host that has everything.
 */
#ifndef RING3_ENGINE_DBT_HOST_H
#define RING3_ENGINE_DBT_HOST_H

#include <asm/prctl.h>
#include <sys/syscall.h>

#include "engine/dbt/emit.h"
#include "engine/engine.h"

struct dbt_host {
    struct emit_host emit;
    bool fsgsbase;                          /* WRGSBASE works; else a system call does */
    bool fxsave;                            /* no XSAVE: x87 and SSE state only */
    bool xsavec;                            /* XSAVE with the compacted form */
    uint64_t components;                    /* XCR0 bits of the state that is switched */
};

void dbt_probe(struct engine_probe *out);
/* `hidden` (may be NULL): CPU features that the host is to lack. */
void dbt_host_init(struct dbt_host *h, const struct x86_features *hidden);

/* Here because it may touch no vector register. */
static inline void dbt_host_set_gs(const struct dbt_host *h, uint64_t base)
{
    long nr = SYS_arch_prctl;

    if (likely(h->fsgsbase))
        __asm__ volatile("wrgsbase %0" : : "r"(base));
    else
        __asm__ volatile("syscall" : "+a"(nr) : "D"((long)ARCH_SET_GS), "S"(base)
                         : "rcx", "r11", "memory");
}

#endif
