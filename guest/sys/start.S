/* SPDX-License-Identifier: MIT-0 */
/*
 * start.S - from real mode to C.
 *
 * Entered at 1000:0000 in real mode. Goes to flat 32-bit protected mode; with
 * LONG defined on to 64-bit mode, the first GiB identity-mapped with 2 MiB
 * pages for both privileges by tables at 0x1000-0x3fff. Then calls guest_main.
 */
    .section .start, "ax"
    .code16
    .globl _start
_start:
    cli
    mov %cs, %ax
    mov %ax, %ds
    lgdtl gdtr - _start
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $protected

    .code32
protected:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %ecx, %ecx
    mov %ecx, %fs
    mov %ecx, %gs
    mov $stack_top, %esp
    mov $__image_end, %edi
    mov $__bss_end, %ecx
    sub %edi, %ecx
    xor %eax, %eax
    cld
    rep stosb
#ifndef LONG
    call guest_main
#else
    mov $0x1000, %edi
    mov $0x3000 / 4, %ecx
    rep stosl
    movl $0x2007, 0x1000
    movl $0x3007, 0x2000
    mov $0x3000, %edi
    mov $0x87, %eax
1:  mov %eax, (%edi)
    add $8, %edi
    add $0x200000, %eax
    cmp $0x40000087, %eax
    jne 1b
    mov $0x1000, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x20, %eax              /* PAE */
    mov %eax, %cr4
    mov $0xc0000080, %ecx       /* EFER: SCE, LME, NXE */
    rdmsr
    or $0x901, %eax
    wrmsr
    mov %cr0, %eax
    or $0x80010000, %eax        /* PG, WP */
    mov %eax, %cr0
    ljmp $24, $long_mode

    .code64
long_mode:
    mov $stack_top, %esp
    call guest_main
#endif
    ud2

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00af9b000000ffff
gdtr:
    .word gdtr - gdt - 1
    .long gdt

    .bss
    .balign 16
    .space 16384
stack_top:
    .section .note.GNU-stack, "", @progbits
