#!/usr/bin/env python3
"""Compares the plans of placement policies with the best there are.

Usage: placement_oracle.py [PROGRAM [POLICY...]]

Solves, with HiGHS through SciPy, an integer program on the exact counts of small made-up micro-batches:
which ranks hold a replica of which expert, at most --slots each, and how many tokens each copy gets, so
that the plan costs least by the prices of Enodia's search (PlanPrices in
parallel/placement/replica_search.h). Prints how much more than the proven bound the plans of each policy
cost; exits 1 when a plan costs less, for then the program or the price of a plan is wrong, and 77
without SciPy. The search ends at a number of nodes, not at a time, so it comes to the same again.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_matrix
except ImportError:
    print("placement_oracle: SciPy is missing; scripts/setup.sh --transformers installs it")
    sys.exit(77)

NODES, RANKS_PER_NODE, SLOTS = 2, 2, 2
RANKS = NODES * RANKS_PER_NODE
PRESETS = ("zipf", "hot_nodes")
SAMPLES = range(1, 4)
STRAGGLING, INTER_NODE, REPLICA, GOAL = 1.5, 0.5, 0.00175, 1004 + 16 // SLOTS
NODE_LIMIT = 2000


def read_counts(path):
    """[samples, layers, ranks, experts]"""
    file = path.read_bytes()
    length = int.from_bytes(file[:8], "little")
    shape = json.loads(file[8:8 + length])["counts"]["shape"]
    return np.frombuffer(file[8 + length:], dtype="<i4").reshape(shape).astype(np.int64)


def goal_of(counts):
    return counts.sum() * GOAL // (1000 * RANKS) + 1


def cost_of(plan, counts):
    """Of an emitted plan: stragglers, tokens between nodes, replicas that are sent."""
    load, inter_node, replicas = np.zeros(RANKS), 0, 0
    on_node = counts.reshape(NODES, RANKS_PER_NODE, -1).sum(axis=1)
    for expert, quotas in enumerate(plan["quotas"]):
        room = np.zeros(NODES)
        for rank, quota in zip([plan["owners"][expert], *plan["replicas"][expert]], quotas, strict=True):
            load[rank] += quota
            room[rank // RANKS_PER_NODE] += quota
        inter_node += np.maximum(on_node[:, expert] - room, 0).sum()
        replicas += len(set(plan["predicted"][expert]) | set(plan["replicas"][expert]))
    return (STRAGGLING * RANKS * max(0, load.max() - goal_of(counts)) + INTER_NODE * inter_node +
            REPLICA * counts.sum() * replicas)


class Program:
    """Variables: held[e, r] in {0, 1}, quota[e, r], crossing[e, n], beyond, in this order."""

    def __init__(self, counts, owners):
        self.counts, self.owners = counts, owners
        self.experts = counts.shape[1]
        self.on_node = counts.reshape(NODES, RANKS_PER_NODE, -1).sum(axis=1)
        self.rows, self.low, self.high = [], [], []
        self.pairs = self.experts * RANKS
        self.size = 2 * self.pairs + self.experts * NODES + 1

    def held(self, expert, rank):
        return expert * RANKS + rank

    def quota(self, expert, rank):
        return self.pairs + self.held(expert, rank)

    def crossing(self, expert, node):
        return 2 * self.pairs + expert * NODES + node

    def require(self, terms, low, high):
        self.rows.append(terms)
        self.low.append(low)
        self.high.append(high)

    def constrain(self):
        goal = goal_of(self.counts)
        for expert, tokens in enumerate(self.counts.sum(axis=0)):
            self.require([(self.quota(expert, r), 1) for r in range(RANKS)], tokens, tokens)
            for rank in range(RANKS):
                self.require([(self.quota(expert, rank), 1), (self.held(expert, rank), -tokens)],
                             -np.inf, 0)
            for node in range(NODES):
                ranks = range(node * RANKS_PER_NODE, (node + 1) * RANKS_PER_NODE)
                self.require([(self.crossing(expert, node), 1)] +
                             [(self.quota(expert, r), 1) for r in ranks], self.on_node[node, expert], np.inf)
        for rank in range(RANKS):
            self.require([(self.quota(e, rank), 1) for e in range(self.experts)] + [(self.size - 1, -1)],
                         -np.inf, goal)
            self.require([(self.held(e, rank), 1) for e in range(self.experts)
                          if self.owners[e] != rank], 0, SLOTS)

    def bound(self):
        """No plan costs less."""
        self.constrain()
        cost, least = np.zeros(self.size), np.zeros(self.size)
        most = np.full(self.size, np.inf)
        most[:self.pairs] = 1
        cost[:self.pairs] = REPLICA * self.counts.sum()
        for expert, owner in enumerate(self.owners):
            cost[self.held(expert, owner)] = 0
            least[self.held(expert, owner)] = 1
        cost[2 * self.pairs:-1] = INTER_NODE
        cost[-1] = STRAGGLING * RANKS
        cells = [(row, at, value) for row, terms in enumerate(self.rows) for at, value in terms]
        rows, columns, values = zip(*cells, strict=True)
        matrix = coo_matrix((values, (rows, columns)), shape=(len(self.rows), self.size)).tocsr()
        integral = np.zeros(self.size)
        integral[:self.pairs] = 1
        found = milp(cost, integrality=integral, bounds=Bounds(least, most),
                     constraints=LinearConstraint(matrix, self.low, self.high),
                     options={"node_limit": NODE_LIMIT})
        if found.mip_dual_bound is None:
            sys.exit(f"placement_oracle: HiGHS found no bound: {found.message}")
        return found.mip_dual_bound


def plans_of(program, policy, preset, folder):
    plans, trace = folder / "plans.jsonl", folder / "trace.safetensors"
    subprocess.run([program, "simulate", "--preset", preset, "--policy", policy, "--nodes", str(NODES),
                    "--ranks-per-node", str(RANKS_PER_NODE), "--slots", str(SLOTS), "--json",
                    "--emit-plans", plans, "--write-trace", trace],
                   check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in plans.read_text(encoding="utf-8").splitlines()]
    return {(plan["sample"], plan["layer"]): plan for plan in lines}, read_counts(trace)


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "build/enodia"
    policies = sys.argv[2:] or ["enodia", "ultraep_global", "hecate", "flexmoe", "symi"]
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        for preset in PRESETS:
            bounds = {}
            for policy in policies:
                plans, counts = plans_of(program, policy, preset, Path(name))
                spent = best = 0.0
                for at in [(sample, 0) for sample in SAMPLES]:
                    if at not in bounds:
                        bounds[at] = Program(counts[at], plans[at]["owners"]).bound()
                    cost = cost_of(plans[at], counts[at])
                    wrong += cost < bounds[at] - 1e-6 * bounds[at] - 1
                    spent, best = spent + cost, best + bounds[at]
                print(f"{preset:12s} {policy:16s} cost {spent:9.0f}, {spent / best:6.2f} of the least possible")
    if wrong:
        print(f"placement_oracle: {wrong} plans cost less than the least possible")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
