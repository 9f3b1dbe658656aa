"""Latency from an open loop: requests go out by the clock, at shares of the slower side's peak."""

import statistics

from load import h2load, wrk
from rows import up, url

SIDES = {"gatherd": "HTTPS", "nginx + Lua": "NGINX"}
SHARES = {0.2: None, 0.5: 0.8, 0.8: 0.8}
#: So many that none has to wait for its own earlier answer.
CONNECTIONS = 100


def open_loop(site, arguments):
    targets = {side: url(site, port, "/api/all") for side, port in SIDES.items()}
    peaks = {side: wrk(target, duration=arguments.seconds).rate for side, target in targets.items()}
    slower = min(peaks.values())
    print("Latency of `all` with 2 branches at shares of the slower side's peak; medians.\n")
    print(f"Peaks: {', '.join(f'{side} {peak:.0f}/s' for side, peak in peaks.items())}\n")
    print("| share | requests/s | side | p50 ms | p99 ms | p99 ratio | goal |")
    print("|---|---|---|---|---|---|---|")
    for share, goal in SHARES.items():
        results = {side: [] for side in SIDES}
        for _ in range(arguments.rounds):
            for side, target in targets.items():
                results[side].append(measure(target, slower * share, arguments.seconds))
        print_share(share, slower * share, goal, results)
    print(flush=True)


def measure(target, rate, seconds):
    return h2load(target, duration=seconds, connections=CONNECTIONS, http1=True, rate=rate)


def print_share(share, rate, goal, results):
    ours, peers = results["gatherd"], results["nginx + Lua"]
    ratio = statistics.median(one.p99 / other.p99 for one, other in zip(ours, peers))
    told = "report" if not goal else f"≤ {goal:.1f}" + (" **missed**" if ratio > goal else "")
    for side, loads in results.items():
        errors = sum(load.errors for load in loads)
        note = f" ({errors} errors)" if errors else ""
        p50 = statistics.median(load.p50 for load in loads) * 1e3
        p99 = statistics.median(load.p99 for load in loads) * 1e3
        first = side == "gatherd"
        print(
            f"| {f'{share:.0%}' if first else ''} | {f'{rate:.0f}' if first else ''} | {side}{note} | "
            f"{p50:.2f} | {p99:.2f} | {up(ratio) if first else ''} | {told if first else ''} |"
        )


ROWS = {"latency": open_loop}
