"""Images of the reference implementation, opened read-write, changed and closed: clean, and their files unchanged."""

import hashlib
import json
import os
import random
import subprocess

from harness import KIB, MIB, Case, inspect, inspected_files, main, run, shared

HASH_BYTES_MAX = 256 * MIB  # larger files are compared by their size alone
CAT_FILES = 6  # read back through the command, for each image
MANY_SYNCS = ("f02-default-8g-slot3", "f14-format-1")


class ReferenceImages(Case):

    def test_every_other(self):
        self.change_all(0)

    def test_the_others(self):
        self.change_all(1)

    def change_all(self, first):
        manifest = shared("fixtures", "manifest.json")
        if manifest is None or shared("tools", "h2inspect.py") is None:
            return
        with open(manifest, encoding="utf-8") as file:
            images = json.load(file)["images"]
        self.assertTrue(images)
        for image in images[first::2]:
            with self.subTest(image=image["name"]):
                self.change_and_compare(image)

    def change_and_compare(self, described):
        path = self.path(described["name"] + ".img")
        subprocess.run(["zstd", "-q", "-d", "--sparse", "--long=27", "-f", "-o", path,
                        shared("fixtures", described["name"] + ".img.zst")], check=True)
        try:
            warnings = self.warnings(path)
            expected = self.change(described, path)
            self.assertEqual(self.warnings(path), warnings)
            self.assert_old_files(described, path)
            self.assert_new_disks(expected, path)
        finally:
            os.unlink(path)

    def change(self, described, path):
        """Disks added, overwritten, resized, renamed, deleted, with Syncs between. Gives name -> content."""
        rng = random.Random(described["name"])
        server = self.serve(path, flags=["--allow-one-header-slot"])
        disks = {}
        for name, size in (("new disk", 3 * MIB + 5), ("small", 300), ("gone", MIB), ("holes", 8 * MIB)):
            data = rng.randbytes(size // 2) + bytes(size - size // 2)
            server.h2bd("import", self.write_file("in", data), name, "--no-sync")
            disks[name] = bytearray(data)
        for number in range(100 if described["name"] in MANY_SYNCS else 8):
            data = rng.randbytes(rng.choice([1, 512, 4 * KIB, 70 * KIB]))
            offset = rng.randrange(len(disks["holes"]) - len(data))
            disks["holes"][offset:offset + len(data)] = data
            server.h2bd("write", "holes", "--offset", offset, self.write_file("in", data), "--durable")
        server.h2bd("disk", "rm", "gone")
        del disks["gone"]
        server.h2bd("disk", "resize", "new disk", "--size", "1M")
        disks["new disk"] = disks["new disk"][:MIB]
        server.h2bd("disk", "rename", "small", "renamed")
        disks["renamed"] = disks.pop("small")
        self.default_pfs = server.json("volume", "status")["default_pfs"]
        self.stop(server)
        return disks

    def warnings(self, path):
        """What `media check` warns of. There is nothing, but where the reference was told to leave something behind."""
        done = run("media", "check", path, check=False)
        found = {line for line in done.stdout.splitlines() if line.startswith("warning")}
        if not found:
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("error ", done.stdout)
        return found

    def assert_old_files(self, described, path):
        self.found = inspect("--max-hash", str(HASH_BYTES_MAX), path)
        files = [(pfs["name"], {**entry, "path": entry["path"].lstrip("/")}) for pfs in described["pfs"] for entry in pfs["entries"]
                 if entry["type"] == "file"]
        now = inspected_files(self.found)
        for pfs, entry in files:
            got = now[(pfs, entry["path"])]
            self.assertEqual(got["size"], entry["size"], entry["path"])
            if got.get("sha256") is not None:
                self.assertEqual(got["sha256"], entry["sha256"], entry["path"])
        plain = [(pfs, entry) for pfs, entry in files
                 if entry["size"] <= 16 * MIB and "path_hex" not in entry]
        for pfs, entry in random.Random(1).sample(plain, min(CAT_FILES, len(plain))):
            got = run("media", "cat", path, f"{pfs}/{entry['path']}", text=False).stdout
            self.assertEqual(hashlib.sha256(got).hexdigest(), entry["sha256"], entry["path"])

    def assert_new_disks(self, disks, path):
        now = inspected_files(self.found)
        self.assertNotIn((self.default_pfs, "gone"), now)
        for name, content in disks.items():
            self.assertEqual(now[(self.default_pfs, name)]["sha256"],
                             hashlib.sha256(content).hexdigest(), name)


if __name__ == "__main__":
    main()
