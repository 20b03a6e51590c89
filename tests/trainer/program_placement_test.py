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

    def modes(self, folder):
        """Plans of all steps but the first, by mode."""
        records = self.metrics(folder)[1:]
        return {mode: sum(record["plans"][mode] for record in records)
                for mode in ("off", "predicted", "patched", "exact")}

    def plans(self, folder):
        return [record["plan_hash"] for record in self.metrics(folder)]

    def test_policies_train_the_same_model_and_level_the_ranks(self):
        self.train("owners", ranks=4, placement__policy="owners", **self.SKEW)
        self.assertEqual({record["replicas"] for record in self.metrics("owners")}, {0})
        self.assertEqual(self.modes("owners").pop("off"), sum(self.modes("owners").values()))
        uneven = self.imbalance("owners")
        self.assertGreater(uneven, 1.3)
        for policy in ("enodia", "hecate", "laer", "eplb", "ultraep", "replicate_all"):
            with self.subTest(policy):
                self.train(policy, ranks=4, placement__policy=policy, **self.SKEW)
                self.assert_close(self.losses(policy), self.losses("owners"), 2e-5)
                self.assertGreater(self.metrics(policy)[-1]["replicas"], 0)
                self.assertNotEqual(self.plans(policy)[-1], self.plans("owners")[-1])
                self.assertLess(self.imbalance(policy), 1 + 0.6 * (uneven - 1))
                modes = self.modes(policy)
                self.assertEqual(sum(modes.values()), sum(self.modes("owners").values()))
                after_the_gate = policy in ("ultraep", "replicate_all")
                self.assertGreater(modes["exact" if after_the_gate else "predicted"], 0)
                self.assertEqual(modes["predicted" if after_the_gate else "exact"] > 0,
                                 policy == "enodia" and modes["exact"] > 0)

    def test_one_rank_trains_the_same_model(self):
        self.train("one", placement__policy="enodia", **self.SKEW)
        self.train("three", ranks=3, placement__policy="enodia", **self.SKEW)
        self.assert_close(self.losses("one"), self.losses("three"), 2e-5)

    def test_replicas_that_are_kept_give_the_same_bits(self):
        self.train("again", ranks=3, placement__policy="enodia", **self.SKEW)
        self.train("kept", ranks=3, placement__policy="enodia", placement__rematerialize="false",
                   **self.SKEW)
        self.assertEqual(self.hashes("again"), self.hashes("kept"))
        self.assertEqual(self.plans("again"), self.plans("kept"))
        self.train("fitting", ranks=3, placement__policy="enodia", placement__keep_memory_mb=1,
                   **self.SKEW)
        self.assertEqual(self.hashes("fitting"), self.hashes("kept"))
        again, kept, fitting = (sum(record["bytes"]["replicas"] for record in self.metrics(folder))
                                for folder in ("again", "kept", "fitting"))
        self.assertLess(kept, again)
        self.assertEqual(fitting, kept)
        self.assertEqual(len(set(self.plans("kept"))), 6)

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

    def test_more_slots_than_experts_are_as_many(self):
        for policy in ("laer", "eplb", "enodia"):
            with self.subTest(policy):
                self.train(f"many_{policy}", ranks=4, placement__policy=policy,
                           placement__extra_slots=65536, **self.SKEW)
                self.assertLessEqual(self.metrics(f"many_{policy}")[-1]["replicas"], 24)

    def test_needs_experts_over_all_ranks(self):
        self.refuse(2, ["placement.policy (enodia)", "parallel.ep (1)"],
                    *self.train_arguments("no", placement__policy="enodia", parallel__ep=1),
                    ranks=2)


