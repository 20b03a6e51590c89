"""Stops `enodia train` with signals: it saves, exits with 5 and goes on as if never stopped."""

import os
import re
import signal
import subprocess
import time
import unittest
from pathlib import Path

from program_testing import ROOT, TIMEOUT, ProgramTest, Result

SHARED_MEMORY = Path("/dev/shm")


class Stopped(ProgramTest):
    """One signal: the step is finished and saved. Two: the end."""

    def arguments(self, folder):
        return self.train_arguments(folder, train__steps=100, data__valid="bytes/valid",
                                    train__eval_interval=10)

    def job(self, folder):
        return subprocess.Popen(self.command(*self.arguments(folder), ranks=2), cwd=self.folder,
                                env=self.environment(), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def stop_when(self, folder, is_time, send):
        """Starts the run, waits until is_time(job) returns, lets send(job) send a signal; how the
        job ended."""
        with self.job(folder) as job:
            try:
                is_time(job)
                send(job)
                out, err = job.communicate(timeout=TIMEOUT)
            except BaseException:
                job.kill()  # mpirun hears of it
                raise
        self.assert_no_process_left()
        return Result(job.returncode, out.decode(), err.decode())

    @staticmethod
    def after_lines(lines):
        def wait(job):
            for _ in range(lines):
                job.stdout.readline()
        return wait

    def until_mpirun_runs(self, job):
        while self.mpirun() is None:
            self.assertIsNone(job.poll(), "the job ended before it began")

    def test_by_any_signal_and_goes_on_with_the_same_bits(self):
        senders = {
            "SIGTERM to enodia-run": lambda job: job.send_signal(signal.SIGTERM),
            "SIGUSR1 to mpirun": lambda job: os.kill(self.mpirun(), signal.SIGUSR1),
            "SIGTERM to rank 1": lambda job: os.kill(self.ranks_running()[1], signal.SIGTERM),
            "SIGHUP to enodia-run, twice": lambda job: (job.send_signal(signal.SIGHUP),
                                                        job.send_signal(signal.SIGHUP)),
        }
        done = 0
        for name, send in senders.items():
            with self.subTest(name):
                result = self.stop_when("stopped", self.after_lines(4), send)
                self.assertEqual(result.code, 5, result)
                self.assertEqual(len(result.complaints()), 1, result)
                self.assertIn("enodia: stopped by a signal after saving step", result.err)
                self.assertGreaterEqual(len(self.metrics("stopped")), done + 4)
                done = len(self.metrics("stopped"))
                self.assertIn(f"step_{done}", self.checkpoints("stopped"))
        result = self.succeed(*self.arguments("stopped"), ranks=2)
        self.assertIn(f"after step {done}", result.err)
        self.succeed(*self.arguments("undisturbed"), ranks=2)
        self.assert_same_run("undisturbed", "stopped")

    def test_before_the_first_step_without_saving(self):
        for delay in (0, 0.3, 0.6):
            with self.subTest(delay):
                def wait(job, seconds=delay):
                    self.until_mpirun_runs(job)
                    time.sleep(seconds)

                result = self.stop_when(f"early_{delay}", wait,
                                        lambda job: job.send_signal(signal.SIGINT))
                self.assertEqual(result.code, 5, result)
                self.assertIn("stopped by a signal", result.err)
                if "before" in result.err:  # a fast machine may have begun
                    self.assertEqual(result.out, "")
                    place = self.folder / f"early_{delay}/checkpoints"
                    self.assertEqual(os.listdir(place) if place.exists() else [], [])

    def test_a_second_signal_ends_what_cannot_stop(self):
        """A rank that is frozen finishes no step, so the first signal has no effect."""
        def freeze(job):
            self.after_lines(3)(job)
            os.kill(self.ranks_running()[1], signal.SIGSTOP)
            job.send_signal(signal.SIGTERM)
            time.sleep(1)
            self.assertIsNone(job.poll())

        result = self.stop_when("frozen", freeze, lambda job: job.send_signal(signal.SIGINT))
        self.assertNotIn(result.code, (0, 5), result)
        for step in self.checkpoints("frozen"):  # saved before, if the machine was quick
            self.inspect(self.folder / "frozen/checkpoints" / step)

    def test_a_killed_launcher_takes_its_ranks_along(self):
        """And a killed mpirun leaves nothing in the shared memory."""
        for name in ("enodia-run", "mpirun"):
            with self.subTest(name):
                before = set(SHARED_MEMORY.glob("vader_segment.*"))
                self.stop_when(
                    "orphans", self.after_lines(3),
                    lambda job, victim=name: os.kill(
                        job.pid if victim == "enodia-run" else self.mpirun(), signal.SIGKILL))
                self.assertLessEqual(set(SHARED_MEMORY.glob("vader_segment.*")), before)


class WithoutRanks(ProgramTest):
    """Commands that need no ranks: no mpirun complains about a pager that was closed."""

    def test_a_closed_pager_is_no_error(self):
        self.train("run")
        shown = subprocess.run(
            ["sh", "-c", f"{ROOT}/scripts/enodia-run -n 2 inspect run | head -1"],
            cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=TIMEOUT)
        self.assertTrue(re.match(r"\S+: step 6, ", shown.stdout), shown)
        self.assertEqual(shown.stderr, "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
