/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cli_console.c - keys in, guest output out, over a pty, pipes and a fake guest.
 *
 * The machine is a loop and a serial port that takes as many bytes as the test
 * says. Commands are written down instead of executed.
 */
#include "unit.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/strbuf.h"
#include "cli/console.h"
#include "cli/pump.h"
#include "control/command.h"

struct machine {
    struct loop *loop;
    size_t room;                 /* what the guest still takes */
    struct strbuf typed;         /* what it has taken */
    struct strbuf commands;
    unsigned stops;
};

struct loop *machine_loop(struct machine *m) { return m->loop; }
void machine_terminal_size(struct machine *m, unsigned columns, unsigned rows) {}
size_t machine_terminal_room(struct machine *m) { return m->room; }
void machine_stop(struct machine *m) { m->stops++; }

void machine_terminal_input(struct machine *m, const uint8_t *data, size_t len)
{
    assert_true(len <= m->room);
    m->room -= len;
    strbuf_add(&m->typed, data, len);
}

int command_execute(struct machine *m, const char *line, struct strbuf *out)
{
    strbuf_addf(&m->commands, "%s|", line);
    strbuf_addf(out, "done: %s\n", line);
    return 0;
}

struct fixture {
    struct machine m;
    int user;                    /* the user's end of the input */
    int in, out[2];
    struct pump *pump;
    struct console *console;
    struct machine_serial serial;
};

/* `in` is the console's end of the input. Output goes to a pipe. */
static struct fixture *start(int user, int in)
{
    const struct pump_events events = {0};
    struct fixture *f = calloc(1, sizeof *f);

    f->user = user;
    f->in = in;
    f->m.room = SIZE_MAX;
    f->m.loop = loop_new(NULL);
    assert_int_equal(pipe(f->out), 0);
    fcntl(f->out[0], F_SETFL, O_NONBLOCK);
    f->pump = pump_new(f->out[1], &events, NULL);
    const struct console_config cc = {.in_fd = in, .out = f->pump, .ui = f->pump};
    f->console = console_new(&cc);
    f->serial = console_serial(f->console);
    assert_int_equal(console_start(f->console, &f->m, NULL), 0);
    return f;
}

static void finish(struct fixture *f)
{
    console_stop(f->console);
    loop_free(f->m.loop);
    console_free(f->console);
    close(f->out[0]);    /* what was not read need not be waited for */
    pump_free(f->pump);
    close(f->out[1]);
    close(f->in);
    if (f->user >= 0)
        close(f->user);
    strbuf_fini(&f->m.typed);
    strbuf_fini(&f->m.commands);
    free(f);
}

static struct fixture *start_terminal(void)
{
    int user, in;

    if (openpty(&user, &in, NULL, NULL, NULL) < 0) {
        print_message("no pseudo-terminal: %s\n", strerror(errno));
        exit(77);
    }
    return start(user, in);
}

static struct fixture *start_pipe(void)
{
    int fd[2];

    assert_int_equal(pipe(fd), 0);
    return start(fd[1], fd[0]);
}

static void type(struct fixture *f, const char *keys)
{
    assert_int_equal(write(f->user, keys, strlen(keys)), strlen(keys));
}

/* Runs the loop until the guest has been typed `text`. */
static void expect_typed(struct fixture *f, const char *text)
{
    while (f->m.typed.len < strlen(text))
        loop_run_once(f->m.loop, -1);
    assert_string_equal(strbuf_text(&f->m.typed), text);
}

/* What has come out by the time `text` is seen. */
static void expect_shown(struct fixture *f, const char *text)
{
    static char shown[1 << 16];
    size_t len = 0;

    do {
        loop_run_once(f->m.loop, 1000000);
        ssize_t n = read(f->out[0], shown + len, sizeof shown - 1 - len);
        len += n > 0 ? (size_t)n : 0;
        shown[len] = '\0';
    } while (!strstr(shown, text));
}

static void guest_prints(struct fixture *f, const char *text)
{
    f->serial.write(f->serial.opaque, (const uint8_t *)text, strlen(text));
}

/* With raw mode as console_start sets it in the foreground of a terminal, where
 * this process is not (cli_terminal.c tests that part). */
static struct fixture *start_raw(void)
{
    struct fixture *f = start_terminal();
    struct termios t;

