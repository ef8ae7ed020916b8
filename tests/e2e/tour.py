"""Every command once, against a real server."""

import json
import os
import random

from harness import GIB, KIB, MIB, Case, main, run, sha256


class Tour(Case):

    def test_disks(self):
        server = self.serve(self.image())
        self.assertEqual(server.json("disk", "ls"), {"disks": []})
        made = server.json("disk", "create", "vm1", "--size", "10G")
        self.assertEqual(made["name"], "DATA/vm1")
        self.assertEqual(made["size_bytes"], 10 * GIB)
        self.assert_fails(server.h2bd("disk", "create", "vm1", "--size", "1G", check=False), 4,
                          "h2bd: ", "(ALREADY_EXISTS)")
        server.h2bd("disk", "create", "DATA/vm2", "--size", "64M")
        self.assertEqual([d["name"] for d in server.json("disk", "ls")["disks"]],
                         ["DATA/vm1", "DATA/vm2"])
        self.assertEqual(server.json("disk", "resize", "vm2", "--size", "1000001")["size_bytes"],
                         1000001)
        self.assertEqual(server.json("disk", "rename", "vm2", "backup")["name"], "DATA/backup")
        self.assert_fails(server.h2bd("disk", "info", "vm2", check=False), 3, "(NOT_FOUND)")
        inode = server.json("disk", "info", "backup")["inode_number"]
        self.assertNotEqual(inode, made["inode_number"])
        self.assertEqual(server.json("disk", "rm", "backup"), {"deleted": "backup"})
        table = server.h2bd("disk", "ls").stdout.splitlines()
        self.assertEqual(len(table), 2)
        self.assertTrue(table[0].startswith("NAME"), table)
        self.assertTrue(table[1].startswith("DATA/vm1"), table)
        self.stop(server)

    def test_many_disks_come_back_on_several_pages(self):
        server = self.serve(self.image())
        names = [f"disk-{i:02}" for i in range(30)]
        for name in names:
            server.h2bd("disk", "create", name, "--size", "1M")
        listed = [d["name"] for d in server.json("disk", "ls", "DATA")["disks"]]
        self.assertEqual(listed, [f"DATA/{name}" for name in names])
        self.stop(server)
        self.assert_clean(self.path("volume.img"))

    def test_names_that_need_escaping(self):
        server = self.serve(self.image())
        for name in ("two words", "50%", "caf\u00e9", "x:y", "n" * 255):
            made = server.json("disk", "create", name, "--size", "1M")
            self.assertEqual(made["name"], f"DATA/{name}")
            data = name.encode()
            server.h2bd("write", name, "--offset", "0", "-", input=name)
            read = server.h2bd("read", name, "--length", len(data), text=False)
            self.assertEqual(read.stdout, data)
        self.stop(server)
        self.assert_clean(self.path("volume.img"))

    def test_bytes(self):
        server = self.serve(self.image())
        server.h2bd("disk", "create", "vm1", "--size", "64M")
        model = bytearray(64 * MIB)
        rng = random.Random(1)
        for _ in range(25):
            data = rng.randbytes(rng.choice([1, 511, 4 * KIB, 64 * KIB, 200 * KIB, 3 * MIB]))
            offset = rng.randrange(len(model) - len(data))
            model[offset:offset + len(data)] = data
            server.h2bd("write", "vm1", "--offset", offset, self.write_file("in", data))
            if rng.random() < 0.3:
                server.h2bd("sync", "vm1")
        for offset, length in ((0, 64 * MIB), (1, 1), (64 * MIB - 1, 1), (12345, 7 * MIB + 1)):
            server.h2bd("read", "vm1", "--offset", offset, "--length", length, self.path("out"))
            self.assertEqual(self.read_file("out"), model[offset:offset + length])
        self.assertEqual(server.h2bd("read", "vm1", "--offset", "64M", text=False).stdout, b"")
        self.assertGreater(server.json("sync")["mirror_tid"], 0)
        server.h2bd("write", "vm1", "--offset", 0, self.write_file("in", b"once more"))
        synced = server.json("sync", "--pfs", "DATA")
        self.assertGreater(synced["phase_seconds"]["barrier2"], 0)
        self.stop(server)
        self.assert_clean(self.path("volume.img"))

    def test_pipes(self):
        server = self.serve(self.image())
        data = random.Random(2).randbytes(3 * MIB + 17)
        server.h2bd("import", "-", "piped", "--size", "8M", input=data, text=False)
        self.assertEqual(server.h2bd("export", "piped", "-", text=False).stdout,
                         data + bytes(8 * MIB - len(data)))
        self.assert_fails(server.h2bd("import", "-", "unsized", input="x", check=False), 2, "--size")
        # More than the disk holds: the offset is named.
        self.assert_fails(server.h2bd("import", "-", "piped", input="x" * (9 * MIB), check=False), 2,
                          "(OUT_OF_RANGE", "offset 8388608")
        self.stop(server)

    def test_import_into_a_used_disk_writes_its_zeros(self):
        server = self.serve(self.image())
        server.h2bd("import", self.write_file("old", b"\xff" * (2 * MIB)), "vm1")
        with open(self.path("new"), "wb") as file:
            file.write(b"begin")
            file.truncate(2 * MIB)
        server.h2bd("import", self.path("new"), "vm1")
        server.h2bd("export", "vm1", self.path("out"))
        self.assertEqual(sha256(self.path("out")), sha256(self.path("new")))
        # What was zeros takes no place on the machine that got it.
        self.assertLess(os.stat(self.path("out")).st_blocks * 512, MIB)
        self.stop(server)

    def test_volume_and_pfs(self):
        image = self.image()
        server = self.serve(image)
        volume = server.json("volume", "status")
        self.assertEqual(volume["devices"], [image])
        self.assertEqual(volume["default_pfs"], "DATA")
        self.assertFalse(volume["read_only"])
        self.assertIsNone(volume["failure"])
        self.assertEqual(volume["header_slots"], 2)
        free = volume["space"]["free_bytes"]
        server.h2bd("import", self.write_file("in", random.Random(3).randbytes(8 * MIB)), "vm1")
        self.assertLess(server.json("volume", "status")["space"]["free_bytes"], free - 8 * MIB + 1)
        self.assertIn("read-write", server.h2bd("volume", "status").stdout)
        labels = [pfs["label"] for pfs in server.json("pfs", "ls")["pfs"]]
        self.assertIn("DATA", labels)
        self.stop(server)

    def test_the_address_from_the_environment(self):
        server = self.serve(self.image())
        done = run("disk", "ls", "-o", "json", env={"H2BD_SERVER": server.address})
        self.assertEqual(json.loads(done.stdout), {"disks": []})
        self.stop(server)
        done = run("disk", "ls", check=False, env={"H2BD_SERVER": server.address})
        self.assert_fails(done, 7, "(UNAVAILABLE)")


if __name__ == "__main__":
    main()
