#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio.py - Debian's kernel with virtio disks and an entropy source, data checked.

    virtio.py RING3 SOURCE_ROOT ENGINE [OPTION...]

The guest reads what the host wrote, writes what the host reads, and does so over PCI and
MMIO, split and packed rings.
Exits 77 when the guest is not there.
"""
import hashlib
import random
import subprocess
import sys

import modular

MODULES = ["virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev",
           "virtio_pci", "virtio_mmio", "virtio_blk", "virtio-rng",
           "virtio_balloon", "virtio_console"]
SIZE = 16 << 20
SCRIPT = r"""
for d in vda vdb vdc vdd; do
    [ -b /dev/$d ] || { echo "NO-DISK $d"; continue; }
    echo "SERIAL $d $(cat /sys/block/$d/serial)"
    echo "SUM $d $(dd if=/dev/$d bs=1M iflag=direct 2>/dev/null | md5sum)"
    dd if=/seed of=/dev/$d bs=64k seek=4 conv=notrunc,fsync 2>/dev/null || echo "WRITE-FAILED $d"
    dd if=/seed of=/dev/$d bs=4k seek=1024 conv=notrunc oflag=direct 2>/dev/null
    sync
done
echo "RNG $(cat /sys/class/misc/hw_random/rng_current)"
echo "BYTES $(dd if=/dev/hwrng bs=4096 count=4 2>/dev/null | wc -c)"
dmesg | grep -iE "virtio.*(error|fail|broken)|I/O error" | sed 's/^/COMPLAINT /'
"""


def main():
    ring3, root, engine, *more = sys.argv[1:]
    return modular.with_package(root, lambda guest, package, tmp:
                                run(ring3, guest, package, engine, more, tmp))


def run(ring3, guest, package, engine, more, tmp):
    noise = random.Random(4)
    seed = noise.randbytes(1 << 20)
    disks, before = [], []
    for i in range(4):
        before.append(bytearray(noise.randbytes(SIZE)))
        disks.append(f"{tmp}/disk{i}")
        with open(disks[i], "wb") as f:
            f.write(before[i])
    files = modular.modules(package, tmp, MODULES)
    files["seed"] = (0o100644, seed)
    files["test"] = (0o100755, (modular.INIT % (" ".join(MODULES), SCRIPT)).encode())
    modular.initrd(guest, f"{tmp}/initrd", files)
    kinds = ["serial=pci-split", "serial=pci-packed,packed,queues=2,iothread",
             "serial=mmio-split,transport=mmio,iothread", "serial=mmio-packed,transport=mmio,packed,cache=none"]
    cmd = [ring3, "run", "--engine", engine, "--kernel", f"{guest}/vmlinuz",
           "--initrd", f"{tmp}/initrd", "--append", "console=ttyS0 quiet rdinit=/test",
           "--memory", "512M", "--cpus", "2", "--device", "rng",
           "--device", "balloon,size=64M", *more]
    for disk, kind in zip(disks, kinds):
        cmd += ["--disk", f"{disk},format=raw,{kind}"]
    done = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace")
    modular.expect(done.returncode == 0 and "GUEST-DONE" in text, f"status {done.returncode}", text)
    modular.expect("COMPLAINT" not in text and "FAILED" not in text, "the guest complains", text)
    modular.expect("RNG virtio_rng" in text and "BYTES 16384" in text, "no entropy", text)
    for i, kind in enumerate(kinds):
        name, d = kind.split(",")[0].split("=")[1], "vd" + "abcd"[i]
        modular.expect(any(f"SERIAL vd{c} {name}" in text for c in "abcd"), f"no disk {name}", text)
        d = [c for c in "abcd" if f"SERIAL vd{c} {name}" in text][0]
        modular.expect(f"SUM vd{d} {hashlib.md5(before[i]).hexdigest()}" in text, f"{name}: read wrong",
               text)
        after = before[i]
        after[4 * 65536:4 * 65536 + len(seed)] = seed
        after[1024 * 4096:1024 * 4096 + len(seed)] = seed
        with open(disks[i], "rb") as f:
            modular.expect(f.read() == after, f"{name}: written wrong", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
