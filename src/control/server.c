/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * server.c - see server.h.
 *
 * One job at a time is on its way through the machine's loop. The loop's thread touches
 * only that job, between `posted` and `done`; everything else belongs to the server's
 * thread. A job whose client has gone meanwhile is answered to nobody.
 */
#include "control/server.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "control/command.h"
#include "machine/machine.h"

enum { OUT_ENOUGH = 65536, READ_BYTES = 4096 };

struct client {
    int fd;                          /* -1: this place is free */
    uint64_t number;                 /* never used twice */
    uint64_t active;                 /* when it last said something */
    char in[SERVER_LINE_MAX];
    size_t in_len;
    struct strbuf out;
    size_t out_done;
    bool closing;                    /* when `out` is written */
};

struct job {
    bool posted;
    _Atomic bool done;
    uint64_t client;
    json_t *id, *request;            /* the request owns the words */
    int argc, rc;
    char *argv[COMMAND_ARGS_MAX + 1];
    char *line;                      /* instead of words */
    struct strbuf text;
};

struct control_server {
    struct place place;
    struct machine *machine;
    const char *version;
    pthread_t thread;
    int wake_fd;
    _Atomic bool quit;
    struct client *client[SERVER_CLIENTS_MAX];
    uint64_t numbers, ticks;
    unsigned turn;                   /* whose request is looked at first */
    struct job job;
};

static void wake(struct control_server *s)
{
    uint64_t one = 1;
    ssize_t ignored = write(s->wake_fd, &one, sizeof one);

    (void)ignored;
}

/* ---- replies ----------------------------------------------------------- */

/* JSON is UTF-8; what a guest put on its screen or into memory may not be. */
static json_t *text_json(const char *text)
{
    json_t *value = json_string(text);
    char *copy;

    if (value)
        return value;
    copy = strdup(text);
    for (char *c = copy; c && *c; c++)
        *c = *c & 0x80 ? '?' : *c;
    value = json_string(copy ? copy : "");
    free(copy);
    return value;
}

static void say(struct client *c, json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT);

    if (text)
        strbuf_addf(&c->out, "%s\n", text);
    free(text);
    json_decref(line);
}

static void answer(struct client *c, json_t *id, bool ok, const char *text)
{
    json_t *line = json_object();

    json_object_set(line, "id", id ? id : json_null());
    json_object_set_new(line, "ok", json_boolean(ok));
    json_object_set_new(line, "text", text_json(text));
    say(c, line);
}

/* ---- jobs -------------------------------------------------------------- */

/* In the loop's thread. */
static void run_job(void *opaque)
{
    struct control_server *s = opaque;
    struct job *j = &s->job;

    j->rc = j->line ? command_execute(s->machine, j->line, &j->text)
                    : command_run(s->machine, j->argc, j->argv, &j->text);
    atomic_store(&j->done, true);
    wake(s);
}

static void drop_job(struct job *j)
{
    json_decref(j->request);
    free(j->line);
    for (int i = 0; i < j->argc; i++)
        free(j->argv[i]);
    strbuf_fini(&j->text);
    *j = (struct job){.posted = false};
}

/* What is wrong with it, or NULL. */
static const char *read_words(struct job *j, json_t *words)
{
    if (json_array_size(words) < 1 || json_array_size(words) > COMMAND_ARGS_MAX)
        return "\"words\" has to be an array of 1 to 16 strings";
    for (size_t i = 0; i < json_array_size(words); i++) {
        const char *word = json_string_value(json_array_get(words, i));

        if (!word)
            return "\"words\" has to be an array of 1 to 16 strings";
        j->argv[j->argc] = strdup(word);
        if (!j->argv[j->argc])
            return "out of memory";
        j->argc++;
    }
    return NULL;
}

static const char *read_request(struct job *j, const char *line, size_t len)
{
    json_error_t why;
    json_t *command, *words;

    j->request = json_loadb(line, len, 0, &why);
    if (!json_is_object(j->request))
        return "not a line of JSON with an object";
    j->id = json_object_get(j->request, "id");
    command = json_object_get(j->request, "command");
    words = json_object_get(j->request, "words");
    if (!command == !words)
        return "either \"command\" or \"words\" is needed";
    if (words)
        return read_words(j, words);
    if (!json_is_string(command))
        return "\"command\" has to be a string";
    j->line = strdup(json_string_value(command));
    return j->line ? NULL : "out of memory";
}

static void start_job(struct control_server *s, struct client *c, const char *line, size_t len)
{
    struct job *j = &s->job;
    const char *wrong = read_request(j, line, len);

    if (wrong) {
        answer(c, j->id, false, wrong);
        drop_job(j);
        return;
    }
    j->client = c->number;
    j->posted = true;
    loop_post(machine_loop(s->machine), run_job, s);
}

static void finish_job(struct control_server *s)
{
    struct job *j = &s->job;

    if (!j->posted || !atomic_load(&j->done))
        return;
    for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++)
        if (s->client[i] && s->client[i]->number == j->client)
            answer(s->client[i], j->id, j->rc >= 0, strbuf_text(&j->text));
    drop_job(j);
}

/* ---- clients ----------------------------------------------------------- */

static void drop_client(struct control_server *s, unsigned i)
{
    struct client *c = s->client[i];

    if (!c)
        return;
    close(c->fd);
    strbuf_fini(&c->out);
    free(c);
    s->client[i] = NULL;
}

