#!/usr/bin/env python3
# tests/bench/pairs.py
"""Times command A against command B in interleaved pairs and prints the ratio with its 95 % interval.

    pairs.py [-n PAIRS] [--prepare-a CMD] [--prepare-b CMD] [--json] 'COMMAND A' 'COMMAND B'

Each command is a process of its own, started without a shell unless it needs one; the order within a pair alternates, so that a machine that
slows down or warms up hits both alike. Wall and CPU seconds are the kernel's own accounting of the finished
process tree (wait4). The interval is that of the median by order statistics (binomial), which assumes nothing
about the shape of the noise. A preparation runs before every run of its command and is not counted.
"""
import argparse
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import time


def run(command: str) -> tuple[float, float]:
    """Wall and CPU seconds of one run; a failing command ends the benchmark."""
    start = time.perf_counter()
    words = shlex.split(command) if is_simple(command) else ["sh", "-c", command]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"pairs.py: `{command}` ended with {process.returncode}: {errors.decode(errors='replace')[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime


def is_simple(command: str) -> bool:
    return not any(c in command for c in "|&;<>(){}$`*?[\n") and "=" not in command.split(" ", 1)[0] and not command.startswith("cd ")


def prepare(command: str | None) -> None:
    if command:
        subprocess.run(["sh", "-c", command], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def interval(values: list[float]) -> tuple[float, float]:
    """The 95 % interval of the median: the widest-needed pair of order statistics."""
    values = sorted(values)
    n = len(values)
    for k in range(n // 2, -1, -1):
        outside = 2 * sum(math.comb(n, i) for i in range(k)) / 2**n
        if outside <= 0.05:
            return values[k], values[n - 1 - k]
    return values[0], values[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=11)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--prepare-a")
    parser.add_argument("--prepare-b")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("a")
    parser.add_argument("b")
    arguments = parser.parse_args()
    sides = {"a": (arguments.a, arguments.prepare_a), "b": (arguments.b, arguments.prepare_b)}
    taken: dict[str, list[tuple[float, float]]] = {"a": [], "b": []}
    for turn in range(-arguments.warmup, arguments.n):
        for side in ("ab" if turn % 2 == 0 else "ba"):
            command, before = sides[side]
            prepare(before)
            figures = run(command)
            if turn >= 0:
                taken[side].append(figures)
    result = {"pairs": arguments.n}
    for side in "ab":
        wall, cpu = zip(*taken[side])
        result[side] = {"command": sides[side][0], "wall_median_s": statistics.median(wall),
                        "cpu_median_s": statistics.median(cpu)}
    for name, index in (("wall", 0), ("cpu", 1)):
        ratios = [a[index] / b[index] if b[index] else math.nan for a, b in zip(taken["a"], taken["b"])]
        low, high = interval(ratios)
        result[f"{name}_ratio"] = {"median": statistics.median(ratios), "low": low, "high": high}
    if arguments.json:
        print(json.dumps(result))
        return
    for side in "ab":
        row = result[side]
        print(f"{side.upper()}: wall {row['wall_median_s']:.4f} s, cpu {row['cpu_median_s']:.4f} s: {row['command']}")
    for name in ("wall", "cpu"):
        row = result[f"{name}_ratio"]
        print(f"A/B {name}: {row['median']:.3f} (95 % {row['low']:.3f} to {row['high']:.3f}), {arguments.n} pairs")


if __name__ == "__main__":
    main()
