/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest.c - the guest that cases run in, and the engines that run it.
 *
 * A kernel of page tables and a HLT per exception: user code at privilege 3
 * under long mode, with Linux's selectors, until it faults. The handlers and
 * tables are seen through supervisor pages in the upper half only, so that the
 * lower half looks exactly like the regions on the bare processor.
 */
#include "isa.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include "base/byteorder.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "engine/engine.h"
#include "memory/memory.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"

/* Guest-physical places. */
enum {
    PML4 = 0x1000, PDPT_LOW = 0x2000, PDPT_KERNEL = 0x3000, PD_LOW = 0x4000,
    PT_CODE = 0x5000, PT_DATA = 0x6000, PT_STACK = 0x7000,
    PDPT_HIGH = 0x8000, PD_HIGH = 0x9000, PT_HIGH = 0xa000, PD_KERNEL = 0xb000,
    GDT = 0xc000, HANDLERS = 0xd000, IDT = 0xe000, LDT = 0xf000, TSS = 0x10000,
    STACK0_END = 0x13000,
};
#define KERNEL 0xffff800000000000ull
#define NX (1ull << 63)
enum { P = 1, RW = 2, US = 4, PS = 0x80, AD = 0x60, SELECTOR_LDT = 0x40, SELECTOR_TSS = 0x50 };

const struct isa_region isa_region[ISA_REGIONS] = {
    [ISA_CODE] = {"code", ISA_CODE_BASE, 0, ISA_CODE_PAGES, false, true},
    [ISA_DATA] = {"data", ISA_DATA_BASE, 2, ISA_DATA_PAGES, true, false},
    [ISA_EDGE] = {"edge", ISA_EDGE_BASE, 5, 1, true, false},
    [ISA_CONST] = {"const", ISA_CONST_BASE, 6, 1, false, false},
    [ISA_STACK] = {"stack", ISA_STACK_BASE, 7, ISA_STACK_PAGES, true, false},
    [ISA_HIGH] = {"high", ISA_HIGH_BASE, 9, 2, true, false},
    [ISA_LOOP] = {"loop", ISA_LOOP_BASE, 11, 1, true, false},
};

unsigned isa_mode_bits(enum isa_mode mode)
{
    return mode == ISA_MODE_64 ? 64 : mode == ISA_MODE_32 ? 32 : 16;
}

long isa_image_offset(uint64_t address)
{
    for (unsigned i = 0; i < ISA_REGIONS; i++) {
        const struct isa_region *g = &isa_region[i];

        if (address >= g->base && address < g->base + g->pages * PAGE_SIZE)
            return (long)(g->page * PAGE_SIZE + (address - g->base));
    }
    return -1;
}

/* ---- tables ------------------------------------------------------------ */

void isa_guest_protect(uint8_t *ram, enum isa_region_id region, unsigned page,
                       enum isa_page what)
{
    const struct isa_region *g = &isa_region[region];
    unsigned table = g->base >= ISA_HIGH_BASE    ? PT_HIGH
                     : g->base >= ISA_STACK_BASE ? PT_STACK
                     : g->base >= ISA_DATA_BASE  ? PT_DATA
                                                 : PT_CODE;
    unsigned shown = what == ISA_PAGE_ALIAS ? isa_region[ISA_DATA].page : g->page + page;
    uint64_t entry = (ISA_GUEST_IMAGE + shown * PAGE_SIZE) | US | AD | (g->executable ? 0 : NX);

    if (what != ISA_PAGE_ABSENT)
        entry |= P;
    if (g->writable && what != ISA_PAGE_READ_ONLY)
        entry |= RW;
    put_le64(ram + table + ((g->base >> PAGE_SHIFT & 511) + page) * 8, entry);
}

static void map_regions(uint8_t *ram)
{
    for (unsigned i = 0; i < ISA_REGIONS; i++) {
        for (unsigned p = 0; p < isa_region[i].pages; p++)
            isa_guest_protect(ram, i, p, ISA_PAGE_NORMAL);
    }
}

static void put_entry(uint8_t *ram, unsigned table, uint64_t address, unsigned shift,
                      uint64_t value)
{
    put_le64(ram + table + (address >> shift & 511) * 8, value | P | RW | AD);
}

