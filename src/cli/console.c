/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * console.c - keys to the guest or the monitor, guest output to the pump.
 *
 * Two contexts. Watch callbacks run with the VM lock held and only read from
 * the descriptor; everything that talks to the machine, whose functions take
 * that lock, is posted work (console_work). console_write and console_ready
 * come from vCPU threads.
 */
#include "cli/console.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "cli/keys.h"
#include "cli/pump.h"
#include "cli/terminal.h"
#include "control/command.h"

enum { QUEUE_BYTES = 4096, RAW_BYTES = 1024, RETRY_TERMINAL_NS = 200000000 };

static const char prompt_text[] = "(ring3) ";

struct console {
    struct console_config config;
    struct machine *machine;
    bool is_terminal;
    struct loop_watch *in_watch, *retry_watch, *size_watch;
    int retry_fd;                     /* timerfd: try again to read the terminal */
    bool ended;                       /* nothing more will come from in_fd */
    _Atomic bool posted;              /* console_work is on its way */
    _Atomic bool waiting;             /* for console_ready: the guest took not everything */

    uint8_t raw[RAW_BYTES];           /* read, not yet looked at */
    size_t raw_len;
    uint8_t queue[QUEUE_BYTES];       /* for the guest */
    size_t queue_len;

    struct keys keys;
    struct prompt prompt;
    bool prompt_open;

    pthread_mutex_t lock;             /* the next two: vCPU threads and the loop's */
    bool holding;
    struct strbuf held;
};

static void console_write(void *opaque, const uint8_t *data, size_t len)
{
    struct console *c = opaque;

    pthread_mutex_lock(&c->lock);
    if (!c->holding)
        pump_write(c->config.out, data, len);
    else if (c->held.len + len <= PUMP_BYTES)
        strbuf_add(&c->held, data, len);
    pthread_mutex_unlock(&c->lock);
}

static void hold_output(struct console *c, bool hold)
{
    pthread_mutex_lock(&c->lock);
    c->holding = hold;
    if (!hold && c->held.len) {
        pump_write(c->config.out, c->held.text, c->held.len);
        strbuf_fini(&c->held);
    }
    pthread_mutex_unlock(&c->lock);
}

static void say(struct console *c, const char *text)
{
    pump_write(c->config.ui, text, strlen(text));
}

struct console *console_new(const struct console_config *cfg)
{
    struct console *c = calloc(1, sizeof *c);

