"""A drain under load: 200 kept client connections, 20 WebSockets and a long download. Without a deadline nothing is lost
and the server is idle once the last of them ends by itself; with one exactly the leftovers are closed, and counted.
"""

import json
import socket
import threading
import time

from rig import LOOPBACK, PATIENCE_S, Failure, until
from stop import Client

KEPT, TUNNELS = 200, 20
DOWNLOAD_S, DEADLINE_S = 30, 5
# Between two requests of one kept connection.
PAUSE_S = 0.1
# A deadline may be carried out so much later.
LATE_S_MAX = 1.0


class Tunnel:
    """An upgraded connection; says whether what it sends still comes back."""

    def __init__(self, port):
        self.socket = socket.create_connection((LOOPBACK, port), PATIENCE_S)
        head = "GET /echo HTTP/1.1\r\nHost: load\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        self.socket.sendall(head.encode())
        held = b""
        while b"\r\n\r\n" not in held:
            data = self.socket.recv(4096)
            if not data:
                raise Failure(f"no upgrade: {held!r}")
            held += data
        lines = held.decode("latin-1").split("\r\n")
        if not lines[0].startswith("HTTP/1.1 101 "):
            raise Failure(f"no upgrade: {lines[0]}")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.origin = fields["x-origin"]
        self.count = 0

    def echoes(self):
        self.count += 1
        sent = f"frame {self.count};".encode()
        try:
            self.socket.sendall(sent)
            held = b""
            while len(held) < len(sent):
                data = self.socket.recv(4096)
                if not data:
                    return False
                held += data
            return held == sent
        except OSError:
            return False

    def closed_at(self):
        """Waits until the other side closes it; returns when, or nothing if it does not in time."""
        try:
            return None if self.socket.recv(1) else time.time()
        except TimeoutError:
            return None
        except OSError:
            return time.time()

    def close(self):
        self.socket.close()


