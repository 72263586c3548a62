/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tables.c - flat tables from guest page to host page.
 *
 * A SPACE is what one ring sees: a read and a write table, and the frame below
 * them, in one reservation without memory until touched:
 *
 *     stack for exit thunks | frame | write table 512 GiB | read table 512 GiB
 *
 * so that the frame and the write table are both addressed from rsp. Ring 0 has
 * one space. Ring 3 has one for each PCID that was used lately, so that coming
 * back to a process finds its translations (SDM vol. 3, 4.10.1); a bounded
 * number of them, as each takes a TiB of addresses. The head of the frame, all
 * but the jump table, is one page of memory under all of them: changing the
 * space changes no register.
 *
 * Journals of filled entries make a flush cost what was filled since the last
 * one, not the size of the table. They are apart by what is flushed apart:
 * global translations of ring 0 outlive a load of CR3, and parts of large pages
 * are kept by the gigabyte they lie in, because invalidating one address
 * invalidates all of such a page.
 */
#include "engine/dbt/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/bug.h"
#include "base/error.h"

#define TABLE_BYTES (1ull << 39)                     /* 2^36 pages of 8 bytes */
#define INDEX_MASK ((1ull << 36) - 1)
/* TOUCHED_MAX: pages of a table (512 entries each) that may have got memory
 * before a flush gives it back; with so many more, there is a flush. It counts some
 * twice. */
enum { STACK_BYTES = 64 * 1024, JOURNAL_MAX = 1 << 18, TOUCHED_MAX = 8192, TOUCHED_MORE = 24576,
       GIB_SHIFT = 18 };

static size_t head_bytes(void)
{
    return offsetof(struct dbt_frame, jump);
}

static size_t reservation_bytes(void)
{
    return STACK_BYTES + align_up(sizeof(struct dbt_frame), PAGE_SIZE) + 2 * TABLE_BYTES;
}

int32_t dbt_tables_write_disp(void)
{
    return (int32_t)align_up(sizeof(struct dbt_frame), PAGE_SIZE);
}

/* ---- journals ---------------------------------------------------------------- */

static void journal_flush(struct dbt_space *s, struct dbt_journal *j)
{
    for (size_t i = 0; i < j->count; i++)
        s->read[j->index[i]] = s->write[j->index[i]] = 0;
    j->count = 0;
}

/* Address space for the longest journal: vector state may be live, so nothing
 * here may call an allocator that copies. */
