/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inspect.c - what the engine is busy with, and what it has made of the guest's
 * code.
 *
 * Where the time goes is found by looking: vCPU threads say what they are at in a
 * byte of their own (engine.h), and whoever wants to know reads it some hundred
 * times in a few hundredths of a second. Nobody pays for it otherwise.
 */
#include "machine/impl.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/strbuf.h"

enum { SAMPLES = 400, SAMPLE_NS = 50000 };

static const char *doing_name(unsigned doing)
{
    static const char *const names[] = {
#define X(id, name) [ENGINE_DOES_##id] = name,
        ENGINE_DOINGS(X)
#undef X
    };
    return names[doing];
}

static void add_time_split(struct machine *m, struct strbuf *out)
{
    unsigned seen[ENGINE_DOINGS_COUNT] = {0}, n = SAMPLES * m->cpus;

    for (unsigned s = 0; s < SAMPLES; s++) {
        struct timespec pause = {.tv_nsec = SAMPLE_NS};

        for (unsigned i = 0; i < m->cpus; i++)
            seen[atomic_load_explicit(&m->vcpu[i].engine->doing, memory_order_relaxed)]++;
        nanosleep(&pause, NULL);
    }
    strbuf_addf(out, "time:");
    for (unsigned i = 0, listed = 0; i < ENGINE_DOINGS_COUNT; i++) {
        if (seen[i])
            strbuf_addf(out, "%s %s %u.%u %%", listed++ ? "," : "", doing_name(i),
                        seen[i] * 100 / n, seen[i] * 1000 / n % 10);
    }
    strbuf_addf(out, "\n");
}

void machine_describe_engine(struct machine *m, struct strbuf *out)
{
    if (m->running && !machine_paused(m))
        add_time_split(m, out);
    if (!m->engine->describe)
        return;
    gate_close(m, GATE_WORK);
    gate_wait(m);
    m->engine->describe(m->vm, out);
    gate_open(m, GATE_WORK);
}

int machine_dump_code(struct machine *m, FILE *out, struct error **err)
{
    if (!m->engine->dump_code)
        return error_set(err, EINVAL, "engine %s translates nothing", m->engine->name);
    gate_close(m, GATE_WORK);
    gate_wait(m);
    m->engine->dump_code(m->vm, out);
    gate_open(m, GATE_WORK);
    if (fflush(out) != 0)
        return error_set(err, errno, "cannot write the translated code: %s", strerror(errno));
    return 0;
}
