/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * machine_life.c - a whole PC with a guest of a few bytes, from start to end.
 *
 * The guests are multiboot images made of machine code: 32-bit protected mode,
 * flat, no interrupts, which is how they are entered. The engine is the
 * reference engine, so the test needs nothing from the host.
 */
#include "unit.h"

#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "machine/machine.h"
#include "memory/memory.h"

enum { LOAD = 0x100000, ENTRY = LOAD + 0x40, COUNTER = 0x200000 };

struct rig {
    struct machine_config cfg;
    struct machine *m;
    struct log log;
    int fd;
    char path[32];
    char serial[64];
    size_t serial_len, stop_after;
};

static void on_serial(void *opaque, const uint8_t *data, size_t len)
{
    struct rig *r = opaque;

    for (size_t i = 0; i < len && r->serial_len < sizeof r->serial - 1; i++)
        r->serial[r->serial_len++] = (char)data[i];
    if (r->stop_after && r->serial_len >= r->stop_after)
        machine_stop(r->m);
}

static void rig_prepare(struct rig *r, const void *code, size_t len)
{
    uint8_t image[0x400] = {0};

    *r = (struct rig){.log = {.fd = -1}};
    put_le32(image, 0x1badb002);
    put_le32(image + 4, 0x10000);
    put_le32(image + 8, -(0x1badb002 + 0x10000));
    put_le32(image + 12, LOAD);
    put_le32(image + 16, LOAD);
    put_le32(image + 28, ENTRY);
    memcpy(image + (ENTRY - LOAD), code, len);
    r->fd = memfd_create("guest", MFD_CLOEXEC);
    assert_true(r->fd >= 0);
    assert_int_equal(write(r->fd, image, sizeof image), sizeof image);
    snprintf(r->path, sizeof r->path, "/proc/self/fd/%d", r->fd);

    machine_config_defaults(&r->cfg);
    r->cfg.engine = "interp";
    r->cfg.kernel = r->path;
    r->cfg.memory_bytes = 16 << 20;
    r->cfg.serial = (struct machine_serial){on_serial, r};
    r->cfg.log = &r->log;
}

static void rig_open(struct rig *r)
{
    struct error *err = NULL;

    if (machine_new(&r->cfg, &r->m, &err))
        fail_msg("%s", error_text(err));
}

static void rig_close(struct rig *r)
{
    machine_free(r->m);
    close(r->fd);
}

static struct machine_result run(struct rig *r)
{
    struct machine_result result = {0};

    assert_int_equal(machine_run(r->m, &result, NULL), 0);
    return result;
}

#define GUEST(r, ...)                                           \
    do {                                                        \
        static const uint8_t code_[] = {__VA_ARGS__};           \
        rig_prepare(r, code_, sizeof code_);                    \
    } while (0)

/* mov dx, imm16; mov al, imm8; out dx, al */
#define OUTB(port, value) 0x66, 0xba, (port) & 0xff, (port) >> 8, 0xb0, (value), 0xee
/* mov dx, imm16; mov ax, imm16; out dx, ax */
#define OUTW(port, value) 0x66, 0xba, (port) & 0xff, (port) >> 8, \
                          0x66, 0xb8, (value) & 0xff, (value) >> 8, 0x66, 0xef
#define HALT 0xf4, 0xeb, 0xfd
#define SPIN_COUNTING 0xff, 0x05, 0x00, 0x00, 0x20, 0x00, 0xeb, 0xf8

static void s5_powers_off(void **state)
{
    struct rig r;

    GUEST(&r, OUTW(0x604, 0x2000 | 5 << 10), OUTB(0x3f8, 'x'), HALT);
    rig_open(&r);
    assert_int_equal(run(&r).end, MACHINE_POWERED_OFF);
    assert_int_equal(r.serial_len, 0);    /* nothing runs after the write */
    rig_close(&r);
}

