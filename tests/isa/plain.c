/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plain.c - cases through the shared instruction functions, without an engine.
 *
 * Engines have fast paths for common forms and call the functions of
 * x86/exec.h for the rest; here every instruction goes through the latter, one
 * at a time, decoded anew. The slowest and simplest way to be right.
 */
#include "isa.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "x86/cpuid.h"
#include "x86/exec.h"
#include "x86/hostinsn.h"
#include "x86/mmu.h"

struct plain {
    struct isa_runner runner;
    struct x86_cpu *cpu;
    struct x86_cpu_model model;
    struct counters counters;
    uint8_t *ram;
};

static uint8_t *ram_page(void *env, gpa_t page, bool for_write)
{
    struct plain *p = env;

    return page.v < ISA_GUEST_BYTES ? p->ram + page.v : NULL;
}

static uint64_t phys_read(void *env, gpa_t a, unsigned size) { return ~0ull; }
static void phys_write(void *env, gpa_t a, unsigned size, uint64_t value) {}
static uint64_t pio_read(void *env, uint16_t port, unsigned size) { return ~0ull; }
static void pio_write(void *env, uint16_t port, unsigned size, uint64_t value) {}
static int msr_read(void *env, uint32_t msr, uint64_t *value) { return -1; }
static int msr_write(void *env, uint32_t msr, uint64_t value) { return -1; }
static uint8_t tpr_get(void *env) { return 0; }
static void tpr_set(void *env, uint8_t tpr) {}
static uint64_t tsc(void *env) { return 0; }
static void tsc_set(void *env, uint64_t value) {}

static const struct x86_env_ops env_ops = {
    .ram_page = ram_page, .phys_read = phys_read, .phys_write = phys_write,
    .pio_read = pio_read, .pio_write = pio_write, .msr_read = msr_read, .msr_write = msr_write,
    .tpr_get = tpr_get, .tpr_set = tpr_set, .tsc = tsc, .tsc_set = tsc_set,
};

static void fetch(struct x86_cpu *cpu, struct x86_insn *insn)
{
    uint8_t bytes[X86_INSN_MAX_BYTES];
    const uint8_t *host;
    int r = -EAGAIN;

    for (unsigned n = 0; r == -EAGAIN && n < sizeof bytes; n++) {
        uint64_t at = cpu->s.rip + n;

        if (cpu->mode.code_bits != 64)
            at = (uint32_t)(at + cpu->s.seg[X86_CS].base);
        x86_fetch_page(cpu, gva(at), &host);
        bytes[n] = host[at & PAGE_OFFSET_MASK];
        r = x86_decode(bytes, n + 1, cpu->mode.code_bits, insn);
    }
    if (r == -E2BIG)
        x86_gp0(cpu);
    if (r < 0 || insn->class == X86_CLASS_INVALID ||
        (insn->isa & ~cpu->model->features.w[0]))
        x86_ud(cpu);
}

static void step(struct x86_cpu *cpu)
{
    struct x86_insn insn;

    fetch(cpu, &insn);
    if (insn.class == X86_CLASS_HOST) {
        const struct x86_hostinsn *st = x86_hostinsn_get(cpu->hostinsns, &insn);

        if (!st)
            x86_ud(cpu);
        x86_hostinsn_run(cpu, &insn, st);
        return;
    }
    x86_exec_op(&insn)(cpu, &insn);
}

static void plain_run(struct isa_runner *r, const struct isa_case *c, struct isa_result *out)
{
    struct plain *p = (struct plain *)r;
    struct x86_cpu *cpu = p->cpu;

    memset(out, 0, sizeof *out);
    isa_guest_state(c, &p->model, &cpu->s);
    x86_cpu_state_loaded(cpu);
    if (setjmp(cpu->unwind)) {
        if (!x86_exception_deliver(cpu)) {
            strcpy(out->failed, "triple fault");
            return;
        }
    }
    for (unsigned n = 0; n < 1000000; n++) {
        if (cpu->s.rip - ISA_GUEST_HANDLERS < 32 * 16) {
            cpu->s.rip++;                            /* as if HLT had been executed */
            isa_guest_result(&cpu->s, p->ram, out);
            return;
        }
        step(cpu);
    }
    strcpy(out->failed, "did not end");
}

static void plain_protect(struct isa_runner *r, enum isa_region_id region, unsigned page,
                          enum isa_page what)
{
    isa_guest_protect(((struct plain *)r)->ram, region, page, what);
}

static void plain_close(struct isa_runner *r)
{
    struct plain *p = (struct plain *)r;

    if (p->cpu)
        x86_hostinsn_pool_free(p->cpu->hostinsns);
    free(p->cpu);
    free(p->ram);
    free(p);
}

struct isa_runner *isa_plain_open(struct error **err)
{
    struct plain *p = calloc(1, sizeof *p);
    struct x86_features features = {0};

    if (!p)
        return NULL;
    p->runner = (struct isa_runner){.name = "plain", .run = plain_run,
                                     .protect = plain_protect, .close = plain_close};
    p->ram = aligned_alloc(PAGE_SIZE, ISA_GUEST_BYTES);
    p->cpu = aligned_alloc(64, align_up(sizeof *p->cpu, 64));
    x86_features_software(&features);
    if (!p->ram || !p->cpu || x86_cpu_model_init(&p->model, NULL, &features, 1, err) < 0) {
        free(p->ram);
        free(p->cpu);
        free(p);
        return NULL;
    }
    memset(p->ram, 0, ISA_GUEST_BYTES);
    isa_guest_build(p->ram);
    p->runner.features = p->model.features.w[0];
    p->runner.image = p->ram + ISA_GUEST_IMAGE;
    memset(p->cpu, 0, sizeof *p->cpu);
    x86_cpu_init(p->cpu, &env_ops, p, &p->model, &p->counters, NULL, true);
    p->cpu->hostinsns = x86_hostinsn_pool_new(err);
    if (!p->cpu->hostinsns) {
        plain_close(&p->runner);
        return NULL;
    }
    return &p->runner;
}
