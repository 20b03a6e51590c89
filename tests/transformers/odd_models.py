"""Tiny models of every family and of odd shapes, and the ways in which such a model lies on disk."""

import json
import random
from dataclasses import dataclass

import torch
from safetensors.torch import save_file
from transformers import (AutoModelForCausalLM, DeepseekV2Config, DeepseekV3Config, Glm4MoeConfig,
                          MixtralConfig, OlmoeConfig, Qwen2MoeConfig, Qwen3MoeConfig)
from transformers.utils import logging

logging.disable_progress_bar()

CONFIGS = {"mixtral": MixtralConfig, "qwen3_moe": Qwen3MoeConfig, "qwen2_moe": Qwen2MoeConfig,
           "olmoe": OlmoeConfig, "glm4_moe": Glm4MoeConfig, "deepseek_v2": DeepseekV2Config,
           "deepseek_v3": DeepseekV3Config}
LATENT = {"deepseek_v2", "deepseek_v3"}  # multi-head latent attention
BIASED = {"glm4_moe", "deepseek_v3"}  # sigmoid scores, and a bias of experts in the selection

ROUTED = dict(intermediate_size=70, n_routed_experts=5, n_shared_experts=1, moe_intermediate_size=28,
              first_k_dense_replace=0)
LATENTS = dict(ROUTED, num_key_value_heads=3, q_lora_rank=22, kv_lora_rank=18, qk_nope_head_dim=10,
               qk_rope_head_dim=6, v_head_dim=14)
SIZES = {
    "mixtral": dict(intermediate_size=28, num_local_experts=5, head_dim=20),
    "qwen3_moe": dict(intermediate_size=70, num_experts=5, moe_intermediate_size=28, head_dim=20),
    "qwen2_moe": dict(intermediate_size=70, num_experts=5, moe_intermediate_size=28, head_dim=20,
                      shared_expert_intermediate_size=37),
    "olmoe": dict(intermediate_size=28, num_experts=5, hidden_size=60),
    "glm4_moe": dict(ROUTED, n_group=1, topk_group=1, head_dim=20),
    "deepseek_v2": dict(LATENTS, topk_method="greedy"),
    "deepseek_v3": dict(LATENTS, n_group=1, topk_group=1),
}
# The longest sequence in training was 16 tokens: of five pairs, some turn faster and some slower.
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=2.0, beta_slow=0.25)


@dataclass(frozen=True)
class Shape:
    name: str
    family: str  # a model_type
    values: dict  # for the family's config class


