"""SIGTERM under load: what was sent is answered, what is idle is closed, nobody new is let in, and then it ends."""

import signal
import socket
import threading
import time

from rig import LOOPBACK, PATIENCE_S, until

WAITING, IDLE, KEEPING, CONNECTING = 8, 4, 8, 8
WAIT_MS, DRIP_MS = 800, 1500
UPLOAD = b"x" * 1000
GRACE_S = 10
# What the process may take to end after its last answer; and to close what is idle.
END_SLACK_S = 1.0
IDLE_SLACK_S = 0.5


class Client:
    """One connection that sends what it is given and says exactly what came back."""

    def __init__(self, port):
        self.socket = socket.create_connection((LOOPBACK, port), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.held = b""
        # Whether the server said that its answer is the last one.
        self.is_last = False

    def ask(self, path, body=b"", sent=None):
        """Sends a request; of its body only the first bytes if `sent` says so."""
        method = "POST" if body else "GET"
        head = f"{method} {path} HTTP/1.1\r\nHost: load\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body[:sent])

    def outcome(self):
        """`200` for a whole answer with that status; `closed`, `reset` if nothing came; `broken` if a part did."""
        return self.answer()[0]

    def origin(self):
        """Who answers, as its head says, which has come."""
        head = self.held.partition(b"\r\n\r\n")[0].decode("latin-1")
        return next((line.partition(":")[2].strip() for line in head.split("\r\n") if line.lower().startswith("x-origin:")), None)

    def answer(self):
        """The outcome, and the body of a whole answer."""
        try:
            while b"\r\n\r\n" not in self.held:
                if not self.fill():
                    return ("broken" if self.held else "closed"), ""
            head, _, self.held = self.held.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            self.is_last = fields.get("connection") == "close"
            length = int(fields["content-length"])
            while len(self.held) < length:
                if not self.fill():
                    return "broken", ""
            body, self.held = self.held[:length].decode(errors="replace"), self.held[length:]
            return lines[0].split(" ")[1], body
        except ConnectionError:
            return ("broken" if self.held else "reset"), ""
        except TimeoutError:
            return "no answer", ""

    def fill(self):
        data = self.socket.recv(65536)
        self.held += data
        return data

    def close(self):
        self.socket.close()


class Loop(threading.Thread):
    """A client that asks again and again until that fails: on one connection, or on a new one each time."""

    def __init__(self, port, is_keeping):
        super().__init__(daemon=True)
        self.port, self.is_keeping = port, is_keeping
        self.answered = 0
        # When the last request had been sent, and what came of it.
        self.sent, self.last = time.time(), "200"
        self.start()

    def run(self):
        client = None
        try:
            while self.last == "200":
                client = client or Client(self.port)
                self.last = "reset"
                client.ask("/")
                self.sent = time.time()
                self.last = client.outcome()
                self.answered += self.last == "200"
                if client.is_last:
                    self.last = "told"
                elif not self.is_keeping:
                    client.close()
                    client = None
        except ConnectionRefusedError:
            self.last = "refused"
        except OSError:
            # Not sent whole, so that nothing was promised.
            self.last = "cut"
        finally:
            if client:
                client.close()

    def is_lost(self, asked):
        """Whether it had sent its last request before that, in vain."""
        return self.sent < asked and self.last in ("reset", "closed", "broken", "no answer")

    def close(self):
        self.join(PATIENCE_S)


def under_load(bench, where):
    with bench.rig() as rig:
        origins = [rig.origin(name, 5) for name in "ab"]
        port = rig.port()
        farm = {"protocol": "http", "servers": {origin.name: {"address": origin.address} for origin in origins}}
        frontend = {"protocol": "http", "listen": [f"{LOOPBACK}:{port}"], "farm": "web"}
        farmgate = rig.farmgate({"grace": f"{GRACE_S}s", "frontends": {"web": frontend}, "farms": {"web": farm}})
        farmgate.wait_ready()
        admin = rig.closing(farmgate.admin())
        waiting, idle = ([rig.closing(Client(port)) for _ in range(n)] for n in (WAITING, IDLE))
        dripping, uploading = (rig.closing(Client(port)) for _ in range(2))
        idle_outcomes = []
        for client in idle:
            client.ask("/")
            idle_outcomes.append(client.outcome())
        dripping.ask(f"/drip/{DRIP_MS}")
        dripping.fill()
        for client in waiting:
            client.ask(f"/wait/{WAIT_MS}")
        uploading.ask("/", UPLOAD, len(UPLOAD) // 2)
        until("the requests to be under way", lambda: under_way(admin) == WAITING + 2)
        admin.close()
        loops = [rig.closing(Loop(port, n < KEEPING)) for n in range(KEEPING + CONNECTING)]
        time.sleep(0.1)
        asked = time.time()
        farmgate.signal(signal.SIGTERM)
        refused_s = until_refused(port, asked)
        closed = [client.outcome() for client in idle]
        idle_s = time.time() - asked
        uploading.socket.sendall(UPLOAD[len(UPLOAD) // 2 :])
        outcomes = [client.outcome() for client in (*waiting, uploading, dripping)]
        farmgate.process.wait(GRACE_S + PATIENCE_S)
        took_s = time.time() - asked
        for loop in loops:
            loop.join(PATIENCE_S)
        judge_loops(bench.report, where, loops, asked)
        is_so = outcomes == ["200"] * (WAITING + 2)
        is_so = is_so and all(client.is_last for client in (*waiting, uploading))
        what = f"{WAITING} waiting requests, an upload and a download under way are finished, and say close where they can"
        bench.report.claim(where, what, is_so, ", ".join(outcomes))
        is_so = idle_outcomes == ["200"] * IDLE and closed == ["closed"] * IDLE and idle_s < IDLE_SLACK_S
        said = f"{', '.join(closed)} after {1000 * idle_s:.0f} ms; refused after {1000 * refused_s:.0f} ms"
        bench.report.claim(where, "idle connections are closed and new ones refused", is_so, said)
        is_so = farmgate.process.returncode == 0 and took_s < DRIP_MS / 1000 + END_SLACK_S
        said = f"exit {farmgate.process.returncode} after {took_s:.2f} s; the longest answer took {DRIP_MS / 1000} s, the grace is {GRACE_S} s"
        bench.report.claim(where, "the process ends as soon as the last answer is out", is_so, said)
        bench.report.note(where, refused_ms=round(1000 * refused_s, 1), idle_ms=round(1000 * idle_s, 1), ended_s=round(took_s, 2))


def judge_loops(report, where, loops, asked):
    lost = [loop for loop in loops if loop.is_lost(asked)]
    ends = {}
    for loop in loops:
        ends[loop.last] = ends.get(loop.last, 0) + 1
    answered = sum(loop.answered for loop in loops)
    said = f"{answered} answered; the last request of each client: {ends}; lost though sent before: {len(lost)}"
    is_so = not lost and not {"broken", "no answer"} & set(ends) and answered > 0
    report.claim(where, "every request that was sent before SIGTERM is answered, none is broken off", is_so, said)
    for loop in lost[:5]:
        kind = "kept" if loop.is_keeping else "new"
        print(f"        sent {1000 * (asked - loop.sent):.3f} ms before SIGTERM on a {kind} connection: {loop.last}")
    report.note(where, looping_answered=answered, looping_ends=ends, looping_lost=len(lost))


def under_way(admin):
    [farm] = admin.json("/api/v1/farms")["farms"]
    return sum(server["in_flight"] for server in farm["servers"])


def until_refused(port, since):
    def is_refused():
        try:
            Client(port).close()
            return False
        except OSError:
            return True

    until("new connections to be refused", is_refused)
    return time.time() - since
