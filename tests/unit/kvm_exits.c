/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvm_exits.c - small guests on the real KVM: ports, memory, the ends, stepping.
 */
#include "kvm_fixture.h"

#include <unistd.h>
#include "engine/kvm/kvm.h"

/* mov al,0x5a; out 0xe2,al; in ax,0xe4; mov bx,ax; out 0xe6,ax */
static void ports(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);

    GUEST_CODE_BYTES(g, 0xb0, 0x5a, 0xe6, 0xe2, 0xe5, 0xe4, 0x89, 0xc3, 0xe7, 0xe6, 0xeb, 0xfe);
    guest_start_real(g, 0);
    g->answer = 0x1234;
    g->leave_after = 3;
    guest_run(g, 0, ENGINE_KICKED);
    assert_int_equal(g->accesses, 3);
    expect_access(g, 0, PIO_WRITE, 0xe2, 1, 0x5a);
    expect_access(g, 1, PIO_READ, 0xe4, 2, 0x1234);
    expect_access(g, 2, PIO_WRITE, 0xe6, 2, 0x1234);
    /* The last access is complete: RIP is behind it. */
    struct x86_state s = guest_state(g, 0);
    assert_int_equal(s.rip, GUEST_CODE + 10);
    assert_int_equal(s.gpr[X86_RBX], 0x1234);
    assert_int_equal(counter_get(&g->vcpu[0]->counters, COUNTER_exit_pio_write), 2);
    assert_int_equal(counter_get(&g->vcpu[0]->counters, COUNTER_exit_pio_read), 1);
    guest_free(g);
}

/* mov si,0x2000; mov cx,3; mov dx,0x50; cld; rep outsw; then di, rep insb */
static void string_ports(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    const uint16_t data[] = {0x1111, 0x2222, 0x3333};
    uint8_t in[4];

    memory_write(g->memory, gpa(GUEST_DATA), data, sizeof(data));
    GUEST_CODE_BYTES(g, 0xbe, 0x00, 0x20, 0xb9, 0x03, 0x00, 0xba, 0x50, 0x00, 0xfc, 0xf3, 0x6f,
                     0xbf, 0x00, 0x21, 0xb9, 0x04, 0x00, 0xf3, 0x6c, 0xe6, 0x99, 0xeb, 0xfe);
    guest_start_real(g, 0);
    g->answer = 0xa5;
    g->leave_after = 8;
    guest_run(g, 0, ENGINE_KICKED);
    for (unsigned i = 0; i < 3; i++)
        expect_access(g, i, PIO_WRITE, 0x50, 2, data[i]);
    for (unsigned i = 3; i < 7; i++)
        expect_access(g, i, PIO_READ, 0x50, 1, 0xa5);
    expect_access(g, 7, PIO_WRITE, 0x99, 1, 0);
    memory_read(g->memory, gpa(GUEST_DATA + 0x100), in, sizeof(in));
    assert_memory_equal(in, ((uint8_t[]){0xa5, 0xa5, 0xa5, 0xa5}), 4);
    guest_free(g);
}

/* 64-bit code at CPL 3, where every KVM runs natively:
 *   mov rdi,0x10000000; mov dword [rdi],0x11223344; mov rax,[rdi+8]
 *   mov [rdi+0x10],rax; mov [rdi+0x18],al */
static void memory_mapped(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);

    GUEST_CODE_BYTES(g, 0x48, 0xc7, 0xc7, 0x00, 0x00, 0x00, 0x10,
                     0xc7, 0x07, 0x44, 0x33, 0x22, 0x11, 0x48, 0x8b, 0x47, 0x08,
                     0x48, 0x89, 0x47, 0x10, 0x88, 0x47, 0x18, 0xeb, 0xfe);
    guest_start_long(g, 0, 3);
    g->answer = 0x8877665544332211;
    g->leave_after = 4;
    guest_run(g, 0, ENGINE_KICKED);
    expect_access(g, 0, MMIO_WRITE, 0x10000000, 4, 0x11223344);
    expect_access(g, 1, MMIO_READ, 0x10000008, 8, 0x8877665544332211);
    expect_access(g, 2, MMIO_WRITE, 0x10000010, 8, 0x8877665544332211);
    expect_access(g, 3, MMIO_WRITE, 0x10000018, 1, 0x11);
    assert_int_equal(guest_state(g, 0).gpr[X86_RAX], 0x8877665544332211);
    guest_free(g);
}

/* A write across the end of RAM: the part outside arrives in powers of two.
 *   mov edi,0x1ffffd; mov qword [rdi],rax   (3 bytes of RAM, 5 outside) */
static void access_crosses_ram(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    uint8_t tail[3];

    GUEST_CODE_BYTES(g, 0xbf, 0xfd, 0xff, 0x1f, 0x00, 0x48, 0x89, 0x07, 0xeb, 0xfe);
    guest_start_long(g, 0, 3);
    struct x86_state s = guest_state(g, 0);
    s.gpr[X86_RAX] = 0x0807060504030201;
    guest_set_state(g, 0, &s);
    g->leave_after = 2;
    guest_run(g, 0, ENGINE_KICKED);
    expect_access(g, 0, MMIO_WRITE, 0x200000, 4, 0x07060504);
    expect_access(g, 1, MMIO_WRITE, 0x200004, 1, 0x08);
    memory_read(g->memory, gpa(0x1ffffd), tail, sizeof(tail));
    assert_memory_equal(tail, ((uint8_t[]){1, 2, 3}), 3);
    guest_free(g);
}

