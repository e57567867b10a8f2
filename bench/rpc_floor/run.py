#!/usr/bin/env python3
"""Measures every arrangement of the floor server in turn, pinned, and prints
Markdown tables of medians (and least to most).

    run.py BIN_DIR                          five rounds, about four minutes
    run.py BIN_DIR --rounds 1 --results F   one round, appended to F
    run.py BIN_DIR --rounds 0 --results F   only the tables of what F holds

A round visits, for each placement and load, all arrangements one after the
other; each has a server and a client process of its own, on loopback. Compare
figures of one table only, the p50 and the server's CPU before the throughput.
"""

import argparse
import collections
import json
import os
import platform
import statistics
import subprocess
import sys

ARRANGEMENTS = {
    "cq": ["--api=cq"],
    "callback": ["--api=callback"],
    "cq, other thread": ["--api=cq", "--complete=other-thread"],
    "callback, other thread": ["--api=callback", "--complete=other-thread"],
    "cq, watching": ["--api=cq", "--watch_cancel"],
    "callback, watching": ["--api=callback", "--watch_cancel"],
}
LOADS = {
    "unary, 1": ["--mode=unary", "--inflight=1"],
    "unary, 64": ["--mode=unary", "--inflight=64"],
    "stream, 1": ["--mode=stream", "--inflight=1"],
    "streams, 64": ["--mode=stream", "--inflight=64"],
}
PLACEMENTS = {"one core": (0, 0), "a core each": (0, 1)}  # server's, client's
FIGURES = {
    "p50_us": ("p50, µs", "{:.0f}"),
    "cpu_us": ("server CPU a call, µs", "{:.1f}"),
    "per_second": ("calls a second", "{:.0f}"),
}


def cpu_seconds(pid):
    """User and system time of all threads of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(bin_dir, arrangement, load, placement, seconds):
    server_core, client_core = PLACEMENTS[placement]
    command = ["taskset", "-c", str(server_core),
               os.path.join(bin_dir, "rpc_floor_server")]
    with subprocess.Popen(command + ARRANGEMENTS[arrangement], text=True,
                          stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as server:
        # Leaving this block closes the server's input, which ends it.
        port = server.stdout.readline().split()[1]
        before = cpu_seconds(server.pid)
        client = subprocess.run(
            ["taskset", "-c", str(client_core),
             os.path.join(bin_dir, "rpc_floor_client"),
             f"--target=127.0.0.1:{port}", f"--seconds={seconds}",
             *LOADS[load]],
            check=True, text=True, stdout=subprocess.PIPE)
        cpu = cpu_seconds(server.pid) - before
    seen = dict(word.split("=") for word in client.stdout.split())
    figures = {key: float(value) for key, value in seen.items()}
    figures["cpu_us"] = cpu * 1e6 / figures["calls"]
    return figures


def cells(number=0):
    """A round's cells in turn; who comes first changes with the round."""
    names = collections.deque(ARRANGEMENTS)
    names.rotate(-number)
    for placement in PLACEMENTS:
        for load in LOADS:
            for arrangement in names:
                # Only Acquire has the choice of watching.
                if "watching" not in arrangement or "unary" in load:
                    yield {"placement": placement, "load": load,
                           "arrangement": arrangement}


def one_round(number, bin_dir, seconds):
    return [{**cell, "seconds": seconds,
             **measure(bin_dir, seconds=seconds, **cell)}
            for cell in cells(number)]


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        models = [line.partition(":")[2].strip() for line in cpuinfo
                  if line.startswith("model name")]
    with open("/etc/os-release", encoding="utf-8") as release:
        names = dict(line.rstrip().partition("=")[::2] for line in release)
    system = names["PRETTY_NAME"].strip('"')
    return f"{len(models)} × {models[0]}, {system}, Linux {platform.release()}"


def print_tables(rows):
    found = collections.defaultdict(list)
    for row in rows:
        for figure in FIGURES:
            key = (figure, row["placement"], row["load"], row["arrangement"])
            found[key].append(row[figure])
    rounds = max(len(values) for values in found.values())
    lengths = "/".join(sorted({f"{row['seconds']:g}" for row in rows}))
    print(f"{machine()}; {rounds} rounds, {lengths} s a cell; "
          "median (least–most)")
    for figure, (title, form) in FIGURES.items():
        print(f"\n| {title} | " + " | ".join(ARRANGEMENTS) + " |")
        print("|---" * (len(ARRANGEMENTS) + 1) + "|")
        for load in LOADS:
            for placement in PLACEMENTS:
                line = [f"{load}, {placement}"]
                for arrangement in ARRANGEMENTS:
                    values = found.get((figure, placement, load, arrangement))
                    shown = "–"
                    if values:
                        middle, least, most = (
                            form.format(value) for value in
                            (statistics.median(values), min(values),
                             max(values)))
                        shown = f"{middle} ({least}–{most})"
                    line.append(shown)
                print("| " + " | ".join(line) + " |")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin_dir", help="where the two programs were built")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0,
                        help="measured time of a cell")
    parser.add_argument("--results", help="file of JSON lines to append to")
    options = parser.parse_args()

    rows = []
    if options.results and os.path.exists(options.results):
        with open(options.results, encoding="utf-8") as results:
            rows = [json.loads(line) for line in results]
    # What an earlier run appended counts as rounds already made.
    made = len(rows) // len(list(cells()))
    for number in range(made, made + options.rounds):
        fresh = one_round(number, options.bin_dir, options.seconds)
        rows += fresh
        if options.results:
            with open(options.results, "a", encoding="utf-8") as results:
                results.writelines(json.dumps(row) + "\n" for row in fresh)
    if not rows:
        sys.exit("nothing was measured")
    print_tables(rows)


if __name__ == "__main__":
    main()
