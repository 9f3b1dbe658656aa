"""The rows that compare processor time for each request: what each side is, and what is asked of it."""

from collections.abc import Callable
from dataclasses import dataclass

from load import Load, h2load, wrk


@dataclass(frozen=True)
class Side:
    """One side of a row: whose processor time counts, and the load on it."""

    label: str
    programs: tuple[str, ...]
    load: Callable[..., Load]


@dataclass(frozen=True)
class Row:
    """A comparison: ours over the peer's, and the goal for that ratio."""

    name: str
    about: str
    goal: float | None
    ours: Side
    peer: Side


def url(site, port, path):
    return f"https://localhost:{site.ports[port]}{path}"


def up(ratio):
    """A ratio to two or three digits, never rounded in our favour."""
    digits = 1000 if ratio < 0.1 else 100
    return f"{-(-ratio * digits // 1) / digits:.{3 if digits == 1000 else 2}f}"


def gatherd(label, path, **options):
    load = lambda site, duration: wrk(url(site, "HTTPS", path), duration=duration, **options)
    return Side(label, ("gatherd",), load)


def nginx(label, path, port="NGINX", **options):
    load = lambda site, duration: wrk(url(site, port, path), duration=duration, **options)
    return Side(label, ("nginx",), load)


def haproxy(path):
    load = lambda site, duration: wrk(url(site, "HAPROXY", path), duration=duration)
    return Side("haproxy", ("haproxy",), load)


def flask(path):
    load = lambda site, duration: wrk(url(site, "FLASK", path), duration=duration, connections=16)
    return Side("Flask + gunicorn + nginx", ("gunicorn", "flask"), load)


def http2(side, port, path):
    load = lambda site, duration: h2load(
        url(site, port, path), duration=duration, connections=16, streams=32
    )
    return Side(f"{side}, HTTP/2 clients", (side,), load)


ROWS = [
    Row(
        "static",
        "an answer without upstream",
        0.85,
        gatherd("gatherd", "/healthz"),
        nginx("nginx", "/healthz"),
    ),
    Row(
        "all2",
        "`all`, 2 branches, plain HTTP/1 upstream",
        0.70,
        gatherd("gatherd", "/api/all"),
        nginx("nginx + Lua", "/api/all"),
    ),
    Row(
        "all8",
        "the same, 8 branches",
        0.65,
        gatherd("gatherd", "/api/all8"),
        nginx("nginx + Lua", "/api/all8"),
    ),
    Row(
        "tls-best",
        "2 branches, TLS upstream, each its best protocol (h2 vs h1)",
        0.60,
        gatherd("gatherd, h2", "/api/tls"),
        nginx("nginx + Lua, h1", "/api/tls"),
    ),
    Row(
        "tls-http1",
        "2 branches, TLS upstream, both HTTP/1",
        0.70,
        gatherd("gatherd", "/api/tls1"),
        nginx("nginx + Lua", "/api/tls1"),
    ),
    Row(
        "cached",
        "2 branches kept for a second, vs one reply kept so (proxy_cache, proxy_cache_lock)",
        None,
        gatherd("gatherd", "/api/cached"),
        nginx("nginx, proxy_cache", "/api/cached"),
    ),
    Row(
        "new-tls",
        "a new TLS connection for each request, same cipher and tickets",
        0.55,
        gatherd("gatherd", "/healthz", fresh=True),
        nginx("nginx", "/healthz", fresh=True),
    ),
    Row(
        "new-tls-defaults",
        "the same, each side's defaults",
        None,
        gatherd("gatherd", "/healthz", fresh=True),
        nginx("nginx", "/healthz", "NGINX_DEFAULTS", fresh=True),
    ),
    Row(
        "size-1k",
        "2 branches of 1 KB",
        None,
        gatherd("gatherd", "/api/size/1k"),
        nginx("nginx + Lua", "/api/size/1k"),
    ),
    Row(
        "size-64k",
        "2 branches of 64 KB",
        1.00,
        gatherd("gatherd", "/api/size/64k"),
        nginx("nginx + Lua", "/api/size/64k"),
    ),
    Row(
        "size-1m",
        "2 branches of 1 MB",
        0.90,
        gatherd("gatherd", "/api/size/1m", connections=16),
        nginx("nginx + Lua", "/api/size/1m", connections=16),
    ),
    Row(
        "one",
        "1 branch, vs a plain proxy",
        1.00,
        gatherd("gatherd", "/api/one"),
        nginx("nginx, proxy_pass", "/api/one"),
    ),
    Row(
        "one-haproxy",
        "1 branch, vs the cheapest proxy",
        1.10,
        gatherd("gatherd", "/api/one"),
        haproxy("/"),
    ),
    Row(
        "flask",
        "2 branches, vs the stack replaced",
        None,
        gatherd("gatherd", "/api/all", connections=16),
        flask("/api/all"),
    ),
    Row(
        "http2-static",
        "an answer without upstream, HTTP/2 clients (16 x 32 streams)",
        None,
        http2("gatherd", "HTTPS", "/healthz"),
        http2("nginx", "NGINX_HTTP2", "/healthz"),
    ),
    # nginx has no row for gathers of HTTP/2 clients: its Lua has no subrequests there.
    Row(
        "http2-http1",
        "2 branches, HTTP/2 clients vs our HTTP/1 row",
        None,
        http2("gatherd", "HTTPS", "/api/all"),
        gatherd("gatherd, HTTP/1 clients", "/api/all"),
    ),
]
