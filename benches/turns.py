#!/usr/bin/env python3
"""A benchmark of this tree and of another commit, in turns.

    benches/turns.py COMMIT ROUNDS BENCH [ARGUMENT ...]

Builds the benchmark here and in a worktree of the commit, runs each ROUNDS times, whichever
came last first in the next round, and prints what they print with every figure as its ratio,
here to there: the median of the rounds, the least and the greatest. Lines that only one of the
two prints are left out. An older benchmark is run as it was, on the router that it was for, and
with the plugins that it builds: what is compiled of the commit is in its own worktree, since cargo
takes two checkouts in one folder for one another.
"""

import json
import os
import re
import statistics
import subprocess
import sys

NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
# What a figure's unit makes of it, so that 900 µs and 1.1 ms can be compared.
UNITS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "kB": 1e3, "MB": 1e6}


def output_of(command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def worktree(commit, target):
    """A tree of the commit beside what is built, kept for the next time."""
    commit = output_of(["git", "rev-parse", "--short", commit + "^{commit}"]).strip()
    folder = os.path.join(target, "turns", commit)
    if not os.path.exists(folder):
        subprocess.run(["git", "worktree", "add", "--detach", folder, commit], check=True)
    return folder


def build(folder, target, bench):
    """Builds the benchmark; gives its program."""
    command = ["cargo", "bench", "--bench", bench, "--no-run", "--message-format", "json"]
    environment = dict(os.environ, CARGO_TARGET_DIR=target)
    messages = output_of(command, cwd=folder, env=environment).splitlines()
    artifacts = [json.loads(line) for line in messages]
    return next(
        artifact["executable"]
        for artifact in artifacts
        if artifact.get("target", {}).get("name") == bench and artifact.get("executable")
    )


def figures(text):
    """What is printed: the figures of each line, by the line without them."""
    lines = {}
    for line in text.splitlines():
        found = []
        for number in NUMBER.finditer(line):
            unit = re.match(r" ?(ns|µs|ms|s|kB|MB)\b", line[number.end():])
            factor = UNITS[unit.group(1)] if unit else 1.0
            found.append(float(number.group().replace(",", "")) * factor)
        shape = re.sub(r"#( ?)(ns|µs|ms|s|kB|MB)\b", "#", NUMBER.sub("#", line))
        if found:
            lines.setdefault(shape, found)
    return lines


def main(commit, rounds, bench, *arguments):
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.abspath("target")
    there = worktree(commit, target)
    own = os.path.join(there, "target")
    # A benchmark builds its plugins there, too.
    programs = {
        "here": (os.getcwd(), build(os.getcwd(), target, bench), os.environ),
        "there": (there, build(there, own, bench), dict(os.environ, CARGO_TARGET_DIR=own)),
    }
    results = {"here": [], "there": []}
    order = ["there", "here"]
    for number in range(int(rounds)):
        for side in order:
            folder, program, environment = programs[side]
            text = output_of([program, *arguments, "--bench"], cwd=folder, env=environment)
            print(f"--- round {number + 1}, {side}\n{text}", flush=True)
            results[side].append(figures(text))
        order.reverse()

    print(f"--- here to {commit}, {rounds} rounds in turns: median (least to greatest)")
    for shape in results["here"][0]:
        if not all(shape in result for side in results.values() for result in side):
            continue
        pairs = [
            list(zip(here[shape], old[shape]))
            for here, old in zip(results["here"], results["there"])
        ]
        words = []
        for at in range(min(map(len, pairs))):
            ratios = [here / old for here, old in (pair[at] for pair in pairs) if old]
            if ratios:
                middle = statistics.median(ratios)
                words.append(f"{middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"{shape}: {', '.join(words)}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
