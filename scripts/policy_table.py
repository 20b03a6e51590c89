#!/usr/bin/env python3
"""Writes the tables of docs/placement.md that compare placement policies.

Usage: policy_table.py [--trace RECORDING] [--check] [PROGRAM]

Replaces what lies between <!-- NAME --> and <!-- end of NAME -->: the table of made-up routing, and
with --trace those of a recording of 16 ranks, too. --check writes nothing; it exits 1 when the page
would change, or when some policy is at least as good as `enodia` in balance, tokens between nodes
and replicas at once. PROGRAM is build/enodia if not given.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/placement.md"
PRESETS = ("uniform", "zipf", "drifting", "bursty", "phase_shift", "hot_nodes")
RANKS = 16


def replay(program, nodes, slots, *routing):
    """The policies' summaries, by name."""
    command = [program, "simulate", *routing, "--nodes", str(nodes), "--ranks-per-node",
               str(RANKS // nodes), "--slots", str(slots), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"policy_table: {' '.join(map(str, command))} failed: {done.stderr.strip()}")
    return {row["policy"]: row for row in json.loads(done.stdout)}


def cell(row):
    return (f"{row['mean_imbalance']:.3f} ({row['p95_imbalance']:.3f}) · "
            f"{100 * row['inter_node']:.1f} % · {row['replicas']:.1f}")


def table(corner, columns):
    """Markdown of {heading: {policy: summary}}."""
    lines = [f"| {corner} | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for policy in next(iter(columns.values())):
        cells = " | ".join(cell(rows[policy]) for rows in columns.values())
        lines.append(f"| `{policy}` | {cells} |")
    return "\n".join(lines)


def rivals(columns):
    """Sentences about policies that lose nothing against enodia."""
    goals = ("mean_imbalance", "inter_node", "replicas")
    return [f"{heading}: {name} ({cell(row)}) is at least as good as enodia ({cell(rows['enodia'])})"
            for heading, rows in columns.items() for name, row in rows.items()
            if name not in ("enodia", "lp") and all(row[goal] <= rows["enodia"][goal] for goal in goals)]


def replaced(page, name, text):
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    if begin not in page or end not in page:
        sys.exit(f"policy_table: {PAGE} lacks the markers of '{name}'; put back {begin.strip()} "
                 f"and {end.strip()}")
    before, rest = page.split(begin, 1)
    return before + begin + text + end + rest.split(end, 1)[1]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    arguments.add_argument("--trace", help="a recording of 16 ranks")
    arguments.add_argument("--check", action="store_true", help="write nothing")
    arguments.add_argument("program", nargs="?", default=str(ROOT / "build/enodia"))
    options = arguments.parse_args()

    tables = {"made-up routing": ("two nodes of 8, 2 slots", {
        f"`{preset}`": replay(options.program, 2, 2, "--preset", preset) for preset in PRESETS})}
    if options.trace:
        for nodes, words in ((2, "two nodes of 8"), (4, "four nodes of 4")):
            tables[f"recorded routing, {words}"] = (words, {
                f"slots {slots}": replay(options.program, nodes, slots, "--trace", options.trace)
                for slots in (1, 2, 4)})

    page = PAGE.read_text(encoding="utf-8")
    new = page
    found = []
    for name, (corner, columns) in tables.items():
        new = replaced(new, name, table(corner, columns))
        found += rivals(columns)
    for sentence in found:
        print(f"policy_table: {sentence}", file=sys.stderr)
    if options.check and new != page:
        print(f"policy_table: {PAGE} is not what the program says; run scripts/policy_table.py",
              file=sys.stderr)
    if not options.check:
        PAGE.write_text(new, encoding="utf-8")
    sys.exit(1 if found or (options.check and new != page) else 0)


if __name__ == "__main__":
    main()
