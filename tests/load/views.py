"""Five ways to see the same servers, read as close together as can be and compared.

The native API is read first and last. Where both readings are of one generation nothing changed in between, so every
other view must say exactly the same: there is no tolerance. Otherwise a change fell into the poll; it is repeated at
once.
"""

import datetime
import itertools
import json
import threading
import time
import typing

from rig import PATIENCE_S, SERVICE, Admin, Failure

NATIVE = "/api/v1/farms"
ZENLAYER_FIELDS = {"X_ZC_Action": "DescribeBackendHealth", "X_ZC_Version": "2025-04-01"}
ZENLAYER_HEALTH = {"up": "Alive", "down": "Dead", "unknown": "Unknown", "off": "Close"}
TABLE_COLUMNS = ("SERVER", "ADDRESS", "STATE", "WEIGHT", "IN FLIGHT", "LAST CHECK", "SINCE")
# Polls in a row into which a change may fall; changes are an interval apart.
REPEATS_MAX = 10


class Disagreement(Exception):
    """Two views differ although nothing changed."""


class Views:
    def __init__(self, farmgate, farm):
        self.farmgate, self.admin, self.farm = farmgate, Admin(farmgate), farm
        _, native = self.native()
        self.ids = {name: server["id"] for name, server in native.items()}
        [self.farm_id] = [f["id"] for f in self.admin.json(NATIVE)["farms"] if f["name"] == farm]

    def native(self):
        """The generation, and the servers by name."""
        everything = self.admin.json(NATIVE)
        [farm] = [f for f in everything["farms"] if f["name"] == self.farm]
        return everything["generation"], {server["name"]: server for server in farm["servers"]}

    def ovh(self, name):
        path = f"/1.0/ipLoadbalancing/{SERVICE}/http/farm/{self.farm_id}/server/{self.ids[name]}"
        return self.admin.json(path)

    def zenlayer(self):
        body = json.dumps({"loadBalancerId": SERVICE})
        answer = json.loads(self.admin.call("POST", "/api/v2/zlb", body, **ZENLAYER_FIELDS))
        return {backend["backendPort"]: backend for backend in answer["response"]["backends"]}

    def status_json(self):
        [farm] = [f for f in json.loads(self.farmgate.cli("status", "--json"))["farms"] if f["name"] == self.farm]
        return {server["name"]: server for server in farm["servers"]}

    def status_table(self):
        """The table for people: state and weights by name."""
        lines = iter(self.farmgate.cli("status").splitlines())
        next(line for line in lines if line.startswith(f"farm {self.farm} "))
        header = next(lines)
        at = [header.index(column) for column in TABLE_COLUMNS]
        rows = {}
        # One row a server; notes may follow.
        for line in itertools.islice(lines, len(self.ids)):
            cells = [line[begin:end].strip() for begin, end in zip(at, [*at[1:], None])]
            effective, _, weight = cells[3].partition("/")
            rows[cells[0]] = (cells[2], int(weight), int(effective), cells[5].split(" ")[0])
        return rows

    def poll(self, with_table):
        """Reads all five; returns the native reading and how long it took, or nothing if a change fell into it."""
        began = time.monotonic()
        generation, before = self.native()
        ovh = {name: self.ovh(name) for name in before}
        zenlayer, metrics = self.zenlayer(), self.admin.metrics()
        status = self.status_table() if with_table else self.status_json()
        generation_after, after = self.native()
        if generation != generation_after:
            return None
        for name, server in before.items():
            is_same_check = server["last_check"] == after[name]["last_check"]
            self.compare(name, server, is_same_check, ovh[name], zenlayer, metrics, status[name])
        return before, time.monotonic() - began

    def compare(self, name, server, is_same_check, ovh, zenlayer, metrics, status):
        state, health, admin, weight, effective = core(server)
        check = server["last_check"]
        says = {}
        [ovh_state] = ovh["serverState"]
        says["serverState"] = (ovh_state["status"], ovh["weight"]), (state, weight)
        backend = zenlayer[int(server["address"].rsplit(":")[-1])]
        says["DescribeBackendHealth"] = (backend["healthStatus"], backend["weight"]), (ZENLAYER_HEALTH[health], weight)
        labels = f'farm="{self.farm}",server="{name}"'
        says["/metrics"] = (
            tuple(metrics[f"farmgate_server_{what}{{{labels}}}"] for what in ("up", "weight", "effective_weight")),
            (float(health in ("up", "off")), weight, effective),
        )
        if isinstance(status, tuple):
            last = check["status"] if check and is_same_check else status[3]
            says["status"] = status, (state, weight, effective, last)
        else:
            says["status --json"] = core(status), (state, health, admin, weight, effective)
        if check and is_same_check:
            evidence = (check["status"], check["code"], check["content"] or None, check["at"])
            code = ovh_state["checkCode"] and int(ovh_state["checkCode"])
            theirs = (ovh_state["checkStatus"], code, ovh_state["lastCheckContent"], ovh_state["checkTime"])
            says["serverState's evidence"] = theirs, evidence
            if not isinstance(status, tuple):
                says["status' evidence"] = status["last_check"], check
        for view, (theirs, native) in says.items():
            if theirs != native:
                raise Disagreement(f"{name}: {view} says {theirs}, /api/v1 says {native}")

    def close(self):
        self.admin.close()