static void build_paging(uint8_t *ram)
{
    put_entry(ram, PML4, 0, 39, PDPT_LOW | US);
    put_entry(ram, PML4, ISA_HIGH_BASE, 39, PDPT_HIGH | US);
    put_entry(ram, PML4, KERNEL, 39, PDPT_KERNEL);
    put_entry(ram, PDPT_LOW, 0, 30, PD_LOW | US);
    put_entry(ram, PD_LOW, ISA_CODE_BASE, 21, PT_CODE | US);
    put_entry(ram, PD_LOW, ISA_DATA_BASE, 21, PT_DATA | US);
    put_entry(ram, PD_LOW, ISA_STACK_BASE, 21, PT_STACK | US);
    put_entry(ram, PDPT_HIGH, ISA_HIGH_BASE, 30, PD_HIGH | US);
    put_entry(ram, PD_HIGH, ISA_HIGH_BASE, 21, PT_HIGH | US);
    put_entry(ram, PDPT_KERNEL, KERNEL, 30, PD_KERNEL);
    for (uint64_t a = 0; a < ISA_GUEST_BYTES; a += 2 << 20)
        put_entry(ram, PD_KERNEL, KERNEL + a, 21, a | PS);
    map_regions(ram);
}

static uint64_t descriptor(uint32_t base, uint32_t limit, uint16_t attr)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
           (uint64_t)(attr & 0xf0ff) << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
           (uint64_t)(base >> 24) << 56;
}

static void build_descriptors(uint8_t *ram)
{
    put_le64(ram + GDT + 0x10, descriptor(0, 0xfffff, 0xa09b));
    put_le64(ram + GDT + 0x18, descriptor(0, 0xfffff, 0xc093));
    put_le64(ram + GDT + (ISA_CS32 & ~7), descriptor(0, 0xfffff, 0xc0fb));
    put_le64(ram + GDT + (ISA_DS & ~7), descriptor(0, 0xfffff, 0xc0f3));
    put_le64(ram + GDT + (ISA_CS64 & ~7), descriptor(0, 0xfffff, 0xa0fb));
    put_le64(ram + GDT + SELECTOR_LDT, descriptor(LDT, 0x17, 0x0082));
    put_le64(ram + GDT + SELECTOR_LDT + 8, KERNEL >> 32);
    put_le64(ram + GDT + SELECTOR_TSS, descriptor(TSS, 0x67, 0x008b));
    put_le64(ram + GDT + SELECTOR_TSS + 8, KERNEL >> 32);
    put_le64(ram + LDT + (ISA_CS16 & ~7), descriptor(ISA_CODE_BASE, 0xffff, 0x00fb));
    put_le64(ram + LDT + (ISA_DS16 & ~7), descriptor(ISA_DATA_BASE, 0xffff, 0x00f3));
    put_le64(ram + LDT + (ISA_SS16 & ~7), descriptor(ISA_STACK_BASE, 0xffff, 0x00f3));
    put_le64(ram + TSS + 4, KERNEL + STACK0_END);
    put_le16(ram + TSS + 102, 0x68);
}

void isa_guest_build(uint8_t *ram)
{
    build_paging(ram);
    build_descriptors(ram);
    for (unsigned v = 0; v < 32; v++) {
        uint64_t entry = KERNEL + HANDLERS + v * 16;
        bool software = v == X86_BP || v == X86_OF;

        put_le64(ram + IDT + v * 16,
                 (entry & 0xffff) | 0x10 << 16 | (software ? 0xeeull : 0x8eull) << 40 |
                     (entry >> 16 & 0xffff) << 48);
        put_le64(ram + IDT + v * 16 + 8, entry >> 32);
        ram[HANDLERS + v * 16] = 0xf4;
    }
}

/* ---- state ------------------------------------------------------------- */

static struct x86_segment flat(uint16_t selector, uint32_t attr)
{
    return (struct x86_segment){0, 0xffffffff, attr, selector};
}

static void set_segments(enum isa_mode mode, struct x86_state *s)
{
    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        s->seg[i] = flat(ISA_DS, 0xc0f3);
    s->seg[X86_FS] = s->seg[X86_GS] = (struct x86_segment){.attr = X86_ATTR_UNUSABLE};
    s->ldtr = (struct x86_segment){KERNEL + LDT, 0x17, 0x82, SELECTOR_LDT};
    s->tr = (struct x86_segment){KERNEL + TSS, 0x67, 0x8b, SELECTOR_TSS};
    s->gdtr = (struct x86_table){KERNEL + GDT, 0x7f};
    s->idtr = (struct x86_table){KERNEL + IDT, 32 * 16 - 1};
    if (mode == ISA_MODE_64) {
        s->seg[X86_CS] = flat(ISA_CS64, 0xa0fb);
    } else if (mode == ISA_MODE_32) {
        s->seg[X86_CS] = flat(ISA_CS32, 0xc0fb);
    } else {
        s->seg[X86_CS] = (struct x86_segment){ISA_CODE_BASE, 0xffff, 0xfb, ISA_CS16};
        s->seg[X86_DS] = s->seg[X86_ES] =
            (struct x86_segment){ISA_DATA_BASE, 0xffff, 0xf3, ISA_DS16};
        s->seg[X86_SS] = (struct x86_segment){ISA_STACK_BASE, 0xffff, 0xf3, ISA_SS16};
    }
}

