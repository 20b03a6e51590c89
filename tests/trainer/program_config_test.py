"""Runs `enodia help`, `train --print-config`, bad configurations, and two jobs in one directory."""

import json
import os
import re
import shutil
import signal
import subprocess
import unittest

from program_testing import ROOT, TINY, ProgramTest, settings

PAGE = "docs/configuration.md"


class Config(ProgramTest):
    """The configuration explains itself."""

    def test_the_reference_page_is_what_the_program_prints(self):
        printed = self.succeed("help", "--markdown").out
        self.assertTrue(printed == (ROOT / PAGE).read_text(encoding="utf-8"),
                        f"{PAGE} is not up to date; in the root of the repository run\n"
                        f"  build/enodia help --markdown > {PAGE}")

    def test_help_on_keys(self):
        sections = self.succeed("help").out
        for word in ("optim", "lr", "checkpoint", "num_key_value_heads"):
            self.assertRegex(sections, rf"\b{word}\b")
        by_name, by_path = self.succeed("help", "lr").out, self.succeed("help", "optim.lr").out
        self.assertEqual(by_name, by_path)
        self.assertIn("a number above 0", by_name)
        self.assertIn("0.001", by_name)
        self.assertIn("optim.min_lr", by_name)
        self.assertEqual(len(self.succeed("help", "parallel").out.splitlines()), 7)
        key, = json.loads(self.succeed("help", "train.steps", "--json").out)
        self.assertEqual((key["key"], key["type"], key["minimum"], key["required"], key["default"]),
                         ("train.steps", "integer", 1, True, None))
        self.assertEqual(len(self.succeed("help", "lr", ranks=2).out.splitlines()),
                         len(by_name.splitlines()))
        self.refuse(2, ["'lrr'", "did you mean 'optim.lr'?"], "help", "lrr")
        self.refuse(2, ["'zebra'", "enodia help"], "help", "zebra", ranks=2)

    def test_print_config_is_a_configuration_and_touches_nothing(self):
        values = settings({"train.steps": 7, "run.dir": "printed", "data.train": "nowhere/x"})
        before = sorted(self.folder.rglob("*"))
        first = self.succeed("train", TINY, *values, "--print-config").out
        self.assertRegex(first, r"\n  steps: 7 +# --set; updates of the weights\n")
        self.assertRegex(first, r"\n  hidden_size: 64 +# \S+/tiny.yaml:5:3; width of")
        self.assertRegex(first, r"\n  seed: 1 +# default; ")
        self.assertEqual(sorted(self.folder.rglob("*")), before)
        (self.folder / "printed.yaml").write_text(first, encoding="utf-8")
        again = self.succeed("train", "printed.yaml", "--print-config", ranks=2).out

        def plain(text):
            return re.sub(r" *#.*", "", text)
        self.assertEqual(plain(again), plain(first))
        self.refuse(2, ["optim.lrr"], "train", TINY, "--print-config", "--set", "optim.lrr=1",
                    ranks=2)
        self.refuse(2, ["parallel.ep (3)"], "train", TINY, "--print-config", "--set",
                    "parallel.ep=3", ranks=2)
        self.succeed("train", TINY, "--print-config", "--set", "parallel.dp=64")


class BadConfigs(ProgramTest):
    """A sample of what config_torture_test.cpp tries, on ranks: exit code 2, the place, told once,
    and nobody left. The refused run makes no directory."""

    def refuse_text(self, place, words, text):
        (self.folder / "bad.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        result = self.refuse(2, [f"bad.yaml{place}", *words], "train", "bad.yaml",
                             "--set", "run.dir=refused", ranks=2)
        self.assertEqual(result.err.count(words[0]), 1, str(result))
        self.assertFalse((self.folder / "refused").exists())

    def with_line(self, section, line):
        text = (ROOT / "configs/tiny.yaml").read_text(encoding="utf-8")
        self.assertIn(f"\n{section}:\n", text)
        lines = text.replace(f"\n{section}:\n", f"\n{section}:\n  {line}\n").splitlines()
        return "\n".join(lines) + "\n", lines.index(f"  {line}") + 1

    def refuse_line(self, section, line, column, words):
        text, number = self.with_line(section, line)
        self.refuse_text(f":{number}:{column}: ", words, text)

    def test_lines(self):
        self.refuse_line("optim", "lrr: 1", 3, ["unknown key 'optim.lrr'", "did you mean"])
        self.refuse_line("optim", "eps: 1e400", 8, ["not '1e400'", "optim.eps"])
        self.refuse_line("train", "eval_interval: 0x10", 18,
                         ["write it in decimal", "train.eval_interval"])
        self.refuse_line("model", "head_dim: ~", 3, ["has no value", "model.head_dim"])
        self.refuse_line("router", "z_loss_coef: &a .nan", 16, ["remove '&a'"])
        self.refuse_line("data", "order: [shuffled]", 10, ["not a list", "data.order"])
        self.refuse_line("data", "order: 'shufled'", 10, ["did you mean shuffled?"])

    def test_texts(self):
        self.refuse_text(": ", ["the file is empty"], "")
        self.refuse_text(":1:21: ", ["nested deeper"], "run: " + "[" * 100 + "]" * 100)
        self.refuse_text(":1:1: ", ["is a bracket left open?"], "[" * 100000)
        self.refuse_text(":1:4: ", ["anchors are not supported; remove '&a'"],
                         "a: &a [x]\n" + "b: [" + "*a, " * 8 + "*a]\n")
        self.refuse_text(":2:1: ", ["a tab cannot indent"], b"model:\n\thidden_size: 64\n")
        self.refuse_text(":1:13: ", ["is not UTF-8"], b"run: {name: \xff}\n")
        self.refuse_text("", ["bytes are more than", "CONFIG"], b"#" * 10_000_000)

    def test_files_that_are_none(self):
        (self.folder / "folder.yaml").mkdir()
        os.mkfifo(self.folder / "pipe.yaml")
        for name in ("folder.yaml", "pipe.yaml", "nowhere.yaml"):
            self.refuse(2, [name, "CONFIG is a YAML file"], "train", name, ranks=2)

    def test_overrides(self):
        for override, words in (("train.steps", ["'train.steps' is not section.key=value"]),
                                ("train.steps=", ["--set train.steps", "has no value"]),
                                ("train.stepz=3", ["did you mean 'train.steps'?"])):
            self.refuse(2, words, "train", TINY, "--set", override)
        said = self.succeed("train", TINY, "--set", "train.steps=3", "--set", "train.steps=4",
                            "--print-config").out
        self.assertRegex(said, r"\n  steps: 4 ")
        said = self.succeed("train", TINY, "--set", "data.valid=", "--print-config").out
        self.assertRegex(said, r"\n  valid: \"\" ")

    @unittest.skipIf(shutil.which("nvidia-smi"), "this machine may have a GPU")
    def test_a_device_that_is_not_there(self):
        result = self.refuse(2, ["run.device (cuda)", "run.device=cpu"], "train", TINY, "--set",
                             "run.device=cuda", "--set", "run.dir=refused", ranks=2)
        self.assertEqual(result.err.count("run.device (cuda)"), 1, str(result))
        self.assertFalse((self.folder / "refused").exists())


