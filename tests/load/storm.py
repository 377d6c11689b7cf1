"""kill -9 at random in a storm of writes, again and again: every write that was answered is there after the next start,
none is there in part, what is staged is still staged, a refresh happened whole or not at all, and the start is quick.

They are written through every API: the native one, Zenlayer's shape and, by the one writer that stages, since a refresh makes live
what waits of everybody, OVHcloud's. Each writer has objects of its own and one write under way at a time, so it knows what must hold but for that one, of which
it keeps both outcomes. A whole farm is written with one stamp in all of its servers: half of one would be neither outcome.
What is staged cannot be read back, so it is made live and looked at. The seed is printed; `FARMGATE_SEED` repeats it.
"""

import copy
import http.client
import json
import os
import random
import socket
import threading
import time
import urllib.parse

from rig import LOOPBACK, TOKEN, until

WRITERS = 3
SERVERS = 5
FARMS = 4
START_S_MAX = 1.0
APPLICATION = {"name": "storm", "role": "admin", "application_key": "storm-key", "application_secret": "storm-secret-of-the-tests"}
# Servers that a writer knows in Zenlayer's shape; nobody need be there.
BACKEND_PORTS = range(9, 14)
SERVICE = "lb-storm"
OVH = f"/1.0/ipLoadbalancing/{SERVICE}"
# Credentials a writer has, and how many of them wait for an operator, at most. All writers ask from one address, of which
# the service lets eight wait.
CREDENTIALS, WAITING = 6, 2
# How long the writers write before the process is killed, at most; s.
STORM_S_MAX = 0.6


class Gone(Exception):
    """The process was killed before it answered."""


class Refused(Exception):
    """An answer that no write of these may get."""


