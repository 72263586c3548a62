/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cli_terminal.c - the terminal is given back whatever ends the process.
 *
 * Each case runs in a child whose controlling terminal is a pty of ours; the
 * mode is read from our side after the child has gone. That works because the
 * pty outlives the child as long as we hold it.
 */
#include "unit.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/fault.h"
#include "cli/terminal.h"

enum { READY = 'r', AGAIN = 'a' };

struct fixture {
    int ours, theirs;         /* the two ends of the pty */
    int pipe[2];              /* the child says where it is */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (openpty(&f->ours, &f->theirs, NULL, NULL, NULL) < 0) {
        print_message("no pseudo-terminal: %s\n", strerror(errno));
        exit(77);
    }
    assert_int_equal(pipe(f->pipe), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close(f->ours);
    close(f->theirs);
    close(f->pipe[0]);
    close(f->pipe[1]);
    free(f);
    return 0;
}

static bool is_raw(struct fixture *f)
{
    struct termios t;

    assert_int_equal(tcgetattr(f->theirs, &t), 0);
    bool raw = !(t.c_lflag & (ICANON | ECHO | ISIG));
    bool cooked = (t.c_lflag & (ICANON | ECHO | ISIG)) == (ICANON | ECHO | ISIG);
    assert_true(raw != cooked);
    assert_true(t.c_oflag & OPOST);    /* lines of the log look right in both */
    return raw;
}

static void say(struct fixture *f, char what)
{
    if (write(f->pipe[1], &what, 1) != 1)
        _exit(99);
}

static void hear(struct fixture *f, char what)
{
    char c = 0;

    assert_int_equal(read(f->pipe[0], &c, 1), 1);
    assert_int_equal(c, what);
}

/* A session leader in raw mode on our pty, running `body`. */
static pid_t start(struct fixture *f, void (*body)(struct fixture *f))
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid)
        return pid;
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    setsid();
    ioctl(f->theirs, TIOCSCTTY, 0);
    for (int signo = 1; signo < 32; signo++)    /* cmocka's and the harness's are not ours */
        signal(signo, SIG_DFL);
    close(f->ours);
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    terminal_guard();
    if (terminal_raw(f->theirs) < 0)
        _exit(98);
    body(f);
    exit(0);
}

static int ended(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void wait_for_signals(struct fixture *f)
{
    say(f, READY);
    for (;;)
        pause();
}

static void signals_that_kill(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGSEGV, SIGABRT, SIGBUS,
                                  SIGFPE, SIGILL, SIGTRAP, SIGXCPU};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        pid_t pid = start(f, wait_for_signals);
        hear(f, READY);
        assert_true(is_raw(f));
        kill(pid, signals[i]);
        int status = ended(pid);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != signals[i])
            fail_msg("signal %d: wait status %#x", signals[i], status);
        if (is_raw(f))
            fail_msg("signal %d left the terminal raw", signals[i]);
    }
}

static void leave_by_exit(struct fixture *f)
{
    say(f, READY);
}

static void leave_by_bug(struct fixture *f)
{
    say(f, READY);
    BUG("for the test");
}

static void leave_by_fault(struct fixture *f)
{
    say(f, READY);
    fault_install(NULL);
    fault_thread_init(NULL);
    __asm__ volatile("ud2");
}

static void leave_by_abort(struct fixture *f)
{
    say(f, READY);
    abort();
}

static void our_own_ways_out(void **state)
{
    struct fixture *f = *state;
    static const struct { void (*body)(struct fixture *); int signo; } ways[] = {
        {leave_by_exit, 0}, {leave_by_bug, SIGABRT}, {leave_by_fault, SIGILL},
        {leave_by_abort, SIGABRT},
    };

    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        pid_t pid = start(f, ways[i].body);
        hear(f, READY);
        int status = ended(pid);
        if (ways[i].signo)
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == ways[i].signo);
        else
            assert_int_equal(status, 0);
        assert_false(is_raw(f));
    }
}

static void on_stop(void *opaque)
{
    say(opaque, AGAIN);
}