class Kept(threading.Thread):
    """One kept connection that asks again and again; it must be answered each time, on that same connection."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.client, self.is_over = Client(port), False
        self.answers, self.wrong = [], None
        self.start()

    def run(self):
        while not self.is_over and not self.wrong:
            sent = time.time()
            try:
                self.client.ask("/")
                outcome, body = self.client.answer()
            except OSError as error:
                outcome, body = str(error), ""
            if outcome == "200":
                self.answers.append((sent, body.strip()))
            else:
                self.wrong = outcome
            time.sleep(PAUSE_S)

    def close(self):
        self.is_over = True
        self.join(PATIENCE_S)
        self.client.close()


class Download(threading.Thread):
    def __init__(self, port):
        super().__init__(daemon=True)
        self.client, self.began, self.outcome, self.body = Client(port), time.time(), None, ""
        self.ended_at = None
        self.client.socket.settimeout(DOWNLOAD_S + PATIENCE_S)
        self.client.ask(f"/drip/{DOWNLOAD_S * 1000}")
        while b"\r\n\r\n" not in self.client.held:
            if not self.client.fill():
                raise Failure("a download does not begin")
        self.origin = self.client.origin()
        self.start()

    def run(self):
        self.outcome, self.body = self.client.answer()
        self.ended_at = time.time()

    def close(self):
        try:
            # Unlike closing, this wakes the thread that reads.
            self.client.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.join(PATIENCE_S)
        self.client.close()


def under_load(bench, where):
    with bench.rig() as rig:
        origins = [rig.origin(name, 2) for name in "ab"]
        port = rig.port()
        probe = {"type": "http", "url": "/healthz", "interval": "500ms"}
        farm = {"protocol": "http", "probe": probe, "servers": {origin.name: origin.address for origin in origins}}
        frontend = {"protocol": "http", "listen": [f"{LOOPBACK}:{port}"], "farm": "web"}
        farmgate = rig.farmgate({"frontends": {"web": frontend}, "farms": {"web": farm}})
        farmgate.wait_ready()
        admin = rig.closing(farmgate.admin())
        kept = [rig.closing(Kept(port)) for _ in range(KEPT)]
        patient(bench, where, rig, farmgate, admin, port, kept)
        farmgate.cli("ready", "web/a")
        by_deadline(bench, where, rig, farmgate, admin, port, kept)
        wrong = [client.wrong for client in kept if client.wrong]
        answered = sum(len(client.answers) for client in kept)
        said = f"{answered} answers" + (f"; {wrong[:3]}" if wrong else "")
        bench.report.claim(where, f"{KEPT} kept client connections are answered all along", not wrong and answered > KEPT, said)


def open_work(rig, port, name):
    """Opens tunnels on both servers and a download on the one of that name."""
    tunnels = [rig.closing(Tunnel(port)) for _ in range(TUNNELS)]
    download = rig.closing(Download(port))
    while download.origin != name:
        download.close()
        download = rig.closing(Download(port))
    return tunnels, download


def patient(bench, where, rig, farmgate, admin, port, kept):
    tunnels, download = open_work(rig, port, "a")
    on_a = [tunnel for tunnel in tunnels if tunnel.origin == "a"]
    farmgate.cli("drain", "web/a", "--reason", "new kernel")
    drained = time.time()
    order = until("the sessions to be told", lambda: drain_of(admin, "a", len(on_a) + 1))
    sessions = {group["kind"]: group["count"] for group in order["sessions"]}
    is_so = sessions == {"tunnel": len(on_a), "request": 1}
    bench.report.claim(where, "the drain tells what is open by kind", is_so, f"{sessions}, {len(on_a)} tunnels are on it")
    time.sleep(1)
    late = [at - drained for client in kept for at, name in client.answers if name == "a" and at > drained + 0.2]
    bench.report.claim(where, "a drained server is given no new request", not late, f"{len(late)} after the drain")
    download.join(DOWNLOAD_S + PATIENCE_S)
    echoing = sum(tunnel.echoes() for tunnel in tunnels)
    is_so = download.outcome == "200" and echoing == TUNNELS
    said = f"{echoing} of {TUNNELS} tunnels echo after {time.time() - drained:.0f} s; the download of {DOWNLOAD_S} s: {download.outcome}"
    bench.report.claim(where, "tunnels and the download on it are not touched", is_so, said)
    for tunnel in on_a:
        tunnel.close()
    said = farmgate.cli("drain", "web/a", "--wait", "10s").strip().splitlines()[-1]
    left = json.loads(admin.call("GET", "/api/v1/farms/web/servers/a/drain?wait=10s"))["left"]
    bench.report.claim(where, "drain --wait ends once nothing is open any more", left == 0, said)
    for tunnel in tunnels:
        tunnel.close()


def by_deadline(bench, where, rig, farmgate, admin, port, kept):
    tunnels, download = open_work(rig, port, "b")
    on_b = [tunnel for tunnel in tunnels if tunnel.origin == "b"]
    others = [tunnel for tunnel in tunnels if tunnel.origin != "b"]
    farmgate.cli("drain", "web/b", "--deadline", f"{DEADLINE_S}s", "--reason", "disk")
    asked = time.time()
    time.sleep(DEADLINE_S - 1)
    early = sum(tunnel.echoes() for tunnel in on_b)
    bench.report.claim(where, "until the deadline everything stays", early == len(on_b), f"{early} of {len(on_b)} tunnels echo")
    ends = [tunnel.closed_at() for tunnel in on_b]
    download.join(PATIENCE_S)
    took = [at - asked for at in (*ends, download.ended_at) if at]
    is_so = len(took) == len(on_b) + 1 and min(took) > DEADLINE_S - 0.5 and max(took) < DEADLINE_S + LATE_S_MAX
    is_so = is_so and download.outcome == "broken" and all(tunnel.echoes() for tunnel in others)
    said = f"{len(took)} closed after {min(took, default=0):.2f} to {max(took, default=0):.2f} s; {len(others)} tunnels elsewhere echo"
    bench.report.claim(where, "at the deadline exactly what is left over is closed", is_so, said)
    ended = until("the event of the deadline", lambda: deadline_event(admin))
    said = f"{ended['closed']} told, {len(on_b) + 1} were open: {ended['text']}"
    bench.report.claim(where, "the event counts exactly those", ended["closed"] == len(on_b) + 1, said)
    bench.report.note(where, closed=ended["closed"], deadline_s=[round(min(took), 2), round(max(took), 2)])


def drain_of(admin, name, count):
    order = json.loads(admin.call("GET", f"/api/v1/farms/web/servers/{name}/drain"))
    return order if order["left"] == count else None


def deadline_event(admin):
    events = admin.json("/api/v1/farms/web/servers/b/timeline?limit=20")["events"]
    return next((event for event in events if event["type"] == "order_ended" and event.get("ending") == "deadline"), None)
