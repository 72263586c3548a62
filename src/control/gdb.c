/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gdb.c - packets: in, out, and what each of them asks for. See gdb.h.
 *
 * Watches only post work: commands read processors and run the monitor's language, for
 * which the VM lock must not be held.
 */
#include "control/gdb.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "bus/bus.h"
#include "control/command.h"
#include "control/gdb_socket.h"
#include "machine/machine.h"
#include "memory/memory.h"

enum { PACKET_MAX = 16384, OUT_MAX = 4 << 20, MEMORY_MAX = 4096, CONSOLE_PIECE = 2048 };

struct gdb {
    struct machine *machine;
    int listen_fd, fd;               /* -1: none */
    char *path;                      /* of a Unix socket, removed at the end */
    struct loop_watch *listen_watch, *watch;
    bool posted;
    char in[PACKET_MAX];
    size_t in_len;
    bool in_packet, too_long;
    unsigned sum_digits;
    char sum[3];
    struct strbuf out, reply;
    bool no_ack, closing, running, physical;
    unsigned thread;                 /* whose registers */
    struct machine_stop last;
};

static void post(struct gdb *g);

/* ---- out --------------------------------------------------------------- */

static void send_packet(struct gdb *g, const char *text, size_t len)
{
    unsigned sum = 0;

    for (size_t i = 0; i < len; i++)
        sum += (unsigned char)text[i];
    strbuf_addf(&g->out, "$");
    strbuf_add(&g->out, text, len);
    strbuf_addf(&g->out, "#%02x", sum & 0xff);
}

static void say(struct gdb *g, const char *text)
{
    strbuf_addf(&g->reply, "%s", text);
}

static void add_hex(struct strbuf *out, const void *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        strbuf_addf(out, "%02x", ((const uint8_t *)data)[i]);
}

static void say_stop(struct gdb *g)
{
    static const char *const points[] = {
        [X86_POINT_WRITE] = "watch", [X86_POINT_READ] = "rwatch", [X86_POINT_ACCESS] = "awatch",
    };
    const struct machine_stop *s = &g->last;
    bool data = s->reason == MACHINE_STOP_POINT && s->hit.kind != X86_POINT_EXECUTE;

    strbuf_addf(&g->reply, "T%02xthread:%x;", s->reason == MACHINE_STOP_SHUTDOWN ? 11 : 5,
                s->vcpu + 1);
    if (data)
        strbuf_addf(&g->reply, "%s:%llx;", points[s->hit.kind],
                    (unsigned long long)s->hit.address);
}

static void flush_reply(struct gdb *g)
{
    send_packet(g, strbuf_text(&g->reply), g->reply.len);
    strbuf_clear(&g->reply);
}

/* ---- numbers ----------------------------------------------------------- */

static bool hex_number(const char **at, uint64_t *value)
{
    char *end;

    if (!strchr("0123456789abcdefABCDEF", **at) || !**at)
        return false;
    errno = 0;
    *value = strtoull(*at, &end, 16);
    *at = end;
    return errno == 0;
}

static bool hex_pair(const char **at, char between, uint64_t *a, uint64_t *b)
{
    return hex_number(at, a) && *(*at)++ == between && hex_number(at, b);
}

static bool hex_bytes(const char *at, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++, at += 2) {
        char two[3] = {at[0], at[0] ? at[1] : '\0', '\0'};
        char *end;

        out[i] = (uint8_t)strtoul(two, &end, 16);
        if (end != two + 2)
            return false;
    }
    return !*at;
}

/* "1a", "p1.1a", "-1", "0": a thread, or UINT_MAX for all. */
static bool thread_id(const char **at, unsigned *thread)
{
    uint64_t n;

    if (**at == 'p') {
        ++*at;
        if (**at == '-')
            ++*at;
        if (!hex_number(at, &n))
            return false;
        if (**at != '.') {
            *thread = UINT_MAX;
            return true;
        }
        ++*at;
    }
    *thread = UINT_MAX;
    if (!strncmp(*at, "-1", 2)) {
        *at += 2;
        return true;
    }
    if (!hex_number(at, &n))
        return false;
    if (n)
        *thread = n <= UINT16_MAX ? (unsigned)n - 1 : UINT16_MAX;
    return true;
}

