/* SPDX-License-Identifier: MIT-0 */
/* trap32.S - run() and the way back from it, 32-bit. Offsets are sys.h's. */
#define T_VECTOR last + 32
#define T_ERROR last + 36
#define T_RIP last + 40
#define T_CS last + 44
#define T_RFLAGS last + 48
#define T_SS last + 52
#define T_CR2 last + 56
#define T_DR6 last + 60
#define T_ES last + 64
#define T_DS last + 68
#define T_FS last + 72
#define T_GS last + 76
#define F_RSP 16
#define F_RIP 32
#define F_CS 36
#define F_RFLAGS 40
#define F_SS 44
#define F_ES 48
#define F_DS 52
#define F_FS 56
#define F_GS 60

    .text
    .globl run, trap_stubs, trapped
    /* void run(const struct frame *f) */
run:
    mov 4(%esp), %edx
    push %ebx
    push %ebp
    push %esi
    push %edi
    pushf
    mov %esp, home
    mov %edx, %edi
    testl $0x20000, F_RFLAGS(%edi)
    jz 1f
    push F_GS(%edi)
    push F_FS(%edi)
    push F_DS(%edi)
    push F_ES(%edi)
    push F_SS(%edi)
    push F_RSP(%edi)
    jmp 4f
1:  testb $3, F_CS(%edi)
    jz 2f
    push F_SS(%edi)
    push F_RSP(%edi)
    jmp 3f
2:  mov F_SS(%edi), %ss             /* same privilege: IRET leaves the stack */
    mov F_RSP(%edi), %esp
3:  mov F_ES(%edi), %es
    mov F_FS(%edi), %fs
    mov F_GS(%edi), %gs
4:  push F_RFLAGS(%edi)
    push F_CS(%edi)
    push F_RIP(%edi)
    mov 0(%edi), %eax
    mov 4(%edi), %ecx
    mov 8(%edi), %edx
    mov 12(%edi), %ebx
    mov 20(%edi), %ebp
    mov 24(%edi), %esi
    testl $0x20000, F_RFLAGS(%edi)
    jnz 5f
    mov %cs:F_DS(%edi), %ds
5:  mov %cs:28(%edi), %edi
    iret

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

    /* vector, error, eip, cs, eflags, and for outer code esp, ss, and for
     * virtual-8086 code es, ds, fs, gs */
trapped:
    push %eax
    push %ds
    push %es
    mov $16, %eax
    mov %eax, %ds
    pop T_ES
    pop T_DS
    pop last
    mov %ecx, last + 4
    mov %edx, last + 8
    mov %ebx, last + 12
    mov %ebp, last + 20
    mov %esi, last + 24
    mov %edi, last + 28
    mov %fs, %eax
    mov %eax, T_FS
    mov %gs, %eax
    mov %eax, T_GS
    mov %cr2, %eax
    mov %eax, T_CR2
    mov %dr6, %eax
    mov %eax, T_DR6
    pop T_VECTOR
    pop T_ERROR
    pop T_RIP
    pop T_CS
    pop T_RFLAGS
    testl $0x20000, T_RFLAGS
    jnz 1f
    testb $3, T_CS
    jnz 2f
    mov %esp, last + 16
    mov %ss, %eax
    mov %eax, T_SS
    jmp 3f
1:  pop last + 16
    pop T_SS
    pop T_ES
    pop T_DS
    pop T_FS
    pop T_GS
    jmp 3f
2:  pop last + 16
    pop T_SS
3:  mov $16, %eax
    mov %eax, %ss
    mov %eax, %es
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    xchg home, %eax
    test %eax, %eax
    jz 4f
    mov %eax, %esp
    popf
    pop %edi
    pop %esi
    pop %ebp
    pop %ebx
    ret
4:  mov $0x90000, %esp
    call trap_lost

    .bss
    .balign 4
home:
    .long 0
    .section .note.GNU-stack, "", @progbits
