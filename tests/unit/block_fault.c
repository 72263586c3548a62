/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block_fault.c - what reaches a file, and what comes back when it breaks: faults,
 * flushes by cache mode (counted below the format), locks between processes.
 */
#include <sys/wait.h>

#include "block_fixture.h"

static struct block *open_fault(struct fixture *f, const char *rules, enum block_cache cache)
{
    static char name[PATH_MAX + 128];

    make_file(in_dir(f, "disk"), 65536);
    snprintf(name, sizeof name, "fault:%s:%s", rules, f->name);
    return open_raw(f, name, cache);
}

static void test_errors(void **state)
{
    struct fixture f;
    char buf[512] = "x";

    fixture_init(&f, true);
    struct block *b = open_fault(&f, "write@2=ENOSPC,read@1,flush@1+=EIO,zero@1=late",
                                 BLOCK_WRITEBACK);
    assert_int_equal(do_rw(&f, b, BLOCK_READ, 0, buf, 512), -EIO);
    assert_int_equal(do_rw(&f, b, BLOCK_READ, 0, buf, 512), 0);
    memset(buf, 'x', sizeof buf);
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 0, buf, 512), 0);
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 512, buf, 512), -ENOSPC);
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 512, buf, 512), 0);
    assert_int_equal(do_op(&f, b, BLOCK_WRITE_ZEROES, 0, 512, 0), -EIO);
    assert_int_equal(block_read(b, 0, buf, 512), 0);
    assert_int_equal(buf[0], 0);
    assert_int_equal(do_op(&f, b, BLOCK_FLUSH, 0, 0, 0), -EIO);
    assert_int_equal(do_op(&f, b, BLOCK_FLUSH, 0, 0, 0), -EIO);
    assert_int_equal(block_fault_count(b, BLOCK_FLUSH), 2);
    assert_int_equal(block_fault_rules(b, "write@1=torn", &f.err), 0);
    memset(buf, 'y', sizeof buf);
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 0, buf, 512), -EIO);
    assert_int_equal(block_read(b, 0, buf, 512), 0);
    assert_int_equal(buf[255], 'y');
    assert_int_equal(buf[256], 0);

    /* A close that cannot make it durable says so. */
    assert_int_equal(block_fault_rules(b, "flush@1+=ENOSPC", &f.err), 0);
    assert_int_equal(block_close(b, &f.err), -ENOSPC);
    assert_non_null(strstr(f.err->what, "durable"));
    fixture_fini(&f);
}

static void test_bad_rules(void **state)
{
    static const char *const bad[] = {"write", "write@0", "rite@1", "write@1=", "write@1=EWHAT",
                                      "write@1x", "write@1=5", "@1"};
    struct fixture f;

    fixture_init(&f, true);
    make_file(in_dir(&f, "disk"), 512);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char name[PATH_MAX + 64];

        snprintf(name, sizeof name, "fault:%s:%s", bad[i], f.name);
        struct block_open how = {.name = name, .format = "raw"};
        assert_null(block_open(f.io, &how, &f.err));
        assert_int_equal(f.err->code, EINVAL);
        error_free(&f.err);
    }
    fixture_fini(&f);
}

/* A slow request holds up nobody else, and drain waits for it. */
static void test_delay(void **state)
{
    struct fixture f;
    char a[512] = "a", c[512] = "c";
    struct iovec ia = {a, 512};
    struct waited slow = {.r = {.op = BLOCK_WRITE, .bytes = 512, .iov = &ia, .iovs = 1,
                                .done = waited_done}};

    fixture_init(&f, true);
    struct block *b = open_fault(&f, "write@1=300ms", BLOCK_WRITEBACK);
    block_submit(b, &slow.r);
    usleep(50000);                   /* it is the first to arrive */
    assert_int_equal(do_rw(&f, b, BLOCK_WRITE, 4096, c, 512), 0);
    assert_false(slow.finished);
    assert_int_equal(block_in_flight(b), 1);
    block_drain(b);
    assert_true(slow.finished);
    assert_int_equal(slow.rc, 0);
    assert_int_equal(block_close(b, NULL), 0);
    fixture_fini(&f);
}

/* ---- in another process ----------------------------------------------------- */

/* This program again, as "open NAME" or "read NAME" (main() below): a thread sanitizer
 * wants no threads in a child that was forked and goes on. Its wait status. */
static int other_process(const char *verb, const char *name)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        execl("/proc/self/exe", "block_fault", verb, name, NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* Ends with 0, or with the code of what went wrong. */
static int be_other_process(const char *verb, const char *name)
{
    static char buf[512];
    struct error *err = NULL;
    struct loop *loop = loop_new(NULL);
    struct block_io *io = block_io_new_threads(loop, NULL, NULL);
    struct block_open how = {.name = name, .format = "raw", .readonly = strcmp(verb, "read") == 0};
    struct block *b = block_open(io, &how, &err);

    if (!b)
        return err->code;
    if (strcmp(verb, "write") != 0)
        return 0;
    memset(buf, 'z', sizeof buf);
    block_write(b, 0, buf, 512);
    block_write(b, 512, buf, 512);
    return 0;
}

static void test_kill(void **state)
{
    char name[PATH_MAX + 64], buf[512];
    struct fixture f;

    fixture_init(&f, false);
    make_file(in_dir(&f, "disk"), 65536);
    snprintf(name, sizeof name, "fault:write@2=tornkill:%s", f.name);
    int status = other_process("write", name);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    struct block *b = open_raw(&f, f.name, BLOCK_WRITEBACK);
    assert_non_null(b);              /* its lock died with it */
    assert_int_equal(block_read(b, 512, buf, 512), 0);
    assert_int_equal(buf[255], 'z');
    assert_int_equal(buf[256], 0);
    assert_int_equal(block_close(b, NULL), 0);
    fixture_fini(&f);
}

/* ---- locks ---------------------------------------------------------------- */

static int other_process_opens(const char *name, bool readonly)
{
    return WEXITSTATUS(other_process(readonly ? "read" : "open", name));
}

static void test_locks(void **state)
{
    struct fixture f;

    fixture_init(&f, false);
    make_file(in_dir(&f, "disk"), 4096);
    struct block_open rw = {.name = f.name, .format = "raw"};
    struct block_open ro = {.name = f.name, .format = "raw", .readonly = true};
    struct block_open look = {.name = f.name, .format = "raw", .readonly = true, .no_lock = true};

    struct block *writer = block_open(f.io, &rw, &f.err);
    assert_int_equal(other_process_opens(f.name, false), EBUSY);
    assert_int_equal(other_process_opens(f.name, true), EBUSY);
    assert_null(block_open(f.io, &rw, &f.err));          /* in this process, too */
    assert_int_equal(f.err->code, EBUSY);
    error_free(&f.err);
    struct block *looking = block_open(f.io, &look, &f.err);
    assert_non_null(looking);
    block_close(looking, NULL);
    assert_int_equal(other_process_opens(f.name, false), EBUSY);
    block_close(writer, NULL);

    struct block *reader = block_open(f.io, &ro, &f.err);
    assert_int_equal(other_process_opens(f.name, true), 0);
    assert_int_equal(other_process_opens(f.name, false), EBUSY);
    block_close(reader, NULL);
    assert_int_equal(other_process_opens(f.name, false), 0);
    fixture_fini(&f);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        _exit(be_other_process(argv[1], argv[2]));       /* with what it has open */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_bad_rules),
        cmocka_unit_test(test_delay),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_locks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
