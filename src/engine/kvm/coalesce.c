/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * coalesce.c - writes that the kernel collects in a ring instead of exiting.
 *
 * One ring per VM, visible behind every vCPU's shared page. The kernel appends
 * at `last`, we consume at `first` (api.rst, KVM_(UN)REGISTER_COALESCED_MMIO).
 * A full ring makes the next write a normal exit, so nothing is lost. Any vCPU
 * that exits drains, in the order of the writes; lock order: this lock, then
 * the VM lock (inside guest_ops).
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <sys/ioctl.h>
#include "base/byteorder.h"

static int zone_ioctl(struct kvm_vm *vm, unsigned long request, bool pio, uint64_t base,
                      uint32_t size_bytes)
{
    struct kvm_coalesced_mmio_zone zone = {.addr = base, .size = size_bytes, .pio = pio};

    if (!vm->caps.coalesced_mmio || (pio && !vm->caps.coalesced_pio))
        return -ENOTSUP;
    return ioctl(vm->fd, request, &zone) < 0 ? -errno : 0;
}

int kvm_coalesce_add(struct engine_vm *engine_vm, bool pio, uint64_t base, uint32_t size_bytes)
{
    struct kvm_vm *vm = kvm_vm_of(engine_vm);
    int result = zone_ioctl(vm, KVM_REGISTER_COALESCED_MMIO, pio, base, size_bytes);

    if (result == 0)
        atomic_fetch_add(&vm->coalesce_zones, 1);
    return result;
}

/* The zone count stays: what was written before may still be in the ring. */
int kvm_coalesce_remove(struct engine_vm *engine_vm, bool pio, uint64_t base, uint32_t size_bytes)
{
    return zone_ioctl(kvm_vm_of(engine_vm), KVM_UNREGISTER_COALESCED_MMIO, pio, base, size_bytes);
}

static void entry_write(struct kvm_vm *vm, unsigned vcpu, const struct kvm_coalesced_mmio *e)
{
    const struct guest_ops *guest = vm->vm.config.guest;
    uint8_t bytes[8] = {0};

    for (unsigned i = 0; i < e->len && i < sizeof(bytes); i++)
        bytes[i] = e->data[i];
    uint64_t value = get_le64(bytes);
    if (e->pio)
        guest->pio_write(vm->vm.config.guest_opaque, vcpu, (uint16_t)e->phys_addr, e->len, value);
    else
        guest->mmio_write(vm->vm.config.guest_opaque, vcpu, gpa(e->phys_addr), e->len, value);
}

void kvm_coalesce_drain(struct kvm_vm *vm, unsigned vcpu)
{
    struct kvm_coalesced_mmio_ring *ring = vm->coalesce_ring;

    if (!ring || !atomic_load_explicit(&vm->coalesce_zones, memory_order_relaxed))
        return;
    pthread_mutex_lock(&vm->coalesce_lock);
    while (ring->first != __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE)) {
        uint32_t first = ring->first % vm->coalesce_max;
        entry_write(vm, vcpu, &ring->coalesced_mmio[first]);
        __atomic_store_n(&ring->first, (first + 1) % vm->coalesce_max, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&vm->coalesce_lock);
}
