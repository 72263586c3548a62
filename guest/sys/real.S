/* SPDX-License-Identifier: MIT-0 */
/*
 * real.S - real-address mode: interrupts and exceptions through the IVT, limits,
 * far transfers, single step, "unreal" mode. Reports like the others (sys.h).
 *
 * Each test sets where to go on after a trap, does something, and compares the
 * vector and IP that the common handler saw. CS = DS = 1000h, SS = 7000h.
 */
    .section .start, "ax"
    .code16
    .globl _start
#define AT(label) (label - _start)
/* Offsets in this segment: the file is linked at 64 KiB. */
_start:
    cli
    cld
    mov %cs, %ax
    mov %ax, %ds
    mov $0x7000, %ax
    mov %ax, %ss
    mov $0x8000, %sp
    jmp start

vector: .word 0
trap_ip: .word 0
trap_cs: .word 0
trap_flags: .word 0
trap_sp: .word 0
go_on:  .word 0
total:  .word 0
failed: .word 0
bounds: .word -2, 5
far_pointer: .word AT(far_target), 0x1000
gdtr:   .word 15
        .long gdt
gdt:    .quad 0, 0x00cf93000000ffff
idtr_small: .word 0x40 * 4 - 1
        .long 0
idtr_full: .word 0x3ff
        .long 0
text:   .asciz "FAIL real.S test "
is:     .asciz " vector or IP "
name:   .asciz "real: "
checks: .asciz " checks, "
end:    .asciz " failed\n"

/* Around code that may trap: then wants this vector and IP. */
    .macro begin
    movw $AT(91f), AT(go_on)
    movw $0xffff, AT(vector)
    .endm
    .macro want number, ip
91: movw $\number, %ax
    movw $AT(\ip), %bx
    call verify
    .endm

    .macro check_ax value
    movw %ax, AT(vector)
    movw $AT(_start), AT(trap_ip)
    movw $\value, %ax
    movw $AT(_start), %bx
    call verify
    .endm

verify:
    mov %cs, %cx
    mov %cx, %ds
    incw AT(total)
    cmp %ax, AT(vector)
    jne 1f
    cmp $0xffff, %ax
    je 2f
    cmp %bx, AT(trap_ip)
    je 2f
1:  incw AT(failed)
    mov $AT(text), %si
    call print
    mov AT(total), %ax
    call print_decimal
    mov $AT(is), %si
    call print
    mov AT(vector), %ax
    call print_decimal
    mov $'/', %al
    out %al, $0xe9
    mov AT(trap_ip), %ax
    call print_decimal
    mov $'\n', %al
    out %al, $0xe9
2:  ret

print:
    lodsb
    test %al, %al
    jz 1f
    out %al, $0xe9
    jmp print
1:  ret

print_decimal:
    mov $10, %bx
    xor %dx, %dx
    div %bx
    push %dx
    test %ax, %ax
    jz 1f
    call print_decimal
1:  pop %ax
    add $'0', %al
    out %al, $0xe9
    ret

/* Every vector's stub pushes its number; 8 bytes each. */
    .balign 8
stubs:
    .set n, 0
    .rept 256
    .balign 8
    pushw $n
    jmp trapped
    .set n, n + 1
    .endr
trapped:
    mov %ax, %cs:AT(trap_sp)            /* for now */
    pop %cs:AT(vector)
    pop %cs:AT(trap_ip)
    pop %cs:AT(trap_cs)
    pop %cs:AT(trap_flags)
    mov %cs, %ax
    mov %ax, %ds
    mov $0x7000, %ax
    mov %ax, %ss
    mov AT(trap_sp), %ax
    mov %sp, AT(trap_sp)
    mov $0x8000, %sp
    jmp *AT(go_on)

start:
    xor %ax, %ax                        /* the IVT */
    mov %ax, %es
    xor %di, %di
    mov $AT(stubs), %ax
    mov $256, %cx
1:  stosw
    movw $0x1000, %es:(%di)
    add $2, %di
    add $8, %ax
    loop 1b

    /* 1-6: exceptions and software interrupts */
    begin
    xor %cx, %cx
t1: div %cx
    want 0, t1
    begin
t2: int $0x21
t2e:
    want 0x21, t2e
    begin
    int3
t3e:
    want 3, t3e
    begin
    mov $0x7f, %al
    add $1, %al
    into
t4e:
    want 4, t4e
    begin
    mov $6, %ax
t5: bound %ax, AT(bounds)
    want 5, t5
    begin
t6: ud2
    want 6, t6
    /* 7-9: what real mode does not know */
    begin    /* lldt ax */
