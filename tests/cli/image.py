#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""image.py RING3 - `ring3 image` as a user meets it: each verb on raw images, every
kind of bad input, and the locks it
shares with QEMU."""
import fcntl
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

RING3 = os.path.abspath(sys.argv[1])
PATIENCE = 60
OK, USAGE, CANNOT_START, HOST_FAILED = 0, 64, 66, 68
DIFFERS = 1
MIB = 1 << 20


def image(*args, **kw):
    return subprocess.run([RING3, "image", *args], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=PATIENCE, **kw)


def most(verb):
    """How many operands it takes."""
    return {"snapshot": 3, "create": 2, "convert": 2, "resize": 2, "compare": 2}.get(verb, 1)


class ImageTest(unittest.TestCase):
    def setUp(self):
        dir_ = tempfile.TemporaryDirectory(prefix="ring3-image-")
        self.addCleanup(dir_.cleanup)
        self.dir = dir_.name

    def path(self, name):
        return os.path.join(self.dir, name)

    def raw(self, name, size, *pieces):
        """A sparse file with (offset, bytes) pieces."""
        with open(self.path(name), "wb") as f:
            f.truncate(size)
            for offset, data in pieces:
                f.seek(offset)
                f.write(data)
        return self.path(name)

    def done(self, *args, status=OK, **kw):
        r = image(*args, **kw)
        self.assertEqual((r.returncode, r.stderr), (status, b""), args)
        return r.stdout.decode()

    def refused(self, status, words, *args, **kw):
        r = image(*args, **kw)
        err = r.stderr.decode()
        self.assertEqual(r.returncode, status, err)
        self.assertRegex(err, r"\Aring3: [^\n]+\n\Z")
        self.assertIn(words, err)


class Words(ImageTest):
    def test_verbs(self):
        self.refused(USAGE, "no verb given")
        self.refused(USAGE, "no verb 'craete'; did you mean 'create'?", "craete")
        self.refused(USAGE, "try 'ring3 image --help'", "frobnicate")
        verbs = re.findall(r"(?m)^  ([a-z]+) ", self.done("--help"))
        self.assertEqual(len(verbs), 10)
        for verb in verbs:
            self.assertIn(f"ring3 image {verb} ", self.done(verb, "--help"))
            self.refused(USAGE, f"image {verb} needs FILE", verb)
            self.refused(USAGE, "there is no option '--nosuch'", verb, "--nosuch", "x")
            self.refused(USAGE, "unexpected argument 'd'", verb, *"abc"[:most(verb)], "d")

    def test_operands(self):
        self.refused(USAGE, "unexpected argument 'c'", "info", "a", "c")
        self.refused(USAGE, "a name is empty", "info", "")
        self.refused(USAGE, "needs FILE SIZE", "create", self.path("x"))
        self.refused(USAGE, "is not a possible size", "create", "--format", "raw",
                     self.path("x"), "10Q")
        self.refused(USAGE, "is not a possible size", "create", "--format", "raw",
                     self.path("x"), "9999999T")
        self.refused(USAGE, "there is no image format 'vmdk'; there are: raw", "create",
                     "--format", "vmdk", self.path("x"), "1M")
        self.refused(USAGE, "--format needs a value", "info", "--format")
        self.refused(USAGE, "not one of leaks|all", "check", "--repair", "some", "x")
        self.refused(USAGE, "--backing-format without --backing", "rebase", "--backing-format",
                     "raw", "x")
        self.refused(USAGE, "needs FILE, or FILE create|apply|delete", "snapshot", "x", "make",
                     "y")
        self.assertFalse(os.path.exists(self.path("x")))

    def test_files(self):
        self.refused(CANNOT_START, "No such file", "info", self.path("none"))
        self.refused(CANNOT_START, "a directory", "info", self.dir)
        self.refused(CANNOT_START, "character device", "info", "/dev/zero")
        self.refused(CANNOT_START, "knows no such protocol", "info", "gopher://x/y")
        self.refused(CANNOT_START, "is raw, which has no", "check", self.raw("a", MIB))
        self.refused(CANNOT_START, "is raw, which has no", "snapshot", self.path("a"))
        self.refused(CANNOT_START, "never guessed for writing", "resize", self.path("a"), "2M")
        self.refused(CANNOT_START, "File exists", "create", "--format", "raw", self.path("a"),
                     "1M")
        self.refused(USAGE, "into itself", "convert", self.path("a"), self.path("a"))

    def test_bad_options(self):
        self.refused(USAGE, "no key 'preallocat'; did you mean 'preallocate'?", "create",
                     "--format", "raw", "--options", "preallocat=full", self.path("x"), "1M")
        self.assertFalse(os.path.exists(self.path("x")))


class Raw(ImageTest):
    def test_create(self):
        self.assertEqual(self.done("create", "--format", "raw", self.path("a"), "3M"), "")
        self.assertEqual(os.stat(self.path("a")).st_size, 3 * MIB)
        self.assertLess(os.stat(self.path("a")).st_blocks, 64)
        for how in ("falloc", "full"):
            self.done("create", "--format", "raw", "--force", "--options", f"preallocate={how}",
                      self.path("a"), "3M")
            self.assertGreaterEqual(os.stat(self.path("a")).st_blocks * 512, 3 * MIB)

    def test_full_disk(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
        self.refused(HOST_FAILED, "No space left", "create", "--format", "raw", self.path("a"),
                     "3M", preexec_fn=limit)
        self.assertFalse(os.path.exists(self.path("a")))
        self.raw("b", 2 * MIB, (0, b"b" * 2 * MIB))
        self.refused(HOST_FAILED, "No space left", "convert", "--output-format", "raw",
                     self.path("b"), self.path("a"), preexec_fn=limit)
        self.assertFalse(os.path.exists(self.path("a")))

    def test_info(self):
        name = self.raw("a", 3 * MIB)
        self.assertIn("raw, 3 MiB (3145728 bytes)", self.done("info", name))
        info = json.loads(self.done("info", "--json", name))
        self.assertEqual((info["format"], info["bytes"], info["name"]), ("raw", 3 * MIB, name))

    def test_resize(self):
        name = self.raw("a", MIB, (0, b"x" * 4096))
        self.done("resize", "--format", "raw", name, "+1M")
        self.assertEqual(os.stat(name).st_size, 2 * MIB)
        self.refused(USAGE, "give --shrink", "resize", "--format", "raw", name, "-1M")
        self.refused(USAGE, "not a possible size", "resize", "--format", "raw", name, "-3M")
        self.assertEqual(os.stat(name).st_size, 2 * MIB)
        self.done("resize", "--format", "raw", "--shrink", name, "-1M")
        self.assertEqual(os.stat(name).st_size, MIB)

    def test_map(self):
        name = self.raw("a", 4 * MIB, (MIB, b"x" * 65536))
        extents = json.loads(self.done("map", "--json", name))
        self.assertEqual([(e["start"], e["bytes"], e["data"]) for e in extents],
                         [(0, MIB, False), (MIB, 65536, True),
                          (MIB + 65536, 3 * MIB - 65536, False)])
        self.assertRegex(self.done("map", name), r"(?m)^ +0x100000 +0x10000 +0  0x100000$")

    def test_convert_and_compare(self):
        name = self.raw("a", 4 * MIB + 1000, (MIB, os.urandom(70000)), (4 * MIB + 999, b"e"))
        self.done("convert", "--output-format", "raw", name, self.path("b"))
        with open(name, "rb") as a, open(self.path("b"), "rb") as b:
            self.assertEqual(a.read(), b.read())
        self.assertLess(os.stat(self.path("b")).st_blocks * 512, MIB)
        self.assertIn("the same", self.done("compare", name, self.path("b")))
        with open(self.path("b"), "r+b") as f:
            f.seek(2 * MIB + 5)
            f.write(b"!")
        self.assertIn(f"differ at offset {2 * MIB + 5}\n",
                      self.done("compare", name, self.path("b"), status=DIFFERS))
        longer = self.raw("c", MIB)
        longest = self.raw("d", 2 * MIB)
        self.assertIn("zeroes at the end", self.done("compare", longer, longest))
        self.assertIn("differ in size", self.done("compare", "--strict", longer, longest,
                                                  status=DIFFERS))


class Locks(ImageTest):
    def test_force(self):
        """A file that is in the way stays as it was unless the new image is whole."""
        name, other = self.raw("a", MIB), self.raw("b", MIB)
        with open(name, "r+b") as f:
            f.write(b"precious")
        os.chmod(name, 0o640)
        before = set(os.listdir(os.path.dirname(name)))
        self.refused(CANNOT_START, "exist", "create", name, "2M")
        self.refused(USAGE, "there is no key", "create", "--force", "--options", "clutser-size=4K",
                     name, "2M")
        self.refused(CANNOT_START, "being written", "create", "--force", "--backing", name,
                     "--backing-format", "raw", name)
        self.refused(CANNOT_START, "in use", "convert", "--force", "--format", "raw", name,
                     os.path.join(os.path.dirname(name), ".", os.path.basename(name)))
        self.refused(USAGE, "there is no image format", "convert", "--force", "--format", "raw",
                     "--output-format", "vdi", other, name)
        with open(name, "rb") as f:
            self.assertEqual(f.read(8), b"precious")
        self.assertEqual(set(os.listdir(os.path.dirname(name))), before)
        self.done("convert", "--force", "--format", "raw", other, name)
        self.assertIn("qcow2", self.done("info", name))
        self.assertEqual(os.stat(name).st_mode & 0o777, 0o640)
        self.assertEqual(set(os.listdir(os.path.dirname(name))), before)

    def test_busy(self):
        """Who writes holds bytes 101, 103 (does) and 201, 203 (bears nobody who does)."""
        name = self.raw("a", MIB)
        with open(name, "r+b") as f:
            for byte in (101, 201):
                lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, byte, 1, 0)
                fcntl.fcntl(f, 37, lock)        # F_OFD_SETLK
            self.refused(CANNOT_START, "being written by another", "info", name)
            self.refused(CANNOT_START, "being written by another", "resize", "--format", "raw",
                         name, "2M")
            self.refused(CANNOT_START, "being written by another", "create", "--force",
                         "--format", "raw", name, "2M")
            self.assertEqual(os.stat(name).st_size, MIB)
            self.assertIn("raw", self.done("info", "--shared", name))

    @unittest.skipUnless(shutil.which("qemu-io"), "no qemu-io (qemu-utils)")
    def test_qemu(self):
        name = self.raw("a", MIB)
        with subprocess.Popen(["qemu-io", "-f", "raw", name], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as qemu:
            qemu.stdin.write(b"write 0 512\n")
            qemu.stdin.flush()
            self.assertIn(b"wrote", qemu.stdout.readline())
            self.refused(CANNOT_START, "being written by another", "info", name)
            qemu.stdin.close()
        self.assertIn("raw", self.done("info", name))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
