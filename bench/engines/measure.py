# SPDX-License-Identifier: GPL-2.0-or-later
"""measure.py - runs the benchmark programs in one place and records what they say.

A place is this machine itself ("native") or a VM of some engine. Everything that is recorded is
a dict with "engine", "round" and "name"; a program adds its figures (see `Suite.close`), "boot"
and "clocksource" theirs, and "died" says that a VM did not come to its end.

The machine may be busy with other things, so every measurement carries the share of a CPU that
it got: what the program itself found by getrusage natively, and the run time of the busiest
thread of a monitor, which is its vCPU, by the host's clock.
"""
import os
import select
import signal
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GUEST = os.path.join(ROOT, ".cache/guest")
TICK = os.sysconf("SC_CLK_TCK")
# Nominal rounds of the shell script: its own output carries no unit.
SHELL_ROUNDS = 200


def ring3(build, engine):
    return [os.path.join(ROOT, build, "src/cli/ring3"), "run", "--engine", engine,
            "--memory", "1G", "--no-reboot"]


def qemu():
    return ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024",
            "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]


def guest_options(dash, initrd, scale, programs):
    append = f"console=ttyS0 quiet BENCH_SCALE={scale} BENCH_LIST={','.join(programs)}"
    return [f"{dash}kernel", f"{GUEST}/vmlinuz", f"{dash}initrd", initrd,
            f"{dash}append", append]


def process_seconds(pid):
    """CPU time of a process, all threads."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK
    except OSError:
        return 0.0


def vcpu_seconds(pid):
    """CPU time of the busiest thread."""
    best = 0.0
    try:
        for t in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{t}/schedstat") as f:
                best = max(best, int(f.read().split()[0]) / 1e9)
    except OSError:
        pass
    return best


class Suite:
    """Follows the output of the programs: lines in, records out."""

    def __init__(self, engine, rnd, scale, vcpu_clock=None, process_clock=None):
        self.base = {"engine": engine, "round": rnd}
        self.scale = scale
        self.vcpu_clock = vcpu_clock
        self.process_clock = process_clock
        self.records = []
        self.done = False
        self.begin = self.result = None

    def add(self, **record):
        self.records.append({**self.base, **record})

    def line(self, text, now):
        """`now`: seconds since the place was started, on the host's clock."""
        word = text.split()
        if not word:
            return
        if word[0].endswith("USERSPACE-UP"):
            cpu = self.process_clock() if self.process_clock else now
            self.add(name="boot", wall=now, share=min(1.0, cpu / now))
        elif word[0] == "CLOCKSOURCE" and len(word) > 1:
            self.add(name="clocksource", value=word[1])
        elif word[0] == "BEGIN" and len(word) == 2:
            self.begin = (word[1], now, self.vcpu_clock() if self.vcpu_clock else 0)
            self.result = None
        elif word[0] in ("RESULT", "SKIP", "FAIL"):
            self.result = word
        elif word[0] == "END" and self.begin:
            self.close(now)
        elif word[0] == "SUITE-DONE":
            self.done = True

    def close(self, now):
        name, t0, cpu0 = self.begin
        self.begin = None
        word = self.result
        if not word or word[0] != "RESULT" or len(word) < 7:
            self.add(name=name, status=word[0] if word else "NONE", scale=self.scale)
            return
        wall = now - t0
        share = int(word[5]) / 1000
        if self.vcpu_clock and wall > 0:
            share = (self.vcpu_clock() - cpu0) / wall
        units = int(word[3])
        if name == "shell":
            units = SHELL_ROUNDS * self.scale // 100
        self.add(name=name, status="RESULT", scale=self.scale, ns=int(word[2]), units=units,
                 check=word[4], share=min(1.0, share), elapsed_ns=int(word[6]), wall=wall)


def output(proc, t0, limit):
    """(seconds since t0, line) of what the process prints, until it ends or `limit` is over."""
    buf = b""
    while True:
        left = t0 + limit - time.monotonic()
        if left <= 0 or not select.select([proc.stdout], [], [], left)[0]:
            return
        data = os.read(proc.stdout.fileno(), 65536)
        now = time.monotonic() - t0
        if not data:
            return
        buf += data
        while b"\n" in buf:
            text, buf = buf.split(b"\n", 1)
            yield now, text.decode("latin-1").strip()


def spawn(cmd, **kw):
    return subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, process_group=0, **kw)


def end(proc):
    """The process and what it started, if it is still there."""
    try:
        proc.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(proc.pid, signal.SIGKILL)
        proc.wait()
    proc.stdout.close()


def run_vm(engine, rnd, cmd, scale, limit):
    t0 = time.monotonic()
    p = spawn(cmd)
    suite = Suite(engine, rnd, scale, lambda: vcpu_seconds(p.pid), lambda: process_seconds(p.pid))
    for now, text in output(p, t0, limit):
        suite.line(text, now)
        if suite.done:
            break
    if not suite.done:
        where = suite.begin[0] if suite.begin else "outside of any program"
        suite.add(name="died", where=where, seconds=time.monotonic() - t0)
    end(p)
    return suite.records


def run_native(out, rnd, programs, scale, limit):
    records = []
    env = {**os.environ, "BENCH_NOP": f"{out}/nop", "BENCH_TMP": "/dev/shm"}
    shell = [f"{GUEST}/busybox", "sh", os.path.join(ROOT, "bench/engines/guest/shell.sh"),
             str(SHELL_ROUNDS * scale // 100)]
    for name in programs:
        cmd = [f"{out}/bench", name, str(scale)]
        if name == "shell":
            cmd = [f"{out}/bench", "timeit", name, *shell]
        suite = Suite("native", rnd, scale)
        t0 = time.monotonic()
        p = spawn(cmd, env=env)
        for now, text in output(p, t0, limit):
            suite.line(text, now)
        end(p)
        records += suite.records
    return records