static void debug_exit_gives_its_status(void **state)
{
    struct machine_result result;
    struct rig r;

    GUEST(&r, OUTB(0xf4, 0x15), HALT);
    rig_open(&r);
    result = run(&r);
    assert_int_equal(result.end, MACHINE_DEBUG_EXIT);
    assert_int_equal(result.status, 0x2b);
    rig_close(&r);
}

static void reset_starts_again(void **state)
{
    struct rig r;
    uint32_t counter = 0;

    /* inc dword [COUNTER]: RAM is new after every reset. */
    GUEST(&r, 0xff, 0x05, 0x00, 0x00, 0x20, 0x00, OUTB(0x3f8, 'A'), OUTB(0x64, 0xfe), HALT);
    r.stop_after = 3;
    rig_open(&r);
    assert_int_equal(run(&r).end, MACHINE_STOPPED);
    assert_memory_equal(r.serial, "AAA", 3);
    assert_int_equal(memory_read(machine_memory(r.m), gpa(COUNTER), &counter, 4), 0);
    assert_true(counter <= 1);
    rig_close(&r);
}

static void reset_ends_with_no_reboot(void **state)
{
    static const struct { uint16_t port; uint8_t value; } ways[] = {
        {0x64, 0xfe}, {0xcf9, 0x06}, {0x92, 0x01},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
        uint8_t code[] = {OUTB(ways[i].port, ways[i].value), HALT};
        struct rig r;

        rig_prepare(&r, code, sizeof code);
        r.cfg.no_reboot = true;
        rig_open(&r);
        assert_int_equal(run(&r).end, MACHINE_RESET);
        rig_close(&r);
    }
}

/* A guest that looks for PCI writes a dword over the reset control register. */
static void a_dword_at_cf8_is_no_reset(void **state)
{
    struct rig r;

    /* mov dx, 0xcf8; mov eax, -1; out dx, eax */
    GUEST(&r, 0x66, 0xba, 0xf8, 0x0c, 0xb8, 0xff, 0xff, 0xff, 0xff, 0xef, OUTB(0xf4, 0), HALT);
    r.cfg.no_reboot = true;
    rig_open(&r);
    assert_int_equal(run(&r).end, MACHINE_DEBUG_EXIT);
    rig_close(&r);
}

static void reset_survives_a_deleted_kernel(void **state)
{
    char path[] = "/tmp/ring3-life-XXXXXX";
    uint8_t image[0x400];
    struct rig r;

    GUEST(&r, OUTB(0x3f8, 'A'), OUTB(0x64, 0xfe), HALT);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(pread(r.fd, image, sizeof image, 0), sizeof image);
    assert_int_equal(write(fd, image, sizeof image), sizeof image);
    close(fd);
    r.cfg.kernel = path;
    r.stop_after = 2;
    rig_open(&r);
    unlink(path);
    assert_int_equal(run(&r).end, MACHINE_STOPPED);
    rig_close(&r);
}

static void reset_says_when_the_kernel_is_gone(void **state)
{
    struct machine_result result;
    struct rig r;

    GUEST(&r, OUTB(0x64, 0xfe), HALT);
    rig_open(&r);
    assert_int_equal(ftruncate(r.fd, 0), 0);
    result = run(&r);
    assert_int_equal(result.end, MACHINE_FAILED);
    expect_error(-result.error->code, ENODATA, &result.error, "cannot reset the machine");
    rig_close(&r);
}

static void triple_fault_is_reported(void **state)
{
    struct machine_result result;
    struct strbuf text = {0};
    struct rig r;

    GUEST(&r, 0x90, 0x0f, 0x0b, HALT);     /* nop; ud2, with an empty IDT */
    rig_open(&r);
    result = run(&r);
    assert_int_equal(result.end, MACHINE_TRIPLE_FAULT);
    machine_fault_report(r.m, result.vcpu, &text);
    assert_non_null(strstr(strbuf_text(&text), "ud2"));
    assert_non_null(strstr(strbuf_text(&text), "#UD"));
    assert_non_null(strstr(strbuf_text(&text), "#DF"));
    assert_non_null(strstr(strbuf_text(&text), "cr0"));
    strbuf_fini(&text);
    rig_close(&r);
}

