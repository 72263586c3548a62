#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb.py - the debugger's protocol, by the real gdb and by packets that are wrong.

    gdb.py RING3

The guest starts in long mode at 0 and counts: rax in memory at 0x1000, rbx read from 0x1008.
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

RING3 = sys.argv[1]
CODE = bytes.fromhex("48ffc0" "4889042500100000" "488b1c2508100000" "ebeb")


class Gdb(unittest.TestCase):
    engine = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="r3g")
        os.environ["XDG_RUNTIME_DIR"] = self.dir
        self.path = self.dir + "/gdb"
        self.image(CODE)
        self.vm = None

    def image(self, code):
        with open(self.dir + "/image", "wb") as f:
            f.write(code)

    def tearDown(self):
        if self.vm:
            self.vm.kill()
            self.vm.communicate()
        shutil.rmtree(self.dir)

    def start(self, *options, mode="long"):
        self.vm = subprocess.Popen(
            [RING3, "run", "--machine", "simple", "--engine", self.engine, "--memory", "2M",
             "--load", self.dir + "/image@0", "--start", mode, "--serial", "none",
             "--name", "dbg", "--gdb", self.path, *options],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 30
        while not os.path.exists(self.path):
            self.assertIsNone(self.vm.poll())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def gdb(self, *commands):
        args = ["gdb", "-nx", "-batch", "-ex", "set confirm off", "-ex", "set pagination off",
                "-ex", "set tcp auto-retry off", "-ex", "target remote " + self.path]
        for c in commands:
            args += ["-ex", c]
        result = subprocess.run(args, capture_output=True, text=True, timeout=60,
                                stdin=subprocess.DEVNULL)
        return result.stdout + result.stderr

    def expect(self, text, *patterns):
        at = 0
        for p in patterns:
            found = re.compile(p).search(text, at)
            self.assertTrue(found, f"{p!r} is not in, or out of order:\n{text}")
            at = found.end()

    # ---- the real gdb ----

    def test_breakpoints_and_steps(self):
        self.start()
        text = self.gdb("p $rip", "break *3", "continue", "p $rax", "continue", "p $rax",
                        "x/3xb 3", "delete", "hbreak *11", "stepi", "p $rip", "stepi", "p $rip",
                        "set $rax = 1000", "set {long}0x1008 = 77", "continue", "p $rax", "continue",
                        "p $rbx", "detach")
        self.expect(text, r"\$1 = .*0x0", "Breakpoint 1", r"\$2 = 1\b", r"\$3 = 2\b",
                    "0x48\\s+0x89\\s+0x04", r"\$4 = .*0xb", r"\$5 = .*0x13", r"\$6 = 1001\b",
                    r"\$7 = 77\b")
        monitor = [RING3, "monitor", "dbg", "xp/xg", "0x1000"]
        before = subprocess.run(monitor, capture_output=True, timeout=30).stdout
        time.sleep(0.1)
        self.assertNotEqual(subprocess.run(monitor, capture_output=True, timeout=30).stdout, before)

    def test_watchpoints(self):
        self.start()
        text = self.gdb("watch *(long*)0x1000", "continue", "p $rip", "delete",
                        "rwatch *(long*)0x1008", "continue", "p $rip", "delete",
                        "awatch *(int*)0x1004", "continue", "p $rip", "kill")
        self.expect(text, "Hardware watchpoint", "New value = 1", r"\$1 = .*0xb",
                    "Value = ", r"\$2 = .*0x13", r"\$3 = .*0xb")
        self.assertEqual(self.vm.wait(10), 86)

    def test_registers(self):
        self.start()
        text = self.gdb("p/x $cr0", "p/x $efer", "p/x $cs", "p $mxcsr", "p/x $fctrl",
                        "set $xmm3.v2_int64[1] = 0x1234", "p/x $xmm3.v2_int64[1]",
                        "set $k_gs_base = 0xabc", "p/x $k_gs_base", "set $st0 = 1.5", "p $st0",
                        "info registers eflags", "p/x $ymm3.v4_int64[1]", "kill")
        self.expect(text, r"\$1 = 0x8[0-9a-f]{7}\b", r"\$2 = 0x[15]00", r"\$3 = 0x", r"\$4 = ",
                    r"\$5 = 0x40\b", r"= 0x1234\b", r"= 0xabc\b", r"= 1\.5\b", "eflags",
                    r"= 0x1234\b")

    def test_memory(self):
        self.start()
        text = self.gdb("x/2xb 0", "x/xb 0x40000000", "maintenance packet Qqemu.PhyMemMode:1",
                        "x/2xb 0x1fff00", "x/xb 0x40000000", "monitor info input",
                        "monitor nonsense", "kill")
        self.expect(text, "0x48\\s+0xff", "0x00\\s+0x00")
        self.expect(text, "Cannot access memory", "Cannot access memory", "keyboard:",
                    "there is no command 'nonsense'")

    def test_threads_and_interrupt(self):
        self.start("--cpus", "2")
        text = self.gdb("info threads", "set non-stop off", "thread 2", "p $rip", "thread 1",
                        "stepi", "p $rip", "kill")
        self.expect(text, "vCPU 0", "vCPU 1", r"\$1 = ", r"\$2 = .*0x3")

    def test_triple_fault(self):
        """A VM that has just triple-faulted can be looked at."""
        self.image(b"\x0f\x0b")
        self.start()
        text = self.gdb("continue", "p $rip", "monitor info registers", "kill")
        self.expect(text, "SIGSEGV", r"\$1 = .*0x0", "vCPU 0")

    def test_real_mode(self):
        """A mode switch does not end the conversation: real mode, then protected."""
        self.image(bytes.fromhex("fa 31c0 8ed8 0f20c0 0c01 0f22c0 40 ebfd".replace(" ", "")))
        self.start(mode="real")
        text = self.gdb("p/x $cr0 & 1", "break *0xd", "continue", "p/x $cr0 & 1", "stepi",
                        "p $rip", "kill")
        self.expect(text, r"\$1 = 0x0", "Breakpoint 1", r"\$2 = 0x1", r"\$3 = .*0xe")

    # ---- the monitor's own debugger ----

    def monitor(self, *words):
        result = subprocess.run([RING3, "monitor", "dbg", *words], capture_output=True, text=True,
                                timeout=30)
        return result.stdout + result.stderr

    def until_paused(self):
        deadline = time.monotonic() + 30
        while "paused" not in self.monitor("info engine"):
            self.assertLess(time.monotonic(), deadline)

    def rip(self):
        return re.search(r"0x[0-9a-f]+:", self.monitor("x/i", "$rip")).group(0)

    def test_monitor(self):
        self.start()                             # paused, since it waits for gdb
        self.assertEqual(self.rip(), "0x0000000000000000:")
        self.monitor("step")
        self.until_paused()
        self.assertEqual(self.rip(), "0x0000000000000003:")
        self.monitor("break", "11")
        self.monitor("watch", "0x1000")
        self.expect(self.monitor("info breakpoints"), "execute  0x000000000000000b",
                    "write    0x0000000000001000 8 bytes")
        for expected in (11, 11, 11):
            self.monitor("continue")
            self.until_paused()
            self.assertEqual(int(self.rip()[:-1], 16), expected)
        self.monitor("delete", "1")
        before = self.monitor("xp/dg", "0x1000")
        self.monitor("continue")                 # gets past the place where it stopped
        self.until_paused()
        self.assertEqual(int(self.rip()[:-1], 16), 11)
        self.assertNotEqual(self.monitor("xp/dg", "0x1000"), before)
        self.monitor("delete", "0")
        self.monitor("continue")
        self.expect(self.monitor("step"), "the machine runs")
        self.expect(self.monitor("delete", "0"), "which NUMBER")

    def test_explain(self):
        self.start()
        self.expect(self.monitor("explain", "$rip+0x123"), "GVA 0x123, CR3 0x2000",
                    "PML4E at GPA 0x2000 .*present write user", "PDPTE at GPA 0x3000",
                    "PDE   at GPA 0x4000", "page of 2048 KiB: read, write, execute, for everybody",
                    "GPA 0x123: region '.*' .*offset 0x123", "HVA 0x[0-9a-f]+123")
        self.expect(self.monitor("explain", "0x40000000"), "not present", "not mapped")
        self.expect(self.monitor("explain", "rip"), "is not an address")

    def test_pause_on_triple_fault(self):
        self.image(b"\x90\x0f\x0b")
        self.start("--on-triple-fault", "pause")
        self.monitor("continue")
        self.until_paused()
        self.assertEqual(self.rip(), "0x0000000000000001:")
        self.assertIsNone(self.vm.poll())

    # ---- packets ----

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20)
        s.connect(self.path)
        return s

    def ask(self, s, text):
        s.sendall(b"$%s#%02x" % (text, sum(text) & 0xff))
        reply = b""
        while not re.search(rb"\$[^#]*#..", reply):
            piece = s.recv(65536)
            self.assertTrue(piece)
            reply += piece
        s.sendall(b"+")
        return re.search(rb"\$([^#]*)#..", reply).group(1)

    def test_wrong_packets(self):
        self.start()
        s = self.connect()
        s.sendall(b"$g#00")
        self.assertEqual(s.recv(1), b"-")
        s.sendall(b"$g#zz")
        self.assertEqual(s.recv(1), b"-")
        s.sendall(b"$" + b"x" * 100000 + b"#00")
        self.assertEqual(s.recv(1), b"-")
        s.sendall(b"$m0,1" + b"$m0,1")           # cut, then another
        self.assertEqual(self.ask(s, b"m0,1"), b"48")
        for packet, reply in ((b"", b""), (b"zz", b"E22"), (b"qNothing", b""), (b"m", b"E22"),
                              (b"m0", b"E22"), (b"m0,", b"E22"), (b"m0,fffffffff", b"E22"),
                              (b"mffffffffffffffff0,1", b"E22"), (b"M0,2:4", b"E22"),
                              (b"M0,2:zzzz", b"E22"), (b"G", b"E22"), (b"G00", b"E22"),
                              (b"p999", b"E22"), (b"P0", b"E22"), (b"P0=12", b"E22"),
                              (b"P0=zzzzzzzzzzzzzzzz", b"E22"), (b"Hg99", b"E22"), (b"T7", b"E22"),
                              (b"Z9,0,1", b"E22"), (b"Z0", b"E22"), (b"Z2,0,0", b"E22"),
                              (b"vCont;x", b"E22"), (b"vCont;c:9", b"E22"), (b"vCont", b"E22"),
                              (b"qRcmd,6", b"E22"), (b"qRcmd,zz", b"E22"), (b"c12z", b"E22"),
                              (b"qXfer:features:read:x", b"E00"), (b"m0,1", b"48")):
            self.assertEqual(self.ask(s, packet), reply, packet)
        for i in range(70):
            self.ask(s, b"Z0,%x,1" % (0x100000 + i))
        self.assertEqual(self.ask(s, b"Z0,1,1"), b"E28")
        s.sendall(os.urandom(20000).replace(b"k", b"").replace(b"v", b"").replace(b"D", b""))
        s.close()
        self.expect(self.gdb("p $rsp", "kill"), r"\$1 = ")

    def test_who_never_reads(self):
        self.start()
        s = self.connect()
        s.setblocking(False)
        try:
            for _ in range(100000):
                s.send(b"$g#67" * 50)
        except (BlockingIOError, ConnectionError):
            pass
        result = subprocess.run([RING3, "monitor", "dbg", "info", "input"], capture_output=True,
                                timeout=30)
        self.assertEqual(result.returncode, 0)
        s.close()

    def test_places(self):
        for where, status in (("1234", 64), (":", 64), ("/nonexistent/x", 66), (":99999999", 64)):
            result = subprocess.run([RING3, "run", "--machine", "simple", "--engine", self.engine,
                                     "--load", self.dir + "/image@0", "--gdb", where], capture_output=True,
                                    text=True, timeout=30)
            self.assertIn(result.returncode, (64, 66), where)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)


if __name__ == "__main__":
    if not shutil.which("gdb"):
        print("SKIP: gdb is not installed")
        sys.exit(77)
    Gdb.engine = sys.argv[2]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