void isa_guest_state(const struct isa_case *c, const struct x86_cpu_model *model,
                     struct x86_state *s)
{
    x86_state_power_on(s, true);
    memcpy(s->gpr, c->in.gpr, sizeof s->gpr);
    s->rip = c->in.rip;
    s->rflags = c->in.rflags;
    s->fpu = c->in.fpu;
    set_segments(c->mode, s);
    s->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM |
             X86_CR0_PG;
    s->cr3 = PML4;
    s->cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
    s->msr.efer = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
    s->xcr0 = model->xcr0_allowed & (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX | X86_XCR0_AVX512);
}

static bool pushes_error(unsigned vector)
{
    return vector == X86_DF || (vector >= X86_TS && vector <= X86_PF) || vector == X86_AC;
}

void isa_guest_result(const struct x86_state *s, const uint8_t *ram, struct isa_result *out)
{
    uint64_t slot = s->rip - ISA_GUEST_HANDLERS, at = s->gpr[X86_RSP] - KERNEL;

    if (slot >= 32 * 16 || at > STACK0_END - 5 * 8 || at < STACK0_END - 0x100) {
        snprintf(out->failed, sizeof out->failed, "ended outside the handlers, RIP %#llx",
                 (unsigned long long)s->rip);
        return;
    }
    out->vector = (uint8_t)(slot >> 4);
    memcpy(out->out.gpr, s->gpr, sizeof out->out.gpr);
    out->out.fpu = s->fpu;
    out->cr2 = s->cr2;
    if (pushes_error(out->vector)) {
        out->error = (uint32_t)get_le64(ram + at);
        at += 8;
    }
    out->out.rip = get_le64(ram + at);
    out->out.rflags = get_le64(ram + at + 16);
    out->out.gpr[X86_RSP] = get_le64(ram + at + 24);
}

/* ---- engines ----------------------------------------------------------- */

struct guest {
    struct isa_runner runner;
    struct memory *memory;
    struct clock *clock;
    struct log log;
    struct x86_cpu_model model;
    struct x86_features host_lacks;
    struct engine_vm *vm;
    struct engine_vcpu *vcpu;
    struct x86_state state;
    uint8_t *ram;
    uint64_t runs, runs_seen;    /* for the watchdog, which ends an engine that gets lost */
    bool running;
};

enum { WATCHDOG_S = 20 };

/* The handler has no other way to find its guest. */
static struct guest *the_guest;

/* By processor time of this process: a loaded machine is no reason. */
static void watchdog(int signo)
{
    struct guest *g = the_guest;

    if (!g || !g->running)
        return;
    if (g->runs == g->runs_seen)
        engine_vcpu_request(g->vcpu, REQUEST_EXIT);
    g->runs_seen = g->runs;
}

static void guest_run(struct isa_runner *r, const struct isa_case *c, struct isa_result *out)
{
    struct guest *g = (struct guest *)r;
    enum engine_exit why;

    memset(out, 0, sizeof *out);
    isa_guest_state(c, &g->model, &g->state);
    if (!c->warm)
        memory_written(g->memory, gpa(ISA_GUEST_IMAGE), ISA_CODE_PAGES * PAGE_SIZE);
    if (g->vcpu->ops->set_state(g->vcpu, &g->state) < 0) {
        strcpy(out->failed, "the engine refuses the state");
        return;
    }
    g->runs++;
    g->running = true;
    why = g->vcpu->ops->run(g->vcpu, 0);
    g->running = false;
    g->vcpu->ops->get_state(g->vcpu, &g->state);
    if (why != ENGINE_HALTED)
        snprintf(out->failed, sizeof out->failed, "the engine came back for reason %d, RIP %#llx",
                 (int)why, (unsigned long long)g->state.rip);
    else
        isa_guest_result(&g->state, g->ram, out);
}

static void guest_protect(struct isa_runner *r, enum isa_region_id region, unsigned page,
                          enum isa_page what)
{
    isa_guest_protect(((struct guest *)r)->ram, region, page, what);
}

