"""Transactions over two disks: all of it or nothing, also after kill -9."""

import random

from harness import KIB, MIB, Case, main


class TwoDisks(Case):

    def setUp(self):
        super().setUp()
        self.volume = self.image()
        self.server = self.serve(self.volume)
        for disk in ("left", "right"):
            self.server.h2bd("disk", "create", disk, "--size", "8M")
        self.server.h2bd("sync")

    def read(self, disk, offset, length):
        return self.server.h2bd("read", disk, "--offset", offset, "--length", length,
                                text=False).stdout

    def test_both_or_none(self):
        rng = random.Random(6)
        for number in range(5):
            data = rng.randbytes(100 * KIB)
            file = self.write_file("in", data)
            done = self.server.json("txn", "--durable", f"left:{number * MIB}:{file}",
                                    f"right:{number * MIB + 5}:{file}")
            self.assertEqual(done["state"], "durable")
            self.assertEqual(done["changes"], 2)
            self.server.kill()
            self.assert_clean(self.volume)
            self.server.start()
            self.assertEqual(self.read("left", number * MIB, len(data)), data)
            self.assertEqual(self.read("right", number * MIB + 5, len(data)), data)
        self.stop(self.server)

    def test_what_was_not_synced_is_there_as_a_whole_or_not_at_all(self):
        blank = bytes(64 * KIB)
        for number in range(6):
            data = bytes([number + 1]) * (64 * KIB)
            file = self.write_file("in", data)
            self.server.h2bd("txn", f"left:{number * 64}K:{file}", f"right:{number * 64}K:{file}")
            self.server.kill()
            self.server.start()
            left = self.read("left", number * 64 * KIB, 64 * KIB)
            right = self.read("right", number * 64 * KIB, 64 * KIB)
            self.assertIn(left, (data, blank))
            self.assertEqual(left, right)
        self.stop(self.server)
        self.assert_clean(self.volume)

    def test_a_bad_member_stops_all_of_it(self):
        file = self.write_file("in", b"data" * 1000)
        for bad, code in ((f"right:8M:{file}", 2), (f"nix:0:{file}", 3)):
            done = self.server.h2bd("txn", f"left:0:{file}", bad, check=False)
            self.assert_fails(done, code, "h2bd: ")
            self.assertEqual(self.read("left", 0, 4000), bytes(4000))
        self.stop(self.server)
        self.assert_clean(self.volume)

    def test_sizes_change_with_the_writes(self):
        file = self.write_file("in", b"data" * 1000)
        done = self.server.h2bd("txn", f"left:8M:{file}", "left:resize:9M", check=False)
        self.assert_fails(done, 2, "h2bd: ")
        self.server.json("txn", "left:resize:9M", f"left:8M:{file}", "right:resize:1K", "--durable")
        self.server.kill()
        self.assert_clean(self.volume)
        self.server.start()
        self.assertEqual(self.read("left", 8 * MIB, 4000), b"data" * 1000)
        sizes = [self.server.json("disk", "info", disk)["size_bytes"] for disk in ("left", "right")]
        self.assertEqual(sizes, [9 * MIB, 1 * KIB])
        self.stop(self.server)
        self.assert_clean(self.volume)

    def test_a_batch_file(self):
        file = self.write_file("some bytes", b"x" * 5000)
        batch = self.write_file("batch", (
            "# first everything, then a gap in it\n"
            f"write left 0 \"{file}\"\n"
            "zero left 1K 1K\n"
            f"write DATA/right 4M \"{file}\"\n").encode())
        done = self.server.json("txn", "--batch", batch, "--durable")
        self.assertEqual((done["changes"], done["bytes"]), (3, 11024))
        self.assertEqual(self.read("left", 0, 5000), b"x" * 1024 + bytes(1024) + b"x" * 2952)
        self.assertEqual(self.read("right", 4 * MIB, 5000), b"x" * 5000)
        self.stop(self.server)
        self.assert_clean(self.volume)


if __name__ == "__main__":
    main()