t7: .byte 0x0f, 0x00, 0xd0
    want 6, t7
    begin    /* arpl ax, ax */
t8: .byte 0x63, 0xc0
    want 6, t8
    begin    /* lar ax, ax */
t9: .byte 0x0f, 0x02, 0xc0
    want 6, t9
    /* 10-14: limits */
    begin
    mov $0xffff, %bx
t10: mov (%bx), %ax
    want 13, t10
    begin
    mov $0xffff, %bp
t11: mov (%bp), %ax
    want 12, t11
    begin
    mov $2, %sp                         /* a push that wraps; those of the trap do not */
t12: pushl %eax
    want 12, t12
    begin
t13: .byte 0x66, 0xea, 0, 0, 1, 0, 0, 0x10
    want 13, t13
    begin
    .balign 2
t14: .fill 15, 1, 0x66
    nop
    want 13, t14
    /* 15-16: the IVT has a limit too */
    begin
    lidtl AT(idtr_small)
t15: int $0x80
    lidtl AT(idtr_full)
    want 13, t15
    lidtl AT(idtr_full)
    begin
    int $0x80
t16e:
    want 0x80, t16e
    /* 17: flags on the way in */
    mov AT(trap_flags), %ax
    push $0x0ed7
    popf
    begin
    sti
    int $0x22
t17e:
    want 0x22, t17e
    pushf
    pop %ax
    and $0x300, %ax                     /* TF and IF are clear in the handler */
    check_ax 0                          /* 18 */
    mov AT(trap_flags), %ax
    and $0x200, %ax
    check_ax 0x200                      /* 19: and were not outside */
    cli
    /* 20-21: IRET and RETF */
    mov $0x1111, %cx
    pushf
    push %cs
    push $AT(1f)
    iret
    mov $0, %cx
1:  mov %cx, %ax
    check_ax 0x1111                     /* 20 */
    lcall *AT(far_pointer)
    check_ax 0x2222                     /* 21 */
    lcall $0x1000, $AT(far_target32)
    check_ax 0x3333                     /* 22 */
    /* 23: single step */
    pushf
    pop %ax
    or $0x100, %ax
    push %ax
    begin
    popf
    nop
t23e: nop
    ud2
    want 1, t23e
    /* 24: MOV SS holds the trap back */
    pushf
    pop %ax
    or $0x100, %ax
    push %ax
    mov %ss, %dx
    begin
    popf
    mov %dx, %ss
    nop
t24e: nop
    ud2
    want 1, t24e
    /* 25: IOPL and NT are plain bits here */
    push $0x7002
    popf
    pushf
    pop %ax
    check_ax 0x7002
    push $2
    popf
    /* 26: a limit of 4 GiB stays after protected mode */
    lgdtl AT(gdtr)
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    mov $8, %bx
    mov %bx, %es
    and $0xfe, %al
    mov %eax, %cr0
    xor %ax, %ax
    mov %ax, %es
    mov $0x200000, %edi
    movl $0x12345678, %es:(%edi)
    mov %es:(%edi), %eax
    check_ax 0x5678
    begin    /* DS has its 64K */
    mov $0x200000, %edi
t27: mov (%edi), %al
    want 13, t27
    /* 28-31: interrupts */
    begin
    mov $0x40, %al
    out %al, $0xf0
    sti
    nop
t28e: ud2
    want 0x40, t28e
    cli
    begin
    mov $0x40, %al
    out %al, $0xf0
    sti
    hlt
t29e: ud2
    want 0x40, t29e
    cli
    begin
    out %al, $0xf1
t30e: nop
    nop
    ud2
    want 2, t30e
    pushf                               /* NMIs again */
    push %cs
    push $AT(1f)
    iret
1:  begin
    mov $0x40, %al
    out %al, $0xf0
    sti
    cli
t31e: ud2
    want 6, t31e
    /* 32: let it in to be rid of it */
    begin
    sti
    nop
t32e: ud2
    want 0x40, t32e
    cli
    /* 33: REP with a zero count */
    xor %cx, %cx
    rep outsb
    mov %cx, %ax
    check_ax 0

    mov $AT(name), %si
    call print
    mov AT(total), %ax
    call print_decimal
    mov $AT(checks), %si
    call print
    mov AT(failed), %ax
    call print_decimal
    mov $AT(end), %si
    call print
    cmpw $0, AT(failed)
    setne %al
1:  out %al, $0xf4
    jmp 1b

far_target:
    mov $0x2222, %ax
    lret
far_target32:
    mov $0x3333, %ax
    lret
    .section .note.GNU-stack, "", @progbits
