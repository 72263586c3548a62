/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvm_fixture.c - see kvm_fixture.h. */
#include "kvm_fixture.h"

#include <stdio.h>
#include <unistd.h>
#include "engine/kvm/kvm.h"

/* ---- the fake guest side -------------------------------------------------- */

static void record(struct guest *g, enum access_kind kind, unsigned vcpu, uint64_t address,
                   unsigned size, uint64_t value)
{
    if (g->accesses < ACCESS_MAX)
        g->access[g->accesses] = (struct access){kind, address, value, size, vcpu};
    g->accesses++;
    if (g->accesses == g->leave_after)
        engine_vcpu_request(g->vcpu[vcpu], REQUEST_EXIT);
}

static uint64_t fake_pio_read(void *opaque, unsigned vcpu, uint16_t port, unsigned size)
{
    struct guest *g = opaque;
    record(g, PIO_READ, vcpu, port, size, g->answer);
    return g->answer;
}

static void fake_pio_write(void *opaque, unsigned vcpu, uint16_t port, unsigned size,
                           uint64_t value)
{
    record(opaque, PIO_WRITE, vcpu, port, size, value);
}

static uint64_t fake_mmio_read(void *opaque, unsigned vcpu, gpa_t a, unsigned size)
{
    struct guest *g = opaque;
    record(g, MMIO_READ, vcpu, a.v, size, g->answer);
    return g->answer;
}

static void fake_mmio_write(void *opaque, unsigned vcpu, gpa_t a, unsigned size, uint64_t value)
{
    record(opaque, MMIO_WRITE, vcpu, a.v, size, value);
}

static int fake_intr_ack(void *opaque, unsigned vcpu)
{
    struct guest *g = opaque;

    if (!g->vectors_left)
        return -1;
    uint8_t vector = g->vectors[0];
    memmove(g->vectors, g->vectors + 1, sizeof(g->vectors) - 1);
    if (--g->vectors_left == 0)
        engine_vcpu_clear(g->vcpu[vcpu], REQUEST_INTR);
    return vector;
}

static uint8_t fake_tpr_get(void *opaque, unsigned vcpu)
{
    return ((struct guest *)opaque)->tpr;
}

static void fake_tpr_set(void *opaque, unsigned vcpu, uint8_t tpr)
{
    ((struct guest *)opaque)->tpr = tpr;
}

static int fake_msr_read(void *opaque, unsigned vcpu, uint32_t msr, uint64_t *value)
{
    struct guest *g = opaque;

    *value = g->answer;
    record(g, MSR_READ, vcpu, msr, 8, *value);
    return msr >= 0x800 && msr <= 0x8ff ? 0 : msr == 0x6e0 ? 0 : -1;
}

static int fake_msr_write(void *opaque, unsigned vcpu, uint32_t msr, uint64_t value)
{
    record(opaque, MSR_WRITE, vcpu, msr, 8, value);
    return 0;
}

static const struct guest_ops fake_guest = {
    .pio_read = fake_pio_read, .pio_write = fake_pio_write,
    .mmio_read = fake_mmio_read, .mmio_write = fake_mmio_write,
    .intr_ack = fake_intr_ack, .tpr_get = fake_tpr_get, .tpr_set = fake_tpr_set,
    .msr_read = fake_msr_read, .msr_write = fake_msr_write,
};

/* ---- life ----------------------------------------------------------------- */

void fixture_need_kvm(void)
{
    struct error *err = NULL;
    int fd = kvm_open(&err);

    if (fd >= 0) {
        int vm = kvm_create_vm_fd(fd, &err);
        close(fd);
        if (vm >= 0) {
            close(vm);
            return;
        }
    }
    char *text = error_text(err);
    printf("SKIP: %s\n", text);
    free(text);
    error_free(&err);
    exit(77);
}

static void die(struct error *err)
{
    char *text = error_text(err);
    fail_msg("%s", text);
}

/* A page table, a directory pointer table, and a directory of 2 MiB pages. */
static void make_tables(struct guest *g)
{
    enum { PRESENT_WRITE_USER = 7, LARGE = 0x80 };
    uint64_t entry = (GUEST_TABLES + 0x1000) | PRESENT_WRITE_USER;

    memory_write(g->memory, gpa(GUEST_TABLES), &entry, 8);
    entry = (GUEST_TABLES + 0x2000) | PRESENT_WRITE_USER;
    memory_write(g->memory, gpa(GUEST_TABLES + 0x1000), &entry, 8);
    for (uint64_t i = 0; i < 512; i++) {
        entry = i << 21 | PRESENT_WRITE_USER | LARGE;
        memory_write(g->memory, gpa(GUEST_TABLES + 0x2000 + 8 * i), &entry, 8);
    }
}

struct guest *guest_new(unsigned cpus, unsigned flags)
{
    struct guest *g = calloc(1, sizeof(*g));
    struct x86_features features;
    struct error *err = NULL;

