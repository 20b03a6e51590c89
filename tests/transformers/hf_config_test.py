"""config.json as transformers' own classes understand it, against what ours makes of it: whatever we
accept, transformers reads from our config.json the same model as from the one we were given.

    hf_config_test.py TOOL    the path of hf_config_tool (tests/checkpoint)
"""

import copy
import json
import random
import subprocess
import sys
import unittest

from huggingface_hub.errors import StrictDataclassError
from transformers import (DeepseekV2Config, DeepseekV3Config, GenerationConfig, Glm4MoeConfig, MixtralConfig,
                          OlmoeConfig, Qwen2MoeConfig, Qwen3MoeConfig)
from transformers.utils import logging

logging.set_verbosity_error()

TOOL = sys.argv.pop()
FAMILIES = {"mixtral": MixtralConfig, "qwen3_moe": Qwen3MoeConfig, "qwen2_moe": Qwen2MoeConfig,
            "olmoe": OlmoeConfig, "glm4_moe": Glm4MoeConfig, "deepseek_v2": DeepseekV2Config,
            "deepseek_v3": DeepseekV3Config}
LISTED = {"qwen2_moe", "qwen3_moe"}  # dense layers are listed
LATENT = {"deepseek_v2", "deepseek_v3"}
# What does not belong to the model's mathematics.
IDLE = {"_name_or_path", "architectures", "chunk_size_feed_forward", "id2label", "label2id",
        "output_attentions", "output_hidden_states", "output_router_logits", "problem_type",
        "return_dict", "transformers_version", "use_cache", "is_encoder_decoder", "pretraining_tp",
        "num_nextn_predict_layers", "num_mtp_layers", "max_window_layers"}
BASE = dict(vocab_size=97, hidden_size=48, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=3,
            num_experts_per_tok=2, max_position_embeddings=64, intermediate_size=70)
ROUTED = dict(BASE, moe_intermediate_size=24, n_routed_experts=8, n_group=2, topk_group=1, n_shared_experts=2,
              first_k_dense_replace=1)
LATENTS = dict(ROUTED, num_key_value_heads=6, q_lora_rank=12, kv_lora_rank=8, qk_nope_head_dim=6,
               qk_rope_head_dim=4, v_head_dim=10)
YARN = dict(rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=16)
SMALL = {
    "mixtral": dict(vocab_size=97, hidden_size=48, num_hidden_layers=4, num_attention_heads=6,
                    num_key_value_heads=3, head_dim=20, intermediate_size=24, num_local_experts=5,
                    max_position_embeddings=64),
    "qwen3_moe": dict(vocab_size=97, hidden_size=48, num_hidden_layers=4, num_attention_heads=6,
                      num_key_value_heads=3, head_dim=20, intermediate_size=70, num_experts=5,
                      moe_intermediate_size=24, num_experts_per_tok=2, max_position_embeddings=64),
    "qwen2_moe": dict(BASE, head_dim=20, num_experts=5, moe_intermediate_size=24,
                      shared_expert_intermediate_size=37),
    "olmoe": dict(BASE, num_experts=5, vocab_size=50304),  # its default eos_token_id among them
    "glm4_moe": dict(ROUTED, head_dim=20),
    "deepseek_v2": dict(LATENTS, topk_method="group_limited_greedy"),
    "deepseek_v3": LATENTS,
}
VALUES = [None, True, False, -1, 0, 1, 2, 3, 4, 5, 6, 8, 12, 48, 63, 64, 97, 128, 0.0, 0.5, 1.0, 1e-6, 20.0,
          1e300, "", "silu", "gelu", "bfloat16", "float32", [], [0], [0, 1], [1], [3], [0, 1, 2, 3], {},
          {"rope_theta": 500.0}, {"rope_theta": 500.0, "rope_type": "default"}, {"type": "default"},
          {"rope_type": "linear", "factor": 2.0}, YARN, dict(YARN, mscale=0.7, mscale_all_dim=0.3),
          {"type": "yarn", "factor": 2}, "greedy", "sigmoid", ["full_attention"] * 4, ["sliding_attention"] * 4]
