/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * doctor.c - `ring3 doctor`: what this host can do for virtual machines.
 *
 * Gathers facts by trying (opening, one system call, a forked child), never by
 * guessing from versions, and prints them as a table or, with --json, as one
 * object whose keys are stable:
 *
 *   version          of this format: 1
 *   ring3            program version
 *   engines[]        name, status (absent|forbidden|slow|good), reason,
 *                    insn_per_us, exit_us (null: not measured)
 *   auto             engine (null: none), why
 *   kvm, tun, io_uring, user_namespaces, memfd, executable_memory
 *                    status (absent|forbidden|slow|good), detail
 *   io_uring.sysctl  kernel.io_uring_disabled (null: no such setting)
 *   memory           total_bytes, available_bytes
 *   cpu              vendor, model, count, features{name: bool}
 *
 * Nothing here fails: a thing that is not there is a finding. The exit status
 * is 0 unless the output cannot be written.
 */
#include "cli/cli.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef RING3_JANSSON
#include <jansson.h>
#endif
#include "base/code_memory.h"
#include "base/error.h"
#include "cli/options.h"
#include "engine/engine.h"

enum { ENGINES_MAX = 8, FEATURES_MAX = 16, CAP_NET_ADMIN_BIT = 12 };

/* A thing that is there, or not, or not for us, or not fast. */
struct finding {
    const char *key, *title;      /* in JSON; in the table */
    enum engine_status status;
    char detail[192];
};

enum { FINDING_KVM, FINDING_TUN, FINDING_IO_URING, FINDING_USERNS, FINDING_MEMFD,
       FINDING_EXEC, FINDING_COUNT };

struct doctor {
    struct { const char *name; struct engine_probe probe; } engine[ENGINES_MAX];
    unsigned engines;
    const char *auto_engine;      /* NULL: none works */
    char auto_why[256];
    struct finding finding[FINDING_COUNT];
    int io_uring_sysctl;          /* -1: no such setting */
    uint64_t memory_total_bytes, memory_available_bytes;
    char cpu_vendor[13], cpu_model[49];
    long cpus;
    struct { const char *name; bool present; } feature[FEATURES_MAX];
    unsigned features;
};

static const char *status_name(enum engine_status s)
{
    static const char *const names[] = {
        [ENGINE_ABSENT] = "absent", [ENGINE_FORBIDDEN] = "forbidden",
        [ENGINE_SLOW] = "slow", [ENGINE_GOOD] = "good"};
    return names[s];
}

static void found(struct finding *f, const char *key, const char *title,
                  enum engine_status status, const char *fmt, ...) PRINTF_LIKE(5, 6);
static void found(struct finding *f, const char *key, const char *title,
                  enum engine_status status, const char *fmt, ...)
{
    va_list args;

    f->key = key;
    f->title = title;
    f->status = status;
    va_start(args, fmt);
    vsnprintf(f->detail, sizeof(f->detail), fmt, args);
    va_end(args);
}

static enum engine_status status_of_errno(int code)
{
    return code == EACCES || code == EPERM ? ENGINE_FORBIDDEN : ENGINE_ABSENT;
}

/* The first number in a one-line file of /proc, or `otherwise`. */
static long read_number(const char *path, long otherwise)
{
    FILE *f = fopen(path, "re");
    long value;

    if (!f)
        return otherwise;
    if (fscanf(f, "%ld", &value) != 1)
        value = otherwise;
    fclose(f);
    return value;
}

/* The rest of the line that starts with `name`, as a number in `base`. */
static uint64_t read_field(const char *path, const char *name, int base)
{
    FILE *f = fopen(path, "re");
    char line[256];
    uint64_t value = 0;

    if (!f)
        return 0;
    while (fgets(line, sizeof(line), f))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtoull(line + strlen(name), NULL, base);
    fclose(f);
    return value;
}

/* Runs `fn` in a child, so that whatever it does to the process is gone after
 * it. Its return value, or -1 when it died. */
