/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client.c - see client.h. */
#include "control/client.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "control/place.h"

enum { GREETING_SECONDS = 5, REPLY_MAX = 64 << 20, READ_BYTES = 65536 };

struct control_client {
    int fd, pid;
    char name[PLACE_NAME_MAX + 1];
    struct strbuf in;
};

/* One line as JSON, taken out of `in`. */
static int read_line(struct control_client *c, json_t **line, struct error **err)
{
    for (;;) {
        char *end = c->in.len ? memchr(c->in.text, '\n', c->in.len) : NULL;
        char piece[READ_BYTES];
        ssize_t n;

        if (end) {
            size_t len = (size_t)(end - c->in.text);
            struct strbuf rest = {0};

            *line = json_loadb(c->in.text, len, 0, NULL);
            strbuf_add(&rest, end + 1, c->in.len - len - 1);
            strbuf_fini(&c->in);
            c->in = rest;
            if (json_is_object(*line))
                return 0;
            json_decref(*line);
            return error_set(err, EPROTO, "machine '%s' does not speak ring3's language", c->name);
        }
        n = c->in.len > REPLY_MAX ? 0 : recv(c->fd, piece, sizeof piece, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return error_set(err, ETIMEDOUT, "machine '%s' does not answer", c->name);
        if (n <= 0)
            return error_set(err, ECONNRESET, "machine '%s' has ended", c->name);
        strbuf_add(&c->in, piece, (size_t)n);
    }
}

static void set_patience(struct control_client *c, int seconds)
{
    struct timeval t = {.tv_sec = seconds};

    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
}

static int greet(struct control_client *c, struct error **err)
{
    json_t *hello;
    int rc;

    set_patience(c, GREETING_SECONDS);
    rc = read_line(c, &hello, err);
    if (rc)
        return rc;
    c->pid = (int)json_integer_value(json_object_get(hello, "pid"));
    json_decref(hello);
    set_patience(c, 0);
    return 0;
}

int control_connect(const char *name, struct control_client **out, struct error **err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct control_client *c;
    int rc = place_socket(name, at.sun_path, err);

    if (rc)
        return rc;
    c = calloc(1, sizeof *c);
    if (!c)
        return error_set(err, ENOMEM, "out of memory");
    memcpy(c->name, name, strlen(name) + 1);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        rc = error_set(err, errno, "cannot make a socket: %s", strerror(errno));
    } else if (connect(c->fd, (struct sockaddr *)&at, sizeof at) < 0) {
        bool none = errno == ENOENT || errno == ECONNREFUSED;

        rc = none ? error_set(err, ENOENT, "there is no running machine '%s'", name)
                  : error_set(err, errno, "cannot connect to '%s': %s", at.sun_path,
                              strerror(errno));
        if (none)
            error_hint(err, "'ring3 list' shows those that run");
    } else {
        rc = greet(c, err);
    }
    if (rc) {
        control_disconnect(c);
        return rc;
    }
    *out = c;
    return 0;
}

void control_disconnect(struct control_client *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        close(c->fd);
    strbuf_fini(&c->in);
    free(c);
}

int control_pid(const struct control_client *c)
{
    return c->pid;
}

static int send_all(struct control_client *c, const char *text, struct error **err)
{
    for (size_t left = strlen(text); left;) {
        ssize_t n = send(c->fd, text, left, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(err, ECONNRESET, "machine '%s' has ended", c->name);
        text += n;
        left -= (size_t)n;
    }
    return 0;
}

static int send_request(struct control_client *c, int argc, const char *const *argv,
                        struct error **err)
{
    json_t *request = json_object(), *words = argc ? json_array() : NULL;
    char *text;
    int rc;

    json_object_set_new(request, "id", json_integer(1));
    for (int i = 0; i < argc; i++)
        json_array_append_new(words, json_string(argv[i]));
    if (argc)
        json_object_set_new(request, "words", words);
    else
        json_object_set_new(request, "command", json_string(argv[0]));
    text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    rc = text ? send_all(c, text, err) : error_set(err, EINVAL, "that is not UTF-8");
    if (!rc)
        rc = send_all(c, "\n", err);
    free(text);
    return rc;
}

int control_call(struct control_client *c, int argc, const char *const *argv, struct strbuf *text,
                 struct error **err)
{
    json_t *reply = NULL;
    const char *said;
    int rc = send_request(c, argc, argv, err);

    if (!rc)
        rc = read_line(c, &reply, err);
    if (rc)
        return rc;
    said = json_string_value(json_object_get(reply, "text"));
    strbuf_addf(text, "%s", said ? said : "");
    rc = json_is_true(json_object_get(reply, "ok"));
    json_decref(reply);
    return rc;
}

void control_wait_end(struct control_client *c)
{
    struct error *err = NULL;
    json_t *line;

    while (read_line(c, &line, &err) == 0)
        json_decref(line);
    error_free(&err);
}

int control_list(struct strbuf *out, struct error **err)
{
    static const char ending[] = ".sock";
    char path[PLACE_PATH_MAX];
    struct dirent *e;
    DIR *dir;
    int rc = place_directory(path, false, err);

    if (rc)
        return rc == -ENOENT && !(err && *err) ? 0 : rc;
    dir = opendir(path);
    if (!dir)
        return error_set(err, errno, "cannot read '%s': %s", path, strerror(errno));
    while ((e = readdir(dir))) {
        size_t len = strlen(e->d_name);
        struct control_client *c;

        if (len <= sizeof ending - 1 || strcmp(e->d_name + len - sizeof ending + 1, ending))
            continue;
        e->d_name[len - sizeof ending + 1] = '\0';
        if (control_connect(e->d_name, &c, NULL) < 0)
            continue;
        strbuf_addf(out, "%-20s process %d\n", e->d_name, c->pid);
        control_disconnect(c);
    }
    closedir(dir);
    return 0;
}
