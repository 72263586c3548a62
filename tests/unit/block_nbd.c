/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block_nbd.c - writing to an NBD server (nbdkit, where it is there): requests against
 * a model, several in flight, and a server that goes away and comes back.
 */
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "block_fixture.h"

enum { DISK = 1 << 20 };

struct server {
    char sock[128], url[PATH_MAX], store[128];
    pid_t pid;
};

/* Its data is in a file, so that a second one has what the first one flushed. */
static void server_start(struct server *s)
{
    struct stat st;

    unlink(s->sock);
    s->pid = fork();
    if (s->pid == 0) {
        execlp("nbdkit", "nbdkit", "-f", "-U", s->sock, "file", s->store, NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000 && stat(s->sock, &st) < 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static void server_stop(struct server *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
}

static bool can_run(struct fixture *f)
{
    struct block_open how = {.name = "nbd://127.0.0.1:1/", .format = "raw"};
    bool built_in;

    block_open(f->io, &how, &f->err);
    built_in = f->err && f->err->code != EPROTONOSUPPORT;
    error_free(&f->err);
    return built_in && system("nbdkit --version >/dev/null 2>&1") == 0;
}

/* With the context's lock held, or skipped. */
static struct block *begin(struct fixture *f, struct server *s)
{
    fixture_init(f, true);
    if (!can_run(f)) {
        fixture_fini(f);
        print_message("skipped: needs libnbd and nbdkit\n");
        skip();
    }
    snprintf(s->sock, sizeof s->sock, "%s/sock", f->dir);
    snprintf(s->store, sizeof s->store, "%s/disk", f->dir);
    snprintf(s->url, sizeof s->url, "nbd+unix:///?socket=%s", s->sock);
    make_file(s->store, DISK);
    server_start(s);
    struct block *b = open_raw(f, s->url, BLOCK_WRITEBACK);
    assert_non_null(b);
    return b;
}

static void test_model(void **state)
{
    static uint8_t model[DISK], buf[70000], whole[DISK];
    struct fixture f;
    struct server s;
    struct block *b = begin(&f, &s);
    unsigned seed = 7;

    for (int i = 0; i < 300; i++) {
        uint64_t offset = (uint64_t)rand_r(&seed) % DISK;
        size_t bytes = min_u64((uint64_t)rand_r(&seed) % sizeof buf, DISK - offset);
        size_t cut = bytes / 3;
        struct iovec iov[2] = {{buf, cut}, {buf + cut, bytes - cut}};
        unsigned kind = (unsigned)rand_r(&seed) % 4;
        struct block_request r = {.offset = offset, .bytes = bytes, .iov = iov, .iovs = 2,
                                  .flags = (unsigned)rand_r(&seed) % 4};
        r.op = kind == 0 ? BLOCK_READ : kind == 1 ? BLOCK_WRITE_ZEROES : BLOCK_WRITE;
        memset(buf, i, bytes);
        assert_int_equal(do_request(&f, b, r), 0);
        if (r.op == BLOCK_READ)
            assert_memory_equal(buf, model + offset, bytes);
        else
            memset(model + offset, r.op == BLOCK_WRITE ? i : 0, bytes);
    }
    assert_int_equal(do_op(&f, b, BLOCK_FLUSH, 0, 0, 0), 0);
    assert_int_equal(do_op(&f, b, BLOCK_DISCARD, 0, 65536, 0), 0);
    memset(model, 0, 65536);
    assert_int_equal(block_read(b, 0, whole, DISK), 0);
    assert_memory_equal(whole, model, DISK);
    assert_int_equal(block_close(b, NULL), 0);
    server_stop(&s);
    fixture_fini(&f);
}

static void test_many(void **state)
{
    enum { MANY = 64 };
    static struct waited w[MANY];
    static char data[MANY][4096], back[4096];
    static struct iovec iov[MANY];
    struct fixture f;
    struct server s;
    struct block *b = begin(&f, &s);

    for (unsigned i = 0; i < MANY; i++) {
        memset(data[i], (int)i + 1, sizeof data[i]);
        iov[i] = (struct iovec){data[i], sizeof data[i]};
        w[i] = (struct waited){.r = {.op = BLOCK_WRITE, .offset = i * 4096ull, .bytes = 4096,
                                     .iov = &iov[i], .iovs = 1, .done = waited_done}};
        block_submit(b, &w[i].r);
    }
    block_drain(b);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(w[i].rc, 0);
        assert_int_equal(block_read(b, i * 4096ull, back, 4096), 0);
        assert_memory_equal(back, data[i], 4096);
    }
    assert_int_equal(block_close(b, NULL), 0);
    server_stop(&s);
    fixture_fini(&f);
}

/* While it is away requests fail; when it is back they work, and the next flush says
 * that something may be missing: once. */
static void test_server_dies(void **state)
{
    char buf[512] = "x";
    struct fixture f;
    struct server s;
    struct block *b = begin(&f, &s);

    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 0, buf, 512), 0);
    server_stop(&s);
    unlink(s.sock);
    assert_int_equal(do_rw(&f, b, BLOCK_READ, 0, buf, 512), -EIO);
    server_start(&s);
    assert_int_equal(do_rw(&f, b, BLOCK_READ, 0, buf, 512), 0);
    assert_int_equal(do_op(&f, b, BLOCK_FLUSH, 0, 0, 0), -EIO);
    assert_int_equal(do_op(&f, b, BLOCK_FLUSH, 0, 0, 0), 0);
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 0, buf, 512), 0);
    assert_int_equal(do_op(&f, b, BLOCK_FLUSH, 0, 0, 0), 0);
    assert_int_equal(block_close(b, NULL), 0);
    server_stop(&s);

    /* Another disk under the same name is not this one. */
    server_start(&s);
    b = open_raw(&f, s.url, BLOCK_WRITEBACK);
    assert_non_null(b);
    server_stop(&s);
    make_file(s.store, 2 * DISK);
    server_start(&s);
    assert_int_equal(do_rw(&f, b, BLOCK_READ, 0, buf, 512), -EIO);
    assert_int_equal(block_close(b, NULL), -EIO);
    server_stop(&s);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_server_dies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
