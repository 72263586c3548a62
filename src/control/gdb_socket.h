/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gdb_socket.h - where debuggers connect: TCP or Unix, never blocking (room-internal). */
#ifndef RING3_CONTROL_GDB_SOCKET_H
#define RING3_CONTROL_GDB_SOCKET_H

#include <sys/types.h>

struct error;

/* "[HOST]:PORT", or a path, which has a '/' (then *path is what to remove at the end). */
int gdb_socket_listen(const char *where, int *fd, char **path, struct error **err);
int gdb_socket_accept(int listen_fd);                        /* -1: nobody is there */
/* Bytes; 0: not now; negative: it is gone. */
ssize_t gdb_socket_receive(int fd, void *buf, size_t len);
ssize_t gdb_socket_send(int fd, const void *buf, size_t len);

#endif