class Line:
    """One kept connection of one writer. Nothing is sent twice: what was not answered may have been done."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection(LOOPBACK, port, timeout=20)

    def ask(self, method, path, body=None, **fields):
        headers = {"Authorization": f"Bearer {TOKEN}", **{key.replace("_", "-"): value for key, value in fields.items()}}
        headers = {key: value for key, value in headers.items() if value is not None}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            raise Gone() from error
        if not 200 <= answer.status < 300:
            raise Refused(f"{method} {path}: {answer.status} {text.decode(errors='replace').strip()}")
        return json.loads(text) if text.strip() else None

    def close(self):
        self.connection.close()


class Writer:
    """Writes its own objects and knows what they must be. `possible`: every state that may hold."""

    def __init__(self, n, origin, port):
        self.n, self.origin, self.port = n, origin, port
        self.zone = "local"
        self.stamp, self.written = 0, {}
        fresh = {"live": {}, "staged": {}, "ahead": {}, "order": ["active", 10], "frontend": False, "zenlayer": {}, "credentials": {}}
        self.possible = [fresh]
        self.line = None

    # What it writes. Each returns what holds once it was answered.

    def whole(self, name, stamp):
        return {"protocol": "http", "servers": {f"s{i}": {"address": self.origin, "weight": stamp} for i in range(SERVERS)}}

    def next_stamp(self):
        self.stamp = self.stamp % 60_000 + 1
        return self.stamp

    def write_farm(self, chance, group, zone):
        """Makes, replaces, changes or removes one of its farms, live or for the refresh of its zone."""
        now = self.possible[0]
        known = now["live"] if zone is None else now["ahead"]
        name = f"{group}-{self.n}-{chance.randrange(FARMS)}"
        query = f"?stage={zone}" if zone else ""
        path, stamp = f"/api/v1/farms/{name}", self.next_stamp()
        then = copy.deepcopy(now)
        farms = then["live"] if zone is None else then["ahead"]
        if name not in known:
            verb = "create"
            farms[name] = [stamp] * SERVERS
            call = ("POST", f"/api/v1/farms{query}", {"name": name, **self.whole(name, stamp)})
        else:
            verb = chance.choice(["replace", "replace", "patch", "delete"])
            if verb == "replace":
                farms[name] = [stamp] * SERVERS
                call = ("PUT", path + query, self.whole(name, stamp))
            elif verb == "patch":
                at = chance.randrange(SERVERS)
                farms[name] = [stamp if i == at else weight for i, weight in enumerate(farms[name])]
                call = ("PATCH", f"{path}/servers/s{at}{query}", {"weight": stamp})
            else:
                del farms[name]
                call = ("DELETE", path + query, None)
        self.make(("staged " if zone else "") + verb, then, lambda: self.line.ask(*call))

    def write_ovh(self, chance):
        """Makes or removes a farm, or a server of one, or weighs one, for the refresh of the service's zone."""
        now = self.possible[0]
        then = copy.deepcopy(now)
        weight, ahead = self.next_stamp() % 256, then["ahead"]
        # A name is a farm's until what ends it is live, so each is used once.
        name = f"staged-{self.n}-{FARMS + self.stamp}"
        known = sorted(name for name in ahead if int(name.rsplit("-", 1)[1]) >= FARMS)
        if len(known) == 2:
            name = chance.choice(known)
        farm, path = ahead.get(name), f"{OVH}/http/farm/{name}"
        if farm is None:
            verb, ahead[name] = "create", []
            call = ("POST", f"{OVH}/http/farm", {"zone": self.zone, "displayName": name})
        elif len(farm) < SERVERS and chance.random() < 0.7:
            host, port = self.origin.split(":")
            form = {"address": host, "port": int(port), "status": "active", "weight": weight, "displayName": f"s{len(farm)}"}
            verb, call = "create server", ("POST", f"{path}/server", form)
            ahead[name] = [*farm, weight]
        elif farm and chance.random() < 0.7:
            at = chance.randrange(len(farm))
            verb, call = "put server", ("PUT", f"{path}/server/s{at}", {"weight": weight})
            ahead[name] = [weight if i == at else is_now for i, is_now in enumerate(farm)]
        else:
            verb, call = "delete", ("DELETE", path, None)
            del ahead[name]
        self.make(f"ovh {verb}", then, lambda: self.line.ask(*call))

    def write_zenlayer(self, chance):
        """Registers, weighs or takes away servers of its listener, several at once."""
        then = copy.deepcopy(self.possible[0])
        known, weight = then["zenlayer"], self.next_stamp()
        ports = chance.sample(BACKEND_PORTS, 2)
        if not any(port in known for port in ports):
            action = "RegisterBackend"
        else:
            action, ports = chance.choice(["ModifyBackend", "DeregisterBackend"]), [port for port in ports if port in known]
        for port in ports:
            known[port] = weight
            if action == "DeregisterBackend":
                del known[port]
        backends = [{"privateIpAddress": LOOPBACK, "port": port} for port in ports]
        if action != "DeregisterBackend":
            backends = [{**backend, "weight": weight} for backend in backends]
        form = {"listenerId": f"zen-{self.n}", "backendServers": backends}
        self.make(f"zenlayer {action}", then, lambda: zenlayer(self.line, action, form))

    def refresh(self):
        """Makes live what it staged; returns once that is done."""
        then = copy.deepcopy(self.possible[0])
        then["staged"] = dict(then["ahead"])

        def call():
            task = self.line.ask("POST", "/api/v1/refresh", {"zones": [self.zone]})
            # From here on it is promised, whoever carries it out.
            self.possible = [then]
            self.await_task(task["id"])

        self.make("refresh", then, call)

    def await_task(self, number):
        for _ in range(4000):
            task = self.line.ask("GET", f"/api/v1/tasks/{number}")
            if task["status"] == "done":
                return
            if task["status"] == "error":
                raise Refused(f"task {number}: {task['error']}")
            time.sleep(0.005)
        raise Refused(f"task {number} does not end")

    def order(self, chance):
        """Drains, maintains or weighs the server of the file that is its own."""
        then = copy.deepcopy(self.possible[0])
        path = f"/api/v1/farms/web/servers/file-{self.n}"
        if chance.random() < 0.3:
            then["order"][1] = chance.randrange(1, 100)
            call = ("PUT", f"{path}/weight", {"weight": then["order"][1]})
        else:
            verb = chance.choice(["drain", "maintenance", "ready"])
            then["order"][0] = "active" if verb == "ready" else verb
            call = ("POST", f"{path}/{verb}", {})
        self.make("order", then, lambda: self.line.ask(*call))

    def listen(self):
        """Opens its frontend or closes it."""
        then = copy.deepcopy(self.possible[0])
        then["frontend"] = not then["frontend"]
        name = f"front-{self.n}"
        if then["frontend"]:
            form = {"name": name, "protocol": "http", "listen": [f"{LOOPBACK}:{self.port}"], "farm": "web"}
            call = ("POST", "/api/v1/frontends", form)
        else:
            call = ("DELETE", f"/api/v1/frontends/{name}", None)
        self.make("frontend", then, lambda: self.line.ask(*call))

    def decide(self, chance):
        """Asks for a credential, or grants, refuses or ends one."""
        now = self.possible[0]
        known = now["credentials"]
        is_room = len(known) < CREDENTIALS and list(known.values()).count("pendingValidation") < WAITING
        if not known or (is_room and chance.random() < 0.5):
            rules = [{"method": "GET", "path": f"/writer/{self.n}"}]
            told = {}

            def ask():
                told.update(self.line.ask("POST", "/1.0/auth/credential", {"accessRules": rules}, Authorization=None,
                                          X_Ovh_Application=APPLICATION["application_key"]))
                number = urllib.parse.parse_qs(urllib.parse.urlsplit(told["validationUrl"]).query)["credentialId"][0]
                self.possible[0]["credentials"][number] = "pendingValidation"

            # One that was not answered is nobody's: it may be there, and waits.
            self.make("ask", copy.deepcopy(now), ask, keeps=True)
            return
        number = chance.choice(sorted(known))
        then = copy.deepcopy(now)
        if known[number] == "pendingValidation":
            verb = chance.choice(["grant", "refuse"])
            then["credentials"][number] = "validated" if verb == "grant" else "refused"
        else:
            verb = "revoke"
            del then["credentials"][number]
        self.make(verb, then, lambda: self.line.ask("POST", f"/api/v1/credentials/{number}/{verb}", {}))

    def make(self, what, then, call, keeps=False):
        """Makes a write. Until it was answered, both what was and what it comes to may hold."""
        if not keeps:
            self.possible = [self.possible[0], then]
        call()
        if not keeps:
            self.possible = [then]
        self.written[what] = self.written.get(what, 0) + 1

    def write(self, seed, is_over, faults):
        """Writes until the process is gone."""
        chance = random.Random(seed)
        steps = [
            lambda: self.write_farm(chance, "live", None),
            lambda: self.write_farm(chance, "live", None),
            lambda: self.order(chance),
            self.listen,
            lambda: self.decide(chance),
            lambda: self.write_zenlayer(chance),
        ]
        if self.n == 0:
            steps += [lambda: self.write_farm(chance, "staged", self.zone)] * 2
            steps += [lambda: self.write_ovh(chance)] * 2
            steps.append(self.refresh)
        try:
            while not is_over.is_set():
                chance.choice(steps)()
        except Gone:
            pass
        except Refused as refused:
            # A kill may have let through the head of a write and no more.
            faults.append(f"writer {self.n}: {refused}")

    # What it reads.

    def judge(self, seen):
        """Returns what is wrong after a start; leaves what may hold."""
        wrong = []
        farms = {name: weights for name, weights in seen["farms"].items() if name.split("-")[1:2] == [str(self.n)]}
        live = {name: weights for name, weights in farms.items() if name.startswith("live-")}
        staged = {name: weights for name, weights in farms.items() if name.startswith("staged-")}
        is_now = {"live": live, "staged": staged, "order": seen["orders"][self.n], "frontend": f"front-{self.n}" in seen["frontends"]}
        is_now["zenlayer"] = seen["zenlayer"][self.n]
        fits = [one for one in self.possible if all(one[key] == value for key, value in is_now.items())]
        fits = [one for one in fits if all(seen["credentials"].get(n) == state for n, state in one["credentials"].items())]
        # One that it revoked is gone; one that nobody was told of waits.
        own = {n: state for n, state in seen["credentials"].items() if seen["rules"][n] == f"/writer/{self.n}"}
        fits = [one for one in fits if all(n in one["credentials"] or state == "pendingValidation" for n, state in own.items())]
        if not fits:
            want = [{key: one[key] for key in [*is_now, "credentials"]} for one in self.possible]
            wrong.append(f"writer {self.n}: {is_now} and {own} is none of {want}")
            fits = self.possible[:1]
        if any(one["frontend"] != is_open(self.port) for one in fits):
            wrong.append(f"writer {self.n}: its frontend is there and its port is {'open' if is_open(self.port) else 'closed'}")
        self.possible = fits
        # What is staged shows once it is live.
        wanted = [one["ahead"] for one in fits]
        self.line.ask("POST", "/api/v1/refresh", {"zones": [self.zone]})
        until("the refresh", lambda: all(task["status"] in ("done", "error") for task in self.line.ask("GET", "/api/v1/tasks")["tasks"]))
        after = {name: weights for name, weights in farms_of(self.line).items() if name.startswith(f"staged-{self.n}-")}
        if after not in wanted:
            wrong.append(f"writer {self.n}: staged was {wanted}, live it is {after}")
        self.possible = [{**one, "ahead": after, "staged": dict(after)} for one in fits[:1]]
        for number in own:
            if number not in self.possible[0]["credentials"]:
                self.line.ask("POST", f"/api/v1/credentials/{number}/revoke", {})
        return wrong


