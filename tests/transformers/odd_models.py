"""Tiny Mixtral and Qwen3-MoE models of odd shapes, and the ways in which such a model lies on disk."""

import json
import random
from dataclasses import dataclass

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, MixtralConfig, Qwen3MoeConfig
from transformers.utils import logging

logging.disable_progress_bar()

CONFIGS = {"mixtral": MixtralConfig, "qwen3_moe": Qwen3MoeConfig}


@dataclass(frozen=True)
class Shape:
    name: str
    family: str  # a model_type
    values: dict  # for the family's config class


def shape(name, family, **values):
    """Two layers, three query heads of 20 over one for keys and values, two of five experts."""
    sizes = dict(vocab_size=97, hidden_size=48, num_hidden_layers=2, num_attention_heads=3,
                 num_key_value_heads=1, head_dim=20, num_experts_per_tok=2, max_position_embeddings=64,
                 bos_token_id=1, eos_token_id=2)
    sizes.update(dict(intermediate_size=28, num_local_experts=5) if family == "mixtral" else
                 dict(intermediate_size=70, num_experts=5, moe_intermediate_size=28))
    values = sizes | values
    theta = values.pop("rope_theta", None)
    if theta is not None:
        values["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
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
]


def random_shapes(count, seed):
    source = random.Random(seed)
    shapes = []
    for number in range(count):
        family = source.choice(sorted(CONFIGS))
        heads, layers = source.choice([1, 2, 3, 4, 6]), source.randint(1, 3)
        experts = source.randint(1, 9)
        head_dim = 2 * source.randint(1, 14)
        values = dict(
            vocab_size=source.randint(40, 300), num_hidden_layers=layers, num_attention_heads=heads,
            num_key_value_heads=source.choice([n for n in range(1, heads + 1) if heads % n == 0]),
            hidden_size=source.choice([source.randint(7, 70), heads * head_dim]), head_dim=head_dim,
            intermediate_size=source.randint(5, 80), num_experts_per_tok=source.randint(1, experts),
            tie_word_embeddings=source.random() < 0.5, rope_theta=10 ** source.uniform(1, 6),
            rms_norm_eps=10 ** source.uniform(-7, -1))
        if family == "mixtral":
            values.update(num_local_experts=experts)
        else:
            values.update(num_experts=experts, moe_intermediate_size=source.randint(5, 60),
                          norm_topk_prob=source.random() < 0.5,
                          mlp_only_layers=list(range(source.choice([0, 0, 1, layers]))))
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
    return model


def load(folder):
    """What transformers makes of a folder, in float32, and what it had to say while it loaded."""
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager",
        output_loading_info=True)
    return model.eval(), {key: found for key, found in report.items() if found}


@torch.no_grad()
def route_margin(model, ids):
    """The smallest difference between the last score that is chosen and the first that is not."""
    config = model.config
    choices = getattr(config, "num_experts", 0)
    margin = 1.0
    if config.num_experts_per_tok < choices:
        for logits in model.model(ids, output_router_logits=True).router_logits or ():
            scores = torch.sort(logits.softmax(-1), descending=True).values
            last = config.num_experts_per_tok - 1
            margin = min(margin, (scores[:, last] - scores[:, last + 1]).min().item())
    return margin


def edit_config(folder, edit):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config, indent=2))


def write_plain(model, folder):
    model.save_pretrained(folder)


def write_sharded(model, folder):
    model.save_pretrained(folder, max_shard_size="20KB")
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
        config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
        config["rope_scaling"] = None
        config["torch_dtype"] = config.pop("dtype")
        config["transformers_version"] = "4.51.0"
        if config["model_type"] == "qwen3_moe":
            config["num_experts"] = config.pop("num_local_experts")
            config["max_window_layers"] = 28

    edit_config(folder, edit)


def write_short_config(model, folder):
    """config.json without what has its default value, head_dim = hidden_size / heads among them."""
    model.save_pretrained(folder)
    defaults = type(model.config)().to_dict()

    def edit(config):
        for key in [key for key in config if key != "model_type" and defaults.get(key) == config[key]]:
            del config[key]
        if config["head_dim"] * config["num_attention_heads"] == config["hidden_size"]:
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
