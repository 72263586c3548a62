/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest_run.c - runs one of the guests of guest/sys on one engine.
 *
 * usage: guest-run ENGINE FILE
 *
 * No machine: 16 MiB of RAM, the file at 64 KiB, entered there in real mode.
 * What the guest writes to port 0xE9 goes to stdout, its byte to port 0xF4 ends
 * the run and is the exit status; 0xF0 asks for an external interrupt with that
 * vector, 0xF1 for an NMI. 77 when the engine is not to be had here, or is a
 * KVM that cannot execute what the guest needs (see engine/kvm: probe).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "engine/engine.h"
#include "memory/memory.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"

enum { RAM_BYTES = 16 << 20, ENTRY = 0x10000, SKIPPED = 77, WATCHDOG_S = 100 };

struct run {
    struct engine_vcpu *vcpu;
    int vector;                   /* asked for by the guest, -1 = none */
    bool ended;
    int status;
};

/* ---- the guest's side ------------------------------------------------------- */

static uint64_t pio_read(void *guest, unsigned vcpu, uint16_t port, unsigned size)
{
    return ~0ull;
}

static void pio_write(void *guest, unsigned vcpu, uint16_t port, unsigned size, uint64_t value)
{
    struct run *r = guest;

    switch (port) {
    case 0xe9:
        putchar((int)(value & 0xff));
        break;
    case 0xf0:
        r->vector = (int)(value & 0xff);
        engine_vcpu_request(r->vcpu, REQUEST_INTR);
        break;
    case 0xf1:
        engine_vcpu_request(r->vcpu, REQUEST_NMI);
        break;
    case 0xf4:
        r->ended = true;
        r->status = (int)(value & 0xff);
        engine_vcpu_request(r->vcpu, REQUEST_EXIT);
        break;
    }
}

static uint64_t mmio_read(void *guest, unsigned vcpu, gpa_t a, unsigned size)
{
    return ~0ull;
}

static void mmio_write(void *guest, unsigned vcpu, gpa_t a, unsigned size, uint64_t value)
{
}

static int intr_ack(void *guest, unsigned vcpu)
{
    struct run *r = guest;
    int vector = r->vector;

    r->vector = -1;
    engine_vcpu_clear(r->vcpu, REQUEST_INTR);
    return vector;
}

static uint8_t tpr_get(void *guest, unsigned vcpu)
{
    return 0;
}

static void tpr_set(void *guest, unsigned vcpu, uint8_t tpr)
{
}

static int msr_read(void *guest, unsigned vcpu, uint32_t msr, uint64_t *value)
{
    return -1;
}

static int msr_write(void *guest, unsigned vcpu, uint32_t msr, uint64_t value)
{
    return -1;
}

static const struct guest_ops guest_ops = {
    .pio_read = pio_read, .pio_write = pio_write, .mmio_read = mmio_read,
    .mmio_write = mmio_write, .intr_ack = intr_ack, .tpr_get = tpr_get, .tpr_set = tpr_set,
    .msr_read = msr_read, .msr_write = msr_write,
};

/* ---- running ------------------------------------------------------------------- */

static int load(struct memory *memory, const char *path)
{
    static uint8_t image[1 << 19];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, image, sizeof image);

    if (fd >= 0)
        close(fd);
    if (n <= 0) {
        fprintf(stderr, "guest-run: cannot read %s: %s\n", path, strerror(errno));
        return -1;
    }
    return memory_write(memory, gpa(ENTRY), image, (uint64_t)n);
}

static void entry_state(struct engine_vcpu *vcpu)
{
    struct x86_state s;

    vcpu->ops->get_state(vcpu, &s);
    s.cr0 = X86_CR0_ET;
    s.seg[X86_CS] = (struct x86_segment){.base = ENTRY, .limit = 0xffff, .attr = 0x9b,
                                         .selector = ENTRY >> 4};
    s.rip = 0;
    s.ev.mp_state = X86_MP_RUNNABLE;
    vcpu->ops->set_state(vcpu, &s);
}

