"""The command `logits`: the same numbers on any number of ranks, those behind what `eval` says, and
one sentence for what cannot be."""

import json
import math
import struct
import unittest

from program_testing import ProgramTest, pseudo_english

SEQUENCES, LENGTH, VOCABULARY = 5, 32, 257  # uneven on two ranks and on three


def read_logits(path):
    """dtype and rows [B * S][V] of the file's only tensor, from the format's description alone."""
    content = path.read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + size])
    assert list(header) == ["logits"], header
    assert header["logits"]["shape"] == [SEQUENCES, LENGTH, VOCABULARY], header
    dtype = header["logits"]["dtype"]
    count = SEQUENCES * LENGTH * VOCABULARY
    values = struct.unpack_from(f"<{count}{dict(F32='f', F64='d')[dtype]}", content, 8 + size)
    assert header["logits"]["data_offsets"] == [0, len(content) - 8 - size], header
    return dtype, [values[i:i + VOCABULARY] for i in range(0, count, VOCABULARY)]


class Logits(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        text = pseudo_english(77, 40)[:SEQUENCES * LENGTH]
        (cls.folder / "text.txt").write_text(text, encoding="ascii")
        cls.ids = list(text.encode()) + [256]
        cls.write_ids("ids", [cls.ids[i:i + LENGTH] for i in range(0, len(text), LENGTH)])
        commands = [["prepare", "--input", "text.txt", "--output", "text", "--tokenizer", "byte"]]
        commands += [cls.train_arguments(dtype, model__dtype=dtype, train__steps=3)
                     for dtype in ("float32", "float64")]
        for command in commands:
            result = cls.start(*command)
            if result.code != 0:
                raise AssertionError(f"cannot {command}: {result}")

    @classmethod
    def write_ids(cls, name, sequences):
        (cls.folder / name).write_text("".join(f"{ids}\n" for ids in sequences), encoding="ascii")

    def logits(self, model, ranks):
        name = f"{model}.{ranks}.safetensors"
        result = self.succeed("logits", model, "--ids", "ids", "--output", name, "--json",
                              ranks=ranks)
        self.assertEqual(json.loads(result.out), {"sequences": SEQUENCES, "length": LENGTH,
                                                  "vocab_size": VOCABULARY, "output": name})
        return read_logits(self.folder / name)

    def test_do_not_depend_on_ranks_and_give_the_loss(self):
        for model, dtype, tolerance, loss_tolerance in (("float32", "F32", 2e-5, 1e-5),
                                                        ("float64", "F64", 1e-12, 1e-11)):
            with self.subTest(model):
                found, one = self.logits(model, 0)
                self.assertEqual(found, dtype)
                for ranks in (2, 3):
                    found, other = self.logits(model, ranks)
                    self.assertEqual(found, dtype)
                    worst = max(abs(a - b) for x, y in zip(one, other) for a, b in zip(x, y))
                    self.assertLessEqual(worst, tolerance, f"{ranks} ranks")
                nats = [math.log(math.fsum(map(math.exp, row))) - row[label]
                        for row, label in zip(one, self.ids[1:])]
                self.assertEqual(len(nats), SEQUENCES * LENGTH)
                said = json.loads(self.succeed("eval", model, "--data", "text", "--json",
                                               "--sequence-length", LENGTH).out)
                self.assertEqual(said["tokens"], len(nats))
                self.assertAlmostEqual(said["loss"], sum(nats) / len(nats), delta=loss_tolerance)
                self.assertGreater(max(nats) - min(nats), 0.1)  # the rows are not all alike

    def test_refuse_bad_ids_and_keep_the_old_file(self):
        old = self.folder / "old.safetensors"
        old.write_text("old", encoding="ascii")
        self.write_ids("beyond", [[1, 2], [3, VOCABULARY]])
        self.write_ids("ragged", [[1, 2], [3, 4], [5]])
        for ids, words, ranks in (("beyond", "beyond:2 holds '257' at position 1", 2),
                                  ("ragged", "ragged:3 holds 1 ids and line 1 holds 2", 0),
                                  ("missing", "cannot read missing", 2)):
            self.refuse(4, [words], "logits", "float32", "--ids", ids, "--output", old,
                        ranks=ranks)
        self.assertEqual(old.read_text(), "old")
        self.refuse(4, ["no/x", "folder does not exist"], "logits", "float32", "--ids", "ids",
                    "--output", "no/x", ranks=2)
        self.assertEqual([path.name for path in self.folder.glob("*.tmp")], [])


if __name__ == "__main__":
    unittest.main()
