#!/usr/bin/env python3
"""The test of check_requirements.py: each way in which a table can be wrong is found, and only those."""

import pathlib
import tempfile
import unittest

import check_requirements

SOURCES = """
TEST(Alpha, One) {}
TEST_F(Alpha, TwoOfThem) {}
TEST_P(Beta, Runs) {}
INSTANTIATE_TEST_SUITE_P(All, Beta, testing::Bool());
TEST_P(Gamma, NeverRuns) {}
TEST(Alpha, DISABLED_Three) {}
// TEST(Alpha, Four) {}
TEST(DeltaTest,
     OnItsOwnLine) {}
"""
CMAKE = """
add_test(NAME script_test COMMAND true)
h2bd_e2e_test(tour tour)
# add_test(NAME gone_test COMMAND true)
"""


class CheckRequirements(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name)
        (self.root / "tests").mkdir()
        (self.root / "tests" / "some_test.cc").write_text(SOURCES, encoding="utf-8")
        (self.root / "tests" / "CMakeLists.txt").write_text(CMAKE, encoding="utf-8")

    def problems(self, cell, kind="F", met="yes", name="F-001", faults=""):
        yes, no = int(met == "yes"), int(met.startswith("no"))
        table = self.root / "table.md"
        table.write_text(
            f"1 rows: {yes} yes, {no} no\n\n"
            f"| id | rule | class | where | test | met? |\n|---|---|---|---|---|---|\n"
            f"| {name} | rule | {kind} | where | {cell} | {met} |\n{faults}", encoding="utf-8")
        return check_requirements.check(self.root, table)[0]

    def test_what_is_right_passes(self):
        for cell in ("Alpha.One", "Alpha.One, .TwoOfThem", "Alpha.*", "Alpha.Two…", "Beta.Runs (both)", "n/a",
                     "script_test, e2e_tour", "DeltaTest.OnItsOwnLine", "DeltaTest (its draws)", "Beta.*/4GiB"):
            self.assertEqual(self.problems(cell), [], cell)

    def test_a_missing_test_is_found(self):
        for cell in ("**none**", "Alpha.One; in the engine **none**", "", "by reading"):
            for kind, name in (("F", "F-001"), ("S", "F-210a"), ("-", "I-01"), ("-", "D-26")):
                self.assertEqual(len(self.problems(cell, kind, name=name)), 1, cell)

    def test_advice_and_what_is_not_there_need_no_test(self):
        self.assertEqual(self.problems("**none**", "H"), [])
        self.assertEqual(self.problems("**none**", "F", "no: there are no snapshots"), [])
        self.assertEqual(len(self.problems("**none**", "F", "partly: but not all")), 1)

    def test_a_test_that_does_not_exist_or_never_runs_is_found(self):
        for cell in ("Alpha.Other", "Alpha.One, .Other", "Other.*", "Alpha.Tree…", "Gamma.NeverRuns",
                     "Alpha.DISABLED_Three", "Alpha.Four", "OtherTest (its draws)", "gone_test", "e2e_other"):
            self.assertEqual(len(self.problems(cell)), 1, cell)
        self.assertEqual(len(self.problems("Alpha.Other", "H")), 1)

    def test_rows_of_the_fault_table_count(self):
        self.assertEqual(self.problems("n/a", faults="| 3 | short write | Alpha.One | - |\n"), [])
        self.assertEqual(len(self.problems("n/a", faults="| 3 | short write | **none** | all |\n")), 1)
        self.assertEqual(len(self.problems("n/a", faults="| 3 | short write | - |\n")), 1)

    def test_wrong_counts_and_rows_that_stand_twice_are_found(self):
        self.assertEqual(len(self.problems("n/a", faults="| F-001 | r | F | w | n/a | yes |\n")), 2)
        table = self.root / "empty.md"
        table.write_text("", encoding="utf-8")
        self.assertEqual(len(check_requirements.check(self.root, table)[0]), 1)


if __name__ == "__main__":
    unittest.main()