class Budget(ProgramTest):
    """placement.budget: rates by which plans are priced."""

    VALUES = dict(Placement.SKEW, placement__policy="enodia")

    def replicas(self, folder):
        return sum(record["replicas"] for record in self.metrics(folder)[1:])

    def test_measured_rates_stay_with_a_run(self):
        values = dict(self.VALUES, placement__budget="measured")
        first = self.train("whole", ranks=3, **values)
        self.assertIn("placement.budget: measured now", first.err)
        rates = self.folder / "whole/rates.yaml"
        kept = rates.read_text()
        for key in ("tflops", "inside_gb_s", "between_gb_s"):
            self.assertIn(f"\n{key}: ", kept)
        shutil.copytree(self.folder / "whole", self.folder / "cut")
        shutil.rmtree(self.folder / "cut/checkpoints/step_6")
        again = self.train("cut", ranks=3, **values)
        self.assertIn("cut/rates.yaml", again.err)
        self.assertEqual((self.folder / "cut/rates.yaml").read_text(), kept)
        self.assert_same_run("cut", "whole")
        # Elsewhere they are a cluster file.
        other = self.train("other", ranks=3, **dict(values, placement__budget=rates))
        self.assertFalse((self.folder / "other/rates.yaml").exists())
        self.assertEqual([record["plan_hash"] for record in self.metrics("other")],
                         [record["plan_hash"] for record in self.metrics("whole")])
        self.assertIn("whole/rates.yaml", other.err)

    def test_rates_of_other_nodes_are_measured_anew(self):
        values = dict(self.VALUES, placement__budget="measured")
        self.train("run", ranks=2, **values)
        file = self.folder / "run/rates.yaml"
        file.write_text(file.read_text().replace("nodes: 1", "nodes: 7"))
        again = self.train("run", ranks=2, **dict(values, train__steps=7))
        self.assertIn("measured now", again.err)
        self.assertIn("nodes: 1", file.read_text())
        file.write_text("nodes: many")
        self.refuse(2, ["rates.yaml", "nodes"],
                    *self.train_arguments("run", **dict(values, train__steps=8)), ranks=2)

    def test_dear_links_keep_experts_at_home(self):
        self.train("fixed", ranks=4, **self.VALUES)
        rates = "nodes: 1\nranks_per_node: 4\ntflops: {}\nmemory_gb: 1\ninside_gb_s: {}\nbetween_gb_s: 1\n"
        found = {}
        for name, tflops, links in (("dear", 10, 0.001), ("cheap", 0.001, 1000)):
            (self.folder / f"{name}.yaml").write_text(rates.format(tflops, links))
            self.train(name, ranks=4, **self.VALUES, placement__budget=f"{name}.yaml")
            found[name] = self.replicas(name)
            self.assert_close(self.losses(name), self.losses("fixed"), 2e-5)
        self.assertEqual(found["dear"], 0)
        self.assertGreater(found["cheap"], 0)

    def test_no_such_file(self):
        self.refuse(2, ["none.yaml", "configs/clusters", "auto, fixed, measured"],
                    *self.train_arguments("no", **self.VALUES, placement__budget="none.yaml"),
                    ranks=2)


