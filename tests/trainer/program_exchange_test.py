"""Models from and to Hugging Face folders, as a user moves them. What transformers makes of these folders
is in tests/transformers."""

import json
import math
import shutil
import struct
import unittest

from program_testing import TINY, ProgramTest, settings

# One dense layer, and a vocabulary with room for a tokenizer of pieces.
MODEL = {"model.first_k_dense_replace": 1, "model.vocab_size": 320}


class Exchange(ProgramTest):
    """One model as run directory, Hugging Face folder and imported checkpoint."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for arguments in (["train", TINY, *settings({"data.train": "bytes/train", "run.dir": "run",
                                                     "train.steps": 4, **MODEL})],
                          ["export", "run", "--verify", "--output", "exported"],
                          ["import", "exported", "--output", "imported"]):
            result = cls.start(*arguments)
            if result.code != 0:
                raise AssertionError(f"{arguments}: {result}")

    def test_every_weight_arrives(self):
        weights = self.masters("run")
        self.assertGreater(len(weights), 20)
        self.assertEqual(self.masters("exported"), weights)
        self.assertEqual(self.masters("imported"), weights)
        for field in ("model", "parameters", "tokenizer_hash"):
            self.assertEqual(self.inspect("imported")[field], self.inspect("exported")[field])

    def test_all_three_give_one_loss_and_one_text(self):
        evaluate = ["--data", "bytes/valid", "--sequence-length", "64", "--json"]
        say = ["--prompt", "Ka", "--max-tokens", "12", "--json"]
        losses = [json.loads(self.succeed("eval", model, *evaluate).out)["loss"]
                  for model in ("run", "exported", "imported")]
        self.assertEqual(losses, losses[:1] * 3)
        texts = [json.loads(self.succeed("generate", model, *say).out)["text"]
                 for model in ("run", "exported", "imported")]
        self.assertEqual(texts, texts[:1] * 3)

    def test_each_of_them_lends_its_tokenizer(self):
        for model in ("run", "exported", "imported"):
            self.succeed("prepare", "--input", "docs/03.txt", "--output", f"{model}-data/x",
                         "--tokenizer", model)
            self.assertEqual((self.folder / f"{model}-data/x.bin").read_bytes(),
                             (self.folder / "bytes/valid.bin").read_bytes(), model)
            shutil.move(self.folder / f"{model}-data", self.folder / f"{model}-moved")
            self.succeed("eval", "run", "--data", f"{model}-moved/x")

    def test_ranks_import_and_verify_together(self):
        self.succeed("import", "exported", "--output", "imported-2", ranks=2)
        self.assertEqual(self.masters("imported-2"), self.masters("imported"))
        result = json.loads(self.succeed("export", "imported-2", "--verify", "--json", "--output",
                                         "exported-2", ranks=2).out)
        self.assertEqual((result["family"], result["dtype"]), ("qwen3_moe", "float32"))
        self.assertLess(result["largest_difference"], 2e-4 * max(1, result["largest_logit"]))
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            self.assertEqual((self.folder / "exported-2" / name).read_bytes(),
                             (self.folder / "exported" / name).read_bytes(), name)

    def test_bfloat16_halves_the_files_and_verifies(self):
        said = self.succeed("export", "run", "--verify", "--dtype", "bfloat16", "--output", "half").out
        self.assertIn("differ from those of the model rounded to bfloat16 by at most", said)
        self.assertRegex(said, r"rounding the weights changed the model's logits by at most \d")
        size = [(self.folder / name / "model.safetensors").stat().st_size
                for name in ("exported", "half")]
        self.assertLess(size[1], 0.6 * size[0])
        self.assertNotEqual(self.masters("half"), self.masters("run"))

    def test_verify_tells_apart_what_rounding_changes(self):
        found = [json.loads(self.succeed("export", "run", "--verify", "--json", "--dtype", dtype,
                                         "--output", f"verified-{dtype}").out)
                 for dtype in ("float32", "bfloat16")]
        self.assertEqual(found[0]["rounding_difference"], 0)
        self.assertGreater(found[1]["rounding_difference"], 20 * found[1]["largest_difference"])
        again = json.loads(self.succeed("export", "verified-bfloat16", "--verify", "--json", "--dtype",
                                        "bfloat16", "--output", "verified-again").out)
        self.assertEqual(again["rounding_difference"], 0)

    def copy_with_weight(self, name, value):
        """The exported model with another number in the last norm."""
        shutil.copytree(self.folder / "exported", self.folder / name)
        path = self.folder / name / "model.safetensors"
        content = bytearray(path.read_bytes())
        (size,) = struct.unpack_from("<Q", content)
        begin = json.loads(content[8:8 + size])["model.norm.weight"]["data_offsets"][0]
        struct.pack_into("<f", content, 8 + size + begin, value)
        path.write_bytes(content)

    def test_weights_that_are_not_finite_are_named(self):
        for name, value in (("nan", math.nan), ("infinite", math.inf)):
            self.copy_with_weight(name, value)
            for ranks in (0, 2):
                self.refuse(4, [f"the logits of {name} are not finite", "'model.norm.weight'", "--verify"],
                            "export", name, "--verify", "--output", "nowhere", ranks=ranks)
            result = self.succeed("export", name, "--output", f"{name}-kept")
            self.assertIn("'model.norm.weight' holds weights that are not finite", result.err)
        self.copy_with_weight("large", 3.4e38)
        self.refuse(4, ["'model.norm.weight' holds 3.4e+38", "too large for bfloat16", "float32"],
                    "export", "large", "--dtype", "bfloat16", "--output", "nowhere")
        self.assertFalse((self.folder / "nowhere").exists())

    def test_absurd_sizes_are_refused_at_once(self):
        shutil.copytree(self.folder / "exported", self.folder / "absurd")
        path = self.folder / "absurd/config.json"
        config = json.loads(path.read_text())
        config.update(num_hidden_layers=65536, num_experts=65536, num_local_experts=65536)
        path.write_text(json.dumps(config))
        self.refuse(4, ["num_hidden_layers is 65536", "experts 65536"], "import", "absurd", "--output",
                    "nowhere")

    def test_what_import_cannot_keep_is_told(self):
        for name in ("sampling", "hot", "narrow"):
            shutil.copytree(self.folder / "exported", self.folder / name)
        said = self.succeed("import", "exported", "--output", "quiet").err
        self.assertNotIn(" W ", said)
        (self.folder / "sampling/generation_config.json").write_text('{"top_k": 5, "temperature": 0.5}')
        said = self.succeed("import", "sampling", "--output", "sampling-in", ranks=2).err
        self.assertEqual(said.count("generation_config.json: top_k, temperature will not be kept"), 1)
        (self.folder / "hot/generation_config.json").write_text('{"temperature": -1}')
        self.refuse(4, ["temperature (-1)"], "import", "hot", "--output", "nowhere")
        path = self.folder / "narrow/tokenizer.json"
        tokenizer = json.loads(path.read_text())
        tokenizer["added_tokens"].append({"id": 400, "content": "<wide>", "special": True})
        path.write_text(json.dumps(tokenizer))
        said = self.succeed("import", "narrow", "--output", "narrow-in").err
        self.assertIn("the tokenizer has 401 ids, but vocab_size in config.json is 320", said)

    def test_a_folder_that_holds_something_is_never_replaced(self):
        (self.folder / "precious").mkdir()
        (self.folder / "precious/thesis.txt").write_text("years of work")
        for command in (["export", "run"], ["import", "exported"]):
            self.refuse(2, ["precious", "never replaced"], *command, "--output", "precious")
        self.assertEqual([path.name for path in (self.folder / "precious").iterdir()], ["thesis.txt"])
        self.assertFalse(list(self.folder.glob("*partial")))

    def test_what_no_family_expresses_is_refused_with_the_reason(self):
        self.train("shared", train__steps=2, model__num_shared_experts=1)
        self.refuse(2, ["num_shared_experts", "mixtral", "qwen3_moe"], "export", "shared", "--output",
                    "nowhere")
        self.refuse(2, ["use_qk_norm"], "export", "run", "--family", "mixtral", "--output", "nowhere")
        self.refuse(2, ["gpt9", "mixtral"], "export", "run", "--family", "gpt9", "--output", "nowhere")
        self.refuse(2, ["onnx"], "export", "run", "--format", "onnx", "--output", "nowhere")
        self.refuse(2, ["int4"], "export", "run", "--dtype", "int4", "--output", "nowhere")
        self.assertFalse((self.folder / "nowhere").exists())

    def test_damaged_folders_are_refused_on_ranks(self):
        shutil.copytree(self.folder / "exported", self.folder / "cut")
        weights = self.folder / "cut/model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        self.refuse(4, ["model.safetensors"], "import", "cut", "--output", "nowhere", ranks=2)
        self.refuse(4, ["model.safetensors"], "inspect", "cut")
        self.refuse(4, ["config.json"], "import", "docs", "--output", "nowhere")
        config = json.loads((self.folder / "exported/config.json").read_text())
        config["flux_capacitor"] = 1.21
        shutil.copytree(self.folder / "exported", self.folder / "odd")
        (self.folder / "odd/config.json").write_text(json.dumps(config))
        self.refuse(4, ["flux_capacitor", "1.21"], "generate", "odd", "--prompt", "Ka", ranks=2)

    def test_a_model_without_a_tokenizer_knows_ids_only(self):
        shutil.copytree(self.folder / "exported", self.folder / "mute")
        for path in (self.folder / "mute").glob("*token*"):
            path.unlink()
        self.refuse(4, ["without a tokenizer", "tokenizer.json"], "generate", "mute", "--prompt", "Ka")
        self.succeed("import", "mute", "--output", "mute-imported")
        self.assertEqual(self.masters("mute-imported"), self.masters("run"))
        result = self.succeed("export", "mute-imported", "--verify", "--output", "mute-exported")
        self.assertIn("without a tokenizer", result.out)


class StartFrom(ProgramTest):
    """train.init."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for arguments in (["train", TINY, *settings({"data.train": "bytes/train", "run.dir": "run",
                                                     "train.steps": 4, **MODEL})],
                          ["export", "run", "--output", "exported"]):
            result = cls.start(*arguments)
            if result.code != 0:
                raise AssertionError(f"{arguments}: {result}")
        (cls.folder / "start.yaml").write_text(
            "run: {name: start}\noptim: {lr: 1e-3, schedule: constant}\ndata: {train: bytes/train}\n"
            "train: {init: exported, steps: 3, global_batch_size: 4, micro_batch_size: 2, "
            "sequence_length: 64}\n")

    def start_from(self, init, folder, ranks=0, **values):
        return self.succeed("train", "start.yaml", *settings(
            {"train.init": init, "run.dir": folder, **values}), ranks=ranks)

    def test_a_folder_a_checkpoint_and_a_run_start_the_same_run(self):
        self.succeed("import", "exported", "--output", "imported")
        self.start_from("exported", "a", ranks=2)
        self.start_from("run", "b", ranks=2)
        self.start_from("imported/step_0", "c", ranks=2)
        self.assertEqual(self.masters("a"), self.masters("b"))
        self.assertEqual(self.masters("a"), self.masters("c"))
        self.assertNotEqual(self.masters("a"), self.masters("run"))
        self.assertEqual(self.inspect("a")["model"], self.inspect("run")["model"])

    def test_it_starts_where_the_model_stands(self):
        self.start_from("exported", "one", **{"train.steps": 1})
        self.start_from("''", "fresh", **{"train.steps": 1, "model.vocab_size": 320,
                                        "model.max_position_embeddings": 64})
        self.assertLess(self.losses("one")[0], self.losses("fresh")[0] - 0.3)

    def test_a_run_goes_on_without_the_model_it_started_from(self):
        shutil.copytree(self.folder / "exported", self.folder / "lent")
        self.start_from("lent", "whole")
        self.start_from("lent", "parts", **{"train.steps": 2})
        shutil.rmtree(self.folder / "lent")
        result = self.start_from("lent", "parts")
        self.assertIn("resumed", result.err)
        self.assertEqual(self.masters("parts"), self.masters("whole"))
        self.refuse(4, ["lent"], "train", "start.yaml", *settings({"train.init": "lent",
                                                                  "run.dir": "anew"}), ranks=2)

    def test_another_shape_or_tokenizer_is_refused(self):
        (self.folder / "other.yaml").write_text(
            (self.folder / "start.yaml").read_text() + "model: {hidden_size: 8}\n")
        self.refuse(2, ["other.yaml:5:9", "hidden_size", "train.init"], "train", "other.yaml", ranks=2)
        self.succeed("prepare", "--input", "docs.jsonl", "--output", "pieces/train", "--vocab-size", 300)
        self.refuse(4, ["another tokenizer"], "train", "start.yaml", *settings(
            {"data.train": "pieces/train", "run.dir": "nowhere"}))
        self.assertFalse((self.folder / "nowhere/metrics.jsonl").exists())


if __name__ == "__main__":
    unittest.main()
