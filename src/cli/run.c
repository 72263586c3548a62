/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run.c - `ring3 run`: from options to a machine, and from its end to a status.
 *
 * Nothing runs until everything is there: options checked, files opened,
 * machine built. The user's terminal is touched last and given back first.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "bus/bus.h"
#include "cli/cgroup.h"
#include "cli/console.h"
#include "cli/ini.h"
#include "cli/options.h"
#include "cli/pump.h"
#include "cli/terminal.h"
#include "control/gdb.h"
#include "control/place.h"
#include "control/server.h"
#include "display/view.h"
#include "engine/engine.h"
#include "machine/machine.h"
#include "x86/cpuid.h"

struct run_options {
    const char *kernel, *initrd, *append, *start;
    const char *firmware, *firmware_vars, *boot;
    const char *image;                 /* the operand, when it is a disk */
    struct option_list option_roms;
    struct option_list modules, disks, cdroms, nets, shares, devices, loads, hypercall_ports;
    uint64_t memory_bytes, cpus, cpu_weight, cpu_max, debug_exit_port;
    struct option_list displays;
    const char *vga;
    const char *engine, *machine, *cpu, *host_features, *irqchip;
    const char *name, *gdb, *on_triple_fault, *serial, *debugcon, *log, *trace, *dump_blocks;
    bool no_reboot, test_device, hypercalls;
};

