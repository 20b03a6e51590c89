"""What the tests of the whole program share: a corpus, a way to run `enodia`, and a watch for
processes that are left behind.

Environment: ENODIA_PROGRAM is the program's path.
"""

import json
import os
import random
import re
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TINY = str(ROOT / "configs/tiny.yaml")
PROGRAM = os.environ.get("ENODIA_PROGRAM", str(ROOT / "build/enodia"))
TIMEOUT = 150  # seconds; a command that takes longer hangs

# What differs between two runs that are otherwise the same.
TIMES = ("step_ms", "tokens_per_s", "time_ms", "tflops", "peak_tflops", "mfu", "memory_bytes",
         "moving_ms")


def pseudo_english(seed, sentences):
    """Sentences of made-up words, the common ones common as in a real language."""
    source = random.Random(seed)
    syllables = "ka lo mi ren sta tu vor ne bel dar o sin".split()
    lexicon = random.Random(0)
    words = ["".join(lexicon.choices(syllables, k=lexicon.randint(1, 3))) for _ in range(300)]

    def sentence():
        picks = (min(int(source.expovariate(1 / 60)), 299) for _ in range(source.randint(5, 12)))
        return " ".join(words[pick] for pick in picks).capitalize() + "."

    return " ".join(sentence() for _ in range(sentences)) + "\n"


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __str__(self):
        return f"exit code {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}"

    def complaints(self):
        """The lines in which the program, not mpirun, reports an error."""
        return [line for line in self.err.splitlines()
                if line.startswith("enodia: ") or re.search(r" E r\d+/\d+ ", line)]


def settings(values):
    """{"train.steps": 3} as the arguments --set train.steps=3."""
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


class ProgramTest(unittest.TestCase):
    """Runs commands in a temporary folder that holds docs/*.txt, docs.jsonl and the byte data sets
    bytes/train and bytes/valid."""

    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="enodia_program_")
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = Path(cls.temporary.name).resolve()
        (cls.folder / "docs").mkdir()
        with open(cls.folder / "docs.jsonl", "w", encoding="utf-8") as lines:
            for number in range(40):
                text = pseudo_english(number + 1, 50)
                (cls.folder / f"docs/{number:02}.txt").write_text(text, encoding="utf-8")
                lines.write(json.dumps({"text": text}) + "\n")
        for name, source in (("train", "docs.jsonl"), ("valid", "docs/03.txt")):
            result = cls.start("prepare", "--input", source, "--output", f"bytes/{name}",
                               "--tokenizer", "byte")
            if result.code != 0:
                raise AssertionError(f"cannot prepare the data: {result}")

    @classmethod
    def command(cls, *arguments, ranks=0):
        """With 0 ranks the program itself, else through mpirun."""
        launcher = [str(ROOT / "scripts/enodia-run"), "-n", str(ranks)] if ranks else [PROGRAM]
        return launcher + [str(argument) for argument in arguments]

    @classmethod
    def environment(cls):
        return dict(os.environ, ENODIA_PROGRAM=PROGRAM, OMP_NUM_THREADS="1")

    @classmethod
    def start(cls, *arguments, ranks=0):
        with subprocess.Popen(cls.command(*arguments, ranks=ranks), cwd=cls.folder,
                              env=cls.environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
            try:
                out, err = job.communicate(timeout=TIMEOUT)
            except subprocess.TimeoutExpired as late:
                job.kill()  # mpirun hears of it and ends its ranks
                raise AssertionError(f"{arguments} on {ranks} ranks hangs") from late
        return Result(job.returncode, out.decode("utf-8", "replace"),
                      err.decode("utf-8", "replace"))

    def succeed(self, *arguments, ranks=0):
        result = self.start(*arguments, ranks=ranks)
        self.assertEqual(result.code, 0, f"{arguments}: {result}")
        return result

    def refuse(self, code, words, *arguments, ranks=0):
        """The command ends with this code, one sentence with these words, and leaves no process."""
        result = self.start(*arguments, ranks=ranks)
        self.assertEqual(result.code, code, f"{arguments}: {result}")
        self.assertEqual(len(result.complaints()), 1, f"{arguments}: {result}")
        for word in words:
            self.assertIn(word, result.err, str(arguments))
        self.assert_no_process_left()
        return result

    @staticmethod
    def train_arguments(folder, **values):
        """train configs/tiny.yaml with few steps; keys are written train__steps=3."""
        chosen = {"data.train": "bytes/train", "run.dir": folder, "train.steps": 6,
                  "optim.warmup_samples": 48}
        chosen.update({key.replace("__", "."): value for key, value in values.items()})
        return ["train", TINY, "--json", *settings(chosen)]

    def train(self, folder, ranks=0, **values):
        return self.succeed(*self.train_arguments(folder, **values), ranks=ranks)

    def metrics(self, folder, without=()):
        """The objects of metrics.jsonl; every line is whole."""
        text = (self.folder / folder / "metrics.jsonl").read_text(encoding="utf-8")
        self.assertTrue(text == "" or text.endswith("\n"), "the last line is whole")
        records = [json.loads(line) for line in text.splitlines()]
        return [{key: value for key, value in record.items() if key not in without}
                for record in records]

    def losses(self, folder):
        return [record["loss"] for record in self.metrics(folder)]

    def inspect(self, folder):
        return json.loads(self.succeed("inspect", folder, "--json").out)

    def masters(self, folder):
        """Hashes of the parameters themselves, without the optimizer's moments."""
        return {name: tensor["hash"] for name, tensor in self.inspect(folder)["tensors"].items()
                if name.startswith("master/")}

    def checkpoints(self, folder):
        return sorted(path.name for path in (self.folder / folder / "checkpoints").iterdir())

    def assert_same_run(self, one, other):
        """Equal to the last bit: all tensors, the progress, and the metrics but for times."""
        self.assertEqual(self.inspect(one), self.inspect(other))
        self.assertEqual(self.metrics(one, TIMES), self.metrics(other, TIMES))

    def assert_close(self, one, other, relative):
        self.assertEqual(len(one), len(other))
        for step, (a, b) in enumerate(zip(one, other), start=1):
            self.assertLessEqual(abs(a - b), relative * abs(b), f"step {step}: {a} and {b}")

    def processes(self):
        """Ids of the living processes that work in this test's folder."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                try:
                    if os.readlink(f"/proc/{entry}/cwd") == str(self.folder):
                        found.append(int(entry))
                except OSError:
                    pass  # gone, a zombie, or another user's
        return found

    def ranks_running(self):
        """Process id of each rank of the job that runs."""
        ranks = {}
        for process in self.processes():
            try:
                if os.path.samefile(f"/proc/{process}/exe", PROGRAM):
                    environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
                    for entry in environment:
                        if entry.startswith(b"OMPI_COMM_WORLD_RANK="):
                            ranks[int(entry.split(b"=")[1])] = process
            except OSError:
                pass
        return ranks

    def mpirun(self):
        """Process id of the mpirun that runs in this test's folder, or None."""
        for process in self.processes():
            try:
                if Path(f"/proc/{process}/comm").read_text().strip() == "mpirun":
                    return process
            except OSError:
                pass
        return None

    def assert_no_process_left(self):
        for _ in range(100):
            left = self.processes()
            if not left:
                return
            time.sleep(0.1)
        self.fail(f"processes {left} are left after 10 seconds")
