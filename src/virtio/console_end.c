/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * console_end.c - files, sockets and pseudo-terminals behind console ports.
 *
 * A descriptor is watched for reading until it has something, and then not again before
 * console_end_read() has found it empty: a guest that takes nothing costs nothing. It is
 * watched for writing after a write that did not take all.
 */
#include "virtio/console_end.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/strbuf.h"

enum { TYPED_BYTES = 4096, PATH_BYTES = sizeof ((struct sockaddr_un *)0)->sun_path };

struct console_end {
    struct console_end_config config;
    struct loop *loop;
    void (*changed)(void *opaque);
    void *opaque;
    char path[PATH_BYTES];           /* of the socket or the pseudo-terminal */
    bool owns_path;
    int fd;                          /* file, client, pseudo-terminal's master; -1: none */
    int other;                       /* listener; the pseudo-terminal's other side */
    struct loop_watch *watch, *listen_watch;
    unsigned events;                 /* that `watch` asks for */
    uint8_t typed[TYPED_BYTES];
    size_t typed_len;
    uint64_t failed;
};

static const char *const kind_names[] = {"none", "file", "unix", "pty", "stdio"};

int console_end_parse(const char *text, struct console_end_config *cfg, struct error **err)
{
    const char *names[ARRAY_SIZE(kind_names) + 1] = {NULL};
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    char word[16];

    for (unsigned i = 0; i < ARRAY_SIZE(kind_names); i++) {
        bool path = i == CONSOLE_END_FILE || i == CONSOLE_END_UNIX;

        names[i] = kind_names[i];
        if (strlen(kind_names[i]) != len || strncmp(kind_names[i], text, len) != 0)
            continue;
        if (path != (colon && colon[1]))
            return error_set(err, EINVAL, path ? "'%s' lacks a path" : "'%s' has no path", text);
        *cfg = (struct console_end_config){.kind = i, .path = path ? colon + 1 : NULL};
        return 0;
    }
    len = len < sizeof word ? len : sizeof word - 1;
    memcpy(word, text, len);
    word[len] = '\0';
    return error_no_such(err, "end of a port", word, names);
}

/* ---- watching ------------------------------------------------------------ */

static void ask(struct console_end *e, unsigned events)
{
    if (e->watch && events != e->events)
        loop_watch_change(e->watch, events);
    e->events = events;
}

static void on_fd(void *opaque, unsigned events)
{
    struct console_end *e = opaque;

    ask(e, e->events & ~events);
    e->changed(e->opaque);
}

static int watch(struct console_end *e, struct error **err)
{
    e->events = e->config.kind == CONSOLE_END_FILE ? 0 : LOOP_READ;
    e->watch = loop_watch_fd(e->loop, e->fd, e->events, on_fd, e, err);
    return e->watch ? 0 : -EIO;
}

/* A client is gone, or a file cannot be written any more. */
static void hang_up(struct console_end *e)
{
    loop_unwatch(e->watch);
    e->watch = NULL;
    close(e->fd);
    e->fd = -1;
    if (e->listen_watch)
        loop_watch_change(e->listen_watch, LOOP_READ);
    e->changed(e->opaque);
}

