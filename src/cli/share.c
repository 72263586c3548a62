/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * share.c - `ring3 share`: several machines on one core, each with its fraction.
 *
 *     ring3 share neo.elf=70 morpheus.elf=30 --quantum 10ms --core 0
 *
 * A file that is no ELF file is a raw image. What the guests print comes a line at a time
 * with the VM's name in front.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/engine.h"
#include "machine/machine.h"
#include "sched/fractions.h"

enum { PER_CENT = 100, NS_PER_MS = 1000000, LINE_MAX_BYTES = 512 };

struct share_options {
    const char *engine, *machine, *quantum, *core, *switch_on, *start;
    uint64_t memory_bytes, seconds, at;
    bool cap, quiet;
};

#define FIELD(name) offsetof(struct share_options, name)
static const struct option options[] = {
    {"quantum", "TIME", "what is divided, for example 10ms (the default) or 500us",
     OPTION_STRING, FIELD(quantum)},
    {"core", "N", "run on this core of the host", OPTION_STRING, FIELD(core)},
    {"switch-on", "timer|exit", "whose turn ends: by time (the default), or at each access to a\n"
                                "device, too", OPTION_CHOICE, FIELD(switch_on)},
    {"cap", NULL, "what is left over is nobody's", OPTION_FLAG, FIELD(cap)},
    {"seconds", "N", "end after that long (default: when the guests have ended)",
     OPTION_NUMBER, FIELD(seconds), 1, 86400},
    {"engine", "NAME", "what executes the guests: auto (the default), or a name",
     OPTION_STRING, FIELD(engine)},
    {"machine", "NAME", "which computer: simple (the default), teach, pc", OPTION_STRING,
     FIELD(machine)},
    {"memory", "SIZE", "memory of each guest (default 16M)", OPTION_SIZE, FIELD(memory_bytes)},
    {"at", "ADDRESS", "where raw images are put (default 0x10000)", OPTION_NUMBER, FIELD(at), 0,
     UINT32_MAX},
    {"start", "MODE[@ADDRESS]", "how raw images start: real (the default), protected, paging32,\n"
                                "long", OPTION_STRING, FIELD(start)},
    {"quiet", NULL, "do not print what the guests print", OPTION_FLAG, FIELD(quiet)},
    {NULL},
};
#undef FIELD

struct guest {
    char *name, *file, *load;
    const char *loads[2];
    double fraction;
    struct machine *machine;
    bool quiet;
    char line[LINE_MAX_BYTES];
    size_t len;
};

struct share {
    struct share_options options;
    struct guest guest[SCHED_MACHINES_MAX];
    unsigned guests;
    struct log log;
};

/* ---- what is asked ------------------------------------------------------------ */

static int bad_vm(struct error **err, const char *text, const char *why)
{
    error_set(err, EINVAL, "'%s': %s", text, why);
    error_hint(err, "write [NAME:]FILE=PERCENT, for example neo.elf=70");
    return -EINVAL;
}

/* "[NAME:]FILE=PERCENT" */
static int read_vm(struct share *s, const char *text, struct error **err)
{
    struct guest *g = &s->guest[s->guests];
    const char *equals = strrchr(text, '='), *colon = strchr(text, ':'), *slash;
    char *end;

    if (s->guests == SCHED_MACHINES_MAX)
        return bad_vm(err, text, "one VM too many (at most 64)");
    if (!equals || equals == text)
        return bad_vm(err, text, "no fraction is given");
    g->fraction = strtod(equals + 1, &end) / PER_CENT;
    if (end == equals + 1 || *end || !isfinite(g->fraction))
        return bad_vm(err, text, "that is no percentage");
    if (g->fraction <= 0)
        return bad_vm(err, text, "a fraction is more than nothing");
    if (g->fraction > 1)
        return bad_vm(err, text, "a fraction is not more than all");
    if (colon && colon > equals)
        colon = NULL;
    g->file = strndup(colon ? colon + 1 : text, (size_t)(equals - (colon ? colon + 1 : text)));
    BUG_ON(!g->file);
    slash = strrchr(g->file, '/');
    g->name = colon ? strndup(text, (size_t)(colon - text)) : strdup(slash ? slash + 1 : g->file);
    BUG_ON(!g->name);
    g->quiet = s->options.quiet;
    s->guests++;
    for (unsigned i = 0; i + 1 < s->guests; i++) {
        if (strcmp(s->guest[i].name, g->name) != 0)
            continue;
        error_set(err, EINVAL, "there are two VMs called '%s'", g->name);
        error_hint(err, "call one of them otherwise: other:%s=...", g->file);
        return -EINVAL;
    }
    return 0;
}