    assert_non_null(g);
    alarm(WATCHDOG_S);
    log_init(&g->log, 2);
    uint32_t trace = 0;
    if (getenv("RING3_TEST_TRACE"))
        log_parse_categories(getenv("RING3_TEST_TRACE"), &trace, NULL);
    atomic_store(&g->log.trace_mask, trace);
    g->clock = clock_new_host();
    g->cpus = cpus;
    g->memory = memory_new(GUEST_RAM, &err);
    if (!g->memory || memory_map_ram(g->memory, "ram", gpa(0), 0, GUEST_RAM, 0, &err) < 0)
        die(err);
    engine_kvm.features(&features);
    if (x86_cpu_model_init(&g->model, NULL, &features, cpus, &err) < 0)
        die(err);
    struct engine_vm_config cfg = {
        .memory = g->memory, .clock = g->clock, .guest = &fake_guest, .guest_opaque = g,
        .model = &g->model, .log = &g->log, .cpus = cpus,
        .want_irqchip = flags & FIXTURE_IRQCHIP};
    if (engine_kvm.vm_create(&cfg, &g->vm, &err) < 0)
        die(err);
    for (unsigned i = 0; i < cpus; i++)
        if (engine_kvm.vcpu_create(g->vm, i, &g->vcpu[i], &err) < 0)
            die(err);
    make_tables(g);
    return g;
}

void guest_free(struct guest *g)
{
    for (unsigned i = 0; i < g->cpus; i++)
        engine_kvm.vcpu_destroy(g->vcpu[i]);
    engine_kvm.vm_destroy(g->vm);
    memory_free(g->memory);
    clock_free(g->clock);
    free(g);
    alarm(0);
}

void guest_code(struct guest *g, const void *code, size_t bytes)
{
    assert_int_equal(memory_write(g->memory, gpa(GUEST_CODE), code, bytes), 0);
}

/* ---- states --------------------------------------------------------------- */

void guest_start_real(struct guest *g, unsigned vcpu)
{
    struct x86_state s = guest_state(g, vcpu);

    s.seg[X86_CS].base = 0;
    s.seg[X86_CS].selector = 0;
    s.rip = GUEST_CODE;
    s.gpr[X86_RSP] = GUEST_STACK;
    s.rflags = X86_FLAG_1;
    s.ev.mp_state = X86_MP_RUNNABLE;
    guest_set_state(g, vcpu, &s);
}

void guest_start_long(struct guest *g, unsigned vcpu, unsigned cpl)
{
    struct x86_state s = guest_state(g, vcpu);
    uint32_t common = X86_ATTR_P | X86_ATTR_S | X86_ATTR_G | cpl << X86_ATTR_DPL_SHIFT;

    for (unsigned i = 0; i < X86_SEG_COUNT; i++)
        s.seg[i] = (struct x86_segment){.limit = UINT32_MAX, .selector = (uint16_t)(0x18 | cpl),
                                        .attr = common | X86_ATTR_DB | 3};
    s.seg[X86_CS] = (struct x86_segment){.limit = UINT32_MAX, .selector = (uint16_t)(0x10 | cpl),
                                         .attr = common | X86_ATTR_L | 0xb};
    s.cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_PG;
    s.cr3 = GUEST_TABLES;
    s.cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
    s.msr.efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_SCE;
    s.rip = GUEST_CODE;
    s.gpr[X86_RSP] = GUEST_STACK;
    s.rflags = X86_FLAG_1 | X86_FLAG_IOPL;       /* ports at CPL 3 */
    s.ev.mp_state = X86_MP_RUNNABLE;
    guest_set_state(g, vcpu, &s);
}

struct x86_state guest_state(struct guest *g, unsigned vcpu)
{
    struct x86_state s;
    assert_int_equal(engine_kvm.get_state(g->vcpu[vcpu], &s), 0);
    return s;
}

void guest_set_state(struct guest *g, unsigned vcpu, const struct x86_state *s)
{
    assert_int_equal(engine_kvm.set_state(g->vcpu[vcpu], s), 0);
}

void guest_run(struct guest *g, unsigned vcpu, enum engine_exit expected)
{
    enum engine_exit got = engine_kvm.run(g->vcpu[vcpu], 0);

    if (got != expected && got == ENGINE_FAILED)
        fail_msg("run failed: %s", g->vcpu[vcpu]->failure->what);
    assert_int_equal(got, expected);
}

void expect_access(const struct guest *g, unsigned n, enum access_kind kind, uint64_t address,
                   unsigned size, uint64_t value)
{
    assert_true(n < g->accesses && n < ACCESS_MAX);
    assert_int_equal(g->access[n].kind, kind);
    assert_int_equal(g->access[n].address, address);
    assert_int_equal(g->access[n].size, size);
    assert_int_equal(g->access[n].value, value);
}
