"""Stops `enodia train` in every bad way and starts it again."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from program_testing import TIMEOUT, TIMES, ProgramTest


class Killed(ProgramTest):
    """kill -9 of a rank or of mpirun ends the job; the same command goes on and ends with the same
    bits."""

    STEPS = 30
    KILLS = 10
    SEED = int(os.environ.get("ENODIA_KILL_SEED", "1"))

    def arguments(self, folder, interval, **values):
        values.setdefault("train__steps", self.STEPS)
        return self.train_arguments(folder, checkpoint__interval=interval, **values)

    def kill_when(self, is_time, arguments, victim):
        """Starts the run on 2 ranks, waits until is_time(job) returns, and kills a rank or "mpirun"."""
        with subprocess.Popen(self.command(*arguments, ranks=2), cwd=self.folder,
                              env=self.environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
            try:
                victims = self.wait_for_ranks(job)
                moment = is_time(job)
                os.kill(victims[victim], signal.SIGKILL)
                killed_at = time.monotonic()
                _, err = job.communicate(timeout=TIMEOUT)
            except BaseException:
                job.kill()  # mpirun hears of it and ends its ranks
                raise
        self.assertEqual(job.returncode, 137, err.decode())
        print(f"{victim} killed {moment}: the job ended after "
              f"{time.monotonic() - killed_at:.1f} s")
        self.assert_no_process_left()

    def wait_for_ranks(self, job):
        while len(ranks := self.ranks_running()) < 2:
            self.assertIsNone(job.poll(), "the job ended before it began")
        return {**ranks, "mpirun": self.mpirun()}

    @staticmethod
    def after_step(step):
        def wait(job):
            for line in job.stdout:
                if f'"step":{step},' in line.decode():
                    return f"after step {step}"
            raise AssertionError(f"step {step} was never reached")
        return wait

    def while_saving(self, folder, step):
        """While step_N.tmp is there, N the step or a later one. A busy machine may look too late
        again and again; then it is some other moment."""
        def saving():
            names = os.listdir(place) if place.exists() else []
            return [name for name in names if name.endswith(".tmp") and name.startswith("step_")
                    and int(name[len("step_"):-len(".tmp")]) >= step]

        def wait(job):
            while not (place / f"step_{step + 3}").exists():
                if seen := saving():
                    return f"with {seen[0]} there"
                self.assertIsNone(job.poll(), "the job ended before it was killed")
            return f"after step {step + 3}"

        place = self.folder / folder / "checkpoints"
        return wait

    def resumed_from(self, result):
        found = re.search(r"resumed from \S+ after step (\d+)", result.err)
        return int(found.group(1)) if found else 0

    def undisturbed(self):
        self.succeed(*self.arguments("undisturbed", 0), ranks=2)

    @staticmethod
    def after_lines(lines, milliseconds):
        """So long after so many steps of this start; 0 steps: while it starts."""
        def wait(job):
            for _ in range(lines):
                job.stdout.readline()
            time.sleep(milliseconds / 1000)
            return f"after {lines} steps of this start and {milliseconds} ms"
        return wait

    def test_ten_random_kills(self):
        values = {"train__steps": 150, "data__valid": "bytes/valid", "train__eval_interval": 40}
        self.succeed(*self.arguments("calm", 0, **values), ranks=2)
        source = random.Random(self.SEED)
        print("ENODIA_KILL_SEED =", self.SEED)
        killed = self.arguments("killed", 3, **values)
        for _ in range(self.KILLS):
            moment = self.after_lines(source.choice((0, 1, 2, 4, 5, 7)), source.randrange(20))
            self.kill_when(moment, killed, source.choice((0, 1, "mpirun")))
        result = self.succeed(*killed, ranks=2)
        self.assertGreater(self.resumed_from(result), 0)
        self.assert_same_run("calm", "killed")
        self.assertEqual([record["step"] for record in self.metrics("killed")],
                         list(range(1, 151)))
        self.assertEqual(self.checkpoints("killed"), ["step_147", "step_150"])
        self.assertEqual(sorted(os.listdir(self.folder / "killed")),
                         sorted(os.listdir(self.folder / "calm")))

    def test_while_checkpoints_are_written(self):
        self.undisturbed()
        killed = self.arguments("killed_saving", 1)
        for rank, step in ((0, 2), (1, 5), (0, 9), (1, 12)):
            self.kill_when(self.while_saving("killed_saving", step), killed, rank)
        result = self.succeed(*killed, ranks=2)
        self.assertGreaterEqual(self.resumed_from(result), 11)
        self.assert_same_run("undisturbed", "killed_saving")
        self.assertEqual(self.checkpoints("killed_saving"), ["step_29", "step_30"])


class Blended(ProgramTest):
    """Two sources by weight, sigmoid scores and a decay at the end: any ranks, any interruption."""

    BLEND = "[{prefix: bytes/train, weight: 3}, {prefix: other/train, weight: 1}]"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.values = dict(data__train=cls.BLEND, data__valid="bytes/valid",
                          model__scoring_func="sigmoid", optim__schedule="wsd",
                          optim__warmup_samples=24, optim__decay_samples=48,
                          checkpoint__interval=3)
        for arguments in (
                ["prepare", "--input", "docs/07.txt", "docs/08.txt", "--output", "other/train",
                 "--tokenizer", "byte"],
                ["prepare", "--input", "docs.jsonl", "--output", "words/train",
                 "--vocab-size", "300"]):
            result = cls.start(*arguments)
            if result.code != 0:
                raise AssertionError(f"{arguments}: {result}")
        result = cls.start(*cls.train_arguments("blend", **cls.values), ranks=2)
        if result.code != 0:
            raise AssertionError(f"cannot train: {result}")

    def cut(self, name):
        """A copy of the run as it was after step 3."""
        shutil.copytree(self.folder / "blend", self.folder / name)
        shutil.rmtree(self.folder / name / "checkpoints/step_6")
        return name

    def test_a_resumed_run_goes_on_with_the_same_samples(self):
        self.assertIn("after step 3", self.train(self.cut("again"), ranks=2, **self.values).err)
        self.assert_same_run("again", "blend")
        self.train(self.cut("alone"), **self.values)
        self.assert_close(self.losses("alone"), self.losses("blend"), 1e-5)

    def test_the_learning_rate_rises_stays_and_falls(self):
        rates = [record["lr"] for record in self.metrics("blend")]  # 24 samples a step, 144 in all
        self.assertEqual(rates[:4], [3e-3] * 4)
        self.assertAlmostEqual(rates[4], (3e-3 + 3e-4) / 2, places=12)
        self.assertEqual(rates[5], 3e-4)

    def test_evaluation_takes_the_scores_from_the_checkpoint(self):
        self.assertEqual(self.inspect("blend")["model"]["scoring_func"], "sigmoid")
        loss = json.loads(self.succeed("eval", "blend", "--data", "bytes/valid", "--json").out)
        self.assert_close([loss["loss"]], [self.metrics("blend")[-1]["valid_loss"]], 1e-6)

    def test_other_sources_or_weights_are_refused(self):
        for train in (self.BLEND.replace("3", "2"), "bytes/train",
                      "[{prefix: other/train, weight: 3}, {prefix: bytes/train, weight: 1}]"):
            self.refuse(2, ["weights", "weight: 3", "run.dir"],
                        *self.train_arguments("blend", **{**self.values, "data__train": train}))
        doubled = self.BLEND.replace("3", "6").replace("1", "2")  # the same shares
        self.assertIn("is complete", self.train("blend", **{**self.values,
                                                            "data__train": doubled}).err)

    def test_sources_need_one_tokenizer(self):
        train = "[{prefix: bytes/train, weight: 1}, {prefix: words/train, weight: 1}]"
        self.refuse(4, ["words/train", "another tokenizer than bytes/train", "--tokenizer byte"],
                    *self.train_arguments("mixed", data__train=train), ranks=2)


class Resumed(ProgramTest):
    """A run goes on with other settings where it can, and says why where it cannot."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.half = dict(train__steps=6, checkpoint__interval=3, optim__decay_samples=240)
        result = cls.start(*cls.train_arguments("half", **cls.half), ranks=2)
        if result.code != 0:
            raise AssertionError(f"cannot train: {result}")

    def copy(self, name):
        shutil.copytree(self.folder / "half", self.folder / name)
        return name

    def refuse_to_resume(self, name, code, words, **values):
        """Refused alike on one rank and on two; nothing in the run directory changes."""
        before = self.contents(name)
        for ranks in (0, 2):
            self.refuse(code, words, *self.train_arguments(name, **{**self.half, **values}),
                        ranks=ranks)
        self.assertEqual(self.contents(name), before)

    def contents(self, name):
        """All but `lock`, which tells of the job that ran last."""
        return {path: path.read_bytes() for path in (self.folder / name).rglob("*")
                if path.is_file() and path.name != "lock"}

    def damage(self, name, file, change):
        path = self.folder / name / "checkpoints" / file
        path.write_bytes(change(path.read_bytes()))

    def test_on_another_number_of_ranks(self):
        whole = {**self.half, "train__steps": 10}
        self.train("whole", ranks=2, **whole)
        for ranks in (1, 3):
            name = self.copy(f"on_{ranks}")
            result = self.train(name, ranks=ranks, **whole)
            self.assertIn("after step 6", result.err)
            self.assertEqual(self.metrics(name, TIMES)[:6], self.metrics("half", TIMES))
            self.assert_close(self.losses(name), self.losses("whole"), 1e-5)

    def test_in_another_layout(self):
        """From dp to tp with ZeRO-1, and back."""
        whole = {**self.half, "train__steps": 10}
        self.train("whole_layout", ranks=2, **whole)
        name = self.copy("cut_layout")
        cut = {"parallel__tp": 2, "parallel__zero1": "rows"}
        result = self.train(name, ranks=4, **{**self.half, "train__steps": 8, **cut})
        self.assertIn("sharing a micro-batch: 1 -> 2", result.err)
        self.train(name, ranks=1, **whole)
        self.assert_close(self.losses(name), self.losses("whole_layout"), 1e-5)

    def test_parameters_are_the_same_on_another_number_of_ranks(self):
        """A step with a vanishing learning rate changes none of them, and saves them anew."""
        before = self.masters("half")
        for ranks, layout in ((1, {}), (3, {}), (3, {"parallel__tp": 3}),
                              (4, {"parallel__tp": 2, "parallel__zero1": "rows"})):
            name = self.copy(f"still_{ranks}_{len(layout)}")
            self.train(name, ranks=ranks, **{**self.half, "train__steps": 7, "optim__lr": 1e-30,
                                             "optim__min_lr": 0, **layout})
            self.assertEqual(self.inspect(name)["step"], 7)
            self.assertEqual(self.masters(name), before)

    def test_another_model_data_or_seed_is_refused(self):
        self.succeed("prepare", "--input", "docs/07.txt", "--output", "other/train",
                     "--tokenizer", "byte")
        for values, words in (
                ({"run__seed": 2}, ["run.seed: 1 -> 2"]),
                ({"model__num_experts": 8}, ["model.num_experts: 4 -> 8"]),
                ({"data__train": "other/train"}, ["40 documents", "other/train"]),
                ({"train__global_batch_size": 12}, ["train.global_batch_size: 24 -> 12"])):
            self.refuse_to_resume("half", 2, [*words, "run.dir"], **values)

    def test_the_same_data_elsewhere_is_welcome(self):
        name = self.copy("moved")
        shutil.copytree(self.folder / "bytes", self.folder / "elsewhere")
        result = self.train(name, ranks=2, **{**self.half, "data__train": "./elsewhere/train"})
        self.assertIn("after step 6", result.err)

    def test_data_of_the_same_size_is_refused(self):
        name = self.copy("replaced")
        shutil.copytree(self.folder / "bytes", self.folder / "replaced_data")
        path = self.folder / "replaced_data/train.bin"
        data = path.read_bytes()
        path.write_bytes(data[2:4] + data[0:2] + data[4:])
        self.refuse_to_resume(name, 2, ["replaced_data/train", "other tokens"],
                              data__train="replaced_data/train")

    def test_other_data_of_the_same_name_is_refused(self):
        name = self.copy("changed")
        shutil.copytree(self.folder / "bytes", self.folder / "kept")
        self.addCleanup(lambda: (shutil.rmtree(self.folder / "bytes"),
                                 (self.folder / "kept").rename(self.folder / "bytes")))
        self.succeed("prepare", "--input", "docs/07.txt", "--output", "bytes/train",
                     "--tokenizer", "byte")
        self.refuse_to_resume(name, 2, ["40 documents", "bytes/train"])

    def test_a_flipped_bit_falls_back_to_the_older_checkpoint(self):
        name = self.copy("flipped")

        def flip(data):
            return data[:5000] + bytes([data[5000] ^ 4]) + data[5001:]

        self.damage(name, "step_6/shard_00001.bin", flip)
        self.refuse(4, ["step_6/shard_00001.bin", "checksum"], "inspect", name)
        self.assert_falls_back(name, ["step_3", "step_6"])

    def test_flipped_bits_in_all_checkpoints_are_refused(self):
        name = self.copy("all_flipped")
        for step in ("step_3", "step_6"):
            self.damage(name, step + "/shard_00000.bin",
                        lambda data: data[:5000] + bytes([data[5000] ^ 4]) + data[5001:])
        self.refuse_to_resume(name, 4, ["none of the checkpoints", "run.dir"])

    def assert_falls_back(self, name, left=("step_3", "step_6", "step_6.broken")):
        result = self.train(name, ranks=2, **self.half)
        self.assertIn("step_6", result.err)
        self.assertIn("after step 3", result.err)
        self.assert_same_run("half", name)
        self.assertEqual(self.checkpoints(name), list(left))

    def test_a_cut_file_falls_back_to_the_older_checkpoint(self):
        name = self.copy("cut")
        self.damage(name, "step_6/shard_00001.bin", lambda data: data[:-7])
        self.assert_falls_back(name)

    def test_a_missing_manifest_falls_back_to_the_older_checkpoint(self):
        name = self.copy("unlisted")
        (self.folder / name / "checkpoints/step_6/manifest.json").unlink()
        self.assert_falls_back(name)

    def test_only_damaged_checkpoints_are_refused(self):
        name = self.copy("hopeless")
        for step in (3, 6):
            (self.folder / name / f"checkpoints/step_{step}/manifest.json").unlink()
        self.refuse_to_resume(name, 4, ["none of the checkpoints", "run.dir"])


