/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exit.S - a multiboot image that ends the VM with its first instructions, so
 * that what is left of the time is the monitor's own start and end. */
        .section .multiboot, "a"
        .align 4
        .long 0x1BADB002, 0, -0x1BADB002
        .text
        .globl _start
_start: movl $0, %eax
        movw $0xF4, %dx
        outl %eax, %dx
1:      hlt
        jmp 1b