/* ---- registers and memory ---------------------------------------------- */

static bool state_of(struct gdb *g, struct x86_state *s)
{
    return machine_vcpu_state(g->machine, g->thread, s) == 0;
}

static void ok_or_error(struct gdb *g, bool ok, const char *error)
{
    say(g, ok ? "OK" : error);
}

static void read_all(struct gdb *g, const char *p)
{
    struct x86_state s;

    if (!state_of(g, &s)) {
        say(g, "E05");
        return;
    }
    for (unsigned n = 0; n < gdb_regs_count(); n++)
        gdb_reg_read(&s, n, &g->reply);
}

static void write_all(struct gdb *g, const char *p)
{
    struct x86_state s;
    bool ok = state_of(g, &s);

    for (unsigned n = 0; n < gdb_regs_count() && ok; n++)
        ok = gdb_reg_write(&s, n, &p);
    ok_or_error(g, ok && !*p && machine_vcpu_set_state(g->machine, g->thread, &s) == 0, "E22");
}

static void read_one(struct gdb *g, const char *p)
{
    struct x86_state s;
    uint64_t n;

    if (hex_number(&p, &n) && !*p && n < gdb_regs_count() && state_of(g, &s))
        gdb_reg_read(&s, (unsigned)n, &g->reply);
    else
        say(g, "E22");
}

static void write_one(struct gdb *g, const char *p)
{
    struct x86_state s;
    uint64_t n;

    ok_or_error(g, hex_number(&p, &n) && *p++ == '=' && n < gdb_regs_count() && state_of(g, &s) &&
                   gdb_reg_write(&s, (unsigned)n, &p) && !*p &&
                   machine_vcpu_set_state(g->machine, g->thread, &s) == 0, "E22");
}

/* Physical memory up to the first byte that is not there. */
static size_t read_physical(struct machine *m, uint64_t at, uint8_t *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        size_t chunk = min_u64(len - done, PAGE_SIZE - ((at + done) & PAGE_OFFSET_MASK));

        if (memory_read(machine_memory(m), gpa(at + done), buf + done, chunk) != 0)
            break;
        done += chunk;
    }
    return done;
}

static void read_memory(struct gdb *g, const char *p)
{
    uint8_t buf[MEMORY_MAX];
    struct x86_state s;
    uint64_t at, len;
    size_t got;

    if (!hex_pair(&p, ',', &at, &len) || *p || len > sizeof buf || !state_of(g, &s)) {
        say(g, "E22");
        return;
    }
    got = g->physical ? read_physical(g->machine, at, buf, len)
                      : machine_read_virtual(g->machine, &s, gva(at), buf, len);
    if (!got && len)
        say(g, "E14");
    add_hex(&g->reply, buf, got);
}

static void write_memory(struct gdb *g, const char *p)
{
    uint8_t buf[MEMORY_MAX];
    struct x86_state s;
    uint64_t at, len;
    bool done;

    if (!hex_pair(&p, ',', &at, &len) || *p++ != ':' || len > sizeof buf ||
        !hex_bytes(p, buf, len) || !state_of(g, &s)) {
        say(g, "E22");
        return;
    }
    done = g->physical ? memory_write(machine_memory(g->machine), gpa(at), buf, len) == 0
                       : machine_write_virtual(g->machine, &s, gva(at), buf, len) == len;
    ok_or_error(g, done, "E14");
}

/* ---- points ------------------------------------------------------------ */

