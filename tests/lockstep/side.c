/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * side.c - a guest on an engine, run by the instruction.
 *
 * A machine is driven without its threads: nobody calls machine_run, this thread
 * runs the vCPU and the timers in turn, so that everything happens at the same
 * instruction on every engine.
 */
#include "lockstep.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "bus/bus.h"
#include "machine/machine.h"
#include "memory/memory.h"

enum { SYS_BYTES = 16 << 20, SYS_ENTRY = 0x10000 };

static void print(struct side *s, const uint8_t *data, size_t n)
{
    if (n > sizeof s->text - 1 - s->text_bytes)
        n = sizeof s->text - 1 - s->text_bytes;
    memcpy(s->text + s->text_bytes, data, n);
    s->text_bytes += n;
}

/* ---- the ports of guest/sys (tests/guest/guest_run.c) ---------------------- */

static void pio_write(void *guest, unsigned vcpu, uint16_t port, unsigned size, uint64_t value)
{
    struct side *s = guest;
    uint8_t byte = (uint8_t)value;

    switch (port) {
    case 0xe9:
        print(s, &byte, 1);
        break;
    case 0xf0:
        s->vector = byte;
        engine_vcpu_request(s->vcpu, REQUEST_INTR);
        break;
    case 0xf1:
        engine_vcpu_request(s->vcpu, REQUEST_NMI);
        break;
    case 0xf4:
        s->ended = true;
        s->status = byte;
        engine_vcpu_request(s->vcpu, REQUEST_EXIT);
        break;
    }
}

static int intr_ack(void *guest, unsigned vcpu)
{
    struct side *s = guest;
    int vector = s->vector;

    s->vector = -1;
    engine_vcpu_clear(s->vcpu, REQUEST_INTR);
    return vector;
}

static uint64_t pio_read(void *guest, unsigned vcpu, uint16_t port, unsigned size) { return ~0ull; }
static uint64_t mmio_read(void *guest, unsigned vcpu, gpa_t a, unsigned size) { return ~0ull; }
static void mmio_write(void *guest, unsigned vcpu, gpa_t a, unsigned size, uint64_t value) {}
static uint8_t tpr_get(void *guest, unsigned vcpu) { return 0; }
static void tpr_set(void *guest, unsigned vcpu, uint8_t tpr) {}
static int msr_read(void *guest, unsigned vcpu, uint32_t msr, uint64_t *value) { return -1; }
static int msr_write(void *guest, unsigned vcpu, uint32_t msr, uint64_t value) { return -1; }

static const struct guest_ops sys_ops = {
    .pio_read = pio_read, .pio_write = pio_write, .mmio_read = mmio_read,
    .mmio_write = mmio_write, .intr_ack = intr_ack, .tpr_get = tpr_get, .tpr_set = tpr_set,
    .msr_read = msr_read, .msr_write = msr_write,
};

static int load_file(struct memory *m, const char *path, struct error **err)
{
    static uint8_t image[1 << 19];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, image, sizeof image);

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return error_set(err, errno, "cannot read %s: %s", path, strerror(errno));
    return memory_write(m, gpa(SYS_ENTRY), image, (uint64_t)n);
}

static void entry_state(struct side *s)
{
    struct x86_state x;

    side_state(s, &x);
    x.cr0 = X86_CR0_ET;
    x.seg[X86_CS] = (struct x86_segment){.base = SYS_ENTRY, .limit = 0xffff, .attr = 0x9b,
                                         .selector = SYS_ENTRY >> 4};
    x.rip = 0;
    x.ev.mp_state = X86_MP_RUNNABLE;
    s->vcpu->ops->set_state(s->vcpu, &x);
}

static int open_sys(struct side *s, const struct guest_spec *spec, const struct engine_ops *ops,
                    struct error **err)
{
    struct engine_vm_config cfg = {.guest = &sys_ops, .guest_opaque = s, .model = &s->model,
                                   .cpus = 1, .log = &s->log};
    struct x86_features features = {0};
    int r;

