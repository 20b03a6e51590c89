"""Runs `enodia simulate` on routing that is made up here."""

import json
import os
import random
import struct
import unittest

from program_testing import ROOT, TINY, ProgramTest

PRESETS = ("uniform", "zipf", "drifting", "bursty", "phase_shift", "hot_nodes")


def write_trace(path, samples, layers, ranks, experts, seed=1):
    """A safetensors file; returns the counts as nested lists."""
    source = random.Random(seed)
    weights = [2.0 ** -(expert % 7) for expert in range(experts)]
    counts = []
    for _ in range(samples * layers * ranks):
        row = [0] * experts
        for expert in source.choices(range(experts), weights, k=300):
            row[expert] += 1
        counts.append(row)
    flat = [count for row in counts for count in row]
    header = json.dumps({"counts": {"dtype": "I32", "shape": [samples, layers, ranks, experts],
                                    "data_offsets": [0, 4 * len(flat)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack(f"<{len(flat)}i", *flat))
    return [[counts[(s * layers + l) * ranks:(s * layers + l + 1) * ranks] for l in range(layers)]
            for s in range(samples)]


class Simulate(ProgramTest):
    """What the command prints and writes."""

    def test_plans_are_valid_and_what_the_table_says(self):
        counts = write_trace(self.folder / "trace.safetensors", 5, 2, 8, 16)
        command = ["simulate", "--trace", "trace.safetensors", "--nodes", "2", "--ranks-per-node", "4"]
        result = self.succeed(*command, "--slots", "2", "--policy", "enodia", "--json",
                              "--emit-plans", "plans.jsonl")
        said = json.loads(result.out)[0]
        lines = (self.folder / "plans.jsonl").read_text(encoding="utf-8").splitlines()
        plans = [json.loads(line) for line in lines]
        self.assertEqual([(plan["sample"], plan["layer"]) for plan in plans],
                         [(s, l) for s in range(5) for l in range(2)])
        imbalances = []
        for plan in plans:
            rows = counts[plan["sample"]][plan["layer"]]
            load, used = [0] * 8, [0] * 8
            for expert, quotas in enumerate(plan["quotas"]):
                self.assertEqual(sum(quotas), sum(row[expert] for row in rows))
                hosts = [plan["owners"][expert], *plan["replicas"][expert]]
                self.assertEqual(plan["owners"][expert], expert // 2)
                for rank, quota in zip(hosts, quotas, strict=True):
                    self.assertGreaterEqual(quota, 0)
                    load[rank] += quota
                for rank in plan["replicas"][expert]:
                    used[rank] += 1
            self.assertLessEqual(max(used), 2)
            if plan["sample"] > 0:
                imbalances.append(max(load) * 8 / sum(load))
        self.assertAlmostEqual(said["mean_imbalance"], sum(imbalances) / len(imbalances))
        self.assertEqual(said["plans"], 8)

    def test_all_policies_are_compared(self):
        write_trace(self.folder / "trace.safetensors", 3, 1, 4, 8)
        command = ["simulate", "--trace", "trace.safetensors", "--nodes", "2", "--ranks-per-node", "2"]
        said = json.loads(self.succeed(*command, "--json").out)
        self.assertIn("owners", [row["policy"] for row in said])
        self.assertTrue({"smartmoe", "flexmoe", "symi"} < {row["policy"] for row in said})
        table = self.succeed(*command).out.splitlines()
        self.assertEqual(len(table), len(said) + 1)
        self.assertEqual(said, json.loads(self.succeed(*command, "--json").out))

    def test_policies_of_replay_alone_are_refused_in_training(self):
        for policy in ("smartmoe", "flexmoe", "symi"):
            self.refuse(2, ["placement.policy", policy, "owners"], "train", TINY,
                        "--set", f"placement.policy={policy}")

    def test_presets_are_replayed_and_written_as_recordings(self):
        cluster = ["--nodes", "2", "--ranks-per-node", "2", "--json"]
        for preset in PRESETS:
            said = self.succeed("simulate", "--preset", preset, *cluster,
                                "--write-trace", f"{preset}.safetensors").out
            again = self.succeed("simulate", "--trace", f"{preset}.safetensors", *cluster).out
            self.assertEqual(said, again)

    def test_mistakes_are_told(self):
        write_trace(self.folder / "trace.safetensors", 2, 1, 4, 8)
        command = ["simulate", "--trace", "trace.safetensors", "--nodes", "2"]
        self.refuse(2, ["--nodes (2) times --ranks-per-node (3) must be the ranks", "(4)"],
                    *command, "--ranks-per-node", "3")
        self.refuse(2, ["there is no policy 'best'", "owners", "enodia"],
                    *command, "--ranks-per-node", "2", "--policy", "best")
        self.refuse(2, ["one policy"], *command, "--ranks-per-node", "2", "--emit-plans", "x.jsonl")
        self.refuse(2, ["--ranks-per-node"], *command)
        cluster = ["--nodes", "2", "--ranks-per-node", "2"]
        self.refuse(2, ["no routing to replay", "--trace", "--preset", *PRESETS], "simulate", *cluster)
        self.refuse(2, ["there is no preset 'calm'", *PRESETS], "simulate", "--preset", "calm", *cluster)
        self.refuse(2, ["--preset"], *command, "--ranks-per-node", "2", "--preset", "zipf")
        (self.folder / "cut.safetensors").write_bytes(
            (self.folder / "trace.safetensors").read_bytes()[:-4])
        for ranks in ("65536", "46341", "2147483647"):
            self.refuse(2, [ranks, "1024"], "simulate", "--preset", "zipf", "--nodes", ranks,
                        "--ranks-per-node", ranks)
        recorded = (self.folder / "trace.safetensors").read_bytes()
        for option in ("--emit-plans", "--write-trace"):
            whole = [*command, "--ranks-per-node", "2", "--policy", "owners", option]
            self.refuse(2, [option, "replace the recording"], *whole, "./trace.safetensors")
            self.refuse(2, [option, "no/plans", "its folder does not exist"], *whole, "no/plans")
        self.assertEqual(recorded, (self.folder / "trace.safetensors").read_bytes())
        os.mkfifo(self.folder / "pipe")
        self.refuse(4, ["pipe", "something other than a file"], "simulate", "--preset", "zipf",
                    "--nodes", "2", "--ranks-per-node", "2", "--policy", "owners",
                    "--emit-plans", "pipe")
        for trace in ("nowhere.safetensors", "docs.jsonl", "cut.safetensors"):
            self.refuse(4, [trace], "simulate", "--trace", trace, "--nodes", "2",
                        "--ranks-per-node", "2")

    def test_a_step_is_foretold(self):
        write_trace(self.folder / "trace.safetensors", 3, 2, 4, 8)
        (self.folder / "cluster.yaml").write_text(
            "nodes: 2\nranks_per_node: 2\ntflops: 1\nmemory_gb: 0.002\n"
            "inside_gb_s: 10\nbetween_gb_s: 1\n")
        command = ["simulate", TINY, "--cluster", "cluster.yaml", "--set", "model.num_experts=8"]
        said = {row["policy"]: row for row in
                json.loads(self.succeed(*command, "--trace", "trace.safetensors", "--json").out)}
        self.assertLess(said["enodia"]["experts_ms"], said["owners"]["experts_ms"])
        for row in said.values():
            parts = ("attention_ms", "experts_ms", "tokens_ms", "replicas_ms", "gradients_ms")
            self.assertAlmostEqual(row["step_ms"], sum(row[part] for part in parts))
            self.assertEqual(row["fits"], row["memory_bytes"]["total"] <= 2e6)
        self.assertGreater(said["enodia"]["memory_bytes"]["replicas"]["weights"], 0)
        table = self.succeed(*command, "--policy", "owners").out.splitlines()
        self.assertEqual(len(table), 3)

    def test_mistakes_in_forecasts_are_told(self):
        command = ["simulate", TINY, "--cluster", str(ROOT / "configs/clusters/p4d.yaml")]
        self.refuse(2, ["--cluster"], "simulate", TINY)
        self.refuse(2, ["--cluster"], "simulate", "--cluster", "x.yaml")
        self.refuse(2, ["nowhere.yaml"], "simulate", TINY, "--cluster", "nowhere.yaml")
        self.refuse(2, ["train.global_batch_size (24)", "(32)"], *command)
        batch = ["--set", "train.global_batch_size=64"]
        self.refuse(2, ["model.num_experts is 0"], *command, *batch, "--set", "model.num_experts=0")
        self.refuse(2, ["model.vocab_size is 0"], *command, *batch, "--set", "model.vocab_size=0")
        for option in (["--nodes", "2"], ["--slots", "1"], ["--emit-plans", "plans"]):
            self.refuse(2, [option[0]], *command, *batch, *option)
        self.refuse(2, ["parallel.ep (2) of 32"], *command, *batch, "--set", "parallel.ep=2")
        few = ["--set", "model.num_experts=8", "--policy"]
        self.refuse(2, ["policy owners", "8 experts on 32 ranks"], *command, *batch, *few, "owners")
        table = self.succeed(*command, *batch, *few, "all").out
        self.assertIn("enodia", table)
        self.assertNotIn("owners", table)
        write_trace(self.folder / "other.safetensors", 2, 1, 4, 8)
        self.refuse(2, ["4 ranks", "p4d", "(8)"], *command, *batch, "--trace", "other.safetensors")


if __name__ == "__main__":
    unittest.main()
