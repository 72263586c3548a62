#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""hosts.py RING3 - hosts that forbid or lack what the translator likes to have.

Each host is made here: a limit, a system call filter, a setting of a namespace.
Whatever is missing, `auto` finds an engine that runs the guest, with at most one
line on stderr, and an engine that was asked for by name either runs or says in
one line why not.
"""
import ctypes
import os
import re
import resource
import struct
import subprocess
import sys
import tempfile
import unittest

import guests

RING3 = os.path.abspath(sys.argv[1])
OK, USAGE, CANNOT_START = 0, 64, 66
NOBODY = 65534
HELLO = guests.image(guests.text("hello\n"), guests.power_off())

# seccomp, as in <linux/seccomp.h> and <linux/filter.h>
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 22, 38, 65
LOAD, JUMP_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, DENY = 0x7FFF0000, 0x00050000
EPERM, EACCES = 1, 13
NR_MMAP = 9
# What Docker's default profile answers with EPERM and a VMM might be tempted to use.
CONTAINER_FORBIDS = [323, 298, 321, 425, 426, 427, 101, 310, 311, 155, 165, 166, 246, 250, 272]


def statement(code, k, if_true=0, if_false=0):
    return struct.pack("HBBI", code, if_true, if_false, k)


def no_shared_code():
    """mmap(PROT_EXEC, MAP_SHARED) fails; program and libraries are mapped privately."""
    return b"".join([statement(LOAD, 0), statement(JUMP_EQUAL, NR_MMAP, 0, 5),
                     statement(LOAD, 16 + 8 * 2), statement(JUMP_SET, 4, 0, 3),
                     statement(LOAD, 16 + 8 * 3), statement(JUMP_SET, 1, 0, 1),
                     statement(RETURN, DENY | EACCES), statement(RETURN, ALLOW)])


def forbid(numbers):
    tests = [statement(JUMP_EQUAL, n, len(numbers) - i, 0) for i, n in enumerate(numbers)]
    return b"".join([statement(LOAD, 0), *tests, statement(RETURN, ALLOW),
                     statement(RETURN, DENY | EPERM)])


def prctl(*args):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(*args) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def install(program):
    code = ctypes.create_string_buffer(program)
    fprog = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(PR_SET_SECCOMP, 2, fprog, 0, 0)


def ring3(*args, **kw):
    return subprocess.run([RING3, *args], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60, **kw)


class Hosts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory(prefix="ring3-hosts-")
        os.chmod(cls.dir.name, 0o755)
        cls.kernel = os.path.join(cls.dir.name, "hello")
        with open(cls.kernel, "wb") as f:
            f.write(HELLO)

    @classmethod
    def tearDownClass(cls):
        cls.dir.cleanup()

    def auto_works(self, result, *words):
        """The words are about what comes after KVM."""
        if re.search(r"(?m)^  kvm +good", ring3("doctor").stdout.decode()):
            words = ()
        self.works(result, *words)

    def run_hello(self, *args, **kw):
        return ring3("run", "--kernel", self.kernel, "--memory", "64M", *args, **kw)

    def works(self, result, *words):
        err = result.stderr.decode()
        self.assertEqual((result.returncode, result.stdout), (OK, b"hello\n"), err)
        self.assertLessEqual(err.count("\n"), 1, err)
        for word in words:
            self.assertIn(word, err)

    def refused(self, result, *words):
        err = result.stderr.decode()
        self.assertEqual((result.returncode, result.stdout), (CANNOT_START, b""), err)
        self.assertRegex(err, r"\Aring3: [^\n]+\n\Z")
        for word in words:
            self.assertIn(word, err)

    def test_no_executable_memory(self):
        kw = {"preexec_fn": lambda: install(no_shared_code())}
        self.auto_works(self.run_hello(**kw), "using interp, because dbt", "forbids executable memory")
        self.works(self.run_hello("--engine", "interp", **kw))
        self.refused(self.run_hello("--engine", "dbt", **kw), "executable memory")
        doctor = ring3("doctor", **kw).stdout.decode()
        self.assertRegex(doctor, r"(?m)^  dbt +forbidden +this host forbids executable memory")
        self.assertRegex(doctor, r"(?m)^  executable memory +forbidden")

    def test_little_address_space(self):
        limit = 2 << 30
        kw = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))}
        self.auto_works(self.run_hello(**kw), "using interp, because dbt", "ulimit -v")
        self.refused(self.run_hello("--engine", "dbt", **kw), "ulimit -v")
        self.assertRegex(ring3("doctor", **kw).stdout.decode(),
                         r"(?m)^  dbt +forbidden +cannot reserve")

    def test_limit_that_only_the_vm_meets(self):
        """One processor's tables fit, those of sixteen do not."""
        limit = 5 << 40
        kw = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))}
        self.works(self.run_hello(**kw))
        self.auto_works(self.run_hello("--cpus", "16", **kw), "using interp, because dbt")

    def test_memory_deny_write_execute(self):
        def deny():
            prctl(PR_SET_MDWE, 1, 0, 0, 0)
        try:
            result = self.run_hello("--engine", "dbt", preexec_fn=deny)
        except subprocess.SubprocessError:
            self.skipTest("this kernel has no PR_SET_MDWE")
        self.works(result)

    def test_container_profile(self):
        """As an ordinary user, too, where we can become one."""
        kw = {"preexec_fn": lambda: install(forbid(CONTAINER_FORBIDS))}
        if os.getuid() == 0:
            kw.update(user=NOBODY, group=NOBODY, extra_groups=[])
        program = os.path.join(self.dir.name, "ring3")
        with open(RING3, "rb") as source, open(program, "wb") as copy:
            copy.write(source.read())
        os.chmod(program, 0o755)
        for engine in "auto", "dbt", "interp":
            result = subprocess.run([program, "run", "--kernel", self.kernel, "--memory", "64M",
                                     "--engine", engine], stdin=subprocess.DEVNULL,
                                    capture_output=True, timeout=60, **kw)
            self.works(result)

    def test_lacking_features(self):
        for lacking in "-bmi2", "-fsgsbase", "-avx512", "-avx", "-xsave", "-bmi2,-xsave,-fsgsbase":
            self.works(self.run_hello("--engine", "dbt", f"--host-features={lacking}"))
        for wrong, word in ("+bmi2", "only be taken away"), ("-bmi3", "did you mean 'bmi1'"):
            result = self.run_hello(f"--host-features={wrong}")
            self.assertEqual(result.returncode, USAGE)
            self.assertRegex(result.stderr.decode(), r"\Aring3: [^\n]+\n\Z")
            self.assertIn(word, result.stderr.decode())

    @unittest.skipIf(os.getuid() != 0, "needs root for a namespace")
    def test_no_executable_memfd(self):
        setting = "/proc/sys/vm/memfd_noexec"
        for value in "1", "2":
            result = subprocess.run(
                ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c",
                 f'echo {value} >{setting} || exit 77; exec "$@"', "sh", RING3, "run", "--engine",
                 "dbt", "--kernel", self.kernel, "--memory", "64M"], stdin=subprocess.DEVNULL,
                capture_output=True, timeout=60)
            if result.returncode == 77 or b"unshare:" in result.stderr:
                self.skipTest("no PID namespace, or no vm.memfd_noexec")
            self.works(result)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
