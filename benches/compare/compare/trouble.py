"""What happens when things go wrong: too much load, an upstream that hangs, clients that leave."""

import asyncio
import os
import signal
import subprocess
import tempfile
import time

from clients import ask_and_leave, allow_descriptors, context
from load import h2load
from machine import LOAD_CORE, on_core
from rows import url

HANG = 30
LEAVERS = 500


def overload(site, arguments):
    """At most 200 gathers at once, of 250 ms each: 800 a second. Ten times as many are offered.

    The peak is that of 200 clients who ask again when they have their answer: h2load's clients that go
    by the clock begin together, and so offer all of a second at once.
    """
    allow_descriptors()
    site.start_small()
    target = url(site, "SMALL", "/api/slow")
    peak = goodput(target, arguments.seconds, connections=200)
    flood = goodput(target, arguments.seconds, connections=1000, rate=8000)
    share = flood[0] / peak[0]
    print("Goodput with max_in_flight = 200 and an upstream that takes 250 ms (800/s at most).\n")
    print("| offered | answered 200 a second | of the peak | p99 of refusals ms | goal |")
    print("|---|---|---|---|---|")
    print(f"| by 200 clients | {peak[0]:.0f} | | | |")
    missed = "" if share >= 0.9 else " **missed**"
    print(f"| 10x | {flood[0]:.0f} | {share:.2f} | {flood[1]:.1f} | ≥ 0.90{missed} |\n", flush=True)


def goodput(target, duration, **options):
    """Answers a second that are worth something, and how long refusals took (p99, ms)."""
    load = h2load(target, duration=duration, http1=True, warm_up=3, **options)
    refused = sorted(took for status, took in load.answers if status == 503)
    slowest = refused[int(len(refused) * 0.99)] / 1e3 if refused else 0
    return sum(status == 200 for status, _ in load.answers) / load.seconds, slowest


def recovery(site, _arguments):
    """The upstream is stopped for half a minute under 500 requests a second, and goes on."""
    target = url(site, "HTTPS", "/api/all?timeout=1000")
    with tempfile.TemporaryDirectory() as directory:
        log = f"{directory}/log"
        command = ["h2load", "--h1", "-c500", "--rps=1", f"-D{HANG + 20}", f"--log-file={log}", target]
        load = subprocess.Popen(on_core(LOAD_CORE, command), stdout=subprocess.DEVNULL)
        time.sleep(5)
        signal_all(site.pids("upstream"), signal.SIGSTOP)
        time.sleep(HANG)
        signal_all(site.pids("upstream"), signal.SIGCONT)
        went_on = time.time() * 1e6
        load.wait()
        with open(log) as lines:
            rows = [tuple(map(int, line.split()[:3])) for line in lines]
    failed = [start for start, status, _ in rows if start > went_on and status != 200]
    seconds = (max(failed) - went_on) / 1e6 if failed else 0
    after = [took for start, status, took in rows if start > went_on + seconds * 1e6 and status == 200]
    print(f"An upstream that hangs for {HANG} s under 500 requests a second, and then goes on.\n")
    print("| last failed answer after, s | p99 of answers from then on, ms | goal |")
    print("|---|---|---|")
    print(f"| {seconds:.2f} | {sorted(after)[int(len(after) * 0.99)] / 1e3:.1f} | report |\n", flush=True)


def signal_all(pids, number):
    for pid in pids:
        os.kill(pid, number)


def leaving(site, _arguments):
    """Clients that ask for two calls of 250 ms and are gone after 20 ms."""
    before = asyncio.run(calls(site))
    asyncio.run(leave(site.ports["HTTPS"]))
    each = (asyncio.run(calls(site)) - before) / LEAVERS
    print(f"{LEAVERS} clients that ask for 2 calls and leave after 20 ms.\n")
    print("| upstream calls for each request | goal |\n|---|---|")
    print(f"| {each:.2f} | report (2.00: each begun once, none more) |\n", flush=True)


async def leave(port):
    tls, gate = context(), asyncio.Semaphore(50)

    async def one():
        async with gate:
            await ask_and_leave(port, "/api/slow", tls, 0.02)

    await asyncio.gather(*(one() for _ in range(LEAVERS)))
    await asyncio.sleep(1)


async def calls(site):
    """How many slow calls the upstream has counted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.ports["UPSTREAM"])
    writer.write(b"GET /calls HTTP/1.0\r\n\r\n")
    text = await reader.read()
    writer.close()
    return int(text.rsplit(b"\r\n", 1)[1])


ROWS = {"overload": overload, "recovery": recovery, "leaving": leaving}