class Stripes(ProgramTest):
    """placement.stripes: ranks that own an expert together."""

    VALUES = dict(model__num_experts=8, router__aux_loss_coef=0, router__forced_skew=1.5,
                  checkpoint__interval=3)

    def test_striped_experts_train_the_same_model(self):
        self.train("one_owner", ranks=4, **self.VALUES)
        for stripes, more in ((2, {}), (4, dict(placement__policy="laer")),
                              (4, dict(placement__policy="owners", parallel__ep=2))):
            with self.subTest(stripes=stripes, **more):
                name = "_".join(["striped", str(stripes), *map(str, more.values())])
                self.train(name, ranks=4, placement__stripes=stripes, **self.VALUES, **more)
                self.assert_close(self.losses(name), self.losses("one_owner"), 2e-5)

    def test_a_run_resumes_with_other_stripes_on_other_ranks(self):
        self.train("whole", ranks=4, placement__stripes=4, **self.VALUES)
        for ranks, stripes in ((2, 1), (4, 2), (3, 3), (1, 1)):
            with self.subTest(ranks=ranks, stripes=stripes):
                name = f"cut_{ranks}_{stripes}"
                shutil.copytree(self.folder / "whole", self.folder / name)
                shutil.rmtree(self.folder / name / "checkpoints/step_6")
                result = self.train(name, ranks=ranks, placement__stripes=stripes, **self.VALUES)
                self.assertIn("after step 3", result.err)
                self.assert_close(self.losses(name), self.losses("whole"), 2e-5)

    def test_what_is_saved_is_read_everywhere(self):
        self.train("run", ranks=4, data__valid="bytes/valid", placement__stripes=2, **self.VALUES)
        loss = self.metrics("run")[-1]["valid_loss"]
        self.succeed("export", "run", "--verify", "--output", "exported")
        for model, ranks in (("run", 0), ("run", 3), ("exported", 2)):
            found = json.loads(self.succeed("eval", model, "--data", "bytes/valid", "--json",
                                            ranks=ranks).out)
            self.assert_close([found["loss"]], [loss], 1e-6)

    def test_owners_move_in_stripes(self):
        values = dict(self.VALUES, placement__stripes=2, placement__policy="owners")
        self.train("still", ranks=4, **values)
        self.train("moving", ranks=4, placement__reshard_interval=2, placement__reshard_gain=0,
                   **values)
        self.assertGreater(sum(record.get("moved_experts", 0)
                               for record in self.metrics("moving")), 0)
        self.assert_close(self.losses("moving"), self.losses("still"), 2e-5)

    def test_stripes_divide_the_ranks(self):
        self.refuse(2, ["placement.stripes (3)", "number of ranks (4)", "set it to 1, 2 or 4"],
                    *self.train_arguments("no", placement__stripes=3), ranks=4)


