#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""ata.py - Debian's kernel with ATA disks and a CD-ROM drive, data checked.

    ata.py RING3 SOURCE_ROOT ENGINE dma|pio

The guest reads what the host wrote, writes what the host reads, mounts the disc, has
another one put in by the monitor, and says what its drivers found. `pio` keeps libata
from using DMA. Exits 77 when the guest or xorriso is not there.
"""
import hashlib
import os
import pty
import random
import re
import shutil
import subprocess
import sys
import threading

from modular import expect, initrd, modules, with_package

MODULES = ["scsi_common", "scsi_mod", "libata", "ata_piix", "sd_mod", "cdrom", "sr_mod", "isofs"]
SIZE = 16 << 20
INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin /mnt
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t devtmpfs none /dev; mount -t proc none /proc; mount -t sysfs none /sys
for m in %s; do
    o=; [ $m = libata ] && o="%s"
    insmod /modules/$m.ko $o || echo "INSMOD-FAILED $m"
done
for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/sdb -a -b /dev/sr0 ] && break; sleep 1; done
%s
echo GUEST-DONE
poweroff -f
"""
SCRIPT = r"""
for d in sda sdb; do
    [ -b /dev/$d ] || { echo "NO-DISK $d"; continue; }
    echo "MODEL $d $(cat /sys/block/$d/device/model) $(cat /sys/block/$d/queue/write_cache)"
    echo "SUM $d $(dd if=/dev/$d bs=1M iflag=direct 2>/dev/null | md5sum)"
    dd if=/seed of=/dev/$d bs=64k seek=4 conv=notrunc,fsync 2>/dev/null || echo "WRITE-FAILED $d"
    dd if=/seed of=/dev/$d bs=4k seek=1024 conv=notrunc oflag=direct 2>/dev/null
    dd if=/seed of=/dev/$d bs=512 count=3 seek=32765 conv=notrunc oflag=direct 2>/dev/null
    sync
done
mount -t iso9660 -o ro /dev/sr0 /mnt && echo "FILE $(md5sum /mnt/file)"
echo "DISC $(dd if=/dev/sr0 bs=2048 2>/dev/null | md5sum)"
umount /mnt
echo "PLEASE-CHANGE"
for i in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    mount -t iso9660 -o ro /dev/sr0 /mnt 2>/dev/null || continue
    [ -f /mnt/other ] && break
    umount /mnt
done
echo "OTHER $(cat /mnt/other)"
umount /mnt
for d in /sys/class/ata_device/*; do echo "XFER $(cat $d/class) $(cat $d/xfer_mode)"; done
dmesg | grep -iE "ata[0-9].*(exception|failed|error|timeout|reset)|I/O error" |
    grep -v "sr0" | sed 's/^/COMPLAINT /'
"""


def iso(path, name, data, tmp):
    os.mkdir(f"{tmp}/{name}.d")
    with open(f"{tmp}/{name}.d/{name}", "wb") as f:
        f.write(data)
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", path, f"{tmp}/{name}.d"],
                   check=True, stderr=subprocess.DEVNULL)


def talk(cmd, other):
    """Runs the guest on a terminal; when it asks, the monitor changes the disc."""
    ours, theirs = pty.openpty()
    vm = subprocess.Popen(cmd, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    watchdog = threading.Timer(170, vm.kill)
    watchdog.start()
    text, asked = b"", False
    try:
        while piece := os.read(ours, 65536):
            text += piece
            if b"PLEASE-CHANGE\r" in text and not asked:
                asked = True
                os.write(ours, f"\x01ceject\ninfo block\nchange {other}\n\x01c".encode())
    except OSError:                      # the other end is closed
        pass
    watchdog.cancel()
    os.close(ours)
    return vm.wait(), text.decode(errors="replace")


def main():
    ring3, root, engine, mode = sys.argv[1:]
    if not shutil.which("xorriso"):
        print("no xorriso: run tools/setup test")
        return 77
    return with_package(root, lambda guest, package, tmp:
                        run(ring3, guest, package, engine, mode, tmp), "linux-image-*cloud*.deb")


def run(ring3, guest, package, engine, mode, tmp):
    noise = random.Random(4)
    seed, content = noise.randbytes(1 << 20), noise.randbytes(3000001)
    disks, before = [], []
    for i in range(2):
        before.append(bytearray(noise.randbytes(SIZE)))
        disks.append(f"{tmp}/disk{i}")
        with open(disks[i], "wb") as f:
            f.write(before[i])
    iso(f"{tmp}/a.iso", "file", content, tmp)
    iso(f"{tmp}/b.iso", "other", b"the other disc", tmp)
    files = modules(package, tmp, MODULES)
    files["seed"] = (0o100644, seed)
    files["test"] = (0o100755, (INIT % (" ".join(MODULES), "dma=0" if mode == "pio" else "",
                                        SCRIPT)).encode())
    initrd(guest, f"{tmp}/initrd", files)
    cmd = [ring3, "run", "--engine", engine, "--kernel", f"{guest}/vmlinuz",
           "--initrd", f"{tmp}/initrd", "--append", "console=ttyS0 quiet rdinit=/test",
           "--memory", "256M", "--cdrom", f"{tmp}/a.iso",
           "--disk", f"{disks[0]},format=raw,bus=ata,serial=first",
           "--disk", f"{disks[1]},format=raw,bus=ata,cache=writethrough"]
    status, text = talk(cmd, f"{tmp}/b.iso")
    check(status, text, mode, before, seed, content, f"{tmp}/a.iso")
    for i in range(2):
        after = before[i]
        for at, part in (4 << 16, seed), (1024 << 12, seed), (32765 << 9, seed[:1536]):
            after[at:at + len(part)] = part
        with open(disks[i], "rb") as f:
            expect(f.read() == after, f"disk {i}: written wrong", text)
    return 0


def check(status, text, mode, before, seed, content, disc):
    expect(status == 0 and "GUEST-DONE" in text, f"status {status}", text)
    expect("COMPLAINT" not in text and "FAILED" not in text, "the guest complains", text)
    for cache, data in ("back", before[0]), ("through", before[1]):
        found = re.search(rf"MODEL (sd.) ring3 disk +write {cache}", text)
        expect(found, f"no disk with write {cache}", text)
        d = found.group(1)
        expect(f"SUM {d} {hashlib.md5(data).hexdigest()}" in text, f"{d}: read wrong", text)
    expect(f"FILE {hashlib.md5(content).hexdigest()}" in text, "CD: a file is wrong", text)
    with open(disc, "rb") as f:
        expect(f"DISC {hashlib.md5(f.read()).hexdigest()}" in text, "CD: read wrong", text)
    expect("OTHER the other disc" in text, "the disc was not changed", text)
    expect("cdrom0: no disc" in text, "the tray was not opened", text)
    want = "XFER_MW_DMA_2" if mode == "dma" else "XFER_PIO_4"
    expect(text.count(f"XFER ata {want}") == 2 and text.count(f"XFER atapi {want}") == 1,
           f"not {want}", text)


if __name__ == "__main__":
    sys.exit(main())
