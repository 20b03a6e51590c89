"""Logits of Hugging Face folders of odd shapes: transformers' against Enodia's, of the folder, of what
`import` makes of it, and of what `export` makes of that; transformers reads the export back.

    with_transformers.sh logits_test.py [--random N] [--seed S] [--every-way]

Environment: ENODIA_PROGRAM is the program's path.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import odd_models
import torch
from safetensors.torch import load_file, save_file

PROGRAM = os.environ.get("ENODIA_PROGRAM", str(Path(__file__).resolve().parents[2] / "build/enodia"))
BOUND = 2e-4  # times the largest logit where that is above 1
SEQUENCES, LENGTH = 3, 40
# Rounding may send a token to another expert where scores are closer than this.
CLEAR_MARGIN = 1e-5
TIMEOUT = 60  # seconds a command


def enodia(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, timeout=TIMEOUT,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"enodia {' '.join(map(str, arguments))} exits with {done.returncode}: "
                             f"{done.stdout}{done.stderr}")


def enodia_logits(model, ids):
    """[B, S, V] of a native checkpoint or a Hugging Face folder."""
    with tempfile.TemporaryDirectory() as folder:
        questions, answers = Path(folder) / "ids.jsonl", Path(folder) / "logits.safetensors"
        questions.write_text("".join(f"{json.dumps(row)}\n" for row in ids.tolist()))
        enodia("logits", model, "--ids", questions, "--output", answers)
        return load_file(answers)["logits"]


def clear_ids(model, seed):
    """Random sequences [B, S] in which no choice of experts hangs on rounding."""
    source = torch.Generator().manual_seed(seed)
    while True:
        ids = torch.randint(model.config.vocab_size, (SEQUENCES, LENGTH), generator=source)
        if odd_models.route_margin(model, ids) >= CLEAR_MARGIN:
            return ids


def distance(found, expected):
    """Largest difference in units of what is allowed."""
    if found.shape != expected.shape or found.dtype != torch.float32:
        raise AssertionError(f"logits are {found.dtype} {list(found.shape)}, not {list(expected.shape)}")
    allowed = BOUND * max(1.0, expected.abs().max().item())
    return (found - expected).abs().nan_to_num(torch.inf).max().item() / allowed


def check_equal_weights(found, expected):
    """Bit for bit, under the same names."""
    if found.keys() != expected.keys():
        raise AssertionError(f"tensors differ: {sorted(found.keys() ^ expected.keys())}")
    different = [name for name in found if not torch.equal(found[name], expected[name])]
    if different:
        raise AssertionError(f"weights differ: {different}")


@torch.no_grad()
def check_model(chosen, way, seed, folder):
    """The distances of logits: of the folder, the checkpoint, the export, and transformers' of it."""
    given, imported, exported = folder / "given", folder / "imported", folder / "exported"
    written = odd_models.write_folder(chosen, seed, way, given)
    model, complaints = odd_models.load(given)
    if complaints:
        raise AssertionError(f"transformers on the folder that it wrote: {complaints}")
    check_equal_weights(model.state_dict(), written.state_dict())  # else the generator is wrong
    ids = clear_ids(model, seed)
    expected = model(ids).logits

    distances = [distance(enodia_logits(given, ids), expected)]
    enodia("import", given, "--output", imported)
    distances.append(distance(enodia_logits(imported, ids), expected))
    enodia("export", imported, "--format", "hf", "--verify", "--output", exported)
    distances.append(distance(enodia_logits(exported, ids), expected))

    returned, complaints = odd_models.load(exported)
    if complaints:
        raise AssertionError(f"transformers on the export: {complaints}")
    if returned.config.model_type != chosen.family:
        raise AssertionError(f"exported as {returned.config.model_type}")
    check_equal_weights(returned.state_dict(), model.state_dict())
    distances.append(distance(returned(ids).logits, expected))
    return distances


def swap_tensors(one, other):
    def harm(folder):
        weights = load_file(folder / "model.safetensors")
        weights[one], weights[other] = weights[other], weights[one]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return harm


def change_config(key, value):
    return lambda folder: odd_models.edit_config(folder, lambda config: config.update({key: value}))


def change_theta(folder):
    odd_models.edit_config(folder, lambda config: config["rope_parameters"].update(rope_theta=11000.0))


def scale_tensor(name, factor):
    def harm(folder):
        weights = load_file(folder / "model.safetensors")
        weights[name] = factor * weights[name]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return harm


