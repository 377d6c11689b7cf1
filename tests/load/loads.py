"""Clients of every kind at a rate that does not wait for answers: HTTP/1.1 over kept connections and over a new one for
each request, HTTP/2 in the clear and in TLS, and uploads. What they may ask of Farmgate they ask all the time.
"""

import subprocess
import time

from rig import LOOPBACK, PATIENCE_S, Failure, Oha

BODY = "x" * 200
# Connections of one kind of client; of those that speak HTTP/2, and requests at a time on each.
CONNECTIONS, H2_CONNECTIONS, H2_STREAMS = 16, 4, 4
# Of one request.
TIMEOUT_S = 5
# What oha says of requests that its HTTP library had not begun to send when the server said that it takes no more on
# that connection (GOAWAY): they never left the client, which has to ask again.
UNSENT = ("operation was canceled",)
# The same where that was said between the library's looking whether the connection takes another request and its handing
# one over, which is done on two threads. What a server refuses is worded alike, so that no more than a few may be.
RACED, RACED_MAX = ("http2 error",), 3

PLAIN, TLS = "web", "tls"
KINDS = {
    "HTTP/1.1, kept connections": (PLAIN, []),
    "HTTP/1.1, a connection a request": (PLAIN, ["--disable-keepalive"]),
    "HTTP/1.1 in TLS, a connection a request": (TLS, ["--disable-keepalive"]),
    "HTTP/2 in the clear": (PLAIN, ["--http2"]),
    "HTTP/2 in TLS": (TLS, ["--http2"]),
    "POST, kept connections": (PLAIN, ["-m", "POST", "-d", BODY]),
}


def certificate(directory):
    """Makes a certificate for this host and its key; returns their paths."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
    argv += ["-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{LOOPBACK},DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    made = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S)
    if made.returncode != 0:
        raise Failure(f"openssl: {made.stderr.decode(errors='replace').strip()}")
    return cert, key


class Clients:
    """Two frontends, in the clear and in TLS, and whoever asks them."""

    def __init__(self, rig):
        self.rig, self.ports = rig, {PLAIN: rig.port(), TLS: rig.port()}
        self.cert, self.key = certificate(rig.directory)
        self.loads = {}

    def frontends(self):
        """The frontends as a config has them."""
        of = lambda name, more: {"protocol": "http", "listen": [f"{LOOPBACK}:{self.ports[name]}"], "farm": "web", **more}
        tls = {"certificates": [{"cert": str(self.cert), "key": str(self.key)}], "alpn": ["h2", "http/1.1"]}
        return {PLAIN: of(PLAIN, {"h2c": True}), TLS: of(TLS, {"tls": tls})}

    def start(self, oha, rate):
        """Has every kind ask that often a second, until told to stop."""
        for kind, (frontend, argv) in KINDS.items():
            is_h2 = "--http2" in argv
            connections = H2_CONNECTIONS if is_h2 else CONNECTIONS
            argv = [*argv, "-t", f"{TIMEOUT_S}s", *(["-p", str(H2_STREAMS)] if is_h2 else [])]
            scheme = "https" if frontend == TLS else "http"
            argv += ["--insecure"] if frontend == TLS else []
            url = f"{scheme}://{LOOPBACK}:{self.ports[frontend]}/"
            self.loads[kind] = self.rig.closing(Oha(oha, url, None, connections, rate, argv=argv))

    def are_running(self):
        return all(load.process.poll() is None for load in self.loads.values())

    def stop(self):
        """Stops them, once whatever was asked before this moment is answered or late; returns what each counted."""
        time.sleep(TIMEOUT_S + 0.5)
        for load in self.loads.values():
            load.stop()
        return {kind: load.result() for kind, load in self.loads.items()}


def judge(report, where, farmgate, results):
    """Nobody got anything but an answer, and what arrived was answered."""
    answered = {PLAIN: 0, TLS: 0}
    for kind, result in results.items():
        frontend, argv = KINDS[kind]
        answered[frontend] += result.answered
        unsent = sum(count for what, count in result.errors.items() if what.startswith(UNSENT))
        raced = sum(count for what, count in result.errors.items() if what.startswith(RACED))
        unsent += raced if unsent and raced <= RACED_MAX else 0
        is_h2 = "--http2" in argv
        failed = result.failed - (unsent if is_h2 else 0)
        said = str(result) + (f"; {unsent} never left the client, which was told to go" if unsent else "")
        report.claim(where, f"{kind}: no request failed", failed == 0 and result.answered > 0, said)
        report.note(where, **{kind: {**result.figures(), "unsent": unsent}})
    lines = farmgate.access_lines()
    for frontend, count in answered.items():
        own = [line for line in lines if line["frontend"] == frontend]
        good = sum(line["status"] == 200 for line in own)
        wrong = [line for line in own if line["status"] != 200 and not line["termination"].startswith("C")]
        # Each client is stopped in the middle of a request, at the most one on each connection or stream.
        most = sum(CONNECTIONS if "--http2" not in argv else H2_CONNECTIONS * H2_STREAMS for name, argv in KINDS.values() if name == frontend)
        said = f"{len(own)} arrived, {good} were answered 200, the clients had {count} of those"
        is_so = not wrong and len(own) - good <= most and 0 <= good - count <= most
        report.claim(where, f"what arrived at the frontend {frontend} was answered, and is in the log once", is_so, said)
        for line in wrong[:5]:
            print(f"        {line}")