static int in_child(int (*fn)(void))
{
    int status;

    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(fn());
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

/* ---- the findings --------------------------------------------------------- */

static void find_engines(struct doctor *d)
{
    const struct engine_ops *const *all = engine_all();
    const struct engine_ops *chosen = engine_auto(NULL, d->auto_why, sizeof(d->auto_why), NULL);

    d->auto_engine = chosen ? chosen->name : NULL;
    for (; all[d->engines] && d->engines < ENGINES_MAX; d->engines++) {
        d->engine[d->engines].name = all[d->engines]->name;
        all[d->engines]->probe(&d->engine[d->engines].probe);
    }
}

static void find_kvm(struct doctor *d)
{
    const struct engine_ops *kvm = engine_find("kvm");
    struct finding *f = &d->finding[FINDING_KVM];

    found(f, "kvm", "KVM", ENGINE_ABSENT, "not built in");
    for (unsigned i = 0; kvm && i < d->engines; i++)
        if (d->engine[i].name == kvm->name)
            found(f, "kvm", "KVM", d->engine[i].probe.status, "%s", d->engine[i].probe.reason);
}

static void find_tun(struct doctor *d)
{
    struct finding *f = &d->finding[FINDING_TUN];
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        found(f, "tun", "/dev/net/tun", status_of_errno(errno), "%s%s", strerror(errno),
              errno == ENOENT || errno == ENODEV ? "; load the module tun" : "");
        return;
    }
    close(fd);
    bool admin = read_field("/proc/self/status", "CapEff:", 16) >> CAP_NET_ADMIN_BIT & 1;
    found(f, "tun", "/dev/net/tun", ENGINE_GOOD, admin ? "TAP interfaces can be made" :
          "an existing TAP interface can be used; making one needs CAP_NET_ADMIN");
}

static void find_io_uring(struct doctor *d)
{
    struct finding *f = &d->finding[FINDING_IO_URING];
    struct io_uring_params params = {0};
    long fd = syscall(SYS_io_uring_setup, 1, &params);
    int code = errno;

    d->io_uring_sysctl = (int)read_number("/proc/sys/kernel/io_uring_disabled", -1);
    if (fd >= 0) {
        close((int)fd);
        found(f, "io_uring", "io_uring", ENGINE_GOOD, "works");
        return;
    }
    if (d->io_uring_sysctl > 0)
        found(f, "io_uring", "io_uring", status_of_errno(code),
              "%s; kernel.io_uring_disabled is %d", strerror(code), d->io_uring_sysctl);
    else
        found(f, "io_uring", "io_uring", status_of_errno(code), "%s", strerror(code));
}

static int try_user_namespace(void)
{
    return unshare(CLONE_NEWUSER) < 0 ? errno : 0;
}

static void find_user_namespaces(struct doctor *d)
{
    struct finding *f = &d->finding[FINDING_USERNS];
    int code = in_child(try_user_namespace);

    if (code == 0)
        found(f, "user_namespaces", "user namespaces", ENGINE_GOOD, "can be made");
    else
        found(f, "user_namespaces", "user namespaces",
              code == ENOSPC ? ENGINE_FORBIDDEN : status_of_errno(code), "%s",
              code < 0 ? "the attempt died" : strerror(code));
}

static void find_memfd(struct doctor *d)
{
    struct finding *f = &d->finding[FINDING_MEMFD];
    int fd = memfd_create("ring3-doctor", MFD_CLOEXEC);

    if (fd < 0) {
        found(f, "memfd", "memfd", status_of_errno(errno), "%s; guest memory needs it",
              strerror(errno));
        return;
    }
    close(fd);
    found(f, "memfd", "memfd", ENGINE_GOOD, "guest memory can be shared with other processes");
}

/* Code written through one mapping, run through another: what the software engines
 * do. Returns 42 when it ran. */
static int try_executable_memory(void)
{
    static const uint8_t code[] = {0xb8, 42, 0, 0, 0, 0xc3};   /* mov eax,42; ret */
    struct code_memory m;
    int (*run)(void);

    if (code_memory_map(&m, "ring3-doctor", PAGE_SIZE, 0, NULL) < 0)
        return 1;
    memcpy(m.write, code, sizeof(code));
    memcpy(&run, &m.exec, sizeof(run));
    return run();
}

