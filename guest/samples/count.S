/* SPDX-License-Identifier: MIT-0 */
/*
 * count.S - one of a pair that shares a processor: 16-bit code at 0x10000 that counts and
 * now and then writes the count to port 0x10. With SILENT defined it never comes out.
 *
 *     ring3 run --machine simple --load count.bin@0x10000
 */
    .code16
    .globl _start
_start:
    xor %eax, %eax
1:  inc %eax
#ifndef SILENT
    test $0xfffff, %eax
    jnz 1b
    out %eax, $0x10
#endif
    jmp 1b
    .section .note.GNU-stack, "", @progbits
