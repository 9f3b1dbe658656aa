"""The load generators: wrk and h2load, both on the other core."""

import re
import subprocess
import tempfile
from dataclasses import dataclass, field

from machine import LOAD_CORE, on_core

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass
class Load:
    """What a generator saw. Latencies in seconds."""

    requests: int
    errors: int
    seconds: float
    p50: float
    p99: float
    #: Status and microseconds of each, where the generator tells them.
    answers: list = field(default_factory=list)

    @property
    def rate(self):
        return self.requests / self.seconds


def seconds(text):
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(value) * UNITS[unit]


def run(command, core=LOAD_CORE):
    done = subprocess.run(on_core(core, command), capture_output=True, text=True, check=True)
    return done.stdout


def wrk(url, *, duration, connections=64, fresh=False, core=LOAD_CORE):
    """A closed loop over HTTP/1.1: each connection asks again when it has its answer."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{duration}s", "--latency"]
    if fresh:
        command += ["-H", "Connection: close"]
    text = run([*command, url], core)
    requests, took = re.search(r"(\d+) requests in ([\d.]+\w+),", text).groups()
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    # With a connection for each request, wrk counts the end of each as an error of reading.
    counted = [1, 3, 4] if fresh else [1, 2, 3, 4]
    errors = sum(int(broken.group(i)) for i in counted) if broken else 0
    return Load(
        requests=int(requests),
        errors=errors + (int(refused.group(1)) if refused else 0),
        seconds=seconds(took),
        p50=seconds(re.search(r"(?m)^\s+50%\s+(\S+)", text).group(1)),
        p99=seconds(re.search(r"(?m)^\s+99%\s+(\S+)", text).group(1)),
    )


def h2load(url, *, duration, connections, streams=1, http1=False, rate=None, warm_up=1):
    """HTTP/2, or HTTP/1.1, in a closed loop; with a `rate`, an open one: requests go out by the clock."""
    with tempfile.TemporaryDirectory() as directory:
        log = f"{directory}/log"
        command = ["h2load", f"-c{connections}", f"-m{streams}", f"--log-file={log}"]
        command += [f"-D{duration}", f"--warm-up-time={warm_up}"]
        command += ["--h1"] if http1 else []
        command += [f"--rps={rate / connections}"] if rate else []
        run([*command, url])
        return read_log(log, duration)


def read_log(log, duration):
    """What came after the warm-up; requests of before are not in the log."""
    with open(log) as lines:
        rows = [tuple(map(int, line.split()[:3])) for line in lines]
    if not rows:
        raise RuntimeError("h2load had no answer at all")
    took = sorted(elapsed for _, _, elapsed in rows)
    return Load(
        requests=len(rows),
        errors=sum(not 200 <= status < 300 for _, status, _ in rows),
        seconds=duration,
        p50=took[len(took) // 2] / 1e6,
        p99=took[int(len(took) * 0.99)] / 1e6,
        answers=[(status, elapsed) for _, status, elapsed in rows],
    )
