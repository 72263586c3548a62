/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exit.c - what a return from KVM_RUN means (api.rst, "The kvm_run structure").
 *
 * Port and memory accesses go up through guest_ops; what the kernel cannot go
 * on with becomes vcpu->failure, with everything a person needs to see why: the
 * sub-error's name, RIP, and the instruction bytes.
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include "base/error.h"
#include "base/log.h"

#define GUEST(v) (v)->vm->vm.config.guest
#define OPAQUE(v) (v)->vm->vm.config.guest_opaque
#define LOG(v) (v)->vm->vm.config.log

enum engine_exit kvm_vcpu_fail(struct kvm_vcpu *v, int code, const char *fmt, ...)
{
    char text[400];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    error_free(&v->vcpu.failure);
    error_set(&v->vcpu.failure, code ? code : EIO, "%s", text);
    return ENGINE_FAILED;
}

/* ---- accesses ------------------------------------------------------------ */

/* What a device takes of it at once. */
static uint32_t string_io(struct kvm_vcpu *v, uint8_t *data)
{
    const struct kvm_run *run = v->run;
    bool write = run->io.direction == KVM_EXIT_IO_OUT;
    uint32_t done = 0;
    size_t n = 1;

    while (n && run->io.count - done > 1 && GUEST(v)->pio_string) {
        n = GUEST(v)->pio_string(OPAQUE(v), v->vcpu.index, run->io.port, run->io.size,
                                 data + done * run->io.size, run->io.count - done, write);
        done += (uint32_t)n;
    }
    if (done && write)
        COUNT(&v->vcpu.counters, exit_pio_write);
    else if (done)
        COUNT(&v->vcpu.counters, exit_pio_read);
    return done;
}

/* `count` > 1 is a string instruction: consecutive elements, one port. */
static void handle_pio(struct kvm_vcpu *v)
{
    const struct kvm_run *run = v->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    unsigned size = run->io.size;

    uint32_t i = string_io(v, data);

    for (data += i * size; i < run->io.count; i++, data += size) {
        uint64_t value = 0;
        if (run->io.direction == KVM_EXIT_IO_OUT) {
            memcpy(&value, data, size);
            GUEST(v)->pio_write(OPAQUE(v), v->vcpu.index, run->io.port, size, value);
            COUNT(&v->vcpu.counters, exit_pio_write);
        } else {
            value = GUEST(v)->pio_read(OPAQUE(v), v->vcpu.index, run->io.port, size);
            memcpy(data, &value, size);
            COUNT(&v->vcpu.counters, exit_pio_read);
        }
        log_trace(LOG(v), EXIT, "vCPU %u: port 0x%x %s%u 0x%llx", v->vcpu.index, run->io.port,
                  run->io.direction == KVM_EXIT_IO_OUT ? "write" : "read", size * 8,
                  (unsigned long long)value);
    }
}

/* An access that crosses a page comes as two, of any width up to 8: guest_ops
 * takes powers of two. */
static void handle_mmio(struct kvm_vcpu *v)
{
    struct kvm_run *run = v->run;
    uint32_t len = run->mmio.len <= 8 ? run->mmio.len : 8;

    for (uint32_t at = 0; at < len;) {
        unsigned size = 8;
        uint64_t value = 0;
        while (size > len - at)
            size /= 2;
        gpa_t address = gpa(run->mmio.phys_addr + at);
        if (run->mmio.is_write) {
            memcpy(&value, run->mmio.data + at, size);
            GUEST(v)->mmio_write(OPAQUE(v), v->vcpu.index, address, size, value);
        } else {
            value = GUEST(v)->mmio_read(OPAQUE(v), v->vcpu.index, address, size);
            memcpy(run->mmio.data + at, &value, size);
        }
        log_trace(LOG(v), EXIT, "vCPU %u: memory 0x%llx %s%u 0x%llx", v->vcpu.index,
                  (unsigned long long)address.v, run->mmio.is_write ? "write" : "read", size * 8,
                  (unsigned long long)value);
        at += size;
    }
    if (run->mmio.is_write)
        COUNT(&v->vcpu.counters, exit_mmio_write);
    else
        COUNT(&v->vcpu.counters, exit_mmio_read);
}

static void handle_msr(struct kvm_vcpu *v, bool write)
{
    struct kvm_run *run = v->run;
    uint64_t value = run->msr.data;
    bool ok;

    if (write) {
        ok = kvm_msr_exit_write(v, run->msr.index, value);
    } else {
        ok = kvm_msr_exit_read(v, run->msr.index, &value);
        run->msr.data = value;
    }
    run->msr.error = !ok;
    COUNT(&v->vcpu.counters, exit_msr);
    if (!ok)
        COUNT(&v->vcpu.counters, guest_errors);
    log_trace(LOG(v), MSR, "vCPU %u: MSR 0x%x %s 0x%llx%s", v->vcpu.index, run->msr.index,
              write ? "write" : "read", (unsigned long long)value, ok ? "" : ": #GP");
}

/* ---- the end ------------------------------------------------------------- */

/* The bytes at CS:RIP as text, as far as they can be read without side effects. */
static void code_bytes(struct kvm_vcpu *v, char *text, size_t text_size, uint64_t *rip)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    uint8_t code[15];
    size_t at = 0;

    snprintf(text, text_size, "unreadable");
    *rip = 0;
    if (ioctl(v->fd, KVM_GET_REGS, &regs) < 0 || ioctl(v->fd, KVM_GET_SREGS, &sregs) < 0)
        return;
    *rip = regs.rip;
    for (unsigned i = 0; i < sizeof(code); i++) {
        struct kvm_translation t = {.linear_address = sregs.cs.base + regs.rip + i};
        if (ioctl(v->fd, KVM_TRANSLATE, &t) < 0 || !t.valid ||
            memory_read(v->vm->vm.config.memory, gpa(t.physical_address), &code[i], 1) < 0)
            break;
        at += (size_t)snprintf(text + at, text_size - at, "%s%02x", i ? " " : "", code[i]);
    }
}

