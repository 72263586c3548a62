#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""grub.py - firmware and GRUB, from an ATA disk, a virtio disk and a CD.

    grub.py RING3 SOURCE_ROOT ENGINE CASE

cd       a disc made by grub-mkrescue: its menu, an entry chosen by a key, Linux
ata      a disk with GRUB in its gap and Linux on a FAT file system
virtio   the same disk behind virtio
chain    GRUB on a CD gives control to the GRUB of the ATA disk
cut      the disc of `cd` cut off before its kernel, and amid GRUB: each says so
beyond   a partition table that points past the end of the disk: what is there is read
blank    a disk of zeroes: the firmware says so, and the VM waits

Exits 77 when the guest, GRUB, xorriso, mtools or a firmware is not there.
"""
import glob
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading

PC = "/usr/lib/grub/i386-pc"
SECTOR, PARTITION, DISK = 512, 2048, 48 << 20
MODULES = ["biosdisk", "part_msdos", "fat", "normal", "linux", "serial", "terminal", "echo",
           "configfile", "chain", "ls", "minicmd", "boot", "iso9660"]
HEAD = """serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
echo GRUB-IS-HERE
"""
LINUX = "linux {0}/vmlinuz console=ttyS0 quiet loglevel=3 demo\ninitrd {0}/initrd\nboot\n"
MENU = HEAD + """set timeout=-1
menuentry first { echo WRONG-ENTRY }
menuentry second {
echo RIGHT-ENTRY
""" + LINUX.format("/boot") + "}\n"


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def make_iso(tmp, guest, config):
    tree = f"{tmp}/tree"
    os.makedirs(f"{tree}/boot/grub")
    shutil.copy(f"{guest}/vmlinuz", f"{tree}/boot/vmlinuz")
    shutil.copy(f"{guest}/initrd.cpio.gz", f"{tree}/boot/initrd")
    write(f"{tree}/boot/grub/grub.cfg", config.encode())
    subprocess.run(["grub-mkrescue", "-d", PC, "-o", f"{tmp}/cd.iso", tree], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return f"{tmp}/cd.iso"


def make_disk(tmp, guest, sectors=None):
    """MBR and core image as grub-bios-setup would put them, and a FAT partition."""
    disk, part = f"{tmp}/disk.img", f"{tmp}/part.img"
    config = write(f"{tmp}/early.cfg",
                   (HEAD + "set root=(hd0,msdos1)\nls (hd0)\n" + LINUX.format("")).encode())
    core = f"{tmp}/core.img"
    subprocess.run(["grub-mkimage", "-d", PC, "-O", "i386-pc", "-p", "/", "-c", config,
                    "-o", core, *MODULES], check=True)
    size = DISK - PARTITION * SECTOR
    write(part, b"")
    os.truncate(part, size)
    subprocess.run(["mformat", "-i", part, "-F", "-T", str(size // SECTOR), "-h", "16", "-s", "63",
                    "::"], check=True)
    subprocess.run(["mcopy", "-i", part, f"{guest}/vmlinuz", "::/vmlinuz"], check=True)
    subprocess.run(["mcopy", "-i", part, f"{guest}/initrd.cpio.gz", "::/initrd"], check=True)
    with open(f"{PC}/boot.img", "rb") as f:
        mbr = bytearray(f.read(SECTOR))
    with open(core, "rb") as f:
        image = bytearray(f.read())
    image += bytes(-len(image) % SECTOR)
    # The first sector of the core image loads the others: from sector 2 on, to 0x8200.
    image[500:512] = struct.pack("<QHH", 2, len(image) // SECTOR - 1, 0x820)
    mbr[446:510] = struct.pack("<BBBBBBBBII48x", 0x80, 0, 2, 0, 0x0c, 0, 0, 0, PARTITION,
                               sectors or size // SECTOR)
    mbr[510:512] = b"\x55\xaa"
    with open(disk, "wb") as f:
        f.write(mbr)
        f.write(image)
        f.seek(PARTITION * SECTOR)
        with open(part, "rb") as p:
            f.write(p.read())
    return disk


def run(cmd, answers, until, seconds):
    """The VM's output until `until` or its end; `answers`: {text seen: keys}."""
    vm = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    late = threading.Timer(seconds, vm.kill)
    late.start()
    text = b""
    while until not in text:
        piece = os.read(vm.stdout.fileno(), 65536)
        if not piece:
            break
        text += piece
        for seen in [s for s in answers if s in text]:
            vm.stdin.write(answers.pop(seen))
            vm.stdin.flush()
    late.cancel()
    waits = vm.poll() is None
    vm.kill()
    vm.wait()
    return text.decode(errors="replace"), waits


def expect(ok, what, text):
    if not ok:
        sys.stdout.write(text)
        print(f"grub.py: {what}")
        sys.exit(1)


def case(name, ring3, engine, guest, tmp):
    cmd = [ring3, "run", "--engine", engine, "--memory", "256M"]
    down, done = b"\x1b[B\r", b"Power down"
    if name == "cd":
        text, _ = run(cmd + ["--cdrom", make_iso(tmp, guest, MENU)], {b"second": down}, done, 100)
        expect("RIGHT-ENTRY" in text and "WRONG" not in text, "the menu was not obeyed", text)
    elif name in ("ata", "virtio"):
        disk = make_disk(tmp, guest)
        text, _ = run(cmd + ["--disk", f"{disk},format=raw,bus={name}"], {}, done, 100)
    elif name == "chain":
        config = HEAD + "echo CHAINING\nset root=(hd0)\nchainloader +1\nboot\n"
        iso, disk = make_iso(tmp, guest, config), make_disk(tmp, guest)
        text, _ = run(cmd + ["--cdrom", iso, "--disk", f"{disk},format=raw,bus=ata", "--boot",
                             "cdrom"], {}, done, 100)
        expect("CHAINING" in text and text.count("GRUB-IS-HERE") == 2, "no chain", text)
    elif name == "cut":
        iso = make_iso(tmp, guest, HEAD + LINUX.format("/boot"))
        for size, message in ((9 << 20) + 333, b"error:"), (40000, b"Could not read from CDROM"):
            os.truncate(iso, size)
            text, waits = run(cmd + ["--cdrom", iso], {}, message, 60)
            expect(message.decode() in text and waits, f"no complaint at {size} bytes", text)
        return text, None
    elif name == "beyond":
        disk = make_disk(tmp, guest, 0xfffffff0)
        text, waits = run(cmd + ["--disk", f"{disk},format=raw,bus=ata"], {}, done, 100)
    else:
        disk = write(f"{tmp}/blank", bytes(1 << 20))
        text, waits = run(cmd + ["--disk", f"{disk},format=raw,bus=ata"], {},
                          b"No bootable device", 60)
        expect("No bootable device" in text and waits, "the firmware did not say so", text)
        return text, None
    return text, done.decode()


def main():
    ring3, root, engine, name = sys.argv[1:]
    guest = f"{root}/.cache/guest"
    if not os.path.exists(f"{guest}/initrd.cpio.gz"):
        print("no guest: run tools/fetch-guest")
        return 77
    for tool in "grub-mkrescue", "grub-mkimage", "xorriso", "mformat":
        if not shutil.which(tool) or not os.path.isdir(PC):
            print(f"no {tool} (or {PC}): run tools/setup test")
            return 77
    if not glob.glob("/usr/share/seabios/bios-256k.bin"):
        print("no seabios: run tools/setup test")
        return 77
    with tempfile.TemporaryDirectory() as tmp:
        text, wanted = case(name, ring3, engine, guest, tmp)
    if wanted:
        expect("GRUB-IS-HERE" in text and wanted in text, "Linux did not get to its end", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
