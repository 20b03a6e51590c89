"""scripts/enodia-run with a stand-in for the program: what ranks are given, and what comes back."""

import os
import re
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

ENODIA_RUN = Path(__file__).resolve().parents[2] / "scripts/enodia-run"

PROGRAM = """#!/bin/bash
case $1 in
  show) printf 'rank %s of %s threads %s arguments %s\\n' \\
          "$OMPI_COMM_WORLD_RANK" "$OMPI_COMM_WORLD_SIZE" "$OMP_NUM_THREADS" "$(printf '<%s>' "$@")" ;;
  exit) exit "$2" ;;
  die) [[ $OMPI_COMM_WORLD_RANK == 0 ]] && kill -KILL $$; exec sleep 60 ;;
  pid) echo "pid $$"; exec sleep 60 ;;
  train) exec python3 -c "$TRAINING" "$2" ;;
  inspect) echo "rank ${OMPI_COMM_WORLD_RANK:-none}" ;;
esac
"""


# As the program does: SIGUSR1 comes blocked, so that none is lost before there is a handler.
TRAINING = """
import os, signal, sys, time
def stop(*_):
    print("saved", flush=True)
    os._exit(5)
print("pid", os.getpid(), flush=True)
if sys.argv[1] == "stops":
    time.sleep(0.5)
    signal.signal(signal.SIGUSR1, stop)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
time.sleep(60)
"""


def is_running(pid):
    """False for a process that has ended, even when nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class EnodiaRun(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.program = Path(folder.name, "enodia")
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        self.environment = {**os.environ, "ENODIA_PROGRAM": str(self.program), "TRAINING": TRAINING}
        self.environment.pop("OMP_NUM_THREADS", None)

    def run_script(self, *arguments, **environment):
        return subprocess.run(
            [ENODIA_RUN, *arguments], env={**self.environment, **environment},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)

    def test_starts_that_many_ranks_with_the_arguments_unchanged(self):
        result = self.run_script("-n", "3", "show", "two words", "--set", "a.b='c'", "*")
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = sorted(result.stdout.splitlines())
        for rank in range(3):
            self.assertIn(f"rank {rank} of 3", lines[rank])
            self.assertIn("arguments <show><two words><--set><a.b='c'><*>", lines[rank])

    def test_shares_out_the_cores_unless_told(self):
        more_ranks_than_cores = str(len(os.sched_getaffinity(0)) + 1)
        self.assertIn("threads 1 ", self.run_script("-n", more_ranks_than_cores, "show").stdout)
        cores = len(os.sched_getaffinity(0))
        self.assertIn(f"threads {cores} ", self.run_script("-n", "1", "show").stdout)
        result = self.run_script("-n", "1", "show", OMP_NUM_THREADS="7")
        self.assertIn("threads 7 ", result.stdout)

    def test_passes_the_exit_code_on(self):
        self.assertEqual(self.run_script("-n", "2", "exit", "5").returncode, 5)

    def test_a_killed_rank_ends_the_job(self):
        self.assertEqual(self.run_script("-n", "2", "die").returncode, 137)

    def test_a_signal_ends_all_ranks(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(signal=number.name), subprocess.Popen(
                    [ENODIA_RUN, "-n", "2", "pid"], env=self.environment, text=True,
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL) as job:
                pids = [int(re.search(r"\d+", job.stdout.readline())[0]) for _ in range(2)]
                job.send_signal(number)
                self.assertNotEqual(job.wait(timeout=60), 0)
                self.assertEqual([pid for pid in pids if is_running(pid)], [])

    def start_two(self, *command):
        """The job and the process ids that its ranks print."""
        job = subprocess.Popen([ENODIA_RUN, "-n", "2", *command], env=self.environment, text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
        self.addCleanup(job.stdout.close)
        pids = []
        while len(pids) < 2:  # lines of two ranks may be joined, and empty ones follow
            line = job.stdout.readline()
            self.assertNotEqual(line, "", "the job ended early")
            pids += [int(number) for number in re.findall(r"\d+", line)]
        return job, pids

    def test_a_signal_lets_training_save_even_before_it_listens(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(signal=number.name):
                job, pids = self.start_two("train", "stops")
                job.send_signal(number)
                self.assertEqual(job.wait(timeout=60), 5)
                self.assertIn("saved", job.stdout.read())
                self.assertEqual([pid for pid in pids if is_running(pid)], [])

    def test_a_second_signal_ends_training_that_does_not_stop(self):
        job, pids = self.start_two("train", "deaf")
        job.send_signal(signal.SIGTERM)
        with self.assertRaises(subprocess.TimeoutExpired):
            job.wait(timeout=2)
        job.send_signal(signal.SIGTERM)
        self.assertNotIn(job.wait(timeout=60), (0, 5))
        self.assertEqual([pid for pid in pids if is_running(pid)], [])

    def test_kill_ends_the_ranks_as_well(self):
        job, pids = self.start_two("pid")
        job.kill()
        job.wait()
        job.stdout.read()  # until the last of them has closed it
        self.assertEqual([pid for pid in pids if is_running(pid)], [])

    def test_a_command_without_ranks_needs_no_mpirun(self):
        self.assertEqual(self.run_script("-n", "2", "inspect").stdout, "rank none\n")

    def test_refuses_what_it_does_not_understand(self):
        for arguments, reason in (
                (["show"], "-n must be"),
                (["-n", "0", "show"], "-n must be"),
                (["-n", "two", "show"], "not 'two'"),
                (["-n"], "-n needs a value"),
                (["-n", "2"], "no command given"),
                (["-n", "2", "--fast", "show"], "unknown option '--fast'"),
                (["-n", "2", "--hostfile", "/nonexistent", "show"], "cannot read the host file")):
            with self.subTest(arguments=arguments):
                result = self.run_script(*arguments)
                self.assertEqual(result.returncode, 2)
                self.assertIn(reason, result.stderr)

    def test_passes_host_file_and_further_arguments_to_mpirun(self):
        hosts = self.program.with_name("hosts")
        hosts.write_text("# here\nlocalhost slots=2\n")
        result = self.run_script(
            "-n", "2", "--hostfile", str(hosts), "--mpirun-args", "--tag-output", "show")
        self.assertRegex(result.stdout, r"\[1,1\]<stdout>:\s*rank 1 of 2")


if __name__ == "__main__":
    unittest.main()