static enum engine_exit fail_internal(struct kvm_vcpu *v)
{
    static const char *const names[] = {
        [KVM_INTERNAL_ERROR_EMULATION] = "it cannot emulate the instruction",
        [KVM_INTERNAL_ERROR_SIMUL_EX] = "simultaneous exceptions",
        [KVM_INTERNAL_ERROR_DELIVERY_EV] = "an exit while delivering an event",
        [KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "an exit reason it does not know",
    };
    uint32_t sub = v->run->internal.suberror;
    char code[15 * 3 + 8];
    uint64_t rip;

    code_bytes(v, code, sizeof(code), &rip);
    enum engine_exit out = kvm_vcpu_fail(
        v, EIO, "KVM gave up on vCPU %u: %s (internal error %u) at RIP 0x%llx, bytes %s",
        v->vcpu.index, sub < ARRAY_SIZE(names) && names[sub] ? names[sub] : "no reason known",
        sub, (unsigned long long)rip, code);
    if (sub == KVM_INTERNAL_ERROR_EMULATION)
        error_hint(&v->vcpu.failure, "'--engine interp' executes every instruction");
    return out;
}

static enum engine_exit fail_entry(struct kvm_vcpu *v)
{
    char code[15 * 3 + 8];
    uint64_t rip;

    code_bytes(v, code, sizeof(code), &rip);
    return kvm_vcpu_fail(v, EIO, "the processor refuses to enter the guest on vCPU %u: hardware "
                         "reason 0x%llx on CPU %u, RIP 0x%llx, bytes %s", v->vcpu.index,
                         (unsigned long long)v->run->fail_entry.hardware_entry_failure_reason,
                         v->run->fail_entry.cpu, (unsigned long long)rip, code);
}

/* A guest on x86 reaches this only through interfaces it was not offered. */
static enum engine_exit handle_system_event(struct kvm_vcpu *v)
{
    uint32_t type = v->run->system_event.type;

    if (type == KVM_SYSTEM_EVENT_SHUTDOWN || type == KVM_SYSTEM_EVENT_RESET)
        return ENGINE_SHUTDOWN;
    return kvm_vcpu_fail(v, EIO, "the guest on vCPU %u %s (KVM system event %u)", v->vcpu.index,
                         type == KVM_SYSTEM_EVENT_CRASH ? "reports a crash" : "stopped", type);
}

/* AMD processors leave the state undefined on a shutdown and KVM resets the
 * vCPU before we see it (Linux arch/x86/kvm/svm/svm.c, shutdown interception). */
static void shutdown_note(struct kvm_vcpu *v)
{
    struct kvm_regs regs;

    COUNT(&v->vcpu.counters, exit_other);
    if (ioctl(v->fd, KVM_GET_REGS, &regs) == 0 && regs.rip == 0xfff0)
        log_warn(LOG(v), "vCPU %u shut down (triple fault); this processor's KVM has reset its "
                 "registers already; '--engine interp' shows them", v->vcpu.index);
}

bool kvm_exit_handle(struct kvm_vcpu *v, enum engine_exit *out)
{
    struct counters *counters = &v->vcpu.counters;

    switch (v->run->exit_reason) {
    case KVM_EXIT_IO:
        handle_pio(v);
        return v->io_pending = true;
    case KVM_EXIT_MMIO:
        handle_mmio(v);
        return v->io_pending = true;
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR:
        handle_msr(v, v->run->exit_reason == KVM_EXIT_X86_WRMSR);
        return v->io_pending = true;
    case KVM_EXIT_HYPERCALL:
        v->run->hypercall.ret = (uint64_t)-ENOSYS;
        COUNT(counters, exit_hypercall);
        return v->io_pending = true;
    case KVM_EXIT_INTR:
        COUNT(counters, exit_kick);
        return true;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        COUNT(counters, exit_irq_window);
        return true;
    case KVM_EXIT_SET_TPR:       /* the run loop has passed CR8 on */
    case KVM_EXIT_TPR_ACCESS:
    case KVM_EXIT_NMI:           /* a host NMI */
        COUNT(counters, exit_other);
        return true;
    case KVM_EXIT_HLT:           /* user-space interrupt controllers only */
        COUNT(counters, exit_halt);
        v->mp_state = X86_MP_HALTED;
        return true;
    case KVM_EXIT_DEBUG:
        *out = ENGINE_DEBUG;
        return false;
    case KVM_EXIT_SHUTDOWN:
        shutdown_note(v);
        *out = ENGINE_SHUTDOWN;
        return false;
    case KVM_EXIT_SYSTEM_EVENT:
        *out = handle_system_event(v);
        return false;
    case KVM_EXIT_INTERNAL_ERROR:
        *out = fail_internal(v);
        return false;
    case KVM_EXIT_FAIL_ENTRY:
        *out = fail_entry(v);
        return false;
    default:
        *out = kvm_vcpu_fail(v, EIO, "KVM left vCPU %u for a reason we do not know: %u",
                             v->vcpu.index, v->run->exit_reason);
        return false;
    }
}
