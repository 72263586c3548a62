# SPDX-License-Identifier: GPL-2.0-or-later
"""modular.py - what the tests share that give Debian's kernel modules and a script.

The drivers are modules of the kernel package that tools/fetch-guest keeps; they go into
an archive behind the usual initial RAM disk.
"""
import glob
import os
import subprocess
import sys
import tempfile

# Which modules, then what to do.
INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t devtmpfs none /dev; mount -t proc none /proc; mount -t sysfs none /sys
for m in %s; do insmod /modules/$m.ko || echo "INSMOD-FAILED $m"; done
%s
echo GUEST-DONE
poweroff -f
"""


def cpio(files):
    """A newc archive of {name: (mode, bytes)}."""
    out = b""
    for i, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))]):
        fields = [i + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        out += head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
    return out


def modules(package, tmp, names):
    """Those of the kernel package, as files of an archive."""
    unpack = subprocess.Popen(["dpkg", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    subprocess.run(["tar", "x", "-C", tmp, "--wildcards", "--transform", "s|.*/||",
                    *[f"*/{name}.ko" for name in names]], stdin=unpack.stdout, check=True)
    out = {"modules": (0o040755, b"")}
    for name in names:
        with open(f"{tmp}/{name}.ko", "rb") as f:
            out[f"modules/{name}.ko"] = (0o100644, f.read())
    return out


def expect(ok, what, text):
    if not ok:
        sys.stdout.write(text)
        print(f"{os.path.basename(sys.argv[0])}: {what}")
        sys.exit(1)


def initrd(guest, path, files):
    """The usual initial RAM disk with more files, {name: (mode, bytes)}; its name."""
    with open(f"{guest}/initrd.cpio.gz", "rb") as f:
        base = f.read()
    with open(path, "wb") as f:
        f.write(base + b"\0" * (-len(base) % 4) + cpio(files))
    return path


def with_package(root, run, pattern="linux-image-*.deb"):
    """run(guest's folder, kernel package, a temporary folder), or 77: there is no guest."""
    guest = f"{root}/.cache/guest"
    package = glob.glob(f"{guest}/pkg/{pattern}")
    if not package or not os.path.exists(f"{guest}/initrd.cpio.gz"):
        print("no guest: run tools/fetch-guest")
        return 77
    with tempfile.TemporaryDirectory() as tmp:
        return run(guest, package[0], tmp)
