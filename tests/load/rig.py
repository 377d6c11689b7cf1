"""What the scenarios are built of: processes that are started, watched and ended by their id, and a client of the admin
side. Everything is on loopback and in one directory of its own; every wait has a deadline.
"""

import http.client
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from origin import PAGE
from ports import free_port

TOKEN = "token-of-the-load-tests"
SERVICE = "lb-load"
PATIENCE_S = 20
# How long a load lasts that is told to stop.
ENDLESS_S = 600
HERE = pathlib.Path(__file__).resolve().parent
LOOPBACK = "127.0.0.1"


class Failure(Exception):
    """The scenario cannot go on; said to people."""


def until(what, look, patience_s=PATIENCE_S, pause_s=0.005):
    """Returns the first true value of `look`."""
    deadline = time.monotonic() + patience_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failure(f"waited {patience_s} s in vain for {what}")
        time.sleep(pause_s)


def end(process, patience_s=PATIENCE_S):
    """Ends a process that was started here, in peace if it goes."""
    if process is None:
        return
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


class Origin:
    """A server process that can be killed and started again on its port."""

    def __init__(self, directory, name, service_ms):
        self.name, self.service_ms, self.port = name, service_ms, free_port()
        self.page_path = directory / f"origin-{name}.page"
        self.process = None
        self.start()

    @property
    def address(self):
        return f"{LOOPBACK}:{self.port}"

    def start(self):
        argv = [sys.executable, "-I", "-B", HERE / "origin.py", self.name, self.port, self.service_ms, self.page_path]
        argv = [str(part) for part in argv]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        if not readable or self.process.stdout.readline() != b"ready\n":
            raise Failure(f"origin {self.name} does not start on port {self.port}")

    def kill(self):
        """Kills it; returns when that was asked for and when it had happened: its connections are closed by then."""
        before = time.time()
        self.process.kill()
        self.process.wait()
        after = time.time()
        end(self.process)
        return before, after

    def hang(self):
        """Stops it: the system still takes connections in for it, and nobody answers. Returns when."""
        before = time.time()
        self.process.send_signal(signal.SIGSTOP)
        return before

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        end(self.process)

    def page(self):
        """Requests taken in, requests under way, time of the first one (0: none)."""
        return PAGE.unpack(self.page_path.read_bytes())


