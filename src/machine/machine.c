/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * machine.c - a machine's life: made, run, paused, reset, ended.
 *
 * Nothing here knows a device or an address; that is the business of the rows
 * in machines.c. Read impl.h first: the gate, and how an end or a reset travels
 * from a vCPU thread to the loop's thread.
 */
#include "machine/impl.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "display/input.h"
#include "irqchip/intc.h"
#include "machine/plug.h"
#include "memory/memory.h"

enum { MEMORY_MIN_BYTES = 1 << 20 };

/* ---- making ------------------------------------------------------------ */

static int check_config(const struct machine_config *cfg, struct error **err)
{
    int rc = 0;

    if (cfg->memory_bytes < MEMORY_MIN_BYTES)
        rc = error_set(err, EINVAL, "guest memory of %llu bytes is too little (at least 1M)",
                       (unsigned long long)cfg->memory_bytes);
    else if (cfg->memory_bytes % PAGE_SIZE)
        rc = error_set(err, EINVAL, "guest memory of %llu bytes is not a multiple of 4K",
                       (unsigned long long)cfg->memory_bytes);
    if (rc)
        error_hint(err, "for example --memory 512M");
    else if (cfg->cpus < 1 || cfg->cpus > INTC_MAX_CPUS)
        rc = error_set(err, EINVAL, "%u CPUs cannot be had (1 to %d)", cfg->cpus, INTC_MAX_CPUS);
    return rc;
}

/* Slowness nobody asked for gets a line; that there is no better engine on this
 * host does not. */
static void tell_refusal(struct machine *m, const struct engine_refusal *refused)
{
    const char *name = refused->engine ? refused->engine->name : NULL;

    if (name && refused->probe.status == ENGINE_SLOW)
        log_info(m->log, "%s executes guests in software here (%.1f million instructions per "
                 "second): using %s; --engine %s insists", name, refused->probe.insn_per_us,
                 m->engine->name, name);
    else if (name && refused->probe.status == ENGINE_FORBIDDEN)
        log_info(m->log, "using %s, because %s: %s", m->engine->name, name,
                 refused->probe.reason);
}

static int choose_engine(struct machine *m, struct engine_refusal *refused, struct error **err)
{
    const char *name = m->config.engine;
    char why[256] = "";

    if (!name || strcmp(name, "auto") == 0) {
        m->engine = engine_auto(NULL, why, sizeof why, refused);
        if (!m->engine)
            return error_set(err, ENODEV, "no engine: %s", why);
        log_trace(m->log, ENGINE, "%s", why);
        return 0;
    }
    m->engine = engine_find(name);
    return m->engine ? 0 : error_set(err, EINVAL, "there is no engine '%s'", name);
}

static int make_model(struct machine *m, struct error **err)
{
    struct x86_features features;
    int rc;

    m->model = calloc(1, sizeof *m->model);
    if (!m->model)
        return error_set(err, ENOMEM, "cannot make the CPU model: out of memory");
    m->engine->features(&features);
    x86_features_lack(&features, &m->host_lacks);
    rc = x86_cpu_model_init(m->model, m->config.cpu, &features, m->config.cpus, err);
    m->model->tsc_khz = clock_tick_khz(m->clock);
    return rc;
}

static int make_parts(struct machine *m, struct error **err)
{
    m->clock = m->config.manual_clock ? clock_new_manual() : clock_new_host();
    m->bus = bus_new(m->log);
    m->loop = loop_new(err);
    if (!m->loop)
        return error_wrap(err, "cannot make the machine");
    clock_pause(m->clock);                 /* until machine_run */
    loop_attach(m->loop, bus_lock(m->bus), m->clock);
    m->input = input_new(m->clock, err);
    if (!m->input)
        return -ENOMEM;
    m->memory = memory_new(m->config.memory_bytes, err);
    return m->memory ? 0 : -ENOMEM;
}

static int make_vm(struct machine *m, struct error **err)
{
    struct engine_vm_config vc = {
        .memory = m->memory, .clock = m->clock, .guest = &machine_guest_ops, .guest_opaque = m,
        .log = m->log, .cpus = m->config.cpus, .machines = m->config.machines,
        .want_irqchip = !m->config.no_irqchip && !m->ops->own_irqchip,
        .host_lacks = &m->host_lacks, .code_dump = m->config.code_dump,
    };
    int rc = make_model(m, err);

    if (rc)
        return rc;
    vc.model = m->model;
    rc = m->engine->vm_create(&vc, &m->vm, err);
    if (rc)
        return error_wrap(err, "engine %s", m->engine->name);
    return vcpus_create(m, err);
}

