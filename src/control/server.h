/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * server.h - a running machine's commands over a Unix socket.
 *
 * PROTOCOL (docs/control.md): lines of JSON. The server greets; each request is a line
 * {"id": ANY, "words": ["keys", "root<ret>"]} or {"id": ANY, "command": "info devices"}
 * and gets a line {"id": ANY, "ok": BOOL, "text": TEXT}, in order.
 *
 * A thread of its own reads and writes, so nobody who connects can hold up the guest or
 * its devices; commands run one at a time in the machine's loop. A client may send what
 * it likes: lines are at most SERVER_LINE_MAX long, one that does not read its replies
 * gets no further requests done, and the client idle longest makes way when there are
 * more than SERVER_CLIENTS_MAX.
 */
#ifndef RING3_CONTROL_SERVER_H
#define RING3_CONTROL_SERVER_H

#include "base/types.h"
#include "control/place.h"

struct control_server;
struct error;
struct machine;

enum { SERVER_LINE_MAX = 65536, SERVER_CLIENTS_MAX = 16, SERVER_PROTOCOL = 1 };

/* Takes over *place (empty afterwards). -ENOSYS: built without jansson. */
int control_server_start(struct place *place, struct machine *m, const char *version,
                         struct control_server **out, struct error **err);
/* After machine_run() has returned, before machine_free(). NULL is fine. */
void control_server_stop(struct control_server *s);

#endif