static void print_shutdown(struct engine_vcpu *vcpu)
{
    struct x86_exception e[4];
    uint64_t rip[4];
    unsigned n = vcpu->ops->fault_chain ? vcpu->ops->fault_chain(vcpu, e, rip, 4) : 0;

    printf("triple fault\n");
    for (unsigned i = 0; i < n; i++)
        printf("  exception %u error %#x cr2 %#llx at %#llx\n", e[i].vector, e[i].error,
               (unsigned long long)e[i].cr2, (unsigned long long)rip[i]);
}

/* Until the guest ends; its status, 77, or 3 for anything unexpected. */
static int run_to_end(struct run *r)
{
    struct engine_vcpu *v = r->vcpu;

    for (;;) {
        enum engine_exit why = v->ops->run(v, 0);

        if (r->ended)
            return r->status;
        switch (why) {
        case ENGINE_BUDGET:
        case ENGINE_KICKED:
            break;
        case ENGINE_HALTED:
            if (atomic_load(&v->requests) & atomic_load(&v->wake_mask))
                break;
            printf("halted for good\n");
            return 3;
        case ENGINE_SHUTDOWN:
            print_shutdown(v);
            return 3;
        case ENGINE_FAILED:
            printf("SKIP: %s cannot go on: %s\n", v->ops->name, error_text(v->failure));
            return SKIPPED;
        case ENGINE_DEBUG:
            printf("unexpected debug exit\n");
            return 3;
        }
    }
}

static void watchdog(int sig)
{
    static const char text[] = "\nthe guest does not end\n";

    if (write(1, text, sizeof text - 1) < 0)
        _exit(4);
    _exit(3);
}

static int skip(const char *engine, const char *why)
{
    printf("SKIP: %s: %s\n", engine, why);
    return SKIPPED;
}

int main(int argc, char **argv)
{
    const struct engine_ops *ops = argc == 3 ? engine_find(argv[1]) : NULL;
    struct engine_probe probe = {0};
    struct run r = {.vector = -1};
    struct x86_cpu_model model;
    struct x86_features features;
    struct engine_vm_config cfg = {.guest = &guest_ops, .guest_opaque = &r, .model = &model,
                                   .cpus = 1};
    struct engine_vm *vm = NULL;
    struct error *err = NULL;
    struct log log;
    int status = 3;

    if (!ops) {
        fprintf(stderr, "usage: guest-run ENGINE FILE\n");
        return 2;
    }
    ops->probe(&probe);
    if (probe.status != ENGINE_GOOD && probe.status != ENGINE_SLOW)
        return skip(argv[1], probe.reason);
    signal(SIGALRM, watchdog);
    alarm(WATCHDOG_S);
    log_init(&log, -1);
    cfg.log = &log;
    cfg.memory = memory_new(RAM_BYTES, &err);
    cfg.clock = clock_new_manual();
    ops->features(&features);
    if (!cfg.memory || x86_cpu_model_init(&model, NULL, &features, 1, &err) < 0 ||
        memory_map_ram(cfg.memory, "ram", gpa(0), 0, RAM_BYTES, 0, &err) < 0 ||
        load(cfg.memory, argv[2]) < 0 || ops->vm_create(&cfg, &vm, &err) < 0 ||
        ops->vcpu_create(vm, 0, &r.vcpu, &err) < 0) {
        fprintf(stderr, "guest-run: %s\n", err ? error_text(err) : "cannot start");
        goto out;
    }
    entry_state(r.vcpu);
    status = run_to_end(&r);
    if (status && status != SKIPPED && probe.status == ENGINE_SLOW)
        status = skip(argv[1], "executes guests in software and is no measure of a processor");
out:
    if (r.vcpu)
        ops->vcpu_destroy(r.vcpu);
    if (vm)
        ops->vm_destroy(vm);
    clock_free(cfg.clock);
    memory_free(cfg.memory);
    error_free(&err);
    return status;
}
