"""A hundred reloads under load: servers and a listener come and go, and nobody on the unchanged frontend notices."""

import http.client
import pathlib
import signal
import time

from rig import LOOPBACK, PATIENCE_S, Failure, Oha, until

RELOADS = 100
# From one reload to the next.
PACE_S = 0.2
CONNECTIONS = 16
BODY = "x" * 200
# Which servers the farm has, one reload after the other: some come, some go, and twice none stays.
FARMS = ("abc", "ab", "abcd", "ac", "acd", "bc", "a", "bcd", "b", "cd")
PROBE = {"type": "http", "url": "/healthz", "interval": "200ms", "timeout": "100ms", "rise": 2, "fall": 3}


def config(origins, names, ports, with_second):
    frontends = {"web": ports[0]} | ({"second": ports[1]} if with_second else {})
    return {
        "frontends": {
            name: {"protocol": "http", "listen": [f"{LOOPBACK}:{port}"], "farm": "web"} for name, port in frontends.items()
        },
        "farms": {
            "web": {
                "protocol": "http",
                "probe": PROBE,
                "servers": {name: {"address": origins[name].address, "weight": 1 + ord(name) % 3} for name in names},
            }
        },
    }


def under_load(bench, where, rate):
    """oha sends GETs and POSTs to the frontend that stays; SIGHUP and `farmgate reload` take turns."""
    seconds = int(RELOADS * PACE_S) + 2
    with bench.rig() as rig:
        origins = {name: rig.origin(name, 2) for name in "abcd"}
        ports = (rig.port(), rig.port())
        farmgate = rig.farmgate(config(origins, FARMS[0], ports, False))
        farmgate.wait_ready()
        admin = rig.closing(farmgate.admin())
        before = admin.metrics()
        url = f"http://{LOOPBACK}:{ports[0]}/"
        loads = [rig.closing(Oha(bench.oha, url, seconds, CONNECTIONS, rate // 2, body)) for body in (None, BODY)]
        time.sleep(1)
        began = time.monotonic()
        second = Second(ports[1])
        for n in range(RELOADS):
            names, with_second = FARMS[(n + 1) % len(FARMS)], n % 2 == 0
            farmgate.write_config(config(origins, names, ports, with_second))
            reload(farmgate, admin, n)
            check_servers(admin, names)
            second.check(with_second)
            time.sleep(max(0, began + (n + 1) * PACE_S - time.monotonic()))
        took_s = time.monotonic() - began
        are_running = all(load.process.poll() is None for load in loads)
        after = admin.metrics()
        gets, posts = (load.result() for load in loads)
        judge(bench.report, where, gets, posts, before, after)
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


def judge(report, where, gets, posts, before, after):
    for method, result in (("GET", gets), ("POST", posts)):
        report.claim(where, f"no {method} failed", result.failed == 0 and result.answered > 0, str(result))
    done = {result: int(count - outcomes(before)[result]) for result, count in outcomes(after).items()}
    generations = int(after["farmgate_generation"] - before["farmgate_generation"])
    is_so = done == {"applied": RELOADS, "refused": 0} and generations >= RELOADS
    said = f"{done['applied']} applied, {done['refused']} refused, {generations} generations"
    report.claim(where, "every reload was applied", is_so, said)
    report.note(where, **done, generations=generations, gets=gets.figures(), posts=posts.figures())