    cfg.clock = s->clock = clock_new_manual();
    cfg.memory = s->memory = memory_new(SYS_BYTES, err);
    if (!s->memory)
        return -ENOMEM;
    engine_find("dbt")->features(&features);       /* the same processor for both */
    r = x86_cpu_model_init(&s->model, NULL, &features, 1, err);
    if (!r)
        r = memory_map_ram(s->memory, "ram", gpa(0), 0, SYS_BYTES, 0, err);
    if (!r)
        r = load_file(s->memory, spec->sys, err);
    if (!r)
        r = ops->vm_create(&cfg, &s->vm, err);
    if (!r)
        r = ops->vcpu_create(s->vm, 0, &s->vcpu, err);
    if (!r)
        entry_state(s);
    return r;
}

/* ---- a machine ---------------------------------------------------------------- */

static void on_serial(void *opaque, const uint8_t *data, size_t len)
{
    print(opaque, data, len);
}

static int open_machine(struct side *s, const struct guest_spec *spec, struct error **err)
{
    const char *cdroms[] = {spec->cdrom, NULL};
    struct machine_config cfg;
    int r;

    machine_config_defaults(&cfg);
    cfg.engine = s->name;
    cfg.firmware = spec->firmware;
    cfg.firmware_serial = true;
    cfg.cdroms = cdroms;
    cfg.cpu = spec->cpu;
    cfg.kernel = spec->kernel;
    cfg.initrd = spec->initrd;
    cfg.append = spec->append;
    cfg.memory_bytes = spec->memory_bytes;
    cfg.cpus = 1;
    cfg.manual_clock = true;
    cfg.serial = (struct machine_serial){.write = on_serial, .opaque = s};
    cfg.log = &s->log;
    r = machine_new(&cfg, &s->machine, err);
    if (r)
        return r;
    s->vcpu = machine_vcpu(s->machine, 0);
    s->memory = machine_memory(s->machine);
    s->clock = machine_clock(s->machine);
    clock_resume(s->clock);
    return 0;
}

/* ---- both ----------------------------------------------------------------------- */

int side_open(struct side *s, const struct guest_spec *spec, const char *engine,
              struct error **err)
{
    const struct engine_ops *ops = engine_find(engine);
    struct engine_probe probe = {0};
    int r;

    memset(s, 0, sizeof *s);
    s->vector = -1;
    if (!ops)
        return error_set(err, ENOENT, "there is no engine '%s'", engine);
    s->name = ops->name;
    log_init(&s->log, -1);
    ops->probe(&probe);
    if (probe.status != ENGINE_GOOD || !(probe.caps & ENGINE_CAP_INSN_BUDGET))
        return error_set(err, ENODEV, "%s cannot do this here: %s", engine, probe.reason);
    r = spec->sys ? open_sys(s, spec, ops, err) : open_machine(s, spec, err);
    if (r)
        side_close(s);
    return r;
}

void side_close(struct side *s)
{
    if (s->machine) {
        machine_free(s->machine);
    } else {
        if (s->vcpu)
            s->vcpu->ops->vcpu_destroy(s->vcpu);
        if (s->vm)
            s->vm->ops->vm_destroy(s->vm);
        clock_free(s->clock);
        memory_free(s->memory);
    }
    memset(s, 0, sizeof *s);
}

enum engine_exit side_run(struct side *s, uint64_t instructions)
{
    return s->vcpu->ops->run(s->vcpu, instructions);
}

bool side_advance(struct side *s, uint64_t ns, bool asleep)
{
    pthread_mutex_t *lock = s->machine ? bus_lock(machine_bus(s->machine)) : NULL;
    uint64_t now = clock_now_ns(s->clock), next = clock_next_deadline_ns(s->clock);

    if (asleep && next == CLOCK_NEVER)
        return atomic_load(&s->vcpu->requests) & atomic_load(&s->vcpu->wake_mask);
    if (asleep && next > now + ns)
        ns = next - now;
    clock_advance(s->clock, ns);
    if (!lock)
        return true;
    pthread_mutex_lock(lock);
    clock_run_timers(s->clock);
    pthread_mutex_unlock(lock);
    return true;
}

void side_state(struct side *s, struct x86_state *out)
{
    s->vcpu->ops->get_state(s->vcpu, out);
}
