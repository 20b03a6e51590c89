"""Runs `enodia train`, `eval`, `generate` and `inspect` as a user would."""

import json
import shutil
import unittest

from program_testing import TIMES, ProgramTest

FIELDS = {"step", "tokens", "loss", "aux_loss", "device_loss", "dropped_tokens", "grad_norm", "lr", "step_ms", "tokens_per_s",
          "imbalance", "time_ms", "bytes", "tflops", "peak_tflops", "mfu", "memory_bytes"}
TRAFFIC = {"control", "tensor", "tokens", "replicas", "gradients"}


class Training(ProgramTest):
    """What a run shows and leaves behind."""

    def test_loss_falls_and_every_step_is_recorded(self):
        result = self.train("run", train__steps=12)
        records = self.metrics("run")
        self.assertEqual([json.loads(line) for line in result.out.splitlines()], records)
        self.assertEqual([record["step"] for record in records], list(range(1, 13)))
        self.assertEqual([record["tokens"] for record in records],
                         [step * 24 * 64 for step in range(1, 13)])
        for record in records:
            self.assertLessEqual(FIELDS, set(record))
            self.assertGreater(record["step_ms"], 0)
            self.assertGreater(record["tokens_per_s"], 0)
            self.assert_whole(record["step_ms"], record["time_ms"])
            self.assertEqual(record["bytes"], dict.fromkeys(TRAFFIC, 0), "no other rank")
            self.assertFalse(record["skipped"])
        self.assertLess(self.losses("run")[-1], self.losses("run")[0] - 1)
        self.assertEqual(self.checkpoints("run"), ["step_12"])

    def assert_whole(self, step_ms, time_ms):
        parts = [time_ms[part] for part in ("compute", "data", "optimizer")]
        parts += time_ms["exposed"].values()
        self.assertEqual(set(time_ms["exposed"]), TRAFFIC)
        self.assertAlmostEqual(sum(parts), step_ms, places=6)
        self.assertGreaterEqual(min(parts), 0)
        self.assertGreaterEqual(time_ms["most_exposed"], sum(time_ms["exposed"].values()) - 1e-6)

    def test_lines_for_a_person(self):
        arguments = self.train_arguments("person", train__log_interval=2)
        arguments.remove("--json")
        lines = self.succeed(*arguments, ranks=1).out.splitlines()
        self.assertEqual([line.split(" | ")[0] for line in lines],
                         ["step 2/6", "step 4/6", "step 6/6"])

    def test_the_configuration_left_behind_trains_the_same_again(self):
        self.train("first", data__valid="bytes/valid", train__eval_interval=3)
        self.succeed("train", "first/config.yaml", "--set", "run.dir=second")
        self.assert_same_run("first", "second")
        held_out = [record["step"] for record in self.metrics("second") if "valid_loss" in record]
        self.assertEqual(held_out, [3, 6])

    def test_a_finished_run_says_so_and_stays(self):
        self.train("done")
        before = self.inspect("done")
        result = self.train("done")
        self.assertEqual(result.out, "")
        self.assertIn("complete", result.err)
        self.assertEqual(self.inspect("done"), before)
        self.assertEqual(len(self.metrics("done")), 6)

    def test_double_precision_agrees_with_single(self):
        self.train("single")
        self.train("double", model__dtype="float64")
        self.assert_close(self.losses("single"), self.losses("double"), 1e-4)
        kinds = {tensor["dtype"] for tensor in self.inspect("double")["tensors"].values()}
        self.assertEqual(kinds, {"float64"})

    def test_bfloat16_follows_single_precision_and_goes_on_with_the_same_bits(self):
        half = {"model__dtype": "bfloat16", "checkpoint__interval": 3, "optim__decay_samples": 240}
        single = {**half, "model__dtype": "float32"}
        for name, values in (("narrow", half), ("wide", single)):
            self.train(name, ranks=2, train__steps=10, **values)
        self.assert_close(self.losses("narrow"), self.losses("wide"), 0.02)
        self.assertNotEqual(self.losses("narrow"), self.losses("wide"))
        kinds = {tensor["dtype"] for tensor in self.inspect("narrow")["tensors"].values()}
        self.assertEqual(kinds, {"float32"})

        self.train("stopped", ranks=2, train__steps=6, **half)
        self.train("stopped", ranks=2, train__steps=10, **half)
        self.assertEqual(self.losses("stopped"), self.losses("narrow"))
        self.assertEqual(self.masters("stopped"), self.masters("narrow"))
        self.train("cut", ranks=4, train__steps=10, parallel__tp=2, parallel__zero1="rows", **half)
        self.assert_close(self.losses("cut"), self.losses("narrow"), 0.02)

        said = self.succeed("export", "narrow", "--verify", "--output", "folder").out
        self.assertIn("computed in float32 instead of bfloat16, its logits differ from those of the model "
                      "by at most", said)
        self.succeed("eval", "narrow", "--data", "bytes/valid")
        self.refuse(2, ["model.dtype"], *self.train_arguments("wide", train__steps=12, **half), ranks=2)

    def test_tokens_that_travel_in_bfloat16_are_half_the_bytes(self):
        self.train("whole_tokens", ranks=2)
        self.train("half_tokens", ranks=2, parallel__dispatch_dtype="bfloat16")
        self.assert_close(self.losses("half_tokens"), self.losses("whole_tokens"), 0.02)
        whole, half = (self.metrics(name)[0]["bytes"]["tokens"]
                       for name in ("whole_tokens", "half_tokens"))
        self.assertLess(half, 0.6 * whole)
        self.assertGreater(half, 0.4 * whole)

    def test_a_run_that_diverges_ends_and_keeps_its_last_good_checkpoint(self):
        result = self.refuse(
            6, ["20 steps in a row", "optim.lr"],
            *self.train_arguments("diverged", train__steps=60, optim__lr=1e30,
                                  optim__clip_norm=0, checkpoint__interval=1),
            ranks=2)
        skipped = [record["skipped"] for record in self.metrics("diverged")]
        self.assertEqual(skipped[-20:], [True] * 20)
        good = len(skipped) - 20
        self.assertFalse(any(skipped[:good]), str(result))
        self.assertEqual(self.checkpoints("diverged")[-1], f"step_{good}")


