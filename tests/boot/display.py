#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""display.py - what is on the guest's screen, by everybody who can show it.

    display.py RING3 SOURCE_ROOT text|bios|vnc|sdl|drm

`bios` is SeaBIOS with its video BIOS before a disk that holds nothing. For the others
Debian's kernel boots with console=tty0; its shell is on the screen and takes keys from
there. `text` looks through the monitor, `vnc` is a small RFB client (RFC 6143) with
hostile siblings, `sdl` a window under Xvfb; `drm` is Debian's ordinary kernel with its
driver for the frame buffer. Exits 77 when something needed is missing.
"""
import fcntl
import gzip
import os
import pty
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import zlib

if __name__ == "__main__":
    RING3, ROOT, CASE = sys.argv[1:4]
else:                            # bench/screen
    RING3, ROOT = os.environ["RING3"], os.environ["ROOT"]
GUEST = os.path.join(ROOT, ".cache/guest")
TIMEOUT = 90
# The first process of the guest talks to the serial port; a second shell is put on tty1.
SHELL = "setsid sh -c 'exec sh </dev/tty1 >/dev/tty1 2>&1' &"


def fail(why):
    print(f"FAIL: {why}")
    sys.exit(1)


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)


class Vm:
    """ring3 on a terminal of ours: the serial console, and the monitor behind Ctrl-A c."""

    def __init__(self, *options, env=None, kernel=f"{GUEST}/vmlinuz",
                 initrd=f"{GUEST}/initrd.cpio.gz"):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            self.command(kernel, initrd, options), stdin=slave, stdout=slave, stderr=slave,
            env=env, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.text = b""

    def command(self, kernel, initrd, options):
        linux = ["--kernel", kernel, "--initrd", initrd, "--append",
                 "quiet console=tty0 console=ttyS0"] if kernel else []
        return [RING3, "run", "--engine", "dbt", *linux, "--memory", "256M", *options]

    def read(self, until, what):
        end = time.time() + TIMEOUT
        while until not in self.text:
            ready = select.select([self.master], [], [], 0.2)[0]
            try:
                piece = os.read(self.master, 65536) if ready else None
            except OSError:
                piece = b""
            if piece == b"" or time.time() > end:
                print(self.text.decode(errors="replace"))
                fail(f"no {what}")
            self.text += piece or b""
        before, self.text = self.text.split(until, 1)
        return before.decode(errors="replace").replace("\r", "")

    def write(self, text):
        os.write(self.master, text.encode())

    def start_shell(self):
        self.read(b"ring3:/# ", "shell on the serial port")
        self.write(SHELL + "\r")
        self.read(b"ring3:/# ", "prompt")

    def monitor(self, command):
        self.write("\001c")
        self.read(b"(ring3) ", "monitor prompt")
        self.write(command + "\r")
        out = self.read(b"(ring3) ", f"answer to '{command}'")
        self.write("\001c")
        return out.split("\n", 1)[1]

    def screen_has(self, wanted, tell=True):
        end = time.time() + TIMEOUT
        while True:
            text = self.monitor("screen-text")
            if wanted in text:
                return text
            if time.time() > end:
                print(text)
                fail(f"'{wanted}' does not appear on the screen")
            time.sleep(0.3)

    def quit(self, status):
        self.write("\001x")
        self.wait(status)

    def wait(self, status):
        end = time.time() + TIMEOUT
        while self.process.poll() is None:
            if time.time() > end:
                self.process.kill()
                fail("the VM does not end")
            try:
                if select.select([self.master], [], [], 0.1)[0]:
                    os.read(self.master, 65536)
            except OSError:
                pass
        if self.process.returncode != status:
            fail(f"exit status {self.process.returncode}, expected {status}")


def png_pixels(path):
    """Width, height and rows of RGB bytes of a PNG as ring3 writes it: no row filters."""
    data = open(path, "rb").read()
    width, height = struct.unpack(">II", data[16:24])
    stream = b""
    at = 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IDAT":
            stream += data[at + 8:at + 8 + size]
        at += 12 + size
    rows = zlib.decompress(stream)
    step = 1 + 3 * width
    return width, height, [rows[y * step + 1:(y + 1) * step] for y in range(height)]


# ---- the monitor ---------------------------------------------------------------

def case_text():
    vm = Vm()
    vm.start_shell()
    vm.write("echo 'seen by' all > /dev/tty1\r")
    vm.screen_has("seen by all")
    path = os.path.join(tempfile.mkdtemp(prefix="ring3-display-"), "screen.png")
    vm.write("clear > /dev/tty1; echo -e '\\033[?25l\\033[44m\\033[2J' > /dev/tty1; "
             "echo clean-$((40 + 2))\r")
    vm.read(b"clean-42", "cleared screen")
    vm.monitor(f"screenshot {path}")
    width, height, rows = png_pixels(path)
    shutil.rmtree(os.path.dirname(path))
    if (width, height) != (720, 400):
        fail(f"a picture of {width}x{height}")
    if rows[390][:3] != b"\x00\x00\xaa" or rows[390][-3:] != b"\x00\x00\xaa":
        fail(f"not blue: {rows[390][:3]}")
    if "vga text" not in vm.monitor("info memory"):
        fail("text memory is not plain memory")
    vm.quit(86)


def case_bios():
    if not os.path.exists("/usr/share/seabios/vgabios-stdvga.bin"):
        skip("SeaBIOS's video BIOS is not installed (seabios)")
    with tempfile.NamedTemporaryFile(prefix="ring3-display-") as disk:
        disk.truncate(16 << 20)
        vm = Vm("--disk", f"file={disk.name},format=raw", kernel=None)
        time.sleep(1)
        vm.screen_has("No bootable device.")
        text = vm.screen_has("SeaBIOS (version")
        if "not a bootable disk" not in text:
            fail(f"the screen does not say what is wrong:\n{text}")
        vm.quit(86)


# ---- VNC -------------------------------------------------------------------------

class Rfb:
    def __init__(self, port, password=None):
        end = time.time() + TIMEOUT
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), 10)
                break
            except ConnectionRefusedError:
                if time.time() > end:
                    fail("nobody listens for VNC")
                time.sleep(0.1)
        self.socket.settimeout(TIMEOUT)
        if not self.get(12).startswith(b"RFB 003.008"):
            fail("not RFB 3.8")
        self.socket.sendall(b"RFB 003.008\n")
        kinds = self.get(self.get(1)[0])
        self.accepted = self.security(kinds, password)
        if not self.accepted:
            return
        self.socket.sendall(b"\x01")
        self.width, self.height = struct.unpack(">HH", self.get(4))
        self.get(16)
        self.name = self.get(struct.unpack(">I", self.get(4))[0])
        self.socket.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255,
                                        16, 8, 0))
        self.socket.sendall(struct.pack(">BxHii", 2, 2, 0, -223))    # raw, DesktopSize
        self.pixels = bytearray(4 * self.width * self.height)

    def security(self, kinds, password):
        wanted = 2 if password else 1
        if wanted not in kinds:
            fail(f"security types {list(kinds)}")
        self.socket.sendall(bytes([wanted]))
        if password:
            # VNC's DES has the bits of each byte of the key in the other order.
            key = bytes(int(f"{b:08b}"[::-1], 2) for b in password.ljust(8, "\0").encode())
            answer = subprocess.run(["openssl", "enc", "-des-ecb", "-nopad", "-provider", "legacy",
                                     "-provider", "default", "-K", key.hex()],
                                    input=self.get(16), capture_output=True, check=True).stdout
            self.socket.sendall(answer)
        return self.get(4) == b"\0\0\0\0"

    def get(self, n):
        out = b""
        while len(out) < n:
            piece = self.socket.recv(n - len(out))
            if not piece:
                raise ConnectionError("the VNC server hung up")
            out += piece
        return out

    def request(self, incremental):
        self.socket.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def update(self):
        """One update message; the number of pixels in it."""
        while True:
            kind = self.get(1)[0]
            if kind == 0:
                break
            if kind == 3:
                self.get(struct.unpack(">xxxI", self.get(7))[0])
            elif kind != 2:
                fail(f"message of type {kind}")
        count = 0
        for _ in range(struct.unpack(">xH", self.get(3))[0]):
            x, y, w, h, encoding = struct.unpack(">HHHHi", self.get(12))
            if encoding == -223:
                self.width, self.height = w, h
                self.pixels = bytearray(4 * w * h)
                continue
            data = self.get(4 * w * h)
            for row in range(h):
                at = 4 * ((y + row) * self.width + x)
                self.pixels[at:at + 4 * w] = data[4 * row * w:4 * (row + 1) * w]
            count += w * h
        return count

    def key(self, symbol):
        for down in 1, 0:
            self.socket.sendall(struct.pack(">BBxxI", 4, down, symbol))

    def type(self, text):
        for c in text:
            self.key(0xff0d if c == "\n" else ord(c))
            time.sleep(0.03)


def free_display():
    with socket.socket() as s:
        for n in range(50, 500):
            try:
                s.bind(("127.0.0.1", 5900 + n))
                return n
            except OSError:
                continue
    skip("no port for VNC is free")


def rubbish(port):
    """Clients that say nonsense, at every stage."""
    noise = bytes(range(256)) * 40
    for sent in (noise, b"RFB 003.008\n" + noise, b"RFB 003.008\n\2" + noise, b"RFB 999.999\n"):
        with socket.create_connection(("127.0.0.1", port), 10) as s:
            try:
                s.sendall(sent)
            except OSError:
                pass


def case_vnc():
    if not shutil.which("openssl"):
        skip("openssl is not installed")
    n = free_display()
    folder = tempfile.mkdtemp(prefix="ring3-display-")
    with open(f"{folder}/password", "w") as f:
        f.write("sesame1\n")
    vm = Vm("--display", f"vnc=:{n},password={folder}/password")
    if Rfb(5900 + n, "wrong").accepted:
        fail("a wrong password was accepted")
    rubbish(5900 + n)
    vm.start_shell()
    vm.write("clear > /dev/tty1\r")
    stalled = Rfb(5900 + n, "sesame1")          # asks, and reads no more
    stalled.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(200):
        stalled.request(0)
    viewer = Rfb(5900 + n, "sesame1")
    if viewer.name != b"ring3":
        fail(f"desktop name {viewer.name}")
    viewer.type("echo It\"'\"s $((6*7)) > /tmp/x; cat /tmp/x /tmp/x\n")
    vm.screen_has("It's 42\nIt's 42\n")
    # The picture is the one that the monitor saves.
    viewer.type("echo -e '\\033[?25l\\033[42m\\033[2J'\n")
    end = time.time() + TIMEOUT
    while True:
        viewer.request(0)
        viewer.update()
        path = f"{folder}/s.png"
        vm.monitor(f"screenshot {path}")
        width, height, rows = png_pixels(path)
        seen = b"".join(bytes((p[2], p[1], p[0])) for p in zip(*[iter(viewer.pixels)] * 4))
        if (width, height) == (viewer.width, viewer.height) and seen == b"".join(rows) and \
                rows[300][:3] == b"\x00\xaa\x00":
            break
        if time.time() > end:
            fail("the picture over VNC is not the guest's")
    # What is sent is what changed: a character, not a screen.
    viewer.request(1)
    vm.write("echo -n x > /dev/tty1\r")
    if not 0 < viewer.update() < viewer.width * viewer.height / 10:
        fail("more was sent than had changed")
    vm.quit(86)
    shutil.rmtree(folder)


# ---- the window ---------------------------------------------------------------------

def xwd_pixel(path, x, y):
    """Of Xvfb's frame buffer file: an XWD header (big-endian words), colours, 32-bit pixels."""
    data = open(path, "rb").read()
    header = struct.unpack(">25I", data[:100])
    start = header[0] + 12 * header[19]
    at = start + y * header[12] + 4 * x
    return struct.unpack("<I", data[at:at + 4])[0] & 0xffffff


