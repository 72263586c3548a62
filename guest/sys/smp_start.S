/* SPDX-License-Identifier: MIT-0 */
/*
 * smp_start.S - several processors, from a multiboot loader to 64-bit C.
 *
 * The first processor maps the first 4 GiB one to one for both privileges
 * (smp_tables) and calls smp_main(command line). The others come from real
 * mode through a copy of the trampoline at 0x8000 and call smp_other(number).
 */
    .set COMMAND_BYTES, 16
    .section .start, "ax"
    .code32
    .globl _start
_start:
    jmp 1f
    .balign 4
    .long 0x1badb002, 4, -(0x1badb002 + 4)
1:  mov $stacks + 0x4000, %esp
    cld
    mov 16(%ebx), %esi          /* the end of the command line, which may lie anywhere */
    mov %esi, %edi
    xor %eax, %eax
    mov $-1, %ecx
    repne scasb
    lea -COMMAND_BYTES(%edi), %esi
    mov $command_line, %edi
    mov $COMMAND_BYTES, %ecx
    rep movsb
    movl $smp_tables + 0x1007, smp_tables
    movl $smp_tables + 0x2007, smp_tables + 0x1000
    movl $smp_tables + 0x3007, smp_tables + 0x1008
    movl $smp_tables + 0x4007, smp_tables + 0x1010
    movl $smp_tables + 0x5007, smp_tables + 0x1018
    mov $smp_tables + 0x2000, %edi
    mov $0x87, %eax
2:  mov %eax, (%edi)
    add $8, %edi
    add $0x200000, %eax
    cmp $smp_tables + 0x6000, %edi
    jne 2b
    mov $trampoline, %esi
    mov $0x8000, %edi
    mov $trampoline_end - trampoline, %ecx
    rep movsb
    lgdt gdtr

    /* All processors. */
to_long:
    mov $smp_tables, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0xa0, %eax              /* PAE, PGE */
    mov %eax, %cr4
    mov $0xc0000080, %ecx       /* EFER: LME, NXE */
    rdmsr
    or $0x900, %eax
    wrmsr
    mov %cr0, %eax
    or $0x80010001, %eax        /* PG, WP, PE */
    mov %eax, %cr0
    ljmp $8, $long_mode

    .code64
long_mode:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %edi, %edi
    mov $1, %edi
    lock xadd %edi, smp_number
    mov %edi, %esp
    shl $14, %esp
    add $stacks + 0x4000, %esp
    test %edi, %edi
    jnz 1f
    mov $command_line, %edi
    call smp_main
1:  call smp_other
    ud2

    .balign 16
trampoline:
    .code16
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl gdtr - trampoline + 0x8000
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $24, $1f - trampoline + 0x8000
    .code32
1:  mov $16, %eax
    mov %eax, %ds
    mov %eax, %ss
    mov $to_long, %eax
    jmp *%eax
    .balign 8
gdtr:
    .word 8 * 4 - 1
    .long first_gdt
trampoline_end:

    .balign 8
first_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00cf9b000000ffff

    .code64
    .text
    .globl smp_user_call, smp_user_back
    /* void smp_user_call(fn, argument, top of stack, where RSP0 is): calls it at CPL 3 */
smp_user_call:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    sub $8, %rsp                /* interrupts align it */
    mov %rsp, (%rcx)
    lea user_end(%rip), %rax
    sub $8, %rdx
    mov %rax, (%rdx)
    push $0x20 | 3
    push %rdx
    push $0x202
    push $0x28 | 3
    push %rdi
    mov %rsi, %rdi
    iretq
user_end:
    int $0x80
    /* The handler of vector 0x80: on the stack that the call was made on. */
smp_user_back:
    add $48, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    sti
    ret

    .bss
    .balign 16
    .globl smp_number
smp_number:
    .long 0
command_line:
    .space COMMAND_BYTES
    .balign 4096
    .globl smp_tables
smp_tables:
    .space 0x6000
stacks:
    .space 0x4000 * 9
    .section .note.GNU-stack, "", @progbits
