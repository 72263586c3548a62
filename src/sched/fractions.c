/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fractions.c - whose turn it is, for how long, and what it came to (see fractions.h).
 *
 * A turn is run in pieces, so that a machine's timers and completed I/O are not kept until
 * its end. Between pieces nothing changes hands and nothing is counted as a switch.
 */
#include "sched/fractions.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/strbuf.h"
#include "engine/engine.h"
#include "machine/machine.h"

enum { NS_PER_S = 1000000000, PIECE_NS = 1000000, REST_NS = 200000, LIVE_NS = 500000000,
       BAR = 50, PER_CENT = 100 };

struct member {
    const char *name;
    struct machine *machine;
    double fraction;
    uint64_t used_ns, switches, exits;
    double virtual_ns;               /* used / fraction, but for what it slept through */
    bool idle, ended;
    struct machine_result result;
};

struct sched {
    struct sched_config config;
    struct member member[SCHED_MACHINES_MAX];
    unsigned members;
    int timer_fd;                    /* expires: kick `current` */
    _Atomic(struct engine_vcpu *) current;
    _Atomic bool stop, done;
    pthread_t thread;
    uint64_t start_ns, end_ns, live_ns;          /* host time */
    uint64_t cpu_start_ns, cpu_ns;               /* of the thread, beginning and all of it */
    uint64_t turns, turn_ns;                     /* time inside slices */
    uint64_t switch_ns, switch_count;            /* between the last piece and the next's guest */
    unsigned live_lines;
    int error;
};

static uint64_t now_of(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t cpu_now(void)
{
    return now_of(CLOCK_THREAD_CPUTIME_ID);
}

/* ---- whose turn ------------------------------------------------------------ */

/* The least that anybody who wants to run has had. */
static double virtual_now(const struct sched *s)
{
    double least = -1;

    for (unsigned i = 0; i < s->members; i++) {
        const struct member *m = &s->member[i];

        if (!m->ended && !m->idle && (least < 0 || m->virtual_ns < least))
            least = m->virtual_ns;
    }
    return least < 0 ? 0 : least;
}

/* With a cap: has it had all that the time since the start gives it? */
static bool capped(const struct sched *s, const struct member *m)
{
    uint64_t passed = now_of(CLOCK_MONOTONIC) - s->start_ns;

    return s->config.cap && (double)m->used_ns > m->fraction * (double)passed;
}

static struct member *choose(struct sched *s, const struct member *last)
{
    struct member *best = NULL;
    unsigned first = last ? (unsigned)(last - s->member) + 1 : 0;

    for (unsigned n = 0; n < s->members; n++) {
        struct member *m = &s->member[(first + n) % s->members];

        if (m->ended || m->idle || capped(s, m))
            continue;
        /* Handing over at each exit means: not to oneself, if there is another. */
        if (s->config.until_exit && best && m == last)
            continue;
        if (!best || (!s->config.until_exit && m->virtual_ns < best->virtual_ns))
            best = m;
    }
    return best;
}

/* Idle machines whose timers are due, or who have input, come back. What they slept
 * through is not owed to them. */
static void wake_idle(struct sched *s)
{
    double floor = virtual_now(s);

    for (unsigned i = 0; i < s->members; i++) {
        struct member *m = &s->member[i];

        if (m->ended || !m->idle)
            continue;
        m->idle = false;             /* found out by running it: a halt costs little */
        if (m->virtual_ns < floor)
            m->virtual_ns = floor;
    }
}

/* ---- a turn ------------------------------------------------------------------ */

static void arm(struct sched *s, uint64_t ns)
{
    const struct itimerspec t = {.it_value = {.tv_sec = (time_t)(ns / NS_PER_S),
                                              .tv_nsec = (long)(ns % NS_PER_S)}};

    timerfd_settime(s->timer_fd, 0, &t, NULL);
}

static void piece(struct sched *s, struct member *m, uint64_t ns)
{
    enum machine_slice_end end;
    uint64_t wait = machine_slice_wait_ns(m->machine);

    atomic_store(&s->current, machine_vcpu(m->machine, 0));
    arm(s, max_u64(1, min_u64(ns, min_u64(PIECE_NS, wait ? wait : 1))));
    end = machine_slice(m->machine);
    atomic_store(&s->current, NULL);
    m->idle = end == MACHINE_SLICE_IDLE;
    m->ended = end == MACHINE_SLICE_ENDED;
}

static uint64_t turn(struct sched *s, struct member *m)
{
    uint64_t slice = (uint64_t)((double)s->config.quantum_ns * m->fraction);
    uint64_t start = cpu_now(), used = 0, exits = machine_exit_count(m->machine);

    do {
        piece(s, m, slice - used);
        used = cpu_now() - start;
    } while (used < slice && !m->idle && !m->ended && !atomic_load(&s->stop) &&
             !(s->config.until_exit && machine_exit_count(m->machine) != exits));
    m->used_ns += used;
    m->virtual_ns += (double)used / m->fraction;
    m->exits = machine_exit_count(m->machine);
    return used;
}

/* ---- the plot ---------------------------------------------------------------- */

static double share_of(const struct sched *s, const struct member *m)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < s->members; i++)
        sum += s->member[i].used_ns;
    if (s->config.cap && s->end_ns > s->start_ns)
        sum = s->end_ns - s->start_ns;
    return sum ? (double)m->used_ns * PER_CENT / (double)sum : 0;
}

