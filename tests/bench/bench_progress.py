#!/usr/bin/env python3
"""Compares run.progress thread with inline: step time, exposed communication, processor time.

Usage: bench_progress.py CONFIG [--rounds R] [--steps N] [--launch "COMMAND"] [-- OVERRIDE...]

Starts both modes in turn, R times each (the first steps of a run do not count), and prints for each
the median over all steps and the spread of the rounds' medians, and their ratio. --launch is what
starts two ranks of the program, by default `scripts/enodia-run -n 2`; with an mpirun across machines
the same figures hold for a network. Losses of both modes must be the same bits.
"""
import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WARM_UP = 4  # steps
FIELDS = ["step_ms", "compute", "tokens", "gradients", "replicas", "control", "communication_thread"]


def run(launch, config, mode, steps, overrides, folder):
    arguments = [f"run.dir={folder}", f"run.progress={mode}", f"train.steps={steps}", *overrides]
    command = [*shlex.split(launch), "train", config]
    for argument in arguments:
        command += ["--set", argument]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with open(Path(folder) / "metrics.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def field(record, name):
    times = record["time_ms"]
    if name == "step_ms":
        return record[name]
    return times["exposed"].get(name, times.get(name, 0.0))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("config")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--launch", default="scripts/enodia-run -n 2")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    rounds = {"inline": [], "thread": []}
    for _ in range(options.rounds):
        for mode, records in rounds.items():
            with tempfile.TemporaryDirectory() as folder:
                records.append(run(options.launch, options.config, mode, options.steps,
                                   options.overrides, f"{folder}/run"))
    losses = {mode: [[r["loss"] for r in records] for records in all_rounds]
              for mode, all_rounds in rounds.items()}
    if losses["inline"] != losses["thread"]:
        sys.exit("the losses of the two modes differ")
    print(f"{options.rounds} rounds of {options.steps} steps each, ms a step on rank 0")
    print(f"{'':22}{'inline':>10} {'(rounds)':>17}{'thread':>10} {'(rounds)':>17}{'ratio':>8}")
    for name in FIELDS:
        line, medians = f"{name:22}", {}
        for mode, all_rounds in rounds.items():
            values = [[field(r, name) for r in records[WARM_UP:]] for records in all_rounds]
            medians[mode] = statistics.median(sum(values, []))
            spread = [statistics.median(v) for v in values]
            line += f"{medians[mode]:10.2f} {f'({min(spread):.2f}-{max(spread):.2f})':>17}"
        ratio = medians["thread"] / medians["inline"] if medians["inline"] else float("nan")
        print(line + f"{ratio:8.2f}")


if __name__ == "__main__":
    main()
