#!/usr/bin/env python3
"""Trains one configuration under several placement policies, in turns, and compares them.

    tests/bench/placement_on_ranks.py --data PREFIX [--ranks 2] [--skew 1.5] [--rounds 3]
        [--policies owners,enodia] [--set KEY=VALUE]...

Real ranks and real text; the router is forced to be skewed. Prints medians over all steps but the
first five of each run, [smallest, largest] of the rounds' medians, exposed communication by kind
(rank 0), and tokens/s against the first policy."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def train(options, policy, folder):
    values = {"data.train": options.data, "data.valid": "", "train.eval_interval": 0,
              "run.dir": folder, "placement.policy": policy, "router.forced_skew": options.skew,
              "train.steps": options.steps, "optim.warmup_samples": 0, "train.log_interval": 1000}
    values.update(text.split("=", 1) for text in options.set)
    sets = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    subprocess.run([str(ROOT / "scripts/enodia-run"), "-n", str(options.ranks), "train",
                    options.config, *sets], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()[5:]
    return [json.loads(line) for line in lines]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--config", default=str(ROOT / "configs/quickstart.yaml"))
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--skew", type=float, default=1.5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--policies", default="owners,enodia")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    policies = options.policies.split(",")
    seen = {policy: [] for policy in policies}
    with tempfile.TemporaryDirectory() as place:
        for number in range(options.rounds):
            for policy in policies:
                seen[policy].append(train(options, policy, f"{place}/{policy}{number}"))
    first = None
    for policy in policies:
        rounds = [statistics.median(r["tokens_per_s"] for r in run) for run in seen[policy]]
        middle = statistics.median(rounds)
        first = first or middle
        records = [record for run in seen[policy] for record in run]
        median = lambda read: statistics.median(read(record) for record in records)
        exposed = {kind: round(median(lambda r: r["time_ms"]["exposed"][kind]), 1)
                   for kind in records[0]["time_ms"]["exposed"]}
        print(f"{policy:16} {middle:8.0f} tok/s [{min(rounds):.0f}, {max(rounds):.0f}] "
              f"{middle / first:.2f}x | ranks {median(lambda r: r['imbalance']['rank']):.3f} | "
              f"replicas {median(lambda r: r['replicas']):.1f} | exposed ms {exposed} | "
              f"loss {records[-1]['loss']:.4f}")


if __name__ == "__main__":
    sys.exit(main())
