#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qcow2.py - our images with qemu-img, and qemu-img's with ours.

    qcow2.py RING3

Every option of both sides' create; contents compared, checks clean on both sides after
conversion, snapshots, resizing, commit and rebase. Exits 77 without qemu-img.
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile

RING3 = os.path.abspath(sys.argv[1])
OURS = ["", "cluster-size=512", "cluster-size=2M", "compat=0.10", "extended-l2", "refcount-bits=1",
        "refcount-bits=64", "lazy-refcounts", "compression=zstd", "preallocate=metadata",
        "preallocate=falloc", "preallocate=full"]
THEIRS = ["cluster_size=512", "cluster_size=2M", "compat=0.10", "extended_l2=on",
          "refcount_bits=2", "refcount_bits=64", "lazy_refcounts=on", "preallocation=metadata",
          "preallocation=falloc", "preallocation=full", "compression_type=zstd"]


def run(*args, ok=(0,)):
    r = subprocess.run(args, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    if r.returncode not in ok:
        sys.exit(f"{' '.join(args)}: status {r.returncode}\n{r.stdout}{r.stderr}")
    return r


def image(*args, **kw):
    return run(RING3, "image", *args, **kw)


def sound(name):
    run("qemu-img", "check", name)
    image("check", name)


def same(a, b, fmt="raw"):
    run("qemu-img", "compare", "-f", "qcow2", "-F", fmt, a, b)
    image("compare", "--second-format", fmt, a, b)


def raw_source(name, seed):
    rnd = random.Random(seed)
    with open(name, "wb") as f:
        f.truncate(12 << 20)
        for _ in range(40):
            f.seek(rnd.randrange(0, (12 << 20) - 300000) // 512 * 512)
            f.write(rnd.choice((rnd.randbytes, lambda n: b"text " * (n // 5)))(
                rnd.randrange(512, 200000) // 512 * 512))


def ours():
    for o in OURS:
        for compress in ([], ["--compress"]):
            args = ["--options", o] if o else []
            image("convert", "--force", "--format", "raw", *compress, *args, "s.raw", "a.qcow2")
            sound("a.qcow2")
            same("a.qcow2", "s.raw")


def theirs():
    for o in THEIRS:
        for compress in ([], ["-c"]):
            if compress and "preallocation" in o:
                continue
            run("qemu-img", "convert", *compress, "-f", "raw", "-O", "qcow2", "-o", o, "s.raw",
                "b.qcow2")
            sound("b.qcow2")
            same("b.qcow2", "s.raw")
            if o != "refcount_bits=2":       # too few for what compressed clusters share
                run("qemu-img", "snapshot", "-c", "theirs", "b.qcow2")
                image("snapshot", "b.qcow2", "create", "ours")
                if "compat" not in o:
                    image("resize", "b.qcow2", "+3M")
                run("qemu-io", "-c", "write -P 7 1M 3M", "b.qcow2")
                image("snapshot", "b.qcow2", "apply", "ours")
                image("snapshot", "b.qcow2", "delete", "theirs")
                run("qemu-img", "snapshot", "-d", "ours", "b.qcow2")
            sound("b.qcow2")
            same("b.qcow2", "s.raw")


def chains():
    os.mkdir("sub")
    image("convert", "--format", "raw", "s.raw", "sub/base.qcow2")
    for name, below, fmt in (("sub/mid.qcow2", "base.qcow2", "qcow2"),
                             ("sub/top.qcow2", os.path.abspath("sub/mid.qcow2"), "qcow2")):
        image("create", "--options", f"backing={below},backing-format={fmt}", name)
    same("sub/top.qcow2", "s.raw")
    run("qemu-io", "-c", "write -P 9 64k 5000k", "-c", "write -z 6M 1M", "sub/top.qcow2")
    run("qemu-img", "convert", "-O", "raw", "sub/top.qcow2", "want.raw")
    image("rebase", "--backing", "base.qcow2", "--backing-format", "qcow2", "sub/top.qcow2")
    same("sub/top.qcow2", "want.raw")
    sound("sub/top.qcow2")
    image("commit", "sub/top.qcow2")
    for name in ("sub/top.qcow2", "sub/base.qcow2"):
        same(name, "want.raw")
        sound(name)
    run("qemu-img", "rebase", "-u", "-b", "mid.qcow2", "-F", "qcow2", "sub/base.qcow2")
    if "loop" not in image("info", "--chain", "sub/base.qcow2", ok=range(1, 100)).stderr:
        sys.exit("a loop of backing files is not named")


def repairs():
    run("qemu-img", "create", "-q", "-f", "qcow2", "c.qcow2", "4M")
    run("qemu-io", "-c", "write 0 1M", "c.qcow2")
    with open("c.qcow2", "r+b") as f:
        f.seek(0x20000 + 2 * 6)          # counts: one lost, one too many
        f.write(b"\0\0\0\5")
    image("check", "c.qcow2", ok=(2,))
    image("check", "--repair", "all", "c.qcow2", ok=(0, 2, 3))
    sound("c.qcow2")


def main():
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("no qemu-img here (apt-get install qemu-utils)")
        return 77
    with tempfile.TemporaryDirectory() as d:
        os.chdir(d)
        raw_source("s.raw", 1)
        for part in (ours, theirs, chains, repairs):
            part()
        os.chdir("/")
    return 0


sys.exit(main())
