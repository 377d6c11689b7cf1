"""Origins that do not die but harm: one resets its connections in the middle of its bodies, one lets nobody connect. What
that costs the others, and whether a broken answer ever looks whole.
"""

import collections
import socket
import threading

import kill
from kill import CONNECTIONS, PROBE
from rig import LOOPBACK, Oha, until
from stop import Client

# Bytes that a body announces of which half arrives, and clients that ask for such, one after the other.
ANNOUNCED, ASKERS = 200_000, 4
LOAD_S = 8
# How long a connect may take before another server is tried.
CONNECT_S = 0.3
# Requests a second while many of them wait for a connect.
RATE = 60


def config(rig, servers, **farm):
    port = rig.port()
    limits = {"connections_per_source": 0}
    frontend = {"protocol": "http", "listen": [f"{LOOPBACK}:{port}"], "farm": "web", "limits": limits}
    farm = {"protocol": "http", "probe": PROBE, "retries": {"attempts": 2}, "servers": servers, **farm}
    return port, {"frontends": {"web": frontend}, "farms": {"web": farm}}


def reset_mid_body(bench, where):
    """Some ask for bodies that are reset half way, while all others are served by the same servers."""
    with bench.rig() as rig:
        origins = [rig.origin(name, 0) for name in ("a", "b")]
        port, whole = config(rig, {origin.name: {"address": origin.address} for origin in origins})
        farmgate = rig.farmgate(whole)
        farmgate.wait_ready()
        outcomes, is_over = collections.Counter(), threading.Event()

        def asker():
            while not is_over.is_set():
                client = Client(port)
                client.ask(f"/reset/{ANNOUNCED}")
                outcomes[client.outcome()] += 1
                client.socket.close()

        askers = [threading.Thread(target=asker, daemon=True) for _ in range(ASKERS)]
        oha = rig.closing(Oha(bench.oha, f"http://{LOOPBACK}:{port}/", LOAD_S, CONNECTIONS, bench.rate))
        for thread in askers:
            thread.start()
        result = oha.result()
        is_over.set()
        for thread in askers:
            thread.join()
        cut, taken_for_whole = sum(outcomes.values()), outcomes["200"]
        said = ", ".join(f"{count} x {outcome}" for outcome, count in sorted(outcomes.items()))
        is_so = cut > 100 and not taken_for_whole and set(outcomes) <= {"broken", "reset", "502"}
        bench.report.claim(where, "no body that its server reset looks whole", is_so, said)
        bench.report.claim(where, "no other request failed", result.failed == 0 and result.answered > 0, str(result))
        bench.report.note(where, **result.figures(), reset=cut, taken_for_whole=taken_for_whole)


class Hole:
    """An address where nobody answers: its queue is full, and the system drops whoever knocks."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind((LOOPBACK, 0))
        self.listener.listen(0)
        self.waiting = []
        for _ in range(4):
            knock = socket.socket()
            knock.setblocking(False)
            knock.connect_ex(self.listener.getsockname())
            self.waiting.append(knock)

    @property
    def address(self):
        return "%s:%d" % self.listener.getsockname()

    def close(self):
        for knock in [*self.waiting, self.listener]:
            knock.close()


def black_hole(bench, where):
    """A server that nothing speaks against, its checks being off, lets nobody connect: traffic meets it all the time."""
    with bench.rig() as rig:
        origins = [rig.origin(name, 0) for name in ("b", "c")]
        hole = rig.closing(Hole())
        servers = {"a": {"address": hole.address, "probe": False}}
        servers |= {origin.name: {"address": origin.address} for origin in origins}
        timeouts = {"connect": f"{round(1000 * CONNECT_S)}ms"}
        # A third of all is tried again, which the budget would end.
        retries = {"attempts": 2, "budget": "off"}
        port, whole = config(rig, servers, retries=retries, timeouts=timeouts)
        farmgate = rig.farmgate(whole)
        farmgate.wait_ready()
        result = rig.closing(Oha(bench.oha, f"http://{LOOPBACK}:{port}/", LOAD_S, CONNECTIONS, RATE)).result()
        lines = until("the access log to be whole", lambda: kill.whole(farmgate, result.answered))
        tried_again = sum(line["retries"] > 0 for line in lines)
        is_so = result.failed == 0 and tried_again > 50
        bench.report.claim(where, "many met it and no request failed", is_so, f"{result}; {tried_again} tried again")
        slowest_s = max(line["duration_us"] for line in lines) / 1e6
        said = f"{1000 * slowest_s:.0f} ms, a connect may take {1000 * CONNECT_S:.0f} ms"
        is_so = CONNECT_S <= slowest_s <= CONNECT_S + 0.5
        bench.report.claim(where, "who met it waited for one connect", is_so, said)
        bench.report.note(where, **result.figures(), tried_again=tried_again, waited_ms=round(1000 * slowest_s, 1))
