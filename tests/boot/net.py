#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""net.py - Debian's kernel on the network: data both ways, compared.

    net.py RING3 SOURCE_ROOT CASE ENGINE MODEL [OPTION...]

CASE: user (DHCP, ping, TCP out and in by user mode on loopback), pair (two VMs joined by
a socket), qemu (one of them QEMU's), tap (in a network namespace, needs root). MODEL:
virtio or e1000, which the cloud kernel has no driver for (tools/fetch-guest --e1000), with
further keys of the card.
Exits 77 when what it needs is not there.
"""
import glob
import hashlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import modular

MODULES = {"virtio": ["virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev",
                      "virtio_pci", "virtio_mmio", "failover", "net_failover", "virtio_net"],
           "e1000": ["e1000"]}
DHCP = r"""#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/24 dev $interface
ip route add default via $router
echo "LEASE $ip $router $dns $hostname"
"""
USER = r"""
udhcpc -i eth0 -n -q -f -t 10 -s /dhcp 2>/dev/null | grep LEASE
ping -c 3 -W 5 10.0.2.2 | grep received | sed 's/^/PING /'
nc 10.0.2.2 %(down)d >/got </dev/null; echo "DOWN $(md5sum </got)"
nc 10.0.2.2 %(up)d </seed >/dev/null; echo "UP-DONE"
echo "hello from the guest" >/hello; nc -l -p 77 </hello >/heard
echo "HEARD $(cat /heard)"
cat /proc/interrupts | grep -E "virtio|eth0" | sed 's/^/IRQ /'
"""
PAIR = r"""
mkfifo /quiet; exec 3<>/quiet       # nc ends when its peer has nothing to say
ip addr add 10.9.9.%(me)d/24 dev eth0
for i in $(seq 60); do ping -c 1 -W 1 10.9.9.%(other)d >/dev/null && break; done
if [ %(me)d = 1 ]; then
    nc -l -p 77 <&3 >/got; echo "GOT $(md5sum </got)"
    for i in $(seq 30); do nc 10.9.9.2 78 </seed >/dev/null && break; sleep 1; done
else
    for i in $(seq 30); do nc 10.9.9.1 77 </seed >/dev/null && break; sleep 1; done
    nc -l -p 78 <&3 >/got; echo "GOT $(md5sum </got)"
fi
"""
TAP = r"""
ip addr add 192.0.2.2/24 dev eth0
ping -c 3 -W 5 192.0.2.1 | grep received | sed 's/^/PING /'
nc 192.0.2.1 %(down)d >/got </dev/null; echo "DOWN $(md5sum </got)"
nc 192.0.2.1 %(up)d </seed >/dev/null; echo "UP-DONE"
"""


class Host:
    """Serves `data` on one port, and collects what comes on another."""

    def __init__(self, data, address="127.0.0.1"):
        self.data, self.got = data, b""
        self.down, self.up = (socket.create_server((address, 0)) for _ in range(2))
        for work in (self.serve, self.collect):
            threading.Thread(target=work, daemon=True).start()

    def ports(self):
        return {"down": self.down.getsockname()[1], "up": self.up.getsockname()[1]}

    def serve(self):
        while True:
            peer, _ = self.down.accept()
            peer.sendall(self.data)
            peer.close()

    def collect(self):
        while True:
            peer, _ = self.up.accept()
            got = b""
            while piece := peer.recv(1 << 16):
                got += piece
            self.got = got
            peer.close()


class Test:
    def __init__(self, ring3, root, engine, model, more, tmp):
        self.ring3, self.engine, self.more, self.tmp = ring3, engine, more, tmp
        self.model, _, card = model.partition(",")
        self.card = "," + card if card else ""
        model = self.model
        self.guest = f"{root}/.cache/guest"
        self.size = 300_000 if engine == "interp" else 8 << 20
        self.data = random.Random(7).randbytes(self.size)
        package = glob.glob(f"{self.guest}/pkg/linux-image-*-cloud-*.deb")
        if model == "virtio" and package:
            self.kernel = f"{self.guest}/vmlinuz"
            self.modules = modular.modules(package[0], tmp, MODULES[model])
        elif model == "e1000" and os.path.exists(f"{self.guest}/e1000/vmlinuz"):
            self.kernel = f"{self.guest}/e1000/vmlinuz"
            with open(f"{self.guest}/e1000/e1000.ko", "rb") as f:
                self.modules = {"modules": (0o040755, b""),
                                "modules/e1000.ko": (0o100644, f.read())}
        else:
            print(f"no guest with a driver for {model}: run tools/fetch-guest"
                  f"{' --e1000' if model == 'e1000' else ''}")
            sys.exit(77)

    def write_initrd(self, name, script):
        script = "ip link set lo up; ip link set eth0 up\n" + script
        files = dict(self.modules, seed=(0o100644, self.data), dhcp=(0o100755, DHCP.encode()))
        files["test"] = (0o100755, (modular.INIT % (" ".join(MODULES[self.model]), script)).encode())
        return modular.initrd(self.guest, f"{self.tmp}/{name}", files)

    def start(self, name, script, *options):
        cmd = [self.ring3, "run", "--engine", self.engine, "--kernel", self.kernel,
               "--initrd", self.write_initrd(name, script),
               "--append", "console=ttyS0 quiet rdinit=/test",
               "--memory", "512M", *options, *self.more]
        return subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)

    def end(self, process):
        text = process.communicate()[0].decode(errors="replace")
        self.expect(process.returncode == 0 and "GUEST-DONE" in text,
                    f"status {process.returncode}", text)
        self.expect("INSMOD-FAILED" not in text and "Call Trace" not in text, "complaints", text)
        return text

    def expect(self, ok, what, text):
        if not ok:
            sys.stdout.write(text)
            print(f"net.py: {what}")
            sys.exit(1)

    def md5(self):
        return hashlib.md5(self.data).hexdigest()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def knock(port, said):
    """Connects to the forwarded port until the guest listens."""
    while not said:
        try:
            with socket.create_connection(("127.0.0.1", port)) as s:
                s.sendall(b"hello from the host\n")
                s.shutdown(socket.SHUT_WR)
                text = b""
                while piece := s.recv(100):
                    text += piece
                if text:
                    said.append(text)
        except OSError:
            pass
        time.sleep(0.2)


def user(t):
    host, port, said = Host(t.data), free_port(), []
    p = t.start("user", USER % host.ports(), "--net",
                f"user,model={t.model}{t.card},hostname=tester,forward=tcp:{port}:77,"
                f"capture={t.tmp}/pcap")
    threading.Thread(target=lambda: (time.sleep(1), knock(port, said)), daemon=True).start()
    text = t.end(p)
    t.expect("LEASE 10.0.2.15 10.0.2.2 10.0.2.3 tester" in text, "no lease", text)
    t.expect("PING 3 packets transmitted, 3 packets received" in text, "no ping", text)
    t.expect(f"DOWN {t.md5()}" in text, "what was downloaded differs", text)
    t.expect(host.got == t.data, f"what was uploaded differs ({len(host.got)} bytes)", text)
    t.expect("HEARD hello from the host" in text and said == [b"hello from the guest\n"],
             f"the forwarded port: {said}", text)
    with open(f"{t.tmp}/pcap", "rb") as f:
        pcap = f.read()
    t.expect(len(pcap) > 2 * t.size and pcap[:4] == b"\x4d\x3c\xb2\xa1", "the capture", text)


def with_qemu(t):
    if not shutil.which("qemu-system-x86_64"):
        print("there is no QEMU")
        sys.exit(77)
    pair(t, True)


def pair(t, qemu=False):
    path = f"{t.tmp}/socket"
    card = f"model={t.model}{t.card}"
    a = t.start("a", PAIR % {"me": 1, "other": 2}, "--net", f"socket,listen={path},{card}")
    while not os.path.exists(path):
        time.sleep(0.05)
    if qemu:
        cmd = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults",
               "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", t.kernel,
               "-initrd", t.write_initrd("b", PAIR % {"me": 2, "other": 1}),
               "-append", "console=ttyS0 quiet rdinit=/test panic=-1", "-netdev",
               f"stream,id=n,server=off,addr.type=unix,addr.path={path}",
               "-device", "virtio-net-pci,netdev=n"]
        b = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
    else:
        b = t.start("b", PAIR % {"me": 2, "other": 1}, "--net", f"socket,connect={path},{card}")
    for p in (a, b):
        text = t.end(p)
        t.expect(f"GOT {t.md5()}" in text, "what the other VM sent differs", text)


def tap(t):
    make = "ip link set lo up && ip tuntap add dev t0 mode tap && ip addr add 192.0.2.1/24 dev t0" \
           " && ip link set t0 up"
    if not os.environ.get("RING3_IN_NETNS"):
        if subprocess.run(["unshare", "-n", "sh", "-c", make], capture_output=True).returncode:
            print("cannot make a network namespace with a TAP in it")
            sys.exit(77)
        os.environ["RING3_IN_NETNS"] = "1"
        os.execvp("unshare", ["unshare", "-n", "sh", "-c", f"{make} && exec \"$@\"", "sh",
                              sys.executable, *sys.argv])
    host = Host(t.data, "192.0.2.1")
    text = t.end(t.start("tap", TAP % host.ports(), "--net", f"tap,t0,model={t.model}{t.card}"))
    t.expect("PING 3 packets transmitted, 3 packets received" in text, "no ping", text)
    t.expect(f"DOWN {t.md5()}" in text, "what was downloaded differs", text)
    t.expect(host.got == t.data, f"what was uploaded differs ({len(host.got)} bytes)", text)


def main():
    ring3, root, case, engine, model, *more = sys.argv[1:]
    with tempfile.TemporaryDirectory() as tmp:
        cases = {"user": user, "pair": pair, "qemu": with_qemu, "tap": tap}
        cases[case](Test(ring3, root, engine, model, more, tmp))


if __name__ == "__main__":
    main()
