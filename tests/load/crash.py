"""kill -9 at random, again and again, under load: whatever an answer promised is there after the next start, a server that
was down is down from the first moment on, and the start is quick.

The server that is down hangs, so that its first check ends long after it was looked at: what is told of it then can only
have been kept. The seed is printed; `FARMGATE_SEED` repeats it.
"""

import http.client
import json
import os
import random
import threading
import time

from rig import LOOPBACK, until

SERVERS = "abcd"
HANGING = "d"
CHECK_TIMEOUT_S = 2
START_S_MAX = 1.0
CLIENTS = 4


class Load:
    """Clients that ask until they are told to stop, whatever comes of it; they count who answered."""

    def __init__(self, port):
        self.port, self.is_over = port, False
        self.answered, self.failed, self.lock = {}, 0, threading.Lock()
        self.threads = [threading.Thread(target=self.ask, daemon=True) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def ask(self):
        connection = None
        while not self.is_over:
            try:
                connection = connection or http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)
                connection.request("GET", "/")
                answer = connection.getresponse()
                name = answer.read().decode(errors="replace")[:40] if answer.status == 200 else str(answer.status)
                with self.lock:
                    self.answered[name] = self.answered.get(name, 0) + 1
            except (OSError, http.client.HTTPException):
                # It was killed under us.
                with self.lock:
                    self.failed += 1
                if connection:
                    connection.close()
                connection = None
                time.sleep(0.005)

    def close(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(10)


class Wanted:
    """What was promised of each server, and what may hold instead because no answer came."""

    def __init__(self):
        self.live = {name: {"admin": "active", "weight": 10, "reason": None} for name in SERVERS}
        self.doubt = {}

    def order(self, admin, chance):
        """Changes something at random; what is not answered may or may not hold."""
        name = chance.choice(SERVERS)
        verb = chance.choice(["drain", "maintenance", "ready", "weight"])
        reason = f"reason {chance.randrange(10**9)}"
        then = dict(self.live[name])
        if verb == "weight":
            then["weight"] = chance.randrange(1, 100)
            body = {"weight": then["weight"], "reason": reason}
        else:
            then["admin"] = {"drain": "drain", "maintenance": "maintenance", "ready": "active"}[verb]
            then["reason"] = None if then["admin"] == "active" else reason
            body = {"reason": reason}
            if then == {**self.live[name], "reason": then["reason"]}:
                return
        self.doubt = {name: then}
        method = "PUT" if verb == "weight" else "POST"
        admin.call(method, f"/api/v1/farms/web/servers/{name}/{verb}", json.dumps(body))
        self.live[name], self.doubt = then, {}

    def differences(self, servers):
        """What differs from every state that may hold; settles what was in doubt."""
        wrong = []
        for server in servers:
            name = server["name"]
            made = [o["reason"] for o in server["overrides"] if o["field"] == "status"]
            is_now = {"admin": server["admin"], "weight": server["weight"], "reason": made[0] if made else None}
            if is_now not in (self.live[name], self.doubt.get(name)):
                wrong.append(f"{name}: {is_now} instead of {self.live[name]}")
            self.live[name] = is_now
        self.doubt = {}
        return wrong


def start(farmgate):
    """Starts it; returns the servers as first told and how long that took."""
    began = time.monotonic()
    farmgate.start()
    admin = farmgate.admin()

    def first():
        farmgate.is_alive()
        try:
            return admin.json("/api/v1/farms/web/servers")["servers"]
        except (OSError, http.client.HTTPException):
            admin.connection.close()
            return None

    servers = until("the first answer", first)
    return admin, servers, time.monotonic() - began


def under_load(bench, where):
    seed = int(os.environ.get("FARMGATE_SEED", random.randrange(2**32)))
    chance = random.Random(seed)
    with bench.rig() as rig:
        origins = {name: rig.origin(name, 0) for name in SERVERS}
        port = rig.port()
        probe = {"type": "http", "url": "/healthz", "interval": f"{CHECK_TIMEOUT_S}s", "timeout": f"{CHECK_TIMEOUT_S}s", "fall": 1}
        servers = {name: {"address": origin.address, "weight": 10} for name, origin in origins.items()}
        config = {
            "state_dir": str(rig.directory / "state"),
            "frontends": {"web": {"protocol": "http", "listen": [f"{LOOPBACK}:{port}"], "farm": "web"}},
            "farms": {"web": {"protocol": "http", "probe": probe, "servers": servers}},
        }
        farmgate = rig.farmgate(config)
        farmgate.wait_ready()
        origins[HANGING].hang()
        admin = farmgate.admin()
        until("the hanging server to be down", lambda: state_of(admin, HANGING).startswith("DOWN"))
        # A transition is on the disk within 100 ms.
        time.sleep(0.3)
        load = rig.closing(Load(port))
        wanted, wrong, not_down, starts = Wanted(), [], [], []
        for n in range(bench.kills):
            stop_at = time.monotonic() + chance.uniform(0.0, 0.25)
            killer = threading.Timer(stop_at - time.monotonic(), farmgate.process.kill)
            killer.start()
            try:
                while time.monotonic() < stop_at + 1:
                    wanted.order(admin, chance)
            except (OSError, http.client.HTTPException):
                pass
            killer.join()
            farmgate.process.wait(10)
            admin.close()
            admin, servers, took = start(farmgate)
            starts.append(took)
            wrong += [f"kill {n + 1}: {text}" for text in wanted.differences(servers)]
            hanging = next(server for server in servers if server["name"] == HANGING)
            if hanging["health"] != "down":
                not_down.append(f"kill {n + 1}: {hanging['state']} ({hanging['health']})")
        load.close()
        admin.close()
        judge(bench, where, seed, load, wrong, not_down, sorted(starts))


def state_of(admin, name):
    servers = admin.json("/api/v1/farms/web/servers")["servers"]
    return next(server["state"] for server in servers if server["name"] == name)


def judge(bench, where, seed, load, wrong, not_down, starts):
    report = bench.report
    answered = sum(load.answered.values())
    said = f"{bench.kills} kills, seed {seed}; {answered} requests answered, {load.failed} cut by a kill"
    report.claim(where, "every drain, maintenance and weight that was answered is there after each kill", not wrong and answered > 0, said)
    report.claim(where, "a server that was down is down from the first answer on, before any check ended", not not_down, f"{len(not_down)} times it was not")
    p50, last = starts[len(starts) // 2], starts[-1]
    said = f"median {1000 * p50:.0f} ms, slowest {1000 * last:.0f} ms"
    report.claim(where, f"the first answer comes within {START_S_MAX:.0f} s of the start", last < START_S_MAX, said)
    for text in (wrong + not_down)[:10]:
        print(f"        {text}")
    report.note(where, kills=bench.kills, seed=seed, start_p50_ms=round(1000 * p50), start_max_ms=round(1000 * last), answered=answered)