static void find_executable_memory(struct doctor *d)
{
    struct finding *f = &d->finding[FINDING_EXEC];
    bool works = in_child(try_executable_memory) == 42;

    found(f, "executable_memory", "executable memory", works ? ENGINE_GOOD : ENGINE_FORBIDDEN,
          works ? "two views of one memfd, never writable and executable at once" :
          "no dbt, and interp has no floating point and no vector instructions");
}

static void find_cpu(struct doctor *d)
{
    uint32_t leaf[12] = {0}, a, b, c, e;

    if (__get_cpuid(0, &a, &b, &c, &e)) {
        memcpy(d->cpu_vendor, &b, 4);
        memcpy(d->cpu_vendor + 4, &e, 4);
        memcpy(d->cpu_vendor + 8, &c, 4);
    }
    for (uint32_t i = 0; i < 3; i++)
        __get_cpuid(0x80000002 + i, &leaf[4 * i], &leaf[4 * i + 1], &leaf[4 * i + 2],
                    &leaf[4 * i + 3]);
    const char *name = (const char *)leaf;
    snprintf(d->cpu_model, sizeof(d->cpu_model), "%.48s", name + strspn(name, " "));
    for (size_t n = strlen(d->cpu_model); n && d->cpu_model[n - 1] == ' '; n--)
        d->cpu_model[n - 1] = 0;
    d->cpus = sysconf(_SC_NPROCESSORS_ONLN);
}

static void find_features(struct doctor *d)
{
    static const struct { const char *name; uint32_t leaf; uint8_t reg, bit; } wanted[] = {
        {"vmx", 1, 2, 5}, {"svm", 0x80000001, 2, 2}, {"hypervisor", 1, 2, 31},
        {"invariant_tsc", 0x80000007, 3, 8}, {"x2apic", 1, 2, 21}, {"fsgsbase", 7, 1, 0},
        {"xsave", 1, 2, 26}, {"avx", 1, 2, 28}, {"avx2", 7, 1, 5}, {"avx512f", 7, 1, 16},
        {"bmi2", 7, 1, 8}, {"adx", 7, 1, 19}, {"aes", 1, 2, 25}, {"rdrand", 1, 2, 30},
    };
    _Static_assert(ARRAY_SIZE(wanted) <= FEATURES_MAX, "room for all");

    for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
        uint32_t r[4] = {0};
        if (!__get_cpuid_count(wanted[i].leaf, 0, &r[0], &r[1], &r[2], &r[3]))
            memset(r, 0, sizeof(r));
        d->feature[d->features].name = wanted[i].name;
        d->feature[d->features++].present = r[wanted[i].reg] >> wanted[i].bit & 1;
    }
}

static void examine(struct doctor *d)
{
    memset(d, 0, sizeof(*d));
    find_engines(d);
    find_kvm(d);
    find_tun(d);
    find_io_uring(d);
    find_user_namespaces(d);
    find_memfd(d);
    find_executable_memory(d);
    find_cpu(d);
    find_features(d);
    d->memory_total_bytes = read_field("/proc/meminfo", "MemTotal:", 10) << 10;
    d->memory_available_bytes = read_field("/proc/meminfo", "MemAvailable:", 10) << 10;
}

/* ---- the report ----------------------------------------------------------- */