static void plot(struct sched *s)
{
    static const char full[BAR + 1] = "##################################################";
    FILE *f = s->config.live;

    if (!f)
        return;
    s->end_ns = now_of(CLOCK_MONOTONIC);
    if (s->live_lines)
        fprintf(f, "\033[%uA", s->live_lines);
    for (unsigned i = 0; i < s->members; i++) {
        double share = share_of(s, &s->member[i]);

        fprintf(f, "\033[K%-12.12s %6.2f %% |%-*.*s|\n", s->member[i].name, share, BAR,
                (int)(share * BAR / PER_CENT + 0.5), full);
    }
    s->live_lines = s->members;
    fflush(f);
}

/* ---- the thread ----------------------------------------------------------------- */

static bool all_ended(const struct sched *s)
{
    for (unsigned i = 0; i < s->members; i++)
        if (!s->member[i].ended)
            return false;
    return true;
}

/* Nobody wants the core, or nobody may have it. */
static void rest(void)
{
    const struct timespec pause = {.tv_nsec = REST_NS};

    nanosleep(&pause, NULL);
}

static bool time_is_up(struct sched *s)
{
    uint64_t now = now_of(CLOCK_MONOTONIC);

    if (s->config.live && now - s->live_ns >= LIVE_NS) {
        s->live_ns = now;
        plot(s);
    }
    return s->config.run_ns && now - s->start_ns >= s->config.run_ns;
}

