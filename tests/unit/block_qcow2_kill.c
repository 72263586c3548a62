/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block_qcow2_kill.c - a writer with many requests in flight, killed at random moments.
 *
 * Every block of the disk carries the number of the write that made it. What the writer
 * knew to be flushed, and what it had asked for, is in memory shared with the parent; after
 * the kill a block's number must lie between the two, and the image have no errors.
 * RING3_KILLS says how many kills (default 40).
 */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "block/tool.h"
#include "block_fixture.h"

enum { DISK_BYTES = 8 << 20, BLOCK_BYTES = 4096, BLOCKS = DISK_BYTES / BLOCK_BYTES, DEPTH = 16 };

struct shared {
    uint32_t asked[BLOCKS], flushed[BLOCKS], done[BLOCKS];
    uint32_t number;
};

struct slot {
    struct block_request r;
    struct iovec iov;
    struct shared *shared;
    uint32_t block, number;
    uint32_t *buf;
    bool busy;
};

static void write_done(struct block_request *r, int rc)
{
    struct slot *s = r->opaque;

    if (!rc)
        s->shared->done[s->block] = s->number;
    s->busy = false;
}

static void slot_write(struct block *b, struct slot *s, uint32_t block)
{
    struct shared *m = s->shared;

    s->block = block;
    s->number = ++m->number;
    for (unsigned i = 0; i < BLOCK_BYTES / 4; i++)
        s->buf[i] = s->number;
    __atomic_store_n(&m->asked[block], s->number, __ATOMIC_SEQ_CST);
    s->iov = (struct iovec){s->buf, BLOCK_BYTES};
    s->r = (struct block_request){.op = BLOCK_WRITE, .offset = (uint64_t)block * BLOCK_BYTES,
                                  .bytes = BLOCK_BYTES, .iov = &s->iov, .iovs = 1,
                                  .done = write_done, .opaque = s};
    s->busy = true;
    block_submit(b, &s->r);
}

static bool in_flight(const struct slot *slots, uint32_t block)
{
    for (unsigned i = 0; i < DEPTH; i++)
        if (slots[i].busy && slots[i].block == block)
            return true;
    return false;
}

/* Never returns: the parent kills it. */
static void writer(struct fixture *f, struct shared *m, unsigned seed)
{
    static struct slot slots[DEPTH];
    struct block_open how = {.name = f->name, .format = "qcow2"};
    struct block *b = block_open(f->io, &how, NULL);

    if (!b)
        _exit(1);
    for (unsigned i = 0; i < DEPTH; i++)
        slots[i] = (struct slot){.shared = m, .buf = aligned_alloc(4096, BLOCK_BYTES)};
    for (;;) {
        for (unsigned i = 0; i < DEPTH; i++) {
            uint32_t block = (uint32_t)rand_r(&seed) % BLOCKS;
            if (!slots[i].busy && !in_flight(slots, block))
                slot_write(b, &slots[i], block);
        }
        block_io_wait(f->io);
        if (rand_r(&seed) % 64)
            continue;
        static uint32_t before[BLOCKS];
        memcpy(before, m->done, sizeof before);
        if (block_flush(b))
            _exit(1);
        memcpy(m->flushed, before, sizeof before);
    }
}

static void verify(struct fixture *f, struct shared *m)
{
    struct block_open how = {.name = f->name, .format = "qcow2", .checking = true,
                             .readonly = true};
    struct block_check check;
    static uint32_t buf[BLOCK_BYTES / 4];

    /* The kernel lets go of a killed process's ring, and so of the lock, a little later. */
    struct block *b = block_open(f->io, &how, &f->err);
    for (unsigned i = 0; !b && f->err->code == EBUSY && i < 200; i++) {
        usleep(10000);
        error_free(&f->err);
        b = block_open(f->io, &how, &f->err);
    }
    if (!b)
        fail_msg("%s", f->err->what);
    assert_int_equal(block_check(b, 0, &check, &f->err), 0);
    assert_int_equal(check.corruptions, 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        assert_int_equal(block_read(b, (uint64_t)i * BLOCK_BYTES, buf, BLOCK_BYTES), 0);
        if (buf[0] < m->flushed[i] || buf[0] > m->asked[i])
            fail_msg("block %u has write %u; flushed was %u, asked for %u", i, buf[0],
                     m->flushed[i], m->asked[i]);
        /* What was not flushed counts as written once it was seen; so does what is not there. */
        m->done[i] = m->flushed[i] = m->asked[i] = buf[0];
    }
    block_close(b, NULL);
}

static void kills(void **state)
{
    const char *text = getenv("RING3_KILLS");
    unsigned count = text ? (unsigned)atoi(text) : 40;
    static const char *const options[] = {"", "cluster-size=4096,refcount-bits=64", "extended-l2",
                                          "cluster-size=512"};
    struct shared *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct fixture f;

    for (unsigned i = 0; i < count; i++) {
        fixture_init(&f, false);
        snprintf(f.name, sizeof f.name, "%s/a.qcow2", f.dir);
        memset(m, 0, sizeof *m);
        assert_int_equal(block_create(f.io, f.name, "qcow2", DISK_BYTES,
                                      options[i % ARRAY_SIZE(options)], 0, &f.err), 0);
        /* The child needs threads of its own: forked before any of ours is used. */
        for (unsigned again = 0; again < 4; again++, i++) {
            pid_t child = fork();
            if (child == 0) {
                struct fixture mine = f;
                mine.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
                pthread_mutex_lock(&mine.lock);
                mine.loop = loop_new(NULL);
                loop_attach(mine.loop, &mine.lock, NULL);
                mine.io = block_io_new(mine.loop, &mine.lock, NULL);
                writer(&mine, m, i);
            }
            usleep(5000 + (unsigned)rand() % 60000);
            kill(child, SIGKILL);
            int status;
            waitpid(child, &status, 0);
            assert_true(WIFSIGNALED(status));
            verify(&f, m);
        }
        i--;
        fixture_fini(&f);
    }
    munmap(m, sizeof *m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kills)};

#ifdef __SANITIZE_THREAD__
    printf("SKIP: the thread sanitizer knows no threads in a child process\n");
    return 77;
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
