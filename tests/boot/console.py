#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""console.py - Linux on a virtio console: hvc0 on a terminal, streams, sizes.

    console.py RING3 SOURCE_ROOT ENGINE [KEY=VALUE...]

We are the terminal. The guest's kernel and shell speak on hvc0, which follows the
terminal's size; a megabyte goes each way through a port on a Unix socket whose reader is
slow; another port is a file, and hvc1 a pseudo-terminal that nobody reads at first.
Exits 77 when the guest is not there.
"""
import hashlib
import os
import pty
import random
import re
import select
import socket
import struct
import sys
import termios
import fcntl
import time

import modular
import virtio

SCRIPT = r"""
wait_for() { i=0; until [ $i -gt 300 ] || ls $1 >/dev/null 2>&1; do sleep 0.1; i=$((i + 1)); done; }
wait_for /dev/hvc0
exec </dev/hvc0 >/dev/hvc0 2>&1
wait_for "/sys/class/virtio-ports/vport*p4/name"; wait_for /dev/hvc1; sleep 0.3
echo "KERNEL-SPEAKS" >/dev/kmsg
echo "SIZE $(stty size)"
for p in /sys/class/virtio-ports/*; do
    n=$(cat $p/name 2>/dev/null); echo "PORT $n"
    [ -n "$n" ] && ln -s /dev/$(basename $p) /dev/port-$n
done
echo TYPE-NOW; read line; echo "GOT $line"
until [ "$(stty size)" = "40 120" ]; do sleep 0.1; done; echo RESIZED
head -c 1048576 </dev/port-stream | md5sum | sed 's/^/SUM /'
cat /seed >/dev/port-stream
echo "in a file" >/dev/port-file
i=0; while [ $i -lt 3000 ]; do echo "nobody reads this line $i"; i=$((i + 1)); done >/dev/hvc1
echo PTY-NOW; read line </dev/hvc1; echo "PTY $line"
dmesg | grep -iE "virtio.*(error|fail|broken)" | sed 's/^/COMPLAINT /'
"""


def size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    def __init__(self, cmd):
        self.text, self.ended = "", False
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            size(0, 31, 97)
            os.execv(cmd[0], cmd)

    def fail(self, what):
        sys.stdout.write(self.text)
        print(f"console.py: {what}")
        if not self.ended:
            os.kill(self.pid, 15)
        sys.exit(1)

    def wait(self, pattern, seconds=60):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            if time.monotonic() > end or not self.more():
                self.fail(f"no '{pattern}'")
        return re.search(pattern, self.text)

    def more(self):
        if not select.select([self.fd], [], [], 1)[0]:
            return True
        try:
            piece = os.read(self.fd, 65536)
        except OSError:
            return False
        self.text += piece.decode(errors="replace")
        return bool(piece)


def stream(term, path, out, seed):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(path)
    s.sendall(out)
    term.wait("SUM " + hashlib.md5(out).hexdigest())
    time.sleep(1)
    got = b""
    while len(got) < len(seed):
        piece = s.recv(65536)
        if not piece:
            break
        got += piece
    if got != seed:
        term.fail(f"the stream from the guest differs ({len(got)} bytes)")
    s.close()


def main():
    ring3, root, engine, *keys = sys.argv[1:]
    return modular.with_package(root, lambda guest, package, tmp:
                                run(ring3, guest, package, engine, keys, tmp))


def run(ring3, guest, package, engine, keys, tmp):
    noise = random.Random(5)
    out, seed = noise.randbytes(1 << 20), noise.randbytes(1 << 20)
    files = modular.modules(package, tmp, virtio.MODULES)
    files["seed"] = (0o100644, seed)
    files["test"] = (0o100755, (modular.INIT % (" ".join(virtio.MODULES), SCRIPT)).encode())
    modular.initrd(guest, f"{tmp}/initrd", files)
    device = ["console", "port=stdio", f"port=stream@unix:{tmp}/s", f"port=file@file:{tmp}/file",
              "port=pty", "port=nobody@none", *keys]
    term = Terminal([ring3, "run", "--engine", engine, "--kernel", f"{guest}/vmlinuz",
                     "--initrd", f"{tmp}/initrd", "--memory", "256M", "--serial", f"{tmp}/serial",
                     "--append", "console=ttyS0 console=hvc0 loglevel=6 rdinit=/test",
                     "--device", ",".join(device)])
    side = term.wait(r"port 3 of console0 is (/dev/pts/\d+)").group(1)
    term.wait("SIZE 31 97")
    for name in ["stream", "file", "nobody"]:
        term.wait(f"PORT {name}")
    term.wait("KERNEL-SPEAKS")
    term.wait("TYPE-NOW")
    os.write(term.fd, b"something typed\r")
    term.wait("GOT something typed")
    size(term.fd, 40, 120)
    term.wait("RESIZED")
    stream(term, f"{tmp}/s", out, seed)
    term.wait("PTY-NOW")
    fd = os.open(side, os.O_RDWR | os.O_NOCTTY)
    text = os.read(fd, 65536)
    os.write(fd, b"hello from the side\r")
    term.wait("PTY hello from the side")
    term.wait("GUEST-DONE")
    while term.more():
        pass
    status = os.waitstatus_to_exitcode(os.waitpid(term.pid, 0)[1])
    term.ended = True
    with open(f"{tmp}/file") as f:
        if f.read() != "in a file\n":
            term.fail("the file differs")
    if b"nobody reads this line 0\r\n" not in text or "COMPLAINT" in term.text or status != 0:
        term.fail(f"status {status}, pseudo-terminal said {text[:80]}")
    with open(f"{tmp}/serial") as f:
        if "Linux version" not in f.read():
            term.fail("nothing on the serial port")
    return 0


if __name__ == "__main__":
    sys.exit(main())
