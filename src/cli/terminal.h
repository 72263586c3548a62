/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * terminal.h - the user's terminal, given back on every way out; and signals.
 *
 * The terminal and the signal dispositions belong to the process, so the state
 * behind these functions is process-wide. All of it is touched by the main
 * thread and by signal handlers only.
 *
 * - terminal_raw() saves the mode and sets raw mode (output processing stays
 *   on, so that lines of the log look right). The mode is restored by
 *   terminal_restore(), at exit, by a BUG, by fatal signals, and around a stop
 *   (SIGTSTP); after SIGCONT raw mode is set again if we are in the foreground.
 * - SIGINT, SIGTERM and SIGHUP call `stop` once; a second one, or one while
 *   there is no `stop`, kills at once.
 */
#ifndef RING3_CLI_TERMINAL_H
#define RING3_CLI_TERMINAL_H

#include "base/types.h"

/* Before anything else installs handlers of fatal signals (base/fault.h passes
 * faults that are not its own on to those that were there before). */
void terminal_guard(void);

/* What the orderly signals do; async-signal-safe. NULL withdraws it. */
void terminal_on_stop(void (*stop)(void *opaque), void *opaque);

/* The signal that called `stop`, or 0. */
int terminal_stop_signal(void);

/* Restores the terminal and dies of that signal. */
void terminal_die(int signo);

/* `fd` is a terminal. 0 or -errno. */
int terminal_raw(int fd);
/* An eventfd that is readable when the terminal's size has changed since terminal_raw();
 * -1: there is none. Stays open. */
int terminal_size_fd(void);
void terminal_restore(void);       /* idempotent, async-signal-safe */

#endif