static int check_dump(struct machine *m, struct error **err)
{
    if (!m->config.code_dump || m->engine->dump_code)
        return 0;
    error_set(err, EINVAL, "engine %s translates nothing: there are no blocks to dump",
              m->engine->name);
    error_hint(err, "use --engine dbt");
    return -EINVAL;
}

static void unmake_vm(struct machine *m)
{
    vcpus_destroy(m);
    if (m->vm)
        m->engine->vm_destroy(m->vm);
    m->vm = NULL;
    free(m->model);
    m->model = NULL;
}

/* `failed` is why the present engine cannot be made after all. */
static bool next_engine(struct machine *m, const struct error *failed,
                        struct engine_refusal *refused)
{
    const struct engine_ops *before = m->engine, *next = engine_auto(before, NULL, 0, refused);

    if (!next || failed->code == EINVAL)
        return false;
    if (!refused->engine) {
        refused->engine = before;
        refused->probe = (struct engine_probe){.status = ENGINE_FORBIDDEN};
        snprintf(refused->probe.reason, sizeof refused->probe.reason, "%s", failed->what);
    }
    m->engine = next;
    return true;
}

/* A probe tries things once; a VM with many processors may meet a limit that the
 * probe did not. With --engine auto the next engine has its turn then. */
static int make_engine(struct machine *m, struct engine_refusal *refused, struct error **err)
{
    bool automatic = !m->config.engine || strcmp(m->config.engine, "auto") == 0;

    for (;;) {
        struct error *why = NULL;
        int rc = make_vm(m, &why);

        if (!rc)
            return 0;
        unmake_vm(m);
        if (!automatic || !next_engine(m, why, refused)) {
            if (err)
                *err = why;
            else
                error_free(&why);
            return rc;
        }
        error_free(&why);
    }
}

int machine_new(const struct machine_config *cfg, struct machine **out, struct error **err)
{
    struct engine_refusal refused = {0};
    struct machine *m;
    int rc = check_config(cfg, err);

    if (rc)
        return rc;
    m = calloc(1, sizeof *m);
    if (!m)
        return error_set(err, ENOMEM, "cannot make the machine: out of memory");
    m->config = *cfg;
    m->log = cfg->log;
    m->still = true;
    rc = gate_init(m, err);
    if (rc) {
        free(m);
        return rc;
    }
    m->ops = machine_find(cfg->machine ? cfg->machine : "pc");
    if (!m->ops)
        rc = error_set(err, EINVAL, "there is no machine '%s'", cfg->machine);
    if (!rc && cfg->host_features)
        rc = x86_features_parse_lacking(&m->host_lacks, cfg->host_features, err);
    if (!rc)
        rc = choose_engine(m, &refused, err);
    if (!rc)
        rc = make_parts(m, err);
    if (!rc)
        rc = make_engine(m, &refused, err);
    if (!rc)
        rc = check_dump(m, err);
    if (!rc)
        rc = m->ops->build(m, err);
    if (!rc)
        rc = m->ops->reset(m, err);
    if (rc) {
        machine_free(m);
        return rc;
    }
    tell_refusal(m, &refused);
    *out = m;
    return 0;
}

void machine_free(struct machine *m)
{
    if (!m)
        return;
    BUG_ON(m->running);
    if (m->bus)
        machine_lock(m);
    while (m->devices)
        device_destroy(m->device[--m->devices]);
    intc_free(m->intc);
    input_free(m->input);
    if (m->bus)
        machine_unlock(m);
    plugs_free(m);
    if (m->ops && m->ops->destroy)
        m->ops->destroy(m);
    boot_image_close(&m->image);
    unmake_vm(m);
    loop_free(m->loop);
    memory_free(m->memory);
    bus_free(m->bus);
    if (m->clock)
        clock_free(m->clock);
    error_free(&m->result.error);
    gate_fini(m);
    free(m);
}

void machine_add_device(struct machine *m, struct device *dev)
{
    BUG_ON(m->devices == MACHINE_DEVICES_MAX);
    m->device[m->devices++] = dev;
}

void machine_reset_devices(struct machine *m, bool (*spared)(const struct device *dev))
{
    struct device *all[MACHINE_DEVICES_MAX * 2];
    size_t n = machine_devices(m, all, ARRAY_SIZE(all));

    BUG_ON(n > ARRAY_SIZE(all));
    machine_lock(m);
    input_reset(m->input);
    for (size_t i = 0; i < n; i++) {
        if (!spared || !spared(all[i]))
            device_reset(all[i]);
    }
    machine_unlock(m);
}

/* ---- ends and resets --------------------------------------------------- */

static void finish(struct machine *m, enum machine_end end, int status, unsigned vcpu)
{
    if (m->finished)
        return;
    m->finished = true;
    m->result.end = end;
    m->result.status = status;
    m->result.vcpu = vcpu;
    loop_stop(m->loop);
}

