#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""debian.py - a whole Debian (tools/make-image) with disk, network and shared directory.

    debian.py RING3 SOURCE_ROOT CASE [ENGINE [OPTION...]]

The image itself is never written: qcow2 cases use an overlay, raw ones a copy. Exits 77
when the image is not there. What takes too long is ended by the test runner.
"""
import functools
import hashlib
import http.server
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

RING3, SOURCE, CASE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3]
ENGINE = sys.argv[4] if len(sys.argv) > 4 else "dbt"
MORE = sys.argv[5:]
GUEST = os.path.join(SOURCE, ".cache", "guest")
PROMPT = rb"root@debian:~# "
PATIENCE = 900      # seconds until a hang counts as one
os.environ["PATH"] += ":/usr/sbin:/sbin"


def fail(why, text=b""):
    sys.stdout.write(text.decode(errors="replace")[-20000:])
    print(f"\ndebian.py: {why}")
    sys.exit(1)


def run(*cmd, **kw):
    r = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=PATIENCE, **kw)
    if r.returncode:
        fail(f"{' '.join(cmd)}: status {r.returncode}", r.stdout)
    return r.stdout.decode(errors="replace")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Debian:
    """A running guest: its serial console is our pipe, its ssh a port of ours."""

    def __init__(self, folder, disk, *options):
        self.text, self.folder, self.port = b"", folder, free_port()
        cmd = [RING3, "run", "--engine", ENGINE, "--kernel", f"{GUEST}/debian.vmlinuz",
               "--initrd", f"{GUEST}/debian.initrd", "--memory", "1G", "--cpus", "2",
               "--append", "root=/dev/vda1 console=ttyS0 quiet", "--disk", disk,
               "--net", f"user,forward=tcp:127.0.0.1:{self.port}:22", *MORE, *options]
        self.started = time.monotonic()
        self.process = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)

    def read_until(self, pattern, start=0):
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.text[start:]):
            ready = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                self.fail(f"{'ended' if ready else 'hung'} before {pattern!r} was seen")
            self.text += piece

    def login(self):
        self.read_until(PROMPT)
        print(f"login after {time.monotonic() - self.started:.1f} s", flush=True)

    def command(self, line):
        """What a command printed at the serial console."""
        start = len(self.text)
        self.process.stdin.write(line.encode() + b"; echo DONE-$((40 + 2))\n")
        self.process.stdin.flush()
        self.read_until(rb"DONE-42[^$]*" + PROMPT, start)
        return self.text[start:].split(b"DONE-42")[0].decode(errors="replace")

    def ssh(self, line):
        cmd = ["ssh", "-i", f"{self.folder}/key", "-p", str(self.port), "-F", "/dev/null",
               "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={self.folder}/known",
               "-o", "BatchMode=yes", "-o", "ConnectTimeout=120", "-o", "ConnectionAttempts=5",
               "-o", "LogLevel=ERROR", "root@127.0.0.1", line]
        r = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=PATIENCE)
        if r.returncode:
            self.text += r.stdout
            self.fail(f"ssh '{line}': status {r.returncode}")
        return r.stdout.decode(errors="replace")

    def power_off(self):
        self.process.stdin.write(b"systemctl poweroff\n")
        self.process.stdin.flush()
        rest, _ = self.process.communicate(timeout=PATIENCE)
        self.text += rest
        if self.process.returncode:
            self.fail(f"exit status {self.process.returncode}, expected 0")
        self.expect(b"Power down" in self.text, "it did not power down")

    def expect(self, condition, what):
        if not condition:
            self.fail(what)

    def fail(self, why):
        self.process.kill()
        fail(why, self.text)


def make_disk(folder, form):
    if form == "raw":
        run("cp", "--sparse=always", "--reflink=auto", f"{GUEST}/debian.raw", f"{folder}/d.raw")
        return f"{folder}/d.raw,format=raw"
    run(RING3, "image", "create", "--format", "qcow2", "--backing", f"{GUEST}/debian.raw",
        "--backing-format", "raw", f"{folder}/d.qcow2")
    return f"{folder}/d.qcow2,format=qcow2"


def check_disk(folder, form):
    """The image is sound, and so is the file system on it."""
    raw = f"{folder}/d.raw"
    if form == "qcow2":
        run(RING3, "image", "check", f"{folder}/d.qcow2")
        if shutil.which("qemu-img"):
            run("qemu-img", "check", f"{folder}/d.qcow2")
        run(RING3, "image", "convert", "--output-format", "raw", f"{folder}/d.qcow2", raw)
    run("e2fsck", "-fn", f"{raw}?offset=1048576")


class Mirror:
    """A package mirror on loopback with one package in it."""

    def __init__(self, folder):
        root = f"{folder}/mirror"
        tree = f"{folder}/tree"
        os.makedirs(f"{tree}/DEBIAN")
        os.makedirs(f"{tree}/usr/bin")
        os.makedirs(root)
        control = ("Package: ring3-hello\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody "
                   "<nobody@localhost>\nDescription: says hello\n")
        with open(f"{tree}/DEBIAN/control", "w", encoding="ascii") as f:
            f.write(control)
        with open(f"{tree}/usr/bin/ring3-hello", "w", encoding="ascii") as f:
            f.write("#!/bin/sh\necho hello from a package\n")
        os.chmod(f"{tree}/usr/bin/ring3-hello", 0o755)
        run("dpkg-deb", "--root-owner-group", "-b", tree, f"{root}/hello.deb")
        with open(f"{root}/hello.deb", "rb") as f:
            data = f.read()
        with open(f"{root}/Packages", "w", encoding="ascii") as f:
            f.write(f"{control}Filename: ./hello.deb\nSize: {len(data)}\n"
                    f"SHA256: {hashlib.sha256(data).hexdigest()}\n")
        handler = functools.partial(QuietHandler, directory=root)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def check_system(g):
    """It came up whole, and nothing complained."""
    state = g.ssh("systemctl is-system-running --wait || systemctl --failed --no-legend")
    g.expect(state.strip() == "running", f"the system is {state}")
    g.expect(g.ssh("nproc").strip() == "2", "not two processors")
    clock = g.ssh("cat /sys/devices/system/clocksource/clocksource0/current_clocksource").strip()
    g.expect(clock in ("tsc", "tsc-early", "kvm-clock"), f"the clock is {clock}")
    date = int(g.ssh("date +%s"))
    g.expect(abs(date - time.time()) < 60, f"the guest's time of day is {date}")
    log = g.ssh("dmesg")
    for word in ("unstable", "WARNING:", "BUG:", "Call Trace", "I/O error", "soft lockup",
                 "rcu: INFO", "EXT4-fs error"):
        g.expect(word not in log, f"'{word}' in the kernel log:\n{log}")


def check_package(g, mirror):
    g.ssh(f"echo 'deb [trusted=yes] http://10.0.2.2:{mirror.port} ./' >/etc/apt/sources.list; "
          "rm -rf /etc/apt/sources.list.d/*; apt-get -q update && "
          "DEBIAN_FRONTEND=noninteractive apt-get -qy install ring3-hello")
    g.expect("hello from a package" in g.ssh("ring3-hello"), "the package does not work")


def check_share(g, share):
    """Both sides see what the other writes; a link that leads out leads into the guest."""
    with open(f"{share}/from-host", "w", encoding="ascii") as f:
        f.write("host\n")
    os.symlink("/etc/hostname", f"{share}/link")
    g.ssh("mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 src /mnt")
    g.expect(g.ssh("cat /mnt/from-host") == "host\n", "the host's file reads wrong")
    g.expect(g.ssh("cat /mnt/link") == "debian\n", "the link was followed on the host")
    sums = g.ssh("cd /mnt && mkdir d && dd if=/dev/urandom of=d/big bs=64k count=100 2>/dev/null "
                 "&& sync && mv d/big moved && rmdir d && chmod 600 moved && ln -s moved l && "
                 "echo 3 >/proc/sys/vm/drop_caches && sha256sum l && stat -c %a moved && ls")
    with open(f"{share}/moved", "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    g.expect(sums.split() == [digest, "l", "600", "from-host", "l", "link", "moved"],
             f"the guest's file is another here: {sums} {digest}")
    g.ssh("cd /mnt && i=0; while [ $i -lt 200 ]; do echo $i >n$i; i=$((i + 1)); done; "
          "test $(ls n* | wc -l) = 200 && rm n* && cd / && umount /mnt")
    g.expect(sorted(os.listdir(share)) == ["from-host", "l", "link", "moved"], "files left over")
    out = g.ssh("mount -t 9p -o trans=virtio,version=9p2000.L,ro ro /mnt; mount -o remount,rw "
                "/mnt; touch /mnt/x 2>&1; cat /mnt/from-host; umount /mnt")
    g.expect("Read-only" in out and out.endswith("host\n"), f"a read-only share says {out}")


def check_vsock(g, path):
    """Streams in both directions, to whoever called."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}_700")
        listener.listen()
        listener.settimeout(PATIENCE)
        g.ssh("head -c 3000000 /dev/urandom >/var/tmp/v; setsid socat -u OPEN:/var/tmp/v "
              "VSOCK-CONNECT:2:700 </dev/null >/dev/null 2>&1 &")
        peer = listener.accept()[0]
        peer.settimeout(PATIENCE)
        received = b"".join(iter(lambda: peer.recv(65536), b""))
        peer.close()
    digest = hashlib.sha256(received).hexdigest()
    g.expect(digest in g.ssh("sha256sum /var/tmp/v"),
             f"{len(received)} bytes came, not the guest's")
    g.ssh("setsid socat VSOCK-LISTEN:800 EXEC:'tr a-z A-Z' </dev/null >/dev/null 2>&1 & "
          "sleep 1")
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE)
        s.connect(path)
        s.sendall(b"CONNECT 800\n" + 20000 * b"hello ")
        s.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    g.expect(answer.startswith(b"OK ") and answer.endswith(b"\n" + 20000 * b"HELLO "),
             f"the guest answered {answer[:80]}... ({len(answer)} bytes)")
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE)
        s.connect(path)
        s.sendall(b"CONNECT 801\n")
        g.expect(s.recv(100) == b"", "nobody listens on port 801 of the guest")


