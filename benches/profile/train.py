"""Runs the binary named on the command line under a bit of everything that it does often."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "compare" / "compare"))

from load import h2load, run, wrk  # noqa: E402
from programs import new_site  # noqa: E402
from rows import url  # noqa: E402

# Seconds for each path, with 64 clients over HTTP/1.1. Large bodies are few: what runs for each of their
# bytes would hide what runs for each request.
HTTP1 = {
    "/healthz": 4,
    "/api/one": 4,
    "/api/all": 10,
    "/api/all8": 4,
    "/api/tls1": 6,
    "/api/tls": 8,
    "/api/first": 3,
    "/api/slow": 3,
    "/api/size/1k": 3,
    "/api/nothing": 1,
}
# The same with 16 clients of 32 requests at once over HTTP/2.
HTTP2 = {"/healthz": 2, "/api/all": 6, "/api/tls": 4, "/api/slow2": 3}
NEW_CONNECTIONS = 4
LARGE_BODIES = 200
SCRAPES = 20


def load(site):
    for path, duration in HTTP1.items():
        tell(path, wrk(url(site, "HTTPS", path), duration=duration))
    for path, duration in HTTP2.items():
        tell(path, h2load(url(site, "HTTPS", path), duration=duration, connections=16, streams=32))
    tell("new connections", wrk(url(site, "HTTPS", "/healthz"), duration=NEW_CONNECTIONS, fresh=True))
    run(["h2load", "--h1", "-c8", f"-n{LARGE_BODIES}", url(site, "HTTPS", "/api/size/64k")])
    for _ in range(SCRAPES):
        run(["curl", "--silent", "--fail", f"http://127.0.0.1:{site.ports['ADMIN']}/metrics"])


def tell(what, done):
    print(f"{what}: {done.requests} requests, {done.errors} errors", flush=True)


def main(binary):
    with new_site(binary) as site:
        site.start_upstream()
        site.start_gatherd()
        load(site)


if __name__ == "__main__":
    main(sys.argv[1])