def change_rope(key, value):
    return lambda folder: odd_models.edit_config(folder, lambda config: config["rope_parameters"].update({key: value}))


LAYER = "model.layers.1."
# By the name of a shape.
HARMS = {
    "qwen3_moe_three_heads_of_20": {
        "gate and up projection swapped": swap_tensors(LAYER + "mlp.experts.3.gate_proj.weight",
                                                       LAYER + "mlp.experts.3.up_proj.weight"),
        "norms swapped": swap_tensors(LAYER + "input_layernorm.weight",
                                      LAYER + "post_attention_layernorm.weight"),
        "norms of q and k swapped": swap_tensors(LAYER + "self_attn.q_norm.weight",
                                                 LAYER + "self_attn.k_norm.weight"),
        "another rms_norm_eps": change_config("rms_norm_eps", 1e-3),
        "another norm_topk_prob": change_config("norm_topk_prob", True),
        "another rope_theta": change_theta,
    },
    "deepseek_v3_groups": {
        "another rope_interleave": change_config("rope_interleave", False),
        "another topk_group": change_config("topk_group", 1),
        "another n_group": change_config("n_group", 6),
        "another routed_scaling_factor": change_config("routed_scaling_factor", 2.4),
        "another factor of YaRN": change_rope("factor", 4.5),
        "another mscale": change_rope("mscale", 0.9),
        "another mscale_all_dim": change_rope("mscale_all_dim", 0.9),
        "another beta_slow": change_rope("beta_slow", 0.1),
        "no bias of experts": scale_tensor(LAYER + "mlp.gate.e_score_correction_bias", 0.0),
    },
    "glm4_moe_normed": {
        "another partial_rotary_factor": change_rope("partial_rotary_factor", 0.4),
    },
    "qwen2_moe_three_heads_of_20": {
        "the shared gate turned": scale_tensor(LAYER + "mlp.shared_expert_gate.weight", -1.0),
    },
}


@torch.no_grad()
def check_harm_is_seen(shape, harms, folder):
    """The negative control: Enodia reads a harmed copy, transformers the folder as it was."""
    chosen = next(each for each in odd_models.NAMED_SHAPES if each.name == shape)
    sound = folder / f"sound_{shape}"
    odd_models.write_folder(chosen, 1, "plain", sound)
    model, _ = odd_models.load(sound)
    ids = clear_ids(model, 1)
    expected = model(ids).logits
    for number, (name, harm) in enumerate(harms.items()):
        harmed = folder / f"harmed_{shape}_{number}"
        shutil.copytree(sound, harmed)
        harm(harmed)
        far = distance(enodia_logits(harmed, ids), expected)
        print(f"harmed on purpose: {name:31} {far:9.2f} of the bound", flush=True)
        if far <= 1:
            raise AssertionError(f"{name} goes unseen")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=2, help="random shapes besides the named ones")
    parser.add_argument("--seed", type=int, default=1, help="of random shapes and all weights")
    parser.add_argument("--every-way", action="store_true", help="each shape in each way on disk")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    shapes = odd_models.NAMED_SHAPES + odd_models.random_shapes(arguments.random, arguments.seed)
    ways = list(odd_models.WAYS)
    cases = [(chosen, way) for number, chosen in enumerate(shapes)
             for way in (ways if arguments.every_way else [ways[number % len(ways)]])]
    worst, failures = 0.0, 0
    with tempfile.TemporaryDirectory(prefix="enodia_logits_") as temporary:
        for number, (chosen, way) in enumerate(cases):
            title = f"{chosen.name:29} {way:12}"
            try:
                distances = check_model(chosen, way, arguments.seed + number, Path(temporary) / str(number))
                verdict = "" if max(distances) <= 1 else "  TOO FAR"
                print(title, *(f"{each:8.4f}" for each in distances), verdict, flush=True)
                worst = max(worst, *distances)
                failures += max(distances) > 1
            except AssertionError as failure:
                print(title, "FAILED:", failure, flush=True)
                failures += 1
            shutil.rmtree(Path(temporary) / str(number), ignore_errors=True)
        for shape, harms in HARMS.items():
            check_harm_is_seen(shape, harms, Path(temporary))
    print(f"{len(cases)} models, {failures} failed; farthest {worst:.4f} of the bound "
          f"{BOUND} max(1, max |logit|)")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
