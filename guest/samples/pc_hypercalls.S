/* SPDX-License-Identifier: MIT-0 */
/*
 * pc_hypercalls.S - hypercalls on a PC: a multiboot kernel that names a page of its own,
 * puts a letter on the screen, writes a sector of the ATA disk and reads it back.
 *
 *     ring3 run --kernel pc_hypercalls --disk IMAGE,bus=ata
 */
#include <ring3/hypercall.h>

    .globl _start
    .text
    .balign 4
    .long 0x1badb002, 0, -0x1badb002
_start:
    mov $stack, %esp
    mov $RING3_HC_PORT_SIGNATURE, %edx
    in %dx, %eax
    cmp $RING3_HC_SIGNATURE, %eax
    jne failed
    mov $page, %eax
    shr $12, %eax
    mov $RING3_HC_PORT_PAGE, %edx
    out %eax, %dx
    movl $0x01021f52, page              /* 'R', white on blue, column 2, row 1 */
    mov $RING3_HC_VGA_PUT, %eax
    call hypercall

    movl $3, page                       /* sector */
    movl $0, page + 4
    movl $0x12345678, page + 8
    mov $RING3_HC_DISK_WRITE, %eax
    call hypercall
    movl $0, page + 8
    mov $RING3_HC_DISK_READ, %eax
    call hypercall
    cmpl $0x12345678, page + 8
    jne failed
    movl $64, page                      /* how the machine ends: 64 << 1 | 1 */
    mov $RING3_HC_EXIT, %eax
    call hypercall
hypercall:
    mov $RING3_HC_PORT, %edx
    out %eax, %dx
    in %dx, %eax
    test %eax, %eax
    jnz failed
    ret
failed:
    mov $1, %al
    out %al, $0xf4
    cli
    hlt

    .bss
    .balign 4096
page:
    .space 4096
    .space 64
stack:
    .section .note.GNU-stack, "", @progbits
