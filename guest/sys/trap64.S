/* SPDX-License-Identifier: MIT-0 */
/* trap64.S - run() and the way back from it, 64-bit. Offsets are sys.h's. */
#define T_VECTOR 128
#define T_ERROR 136
#define T_RIP 144
#define T_CS 152
#define T_RFLAGS 160
#define T_SS 168
#define T_CR2 176
#define T_DR6 184
#define T_ES 192
#define T_DS 200
#define T_FS 208
#define T_GS 216
#define F_RIP 128
#define F_CS 136
#define F_RFLAGS 144
#define F_SS 152
#define F_ES 160
#define F_DS 168
#define F_FS 176
#define F_GS 184

    .text
    .globl run, trap_stubs
    /* void run(const struct frame *f) */
run:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    pushf
    mov %rsp, home
    push F_SS(%rdi)
    push 32(%rdi)
    push F_RFLAGS(%rdi)
    push F_CS(%rdi)
    push F_RIP(%rdi)
    mov F_ES(%rdi), %es
    mov F_DS(%rdi), %ds
    mov F_FS(%rdi), %fs
    mov F_GS(%rdi), %gs
    mov 0(%rdi), %rax
    mov 8(%rdi), %rcx
    mov 16(%rdi), %rdx
    mov 24(%rdi), %rbx
    mov 40(%rdi), %rbp
    mov 48(%rdi), %rsi
    mov 64(%rdi), %r8
    mov 72(%rdi), %r9
    mov 80(%rdi), %r10
    mov 88(%rdi), %r11
    mov 96(%rdi), %r12
    mov 104(%rdi), %r13
    mov 112(%rdi), %r14
    mov 120(%rdi), %r15
    mov 56(%rdi), %rdi
    iretq

    .balign 16
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21
    .else
    push $0
    .endif
    push $vector
    jmp trapped
    .set vector, vector + 1
    .endr

    /* vector, error, rip, cs, rflags, rsp, ss */
trapped:
    mov %rax, last
    mov %rcx, last + 8
    mov %rdx, last + 16
    mov %rbx, last + 24
    mov %rbp, last + 40
    mov %rsi, last + 48
    mov %rdi, last + 56
    mov %r8, last + 64
    mov %r9, last + 72
    mov %r10, last + 80
    mov %r11, last + 88
    mov %r12, last + 96
    mov %r13, last + 104
    mov %r14, last + 112
    mov %r15, last + 120
    pop last + T_VECTOR
    pop last + T_ERROR
    pop last + T_RIP
    pop last + T_CS
    pop last + T_RFLAGS
    pop last + 32
    pop last + T_SS
    mov %cr2, %rax
    mov %rax, last + T_CR2
    mov %dr6, %rax
    mov %rax, last + T_DR6
    mov %es, %eax
    mov %rax, last + T_ES
    mov %ds, %eax
    mov %rax, last + T_DS
    mov %fs, %eax
    mov %rax, last + T_FS
    mov %gs, %eax
    mov %rax, last + T_GS
    mov $16, %eax
    mov %eax, %ss
    xor %eax, %eax
    xchg home, %rax
    test %rax, %rax
    jz 1f
    mov %rax, %rsp
    popf
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
1:  mov $0x90000, %esp
    call trap_lost

    .bss
    .balign 8
home:
    .quad 0
    .section .note.GNU-stack, "", @progbits