/* Z0 and Z1 are the same here, but for the number of bytes, which tells them apart. */
static bool parse_point(const char *p, struct x86_point *point)
{
    static const enum x86_point_kind kinds[] = {X86_POINT_EXECUTE, X86_POINT_EXECUTE,
                                                X86_POINT_WRITE, X86_POINT_READ,
                                                X86_POINT_ACCESS};
    unsigned type = (unsigned)(*p - '0');
    uint64_t at, kind;

    if (type >= ARRAY_SIZE(kinds) || p[1] != ',')
        return false;
    p += 2;
    if (!hex_pair(&p, ',', &at, &kind) || (*p && *p != ';'))
        return false;
    *point = (struct x86_point){kinds[type], at, type < 2 ? type : kind};
    return true;
}

static void change_point(struct gdb *g, const char *p, bool add)
{
    struct x86_point point;
    int rc;

    if (!parse_point(p, &point) || (point.kind != X86_POINT_EXECUTE &&
                                    (!point.bytes || point.bytes > PAGE_SIZE))) {
        say(g, "E22");
        return;
    }
    rc = add ? machine_point_add(g->machine, &point) : machine_point_remove(g->machine, &point);
    if (rc != -EOPNOTSUPP)           /* else the empty reply: not known here */
        ok_or_error(g, rc == 0 || rc == -ENOENT, "E28");
}

static void add_point(struct gdb *g, const char *p)
{
    change_point(g, p, true);
}

static void remove_point(struct gdb *g, const char *p)
{
    change_point(g, p, false);
}

/* ---- running ----------------------------------------------------------- */

static void go(struct gdb *g, unsigned only, bool step)
{
    g->running = true;
    machine_debug_go(g->machine, only, step);
}

/* [ADDRESS] behind `c` and `s`. */
static void go_from(struct gdb *g, const char *p, bool step)
{
    struct x86_state s;
    uint64_t at;

    if (*p) {
        if (!hex_number(&p, &at) || *p || !state_of(g, &s)) {
            say(g, "E22");
            return;
        }
        s.rip = at;
        machine_vcpu_set_state(g->machine, g->thread, &s);
    }
    go(g, step ? g->thread : UINT_MAX, step);
}

static void do_continue(struct gdb *g, const char *p)
{
    go_from(g, p, false);
}

static void do_step(struct gdb *g, const char *p)
{
    go_from(g, p, true);
}

/* vCont;ACTION[:THREAD]... One steps alone; one that goes without a "c" for all, too. */
static void do_vcont(struct gdb *g, const char *p)
{
    unsigned stepper = UINT_MAX, runner = UINT_MAX;
    bool step = false, all = false, any = false;

    if (*p == '?') {
        say(g, "vCont;c;C;s;S");
        return;
    }
    while (*p == ';') {
        char action = *++p;
        unsigned thread = UINT_MAX;
        uint64_t ignored;

        if (!action || !strchr("cCsS", action))
            break;
        p++;
        if ((action == 'C' || action == 'S') && !hex_number(&p, &ignored))
            break;
        if (*p == ':' && (p++, !thread_id(&p, &thread)))
            break;
        any = true;
        if (action == 's' || action == 'S') {
            if (!step)
                stepper = thread == UINT_MAX ? g->thread : thread;
            step = true;
        } else if (thread == UINT_MAX) {
            all = true;
        } else {
            runner = thread;
        }
    }
    if (*p || !any || (step && stepper >= machine_cpus(g->machine)) ||
        (!step && !all && runner >= machine_cpus(g->machine)))
        say(g, "E22");
    else
        go(g, step ? stepper : all ? UINT_MAX : runner, step);
}

static void stopped(void *opaque, const struct machine_stop *stop)
{
    struct gdb *g = opaque;

    g->last = *stop;
    g->thread = stop->vcpu;
    if (!g->running)
        return;
    g->running = false;
    say_stop(g);
    flush_reply(g);
    post(g);
}

