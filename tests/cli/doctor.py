#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""doctor.py RING3 - `ring3 doctor` on this host, and on hosts that lack things.

The JSON keys are a promise to scripts; a host without /dev/kvm, or with one we
may not open, is made with a mount namespace and another user where we are root.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

RING3 = os.path.abspath(sys.argv[1])
STATUSES = {"absent", "forbidden", "slow", "good"}
FINDINGS = {"kvm", "tun", "io_uring", "user_namespaces", "memfd", "executable_memory"}
NOBODY = 65534


def doctor(*args, **kw):
    return subprocess.run([RING3, "doctor", *args], stdin=subprocess.DEVNULL,
                          stdout=kw.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE,
                          timeout=50, **kw)


class Doctor(unittest.TestCase):
    def report(self, result):
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, b"")
        return json.loads(result.stdout)

    def test_json_keys(self):
        r = self.report(doctor("--json"))
        self.assertEqual(set(r), {"version", "ring3", "engines", "auto", "memory", "cpu"} | FINDINGS)
        self.assertEqual(r["version"], 1)
        for name in FINDINGS:
            self.assertIn(r[name]["status"], STATUSES)
            self.assertTrue(r[name]["detail"])
        self.assertIn("sysctl", r["io_uring"])
        engines = {e["name"]: e for e in r["engines"]}
        self.assertLessEqual({"kvm", "dbt", "interp"}, set(engines))
        for e in engines.values():
            self.assertEqual(set(e), {"name", "status", "reason", "insn_per_us", "exit_us"})
            self.assertIn(e["status"], STATUSES)
        self.assertEqual(set(r["auto"]), {"engine", "why"})
        self.assertEqual(engines[r["auto"]["engine"]]["status"], "good")
        self.assertTrue(r["auto"]["why"])
        self.assertGreaterEqual(r["memory"]["total_bytes"], r["memory"]["available_bytes"])
        self.assertGreater(r["memory"]["available_bytes"], 0)
        self.assertEqual(set(r["cpu"]), {"vendor", "model", "count", "features"})
        self.assertIn("invariant_tsc", r["cpu"]["features"])

    def test_table_says_the_same(self):
        r = self.report(doctor("--json"))
        text = doctor().stdout.decode()
        for e in r["engines"]:
            line = next(x for x in text.splitlines() if x.split()[:1] == [e["name"]])
            self.assertEqual(line.split()[1], e["status"])
        self.assertIn("auto takes", text)
        self.assertIn("/dev/net/tun", text)

    def test_a_measured_kvm_has_its_figure(self):
        kvm = next(e for e in self.report(doctor("--json"))["engines"] if e["name"] == "kvm")
        if kvm["status"] not in ("slow", "good"):
            self.skipTest(kvm["reason"])
        self.assertGreater(kvm["insn_per_us"], 0)
        self.assertGreater(kvm["exit_us"], 0)
        self.assertIn("per microsecond", kvm["reason"])

    def test_output_that_fails(self):
        with open("/dev/full", "wb") as full:
            r = doctor(stdout=full)
        self.assertEqual(r.returncode, 68)
        self.assertEqual(r.stderr.count(b"\n"), 1)

    def test_wrong_option(self):
        r = doctor("--jsno")
        self.assertEqual(r.returncode, 64)
        self.assertIn(b"--json", r.stderr)

    @unittest.skipIf(os.getuid() != 0, "needs root to become somebody else")
    def test_not_permitted(self):
        with tempfile.TemporaryDirectory() as d:
            os.chmod(d, 0o755)
            program = shutil.copy(RING3, d)
            os.chmod(program, 0o755)
            kw = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            probe = subprocess.run(["test", "-w", "/dev/kvm"], **kw)
            if not os.path.exists("/dev/kvm") or probe.returncode == 0:
                self.skipTest("no /dev/kvm that nobody may not open")
            r = self.report(subprocess.run([program, "doctor", "--json"], capture_output=True,
                                           timeout=50, **kw))
            self.assertEqual(r["kvm"]["status"], "forbidden")
            self.assertIn("group kvm", r["kvm"]["detail"])
            run = subprocess.run([program, "run", "--engine", "kvm", "--kernel", "/dev/null"],
                                 capture_output=True, timeout=50, **kw)
            self.assertEqual(run.returncode, 66)
            self.assertEqual(run.stderr.count(b"\n"), 1)

    @unittest.skipIf(os.getuid() != 0, "needs root for a mount namespace")
    def test_nothing_there(self):
        command = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh",
                   RING3, "doctor", "--json"]
        r = subprocess.run(command, capture_output=True, timeout=50)
        if b"unshare:" in r.stderr or b"mount:" in r.stderr:
            self.skipTest("no mount namespaces here")
        report = self.report(r)
        self.assertEqual(report["kvm"]["status"], "absent")
        self.assertEqual(report["tun"]["status"], "absent")
        self.assertNotEqual(report["auto"]["engine"], "kvm")


if __name__ == "__main__":
    if b"not built in" in doctor("--json").stderr:
        print("SKIP: doctor --json is not built in (libjansson)")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
