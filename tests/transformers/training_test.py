"""Training from imported weights: loss and gradient norm of each step, in transformers with
torch.optim.AdamW and in Enodia in every layout.

    with_transformers.sh training_test.py [unittest arguments]

Environment: ENODIA_PROGRAM is the program's path.
"""

import functools
import json
import sys
import unittest
from dataclasses import dataclass, replace
from pathlib import Path

import odd_models
import torch
from logits_test import check_equal_weights, distance, enodia_logits
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "trainer"))
from program_testing import ProgramTest, pseudo_english, settings  # noqa: E402

STEPS, BATCH, SEQUENCE = 30, 12, 32
END = 256  # of a document, after 256 bytes
PEER_BOUND = 1e-3  # relative, against transformers
LAYOUT_BOUND = 1e-4  # relative, against one rank
# Layouts differ by rounding of about 1e-7, which may decide where scores are closer than this. (What
# was promised is 1e-4, but some choice is as close as that in every curve: nothing could fail.)
CLEAR_MARGIN = 1e-6

# Documents shorter and longer than a sequence, so that sequences hold parts of one, two and more.
TEXTS = [pseudo_english(seed, 1 + seed % 4)[: 20 + 31 * seed] for seed in range(60)]


@dataclass(frozen=True)
class Recipe:
    """What both sides are told of the optimizer; the rest are the defaults that both share."""
    lr: float = 2e-3
    warmup_samples: int = 0
    clip_norm: float = 0.8
    weight_decay: float = 0.5  # so much that a parameter in the wrong group is seen
    betas: tuple = (0.9, 0.95)
    eps: float = 1e-8

    def lr_of(self, step):
        """docs/numerics.md, "The learning rate": of step number `step`, from 0."""
        consumed = (step + 1) * BATCH
        return self.lr * min(1.0, consumed / self.warmup_samples) if self.warmup_samples else self.lr


def sequences_of(texts):
    """docs/numerics.md: window after window of SEQUENCE tokens, in order and again from the start,
    as pairs of ids and labels, cut where a document ends. The last token of one has no label."""
    ids, ends = [], set()
    for text in texts:
        ids += [*text.encode(), END]
        ends.add(len(ids) - 1)
    windows = (len(ids) - 1) // SEQUENCE
    for number in range(STEPS * BATCH):
        start = number % windows * SEQUENCE
        pairs, segment = [], []
        for place in range(start, start + SEQUENCE):
            segment.append(ids[place])
            if place in ends:
                pairs.append((segment, segment[1:]))
                segment = []
        if segment:
            pairs.append((segment, segment[1:] + [ids[start + SEQUENCE]]))
        yield pairs


def decays(name):
    """Not norms, biases, the router and the gate of a shared expert."""
    return not ("norm" in name or name.endswith((".bias", ".mlp.gate.weight", ".shared_expert_gate.weight")))


@functools.cache
def train_with_transformers(folder, recipe, decays=decays):
    """[(loss, gradient norm)] of each step: every segment of a document by itself."""
    model, _ = odd_models.load(folder)
    model.train()
    parameters = dict(model.named_parameters())
    groups = [{"params": [each for name, each in parameters.items() if decays(name) is wanted],
               "weight_decay": recipe.weight_decay if wanted else 0.0} for wanted in (True, False)]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)
    sequences = sequences_of(TEXTS)
    curve = []
    for step in range(STEPS):
        pairs = [pair for _ in range(BATCH) for pair in next(sequences)]
        valid = sum(len(labels) for _, labels in pairs)
        loss = 0.0
        for ids, labels in pairs:
            if labels:
                logits = model(torch.tensor([ids])).logits[0, : len(labels)]
                part = cross_entropy(logits, torch.tensor(labels), reduction="sum") / valid
                part.backward()
                loss += part.item()
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), recipe.clip_norm).item()
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr_of(step)
        optimizer.step()
        optimizer.zero_grad()
        curve.append((loss, norm))
    return curve