static void interrupt(struct gdb *g)
{
    if (!g->running)
        return;
    g->running = false;
    machine_pause(g->machine);
    g->last = (struct machine_stop){.vcpu = g->thread, .reason = MACHINE_STOP_STEP};
    strbuf_addf(&g->reply, "T02thread:%x;", g->thread + 1);
    flush_reply(g);
}

/* ---- the rest ---------------------------------------------------------- */

static void say_why(struct gdb *g, const char *p)
{
    say_stop(g);
}

static void set_thread(struct gdb *g, const char *p)
{
    unsigned thread;
    char what = *p;

    if (what)
        p++;
    if (!thread_id(&p, &thread) || *p ||
        (thread != UINT_MAX && thread >= machine_cpus(g->machine))) {
        say(g, "E22");
        return;
    }
    if (what == 'g' && thread != UINT_MAX)
        g->thread = thread;
    say(g, "OK");
}

static void thread_alive(struct gdb *g, const char *p)
{
    unsigned thread;

    ok_or_error(g, thread_id(&p, &thread) && thread < machine_cpus(g->machine), "E22");
}

static void say_supported(struct gdb *g, const char *p)
{
    strbuf_addf(&g->reply, "PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;vContSupported+",
                PACKET_MAX / 2);
}

static void start_no_ack(struct gdb *g, const char *p)
{
    g->no_ack = true;
    say(g, "OK");
}

static void read_features(struct gdb *g, const char *p)
{
    struct strbuf xml = {0};
    uint64_t at, len;

    if (strncmp(p, "target.xml:", 11) || (p += 11, !hex_pair(&p, ',', &at, &len)) || *p) {
        say(g, "E00");
        return;
    }
    gdb_regs_describe(&xml);
    at = min_u64(at, xml.len);
    len = min_u64(min_u64(len, MEMORY_MAX), xml.len - at);
    say(g, at + len < xml.len ? "m" : "l");
    strbuf_add(&g->reply, xml.text + at, len);
    strbuf_fini(&xml);
}

static void say_threads(struct gdb *g, const char *p)
{
    for (unsigned i = 0; i < machine_cpus(g->machine); i++)
        strbuf_addf(&g->reply, "%s%x", i ? "," : "m", i + 1);
}

static void say_no_more(struct gdb *g, const char *p)
{
    say(g, "l");
}

static void say_thread(struct gdb *g, const char *p)
{
    strbuf_addf(&g->reply, "QC%x", g->thread + 1);
}

static void say_thread_name(struct gdb *g, const char *p)
{
    char name[32];
    unsigned thread;

    if (thread_id(&p, &thread) && thread < machine_cpus(g->machine)) {
        snprintf(name, sizeof name, "vCPU %u", thread);
        add_hex(&g->reply, name, strlen(name));
    } else {
        say(g, "E22");
    }
}

static void say_one(struct gdb *g, const char *p)
{
    say(g, "1");
}

static void set_physical(struct gdb *g, const char *p)
{
    g->physical = *p == '1';
    say(g, "OK");
}

static void say_physical(struct gdb *g, const char *p)
{
    say(g, g->physical ? "1" : "0");
}

/* `monitor COMMAND`: its output in console packets. */
static void run_command(struct gdb *g, const char *p)
{
    size_t len = strlen(p) / 2;
    struct strbuf text = {0}, piece = {0};
    char line[512] = "";

    if (strlen(p) % 2 || len >= sizeof line || !hex_bytes(p, (uint8_t *)line, len)) {
        say(g, "E22");
        return;
    }
    command_execute(g->machine, line, &text);
    for (size_t at = 0; at < text.len; at += CONSOLE_PIECE) {
        strbuf_addf(&piece, "O");
        add_hex(&piece, text.text + at, min_u64(CONSOLE_PIECE, text.len - at));
        send_packet(g, piece.text, piece.len);
        strbuf_clear(&piece);
    }
    strbuf_fini(&piece);
    strbuf_fini(&text);
    say(g, "OK");
}