static uint64_t *journal_memory(void)
{
    void *p = mmap(NULL, JOURNAL_MAX * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static void journal_free(struct dbt_journal *j)
{
    if (j->index)
        munmap(j->index, JOURNAL_MAX * sizeof(uint64_t));
    j->index = NULL;
}

/* Entries may be in the journal twice (dbt_tables_flush_page), hence the limit. */
static void journal_add(struct dbt_space *s, struct dbt_journal *j, uint64_t index)
{
    if (j->count == JOURNAL_MAX)
        journal_flush(s, j);
    if (!j->count || (j->index[j->count - 1] ^ index) >> 9)
        s->touched++;
    j->index[j->count++] = index;
}

/* The journal for large pages of this gigabyte; the last one takes all that
 * found no place of their own. The first one has memory from the start. */
static struct dbt_journal *large_journal(struct dbt_space *s, uint64_t gib, bool global)
{
    struct dbt_large *l = s->large;

    for (unsigned i = 0; i < s->larges; i++, l++) {
        if (l->gib == gib && l->global == global)
            return &l->journal;
    }
    if (s->larges < DBT_LARGES_MAX && !l->journal.index)
        l->journal.index = journal_memory();
    if (s->larges < DBT_LARGES_MAX && l->journal.index) {
        l->gib = gib;
        l->global = global;
        s->larges++;
        return &l->journal;
    }
    l--;
    l->gib = UINT64_MAX;
    l->global = false;
    return &l->journal;
}

static struct dbt_journal *journal_for(struct dbt_space *s, uint64_t index, bool large,
                                       bool global)
{
    return large ? large_journal(s, index >> GIB_SHIFT, global) : &s->small[global];
}

/* ---- spaces ---------------------------------------------------------------- */

static void space_unmap(struct dbt_space *s)
{
    if (s->reservation)
        munmap(s->reservation, reservation_bytes());
    journal_free(&s->small[0]);
    journal_free(&s->small[1]);
    for (unsigned i = 0; i < DBT_LARGES_MAX; i++)
        journal_free(&s->large[i].journal);
    s->reservation = NULL;
}

static int space_map(struct dbt_tables *t, struct dbt_space *s)
{
    uint8_t *p = mmap(NULL, reservation_bytes(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return -errno;
    /* Transparent huge pages would turn every sparse entry into 2 MiB. */
    madvise(p, reservation_bytes(), MADV_NOHUGEPAGE);
    madvise(p, reservation_bytes(), MADV_DONTDUMP);
    if (mmap(p + STACK_BYTES, head_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
             t->head, 0) == MAP_FAILED) {
        int r = -errno;
        munmap(p, reservation_bytes());
        return r;
    }
    s->reservation = p;
    s->small[0].index = journal_memory();
    s->small[1].index = journal_memory();
    s->large[0].journal.index = journal_memory();       /* so that there is a last one */
    if (!s->small[0].index || !s->small[1].index || !s->large[0].journal.index) {
        space_unmap(s);
        return -ENOMEM;
    }
    s->frame = (struct dbt_frame *)(p + STACK_BYTES);
    s->write = (uint64_t *)(p + STACK_BYTES + dbt_tables_write_disp());
    s->read = s->write + TABLE_BYTES / 8;
    s->jumped = DBT_JUMPED_MAX + 1;
    return 0;
}

struct dbt_tables *dbt_tables_new(unsigned users_max, struct error **err)
{
    struct dbt_tables *t = calloc(1, sizeof *t);
    int r = 0;

    BUG_ON(!t);
    t->users_max = users_max < 1 ? 1 : users_max > DBT_USERS_MAX ? DBT_USERS_MAX : users_max;
    t->head = memfd_create("ring3-frame", MFD_CLOEXEC);
    if (t->head < 0 || ftruncate(t->head, (off_t)head_bytes()) < 0)
        r = -errno;
    if (r == 0)
        r = space_map(t, &t->kernel);
    if (r == 0)
        r = space_map(t, &t->user[0]);
    if (r < 0) {
        error_set(err, -r, "cannot reserve 2 TiB of address space for the translator's page "
                  "tables");
        error_hint(err, "raise the limit on virtual memory (ulimit -v unlimited), or use "
                   "--engine interp");
        dbt_tables_free(t);
        return NULL;
    }
    t->users = 1;
    t->now[DBT_RING_KERNEL] = &t->kernel;
    t->now[DBT_RING_USER] = &t->user[0];
    return t;
}

void dbt_tables_free(struct dbt_tables *t)
{
    if (!t)
        return;
    space_unmap(&t->kernel);
    for (unsigned i = 0; i < DBT_USERS_MAX; i++)
        space_unmap(&t->user[i]);
    if (t->head >= 0)
        close(t->head);
    free(t);
}

/* ---- jump tables ------------------------------------------------------------- */

static unsigned jump_filter(uint64_t page)
{
    return (unsigned)(page * 0x9e3779b97f4a7c15ull >> 52);
}

/* By gigabyte, which keeps the data of ring 3 apart from the code of ring 0. */
static uint64_t jump_gib(uint64_t page)
{
    return 1ull << ((page >> GIB_SHIFT) * 0x9e3779b97f4a7c15ull >> 58);
}

/* No address that code can be at. */
#define NOWHERE (1ull << 63)

static void jump_forget(struct dbt_space *s, struct dbt_jumped j, const struct dbt_thunks *thunks)
{
    s->frame->jump[j.at] = thunks->jump_miss;
    s->frame->jump2[j.at2] = (struct dbt_jump2){NOWHERE, thunks->jump2_miss};
}

static void jumps_forget_all(struct dbt_space *s, const struct dbt_thunks *thunks)
{
    for (unsigned i = 0; i < DBT_JUMPS; i++)
        s->frame->jump[i] = thunks->jump_miss;
    for (unsigned i = 0; i < DBT_JUMPS2; i++)
        s->frame->jump2[i] = (struct dbt_jump2){NOWHERE, thunks->jump2_miss};
}

void dbt_jumps_flush(struct dbt_space *s, const struct dbt_thunks *thunks)
{
    if (s->jumped > DBT_JUMPED_MAX)
        jumps_forget_all(s, thunks);
    for (unsigned i = 0; s->jumped <= DBT_JUMPED_MAX && i < s->jumped; i++)
        jump_forget(s, s->jump_index[i], thunks);
    s->jumped = s->jumped_local = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(s->jump_pages); i++)
        s->jump_pages[i] = 0;
    s->jump_gib = 0;
}

void dbt_jumps_flush_local(struct dbt_space *s, const struct dbt_thunks *thunks)
{
    if (s->jumped_local > DBT_JUMPED_LOCAL_MAX) {
        dbt_jumps_flush(s, thunks);
        return;
    }
    for (unsigned i = 0; i < s->jumped_local; i++)
        jump_forget(s, s->jump_local[i], thunks);
    s->jumped_local = 0;
}

void dbt_jumps_flush_page(struct dbt_space *s, gva_t page, const struct dbt_thunks *thunks)
{
    unsigned at = jump_filter(page.v >> PAGE_SHIFT);

    if (s->jump_gib & jump_gib(page.v >> PAGE_SHIFT) && s->jump_pages[at / 64] >> at % 64 & 1)
        dbt_jumps_flush(s, thunks);
}

static void jump_watch(struct dbt_space *s, gva_t page)
{
    unsigned at = jump_filter(page.v >> PAGE_SHIFT);

    s->jump_pages[at / 64] |= 1ull << at % 64;
    s->jump_gib |= jump_gib(page.v >> PAGE_SHIFT);
}

void dbt_jumps_add(struct dbt_space *s, const struct dbt_block *b, bool global,
                   const struct dbt_thunks *thunks)
{
    struct dbt_jumped j = {(uint16_t)dbt_jump_index(b->rip), (uint16_t)dbt_jump2_index(b->rip)};
    struct dbt_jump2 *second = &s->frame->jump2[j.at2];

    if ((s->frame->jump[j.at] == thunks->jump_miss || second->rip != b->rip) &&
        s->jumped <= DBT_JUMPED_MAX) {
        if (s->jumped < DBT_JUMPED_MAX)
            s->jump_index[s->jumped] = j;
        s->jumped++;
    }
    if (!global && s->jumped_local <= DBT_JUMPED_LOCAL_MAX) {
        if (s->jumped_local < DBT_JUMPED_LOCAL_MAX)
            s->jump_local[s->jumped_local] = j;
        s->jumped_local++;
    }
    jump_watch(s, gva(dbt_linear(b->mode, b->rip)));
    if (b->phys2)
        jump_watch(s, gva(dbt_linear(b->mode, b->rip) + PAGE_SIZE));
    s->frame->jump[j.at] = (uint64_t)(uintptr_t)b->host;
    *second = (struct dbt_jump2){b->rip, (uint64_t)(uintptr_t)b->body};
}

/* ---- filling and flushing ----------------------------------------------------- */

static void space_flush(struct dbt_space *s, bool global)
{
    if (s->touched > TOUCHED_MAX) {
        madvise(s->write, 2 * TABLE_BYTES, MADV_DONTNEED);
        s->small[0].count = s->small[1].count = 0;
        for (unsigned i = 0; i < s->larges; i++)
            s->large[i].journal.count = 0;
        s->touched = 0;
        return;
    }
    journal_flush(s, &s->small[0]);
    if (global)
        journal_flush(s, &s->small[1]);
    for (unsigned i = 0; i < s->larges; i++) {
        if (global || !s->large[i].global)
            journal_flush(s, &s->large[i].journal);
    }
}

void dbt_tables_fill(struct dbt_tables *t, enum dbt_ring ring, gva_t page, uintptr_t addend,
                     unsigned what)
{
    struct dbt_space *s = t->now[ring];
    uint64_t index = page.v >> PAGE_SHIFT & INDEX_MASK;
    bool global = what & DBT_FILL_GLOBAL;

    BUG_ON(!addend || (addend & PAGE_OFFSET_MASK));
    if (ring == DBT_RING_USER && global) {
        t->user_globals = true;
        global = false;         /* goes with the rest of its space */
    }
    if (s->touched > TOUCHED_MAX + TOUCHED_MORE)
        space_flush(s, true);
    if (!s->read[index] && !s->write[index])
        journal_add(s, journal_for(s, index, what & DBT_FILL_LARGE, global), index);
    if (what & DBT_FILL_READ)
        s->read[index] = addend;
    if (what & DBT_FILL_WRITE)
        s->write[index] = addend;
}

uintptr_t dbt_tables_at(const struct dbt_tables *t, enum dbt_ring ring, gva_t page, bool write)
{
    const struct dbt_space *s = t->now[ring];
    uint64_t index = page.v >> PAGE_SHIFT & INDEX_MASK;

    return write ? s->write[index] : s->read[index];
}

void dbt_tables_flush(struct dbt_tables *t)
{
    space_flush(&t->kernel, true);
    for (unsigned i = 0; i < t->users; i++)
        space_flush(&t->user[i], true);
    t->user_globals = false;
}

void dbt_tables_flush_local(struct dbt_tables *t)
{
    space_flush(&t->kernel, false);
}

void dbt_tables_flush_user(struct dbt_space *s)
{
    space_flush(s, true);
}

struct dbt_space *dbt_tables_user(struct dbt_tables *t, uint16_t pcid)
{
    for (unsigned i = 0; i < t->users; i++) {
        if (t->user[i].pcid == pcid)
            return &t->user[i];
    }
    return NULL;
}

/* A space for a PCID that has none: a new one, or the one unused for longest. */
static struct dbt_space *user_new(struct dbt_tables *t)
{
    struct dbt_space *oldest = &t->user[0];

    if (t->users < t->users_max && space_map(t, &t->user[t->users]) == 0)
        return &t->user[t->users++];
    for (unsigned i = 1; i < t->users; i++) {
        if (t->user[i].used < oldest->used)
            oldest = &t->user[i];
    }
    space_flush(oldest, true);
    return oldest;
}

bool dbt_tables_switch(struct dbt_tables *t, uint16_t pcid)
{
    struct dbt_space *s = t->now[DBT_RING_USER];
    bool kept = true;

    if (s->pcid != pcid) {
        s = dbt_tables_user(t, pcid);
        if (!s) {
            s = user_new(t);
            s->pcid = pcid;
            kept = false;
        }
        t->now[DBT_RING_USER] = s;
    }
    s->used = ++t->switches;
    return kept;
}

static void large_flush(struct dbt_space *s, uint64_t index)
{
    uint64_t gib = index >> GIB_SHIFT;

    for (unsigned i = 0; i < s->larges; i++) {
        if (s->large[i].gib == gib || s->large[i].gib == UINT64_MAX)
            journal_flush(s, &s->large[i].journal);
    }
}

/* The journal of small pages keeps the index: clearing it again later does no
 * harm. Pages of the table that were never filled stay without memory. */
void dbt_tables_flush_page(struct dbt_space *s, gva_t page)
{
    uint64_t index = page.v >> PAGE_SHIFT & INDEX_MASK;

    if (s->read[index] | s->write[index])
        s->read[index] = s->write[index] = 0;
    large_flush(s, index);
}

/* ---- code pages ----------------------------------------------------------------- */

/* Sign-extends the page to a canonical address. */
static uint64_t page_of(uint64_t index)
{
    return (uint64_t)((int64_t)(index << 28) >> 16);
}

static void journal_protect(struct dbt_space *s, const struct dbt_journal *j, uintptr_t host_page)
{
    for (size_t i = 0; i < j->count; i++) {
        uint64_t index = j->index[i];
        if (s->write[index] && page_of(index) + s->write[index] == host_page)
            s->write[index] = 0;
    }
}

static void space_protect(struct dbt_space *s, uintptr_t host_page)
{
    journal_protect(s, &s->small[0], host_page);
    journal_protect(s, &s->small[1], host_page);
    for (unsigned i = 0; i < s->larges; i++)
        journal_protect(s, &s->large[i].journal, host_page);
}

void dbt_tables_protect(struct dbt_tables *t, uintptr_t host_page)
{
    space_protect(&t->kernel, host_page);
    for (unsigned i = 0; i < t->users; i++)
        space_protect(&t->user[i], host_page);
}

static void journal_visit(const struct dbt_space *s, const struct dbt_journal *j,
                          void (*visit)(void *opaque, uintptr_t host_page), void *opaque)
{
    for (size_t i = 0; i < j->count; i++) {
        uint64_t index = j->index[i];
        if (s->write[index])
            visit(opaque, page_of(index) + s->write[index]);
    }
}

static void space_visit(const struct dbt_space *s,
                        void (*visit)(void *opaque, uintptr_t host_page), void *opaque)
{
    journal_visit(s, &s->small[0], visit, opaque);
    journal_visit(s, &s->small[1], visit, opaque);
    for (unsigned i = 0; i < s->larges; i++)
        journal_visit(s, &s->large[i].journal, visit, opaque);
}

void dbt_tables_visit_writable(const struct dbt_tables *t,
                               void (*visit)(void *opaque, uintptr_t host_page), void *opaque)
{
    space_visit(&t->kernel, visit, opaque);
    for (unsigned i = 0; i < t->users; i++)
        space_visit(&t->user[i], visit, opaque);
}