def whole(folder, form):
    share = f"{folder}/share"
    os.makedirs(share)
    mirror = Mirror(folder)
    g = Debian(folder, make_disk(folder, form), "--share", f"{share}:src",
               "--share", f"{share}:ro,readonly", "--device", f"vsock,socket={folder}/vsock")
    g.login()
    check_system(g)
    check_package(g, mirror)
    check_share(g, share)
    check_vsock(g, f"{folder}/vsock")
    g.power_off()
    check_disk(folder, form)


def killed(folder, form):
    """fio writes and verifies; ring3 is killed under it, again and again: the image stays
    sound, and what fio had flushed reads back."""
    disk = make_disk(folder, form)
    for round_ in range(int(os.environ.get("ROUNDS", "3"))):
        g = Debian(folder, disk)
        g.login()
        if round_:
            out = g.command("cat /var/tmp/state; fio --name=v --filename=/var/tmp/fio --rw=read "
                            "--bs=4k --size=32M --verify=crc32c --verify_only --minimal >/dev/null "
                            "&& echo VERIFIED-$((1 + 1))")
            g.expect("VERIFIED-2" in out, f"what was flushed is not there: {out}")
        g.command("fio --name=v --filename=/var/tmp/fio --rw=write --bs=4k --size=32M "
                  "--verify=crc32c --do_verify=1 --end_fsync=1 --ioengine=libaio --iodepth=16 "
                  "--direct=1 >/var/tmp/out && sync && echo $? >/var/tmp/state && sync")
        g.process.stdin.write(b"fio --name=w --filename=/var/tmp/scratch --rw=randwrite --bs=4k "
                              b"--size=64M --time_based --runtime=600 --fsync=32 >/dev/null &\n")
        g.process.stdin.flush()
        time.sleep(3 + 2 * round_)
        g.process.send_signal(signal.SIGKILL)
        g.process.communicate()
        if form == "qcow2":
            run(RING3, "image", "check", f"{folder}/d.qcow2")
    g = Debian(folder, disk)
    g.login()
    g.power_off()
    check_disk(folder, form)


def main():
    cases = {"qcow2": (whole, "qcow2"), "raw": (whole, "raw"),
             "killed_qcow2": (killed, "qcow2"), "killed_raw": (killed, "raw")}
    for name in ("raw", "vmlinuz", "initrd", "key"):
        if not os.path.exists(f"{GUEST}/debian.{name}"):
            print("SKIP: no Debian image: make image")
            sys.exit(77)
    for tool in ("ssh", "e2fsck", "dpkg-deb"):
        if not shutil.which(tool):
            print(f"SKIP: no {tool}: tools/setup image")
            sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="ring3-debian-") as folder:
        # ssh refuses a key that others can read.
        shutil.copyfile(f"{GUEST}/debian.key", f"{folder}/key")
        os.chmod(f"{folder}/key", 0o600)
        case, form = cases[CASE]
        case(folder, form)


main()
