"""What the end-to-end tests share: a volume in a temporary directory, a server process on it, the h2bd command.

Programs are found through H2BD_BIN_DIR. Shared material (reference images, the independent inspector) is found
through H2BD_SHARED, by default ../shared beside the source tree; what needs it says loudly when it is not there.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

BIN_DIR = os.environ.get("H2BD_BIN_DIR", "build/bin")
H2BD = os.path.join(BIN_DIR, "h2bd")
SERVER = os.path.join(BIN_DIR, "h2bd-server")
SOURCE_DIR = os.environ.get(
    "H2BD_SOURCE_DIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SHARED_DIR = os.environ.get("H2BD_SHARED", os.path.join(SOURCE_DIR, "..", "shared"))
START_SECONDS = 60  # a bound, not an expectation


def skip_loudly(what):
    print(f"\n*** SKIPPED: {what} ***\n", file=sys.stderr, flush=True)


def shared(*parts):
    """A path of the shared material, or None (said loudly)."""
    path = os.path.join(SHARED_DIR, *parts)
    if os.path.exists(path):
        return path
    skip_loudly(f"{path} is not there (H2BD_SHARED names the directory)")
    return None


def run(*arguments, input=None, check=True, text=True, env=None):
    """Runs the h2bd command."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("H2BD_")}
    done = subprocess.run([H2BD, *map(str, arguments)], input=input, capture_output=True,
                          text=text, env={**clean, **(env or {})}, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"h2bd {arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def pieces(path):
    """(offset, bytes) of everything in the file that is no hole, in 1 MiB pieces."""
    with open(path, "rb") as file:
        fd, end = file.fileno(), os.fstat(file.fileno()).st_size
        at = 0
        while at < end:
            try:
                at = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:
                return
            hole = os.lseek(fd, at, os.SEEK_HOLE)
            while at < hole:
                data = os.pread(fd, min(MIB, hole - at), at)
                yield at, data
                at += len(data)


def fingerprint(path):
    """Changes when any byte of the file changes; cheap for sparse files."""
    digest = hashlib.sha256(str(os.stat(path).st_size).encode())
    for at, data in pieces(path):
        if data.count(0) != len(data):
            digest.update(at.to_bytes(8, "little"))
            digest.update(data)
    return digest.hexdigest()


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(MIB):
            digest.update(data)
    return digest.hexdigest()


def make_image(path, size_bytes, *format_options):
    with open(path, "wb") as file:
        file.truncate(size_bytes)
    run("media", "format", path, *format_options)
    return path


def inspect(*images):
    """What the independent inspector finds, None when it is not at hand. Damage is an AssertionError."""
    tool = shared("tools", "h2inspect.py")
    if tool is None:
        return None
    done = subprocess.run([sys.executable, "-B", tool, "--compact", *images], capture_output=True,
                          text=True, check=False)
    found = json.loads(done.stdout)
    if done.returncode != 0 or found["check_errors"]:
        raise AssertionError(f"h2inspect.py {images}: exit {done.returncode}, {found['check_errors'][:20]}")
    return found


def inspected_files(found):
    """(PFS, path) -> entry of every regular file."""
    return {(name, path.lstrip("/")): entry for name, pfs in found["pfs"].items()
            for path, entry in pfs["files"].items() if entry["type"] == "file"}


class Server:
    """A server process. Its log goes to a file that is shown when something fails."""

    def __init__(self, directory, *images, flags=(), metrics=False):
        self.directory = directory
        self.images = images
        self.address = f"unix:{directory}/socket"
        self.metrics = f"127.0.0.1:{free_port()}" if metrics else None
        self.log_path = os.path.join(directory, "server.log")
        self.arguments = [SERVER, "--volume", ",".join(images), "--listen", self.address,
                          "--metrics", self.metrics or "off", *flags]
        self.process = None

    def start(self):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("H2BD_")}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.arguments, stdout=log, stderr=log, env=clean)
        deadline = time.monotonic() + START_SECONDS
        while self.h2bd("volume", "status", "--timeout", "5s", check=False).returncode != 0:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}\n{self.log()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the server does not answer\n{self.log()}")
            time.sleep(0.05)
        return self

    def h2bd(self, *arguments, **options):
        return run("--server", self.address, *arguments, **options)

    def json(self, *arguments):
        return json.loads(self.h2bd("-o", "json", *arguments).stdout)

    def scrape(self):
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=START_SECONDS) as page:
            return page.read().decode()

    def terminate(self):
        """SIGTERM; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=START_SECONDS)

    def kill(self):
        """As a power cut of the machine would end it, as far as the process is concerned."""
        self.process.kill()
        self.process.wait()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()[-6000:]


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Case(unittest.TestCase):
    """A test with a directory of its own; servers that it started end with it."""

    maxDiff = None

    def setUp(self):
        # A short path: that of a socket may have about a hundred bytes.
        self.dir = tempfile.mkdtemp(prefix="h2bd-e2e-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.servers = []
        self.addCleanup(self.end_servers)

    def end_servers(self):
        for server in self.servers:
            if server.process is not None and server.process.poll() is None:
                server.kill()

    def path(self, name):
        return os.path.join(self.dir, name)

    def write_file(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def read_file(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def image(self, size_bytes=3 * GIB, *format_options):
        return make_image(self.path("volume.img"), size_bytes, *format_options)

    def serve(self, *images, flags=(), metrics=False):
        server = Server(self.dir, *images, flags=flags, metrics=metrics)
        self.servers.append(server)
        return server.start()

    def stop(self, server):
        """Ends it in order: everything is durable then."""
        self.assertEqual(server.terminate(), 0, server.log())

    def assert_clean(self, *images):
        """By our own checker, and by the independent inspector, whose findings it gives."""
        done = run("media", "check", *images, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return inspect(*images)

    def assert_fails(self, done, code, *fragments):
        output = done.stdout + done.stderr
        self.assertEqual(done.returncode, code, output)
        for fragment in fragments:
            self.assertIn(fragment, output)


def main():
    for program in (H2BD, SERVER):
        if not os.access(program, os.X_OK):
            sys.exit(f"{program} is not there: build it, or set H2BD_BIN_DIR")
    unittest.main(verbosity=2)