def case_sdl():
    for tool in "Xvfb", "xdotool":
        if not shutil.which(tool):
            skip(f"{tool} is not installed")
    folder = tempfile.mkdtemp(prefix="ring3-display-")
    read, write = os.pipe()
    server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x768x24",
                               "-fbdir", folder, "-nolisten", "tcp"], pass_fds=[write],
                              stderr=subprocess.DEVNULL)
    try:
        env = dict(os.environ, DISPLAY=":" + os.read(read, 16).decode().strip())
        env.pop("SDL_VIDEODRIVER", None)
        sdl_in_server(folder, env)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def xdo(env, *words):
    return subprocess.run(["xdotool", *words], env=env, check=True, capture_output=True,
                          text=True).stdout


def sdl_in_server(folder, env):
    vm = Vm("--display", "sdl", env=env)
    vm.start_shell()
    vm.write("clear > /dev/tty1\r")
    window = xdo(env, "search", "--sync", "--name", "^ring3$").split()[0]
    xdo(env, "windowfocus", "--sync", window)
    # The server may call it focused before SDL has heard so: a first key may be lost. A
    # blank in front of the command is none of its words.
    xdo(env, "key", "space")
    time.sleep(1)
    xdo(env, "type", "--delay", "60", "echo Typed: $((6*7))")
    xdo(env, "key", "Return")
    vm.screen_has("\nTyped: 42")
    vm.write("echo -e '\\033[?25l\\033[41m\\033[2J' > /dev/tty1\r")
    place = dict(line.split("=") for line in
                 xdo(env, "getwindowgeometry", "--shell", window).split())
    x, y = int(place["X"]) + 300, int(place["Y"]) + 350
    end = time.time() + TIMEOUT
    while xwd_pixel(f"{folder}/Xvfb_screen0", x, y) != 0xaa0000:
        if time.time() > end:
            fail("the window does not show the guest's red screen")
        time.sleep(0.1)
    if (place["WIDTH"], place["HEIGHT"]) != ("720", "400"):
        fail(f"a window of {place['WIDTH']}x{place['HEIGHT']}")
    xdo(env, "key", "Escape")
    vm.wait(86)


