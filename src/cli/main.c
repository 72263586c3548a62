/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c - which verb, and the parts of the process every verb shares.
 *
 * SIGPIPE and SIGXFSZ are ignored, so that a closed pipe and a full disk are
 * errors of write(2), which can be told in words. Standard descriptors that
 * the caller closed are filled, so that no file we open lands on one of them
 * by accident.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "cli/options.h"

static const struct option no_options[] = {{NULL}};

const struct cli_verb cli_verbs[] = {
    {"run", "start a virtual machine", cmd_run},
    {"image", "make, examine and change disk images", cmd_image},
    {"share", "divide one core among several virtual machines", cmd_share},
    {"list", "show the machines that run", cmd_list},
    {"keys", "type on a machine's keyboard", cmd_keys},
    {"screen-text", "print the characters on a machine's screen", cmd_screen_text},
    {"screenshot", "save a picture of a machine's screen", cmd_screenshot},
    {"monitor", "give a running machine commands", cmd_monitor},
    {"stop", "end a machine", cmd_stop},
    {"doctor", "say what this host can do for virtual machines", cmd_doctor},
    {"help", "explain ring3, or one of its commands", cmd_help},
    {"version", "print the version", cmd_version},
    {NULL},
};

int cli_fail(int status, struct error **err)
{
    char *text = error_text(*err);

    /* One write, so that it stays one line whoever else writes there. */
    struct strbuf line = {0};
    strbuf_addf(&line, "ring3: %s\n", text);
    ssize_t ignored = write(STDERR_FILENO, line.text, line.len);
    (void)ignored;
    strbuf_fini(&line);
    free(text);
    error_free(err);
    return status;
}

int cli_finish_output(void)
{
    struct error *err = NULL;

    if (fflush(stdout) == 0 && !ferror(stdout))
        return CLI_OK;
    error_set(&err, errno ? errno : EIO, "cannot write to standard output: %s",
              strerror(errno ? errno : EIO));
    return cli_fail(CLI_HOST_FAILED, &err);
}

static const struct cli_verb *find_verb(const char *name)
{
    for (const struct cli_verb *v = cli_verbs; v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}

static int unknown_verb(const char *word)
{
    static const char *const options[] = {"--help", "--version", NULL};
    const char *names[ARRAY_SIZE(cli_verbs)] = {NULL};
    bool option = word[0] == '-';
    struct error *err = NULL;

    for (size_t i = 0; cli_verbs[i].name; i++)
        names[i] = cli_verbs[i].name;
    const char *close = str_closest(word, option ? options : names);
    error_set(&err, EINVAL, "there is no %s '%s'", option ? "option" : "command", word);
    if (close)
        error_hint(&err, "did you mean '%s'?", close);
    else
        error_hint(&err, "try 'ring3 --help'");
    return cli_fail(CLI_USAGE, &err);
}

void cli_print_statuses(void)
{
    printf("\nExit status:\n");
#define X(id, status, help) printf("  %-7d %s\n", status, help);
    CLI_STATUSES(X)
#undef X
    printf("  %-7s %s\n", "odd", CLI_STATUS_ODD_HELP);
    printf("  %-7s %s\n", "128+n", CLI_STATUS_SIGNAL_HELP);
}

void cli_print_usage(const char *verb, const struct option *options)
{
    const struct cli_verb *v = find_verb(verb);
    struct strbuf text = {0};

    options_help(options, &text);
    printf("ring3 %s [OPTION...]: %s\n\n%s", verb, v->summary, strbuf_text(&text));
    strbuf_fini(&text);
}

static int print_help(void)
{
    printf("ring3 runs x86-64 virtual machines.\n\n"
           "  ring3 run --kernel FILE [--initrd FILE] [--append TEXT] [--memory SIZE] ...\n"
           "  ring3 run DISK|ISO [--memory SIZE] ...  (by BIOS, or --firmware uefi)\n"
           "  ring3 run FILE.ini        (every option is a key of the same name)\n\n"
           "Commands (ring3 COMMAND --help tells more):\n");
    for (const struct cli_verb *v = cli_verbs; v->name; v++)
        printf("  %-11s %s\n", v->name, v->summary);
    printf("\nOptions:\n"
           "  --help     print this text\n"
           "  --version  print the version\n");
    cli_print_statuses();
    return cli_finish_output();
}

int cmd_help(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0)
        return print_help();
    const struct cli_verb *v = find_verb(argv[1]);
    if (!v)
        return unknown_verb(argv[1]);
    if (argc > 2) {
        struct error *err = NULL;
        error_set(&err, EINVAL, "unexpected argument '%s'", argv[2]);
        error_hint(&err, "'ring3 help %s' is enough", argv[1]);
        return cli_fail(CLI_USAGE, &err);
    }
    char *verb_help[] = {argv[1], (char *)"--help", NULL};
    return v->run(2, verb_help);
}

int cmd_version(int argc, char **argv)
{
    struct error *err = NULL;
    int r = options_parse(no_options, NULL, argc, argv, &err);

    if (r < 0)
        return cli_fail(CLI_USAGE, &err);
    if (r == OPTIONS_HELP)
        cli_print_usage("version", no_options);
    else
        printf("ring3 %s\n", RING3_VERSION);
    return cli_finish_output();
}

/* Input reads as empty; output fails, which whoever writes reports. */
static void fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    struct error *err = NULL;

    fill_standard_descriptors();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);

    if (argc < 2) {
        error_set(&err, EINVAL, "no command given");
        error_hint(&err, "try 'ring3 run --kernel FILE' or 'ring3 --help'");
        return cli_fail(CLI_USAGE, &err);
    }
    if (strcmp(argv[1], "--help") == 0)
        return print_help();
    if (strcmp(argv[1], "--version") == 0)
        return cmd_version(1, argv);
    const struct cli_verb *v = find_verb(argv[1]);
    return v ? v->run(argc - 1, argv + 1) : unknown_verb(argv[1]);
}