#define FIELD(name) offsetof(struct run_options, name)
static const struct option options[] = {
    {"kernel", "FILE", "boot this kernel: bzImage, ELF with a PVH entry, multiboot",
     OPTION_STRING, FIELD(kernel), .paths = "*"},
    {"firmware", "bios|uefi|FILE", "what starts the disks: a BIOS (the default), UEFI, or an image",
     OPTION_STRING, FIELD(firmware), .paths = "*"},
    {"firmware-vars", "FILE", "UEFI variables are kept there; made when it does not exist",
     OPTION_STRING, FIELD(firmware_vars), .paths = "*"},
    {"boot", "ORDER", "disk,cdrom,net (the default), or names (id=) of devices",
     OPTION_STRING, FIELD(boot)},
    {"option-rom", "FILE", "another ROM for the BIOS to run; may be given more than once",
     OPTION_LIST, FIELD(option_roms), .paths = "*"},
    {"initrd", "FILE", "initial RAM disk for a Linux kernel", OPTION_STRING, FIELD(initrd),
     .paths = "*"},
    {"append", "TEXT", "command line of the kernel", OPTION_TEXT, FIELD(append)},
    {"module", "FILE", "multiboot module; may be given more than once", OPTION_LIST,
     FIELD(modules), .paths = "*"},
    {"load", "FILE@ADDRESS", "machine simple: put this raw image there; may be given more than\n"
                             "once, and the first one is started", OPTION_LIST, FIELD(loads),
     .paths = "*"},
    {"start", "MODE[@ADDRESS]", "how it starts: real (the default), protected, paging32, long",
     OPTION_STRING, FIELD(start)},
    {"disk", "FILE[,key=value...]", "disk, virtio or with bus=ata; may be given more than once;\n"
                                    "'--device list' shows the keys", OPTION_LIST, FIELD(disks),
     .paths = ",|file"},
    {"cdrom", "none|FILE[,key=value...]", "CD-ROM drive; 'none' is an empty one", OPTION_LIST,
     FIELD(cdroms), .paths = ",|file"},
    {"net", "KIND[,key=value...]", "network card; may be given more than once; 'list' shows\n"
                                   "kinds and keys", OPTION_LIST, FIELD(nets),
     .paths = "capture|tftp"},
    {"share", "DIR:TAG[,readonly]", "a host directory that the guest mounts by its tag (9P);\n"
                                    "may be given more than once", OPTION_LIST, FIELD(shares),
     .paths = ":"},
    {"device", "NAME[,key=value...]", "another device; may be given more than once; 'list'\n"
                                      "shows them and their keys", OPTION_LIST, FIELD(devices),
     .paths = "socket"},
    {"vga", "std|none[,key=value...]", "video card (default std); 'text=exits', 'width=N' and\n"
                                      "'height=N' are its keys", OPTION_STRING, FIELD(vga)},
    {"display", "none|sdl|vnc=[HOST]:N", "show the screen in a window (sdl[,escape=off]) or to\n"
     "VNC viewers (vnc=[HOST]:N[,password=FILE]); may be given\nmore than once (default none)",
     OPTION_LIST, FIELD(displays), .paths = "password"},
    {"memory", "SIZE", "guest memory, for example 512M (the default) or 2G", OPTION_SIZE,
     FIELD(memory_bytes)},
    {"engine", "NAME", "what executes the guest: auto (the default), or a name;\n"
                       "'list' shows them", OPTION_STRING, FIELD(engine)},
    {"machine", "NAME", "which computer: pc; 'list' shows them", OPTION_STRING, FIELD(machine)},
    {"cpu", "MODEL", "MODEL[,+feature][,-feature]; 'list' shows them", OPTION_STRING, FIELD(cpu)},
    {"host-features", "LIST", "-feature[,-feature...]: what the host is to lack, for testing",
     OPTION_STRING, FIELD(host_features)},
    {"cpus", "N", "number of processors (default 1)", OPTION_NUMBER, FIELD(cpus), 1, 255},
    {"cpu-weight", "N", "share of the host's CPUs beside others: 1 to 10000, 100 is everybody's",
     OPTION_NUMBER, FIELD(cpu_weight), 1, 10000},
    {"cpu-max", "PERCENT", "no more than so much of one of the host's CPUs, for example 150",
     OPTION_NUMBER, FIELD(cpu_max), 1, 100000},
    {"name", "NAME", "what other commands of ring3 call it (default vm-PID)",
     OPTION_STRING, FIELD(name)},
    {"gdb", "[HOST]:PORT|PATH", "wait for GDB at this port or Unix socket before starting",
     OPTION_STRING, FIELD(gdb)},
    {"irqchip", "user|kernel", "where KVM's interrupt controllers live (default kernel)",
     OPTION_CHOICE, FIELD(irqchip)},
    {"no-reboot", NULL, "end when the guest asks for a reset", OPTION_FLAG, FIELD(no_reboot)},
    {"on-triple-fault", "end|pause", "end (the default), or stay to be looked at", OPTION_CHOICE,
     FIELD(on_triple_fault)},
    {"serial", "stdio|none|FILE", "first serial port (default stdio)", OPTION_STRING,
     FIELD(serial), .paths = "*"},
    {"debugcon", "stdio|none|FILE", "debug console at port 0xE9 (default none)", OPTION_STRING,
     FIELD(debugcon), .paths = "*"},
    {"debug-exit-port", "PORT", "where a guest writes its exit status (default 0xF4)",
     OPTION_NUMBER, FIELD(debug_exit_port), 1, 0xffff},
    {"hypercalls", NULL, "machine pc: the teaching hypercalls at ports 0xEA to 0xEE, too",
     OPTION_FLAG, FIELD(hypercalls)},
    {"hypercall", "NAME=PORT", "move a hypercall to another port, for example printStr=0xE5;\n"
                               "may be given more than once", OPTION_LIST, FIELD(hypercall_ports)},
    {"test-device", NULL, "the test ports and memory of kvm-unit-tests", OPTION_FLAG,
     FIELD(test_device)},
    {"trace", "CATEGORIES", "log what happens: exits,device,irq,msr,cpuid,exception,\n"
                            "memory,translate,boot,firmware,engine or all", OPTION_STRING,
     FIELD(trace)},
    {"dump-blocks", "FILE", "at the end: guest and host code of every translated block there",
     OPTION_STRING, FIELD(dump_blocks), .paths = "*"},
    {"log", "FILE", "write warnings and traces there instead of to stderr", OPTION_STRING,
     FIELD(log), .paths = "*"},
    {NULL},
};
#undef FIELD

