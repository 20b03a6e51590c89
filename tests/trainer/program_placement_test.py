"""Training with placement policies, as a user runs it."""

import json
import shutil
import unittest

from program_testing import ProgramTest


class Placement(ProgramTest):
    SKEW = dict(model__num_experts=8, router__forced_skew=1.5, router__aux_loss_coef=0,
                checkpoint__interval=3)

    def hashes(self, folder):
        return json.loads(self.succeed("inspect", folder, "--json").out)["tensors"]

    def imbalance(self, folder):
        """Of ranks, after the first step, which nobody can foresee."""
        records = self.metrics(folder)[1:]
        return sum(record["imbalance"]["rank"] for record in records) / len(records)

    def test_policies_train_the_same_model_and_level_the_ranks(self):
        self.train("owners", ranks=4, **self.SKEW)
        self.assertEqual({record["replicas"] for record in self.metrics("owners")}, {0})
        uneven = self.imbalance("owners")
        self.assertGreater(uneven, 1.3)
        for policy in ("enodia", "hecate", "laer", "eplb", "ultraep", "replicate_all"):
            with self.subTest(policy):
                self.train(policy, ranks=4, placement__policy=policy, **self.SKEW)
                self.assert_close(self.losses(policy), self.losses("owners"), 2e-5)
                self.assertGreater(self.metrics(policy)[-1]["replicas"], 0)
                self.assertLess(self.imbalance(policy), 1 + 0.6 * (uneven - 1))

    def test_one_rank_trains_the_same_model(self):
        self.train("one", placement__policy="enodia", **self.SKEW)
        self.train("three", ranks=3, placement__policy="enodia", **self.SKEW)
        self.assert_close(self.losses("one"), self.losses("three"), 2e-5)

    def test_replicas_that_are_kept_give_the_same_bits(self):
        self.train("again", ranks=3, placement__policy="enodia", **self.SKEW)
        self.train("kept", ranks=3, placement__policy="enodia", placement__rematerialize="false",
                   **self.SKEW)
        self.assertEqual(self.hashes("again"), self.hashes("kept"))

    def test_a_resumed_run_plans_on(self):
        for policy in ("enodia", "hecate"):
            with self.subTest(policy):
                values = dict(placement__policy=policy, **self.SKEW)
                self.train(f"whole_{policy}", ranks=3, **values)
                cut = f"cut_{policy}"
                shutil.copytree(self.folder / f"whole_{policy}", self.folder / cut)
                shutil.rmtree(self.folder / cut / "checkpoints/step_6")
                result = self.train(cut, ranks=3, **values)
                self.assertIn("after step 3", result.err)
                self.assertNotIn("without history", result.err)
                self.assert_same_run(cut, f"whole_{policy}")

    def test_a_run_resumed_on_other_ranks_starts_to_plan_anew(self):
        values = dict(placement__policy="enodia", **self.SKEW)
        self.train("on_three", ranks=3, **values)
        shutil.copytree(self.folder / "on_three", self.folder / "on_two")
        shutil.rmtree(self.folder / "on_two/checkpoints/step_6")
        result = self.train("on_two", ranks=2, **values)
        self.assertIn("without history", result.err)
        self.assert_close(self.losses("on_two"), self.losses("on_three"), 2e-5)

    def test_needs_experts_over_all_ranks(self):
        self.refuse(2, ["placement.policy (enodia)", "parallel.ep (1)"],
                    *self.train_arguments("no", placement__policy="enodia", parallel__ep=1),
                    ranks=2)


if __name__ == "__main__":
    unittest.main()
