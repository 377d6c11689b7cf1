"""Every type of probe, against a real server that passes it and real ones that fail it.

One farmgate with one farm a case, each of one server, and a table of what its last check must be once the servers are
as a phase leaves them: `PHASES`. Ends with "N passed, N failed".
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

import servers
from farmgate import PATIENCE_S, TOKEN, free_port
from servers import Crowd, Says, wait_for

# Of every probe here.
TIMEOUT_MS = 800
# What a busy machine may add to a check that ends at its deadline.
SLACK_MS = 400
PASSED = ("L4OK", "L6OK", "L7OK", "PROCOK")
# Where a command tells the processes that it started.
SLEEPERS = "sleepers"
AT_DEADLINE = ("L4TOUT", "L6TOUT", "L7TOUT", "PROCTOUT")


class Case:
    """A probe of one server. What its last check must be: by phase, or the same as in the phase before.

    An expectation is the status, the code and a pattern of the content; the server must be up or down as the status
    says, `None` where the status says nothing of it.
    """

    def __init__(self, name, probe, port, expects, host="127.0.0.1", aim=None, farm=None):
        self.name, self.probe, self.port, self.host, self.aim = name, probe, port, host, aim or {}
        self.expects = expects if isinstance(expects, list) else [expects]
        self.farm = farm or {}

    def expected(self, phase):
        return self.expects[min(phase, len(self.expects) - 1)]

    def config(self):
        timing = {"interval": "1s", "timeout": f"{TIMEOUT_MS}ms", "rise": 1, "fall": 1}
        host = f"[{self.host}]" if ":" in self.host else self.host
        server = {"address": f"{host}:{self.port}"}
        if self.aim:
            server["probe"] = self.aim
        return {"protocol": "tcp", "probe": {**self.probe, **timing}, "servers": {"it": server}, **self.farm}


class Gate:
    """A running farmgate, asked through its native API."""

    def __init__(self, base, cases, prefix=(), admin=None, **settings):
        self.prefix, self.admin = list(prefix), admin or f"127.0.0.1:{free_port()}"
        farms = {case.name: case.config() for case in cases}
        frontends = {
            case.name: {"protocol": "tcp", "listen": [f"127.0.0.1:{free_port()}"], "farm": case.name} for case in cases
        }
        config = {
            "service": {"name": "lb-probes"},
            "frontends": frontends,
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

    def __init__(self, base, cases):
        super().__init__(base, cases, ["unshare", "--net", "sh", "-c", self.SETUP, "sh"], admin="127.0.0.1:8079")

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


def what_is_wrong(case, phase, server):
    """Returns why the server is not as the case has it, or nothing."""
    status, code, content = case.expected(phase)
    check = server and server["last_check"]
    if not check:
        return "not checked"
    if check["status"] != status or check["code"] != code or not re.search(content, check["content"]):
        return f"is {check['status']} {check['code']} \"{check['content']}\", not {status} {code} /{content}/"
    verdict = {**dict.fromkeys(PASSED, "up"), "SOCKERR": None, "CHECKED": None}.get(status, "down")
    if verdict and server["health"] != verdict:
        return f"{status}, and {server['health']}"
    if status in AT_DEADLINE and not TIMEOUT_MS <= check["duration_ms"] <= TIMEOUT_MS + SLACK_MS:
        return f"{status} after {check['duration_ms']} ms, not {TIMEOUT_MS}"
    return None


def judge(gate, cases, phase, title):
    """Waits until every case is as this phase has it; prints those that are not, and returns how many are."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        rows = gate.status()
        wrong = {case.name: what_is_wrong(case, phase, rows.get(case.name)) for case in cases}
        if not any(wrong.values()) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    for name, why in wrong.items():
        print(f"{'FAILED' if why else 'ok':6} {title}: {name}{': ' + why if why else ''}", flush=True)
    return sum(not why for why in wrong.values()), sum(bool(why) for why in wrong.values())


# ---- the cases


def mail(crowd, ssh):
    well, refuses = servers.smtp(crowd)
    probe = {"type": "smtp", "hello": "lb.test"}
    return [
        Case("smtp-passes", probe, well, ("L7OK", 250, "^250 ")),
        Case("smtp-refused", probe, refuses, ("L7STS", 550, "^answer to HELO: 550 not from here$")),
        Case("smtp-of-ssh", probe, ssh, ("L7RSP", None, "greeting is not of SMTP, received: SSH-2.0")),
    ]


