"""The programs that are compared, and the upstream: set up in one directory, started, stopped."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from machine import LOAD_CORE, SERVER_CORE, free_ports, on_core, tree

CONFIG = Path(__file__).parent.parent / "config"
PORTS = """HTTPS ADMIN SMALL SMALL_ADMIN NGINX NGINX_DEFAULTS NGINX_HTTP2 HAPROXY FLASK GUNICORN UPSTREAM
           UPSTREAM_TLS""".split()


@contextmanager
def new_site(binary):
    """A site in a directory of its own; stopped and removed at the end, however that comes."""
    with tempfile.TemporaryDirectory(prefix="compare-") as directory:
        # The workers of nginx are somebody else, and read documents there.
        Path(directory).chmod(0o755)
        site = Site(directory, binary)
        try:
            yield site
        finally:
            site.stop()


class Site:
    """A directory with certificate and configs, the ports they name, and what was started there."""

    def __init__(self, directory, binary):
        self.directory = Path(directory)
        self.binary = binary
        self.ports = dict(zip(PORTS, free_ports(len(PORTS))))
        self.processes = {}
        self.values = {
            "DIRECTORY": directory,
            "CERTIFICATE": f"{directory}/cert.pem",
            "KEY": f"{directory}/key.pem",
            "BUNDLE": f"{directory}/bundle.pem",
            **{name: str(port) for name, port in self.ports.items()},
        }
        self.make_certificate()
        for config in CONFIG.iterdir():
            text = config.read_text()
            for name, value in self.values.items():
                text = text.replace(f"@{name}@", value)
            (self.directory / config.name).write_text(text)
        self.make_documents()

    def make_certificate(self):
        """P-256, of nobody, for localhost."""
        certificate, key = self.values["CERTIFICATE"], self.values["KEY"]
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate]
        command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        command += ["-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run(command, check=True, capture_output=True)
        both = Path(certificate).read_text() + Path(key).read_text()
        Path(self.values["BUNDLE"]).write_text(both)

    def make_documents(self):
        """JSON of 1 KB, 64 KB and 1 MB (a little less: `max_response` is 1 MiB)."""
        sizes = self.directory / "size"
        sizes.mkdir()
        record = '{"id":1234,"name":"a name","tags":["a","b"],"score":-12.5,"ok":true}'
        for name, size in {"1k": 1000, "64k": 64_000, "1m": 1_000_000}.items():
            records = ",".join([record] * (size // (len(record) + 1)))
            (sizes / name).write_text(f"[{records}]")

    def start(self, name, command, port, core=SERVER_CORE, environment=None):
        output = open(self.directory / f"{name}.out", "w")
        process = subprocess.Popen(
            on_core(core, command),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env={**os.environ, **(environment or {})},
        )
        self.processes[name] = process
        self.wait_for(name, port)

    def wait_for(self, name, port):
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.ports[port])).close()
                return
            except ConnectionRefusedError:
                if self.processes[name].poll() is not None:
                    break
                time.sleep(0.05)
        sys.exit(f"{name} does not run:\n{(self.directory / f'{name}.out').read_text()}")

    def pids(self, name):
        return tree(self.processes[name].pid)

    def start_upstream(self):
        self.start("upstream", self.nginx("upstream.conf"), "UPSTREAM", LOAD_CORE)

    def start_gatherd(self):
        command = [self.binary, "--config", str(self.directory / "gatherd.toml")]
        self.start("gatherd", command, "HTTPS")

    def restart(self, name):
        process = self.processes.pop(name)
        process.terminate()
        process.wait(20)
        getattr(self, f"start_{name}")()

    def start_small(self):
        """A second one, with few places."""
        command = [self.binary, "--config", str(self.directory / "gatherd.toml")]
        environment = {
            "GATHERD_SERVER__HTTPS": f'["127.0.0.1:{self.ports["SMALL"]}"]',
            "GATHERD_ADMIN__LISTEN": f"127.0.0.1:{self.ports['SMALL_ADMIN']}",
            "GATHERD_SERVER__MAX_IN_FLIGHT": "200",
        }
        self.start("small", command, "SMALL", environment=environment)

    def start_nginx(self):
        self.start("nginx", self.nginx("nginx.conf"), "NGINX")

    def start_haproxy(self):
        command = ["haproxy", "-db", "-f", str(self.directory / "haproxy.cfg")]
        self.start("haproxy", command, "HAPROXY")

    def start_flask(self):
        """Flask and gunicorn come from PyPI, into an environment of their own."""
        environment = Path.home() / ".cache" / "gatherd-compare"
        if not (environment / "bin" / "gunicorn").exists():
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
            packages = ["flask", "gunicorn", "requests"]
            pip = [environment / "bin" / "pip", "install", "--quiet", *packages]
            subprocess.run(pip, check=True)
        command = [str(environment / "bin" / "gunicorn"), "--workers", "3", "flask_app:app"]
        command += ["--bind", f"127.0.0.1:{self.ports['GUNICORN']}", "--log-level", "warning"]
        upstream = f"http://127.0.0.1:{self.ports['UPSTREAM']}/"
        self.start("gunicorn", command, "GUNICORN", environment={"UPSTREAM": upstream})
        self.start("flask", self.nginx("flask-nginx.conf"), "FLASK")

    def nginx(self, config):
        return ["nginx", "-p", str(self.directory), "-c", str(self.directory / config)]

    def stop(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
