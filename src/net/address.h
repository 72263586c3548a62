/* SPDX-License-Identifier: GPL-2.0-or-later */
/* address.h - room-internal: "HOST:PORT", "[::1]:PORT", "unix:PATH" or "/PATH" as sockets. */
#ifndef RING3_NET_ADDRESS_H
#define RING3_NET_ADDRESS_H

#include <sys/socket.h>
#include "base/types.h"

struct error;

struct address {
    struct sockaddr_storage at;
    socklen_t len;
};

int address_parse(struct address *a, const char *text, struct error **err);
/* The path of a Unix socket, else NULL. */
const char *address_path(const struct address *a);
/* A bound, non-blocking socket; SOCK_STREAM listens. A Unix socket's file that nobody
 * listens on any more is replaced. */
int address_listen(const struct address *a, int type, const char *text, struct error **err);
/* A connected, non-blocking stream; waits a few seconds at most. */
int address_connect(const struct address *a, const char *text, struct error **err);
/* The same without waiting: connected once it is writable and SO_ERROR is 0; -1 and errno. */
int address_connect_start(const struct address *a);

#endif
