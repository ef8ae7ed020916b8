"""The rows of rounds.py about snapshots, clones and deletes: `--only space`."""


class SpaceRows:
    def __init__(self, bench):
        self.bench = bench

    def all(self):
        self.row("space: snapshot of 1,000 disks with 1 GiB dirty", "snapshot", "ms", "a Sync of the same")
        self.row("space: delete of a 100 GiB disk and Sync", "delete", "ms", "a Sync of one 4 KiB write")
        self.row("space: reading a clone 1,000 deep", "clone", "MB/s", "the first disk of the chain")

    def row(self, name, what, unit, yardstick):
        if not self.bench.wanted(name):
            return
        rounds = self.bench.json_of("snapshot_bench", device="memory", what=what, rounds=self.bench.rounds)["rounds"]
        self.bench.report(name, unit, [r["ours"] for r in rounds], [r["other"] for r in rounds], yardstick)
