"""Damaged files as the commands meet them on two ranks: exit code 4, one sentence, nobody left.
What each damage is called is tested beside the readers (test_data, checkpoint_test)."""

import os
import shutil
import struct
import unittest

from program_testing import ProgramTest


class Damaged(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        result = cls.start(*cls.train_arguments("run", checkpoint__interval=3), ranks=2)
        if result.code != 0:
            raise AssertionError(f"cannot train: {result}")

    def data(self, name, file, damage):
        """The prefix of a copy of bytes/train in which damage(path) has worked on one file."""
        shutil.copytree(self.folder / "bytes", self.folder / name)
        damage(self.folder / name / file)
        return f"{name}/train"

    @staticmethod
    def put(offset, bytes_):
        def write(path):
            with open(path, "r+b") as file:
                file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
                file.write(bytes_)
        return write

    @staticmethod
    def replace_by(make):
        def replaced(path):
            path.unlink()
            make(path)
        return replaced

    def test_data_sets(self):
        cases = {
            "cut": ("train.idx", lambda path: os.truncate(path, 100), "the file ends inside"),
            "grown": ("train.bin", lambda path: os.truncate(path, 1 << 40), "the .bin has"),
            "pipe": ("train.bin", self.replace_by(os.mkfifo), "not a regular file"),
            "folder": ("train.idx", self.replace_by(os.mkdir), "not a regular file"),
            "looped": ("train.json", self.replace_by(lambda path: path.symlink_to(path)), "train.json"),
        }
        for number, (name, (file, damage, words)) in enumerate(cases.items()):
            with self.subTest(name):
                prefix = self.data(name, file, damage)
                command = (self.train_arguments(f"run_{name}", data__train=prefix) if number % 2
                           else ["eval", "run", "--data", prefix])
                self.refuse(4, [words, f"{name}/train"], *command, ranks=2)

    def test_an_id_in_the_middle_names_file_place_and_value(self):
        """The length is right and the edges are: only who reads the sample can tell."""
        size = (self.folder / "bytes/train.bin").stat().st_size
        place = size // 4 * 2
        prefix = self.data("middle", "train.bin", self.put(place, struct.pack("<H", 300)))
        words = ["middle/train.bin", f"token {place // 2} has the id 300", "vocabulary of 257"]
        self.refuse(4, words, "eval", "run", "--data", prefix, ranks=2)
        self.refuse(4, words, *self.train_arguments("run_middle", data__train=prefix,
                                                    train__steps=1000), ranks=2)

    def test_checkpoints(self):
        def manifest(text):
            return lambda folder: (folder / "manifest.json").write_text(text)

        cases = {
            "nested": (manifest("[" * 100000), "checksum"),
            "piped": (lambda folder: self.replace_by(os.mkfifo)(folder / "manifest.json"),
                      "not a regular file"),
            "short": (lambda folder: os.truncate(folder / "shard_00001.bin", 256), "256 bytes"),
            "flipped": (lambda folder: self.put(-8, b"?!")(folder / "shard_00000.bin"), "checksum"),
        }
        commands = (["eval", "{}/step_6", "--data", "bytes/valid"], ["inspect", "{}/step_6"],
                    ["generate", "{}/step_6", "--prompt", "a"])
        for number, (name, (damage, words)) in enumerate(cases.items()):
            with self.subTest(name):
                shutil.copytree(self.folder / "run/checkpoints", self.folder / name)
                damage(self.folder / name / "step_6")
                command = [word.format(name) for word in commands[number % 3]]
                self.refuse(4, [words, f"{name}/step_6"], *command, ranks=2)

    def test_metrics_of_another_kind(self):
        for name, make in (("pipe", os.mkfifo), ("folder", os.mkdir)):
            with self.subTest(name):
                place = self.folder / f"metrics_{name}"
                place.mkdir()
                make(place / "metrics.jsonl")
                self.refuse(4, ["metrics.jsonl"], *self.train_arguments(place.name), ranks=2)

    def test_lines_of_metrics_that_are_no_steps_are_left_out_and_kept_beside(self):
        shutil.copytree(self.folder / "run", self.folder / "odd")
        path = self.folder / "odd/metrics.jsonl"
        whole = path.read_text()
        damaged = whole.replace('"step":4', '"step":"four"')
        path.write_text(damaged)
        self.train("odd", ranks=2)
        lines = whole.splitlines(True)
        self.assertEqual(path.read_text(), "".join(lines[:3] + lines[4:]))
        self.assertEqual((self.folder / "odd/metrics.jsonl.damaged").read_text(), damaged)


if __name__ == "__main__":
    unittest.main(verbosity=2)
