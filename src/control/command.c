/* SPDX-License-Identifier: GPL-2.0-or-later */
/* command.c - the tables of commands, and everything that changes the machine. */
#include "control/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "control/info.h"
#include "control/screen.h"
#include "engine/engine.h"
#include "machine/machine.h"

enum { LINE_BYTES_MAX = 512, TABLE_MAX = 64 };

int command_refuse(struct strbuf *out, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    strbuf_addf(out, "%s\n", text);
    return -EINVAL;
}

int command_failed(struct strbuf *out, struct error **err)
{
    char *text = error_text(*err);
    int code = (*err)->code;

    strbuf_addf(out, "%s\n", text);
    free(text);
    error_free(err);
    return -code;
}

static const struct command *find(const struct command *table, const char *name)
{
    for (const struct command *c = table; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

static int unknown(const struct command *table, const char *what, const char *word,
                   struct strbuf *out)
{
    const char *names[TABLE_MAX + 1];
    size_t n = 0;

    for (const struct command *c = table; c->name; c++) {
        BUG_ON(n == TABLE_MAX);
        names[n++] = c->name;
    }
    names[n] = NULL;
    const char *close = str_closest(word, names);
    if (close)
        return command_refuse(out, "there is no %s '%s'; did you mean '%s'?", what, word, close);
    return command_refuse(out, "there is no %s '%s'; 'help' lists them", what, word);
}

static void help_table(const struct command *table, const char *prefix, struct strbuf *out)
{
    char usage[80];

    for (const struct command *c = table; c->name; c++) {
        snprintf(usage, sizeof usage, "%s%s %s", prefix, c->name, c->args);
        strbuf_addf(out, "  %-24s %s\n", usage, c->help);
    }
}

static int do_help(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    help_table(command_table, "", out);
    help_table(command_info_table, "info ", out);
    return 0;
}

static int do_info(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    if (argc < 2) {
        help_table(command_info_table, "info ", out);
        return -EINVAL;
    }
    const struct command *c = find(command_info_table, argv[1]);
    if (!c)
        return unknown(command_info_table, "info", argv[1], out);
    return c->run(m, argc - 1, argv + 1, out);
}

static int do_pause(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    machine_pause(m);
    strbuf_addf(out, "paused\n");
    return 0;
}

static int do_continue(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    machine_resume(m);
    strbuf_addf(out, "running\n");
    return 0;
}

static int do_reset(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    machine_reset(m);
    strbuf_addf(out, "reset\n");
    return 0;
}

static int do_nmi(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    machine_nmi(m);
    return 0;
}

static int do_quit(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    machine_stop(m);
    return 0;
}

static int do_trace(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    struct log *log = machine_engine_vm(m)->config.log;
    struct error *err = NULL;
    uint32_t mask = 0;

    if (argc != 2)
        return command_refuse(out, "trace what? Categories with commas between, all, or none");
    if (strcmp(argv[1], "none") != 0 && log_parse_categories(argv[1], &mask, &err) < 0)
        return command_failed(out, &err);
    atomic_store(&log->trace_mask, mask);
    return 0;
}

static int do_dump_blocks(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    struct error *err = NULL;
    FILE *f;

    if (argc != 2)
        return command_refuse(out, "dump-blocks into which FILE?");
    f = fopen(argv[1], "we");
    if (!f)
        return command_refuse(out, "cannot open '%s' for writing: %s", argv[1], strerror(errno));
    int r = machine_dump_code(m, f, &err);
    if (fclose(f) != 0 && r == 0)
        r = error_set(&err, errno, "cannot write '%s': %s", argv[1], strerror(errno));
    return r < 0 ? command_failed(out, &err) : r;
}

static int do_balloon(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    struct error *err = NULL;
    uint64_t bytes;
    int r;

    if (argc != 2 || str_parse_size(argv[1], &bytes) < 0)
        return command_refuse(out, "balloon SIZE: for example 'balloon 128M'");
    r = machine_balloon(m, bytes, &err);
    return r < 0 ? command_failed(out, &err) : r;
}

/* 'eject [DRIVE] [force]', 'change [DRIVE] FILE [force]'. */
static int change_disc(struct machine *m, int argc, char **argv, bool insert, struct strbuf *out)
{
    bool force = argc > 1 && strcmp(argv[argc - 1], "force") == 0;
    int words = argc - 1 - force, most = insert ? 2 : 1;
    struct error *err = NULL;
    int r;

    if (words > most || words < insert)
        return command_refuse(out, insert ? "change [DRIVE] FILE [force]"
                                          : "eject [DRIVE] [force]");
    r = machine_change_disc(m, words == most ? argv[1] : NULL, insert ? argv[words] : NULL, force,
                            &err);
    if (r < 0) {
        char *text = error_text(err);
        strbuf_addf(out, "%s\n", text);
        free(text);
        error_free(&err);
    }
    return r;
}

static int do_eject(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    return change_disc(m, argc, argv, false, out);
}

static int do_change(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    return change_disc(m, argc, argv, true, out);
}

const struct command command_table[] = {
    {"help", "", "print this list", do_help},
    {"info", "WHAT", "show something (see below)", do_info},
    {"x", "/NFU ADDRESS", "print N items of guest-virtual memory; formats x d u o c s i,\n"
     "                           units b h w g; ADDRESS: 0x1234, $rip, $rsp+8", command_examine},
    {"xp", "/NFU ADDRESS", "the same at a guest-physical address", command_examine},
    {"pause", "", "stop the processors and the guest's time", do_pause},
    {"continue", "", "let them go on", do_continue},
    {"reset", "", "press the reset button", do_reset},
    {"nmi", "", "send a non-maskable interrupt", do_nmi},
    {"explain", "ADDRESS", "how the guest and ring3 translate it: GVA, GPA, HVA", command_explain},
    {"step", "[VCPU]", "one instruction of a paused machine", command_step},
    {"break", "ADDRESS", "pause the machine when it gets there", command_break},
    {"watch", "ADDRESS [BYTES]", "pause the machine after a write there (8 bytes)", command_watch},
    {"delete", "NUMBER", "forget one of 'info breakpoints'", command_delete},
    {"keys", "TEXT", "type on the keyboard: root<ret>, <ctrl-alt-del>, <f2>", command_keys},
    {"mouse", "DX DY [BUTTONS [WHEEL]]", "move by pixels; BUTTONS held: l, r, m, lr, none",
     command_mouse},
    {"balloon", "SIZE", "ask the guest to do without so much memory", do_balloon},
    {"eject", "[DRIVE] [force]", "take the disc out of a CD-ROM drive", do_eject},
    {"change", "[DRIVE] FILE", "put another disc into it ('force' behind it: locked or not)",
     do_change},
    {"dump-blocks", "FILE", "write guest and host code of every translated block", do_dump_blocks},
    {"screenshot", "FILE", "save the screen as a picture: PNG, or PPM by its name",
     command_screenshot},
    {"screen-text", "", "print the characters on the screen", command_screen_text},
    {"trace", "CATEGORIES", "print what happens: all, none, exits,device,irq,...", do_trace},
    {"quit", "", "end the virtual machine", do_quit},
    {NULL},
};

const struct command command_info_table[] = {
    {"registers", "", "every processor's registers", info_registers},
    {"exits", "", "counters of every processor", info_exits},
    {"devices", "[NAME]", "the devices, or the state of one", info_devices},
    {"bus", "", "who answers at which port and address", info_bus},
    {"memory", "", "the guest-physical memory map", info_memory},
    {"engine", "", "what executes the guest", info_engine},
    {"pci", "", "the PCI bus: functions and where their BARs are", info_pci},
    {"virtio", "", "virtio devices, their queues, doorbells and interrupts", info_virtio},
    {"network", "", "network cards, forwarded ports, what passed", info_network},
    {"breakpoints", "", "where the machine is to be paused", info_breakpoints},
    {"input", "", "keyboard and pointer: what waits for the guest", info_input},
    {"block", "", "disks and what was done to them", info_block},
    {"cpuid", "", "what CPUID tells the guest", info_cpuid},
    {NULL},
};

static int split(char *line, char **argv)
{
    static const char blanks[] = " \t\r\n";
    char *rest = NULL;
    int argc = 0;

    for (char *w = strtok_r(line, blanks, &rest); w; w = strtok_r(NULL, blanks, &rest)) {
        if (argc == COMMAND_ARGS_MAX)
            return -E2BIG;
        argv[argc++] = w;
    }
    return argc;
}

int command_run(struct machine *m, int argc, char **argv, struct strbuf *out)
{
    const struct command *c = find(command_table, argv[0]);

    if (!c)
        return unknown(command_table, "command", argv[0], out);
    return c->run(m, argc, argv, out);
}

int command_execute(struct machine *m, const char *line, struct strbuf *out)
{
    char copy[LINE_BYTES_MAX], *argv[COMMAND_ARGS_MAX + 1];
    const char *name = line + strspn(line, " \t");
    size_t at = 0;

    /* "x/16i" is "x /16i". */
    for (const char *c = name; *c; c++) {
        if (at + 2 >= sizeof copy)
            return command_refuse(out, "the line is too long");
        if (*c == '/' && at && c == name + strcspn(name, " \t/"))
            copy[at++] = ' ';
        copy[at++] = *c;
    }
    copy[at] = '\0';
    int argc = split(copy, argv);
    if (argc == 0)
        return 0;
    if (argc < 0)
        return command_refuse(out, "too many words");
    return command_run(m, argc, argv, out);
}
