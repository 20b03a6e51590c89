"""Recorded routing repeated in training, and ranks that sleep in place of computing."""

import json
import unittest

from program_simulate_test import write_trace
from program_testing import ROOT, ProgramTest

CLUSTER = ROOT / "configs/clusters/p4d.yaml"


class Emulation(ProgramTest):
    # A micro-batch has 2 x 64 tokens, each for two experts: 256 copies of a rank.
    EXPERTS = dict(model__num_experts=8, router__aux_loss_coef=0, train__steps=3)

    def trace(self, ranks, tokens=300):
        """Counts of so many copies of a rank, in two layers."""
        return write_trace(self.folder / "trace.safetensors", 4, 2, ranks, 8), tokens

    def virtual(self, **values):
        return dict(train__virtual_compute=CLUSTER, train__time_dilation=1000,
                    run__progress="thread", data__valid="", train__eval_interval=0,
                    router__forced_counts="trace.safetensors", **self.EXPERTS, **values)

    def test_recorded_counts_decide_where_tokens_go(self):
        counts, tokens = self.trace(2)
        result = self.train("forced", ranks=2, router__forced_counts="trace.safetensors",
                            train__global_batch_size=4, optim__warmup_samples=0, **self.EXPERTS)
        self.assertNotIn("virtual", result.err)
        for step, record in enumerate(self.metrics("forced")):
            busiest = []
            for layer in range(2):
                total = [sum(rank[expert] for rank in counts[step][layer]) for expert in range(8)]
                busiest.append(max(total) * 8 / sum(total))
            self.assertAlmostEqual(record["imbalance"]["expert"], sum(busiest) / 2, delta=0.1)

    def test_sleep_takes_the_time_of_the_cluster_and_moves_the_same_bytes(self):
        self.trace(2)
        real = dict(placement__policy="enodia", router__forced_counts="trace.safetensors",
                    **self.EXPERTS)
        self.train("real", ranks=2, **real)
        result = self.train("virtual", ranks=2, placement__policy="enodia", **self.virtual())
        self.assertIn("losses and weights mean nothing", result.err)
        self.train("slow", ranks=2, placement__policy="enodia",
                   **{**self.virtual(), "train__time_dilation": 1e6})
        for real, virtual in zip(self.metrics("real"), self.metrics("virtual")):
            self.assertEqual(real["bytes"], virtual["bytes"])
            self.assertEqual(real["replicas"], virtual["replicas"])
            self.assertEqual(real["imbalance"], virtual["imbalance"])
        fast, slow = (self.metrics(name)[-1]["step_ms"] for name in ("virtual", "slow"))
        self.assertGreater(slow, 3 * fast)

    def test_nothing_is_saved_and_nothing_resumed(self):
        self.trace(1)
        self.train("nothing", **self.virtual())
        self.assertEqual(list((self.folder / "nothing").glob("checkpoints/step_*")), [])
        self.train("trained", **self.EXPERTS)
        self.refuse(2, ["holds checkpoints", "train.virtual_compute", "--fresh"],
                    *self.train_arguments("trained", **self.virtual()), ranks=1)

    def test_what_cannot_be_is_refused(self):
        self.trace(2)
        for words, values in (
                (["run.progress (auto)", "set run.progress to thread"], dict(run__progress="auto")),
                (["parallel.tp (2)"], dict(parallel__tp=2)),
                (["train.recompute (layers)"], dict(train__recompute="layers")),
                (["data.valid"], dict(data__valid="bytes/valid")),
                (["forced_skew (1"], dict(router__forced_skew=1)),
                (["nowhere.yaml"], dict(train__virtual_compute="nowhere.yaml")),
                (["for 8 experts", "model.num_experts (4)"], dict(model__num_experts=4))):
            with self.subTest(words):
                self.refuse(2, words, *self.train_arguments("no", **{**self.virtual(), **values}),
                            ranks=2)
        self.refuse(2, ["routing of 2 ranks", "not 3"],
                    *self.train_arguments("no", **self.virtual()), ranks=3)
        self.refuse(4, ["nowhere.safetensors"], *self.train_arguments(
            "no", **{**self.virtual(), "router__forced_counts": "nowhere.safetensors"}), ranks=2)


if __name__ == "__main__":
    unittest.main()
