/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * terminal.c - raw mode and its way back; what signals do.
 *
 * Handlers use only async-signal-safe calls; tcsetattr, tcgetpgrp, sigaction
 * and raise are (POSIX.1-2017, 2.4.3).
 */
#include "cli/terminal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/bug.h"

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGQUIT,
                                    SIGSYS, SIGXCPU};
static const int stop_signals[] = {SIGINT, SIGTERM, SIGHUP};

/* Process-wide; see terminal.h. */
static struct {
    int fd, size_fd;
    struct termios saved, raw;
    _Atomic bool wanted;           /* raw mode is ours to set */
    _Atomic bool active;           /* the terminal is in it now */
    bool at_exit;
    struct sigaction previous[ARRAY_SIZE(fatal_signals)];
    void (*_Atomic stop)(void *opaque);
    void *stop_opaque;
    volatile sig_atomic_t stop_signal;
} terminal = {.fd = -1, .size_fd = -1};

void terminal_restore(void)
{
    int saved_errno = errno;

    atomic_store(&terminal.wanted, false);
    if (atomic_exchange(&terminal.active, false))
        tcsetattr(terminal.fd, TCSANOW, &terminal.saved);
    errno = saved_errno;
}

static void set_default_and_raise(int signo)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t set;

    sigaction(signo, &dfl, NULL);
    raise(signo);
    sigemptyset(&set);
    sigaddset(&set, signo);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void terminal_die(int signo)
{
    terminal_restore();
    set_default_and_raise(signo);
}

/* Back to whoever was there before us (a sanitizer, the default), and again:
 * a fault happens again by itself, a signal that was sent is sent again. */
static void on_fatal(int signo, siginfo_t *info, void *context)
{
    terminal_restore();
    for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++)
        if (fatal_signals[i] == signo)
            sigaction(signo, &terminal.previous[i], NULL);
    if (info->si_code <= 0)
        raise(signo);
}

static void on_stop(int signo)
{
    void (*stop)(void *) = atomic_load(&terminal.stop);

    if (!stop || terminal.stop_signal) {
        terminal_die(signo);
        return;
    }
    terminal.stop_signal = signo;
    stop(terminal.stop_opaque);
}

/* From the background tcsetattr would only get us stopped (SIGTTOU). */
static void enter_raw(void)
{
    if (tcgetpgrp(terminal.fd) == getpgrp() &&
        tcsetattr(terminal.fd, TCSANOW, &terminal.raw) == 0)
        atomic_store(&terminal.active, true);
}

static void on_continue(int signo)
{
    int saved_errno = errno;

    if (atomic_load(&terminal.wanted))
        enter_raw();
    errno = saved_errno;
}

static void install(int signo, void (*handler)(int))
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};

    sigaction(signo, &sa, NULL);
}

/* Give the terminal back, stop, and set raw mode again when woken. The SIGCONT
 * handler does that too, for a SIGSTOP nobody could catch. */
static void on_terminal_stop(int signo)
{
    int saved_errno = errno;
    bool wanted = atomic_load(&terminal.wanted);

    terminal_restore();
    atomic_store(&terminal.wanted, wanted);
    set_default_and_raise(signo);
    install(signo, on_terminal_stop);
    if (wanted)
        enter_raw();    /* an orphaned process group was not even stopped */
    errno = saved_errno;
}

void terminal_guard(void)
{
    struct sigaction sa = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction old;

    for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++)
        sigaction(fatal_signals[i], &sa, &terminal.previous[i]);
    for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++) {
        /* nohup and shells' background jobs ignore some: leave it so. */
        if (sigaction(stop_signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
            continue;
        install(stop_signals[i], on_stop);
    }
    bug_hook(terminal_restore);
}

void terminal_on_stop(void (*stop)(void *opaque), void *opaque)
{
    atomic_store(&terminal.stop, NULL);
    terminal.stop_opaque = opaque;
    atomic_store(&terminal.stop, stop);
}

int terminal_stop_signal(void)
{
    return terminal.stop_signal;
}

static void on_size(int signo)
{
    const uint64_t one = 1;
    int saved_errno = errno;

    if (write(terminal.size_fd, &one, sizeof one) < 0)
        errno = saved_errno;             /* it is readable as it is */
}

int terminal_size_fd(void)
{
    return terminal.size_fd;
}

int terminal_raw(int fd)
{
    if (tcgetattr(fd, &terminal.saved) < 0)
        return -errno;
    terminal.fd = fd;
    terminal.raw = terminal.saved;
    cfmakeraw(&terminal.raw);
    terminal.raw.c_oflag = terminal.saved.c_oflag;
    if (!terminal.at_exit)
        atexit(terminal_restore);
    terminal.at_exit = true;
    atomic_store(&terminal.wanted, true);
    install(SIGCONT, on_continue);
    install(SIGTSTP, on_terminal_stop);
    /* In the background a read fails instead of stopping the guest. */
    install(SIGTTIN, SIG_IGN);
    if (terminal.size_fd < 0)
        terminal.size_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (terminal.size_fd >= 0)
        install(SIGWINCH, on_size);
    enter_raw();
    return 0;
}
