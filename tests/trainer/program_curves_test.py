"""Long runs of every placement policy with owners that move, against runs of one rank.

By ctest few policies and few steps. All of it, in about a quarter of an hour on two cores that
nobody else uses:

    ENODIA_CURVE_STEPS=200 ENODIA_CURVE_POLICIES=all tests/trainer/program_curves_test.py

prints a table of what docs/placement.md reports."""

import array
import json
import math
import operator
import os
import shutil
import unittest

from program_testing import ProgramTest

TRAINING = ("owners,replicate_all,fastermoe,hecate,hecate_calibrated,eplb,laer,ultraep,enodia,"
            "enodia/2,enodia/4")  # after the slash: stripes
STEPS = int(os.environ.get("ENODIA_CURVE_STEPS", "40"))
CHOSEN = os.environ.get("ENODIA_CURVE_POLICIES", "owners,enodia,enodia/2")
POLICIES = (TRAINING if CHOSEN == "all" else CHOSEN).split(",")
EVERY = 20
RANKS = 4
ROUNDING = 2.0 ** -22  # a floor for errors, as in docs/numerics.md
FACTOR = 4  # of one rank's error


def distance(one, other):
    """Of two tensors as arrays, relative to the first."""
    difference = array.array("d", map(operator.sub, one, other))
    norm = math.sqrt(sum(map(operator.mul, one, one)))
    return math.sqrt(sum(map(operator.mul, difference, difference))) / (norm or 1.0)