static void on_listener(void *opaque, unsigned events)
{
    struct console_end *e = opaque;
    int fd = accept4(e->other, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    e->fd = fd;
    if (watch(e, NULL) < 0) {
        close(fd);
        e->fd = -1;
        return;
    }
    loop_watch_change(e->listen_watch, 0);
    e->changed(e->opaque);
}

/* ---- the kinds ----------------------------------------------------------- */

static int open_file(struct console_end *e, struct error **err)
{
    const char *path = e->config.path;

    e->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    if (e->fd < 0)
        return error_set(err, errno, "cannot open '%s' for writing: %s", path, strerror(errno));
    return watch(e, err);
}

static int open_unix(struct console_end *e, struct error **err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t len = strlen(e->config.path);

    if (len >= sizeof e->path)
        return error_set(err, ENAMETOOLONG, "the socket's path '%s' is longer than %zu characters",
                         e->config.path, sizeof e->path - 1);
    memcpy(e->path, e->config.path, len + 1);
    memcpy(at.sun_path, e->path, len + 1);
    e->other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (e->other < 0 || bind(e->other, (struct sockaddr *)&at, sizeof at) < 0) {
        int code = errno;

        error_set(err, code, "cannot make the socket '%s': %s", e->path, strerror(code));
        if (code == EADDRINUSE)
            error_hint(err, "another VM uses it, or one has left it behind: then remove it");
        return -code;
    }
    e->owns_path = true;
    if (listen(e->other, 1) < 0)
        return error_set(err, errno, "cannot listen on '%s': %s", e->path, strerror(errno));
    e->listen_watch = loop_watch_fd(e->loop, e->other, LOOP_READ, on_listener, e, err);
    return e->listen_watch ? 0 : -EIO;
}

/* We keep the other side open, so that programs may come and go; and raw, since a side
 * that nobody has set up yet echoes what the guest writes back to the guest. */
static int open_pty(struct console_end *e, struct error **err)
{
    struct termios t;

    e->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (e->fd < 0 || grantpt(e->fd) < 0 || unlockpt(e->fd) < 0 ||
        ptsname_r(e->fd, e->path, sizeof e->path) != 0)
        return error_set(err, errno, "cannot make a pseudo-terminal: %s", strerror(errno));
    e->other = open(e->path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (e->other < 0 || tcgetattr(e->other, &t) < 0)
        return error_set(err, errno, "cannot open '%s': %s", e->path, strerror(errno));
    cfmakeraw(&t);
    tcsetattr(e->other, TCSANOW, &t);
    return watch(e, err);
}

struct console_end *console_end_new(struct loop *loop, const struct console_end_config *cfg,
                                    void (*changed)(void *opaque), void *opaque,
                                    struct error **err)
{
    static int (*const open_kind[])(struct console_end *, struct error **) = {
        [CONSOLE_END_FILE] = open_file, [CONSOLE_END_UNIX] = open_unix,
        [CONSOLE_END_PTY] = open_pty, [CONSOLE_END_STDIO] = NULL,
    };
    struct console_end *e = calloc(1, sizeof *e);

    if (!e) {
        error_set(err, ENOMEM, "no memory for a console port");
        return NULL;
    }
    BUG_ON(cfg->kind == CONSOLE_END_STDIO && !cfg->write);
    *e = (struct console_end){.config = *cfg, .loop = loop, .changed = changed, .opaque = opaque,
                              .fd = -1, .other = -1};
    if (open_kind[cfg->kind] && open_kind[cfg->kind](e, err) < 0) {
        console_end_free(e);
        return NULL;
    }
    e->config.path = NULL;                       /* the caller's */
    return e;
}

void console_end_free(struct console_end *e)
{
    if (!e)
        return;
    loop_unwatch(e->watch);
    loop_unwatch(e->listen_watch);
    if (e->fd >= 0)
        close(e->fd);
    if (e->other >= 0)
        close(e->other);
    if (e->owns_path)
        unlink(e->path);
    free(e);
}

/* ---- bytes --------------------------------------------------------------- */

bool console_end_connected(const struct console_end *e)
{
    return e->config.kind == CONSOLE_END_STDIO || e->fd >= 0;
}

static ssize_t put(struct console_end *e, const void *data, size_t len)
{
    if (e->config.kind == CONSOLE_END_UNIX)
        return send(e->fd, data, len, MSG_NOSIGNAL);
    return write(e->fd, data, len);
}

size_t console_end_write(struct console_end *e, const void *data, size_t len)
{
    ssize_t n;

    if (e->config.kind == CONSOLE_END_STDIO) {
        e->config.write(e->config.opaque, data, len);
        return len;
    }
    if (e->fd < 0)
        return len;
    do {
        n = put(e, data, len);
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return (size_t)n;
    if (errno == EAGAIN) {
        ask(e, e->events | LOOP_WRITE);
        return 0;
    }
    e->failed++;
    hang_up(e);
    return len;
}

static size_t read_typed(struct console_end *e, void *buf, size_t len)
{
    size_t n = min_u64(len, e->typed_len);

    memcpy(buf, e->typed, n);
    e->typed_len -= n;
    memmove(e->typed, e->typed + n, e->typed_len);
    if (n && e->config.ready)
        e->config.ready(e->config.opaque);
    return n;
}

size_t console_end_read(struct console_end *e, void *buf, size_t len)
{
    ssize_t n;

    if (e->config.kind == CONSOLE_END_STDIO)
        return read_typed(e, buf, len);
    if (e->fd < 0 || e->config.kind == CONSOLE_END_FILE)
        return 0;
    do {
        n = read(e->fd, buf, len);
    } while (n < 0 && errno == EINTR);
    if (n > 0)
        return (size_t)n;
    if (n < 0 && errno == EAGAIN)
        ask(e, e->events | LOOP_READ);
    else
        hang_up(e);
    return 0;
}

size_t console_end_room(const struct console_end *e)
{
    return sizeof e->typed - e->typed_len;
}

void console_end_type(struct console_end *e, const void *data, size_t len)
{
    BUG_ON(len > console_end_room(e));
    memcpy(e->typed + e->typed_len, data, len);
    e->typed_len += len;
    e->changed(e->opaque);
}

const char *console_end_path(const struct console_end *e)
{
    return e->path;
}

void console_end_describe(const struct console_end *e, struct strbuf *out)
{
    strbuf_addf(out, "%s%s%s", kind_names[e->config.kind], e->path[0] ? " " : "", e->path);
    if (e->config.kind == CONSOLE_END_UNIX)
        strbuf_addf(out, e->fd >= 0 ? " with a client" : " without a client");
    if (e->failed)
        strbuf_addf(out, ", could not be written");
}