static void print_table(const struct doctor *d)
{
    printf("Engines\n");
    for (unsigned i = 0; i < d->engines; i++)
        printf("  %-18s %-10s %s\n", d->engine[i].name, status_name(d->engine[i].probe.status),
               d->engine[i].probe.reason);
    printf("  %-18s %s\n", "auto takes", d->auto_why);

    printf("\nHost\n");
    printf("  %-18s %s, %s, %ld CPU%s\n", "processor", d->cpu_vendor, d->cpu_model, d->cpus,
           d->cpus == 1 ? "" : "s");
    printf("  %-18s", "it has");
    for (unsigned i = 0; i < d->features; i++)
        if (d->feature[i].present)
            printf(" %s", d->feature[i].name);
    printf("\n  %-18s", "it lacks");
    for (unsigned i = 0; i < d->features; i++)
        if (!d->feature[i].present)
            printf(" %s", d->feature[i].name);
    printf("\n  %-18s %llu MiB available of %llu MiB\n", "memory",
           (unsigned long long)d->memory_available_bytes >> 20,
           (unsigned long long)d->memory_total_bytes >> 20);
    for (unsigned i = FINDING_KVM + 1; i < FINDING_COUNT; i++)   /* KVM is among the engines */
        printf("  %-18s %-10s %s\n", d->finding[i].title, status_name(d->finding[i].status),
               d->finding[i].detail);
}

#ifdef RING3_JANSSON
static json_t *number_or_null(double value)
{
    return value > 0 ? json_real(value) : json_null();
}

static json_t *json_engines(const struct doctor *d)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < d->engines; i++) {
        const struct engine_probe *p = &d->engine[i].probe;
        json_array_append_new(list, json_pack(
            "{s:s, s:s, s:s, s:o, s:o}", "name", d->engine[i].name,
            "status", status_name(p->status), "reason", p->reason,
            "insn_per_us", number_or_null(p->insn_per_us),
            "exit_us", number_or_null(p->exit_us)));
    }
    return list;
}

static json_t *json_cpu(const struct doctor *d)
{
    json_t *features = json_object();

    for (unsigned i = 0; i < d->features; i++)
        json_object_set_new(features, d->feature[i].name, json_boolean(d->feature[i].present));
    return json_pack("{s:s, s:s, s:I, s:o}", "vendor", d->cpu_vendor, "model", d->cpu_model,
                     "count", (json_int_t)d->cpus, "features", features);
}

static int print_json(const struct doctor *d, struct error **err)
{
    json_t *root = json_pack(
        "{s:i, s:s, s:o, s:{s:s?, s:s}, s:{s:I, s:I}, s:o}", "version", 1,
        "ring3", RING3_VERSION, "engines", json_engines(d),
        "auto", "engine", d->auto_engine, "why", d->auto_why,
        "memory", "total_bytes", (json_int_t)d->memory_total_bytes,
        "available_bytes", (json_int_t)d->memory_available_bytes, "cpu", json_cpu(d));

    if (!root)
        return error_set(err, ENOMEM, "cannot make the JSON report");
    for (unsigned i = 0; i < FINDING_COUNT; i++) {
        const struct finding *f = &d->finding[i];
        json_t *object = json_pack("{s:s, s:s}", "status", status_name(f->status),
                                   "detail", f->detail);
        if (i == FINDING_IO_URING)
            json_object_set_new(object, "sysctl", d->io_uring_sysctl < 0 ? json_null() :
                                json_integer(d->io_uring_sysctl));
        json_object_set_new(root, f->key, object);
    }
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(root);
    return 0;
}
#else
static int print_json(const struct doctor *d, struct error **err)
{
    return error_set(err, ENOTSUP, "--json is not built in: libjansson was missing");
}
#endif

struct doctor_options { bool json; };
static const struct option options[] = {
    {"json", NULL, "print a JSON object for scripts", OPTION_FLAG,
     offsetof(struct doctor_options, json)},
    {NULL},
};

int cmd_doctor(int argc, char **argv)
{
    struct doctor_options o = {false};
    struct error *err = NULL;
    struct doctor d;
    int result = options_parse(options, &o, argc, argv, &err);

    if (result < 0)
        return cli_fail(CLI_USAGE, &err);
    if (result == OPTIONS_HELP) {
        cli_print_usage("doctor", options);
        return cli_finish_output();
    }
    examine(&d);
    if (!o.json)
        print_table(&d);
    else if (print_json(&d, &err) < 0)
        return cli_fail(CLI_HOST_FAILED, &err);
    return cli_finish_output();
}