def is_open(port):
    with socket.socket() as connection:
        connection.settimeout(5)
        return connection.connect_ex((LOOPBACK, port)) == 0


def zenlayer(line, action, form):
    form = {"loadBalancerId": SERVICE, **form}
    return line.ask("POST", "/api/v2/zlb", form, X_ZC_Action=action, X_ZC_Version="2025-04-01")["response"]


def backends_of(line, n):
    told = zenlayer(line, "DescribeBackends", {"listenerId": f"zen-{n}"})["backends"]
    return {backend["backendPort"]: backend["weight"] for backend in told}


def farms_of(line):
    rows = line.ask("GET", "/api/v1/farms")["farms"]
    weights = lambda farm: [server["weight"] for server in sorted(farm["servers"], key=lambda server: server["name"])]
    return {farm["name"]: weights(farm) for farm in rows if farm["name"] != "web"}


def look(line):
    """Everything that the writers wrote, as it is now. What was accepted is carried out first."""
    ended = lambda: all(task["status"] in ("done", "error") for task in line.ask("GET", "/api/v1/tasks")["tasks"])
    until("accepted refreshes to be carried out", ended)
    servers = line.ask("GET", "/api/v1/farms/web/servers")["servers"]
    known = line.ask("GET", "/api/v1/credentials")["credentials"]
    return {
        "farms": farms_of(line),
        "orders": [[server["admin"], server["weight"]] for server in sorted(servers, key=lambda server: server["name"])],
        "zenlayer": [backends_of(line, n) for n in range(WRITERS)],
        "frontends": {frontend["name"] for frontend in line.ask("GET", "/api/v1/frontends")["frontends"]},
        "credentials": {str(one["id"]): one["state"] for one in known},
        "rules": {str(one["id"]): one["rules"][0]["path"] for one in known},
    }


