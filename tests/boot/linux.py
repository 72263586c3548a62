#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""linux.py - boots Debian's kernel with ring3 and judges it by its serial text.

    linux.py RING3 SOURCE_ROOT CASE [ENGINE [OPTION...]]

Exits 77 when the guest (tools/fetch-guest) is not there. Nothing here measures
time: what takes too long is ended by the test runner.
"""
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

UP = b"USERSPACE-UP"
PROMPT = b"ring3:/# "


class Guest:
    """A running ring3 whose serial console is our pipe."""

    def __init__(self, words, *options, kernel=None):
        self.text = b""
        cmd = [RING3, "run", "--engine", ENGINE, "--kernel", kernel or f"{GUEST}/vmlinuz",
               "--initrd", f"{GUEST}/initrd.cpio.gz", "--append", f"console=ttyS0 {words}",
               *MORE, *options]
        self.process = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)

    def read_until(self, pattern, times=1):
        """Everything up to the nth match of a regular expression."""
        while len(re.findall(pattern, self.text)) < times:
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                self.fail(f"ended before {pattern!r} was seen {times} times")
            self.text += piece
        return self.text

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def command(self, line):
        """Runs a shell command in the guest and returns what it printed."""
        before = len(self.text)
        self.type(line + "; echo DONE-$((40 + 2))")
        while b"DONE-42" not in self.text[before:]:
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                self.fail(f"ended during '{line}'")
            self.text += piece
        return self.text[before:].split(b"DONE-42")[0].decode(errors="replace")

    def end(self, status):
        rest, _ = self.process.communicate()
        self.text += rest
        if self.process.returncode != status:
            self.fail(f"exit status {self.process.returncode}, expected {status}")

    def kill(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate()

    def cpu_ticks(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def expect(self, condition, what):
        if not condition:
            self.fail(what)

    def fail(self, why):
        self.process.kill()
        sys.stdout.write(self.text.decode(errors="replace"))
        print(f"\nlinux.py: {why}")
        sys.exit(1)


def demo():
    g = Guest("quiet demo", "--memory", "512M")
    g.end(0)
    for word in (UP, b"GNU/Linux", b"vendor_id", b"Mem:", b"Power down"):
        g.expect(word in g.text, f"no {word!r} in the output")


def shell():
    """An interactive shell; the TSC stays the clock; power-off by ACPI."""
    g = Guest("")
    g.read_until(PROMPT)
    # tsc-early until Linux has measured the TSC for a second: a fast boot is not there yet.
    clock = g.command("cd /sys/devices/system/clocksource/clocksource0; for i in 1 2 3 4 5 6 7 8; "
                      "do grep -qx tsc current* && break; sleep 1; done; cat current*; cd /")
    g.expect(re.search(r"^tsc\r?$", clock, re.M), f"the clock is not the TSC: {clock}")
    date = int(re.findall(r"^(\d+)\r?$", g.command("date +%s"), re.M)[0])
    g.expect(abs(date - time.time()) < 60, f"the guest's time of day is {date}")
    irqs = g.command("cat /proc/interrupts")
    g.expect(re.search(r"IO-APIC.*ttyS0", irqs), f"ttyS0 has no IOAPIC interrupt: {irqs}")
    g.expect("0" in re.findall(r"ERR:\s+(\d+)", irqs), f"APIC errors: {irqs}")
    log = g.command("dmesg")
    for word in ("unstable", "WARNING:", "BUG:", "Call Trace", "ACPI Error", "ACPI BIOS Error",
                 "spurious"):
        g.expect(word not in log, f"'{word}' in the kernel log")
    sums = g.command("head -c 3000000 /bin/busybox | md5sum; cat /bin/busybox | md5sum")
    g.expect(len(set(re.findall(r"[0-9a-f]{32}", sums))) == 1, f"checksums differ: {sums}")
    g.type("poweroff -f")
    g.end(0)


def keys():
    """What is typed on the PS/2 keyboard arrives at a virtual terminal."""
    with tempfile.TemporaryDirectory(prefix="r3k") as place:
        os.environ["XDG_RUNTIME_DIR"] = place
        g = Guest("", "--memory", "256M", "--name", "keys")
        g.read_until(PROMPT)
        g.type("for n in 1 2 3; do read -r line </dev/tty1; echo GOT-$line-; done")
        time.sleep(1)
        for text, got in (("Hello, World 42<ret>", b"GOT-Hello, World 42-"),
                          ("<shift-a>b<bs>~|\"{}_+<ret>", b'GOT-A~|"{}_\\+-'),
                          ("x" * 300 + "<kpenter>", b"GOT-" + b"x" * 300 + b"-")):
            subprocess.run([RING3, "keys", "keys", text], check=True, timeout=30)
            g.read_until(got)
        subprocess.run([RING3, "monitor", "keys", "mouse", "5", "5", "l"], check=True, timeout=30)
        irqs = g.command("cat /proc/interrupts")
        g.expect("i8042" in irqs, "no interrupt of the keyboard controller")
        subprocess.run([RING3, "stop", "keys"], check=True, timeout=30)
        g.end(86)


def piped():
    """What is there before the guest has a driver reaches its shell whole."""
    g = Guest("quiet")
    for i in range(20):
        g.type(f"echo line-{i}-$((6 * 7))")
    g.type("poweroff -f")
    g.end(0)
    for i in range(20):
        g.expect(f"line-{i}-42" in g.text.decode(errors="replace"), f"line {i} was lost")


def suspend():
    """ACPI S3 and back by the RTC, other processor and all."""
    g = Guest("quiet", "--cpus", "2")
    g.type("echo +2 >/sys/class/rtc/rtc0/wakealarm; echo mem >/sys/power/state")
    g.type("echo awake-$(nproc); poweroff -f")
    g.end(0)
    g.expect("awake-2" in g.text.decode(errors="replace"), "it did not wake")


def reboot():
    g = Guest("quiet reboot")
    g.read_until(UP, 2)
    g.kill()


def no_reboot():
    g = Guest("quiet reboot", "--no-reboot")
    g.process.wait()
    g.text += g.process.stdout.read()
    g.expect(len(re.findall(UP, g.text)) == 1, "it started more than once")
    g.expect(g.process.returncode not in (0, 1, 2), f"exit status {g.process.returncode}")


def panic():
    """The kernel panics without a root and reboots: a reset like any other."""
    g = Guest("quiet panic=-1 rdinit=/nonexistent root=/dev/none", "--no-reboot")
    g.process.wait()
    g.text += g.process.stdout.read()
    g.expect(b"Kernel panic" in g.text, "no panic")


def idle():
    """An idle guest uses no host CPU: a tenth of one CPU is far too much."""
    g = Guest("quiet sleep")
    g.read_until(UP)
    time.sleep(1)
    before = g.cpu_ticks()
    time.sleep(2)
    used = g.cpu_ticks() - before
    g.expect(used < 20, f"{used} ticks of CPU time in 2 s of idling")
    g.kill()


def smp():
    g = Guest("", "--cpus", "2")
    g.read_until(PROMPT)
    g.expect(re.search(r"^2\r?$", g.command("nproc"), re.M), "not two CPUs")
    g.command("i=0; while [ $i -lt 300 ]; do i=$((i + 1)); done & wait")
    g.type("poweroff -f")
    g.end(0)


def high_memory():
    """RAM on both sides of the hole below 4 GiB."""
    g = Guest("", "--memory", "4G")
    g.read_until(PROMPT)
    total = int(re.findall(r"Mem:\s+(\d+)", g.command("free"))[0])
    g.expect(total > 3900000, f"{total} KiB of RAM of 4 GiB")
    g.expect("0000000100000000-0x000000013fffffff] usable" in g.command("dmesg | grep e820"),
             "no RAM above 4 GiB")
    g.type("poweroff -f")
    g.end(0)


def small_memory():
    """The kernel does not fit: one line, no start."""
    g = Guest("quiet", "--memory", "8M")
    g.process.wait()
    g.text += g.process.stdout.read()
    g.expect(g.process.returncode not in (0, None), "it started")
    g.expect(len(g.text.strip().splitlines()) == 1, "not one line")
    g.expect(b"--memory" in g.text, "no advice")


def unpacked_kernel():
    """The ELF kernel inside of the bzImage, or an exit with 77."""
    with open(f"{GUEST}/vmlinuz", "rb") as f:
        image = f.read()
    offset = (image[0x1f1] + 1) * 512 + struct.unpack_from("<I", image, 0x248)[0]
    length = struct.unpack_from("<I", image, 0x24c)[0]
    payload = image[offset:offset + length - 4]      # the last four bytes are the size
    tools = {b"\x02\x21": "lz4", b"\xfd7": "xz", b"\x28\xb5": "zstd", b"\x1f\x8b": "gzip"}
    tool = tools.get(payload[:2])
    if not tool or not shutil.which(tool):
        skip(f"no tool to unpack the kernel ({tool})")
    return subprocess.run([tool, "-dc"], input=payload, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def boot_elf(image):
    with tempfile.NamedTemporaryFile(prefix="ring3-vmlinux-") as f:
        f.write(image)
        f.flush()
        g = Guest("quiet demo", kernel=f.name)
        g.end(0)
        g.expect(UP in g.text, "no user space")


def pvh():
    boot_elf(unpacked_kernel())


def elf64():
    """Without its PVH note the kernel is entered at its 64-bit entry."""
    image = bytearray(unpacked_kernel())
    for m in re.finditer(b"\x04\0\0\0.\0\0\0\x12\0\0\0Xen\0", bytes(image)):
        image[m.start() + 8] = 0x63
    boot_elf(image)


CASES = {f.__name__: f for f in (demo, shell, keys, piped, suspend, reboot, no_reboot, panic, idle,
                                 smp, high_memory, small_memory, pvh, elf64)}


def skip(why):
    print(f"linux.py: {why}")
    sys.exit(77)


if __name__ == "__main__":
    RING3 = sys.argv[1]
    GUEST = os.path.join(sys.argv[2], ".cache/guest")
    ENGINE = sys.argv[4] if len(sys.argv) > 4 else "interp"
    MORE = sys.argv[5:]
    if not os.path.exists(f"{GUEST}/initrd.cpio.gz"):
        skip("the Linux guest is not there (tools/fetch-guest makes it)")
    CASES[sys.argv[3]]()