def epoch(text):
    """A time as the native API writes it, in seconds since 1970."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def core(server):
    """What a server is, without the evidence, which is new after every check, and without what is under way."""
    return tuple(server[key] for key in ("state", "health", "admin", "weight", "effective_weight"))


class Seen(typing.NamedTuple):
    """A server's health that was new to the watch."""

    at: float
    server: str
    health: str
    # When it changed, as the native API tells it.
    since: float


class Watch(threading.Thread):
    """Polls the five views until told to stop; notes when a server's health was first seen changed in all of them."""

    def __init__(self, farmgate, farm, pause_s=0.03):
        super().__init__(daemon=True)
        self.views, self.pause_s = Views(farmgate, farm), pause_s
        self.is_over = threading.Event()
        self.polls, self.repeated, self.compared = 0, 0, 0
        self.longest_s = 0.0
        self.disagreements = []
        self.failure = None
        self.seen = []
        self.start()

    def run(self):
        try:
            known = {}
            while not self.is_over.wait(self.pause_s):
                self.once(known)
        except Exception as failure:  # Told by `stop`.
            self.failure = failure
        finally:
            self.views.close()

    def once(self, known):
        for _ in range(REPEATS_MAX):
            self.polls += 1
            try:
                reading = self.views.poll(with_table=self.polls % 2 == 0)
            except Disagreement as said:
                self.disagreements.append(str(said))
                return
            if reading:
                break
            self.repeated += 1
        else:
            raise Failure(f"{REPEATS_MAX} polls in a row saw a change")
        servers, took_s = reading
        self.compared += 1
        self.longest_s = max(self.longest_s, took_s)
        for name, server in servers.items():
            if known.get(name) != server["health"]:
                known[name] = server["health"]
                self.seen.append(Seen(time.time(), name, server["health"], epoch(server["since"])))

    def stop(self):
        self.close()
        if self.failure:
            raise self.failure

    def first_seen(self, name, health, after):
        """When all five views first said so, after that time."""
        if self.failure:
            raise self.failure
        return next((s for s in self.seen if s.at > after and (s.server, s.health) == (name, health)), None)

    def close(self):
        self.is_over.set()
        self.join(REPEATS_MAX * 2)


class Checks(threading.Thread):
    """The checks of one server as Farmgate records them, one after the other."""

    def __init__(self, farmgate, farm, server, pause_s=0.02):
        super().__init__(daemon=True)
        self.admin, self.path, self.pause_s = Admin(farmgate), f"{NATIVE}/{farm}/servers/{server}", pause_s
        self.is_over = threading.Event()
        # (when it ended, whether it passed)
        self.records = []
        self.start()

    def run(self):
        while not self.is_over.wait(self.pause_s):
            check = self.admin.json(self.path)["last_check"]
            record = (epoch(check["at"]), check["passed"])
            if record not in self.records[-1:]:
                self.records.append(record)
        self.admin.close()

    def close(self):
        self.is_over.set()
        self.join(PATIENCE_S)