static int check_sum(const struct share *s, struct error **err)
{
    double sum = 0;

    if (!s->guests) {
        error_set(err, EINVAL, "no VM is given");
        error_hint(err, "ring3 share neo.elf=70 morpheus.elf=30");
        return -EINVAL;
    }
    for (unsigned i = 0; i < s->guests; i++)
        sum += s->guest[i].fraction * PER_CENT;
    if (fabs(sum - PER_CENT) < 0.01)
        return 0;
    return error_set(err, EINVAL, "the fractions sum to %g %%, not to 100 %%", sum);
}

/* "10ms", "500us", "1s" */
static int read_quantum(const char *text, uint64_t *ns, struct error **err)
{
    static const struct { const char *name; double ns; } units[] = {{"us", 1e3}, {"ms", 1e6},
                                                                    {"s", 1e9}};
    char *end;
    double n = strtod(text, &end);

    for (unsigned i = 0; i < ARRAY_SIZE(units); i++) {
        if (end == text || strcmp(end, units[i].name) != 0)
            continue;
        n *= units[i].ns;
        if (n >= 100e3 && n <= 10e9) {
            *ns = (uint64_t)n;
            return 0;
        }
        return error_set(err, EINVAL, "--quantum: %s is out of range (100us to 10s)", text);
    }
    error_set(err, EINVAL, "--quantum: '%s' is no time", text);
    error_hint(err, "write a number with us, ms or s");
    return -EINVAL;
}

/* VMs apart, the rest by the table. */
static int read_arguments(struct share *s, int argc, char **argv, struct error **err)
{
    char **rest = calloc((size_t)argc + 1, sizeof *rest);
    int n = 0, rc = 0;

    BUG_ON(!rest);
    for (int i = 0; i < argc; i++)
        if (i == 0 || strncmp(argv[i], "--", 2) == 0 || !strchr(argv[i], '='))
            rest[n++] = argv[i];
    rc = options_parse(options, &s->options, n, rest, err);
    free(rest);
    for (int i = 1; i < argc && !rc; i++)
        if (strncmp(argv[i], "--", 2) != 0 && strchr(argv[i], '='))
            rc = read_vm(s, argv[i], err);
    return rc ? rc : check_sum(s, err);
}

/* ---- machines -------------------------------------------------------------------- */

static void put_line(struct guest *g)
{
    char out[LINE_MAX_BYTES + 64];
    int n = snprintf(out, sizeof out, "%s: %.*s\n", g->name, (int)g->len, g->line);
    ssize_t ignored = g->quiet ? 0 : write(STDOUT_FILENO, out, min_u64((size_t)n, sizeof out));

    (void)ignored;
    g->len = 0;
}

static void print(void *opaque, const uint8_t *data, size_t len)
{
    struct guest *g = opaque;

    for (size_t i = 0; i < len; i++) {
        if (data[i] != '\n')
            g->line[g->len++] = (char)data[i];
        if (data[i] == '\n' || g->len == LINE_MAX_BYTES)
            put_line(g);
    }
}

static bool is_elf(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char magic[4] = "";
    bool elf = fd >= 0 && read(fd, magic, 4) == 4 && !memcmp(magic, "\177ELF", 4);

    if (fd >= 0)
        close(fd);
    return elf;
}