static void pin(struct sched *s)
{
    cpu_set_t set;

    if (s->config.core < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((unsigned)s->config.core, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0)
        s->error = errno ? errno : EINVAL;
}

static void run(struct sched *s)
{
    struct member *last = NULL;
    uint64_t left = cpu_now();

    while (!s->error && !atomic_load(&s->stop) && !all_ended(s) && !time_is_up(s)) {
        struct member *m;
        uint64_t used, came;

        wake_idle(s);
        m = choose(s, last);
        if (!m) {
            rest();
            left = cpu_now();
            continue;
        }
        came = cpu_now();
        if (m != last) {
            m->switches++;
            s->switch_ns += came - left;
            s->switch_count++;
        }
        used = turn(s, m);
        left = came + used;
        last = m;
        if (m->idle && virtual_now(s) == 0)
            rest();
    }
}

static void *sched_thread(void *arg)
{
    struct sched *s = arg;

    pthread_setname_np(pthread_self(), "vms");
    pin(s);
    s->start_ns = s->live_ns = now_of(CLOCK_MONOTONIC);
    s->cpu_start_ns = cpu_now();
    run(s);
    s->cpu_ns = cpu_now() - s->cpu_start_ns;
    s->end_ns = now_of(CLOCK_MONOTONIC);
    plot(s);
    for (unsigned i = 0; i < s->members; i++)
        machine_slices_end(s->member[i].machine, &s->member[i].result);
    atomic_store(&s->done, true);
    arm(s, 1);                       /* the kicker looks again */
    fault_thread_fini();
    return NULL;
}

/* Until the thread is done: whenever the timer expires, whoever runs comes out. */
static void kick(struct sched *s)
{
    while (!atomic_load(&s->done)) {
        struct pollfd p = {.fd = s->timer_fd, .events = POLLIN};
        struct engine_vcpu *v;
        uint64_t times;

        if (poll(&p, 1, 100) <= 0 || read(s->timer_fd, &times, sizeof times) < 0)
            continue;
        v = atomic_load(&s->current);
        if (v)
            engine_vcpu_request(v, REQUEST_EXIT);
    }
}

static int start_thread(struct sched *s)
{
    sigset_t block, before;
    int rc;

    sigfillset(&block);
    for (int i = 0; i < 6; i++)
        sigdelset(&block, (int[]){SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}[i]);
    pthread_sigmask(SIG_BLOCK, &block, &before);
    rc = pthread_create(&s->thread, NULL, sched_thread, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int sched_run(struct sched *s, struct error **err)
{
    int rc = 0;

    s->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (s->timer_fd < 0)
        return error_set(err, errno, "cannot make a timer: %s", strerror(errno));
    for (unsigned i = 0; i < s->members && !rc; i++)
        rc = machine_slices_start(s->member[i].machine, s->config.until_exit, err);
    if (!rc && (rc = start_thread(s)) != 0)
        rc = error_set(err, rc, "cannot start the machines' thread: %s", strerror(rc));
    if (!rc) {
        kick(s);
        pthread_join(s->thread, NULL);
    }
    close(s->timer_fd);
    if (!rc && s->error) {
        rc = error_set(err, s->error, "cannot run on core %d: %s", s->config.core,
                       strerror(s->error));
        error_hint(err, "--core names one that this process may use");
    }
    return rc;
}

void sched_stop(struct sched *s)
{
    atomic_store(&s->stop, true);
}

/* ---- making, telling ---------------------------------------------------------------- */

struct sched *sched_new(const struct sched_config *cfg)
{
    struct sched *s = calloc(1, sizeof *s);

    BUG_ON(!s);
    s->config = *cfg;
    return s;
}

void sched_free(struct sched *s)
{
    for (unsigned i = 0; s && i < s->members; i++)
        error_free(&s->member[i].result.error);
    free(s);
}

void sched_add(struct sched *s, const char *name, struct machine *m, double fraction)
{
    BUG_ON(s->members == SCHED_MACHINES_MAX);
    s->member[s->members++] = (struct member){.name = name, .machine = m, .fraction = fraction};
}

static const char *end_name(const struct member *m)
{
    static const char *const names[] = {
        [MACHINE_POWERED_OFF] = "off", [MACHINE_DEBUG_EXIT] = "exit", [MACHINE_RESET] = "reset",
        [MACHINE_TRIPLE_FAULT] = "triple fault", [MACHINE_STOPPED] = "stopped",
        [MACHINE_FAILED] = "failed", [MACHINE_PANICKED] = "panic",
    };

    return names[m->result.end];
}

void sched_report(const struct sched *s, struct strbuf *out)
{
    uint64_t all = s->end_ns - s->start_ns, used = 0;

    strbuf_addf(out, "%-16s %8s %8s %12s %9s %12s  %s\n", "VM", "asked", "share", "CPU time",
                "switches", "exits", "end");
    for (unsigned i = 0; i < s->members; i++) {
        const struct member *m = &s->member[i];

        used += m->used_ns;
        strbuf_addf(out, "%-16.16s %6.2f %% %6.2f %% %9.3f s %9" PRIu64 " %12" PRIu64 "  %s\n",
                    m->name, m->fraction * PER_CENT, share_of(s, m),
                    (double)m->used_ns / NS_PER_S, m->switches, m->exits, end_name(m));
    }
    strbuf_addf(out, "%.3f s passed, %.3f s of CPU time, %.3f s of it in the machines\n",
                (double)all / NS_PER_S, (double)s->cpu_ns / NS_PER_S, (double)used / NS_PER_S);
    if (s->switch_count)
        strbuf_addf(out, "a switch costs %.2f us (%" PRIu64 " of them)\n",
                    (double)s->switch_ns / (double)s->switch_count / 1000, s->switch_count);
}
