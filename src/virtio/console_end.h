/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * console_end.h - the host's end of a console port: what the guest's bytes go to.
 *
 *     file:PATH   written from its beginning; nothing comes from it
 *     unix:PATH   a Unix socket that we make and listen on: one client at a time, the
 *                 next one when that has gone
 *     pty         a pseudo-terminal of its own, whose name `info virtio` shows
 *     none        nobody is there
 *     stdio       the user's terminal or whatever the program's input and output are:
 *                 bytes go to `write`, and come from console_end_type()
 *
 * Threads: everything with the lock of the loop held, `up` included. No call blocks.
 */
#ifndef RING3_VIRTIO_CONSOLE_END_H
#define RING3_VIRTIO_CONSOLE_END_H

#include "base/types.h"

struct console_end;
struct error;
struct loop;
struct strbuf;

enum console_end_kind { CONSOLE_END_NONE, CONSOLE_END_FILE, CONSOLE_END_UNIX, CONSOLE_END_PTY,
                        CONSOLE_END_STDIO };

struct console_end_config {
    enum console_end_kind kind;
    const char *path;                /* file, unix */
    /* For stdio. `ready` (may be NULL): there is room again. */
    void (*write)(void *opaque, const uint8_t *data, size_t len);
    void (*ready)(void *opaque);
    void *opaque;
};

/* `changed`: something to read, room to write again, or somebody came or went. */
struct console_end *console_end_new(struct loop *loop, const struct console_end_config *cfg,
                                    void (*changed)(void *opaque), void *opaque,
                                    struct error **err);
void console_end_free(struct console_end *e);    /* a socket's file is removed; NULL ok */

/* "file", "unix:", ...: splits the text; -EINVAL with a message. `path` points into it. */
int console_end_parse(const char *text, struct console_end_config *cfg, struct error **err);

bool console_end_connected(const struct console_end *e);
/* How many bytes were taken or given; 0: `changed` says when to try again. A read of 0
 * bytes from whoever is there is no end: that is what console_end_connected() tells. */
size_t console_end_write(struct console_end *e, const void *data, size_t len);
size_t console_end_read(struct console_end *e, void *buf, size_t len);

/* For stdio: what was typed. Never more than there is room for. */
size_t console_end_room(const struct console_end *e);
void console_end_type(struct console_end *e, const void *data, size_t len);

/* Of a socket or a pseudo-terminal, else empty. */
const char *console_end_path(const struct console_end *e);
void console_end_describe(const struct console_end *e, struct strbuf *out);

#endif