class Farmgate:
    """The program under test, on a config that can be changed."""

    def __init__(self, program, directory, config, prefix=(), admin=None):
        self.program, self.prefix, self.more_admin = program, prefix, admin or {}
        self.config_path, self.log_path = directory / "farmgate.yaml", directory / "log"
        self.access_path = directory / "access.log"
        self.admin_port = free_port()
        self.process = None
        self.write_config(config)
        self.start()

    def start(self):
        """Starts it, on the same config, ports and state; its log goes on."""
        with open(self.log_path, "ab") as log:
            argv = [*self.prefix, self.program, "run", "-c", str(self.config_path)]
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self):
        """Ends it as a crash would."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    @property
    def url(self):
        return f"http://{LOOPBACK}:{self.admin_port}"

    def write_config(self, config):
        """Replaces the file whole, so that no reload reads half of it. JSON is YAML."""
        admin = {
            "listen": f"{LOOPBACK}:{self.admin_port}",
            "tokens": [{"name": "ops", "role": "admin", "token": TOKEN}],
            **self.more_admin,
        }
        log = {"level": "info", "format": "json", "access": {"path": str(self.access_path), "format": "json"}}
        whole = {"service": {"name": SERVICE}, **config, "admin": admin, "log": log}
        new = self.config_path.with_suffix(".new")
        new.write_text(json.dumps(whole, indent=1))
        new.replace(self.config_path)

    def wait_ready(self):
        admin = self.admin()
        until("farmgate to be ready", lambda: self.is_alive() and admin.is_ready())
        admin.close()

    def is_alive(self):
        if self.process.poll() is not None:
            raise Failure(f"farmgate ended with {self.process.returncode}:\n{self.log_path.read_text()[-4000:]}")
        return True

    def signal(self, number):
        self.process.send_signal(number)

    def cli(self, *arguments):
        """Runs a command of the program against it; returns its output."""
        environment = {**os.environ, "FARMGATE_ADMIN": self.url, "FARMGATE_TOKEN": TOKEN}
        ended = subprocess.run(
            [self.program, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S
        )
        if ended.returncode != 0:
            text = (ended.stdout + ended.stderr).decode(errors="replace")
            raise Failure(f"farmgate {' '.join(arguments)} ended with {ended.returncode}: {text.strip()}")
        return ended.stdout.decode()

    def admin(self):
        return Admin(self)

    def access_lines(self):
        """The access log, one dict a request."""
        with open(self.access_path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def close(self):
        end(self.process)


class Admin:
    """One kept connection to the admin side, for one thread."""

    def __init__(self, farmgate):
        self.connection = http.client.HTTPConnection(LOOPBACK, farmgate.admin_port, timeout=PATIENCE_S)

    def call(self, method, path, body=None, **fields):
        headers = {"Authorization": f"Bearer {TOKEN}", **{k.replace("_", "-"): v for k, v in fields.items()}}
        if body is not None:
            headers["Content-Type"] = "application/json"
        for attempt in (1, 2):
            try:
                self.connection.request(method, path, body, headers)
                answer = self.connection.getresponse()
                text = answer.read()
                break
            except (http.client.HTTPException, ConnectionError):
                # A kept connection may have been closed meanwhile.
                self.connection.close()
                if attempt == 2:
                    raise
        if answer.status != 200:
            raise Failure(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return text

    def json(self, path):
        return json.loads(self.call("GET", path))

    def metrics(self):
        """Every series by its name and labels as written."""
        lines = self.call("GET", "/metrics").decode().splitlines()
        return {key: float(value) for key, value in (l.rsplit(" ", 1) for l in lines if not l.startswith("#"))}

    def is_ready(self):
        try:
            self.call("GET", "/readyz")
            return True
        except (OSError, Failure):
            self.connection.close()
            return False

    def close(self):
        self.connection.close()


class Oha:
    """One run of oha, with kept connections unless told otherwise; waits for what is under way when its time is over, or,
    without one, goes on until it is told to stop."""

    def __init__(self, program, url, seconds, connections, rate=None, body=None, argv=()):
        lasts_s = seconds or ENDLESS_S
        own = [program, "--no-tui", "--no-color", "--output-format", "json", "-w", "-z", f"{lasts_s}s"]
        own += ["-c", str(connections)] + (["-q", str(rate)] if rate else [])
        own += ["-m", "POST", "-d", body] if body else []
        own += [] if "-t" in argv else ["-t", "10s"]
        self.deadline = time.monotonic() + lasts_s + PATIENCE_S
        self.process = subprocess.Popen([*own, *argv, url], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def stop(self):
        """Has it say at once what it counted so far."""
        self.process.send_signal(signal.SIGINT)
        self.deadline = time.monotonic() + PATIENCE_S

    def result(self):
        """Waits for its end; returns what it counted."""
        try:
            text, _ = self.process.communicate(timeout=max(0.1, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failure("oha does not end: a request is never answered") from None
        if self.process.returncode != 0:
            raise Failure(f"oha ended with {self.process.returncode}")
        return OhaResult(json.loads(text))

    def close(self):
        end(self.process)


class Rig:
    """A directory and everything that runs in it; all of it ends with the `with`."""

    def __init__(self, program):
        self.program = program
        self.to_close = []
        self.directory = None

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="farmgate-load-"))
        return self

    def __exit__(self, *_):
        try:
            while self.to_close:
                self.to_close.pop().close()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def closing(self, thing):
        """Sees to it that the thing is closed at the end."""
        self.to_close.append(thing)
        return thing

    def origin(self, name, service_ms):
        return self.closing(Origin(self.directory, name, service_ms))

    def farmgate(self, config, prefix=(), admin=None):
        """Starts it, with a command before its own and more keys of `admin` if need be."""
        return self.closing(Farmgate(self.program, self.directory, config, prefix, admin))

    def port(self):
        return free_port()


class OhaResult:
    def __init__(self, json):
        self.codes = {int(code): count for code, count in json["statusCodeDistribution"].items()}
        self.errors = dict(json["errorDistribution"])
        self.rate = json["summary"]["requestsPerSec"]
        latency = json["latencyPercentiles"]
        self.p50_ms, self.p99_ms = (1000 * (latency[key] or 0) for key in ("p50", "p99"))
        self.slowest_ms = 1000 * json["summary"]["slowest"]

    @property
    def answered(self):
        return sum(self.codes.values())

    @property
    def failed(self):
        return self.answered - self.codes.get(200, 0) + sum(self.errors.values())

    def figures(self):
        return {
            "requests": self.answered + sum(self.errors.values()),
            "codes": self.codes,
            "errors": self.errors,
            "per_second": round(self.rate, 1),
            "p50_ms": round(self.p50_ms, 2),
            "p99_ms": round(self.p99_ms, 2),
            "slowest_ms": round(self.slowest_ms, 2),
        }

    def __str__(self):
        errors = "".join(f", {n} x {what!r}" for what, n in self.errors.items())
        codes = ", ".join(f"{n} x {code}" for code, n in sorted(self.codes.items()))
        return f"{codes}{errors}; {self.rate:.0f}/s, p99 {self.p99_ms:.1f} ms, slowest {self.slowest_ms:.1f} ms"


class Report:
    """Prints one line a claim and remembers the figures."""

    def __init__(self):
        self.claims = []
        self.figures = {}

    def claim(self, where, what, is_so, said=""):
        self.claims.append({"scenario": where, "claim": what, "ok": bool(is_so), "figures": said})
        print(f"{'ok' if is_so else 'FAILED':7} {where}: {what}{f' ({said})' if said else ''}", flush=True)

    def note(self, where, **figures):
        self.figures.setdefault(where, {}).update(figures)

    @property
    def failed(self):
        return sum(not claim["ok"] for claim in self.claims)