class Layouts(ProgramTest):
    """The number of ranks changes how a model is trained, not what it becomes."""

    def test_loss_curves_agree_on_every_number_of_ranks(self):
        steps = {"train__steps": 10, "optim__warmup_samples": 48}
        self.train("one", **steps)
        self.train("two", ranks=2, **steps)
        self.train("replicas", ranks=2, parallel__ep=1, **steps)
        self.train("three", ranks=3, **steps)
        self.train("tensor", ranks=2, parallel__tp=2, **steps)
        self.train("folded", ranks=4, parallel__tp=2, parallel__ep=4, parallel__zero1="rows", **steps)
        self.train("uneven", ranks=3, parallel__tp=3, parallel__zero1="parameters", **steps)
        for name in ("two", "replicas", "three", "tensor", "folded", "uneven"):
            self.assert_close(self.losses(name), self.losses("one"), 1e-4)
        self.assertLess(self.losses("one")[-1], self.losses("one")[0] - 0.5)
        self.assert_no_process_left()

    def test_the_same_run_twice_gives_the_same_bits(self):
        self.train("first", ranks=2)
        self.train("second", ranks=2)
        self.assert_same_run("first", "second")
        for record in self.metrics("first"):
            self.assertGreater(min(record["bytes"][name] for name in ("control", "gradients")), 0)
            self.assertGreater(record["bytes"]["tokens"], 0)
        self.train("seed", ranks=2, run__seed=2)
        self.assertNotEqual(self.metrics("first", TIMES), self.metrics("seed", TIMES))