    tcgetattr(f->in, &t);
    cfmakeraw(&t);
    tcsetattr(f->in, TCSANOW, &t);
    return f;
}

static void keys_reach_the_guest(void **state)
{
    struct fixture *f = start_raw();

    type(f, "ls\r\003");
    expect_typed(f, "ls\r\003");
    type(f, "a\001\001b\001ac");
    expect_typed(f, "ls\r\003a\001b\001c");
    guest_prints(f, "hello\r\n");
    expect_shown(f, "hello\r\n");
    finish(f);
}

static void ctrl_a_x_is_heard_when_the_guest_is_not(void **state)
{
    struct fixture *f = start_raw();
    char many[1000];

    f->m.room = 0;
    memset(many, 'k', sizeof many);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(write(f->user, many, sizeof many), sizeof many);
        for (int j = 0; j < 8; j++)
            loop_run_once(f->m.loop, 0);
    }
    type(f, "\001x");
    while (!f->m.stops)
        loop_run_once(f->m.loop, -1);
    assert_int_equal(f->m.typed.len, 0);
    finish(f);
}

static void prompt_runs_commands(void **state)
{
    struct fixture *f = start_raw();

    type(f, "\001c");
    expect_shown(f, "(ring3) ");
    guest_prints(f, "GUEST");
    type(f, "info exits\rpause\r");
    expect_shown(f, "done: info exits\n(ring3) pause\ndone: pause\n(ring3) ");
    assert_string_equal(strbuf_text(&f->m.commands), "info exits|pause|");
    assert_int_equal(f->m.typed.len, 0);
    type(f, "\rguest\n");
    expect_shown(f, "GUEST");      /* held back until now */
    expect_typed(f, "guest\n");
    type(f, "\001c\001cx");
    expect_typed(f, "guest\nx");
    type(f, "\001h");
    expect_shown(f, "Ctrl-A x");
    type(f, "\001q");
    expect_shown(f, "Ctrl-A h lists");
    finish(f);
}

/* A guest that prints for ever while the prompt is open costs a bounded buffer. */
static void held_output_is_bounded(void **state)
{
    struct fixture *f = start_raw();
    static char block[1 << 16];

    type(f, "\001c");
    expect_shown(f, "(ring3) ");
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 64; i++)
        f->serial.write(f->serial.opaque, (const uint8_t *)block, sizeof block);
    type(f, "\r");
    expect_shown(f, "xxxx");
    finish(f);
}

/* Not a terminal: no escapes, no loss, however slow the guest; and the end of
 * the input is not the end of anything else. */
static void pipes_pass_unchanged_and_throttled(void **state)
{
    struct fixture *f = start_pipe();
    static char sent[20000];

    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i % 255 + 1);
    f->m.room = 0;
    assert_int_equal(write(f->user, sent, sizeof sent), sizeof sent);
    close(f->user);
    f->user = -1;
    while (f->m.typed.len < sizeof sent) {
        if (!f->m.room) {
            f->m.room = 700;
            f->serial.ready(f->serial.opaque);
        }
        loop_run_once(f->m.loop, 0);
    }
    assert_memory_equal(f->m.typed.text, sent, sizeof sent);
    for (int i = 0; i < 3; i++)
        loop_run_once(f->m.loop, 0);
    assert_int_equal(f->m.stops, 0);
    finish(f);
}

static void empty_input(void **state)
{
    struct fixture *f = start(-1, open("/dev/null", O_RDONLY));

    for (int i = 0; i < 3; i++)
        loop_run_once(f->m.loop, 0);
    guest_prints(f, "still here");
    expect_shown(f, "still here");
    finish(f);
}

static void no_input_at_all(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const struct console_config cc = {.in_fd = -1};

    f->console = console_new(&cc);
    assert_int_equal(console_start(f->console, &f->m, NULL), 0);
    console_stop(f->console);
    console_free(f->console);
    free(f);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_reach_the_guest),
        cmocka_unit_test(ctrl_a_x_is_heard_when_the_guest_is_not),
        cmocka_unit_test(prompt_runs_commands),
        cmocka_unit_test(held_output_is_bounded),
        cmocka_unit_test(pipes_pass_unchanged_and_throttled),
        cmocka_unit_test(empty_input),
        cmocka_unit_test(no_input_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