static void guest_close(struct isa_runner *r)
{
    struct guest *g = (struct guest *)r;

    setitimer(ITIMER_VIRTUAL, &(struct itimerval){0}, NULL);
    the_guest = NULL;

    if (g->vcpu)
        g->vcpu->ops->vcpu_destroy(g->vcpu);
    if (g->vm)
        g->vm->ops->vm_destroy(g->vm);
    if (g->memory)
        memory_free(g->memory);
    if (g->clock)
        clock_free(g->clock);
    free(g);
}

static uint64_t no_read(void *guest, unsigned vcpu, gpa_t a, unsigned size) { return ~0ull; }
static void no_write(void *guest, unsigned vcpu, gpa_t a, unsigned size, uint64_t v) {}
static uint64_t no_in(void *guest, unsigned vcpu, uint16_t port, unsigned size) { return ~0ull; }
static void no_out(void *guest, unsigned vcpu, uint16_t port, unsigned size, uint64_t v) {}
static int no_interrupt(void *guest, unsigned vcpu) { return -1; }
static uint8_t no_tpr(void *guest, unsigned vcpu) { return 0; }
static void no_tpr_set(void *guest, unsigned vcpu, uint8_t tpr) {}
static int no_rdmsr(void *guest, unsigned vcpu, uint32_t msr, uint64_t *v) { return -1; }
static int no_wrmsr(void *guest, unsigned vcpu, uint32_t msr, uint64_t v) { return -1; }

static const struct guest_ops nothing = {
    .pio_read = no_in, .pio_write = no_out, .mmio_read = no_read, .mmio_write = no_write,
    .intr_ack = no_interrupt, .tpr_get = no_tpr, .tpr_set = no_tpr_set,
    .msr_read = no_rdmsr, .msr_write = no_wrmsr,
};

static int guest_start(struct guest *g, const struct engine_ops *ops, const char *lacking,
                       struct error **err)
{
    struct x86_features features = {0};
    struct engine_probe probe = {0};
    struct engine_vm_config cfg = {.guest = &nothing, .model = &g->model, .cpus = 1,
                                   .host_lacks = &g->host_lacks};
    int r = lacking ? x86_features_parse_lacking(&g->host_lacks, lacking, err) : 0;

    if (r < 0)
        return r;
    log_init(&g->log, -1);
    ops->probe(&probe);
    if (probe.status == ENGINE_ABSENT || probe.status == ENGINE_FORBIDDEN)
        return error_set(err, ENODEV, "%s: %s", ops->name, probe.reason);
    ops->features(&features);
    x86_features_lack(&features, &g->host_lacks);
    r = x86_cpu_model_init(&g->model, NULL, &features, 1, err);
    if (r < 0)
        return r;
    g->clock = clock_new_manual();
    g->memory = memory_new(ISA_GUEST_BYTES, err);
    if (!g->memory)
        return -1;
    r = memory_map_ram(g->memory, "ram", gpa(0), 0, ISA_GUEST_BYTES, 0, err);
    if (r < 0)
        return r;
    g->ram = memory_ram_base(g->memory).p;
    isa_guest_build(g->ram);
    g->runner.features = g->model.features.w[0];
    g->runner.image = g->ram + ISA_GUEST_IMAGE;
    cfg.memory = g->memory;
    cfg.clock = g->clock;
    cfg.log = &g->log;
    r = ops->vm_create(&cfg, &g->vm, err);
    return r < 0 ? r : ops->vcpu_create(g->vm, 0, &g->vcpu, err);
}

struct isa_runner *isa_engine_open(const char *name, const char *lacking, struct error **err)
{
    const struct engine_ops *ops = engine_find(name);
    struct guest *g = calloc(1, sizeof *g);

    if (!ops || !g) {
        error_set(err, ENOENT, "there is no engine '%s'", name);
        free(g);
        return NULL;
    }
    g->runner = (struct isa_runner){.name = ops->name, .run = guest_run,
                                     .protect = guest_protect, .close = guest_close};
    if (guest_start(g, ops, lacking, err) < 0) {
        guest_close(&g->runner);
        return NULL;
    }
    the_guest = g;
    sigaction(SIGVTALRM, &(struct sigaction){.sa_handler = watchdog,
                                             .sa_flags = SA_ONSTACK | SA_RESTART}, NULL);
    setitimer(ITIMER_VIRTUAL, &(struct itimerval){{WATCHDOG_S, 0}, {WATCHDOG_S, 0}}, NULL);
    return &g->runner;
}