def shape(name, family, **values):
    """Two layers, three query heads of 20 over one for keys and values, two of five experts."""
    sizes = dict(vocab_size=97, hidden_size=48, num_hidden_layers=2, num_attention_heads=3,
                 num_key_value_heads=1, num_experts_per_tok=2, max_position_embeddings=64,
                 bos_token_id=1, eos_token_id=2)
    values = sizes | SIZES[family] | values
    rope = values.pop("rope", {})
    for key in ("rope_theta", "partial_rotary_factor"):
        if key in values:
            rope = rope | {key: values.pop(key)}
    if rope:
        values["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0} | rope
    return Shape(f"{family}_{name}", family, values)


NAMED_SHAPES = [
    shape("three_heads_of_20", "mixtral"),
    shape("one_kv_head", "mixtral", num_attention_heads=4, head_dim=12, rope_theta=500.0),
    shape("three_kv_heads", "mixtral", num_attention_heads=6, num_key_value_heads=3, head_dim=8,
          rms_norm_eps=0.02),
    shape("one_of_five", "mixtral", num_experts_per_tok=1, num_hidden_layers=1),
    shape("all_of_three", "mixtral", num_local_experts=3, num_experts_per_tok=3, head_dim=6,
          num_hidden_layers=3),
    shape("tied", "mixtral", tie_word_embeddings=True, vocab_size=101, head_dim=16),
    shape("one_expert", "mixtral", num_local_experts=1, num_experts_per_tok=1, hidden_size=33),
    shape("three_heads_of_20", "qwen3_moe"),
    shape("renormalized", "qwen3_moe", norm_topk_prob=True, rope_theta=1e6, rms_norm_eps=0.02),
    shape("one_of_five", "qwen3_moe", num_experts_per_tok=1, vocab_size=257, head_dim=16),
    shape("all_of_five", "qwen3_moe", num_experts_per_tok=5, norm_topk_prob=True, num_hidden_layers=1),
    shape("seven_of_twenty", "qwen3_moe", num_experts=20, num_experts_per_tok=7, head_dim=2,
          num_attention_heads=5, num_key_value_heads=5),
    shape("tied", "qwen3_moe", tie_word_embeddings=True, vocab_size=61, hidden_size=31),
    shape("biases", "qwen3_moe", attention_bias=True, num_attention_heads=4, num_key_value_heads=2),
    shape("first_layer_dense", "qwen3_moe", mlp_only_layers=[0], num_hidden_layers=3, rope_theta=77.5),
    shape("last_layer_sparse", "qwen3_moe", decoder_sparse_step=3, num_hidden_layers=3),
    shape("all_dense", "qwen3_moe", mlp_only_layers=[0, 1], head_dim=16),
    shape("yarn", "qwen3_moe", rope=YARN),
    shape("three_heads_of_20", "qwen2_moe"),
    shape("renormalized", "qwen2_moe", norm_topk_prob=True, rope_theta=1e6, rms_norm_eps=0.02),
    shape("no_biases", "qwen2_moe", qkv_bias=False, num_attention_heads=4, num_key_value_heads=2),
    shape("first_layer_dense", "qwen2_moe", mlp_only_layers=[0], num_hidden_layers=3, head_dim=6),
    shape("one_wide_shared", "qwen2_moe", shared_expert_intermediate_size=101, num_experts_per_tok=1,
          hidden_size=31, tie_word_embeddings=True),
    shape("yarn_of_mscale", "qwen2_moe", rope=YARN | dict(mscale=0.7, mscale_all_dim=1.3, truncate=False)),
    shape("three_heads_of_20", "olmoe"),
    shape("three_kv_heads", "olmoe", num_attention_heads=6, num_key_value_heads=3, rms_norm_eps=0.02),
    shape("renormalized", "olmoe", norm_topk_prob=True, rope_theta=500.0, num_key_value_heads=3),
    shape("biases", "olmoe", attention_bias=True, num_experts=9, num_experts_per_tok=4),
    shape("tied", "olmoe", tie_word_embeddings=True, hidden_size=42, num_hidden_layers=3),
    shape("three_heads_of_20", "glm4_moe"),
    shape("normed", "glm4_moe", use_qk_norm=True, attention_bias=True, rope_theta=500.0),
    shape("groups", "glm4_moe", n_routed_experts=12, n_group=4, topk_group=2, num_experts_per_tok=3,
          n_shared_experts=3, routed_scaling_factor=2.5),
    shape("first_layers_dense", "glm4_moe", first_k_dense_replace=2, num_hidden_layers=3,
          partial_rotary_factor=0.2, norm_topk_prob=False, rms_norm_eps=0.02),
    shape("yarn", "glm4_moe", rope=YARN | dict(partial_rotary_factor=1.0), tie_word_embeddings=True),
    shape("three_heads", "deepseek_v2"),
    shape("lite", "deepseek_v2", q_lora_rank=None, n_shared_experts=3, first_k_dense_replace=1,
          num_hidden_layers=3, rope=YARN | dict(mscale=0.707, mscale_all_dim=0.707)),
    shape("groups", "deepseek_v2", topk_method="group_limited_greedy", n_routed_experts=12, n_group=4,
          topk_group=2, num_experts_per_tok=3, routed_scaling_factor=16.0),
    shape("wide_values", "deepseek_v2", v_head_dim=31, qk_nope_head_dim=8, attention_bias=True,
          rms_norm_eps=0.02),
    shape("one_head", "deepseek_v2", num_attention_heads=1, num_key_value_heads=1, hidden_size=31,
          tie_word_embeddings=True, rope_theta=77.5),
    shape("three_heads", "deepseek_v3"),
    shape("groups", "deepseek_v3", n_routed_experts=12, n_group=3, topk_group=2, num_experts_per_tok=4,
          n_shared_experts=3, rope=YARN | dict(mscale=1.0, mscale_all_dim=1.0)),
    shape("halves", "deepseek_v3", rope_interleave=False, q_lora_rank=None, rope_theta=500.0,
          attention_bias=True),
    shape("first_layers_dense", "deepseek_v3", first_k_dense_replace=1, num_hidden_layers=3,
          hidden_size=31, norm_topk_prob=False, rope=YARN | dict(mscale=0.7, mscale_all_dim=1.3)),
    shape("tied", "deepseek_v3", tie_word_embeddings=True, v_head_dim=5, rope=YARN | dict(attention_factor=1.4)),
]


def random_experts(family, source, layers):
    """Values of the family's MoE layers."""
    experts = source.randint(1, 9)
    values = dict(intermediate_size=source.randint(5, 80), num_experts_per_tok=source.randint(1, experts))
    if family == "mixtral":
        return values | dict(num_local_experts=experts)
    if family != "deepseek_v2":
        values.update(norm_topk_prob=source.random() < 0.5)
    if family == "olmoe":
        return values | dict(num_experts=experts)
    values.update(moe_intermediate_size=source.randint(5, 60))
    dense = source.choice([0, 0, 1, layers])
    if family in ("qwen2_moe", "qwen3_moe"):
        values.update(num_experts=experts, mlp_only_layers=list(range(dense)))
        if family == "qwen2_moe":
            values.update(shared_expert_intermediate_size=source.randint(1, 90), qkv_bias=source.random() < 0.7)
        return values
    groups, size = source.choice([1, 1, 2, 3, 4]), source.randint(2, 5)
    chosen = source.randint(1, groups)
    values.update(n_routed_experts=groups * size, n_group=groups, topk_group=chosen, first_k_dense_replace=dense,
                  num_experts_per_tok=source.randint(1, chosen * size), n_shared_experts=source.randint(1, 3),
                  routed_scaling_factor=source.choice([1.0, 2.5]))
    if family == "deepseek_v2":
        values.update(topk_method="group_limited_greedy" if groups > 1 else "greedy")
    return values


def random_attention(family, source):
    """Values of the family's attention, and hidden_size."""
    heads, head_dim = source.choice([1, 2, 3, 4, 6]), 2 * source.randint(1, 14)
    values = dict(num_attention_heads=heads, rms_norm_eps=10 ** source.uniform(-7, -1),
                  hidden_size=source.choice([source.randint(7, 70), heads * head_dim]))
    rope = dict(rope_theta=10 ** source.uniform(1, 6))
    if source.random() < 0.3:
        rope.update(YARN, factor=source.uniform(1, 9), truncate=source.random() < 0.5)
        if source.random() < 0.6:
            rope.update(mscale=source.uniform(0.3, 2), mscale_all_dim=source.uniform(0.3, 2))
    if family in LATENT:
        values.update(num_key_value_heads=heads, q_lora_rank=source.choice([None, source.randint(1, 40)]),
                      kv_lora_rank=source.randint(1, 40), qk_nope_head_dim=source.randint(1, 20),
                      qk_rope_head_dim=2 * source.randint(1, 8), v_head_dim=source.randint(1, 30))
    else:
        values.update(num_key_value_heads=source.choice([n for n in range(1, heads + 1) if heads % n == 0]))
    if family == "deepseek_v2":  # transformers views slices of rows as complex numbers
        values.update(hidden_size=heads * source.randint(3, 20), kv_lora_rank=2 * source.randint(1, 20),
                      qk_nope_head_dim=2 * source.randint(1, 10))
    if family == "olmoe":
        values.update(hidden_size=heads * head_dim)
    elif family not in LATENT:
        values.update(head_dim=head_dim)
    if family == "glm4_moe":
        values.update(use_qk_norm=source.random() < 0.5)
        rope.update(partial_rotary_factor=source.choice([0.5, 1.0]) if head_dim % 4 == 0 else 1.0)
    if family not in ("mixtral", "qwen2_moe"):
        values.update(attention_bias=source.random() < 0.3)
    return values | dict(rope=rope)


def random_shapes(count, seed):
    source = random.Random(seed)
    shapes = []
    for number in range(count):
        family = list(CONFIGS)[(number + seed) % len(CONFIGS)]
        layers = source.randint(1, 3)
        values = dict(vocab_size=source.randint(40, 300), num_hidden_layers=layers,
                      tie_word_embeddings=source.random() < 0.5)
        values |= random_experts(family, source, layers) | random_attention(family, source)
        shapes.append(shape(f"random_{seed}_{number}", family, **values))
    return shapes


def make_model(chosen, seed):
    """The shape with weights of a trained model's scale, every norm's weights different from 1."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[chosen.family](**chosen.values), dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_(1 + 0.3 * torch.randn_like(parameter))
            else:
                parameter.copy_(torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.copy_(0.2 * torch.randn_like(buffer))
    return model


def load(folder):
    """What transformers makes of a folder, in float32, and what it had to say while it loaded."""
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager",
        output_loading_info=True)
    return model.eval(), {key: found for key, found in report.items() if found}


def last_chosen_and_first_not(scores, count):
    """The smallest difference between them over all rows; infinite when all are chosen."""
    if count >= scores.shape[-1]:
        return float("inf")
    ranked = torch.sort(scores, descending=True).values
    return (ranked[:, count - 1] - ranked[:, count]).min().item()


def selection_margin(config, logits, bias):
    """How narrowly a group or an expert was chosen in one layer."""
    scores = logits.softmax(-1) if bias is None else logits.sigmoid() + bias
    groups, margin = getattr(config, "n_group", 1) or 1, float("inf")
    if groups > 1:
        members = scores.view(len(scores), groups, -1)
        of_groups = members.max(-1).values if bias is None else members.topk(2).values.sum(-1)
        margin = last_chosen_and_first_not(of_groups, config.topk_group)
        chosen = of_groups.topk(config.topk_group).indices
        scores = members.gather(1, chosen[:, :, None].expand(-1, -1, members.shape[-1])).flatten(1)
    return min(margin, last_chosen_and_first_not(scores, config.num_experts_per_tok))


@torch.no_grad()
def route_margin(model, ids):
    """The smallest difference between a score that is chosen and one that is not."""
    biases = [buffer for name, buffer in model.named_buffers() if name.endswith("e_score_correction_bias")]
    all_logits = model.model(ids, output_router_logits=True).router_logits or ()
    biases = biases or [None] * len(all_logits)
    assert len(biases) == len(all_logits)
    return min((selection_margin(model.config, logits.flatten(0, -2), bias)
                for logits, bias in zip(all_logits, biases)), default=float("inf"))


def edit_config(folder, edit):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config, indent=2))


def write_plain(model, folder):
    model.save_pretrained(folder)


def write_sharded(model, folder):
    model.save_pretrained(folder, max_shard_size="2KB")
    assert (folder / "model.safetensors.index.json").exists()


def write_bfloat16(model, folder):
    model.bfloat16().save_pretrained(folder)


def write_float16(model, folder):
    model.half().save_pretrained(folder)


def write_fused(model, folder):
    """All experts of a layer in two tensors, under transformers' names in memory."""
    model.config.save_pretrained(folder)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def write_old_config(model, folder):
    """config.json with the keys of transformers 4."""
    model.save_pretrained(folder)

    def edit(config):
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        if "partial_rotary_factor" in rope:
            config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
        rope["type"] = rope.pop("rope_type")
        config["rope_scaling"] = rope if rope["type"] == "yarn" else None
        config["torch_dtype"] = config.pop("dtype")
        config["transformers_version"] = "4.51.0"
        if config["model_type"] == "qwen3_moe":
            config["num_experts"] = config.pop("num_local_experts")
            config["max_window_layers"] = 28
        if config["model_type"] in LATENT:  # as the published models
            del config["head_dim"], config["qk_head_dim"]
            config.update(moe_layer_freq=1, ep_size=1, seq_aux=True, auto_map={"AutoConfig": "x.Y"},
                          scoring_func="sigmoid" if config["model_type"] in BIASED else "softmax")
        if config["model_type"] == "deepseek_v3":
            config["topk_method"] = "noaux_tc"

    edit_config(folder, edit)


def write_short_config(model, folder):
    """config.json without what has its default value, head_dim = hidden_size / heads among them."""
    model.save_pretrained(folder)
    defaults = type(model.config)().to_dict()

    def edit(config):
        for key in [key for key in config if key != "model_type" and defaults.get(key) == config[key]]:
            del config[key]
        stretched = config.get("rope_parameters", {}).get("rope_type") == "yarn"  # needs head_dim there
        if config["model_type"] not in LATENT and "head_dim" in config and not stretched and (
                config["head_dim"] * config["num_attention_heads"] == config["hidden_size"]):
            del config["head_dim"]

    edit_config(folder, edit)


# Every way changes the model to what its files hold.
WAYS = {"plain": write_plain, "sharded": write_sharded, "bfloat16": write_bfloat16,
        "float16": write_float16, "fused": write_fused, "old_config": write_old_config,
        "short_config": write_short_config}


def write_folder(chosen, seed, way, folder):
    """Writes the shape with weights of this seed in one of the WAYS; returns the model in float32."""
    model = make_model(chosen, seed)
    folder.mkdir(parents=True)
    WAYS[way](model, folder)
    return model.float()
