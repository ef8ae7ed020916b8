"""SIGTERM makes everything durable; the metrics page says what happens, and nothing when nothing happens."""

import random
import shutil
import subprocess
import time

from harness import MIB, Case, inspected_files, main, sha256, skip_loudly

CYCLES = "h2bd_flush_cycle_duration_seconds_count"
PHASES = "h2bd_flush_phase_duration_seconds_count"


def samples(page):
    """Series with its labels -> value."""
    lines = (line for line in page.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def total(page, name):
    return sum(value for series, value in samples(page).items() if series.split("{")[0] == name)


class StopAndMetrics(Case):

    def test_a_stop_in_order_loses_nothing(self):
        volume = self.image()
        server = self.serve(volume)
        data = self.write_file("in", random.Random(7).randbytes(24 * MIB + 123))
        server.h2bd("import", data, "vm1", "--no-sync")
        self.assertEqual(server.terminate(), 0, server.log())
        found = self.assert_clean(volume)
        if found is not None:
            self.assertEqual(inspected_files(found)[("DATA", "vm1")]["sha256"], sha256(data))
        server.start()
        server.h2bd("export", "vm1", self.path("out"))
        self.assertEqual(sha256(self.path("out")), sha256(data))
        self.stop(server)

    def test_the_page_is_well_formed(self):
        server = self.serve(self.image(), metrics=True)
        server.h2bd("import", self.write_file("in", random.Random(8).randbytes(4 * MIB)), "vm1")
        page = server.scrape()
        for name in ("h2bd_flush_cycles_total", CYCLES, PHASES, "h2bd_opseq", "h2bd_durable_opseq",
                     "h2bd_sync_requests_total", "h2bd_commit_header_slot", "h2bd_dirty_bytes"):
            self.assertTrue(any(s.split("{")[0] == name for s in samples(page)), name)
        promtool = shutil.which("promtool")
        if promtool is None:
            skip_loudly("promtool is not installed")
        else:
            done = subprocess.run([promtool, "check", "metrics"], input=page, text=True,
                                  capture_output=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(done.stdout + done.stderr, "")
        self.stop(server)

    def test_flush_figures_move_under_load_and_stand_still_when_idle(self):
        server = self.serve(self.image(), flags=["--flush-age", "200ms"], metrics=True)
        server.h2bd("disk", "create", "vm1", "--size", "16M")
        rng = random.Random(9)
        before = server.scrape()
        for number in range(5):
            server.h2bd("write", "vm1", "--offset", number * MIB,
                        self.write_file("in", rng.randbytes(256 * 1024)))
            server.h2bd("sync")
        after = server.scrape()
        self.assertGreaterEqual(total(after, CYCLES) - total(before, CYCLES), 5)
        self.assertGreater(total(after, PHASES), total(before, PHASES))
        written = "h2bd_flush_device_write_bytes_total"
        self.assertGreaterEqual(total(after, written) - total(before, written), 5 * 256 * 1024)
        self.assertGreaterEqual(total(after, "h2bd_sync_requests_total") -
                                total(before, "h2bd_sync_requests_total"), 5)
        # A write without a Sync is flushed by its age.
        server.h2bd("write", "vm1", "--offset", "9M", self.write_file("in", rng.randbytes(4096)))
        deadline = time.monotonic() + 60
        while total(server.scrape(), "h2bd_dirty_bytes") != 0:
            self.assertLess(time.monotonic(), deadline, "dirty data was not flushed by its age")
            time.sleep(0.1)
        idle = self.settled(server)
        time.sleep(2)
        later = server.scrape()
        moved = {series: (idle[series], value) for series, value in samples(later).items()
                 if series.startswith(("h2bd_flush_", "h2bd_commit_")) and idle.get(series) != value}
        self.assertEqual(moved, {})
        self.stop(server)

    def settled(self, server):
        """The samples once the last cycle is over."""
        deadline = time.monotonic() + 60
        last = samples(server.scrape())
        while True:
            time.sleep(0.5)
            now = samples(server.scrape())
            if all(now[s] == last.get(s) for s in now if s.startswith(CYCLES)):
                return now
            last = now
            self.assertLess(time.monotonic(), deadline, "cycles run although nothing is dirty")


if __name__ == "__main__":
    main()