def first_margin(folder):
    """The smallest route margin of the first step."""
    model, _ = odd_models.load(folder)
    sequences = sequences_of(TEXTS)
    return min(odd_models.route_margin(model, torch.tensor([ids]))
               for _ in range(BATCH) for ids, _ in next(sequences))


def farthest(found, expected):
    """Largest relative difference of a loss or a norm in each step."""
    return [max(abs(a - b) / abs(b) for a, b in zip(one, other)) for one, other in zip(found, expected)]


class Training(ProgramTest):
    """Models with the byte vocabulary, two layers, five experts."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
        (cls.folder / "texts.jsonl").write_text(lines)
        result = cls.start("prepare", "--input", "texts.jsonl", "--output", "texts", "--tokenizer", "byte")
        if result.code != 0:
            raise AssertionError(f"cannot prepare the data: {result}")
        (cls.folder / "train.yaml").write_text(
            f"data: {{train: texts, order: sequential}}\nrouter: {{aux_loss_coef: 0, expert_bias_update_rate: 0}}\n"
            f"train: {{steps: {STEPS}, global_batch_size: {BATCH}, micro_batch_size: 1, "
            f"sequence_length: {SEQUENCE}, log_interval: {STEPS}}}\n")
        for seed, (family, values) in enumerate([
                ("mixtral", {}), ("mixtral", {"tie_word_embeddings": True}),
                ("qwen3_moe", {"mlp_only_layers": [0]}),
                ("qwen3_moe", {"tie_word_embeddings": True, "norm_topk_prob": True, "attention_bias": True}),
                ("qwen2_moe", {}), ("olmoe", {"norm_topk_prob": True}),
                ("deepseek_v2", {"first_k_dense_replace": 1, "rope": odd_models.YARN | {"mscale_all_dim": 0.7}}),
                ("deepseek_v3", {"n_shared_experts": 2}), ("glm4_moe", {"use_qk_norm": True})]):
            name = ("tied_" if "tie_word_embeddings" in values else "") + family
            odd_models.write_folder(odd_models.shape(name, family, vocab_size=257, **values), seed, "plain",
                                    cls.folder / name)

    def train_with_enodia(self, folder, recipe, ranks=0, ep="auto"):
        """The same curve, and the smallest route margin up to each step."""
        run = f"runs/{len(list(self.folder.glob('runs/*')))}"
        self.succeed("train", "train.yaml", *settings({
            "train.init": folder, "run.dir": run, "parallel.ep": ep, "optim.schedule": "constant",
            "optim.lr": recipe.lr, "optim.warmup_samples": recipe.warmup_samples,
            "optim.clip_norm": recipe.clip_norm, "optim.weight_decay": recipe.weight_decay,
            "optim.betas": list(recipe.betas), "optim.eps": recipe.eps}), ranks=ranks)
        records = self.metrics(run)
        self.assertEqual(len(records), STEPS)
        margins = [min(record.get("route_margin", 1.0) for record in records[: step + 1])
                   for step in range(STEPS)]
        return [(record["loss"], record["grad_norm"]) for record in records], margins

    def assert_same_curve(self, folder, recipe):
        expected = train_with_transformers(folder=self.folder / folder, recipe=recipe)
        found, margins = self.train_with_enodia(folder, recipe)
        distances = farthest(found, expected)
        print(f"{folder:15} {recipe}\n  loss {expected[0][0]:.3f} -> {expected[-1][0]:.3f}, "
              f"norm {expected[0][1]:.3f} -> {expected[-1][1]:.3f}, farthest {max(distances):.2e}, "
              f"smallest margin {margins[-1]:.1e}", flush=True)
        self.assertAlmostEqual(margins[0], first_margin(self.folder / folder), delta=1e-6)
        self.assertLess(expected[-1][0], 0.7 * expected[0][0], "it learns")
        self.assertTrue(any(norm > recipe.clip_norm for _, norm in expected), "the norm is clipped")
        self.assertLess(max(distances), PEER_BOUND, f"at step {distances.index(max(distances)) + 1}")

    def test_mixtral(self):
        self.assert_same_curve("mixtral", Recipe())

    def test_tied_mixtral_with_warm_up(self):
        self.assert_same_curve("tied_mixtral", Recipe(warmup_samples=10 * BATCH))

    def test_qwen3_moe_with_warm_up(self):
        self.assert_same_curve("qwen3_moe", Recipe(warmup_samples=7 * BATCH + 5))

    def test_tied_qwen3_moe(self):
        self.assert_same_curve("tied_qwen3_moe", Recipe())

    def test_qwen2_moe(self):
        self.assert_same_curve("qwen2_moe", Recipe())

    def test_olmoe(self):
        self.assert_same_curve("olmoe", Recipe())

    def test_deepseek_v2(self):
        self.assert_same_curve("deepseek_v2", Recipe())

    def test_deepseek_v3(self):
        self.assert_same_curve("deepseek_v3", Recipe())

    def test_glm4_moe(self):
        self.assert_same_curve("glm4_moe", Recipe())

    def test_what_differs_a_little_is_seen(self):
        """The negative control: the optimizer of one side is not quite the other's."""
        recipe, folder = Recipe(), "tied_qwen3_moe"
        sound, _ = self.train_with_enodia(folder, recipe)
        curves = {}
        for part in ("layernorm", "q_norm", ".bias", ".mlp.gate.weight", "embed_tokens"):
            flipped = train_with_transformers(self.folder / folder, recipe,
                                              lambda name, part=part: decays(name) != (part in name))
            curves[f"decay of {part} turned"] = sound, flipped
        expected = train_with_transformers(self.folder / folder, recipe)
        for name, wrong in (("no clipping", replace(recipe, clip_norm=0.0)),
                            ("another beta", replace(recipe, betas=(0.9, 0.96))),
                            ("a little warm-up", replace(recipe, warmup_samples=2 * BATCH))):
            curves[name] = self.train_with_enodia(folder, wrong)[0], expected
        for name, (found, other) in curves.items():
            far = max(farthest(found, other))
            print(f"wrong on purpose: {name:32} {far:.2e}", flush=True)
            self.assertGreater(far, 3 * PEER_BOUND, name)

    def test_the_trained_model_goes_back(self):
        """With its tokenizer; in bfloat16 as its weights rounded."""
        folder, text = self.folder / "back", TEXTS[7][:60]
        self.succeed("train", "train.yaml", *settings({"train.init": "tied_qwen3_moe", "run.dir": "forth",
                                                       "train.steps": 3}), ranks=2)
        self.succeed("export", "forth", "--verify", "--output", folder)
        self.succeed("export", "forth", "--dtype", "bfloat16", "--output", "half")
        model, complaints = odd_models.load(folder)
        self.assertFalse(complaints)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.assertEqual(tokenizer(text).input_ids, list(text.encode()))
        self.assertEqual(tokenizer.eos_token_id, END)
        ids = torch.tensor([tokenizer(text).input_ids])
        with torch.no_grad():
            expected = model(ids).logits
        self.assertLess(distance(enodia_logits(self.folder / "forth", ids), expected), 1)
        half, complaints = odd_models.load(self.folder / "half")
        self.assertFalse(complaints)
        check_equal_weights(half.state_dict(), model.bfloat16().float().state_dict())

    def test_every_layout(self):
        recipe = Recipe()
        for folder in ("mixtral", "tied_qwen3_moe"):
            expected, _ = self.train_with_enodia(folder, recipe)
            for ranks, ep in ((2, 1), (2, 2), (3, 1), (3, 3), (4, 2), (4, 4)):
                found, margins = self.train_with_enodia(folder, recipe, ranks, ep)
                distances = farthest(found, expected)
                print(f"{folder:15} dp {ranks} ep {ep}: farthest {max(distances):.2e}, "
                      f"smallest margin {margins[-1]:.1e}", flush=True)
                for step, (far, margin) in enumerate(zip(distances, margins), start=1):
                    self.assertTrue(far <= LAYOUT_BOUND or margin < CLEAR_MARGIN,
                                    f"{folder} on {ranks} ranks, ep {ep}, step {step}: {far:.2e}, and every "
                                    f"choice of experts so far was clear by {margin:.1e}")


if __name__ == "__main__":
    unittest.main()