def tcp(ssh):
    def banner(text, **more):
        return {"type": "tcp", "expect": {"contains": text, **more}}

    refused = ("L4CON", None, "^Connection refused$")
    return [
        Case("tcp-connects", {"type": "tcp"}, ssh, [("L4OK", None, ""), refused]),
        Case("tcp-banner", banner("SSH-2.0"), ssh, [("L7OK", None, "^SSH-2.0-OpenSSH"), refused]),
        Case("tcp-other-banner", banner("220 "), ssh, [("L7TOUT", None, "no matching banner .*SSH-2.0"), refused]),
    ]


def mysql(port):
    full = ("L7STS", 1040, "Too many connections")
    stopped = ("L4CON", None, "refused")
    return [
        Case("mysql-greets", {"type": "mysql"}, port, [("L7OK", None, "^version [0-9.]+-MariaDB"), full, stopped]),
        Case(
            "mysql-logs-in", {"type": "mysql", "user": "probe"}, port,
            [("L7OK", None, "^version .*MariaDB"), full, stopped],
        ),
        Case(
            "mysql-denied", {"type": "mysql", "user": "guarded"}, port,
            [("L7STS", 1045, "^28000: Access denied for user 'guarded'"), full, stopped],
        ),
        # From an address that the server counts errors of, which it does not of 127.0.0.1.
        Case(
            "mysql-is-not-annoyed", {"type": "mysql"}, port, [("L7OK", None, "^version .*MariaDB"), full, stopped],
            aim={"source": "127.0.0.2"},
        ),
    ]


def pgsql(port):
    leaving = ("L7STS", None, "^FATAL 57P03: the database system is shutting down$")
    stopped = ("L4CON", None, "refused")

    def asked(name, user, first):
        return Case(name, {"type": "pgsql", "user": user}, port, [first, leaving, stopped])

    return [
        asked("pgsql-trusts", "admin", ("L7OK", None, "^authentication: none needed$")),
        asked("pgsql-asks-for-password", "guarded", ("L7OK", None, "^authentication: SASL")),
        asked("pgsql-rejects", "rejected", ("L7STS", None, "^FATAL 28000: pg_hba.conf rejects connection")),
    ]


def redis(open_port, guarded_port):
    hung, stopped = ("L7TOUT", None, "no answer to PING within"), ("L4CON", None, "refused")
    no_auth = ("L7STS", None, "^NOAUTH ")
    probe = {"type": "redis"}
    return [
        Case("redis-pongs", probe, open_port, [("L7OK", None, "^PONG$"), hung, ("L7OK", None, "^PONG$")]),
        Case("redis-wants-password", probe, guarded_port, [no_auth, no_auth, stopped]),
        Case("redis-password", {**probe, "password": "open sesame"}, guarded_port,
             [("L7OK", None, "^PONG$"), ("L7OK", None, "^PONG$"), stopped]),
        Case("redis-wrong-password", {**probe, "password": "open barley"}, guarded_port,
             [("L7STS", None, "^WRONGPASS (?!.*barley)"), ("L7STS", None, "^WRONGPASS"), stopped]),
    ]


def exchange(redis_port, ssh, web, ca):
    def steps(*steps, **more):
        return {"type": "exchange", "steps": list(steps), **more}

    pings = [{"send": "PING\r\n"}, {"expect": "+PONG\r\n"}, {"send_hex": "50494e470d0a"}, {"expect_hex": "2b504f4e47"}]
    hung = ("L7TOUT", None, r'^step 2 \(expect "\+PONG\\r\\n"\): no match within')
    passed = ("L7OK", None, r"^\+PONG")
    get = [{"send": "GET / HTTP/1.0\r\n\r\n"}, {"matches": "^HTTP/1\\.[01] 200 "}, {"expect": "well"}]
    return [
        Case("exchange-passes", steps(*pings), redis_port, [passed, hung, passed]),
        Case("exchange-fails", steps({"matches": "^SSH-1"}), ssh,
             ("L7TOUT", None, r'^step 1 \(matches "\^SSH-1"\): no match within .*received: SSH-2')),
        Case("exchange-closed", steps({"send": "hello\r\n"}, {"expect": "welcome"}), web["http1"],
             ("L7RSP", None, r'^step 2 \(expect "welcome"\): connection closed.*400 Bad Request')),
        Case("exchange-in-tls", steps(*get, tls=True), web["good"], ("L7OK", None, "well$"),
             aim={"ca": ca, "sni": "good.test"}),
        Case("exchange-in-bad-tls", steps(*get, tls=True), web["expired"], ("L6RSP", None, "(?i)expired"),
             aim={"ca": ca, "sni": "good.test"}),
    ]


