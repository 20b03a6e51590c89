"""Our tokenizers against Hugging Face's, on thousands of odd texts: tokenizer.json files of several
families read by ours, and ours, written as Hugging Face files, loaded by AutoTokenizer.

    tokenizer_test.py DRIVER    the path of tokenizer_driver (tests/transformers)
"""

import json
import random
import subprocess
import sys
import tempfile
import unicodedata
import unittest
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

DRIVER = sys.argv.pop()
ROOT = Path(__file__).resolve().parents[2]
SPACE = "\u2581"
CORPUS = "\n".join(
    [(ROOT / "README.md").read_text(), (ROOT / "docs/errors.md").read_text(),
     (ROOT / "docs/vocabulary.md").read_text()]
    + ["I don't know; we'll see, they'VE said it's 12345.67 times    more\n\n\n  so\t!"
       " \u65e5\u672c\u8a9e\u306e\u6587 \u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440"
       " fran\u00e7ais \u00fcber \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \U0001F600 e\u0301 "] * 40)
PIECES = [
    "don't", "I'VE", "it'S", "we'll", "'", "''", " ", "  ", "   ", "        ", "\n", "\r\n", "\n\n\n", "\t", "\r",
    "the", " the", "model", " of", "training", "0", "12", "345", "6789", "\u0663", "\u00bd", "\u2167", ".", "...", "-",
    "--", "_", "(", "){", "\u65e5\u672c", "\u8a9e", "\u3002", "\uac00", "\u1112\u1161\u11ab", "e\u0301", "\u00e9",
    "a\u0323\u0302", "\u0302\u0323", "\u212b", "\u1e9b\u0323", "\ufb01", "\uff21", "\u0130", "\u0391\u03a3",
    "\U0001F600", "\U0001F469\u200d\U0001F469\u200d\U0001F467", "\U0001F1E9\U0001F1EA", "\ufe0f", SPACE, SPACE * 2,
    " " + SPACE, "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u0651\u0652", "\u0915\u094d\u0937", "\x00", "\x1f",
    "\x7f", "\x85", "\u00a0", "\u200b", "\u2028", "\u3000", "\ufeff", "\ufffd", "\ufffe", "\ue000", "\U0010ffff",
    "aaaaaaa", "====", "<", "<|", "</", "<0x41>", "Straße", "NAÏVE", "ǅ", "x" * 50]
ADDED = ["<|endoftext|>", "<think>", "<word>", " <left>", "<right>  ", "<n>", "NAME"]


def newer_than_tokenizers(character):
    """Whether Unicode gave the character a normal form after the version that tokenizers knows."""
    return normalizers.NFKD().normalize_str(character) != unicodedata.normalize("NFKD", character)


def odd_texts(count, seed, extra=()):
    """Texts of odd pieces and of any characters at all."""
    rng = random.Random(seed)
    pieces = PIECES + list(extra) * 3

    def character():
        code = rng.choice([rng.randrange(0x250), rng.randrange(0x3000), rng.randrange(0xD800),
                           rng.randrange(0xE000, 0x110000), rng.randrange(0x1F000, 0x1FB00)])
        return chr(code) if not newer_than_tokenizers(chr(code)) else " "

    def text():
        share = rng.choice([0.0, 0.1, 0.9])
        return "".join(character() if rng.random() < share else rng.choice(pieces)
                       for _ in range(rng.choice([1, 2, 5, 12, 40])))

    return ["", *PIECES, *(text() for _ in range(count))]


def ours(tokenizer, texts):
    """What our tokenizer makes of the texts: [(ids, the ids decoded)]."""
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    done = subprocess.run([DRIVER, str(tokenizer)], input=lines.encode(), capture_output=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode())
    answers = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
    return [(answer["ids"], answer["text"]) for answer in answers]


class Case(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="enodia_tokenizer_")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def expect_equal(self, tokenizer, texts, encode, decode):
        for text, (ids, back) in zip(texts, ours(tokenizer, texts), strict=True):
            expected = encode(text)
            self.assertEqual(ids, expected, ascii(text))
            self.assertEqual(back, decode(expected), ascii(text))