class Balancing(ProgramTest):
    """Every rule that spreads tokens over experts, through the program."""

    def test_a_bias_evens_out_the_load(self):
        steps = dict(train__steps=40, router__aux_loss_coef=0, optim__warmup_samples=48)
        self.train("skewed", **steps)
        self.train("biased", ranks=2, model__use_expert_bias="true", model__scoring_func="sigmoid",
                   router__expert_bias_update_rate=0.02, **steps)
        def late(name):
            return sum(record["imbalance"]["expert"] for record in self.metrics(name)[-10:]) / 10
        self.assertLess(late("biased"), late("skewed"))
        biases = [name for name in self.masters("biased") if name.endswith("e_score_correction_bias")]
        self.assertEqual(len(biases), 2)

    def test_what_finds_no_room_is_dropped_and_told(self):
        self.train("dropping", ranks=2, router__capacity_factor=0.75, router__drop_policy="probs")
        record = self.metrics("dropping")[0]
        copies = record["tokens"] * 2 * 2  # two experts a token, two MoE layers
        self.assertGreater(record["dropped_tokens"], 0.2 * copies)
        self.assertLess(record["dropped_tokens"], 0.5 * copies)
        self.train("dropless")
        self.assertEqual({record["dropped_tokens"] for record in self.metrics("dropless")}, {0})

    def test_rules_that_depend_on_no_layout_agree_on_every_layout(self):
        rules = dict(router__aux_loss_scope="sequence", router__device_loss_coef=0.01,
                     router__device_groups=2, router__jitter_eps=0.01, router__capacity_factor=1.25,
                     router__drop_policy="random", model__n_group=2, model__topk_group=1,
                     model__num_experts_per_tok=1, model__norm_topk_prob="false")
        self.train("one", **rules)
        self.train("tensor", ranks=2, parallel__tp=2, **rules)
        self.train("data", ranks=2, **rules)
        for name in ("tensor", "data"):
            self.assert_close(self.losses(name), self.losses("one"), 1e-4)
            self.assertEqual([record["dropped_tokens"] for record in self.metrics(name)],
                             [record["dropped_tokens"] for record in self.metrics("one")])
        self.assertGreater(self.metrics("one")[0]["device_loss"], 0)