def start(farmgate):
    """Starts it; returns how long it took until it answered."""
    began = time.monotonic()
    farmgate.start()
    line = Line(farmgate.admin_port)

    def first():
        farmgate.is_alive()
        try:
            return line.ask("GET", "/api/v1/status")
        except Gone:
            return None

    until("the first answer", first)
    line.close()
    return time.monotonic() - began


def of_writes(bench, where):
    seed = int(os.environ.get("FARMGATE_SEED", random.randrange(2**32)))
    chance = random.Random(seed)
    with bench.rig() as rig:
        origin = rig.origin("a", 0)
        servers = {f"file-{n}": {"address": origin.address, "weight": 10} for n in range(WRITERS)}
        config = {
            "service": {"name": SERVICE, "addresses": [LOOPBACK], "api_ports": "1024-65535"},
            "state_dir": str(rig.directory / "state"),
            "frontends": {},
            "farms": {"web": {"protocol": "http", "servers": servers}},
        }
        farmgate = rig.farmgate(config, admin={"ovh": {"applications": [APPLICATION]}})
        farmgate.wait_ready()
        writers = [Writer(n, origin.address, rig.port()) for n in range(WRITERS)]
        line = Line(farmgate.admin_port)
        for n in range(WRITERS):
            form = {"listenerName": f"zen-{n}", "protocol": "TCP", "scheduler": "wrr", "port": str(rig.port())}
            zenlayer(line, "CreateListener", form)
        line.close()
        wrong, faults, starts = [], [], []
        for n in range(bench.kills):
            is_over = threading.Event()
            for writer in writers:
                writer.line = Line(farmgate.admin_port)
            seeds = [chance.randrange(2**32) for _ in writers]
            threads = [threading.Thread(target=w.write, args=(s, is_over, faults), daemon=True) for w, s in zip(writers, seeds)]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.02, STORM_S_MAX))
            farmgate.kill()
            is_over.set()
            for thread in threads:
                thread.join(30)
            starts.append(start(farmgate))
            line = Line(farmgate.admin_port)
            seen = look(line)
            line.close()
            for writer in writers:
                writer.line = Line(farmgate.admin_port)
                wrong += [f"kill {n + 1}: {text}" for text in writer.judge(seen)]
                writer.line.close()
        tell(bench, where, seed, writers, (wrong, faults), sorted(starts))


def tell(bench, where, seed, writers, trouble, starts):
    report, (wrong, faults) = bench.report, trouble
    written = {}
    for writer in writers:
        for what, count in writer.written.items():
            written[what] = written.get(what, 0) + count
    said = f"{bench.kills} kills, seed {seed}; answered: " + ", ".join(f"{count} {what}" for what, count in sorted(written.items()))
    report.claim(where, "every write that was answered is there after each kill, and none in part", not wrong and sum(written.values()) > 0, said)
    report.claim(where, "no write that the config allows was refused", not faults, f"{len(faults)} were")
    p50, last = starts[len(starts) // 2], starts[-1]
    said = f"median {1000 * p50:.0f} ms, slowest {1000 * last:.0f} ms"
    report.claim(where, f"the first answer comes within {START_S_MAX:.0f} s of the start", last < START_S_MAX, said)
    for text in (wrong + faults)[:10]:
        print(f"        {text}")
    report.note(where, kills=bench.kills, seed=seed, written=written, start_p50_ms=round(1000 * p50), start_max_ms=round(1000 * last))