/* Guest RAM is shared with a guest that locks nothing, by design. */
__attribute__((no_sanitize("thread"))) static uint32_t counter_of(struct rig *r)
{
    return *(volatile uint32_t *)memory_host(machine_memory(r->m), gpa(COUNTER), 4, false).p;
}

struct poker {
    struct rig *r;
    unsigned step;
    uint32_t seen;
};

/* Runs in the loop's thread, again and again until it is through. */
static void poke(void *opaque)
{
    struct poker *p = opaque;
    struct rig *r = p->r;
    struct x86_state s;

    switch (p->step) {
    case 0:                                /* it runs */
        if (counter_of(r) > 1000)
            p->step++;
        break;
    case 1:                                /* paused, it stands still */
        machine_pause(r->m);
        machine_pause(r->m);
        assert_true(machine_paused(r->m));
        p->seen = counter_of(r);
        assert_int_equal(machine_vcpu_state(r->m, 0, &s), 0);
        assert_true(s.rip >= ENTRY && s.rip < ENTRY + 16);
        usleep(1000);
        assert_int_equal(counter_of(r), p->seen);
        assert_true(machine_paused(r->m));
        machine_resume(r->m);
        p->step++;
        break;
    case 2:                                /* it goes on */
        if (counter_of(r) != p->seen)
            p->step++;
        break;
    case 3:                                /* its state can be read while it runs */
        assert_int_equal(machine_vcpu_state(r->m, 0, &s), 0);
        assert_false(machine_paused(r->m));
        machine_reset(r->m);
        p->step++;
        break;
    case 4:
        if (counter_of(r) > 1000)
            p->step++;
        break;
    default:
        machine_stop(r->m);
        return;
    }
    loop_post(machine_loop(r->m), poke, p);
}

static void pause_resume_stop_a_spinning_guest(void **state)
{
    struct rig r;
    struct poker p = {.r = &r};

    GUEST(&r, SPIN_COUNTING);
    rig_open(&r);
    loop_post(machine_loop(r.m), poke, &p);
    assert_int_equal(run(&r).end, MACHINE_STOPPED);
    assert_int_equal(p.step, 5);
    rig_close(&r);
}

static void starts_paused(void **state)
{
    struct rig r;

    GUEST(&r, OUTB(0xf4, 0), HALT);
    rig_open(&r);
    machine_pause(r.m);
    loop_post(machine_loop(r.m), (void (*)(void *))machine_resume, r.m);
    assert_int_equal(run(&r).end, MACHINE_DEBUG_EXIT);
    rig_close(&r);
}

static void stop_before_run_counts(void **state)
{
    struct rig r;

    GUEST(&r, SPIN_COUNTING);
    rig_open(&r);
    machine_stop(r.m);
    assert_int_equal(run(&r).end, MACHINE_STOPPED);
    rig_close(&r);
}

struct sleeper {
    struct rig *r;
    uint64_t cpu_before;
    uint64_t cpu_ns;
};

static uint64_t cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void *watch_idle(void *arg)
{
    struct sleeper *s = arg;

    usleep(50000);                          /* let it get to its HLT */
    s->cpu_before = cpu_ns();
    usleep(300000);
    s->cpu_ns = cpu_ns() - s->cpu_before;
    machine_stop(s->r->m);
    return NULL;
}

/* A third of a second of wall time may cost a few milliseconds at most. */
static void an_idle_guest_uses_no_cpu(void **state)
{
    struct rig r;
    struct sleeper s = {.r = &r};
    pthread_t t;

    GUEST(&r, HALT);
    rig_open(&r);
    assert_int_equal(pthread_create(&t, NULL, watch_idle, &s), 0);
    assert_int_equal(run(&r).end, MACHINE_STOPPED);
    pthread_join(t, NULL);
    assert_true(s.cpu_ns < 30000000);
    rig_close(&r);
}