# ---- Linux's own graphics ----------------------------------------------------------------

DRM_MODULES = ["drm", "drm_kms_helper", "ttm", "drm_ttm_helper", "drm_vram_helper", "bochs"]


def case_drm():
    files = [f"{GUEST}/e1000/{m}.ko" for m in DRM_MODULES]
    if not all(os.path.exists(f) for f in [*files, f"{GUEST}/e1000/vmlinuz"]):
        skip("no ordinary kernel: run tools/fetch-guest --e1000")
    folder = tempfile.mkdtemp(prefix="ring3-display-")
    for f in files:
        shutil.copy(f, folder)
    names = "\n".join(os.path.basename(f) for f in files) + "\n"
    archive = subprocess.run(["cpio", "-o", "-H", "newc"], cwd=folder, input=names.encode(),
                             capture_output=True, check=True).stdout
    with open(f"{folder}/initrd", "wb") as out:
        out.write(open(f"{GUEST}/initrd.cpio.gz", "rb").read() + gzip.compress(archive, 1))
    n = free_display()
    vm = Vm("--display", f"vnc=:{n}", "--vga", "std,width=800,height=600",
            kernel=f"{GUEST}/e1000/vmlinuz", initrd=f"{folder}/initrd")
    vm.read(b"ring3:/# ", "shell")
    vm.write("cd /; for m in " + " ".join(DRM_MODULES) + "; do insmod $m.ko; done; "
             "cat /sys/class/graphics/fb0/virtual_size; echo drm-$((40+2))\r")
    said = vm.read(b"drm-42", "frame buffer")
    if "800,600" not in said:
        print(said)
        fail("the guest did not take the size that EDID prefers")
    if "a picture of 800x600, not text" not in vm.monitor("screen-text"):
        fail("still in text mode")
    vm.write("echo -e '\\033[?25l\\033[46m\\033[2J' > /dev/tty1; echo cyan-$((40+2))\r")
    vm.read(b"cyan-42", "coloured screen")
    viewer = Rfb(5900 + n)
    end = time.time() + TIMEOUT
    while viewer.pixels[4 * 400:4 * 400 + 3] != b"\xaa\xaa\x00":
        viewer.request(0)
        viewer.update()
        if time.time() > end:
            fail("the viewer does not see the frame buffer")
    vm.write("while :; do cat /dev/urandom | head -c 65536 > /dev/fb0; done\r")
    begun, updates = time.time(), 0
    while time.time() - begun < 3:
        viewer.request(1)
        viewer.update()
        updates += 1
    print(f"{updates / 3:.0f} updates a second")
    if updates < 3 * 5:
        fail("the viewer hardly gets updates")
    vm.quit(86)
    shutil.rmtree(folder)


def main():
    if not os.path.exists(f"{GUEST}/vmlinuz"):
        skip("no Linux guest: run tools/fetch-guest")
    {"text": case_text, "bios": case_bios, "vnc": case_vnc, "sdl": case_sdl, "drm": case_drm}[CASE]()
    print("ok")


if __name__ == "__main__":
    main()
