#!/usr/bin/env python3
"""Compares placement policies on a cluster that this machine plays (scripts/netcluster.sh).

    tests/bench/emulated_cluster.py [--counts RECORDING | --preset drifting] [--machines p3dn,p4d]
        [--shapes deepseek-v3,mixtral] [--policies owners,enodia] [--slots 1,2,4] [--rate 100mbit] [--steps 10]
        [--budget fixed] [--output TABLE.md]

Four nodes of four ranks; planning, messages, their order and their bytes are real, only ranks sleep
in place of computing (train.virtual_compute), and links are slow (tc). Routing is a recording's, or
a preset's of `enodia simulate`.

What is played: half of each node of the machines in configs/clusters, whose sources stand there,
training experts as wide as DeepSeek-V3's (2048, arXiv 2412.19437) or Mixtral 8x7B's (14336, arXiv
2401.04088) on one sequence of 4096 tokens a rank, 8 or 2 experts each. Expert width and copies of
tokens are a SHRINK-th of that, so computation,
their product, shrinks by its square where messages do once; a word has 4 bytes in place of 2. So

    time_dilation = link of half a node / link here * SHRINK * 2

keeps computation and messages in the machine's proportion: one factor for each machine, by which
all its time is longer here. The hidden size is in both alike. Dense gradients are reduced in buckets
that are as much smaller, and messages cut into an eighth of what a real link would be given: finer
ones would be closer to a real machine, but keep these cores busy. Enodia prices its plans by the rates of
what is played (placement.budget), unless --budget fixed; no other policy knows prices.

The processor must have been idle, or at work that is niced and gives way, for 25 % of the steps after
warm-up: then waiting decides how long a step takes, not this machine. A run where it was not does
not count, and the exit code is 1. Each run is compared with one on links without limit and with next to no computing, of the same plans,
counts and bytes, or else the exit code is 1 too."""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("ENODIA_PROGRAM", str(ROOT / "build/enodia"))
NODES, RANKS_PER_NODE = 4, 4
SHRINK = 16
IDLE = 0.25  # of the processor's time, at least
SEQUENCES, CHOSEN = 16, 2  # of a rank
# Expert width, and tokens of a sequence: 16 * 64 * 2 copies are 1/16 of 4096 * 8, 16 * 16 * 2 of 4096 * 2.
SHAPES = {"deepseek-v3": (2048 // SHRINK, 64), "mixtral": (14336 // SHRINK, 16)}
PLANNED = ("replicas", "imbalance", "load", "bytes", "dropped_tokens", "plan_hash")  # the same at any speed
POLICIES = "owners,replicate_all,fastermoe,hecate,eplb,laer,ultraep,enodia"
WITHOUT_SLOTS = ("owners", "replicate_all", "fastermoe")  # know no limit

def training(options, shape, experts):
    """The configuration as JSON, which is YAML."""
    width, length = SHAPES[shape]
    return json.dumps({
        "model": {"hidden_size": options.hidden, "num_hidden_layers": options.layers,
                  "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": options.hidden // 4,
                  "moe_intermediate_size": width, "num_experts": experts,
                  "num_experts_per_tok": CHOSEN, "max_position_embeddings": length},
        "router": {"aux_loss_coef": 0}, "optim": {"lr": 1e-3}, "data": {"train": "text"},
        "train": {"steps": options.steps, "micro_batch_size": SEQUENCES, "sequence_length": length,
                  "global_batch_size": SEQUENCES * NODES * RANKS_PER_NODE},
        "parallel": {"bucket_bytes": 2**21 // (SHRINK * 2), "chunk_bytes": 2**20 // 8},
        "run": {"progress": "thread", "tensorboard": False, "timeout_s": 600}}, indent=1)


def bits_per_second(rate):
    for unit, factor in (("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)):
        if rate.endswith(unit):
            return float(rate[:-len(unit)]) * factor
    sys.exit(f"emulated_cluster: --rate must be like 100mbit, not {rate}")


def machine(name):
    """The numbers of a cluster file."""
    lines = (ROOT / f"configs/clusters/{name}.yaml").read_text().splitlines()
    return {key: float(value) for key, value in
            (line.split(": ") for line in lines if line and not line.startswith("#"))}


def link_bytes(name):
    """Bytes a second of the part of a node's link that belongs to this many ranks."""
    numbers = machine(name)
    return numbers["between_gb_s"] * 1e9 * RANKS_PER_NODE / numbers["ranks_per_node"]


def dilation(name, rate):
    return link_bytes(name) / (bits_per_second(rate) / 8) * SHRINK * 2


def busy_and_all():
    """Ticks of all processors: at work that gives way to nobody, and all."""
    numbers = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    _user, niced, _system, idle, for_disks, *_ = numbers
    return sum(numbers) - niced - idle - for_disks, sum(numbers)


class Bench:
    def __init__(self, options, shape, folder):
        self.options, self.shape, self.folder = options, shape, folder
        self.unshaped = {}
        self.complaints = []
        self.runs = 0
        self.counts = Path(options.counts).resolve() if options.counts else self.generate()
        self.write_inputs()

    def enodia(self, *words):
        subprocess.run([PROGRAM, *map(str, words)], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, cwd=self.folder)

    def generate(self):
        self.enodia("simulate", "--preset", self.options.preset, "--nodes", NODES,
                    "--ranks-per-node", RANKS_PER_NODE, "--policy", "owners", "--write-trace",
                    "counts.safetensors")
        return self.folder / "counts.safetensors"

    def write_inputs(self):
        """Any text will do, for counts decide where it goes."""
        with open(self.counts, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        experts = header["counts"]["shape"][3]
        (self.folder / "text.txt").write_text("".join(f"{n * n} " for n in range(200000)))
        self.enodia("prepare", "--input", "text.txt", "--output", "text", "--tokenizer", "byte")
        (self.folder / "config.yaml").write_text(training(self.options, self.shape, experts))

    def write_rates(self, name):
        """A cluster file of what is played, in the time that passes here."""
        rate = self.options.rate
        file = self.folder / f"{name}.yaml"
        file.write_text(f"nodes: {NODES}\nranks_per_node: {RANKS_PER_NODE}\n"
                        f"tflops: {machine(name)['tflops'] / dilation(name, rate)}\nmemory_gb: 1\n"
                        f"inside_gb_s: 1\nbetween_gb_s: {bits_per_second(rate) / 8e9}\n")
        return file

    def run(self, name, policy, slots, rate, time_dilation):
        """Trains; what was measured of the steps after warm-up."""
        self.runs += 1
        run = self.folder / f"run{self.runs}"
        values = {"run.dir": run.name, "router.forced_counts": self.counts,
                  "placement.policy": policy, "placement.extra_slots": slots,
                  "train.virtual_compute": ROOT / f"configs/clusters/{name}.yaml",
                  "train.time_dilation": time_dilation,
                  "placement.budget": "fixed" if self.options.budget == "fixed" else self.write_rates(name)}
        values.update(text.split("=", 1) for text in self.options.set)
        command = [str(ROOT / "scripts/netcluster.sh"), "--nodes", str(NODES), "--ranks-per-node",
                   str(RANKS_PER_NODE), "--rate", rate, "--counters", f"{run.name}.json", "--",
                   PROGRAM, "train", "config.yaml",
                   *(word for key, value in values.items() for word in ("--set", f"{key}={value}"))]
        log = self.folder / f"{run.name}.log"
        with open(log, "wb") as output, subprocess.Popen(
                command, cwd=self.folder, stdout=output, stderr=output) as job:
            try:
                idle = self.watch(job, run / "metrics.jsonl")
            finally:
                job.terminate()  # nothing but when this script is stopped
        if job.returncode == 77:
            print(log.read_text(), file=sys.stderr)
            sys.exit(77)
        if job.returncode != 0:
            sys.exit(f"emulated_cluster: {policy} failed:\n{log.read_text()}")
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        links = json.loads((self.folder / f"{run.name}.json").read_text())["links"]
        return {"policy": policy, "slots": slots, "records": records, "idle": idle, "links": links,
                "after": records[self.options.warm_up:]}

    def watch(self, job, metrics):
        """Part of the processor's time that was idle from the end of warm-up to the last step."""
        marks = []
        while job.poll() is None:
            done = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
            if len(marks) == 0 and done >= self.options.warm_up:
                marks.append(busy_and_all())
            if len(marks) == 1 and done >= self.options.steps:
                marks.append(busy_and_all())
            time.sleep(0.1)
        if len(marks) < 2:
            return 0.0
        (busy, total), (busy_then, total_then) = marks
        return 1 - (busy_then - busy) / max(1, total_then - total)

    def complain(self, text):
        self.complaints.append(text)
        print(f"emulated_cluster: {text}", file=sys.stderr, flush=True)

    def check(self, run, name):
        """Says where a run did not do the same as without limits, or kept the processor busy."""
        key = run["policy"], run["slots"], name if run["policy"] == "enodia" else ""
        who = f"{name}, {run['policy']} with {run['slots']} slots"
        if key not in self.unshaped:
            self.unshaped[key] = self.run(name, *key[:2], "none", 100)  # long enough for its threads to wait idly
        free = self.unshaped[key]
        for one, other in zip(run["records"], free["records"]):
            for field in PLANNED:
                if one[field] != other[field]:
                    self.complain(f"{who}: step {one['step']} has {field} {one[field]}, but "
                                  f"{other[field]} on links without limit")
        for link, other in zip(run["links"], free["links"]):
            # Not the same packets: acknowledgements, and what was lost and sent again.
            if abs(link["sent_bytes"] / other["sent_bytes"] - 1) > 0.05:
                self.complain(f"{who}: node {link['node']} sent {link['sent_bytes']} bytes, but "
                              f"{other['sent_bytes']} on links without limit")
        run["counted"] = run["idle"] >= IDLE
        if not run["counted"]:
            self.complain(f"{who}: does not count, the processor was idle for only "
                          f"{100 * run['idle']:.0f} %; lower --rate, or stop other work")


def median(run, read):
    return statistics.median(read(record) for record in run["after"])


def step_ms(run):
    return median(run, lambda r: r["step_ms"])


def row(run, first, steps):
    times = [record["step_ms"] for record in run["after"]]
    exposed = " · ".join(f"{median(run, lambda r, k=kind: r['time_ms']['exposed'][k]):.0f}"
                         for kind in ("tokens", "replicas", "gradients", "control"))
    busiest = max(max(link["sent_bytes"], link["received_bytes"]) for link in run["links"])
    all_links = sum(link["sent_bytes"] for link in run["links"])
    slots = "-" if run["policy"] in WITHOUT_SLOTS else run["slots"]
    return (f"| `{run['policy']}` | {slots} | {step_ms(run):.0f} [{min(times):.0f}, {max(times):.0f}] | "
            f"{step_ms(first) / step_ms(run):.2f} | {median(run, lambda r: r['time_ms']['compute']):.0f} · "
            f"{exposed} | {all_links / steps / 1e6:.1f} · {busiest / steps / 1e6:.1f} | "
            f"{median(run, lambda r: r['imbalance']['rank']):.2f} · {median(run, lambda r: r['replicas']):.0f} | "
            f"{100 * run['idle']:.0f} %{'' if run['counted'] else ' (not counted)'} |")


def report(bench, name, runs):
    options = bench.options
    best = {}
    for run in runs:
        old = best.get(run["policy"])
        if old is None or step_ms(run) < step_ms(old):
            best[run["policy"]] = run
    first = "owners" if "owners" in best else runs[0]["policy"]
    numbers = machine(name)
    balance = numbers["tflops"] * 1e12 * RANKS_PER_NODE / link_bytes(name)
    text = [f"{name}, {bench.shape}: {balance / 1000:.1f} thousand operations a byte between nodes, links {options.rate}, "
            f"time_dilation {dilation(name, options.rate):.0f}", "",
            f"| policy | slots | ms a step [least, most] | times {first} | compute · tokens · replicas · gradients "
            "· control, ms | MB a step: links · busiest | ranks · replicas | idle |", "| --- " * 8 + "|"]
    chosen = runs if options.all else sorted(best.values(), key=step_ms)
    text += [row(run, best[first], options.steps) for run in chosen]
    if "enodia" in best:
        enodia = step_ms(best["enodia"])
        rivals = {policy: step_ms(run) / enodia for policy, run in best.items()
                  if policy not in ("enodia", "owners")}
        if "owners" in best:
            text += ["", f"enodia: {step_ms(best['owners']) / enodia:.2f} times as fast as owners."]
        if rivals:
            nearest = min(rivals, key=rivals.get)
            text += ["", f"enodia: {rivals[nearest]:.2f} times as fast as the best rival, {nearest}."]
    return "\n".join(text) + "\n", best


def keep(options, text, kept):
    """What there is so far, for a run takes long."""
    if options.output:
        Path(options.output).write_text(text)
    if options.records:
        Path(options.records).write_text(json.dumps(kept))


def run_all(bench, name):
    """Every policy with every number of slots on one machine."""
    options, runs = bench.options, []
    slots = [int(text) for text in options.slots.split(",")]
    for policy in options.policies.split(","):
        for number in slots[:1] if policy in WITHOUT_SLOTS else slots:
            run = bench.run(name, policy, number, options.rate, dilation(name, options.rate))
            run["counted"] = run["idle"] >= IDLE
            if not options.no_check:
                bench.check(run, name)
            runs.append(run)
            print(f"{name} {bench.shape} {policy} {number}: {step_ms(run):.0f} ms, idle {100 * run['idle']:.0f} %",
                  file=sys.stderr, flush=True)
    return runs


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--counts", help="recorded routing of 16 ranks, safetensors")
    parser.add_argument("--preset", default="drifting", help="made-up routing without --counts")
    parser.add_argument("--machines", default="p3dn,p4d,dgx-h100")
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--budget", choices=["played", "fixed"], default="played")
    parser.add_argument("--policies", default=POLICIES)
    parser.add_argument("--slots", default="1,2,4", help="tried for each policy that knows a limit")
    parser.add_argument("--rate", default="100mbit")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=2, help="steps that do not count")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--all", action="store_true", help="show each number of slots, not the best")
    parser.add_argument("--no-check", action="store_true", help="no runs without limits")
    parser.add_argument("--output", help="file for the tables; stdout has them anyway")
    parser.add_argument("--records", help="file for all that was measured, JSON")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("emulated_cluster: stopped"))
    text, ratios, kept, complaints = "", [], {}, []
    for shape in options.shapes.split(","):
        with tempfile.TemporaryDirectory(prefix="emulated_cluster.") as place:
            bench = Bench(options, shape, Path(place))
            for name in options.machines.split(","):
                runs = run_all(bench, name)
                part, best = report(bench, name, runs)
                print(part, flush=True)
                text += part + "\n"
                kept[f"{name}, {shape}"] = runs
                keep(options, text, kept)
                rivals = [step_ms(run) for policy, run in best.items() if policy not in ("enodia", "owners")]
                if "enodia" in best and rivals:
                    ratios.append(min(rivals) / step_ms(best["enodia"]))
            complaints += bench.complaints
    if ratios:
        last = f"Geometric mean against the best rival of each: {statistics.geometric_mean(ratios):.2f}.\n"
        print(last)
        text += last
    keep(options, text, kept)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
