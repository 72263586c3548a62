/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remote.c - verbs that talk to a machine that runs: list, keys, screen-text,
 * screenshot, monitor, stop.
 *
 * Operands are words, not options: `ring3 keys VM "-x<ret>"` types what it says.
 */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "cli/options.h"
#include "control/client.h"
#include "control/command.h"

static const struct option no_options[] = {{NULL}};

static int usage(const char *verb, const char *operands)
{
    struct error *err = NULL;

    error_set(&err, EINVAL, "%s needs: ring3 %s %s", verb, verb, operands);
    return cli_fail(CLI_USAGE, &err);
}

/* --help, or what is wrong with the number of words; -1: go on. */
static int check(int argc, char **argv, int least, int most, const char *operands)
{
    if (argc >= 2 && !strcmp(argv[1], "--help")) {
        cli_print_usage(argv[0], no_options);
        printf("  ring3 %s %s\n", argv[0], operands);
        return cli_finish_output();
    }
    return argc - 1 < least || argc - 1 > most ? usage(argv[0], operands) : -1;
}

static int status_of(int code)
{
    return code == -EINVAL ? CLI_USAGE : code == -ENOENT || code == -ENOSYS || code == -EPERM
                                             ? CLI_CANNOT_START : CLI_HOST_FAILED;
}

/* What the machine says goes to stdout when it went well, else it is our error. */
static int call(struct control_client *c, int argc, const char *const *argv)
{
    struct strbuf text = {0};
    struct error *err = NULL;
    int rc = control_call(c, argc, argv, &text, &err);
    int status;

    if (rc < 0) {
        status = cli_fail(status_of(rc), &err);
    } else if (rc == 0) {
        if (text.len && text.text[text.len - 1] == '\n')
            text.text[--text.len] = '\0';
        error_set(&err, EINVAL, "%s", strbuf_text(&text));
        status = cli_fail(CLI_USAGE, &err);
    } else {
        fputs(strbuf_text(&text), stdout);
        status = cli_finish_output();
    }
    strbuf_fini(&text);
    return status;
}

static int call_once(const char *name, int argc, const char *const *argv)
{
    struct control_client *c;
    struct error *err = NULL;
    int rc = control_connect(name, &c, &err), status;

    if (rc < 0)
        return cli_fail(status_of(rc), &err);
    status = call(c, argc, argv);
    control_disconnect(c);
    return status;
}

int cmd_list(int argc, char **argv)
{
    struct strbuf text = {0};
    struct error *err = NULL;
    int status = check(argc, argv, 0, 0, "");

    if (status >= 0)
        return status;
    int rc = control_list(&text, &err);
    if (rc < 0)
        return cli_fail(status_of(rc), &err);
    fputs(strbuf_text(&text), stdout);
    strbuf_fini(&text);
    return cli_finish_output();
}

int cmd_keys(int argc, char **argv)
{
    int status = check(argc, argv, 2, 2, "VM TEXT, for example: ring3 keys vm \"root<ret>\"");

    if (status >= 0)
        return status;
    const char *words[] = {"keys", argv[2]};
    return call_once(argv[1], 2, words);
}

int cmd_screen_text(int argc, char **argv)
{
    int status = check(argc, argv, 1, 1, "VM");

    if (status >= 0)
        return status;
    const char *words[] = {"screen-text"};
    return call_once(argv[1], 1, words);
}

/* The machine has another working directory. */
int cmd_screenshot(int argc, char **argv)
{
    int status = check(argc, argv, 2, 2, "VM FILE");
    char path[PATH_MAX], here[PATH_MAX];
    struct error *err = NULL;
    int n;

    if (status >= 0)
        return status;
    if (argv[2][0] == '/')
        n = snprintf(path, sizeof path, "%s", argv[2]);
    else
        n = getcwd(here, sizeof here) ? snprintf(path, sizeof path, "%s/%s", here, argv[2]) : -1;
    if (n < 0 || n >= (int)sizeof path) {
        error_set(&err, ENAMETOOLONG, "cannot name '%s' from the root on", argv[2]);
        return cli_fail(CLI_CANNOT_START, &err);
    }
    const char *words[] = {"screenshot", path};
    return call_once(argv[1], 2, words);
}

int cmd_stop(int argc, char **argv)
{
    static const char *const words[] = {"quit"};
    int status = check(argc, argv, 1, 1, "VM");
    struct strbuf text = {0};
    struct control_client *c;
    struct error *err = NULL;

    if (status >= 0)
        return status;
    int rc = control_connect(argv[1], &c, &err);
    if (rc < 0)
        return cli_fail(status_of(rc), &err);
    rc = control_call(c, 1, words, &text, NULL);
    if (rc > 0)
        control_wait_end(c);
    control_disconnect(c);
    strbuf_fini(&text);
    return CLI_OK;
}

/* Lines from standard input until its end; the prompt only for people. */
static int converse(const char *name)
{
    bool person = isatty(STDIN_FILENO);
    struct control_client *c;
    struct error *err = NULL;
    char *line = NULL;
    size_t cap = 0;
    int rc = control_connect(name, &c, &err);

    if (rc < 0)
        return cli_fail(status_of(rc), &err);
    for (;;) {
        struct strbuf text = {0};

        if (person) {
            printf("(%s) ", name);
            fflush(stdout);
        }
        if (getline(&line, &cap, stdin) < 0)
            break;
        line[strcspn(line, "\n")] = '\0';
        const char *words[] = {line};
        rc = control_call(c, 0, words, &text, &err);
        fputs(strbuf_text(&text), stdout);
        fflush(stdout);
        strbuf_fini(&text);
        if (rc < 0)
            break;
    }
    free(line);
    control_disconnect(c);
    if (rc < 0 && rc != -ECONNRESET)
        return cli_fail(status_of(rc), &err);
    error_free(&err);
    return cli_finish_output();
}

int cmd_monitor(int argc, char **argv)
{
    int status = check(argc, argv, 1, 1 + COMMAND_ARGS_MAX, "VM [COMMAND...]");
    struct strbuf line = {0};

    if (status >= 0)
        return status;
    if (argc == 2)
        return converse(argv[1]);
    for (int i = 2; i < argc; i++)
        strbuf_addf(&line, "%s%s", i > 2 ? " " : "", argv[i]);
    const char *words[] = {strbuf_text(&line)};
    status = call_once(argv[1], 0, words);
    strbuf_fini(&line);
    return status;
}
