"""Compares what a run was foretold to take with what it took."""

import json
import unittest

from program_testing import ProgramTest

# What is allocated once; activations follow the load.
LASTING = ("parameters", "gradients", "optimizer", "replicas", "data")


def by_kind(rank):
    """Bytes of each kind of a rank of the forecast."""
    return {kind: sum(value.values()) if isinstance(value, dict) else value
            for kind, value in rank.items() if kind != "total"}


class Memory(ProgramTest):
    SKEW = dict(model__num_experts=8, router__forced_skew=1.5, router__aux_loss_coef=0)

    def compare(self, name, ranks, activations, **values):
        """Every rank and kind within a tenth; activations within that part of the forecast."""
        result = self.train(name, ranks=ranks, **values)
        self.assertIn("against the forecast", result.err)
        file = json.loads((self.folder / name / "memory_forecast.json").read_text())
        self.assertEqual(len(file["forecast"]), ranks)
        self.assertEqual(len(file["measured"]), ranks)
        for foretold, measured in zip(map(by_kind, file["forecast"]), file["measured"]):
            for kind in LASTING:
                self.assertLessEqual(abs(measured[kind] - foretold[kind]), 0.1 * foretold[kind],
                                     f"{name}: {kind}")
            ratio = measured["activations"] / foretold["activations"]
            self.assertLessEqual(abs(ratio - 1), activations, f"{name}: activations {ratio}")
        return file

    def test_one_rank(self):
        self.compare("one", 1, 0.1)
        self.compare("one_mixed", 1, 0.1, model__dtype="bfloat16")
        self.compare("one_recomputed", 1, 0.1, train__recompute="layers")

    def test_owners(self):
        for ranks in (2, 4):  # whose experts are unevenly busy
            self.compare(f"owners_{ranks}", ranks, 0.9)
        self.compare("homes", 4, 0.9, parallel__ep=2)
        self.compare("cut", 4, 0.9, parallel__tp=2, parallel__zero1="rows")

    def test_enodia(self):
        for ranks in (2, 4):
            file = self.compare(f"enodia_{ranks}", ranks, 0.2, placement__policy="enodia",
                                **self.SKEW)
            self.assertGreater(min(rank["replicas"] for rank in file["measured"]), 0)
        self.compare("kept", 2, 0.2, placement__policy="enodia", placement__rematerialize="false",
                     **self.SKEW)


if __name__ == "__main__":
    unittest.main()
