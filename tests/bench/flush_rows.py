"""The rows of rounds.py about the flusher: `--only flush`.

Every program compares its two sides itself, in turn, in one run. A round in which other processes had more than a
quarter of a processor is done again, a few times; when that does not help the row says so.
"""

import os
import statistics
import sys

GIB = 1 << 30
FOREIGN_CORES_MAX = 0.25
TRIES = 4  # rounds done for each round that is wanted, at most


def foreign_cores(result):
    """The largest foreign_cores anywhere in a result."""
    if not isinstance(result, dict):
        return 0
    return max([result.get("foreign_cores", 0)] + [foreign_cores(value) for value in result.values()])


def alone_ms(cycle):
    """How long the cycle would have taken on a machine of its own: the threads share the processors, and none of them is
    faster than it ran and slept. (The waits of the threads for a processor are left out.)"""
    flushers = [t["ran_ms"] + t["slept_ms"] for name, t in cycle["threads"].items()
                if name.startswith("h2bd-fl") and t["ran_ms"] > 0.1 * cycle["cpu"]["user_ms"]]
    processor_ms = cycle["cpu"]["user_ms"] + cycle["cpu"]["system_ms"]
    return max(flushers + [processor_ms / os.cpu_count()])


class FlushRows:
    def __init__(self, bench):
        self.bench = bench

    def all(self):
        self.stalls()
        self.cuts()
        self.groups()
        self.cycles()
        self.threads()

    def quiet_rounds(self, program, **options):
        """(rounds, note): as many rounds as are wanted, quiet ones if there are as many."""
        wanted, every = self.bench.rounds, []
        for _ in range(TRIES * wanted):
            every += self.bench.json_of(program, rounds=1, **options)["rounds"]
            quiet = [r for r in every if foreign_cores(r) <= FOREIGN_CORES_MAX]
            if len(quiet) >= wanted:
                return quiet[:wanted], ""
        print(f"{program} {options}: the machine is busy", file=sys.stderr)
        return sorted(every, key=foreign_cores)[:wanted], " (the machine was busy)"

    def stalls(self):
        for device, place in ((self.bench.device, "disk"), ("memory", "memory")):
            rows = [(f"flush: 4 KiB {op}, {q}, while a cycle stores 1 GiB, {place}", op, q)
                    for op in ("write", "read") for q in ("p50", "p99", "p999")]
            if not self.bench.wanted(*[name for name, _, _ in rows]):
                continue
            rounds, note = self.quiet_rounds("stall_bench", device=device)
            of = lambda part, op, q: [r[part][op]["response"][q + "_us"] for r in rounds]
            for name, op, q in rows:
                self.bench.report(name, "us", of("cycle", op, q), of("idle", op, q), "no cycle" + note)
            for name, op, q in rows:
                if q == "p99":
                    self.bench.report(name, "us", of("cycle", op, q), of("burn", op, q),
                                      "no cycle, processors kept busy" + note)

    def cuts(self):
        for disks in (1, 64, 1000):
            name = f"flush: cut hold time, 1 GiB dirty in {disks} disk{'s'[:disks > 1]}"
            if not self.bench.wanted(name):
                continue
            rounds = [self.bench.json_of("cut_bench", device="memory", disks=disks) for _ in range(self.bench.rounds)]
            of = lambda part, q: [r[part]["hold"][q] for r in rounds]
            for q in ("p50", "p99", "max"):
                self.bench.report(f"{name}, {q}", "us", of("full", q + "_us"), of("little", q + "_us"),
                                  "64 KiB dirty in each")

    def groups(self):
        names = ["flush: Syncs/s, 64 clients", "flush: Syncs/s, one client"]
        if not self.bench.wanted(*names):
            return
        rounds, note = self.quiet_rounds("group_bench", device=self.bench.device)
        of = lambda part: [r[part]["per_s"] for r in rounds]
        barriers = [r["write_barriers_per_s"] for r in rounds]
        self.bench.report(names[0], "/s", of("many"), of("one"), "one client" + note)
        self.bench.report(names[0], "/s", of("many"), barriers, "4 KiB write + fdatasync" + note)
        self.bench.report(names[1], "/s", of("one"), barriers, "4 KiB write + fdatasync" + note)

    def cycles(self):
        device = self.bench.device
        name = "flush: cycle with 1,000 dirty blocks"
        if not self.bench.wanted(name):
            return
        result = self.bench.json_of("cycle_bench", device=device, rounds=self.bench.rounds)
        for cache in ("cold", "warm"):
            for part, where in (("spread", "spread over 1 M blocks"), ("window", "within 10 k of 1 M blocks")):
                for value, what in (("cpu_ms", "processor time"), ("wall_ms", "time")):
                    self.bench.report(f"{name} {where}, {cache}: {what}", "ms", [r[part][value] for r in result[cache]],
                                      [r["small"][value] for r in result[cache]], "10 k blocks in all")

    def threads(self):
        for content, label in (("random", "incompressible"), ("text", "text of ratio 2")):
            for device in ("memory", "sink"):
                name = f"flush: 1 GiB with 2 flusher threads, {label}, {device}"
                if not self.bench.wanted(name):
                    continue
                rounds, note = self.quiet_rounds("scaling_bench", device=device, content=content)
                rate = lambda n: [r[n]["mb_per_s"] for r in rounds]
                self.bench.report(name, "MB/s", rate("2"), rate("1"), "1 flusher thread" + note)
                alone = lambda n: [GIB / 1e3 / alone_ms(r[n]) for r in rounds]
                self.bench.report(f"{name}, reckoned without other processes", "MB/s", alone("2"), alone("1"),
                                  "1 flusher thread")
                self.bench.profiles[f"{name}: ms in each phase"] = {
                    phase: statistics.median(r["2"]["phases_ms"][phase] for r in rounds)
                    for phase in rounds[0]["2"]["phases_ms"]}
