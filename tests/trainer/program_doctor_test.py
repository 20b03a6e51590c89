#!/usr/bin/env python3
"""`enodia doctor` as a user runs it."""

import json
import unittest

import program_testing


class Doctor(program_testing.ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = program_testing.ROOT  # needs no data

    def report(self, *arguments, ranks):
        """The JSON report. A busy machine may earn warnings, never an error of links inside it."""
        return json.loads(self.succeed("doctor", "--json", *arguments, ranks=ranks).out)

    def test_measures_every_pair_of_ranks(self):
        report = self.report(ranks=3)
        self.assertEqual([rank["node"] for rank in report["ranks"]], [0, 0, 0])
        self.assertEqual([(link["low"], link["high"]) for link in report["links"]],
                         [(0, 1), (0, 2), (1, 2)])
        for link in report["links"]:
            self.assertGreater(min(link["low_to_high_mbit"], link["high_to_low_mbit"]), 0)
        self.assertIn("Open MPI", report["ranks"][2]["mpi_library"])

    def test_speaks_to_people_without_a_launcher(self):
        text = self.succeed("doctor").out
        for words in ("MPI     Open MPI", "ranks 0", "links   none: one rank"):
            self.assertIn(words, text)

    def test_ends_with_3_when_the_launcher_is_of_another_mpi(self):
        # What a rank sees whose mpirun does not speak with its MPI library.
        lonely = {"PMI_RANK": "0", "PMI_SIZE": "2"}
        environment = self.environment
        type(self).environment = classmethod(lambda cls: dict(environment(), **lonely))
        self.addCleanup(delattr, type(self), "environment")
        result = self.start("doctor")
        self.assertEqual(result.code, 3, str(result))
        self.assertIn("2 processes were started together", result.out)
        self.assertEqual(len(result.complaints()), 1, str(result))


if __name__ == "__main__":
    unittest.main()
