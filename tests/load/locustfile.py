"""People and programs that call gatherd, as Locust plays them.

Both endpoints, over HTTPS, with time to think between requests and a timeout on each. A 429 or 503 is
no failure: it is answered as it asks, by waiting for retry-after; but when they are more than a share
of all answers the run fails, since the clients of a healthy service wait seldom.

Options beside Locust's own: --p99, --errors, --refusals, --think, --api-timeout.
"""

from __future__ import annotations

import json

import gevent
import gevent.ssl
from locust import FastHttpUser, between, events, task

PATHS = ("/api/all", "/api/first")

# The demonstration signs its certificate itself. One context for everybody: else all authorities would be
# read anew for each client, which is 30 ms of work.
TLS = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname = False
TLS.verify_mode = gevent.ssl.CERT_NONE


@events.init_command_line_parser.add_listener
def options(parser) -> None:
    """What a run may cost, and how impatient clients are."""
    parser.add_argument("--p99", type=float, default=1000.0, help="most milliseconds at the 99th percentile")
    parser.add_argument("--errors", type=float, default=0.001, help="largest share of failed requests")
    parser.add_argument("--refusals", type=float, default=0.05, help="largest share of 429 and 503")
    parser.add_argument("--think", type=float, default=2.0, help="seconds that a client thinks on average")
    parser.add_argument("--api-timeout", type=int, default=2000, help="milliseconds that requests ask for")


class Client(FastHttpUser):
    """One client that keeps its connection, as browsers and programs do."""

    insecure = True
    ssl_context_factory = staticmethod(lambda **_: TLS)
    connection_timeout = 5.0
    network_timeout = 15.0

    def wait_time(self) -> float:
        """A pause around --think, half as long at least and half as long again at most."""
        think = self.environment.parsed_options.think
        return between(0.5 * think, 1.5 * think)(self)

    @task(3)
    def gather_all(self) -> None:
        """Two replies in one answer."""
        self.ask("/api/all", parts=2)

    @task(1)
    def gather_first(self) -> None:
        """The reply that came first."""
        self.ask("/api/first", parts=None)

    def ask(self, path: str, parts: int | None) -> None:
        """One request, judged by its status and its body; waits where it is told to."""
        timeout = self.environment.parsed_options.api_timeout
        query = f"{path}?timeout={timeout}"
        with self.client.get(query, name=path, catch_response=True) as response:
            if response.status_code in (429, 503):
                wait = response.headers.get("retry-after", "")
                if not wait.isdigit() or int(wait) < 1:
                    response.failure(f"{response.status_code} without a retry-after: {wait!r}")
                    return
                # Counted under a name of its own, so that it is no part of the percentiles.
                response.request_meta["name"] = f"{path} (told to wait)"
                response.success()
            elif response.status_code != 200:
                response.failure(f"status {response.status_code}")
                return
            else:
                if is_whole(response.text, parts):
                    response.success()
                else:
                    response.failure("not the answer it should be")
                return
        gevent.sleep(int(wait))


def is_whole(text: str, parts: int | None) -> bool:
    """Whether an answer is JSON, and a list of so many parts if it should be one."""
    try:
        answer = json.loads(text)
    except ValueError:
        return False
    return parts is None or (isinstance(answer, list) and len(answer) == parts)


@events.quitting.add_listener
def judge(environment, **_) -> None:
    """Sets the exit code: 0 when the run was good enough, 1 when it was not."""
    limits = environment.parsed_options
    entries = environment.stats.entries.values()
    waits = sum(entry.num_requests for entry in entries if entry.name.endswith("(told to wait)"))
    answered = [entry for entry in entries if entry.name in PATHS]
    total = environment.stats.total.num_requests
    slowest = max((entry.get_response_time_percentile(0.99) for entry in answered), default=0)
    found = {
        "requests": (total, total > 0),
        "p99 ms": (slowest, slowest <= limits.p99),
        "failed": (environment.stats.total.fail_ratio, environment.stats.total.fail_ratio <= limits.errors),
        "told to wait": (waits / max(total, 1), waits / max(total, 1) <= limits.refusals),
    }
    for name, (value, good) in found.items():
        print(f"{'ok  ' if good else 'FAIL'} {name}: {value:.4g}")
    environment.process_exit_code = 0 if all(good for _, good in found.values()) else 1
