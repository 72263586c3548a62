/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sector.S - a boot sector that asks the BIOS for its services and says what it got.
 *
 * Text goes out by INT 10h, which the firmware shows on the serial port. What is the second
 * sector on the disk is read to 0x8000 and printed. Ends with ACPI power-off (the ACPI
 * registers are where SeaBIOS puts them).
 */
        .code16
        .globl  _start
_start: cli
        xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     $0x7c00, %sp
        sti
        mov     %dl, drive + 0x7c00
        mov     $hello + 0x7c00, %si
        call    print

        mov     $0x42, %ah                      /* INT 13h, extended read */
        mov     drive + 0x7c00, %dl
        mov     $packet + 0x7c00, %si
        int     $0x13
        jc      failed
        mov     $0x8000, %si
        call    print

        xor     %ebx, %ebx                      /* INT 15h, memory map: entries of RAM */
        xor     %bp, %bp
next:   mov     $0xe820, %eax
        mov     $0x534d4150, %edx
        mov     $20, %ecx
        mov     $0x9000, %di
        int     $0x15
        jc      last
        cmpl    $1, 0x9010
        jne     1f
        inc     %bp
1:      test    %ebx, %ebx
        jnz     next
last:   mov     $ram + 0x7c00, %si
        call    print
        mov     %bp, %ax
        call    digit

        mov     $1, %ah                         /* INT 16h: no key waits */
        int     $0x16
        mov     $key + 0x7c00, %si
        jnz     1f
        call    print

1:      mov     $0x2400, %ax                    /* INT 15h: A20 off, and on again */
        int     $0x15
        call    wraps
        mov     %al, %cl
        mov     $0x2401, %ax
        int     $0x15
        call    wraps
        mov     $a20 + 0x7c00, %si
        push    %ax
        call    print
        mov     %cl, %al
        call    digit
        pop     %ax
        call    digit

        mov     $0xf000, %ax                    /* shadow RAM is locked */
        mov     %ax, %es
        mov     %es:0xff00, %al
        not     %al
        mov     %al, %es:0xff00
        mov     $locked + 0x7c00, %si
        cmp     %al, %es:0xff00
        je      failed
        call    print

        mov     $done + 0x7c00, %si
        call    print
        mov     $0x604, %dx
        mov     $0x2000 | 5 << 10, %ax
        out     %ax, %dx
failed: mov     $bad + 0x7c00, %si
        call    print
halt:   hlt
        jmp     halt

/* al = 1 when 1 MiB + 0x500 is 0x500. */
wraps:  push    %es
        mov     $0xffff, %ax
        mov     %ax, %es
        movw    $0x1234, 0x500
        movw    $0x4321, %es:0x510
        xor     %ax, %ax
        cmpw    $0x4321, 0x500
        jne     1f
        inc     %ax
1:      pop     %es
        ret

digit:  add     $'0', %al
        mov     $0x0e, %ah
        mov     $7, %bx
        int     $0x10
        ret

print:  lodsb
        test    %al, %al
        jz      1f
        mov     $0x0e, %ah
        mov     $7, %bx
        int     $0x10
        jmp     print
1:      ret

drive:  .byte   0
        .balign 4
packet: .byte   16, 0
        .word   1, 0x8000, 0
        .quad   1
hello:  .asciz  "SECTOR-RUNS\r\n"
ram:    .asciz  "RAM-RANGES "
key:    .asciz  "\r\nNO-KEY\r\nA20 "
a20:    .asciz  "WRAPS "
locked: .asciz  "\r\nLOCKED"
done:   .asciz  "\r\nSECTOR-DONE\r\n."
bad:    .asciz  "\r\nSECTOR-FAILED\r\n"
        .org    510
        .word   0xaa55
        .asciz  "SECOND-SECTOR\r\n"
        .org    1024
