"""Measures the slowest answers with and without hedges, in an open loop; prints tables and draws a chart."""

import argparse
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "compare" / "compare"))

from load import h2load  # noqa: E402
from machine import LOAD_CORE, SERVER_CORE, free_ports, on_core  # noqa: E402

ROOT = Path(__file__).parents[2]
CONNECTIONS = 64
WARM_UP = 3

# How an upstream behaves: its mock's delay, and what else its section says.
UPSTREAMS = {
    "usual": ("5ms, 1%: 100ms", ""),
    "slow": ("50ms, 1%: 1s", ""),
    # At 320 requests a second and 8 calls each, about 15 of these are taken all the time.
    "full": ("5ms, 1%: 100ms", "max_calls = 17\nmax_wait = \"1s\"\n"),
}
HEDGES = {
    "none": "",
    "10ms": 'hedge_after = "10ms"\n',
    "p95": 'hedge_after = "p95"\n',
    "siblings": 'hedge_after = "siblings"\n',
}
POLICIES = {"first_success": 2, "all": 8}
#: Of an upstream, policy and hedge: p99, p99.9 in milliseconds and extra calls in percent, at most.
GOALS = {
    ("usual", "first_success", "p95"): (None, 17, 5),
    ("usual", "all", "p95"): (18, 25, 5),
    ("usual", "all", "siblings"): (18, 25, 5),
    ("slow", "first_success", "10ms"): (None, None, 5),
    ("slow", "all", "10ms"): (None, None, 5),
    ("slow", "all", "p95"): (None, None, 5),
    ("slow", "all", "siblings"): (None, None, 5),
    ("full", "all", "10ms"): (None, None, 1),
    ("full", "all", "p95"): (None, None, 1),
}


@dataclass
class Row:
    upstream: str
    policy: str
    hedge: str
    #: Milliseconds, sorted.
    took: list
    errors: int
    extra: float
    held_back: int

    def quantile(self, share):
        return self.took[min(int(len(self.took) * share), len(self.took) - 1)]

    def misses(self):
        goals = GOALS.get((self.upstream, self.policy, self.hedge))
        if goals is None:
            return None
        seen = (self.quantile(0.99), self.quantile(0.999), self.extra)
        return [f"{value:.1f} > {goal}" for value, goal in zip(seen, goals) if goal and value > goal]


def config(ports):
    text = (
        f'[server]\nhttps = ["127.0.0.1:{ports["https"]}"]\nmax_in_flight_per_client = 5000\n'
        '[tls]\ncertificate = "cert.pem"\nprivate_key = "key.pem"\nself_signed = true\n'
        f'[rate_limit]\nenabled = false\n[admin]\nlisten = "127.0.0.1:{ports["admin"]}"\n[log]\naccess = "off"\n'
    )
    for name, (_, more) in UPSTREAMS.items():
        text += f'[upstreams.{name}]\nurl = "http://127.0.0.1:{ports[name]}/"\n{more}'
        for policy, calls in POLICIES.items():
            for hedge, keys in HEDGES.items():
                text += (
                    f'[[routes]]\npath = "/{name}/{policy}/{hedge}"\npolicy = "{policy}"\n'
                    f'upstream = "{name}"\ncalls = {calls}\n{keys}'
                )
    return text