    BUG_ON(!c);
    c->config = *cfg;
    c->retry_fd = -1;
    c->is_terminal = cfg->in_fd >= 0 && isatty(cfg->in_fd);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

/* ---- keys ---- */

static void open_prompt(struct console *c)
{
    hold_output(c, true);
    c->prompt_open = true;
    prompt_reset(&c->prompt);
    say(c, "\nMonitor: 'help' lists commands, an empty line goes back to the guest.\n");
    say(c, prompt_text);
}

static void close_prompt(struct console *c)
{
    c->prompt_open = false;
    hold_output(c, false);
}

static void prompt_key(struct console *c, uint8_t key)
{
    struct strbuf out = {0};

    enum prompt_event event = prompt_feed(&c->prompt, key, &out);
    if (event == PROMPT_LINE) {
        command_execute(c->machine, c->prompt.line, &out);
        prompt_reset(&c->prompt);
        strbuf_addf(&out, "%s", prompt_text);
    }
    say(c, strbuf_text(&out));
    strbuf_fini(&out);
    if (event == PROMPT_LEAVE)
        close_prompt(c);
}

static void guest_key(struct console *c, uint8_t key)
{
    if (c->queue_len < sizeof c->queue)
        c->queue[c->queue_len++] = key;
}

static void terminal_key(struct console *c, uint8_t in)
{
    uint8_t key;

    switch (keys_feed(&c->keys, in, &key)) {
    case KEYS_NOTHING:
        break;
    case KEYS_BYTE:
        if (c->prompt_open)
            prompt_key(c, key);
        else
            guest_key(c, key);
        break;
    case KEYS_END:
        say(c, "\nring3: ended by Ctrl-A x\n");
        machine_stop(c->machine);
        break;
    case KEYS_HELP:
        say(c, "\n" KEYS_HELP_TEXT);
        if (c->prompt_open)
            say(c, prompt_text);
        break;
    case KEYS_MONITOR:
        if (c->prompt_open) {
            say(c, "\n");
            close_prompt(c);
        } else {
            open_prompt(c);
        }
        break;
    case KEYS_UNKNOWN:
        say(c, "\nring3: Ctrl-A h lists what follows Ctrl-A\n");
        break;
    }
}

/* ---- input ---- */

static void feed_guest(struct console *c)
{
    size_t done = 0;

    while (done < c->queue_len) {
        /* Said before looking: room made after the look is told to us. */
        atomic_store(&c->waiting, true);
        size_t n = min_u64(machine_terminal_room(c->machine), c->queue_len - done);
        if (!n)
            break;
        machine_terminal_input(c->machine, c->queue + done, n);
        done += n;
    }
    memmove(c->queue, c->queue + done, c->queue_len - done);
    c->queue_len -= done;
    if (!c->queue_len)
        atomic_store(&c->waiting, false);
}

/* Posted: the loop's thread, without the VM lock. */
static void console_work(void *opaque)
{
    struct console *c = opaque;

    atomic_store(&c->posted, false);
    if (c->is_terminal) {
        for (size_t i = 0; i < c->raw_len; i++)
            terminal_key(c, c->raw[i]);
        c->raw_len = 0;
    } else {
        /* Nothing is read while the queue has not taken the last piece. */
        size_t n = min_u64(c->raw_len, sizeof c->queue - c->queue_len);
        memcpy(c->queue + c->queue_len, c->raw, n);
        memmove(c->raw, c->raw + n, c->raw_len - n);
        c->queue_len += n;
        c->raw_len -= n;
    }
    feed_guest(c);
    if (!c->raw_len && !c->ended)
        loop_watch_change(c->in_watch, LOOP_READ);
}

static void post_work(struct console *c)
{
    if (!atomic_exchange(&c->posted, true))
        loop_post(machine_loop(c->machine), console_work, c);
}

static void console_ready(void *opaque)
{
    struct console *c = opaque;

    if (atomic_exchange(&c->waiting, false))
        post_work(c);
}

struct machine_serial console_serial(struct console *c)
{
    return (struct machine_serial){.write = console_write, .opaque = c, .ready = console_ready};
}

static void on_retry(void *opaque, unsigned events)
{
    struct console *c = opaque;
    uint64_t times;

    if (read(c->retry_fd, &times, sizeof times) > 0)
        post_work(c);
}

static void on_input(void *opaque, unsigned events)
{
    struct console *c = opaque;

    ssize_t n = read(c->config.in_fd, c->raw, sizeof c->raw);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    loop_watch_change(c->in_watch, 0);    /* until console_work has taken it */
    if (n < 0 && errno == EIO && c->is_terminal) {
        /* We are in the background: the terminal is somebody else's now. */
        const struct itimerspec when = {.it_value = {.tv_nsec = RETRY_TERMINAL_NS}};
        timerfd_settime(c->retry_fd, 0, &when, NULL);
        return;
    }
    if (n <= 0) {
        c->ended = true;
        return;
    }
    c->raw_len = (size_t)n;
    post_work(c);
}

/* Posted, and before the start. */
static void tell_size(void *opaque)
{
    struct console *c = opaque;
    struct winsize size;

    if (ioctl(c->config.in_fd, TIOCGWINSZ, &size) == 0)
        machine_terminal_size(c->machine, size.ws_col, size.ws_row);
}

static void on_size(void *opaque, unsigned events)
{
    struct console *c = opaque;
    uint64_t times;

    if (read(terminal_size_fd(), &times, sizeof times) > 0)
        loop_post(machine_loop(c->machine), tell_size, c);
}

static int start_terminal(struct console *c, struct loop *loop, struct error **err)
{
    int r = terminal_raw(c->config.in_fd);

    if (r < 0)
        return error_set(err, -r, "cannot set the terminal to raw mode: %s", strerror(-r));
    tell_size(c);
    if (terminal_size_fd() >= 0)
        c->size_watch = loop_watch_fd(loop, terminal_size_fd(), LOOP_READ, on_size, c, err);
    return 0;
}

int console_start(struct console *c, struct machine *m, struct error **err)
{
    c->machine = m;
    if (c->config.in_fd < 0)
        return 0;
    c->retry_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (c->retry_fd < 0)
        return error_set(err, errno, "cannot make a timer for the console: %s", strerror(errno));
    struct loop *loop = machine_loop(m);
    c->retry_watch = loop_watch_fd(loop, c->retry_fd, LOOP_READ, on_retry, c, err);
    c->in_watch = loop_watch_fd(loop, c->config.in_fd, LOOP_READ, on_input, c, err);
    if (!c->retry_watch || !c->in_watch)
        return error_wrap(err, "cannot read standard input");
    return c->is_terminal ? start_terminal(c, loop, err) : 0;
}

void console_stop(struct console *c)
{
    loop_unwatch(c->in_watch);
    loop_unwatch(c->retry_watch);
    loop_unwatch(c->size_watch);
    c->in_watch = c->retry_watch = c->size_watch = NULL;
    if (c->retry_fd >= 0)
        close(c->retry_fd);
    c->retry_fd = -1;
    hold_output(c, false);
    if (c->is_terminal)
        terminal_restore();
}

void console_free(struct console *c)
{
    if (!c)
        return;
    BUG_ON(c->in_watch);
    strbuf_fini(&c->held);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
