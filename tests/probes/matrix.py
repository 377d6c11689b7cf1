"""Every type of probe against every fault: whatever a server does, the check has its verdict by the deadline."""

import faults
from faults import Talker, drip
from gate import Case

PLAIN = ("http", "http2", "grpc", "smtp", "mysql", "pgsql", "redis", "oco", "exchange", "banner")


def probes():
    """Returns a probe of every type that makes a connection."""
    return {
        "tcp": {"type": "tcp"},
        "banner": {"type": "tcp", "expect": {"contains": "SSH-2.0"}},
        "tls": {"type": "tls"},
        "https": {"type": "https", "url": "/"},
        "http": {"type": "http", "url": "/"},
        "http2": {"type": "http", "url": "/", "version": "2"},
        "grpc": {"type": "grpc"},
        "smtp": {"type": "smtp"},
        "mysql": {"type": "mysql"},
        "pgsql": {"type": "pgsql", "user": "admin"},
        "redis": {"type": "redis"},
        "oco": {"type": "oco"},
        "exchange": {"type": "exchange", "steps": [{"send": "PING\r\n"}, {"expect": "+PONG\r\n"}]},
        "agent": {"type": "agent"},
    }


def everywhere(crowd):
    """Faults that know no protocol."""
    connects = {"tcp": ("L4OK", None, "^connected$")}
    ports = {
        "silent": faults.silent(crowd), "black-hole": faults.black_hole(crowd),
        "reset": Talker(crowd, faults.reset).port, "endless": Talker(crowd, faults.endless).port,
    }
    expects = {
        "silent": {
            **dict.fromkeys(PLAIN, ("L7TOUT", None, "within 800ms")),
            **dict.fromkeys(("tls", "https"), ("L6TOUT", None, "^no TLS handshake within 800ms$")),
            **connects, "agent": ("CHECKED", None, "^no line within 800ms, nothing received$"),
        },
        "black-hole": {
            **dict.fromkeys((*PLAIN, "tcp", "tls", "https"), ("L4TOUT", None, "^no connection within 800ms$")),
            "agent": ("CHECKED", None, "^agent not reached: no connection within 800ms$"),
        },
        "reset": {
            **dict.fromkeys(PLAIN, ("L7RSP", None, "Connection reset by peer|Broken pipe")),
            **dict.fromkeys(("tls", "https"), ("L6RSP", None, "^Connection reset by peer in the TLS handshake$")),
            **connects, "agent": ("CHECKED", None, "^Connection reset by peer, nothing received$"),
        },
        "endless": {
            **dict.fromkeys(PLAIN, ("L7RSP", None, "xxx")),
            **dict.fromkeys(("tls", "https"), ("L6RSP", None, "^not a TLS reply: ")),
            **connects, "agent": ("L7RSP", None, "^line is longer than .*xxx", "off"),
        },
    }
    return [
        Case(f"fault-{fault}-{name}", probe, port, expects[fault][name], aim={"port": port})
        for fault, port in ports.items() for name, probe in probes().items()
    ]


def dripping(crowd, well):
    """Real servers that pass, a byte at a time. `well`: their ports, by type. They are well in the first phase only."""
    cases = []
    for name, probe in probes().items():
        if name not in well:
            continue
        late = ("L6TOUT" if name in ("tls", "https") else "L7TOUT", None, "within 800ms")
        if name == "agent":
            late = ("CHECKED", None, "^no line within 800ms, received: ")
        port = drip(crowd, well[name])
        cases.append(Case(f"fault-drip-{name}", probe, port, [late, None], aim={"port": port}))
    return cases


def answers(crowd, web, certificate, ca):
    """Answers of HTTP that do not end, or not in time."""
    good = {"ca": ca, "sni": "good.test"}
    needle = {"url": "/endless", "expect": {"contains": "needle"}}

    def port(talk):
        return Talker(crowd, talk).port

    def in_tls(talk):
        return port(faults.in_tls(talk, certificate))

    late, no_needle = ("L7TOUT", 200, "within 800ms"), ("L7RSP", 200, "^xxx")
    return [
        Case("fault-endless-body", {"type": "http", **needle}, port(faults.endless_answer), no_needle),
        # Nobody asked for a body, so the head decides.
        Case("fault-endless-body-unread", {"type": "http"}, port(faults.endless_answer), ("L7OK", 200, "^OK$")),
        Case("fault-slow-endless-body", {"type": "http", **needle}, port(faults.slow_endless_answer), late),
        Case("fault-endless-head", {"type": "http"}, port(faults.endless_head), ("L7RSP", None, "longer than 16384|more than 128")),
        Case("fault-endless-body-http2", {"type": "http", "version": "2", **needle}, web["h2c"], no_needle),
        Case("fault-endless-body-in-tls", {"type": "https", **needle}, in_tls(faults.endless_answer), no_needle, aim=good),
        Case("fault-slow-endless-body-in-tls", {"type": "https", **needle}, in_tls(faults.slow_endless_answer), late,
             aim=good),
        Case("fault-endless-body-https-2", {"type": "https", "version": "2", **needle}, web["good"], no_needle, aim=good),
        Case("fault-drip-in-tls", {"type": "https"}, in_tls(faults.drip_answer), ("L7TOUT", None, "within 800ms"),
             aim=good),
    ]
