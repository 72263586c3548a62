/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * console.h - the guest's first serial port on the user's terminal.
 *
 * Output goes through a pump (pump.h): a console nobody reads never holds up
 * the guest. Input is read by the machine's event loop and handed over as the
 * port has room, which says when: before the guest has set it up there is none.
 * What a guest does not take is kept, and beyond 4 KiB dropped on a terminal (so
 * that Ctrl-A x is always heard) or left in the pipe.
 *
 * On a terminal: raw mode, and the keys of keys.h. While the monitor prompt is
 * open, guest output is held back (1 MiB at most). Anything else on stdin is
 * passed through unchanged; its end is not the end of the guest.
 *
 * Life: console_new -> console_serial into the machine_config -> machine_new
 * -> console_start -> machine_run -> console_stop -> machine_free -> console_free.
 */
#ifndef RING3_CLI_CONSOLE_H
#define RING3_CLI_CONSOLE_H

#include "machine/machine.h"

struct console;
struct pump;

struct console_config {
    int in_fd;               /* not owned; -1: none */
    struct pump *out;        /* guest output; not owned */
    struct pump *ui;         /* prompt, help: the terminal; not owned */
};

struct console *console_new(const struct console_config *cfg);
struct machine_serial console_serial(struct console *c);
int console_start(struct console *c, struct machine *m, struct error **err);

void console_stop(struct console *c);     /* reads no more, restores the terminal */
void console_free(struct console *c);     /* the machine is gone, the pumps are not */

#endif