def added_tokens():
    return [AddedToken("<|endoftext|>", special=True, normalized=False),
            AddedToken("<think>", special=False, normalized=False),
            AddedToken("<word>", single_word=True, normalized=False),
            AddedToken("<left>", lstrip=True, normalized=False),
            AddedToken("<right>", rstrip=True, special=True, normalized=False),
            AddedToken("<n>", normalized=True),
            AddedToken("NAME", normalized=True, single_word=True)]


def byte_level(pre_tokenizer, normalizer=None, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=1200, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([CORPUS], trainer)
    return tokenizer


def split_then_bytes(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior, invert),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN.replace(r"\p{N}| ?", r"\p{N}{1,3}| ?")


def byte_fallback(**options):
    """As Llama 2 and Mixtral: bytes of unknown characters, and U+2581 for spaces."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>", **options))
    trainer = trainers.BpeTrainer(
        vocab_size=1000, show_progress=False, limit_alphabet=150,
        special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)])
    return tokenizer, trainer


class Read(Case):
    """Ours reads what tokenizers wrote."""

    def compare(self, tokenizer, count=1500, added=True):
        if added:
            tokenizer.add_tokens(added_tokens())
        else:
            tokenizer.add_special_tokens(["<|endoftext|>"])
        tokenizer.save(str(self.folder / "tokenizer.json"))
        (self.folder / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
        self.expect_equal(self.folder, odd_texts(count, 1, ADDED),
                          lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
                          lambda ids: tokenizer.decode(ids, skip_special_tokens=True))

    def test_gpt2(self):
        self.compare(byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)))

    def test_gpt2_with_a_space_in_front(self):
        self.compare(byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True)))

    def test_qwen(self):
        self.compare(byte_level(split_then_bytes(QWEN), normalizers.NFC()), count=6000)

    def test_llama3(self):
        self.compare(byte_level(split_then_bytes(LLAMA3), ignore_merges=True), count=3000)

    def test_each_way_to_split(self):
        for behavior in ("removed", "merged_with_previous", "merged_with_next", "contiguous"):
            for invert in (False, True):
                with self.subTest(behavior, invert=invert):
                    self.compare(byte_level(split_then_bytes(r"\p{N}+|\s|e", behavior, invert)), 300)

    def test_patterns_that_match_nothing_at_places(self):
        self.compare(byte_level(split_then_bytes(r"a*|(?=\s)", "isolated")), 500)

    def test_normal_forms_and_replacements(self):
        for normalizer in (normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD(), normalizers.Lowercase(),
                           normalizers.Sequence([normalizers.Replace(Regex(r"\s+"), " "),
                                                 normalizers.Replace("''", '"'), normalizers.NFKC()])):
            with self.subTest(str(normalizer)):
                self.compare(byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), normalizer), 1000)

    def test_digits_and_words(self):
        bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        for first in (pre_tokenizers.Digits(True), pre_tokenizers.Digits(False), pre_tokenizers.Whitespace(),
                      pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(" ", "merged_with_next")):
            with self.subTest(str(first)):
                self.compare(byte_level(pre_tokenizers.Sequence([first, bytes_only])), 1000)

    def test_mixtral(self):
        tokenizer, trainer = byte_fallback()
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE),
                                                     normalizers.Replace(" ", SPACE)])
        tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(),
                                               decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        tokenizer.pre_tokenizer = pre_tokenizers.Split(SPACE, "merged_with_next")
        tokenizer.train_from_iterator([CORPUS], trainer)
        tokenizer.pre_tokenizer = None
        self.compare(tokenizer, count=3000, added=False)

    def test_metaspace(self):
        for scheme in ("first", "always", "never"):
            for split in (False, True):
                with self.subTest(scheme, split=split):
                    tokenizer, trainer = byte_fallback()
                    space = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=True)
                    tokenizer.pre_tokenizer = space
                    tokenizer.decoder = decoders.Sequence([
                        decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
                    tokenizer.train_from_iterator([CORPUS], trainer)
                    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
                    self.compare(tokenizer, 700)

    def test_unknown_characters(self):
        for fuse in (False, True):
            with self.subTest(fuse=fuse):
                tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse))
                tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
                tokenizer.train_from_iterator([CORPUS], trainers.BpeTrainer(
                    vocab_size=600, show_progress=False, special_tokens=["<unk>"]))
                self.compare(tokenizer, 700)

    def test_without_a_token_for_the_unknown(self):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.train_from_iterator([CORPUS], trainers.BpeTrainer(vocab_size=400, show_progress=False))
        self.compare(tokenizer, 700)

    def test_merges_written_as_texts(self):
        tokenizer = byte_level(split_then_bytes(QWEN), normalizers.NFC())
        tokenizer.add_tokens(added_tokens())
        written = json.loads(tokenizer.to_str())
        written["model"]["merges"] = [" ".join(merge) for merge in written["model"]["merges"]]
        (self.folder / "tokenizer.json").write_text(json.dumps(written))
        self.expect_equal(self.folder / "tokenizer.json", odd_texts(300, 2, ADDED),
                          lambda text: tokenizer.encode(text).ids, tokenizer.decode)


class Export(Case):
    """transformers loads what ours wrote, whatever model it stands beside."""

    def compare(self, tokenizer, texts, expected_note="", model_type="qwen3_moe"):
        out = self.folder / f"out_{model_type}"
        out.mkdir(exist_ok=True)
        done = subprocess.run([DRIVER, str(tokenizer), str(out)], check=True, capture_output=True)
        self.assertIn(expected_note, done.stdout.decode())
        (out / "config.json").write_text(json.dumps({"model_type": model_type}))
        theirs = AutoTokenizer.from_pretrained(out)
        self.assertEqual(theirs.model_max_length, 512)
        self.expect_equal(tokenizer, texts,
                          lambda text: theirs.encode(text, add_special_tokens=False),
                          lambda ids: theirs.decode(ids, skip_special_tokens=True))
        self.expect_equal(out, texts[:200], lambda text: theirs(text)["input_ids"],
                          lambda ids: theirs.decode(ids, skip_special_tokens=True))
        return theirs

    def train(self, **options):
        lines = [line for line in CORPUS.split("\n") if line]
        (self.folder / "corpus.txt").write_text("\n".join(lines))
        prefix = self.folder / "spm"
        sentencepiece.SentencePieceTrainer.train(
            input=str(self.folder / "corpus.txt"), model_prefix=str(prefix), minloglevel=3, **{
                "vocab_size": 1000, "model_type": "bpe", "byte_fallback": True, "character_coverage": 0.999,
                "normalization_rule_name": "identity", "remove_extra_whitespaces": False, **options})
        return f"{prefix}.model"

    def test_bytes(self):
        for model_type in ("qwen3_moe", "mixtral"):
            theirs = self.compare("byte", odd_texts(1000, 3), model_type=model_type)
            self.assertEqual((theirs.eos_token, theirs.eos_token_id), ("<|endoftext|>", 256))

    def test_sentencepiece_as_prepare_trains_it(self):
        model = self.train(add_dummy_prefix=False, bos_id=-1, pad_id=-1, eos_id=1,
                           allow_whitespace_only_pieces=True)
        for model_type in ("qwen3_moe", "mixtral"):
            theirs = self.compare(model, odd_texts(4000, 4), model_type=model_type)
            self.assertEqual((theirs.eos_token, theirs.eos_token_id), ("</s>", 1))

    def test_sentencepiece_as_llama(self):
        model = self.train(split_digits=True)
        theirs = self.compare(model, odd_texts(4000, 5), model_type="mixtral")
        self.assertEqual(theirs.bos_token, "<s>")

    def test_sentencepiece_with_pieces_of_the_user(self):
        model = self.train(add_dummy_prefix=False, user_defined_symbols=["<think>", "==" + SPACE])
        self.compare(model, odd_texts(1000, 6, ["<think>", "==  ", "==" + SPACE]))

    def test_what_cannot_be_a_tokenizer_json(self):
        for options, note in (({"model_type": "unigram"}, "not of type BPE"),
                              ({"normalization_rule_name": "nmt_nfkc"}, "normalizes text")):
            with self.subTest(note):
                out = self.folder / note
                out.mkdir()
                done = subprocess.run([DRIVER, self.train(**options), str(out)], check=True,
                                      capture_output=True)
                self.assertIn(note, done.stdout.decode())
                self.assertEqual(sorted(path.name for path in out.iterdir()),
                                 ["special_tokens_map.json", "tokenizer.model", "tokenizer_config.json"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