/* Arithmetic at CPL 3 with a loop long enough to show that it is native where
 * kernel code is not: mov ecx,1000000; xor eax,eax; 1: add eax,ecx; dec ecx;
 * jnz 1b; out 0x10,eax */
static void native_loop(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);

    GUEST_CODE_BYTES(g, 0xb9, 0x40, 0x42, 0x0f, 0x00, 0x31, 0xc0, 0x01, 0xc8, 0xff, 0xc9,
                     0x75, 0xfa, 0xe7, 0x10, 0xeb, 0xfe);
    guest_start_long(g, 0, 3);
    g->leave_after = 1;
    guest_run(g, 0, ENGINE_KICKED);
    expect_access(g, 0, PIO_WRITE, 0x10, 4, (uint32_t)(1000000ull * 1000001 / 2));
    guest_free(g);
}

/* mov [0x20000] in a read-only region: an MMIO write, the memory stays. */
static void readonly_region(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    struct error *err = NULL;
    uint32_t value = 0xfeedface;

    hva_t rom = memory_map_block(g->memory, "rom", gpa(0x400000), 0x1000, MEMORY_READONLY, &err);
    assert_non_null(rom.p);
    memcpy(rom.p, &value, sizeof(value));
    /* mov eax,[0x400000]; mov dword [0x400000],0x01020304; mov ebx,[0x400000]; out 0x10,al */
    GUEST_CODE_BYTES(g, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x40, 0x00,
                     0xc7, 0x04, 0x25, 0x00, 0x00, 0x40, 0x00, 0x04, 0x03, 0x02, 0x01,
                     0x8b, 0x1c, 0x25, 0x00, 0x00, 0x40, 0x00, 0xe6, 0x10, 0xeb, 0xfe);
    guest_start_long(g, 0, 3);
    g->leave_after = 2;
    guest_run(g, 0, ENGINE_KICKED);
    expect_access(g, 0, MMIO_WRITE, 0x400000, 4, 0x01020304);
    expect_access(g, 1, PIO_WRITE, 0x10, 1, 0xce);
    assert_int_equal(guest_state(g, 0).gpr[X86_RBX], value);
    /* Gone again: reads become MMIO too. */
    memory_unmap(g->memory, gpa(0x400000));
    g->accesses = 0;
    g->leave_after = 1;
    guest_start_long(g, 0, 3);
    guest_run(g, 0, ENGINE_KICKED);
    expect_access(g, 0, MMIO_READ, 0x400000, 4, 0);
    guest_free(g);
}

/* mov byte [0x30000],1; mov byte [0x32123],1; out 0x10,al, at CPL 3 */
static void dirty_log(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);
    uint64_t bits[GUEST_RAM / PAGE_SIZE / 64] = {0};
    struct error *err = NULL;

    GUEST_CODE_BYTES(g, 0xc6, 0x04, 0x25, 0x00, 0x00, 0x03, 0x00, 0x01,
                     0xc6, 0x04, 0x25, 0x23, 0x21, 0x03, 0x00, 0x01, 0xe6, 0x10, 0xeb, 0xfe);
    guest_start_long(g, 0, 3);
    assert_int_equal(memory_dirty_start(g->memory, &err), 0);
    g->leave_after = 1;
    guest_run(g, 0, ENGINE_KICKED);
    assert_int_equal(engine_kvm.dirty_log(g->vm), 0);
    memory_dirty_fetch(g->memory, bits, ARRAY_SIZE(bits));
    assert_true(bits[0] >> 0x30 & 1);
    assert_true(bits[0] >> 0x32 & 1);
    assert_false(bits[0] >> 0x31 & 1);
    /* Fetched means cleared: nothing ran, nothing is dirty. */
    assert_int_equal(engine_kvm.dirty_log(g->vm), 0);
    assert_int_equal(memory_dirty_fetch(g->memory, bits, ARRAY_SIZE(bits)), 0);
    memory_dirty_stop(g->memory);
    guest_free(g);
}

/* Three writes that the kernel may keep, then one that must come out: all four
 * arrive, in order. */
