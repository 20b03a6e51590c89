"""The three commands at the top of docs/guide.md, word for word, with a small Qwen3-MoE."""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from odd_models import load, make_model, shape

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("ENODIA_PROGRAM", str(ROOT / "build/enodia"))
# How Qwen cuts text into words before it merges bytes.
WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
TEXT = "".join(f"In the {n}th year the king's {word} said: \u201cgo, and \u00e9t\u00e9 is {n * n}!\u201d\n"
               for n in range(300) for word in ("son", "servant", "daughter", "house"))


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([TEXT], trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"]))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>",
                                   pad_token="<|endoftext|>")


def commands_of_the_guide():
    """The lines of the first block of commands."""
    page = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
    return re.search(r"```sh\n(.*?)```", page, re.S)[1].strip().splitlines()


def make_workplace(folder):
    """What a user has: the program, the scripts, a downloaded model and a text."""
    for name, target in (("build/enodia", PROGRAM), ("scripts", ROOT / "scripts"),
                         ("configs", ROOT / "configs")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(target)
    model = make_model(shape("guide", "qwen3_moe", vocab_size=416, num_experts=6,
                             max_position_embeddings=128, tie_word_embeddings=True), seed=7)
    model.save_pretrained(folder / "models/qwen3-moe")
    make_tokenizer().save_pretrained(folder / "models/qwen3-moe")
    (folder / "my_text.txt").write_text(TEXT, encoding="utf-8")


def run(command, folder):
    environment = dict(os.environ, ENODIA_PROGRAM=PROGRAM)
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, timeout=500,
                          env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def nats(model, ids):
    with torch.no_grad():
        return model(input_ids=ids, labels=ids).loss.item()


class Guide(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="enodia_guide_")
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = Path(cls.temporary.name).resolve()
        make_workplace(cls.folder)
        cls.commands = commands_of_the_guide()
        cls.printed = [run(command, cls.folder) for command in cls.commands]

    def test_three_commands_suffice(self):
        self.assertEqual(len(self.commands), 3)
        self.assertIn("step 100/100", self.printed[1])
        self.assertIn("verified", self.printed[2])

    def test_transformers_loads_what_comes_out_and_it_has_learnt(self):
        before, _ = load(self.folder / "models/qwen3-moe")
        after, complaints = load(self.folder / "models/my-qwen3-moe")
        self.assertEqual(complaints, {})
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "models/my-qwen3-moe")
        ids = torch.tensor([tokenizer(TEXT[-400:])["input_ids"][:100]])
        self.assertLess(nats(after, ids), nats(before, ids) - 0.01)
        self.assertEqual(type(after), type(before))

    def test_the_tokenizer_comes_out_as_it_went_in(self):
        for path in (self.folder / "models/qwen3-moe").glob("token*"):
            self.assertEqual((self.folder / "models/my-qwen3-moe" / path.name).read_bytes(),
                             path.read_bytes(), path.name)

    def test_its_text_goes_through_the_program(self):
        said = json.loads(run("build/enodia generate models/my-qwen3-moe --prompt 'the king' --json "
                              "--temperature 0 --max-tokens 8", self.folder))
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "models/my-qwen3-moe")
        model, _ = load(self.folder / "models/my-qwen3-moe")
        prompt = tokenizer("the king", return_tensors="pt")["input_ids"]
        answer = model.generate(prompt, do_sample=False, max_new_tokens=8, use_cache=False)
        self.assertEqual(said["ids"], answer[0, prompt.shape[1]:].tolist()[:len(said["ids"])])
        self.assertEqual(said["text"], tokenizer.decode(said["ids"]))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    unittest.main()