YARN_DEFAULTS = dict(factor=None, original_max_position_embeddings=None, beta_fast=32, beta_slow=1, mscale=None,
                     mscale_all_dim=None, attention_factor=None)
# Of each family: changes that only it knows.
SPECIAL = {
    "mixtral": [{"router_jitter_noise": 0.0}],
    "qwen3_moe": [{"norm_topk_prob": True}, {"attention_bias": True}, {"mlp_only_layers": [0]},
                  {"mlp_only_layers": [0, 1, 2, 3]}, {"decoder_sparse_step": 4}],
    "qwen2_moe": [{"norm_topk_prob": True}, {"qkv_bias": False}, {"mlp_only_layers": [0]},
                  {"decoder_sparse_step": 4}, {"shared_expert_intermediate_size": 5}],
    "olmoe": [{"norm_topk_prob": True}, {"attention_bias": True}],
    "glm4_moe": [{"norm_topk_prob": False}, {"attention_bias": True}, {"use_qk_norm": True}, {"n_group": 1},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.2}}],
    "deepseek_v2": [{"topk_method": "greedy"}, {"q_lora_rank": None}, {"attention_bias": True},
                    {"rope_parameters": dict(YARN, mscale=0.7, mscale_all_dim=0.7)}],
    "deepseek_v3": [{"norm_topk_prob": False}, {"q_lora_rank": None}, {"rope_interleave": False},
                    {"rope_parameters": dict(YARN, attention_factor=1.5, truncate=False)}, {"n_group": 1}],
}


def ours(configs):
    """What we write for each config.json, or the sentence of its refusal."""
    lines = "".join(json.dumps(config) + "\n" for config in configs)
    done = subprocess.run([TOOL], input=lines.encode(), check=True, capture_output=True)
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def meaning(config):
    """What transformers takes a config.json for, with one spelling for each meaning."""
    family = FAMILIES[config["model_type"]]
    read = family.from_dict(copy.deepcopy(config))
    kept = (set(family().to_dict()) | {"head_dim", "dtype"}) - IDLE
    values = {key: value for key, value in read.to_dict().items() if key in kept}
    values.setdefault("head_dim", None)
    if values.get("head_dim") is None:
        values["head_dim"] = read.hidden_size // read.num_attention_heads
    if values["num_key_value_heads"] is None:
        values["num_key_value_heads"] = read.num_attention_heads
    window = values.get("sliding_window")
    values["sliding_window"] = window if window and window < read.max_position_embeddings else None
    values.pop("use_sliding_window", None)
    values.pop("layer_types", None)  # of one kind; what follows from the window
    if "topk_method" in values and (values["topk_method"] == "greedy" or values["n_group"] == 1):
        values.update(topk_method="greedy", n_group=None, topk_group=None)  # of no effect
    if read.eos_token_id in ([], None) or isinstance(read.eos_token_id, int):
        values["eos_token_id"] = [] if read.eos_token_id in ([], None) else [read.eos_token_id]
    if config["model_type"] == "mixtral":
        values["router_jitter_noise"] = values["router_jitter_noise"] or 0.0
    elif config["model_type"] in LISTED:
        listed, step = values.pop("mlp_only_layers"), values.pop("decoder_sparse_step")
        values["sparse"] = [layer not in listed and (layer + 1) % step == 0
                            for layer in range(read.num_hidden_layers)]
    rope = values["rope_parameters"]
    values["rope_parameters"] = {"rope_theta": rope["rope_theta"], "rope_type": rope["rope_type"],
                                 "partial": rope.get("partial_rotary_factor") or 1}
    if rope["rope_type"] == "yarn":
        values["rope_parameters"] |= {key: rope.get(key) or default for key, default in YARN_DEFAULTS.items()}
        values["rope_parameters"]["truncate"] = rope.get("truncate", True)
    return values


