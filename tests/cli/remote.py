#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""remote.py RING3 - images on servers: nbdkit, qemu-nbd and a web server on loopback,
and servers that are dead, refuse, lie, or stop in the middle."""
import contextlib
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

RING3 = os.path.abspath(sys.argv[1])
PATIENCE = 60
OK, USAGE, CANNOT_START, HOST_FAILED = 0, 64, 66, 68
MIB = 1 << 20


def image(*args):
    return subprocess.run([RING3, "image", *args], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=PATIENCE)


def built_in(scheme):
    return "knows no such protocol" not in image("info", scheme + "://127.0.0.1:1/").stderr.decode()


class RemoteTest(unittest.TestCase):
    def setUp(self):
        dir_ = tempfile.TemporaryDirectory(prefix="ring3-remote-")
        self.addCleanup(dir_.cleanup)
        self.dir = dir_.name
        self.data = os.urandom(MIB) + bytes(2 * MIB) + os.urandom(MIB + 512)
        with open(self.path("disk"), "wb") as f:
            f.write(self.data)

    def path(self, name):
        return os.path.join(self.dir, name)

    def done(self, *args, status=OK):
        r = image(*args)
        self.assertEqual((r.returncode, r.stderr), (status, b""), args)
        return r.stdout.decode()

    def refused(self, words, *args, status=CANNOT_START):
        start = time.monotonic()
        r = image(*args)
        err = r.stderr.decode()
        self.assertRegex(err, r"\Aring3: [^\n]+\n\Z")
        self.assertRegex(err, words)
        self.assertEqual(r.returncode, status, err)
        self.assertLess(time.monotonic() - start, 30)

    def serve(self, *command, sock):
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(p.wait)
        self.addCleanup(p.terminate)
        for _ in range(500):
            if os.path.exists(sock):
                return p
            time.sleep(0.01)
        self.fail(f"{command[0]} does not start")

    def copies(self, url):
        """The whole image, read from there."""
        self.assertIn(f"{len(self.data)} bytes", self.done("info", url))
        self.done("convert", "--output-format", "raw", url, self.path("copy"))
        with open(self.path("copy"), "rb") as f:
            self.assertTrue(f.read() == self.data)
        self.assertIn("the same", self.done("compare", self.path("copy"), url))


@unittest.skipUnless(built_in("nbd"), "ring3 has no NBD (libnbd)")
class Nbd(RemoteTest):
    def url(self, name="nbd.sock", export=""):
        return f"nbd+unix:///{export}?socket={self.path(name)}"

    @unittest.skipUnless(shutil.which("nbdkit"), "no nbdkit")
    def test_nbdkit(self):
        self.serve("nbdkit", "-f", "-U", self.path("nbd.sock"), "file", self.path("disk"),
                   sock=self.path("nbd.sock"))
        self.copies(self.url())

    @unittest.skipUnless(shutil.which("nbdkit"), "no nbdkit")
    def test_block_size(self):
        """A server that takes whole sectors only, 64 KiB at a time."""
        self.serve("nbdkit", "-f", "-U", self.path("nbd.sock"), "--filter=blocksize-policy",
                   "file", self.path("disk"), "blocksize-minimum=512",
                   "blocksize-preferred=4096", "blocksize-maximum=65536",
                   "blocksize-error-policy=error", sock=self.path("nbd.sock"))
        self.copies(self.url())

    @unittest.skipUnless(shutil.which("qemu-nbd"), "no qemu-nbd (qemu-utils)")
    def test_qemu_nbd(self):
        self.serve("qemu-nbd", "-t", "-f", "raw", "-x", "vda", "-k", self.path("nbd.sock"),
                   self.path("disk"), sock=self.path("nbd.sock"))
        self.copies(self.url(export="vda"))
        self.refused("cannot connect.*nbd", "info", self.url(export="nosuch"))

    @unittest.skipUnless(shutil.which("nbdkit"), "no nbdkit")
    def test_refusals(self):
        self.serve("nbdkit", "-f", "-r", "-U", self.path("nbd.sock"), "file", self.path("disk"),
                   sock=self.path("nbd.sock"))
        self.refused("exported read-only", "resize", "--format", "raw", self.url(), "8M")
        self.refused("cannot connect to.*is the server running", "info", self.url("none.sock"))
        self.refused("cannot create.*only files", "create", "--format", "raw", self.url(), "1M")

    @unittest.skipUnless(shutil.which("nbdkit"), "no nbdkit")
    def test_errors(self):
        self.serve("nbdkit", "-f", "-U", self.path("nbd.sock"), "--filter=error", "file",
                   self.path("disk"), "error-pread=EIO", "error-pread-rate=100%",
                   f"error-pread-file={self.path('trigger')}", sock=self.path("nbd.sock"))
        open(self.path("trigger"), "w").close()
        self.refused("cannot read .*Input/output error", "info", self.url(), status=HOST_FAILED)
        os.unlink(self.path("trigger"))
        self.copies(self.url())

    def test_silence(self):
        """One that accepts and says nothing costs seconds, not for ever."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            self.refused("no answer within 5 s", "info", f"nbd://127.0.0.1:{s.getsockname()[1]}/")


