# SPDX-License-Identifier: GPL-2.0-or-later
"""guests.py - guests of a few instructions, assembled by hand.

Each is a multiboot image (an ELF32 file with a multiboot 1 header) whose code
runs in 32-bit protected mode without paging. What they do is what a test of
the command line needs from a guest: print, read, and end in every way.
"""
import struct

COM1, DEBUG_EXIT, PM1_CONTROL, PVPANIC, KEYBOARD = 0x3F8, 0xF4, 0x604, 0x505, 0x64
BASE = 0x100000
CODE_OFFSET = 0x80      # headers first
HALT = b"\xf4\xeb\xfd"  # hlt; jmp back


def outb(port, value):
    """mov dx, port; mov al, value; out dx, al"""
    return b"\x66\xba" + struct.pack("<H", port) + b"\xb0" + bytes([value]) + b"\xee"


def outw(port, value):
    """mov dx, port; mov ax, value; out dx, ax"""
    return (b"\x66\xba" + struct.pack("<H", port) + b"\x66\xb8" + struct.pack("<H", value)
            + b"\x66\xef")


def text(s):
    return b"".join(outb(COM1, c) for c in s.encode())


def clear_fifos():
    return outb(COM1 + 2, 7) + b"\xb9\xff\xff\x00\x00\xe2\xfe"     # and a while: loop


def power_off():
    return outw(PM1_CONTROL, 5 << 10 | 1 << 13) + HALT   # SLP_TYP 5, SLP_EN


def debug_exit(value, port=DEBUG_EXIT):
    return outb(port, value) + HALT


def reset():
    return outb(KEYBOARD, 0xFE) + HALT


def panic():
    return outb(PVPANIC, 1) + HALT


def triple_fault():
    """lidt [zeroes]; int3, with the table at the end of the code"""
    # The operand is the address right behind these nine bytes.
    return lambda at: b"\x0f\x01\x1d" + struct.pack("<I", at + 9) + b"\xcc\xf4" + bytes(6)


def print_forever():
    """mov dx, COM1; mov al, 'x'; out dx, al; jmp back"""
    return b"\x66\xba" + struct.pack("<H", COM1) + b"\xb0x" + b"\xee\xeb\xfd"


def print_times(count):
    """As above, `count` times: mov ecx, count; ...; loop"""
    return (b"\xb9" + struct.pack("<I", count) + b"\x66\xba" + struct.pack("<H", COM1)
            + b"\xb0x" + b"\xee\xe2\xfd")


def echo_until(last):
    """Polls COM1, sends back what arrives, goes on after the byte `last`."""
    lsr, data = struct.pack("<H", COM1 + 5), struct.pack("<H", COM1)
    return (b"\x66\xba" + lsr + b"\xec\xa8\x01\x74\xf7"            # wait for a byte
            + b"\x66\xba" + data + b"\xec\xee"                       # read, write
            + b"\x3c" + last.encode() + b"\x75\xed")                 # the last one?


def image(*parts):
    """The bytes of a file that boots into `parts`, one after another."""
    code = b""
    for p in parts:
        code += p(BASE + CODE_OFFSET + len(code)) if callable(p) else p
    size = CODE_OFFSET + len(code)
    elf = (b"\x7fELF\x01\x01\x01" + bytes(9)
           + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, BASE + CODE_OFFSET, 52, 0, 0, 52, 32, 1, 0, 0, 0))
    segment = struct.pack("<IIIIIIII", 1, 0, BASE, BASE, size, size, 7, 4096)
    magic, flags = 0x1BADB002, 0
    header = struct.pack("<III", magic, flags, -(magic + flags) & 0xFFFFFFFF)
    return (elf + segment + header).ljust(CODE_OFFSET, b"\0") + code


def bzimage(setup_sects=1, payload=4096, cut=None):
    """A file that looks like a bzImage of protocol 2.12 and does nothing."""
    boot = bytearray((setup_sects + 1) * 512)
    boot[0x1F1] = setup_sects
    struct.pack_into("<I", boot, 0x1F4, payload // 16)        # syssize
    struct.pack_into("<H", boot, 0x1FE, 0xAA55)
    boot[0x200:0x202] = b"\xeb\x66"                           # header ends at 0x268
    boot[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", boot, 0x206, 0x20C)
    boot[0x211] = 1                                           # LOADED_HIGH
    struct.pack_into("<I", boot, 0x214, 0x100000)             # code32_start
    struct.pack_into("<I", boot, 0x22C, 0x7FFFFFFF)           # initrd_addr_max
    struct.pack_into("<I", boot, 0x230, 0x200000)             # kernel_alignment
    boot[0x234] = 1                                           # relocatable
    struct.pack_into("<H", boot, 0x236, 1)                    # XLF_KERNEL_64
    struct.pack_into("<I", boot, 0x238, 2047)                 # cmdline_size
    struct.pack_into("<Q", boot, 0x258, 0x100000)             # pref_address
    struct.pack_into("<I", boot, 0x260, payload)              # init_size
    data = bytes(boot) + b"\xf4" * payload
    return data if cut is None else data[:cut]
