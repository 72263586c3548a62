/* SPDX-License-Identifier: MIT-0 */
/*
 * smp_start.S - from where SIPI leaves a processor to C: real mode at 0x8000, protected
 * mode, long mode on the boot processor's page tables, a stack by index.
 */
    .code16
    .globl trampoline, trampoline_end, trampoline_cr3
#define HERE(label) (label - trampoline + 0x8000)
trampoline:
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl HERE(gdtr)
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $HERE(protected)

    .code32
protected:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %cr4, %eax
    or $0x620, %eax                 /* PAE, SSE */
    mov %eax, %cr4
    mov HERE(trampoline_cr3), %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx           /* EFER.LME */
    rdmsr
    or $0x100, %eax
    wrmsr
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    ljmpl $24, $HERE(long_mode)

    .code64
long_mode:
    mov $0xfffe, %edx               /* which one am I? */
    in %dx, %eax
    mov %eax, %edi
    inc %eax
    shl $12, %rax
    lea stacks(%rax), %rsp
    mov $other_main, %eax
    call *%rax
    hlt

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00af9b000000ffff
gdtr:
    .word gdtr - gdt - 1
    .long HERE(gdt)
    .balign 8
trampoline_cr3:
    .quad 0
trampoline_end:
    .section .note.GNU-stack, "", @progbits
