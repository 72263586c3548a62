#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""control.py - machines with names, and those who talk to them.

    control.py RING3

The guest is three bytes that wait for interrupts which never come.
"""
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

RING3 = sys.argv[1]
USAGE, CANNOT_START, STOPPED = 64, 66, 86


def ring3(*args, text=None):
    return subprocess.run([RING3, *args], input=text, capture_output=True, timeout=60, text=True)


class Control(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="r3c")
        os.environ["XDG_RUNTIME_DIR"] = self.dir
        self.place = os.path.join(self.dir, "ring3")
        self.image = os.path.join(self.dir, "spin.bin")
        with open(self.image, "wb") as f:
            f.write(b"\xf4\xeb\xfd")
        self.vms = []

    def tearDown(self):
        for vm in self.vms:
            if vm.poll() is None:
                vm.kill()
            vm.communicate()
        shutil.rmtree(self.dir)

    def command(self, *options):
        return [RING3, "run", "--machine", "simple", "--engine", "interp", "--memory", "2M",
                "--load", self.image + "@0", "--serial", "none", *options]

    def start(self, name="one", *options):
        vm = subprocess.Popen(self.command("--name", name, *options), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.vms.append(vm)
        deadline = time.monotonic() + 30
        while f"{name} " not in ring3("list").stdout:
            self.assertIsNone(vm.poll(), vm.poll() is not None and vm.stderr.read())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        return vm

    def connect(self, name="one"):
        s = socket.socket(socket.AF_UNIX)
        s.connect(os.path.join(self.place, name + ".sock"))
        s.settimeout(30)
        return s

    def lines(self, s):
        return s.makefile("r", encoding="utf-8")

    def alive(self):
        result = ring3("monitor", "one", "info", "input")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("keyboard:", result.stdout)

    # ---- the verbs ----

    def test_verbs(self):
        vm = self.start()
        self.assertEqual(ring3("list").stdout, f"{'one':20} process {vm.pid}\n")
        self.assertIn("devices", ring3("monitor", "one", "help").stdout)
        self.assertIn("paused", ring3("monitor", "one", "pause").stdout)
        self.assertIn("paused", ring3("monitor", "one", "info engine").stdout)
        self.assertIn("running", ring3("monitor", "one", "continue").stdout)
        self.assertEqual(ring3("keys", "one", "root<ret> -x").returncode, 0)
        result = ring3("monitor", "one", text="info input\nxp/1xb 0\nnonsense\n")
        self.assertIn("keyboard:", result.stdout)
        self.assertIn("0xf4", result.stdout)
        self.assertIn("there is no command 'nonsense'", result.stdout)
        self.assertEqual(ring3("stop", "one").returncode, 0)
        self.assertEqual(vm.wait(10), STOPPED)
        self.assertEqual(os.listdir(self.place), [])
        self.assertEqual(ring3("list").stdout, "")

    def test_refusals(self):
        self.start()
        for args, status, text in (
                (["keys", "one", "<entre>"], USAGE, "did you mean 'enter'"),
                (["keys", "one"], USAGE, "VM TEXT"),
                (["keys", "two", "a"], CANNOT_START, "there is no running machine 'two'"),
                (["stop", "../one"], USAGE, "cannot be a machine's name"),
                (["monitor", "one", "infos"], USAGE, "did you mean 'info'"),
                (["screenshot", "one"], USAGE, "VM FILE")):
            result = ring3(*args)
            self.assertEqual(result.returncode, status, args)
            self.assertIn(text, result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.alive()

    def test_names(self):
        one = self.start()
        result = subprocess.run(self.command("--name", "one"), capture_output=True, text=True)
        self.assertEqual(result.returncode, CANNOT_START)
        self.assertIn(f"a machine called 'one' is running (process {one.pid})", result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1)
        result = subprocess.run(self.command("--name", "a/b"), capture_output=True, text=True)
        self.assertEqual(result.returncode, USAGE)
        self.start("two")
        self.assertEqual(len(ring3("list").stdout.splitlines()), 2)
        self.assertEqual(stat.S_IMODE(os.stat(self.place).st_mode), 0o700)

    def test_killed(self):
        vm = self.start()
        vm.kill()
        vm.wait()
        self.assertIn("one.sock", os.listdir(self.place))
        self.assertEqual(ring3("list").stdout, "")
        self.start()
        self.alive()

    def test_default_name(self):
        vm = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL)
        self.vms.append(vm)
        deadline = time.monotonic() + 30
        while f"vm-{vm.pid} " not in ring3("list").stdout:
            self.assertLess(time.monotonic(), deadline)
        vm.send_signal(signal.SIGTERM)
        vm.wait(10)

    def test_open_directory(self):
        """One that others may enter is not used."""
        os.mkdir(self.place)
        os.chmod(self.place, 0o755)
        result = subprocess.run(self.command("--name", "one"), capture_output=True, text=True)
        self.assertEqual(result.returncode, CANNOT_START)
        self.assertIn("only you can enter", result.stderr)

    # ---- hostile clients ----

    def test_protocol(self):
        self.start()
        s = self.connect()
        lines = self.lines(s)
        hello = json.loads(lines.readline())
        self.assertEqual((hello["protocol"], hello["name"]), (1, "one"))
        for request, ok in (({"id": 7, "command": "info input"}, True),
                            ({"id": "x", "words": ["keys", "a b"]}, True),
                            ({"id": [1], "words": ["keys", "a<b"]}, False),
                            ({"id": None, "words": []}, False),
                            ({"id": 1, "words": [3]}, False),
                            ({"id": 1, "words": ["help"] * 17}, False),
                            ({"id": 2}, False),
                            ({"id": 2, "words": ["help"], "command": "help"}, False),
                            ({"id": 2, "command": 5}, False)):
            s.sendall(json.dumps(request).encode() + b"\n")
            reply = json.loads(lines.readline())
            self.assertEqual((reply["id"], reply["ok"]), (request.get("id"), ok), reply)
        # Many at once are answered in order.
        s.sendall(b"".join(b'{"id":%d,"command":"info input"}\n' % i for i in range(500)))
        self.assertEqual([json.loads(lines.readline())["id"] for i in range(500)],
                         list(range(500)))
        s.close()

    def test_rubbish(self):
        self.start()
        for data in (b"\0" * 1000 + b"\n", os.urandom(5000) + b"\n", b"\n" * 1000, b"[1]\n",
                     b'{"id":' + b"[" * 30000 + b"\n", b'{"command":"\\ud800"}\n', b"{}\n"):
            s = self.connect()
            s.sendall(data)
            self.lines(s).readline()
            s.close()
        self.alive()

    def test_endless_line(self):
        self.start()
        s = self.connect()
        try:
            for _ in range(1000):
                s.sendall(b"x" * 10000)
        except OSError:
            pass                         # it hung up
        s.close()
        self.alive()

    def test_who_never_reads(self):
        vm = self.start()
        s = self.connect()
        s.setblocking(False)
        try:
            while True:
                s.send(b'{"id":1,"command":"help"}\n' * 100)
        except BlockingIOError:
            pass
        self.alive()
        with open(f"/proc/{vm.pid}/statm") as f:
            self.assertLess(int(f.read().split()[1]) * 4096, 100 << 20)
        s.close()
        self.alive()

    def test_many(self):
        """Who comes last is served; who has been silent longest makes way."""
        self.start()
        crowd = [self.connect() for _ in range(60)]
        self.alive()
        lines = self.lines(crowd[-1])
        self.assertIn("protocol", lines.readline())
        crowd[-1].sendall(b'{"id":5,"command":"info input"}\n')
        self.assertTrue(json.loads(lines.readline())["ok"])
        for s in crowd:
            s.close()
        for _ in range(300):
            self.connect().close()
        self.alive()


if __name__ == "__main__":
    if "without jansson" in ring3("list").stderr:
        print("SKIP: ring3 was built without jansson")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