class Curves(ProgramTest):
    # Loads stay as the router makes them. A balancing loss would depend on the micro-batches.
    VALUES = dict(model__num_experts=8, router__aux_loss_coef=0, optim__decay_samples=24 * STEPS,
                  train__steps=STEPS, checkpoint__interval=EVERY, checkpoint__keep=1000)
    # Micro-batches of other sizes add up gradients in another order, and do nothing else.
    ORDERS = (2, 1, 3, 6, 12)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for micro in cls.ORDERS:
            result = cls.start(*cls.train_arguments(f"one_{micro}", train__micro_batch_size=micro,
                                                    **cls.VALUES))
            if result.code != 0:
                raise AssertionError(f"cannot train: {result}")

    def spread(self):
        """At each step the farthest that two of one rank's runs were apart until then."""
        runs = [self.losses(f"one_{micro}") for micro in self.ORDERS]
        farthest = 0.0
        spread = []
        for losses in zip(*runs):
            farthest = max(farthest, max(losses) - min(losses), FACTOR * ROUNDING * losses[0])
            spread.append(farthest)
        return runs, spread

    def last_loss(self, folder):
        """The mean of the last steps."""
        return sum(self.losses(folder)[-EVERY:]) / EVERY

    def farthest_outside(self, folder):
        """The largest distance to the nearest run of one rank, as a part of the spread."""
        runs, spread = self.spread()
        return max(min(abs(loss - one) for one in ones) / apart
                   for loss, ones, apart in zip(self.losses(folder), zip(*runs), spread))

    def state(self, folder, step):
        """All tensors of a checkpoint, each flat."""
        place = self.folder / folder / f"checkpoints/step_{step}"
        manifest = json.loads((place / "manifest.json").read_text())
        files = [(place / file["name"]).read_bytes() for file in manifest["files"]]
        tensors = {}
        for tensor in manifest["tensors"]:
            whole = array.array("f", bytes(4 * math.prod(tensor["shape"])))
            row = math.prod(tensor["shape"][1:])
            for box in tensor["boxes"]:
                self.assertEqual(box["size"][1:], tensor["shape"][1:])
                values = array.array("f")
                values.frombytes(files[box["file"]][box["byte_offset"]:][:box["bytes"]])
                first = box["offset"][0] * row
                whole[first:first + len(values)] = values
            tensors[tensor["name"]] = whole
        return tensors

    def go_on(self, folder, step, name, ranks, **values):
        """One more step from a run's checkpoint: its record and what is saved after it."""
        (self.folder / name / "checkpoints").mkdir(parents=True)
        shutil.copytree(self.folder / folder / f"checkpoints/step_{step}",
                        self.folder / name / f"checkpoints/step_{step}")
        self.train(name, ranks=ranks, **{**self.VALUES, "train__steps": step + 1, **values})
        record = self.metrics(name)[-1]
        self.assertEqual(record["step"], step + 1)
        state = self.state(name, step + 1)
        shutil.rmtree(self.folder / name)
        return record, state

    def parity(self, folder, step, **values):
        """The worst tensor's error as a part of what is allowed, or None where a router was
        undecided."""
        alone = [self.go_on(folder, step, f"alone_{micro}", 0, train__micro_batch_size=micro)
                 for micro in self.ORDERS]
        record, state = self.go_on(folder, step, "together", RANKS, **values)
        losses = [other["loss"] for other, _ in alone]
        worst = abs(record["loss"] - losses[0]) / (
            FACTOR * max(max(losses) - min(losses), ROUNDING * losses[0]))
        for name, tensor in state.items():
            first, *others = (saved[name] for _, saved in alone)
            error = max(distance(first, other) for other in others)
            ratio = distance(first, tensor) / (FACTOR * max(error, ROUNDING))
            worst = max(worst, ratio)
        # Where two experts' scores are this close, rounding may send a token to either.
        return None if worst > 1 and record["route_margin"] < 2e-6 else worst

    def test_policies_stay_among_runs_of_one_rank(self):
        _, spread = self.spread()
        print(f"\n| {STEPS} steps, {RANKS} ranks | loss of the last {EVERY} | distance / spread | experts moved | "
              "one step's error / allowed |\n| --- | --- | --- | --- | --- |")
        last = [self.last_loss(f"one_{micro}") for micro in self.ORDERS]
        apart = max(last) - min(last)
        print(f"| one rank, {len(last)} orders | {min(last):.5f} to {max(last):.5f} | "
              f"spread {spread[-1]:.1e} | | |")
        for name in POLICIES:
            policy, _, stripes = name.partition("/")
            folder = name.replace("/", "_")
            with self.subTest(name):
                values = dict(placement__policy=policy, placement__reshard_interval=10,
                              placement__reshard_gain=0.01, placement__stripes=stripes or 1)
                self.train(folder, ranks=RANKS, **{**self.VALUES, **values})
                moved = sum(record.get("moved_experts", 0) for record in self.metrics(folder))
                self.assertGreater(moved, 1)
                outside = self.farthest_outside(folder)
                errors = [self.parity(folder, step, **values)
                          for step in range(EVERY, STEPS, EVERY)]
                decided = [error for error in errors if error is not None]
                self.assertGreaterEqual(2 * len(decided), len(errors), "most steps are decided")
                print(f"| `{name}` | {self.last_loss(folder):.5f} | {outside:.2f} | {moved} | "
                      f"{max(decided):.2f} ({len(decided)} of {len(errors)}) |", flush=True)
                self.assertLessEqual(outside, 1)
                self.assertGreaterEqual(self.last_loss(folder), min(last) - apart)
                self.assertLessEqual(self.last_loss(folder), max(last) + apart)
                self.assertLessEqual(max(decided), 1)

    def test_another_learning_rate_does_not(self):
        self.train("faster", **dict(self.VALUES, optim__lr=3.003e-3))
        self.assertGreater(self.farthest_outside("faster"), 1)

    def test_a_moment_that_is_off_is_seen(self):
        """From a state whose second moments belong to another step."""
        _, right = self.go_on("one_2", EVERY, "right", 0)
        _, later = self.go_on("one_1", EVERY, "other", 0, optim__betas="[0.9, 0.94]")
        off = max(distance(right[name], later[name]) for name in right)
        self.assertGreater(off, 100 * FACTOR * ROUNDING)


if __name__ == "__main__":
    unittest.main()