class FullDisk(ProgramTest):
    """A run directory that cannot be written to, or not any more."""

    def mounted(self, kilobytes):
        """A file system of this size in the folder, or the test is skipped."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", place],
                              capture_output=True, check=False)
        if done.returncode != 0:
            self.skipTest("no tmpfs can be mounted here, so no disk can be full: " +
                          done.stderr.decode().strip())
        self.addCleanup(subprocess.run, ["umount", place], check=True)
        return place

    def test_no_room_for_the_first_checkpoint(self):
        place = self.mounted(300)
        self.refuse(4, ["cannot save step 6", "No space left on device"],
                    *self.train_arguments(place / "run"), ranks=2)
        self.assertEqual(self.checkpoints(place / "run"), [])

    def test_no_room_for_logits_leaves_nothing_behind(self):
        place = self.mounted(300)
        self.train("trained")
        (self.folder / "ids").write_text(f"{[0] * 64}\n" * 8, encoding="ascii")
        self.refuse(4, ["cannot write", "x.safetensors", "No space left on device"],
                    "logits", "trained", "--ids", "ids", "--output", place / "x.safetensors",
                    ranks=2)
        self.assertEqual(list(place.iterdir()), [])

    def test_no_room_for_a_checkpoint_costs_a_warning_until_the_last(self):
        place = self.mounted(3000)
        arguments = self.train_arguments(place / "run", checkpoint__interval=2, checkpoint__keep=9)
        result = self.refuse(4, ["cannot save step 6", "No space left on device"], *arguments,
                             ranks=2)
        self.assertEqual(result.err.count("NOT SAVED, but training goes on: cannot save step 4"), 1)
        self.assertEqual(self.checkpoints(place / "run"), ["step_2"])
        self.assertEqual(self.inspect(place / "run")["step"], 2)
        self.assertEqual(len(self.metrics(place / "run")), 6)
        subprocess.run(["mount", "-o", "remount,size=20m", place], check=True)
        self.succeed(*arguments, ranks=2)
        self.train("roomy", ranks=2)
        self.assert_same_run("roomy", place / "run")

    def test_no_room_for_metrics_is_told_at_once_and_at_the_end(self):
        """The run itself is elsewhere and is saved."""
        place = self.mounted(8)
        (self.folder / "full").mkdir()
        (self.folder / "full/metrics.jsonl").symlink_to(place / "metrics.jsonl")
        result = self.refuse(4, ["lines of full/metrics.jsonl could not be written", "No space"],
                             *self.train_arguments("full", train__steps=60), ranks=2)
        self.assertEqual(result.err.count("training goes on, and its lines are kept"), 1)
        self.assertEqual(self.checkpoints("full"), ["step_60"])
        self.assertEqual(len(result.out.splitlines()), 60)

    def test_no_room_for_events_costs_a_warning(self):
        place = self.mounted(12)
        (self.folder / "eventful").mkdir()
        (self.folder / "eventful/tensorboard").symlink_to(place)
        result = self.succeed(*self.train_arguments("eventful", train__steps=60,
                                                    model__num_hidden_layers=6), ranks=2)
        self.assertEqual(result.err.count("no more events are written"), 1)
        self.assertEqual(len(self.metrics("eventful")), 60)

    def test_a_folder_of_somebody_else(self):
        if os.geteuid() == 0:
            self.skipTest("root may write everywhere")
        place = self.folder / "locked"
        place.mkdir(mode=0o500)
        self.refuse(4, ["locked", "Permission denied"], *self.train_arguments("locked/run"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
