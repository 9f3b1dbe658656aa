"""Memory of idle connections: 3,000 past their handshake and one request each."""

import asyncio

from clients import allow_descriptors, ask, close_all, connect_many
from machine import resident_bytes
from rows import up

CONNECTIONS = 3000
GOAL, GOAL_BYTES = 1.25, 24 * 1024


def idle(site, _arguments):
    allow_descriptors()
    sides = {"gatherd": "HTTPS", "nginx": "NGINX"}
    if "haproxy" in site.processes:
        sides["haproxy"] = "HAPROXY"
    for name in sides:
        # Anew, since memory that another row used need not be given back, and serves these connections too.
        site.restart(name)
    each = {name: asyncio.run(bytes_each(site, name, site.ports[port])) for name, port in sides.items()}
    print(f"Resident memory for each of {CONNECTIONS} idle TLS connections, after one request each.\n")
    print("| program | KB each | ratio to nginx | goal |")
    print("|---|---|---|---|")
    for name, size in each.items():
        ratio = size / each["nginx"]
        missed = ratio > GOAL or size > GOAL_BYTES
        goal = f"≤ {GOAL} and ≤ 24 KB{' **missed**' if missed else ''}" if name == "gatherd" else ""
        print(f"| {name} | {size / 1024:.1f} | {up(ratio)} | {goal} |")
    print(flush=True)


async def bytes_each(site, name, port):
    # A first few, so that what is made once is there already.
    await close_all(await used(port, 50))
    before = resident_bytes(site.pids(name))
    streams = await used(port, CONNECTIONS)
    await asyncio.sleep(1)
    after = resident_bytes(site.pids(name))
    await close_all(streams)
    return (after - before) / CONNECTIONS


async def used(port, count):
    streams = await connect_many(port, count)
    for stream in streams:
        await ask(stream, "/healthz")
    return streams


ROWS = {"idle-memory": idle}