static void do_detach(struct gdb *g, const char *p)
{
    say(g, "OK");
    g->closing = true;
}

static void do_kill(struct gdb *g, const char *p)
{
    say(g, "OK");
    machine_stop(g->machine);
}

/* Prefixes; the longer ones first. */
static const struct {
    const char *name;
    void (*run)(struct gdb *g, const char *rest);
} commands[] = {
    {"qSupported", say_supported},      {"qXfer:features:read:", read_features},
    {"qfThreadInfo", say_threads},      {"qsThreadInfo", say_no_more},
    {"qThreadExtraInfo,", say_thread_name}, {"qRcmd,", run_command},
    {"qAttached", say_one},             {"qqemu.PhyMemMode", say_physical},
    {"Qqemu.PhyMemMode:", set_physical}, {"qC", say_thread},
    {"QStartNoAckMode", start_no_ack},  {"vCont", do_vcont},
    {"vKill", do_kill},                 {"?", say_why},
    {"g", read_all},                    {"G", write_all},
    {"p", read_one},                    {"P", write_one},
    {"m", read_memory},                 {"M", write_memory},
    {"Z", add_point},                   {"z", remove_point},
    {"H", set_thread},                  {"T", thread_alive},
    {"c", do_continue},                 {"s", do_step},
    {"D", do_detach},                   {"k", do_kill},
};

/* An unknown one gets the empty reply; one that lets the machine go gets none now. */
static void run_packet(struct gdb *g, const char *packet)
{
    if (g->running) {                /* it had to wait */
        g->running = false;
        machine_pause(g->machine);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        size_t len = strlen(commands[i].name);

        if (strncmp(packet, commands[i].name, len) == 0) {
            commands[i].run(g, packet + len);
            break;
        }
    }
    if (!g->running)
        flush_reply(g);
}

/* ---- in ---------------------------------------------------------------- */

static void packet_ended(struct gdb *g)
{
    unsigned sum = 0;
    char *end;

    for (size_t i = 0; i < g->in_len; i++)
        sum += (unsigned char)g->in[i];
    g->in_packet = false;
    g->in[g->in_len] = '\0';
    if (g->too_long || strtoul(g->sum, &end, 16) != (sum & 0xff) || end != g->sum + 2) {
        if (!g->no_ack)
            strbuf_addf(&g->out, "-");
        return;
    }
    if (!g->no_ack)
        strbuf_addf(&g->out, "+");
    if (strlen(g->in) == g->in_len)
        run_packet(g, g->in);
    else
        send_packet(g, "", 0);       /* binary: nothing we know */
}

static void take_byte(struct gdb *g, char c)
{
    if (c == '$') {                  /* also in the middle of one that was cut */
        g->in_packet = true;
        g->too_long = false;
        g->in_len = g->sum_digits = 0;
        g->sum[0] = g->sum[1] = '\0';
    } else if (!g->in_packet) {
        if (c == 3)
            interrupt(g);
    } else if (g->sum_digits) {
        g->sum[g->sum_digits++ - 1] = c;
        if (g->sum_digits == 3)
            packet_ended(g);
    } else if (c == '#') {
        g->sum_digits = 1;
    } else if (g->in_len < sizeof g->in - 1) {
        g->in[g->in_len++] = c;
    } else {
        g->too_long = true;
    }
}

/* ---- connections ------------------------------------------------------- */

static void lock(struct gdb *g)
{
    pthread_mutex_lock(bus_lock(machine_bus(g->machine)));
}

static void unlock(struct gdb *g)
{
    pthread_mutex_unlock(bus_lock(machine_bus(g->machine)));
}

static void hang_up(struct gdb *g)
{
    lock(g);
    loop_unwatch(g->watch);
    unlock(g);
    g->watch = NULL;
    close(g->fd);
    g->fd = -1;
    machine_debugger_set(g->machine, NULL);
    machine_resume(g->machine);
}

