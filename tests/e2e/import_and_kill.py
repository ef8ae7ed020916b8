"""A file system goes in, the server dies at once after the Sync, and the same bytes come out."""

import hashlib
import os
import random
import shutil
import subprocess

from harness import MIB, Case, inspected_files, main, run, sha256, skip_loudly


class ImportAndKill(Case):

    def file_system(self, size_bytes):
        """An ext4 image with a small tree in it."""
        mkfs = shutil.which("mkfs.ext4", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if mkfs is None:
            self.fail("mkfs.ext4 is not installed (package e2fsprogs)")
        rng = random.Random(4)
        tree = self.path("tree")
        for number in range(40):
            directory = os.path.join(tree, f"dir{number % 7}")
            os.makedirs(directory, exist_ok=True)
            size = rng.choice([0, 100, 5000, 70_000, 900_000])
            data = rng.randbytes(size) if number % 2 else b"all work and no play " * (size // 21)
            with open(os.path.join(directory, f"file{number}"), "wb") as file:
                file.write(data)
        image = self.path("ext4.img")
        with open(image, "wb") as file:
            file.truncate(size_bytes)
        subprocess.run([mkfs, "-q", "-d", tree, image], check=True, capture_output=True)
        return image

    def test_what_was_synced_survives(self):
        source = self.file_system(128 * MIB)
        expected = sha256(source)
        volume = self.image()
        server = self.serve(volume)
        summary = server.json("import", source, "root", "--no-sync")
        self.assertEqual(summary["bytes"], 128 * MIB)
        self.assertLess(summary["data_bytes"], 64 * MIB)
        server.h2bd("sync")
        server.kill()

        found = self.assert_clean(volume)
        if found is not None:
            entry = inspected_files(found)[("DATA", "root")]
            self.assertEqual((entry["size"], entry["sha256"]), (128 * MIB, expected))
        self.assertEqual(self.media_hash(volume, "root"), expected)

        server.start()
        self.assertEqual(server.json("disk", "info", "root")["size_bytes"], 128 * MIB)
        server.h2bd("export", "root", self.path("back.img"))
        self.assertEqual(sha256(self.path("back.img")), expected)
        self.assertLess(os.stat(self.path("back.img")).st_blocks * 512, 64 * MIB)
        fsck = shutil.which("e2fsck", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if fsck is None:
            skip_loudly("e2fsck is not installed")
        else:
            subprocess.run([fsck, "-fn", self.path("back.img")], check=True, capture_output=True)
        self.stop(server)
        self.assert_clean(volume)

    def test_many_kills(self):
        """Each round overwrites, syncs, writes more that is not synced, and dies."""
        volume = self.image()
        server = self.serve(volume)
        server.h2bd("disk", "create", "vm1", "--size", "16M")
        rng = random.Random(5)
        synced = bytearray(16 * MIB)
        for round_number in range(6):
            for _ in range(4):
                data = rng.randbytes(rng.choice([700, 4096, 65536, 300_000]))
                offset = rng.randrange(8 * MIB - len(data))
                synced[offset:offset + len(data)] = data
                server.h2bd("write", "vm1", "--offset", offset, self.write_file("in", data))
            server.h2bd("sync", "vm1" if round_number % 2 else "DATA/vm1")
            # Behind the part that is compared: it may be there or not.
            server.h2bd("write", "vm1", "--offset", 8 * MIB, self.write_file("in", rng.randbytes(MIB)))
            server.kill()
            self.assert_clean(volume)
            server.start()
            server.h2bd("read", "vm1", "--length", 8 * MIB, self.path("out"))
            self.assertEqual(self.read_file("out"), bytes(synced[:8 * MIB]))
        self.stop(server)
        self.assert_clean(volume)

    def media_hash(self, volume, path):
        return hashlib.sha256(run("media", "cat", volume, f"DATA/{path}", text=False).stdout).hexdigest()


if __name__ == "__main__":
    main()
