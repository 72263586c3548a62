/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * probe.c - is there a KVM we may use, and how fast is it really.
 *
 * A KVM without processor support behind it (page-table based, or nested in
 * one) executes guest kernels one emulated instruction at a time, a thousand
 * times slower than it looks. So a guest of three instructions counts down a
 * register and leaves through a port; first with a count of one, which gives
 * the cost of an exit, then with growing counts until the loop is what takes
 * the time. A repeating timer signal ends a loop that takes too long: then the
 * count left in the register says how far it came. A poor result has to be seen
 * more than once, so that a busy host is not mistaken for a slow KVM. (Processor
 * time would be the better clock, but some hosts count it in ticks.)
 *
 * The guest is 16-bit code at privilege level 0, which is exactly what such
 * KVMs are bad at. Everything here is private to one call.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "base/error.h"

/*    66 49      dec ecx
 *    75 fc      jnz -4
 *    e6 80      out 0x80, al
 * Two instructions per count. */
static const uint8_t guest_code[] = {0x66, 0x49, 0x75, 0xfc, 0xe6, 0x80};
enum { CODE_ADDRESS = 0x1000, GUEST_BYTES = 0x2000 };

enum {
    EXIT_ROUNDS = 4,               /* the least of them is the cost of an exit */
    WATCHDOG_NS = 1500000,         /* then a loop counts as slow */
    LONG_ENOUGH_NS = 100000,       /* a loop of this length is measured well enough */
    COUNT_FIRST = 200, COUNT_GROWTH = 16, COUNT_MAX = 20000000,
    TRIES = 3,                     /* for a loop that looks slow */
};

