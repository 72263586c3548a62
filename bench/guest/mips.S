/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mips.S - integer kernels of a known number of instructions, for bench/run.
 *
 * A multiboot 1 image that needs nothing but RAM, a debug console at 0xE9 and
 * an exit port at 0xF4, so that every monitor can run the same bytes. It goes
 * to long mode with the first GiB identity-mapped and runs each kernel once,
 * writing "B name instructions\n" before and "E name\n" after it; whoever reads
 * the console takes the time. The instruction counts are those of the loops;
 * the few instructions around them do not matter.
 */
#define ROUNDS 20000000

        .section .multiboot, "a"
        .align 4
        .long 0x1BADB002, 0, -0x1BADB002

        .section .bss
        .align 4096
pml4:   .skip 4096
pdpt:   .skip 4096
table:  .skip 65536
        .skip 4096
stack:

        .section .rodata
        .align 8
gdt:    .quad 0, 0x00209A0000000000, 0x0000920000000000
gdtr:   .word . - gdt - 1
        .long gdt

        .text
        .code32
        .globl _start
_start: cli
        movl $pdpt + 3, pml4
        movl $0x83, pdpt                /* one 1 GiB page ... */
        movl $0x80000001, %eax
        cpuid
        testl $1 << 26, %edx            /* ... if there are such pages */
        jnz 1f
        movl $table, %edi               /* else 2 MiB ones in the table area */
        addl $4095, %edi
        andl $-4096, %edi
        leal 3(%edi), %eax
        movl %eax, pdpt
        movl $0x83, %eax
        movl $512, %ecx
2:      movl %eax, (%edi)
        movl $0, 4(%edi)
        addl $0x200000, %eax
        addl $8, %edi
        loop 2b
1:      movl $0x20, %eax
        movl %eax, %cr4
        movl $pml4, %eax
        movl %eax, %cr3
        movl $0xC0000080, %ecx
        rdmsr
        orl $0x100, %eax
        wrmsr
        movl %cr0, %eax
        orl $0x80000001, %eax
        movl %eax, %cr0
        lgdt gdtr
        ljmp $8, $long_mode

        .code64
long_mode:
        movl $16, %eax
        movl %eax, %ss
        movl %eax, %ds
        movl %eax, %es
        movl $stack, %esp
        .irp kernel, alu, memory, branch, calls
        leaq begin_\kernel(%rip), %rsi
        call print
        call kernel_\kernel
        leaq end_\kernel(%rip), %rsi
        call print
        .endr
        movl $0, %eax
        movw $0xF4, %dx
        outl %eax, %dx
1:      hlt
        jmp 1b

print:  lodsb
        testb %al, %al
        jz 1f
        outb %al, $0xE9
        jmp print
1:      ret

/* Register arithmetic: 10 instructions a round. */
kernel_alu:
        movl $ROUNDS, %ecx
        movl $1, %eax
        movl $2, %ebx
1:      addq %rbx, %rax
        xorq %rax, %rbx
        shlq $3, %rax
        subq $7, %rbx
        leaq (%rax, %rbx, 2), %rdx
        andl $0xFFFFFF, %ebx
        imulq %rdx, %rax
        rorq $5, %rax
        decl %ecx
        jnz 1b
        ret

/* Loads and stores over 32 KiB: 8 instructions a round. */
kernel_memory:
        movl $ROUNDS, %ecx
        leaq table(%rip), %rdi
        xorl %eax, %eax
1:      movl %ecx, %edx
        andl $4095, %edx
        addq (%rdi, %rdx, 8), %rax
        movq %rax, 8(%rdi, %rdx, 8)
        movzbl (%rdi, %rdx), %ebx
        addl %ebx, 16(%rdi)
        decl %ecx
        jnz 1b
        ret

/* A data-dependent branch each way: 7 instructions a round on average. */
kernel_branch:
        movl $ROUNDS, %ecx
        movl $0x12345678, %eax
1:      imull $1103515245, %eax, %eax
        addl $12345, %eax
        testl $0x10000, %eax
        jz 2f
        incl %ebx
        incl %ebx
2:      decl %ecx
        jnz 1b
        ret

/* Call, push, pop, return: 8 instructions a round. */
kernel_calls:
        movl $ROUNDS, %ecx
1:      call 2f
        decl %ecx
        jnz 1b
        ret
2:      pushq %rbx
        incq %rbx
        movq %rbx, %rax
        popq %rbx
        ret

        .section .rodata
        .macro text kernel, count
begin_\kernel: .asciz "B \kernel \count\n"
end_\kernel:   .asciz "E \kernel\n"
        .endm
        text alu, 200000000
        text memory, 160000000
        text branch, 140000000
        text calls, 160000000