class RunDirectory(ProgramTest):
    """Two jobs never train in one directory; --fresh finds another; a resumed run tells changes."""

    def contents(self, name):
        return {path: path.read_bytes() for path in (self.folder / name).rglob("*")
                if path.is_file()}

    def test_a_second_job_is_refused_until_the_first_is_gone(self):
        arguments = self.train_arguments("held", train__steps=100000, checkpoint__interval=2)
        with subprocess.Popen(self.command(*arguments), cwd=self.folder, env=self.environment(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as job:
            try:
                for line in job.stdout:
                    if b'"step":5,' in line:
                        break
                os.kill(job.pid, signal.SIGSTOP)  # so that it changes nothing meanwhile
                before = self.contents("held")
                result = self.start(*self.train_arguments("held"), ranks=2)
                self.assertEqual(result.code, 2, str(result))
                self.assertEqual(len(result.complaints()), 1, str(result))
                for words in (f"process {job.pid} on {os.uname().nodename} since 20",
                              "another job trains in held", "--fresh"):
                    self.assertIn(words, result.err)
                self.assertEqual(self.contents("held"), before)
                self.succeed("inspect", "held")
            finally:
                os.kill(job.pid, signal.SIGKILL)
        self.assert_no_process_left()
        result = self.train("held", checkpoint__interval=2)
        self.assertIn("resumed from", result.err)

    def test_fresh_runs_leave_the_old_one_alone(self):
        self.train("again", train__steps=2)
        before = self.contents("again")
        for name in ("again-2", "again-3"):
            result = self.succeed(*self.train_arguments("again", train__steps=2), "--fresh",
                                  ranks=2)
            self.assertIn(f"a fresh run starts in {name}; again holds another", result.err)
            self.assertEqual(self.checkpoints(name), ["step_2"])
            self.assertRegex((self.folder / name / "config.yaml").read_text(encoding="utf-8"),
                             rf"\n  dir: {name} +# --fresh; ")
        self.assertEqual(self.contents("again"), before)

    def test_a_resumed_run_lists_every_change_once(self):
        self.train("run", train__steps=2, optim__warmup_samples=24)
        shutil.copytree(self.folder / "bytes", self.folder / "moved")
        result = self.train("run", ranks=2, train__steps=3, optim__warmup_samples=24,
                            data__train="moved/train", optim__lr=0.5)
        said = result.err[result.err.index("resumed from"):].splitlines()[:5]
        self.assertRegex(said[0], r"step_2 after step 2 with 4 changes:$")
        self.assertEqual(said[1:], ["  optim.lr: 0.003 -> 0.5 (--set)",
                                    "  data.train: bytes/train -> moved/train (--set), with the "
                                    "same content",
                                    "  train.steps: 2 -> 3 (--set)",
                                    "  ranks: 1 -> 2, sharing the experts of a layer: 1 -> 2"])
        self.assertEqual(result.err.count("optim.lr"), 1)
        refused = self.refuse(2, ["run.seed: 1 -> 2 (--set)", "model.num_experts: 4 -> 8 (--set)",
                                  "--fresh"],
                              *self.train_arguments("run", run__seed=2, model__num_experts=8),
                              ranks=2)
        self.assertNotIn("train.steps:", refused.err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