def oco(crowd):
    well, sick = Says(crowd, b"200 all is well\n"), Says(crowd, b"503 no more room\n")

    def case(name, port, expects, **more):
        return Case(name, {"type": "oco"}, free_port(), expects, aim={"port": port} if port else {}, **more)

    cases = [
        case("oco-passes", well.port, ("L7OK", None, "^200 all is well$")),
        case("oco-fails", sick.port, ("L7RSP", None, "^503 no more room$")),
    ]
    if os.geteuid() == 0:
        Says(crowd, b"2\n", host="127.0.79.79", port=79)
        cases.append(case("oco-on-its-own-port", None, ("L7OK", None, "^2$"), host="127.0.79.79"))
    return cases


def agent(crowd, ssh):
    line = Says(crowd, b"up 75%\n")
    words = Says(crowd, b"500 Internal Server Error\n")
    return line, [
        Case("agent-speaks", {"type": "agent"}, ssh,
             [("L7OK", None, "^up 75%$"), ("L7STS", None, "^down#by hand$"), ("L7OK", None, "^ready up 100%$")],
             aim={"port": line.port}),
        Case("agent-gibbers", {"type": "agent", "send": "how?\n"}, ssh, ("L7RSP", None, "^not an agent's line: "),
             aim={"port": words.port}),
        Case("agent-is-away", {"type": "agent"}, ssh, ("CHECKED", None, "^agent not reached: Connection refused$"),
             aim={"port": free_port()}),
    ]


