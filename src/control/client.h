/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client.h - the other end of server.h: one blocking connection to a machine.
 */
#ifndef RING3_CONTROL_CLIENT_H
#define RING3_CONTROL_CLIENT_H

#include "base/types.h"

struct control_client;
struct error;
struct strbuf;

/* -ENOENT: no machine of that name runs. -ENOSYS: built without jansson. */
int control_connect(const char *name, struct control_client **out, struct error **err);
void control_disconnect(struct control_client *c);
int control_pid(const struct control_client *c);
/* Runs a command given as words, or (argc 0) as the line argv[0]. 1: it went well, 0: the
 * machine refused; `text` is what it said. Negative: the connection failed; -ECONNRESET
 * when the machine has ended. */
int control_call(struct control_client *c, int argc, const char *const *argv, struct strbuf *text,
                 struct error **err);
/* Until the machine has ended. */
void control_wait_end(struct control_client *c);
/* Names and process numbers of all machines that answer, a line each. */
int control_list(struct strbuf *out, struct error **err);

#endif