static void finish_failed(struct machine *m, unsigned vcpu, struct error *error)
{
    if (m->finished) {
        error_free(&error);
        return;
    }
    m->result.error = error;
    finish(m, MACHINE_FAILED, 0, vcpu);
}

/* The engine keeps its own failure; the result gets a copy. */
static struct error *engine_failure(struct machine *m, unsigned vcpu)
{
    const struct error *failure = m->vcpu[vcpu].engine->failure;
    char *text = failure ? error_text(failure) : NULL;
    struct error *e = NULL;

    error_set(&e, failure ? failure->code : EIO, "engine %s, vCPU %u: %s", m->engine->name, vcpu,
              text ? text : "failed without saying why");
    free(text);
    return e;
}

static void reset_or_fail(struct machine *m)
{
    struct error *e = NULL;

    m->still = true;
    int rc = m->ops->reset(m, &e);
    m->still = false;
    if (!rc) {
        gate_open(m, GATE_ASLEEP);
        return;
    }
    error_wrap(&e, "cannot reset the machine");
    finish_failed(m, 0, e);
}

/* Posted by machine_power: in the loop's thread, VM lock not held. */
static void handle_wake(void *opaque)
{
    struct machine *m = opaque;
    struct error *e = NULL;

    if (!(atomic_load(&m->closed) & GATE_ASLEEP))
        return;                  /* reset meanwhile */
    gate_wait(m);
    m->still = true;
    int rc = m->ops->wake(m, &e);
    m->still = false;
    if (!rc) {
        gate_open(m, GATE_ASLEEP);
        return;
    }
    error_wrap(&e, "cannot wake the machine");
    finish_failed(m, 0, e);
}

/* Posted by machine_end: in the loop's thread, VM lock not held. */
static void handle_pending(void *opaque)
{
    struct machine *m = opaque;
    struct machine_pending p;

    gate_wait(m);
    machine_lock(m);
    p = m->pending;
    m->pending.set = false;
    machine_unlock(m);

    if (p.end == MACHINE_RESET && !m->config.no_reboot)
        reset_or_fail(m);
    else if (p.end == MACHINE_FAILED)
        finish_failed(m, p.vcpu, engine_failure(m, p.vcpu));
    else
        finish(m, p.end, p.status, p.vcpu);
    if (!m->finished)
        gate_open(m, GATE_EVENT);
}

void machine_end(struct machine *m, enum machine_end end, int status, unsigned vcpu)
{
    if (m->pending.set)
        return;
    m->pending = (struct machine_pending){.set = true, .end = end, .status = status,
                                          .vcpu = vcpu};
    gate_close(m, GATE_EVENT);
    loop_post(m->loop, handle_pending, m);
}

void machine_power(void *opaque, enum power_event event, int status)
{
    static const enum machine_end ends[] = {
        [POWER_OFF] = MACHINE_POWERED_OFF, [POWER_RESET] = MACHINE_RESET,
        [POWER_DEBUG_EXIT] = MACHINE_DEBUG_EXIT, [POWER_PANIC] = MACHINE_PANICKED,
    };
    struct machine *m = opaque;

    if (event == POWER_SUSPEND) {
        if (m->ops->wake)
            gate_close(m, GATE_ASLEEP);
        return;
    }
    if (event == POWER_WAKE) {
        loop_post(m->loop, handle_wake, m);
        return;
    }
    BUG_ON((unsigned)event >= ARRAY_SIZE(ends));
    machine_end(m, ends[event], status, 0);
}

/* ---- running ----------------------------------------------------------- */

static void set_clock(struct machine *m, bool on)
{
    machine_lock(m);
    if (on)
        clock_resume(m->clock);
    else
        clock_pause(m->clock);
    machine_unlock(m);
}

int machine_run(struct machine *m, struct machine_result *result, struct error **err)
{
    int rc;

    BUG_ON(m->running || m->finished);
    m->running = true;
    rc = vcpus_start(m, err);
    if (!rc) {
        if (!machine_paused(m))
            set_clock(m, true);
        m->still = false;
        gate_open(m, GATE_NOT_STARTED);
        while (!m->finished && !atomic_load(&m->stop))
            loop_run(m->loop);
    }
    gate_close(m, GATE_QUIT);
    vcpus_join(m);
    m->still = true;
    set_clock(m, false);
    m->running = false;
    if (rc)
        return rc;
    if (m->config.code_dump)
        m->engine->dump_code(m->vm, m->config.code_dump);
    if (!m->finished)
        finish(m, MACHINE_STOPPED, 0, 0);
    *result = m->result;
    m->result.error = NULL;
    return 0;
}