class Targets(RemoteTest):
    """Images written to servers, read back there."""

    def filled(self, url, store):
        """The image is put on `url`, over noise; what `store` has is compared."""
        self.done("convert", "--force", "--output-format", "raw", self.path("disk"), url)
        with open(store, "rb") as f:
            self.assertTrue(f.read()[:len(self.data)] == self.data)
        self.assertIn("the same", self.done("compare", self.path("disk"), url))

    def store(self):
        with open(self.path("store"), "wb") as f:
            f.write(os.urandom(len(self.data)))
        return self.path("store")

    @unittest.skipUnless(built_in("nbd") and shutil.which("nbdkit"), "no libnbd or nbdkit")
    def test_nbd(self):
        url = f"nbd+unix:///?socket={self.path('nbd.sock')}"
        store = self.store()
        self.serve("nbdkit", "-f", "-U", self.path("nbd.sock"), "file", store,
                   sock=self.path("nbd.sock"))
        self.refused("only files can be created; --force", "convert", "--output-format", "raw",
                     self.path("disk"), url)
        self.filled(url, store)

    @unittest.skipUnless(built_in("iscsi") and shutil.which("tgtd"), "no libiscsi or tgt")
    def test_iscsi(self):
        store, ipc = self.store(), self.path("ipc")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        env = {**os.environ, "TGT_IPC_SOCKET": ipc}
        p = subprocess.Popen(["tgtd", "-f", "--iscsi", f"portal=127.0.0.1:{port}"], env=env,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        target = "iqn.2024-01.org.example:disk"

        def admin(*args):
            return subprocess.run(["tgtadm", "--lld", "iscsi", "--tid", "1", *args], env=env,
                                  capture_output=True, timeout=PATIENCE)
        for _ in range(100):
            if admin("--op", "new", "--mode", "target", "-T", target).returncode == 0:
                break
            if p.poll() is not None:
                self.skipTest("tgtd does not start here (it wants root)")
            time.sleep(0.05)
        admin("--op", "new", "--mode", "logicalunit", "--lun", "1", "-b", store)
        admin("--op", "bind", "--mode", "target", "-I", "ALL")
        url = f"iscsi://127.0.0.1:{port}/{target}"
        self.filled(url + "/1", store)
        self.refused("cannot connect", "info", url + "/7", status=HOST_FAILED)
        self.refused("Target not found", "info", url + "x/1", status=HOST_FAILED)
        self.refused("iscsi://.user", "info", "iscsi://127.0.0.1", status=CANNOT_START)

    @unittest.skipUnless(built_in("nfs") and shutil.which("ganesha.nfsd"), "no libnfs or ganesha")
    def test_nfs(self):
        """NFS 4, which needs no port mapper; libnfs 4.0 cannot write with that."""
        os.mkdir(self.path("export"))
        shutil.copy(self.path("disk"), self.path("export/disk"))
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        with open(self.path("conf"), "w") as f:
            f.write(f"""NFS_CORE_PARAM {{ NFS_Port = {port}; Protocols = 4; Enable_NLM = false;
                Enable_RQUOTA = false; Bind_addr = 127.0.0.1; }}
                NFSv4 {{ Graceless = true; RecoveryRoot = {self.path("recovery")}; }}
                EXPORT {{ Export_Id = 1; Path = {self.path("export")}; Pseudo = /x;
                Access_Type = RW; Protocols = 4; Squash = No_Root_Squash; SecType = sys;
                FSAL {{ Name = VFS; }} }}""")
        p = subprocess.Popen(["ganesha.nfsd", "-F", "-f", self.path("conf"), "-L",
                              self.path("log"), "-p", self.path("pid")],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        url = f"nfs://127.0.0.1/x/%s?nfsport={port}&version=4"
        for _ in range(100):
            if "NFSERR" in (err := image("info", url % "no").stderr.decode()) or "NOENT" in err:
                break
            if p.poll() is not None:
                self.skipTest("ganesha does not start here (it wants root)")
            time.sleep(0.1)
        self.copies(url % "disk")
        self.done("create", "--format", "raw", url % "new", "1M")
        self.refused("File exists", "create", "--format", "raw", url % "new", "1M")
        self.done("resize", "--format", "raw", url % "new", "+1M")
        self.assertEqual(os.stat(self.path("export/new")).st_size, 2 * MIB)

    @unittest.skipUnless(built_in("rbd"), "ring3 has no Ceph (librbd)")
    def test_rbd(self):
        """No cluster here: what goes wrong before one is reached."""
        self.refused("is not rbd://pool/image", "info", "rbd://pool")
        self.refused("ceph.conf", "info", "rbd://pool/image")


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves server.data by ranges; `mode` says how it misbehaves."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def do_GET(self):
        s = self.server
        if self.path == "/moved":
            return self.answer(302, b"", Location="/disk")
        if self.path != "/disk":
            return self.answer(404, b"gone\n")
        if s.mode == "secret" and not self.headers["Authorization"]:
            return self.answer(401, b"who?\n", WWW_Authenticate='Basic realm="x"')
        m = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
        if s.mode == "whole" or not m:
            return self.answer(200, s.data)
        first, last = int(m[1]), min(int(m[2]), len(s.data) - 1)
        s.requests += 1
        if s.mode == "drops" and s.requests % 2 == 0:
            self.close_connection = True
            return None
        if s.mode == "changes" and s.requests > 2:
            return self.answer(206, s.data[first:last + 1], Content_Range=f"bytes {first}-{last}/7")
        if s.mode == "shifts" and s.requests > 2:
            first += 1
        body = s.data[first:last + 1]
        if s.mode == "short" and s.requests > 2:
            body = body[:-1]
        return self.answer(206, body, Content_Range=f"bytes {first}-{last}/{len(s.data)}")


@unittest.skipUnless(built_in("http"), "ring3 has no HTTP (libcurl)")
class Http(RemoteTest):
    def start(self, mode=""):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.data, server.mode, server.requests = self.data, mode, 0
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}"

    def test_reading(self):
        url = self.start()
        self.copies(url + "/disk")
        self.assertIn("raw", self.done("info", url + "/moved"))

    def test_dropped_connections(self):
        self.copies(self.start("drops") + "/disk")

    def test_refusals(self):
        url = self.start()
        self.refused("has no .*404", "info", url + "/none")
        self.refused("can only be read", "resize", "--format", "raw", url + "/disk", "8M")
        self.refused("cannot read", "info", "http://127.0.0.1:1/disk", status=HOST_FAILED)
        self.refused("refuses .*401.*password", "info", self.start("secret") + "/disk")
        self.refused("does not serve parts", "info", self.start("whole") + "/disk")

    def test_password(self):
        url = self.start("secret").replace("//", "//user:word@")
        self.assertIn("raw", self.done("info", url + "/disk"))

    def test_lies(self):
        for mode in ("changes", "shifts", "short"):
            with self.subTest(mode):
                self.refused("cannot read .*Input/output error", "convert", "--output-format",
                             "raw", self.start(mode) + "/disk", self.path("copy"),
                             status=HOST_FAILED)
                self.assertFalse(os.path.exists(self.path("copy")))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
