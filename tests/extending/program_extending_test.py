"""Trains docs/extending/my_run.yaml with the program of docs/extending.md, as a user would.

Environment: ENODIA_PROGRAM is that program, ENODIA_PLAIN the one without its parts.
"""

import os
import unittest
from unittest.mock import patch

from program_testing import ROOT, ProgramTest, settings

PLAIN = os.environ["ENODIA_PLAIN"]
RUN = str(ROOT / "docs/extending/my_run.yaml")


class Extended(ProgramTest):
    """An attention, a router and a loss of one's own, all at once."""

    def mine(self, folder, steps, ranks, **values):
        chosen = {"data.train": "bytes/train", "run.dir": folder, "train.steps": steps}
        chosen.update({key.replace("__", "."): value for key, value in values.items()})
        return self.succeed("train", RUN, "--json", *settings(chosen), ranks=ranks)

    def test_every_layout_trains_alike_and_goes_on(self):
        for ranks in (1, 2, 3):
            self.mine(f"on{ranks}", 6, ranks, parallel__ep=ranks)
        alone = self.metrics("on1")
        for ranks in (2, 3):
            for one, other in zip(alone, self.metrics(f"on{ranks}"), strict=True):
                for field in ("loss", "objective", "grad_norm"):
                    self.assertAlmostEqual(other[field] / one[field], 1, delta=1e-4)
        self.mine("on2", 40, 3)
        losses = self.losses("on2")
        self.assertEqual(len(losses), 40)
        self.assertLess(losses[-1], losses[0] - 1.5)
        objectives = [record["objective"] for record in self.metrics("on2")]
        self.assertLess(objectives[-1], objectives[0] - 1)
        self.assertGreater(objectives[-1], losses[-1] + 0.1, "smoothing costs a sure model")

    def test_its_checkpoint_serves(self):
        self.mine("served", 4, 2)
        names = self.masters("served")
        for name in ("self_attn.qkv", "self_attn.norm", "mlp.gate.temperature", "mlp.gate.experts"):
            self.assertIn(f"master/model.layers.1.{name}", names)
        scores = [self.succeed("eval", "served", "--data", "bytes/valid", "--json", ranks=ranks).out
                  for ranks in (1, 3)]
        self.assertEqual(scores[0][:15], scores[1][:15])
        text = self.succeed("generate", "served", "--prompt", "ka", "--max-tokens", 5, "--json")
        self.assertIn("ka", text.out)

        with patch("program_testing.PROGRAM", PLAIN):
            self.refuse(4, ["model.attention sliding_window", "does not have"],
                        "eval", "served", "--data", "bytes/valid", ranks=2)
            self.assertEqual(self.masters("served"), names, "who only reads needs no parts")
        self.refuse(2, ["parts.window: 16 -> 8"], "train", RUN, *settings(
            {"data.train": "bytes/train", "run.dir": "served", "parts.window": 8}), ranks=2)

    def test_names_and_numbers_are_checked(self):
        values = settings({"data.train": "bytes/train", "run.dir": "refused"})
        self.refuse(2, ["train.loss", "cross_entropy or label_smoothing", "label_smooting"],
                    "train", RUN, *values, "--set", "train.loss=label_smooting", ranks=2)
        self.refuse(2, ["parts.widow", "did you mean 'parts.window'"],
                    "train", RUN, *values, "--set", "parts.widow=3", ranks=2)
        self.refuse(2, ["parts.window must be at least 1"],
                    "train", RUN, *values, "--set", "parts.window=0", ranks=2)
        self.assertIn("tokens that a token attends to", self.succeed("help", "parts.window").out)
        self.assertRegex(self.succeed("train", RUN, *values, "--print-config").out,
                         r"\n  smoothing: 0.1 +# \S+my_run.yaml:\d+:3; probability")
        with patch("program_testing.PROGRAM", PLAIN):
            result = self.start("train", RUN, *values, ranks=2)
        self.assertEqual(result.code, 2, str(result))
        for word in ("must be grouped_query or mla, not 'sliding_window'", "must be linear, not 'cosine'",
                     "unknown section 'parts'", "must be cross_entropy, not 'label_smoothing'"):
            self.assertIn(word, result.err)


if __name__ == "__main__":
    unittest.main()
