"""Runs the comparison and prints its tables; `run --help` says how."""

import argparse
import signal
import statistics
import sys
from pathlib import Path

import growth
import latency
import memory
import trouble
from machine import Meter
from programs import new_site
from rows import ROWS, up

#: Rows that are not processor time for each request, by name.
OTHERS = {**memory.ROWS, **latency.ROWS, **growth.ROWS, **trouble.ROWS}


def main():
    arguments = parse()
    if arguments.list:
        print("\n".join([row.name for row in ROWS] + list(OTHERS)))
        return
    wanted = arguments.rows.split(",") if arguments.rows else [row.name for row in ROWS] + list(OTHERS)
    unknown = set(wanted) - {row.name for row in ROWS} - set(OTHERS)
    if unknown:
        sys.exit(f"no such row: {', '.join(sorted(unknown))}; --list tells them")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    with new_site(arguments.binary or built_binary()) as site:
        compare(site, wanted, arguments)


def parse():
    parser = argparse.ArgumentParser(prog="run", description=__doc__)
    parser.add_argument("--rows", help="only these, separated by commas")
    parser.add_argument("--rounds", type=int, default=5, help="how often each row runs (5)")
    parser.add_argument("--seconds", type=int, default=4, help="how long each time (4)")
    parser.add_argument("--binary", help="this gatherd, instead of building it")
    parser.add_argument("--list", action="store_true", help="the names of the rows")
    return parser.parse_args()


def built_binary():
    root = Path(__file__).parents[3]
    binaries = sorted(root.glob("target/*/release/gatherd"), key=lambda path: path.stat().st_mtime)
    return str(binaries[-1])


def compare(site, wanted, arguments):
    rows = [row for row in ROWS if row.name in wanted]
    site.start_upstream()
    site.start_gatherd()
    site.start_nginx()
    if any(row.name == "one-haproxy" for row in rows) or "idle-memory" in wanted:
        site.start_haproxy()
    if any(row.name == "flask" for row in rows):
        site.start_flask()
    if rows:
        print_rows(rows, run_rows(site, rows, arguments))
    for name in wanted:
        if name in OTHERS:
            OTHERS[name](site, arguments)


def run_rows(site, rows, arguments):
    """Every side of every row, `rounds` times, in turn."""
    results = {}
    for side in {(row.name, side) for row in rows for side in (row.ours, row.peer)}:
        side[1].load(site, 1)
    for _ in range(arguments.rounds):
        for row in rows:
            for side in (row.ours, row.peer):
                result = measure(site, side, arguments.seconds)
                results.setdefault((row.name, side.label), []).append(result)
    return results


def measure(site, side, seconds):
    pids = [pid for program in side.programs for pid in site.pids(program)]
    meter = Meter(pids)
    load = side.load(site, seconds)
    processes, core, _ = meter.stop()
    if load.errors:
        print(f"{side.label}: {load.errors} errors in {load.requests} requests", file=sys.stderr)
    return {
        "processes": processes / load.requests * 1e6,
        "core": core / load.requests * 1e6,
        "rate": load.rate,
        "p50": load.p50 * 1e3,
        "p99": load.p99 * 1e3,
    }


def print_rows(rows, results):
    print("Processor time for each request in microseconds; medians.\n")
    print("| row | side | processes | core | requests/s | p50 ms | p99 ms | ratio | core ratio | goal |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        ours, peer = (median(results[(row.name, side.label)]) for side in (row.ours, row.peer))
        pairs = zip(results[(row.name, row.ours.label)], results[(row.name, row.peer.label)])
        ratio = statistics.median(one["processes"] / other["processes"] for one, other in pairs)
        core = ours["core"] / peer["core"]
        goal = f"≤ {row.goal:.2f}" if row.goal else "report"
        verdict = "" if not row.goal or ratio <= row.goal else " **missed**"
        print(f"| {row.about} | {row.ours.label} | {cells(ours)} | {up(ratio)} | {up(core)} | {goal}{verdict} |")
        print(f"| | {row.peer.label} | {cells(peer)} | | | |")
    print(flush=True)


def median(results):
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


def cells(result):
    return (
        f"{result['processes']:.1f} | {result['core']:.1f} | {result['rate']:.0f} | "
        f"{result['p50']:.2f} | {result['p99']:.2f}"
    )


if __name__ == "__main__":
    main()