def wait_for(port):
    for _ in range(200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def counters(admin, route):
    """Hedges of a route that were started and held back, and its requests."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as answer:
        text = answer.read().decode()
    value = lambda pattern: sum(float(it) for it in re.findall(pattern, text))
    route = re.escape(route)
    return (
        value(rf'gatherd_hedges_total{{[^}}]*event="started"[^}}]*route="{route}"[^}}]*}} (\S+)'),
        value(rf'gatherd_hedges_total{{[^}}]*event="held_back"[^}}]*route="{route}"[^}}]*}} (\S+)'),
        value(rf'gatherd_requests_total{{[^}}]*route="{route}"[^}}]*}} (\S+)'),
    )


def measure(ports, upstream, policy, hedge, arguments):
    route = f"/{upstream}/{policy}/{hedge}"
    before = counters(ports["admin"], route)
    load = h2load(
        f"https://localhost:{ports['https']}{route}",
        duration=arguments.seconds,
        connections=CONNECTIONS,
        http1=True,
        rate=arguments.rate,
        warm_up=WARM_UP,
    )
    after = counters(ports["admin"], route)
    hedges, held_back, requests = (now - then for now, then in zip(after, before))
    calls = requests * (1 if policy == "first_success" else POLICIES[policy])
    took = sorted(elapsed / 1000 for _, elapsed in load.answers)
    return Row(upstream, policy, hedge, took, load.errors, 100 * hedges / max(calls, 1), int(held_back))


def table(rows):
    lines = [
        "| upstream | policy | hedge_after | p50 ms | p99 ms | p99.9 ms | extra calls | held back | errors | goal |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        misses = row.misses()
        goal = "" if misses is None else "met" if not misses else f"**missed**: {', '.join(misses)}"
        quantiles = " | ".join(f"{row.quantile(share):.1f}" for share in (0.5, 0.99, 0.999))
        calls = POLICIES[row.policy]
        lines.append(
            f"| {row.upstream} | `{row.policy}` of {calls} | {row.hedge} | {quantiles} | {row.extra:.1f} % | {row.held_back} | {row.errors} | {goal} |"
        )
    return "\n".join(lines)


COLOURS = {"none": "#888888", "10ms": "#d08700", "p95": "#1f77b4", "siblings": "#2a9d5c"}


def chart(rows, path):
    """The share of answers that take longer, by their time, of `all` with the usual upstream."""
    width, height, left, bottom = 720, 400, 70, 50
    longest = 130.0
    x = lambda took: left + (width - left - 120) * min(took, longest) / longest
    # A decade of shares is as high as the next: 1, 0.1, 0.01, 0.001.
    decades = 3
    y = lambda decade: 20 + (height - 20 - bottom) * decade / decades
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="14">share of answers that take longer, `all` of 8</text>',
    ]
    for decade in range(decades + 1):
        label = f"{100 / 10**decade:g} %"
        out.append(f'<line x1="{left}" x2="{width - 120}" y1="{y(decade):.0f}" y2="{y(decade):.0f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{y(decade) + 4:.0f}" text-anchor="end">{label}</text>')
    for took in range(0, int(longest) + 1, 20):
        out.append(f'<text x="{x(took):.0f}" y="{height - bottom + 20}" text-anchor="middle">{took}</text>')
    out.append(f'<text x="{(left + width - 120) / 2:.0f}" y="{height - 8}" text-anchor="middle">milliseconds</text>')
    wanted = [row for row in rows if (row.upstream, row.policy) == ("usual", "all")]
    for index, row in enumerate(wanted):
        points = []
        for step in range(0, 301):
            decade = step / 100
            points.append(f"{x(row.quantile(1 - 10**-decade)):.1f},{y(decade):.1f}")
        colour = COLOURS[row.hedge]
        out.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        name = "no hedge" if row.hedge == "none" else f"hedge_after {row.hedge}"
        out.append(f'<text x="{width - 200}" y="{40 + 20 * index}" fill="{colour}">{name}</text>')
    out.append("</svg>\n")
    Path(path).write_text("\n".join(out))


def main():
    parser = argparse.ArgumentParser(prog="run", description="Measures what hedges do for the slowest answers.")
    parser.add_argument("--rate", type=float, default=320, help="requests a second (320)")
    parser.add_argument("--seconds", type=int, default=40, help="how long each row runs (40)")
    parser.add_argument("--upstreams", default=",".join(UPSTREAMS), help="only these, separated by commas")
    parser.add_argument("--binary", help="this gatherd, instead of building it")
    parser.add_argument("--chart", help="writes the chart to this file")
    arguments = parser.parse_args()
    found = sorted(ROOT.glob("target/*/release/gatherd")) + [ROOT / "target/release/gatherd"]
    binary = Path(arguments.binary or found[0]).resolve()
    names = ["https", "admin", *UPSTREAMS]
    ports = dict(zip(names, free_ports(len(names))))
    programs = []
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "config.toml").write_text(config(ports))
        mocks = [["mock", "--listen", f"127.0.0.1:{ports[it]}", "--delay", UPSTREAMS[it][0]] for it in UPSTREAMS]
        try:
            # The upstreams are beside the load, so that gatherd has its core.
            commands = [on_core(LOAD_CORE, [str(binary), *it]) for it in mocks]
            commands.append(on_core(SERVER_CORE, [str(binary), "--config", f"{directory}/config.toml"]))
            for command in commands:
                programs.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
            for port in ports.values():
                wait_for(port)
            rows = []
            for upstream in arguments.upstreams.split(","):
                for policy in POLICIES:
                    for hedge in HEDGES:
                        if (policy, hedge) == ("first_success", "siblings"):
                            continue
                        print(f"{upstream}, {policy}, {hedge}", file=sys.stderr, flush=True)
                        rows.append(measure(ports, upstream, policy, hedge, arguments))
            print(table(rows))
            if arguments.chart:
                chart(rows, arguments.chart)
        finally:
            for program in programs:
                program.send_signal(signal.SIGTERM)
            for program in programs:
                program.wait()


if __name__ == "__main__":
    main()
