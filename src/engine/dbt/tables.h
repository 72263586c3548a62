/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tables.h - the address tables and jump tables of one vCPU.
 *
 * Entries may only go missing, never be wrong: whoever changes what a
 * translation would be calls a flush first (engine.c, system.c). Flushing more
 * than was asked for is always allowed. All of this belongs to the vCPU's
 * thread. See tables.c for what is where.
 */
#ifndef RING3_ENGINE_DBT_TABLES_H
#define RING3_ENGINE_DBT_TABLES_H

#include "engine/dbt/dbt.h"

enum {
    DBT_USERS_MAX = 7,          /* PCIDs: what Linux uses (6), and 0 */
    DBT_LARGES_MAX = 32,
    DBT_JUMPED_MAX = 8192,
    DBT_JUMPED_LOCAL_MAX = 64,
};

struct dbt_journal {
    uint64_t *index;
    size_t count;
};

struct dbt_large {
    uint64_t gib;               /* UINT64_MAX: any */
    bool global;
    struct dbt_journal journal;
};

struct dbt_space {
    uint8_t *reservation;
    struct dbt_frame *frame;
    uint64_t *write, *read;
    struct dbt_journal small[2];            /* [1]: global ones */
    struct dbt_large large[DBT_LARGES_MAX];
    unsigned larges;
    size_t touched;
    uint16_t pcid;
    uint64_t used;                          /* when, in switches */
    uint32_t mode;                          /* the mode key that the jump table is for */
    /* Entries of the jump table that are not empty, and of these the ones whose
     * page is not global; beyond the limit: all. */
    unsigned jumped, jumped_local;
    struct dbt_jumped { uint16_t at, at2; } jump_index[DBT_JUMPED_MAX],
                                           jump_local[DBT_JUMPED_LOCAL_MAX];
    uint64_t jump_pages[64], jump_gib;      /* hashed: which pages and gigabytes they lie in */
};

struct dbt_tables {
    struct dbt_space kernel, user[DBT_USERS_MAX];
    struct dbt_space *now[DBT_RINGS];
    unsigned users, users_max;
    int head;                               /* memfd: the shared part of the frames */
    uint64_t switches;
    bool user_globals;                      /* some user space has entries that are global */
};

enum { DBT_FILL_READ = 1, DBT_FILL_WRITE = 2, DBT_FILL_LARGE = 4, DBT_FILL_GLOBAL = 8 };

struct dbt_tables *dbt_tables_new(unsigned users_max, struct error **err);
void dbt_tables_free(struct dbt_tables *t);

static inline struct dbt_frame *dbt_tables_frame(const struct dbt_tables *t, enum dbt_ring ring)
{
    return t->now[ring]->frame;
}
static inline void *dbt_tables_read_base(const struct dbt_tables *t, enum dbt_ring ring)
{
    return t->now[ring]->read;
}

/* `page` may be part of a page larger than 4 KiB (LARGE). */
void dbt_tables_fill(struct dbt_tables *t, enum dbt_ring ring, gva_t page, uintptr_t addend,
                     unsigned what);
/* The addend in the table, or 0. */
uintptr_t dbt_tables_at(const struct dbt_tables *t, enum dbt_ring ring, gva_t page, bool write);

void dbt_tables_flush(struct dbt_tables *t);                /* everything */
void dbt_tables_flush_local(struct dbt_tables *t);          /* ring 0, all but global ones */
void dbt_tables_flush_user(struct dbt_space *s);
/* With whatever belongs to the same large page: see x86_tlb_flush_page. */
void dbt_tables_flush_page(struct dbt_space *s, gva_t page);
/* Takes write permission from every entry that leads to this host page. */
void dbt_tables_protect(struct dbt_tables *t, uintptr_t host_page);
/* Every page that may be stored to by an entry; some more than once. */
void dbt_tables_visit_writable(const struct dbt_tables *t,
                               void (*visit)(void *opaque, uintptr_t host_page), void *opaque);

/* The space of a PCID, if it has one. */
struct dbt_space *dbt_tables_user(struct dbt_tables *t, uint16_t pcid);
/* Makes it ring 3's. False: it is a fresh one; its jump table needs a flush. */
bool dbt_tables_switch(struct dbt_tables *t, uint16_t pcid);

/* Jump tables. The thunks are what empty entries hold. */
void dbt_jumps_flush(struct dbt_space *s, const struct dbt_thunks *thunks);
void dbt_jumps_flush_local(struct dbt_space *s, const struct dbt_thunks *thunks);
void dbt_jumps_flush_page(struct dbt_space *s, gva_t page, const struct dbt_thunks *thunks);
void dbt_jumps_add(struct dbt_space *s, const struct dbt_block *b, bool global,
                   const struct dbt_thunks *thunks);

#endif
