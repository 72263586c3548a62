#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks bench/engines without timing anything.

    engines.py SOURCE_ROOT            what the parser, the report and the chart make of known output
    engines.py SOURCE_ROOT BUILD_DIR  runs one tiny program natively and on each of our engines

Exits 77 where the programs cannot be built.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ROOT = os.path.abspath(sys.argv[1])
sys.path.insert(0, os.path.join(ROOT, "bench/engines"))
import chart  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402

GUEST_OUTPUT = [
    (1.0, "USERSPACE-UP"), (1.1, "CLOCKSOURCE tsc"),
    (2.0, "BEGIN fib"), (3.0, "RESULT fib 900000000 1000 abc 999 1000000000"), (3.0, "END fib"),
    (3.1, "BEGIN shell"), (3.5, "RESULT shell 400000000 1 0 990 400000000"), (3.5, "END shell"),
    (3.6, "BEGIN x87"), (3.7, "SKIP x87"), (3.7, "END x87"),
    (3.8, "[    3.8] a word of the kernel's"), (4.0, "SUITE-DONE"),
]


def followed():
    """Records of GUEST_OUTPUT in a VM whose vCPU has half a CPU."""
    now = [0.0]
    suite = measure.Suite("dbt", 0, 50, lambda: now[0] / 2, lambda: now[0] / 2)
    for t, line in GUEST_OUTPUT:
        now[0] = t
        suite.line(line, t)
    return suite


def sample(engine, ns, check="abc", name="fib", **more):
    return {"engine": engine, "round": 0, "name": name, "status": "RESULT", "scale": 100, "ns": ns,
            "units": 100, "check": check, "share": 1.0, "elapsed_ns": 10 ** 9, "wall": 1.0, **more}


class Parser(unittest.TestCase):
    def setUp(self):
        self.suite = followed()
        self.by_name = {r["name"]: r for r in self.suite.records}

    def test_boot_is_corrected_for_its_share(self):
        self.assertEqual(self.by_name["boot"]["wall"], 1.0)
        self.assertEqual(self.by_name["boot"]["share"], 0.5)
        self.assertEqual(report.Results(self.suite.records).boot("dbt"), 0.5)

    def test_a_program(self):
        r = self.by_name["fib"]
        self.assertEqual((r["ns"], r["units"], r["check"]), (900000000, 1000, "abc"))
        self.assertAlmostEqual(r["share"], 0.5)
        self.assertAlmostEqual(r["wall"], 1.0)

    def test_the_shell_counts_in_rounds(self):
        self.assertEqual(self.by_name["shell"]["units"], measure.SHELL_ROUNDS // 2)

    def test_what_was_skipped_is_said(self):
        self.assertEqual(self.by_name["x87"]["status"], "SKIP")
        self.assertTrue(self.suite.done)
        self.assertIn("x87 in dbt: SKIP", report.Results(self.suite.records).troubles)


class Report(unittest.TestCase):
    def results(self, dbt=180, **more):
        return report.Results([sample("native", 100), sample("native", 90), sample("native", 400),
                               sample("dbt", dbt, **more), sample("qemu", 700)])

    def test_slowdown_is_of_medians(self):
        self.assertAlmostEqual(self.results().slowdown("fib", "dbt"), 1.8)

    def test_verdicts(self):
        met = {row[0]: row[-1] for row in report.verdicts(self.results())}
        self.assertTrue(met["integer code, mean"])
        self.assertTrue(met["integer code"])
        missed = {row[0]: row[-1] for row in report.verdicts(self.results(dbt=181))}
        self.assertFalse(missed["integer code, mean"])
        self.assertTrue(missed["slower than TCG"])
        slow = {row[0]: row[-1] for row in report.verdicts(self.results(dbt=701))}
        self.assertFalse(slow["slower than TCG"])

    def test_wrong_checksums_and_clocks_are_troubles(self):
        self.assertEqual(self.results().troubles, [])
        self.assertIn("checksums", self.results(check="abd").troubles[0])
        self.assertIn("clock", self.results(elapsed_ns=9 * 10 ** 8).troubles[0])

    def test_every_program_has_a_required_figure(self):
        listed = {n for _, names, _, _ in report.GROUPS for n in names.split()}
        with open(os.path.join(ROOT, "bench/engines/src/main.c"), encoding="utf-8") as f:
            built = {line.split('"')[1] for line in f if line.startswith('    {"')}
        self.assertEqual(listed, built | {"shell"})

    def test_tables(self):
        res = self.results()
        self.assertIn("1.80", report.text(res))
        rows = [r for r in report.markdown(res).splitlines() if r.startswith("|")]
        self.assertEqual([report.number(x) for x in (0.0123, 0.96, 3, 1234.5)],
                         ["0.012", "0.96", "3", "1234"])
        self.assertIn("| fib | 1.00 | 0.90–4.00 | 1.80 | 7.00 | 3 |", rows)

    def test_chart_is_xml_with_a_mark_per_figure(self):
        tree = xml.etree.ElementTree.fromstring(chart.svg(self.results()))
        titles = [t.text for t in tree.iter("{http://www.w3.org/2000/svg}title")]
        self.assertIn("fib, dbt: 1.80", titles)
        self.assertIn("fib, qemu: 7.00", titles)


def run_tiny(build):
    if not all(os.path.exists(p) for p in (f"{measure.GUEST}/vmlinuz", f"{measure.GUEST}/busybox")):
        print("there is no Linux guest: tools/fetch-guest makes it")
        return 77
    probe = subprocess.run(["gcc", "-static", "-x", "c", "-", "-lsqlite3", "-lz", "-lm", "-o",
                            "/dev/null"], input=b"int main(void) { return 0; }",
                           capture_output=True)
    if probe.returncode or not shutil.which("cpio"):
        print("the programs cannot be built: tools/setup bench guest")
        return 77
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([os.path.join(ROOT, "bench/engines/run"), "--build", build, "--rounds", "1",
                        "--engines", "native,interp,dbt", "--programs", "fib,vec-sse2,shell",
                        "--scale", "1", "--json", f"{tmp}/json", "--svg", f"{tmp}/svg"],
                       check=True)
        with open(f"{tmp}/json") as f:
            records = [json.loads(line) for line in f]
    done = {(r["engine"], r["name"]) for r in records if r.get("status") == "RESULT"}
    want = {(e, n) for e in ("native", "interp", "dbt") for n in ("fib", "vec-sse2", "shell")}
    print("missing:", want - done)
    return 0 if want <= done else 1


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(run_tiny(sys.argv[2]))
    unittest.main(argv=sys.argv[:1])
