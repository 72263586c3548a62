/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cli.h - the front door: verbs, and how the process ends.
 *
 * main.c picks a verb and calls cmd_VERB(argc, argv) with argv[0] being the
 * verb itself; what it returns is the exit status. Each verb lives in the file
 * of its name. Messages for the user are one line, "ring3: ..." on stderr.
 */
#ifndef RING3_CLI_CLI_H
#define RING3_CLI_CLI_H

#include "base/types.h"

struct error;
struct option;

/* Exit statuses: the one list, also printed by `ring3 run --help` and
 * checked against the man page. Those of ring3 are even: odd ones belong to
 * the guest, whose debug-exit port ends the process with (value << 1) | 1.
 * A fatal signal kills the process (a shell shows 128 + its number). */
#define CLI_STATUSES(X)                                                                     \
    X(OK,            0, "the guest powered itself off")                                     \
    X(USAGE,        64, "the command line is wrong")                                        \
    X(CANNOT_START, 66, "a file or the host does not let the guest start")                  \
    X(HOST_FAILED,  68, "the host failed while the guest ran (engine, full disk, closed pipe)") \
    X(RESET,        80, "the guest asked for a reset and --no-reboot was given")            \
    X(TRIPLE_FAULT, 82, "the guest's processor shut down (triple fault)")                   \
    X(PANIC,        84, "the guest reported a panic")                                       \
    X(STOPPED,      86, "the user stopped the guest (Ctrl-A x, the monitor's quit)")

enum cli_status {
#define X(id, status, help) CLI_##id = status,
    CLI_STATUSES(X)
#undef X
};

#define CLI_STATUS_ODD_HELP "the guest's own: it wrote v to the debug-exit port, (v << 1) | 1"
#define CLI_STATUS_SIGNAL_HELP "signal n ended ring3"

struct cli_verb {
    const char *name, *summary;
    int (*run)(int argc, char **argv);   /* knows --help */
};

extern const struct cli_verb cli_verbs[];     /* ends with a NULL name */

int cmd_run(int argc, char **argv);
int cmd_share(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_keys(int argc, char **argv);
int cmd_screen_text(int argc, char **argv);
int cmd_screenshot(int argc, char **argv);
int cmd_monitor(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_help(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* Prints "ring3: ..." for *err, frees it, returns `status`. */
int cli_fail(int status, struct error **err);

/* Flushes what the verb printed; CLI_HOST_FAILED with a line when that fails
 * (full disk, closed pipe), else CLI_OK. Verbs that print end with it. */
int cli_finish_output(void);

/* What `ring3 VERB --help` prints: usage line, summary, options. */
void cli_print_usage(const char *verb, const struct option *options);
void cli_print_statuses(void);

#endif
