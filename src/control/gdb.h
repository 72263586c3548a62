/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gdb.h - GDB's remote protocol (GDB manual, appendix E) for one machine.
 *
 * One debugger at a time. The machine is paused from control_gdb_new() until a debugger
 * lets it go, and whenever one connects; it goes on when the debugger detaches or is gone.
 * Everything happens in the loop's thread; what a debugger does not read is kept up to a
 * bound, then it is dropped. Registers are described once, as those of a 64-bit processor,
 * whatever mode the guest is in, so that the description survives changes of mode.
 */
#ifndef RING3_CONTROL_GDB_H
#define RING3_CONTROL_GDB_H

#include "base/types.h"

struct error;
struct gdb;
struct machine;
struct strbuf;
struct x86_state;

/* `where`: "[HOST]:PORT" (HOST is 127.0.0.1 if not given) or the path of a Unix socket.
 * Before machine_run(). */
int control_gdb_new(const char *where, struct machine *m, struct gdb **out, struct error **err);
/* After machine_run() has returned. NULL is fine. */
void control_gdb_free(struct gdb *g);

/* Room-internal, gdb_regs.c. Bytes as hexadecimal digits, in the target's order. */
unsigned gdb_regs_count(void);
void gdb_regs_describe(struct strbuf *xml);
void gdb_reg_read(const struct x86_state *s, unsigned n, struct strbuf *hex);
/* False: not so many digits. Advances *hex. */
bool gdb_reg_write(struct x86_state *s, unsigned n, const char **hex);

#endif
