#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""firmware.py - disks boot by SeaBIOS and OVMF from their packages.

    firmware.py RING3 SOURCE_ROOT ENGINE bios|uefi|grub|refused

bios: a boot sector of ours is reached over virtio and ATA and gets what it asks the BIOS
for; a disk without one leaves a waiting VM that says so. uefi: OVMF comes to its shell, and
what it stores is in the variable store's file. grub: an image with GRUB and Linux boots
from CD-ROM and disk, by BIOS and UEFI. refused: bad images, stores and options.
Exits 77 when the firmware, or for grub its tools or the guest, is not there.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

SEABIOS = "/usr/share/seabios/bios-256k.bin"
OVMF = "/usr/share/OVMF/OVMF_CODE.fd"
VARS = "/usr/share/OVMF/OVMF_VARS.fd"


class Run:
    """A ring3 whose output is read until a text comes."""

    def __init__(self, ring3, *args):
        self.text = ""
        self.process = subprocess.Popen([ring3, "run", "--vga", "none", *args],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        os.set_blocking(self.process.stdout.fileno(), False)

    def until(self, pattern, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            data = self.process.stdout.read()
            if data:
                # Cursor addressing between letters is the terminal's, not the text's.
                self.text += re.sub(r"\x1b\[[0-9;?=]*[A-Za-z]", "", data.decode("latin1"))
            if re.search(pattern, self.text):
                return True
            if data == b"":
                break
            time.sleep(0.05)
        return False

    def stop(self):
        running = self.process.poll() is None
        self.process.kill()
        self.process.wait()
        return running


def check(what, ok, run=None):
    print(f"{'ok' if ok else 'FAILED'}: {what}")
    if not ok:
        if run:
            print(run.text[-2000:])
        sys.exit(1)


def assemble(root, tmp):
    disk = os.path.join(tmp, "boot.img")
    subprocess.run(["gcc", "-m32", "-c", f"{root}/tests/boot/sector.S", "-o", f"{tmp}/s.o"],
                   check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", f"{tmp}/s.o", disk], check=True)
    os.truncate(disk, 1 << 20)
    return disk


def bios(ring3, root, engine, tmp):
    disk = assemble(root, tmp)
    for how in ([disk], ["--disk", f"{disk},format=raw,bus=ata"], [disk, "--cpus", "2"]):
        run = Run(ring3, "--engine", engine, *how)
        check(f"the boot sector runs: {how[-1]}", run.until("SECTOR-DONE", 60), run)
        for text in ("SECTOR-RUNS", "SECOND-SECTOR", r"RAM-RANGES 2", "NO-KEY", "WRAPS 10",
                     "LOCKED"):
            check(text, re.search(text, run.text), run)
        check("it powers off", run.process.wait(timeout=20) == 0, run)
    blank = os.path.join(tmp, "blank.img")
    with open(blank, "wb") as f:
        f.truncate(1 << 20)
    run = Run(ring3, "--engine", engine, blank)
    check("a blank disk is said to be one", run.until("No bootable device", 60), run)
    check("and the VM waits", run.stop(), run)
    run = Run(ring3, "--engine", engine, "--disk", f"{blank},format=raw,id=first", "--disk",
              f"{disk},format=raw,id=second", "--boot", "second")
    check("--boot chooses", run.until("SECTOR-DONE", 60) and "Boot failed" not in run.text, run)
    run.stop()


def uefi(ring3, root, engine, tmp):
    store = os.path.join(tmp, "vars.fd")
    args = ["--engine", engine, "--firmware", "uefi", "--firmware-vars", store]
    run = Run(ring3, *args)
    check("OVMF comes to its shell", run.until(r"Shell> ", 120), run)
    second = subprocess.run([ring3, "run", *args], capture_output=True, text=True, timeout=20)
    check("a store is one VM's", second.returncode == 2 or "another VM" in second.stderr)
    run.stop()
    kept = open(store, "rb").read()
    check("it has the size of the template", len(kept) == os.path.getsize(VARS))
    check("boot options are stored", "Boot0000".encode("utf-16le") in kept)
    run = Run(ring3, *args)
    check("it starts from its store", run.until(r"Shell> ", 120), run)
    run.stop()


GRUB = """serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=-1
menuentry "first entry" { halt }
menuentry "second entry" {
    linux /boot/vmlinuz console=ttyS0 quiet loglevel=3 demo
    initrd /boot/initrd
}
"""


def grub(ring3, root, engine, tmp):
    guest = os.path.join(root, ".cache/guest")
    needed = [shutil.which(t) for t in ("grub-mkrescue", "xorriso", "mformat")]
    needed += [os.path.exists(f"/usr/lib/grub/{p}") for p in ("i386-pc", "x86_64-efi")]
    if not all(needed) or not os.path.exists(f"{guest}/vmlinuz"):
        print("SKIP: grub-pc-bin, grub-efi-amd64-bin, xorriso, mtools or the guest is not there")
        sys.exit(77)
    tree, image = os.path.join(tmp, "tree"), os.path.join(tmp, "grub.iso")
    os.makedirs(f"{tree}/boot/grub")
    with open(f"{tree}/boot/grub/grub.cfg", "w") as f:
        f.write(GRUB)
    shutil.copy(f"{guest}/vmlinuz", f"{tree}/boot/vmlinuz")
    shutil.copy(f"{guest}/initrd.cpio.gz", f"{tree}/boot/initrd")
    subprocess.run(["grub-mkrescue", "-o", image, tree], check=True, capture_output=True)
    for how in ([image], ["--disk", f"{image},format=raw,readonly"], [image, "--firmware", "uefi"]):
        run = Run(ring3, "--engine", engine, *how)
        check(f"GRUB's menu: {how[-1]}", run.until("second entry", 60), run)
        run.process.stdin.write(b"\x0e\r")          # down, and go
        run.process.stdin.flush()
        check("Linux boots", run.until("USERSPACE-UP", 60), run)
        run.stop()


def refused(ring3, root, engine, tmp):
    odd, small = os.path.join(tmp, "odd.bin"), os.path.join(tmp, "small.fd")
    for name, size in ((odd, 100001), (small, 4096)):
        with open(name, "wb") as f:
            f.truncate(size)
    disk = assemble(root, tmp)
    cases = [
        (["--firmware", odd, disk], "has 100001 bytes"),
        (["--firmware", "/nonexistent", disk], "/nonexistent"),
        (["--firmware", "bios", "--firmware-vars", small, disk], "a BIOS has no variable store"),
        (["--firmware", OVMF, "--firmware-vars", small, disk], "has 4096 bytes"),
        (["--firmware", "bios", "--kernel", disk], "without firmware"),
        (["--boot", "floppy", disk], "there is no device 'floppy'"),
        (["--option-rom", disk, disk], "it can have 256 KiB"),
        (["--option-rom", small, disk], "is no option ROM"),
        ([], "there is nothing to start"),
    ]
    for args, text in cases:
        r = subprocess.run([ring3, "run", "--engine", engine, *args], capture_output=True,
                           text=True, timeout=20, stdin=subprocess.DEVNULL)
        check(f"{args}: {r.stderr.strip()}",
              r.returncode not in (0, -9) and text in r.stderr and r.stderr.count("\n") == 1)


def main():
    ring3, root, engine, what = sys.argv[1:5]
    for needed in (SEABIOS, OVMF):
        if not os.path.exists(needed):
            print(f"SKIP: {needed} is not there (tools/setup test)")
            sys.exit(77)
    with tempfile.TemporaryDirectory() as tmp:
        {"bios": bios, "uefi": uefi, "grub": grub, "refused": refused}[what](ring3, root, engine, tmp)


if __name__ == "__main__":
    main()
