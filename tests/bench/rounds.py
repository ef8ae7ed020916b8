#!/usr/bin/env python3
"""Runs h2bd and a yardstick in turn and prints what comes out as a markdown table.

    rounds.py --build DIR --work DIR [--device PATH] [--rounds N] [--only WORD] [--readme FILE]

Each row compares two things that ran in the same minute, A-B-A-B, --rounds times. The ratio is the median of the
ratios of the rounds, with the smallest and the largest beside it; the two absolute columns are medians and hold
for this machine only. All traffic stays on the loopback interface.
"""

import argparse
import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
import time

from flush_rows import FlushRows
from space_rows import SpaceRows

MIB, GIB = 1 << 20, 1 << 30
DEVICE_BYTES = 4 * GIB  # two header slots; room for one round between two formats
TRANSFER_BYTES = GIB
CACHED_BYTES = 256 * MIB  # fits the server's cache of clean blocks
SERVER, METRICS, NULL = "127.0.0.1:7520", "127.0.0.1:9842", "127.0.0.1:7521"
# In the order of a cycle.
PHASES = ("cut", "inodes", "pfs_roots", "super_root", "freemap", "header_image", "writeout", "barrier1", "header",
          "barrier2")
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


class Bench:
    def __init__(self, arguments):
        self.build = os.path.abspath(arguments.build)
        self.work = os.path.abspath(arguments.work)
        os.makedirs(self.work, exist_ok=True)
        self.device = arguments.device or os.path.join(self.work, "bench.img")
        self.rounds = arguments.rounds
        self.only = arguments.only
        self.log = open(os.path.join(self.work, "servers.log"), "wb")
        self.rows, self.profiles = [], {}

    # --- programs ---------------------------------------------------------------------------------

    def program(self, name):
        return os.path.join(self.build, "bin" if name in ("h2bd", "h2bd-server") else "bench", name)

    def json_of(self, name, **options):
        command = [self.program(name)]
        for key, value in options.items():
            command += ["--" + key, str(value)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600)
        return json.loads(done.stdout)

    def client(self, *arguments):
        subprocess.run([self.program("h2bd"), *arguments], check=True, timeout=120,
                       stdout=subprocess.DEVNULL)

    @contextlib.contextmanager
    def running(self, command, ready):
        process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{command[0]} does not answer; see {self.log.name}")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            if process.wait(timeout=120) != 0:
                sys.exit(f"{command[0]} ended with {process.returncode}; see {self.log.name}")

    def h2bd_server(self):
        command = [self.program("h2bd-server"), "--volume", self.device, "--listen", SERVER,
                   "--metrics", METRICS]
        status = [self.program("h2bd"), "--server", SERVER, "volume", "status"]
        ready = lambda: subprocess.run(status, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, timeout=60).returncode == 0
        return self.running(command, ready)

    def null_server(self):
        def ready():
            return subprocess.run([self.program("channel_load"), "--server", NULL, "--disk", "x", "--op",
                                   "read", "--bytes", "65536"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, timeout=60).returncode == 0
        return self.running([self.program("null_server"), "--listen", NULL], ready)

    def new_volume(self):
        self.client("media", "format", self.device, "--force")

    def new_disk(self):
        self.client("--server", SERVER, "disk", "create", "bench", "--size", str(TRANSFER_BYTES))

    def load(self, server, op, io, size=TRANSFER_BYTES, **more):
        return self.json_of("channel_load", server=server, disk="pfs/-/disks/bench", op=op, io=io,
                            bytes=size, window=max(16 * io, MIB), **more)

    def fio_write(self):
        command = ["fio", "--name=write", "--filename=" + self.device, "--rw=write", "--bs=64k",
                   "--iodepth=16", "--ioengine=" + self.fio_engine, "--direct=1",
                   f"--size={TRANSFER_BYTES}", "--end_fsync=1", "--output-format=json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600)
        job = json.loads(done.stdout)["jobs"][0]
        return TRANSFER_BYTES / 1e6 / (job["job_runtime"] / 1e3)

    @functools.cached_property
    def fio_engine(self):
        probe = ["fio", "--name=probe", "--filename=" + os.path.join(self.work, "probe"), "--rw=write",
                 "--bs=64k", "--size=64k", "--ioengine=io_uring"]
        works = subprocess.run(probe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
        return "io_uring" if works else "libaio"

    # --- comparisons --------------------------------------------------------------------------------

    def wanted(self, *names):
        return not self.only or any(self.only in name for name in names)

    def precondition(self):
        """Every byte written once, so that neither side pays for the allocation of the file."""
        if not os.path.exists(self.device):
            with open(self.device, "wb") as image:
                for _ in range(DEVICE_BYTES // (8 * MIB)):
                    image.write(os.urandom(8 * MIB))
                os.fsync(image.fileno())

    def report(self, name, unit, a, b, yardstick):
        ratios = [x / y for x, y in zip(a, b)]
        figure = lambda x: f"{x:,.0f} {unit}" if x >= 100 else f"{x:.3g} {unit}"
        self.rows.append((name, figure(statistics.median(a)), figure(statistics.median(b)), yardstick,
                          f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}–{max(ratios):.2f}"))
        print(f"{name}: {self.rows[-1][1]} against {self.rows[-1][2]}, ratio {self.rows[-1][4]} "
              f"({self.rows[-1][5]})", file=sys.stderr, flush=True)

    def channel(self, io, label):
        """Writes, then reads from the device (after a restart), then reads of what is cached."""
        names = [f"`Channel` {what}, {label}" for what in
                 ("write + Sync", "read from the device", "read from the cache")]
        if not self.wanted(*names):
            return
        ours, null = [[], [], []], [[], [], []]
        with self.null_server():
            for _ in range(self.rounds):
                self.new_volume()
                with self.h2bd_server():
                    self.new_disk()
                    ours[0].append(self.load(SERVER, "write", io)["mb_per_s"])
                null[0].append(self.load(NULL, "write", io)["mb_per_s"])
                with self.h2bd_server():
                    ours[1].append(self.load(SERVER, "read", io)["mb_per_s"])
                    null[1].append(self.load(NULL, "read", io)["mb_per_s"])
                    self.load(SERVER, "read", io, CACHED_BYTES)
                    ours[2].append(self.load(SERVER, "read", io, CACHED_BYTES)["mb_per_s"])
                    null[2].append(self.load(NULL, "read", io, CACHED_BYTES)["mb_per_s"])
        for name, a, b in zip(names, ours, null):
            self.report(name, "MB/s", a, b, "gRPC stream that answers at once")

    def engine(self, content, label):
        name = f"engine write + Sync, {label}"
        if not self.wanted(name):
            return
        ours, fio, runs = [], [], []
        for _ in range(self.rounds):
            runs.append(self.json_of("engine_bench", device=self.device, bytes=TRANSFER_BYTES,
                                     io=MIB, content=content))
            ours.append(runs[-1]["mb_per_s"])
            fio.append(self.fio_write())
        self.report(name, "MB/s", ours, fio, f"fio {self.fio_engine}, 64 KiB, depth 16, O_DIRECT")
        self.profiles[f"{name}: ms in each phase, all cycles"] = {
            phase: 1e3 * statistics.median(run["phase_seconds"].get(phase, 0) for run in runs)
            for phase in PHASES}

    def sync(self):
        name = "flush: Sync after a 4 KiB write, engine"
        if not self.wanted(name):
            return
        runs, engine, barriers, commit = [], [], [], []
        p50 = lambda result: result["latency"]["p50_us"]
        for _ in range(self.rounds):
            runs.append(self.json_of("sync_bench", mode="engine", device=self.device))
            engine.append(p50(runs[-1]))
            barriers.append(p50(self.json_of("sync_bench", mode="barriers", device=self.device)))
            commit.append(p50(self.json_of("sync_bench", mode="commit", device=self.device)))
        self.report(name, "us", engine, barriers, "4 KiB write + 2 × fdatasync")
        self.report(name, "us", engine, commit, "64 KiB, fdatasync, 64 KiB, fdatasync")
        self.profiles[f"{name}: p50 of each phase, us"] = {
            phase: statistics.median(run["phases_p50_us"][phase] for run in runs)
            for phase in PHASES}

    def sync_over_rpc(self):
        name = "Sync after a 4 KiB write, `Channel`"
        if not self.wanted(name):
            return
        rpc, barriers = [], []
        p50 = lambda result: result["latency"]["p50_us"]
        for _ in range(self.rounds):
            self.new_volume()
            with self.h2bd_server():
                self.new_disk()
                self.load(SERVER, "write", MIB, CACHED_BYTES)
                rpc.append(p50(self.load(SERVER, "sync", 4096, CACHED_BYTES, count=500)))
            barriers.append(p50(self.json_of("sync_bench", mode="barriers", device=self.device)))
        self.report(name, "us", rpc, barriers, "4 KiB write + 2 × fdatasync")

    # --- output ---------------------------------------------------------------------------------------

    def markdown(self):
        lines = ["| what | h2bd | yardstick | is | ratio | spread |", "|---|--:|--:|---|--:|---|"]
        lines += [f"| {n} | {a} | {b} | {y} | **{r}** | {s} |" for n, a, b, y, r, s in self.rows]
        for title, phases in self.profiles.items():
            shown = {k: v for k, v in phases.items() if v > 0}
            if not shown:
                continue
            lines += ["", title + ":", "", "| " + " | ".join(shown) + " |", "|" + "--:|" * len(shown),
                      "| " + " | ".join(f"{v:.0f}" if v >= 100 else f"{v:.2g}" for v in shown.values()) + " |"]
        return "\n".join(lines)


def write_between_markers(path, text):
    with open(path, encoding="utf-8") as file:
        old = file.read()
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(BEGIN) > old.index(END):
        sys.exit(f"{path} does not hold {BEGIN} and {END} once each, in this order")
    new = old[:old.index(BEGIN) + len(BEGIN)] + "\n" + text + "\n" + old[old.index(END):]
    with open(path, "w", encoding="utf-8") as file:
        file.write(new)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build", required=True, help="build directory")
    parser.add_argument("--work", required=True, help="directory for the test file and logs")
    parser.add_argument("--device", help="file or block device to use; ITS CONTENT IS LOST")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="rows whose name holds this word")
    parser.add_argument("--readme", help="write the table between the markers of this file, too")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    bench.precondition()
    bench.channel(64 << 10, "64 KiB")
    bench.channel(MIB, "1 MiB")
    bench.engine("random", "incompressible")
    bench.engine("text", "text of ratio 2")
    bench.sync()
    bench.sync_over_rpc()
    FlushRows(bench).all()
    SpaceRows(bench).all()
    cores = f"{os.cpu_count()} cores, Linux {os.uname().release.split('-')[0]}"
    text = f"{time.strftime('%Y-%m-%d')}, {cores}, {arguments.rounds} rounds. MB/s: more is better; us: less is.\n\n" + bench.markdown()
    print(text)
    if arguments.readme:
        write_between_markers(arguments.readme, text)


if __name__ == "__main__":
    main()
