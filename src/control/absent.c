/* SPDX-License-Identifier: GPL-2.0-or-later */
/* absent.c - server.h and client.h in a ring3 built without jansson. */
#include <errno.h>

#include "base/error.h"
#include "control/client.h"
#include "control/server.h"

static int absent(struct error **err)
{
    error_set(err, ENOSYS, "this ring3 was built without jansson: it has no control sockets");
    return -ENOSYS;
}

int control_server_start(struct place *place, struct machine *m, const char *version,
                         struct control_server **out, struct error **err)
{
    return absent(err);
}

void control_server_stop(struct control_server *s) {}

int control_connect(const char *name, struct control_client **out, struct error **err)
{
    return absent(err);
}

void control_disconnect(struct control_client *c) {}

int control_pid(const struct control_client *c)
{
    return 0;
}

int control_call(struct control_client *c, int argc, const char *const *argv, struct strbuf *text,
                 struct error **err)
{
    return absent(err);
}

void control_wait_end(struct control_client *c) {}

int control_list(struct strbuf *out, struct error **err)
{
    return absent(err);
}