static int make_machine(struct share *s, struct guest *g, struct error **err)
{
    const struct share_options *o = &s->options;
    struct machine_config c;
    int rc;

    machine_config_defaults(&c);
    c.machine = o->machine;
    /* What the first one got, so that the host is measured once. */
    c.engine = g == s->guest ? o->engine : machine_engine(s->guest[0].machine)->name;
    c.memory_bytes = o->memory_bytes;
    c.machines = s->guests;
    c.no_irqchip = true;             /* a halted guest comes back to us, not to the kernel */
    c.log = &s->log;
    c.serial = (struct machine_serial){.write = print, .opaque = g};
    if (is_elf(g->file)) {
        c.kernel = g->file;
    } else {
        if (asprintf(&g->load, "%s@%#llx", g->file, (unsigned long long)o->at) < 0)
            return error_set(err, ENOMEM, "out of memory");
        g->loads[0] = g->load;
        c.loads = g->loads;
        c.start = o->start;
    }
    rc = machine_new(&c, &g->machine, err);
    return rc ? error_wrap(err, "VM '%s'", g->name), rc : 0;
}

static void stop(void *opaque)
{
    sched_stop(opaque);
}

static int run(struct share *s, const struct sched_config *cfg)
{
    struct sched *sched = sched_new(cfg);
    struct strbuf report = {0};
    struct error *err = NULL;
    int rc = 0, status;

    for (unsigned i = 0; i < s->guests && !rc; i++) {
        rc = make_machine(s, &s->guest[i], &err);
        if (!rc)
            sched_add(sched, s->guest[i].name, s->guest[i].machine, s->guest[i].fraction);
    }
    if (!rc) {
        terminal_on_stop(stop, sched);
        rc = sched_run(sched, &err);
        terminal_on_stop(NULL, NULL);
    }
    if (rc) {
        status = cli_fail(err && err->code == EINVAL ? CLI_USAGE : CLI_CANNOT_START, &err);
    } else {
        sched_report(sched, &report);
        fputs(strbuf_text(&report), stdout);
        status = cli_finish_output();
    }
    strbuf_fini(&report);
    sched_free(sched);
    return status;
}

static int share(struct share *s, struct error **err)
{
    struct sched_config cfg = {
        .core = -1, .until_exit = strcmp(s->options.switch_on, "exit") == 0,
        .cap = s->options.cap, .run_ns = s->options.seconds * 1000ull * NS_PER_MS,
        .live = isatty(STDOUT_FILENO) && s->options.quiet ? stdout : NULL,
    };
    uint64_t core;

    if (read_quantum(s->options.quantum, &cfg.quantum_ns, err) < 0)
        return -EINVAL;
    if (s->options.core) {
        if (str_parse_number(s->options.core, &core) < 0 || core >= 1024)
            return error_set(err, EINVAL, "--core: '%s' is no core", s->options.core);
        cfg.core = (int)core;
    }
    if (strcmp(s->options.engine, "auto") != 0 && !engine_find(s->options.engine))
        return error_set(err, EINVAL, "there is no engine '%s'", s->options.engine);
    if (!machine_find(s->options.machine))
        return error_set(err, EINVAL, "there is no machine '%s'", s->options.machine);
    return run(s, &cfg);
}

int cmd_share(int argc, char **argv)
{
    struct share *s = calloc(1, sizeof *s);
    struct error *err = NULL;
    int rc;

    BUG_ON(!s);
    log_init(&s->log, STDERR_FILENO);
    s->options = (struct share_options){.engine = "auto", .machine = "simple", .quantum = "10ms",
                                        .switch_on = "timer", .memory_bytes = 16 << 20,
                                        .at = 0x10000};
    rc = read_arguments(s, argc, argv, &err);
    if (rc == OPTIONS_HELP) {
        cli_print_usage("share", options);
        rc = cli_finish_output();
    } else if (rc == 0) {
        terminal_guard();
        rc = share(s, &err);
    }
    if (err)
        rc = cli_fail(CLI_USAGE, &err);
    for (unsigned i = 0; i < SCHED_MACHINES_MAX; i++) {
        machine_free(s->guest[i].machine);
        free(s->guest[i].name);
        free(s->guest[i].file);
        free(s->guest[i].load);
    }
    free(s);
    return rc;
}
