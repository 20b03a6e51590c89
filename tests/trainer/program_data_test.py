"""Runs `enodia prepare` and wrong command lines as a user would."""

import json
import unittest

from program_testing import TINY, ProgramTest, settings


class Prepare(ProgramTest):
    """enodia prepare."""

    def prepare(self, *arguments):
        return json.loads(self.succeed("prepare", *arguments, "--json").out)

    def refuse_input(self, name, content, words):
        (self.folder / name).write_bytes(content)
        self.refuse(4, [name, *words], "prepare", "--input", name, "--output", "bad/x",
                    "--tokenizer", "byte")
        self.assertFalse((self.folder / "bad/x.json").exists())

    def test_bytes_count_every_byte_and_the_end_of_each_document(self):
        files = [f"docs/{number:02}.txt" for number in range(3)]
        size = sum((self.folder / name).stat().st_size for name in files)
        summary = self.prepare("--input", *files, "--output", "three/b", "--tokenizer", "byte")
        self.assertEqual(summary, {"tokenizer": "byte", "vocab_size": 257, "documents": 3,
                                   "empty_documents": 0, "tokens": size + 3, "text_bytes": size})
        self.assertEqual((self.folder / "three/b.bin").stat().st_size, 2 * (size + 3))

    def test_lines_of_json_and_plain_files_give_the_same_tokens(self):
        files = [f"docs/{number:02}.txt" for number in range(40)]
        self.prepare("--input", *files, "--output", "plain/b", "--tokenizer", "byte")
        for ending in (".bin", ".idx", ".json"):
            self.assertEqual((self.folder / f"plain/b{ending}").read_bytes(),
                             (self.folder / f"bytes/train{ending}").read_bytes(), ending)

    def test_a_trained_tokenizer_is_used_again(self):
        trained = self.prepare("--input", "docs.jsonl", "--output", "sp/train",
                               "--vocab-size", "300")
        self.assertEqual(trained["vocab_size"], 300)
        self.assertLess(trained["tokens"], trained["text_bytes"])
        again = self.prepare("--input", "docs.jsonl", "--output", "sp/again",
                             "--tokenizer", "sp/train.model")
        self.assertEqual(again["tokens"], trained["tokens"])
        self.assertEqual((self.folder / "sp/again.bin").read_bytes(),
                         (self.folder / "sp/train.bin").read_bytes())

    def test_text_for_a_person(self):
        said = self.succeed("prepare", "--input", "docs/00.txt", "--output", "one/b",
                            "--tokenizer", "byte")
        self.assertIn("one/b: 1 document", said.out)
        self.assertEqual(said.err, "")

    def test_bad_inputs_are_named(self):
        self.refuse(4, ["nowhere.txt", "No such file"], "prepare", "--input", "nowhere.txt",
                    "--output", "bad/x", "--tokenizer", "byte")
        self.refuse_input("key.jsonl", b'{"text":"a"}\n{"txt":"b"}\n', ["key.jsonl:2", '"text"'])
        self.refuse_input("cut.jsonl", b'{"text":"a"}\n{"text": "b\n', ["cut.jsonl:2"])
        self.refuse_input("latin.txt", b"caf\xe9 au lait", ["UTF-8", "iconv"])
        (self.folder / "empty.txt").write_bytes(b"")
        self.refuse(4, ["no text"], "prepare", "--input", "empty.txt", "--output", "bad/x",
                    "--tokenizer", "byte")

    def test_bad_tokenizers_are_named(self):
        common = ["prepare", "--input", "docs.jsonl", "--output", "bad/x"]
        self.refuse(2, ["100000", "at most"], *common, "--vocab-size", "100000")
        self.refuse(2, ["(9)", "at least"], *common, "--vocab-size", "9")
        self.refuse(2, ["--vocab-size"], *common, "--vocab-size", "300", "--tokenizer", "byte")
        self.refuse(4, ["nowhere.model"], *common, "--tokenizer", "nowhere.model")
        self.refuse(4, ["docs/00.txt", "SentencePiece"], *common, "--tokenizer", "docs/00.txt")


class CommandLine(ProgramTest):
    """Wrong and right command lines; under mpirun a sentence is printed once."""

    def test_help_of_every_command(self):
        overview = self.succeed("--help").out
        for command in ("train", "eval", "generate", "prepare", "inspect", "help"):
            self.assertIn(command, overview)
            self.assertIn("--json", self.succeed(command, "--help").out)
        self.assertRegex(self.succeed("--version").out, r"^enodia \d+\.\d+")

    def test_unknown_words(self):
        self.refuse(2, ["--bogus"], "train", TINY, "--bogus")
        self.refuse(2, ["--bogus"], "train", TINY, "--bogus", ranks=2)
        self.refuse(2, ["CONFIG"], "train")
        self.refuse(2, ["--prompt"], "generate", "run")
        for temperature in ("-1", "nan", "warm"):
            self.refuse(2, ["--temperature", temperature], "generate", "run", "--prompt", "a",
                        "--temperature", temperature)
        self.refuse(2, ["'trian'"], "trian", TINY)
        self.refuse(2, [])

    def test_wrong_configurations(self):
        def refuse(words, values, ranks):
            chosen = {"data.train": "bytes/train", "run.dir": "refused", **values}
            self.refuse(2, words, "train", TINY, *settings(chosen), ranks=ranks)

        refuse(["optim.lrr", "did you mean 'optim.lr'"], {"optim.lrr": 1}, 2)
        refuse(["train.steps"], {"train.steps": "many"}, 0)
        refuse(["parallel.ep (3)", "set it to 1 or 2"], {"parallel.ep": 3}, 2)
        refuse(["(26)", "set it to 24 or 28"], {"train.global_batch_size": 26}, 2)
        refuse(["model.vocab_size (100)", "257"], {"model.vocab_size": 100}, 0)
        self.refuse(2, ["'malformed'"], "train", TINY, "--set", "malformed", ranks=2)
        self.refuse(2, ["nowhere.yaml"], "train", "nowhere.yaml", ranks=2)
        (self.folder / "broken.yaml").write_text("model: [1\n", encoding="utf-8")
        self.refuse(2, ["broken.yaml:"], "train", "broken.yaml")
        self.assertFalse((self.folder / "refused").exists())

    def test_data_that_is_missing(self):
        self.refuse(4, ["nowhere/train.json"], "train", TINY, "--set", "data.train=nowhere/train",
                    ranks=2)
        self.refuse(4, ["nowhere"], "inspect", "nowhere")
        self.refuse(4, ["bytes"], "inspect", "bytes")

    def test_a_run_directory_that_cannot_be(self):
        self.refuse(4, ["cannot make docs.jsonl", "run.dir"],
                    *self.train_arguments("docs.jsonl"), ranks=2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
