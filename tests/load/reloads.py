"""A hundred reloads under load: servers and a listener come and go, and nobody on the unchanged frontends notices."""

import http.client
import pathlib
import signal
import time

import loads
from rig import LOOPBACK, PATIENCE_S, Failure, until

RELOADS = 100
# From one reload to the next.
PACE_S = 0.2
# Which servers the farm has, one reload after the other: some come, some go, and twice none stays.
FARMS = ("abc", "ab", "abcd", "ac", "acd", "bc", "a", "bcd", "b", "cd")
PROBE = {"type": "http", "url": "/healthz", "interval": "200ms", "timeout": "100ms", "rise": 2, "fall": 3}


def config(origins, names, clients, second):
    more = {"second": {"protocol": "http", "listen": [f"{LOOPBACK}:{second}"], "farm": "web"}} if second else {}
    return {
        "frontends": {**clients.frontends(), **more},
        "farms": {
            "web": {
                "protocol": "http",
                "probe": PROBE,
                "servers": {name: {"address": origins[name].address, "weight": 1 + ord(name) % 3} for name in names},
            }
        },
    }


def under_load(bench, where, rate):
    """Clients of every kind ask the frontends that stay; SIGHUP and `farmgate reload` take turns."""
    with bench.rig() as rig:
        origins = {name: rig.origin(name, 2) for name in "abcd"}
        clients, port = loads.Clients(rig), rig.port()
        farmgate = rig.farmgate(config(origins, FARMS[0], clients, None))
        farmgate.wait_ready()
        admin = rig.closing(farmgate.admin())
        before = admin.metrics()
        clients.start(bench.oha, rate)
        until("the first requests", lambda: len(farmgate.access_lines()) > rate)
        began = time.monotonic()
        second = Second(port)
        for n in range(RELOADS):
            names, with_second = FARMS[(n + 1) % len(FARMS)], n % 2 == 0
            farmgate.write_config(config(origins, names, clients, port if with_second else None))
            reload(farmgate, admin, n)
            check_servers(admin, names)
            second.check(with_second)
            time.sleep(max(0, began + (n + 1) * PACE_S - time.monotonic()))
        took_s = time.monotonic() - began
        are_running = clients.are_running()
        after = admin.metrics()
        loads.judge(bench.report, where, farmgate, clients.stop())
        judge(bench.report, where, before, after)
        said = f"{RELOADS} in {took_s:.1f} s; the second listener answered {second.answered} times and refused {second.refused} times"
        is_so = are_running and second.answered == second.refused == RELOADS // 2
        bench.report.claim(where, "the reloads fell into the load; the other listener came and went", is_so, said)
        open_files = len(list(pathlib.Path(f"/proc/{farmgate.process.pid}/fd").iterdir()))
        bench.report.note(where, reloads=RELOADS, seconds=round(took_s, 1), open_files_afterwards=open_files)


def reload(farmgate, admin, n):
    """The n-th reload, as asked for by signal or by command; returns when it is done."""
    if n % 2:
        farmgate.cli("reload")
        return
    farmgate.signal(signal.SIGHUP)
    until(f"reload {n} to be done", lambda: sum(outcomes(admin.metrics()).values()) > n)


def outcomes(metrics):
    return {result: metrics[f'farmgate_reloads_total{{result="{result}"}}'] for result in ("applied", "refused")}


def check_servers(admin, names):
    [farm] = admin.json("/api/v1/farms")["farms"]
    live = "".join(server["name"] for server in farm["servers"])
    if live != names:
        raise Failure(f"after a reload the farm has {live}, and not {names}")


class Second:
    """The frontend that comes and goes."""

    def __init__(self, port):
        self.port = port
        self.answered, self.refused = 0, 0

    def check(self, is_there):
        if is_there:
            client = http.client.HTTPConnection(LOOPBACK, self.port, timeout=PATIENCE_S)
            client.request("GET", "/")
            self.answered += client.getresponse().status == 200
            client.close()
        else:
            until("the removed listener to refuse", self.is_refused)
            self.refused += 1

    def is_refused(self):
        client = http.client.HTTPConnection(LOOPBACK, self.port, timeout=PATIENCE_S)
        try:
            client.connect()
            return False
        except ConnectionResetError:
            # It was still in the queue of the socket that closed.
            return False
        except ConnectionRefusedError:
            return True
        finally:
            client.close()


def judge(report, where, before, after):
    done = {result: int(count - outcomes(before)[result]) for result, count in outcomes(after).items()}
    generations = int(after["farmgate_generation"] - before["farmgate_generation"])
    is_so = done == {"applied": RELOADS, "refused": 0} and generations >= RELOADS
    said = f"{done['applied']} applied, {done['refused']} refused, {generations} generations"
    report.claim(where, "every reload was applied", is_so, said)
    report.note(where, **done, generations=generations)