static void wait_orderly(struct fixture *f)
{
    terminal_on_stop(on_stop, f);
    wait_for_signals(f);
}

/* The first signal asks, the second one kills. */
static void orderly_signals_ask_first(void **state)
{
    struct fixture *f = *state;
    pid_t pid = start(f, wait_orderly);

    hear(f, READY);
    kill(pid, SIGTERM);
    hear(f, AGAIN);
    assert_true(is_raw(f));
    kill(pid, SIGINT);
    int status = ended(pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    assert_false(is_raw(f));
}

static void report_and_die(struct fixture *f)
{
    terminal_on_stop(on_stop, f);
    say(f, READY);
    while (!terminal_stop_signal())
        usleep(1000);
    terminal_die(terminal_stop_signal());
}

static void orderly_end_dies_of_the_signal(void **state)
{
    struct fixture *f = *state;
    pid_t pid = start(f, report_and_die);

    hear(f, READY);
    kill(pid, SIGHUP);
    int status = ended(pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
    assert_false(is_raw(f));
}

static void wait_in_raw_mode(struct fixture *f)
{
    struct termios t;

    /* The SIGCONT handler may run a moment after the process was continued. */
    do
        tcgetattr(f->theirs, &t);
    while (t.c_lflag & ICANON);
}

static void stop_twice(struct fixture *f)
{
    say(f, READY);
    raise(SIGTSTP);
    wait_in_raw_mode(f);
    say(f, AGAIN);
    raise(SIGSTOP);
    wait_in_raw_mode(f);
    say(f, AGAIN);
    for (;;)
        pause();
}

/* What a shell sees of a job that is stopped, twice, and then killed; 0 or the
 * number of the step that failed. A process that is to be stopped by SIGTSTP
 * needs a parent in its session, which is why this is a process of its own. */
static int shell_session(struct fixture *f)
{
    int status;
    char c;

    setsid();
    ioctl(f->theirs, TIOCSCTTY, 0);
    signal(SIGTTOU, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        tcsetpgrp(f->theirs, getpid());
        terminal_guard();
        if (terminal_raw(f->theirs) < 0)
            _exit(98);
        stop_twice(f);
    }
    if (read(f->pipe[0], &c, 1) != 1 || waitpid(pid, &status, WUNTRACED) != pid)
        return 1;
    if (!WIFSTOPPED(status) || is_raw(f))
        return 2;
    kill(pid, SIGCONT);
    if (read(f->pipe[0], &c, 1) != 1 || c != AGAIN || !is_raw(f))
        return 3;
    if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
        return 4;
    kill(pid, SIGWINCH);
    kill(pid, SIGCONT);
    if (read(f->pipe[0], &c, 1) != 1 || c != AGAIN || !is_raw(f))
        return 5;
    kill(pid, SIGTERM);
    if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || is_raw(f))
        return 6;
    return 0;
}

/* Stopped: the shell's terminal. Continued: raw again. SIGWINCH changes nothing. */
static void stop_and_continue(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(shell_session(f));
    int status = ended(pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void orphan_is_not_stopped(struct fixture *f)
{
    raise(SIGTSTP);
    say(f, READY);
    for (;;)
        pause();
}

static void a_stop_that_is_ignored(void **state)
{
    struct fixture *f = *state;
    pid_t pid = start(f, orphan_is_not_stopped);

    hear(f, READY);
    assert_true(is_raw(f));
    kill(pid, SIGTERM);
    ended(pid);
    assert_false(is_raw(f));
}

static void not_a_terminal(void **state)
{
    int fd = open("/dev/null", O_RDWR);

    assert_int_equal(terminal_raw(fd), -ENOTTY);
    terminal_restore();
    close(fd);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(signals_that_kill),
        TEST(our_own_ways_out),
        TEST(orderly_signals_ask_first),
        TEST(orderly_end_dies_of_the_signal),
        TEST(stop_and_continue),
        TEST(a_stop_that_is_ignored),
        cmocka_unit_test(not_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
