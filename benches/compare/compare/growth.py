"""What grows with what: branches, gathers in flight; and what a call costs beside a bare client."""

import resource
import statistics
import threading
import time

from clients import allow_descriptors
from load import h2load, wrk
from machine import SERVER_CORE, Meter, resident_bytes
from rows import up, url

BRANCHES = {2: "/api/all", 8: "/api/all8", 32: "/api/all32", 64: "/api/all64"}
UPSTREAM_SECONDS = 0.25


def branches(site, arguments):
    each = {count: per_request(site, path, arguments) / count for count, path in BRANCHES.items()}
    print("Processor time for each branch, in microseconds; medians.\n")
    print("| branches | for each branch | of that with 2 | goal |")
    print("|---|---|---|---|")
    for count, microseconds in each.items():
        ratio = microseconds / each[2]
        goal = "≤ 1.20" + (" **missed**" if ratio > 1.2 else "") if count == 64 else ""
        print(f"| {count} | {microseconds:.1f} | {up(ratio)} | {goal} |")
    print(flush=True)


def per_request(site, path, arguments):
    """Microseconds of ours, the median of some runs."""
    taken = []
    for _ in range(arguments.rounds):
        meter = Meter(site.pids("gatherd"))
        load = wrk(url(site, "HTTPS", path), duration=arguments.seconds, connections=16)
        taken.append(meter.stop()[0] / load.requests * 1e6)
    return statistics.median(taken)


def bare(site, arguments):
    """wrk is a bare epoll client: what it needs for a call of the same upstream, on the same core."""
    target = f"http://127.0.0.1:{site.ports['UPSTREAM']}/"
    taken = []
    for _ in range(arguments.rounds):
        before = children_seconds()
        load = wrk(target, duration=arguments.seconds, core=SERVER_CORE)
        taken.append((children_seconds() - before) / load.requests * 1e6)
    client = statistics.median(taken)
    few, many = (per_request(site, BRANCHES[count], arguments) for count in (2, 8))
    ours = (many - few) / 6
    print("What one more call costs, in microseconds of processor time; medians.\n")
    print("| gatherd, (8 branches - 2) / 6 | bare epoll client (wrk) | ratio | goal |")
    print("|---|---|---|---|")
    goal = "≤ 1.40" + (" **missed**" if ours / client > 1.4 else "")
    print(f"| {ours:.1f} | {client:.1f} | {up(ours / client)} | {goal} |\n", flush=True)


def children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def in_flight(site, arguments):
    """Closed loops of so many connections or streams: each has a gather in flight all the time."""
    allow_descriptors()
    cases = [
        ("1,500, HTTP/1", "/api/slow", {"connections": 1500, "http1": True}, 90),
        ("5,000, HTTP/1", "/api/slow", {"connections": 5000, "http1": True}, 200),
        ("5,000, HTTP/2 on both sides", "/api/slow2", {"connections": 50, "streams": 100}, 120),
    ]
    print(f"Gathers in flight at an upstream that takes {UPSTREAM_SECONDS * 1e3:.0f} ms.\n")
    print("| in flight | gathers/s | errors | p50 ms | p99 ms | most memory MB | goal |")
    print("|---|---|---|---|---|---|---|")
    for name, path, options, most in cases:
        # So long that every connection is there, whatever it cost.
        # Anew, since memory that was used once need not be given back.
        site.restart("gatherd")
        options = {**options, "duration": arguments.seconds, "warm_up": 6}
        load, memory = watched(site, url(site, "HTTPS", path), options)
        met = not load.errors and memory <= most
        goal = f"no error, ≤ {most} MB"
        if "1,500" in name:
            met = met and load.p99 <= UPSTREAM_SECONDS + 0.01
            goal += ", p99 ≤ 260 ms"
        print(
            f"| {name} | {load.rate:.0f} | {load.errors} | {load.p50 * 1e3:.0f} | {load.p99 * 1e3:.0f} | "
            f"{memory:.0f} | {goal}{'' if met else ' **missed**'} |"
        )
    print(flush=True)


def watched(site, target, options):
    """A load, and the most memory that the server took meanwhile."""
    most, done = [0], threading.Event()

    def watch():
        while not done.is_set():
            most[0] = max(most[0], resident_bytes(site.pids("gatherd")))
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    load = h2load(target, **options)
    done.set()
    watcher.join()
    return load, most[0] / 2**20


ROWS = {"branches": branches, "bare": bare, "in-flight": in_flight}
