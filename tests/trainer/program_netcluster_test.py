"""scripts/netcluster.sh: training across nodes that this machine plays. Exits with 77 where it cannot."""

import json
import os
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from program_testing import PROGRAM, ROOT, ProgramTest

NETCLUSTER = ROOT / "scripts/netcluster.sh"


def cluster(nodes, ranks, *options, program=(PROGRAM,)):
    return [str(NETCLUSTER), "--nodes", str(nodes), "--ranks-per-node", str(ranks),
            *map(str, options), "--", *map(str, program)]


class Netcluster(ProgramTest):
    def play(self, *command):
        return subprocess.run(command, cwd=self.folder, env=self.environment(), check=False,
                              capture_output=True, text=True, timeout=120)

    def train_on_nodes(self, folder, nodes, ranks, *options):
        arguments = self.train_arguments(folder, train__steps=2, placement__policy="enodia")
        done = self.play(*cluster(nodes, ranks, "--counters", f"{folder}.json", *options,
                                  program=(PROGRAM, *arguments)))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_no_process_left()
        return json.loads((self.folder / f"{folder}.json").read_text())

    def test_trains_what_one_machine_trains_and_counts_what_crosses_nodes(self):
        self.train("one", ranks=4, train__steps=2, placement__policy="owners")
        links = self.train_on_nodes("nodes", 2, 2, "--rate", "400mbit")["links"]
        self.assert_close(self.losses("nodes"), self.losses("one"), 1e-5)
        # Two nodes: what one sends the other receives, but for the last packets on their way.
        self.assertAlmostEqual(links[0]["sent_bytes"], links[1]["received_bytes"], delta=1e5)
        sent = sum(record["bytes"]["tokens"] for record in self.metrics("nodes"))
        self.assertGreater(links[0]["sent_bytes"], sent / 4)
        # Across nodes plans are priced by rates, unless the configuration says otherwise.
        rates = dict(line.split(": ") for line in (self.folder / "nodes/rates.yaml").read_text().splitlines()
                     if not line.startswith("#"))
        self.assertEqual((rates["nodes"], rates["ranks_per_node"]), ("2", "2"))
        self.assertLess(float(rates["between_gb_s"]), 0.065)  # 400 Mbit/s are 0.05 GB/s
        self.assertGreater(float(rates["between_gb_s"]), 0.005)  # on a busy machine less is measured

    def hang_on_nodes(self, drill):
        """What is said when a rank of the second node goes no further, by each node."""
        arguments = self.train_arguments("hang", train__steps=2000, run__timeout_s=2)
        done = self.play(*cluster(2, 2, program=(PROGRAM, *arguments, "--drill", drill, "--fresh")))
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assert_no_process_left()
        return done.stderr

    def test_the_watchdog_names_what_ranks_of_other_nodes_wait_for(self):
        for drill in ("hang:3:2", "stop:3:2"):
            with self.subTest(drill):
                said = self.hang_on_nodes(drill)
                self.assertRegex(said, r"waits in \w+ \w+ \d+ \(\d+ bytes\) for rank 3")
                self.assertRegex(said, r"rank 3 on node 1 \(process \d+.*has NOT arrived at")
                self.assertNotIn("see what is said there", said)
                if drill.startswith("stop"):
                    self.assertIn("stopped by a signal", said)

    def test_hands_on_the_exit_code(self):
        done = self.play(*cluster(2, 1, program=("bash", "-c", "hostname; exit 6")))
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assertIn("node1", done.stdout)

    def test_nothing_outlives_it(self):
        sleeps = ("bash", "-c", "echo up; exec sleep 1000")
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(number), subprocess.Popen(
                    cluster(2, 1, program=sleeps), cwd=self.folder, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL) as job:
                job.stdout.readline()
                self.assertGreater(len(self.processes()), 3)
                started = time.monotonic()
                os.kill(job.pid, number)
                job.wait(timeout=20)
                self.assert_no_process_left()
                self.assertLess(time.monotonic() - started, 15)
        self.assertEqual(list(Path("/dev/shm").glob("ompi.node*")), [])

    def test_wrong_options_end_with_a_sentence(self):
        for words, command in (
                ("--nodes must be a number", cluster("two", 2)),
                ("--ranks-per-node must be a number", cluster(2, 0)),
                ("a rate such as 200mbit, not 'fast'", cluster(2, 2, "--rate", "fast")),
                ("unknown option '--speed'", cluster(2, 2, "--speed", "9")),
                ("no program given", cluster(2, 2)[:-1])):
            done = self.play(*command)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    probe = subprocess.run(cluster(1, 1, "--rate", "1gbit", program=["true"]), check=False,
                           capture_output=True, text=True)
    if probe.returncode == 77:
        print(probe.stderr)
        sys.exit(77)
    unittest.main()