/* Where one stream of output goes. */
struct sink {
    const char *name;              /* for messages: "'FILE'", "standard output" */
    int fd;                        /* -1: nowhere */
    bool owned;
    struct pump *pump;
    struct run *run;
};

enum { VIEWS_MAX = 8 };

struct run {
    struct run_options options;
    struct cgroup cgroup;              /* --cpu-weight, --cpu-max */
    struct view *view[VIEWS_MAX];
    unsigned views;
    struct ini *ini;                   /* owns strings of the options */
    struct sink out, log, serial, debugcon;   /* out: the terminal, or standard output */
    struct log logger;
    struct console *console;
    struct place place;                /* of the control socket, until it is served */
    struct control_server *control;
    struct gdb *gdb;
    FILE *code_dump;                   /* --dump-blocks */
    _Atomic(struct machine *) machine;
    /* The first output that failed: the guest's text is lost, so the run is. */
    _Atomic(struct sink *) failed_sink;
    _Atomic int failed_code;
};

/* ---- output ---- */

/* In a pump's thread. */
static void on_output_failed(void *opaque, int error)
{
    struct sink *s = opaque, *none = NULL;
    struct run *run = s->run;

    atomic_store(&run->failed_code, error);
    atomic_compare_exchange_strong(&run->failed_sink, &none, s);
    struct machine *m = atomic_load(&run->machine);
    if (m)
        machine_stop(m);
}

static void on_output_dropped(void *opaque)
{
    struct sink *s = opaque;

    log_warn(&s->run->logger, "%s was not read for a while: some output of the guest is lost",
             s->name);
}

static int sink_open(struct sink *s, const char *path, struct error **err)
{
    s->name = path;
    s->owned = true;
    s->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
    if (s->fd < 0)
        return error_set(err, errno, "cannot open '%s' for writing: %s", path, strerror(errno));
    return 0;
}

static int sink_start(struct sink *s, struct error **err)
{
    bool guest_output = s != &s->run->log;
    struct pump_events events = {.opaque = s};

    if (s->fd < 0)
        return 0;
    if (guest_output) {
        events.failed = on_output_failed;
        events.dropped = on_output_dropped;
    }
    s->pump = pump_new(s->fd, &events, err);
    return s->pump ? 0 : -EIO;
}