def command(base, ssh):
    def script(name, text):
        path = os.path.join(base, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{text}\n")
        os.chmod(path, 0o755)
        return path

    told = script("told", 'test "$1" = "$FARMGATE_ADDRESS" && test "$2" = "$FARMGATE_PORT" && echo "at $1 $2"')
    fails = script("fails", "echo no good; exit 7")
    sleeps = script("sleeps", f"echo yawn; sleep 600 & echo $! >>{os.path.join(base, SLEEPERS)}; wait")

    def probe(program, *args):
        return {"type": "command", "program": program, "args": list(args)}

    return [
        Case("command-passes", probe(told, "{address}", "{port}"), ssh, ("PROCOK", 0, f"^at 127.0.0.1 {ssh}$")),
        Case("command-fails", probe(fails), ssh, ("PROCERR", 7, "^exit status 7: no good$")),
        Case("command-sleeps", probe(sleeps), ssh, ("PROCTOUT", None, "^killed after 800ms: yawn$")),
        Case("command-missing", probe("/nonexistent/check"), ssh, ("PROCERR", None, "No such file or directory")),
    ]


def tls(web, ca):
    good, refused = {"ca": ca, "sni": "good.test"}, ("L6RSP", None, "(?i)certificate|issuer|name")
    return [
        Case("tls-good", {"type": "tls"}, web["good"], ("L6OK", None, ""), aim=good),
        Case("tls-expired", {"type": "tls"}, web["expired"], ("L6RSP", None, "(?i)expired"), aim=good),
        Case("tls-wrong-name", {"type": "tls"}, web["wrong"], refused, aim=good),
        Case("tls-unknown-authority", {"type": "tls"}, web["good"], refused, aim={"sni": "good.test"}),
        Case("tls-unverified", {"type": "tls"}, web["expired"], ("L6OK", None, ""), aim={"verify": False}),
        Case("tls-of-http", {"type": "tls"}, web["http1"], ("L6RSP", None, ""), aim=good),
    ]


def http(crowd, web, ca):
    good = {"ca": ca, "sni": "good.test"}

    def probe(url, **more):
        return {"type": "http", "url": url, **more}

    contains = probe("/", expect={"contains": "needle"})
    return [
        Case("http-passes", probe("/"), web["http1"], ("L7OK", 200, "")),
        Case("http-sick", probe("/sick"), web["http1"], ("L7STS", 503, "")),
        Case("http2-passes", probe("/", version="2"), web["h2c"], ("L7OK", 200, "")),
        Case("http2-sick", probe("/sick", version="2"), web["h2c"], ("L7STS", 503, "")),
        Case("http2-of-http1", probe("/", version="2"), web["http1"], ("L7RSP", None, "")),
        Case("https-passes", {**probe("/"), "type": "https"}, web["good"], ("L7OK", 200, ""), aim=good),
        Case("https-2-passes", {**probe("/", version="2"), "type": "https"}, web["good"], ("L7OK", 200, ""), aim=good),
        Case("https-sick", {**probe("/sick"), "type": "https"}, web["good"], ("L7STS", 503, ""), aim=good),
        Case("https-expired", {**probe("/"), "type": "https"}, web["expired"], ("L6RSP", None, "(?i)expired"), aim=good),
        Case("fault-drip", probe("/"), servers.drip(crowd), ("L7TOUT", None, "within")),
        Case("fault-endless", contains, servers.endless(crowd), ("L7RSP", 200, "^xxx")),
        Case("fault-reset", probe("/"), servers.reset(crowd), ("L7RSP", None, "Connection reset by peer")),
        Case("fault-black-hole", probe("/"), servers.black_hole(crowd), ("L4TOUT", None, "no connection within")),
        Case("fault-silent", {"type": "tls"}, servers.Talker(crowd, lambda c: c.recv(1 << 16) and c.recv(1)).port,
             ("L6TOUT", None, "")),
    ]


def grpc(crowd, certificate, ca):
    plain, inside = servers.Health(crowd), servers.Health(crowd, certificate)

    def probe(service, **more):
        return {"type": "grpc", "service": service, **more}

    good = {"ca": ca, "sni": "good.test"}
    serving, tired = ("L7OK", 0, "SERVING"), ("L7STS", 0, "NOT_SERVING")
    return plain, [
        Case("grpc-serving", probe("shop"), plain.port, [serving, tired, serving]),
        Case("grpc-not-serving", probe("tired"), plain.port, tired),
        Case("grpc-unknown-service", probe("none"), plain.port, ("L7STS", 5, "")),
        Case("grpc-in-tls", probe("shop", tls=True), inside.port, serving, aim=good),
        Case("grpc-in-tls-unknown-authority", probe("shop", tls=True), inside.port, ("L6RSP", None, "(?i)issuer|certif"),
             aim={"sni": "good.test"}),
    ]


def ping(ssh):
    passed = ("L4OK", None, "^echo reply of 24 bytes$")
    not_permitted = ("SOCKERR", None, "ping needs CAP_NET_RAW")
    at_home = passed if os.geteuid() == 0 else not_permitted
    return [
        Case("ping-passes", {"type": "ping"}, ssh, at_home),
        Case("ping-passes-from", {"type": "ping"}, ssh, at_home, aim={"source": "127.0.0.3"}),
    ]


# ---- the phases


def is_sleeping(number):
    try:
        with open(f"/proc/{number}/cmdline", "rb") as file:
            return file.read() == b"sleep\0600\0"
    except FileNotFoundError:
        return False


class Run:
    def __init__(self, base, wanted):
        self.base, self.wanted, self.crowd = base, wanted, Crowd(base)
        self.passed = self.failed = 0
        self.sessions = []

    def pick(self, cases):
        return [case for case in cases if not self.wanted or case.name.startswith(tuple(self.wanted))]

    def all(self):
        crowd, base = self.crowd, self.base
        self.ca, certificates = servers.certificates(crowd)
        ssh = servers.sshd(crowd)
        # One that stays when that is stopped.
        other = Says(crowd, b"SSH-2.0-other\r\n").port
        web = servers.nginx(crowd, certificates)
        self.mysql, self.postgres = servers.mariadb(crowd), servers.postgres(crowd)
        open_port = servers.redis(crowd, "redis")
        guarded_port = servers.redis(crowd, "redis-guarded", "--requirepass", "open sesame")
        self.line, agents = agent(crowd, other)
        self.health, grpcs = grpc(crowd, certificates["good"], self.ca)
        return [
            *tcp(ssh), *mail(crowd, other), *mysql(self.mysql), *pgsql(self.postgres), *redis(open_port, guarded_port),
            *exchange(open_port, other, web, self.ca), *oco(crowd), *agents, *command(base, other), *tls(web, self.ca),
            *http(crowd, web, self.ca), *grpcs, *ping(other),
        ]

    def count(self, counts):
        self.passed += counts[0]
        self.failed += counts[1]

    def main(self):
        cases = self.pick(self.all())
        if cases:
            runs_programs = any(case.probe["type"] == "command" for case in cases)
            gate = Gate(self.base, cases, **({"allow_commands": True} if runs_programs else {}))
            try:
                self.count(judge(gate, cases, 0, "all well"))
                # Long enough for a server that minds to have been annoyed by every one of these.
                time.sleep(4)
                self.count(judge(gate, cases, 0, "still well"))
                self.disturb()
                self.count(judge(gate, cases, 1, "disturbed"))
                self.stop_some()
                self.count(judge(gate, cases, 2, "some stopped"))
            finally:
                gate.close()
            if any(case.name == "command-sleeps" for case in cases):
                self.nothing_is_left()
        self.elsewhere()

    def disturb(self):
        """Each server another trouble."""
        self.crowd.stop("sshd", signal.SIGTERM)
        # Every connection that it has; the one more that an administrator would get is on another port.
        self.sessions += [socket.create_connection(("127.0.0.1", self.mysql), PATIENCE_S) for _ in range(11)]
        self.sessions.append(servers.postgres_session(self.postgres))
        # Smart: it waits for those who are there, and takes nobody new.
        os.kill(self.crowd.processes["postgres"].pid, signal.SIGTERM)
        self.crowd.send("redis", signal.SIGSTOP)
        self.health.tell("shop", "NOT_SERVING")
        self.line.line = b"down#by hand\n"

    def stop_some(self):
        """Some come back, some end."""
        self.crowd.stop("mariadb")
        self.crowd.stop("postgres")
        self.crowd.stop("redis-guarded")
        self.crowd.send("redis", signal.SIGCONT)
        self.health.tell("shop", "SERVING")
        self.line.line = b"ready up 100%\n"

    def nothing_is_left(self):
        """What a command probe started has ended with its check."""
        try:
            with open(os.path.join(self.base, SLEEPERS), encoding="utf-8") as file:
                numbers = file.read().split()
        except FileNotFoundError:
            numbers = []
        left = [number for number in numbers if is_sleeping(number)]
        is_right = bool(numbers) and not left
        self.count((1, 0) if is_right else (0, 1))
        why = "" if is_right else f": of {len(numbers)} these are: {left}"
        print(f"{'ok' if is_right else 'FAILED':6} no process of a command is left behind{why}", flush=True)

    def elsewhere(self):
        """Pings that need a farmgate of their own."""
        probe, anywhere = {"type": "ping"}, free_port()
        if os.geteuid() != 0:
            print("       ping in a network of its own: left out, since this is not root", flush=True)
            return
        bare = self.pick([Case("ping-not-permitted", probe, anywhere, ("SOCKERR", None, "^ping needs CAP_NET_RAW: "))])
        alone = self.pick([
            Case("ping-unanswered", probe, anywhere, ("L4TOUT", None, "^no echo reply within 800ms$")),
            Case("ping-unreachable", probe, anywhere, ("L4CON", None, "^No route to host$"), host="198.51.100.1"),
            Case("ping-6-passes", probe, anywhere, ("L4OK", None, "^echo reply of 24 bytes$"), host="::1"),
        ])
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]
        # Nobody may not look into every directory of ours.
        program = shutil.copy(os.environ["FARMGATE_BIN"], os.path.join(self.base, "farmgate"))
        os.chmod(program, 0o755)
        if bare:
            self.judge_alone(Gate(self.base, bare, [*as_nobody, "--", "env", f"FARMGATE_BIN={program}"]), bare)
        if alone:
            self.judge_alone(NetnsGate(self.base, alone), alone)

    def judge_alone(self, gate, cases):
        try:
            self.count(judge(gate, cases, 0, "elsewhere"))
        finally:
            gate.close()


def main():
    # Room for a nobody to get in.
    base = tempfile.mkdtemp(prefix="farmgate-probes-")
    os.chmod(base, 0o755)
    run = Run(base, sys.argv[1:])
    try:
        run.main()
    except Exception:
        traceback.print_exc()
        run.failed += 1
    finally:
        for session in run.sessions:
            session.close()
        run.crowd.close()
        shutil.rmtree(base, ignore_errors=True)
    print(f"{run.passed} passed, {run.failed} failed", flush=True)
    # aiosmtpd and gRPC leave threads that nobody needs to wait for.
    sys.stdout.flush()
    os._exit(1 if run.failed or not run.passed else 0)


if __name__ == "__main__":
    main()