/* A free place, or that of whoever has been silent longest. */
static unsigned make_room(struct control_server *s)
{
    unsigned oldest = 0;

    for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++) {
        if (!s->client[i])
            return i;
        if (s->client[i]->active < s->client[oldest]->active)
            oldest = i;
    }
    drop_client(s, oldest);
    return oldest;
}

static void accept_client(struct control_server *s)
{
    int fd = accept4(s->place.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *c;

    if (fd < 0)
        return;
    c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    c->fd = fd;
    c->number = ++s->numbers;
    c->active = ++s->ticks;
    s->client[make_room(s)] = c;
    say(c, json_pack("{s:s, s:i, s:s, s:i}", "ring3", s->version, "protocol", SERVER_PROTOCOL,
                     "name", s->place.name, "pid", (int)getpid()));
}

static size_t unsent(const struct client *c)
{
    return c->out.len - c->out_done;
}

/* False: it is gone. */
static bool send_some(struct client *c)
{
    while (unsent(c)) {
        ssize_t n = send(c->fd, c->out.text + c->out_done, unsent(c), MSG_NOSIGNAL);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        c->out_done += (size_t)n;
    }
    strbuf_clear(&c->out);
    c->out_done = 0;
    return !c->closing;
}

static bool receive_some(struct control_server *s, struct client *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, min_u64(READ_BYTES, sizeof c->in - c->in_len), 0);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    c->in_len += (size_t)n;
    c->active = ++s->ticks;
    return n > 0;
}

/* One line, when the machine is free and its replies are read. */
static bool take_line(struct control_server *s, struct client *c)
{
    char *end = memchr(c->in, '\n', c->in_len);
    size_t len;

    if (c->closing || s->job.posted || unsent(c) > OUT_ENOUGH)
        return false;
    if (!end) {
        if (c->in_len == sizeof c->in) {
            answer(c, NULL, false, "the line is too long");
            c->closing = true;
        }
        return false;
    }
    len = (size_t)(end - c->in);
    start_job(s, c, c->in, len);
    c->in_len -= len + 1;
    memmove(c->in, end + 1, c->in_len);
    return true;
}

static void take_lines(struct control_server *s)
{
    bool progress = true;

    while (progress && !s->job.posted) {
        progress = false;
        for (unsigned n = 0; n < SERVER_CLIENTS_MAX && !s->job.posted; n++) {
            unsigned i = (s->turn + n) % SERVER_CLIENTS_MAX;

            if (s->client[i] && take_line(s, s->client[i])) {
                progress = true;
                s->turn = i + 1;
            }
        }
    }
}

/* ---- the thread -------------------------------------------------------- */

static short events_of(const struct client *c)
{
    bool full = c->in_len == sizeof c->in || c->closing;

    return (short)((full ? 0 : POLLIN) | (unsent(c) ? POLLOUT : 0));
}

static void serve_round(struct control_server *s)
{
    struct pollfd fds[SERVER_CLIENTS_MAX + 2] = {{s->wake_fd, POLLIN, 0},
                                                 {s->place.listen_fd, POLLIN, 0}};
    struct client *polled[SERVER_CLIENTS_MAX];
    uint64_t count;

    for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++) {
        polled[i] = s->client[i];
        fds[i + 2] = (struct pollfd){polled[i] ? polled[i]->fd : -1,
                                     polled[i] ? events_of(polled[i]) : 0, 0};
    }
    if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
        return;
    if (fds[0].revents && read(s->wake_fd, &count, sizeof count) < 0)
        return;
    for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++) {
        short got = fds[i + 2].revents;
        bool alive = true;

        if (!polled[i] || !got)
            continue;
        if (got & (POLLIN | POLLHUP | POLLERR))
            alive = receive_some(s, polled[i]) && !(got & POLLERR);
        if (!alive)
            drop_client(s, i);
    }
    if (fds[1].revents)
        accept_client(s);
}

static void *serve(void *opaque)
{
    struct control_server *s = opaque;

    while (!atomic_load(&s->quit)) {
        serve_round(s);
        finish_job(s);
        take_lines(s);
        for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++)
            if (s->client[i] && !send_some(s->client[i]))
                drop_client(s, i);
    }
    finish_job(s);
    for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++) {
        if (s->client[i])
            send_some(s->client[i]);
        drop_client(s, i);
    }
    return NULL;
}

int control_server_start(struct place *place, struct machine *m, const char *version,
                         struct control_server **out, struct error **err)
{
    struct control_server *s = calloc(1, sizeof *s);
    int code;

    if (!s)
        return error_set(err, ENOMEM, "no memory for the control socket");
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->place = *place;
    s->machine = m;
    s->version = version;
    code = s->wake_fd < 0 ? errno : pthread_create(&s->thread, NULL, serve, s);
    if (code) {
        if (s->wake_fd >= 0)
            close(s->wake_fd);
        free(s);
        return error_set(err, code, "cannot serve the control socket: %s", strerror(code));
    }
    *place = (struct place){.lock_fd = -1, .listen_fd = -1};
    *out = s;
    return 0;
}

void control_server_stop(struct control_server *s)
{
    if (!s)
        return;
    atomic_store(&s->quit, true);
    wake(s);
    pthread_join(s->thread, NULL);
    drop_job(&s->job);
    place_release(&s->place);
    close(s->wake_fd);
    free(s);
}
