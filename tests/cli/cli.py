#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""cli.py RING3 SOURCE - the command line as a user meets it.

Every kind of bad input gives exactly one line on stderr and the documented
exit status; every end of a guest has its own; the terminal survives.
"""
import contextlib
import os
import pty
import re
import resource
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import termios
import unittest

import guests

RING3 = os.path.abspath(sys.argv[1])
SOURCE = os.path.abspath(sys.argv[2])
PATIENCE = 60       # seconds until a hang counts as one; nothing is measured

OK, USAGE, CANNOT_START, HOST_FAILED = 0, 64, 66, 68
RESET, TRIPLE_FAULT, PANIC, STOPPED = 80, 82, 84, 86


class Files:
    """Guests and other files, in a directory of this run."""

    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="ring3-cli-")
        os.chmod(self.dir.name, 0o755)

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def make(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)


def ring3(*args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **kw):
    return subprocess.run([RING3, *args], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
                          timeout=PATIENCE, **kw)


class CliTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = Files()
        cls.off = cls.files.make("off", guests.image(guests.power_off()))
        cls.hello = cls.files.make("hello", guests.image(guests.text("hello\n"),
                                                         guests.power_off()))
        cls.flood = cls.files.make("flood", guests.image(guests.print_forever()))

    @classmethod
    def tearDownClass(cls):
        cls.files.dir.cleanup()

    def run_guest(self, kernel, *args, **kw):
        return ring3("run", "--engine", "interp", "--kernel", kernel, *args, **kw)

    def one_line(self, result, status, *words):
        err = result.stderr.decode()
        self.assertEqual(result.returncode, status, err)
        self.assertRegex(err, r"\Aring3: [^\n]+\n\Z")
        for w in words:
            self.assertIn(w, err)

    def refused(self, status, *words, args=()):
        """`args` end at once with one line, and no guest has printed anything."""
        result = ring3(*args)
        self.one_line(result, status, *words)
        self.assertEqual(result.stdout, b"")


class Words(CliTest):
    """What is wrong with the words of the command line."""

    def test_verbs(self):
        self.refused(USAGE, "no command given", args=[])
        self.refused(USAGE, "there is no command 'rnu'; did you mean 'run'?", args=["rnu"])
        self.refused(USAGE, "'frobnicate'; try 'ring3 --help'", args=["frobnicate"])
        self.refused(USAGE, "no option '--vresion'; did you mean '--version'?", args=["--vresion"])
        self.refused(USAGE, "there is no command ''", args=[""])
        self.refused(USAGE, "did you mean 'doctor'?", args=["help", "docter"])
        self.refused(USAGE, "unexpected argument 'x'", args=["version", "x"])
        self.refused(USAGE, "unexpected argument 'x'", args=["help", "run", "x"])

    def test_options(self):
        self.refused(USAGE, "'--kernal'; did you mean '--kernel'?", args=["run", "--kernal", "x"])
        self.refused(USAGE, "no option '-m'", args=["run", "-m", "512M"])
        self.refused(CANNOT_START, "cannot open 'vmlinuz'", "--kernel",
                     args=["run", "vmlinuz"])
        self.refused(USAGE, "unexpected argument 'b'; there is 'a' already",
                     args=["run", "a", "b"])
        self.refused(USAGE, "--kernel needs a value (FILE)", args=["run", "--kernel"])
        self.refused(USAGE, "--kernel needs a value", args=["run", "--kernel", "--memory", "1G"])
        self.refused(USAGE, "--kernel: the FILE is empty", args=["run", "--kernel="])
        self.refused(USAGE, "there is nothing to start; name a disk image", args=["run"])
        self.refused(USAGE, "takes no value", args=["run", "--no-reboot=1"])
        self.refused(USAGE, "not one of user|kernel", args=["run", "--irqchip", "none"])
        self.refused(USAGE, "no trace category 'irk'; did you mean 'irq'?",
                     args=["run", "--kernel", self.off, "--trace", "irk"])
        self.refused(USAGE, "is out of range", args=["run", "--debug-exit-port", "0x10000"])

    def test_names(self):
        def run(*args):
            return ["run", "--kernel", self.off, *args]
        self.refused(USAGE, "there is no engine 'kwm'; did you mean 'kvm'?",
                     args=run("--engine", "kwm"))
        self.refused(USAGE, "there is no engine 'qemu'; there are: auto, kvm, dbt, interp",
                     args=run("--engine", "qemu"))
        self.refused(USAGE, "there is no machine 'mac'", "pc", args=run("--machine", "mac"))
        self.refused(USAGE, "'pentium'", "--cpu list",
                     args=run("--engine", "interp", "--cpu", "pentium"))
        self.refused(USAGE, "--cpus: 0 is out of range", args=run("--cpus", "0"))
        self.refused(USAGE, "--cpus: 100000 is out of range", args=run("--cpus", "100000"))
        self.refused(USAGE, "'two' is not a number", args=run("--cpus", "two"))

    def test_devices(self):
        def run(*args):
            return ["run", "--engine", "interp", "--kernel", self.off, *args]
        disk = self.files.make("disk.raw", bytes(1 << 20))
        raw = f"{disk},format=raw"
        self.refused(CANNOT_START, "'/nowhere'", args=run("--disk", "/nowhere"))
        self.refused(USAGE, "'cahce'", "did you mean 'cache'",
                     args=run("--disk", raw + ",cahce=none"))
        self.refused(CANNOT_START, disk, args=run("--disk", raw, "--disk", raw))
        self.refused(CANNOT_START, "two devices called 'x'",
                     args=run("--device", "rng,id=x", "--device", "rng,id=x"))
        self.refused(USAGE, "there is no device 'baloon'; did you mean 'balloon'?",
                     args=run("--device", "baloon"))
        listed = ring3("run", "--net", "list").stdout.decode()
        for word in ("socket", "connect", "mac"):
            self.assertRegex(listed, rf"(?m)^ *{word} ")
        listed = ring3("run", "--device", "list").stdout.decode()
        self.assertIn("rng", listed)
        for extra in ("", ",iothread", ",transport=mmio", ",packed,queues=4,readonly"):
            result = ring3(*run("--disk", raw + extra, "--device", "rng", "--device", "balloon"))
            self.assertEqual((result.returncode, result.stderr), (OK, b""))

    def test_configuration_file(self):
        ini = self.files.make("vm.ini", b"# a VM\nkernel = off\nengine = interp\ncpus = 2\n")
        result = ring3("run", ini, cwd="/")
        self.assertEqual((result.returncode, result.stderr), (OK, b""))
        # The command line wins, wherever the file stands in it.
        for args in (["--cpus", "x", ini], [ini, "--cpus", "x"]):
            self.refused(USAGE, "--cpus: 'x' is not a number", args=["run", *args])
        for args in (["--kernel", "/nowhere", ini], [ini, "--kernel", "/nowhere"]):
            self.refused(CANNOT_START, "'/nowhere'", args=["run", *args])
        bad = self.files.make("bad.ini", b"[run]\nkernel = off\n\nmemroy = 1G\n")
        self.refused(USAGE, f"ring3: {bad}:4: there is no key 'memroy'; did you mean 'memory'?",
                     args=["run", bad])
        bad = self.files.make("bad.ini", b"kernel = nowhere\n")
        self.refused(CANNOT_START, f"'{os.path.dirname(bad)}/nowhere'", args=["run", bad])
        self.refused(USAGE, "is not a configuration file", "--kernel",
                     args=["run", self.files.make("binary", bytes(100))])

    def test_shares_and_sockets(self):
        def run(*args):
            return ["run", "--engine", "interp", "--kernel", self.off, *args]
        folder = self.files.dir.name
        self.refused(CANNOT_START, "cannot share '/nowhere': No such file",
                     args=run("--share", "/nowhere:tag"))
        self.refused(CANNOT_START, f"cannot share '{self.off}': Not a directory",
                     args=run("--share", f"{self.off}:tag"))
        self.refused(USAGE, "a directory and a tag are needed; --share DIR:TAG",
                     args=run("--share", folder))
        self.refused(USAGE, "the tag is longer", args=run("--share", f"{folder}:{65 * 'x'}"))
        self.refused(USAGE, "'readonyl'", "did you mean 'readonly'",
                     args=run("--share", f"{folder}:x,readonyl"))
        self.refused(CANNOT_START, "there are two devices called 'a'",
                     args=run("--share", f"{folder}:x,id=a", "--share", f"{folder}:y,id=a"))
        self.refused(USAGE, "no socket is named", args=run("--device", "vsock"))
        self.refused(USAGE, "cid", args=run("--device", "vsock,cid=2,socket=x"))
        self.refused(CANNOT_START, "cannot make the socket '/nowhere/s'",
                     args=run("--device", "vsock,socket=/nowhere/s"))
        self.refused(USAGE, "there is no end of a port 'ptty'", "did you mean 'pty'",
                     args=run("--device", "console,port=ptty"))
        self.refused(USAGE, "'file' lacks a path", args=run("--device", "console,port=a@file"))
        self.refused(USAGE, "two ports are on stdio",
                     args=run("--device", "console", "--device", "console"))
        self.refused(CANNOT_START, "cannot make the socket '/nowhere/s'",
                     args=run("--device", "console,port=unix:/nowhere/s"))
        result = ring3(*run("--share", f"{folder}:x", "--device",
                            f"vsock,socket={self.files.path('vs')}"))
        self.assertEqual((result.returncode, result.stderr), (OK, b""))
        self.assertFalse(os.path.exists(self.files.path("vs")))

    def test_control_characters_stay_out_of_the_line(self):
        self.refused(CANNOT_START, "cannot open kernel 'a?b'",
                     args=["run", "--engine", "interp", "--kernel", "a\nb"])


class Memory(CliTest):
    def memory(self, size):
        return ["run", "--engine", "interp", "--kernel", self.off, "--memory", size]

    def test_too_little_or_no_size(self):
        for size, word in (("0", "too little"), ("1K", "too little"), ("1000001", "too little"),
                           ("2097153", "multiple of 4K"), ("12Q", "not a size"),
                           ("-1", "not a size"), ("99999999T", "not a size"),
                           ("1.5G", "not a size")):
            self.refused(USAGE, word, args=self.memory(size))

    def test_more_than_the_host_has(self):
        self.refused(CANNOT_START, "cannot give the guest 1048576 MiB", "the host has",
                     "ask for less", args=self.memory("1T"))
        self.refused(CANNOT_START, "cannot give the guest", args=self.memory("16777215T"))

    def test_more_than_the_process_may_have(self):
        limit = 1 << 30
        result = ring3(*self.memory("2G"),
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        self.one_line(result, CANNOT_START, "2048 MiB", "limit of this process is 1024 MiB")


class Kernels(CliTest):
    def kernel(self, path, *args):
        return ["run", "--engine", "interp", "--memory", "32M", "--kernel", path, *args]

    def test_no_kernel_there(self):
        self.refused(CANNOT_START, "cannot open kernel", "No such file",
                     args=self.kernel(self.files.path("missing")))
        self.refused(CANNOT_START, "kernel", "director", args=self.kernel(self.files.dir.name))
        self.refused(CANNOT_START, "kernel", args=self.kernel("/dev/null"))

    def test_not_a_kernel(self):
        make, refused = self.files.make, self.refused
        refused(CANNOT_START, "empty", args=self.kernel(make("empty", b"")))
        refused(CANNOT_START, "not a kernel", args=self.kernel(make("text", b"hello\n" * 1000)))
        refused(CANNOT_START, "program for user space", args=self.kernel(RING3))
        refused(CANNOT_START, "kernel", args=self.kernel(make("elf", b"\x7fELF" * 200)))
        for n in (1, 100, 511, 4096):
            refused(CANNOT_START, "not a kernel", args=self.kernel(make("zero", bytes(n))))

    def test_truncated(self):
        whole = guests.bzimage()
        for cut in (0x1F1, 0x206, 0x210, 0x230, 600, len(whole) - 100):
            path = self.files.make("cut", whole[:cut])
            self.refused(CANNOT_START, "kernel", args=self.kernel(path))
        elf = guests.image(guests.power_off())
        for cut in (4, 20, 52, 60, 84, len(elf) - 1):
            path = self.files.make("cut", elf[:cut])
            self.refused(CANNOT_START, "kernel", args=self.kernel(path))

    def test_header_points_outside(self):
        for offset, value in ((28, 0xFFFFFF00), (52 + 4, 0x7FFFFFFF), (52 + 16, 0x7FFFFFFF),
                              (52 + 12, 0xFFFFF000)):
            elf = bytearray(guests.image(guests.power_off()))
            elf[offset:offset + 4] = value.to_bytes(4, "little")
            self.refused(CANNOT_START, "kernel", args=self.kernel(self.files.make("bad", elf)))
        image = bytearray(guests.bzimage())
        image[0x1F1] = 255
        self.refused(CANNOT_START, "kernel", args=self.kernel(self.files.make("bad", image)))

    def test_initrd(self):
        kernel = self.files.make("bz", guests.bzimage())
        self.refused(CANNOT_START, "cannot open initrd", "No such file",
                     args=self.kernel(kernel, "--initrd", self.files.path("missing")))
        big = self.files.make("big", b"")
        os.truncate(big, 64 << 20)
        self.refused(CANNOT_START, "initrd", args=self.kernel(kernel, "--initrd", big))

    def test_command_line_too_long(self):
        kernel = self.files.make("bz", guests.bzimage())
        self.refused(CANNOT_START, "command line", args=self.kernel(kernel, "--append", "x" * 4000))


class Host(CliTest):
    """What the host refuses."""

    def test_kvm_without_permission(self):
        if os.getuid() != 0:
            self.skipTest("needs root, to give up its rights")
        if os.path.exists("/dev/kvm") and os.stat("/dev/kvm").st_mode & stat.S_IRWXO:
            self.skipTest("everybody may use /dev/kvm here")

        def become_nobody():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        try:
            result = ring3("run", "--engine", "kvm", "--kernel", self.off,
                           preexec_fn=become_nobody)
        except PermissionError:
            self.skipTest("nobody cannot reach the program under test")
        self.one_line(result, CANNOT_START, "/dev/kvm")

    def without_kvm(self, *args):
        script = 'mount -t tmpfs none /dev && exec "$@"'
        return subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", RING3, *args],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)

    def test_no_kvm(self):
        probe = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
                               stdin=subprocess.DEVNULL, capture_output=True)
        if probe.returncode:
            self.skipTest("cannot hide /dev/kvm: " + probe.stderr.decode().strip())
        result = self.without_kvm("run", "--kernel", self.hello)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (OK, b"hello\n", b""))
        result = self.without_kvm("run", "--engine", "kvm", "--kernel", self.hello)
        self.one_line(result, CANNOT_START, "cannot open /dev/kvm: No such file")
        result = self.without_kvm("doctor")
        self.assertRegex(result.stdout.decode(), r"(?m)^  kvm +absent +cannot open /dev/kvm")
        self.assertEqual(result.returncode, OK)

    def test_auto_says_what_it_passes_over(self):
        result = ring3("run", "--kernel", self.hello)
        self.assertEqual((result.returncode, result.stdout), (OK, b"hello\n"))
        auto = ring3("doctor").stdout.decode()
        slow = re.search(r"(?m)^  kvm +slow", auto)
        forbidden = re.search(r"(?m)^  kvm +forbidden", auto)
        if slow:
            self.one_line(result, OK, "kvm executes guests in software here", "using dbt",
                          "--engine kvm insists")
        elif forbidden:
            self.one_line(result, OK, "using dbt, because kvm", "/dev/kvm")
        else:
            self.assertEqual(result.stderr, b"")
        # A guest that does not start has one line of its own.
        self.refused(CANNOT_START, "cannot open kernel",
                     args=["run", "--kernel", self.files.path("missing")])
        log = self.files.path("auto.txt")
        self.assertEqual(ring3("run", "--kernel", self.hello, "--log", log).stderr, b"")

    def test_output_files(self):
        for option in ("--serial", "--debugcon", "--log"):
            result = self.run_guest(self.hello, option, "/nonexistent/file")
            self.one_line(result, CANNOT_START, "cannot open '/nonexistent/file' for writing")

    def test_network(self):
        def net(status, words, *nets):
            args = ["run", "--kernel", self.off, "--engine", "interp"]
            self.refused(status, words, args=args + [w for n in nets for w in ("--net", n)])

        net(USAGE, "no kind of network 'usr'", "usr")
        net(USAGE, "there is no key 'fwd'", "user,fwd=tcp:1:2")
        net(USAGE, "six pairs", "user,mac=1:2")
        net(USAGE, "several queues", "user,model=e1000,queues=2")
        net(CANNOT_START, "there is no TAP interface 'no-such-tap'; make one, as root: "
            "ip tuntap add dev no-such-tap mode tap", "tap,no-such-tap")
        net(CANNOT_START, "two devices called 'a'", "socket,listen=127.0.0.1:0,id=a",
            "socket,listen=127.0.0.1:0,id=a")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            net(CANNOT_START, "choose another port, or find out who", f"user,forward=tcp:{port}:22")
        self.assertEqual(ring3("run", "--kernel", self.off, "--engine", "interp", "--net", "none",
                               "--net", "user,restrict").returncode, OK)

    def test_full_disk(self):
        with open("/dev/full", "wb") as full:
            result = self.run_guest(self.hello, stdout=full)
        self.one_line(result, HOST_FAILED, "standard output", "No space left on device")
        result = self.run_guest(self.flood, "--serial", "/dev/full")
        self.one_line(result, HOST_FAILED, "/dev/full", "No space left on device")
        with open("/dev/full", "wb") as full:
            self.one_line(ring3("--help", stdout=full), HOST_FAILED, "standard output")
            self.one_line(ring3("run", "--help", stdout=full), HOST_FAILED, "standard output")

    def test_closed_pipe(self):
        r, w = os.pipe()
        os.close(r)
        result = self.run_guest(self.flood, stdout=w)
        os.close(w)
        self.one_line(result, HOST_FAILED, "standard output", "Broken pipe")

    def test_closed_descriptors(self):
        result = self.run_guest(self.hello, preexec_fn=lambda: os.close(1), stdout=None)
        self.one_line(result, HOST_FAILED, "standard output")
        result = self.run_guest(self.hello, preexec_fn=lambda: os.close(0), stdin=None)
        self.assertEqual((result.returncode, result.stdout), (OK, b"hello\n"))
        result = self.run_guest(self.hello, preexec_fn=lambda: os.close(2))
        self.assertEqual((result.returncode, result.stdout), (OK, b"hello\n"))


class Ends(CliTest):
    """How guests end, and with what status."""

    def end(self, status, *parts, args=(), err=r"\A\Z"):
        kernel = self.files.make("guest", guests.image(*parts))
        result = self.run_guest(kernel, *args)
        self.assertEqual(result.returncode, status, result.stderr.decode())
        self.assertRegex(result.stderr.decode(), err)
        return result

    def test_power_off(self):
        self.assertEqual(self.end(OK, guests.text("bye"), guests.power_off()).stdout, b"bye")

    def test_debug_exit(self):
        self.end(1, guests.debug_exit(0))
        self.end(7, guests.debug_exit(3))
        self.end(11, guests.debug_exit(5, port=0x501), args=["--debug-exit-port", "0x501"])

    def test_reset(self):
        self.end(RESET, guests.reset(), args=["--no-reboot"], err="asked for a reset")

    def test_panic(self):
        self.end(PANIC, guests.panic(), err="panic")

    def test_triple_fault(self):
        result = self.end(TRIPLE_FAULT, guests.triple_fault(), err="triple fault")
        for word in ("rip", "cr0", "cr3", "int3"):
            self.assertIn(word, result.stderr.decode().lower())

    def test_reset_reboots_and_signals_end(self):
        kernel = self.files.make("again", guests.image(guests.text("boot\n"), guests.reset()))
        for signo in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with subprocess.Popen([RING3, "run", "--engine", "interp", "--kernel", kernel],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as p:
                for _ in range(3):
                    self.assertEqual(p.stdout.readline(), b"boot\n")
                p.send_signal(signo)
                try:
                    self.assertEqual(p.communicate(timeout=PATIENCE)[1], b"")
                finally:
                    p.kill()
                self.assertEqual(p.returncode, -signo)


class Console(CliTest):
    def test_input_passes_unchanged(self):
        kernel = self.files.make("echo", guests.image(guests.echo_until("q"), guests.power_off()))
        sent = b"hello\001x\001c\r\n\x03\x04" + bytes(range(0, 256)).replace(b"q", b"") * 8 + b"q"
        result = subprocess.run([RING3, "run", "--engine", "interp", "--kernel", kernel],
                                input=sent, capture_output=True, timeout=PATIENCE)
        self.assertEqual((result.returncode, result.stderr), (OK, b""))
        self.assertEqual(result.stdout, sent)
        # A regular file, which epoll does not watch.
        with open(self.files.make("input", sent), "rb") as f:
            self.assertEqual(self.run_guest(kernel, stdin=f).stdout, sent)

    def test_input_waits_for_the_guest(self):
        # Drivers clear the receiver while they set up; all of that comes before.
        sent = bytes(range(ord("a"), ord("q"))) * 4 + b"q"
        kernel = self.files.make("late", guests.image(
            guests.clear_fifos() * 3, guests.text("console\n"), guests.clear_fifos(),
            guests.echo_until("q"), guests.power_off()))
        for _ in range(5):
            result = subprocess.run([RING3, "run", "--engine", "interp", "--kernel", kernel],
                                    input=sent, capture_output=True, timeout=PATIENCE)
            self.assertEqual((result.returncode, result.stderr), (OK, b""))
            self.assertEqual(result.stdout, b"console\n" + sent)

    def test_nobody_reads(self):
        kernel = self.files.make("much", guests.image(guests.print_times(3 << 20),
                                                      guests.power_off()))
        r, w = os.pipe()
        flags = os.get_blocking(w)
        result = self.run_guest(kernel, stdout=w)
        self.assertEqual(result.returncode, OK)
        self.assertEqual(os.get_blocking(w), flags)
        os.close(w)
        os.close(r)

    def test_where_output_goes(self):
        out = self.files.path("serial.txt")
        result = self.run_guest(self.hello, "--serial", out)
        self.assertEqual((result.returncode, result.stdout), (OK, b""))
        with open(out, "rb") as f:
            self.assertEqual(f.read(), b"hello\n")
        result = self.run_guest(self.hello, "--serial", "none")
        self.assertEqual((result.returncode, result.stdout), (OK, b""))
        kernel = self.files.make("e9", guests.image(guests.outb(0xE9, ord("D")),
                                                    guests.power_off()))
        self.assertEqual(self.run_guest(kernel, "--debugcon", "stdio").stdout, b"D")
        self.assertEqual(self.run_guest(kernel).stdout, b"")

    def test_trace_and_log(self):
        log = self.files.path("log.txt")
        result = self.run_guest(self.hello, "--trace", "device,boot", "--log", log)
        self.assertEqual((result.returncode, result.stderr), (OK, b""))
        with open(log, encoding="utf-8") as f:
            self.assertRegex(f.read(), r"(?m)^\[(device|boot)\] ")


class Translator(CliTest):
    """What can be seen of the translator."""

    def test_dump_blocks(self):
        path = self.files.path("blocks.txt")
        loop = b"\xb9\x10\x27\0\0\xe2\xfe"          # mov ecx, 10000; loop
        kernel = self.files.make("loop", guests.image(loop, guests.text("x"), guests.power_off()))
        result = ring3("run", "--engine", "dbt", "--kernel", kernel, "--dump-blocks", path)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (OK, b"x", b""))
        with open(path, encoding="utf-8") as f:
            text = f.read()
        self.assertRegex(text, r"(?m)^# vcpu 0: \d+ blocks and traces")
        self.assertRegex(text, r"(?m)^block 1000[0-9a-f]+  phys 1000[0-9a-f]+  32-bit kernel")
        self.assertRegex(text, r"(?m)^#\d+ +1000[0-9a-f]+  out dx, al +\|")
        self.assertRegex(text, r"EXIT of #\d+: interpret, taken [1-9]\d* times")
        ran = [int(n) for n in re.findall(r"(?m)^  ran (\d+) times; ", text)]
        self.assertGreaterEqual(sum(ran), 10000)
        # Each loop's own block comes before those that ran once.
        self.assertGreater(ran[0], 1)
        self.assertEqual(len(re.findall(r"(?m)^  ends: ", text)), len(ran))

    def test_dump_that_cannot_be(self):
        self.one_line(ring3("run", "--engine", "interp", "--kernel", self.off, "--dump-blocks",
                            self.files.path("none.txt")), USAGE, "translates nothing", "dbt")
        run = ["run", "--engine", "dbt", "--kernel", self.off, "--dump-blocks"]
        self.one_line(ring3(*run, "/nonexistent/x"), CANNOT_START, "cannot open '/nonexistent/x'")
        self.one_line(ring3(*run, "/dev/full"), HOST_FAILED, "cannot write '/dev/full'", "space")

    def test_trace_translate(self):
        log = self.files.path("translate.txt")
        result = ring3("run", "--engine", "dbt", "--kernel", self.hello, "--trace", "translate",
                       "--log", log)
        self.assertEqual((result.returncode, result.stdout), (OK, b"hello\n"))
        with open(log, encoding="utf-8") as f:
            text = f.read()
        self.assertRegex(text, r"(?m)^\[translate\] vcpu 0: block 1000[0-9a-f]+ at 1000[0-9a-f]+, "
                               r"32-bit kernel: \d+ instructions, \d+ bytes, become \d+ bytes")


class Terminal(CliTest):
    """`ring3 run` on a pseudo-terminal that is its controlling one."""

    def start(self, kernel, engine="interp"):
        pid, fd = pty.fork()
        if pid == 0:
            os.execv(RING3, [RING3, "run", "--engine", engine, "--kernel", kernel])
        self.addCleanup(os.close, fd)
        self.addCleanup(self.reap, pid)
        self.pid, self.fd, self.seen = pid, fd, b""

    def reap(self, pid):
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def expect(self, text):
        """Reads until `text`; what came before it is in self.seen."""
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], PATIENCE)
            self.assertTrue(ready, "waiting for %r, got %r" % (text, self.seen))
            try:
                self.seen += os.read(self.fd, 4096)
            except OSError:
                self.fail("ended without %r: %r" % (text, self.seen))
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, keys):
        os.write(self.fd, keys)

    def is_raw(self):
        return not termios.tcgetattr(self.fd)[3] & termios.ICANON

    def ended(self):
        """The wait status, once the terminal has been read empty."""
        with contextlib.suppress(OSError):
            while os.read(self.fd, 4096):
                pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def start_echo(self):
        self.start(self.files.make("echo", guests.image(
            guests.text("ready\n"), guests.echo_until("q"), guests.power_off())))
        self.expect(b"ready")

    def test_keys_and_power_off(self):
        self.start_echo()
        self.assertTrue(self.is_raw())
        self.type(b"ab\x03\x1a\001\001c")
        self.expect(b"ab\x03\x1a\001c")
        self.type(b"q")
        self.assertEqual(self.ended(), OK)
        self.assertFalse(self.is_raw())

    def test_ctrl_a_x(self):
        self.start_echo()
        self.type(b"\001h")
        self.expect(b"end the virtual machine")
        self.type(b"\001x")
        self.expect(b"ended by Ctrl-A x")
        self.assertEqual(self.ended(), STOPPED)
        self.assertFalse(self.is_raw())

    def test_monitor_on_the_translator(self):
        path = self.files.path("monitor-blocks.txt")
        self.start(self.files.make("echo", guests.image(
            guests.text("ready\n"), guests.echo_until("q"), guests.power_off())), "dbt")
        self.expect(b"ready")
        self.type(b"\001c")
        self.expect(b"(ring3) ")
        self.type(b"info engine\r")
        for what in (b"time:", b"%", b"vCPU 0", b"blocks ", b"code cache", b"linked",
                     b"invalidated", b"left for", b"fills", b"interpreted", b"(ring3) "):
            self.expect(what)
        self.type(f"dump-blocks {path}\r".encode())
        self.expect(b"(ring3) ")
        with open(path, encoding="utf-8") as f:
            self.assertIn("out dx, al", f.read())
        self.type(b"quit\r")
        self.assertEqual(self.ended(), STOPPED)

    def test_monitor(self):
        self.start_echo()
        self.type(b"\001c")
        self.expect(b"(ring3) ")
        for line, answer in ((b"info registers", b"rip"), (b"info exits", b"port writes"),
                             (b"info devices", b"com1"), (b"info bus", b"port 03f8-03ff"),
                             (b"info memory", b"KiB"), (b"info engine", b"interp"),
                             (b"info cpuid", b"00000000"), (b"x /4i $rip", b"0x00000000001000"),
                             (b"xp /2xw 0x100000", b"0x464c457f"), (b"pause", b"paused"),
                             (b"info engine", b"paused"), (b"continue", b"running"),
                             (b"regsiters", b"there is no command"), (b"help", b"info exits"),
                             (b"reset", b"reset")):
            self.type(line + b"\r")
            self.expect(answer)
            self.expect(b"(ring3) ")
        self.type(b"\r")
        self.expect(b"ready")           # the reset guest, held back until now
        self.type(b"x")
        self.expect(b"x")
        self.type(b"\001cquit\r")
        self.assertEqual(self.ended(), STOPPED)
        self.assertFalse(self.is_raw())

    def test_signals_restore(self):
        for signo in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT,
                      signal.SIGSEGV, signal.SIGABRT):
            self.start_echo()
            self.assertTrue(self.is_raw())
            os.kill(self.pid, signal.SIGWINCH)
            os.kill(self.pid, signo)
            self.assertEqual(self.ended(), -signo)
            self.assertFalse(self.is_raw())


class Documents(CliTest):
    """--help, the man page and the completion know the same words."""

    def setUp(self):
        self.help = ring3("run", "--help").stdout.decode()
        self.options = set(re.findall(r"(?m)^  (--[a-z-]+)", self.help))
        self.assertGreater(len(self.options), 10)
        self.statuses = set(re.findall(r"(?m)^  (\d+|odd|128\+n) +",
                                       self.help.partition("Exit status")[2]))
        self.assertGreater(len(self.statuses), 5)

    def read(self, name):
        with open(os.path.join(SOURCE, "docs", name), encoding="utf-8") as f:
            return f.read()

    def test_help(self):
        for args in (["--help"], ["help"], ["run", "--help"], ["help", "run"],
                     ["doctor", "--help"], ["version", "--help"]):
            result = ring3(*args)
            self.assertEqual((result.returncode, result.stderr), (OK, b""))
            self.assertIn(b"ring3", result.stdout)
        self.assertRegex(ring3("--version").stdout.decode(), r"\Aring3 \d+\.\d+\.\d+\n\Z")
        self.assertEqual(ring3("version").stdout, ring3("--version").stdout)
        self.assertLessEqual(max(map(len, self.help.splitlines())), 100)

    def test_man_page(self):
        page = self.read("ring3.1.scd")
        section = page.partition("# OPTIONS OF RUN")[2].partition("\n# ")[0]
        self.assertEqual(set(re.findall(r"(?m)^\*(--[a-z-]+)\*", section)), self.options)
        section = page.partition("# EXIT STATUS")[2].partition("\n# ")[0]
        self.assertEqual(set(re.findall(r"(?m)^\*([^*]+)\*$", section)), self.statuses)

    def test_trace_categories(self):
        line = ring3("run", "--kernel", "x", "--trace", "zzzzzzzzzz").stderr.decode()
        names = re.search(r"there are (.*)\n", line).group(1).split(", ")
        text = re.search(r"--trace(.*?)  --", self.help, re.S).group(1)
        for where in (text, self.read("ring3.1.scd"), self.read("ring3.bash")):
            for name in names:
                self.assertRegex(where, r"\b_?%s_?\b" % name)

    def test_completion(self):
        script = self.read("ring3.bash")
        words = re.search(r'run_options="([^"]*)"', script).group(1).split()
        self.assertEqual(set(words), self.options)
        verbs = set(re.search(r'verbs="([^"]*)"', script).group(1).split())
        self.assertEqual(verbs, set(re.findall(r"(?m)^  ([a-z-]+) +", ring3("--help").stdout.decode()
                                               .partition("Commands")[2].partition("Options")[0])))

    def test_paths_exist(self):
        # What README and ARCHITECTURE call by a path is there; src/ may be left out.
        for name in ("../README.md", "ARCHITECTURE.md", "CONTRIBUTING.md",
                     "translator.md"):
            text = self.read(name)
            words = re.findall(r"`([\w./-]+)`", text) + re.findall(r"\]\(([\w./-]+)\)", text)
            paths = [w for w in words if "/" in w and not w.startswith(("/", "build/"))]
            self.assertTrue(paths)
            for path in paths:
                self.assertTrue(any(os.path.exists(os.path.join(SOURCE, d, path))
                                    for d in (".", "src", "src/engine")), f"{name}: {path}")

    def test_translator_files(self):
        """What translator.md calls by a name alone is in engine/dbt."""
        for name in re.findall(r"`(\w+\.[ch])`", self.read("translator.md")):
            self.assertTrue(os.path.exists(os.path.join(SOURCE, "src/engine/dbt", name)), name)

    def test_readme(self):
        text = self.read("../README.md")
        for option in re.findall(r"(?<=[ `'])--[a-z][a-z-]+", text):
            self.assertIn(option, self.options | {"--help", "--json", "--rounds", "--format", "--backing",
                                         "--backing-format"})
        listed = re.findall(r"(?m)^\| ([\w, +]+) \|", text.partition("| status |")[2])
        self.assertEqual(set(", ".join(listed).split(", ")) & self.statuses, self.statuses)
        engines = ring3("run", "--engine", "list").stdout.decode()
        for name in re.findall(r"(?m)^(\w+) ", engines):
            self.assertIn(f"| `{name}` |", text)

    def test_lists(self):
        self.assertIn("interp", ring3("run", "--engine", "list").stdout.decode())
        self.assertIn("pc", ring3("run", "--machine", "list").stdout.decode())
        self.assertIn("default", ring3("run", "--cpu", "list").stdout.decode())


def default_signals():
    """A background job may have been started with these ignored, and programs
    that find them so leave them so."""
    for signo in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(signo, signal.SIG_DFL)


if __name__ == "__main__":
    default_signals()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
