"""What cannot be done is refused with the right exit code and a message that says why, and changes nothing."""

import os
import subprocess

from harness import GIB, MIB, SERVER, Case, fingerprint, main, make_image, run

HEADER_SPACING = 2 * GIB
MAGIC = (0x48414D3205172011).to_bytes(8, "little")


def headers(size_bytes):
    return range(0, min(size_bytes, 4 * HEADER_SPACING), HEADER_SPACING)


def poke(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


class Refused(Case):
    """Commands to a server. One server for all rows: none of them may change the volume."""

    def test_commands(self):
        volume = self.image()
        server = self.serve(volume)
        server.h2bd("disk", "create", "vm1", "--size", "1M")
        server.h2bd("disk", "create", "taken", "--size", "1M")
        file = self.write_file("file", b"x" * 100)
        server.h2bd("write", "vm1", "--offset", "0", file)
        server.h2bd("sync")
        missing = self.path("missing")
        rows = [
            # exit code, a part of the message, arguments
            (2, "subcommand is required", ["disk"]),
            (2, "frob", ["frob"]),
            (2, "--nope", ["disk", "ls", "--nope"]),
            (2, "--size", ["disk", "create", "x"]),
            (2, "10GB", ["disk", "create", "x", "--size", "10GB"]),
            (2, "-1", ["disk", "create", "x", "--size", "-1"]),
            (2, "64 bits", ["disk", "create", "x", "--size", "99999999999T"]),
            (2, "OUT_OF_RANGE", ["disk", "create", "x", "--size", "8E"]),
            (2, "empty", ["disk", "create", "", "--size", "1M"]),
            (2, "reserved", ["disk", "create", "..", "--size", "1M"]),
            (2, "empty", ["disk", "create", "DATA/", "--size", "1M"]),
            (2, "255", ["disk", "create", "n" * 256, "--size", "1M"]),
            (2, "INVALID_ARGUMENT", ["disk", "create", "DATA/dir/file", "--size", "1M"]),
            (3, "NOT_FOUND", ["disk", "create", "NOPFS/x", "--size", "1M"]),
            (4, "ALREADY_EXISTS", ["disk", "create", "taken", "--size", "1M"]),
            (3, "NOT_FOUND", ["disk", "info", "nix"]),
            (3, "NOT_FOUND", ["disk", "ls", "NOPFS"]),
            (3, "NOT_FOUND", ["disk", "resize", "nix", "--size", "1M"]),
            (3, "NOT_FOUND", ["disk", "rm", "nix"]),
            (4, "ALREADY_EXISTS", ["disk", "rename", "vm1", "taken"]),
            (2, "stays in its PFS", ["disk", "rename", "vm1", "OTHER/x"]),
            (2, "within the disk", ["write", "vm1", "--offset", "1M", file]),
            (2, "within the disk", ["write", "vm1", "--offset", "1048477", file]),
            (2, "within the disk", ["read", "vm1", "--offset", "0", "--length", "1048577"]),
            (2, "within the disk", ["read", "vm1", "--offset", "15E", "--length", "15E"]),
            (3, "NOT_FOUND", ["write", "nix", "--offset", "0", file]),
            (3, "NOT_FOUND", ["read", "nix"]),
            (1, "No such file", ["write", "vm1", "--offset", "0", missing]),
            (1, "Is a directory", ["import", self.dir, "x"]),
            (1, "No such file", ["import", missing, "x"]),
            (3, "NOT_FOUND", ["import", file, "nix", "--no-create"]),
            (2, "--size", ["import", file, "x", "--size", "10"]),
            (8, "exists with", ["import", file, "vm1", "--size", "2M"]),
            (1, "No such file", ["export", "vm1", os.path.join(missing, "x")]),
            (3, "NOT_FOUND", ["export", "nix", missing]),
            (3, "NOT_FOUND", ["sync", "nix"]),
            (2, "nothing to change", ["txn"]),
            (2, "DISK:OFFSET:FILE", ["txn", "vm1:0"]),
            (1, "No such file", ["txn", f"vm1:0:{missing}"]),
            (2, "OUT_OF_RANGE", ["txn", f"vm1:0:{file}", f"vm1:1M:{file}"]),
            (3, "NOT_FOUND", ["txn", f"vm1:0:{file}", f"nix:0:{file}"]),
            (2, "xml", ["-o", "xml", "disk", "ls"]),
            (2, "not positive", ["--timeout", "0", "disk", "ls"]),
        ]
        before = fingerprint(volume)
        listed = server.json("disk", "ls")
        for code, fragment, arguments in rows:
            with self.subTest(arguments=arguments):
                done = server.h2bd(*arguments, check=False)
                self.assert_fails(done, code, "h2bd: ", fragment)
                self.assertEqual(done.stdout, "")
        self.assertFalse(os.path.exists(missing))
        self.assertEqual(server.json("disk", "ls"), listed)
        self.assertEqual(fingerprint(volume), before)
        self.stop(server)
        self.assert_clean(volume)

    def test_nobody_there(self):
        for arguments in (["disk", "ls"], ["import", self.write_file("f", b"x"), "vm1"], ["sync"]):
            done = run("--server", f"unix:{self.path('nobody')}", *arguments, check=False)
            self.assert_fails(done, 7, "h2bd: ", "(UNAVAILABLE")
        done = run("--tls-ca", self.path("missing"), "disk", "ls", check=False)
        self.assert_fails(done, 3, "TLS CA file")

    def test_a_read_only_server(self):
        volume = self.image()
        server = self.serve(volume)
        server.h2bd("import", self.write_file("in", b"content" * 1000), "vm1")
        self.stop(server)
        before = fingerprint(volume)
        server = self.serve(volume, flags=["--read-only"])
        self.assertEqual(server.h2bd("read", "vm1", "--length", "7").stdout, "content")
        for arguments in (["disk", "create", "x", "--size", "1M"], ["disk", "rm", "vm1"],
                          ["disk", "resize", "vm1", "--size", "1"],
                          ["write", "vm1", "--offset", "0", self.write_file("in", b"new")]):
            self.assert_fails(server.h2bd(*arguments, check=False), 8,
                              "(FAILED_PRECONDITION, READ_ONLY)")
        self.stop(server)
        self.assertEqual(fingerprint(volume), before)


class ServerRefuses(Case):
    """The server does not start, says why, and leaves every byte as it was."""

    def refuse(self, code, fragment, *volume, flags=(), unchanged=()):
        before = [fingerprint(path) for path in unchanged]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("H2BD_")}
        arguments = [SERVER, "--listen", f"unix:{self.path('s2')}", "--metrics", "off", *flags]
        if volume:
            arguments += ["--volume", ",".join(volume)]
        done = subprocess.run(arguments, capture_output=True, text=True, env=clean, timeout=60,
                              check=False)
        self.assert_fails(done, code, fragment)
        self.assertEqual([fingerprint(path) for path in unchanged], before)

    def test_settings(self):
        self.refuse(2, "--volume")
        image = self.image()
        self.refuse(2, "--nope", image, flags=["--nope"], unchanged=[image])
        self.refuse(2, "dirty-limit", image, flags=["--dirty-limit", "lots"], unchanged=[image])
        self.refuse(2, "flush-age", image, flags=["--flush-age", "-1s"], unchanged=[image])
        self.refuse(2, "listen", image, flags=["--listen", "nonsense"], unchanged=[image])
        config = self.write_file("h2bd.toml", b"volume = [\"x\"]\nflush_speed = 3\n")
        self.refuse(2, "flush_speed", image, flags=["--config", config], unchanged=[image])
        self.refuse(2, "missing.toml", image, flags=["--config", self.path("missing.toml")])

    def test_paths(self):
        self.refuse(1, "No such file", self.path("missing.img"))
        self.refuse(1, "directory", self.dir)
        image = self.image()
        self.refuse(1, "in use", image, image, unchanged=[image])

    def test_not_a_volume(self):
        blank = self.path("blank.img")
        with open(blank, "wb") as file:
            file.truncate(GIB)
        self.refuse(1, "not a HAMMER2 volume", blank, unchanged=[blank])
        poke(blank, 1024 + 56, b"\x53\xef")
        self.refuse(1, "ext", blank, unchanged=[blank])
        small = self.write_file("small.img", b"x" * 1000)
        self.refuse(1, "small.img", small, unchanged=[small])

    def test_wrong_byte_order(self):
        image = self.image()
        for at in headers(3 * GIB):
            poke(image, at, MAGIC[::-1])
        self.refuse(1, "big-endian", image, unchanged=[image])

    def test_truncated(self):
        image = self.image()
        os.truncate(image, 2 * GIB + 64 * MIB)
        self.refuse(1, "volume.img", image, unchanged=[image])

    def test_damaged_headers(self):
        image = self.image()
        for at in headers(3 * GIB):
            poke(image, at + 0x30, b"\xff" * 8)
        self.refuse(1, "all volume headers are damaged", image, unchanged=[image])
        self.assert_fails(run("media", "check", image, check=False), 1, "header")

    def test_one_header_slot(self):
        image = self.image(2 * GIB)
        self.refuse(1, "ONE_HEADER_SLOT", image, unchanged=[image])
        self.stop(self.serve(image, flags=["--allow-one-header-slot"]))

    def test_in_use(self):
        image = self.image()
        server = self.serve(image)
        self.refuse(1, "in use", image, unchanged=[image])
        self.assert_fails(run("media", "format", "--force", image, check=False), 1, "in use")
        self.assertEqual(server.json("disk", "ls"), {"disks": []})
        self.stop(server)

    def test_devices_of_two_volumes(self):
        image, other = self.image(), self.path("other.img")
        make_image(other, 3 * GIB)
        self.refuse(1, "other.img", image, other, unchanged=[image, other])

    def test_formatting_over_something(self):
        image = self.image()
        before = fingerprint(image)
        self.assert_fails(run("media", "format", image, check=False), 1, "HAMMER2")
        self.assertEqual(fingerprint(image), before)


if __name__ == "__main__":
    main()