static void bad_configurations(void **state)
{
    struct error *err = NULL;
    struct machine *m = NULL;
    struct rig r;

    GUEST(&r, HALT);
    r.cfg.memory_bytes = 0;
    expect_error(machine_new(&r.cfg, &m, &err), EINVAL, &err, "at least 1M");
    r.cfg.memory_bytes = 1024;
    expect_error(machine_new(&r.cfg, &m, &err), EINVAL, &err, "at least 1M");
    r.cfg.memory_bytes = (1 << 20) + 1;
    expect_error(machine_new(&r.cfg, &m, &err), EINVAL, &err, "multiple");
    r.cfg.memory_bytes = 1ull << 50;
    expect_error(machine_new(&r.cfg, &m, &err), ENOMEM, &err, "memory");
    r.cfg.memory_bytes = 1 << 20;
    expect_error(machine_new(&r.cfg, &m, &err), ENOMEM, &err, "--memory");
    r.cfg.memory_bytes = 16 << 20;
    r.cfg.cpus = 0;
    expect_error(machine_new(&r.cfg, &m, &err), EINVAL, &err, "CPUs");
    r.cfg.cpus = 1;
    r.cfg.engine = "warp";
    expect_error(machine_new(&r.cfg, &m, &err), EINVAL, &err, "warp");
    r.cfg.engine = "interp";
    r.cfg.machine = "toaster";
    expect_error(machine_new(&r.cfg, &m, &err), EINVAL, &err, "toaster");
    r.cfg.machine = "pc";
    r.cfg.kernel = "/nonexistent";
    expect_error(machine_new(&r.cfg, &m, &err), ENOENT, &err, "/nonexistent");
    r.cfg.kernel = r.path;
    r.cfg.firmware = "bios";
    expect_error(machine_new(&r.cfg, &m, &err), EINVAL, &err, "without firmware");
    r.cfg.kernel = NULL;
    r.cfg.firmware = "/nonexistent";
    expect_error(machine_new(&r.cfg, &m, &err), ENOENT, &err, "/nonexistent");
    r.cfg.firmware = r.path;
    expect_error(machine_new(&r.cfg, &m, &err), EINVAL, &err, "64 KiB");
    assert_null(m);
    close(r.fd);
}

/* No globals: two machines in one process do not know each other. */
static void two_machines(void **state)
{
    struct rig a, b;

    GUEST(&a, OUTB(0x3f8, 'a'), OUTB(0xf4, 1), HALT);
    GUEST(&b, OUTB(0x3f8, 'b'), OUTB(0xf4, 2), HALT);
    rig_open(&a);
    rig_open(&b);
    assert_int_equal(run(&b).status, 5);
    assert_int_equal(run(&a).status, 3);
    assert_string_equal(a.serial, "a");
    assert_string_equal(b.serial, "b");
    rig_close(&a);
    rig_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s5_powers_off),
        cmocka_unit_test(debug_exit_gives_its_status),
        cmocka_unit_test(reset_starts_again),
        cmocka_unit_test(reset_ends_with_no_reboot),
        cmocka_unit_test(a_dword_at_cf8_is_no_reset),
        cmocka_unit_test(reset_survives_a_deleted_kernel),
        cmocka_unit_test(reset_says_when_the_kernel_is_gone),
        cmocka_unit_test(triple_fault_is_reported),
        cmocka_unit_test(pause_resume_stop_a_spinning_guest),
        cmocka_unit_test(starts_paused),
        cmocka_unit_test(stop_before_run_counts),
        cmocka_unit_test(an_idle_guest_uses_no_cpu),
        cmocka_unit_test(bad_configurations),
        cmocka_unit_test(two_machines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