class Models(ProgramTest):
    """eval, generate and inspect of a trained model, with a tokenizer of words."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for arguments in (
                ["prepare", "--input", "docs.jsonl", "--output", "words/train",
                 "--vocab-size", "300"],
                ["prepare", "--input", "docs/03.txt", "--output", "words/valid",
                 "--tokenizer", "words/train.model"],
                cls.train_arguments("run", data__train="words/train", model__vocab_size=320,
                                    train__steps=10)):
            result = cls.start(*arguments)
            if result.code != 0:
                raise AssertionError(f"{arguments}: {result}")

    def evaluate(self, *arguments, ranks=0):
        return json.loads(self.succeed("eval", "run", "--data", "words/valid", "--json",
                                       *arguments, ranks=ranks).out)

    def generate(self, *arguments, ranks=0):
        return json.loads(self.succeed("generate", "run", "--prompt", "Kalo mi", "--max-tokens",
                                       "12", "--json", *arguments, ranks=ranks).out)

    def test_evaluation_does_not_depend_on_the_ranks(self):
        one, three = self.evaluate(), self.evaluate(ranks=3)
        self.assertEqual(set(one), {"loss", "perplexity", "bits_per_byte", "tokens", "bytes"})
        self.assertEqual(one["bytes"], (self.folder / "docs/03.txt").stat().st_size)
        self.assert_close([one["perplexity"]], [2.718281828459045 ** one["loss"]], 1e-9)
        bits = one["loss"] * one["tokens"] / 0.6931471805599453 / one["bytes"]
        self.assert_close([one["bits_per_byte"]], [bits], 1e-9)
        self.assertEqual((one["tokens"], one["bytes"]), (three["tokens"], three["bytes"]))
        self.assert_close([one["loss"]], [three["loss"]], 1e-6)

    def test_evaluation_beside_counted_models(self):
        values = self.evaluate("--ngrams", "words/train")
        self.assertLess(values["bigram_loss"], values["unigram_loss"])
        said = self.succeed("eval", "run", "--data", "words/valid", "--ngrams", "words/train").out
        for row in ("model", "bigram", "unigram", "bits/byte"):
            self.assertIn(row, said)
        self.refuse(4, ["bytes/valid", "tokenizer"], "eval", "run", "--data", "bytes/valid",
                    ranks=2)

    def test_a_seed_gives_a_text(self):
        first, second = self.generate("--seed", "5"), self.generate("--seed", "5")
        self.assertEqual(set(first), {"prompt", "text", "ids"})
        self.assertEqual(first["prompt"], "Kalo mi")
        self.assertLessEqual(len(first["ids"]), 12)
        self.assertEqual(first, second)
        self.assertNotEqual(first["ids"], self.generate("--seed", "6")["ids"])
        said = self.succeed("generate", "run", "--prompt", "Kalo mi", "--max-tokens", "12",
                            "--seed", "5").out
        self.assertEqual(said, "Kalo mi" + first["text"] + "\n")

    def test_the_likeliest_text_does_not_depend_on_the_ranks(self):
        self.assertEqual(self.generate("--temperature", "0"),
                         self.generate("--temperature", "0", ranks=2))

    def test_a_model_stands_alone(self):
        """A checkpoint holds its tokenizer and configuration: the data may be gone."""
        shutil.copytree(self.folder / "run/checkpoints/step_10", self.folder / "alone/step_10")
        moved = json.loads(self.succeed("generate", "alone/step_10", "--prompt", "Kalo mi",
                                        "--max-tokens", "12", "--json", "--temperature", "0").out)
        self.assertEqual(moved, self.generate("--temperature", "0"))

    def test_inspect_tells_every_tensor(self):
        seen = self.inspect("run")
        self.assertEqual(seen["step"], 10)
        self.assertEqual(seen["document"]["progress"],
                         {"step": 10, "consumed_samples": 240, "optimizer_steps": 10})
        self.assertEqual(seen["model"]["vocab_size"], 320)
        self.assertIs(seen["model"]["use_qk_norm"], True)
        self.assertEqual(seen["model"]["dtype"], "float32")
        for column in ("master", "exp_avg", "exp_avg_sq"):
            head = seen["tensors"][f"{column}/lm_head.weight"]
            self.assertEqual((head["dtype"], head["shape"]), ("float32", [320, 64]))
            self.assertRegex(head["hash"], "^[0-9a-f]{32}$")
        said = self.succeed("inspect", "run").out
        self.assertIn("step 10", said)
        self.assertIn("master/model.layers.1.mlp.experts.3.down_proj.weight", said)

    def test_damaged_data_is_refused(self):
        def refuse(ending, damage, words):
            shutil.copytree(self.folder / "words", self.folder / "cut")
            path = self.folder / f"cut/train{ending}"
            damage(path)
            self.refuse(4, ["cut/train", *words],
                        *self.train_arguments("unused", data__train="cut/train",
                                              model__vocab_size=0))
            shutil.rmtree(self.folder / "cut")

        def shorten(path):
            path.write_bytes(path.read_bytes()[:-5])

        refuse(".bin", shorten, ["prepare the data again"])
        refuse(".idx", shorten, ["prepare the data again"])
        refuse(".json", shorten, ["not valid JSON"])
        refuse(".json", lambda path: path.write_text("[]"), ["vocab_size"])
        refuse(".model", shorten, [])
        refuse(".model", lambda path: path.unlink(), ["tokenizer"])
        refuse(".idx", lambda path: path.unlink(), ["No such file"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