struct calibration {
    int kvm_fd, vm_fd, vcpu_fd;
    struct kvm_run *run;
    size_t run_bytes;
    void *memory;
    timer_t timer;
    bool timer_made;
};

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int calibration_guest(struct calibration *c, struct error **err)
{
    struct kvm_userspace_memory_region slot = {.memory_size = GUEST_BYTES};
    struct kvm_sregs sregs;

    ioctl(c->vm_fd, KVM_SET_TSS_ADDR, 0xfeffd000ull);
    c->memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c->memory == MAP_FAILED)
        return error_set(err, errno, "cannot map the calibration guest: %s", strerror(errno));
    memcpy((char *)c->memory + CODE_ADDRESS, guest_code, sizeof(guest_code));
    slot.userspace_addr = (uintptr_t)c->memory;
    if (ioctl(c->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
        return error_set(err, errno, "KVM refuses guest memory: %s", strerror(errno));
    c->vcpu_fd = ioctl(c->vm_fd, KVM_CREATE_VCPU, 0);
    if (c->vcpu_fd < 0)
        return error_set(err, errno, "KVM cannot create a vCPU: %s", strerror(errno));
    c->run = mmap(NULL, c->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->vcpu_fd, 0);
    if (c->run == MAP_FAILED)
        return error_set(err, errno, "cannot map a vCPU: %s", strerror(errno));
    if (ioctl(c->vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
        return error_set(err, errno, "KVM does not show registers: %s", strerror(errno));
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    if (ioctl(c->vcpu_fd, KVM_SET_SREGS, &sregs) < 0)
        return error_set(err, errno, "KVM does not take registers: %s", strerror(errno));
    return 0;
}

static int calibration_timer(struct calibration *c, struct error **err)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = kvm_kick_signal()};
    sigset_t set;

#ifdef sigev_notify_thread_id
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
#else
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
#endif
    sigemptyset(&set);
    sigaddset(&set, kvm_kick_signal());
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    if (timer_create(CLOCK_MONOTONIC, &event, &c->timer) < 0)
        return error_set(err, errno, "cannot create a timer: %s", strerror(errno));
    c->timer_made = true;
    return 0;
}

static int calibration_init(struct calibration *c, struct error **err)
{
    memset(c, 0, sizeof(*c));
    c->vm_fd = c->vcpu_fd = -1;
    c->run = MAP_FAILED;
    c->memory = MAP_FAILED;
    c->kvm_fd = kvm_open(err);
    if (c->kvm_fd < 0)
        return c->kvm_fd;
    c->vm_fd = kvm_create_vm_fd(c->kvm_fd, err);
    if (c->vm_fd < 0)
        return c->vm_fd;
    int bytes = ioctl(c->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (bytes < (int)sizeof(struct kvm_run))
        return error_set(err, EIO, "KVM reports a vCPU area of %d bytes", bytes);
    c->run_bytes = (size_t)bytes;
    int result = calibration_guest(c, err);
    return result < 0 ? result : calibration_timer(c, err);
}

static void calibration_fini(struct calibration *c)
{
    if (c->timer_made)
        timer_delete(c->timer);
    if (c->run != MAP_FAILED)
        munmap(c->run, c->run_bytes);
    if (c->vcpu_fd >= 0)
        close(c->vcpu_fd);
    if (c->vm_fd >= 0)
        close(c->vm_fd);
    if (c->memory != MAP_FAILED)
        munmap(c->memory, GUEST_BYTES);
    if (c->kvm_fd >= 0)
        close(c->kvm_fd);
}

/* Runs the loop `count` times; *done is how many it managed, *ns how long it
 * took. -errno when KVM fails. */
static int loop_run(struct calibration *c, uint32_t count, uint32_t *done, uint64_t *ns)
{
    struct kvm_regs regs = {.rip = CODE_ADDRESS, .rflags = X86_FLAG_1, .rcx = count};
    /* Repeating: a first signal just before KVM_RUN would be lost. */
    struct itimerspec watchdog = {.it_value = {.tv_nsec = WATCHDOG_NS},
                                  .it_interval = {.tv_nsec = WATCHDOG_NS}};
    static const struct itimerspec off;

    if (ioctl(c->vcpu_fd, KVM_SET_REGS, &regs) < 0 || timer_settime(c->timer, 0, &watchdog, NULL))
        return -errno;
    uint64_t start = now_ns();
    int result = ioctl(c->vcpu_fd, KVM_RUN, 0) < 0 ? -errno : 0;
    *ns = now_ns() - start;
    timer_settime(c->timer, 0, &off, NULL);
    *done = count;
    if (result == -EINTR) {
        if (ioctl(c->vcpu_fd, KVM_GET_REGS, &regs) < 0)
            return -errno;
        *done = count - (uint32_t)regs.rcx;
        return 0;
    }
    return result < 0 ? result : c->run->exit_reason == KVM_EXIT_IO ? 0 : -EIO;
}

static int measure_exit(struct calibration *c, uint64_t *exit_ns)
{
    *exit_ns = UINT64_MAX;
    for (unsigned i = 0; i < EXIT_ROUNDS; i++) {
        uint64_t ns;
        uint32_t done;
        int result = loop_run(c, 1, &done, &ns);
        if (result < 0)
            return result;
        *exit_ns = min_u64(*exit_ns, ns);
    }
    return 0;
}

static int measure(struct calibration *c, struct engine_probe *out)
{
    uint64_t exit_ns;
    uint32_t count = COUNT_FIRST;
    int result = measure_exit(c, &exit_ns);

    if (result < 0)
        return result;
    out->exit_us = (double)exit_ns / 1000;
    for (unsigned tries = TRIES; tries;) {
        uint64_t ns;
        uint32_t done;
        result = loop_run(c, count, &done, &ns);
        if (result < 0)
            return result;
        uint64_t loop_ns = ns > exit_ns ? ns - exit_ns : 1;
        if (done == count && loop_ns < LONG_ENOUGH_NS && count <= COUNT_MAX / COUNT_GROWTH) {
            count *= COUNT_GROWTH;
            continue;
        }
        /* Not even once: then it is at work on the first. */
        double rate = 2.0 * (done ? done : 1) / ((double)loop_ns / 1000);
        if (rate > out->insn_per_us)
            out->insn_per_us = rate;
        tries = rate >= ENGINE_SOFTWARE_INSN_PER_US ? 0 : tries - 1;
    }
    return 0;
}

static enum engine_status status_of(int code)
{
    return code == -EACCES || code == -EPERM ? ENGINE_FORBIDDEN : ENGINE_ABSENT;
}

static void judge(struct engine_probe *out)
{
    bool good = out->insn_per_us >= ENGINE_SOFTWARE_INSN_PER_US;

    out->status = good ? ENGINE_GOOD : ENGINE_SLOW;
    snprintf(out->reason, sizeof(out->reason),
             "KVM executes %.*f guest instructions per microsecond, our own engine about %d; "
             "a port exit takes %.1f us", out->insn_per_us < 10 ? 2 : 0, out->insn_per_us,
             ENGINE_SOFTWARE_INSN_PER_US, out->exit_us);
}

void kvm_probe(struct engine_probe *out)
{
    struct calibration c;
    struct error *err = NULL;

    memset(out, 0, sizeof(*out));
    out->caps = ENGINE_CAP_IRQCHIP | ENGINE_CAP_DIRTY_LOG;
    int result = kvm_kick_install(&err);
    if (result == 0) {
        result = calibration_init(&c, &err);
        if (result == 0) {
            result = measure(&c, out);
            if (result < 0)
                error_set(&err, -result, "the calibration guest does not run: %s",
                          strerror(-result));
        }
        calibration_fini(&c);
        kvm_kick_uninstall();
    }
    if (result == 0) {
        judge(out);
        return;
    }
    out->status = status_of(result);
    char *text = error_text(err);
    snprintf(out->reason, sizeof(out->reason), "%s", text);
    free(text);
    error_free(&err);
}