static void ready(void *opaque, unsigned events)
{
    post(opaque);
}

static void accept_debugger(struct gdb *g)
{
    const struct machine_debugger ear = {stopped, g};
    int fd = gdb_socket_accept(g->listen_fd);

    if (fd < 0)
        return;
    if (g->fd >= 0) {                /* one at a time */
        close(fd);
        return;
    }
    lock(g);
    g->watch = loop_watch_fd(machine_loop(g->machine), fd, LOOP_READ, ready, g, NULL);
    unlock(g);
    if (!g->watch) {
        close(fd);
        return;
    }
    g->fd = fd;
    g->in_packet = g->no_ack = g->closing = g->running = g->physical = false;
    g->thread = 0;
    g->last = (struct machine_stop){.vcpu = 0};
    strbuf_clear(&g->out);
    strbuf_clear(&g->reply);
    machine_pause(g->machine);
    machine_debugger_set(g->machine, &ear);
}

/* False: it is gone. */
static bool write_out(struct gdb *g)
{
    size_t done = 0;

    while (done < g->out.len) {
        ssize_t n = gdb_socket_send(g->fd, g->out.text + done, g->out.len - done);

        if (n == 0)
            break;
        if (n < 0)
            return false;
        done += (size_t)n;
    }
    struct strbuf rest = {0};
    strbuf_add(&rest, strbuf_text(&g->out) + done, g->out.len - done);
    strbuf_fini(&g->out);
    g->out = rest;
    lock(g);
    loop_watch_change(g->watch, LOOP_READ | (rest.len ? LOOP_WRITE : 0));
    unlock(g);
    return rest.len <= OUT_MAX && !(g->closing && !rest.len);
}

static bool read_in(struct gdb *g)
{
    char piece[4096];

    for (;;) {
        ssize_t n = gdb_socket_receive(g->fd, piece, sizeof piece);

        if (n == 0)
            return true;
        if (n < 0)
            return false;
        for (ssize_t i = 0; i < n && !g->closing; i++)
            take_byte(g, piece[i]);
        if (g->out.len > OUT_MAX)
            return false;
    }
}

static void work(void *opaque)
{
    struct gdb *g = opaque;
    bool alive;

    g->posted = false;
    if (g->fd >= 0) {
        alive = read_in(g);
        if (!write_out(g) || !alive)
            hang_up(g);
    }
    accept_debugger(g);
}

static void post(struct gdb *g)
{
    if (g->posted)
        return;
    g->posted = true;
    loop_post(machine_loop(g->machine), work, g);
}

int control_gdb_new(const char *where, struct machine *m, struct gdb **out, struct error **err)
{
    struct gdb *g = calloc(1, sizeof *g);
    int rc;

    if (!g)
        return error_set(err, ENOMEM, "no memory for the debugger's socket");
    g->machine = m;
    g->fd = g->listen_fd = -1;
    rc = gdb_socket_listen(where, &g->listen_fd, &g->path, err);
    if (!rc) {
        lock(g);
        g->listen_watch = loop_watch_fd(machine_loop(m), g->listen_fd, LOOP_READ, ready, g, err);
        unlock(g);
        rc = g->listen_watch ? 0 : -EIO;
    }
    if (rc) {
        control_gdb_free(g);
        return rc;
    }
    machine_pause(m);
    *out = g;
    return 0;
}

void control_gdb_free(struct gdb *g)
{
    if (!g)
        return;
    lock(g);
    loop_unwatch(g->watch);
    loop_unwatch(g->listen_watch);
    unlock(g);
    if (g->fd >= 0)
        close(g->fd);
    if (g->listen_fd >= 0)
        close(g->listen_fd);
    if (g->path)
        unlink(g->path);
    free(g->path);
    strbuf_fini(&g->out);
    strbuf_fini(&g->reply);
    free(g);
}
