"""One farmgate with one farm a case, each of one server, and what the last check of each must be."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from farmgate import PATIENCE_S, TOKEN
from ports import free_port

# Of every probe here.
TIMEOUT_MS = 800
# What a busy machine may add to a check that ends at its deadline.
SLACK_MS = 400
PASSED = ("L4OK", "L6OK", "L7OK", "PROCOK")
AT_DEADLINE = ("L4TOUT", "L6TOUT", "L7TOUT", "PROCTOUT")


# What would hide a verdict is off.
GUARDS = {"flap": "off", "incident": "off"}
TIMING = {"interval": "1s", "timeout": f"{TIMEOUT_MS}ms", "rise": 1, "fall": 1}


class Case:
    """A probe of one server. What its last check must be: by phase, or the same as in the phase before.

    An expectation is the status, the code and a pattern of the content; the server must be up or down as the status
    says, or as a fourth word says. Nothing is expected of a phase that is `None`.
    """

    def __init__(self, name, probe, port, expects, host="127.0.0.1", aim=None):
        self.name, self.probe, self.port, self.host, self.aim = name, probe, port, host, aim or {}
        self.expects = expects if isinstance(expects, list) else [expects]

    def expected(self, phase):
        return self.expects[min(phase, len(self.expects) - 1)]

    def config(self):
        return {"protocol": "tcp", "probe": {**self.probe, **TIMING}, "servers": {"it": self.server()}, **GUARDS}

    def server(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        server = {"address": f"{host}:{self.port}"}
        if self.aim:
            server["probe"] = self.aim
        return server


class Several(Case):
    """Several probes of one server, by name. An expectation is the health that they come to together."""

    def __init__(self, name, probes, port, expects, quorum=None):
        super().__init__(name, probes, port, expects)
        self.quorum = {} if quorum is None else {"quorum": quorum}

    def config(self):
        probes = {name: {**probe, **TIMING} for name, probe in self.probe.items()}
        return {"protocol": "tcp", "probes": probes, "servers": {"it": self.server()}, **self.quorum, **GUARDS}


class Gate:
    """A running farmgate, asked through its native API."""

    def __init__(self, base, farms, prefix=(), admin=None, **settings):
        self.prefix, self.admin = list(prefix), admin or f"127.0.0.1:{free_port()}"
        config = {
            "service": {"name": "lb-probes"},
            # Nobody is served here: farms are checked whether anybody uses them or not.
            "frontends": {},
            "farms": farms,
            "admin": {
                "listen": self.admin,
                "tokens": [{"name": "ops", "role": "read", "token": TOKEN}],
                **settings,
            },
        }
        self.directory = tempfile.mkdtemp(dir=base, prefix="gate-")
        os.chmod(self.directory, 0o755)
        path = os.path.join(self.directory, "farmgate.yaml")
        with open(path, "w", encoding="utf-8") as file:
            # JSON is YAML.
            json.dump(config, file, indent=1)
        self.log = os.path.join(self.directory, "log")
        with open(self.log, "wb") as log:
            command = [*self.prefix, os.environ["FARMGATE_BIN"], "run", "-c", path]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()[-4000:]

    def status(self):
        """Returns every server of a farm's name, or nothing while there is no answer."""
        if self.process.poll() is not None:
            raise RuntimeError(f"farmgate ended with {self.process.returncode}:\n{self.said()}")
        request = urllib.request.Request(
            f"http://{self.admin}/api/v1/status", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                body = json.load(answer)
        except (urllib.error.URLError, OSError):
            return {}
        return {farm["name"]: farm["servers"][0] for farm in body["farms"]}

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class NetnsGate(Gate):
    """One in a network namespace of its own, where nobody answers echo requests and one network is cut off."""

    SETUP = (
        "ip link set lo up; echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all; "
        "ip route add unreachable 198.51.100.0/24; exec \"$@\""
    )

    def __init__(self, base, farms):
        super().__init__(base, farms, ["unshare", "--net", "sh", "-c", self.SETUP, "sh"], admin="127.0.0.1:8079")

    def status(self):
        if self.process.poll() is not None:
            return super().status()
        ask = (
            "import sys, urllib.request as u\n"
            "r = u.Request(sys.argv[1], headers={'Authorization': 'Bearer ' + sys.argv[2]})\n"
            "sys.stdout.write(u.urlopen(r, timeout=2).read().decode())"
        )
        command = ["nsenter", "-t", str(self.process.pid), "--net", sys.executable, "-c", ask]
        url = f"http://{self.admin}/api/v1/status"
        done = subprocess.run([*command, url, TOKEN], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        if done.returncode != 0:
            return {}
        return {farm["name"]: farm["servers"][0] for farm in json.loads(done.stdout)["farms"]}


def farms_of(cases):
    return {case.name: case.config() for case in cases}


def last_check(server):
    """Returns the server's last check; an agent's, which is no check of the server, where it has nothing else."""
    if not server:
        return None
    agents = [probe["last"] for probe in server.get("probes", [])]
    return server["last_check"] or next(filter(None, agents), None)


def what_is_wrong(case, phase, server):
    """Returns why the server is not as the case has it, or nothing."""
    check = last_check(server)
    if not check:
        return "not checked"
    if isinstance(case, Several):
        health = case.expected(phase)
        return None if server["health"] == health else f"{server['health']}, not {health}"
    status, code, content, *health = case.expected(phase)
    if check["status"] != status or check["code"] != code or not re.search(content, check["content"]):
        return f"not {status} {code} /{content}/"
    health = health or [{**dict.fromkeys(PASSED, "up"), "SOCKERR": None, "CHECKED": None}.get(status, "down")]
    if health[0] and server["health"] != health[0]:
        return f"{server['health']}, not {health[0]}"
    if status in AT_DEADLINE and not TIMEOUT_MS <= check["duration_ms"] <= TIMEOUT_MS + SLACK_MS:
        return f"{status} after {check['duration_ms']} ms, not {TIMEOUT_MS}"
    return None


def shown(server):
    check = last_check(server)
    if not check:
        return "no check"
    code = "" if check["code"] is None else f" {check['code']}"
    return f"{server['health']}, {check['status']}{code} \"{check['content'][:100]}\" in {check['duration_ms']} ms"


def judge(gate, cases, phase, title):
    """Waits until every case is as this phase has it; says how each is, returns how many are right and how many not."""
    cases = [case for case in cases if case.expected(phase) is not None]
    deadline = time.monotonic() + PATIENCE_S
    while True:
        rows = gate.status()
        wrong = {case.name: what_is_wrong(case, phase, rows.get(case.name)) for case in cases}
        if not any(wrong.values()) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    for name, why in wrong.items():
        said = shown(rows.get(name))
        print(f"{'FAILED' if why else 'ok':6} {title}: {name}: {said}{': ' + why if why else ''}", flush=True)
    return sum(not why for why in wrong.values()), sum(bool(why) for why in wrong.values())
