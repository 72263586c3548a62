#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""guests.py - systems that are not a Linux of ours.

    guests.py RING3 SOURCE_ROOT ENGINE CASE

memtest        memtest86+ from GRUB on a CD: a pass over 64 MiB without an error
memtest_smp    the same started directly, on two processors
pae            Linux i386 686-pae with a 32-bit busybox, from GRUB on an ATA disk's CD
xen            Xen with Linux as PV dom0, to dom0's first process
ipxe_virtio    iPXE: DHCP, a script by TFTP, kernel and initrd by HTTP; and with an e1000
ipxe_e1000

Exits 77 when something that tools/fetch-boot or tools/setup brings is not there.
"""
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

from grub import HEAD, PC, expect, run, write
from modular import cpio

INIT = b"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox mount -t proc none /proc
exec >/dev/kmsg 2>&1
echo "USER-HERE $(/bin/busybox uname -m)"
/bin/busybox poweroff -f
"""


def initrd(busybox, tmp):
    with open(busybox, "rb") as f:
        files = {"bin": (0o040755, b""), "bin/busybox": (0o100755, f.read()),
                 "dev": (0o040755, b""), "init": (0o100755, INIT)}
    return write(f"{tmp}/initrd", cpio(files))


def iso(tmp, files, config):
    os.makedirs(f"{tmp}/tree/boot/grub")
    for name, path in files.items():
        shutil.copy(path, f"{tmp}/tree/boot/{name}")
    write(f"{tmp}/tree/boot/grub/grub.cfg", (HEAD + config + "boot\n").encode())
    subprocess.run(["grub-mkrescue", "-d", PC, "-o", f"{tmp}/cd.iso", f"{tmp}/tree"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return f"{tmp}/cd.iso"


def memtest(cmd, guest, tmp, smp):
    if smp:
        cmd += ["--cpus", "2", "--kernel", f"{guest}/boot/memtest.bin", "--append",
                "console=ttyS0,115200"]
    else:
        cmd += ["--cdrom", iso(tmp, {"memtest": f"{guest}/boot/memtest.bin"},
                               "linux /boot/memtest console=ttyS0,115200\n")]
    text, waits = run(cmd + ["--memory", "64M"], {}, b"Pass:  1", 400)
    errors = re.findall(r"Errors: (\d+)", text)
    expect(waits and "Pass:  1" in text and errors and not any(map(int, errors)),
           "no pass without an error", text[-4000:])


def pae(cmd, guest, tmp):
    disc = iso(tmp, {"vmlinuz": f"{guest}/boot/vmlinuz-pae",
                     "initrd": initrd(f"{guest}/boot/busybox-i386", tmp)},
               "linux /boot/vmlinuz console=ttyS0\ninitrd /boot/initrd\n")
    text, _ = run(cmd + ["--memory", "256M", "--cpus", "2", "--cdrom", disc], {}, b"Power down",
                  170)
    expect("USER-HERE i686" in text and "Power down" in text, "no user space", text)


def xen(cmd, guest, tmp):
    disc = iso(tmp, {"xen.gz": f"{guest}/boot/xen.gz", "vmlinuz": f"{guest}/vmlinuz",
                     "initrd": initrd(f"{guest}/busybox", tmp)},
               "multiboot2 /boot/xen.gz - console=com1 com1=115200,8n1 dom0_mem=200M,max:200M "
               "loglvl=all\n"
               "module2 /boot/vmlinuz - console=hvc0 earlyprintk=xen\nmodule2 /boot/initrd\n")
    text, _ = run(cmd + ["--memory", "512M", "--cdrom", disc], {}, b"Dom0 halted", 170)
    for step in "Building a PV Dom0", "USER-HERE x86_64", "Hypervisor detected: Xen PV":
        expect(step in text, f"no '{step}'", text)


def ipxe(cmd, guest, tmp, model):
    for name in "vmlinuz", "initrd.cpio.gz":
        shutil.copy(f"{guest}/{name}", f"{tmp}/{name}")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                             functools.partial(Quiet, directory=tmp))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://10.0.2.2:{server.server_port}"
    write(f"{tmp}/boot.ipxe", f"#!ipxe\necho A-SCRIPT\nkernel {url}/vmlinuz console=ttyS0 quiet "
          f"loglevel=3 demo\ninitrd {url}/initrd.cpio.gz\nboot\n".encode())
    rom = "virtio" if model == "virtio" else "e1000"
    text, _ = run(cmd + ["--memory", "256M", "--option-rom", f"{guest}/boot/pxe-{rom}.rom",
                         "--net", f"user,tftp={tmp},bootfile=boot.ipxe,model={model}"],
                  {}, b"Power down", 100)
    server.shutdown()
    for step in "A-SCRIPT", "initrd.cpio.gz... ok", "USERSPACE-UP", "Power down":
        expect(step in text, f"no '{step}'", text)


def main():
    ring3, root, engine, name = sys.argv[1:]
    guest = f"{root}/.cache/guest"
    needs = {"memtest": ["memtest.bin"], "memtest_smp": ["memtest.bin"], "xen": ["xen.gz"],
             "pae": ["vmlinuz-pae", "busybox-i386"], "ipxe_virtio": ["pxe-virtio.rom"],
             "ipxe_e1000": ["pxe-e1000.rom"]}[name]
    if not all(os.path.exists(f"{guest}/boot/{n}") for n in needs):
        print("no guest: run tools/fetch-boot")
        return 77
    if not os.path.isdir(PC) or not shutil.which("xorriso") or not shutil.which("grub-mkrescue"):
        print("no GRUB or xorriso: run tools/setup test")
        return 77
    cmd = [ring3, "run", "--engine", engine]
    with tempfile.TemporaryDirectory() as tmp:
        if name.startswith("memtest"):
            memtest(cmd, guest, tmp, name == "memtest_smp")
        elif name.startswith("ipxe"):
            ipxe(cmd, guest, tmp, name.split("_")[1])
        else:
            {"pae": pae, "xen": xen}[name](cmd, guest, tmp)
    return 0


if __name__ == "__main__":
    sys.exit(main())
