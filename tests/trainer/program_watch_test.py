"""Ranks that stop, hang, leave something out or differ from the others end the job on every rank."""

import os
import shutil
import signal
import subprocess
import time
import unittest

from program_testing import PROGRAM, TIMEOUT, ProgramTest, Result

SECONDS = 2  # run.timeout_s of these runs
OPERATION = r"(control|tokens|replicas|gradients) (exchange|all_reduce|broadcast|barrier) \d+"


class Hangs(ProgramTest):
    """The watchdog ends a job in which nothing moves, and says who did not arrive."""

    def arguments(self, folder, **values):
        return self.train_arguments(folder, train__steps=2000, run__timeout_s=SECONDS, **values)

    def assert_ended_by_watchdog(self, result, rank, words="has NOT arrived at"):
        self.assertEqual(result.code, 7, result)
        self.assertEqual(result.err.count("has shown no sign of life"), 1, result)
        self.assertRegex(result.err, rf"rank {rank} \(.*{words} {OPERATION}")
        self.assertIn(f"[rank {1 - rank}] the main thread is in", result.err)
        self.assertIn("enodia::train", result.err)
        self.assert_no_process_left()

    def test_a_rank_stopped_from_outside(self):
        with subprocess.Popen(self.command(*self.arguments("outside"), ranks=2), cwd=self.folder,
                              env=self.environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as job:
            metrics = self.folder / "outside/metrics.jsonl"
            while not metrics.exists() or metrics.read_text().count("\n") < 3:
                self.assertIsNone(job.poll(), "the job ended too soon")
                time.sleep(0.02)
            os.kill(self.ranks_running()[1], signal.SIGSTOP)
            _, err = job.communicate(timeout=TIMEOUT)
        result = Result(job.returncode, "", err)
        # Between two operations, or inside one at which it has arrived.
        self.assert_ended_by_watchdog(result, 1, words="(has NOT arrived at|waits in)")
        self.assertRegex(err, r"rank 1 \(process \d+, stopped by a signal\).*will finish nothing")
        self.assertNotIn("a message is lost", err)

    def test_drill_of_a_rank_that_stops(self):
        result = self.start(*self.arguments("stop"), "--drill", "stop:0:2", ranks=2)
        self.assert_ended_by_watchdog(result, 0)
        self.assertIn("stopped by a signal", result.err)
        self.assertIn("in step 2", result.err)

    def test_drill_of_a_rank_that_hangs(self):
        """Also with a communication thread, which goes on while its rank hangs."""
        result = self.start(*self.arguments("hang", run__progress="thread"),
                            "--drill", "hang:1:3", ranks=2)
        self.assert_ended_by_watchdog(result, 1)
        self.assertIn("[rank 1] the main thread is in", result.err)
        self.assertIn("enodia::Drill::perform", result.err)

    def test_drill_of_a_rank_that_leaves_out_an_operation(self):
        """Noticed by the messages' numbers, or by the watchdog if none arrives."""
        result = self.start(*self.arguments("skip"), "--drill", "skip:1:2", ranks=2)
        self.assertIn(result.code, (3, 7), result)
        if result.code == 7:
            self.assert_ended_by_watchdog(result, 1)
        else:
            self.assertRegex(result.err, r"rank \d.*exchange", result)
        self.assert_no_process_left()

    def test_drills_that_make_no_sense_are_refused(self):
        for drill in ("stop", "stop:0", "jump:0:1", "stop:2:1", "stop:0:0", "stop:0:1x"):
            self.refuse(2, [f"--drill {drill} must be KIND:RANK:STEP"],
                        *self.arguments("nonsense"), "--drill", drill, ranks=2)


class Agreement(ProgramTest):
    """Ranks that were started differently are refused before the first step, on all ranks."""

    def start_apart(self, *commands):
        """Rank i runs commands[i]."""
        apart = ["mpirun", "--oversubscribe"]
        for command in commands:
            apart += [":", "-np", "1", *command] if len(apart) > 2 else ["-np", "1", *command]
        environment = dict(self.environment(), OMPI_ALLOW_RUN_AS_ROOT="1",
                           OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        job = subprocess.run(apart, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, timeout=TIMEOUT)
        return Result(job.returncode, job.stdout, job.stderr)

    def assert_refused(self, sentence, *commands):
        result = self.start_apart(*commands)
        self.assertEqual(result.code, 2, result)
        self.assertEqual(len(result.complaints()), 1, result)
        self.assertIn(sentence, result.err)
        self.assert_no_process_left()

    def command_of(self, program=PROGRAM, **values):
        return [program, *self.train_arguments("apart", **values)]

    def test_other_configurations(self):
        self.assert_refused("rank 1 has another configuration than rank 0: train.steps is 8 and not"
                            " 7", self.command_of(train__steps=7), self.command_of(train__steps=8))
        self.assert_refused("rank 1 has another configuration than rank 0: run.seed is 2 and not 1",
                            self.command_of(), self.command_of(run__seed=2))

    def test_an_override_that_is_wrong_on_one_rank(self):
        for wrong in (dict(train__steps="many"), dict(model__vocab_size=3)):
            self.assert_refused(next(iter(wrong)).replace("__", "."),
                                self.command_of(), self.command_of(**wrong))

    def test_other_data(self):
        """The same prefix, as each rank sees it from a folder of its own, with other content."""
        (self.folder / "elsewhere").mkdir()
        for part in (self.folder / "bytes").glob("valid.*"):
            shutil.copy(part, self.folder / f"elsewhere/train{part.suffix}")
        (self.folder / "elsewhere/bytes").symlink_to(".")
        here = self.command_of(run__dir=self.folder / "apart")
        there = ["sh", "-c", 'cd elsewhere && exec "$@"', "sh", *here]
        self.assert_refused("rank 1 has other data than rank 0: the content of data.train differs",
                            here, there)

    def test_another_program(self):
        copy = self.folder / "enodia"
        shutil.copy(PROGRAM, copy)
        with open(copy, "ab") as program:
            program.write(b"\0")
        self.assert_refused("rank 1 has another program than rank 0",
                            self.command_of(), self.command_of(program=str(copy)))


if __name__ == "__main__":
    unittest.main()