static void sink_close(struct sink *s)
{
    pump_free(s->pump);
    s->pump = NULL;
    if (s->owned && s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void sink_write(void *opaque, const uint8_t *data, size_t len)
{
    pump_write(((struct sink *)opaque)->pump, data, len);
}

/* Is the first serial port or a console port there? */
static bool uses_stdio(const struct run *run)
{
    const struct machine_config c = {.devices = run->options.devices.item};

    return strcmp(run->options.serial, "stdio") == 0 || machine_uses_terminal(&c);
}

/* The log first: the others report to it. */
static int open_sinks(struct run *run, struct error **err)
{
    const struct run_options *o = &run->options;
    int r = 0;

    if (o->log)
        r = sink_open(&run->log, o->log, err);
    if (!uses_stdio(run))
        run->out.fd = -1;
    if (r == 0 && strcmp(o->serial, "none") != 0 && strcmp(o->serial, "stdio") != 0)
        r = sink_open(&run->serial, o->serial, err);
    if (r == 0 && strcmp(o->debugcon, "stdio") == 0)
        run->debugcon.fd = STDOUT_FILENO;
    else if (r == 0 && strcmp(o->debugcon, "none") != 0)
        r = sink_open(&run->debugcon, o->debugcon, err);
    if (r == 0)
        r = sink_start(&run->log, err);
    if (r == 0)
        r = sink_start(&run->out, err);
    if (r == 0)
        r = sink_start(&run->serial, err);
    if (r == 0)
        r = sink_start(&run->debugcon, err);
    if (r == 0)
        run->logger.fd = pump_fd(run->log.pump);
    return r;
}

/* ---- options ---- */

/* EINVAL means that we were asked for something that cannot be; everything
 * else is about a file or the host. */
static int start_status(const struct error *err)
{
    return err->code == EINVAL ? CLI_USAGE : CLI_CANNOT_START;
}

static int check_names(const struct run_options *o, struct error **err)
{
    enum { NAMES_MAX = 32 };
    const char *names[NAMES_MAX] = {"auto"};
    size_t n = 1;

    for (const struct engine_ops *const *e = engine_all(); *e && n + 1 < NAMES_MAX; e++)
        names[n++] = (*e)->name;
    names[n] = NULL;
    if (strcmp(o->engine, "auto") != 0 && !engine_find(o->engine))
        return error_no_such(err, "engine", o->engine, names);
    n = 0;
    for (const struct machine_ops *const *m = machine_all(); *m && n + 1 < NAMES_MAX; m++)
        names[n++] = (*m)->name;
    names[n] = NULL;
    if (!machine_find(o->machine))
        return error_no_such(err, "machine", o->machine, names);
    return 0;
}

/* Is there anything that the machine could start? */
static int check_start(const struct run_options *o, struct error **err)
{
    if (machine_find(o->machine)->takes_images || o->kernel || o->firmware)
        return 0;
    if (!machine_find(o->machine)->firmware) {
        error_set(err, EINVAL, "no kernel given");
        error_hint(err, "use --kernel FILE");
        return -EINVAL;
    }
    if (o->image || o->disks.count || o->cdroms.count || o->nets.count || o->option_roms.count)
        return 0;
    error_set(err, EINVAL, "there is nothing to start");
    error_hint(err, "name a disk image, an ISO, a configuration file, or --kernel FILE");
    return -EINVAL;
}

static int check_options(struct run *run, struct error **err)
{
    const struct run_options *o = &run->options;
    uint32_t mask = 0;

    int r = check_names(o, err);
    if (r < 0)
        return r;
    if (o->trace && log_parse_categories(o->trace, &mask, err) < 0)
        return error_wrap(err, "--trace");
    atomic_store(&run->logger.trace_mask, mask);
    return check_start(o, err);
}

static void options_defaults(struct run_options *o)
{
    struct machine_config defaults;

    machine_config_defaults(&defaults);
    *o = (struct run_options){
        .memory_bytes = defaults.memory_bytes, .cpus = defaults.cpus, .engine = defaults.engine,
        .machine = defaults.machine, .irqchip = "kernel", .serial = "stdio", .debugcon = "none",
    };
}

static void free_lists(struct run_options *o)
{
    for (const struct option *row = options; row->name; row++)
        if (row->type == OPTION_LIST)
            option_list_fini((struct option_list *)((char *)o + row->offset));
}

/* A configuration file is short and a text; an image has zeros in its first sector. A URL
 * is an image. */
static bool operand_is_disk(const char *path)
{
    enum { SECTOR = 512 };
    char start[SECTOR];                     /* nothing is smaller */
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(start, 1, sizeof start, f) : 0;

    if (f)
        fclose(f);
    return f ? n == sizeof start && memchr(start, 0, n) : strstr(path, "://") != NULL;
}

/* An ELF file is started, whatever the machine. */
static bool operand_is_kernel(const char *path)
{
    char start[4];
    FILE *f = fopen(path, "re");
    bool elf = f && fread(start, 1, sizeof start, f) == sizeof start &&
               !memcmp(start, "\177ELF", sizeof start);

    if (f)
        fclose(f);
    return elf;
}

/* The file first, so that the command line overrides it wherever the file is
 * named; the lists of the command line follow those of the file. */
static int read_options(struct run *run, int argc, char **argv, struct error **err)
{
    struct run_options scratch = {0};
    const char *file;

    options_defaults(&run->options);
    int r = options_parse_operand(options, &scratch, argc, argv, &file, err);
    free_lists(&scratch);
    if (r != 0)
        return r;
    if (file && operand_is_kernel(file))
        run->options.kernel = file;
    else if (file && operand_is_disk(file))
        run->options.image = file;
    else if (file)
        r = ini_load(file, options, &run->options, &run->ini, err);
    return r < 0 ? r : options_parse_operand(options, &run->options, argc, argv, &file, err);
}

static struct machine_config machine_config(struct run *run)
{
    const struct run_options *o = &run->options;
    struct machine_config c;

    machine_config_defaults(&c);
    c.machine = o->machine;
    c.engine = o->engine;
    c.cpu = o->cpu;
    c.host_features = o->host_features;
    c.kernel = o->kernel;
    c.image = o->image;
    c.firmware = o->firmware;
    c.firmware_vars = o->firmware_vars;
    c.boot_order = o->boot;
    c.option_roms = o->option_roms.item;
    c.firmware_serial = run->out.pump != NULL;
    c.initrd = o->initrd;
    c.append = o->append;
    c.modules = o->modules.item;
    c.disks = o->disks.item;
    c.cdroms = o->cdroms.item;
    c.nets = o->nets.item;
    c.shares = o->shares.item;
    c.devices = o->devices.item;
    c.loads = o->loads.item;
    c.start = o->start;
    c.hypercall_ports = o->hypercall_ports.item;
    c.hypercalls = o->hypercalls;
    c.vga = o->vga;
    c.memory_bytes = o->memory_bytes;
    c.cpus = (unsigned)o->cpus;
    c.no_reboot = o->no_reboot;
    c.pause_on_triple_fault = o->on_triple_fault && !strcmp(o->on_triple_fault, "pause");
    c.test_device = o->test_device;
    c.no_irqchip = strcmp(o->irqchip, "user") == 0;
    c.debug_exit_port = (uint16_t)o->debug_exit_port;
    c.log = &run->logger;
    c.code_dump = run->code_dump;
    if (run->out.pump)
        c.terminal = console_serial(run->console);
    if (strcmp(o->serial, "stdio") == 0)
        c.serial = c.terminal;
    else if (run->serial.pump)
        c.serial = (struct machine_serial){sink_write, &run->serial};
    if (run->debugcon.pump)
        c.debugcon = (struct machine_serial){sink_write, &run->debugcon};
    return c;
}

/* Of options that may come more than once. */
static bool print_list(const struct option_list *values, void (*describe)(struct strbuf *out))
{
    struct strbuf text = {0};

    for (size_t i = 0; i < values->count; i++) {
        if (strcmp(values->item[i], "list") != 0)
            continue;
        describe(&text);
        fputs(strbuf_text(&text), stdout);
        strbuf_fini(&text);
        return true;
    }
    return false;
}

/* --engine list and friends: 1 when that was asked for. */
static bool print_lists(const struct run_options *o)
{
    bool printed = false;

    if (strcmp(o->engine, "list") == 0) {
        for (const struct engine_ops *const *e = engine_all(); *e; e++)
            printf("%-10s %s\n", (*e)->name, (*e)->summary);
        printed = true;
    }
    if (strcmp(o->machine, "list") == 0) {
        for (const struct machine_ops *const *m = machine_all(); *m; m++)
            printf("%-10s %s\n", (*m)->name, (*m)->summary);
        printed = true;
    }
    if (o->cpu && strcmp(o->cpu, "list") == 0) {
        struct strbuf text = {0};
        x86_cpu_models_print(&text);
        fputs(strbuf_text(&text), stdout);
        strbuf_fini(&text);
        printed = true;
    }
    printed |= print_list(&o->devices, machine_list_devices);
    printed |= print_list(&o->nets, machine_list_networks);
    return printed;
}

/* ---- the run ---- */

static void stop_machine(void *opaque)
{
    machine_stop(opaque);
}

static const char *end_text(enum machine_end end)
{
    switch (end) {
    case MACHINE_RESET:
        return "the guest asked for a reset, and --no-reboot was given";
    case MACHINE_TRIPLE_FAULT:
        return "the guest's processor shut down (triple fault)";
    case MACHINE_PANICKED:
        return "the guest reported a panic";
    default:
        return NULL;
    }
}

static int end_status(const struct machine_result *result)
{
    switch (result->end) {
    case MACHINE_POWERED_OFF:
        return CLI_OK;
    case MACHINE_DEBUG_EXIT:
        return result->status & 0xff;
    case MACHINE_RESET:
        return CLI_RESET;
    case MACHINE_TRIPLE_FAULT:
        return CLI_TRIPLE_FAULT;
    case MACHINE_STOPPED:
        return CLI_STOPPED;
    case MACHINE_FAILED:
        return CLI_HOST_FAILED;
    case MACHINE_PANICKED:
        return CLI_PANIC;
    }
    BUG("a machine ended in no way");
}

/* The terminal is the user's again and the log is drained. */
static int tell_end(struct run *run, struct machine *m, struct machine_result *result)
{
    const char *text = end_text(result->end);

    if (result->end == MACHINE_TRIPLE_FAULT) {
        struct strbuf report = {0};
        machine_fault_report(m, result->vcpu, &report);
        fputs(strbuf_text(&report), stderr);
        strbuf_fini(&report);
    }
    if (text)
        fprintf(stderr, "ring3: %s\n", text);
    if (result->end == MACHINE_FAILED)
        return cli_fail(CLI_HOST_FAILED, &result->error);
    return end_status(result);
}

/* A name that was asked for has to be had; without one, no socket is a machine that
 * nobody talks to. */
static int claim_name(struct run *run, struct error **err)
{
    char name[PLACE_NAME_MAX];
    struct error *why = NULL;

    if (run->options.name)
        return place_claim(&run->place, run->options.name, err);
    snprintf(name, sizeof name, "vm-%ld", (long)getpid());
    if (place_claim(&run->place, name, &why) < 0)
        error_free(&why);
    return 0;
}

static int start_control(struct run *run, struct machine *m, struct error **err)
{
    struct error *why = NULL;

    if (run->place.listen_fd < 0)
        return 0;
    if (run->options.name)
        return control_server_start(&run->place, m, RING3_VERSION, &run->control, err);
    if (control_server_start(&run->place, m, RING3_VERSION, &run->control, &why) < 0)
        error_free(&why);
    return 0;
}

static int start_gdb(struct run *run, struct machine *m, struct error **err)
{
    int r = control_gdb_new(run->options.gdb, m, &run->gdb, err);

    if (r == 0)
        log_info(&run->logger, "waiting for a debugger at '%s'", run->options.gdb);
    return r;
}

static int run_machine(struct run *run, struct machine *m)
{
    struct machine_result result = {0};
    struct error *err = NULL;
    int status;

    atomic_store(&run->machine, m);
    terminal_on_stop(stop_machine, m);
    int r = console_start(run->console, m, &err);
    if (r == 0)
        r = start_control(run, m, &err);
    if (r == 0 && run->options.gdb)
        r = start_gdb(run, m, &err);
    if (r == 0)
        r = machine_run(m, &result, &err);
    control_server_stop(run->control);
    control_gdb_free(run->gdb);
    terminal_on_stop(NULL, NULL);
    atomic_store(&run->machine, NULL);
    console_stop(run->console);
    sink_close(&run->debugcon);
    sink_close(&run->serial);
    sink_close(&run->out);
    run->logger.fd = -1;
    sink_close(&run->log);
    if (r < 0)
        status = cli_fail(CLI_CANNOT_START, &err);
    else
        status = tell_end(run, m, &result);
    return status;
}

static int finish_status(struct run *run, int status)
{
    struct sink *failed = atomic_load(&run->failed_sink);
    struct error *err = NULL;

    if (!failed)
        return status;
    int code = atomic_load(&run->failed_code);
    error_set(&err, code, "cannot write the guest's output to %s: %s", failed->name,
              strerror(code));
    return cli_fail(CLI_HOST_FAILED, &err);
}

static int open_code_dump(struct run *run, struct error **err)
{
    const char *path = run->options.dump_blocks;

    if (!path)
        return 0;
    run->code_dump = fopen(path, "we");
    if (!run->code_dump)
        return error_set(err, errno, "cannot open '%s' for writing: %s", path, strerror(errno));
    return 0;
}

/* The status, unless the code of a run that went well could not be written. */
static int close_code_dump(struct run *run, int status)
{
    FILE *f = run->code_dump;
    struct error *err = NULL;
    bool failed = f && (fflush(f) != 0 || ferror(f));
    int code = errno;

    if (f)
        fclose(f);
    if (!failed || status != CLI_OK)
        return status;
    error_set(&err, code, "cannot write '%s': %s", run->options.dump_blocks, strerror(code));
    return cli_fail(CLI_HOST_FAILED, &err);
}

/* ---- displays ---- */

static int open_views(struct run *run, struct machine *m, struct error **err)
{
    const struct option_list *list = &run->options.displays;
    const struct view_config vc = {
        .display = machine_display(m), .input = machine_input(m),
        .vm_lock = bus_lock(machine_bus(m)), .log = &run->logger, .closed = stop_machine,
        .opaque = m,
    };

    if (list->count > VIEWS_MAX)
        return error_set(err, EINVAL, "--display: at most %d of them", VIEWS_MAX);
    for (size_t i = 0; i < list->count; i++) {
        int r = view_open(list->item[i], &vc, &run->view[run->views], err);

        if (r < 0)
            return r;
        run->views += run->view[run->views] != NULL;
    }
    return 0;
}

static void close_views(struct run *run)
{
    while (run->views)
        view_close(run->view[--run->views]);
}

static int start_and_run(struct run *run)
{
    struct machine *m = NULL;
    struct error *err = NULL;
    int status = CLI_CANNOT_START;

    if (cgroup_enter(&run->cgroup, run->options.cpu_weight, run->options.cpu_max, &err) < 0 ||
        claim_name(run, &err) < 0 || open_sinks(run, &err) < 0 || open_code_dump(run, &err) < 0) {
        status = start_status(err);
        cli_fail(status, &err);
        goto out;
    }
    bool shows_out = uses_stdio(run) && isatty(STDOUT_FILENO);
    const struct console_config cc = {
        .in_fd = uses_stdio(run) ? STDIN_FILENO : -1,
        .out = run->out.pump,
        .ui = shows_out ? run->out.pump : run->log.pump,
    };
    run->console = console_new(&cc);
    struct machine_config config = machine_config(run);
    if (machine_new(&config, &m, &err) < 0 || open_views(run, m, &err) < 0) {
        status = start_status(err);
        cli_fail(status, &err);
        goto out;
    }
    status = finish_status(run, run_machine(run, m));
out:
    close_views(run);
    machine_free(m);
    place_release(&run->place);
    console_free(run->console);
    sink_close(&run->debugcon);
    sink_close(&run->serial);
    sink_close(&run->out);
    sink_close(&run->log);
    cgroup_leave(&run->cgroup);
    return close_code_dump(run, status);
}

int cmd_run(int argc, char **argv)
{
    struct run run = {
        .out = {.name = "standard output", .fd = STDOUT_FILENO, .run = &run},
        .log = {.name = "standard error", .fd = STDERR_FILENO, .run = &run},
        .serial = {.name = "standard output", .fd = -1, .run = &run},
        .debugcon = {.name = "standard output", .fd = -1, .run = &run},
        .place = {.lock_fd = -1, .listen_fd = -1},
    };
    struct error *err = NULL;
    int status;

    log_init(&run.logger, STDERR_FILENO);
    int r = read_options(&run, argc, argv, &err);
    if (r == OPTIONS_HELP) {
        cli_print_usage("run", options);
        cli_print_statuses();
        status = cli_finish_output();
    } else if (r == 0 && print_lists(&run.options)) {
        status = cli_finish_output();
    } else if (r < 0 || check_options(&run, &err) < 0) {
        status = cli_fail(start_status(err), &err);
    } else {
        terminal_guard();
        status = start_and_run(&run);
    }
    free_lists(&run.options);
    ini_free(run.ini);
    int signo = terminal_stop_signal();
    if (signo)
        terminal_die(signo);
    return status;
}