int machine_slices_start(struct machine *m, bool until_exit, struct error **err)
{
    BUG_ON(m->running || m->finished);
    if (m->cpus != 1)
        return error_set(err, EINVAL, "a machine that shares a thread has one CPU, not %u",
                         m->cpus);
    m->running = true;
    m->yields = until_exit;
    set_clock(m, true);
    gate_open(m, GATE_NOT_STARTED);
    return 0;
}

enum machine_slice_end machine_slice(struct machine *m)
{
    uint32_t wake;

    loop_run_once(m->loop, 0);
    if (m->finished || atomic_load(&m->stop))
        return MACHINE_SLICE_ENDED;
    if (atomic_load(&m->closed) || !gate_enter(m))
        return MACHINE_SLICE_IDLE;
    wake = vcpu_run(&m->vcpu[0]);
    gate_leave(m);
    if (!wake || atomic_load(&m->closed))
        return MACHINE_SLICE_SPENT;
    return atomic_load(&m->vcpu[0].engine->requests) & wake ? MACHINE_SLICE_SPENT
                                                            : MACHINE_SLICE_IDLE;
}

void machine_slices_end(struct machine *m, struct machine_result *result)
{
    gate_close(m, GATE_QUIT);
    set_clock(m, false);
    m->running = false;
    if (!m->finished)
        finish(m, MACHINE_STOPPED, 0, 0);
    *result = m->result;
    m->result.error = NULL;
}

uint64_t machine_slice_wait_ns(struct machine *m)
{
    uint64_t wait;

    machine_lock(m);
    wait = clock_wait_ns(m->clock);
    machine_unlock(m);
    return wait;
}

void machine_stop(struct machine *m)
{
    atomic_store(&m->stop, true);
    loop_stop(m->loop);
}

void machine_pause(struct machine *m)
{
    if (machine_paused(m))
        return;
    gate_close(m, GATE_PAUSED);
    gate_wait(m);
    set_clock(m, false);
}

void machine_resume(struct machine *m)
{
    if (!machine_paused(m))
        return;
    if (m->running)
        set_clock(m, true);
    machine_lock(m);
    plugs_resumed(m);
    machine_unlock(m);
    gate_open(m, GATE_PAUSED);
}

bool machine_paused(const struct machine *m)
{
    return atomic_load(&m->closed) & GATE_PAUSED;
}

void machine_reset(struct machine *m)
{
    gate_close(m, GATE_WORK);
    gate_wait(m);
    reset_or_fail(m);
    gate_open(m, GATE_WORK);
}

void machine_nmi(struct machine *m)
{
    vcpu_request(&m->vcpu[0], engine_vcpu_nmi(m->vcpu[0].engine));
}

/* ---- looking in -------------------------------------------------------- */

int machine_vcpu_state(struct machine *m, unsigned index, struct x86_state *out)
{
    struct engine_vcpu *e;
    int rc;

    if (index >= m->cpus)
        return -EINVAL;
    e = m->vcpu[index].engine;
    gate_close(m, GATE_WORK);
    gate_wait(m);
    rc = e->ops->get_state(e, out);
    gate_open(m, GATE_WORK);
    return rc;
}

void machine_serial_input(struct machine *m, const uint8_t *data, size_t len)
{
    machine_lock(m);
    m->ops->serial_input(m, data, len);
    machine_unlock(m);
}

size_t machine_serial_room(struct machine *m)
{
    size_t room;

    machine_lock(m);
    room = m->ops->serial_room(m);
    machine_unlock(m);
    return room;
}

struct loop *machine_loop(struct machine *m)
{
    return m->loop;
}

struct input *machine_input(struct machine *m)
{
    return m->input;
}

struct memory *machine_memory(struct machine *m)
{
    return m->memory;
}

struct bus *machine_bus(struct machine *m)
{
    return m->bus;
}

struct clock *machine_clock(struct machine *m)
{
    return m->clock;
}

const struct engine_ops *machine_engine(struct machine *m)
{
    return m->engine;
}

struct engine_vm *machine_engine_vm(struct machine *m)
{
    return m->vm;
}

struct display *machine_display(struct machine *m)
{
    return m->display;
}

unsigned machine_cpus(struct machine *m)
{
    return m->cpus;
}

struct engine_vcpu *machine_vcpu(struct machine *m, unsigned index)
{
    return index < m->cpus ? m->vcpu[index].engine : NULL;
}

size_t machine_devices(struct machine *m, struct device **out, size_t max)
{
    size_t n = m->intc ? intc_devices(m->intc, out, max) : 0;

    for (unsigned i = 0; i < m->devices; i++, n++)
        if (n < max)
            out[n] = m->device[i];
    return n;
}