def variants():
    """config.json of odd models as transformers 5 writes it, and as transformers 4 did."""
    for name, family in FAMILIES.items():
        for change in [{}, {"tie_word_embeddings": True}, {"rms_norm_eps": 3e-7},
                       {"num_experts_per_tok": 1},
                       *([] if name in LATENT else [{"num_key_value_heads": 1}]),
                       *([{"head_dim": 12}] if "head_dim" in SMALL[name] else []),
                       {"pad_token_id": 3, "eos_token_id": [4, 5], "bos_token_id": 0},
                       {"rope_parameters": {"rope_type": "default", "rope_theta": 77.5}},
                       {"rope_parameters": YARN}, {"dtype": "bfloat16"}, {"router_aux_loss_coef": 0.02},
                       {"initializer_range": 0.3}, *SPECIAL[name]]:
            if name in LATENT | {"glm4_moe"} and "router_aux_loss_coef" in change:
                continue
            newer = family(**copy.deepcopy(SMALL[name] | change)).to_dict()
            yield newer
            older = copy.deepcopy(newer)
            rope = older.pop("rope_parameters")
            older["rope_theta"] = rope.pop("rope_theta")
            if "partial_rotary_factor" in rope:
                older["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
            older["rope_scaling"] = rope if rope["rope_type"] == "yarn" else None
            older["torch_dtype"] = older.pop("dtype", None)
            if name == "qwen3_moe":
                older["num_experts"] = older.pop("num_local_experts")
            yield older


class HfConfigTest(unittest.TestCase):
    def expect_same(self, given, written):
        self.assertIsInstance(written, dict, f"refused {given}")
        self.assertEqual(meaning(given), meaning(written))

    def test_writes_what_transformers_reads_alike(self):
        configs = list(variants())
        for given, written in zip(configs, ours(configs), strict=True):
            self.expect_same(given, written)

    def test_has_the_defaults_of_transformers(self):
        for name in FAMILIES:
            given = {"model_type": name}
            if name == "glm4_moe":
                given["head_dim"] = 128  # else 4096 / 96, rounded down
            if name == "deepseek_v2":
                given["num_experts_per_tok"] = 6
            self.expect_same(given, ours([given])[0])

    def test_has_the_default_of_each_key(self):
        for name, family in FAMILIES.items():
            whole = family(**SMALL[name]).to_dict()
            configs = [{k: v for k, v in whole.items() if k != left_out} for left_out in whole
                       if left_out != "model_type"]
            compared = 0
            for given, written in zip(configs, ours(configs), strict=True):
                if isinstance(written, dict):
                    self.expect_same(given, written)
                    compared += 1
            self.assertGreater(compared, len(configs) // 2)

    def test_passes_nothing_over(self):
        """Random changes: we refuse, or mean what transformers means."""
        chance = random.Random(5)
        configs = []
        for base in variants():
            names = sorted((set(base) | {"rope_theta", "rope_scaling", "torch_dtype", "num_experts",
                                         "layer_types", "use_sliding_window"}) - IDLE - {"model_type"})
            for _ in range(100):
                given = copy.deepcopy(base)
                for key in chance.sample(names, chance.randint(1, 2)):
                    given[key] = chance.choice(VALUES)
                configs.append(given)
        accepted = 0
        for given, written in zip(configs, ours(configs), strict=True):
            if isinstance(written, str):
                continue
            with self.subTest(given=given):
                try:
                    meant = meaning(given)
                except StrictDataclassError:  # an integer for a float, which transformers 4 takes
                    meaning(written)
                    continue
                accepted += 1
                self.assertEqual(meant, meaning(written))
        self.assertGreater(accepted, 500)
        self.assertLess(accepted, len(configs) - 500)

    def test_generation_config_of_no_tokens_is_taken(self):
        self.assertIsNone(GenerationConfig.from_dict({}).eos_token_id)


if __name__ == "__main__":
    unittest.main()