static void coalesced_writes(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);

    int result = kvm_coalesce_add(g->vm, false, 0x10000000, 0x1000);
    if (result == -ENOTSUP)
        skip();
    assert_int_equal(result, 0);
    bool pio = kvm_coalesce_add(g->vm, true, 0x60, 1) == 0;
    /* mov edi,0x10000000; mov byte [rdi],1; mov byte [rdi+1],2; mov al,3; out 0x60,al;
     * out 0x10,al */
    GUEST_CODE_BYTES(g, 0xbf, 0x00, 0x00, 0x00, 0x10, 0xc6, 0x07, 0x01, 0xc6, 0x47, 0x01, 0x02,
                     0xb0, 0x03, 0xe6, 0x60, 0xe6, 0x10, 0xeb, 0xfe);
    guest_start_long(g, 0, 3);
    g->leave_after = 4;
    guest_run(g, 0, ENGINE_KICKED);
    expect_access(g, 0, MMIO_WRITE, 0x10000000, 1, 1);
    expect_access(g, 1, MMIO_WRITE, 0x10000001, 1, 2);
    expect_access(g, 2, PIO_WRITE, 0x60, 1, 3);
    expect_access(g, 3, PIO_WRITE, 0x10, 1, 3);
    uint64_t exits = counter_get(&g->vcpu[0]->counters, COUNTER_exit_mmio_write);
    assert_int_equal(exits, 0);
    assert_int_equal(counter_get(&g->vcpu[0]->counters, COUNTER_exit_pio_write), pio ? 1 : 2);
    assert_int_equal(kvm_coalesce_remove(g->vm, false, 0x10000000, 0x1000), 0);
    guest_free(g);
}

/* ud2 with no IDT */
static void triple_fault(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);

    GUEST_CODE_BYTES(g, 0x0f, 0x0b);
    guest_start_long(g, 0, 3);
    struct x86_state s = guest_state(g, 0);
    s.idtr.limit = 0;
    guest_set_state(g, 0, &s);
    guest_run(g, 0, ENGINE_SHUTDOWN);
    guest_free(g);
}

/* Code where nobody is: KVM has to give up, and says where. */
static void execution_in_the_void(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);

    guest_start_long(g, 0, 0);
    struct x86_state s = guest_state(g, 0);
    s.rip = 0x10000000;
    guest_set_state(g, 0, &s);
    assert_int_equal(engine_kvm.run(g->vcpu[0], 0), ENGINE_FAILED);
    assert_non_null(g->vcpu[0]->failure);
    assert_non_null(strstr(g->vcpu[0]->failure->what, "0x10000000"));
    assert_non_null(strstr(g->vcpu[0]->failure->what, "internal error 1"));
    guest_free(g);
}

/* inc eax; inc ebx; inc ecx at CPL 3, one at a time */
static void single_step(void **state)
{
    struct guest *g = guest_new(1, FIXTURE_IRQCHIP);

    GUEST_CODE_BYTES(g, 0xff, 0xc0, 0xff, 0xc3, 0xff, 0xc1, 0xe6, 0x10, 0xeb, 0xfe);
    guest_start_long(g, 0, 3);
    for (unsigned i = 1; i <= 2; i++) {
        enum engine_exit end = engine_kvm.run(g->vcpu[0], 1);
        if (end == ENGINE_SHUTDOWN) {
            print_message("this KVM gives the debug trap to the guest\n");
            guest_free(g);
            skip();
        }
        assert_int_equal(end, ENGINE_BUDGET);
        struct x86_state s = guest_state(g, 0);
        assert_int_equal(s.rip, GUEST_CODE + 2 * i);
        assert_int_equal(s.gpr[X86_RAX], 1);
        assert_int_equal(s.gpr[X86_RBX], i == 2);
        assert_false(s.rflags & X86_FLAG_TF);
    }
    assert_int_equal(engine_kvm.run(g->vcpu[0], 1), ENGINE_BUDGET);
    /* A port write is one instruction too. */
    assert_int_equal(engine_kvm.run(g->vcpu[0], 1), ENGINE_BUDGET);
    assert_int_equal(guest_state(g, 0).rip, GUEST_CODE + 8);
    expect_access(g, 0, PIO_WRITE, 0x10, 1, 1);
    guest_free(g);
}

/* Two VMs in one process do not disturb each other. */
static void two_machines(void **state)
{
    struct guest *a = guest_new(1, FIXTURE_IRQCHIP), *b = guest_new(1, 0);

    GUEST_CODE_BYTES(a, 0xb0, 0x0a, 0xe6, 0x10, 0xeb, 0xfe);
    GUEST_CODE_BYTES(b, 0xb0, 0x0b, 0xe6, 0x10, 0xeb, 0xfe);
    guest_start_real(a, 0);
    guest_start_real(b, 0);
    a->leave_after = b->leave_after = 1;
    guest_run(b, 0, ENGINE_KICKED);
    guest_run(a, 0, ENGINE_KICKED);
    expect_access(a, 0, PIO_WRITE, 0x10, 1, 0x0a);
    expect_access(b, 0, PIO_WRITE, 0x10, 1, 0x0b);
    guest_free(a);
    guest_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports), cmocka_unit_test(string_ports),
        cmocka_unit_test(memory_mapped), cmocka_unit_test(access_crosses_ram),
        cmocka_unit_test(native_loop), cmocka_unit_test(readonly_region),
        cmocka_unit_test(dirty_log), cmocka_unit_test(coalesced_writes),
        cmocka_unit_test(triple_fault), cmocka_unit_test(execution_in_the_void),
        cmocka_unit_test(single_step), cmocka_unit_test(two_machines),
    };
    fixture_need_kvm();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