class MovingOwners(ProgramTest):
    """placement.reshard_interval: every second step, and for any gain, so that much moves."""

    VALUES = dict(model__num_experts=8, router__aux_loss_coef=0, checkpoint__interval=3,
                  placement__reshard_interval=2, placement__reshard_gain=0)
    SKEW = dict(VALUES, router__forced_skew=1.5)
    CHUNK = 3 * 64 * 64 * 4  # bytes of an expert's weights

    def moved(self, folder):
        """Of the steps that looked, in all."""
        records = self.metrics(folder)
        self.assertEqual([record["step"] for record in records if "moved_experts" in record],
                         [2, 4, 6])
        for record in records[1::2]:
            self.assertEqual(record["moved_bytes"], 3 * self.CHUNK * record["moved_experts"])
            self.assertGreaterEqual(record["moving_ms"], 0)
        return sum(record["moved_experts"] for record in records[1::2])

    def cut(self, name, new):
        """A copy of a run as it was after step 3."""
        shutil.copytree(self.folder / name, self.folder / new)
        shutil.rmtree(self.folder / new / "checkpoints/step_6")
        return new

    def test_ranks_are_leveled_and_the_model_is_the_same(self):
        values = dict(self.SKEW, placement__policy="owners")
        self.train("still", ranks=4, **dict(values, placement__reshard_interval=0))
        self.assertNotIn("moved_experts", self.metrics("still")[1])
        self.train("moving", ranks=4, **values)
        self.assertGreater(self.moved("moving"), 1)
        self.assert_close(self.losses("moving"), self.losses("still"), 2e-5)
        before, after = ([record["imbalance"]["rank"] for record in self.metrics(name)]
                         for name in ("still", "moving"))
        self.assertEqual(after[:2], before[:2])
        self.assertLess(sum(after[2:]) / 4, 1 + 0.7 * (sum(before[2:]) / 4 - 1))

    def test_every_policy_follows_its_owners(self):
        self.train("one", **dict(self.SKEW, placement__reshard_interval=0))
        for policy in ("replicate_all", "fastermoe", "hecate", "eplb", "laer", "ultraep",
                       "enodia"):
            with self.subTest(policy):
                self.train(policy, ranks=3, placement__policy=policy, **self.SKEW)
                self.assertGreater(self.moved(policy), 1)
                self.assert_close(self.losses(policy), self.losses("one"), 2e-5)

    def test_mixed_precision_and_kept_replicas(self):
        values = dict(self.SKEW, placement__policy="enodia", placement__rematerialize="false",
                      model__dtype="bfloat16", parallel__zero1="rows", train__recompute="layers")
        self.train("mixed", ranks=3, **values)
        self.assertGreater(self.metrics("mixed")[1]["moved_experts"], 1)
        self.train("mixed_still", ranks=3, **dict(values, placement__reshard_interval=0))
        self.assert_close(self.losses("mixed"), self.losses("mixed_still"), 3e-3)

    def test_a_resumed_run_has_the_same_owners_and_decides_alike(self):
        for policy in ("owners", "enodia", "hecate"):
            with self.subTest(policy):
                values = dict(placement__policy=policy, **self.VALUES)
                self.train(f"whole_{policy}", ranks=3, **values)
                self.assertGreater(self.moved(f"whole_{policy}"), 1)
                cut = self.cut(f"whole_{policy}", f"cut_{policy}")
                result = self.train(cut, ranks=3, **values)
                self.assertIn("after step 3", result.err)
                self.assertNotIn("without history", result.err)
                self.assertNotIn("first owners", result.err)
                self.assert_same_run(cut, f"whole_{policy}")

    def test_the_load_so_far_goes_on(self):
        """Without it the look after step 4 would know that step alone."""
        self.train("known", ranks=3, placement__policy="owners", **self.VALUES)
        saved = [json.loads((self.folder / f"known/checkpoints/step_{step}/placement.json")
                            .read_text()) for step in (3, 6)]
        for content in saved:
            self.assertEqual(sorted(content), ["loads", "owners"])
        # 24 samples of 64 tokens, two experts each: three steps, of which two have lost eighths.
        for layer in saved[0]["loads"]:
            copies = 24 * 64 * 2
            self.assertAlmostEqual(sum(layer), copies * (1 + 7 / 8 + 49 / 64), delta=16)

    def test_any_number_of_ranks_goes_on(self):
        self.train("on_three", ranks=3, **self.VALUES)
        for ranks in (1, 2, 4):
            with self.subTest(ranks):
                names = [self.cut("on_three", f"on_{ranks}_{time}") for time in (1, 2)]
                for name in names:
                    result = self.train(name, ranks=ranks, **self.VALUES)
                    self.assertIn("first owners", result.err)
                self.assert_same_run(*names)
                self.assert_close(self.losses(names[0]), self.losses("on_three"), 2e-5)

    def test_what_is_saved_is_read_everywhere(self):
        self.train("run", ranks=3, data__valid="bytes/valid", **self.VALUES)
        loss = self.metrics("run")[-1]["valid_loss"]
        self.succeed("export", "run", "--verify", "--output", "exported")
        for model, ranks in (("run", 0), ("run", 2), ("exported", 0)):
            found = json.loads(self.succeed("eval", model, "--data", "bytes/valid", "--json",
                                            ranks=ranks).out)
            self.assert_close([found["loss"]], [loss], 1e-6)
        still = self.train("run", ranks=3, data__valid="bytes/valid", train__steps=7,
                           optim__decay_samples=144,
                           **dict(self.VALUES, placement__reshard_interval=0))
        self.assertIn("placement.reshard_interval", still.err)
        self.assertNotIn("moved_experts", self.metrics("run")[-1])
        kept = [json.loads((self.folder / f"run/checkpoints/step_{step}/placement.json")
                           .read_text())["owners"] for step in (6, 7)]
        self.assertEqual(*kept)

    def test_needs_one_home_an_expert(self):
        self.refuse(2, ["placement.reshard_interval (2)", "parallel.ep (1)"],
                    *self.train_arguments("no", parallel__ep=1, **self.VALUES), ranks=2)


if __name__ == "__main__":
    unittest.main()
