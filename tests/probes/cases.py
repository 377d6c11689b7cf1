"""The cases of every type of probe: which server passes it, which fails it, and with what."""

import os
import socket

from faults import Says
from gate import Case, Several
from ports import free_port

# Where a command tells the processes that it started.
SLEEPERS = "sleepers"


def may_ping():
    """Returns whether this process may open what a ping takes."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    except PermissionError:
        return False
    return True


def mail(smtp, ssh):
    well, refuses = smtp
    probe = {"type": "smtp", "hello": "lb.test"}
    return [
        Case("smtp-passes", probe, well, ("L7OK", 250, "^250 ")),
        Case("smtp-refused", probe, refuses, ("L7STS", 550, "^answer to HELO: 550 not from here$")),
        Case("smtp-of-ssh", probe, ssh, ("L7RSP", None, "greeting is not of SMTP, received: SSH-2.0")),
    ]


def tcp(ssh):
    def banner(text, **more):
        return {"type": "tcp", "expect": {"contains": text, **more}}

    refused = ("L4CON", None, "^Connection refused$")
    return [
        Case("tcp-connects", {"type": "tcp"}, ssh, [("L4OK", None, ""), refused]),
        Case("tcp-banner", banner("SSH-2.0"), ssh, [("L7OK", None, "^SSH-2.0-OpenSSH"), refused]),
        Case("tcp-other-banner", banner("220 "), ssh, [("L7TOUT", None, "no matching banner .*SSH-2.0"), refused]),
    ]


def mysql(port):
    full = ("L7STS", 1040, "Too many connections")
    stopped = ("L4CON", None, "refused")
    return [
        Case("mysql-greets", {"type": "mysql"}, port, [("L7OK", None, "^version [0-9.]+-MariaDB"), full, stopped]),
        Case(
            "mysql-logs-in", {"type": "mysql", "user": "probe"}, port,
            [("L7OK", None, "^version .*MariaDB"), full, stopped],
        ),
        Case(
            "mysql-denied", {"type": "mysql", "user": "guarded"}, port,
            [("L7STS", 1045, "^28000: Access denied for user 'guarded'"), full, stopped],
        ),
        # From an address that the server counts errors of, which it does not of 127.0.0.1.
        Case(
            "mysql-is-not-annoyed", {"type": "mysql"}, port, [("L7OK", None, "^version .*MariaDB"), full, stopped],
            aim={"source": "127.0.0.2"},
        ),
    ]


def pgsql(port):
    leaving = ("L7STS", None, "^FATAL 57P03: the database system is shutting down$")
    stopped = ("L4CON", None, "refused")

    def asked(name, user, first):
        return Case(name, {"type": "pgsql", "user": user}, port, [first, leaving, stopped])

    return [
        asked("pgsql-trusts", "admin", ("L7OK", None, "^authentication: none needed$")),
        asked("pgsql-asks-for-password", "guarded", ("L7OK", None, "^authentication: SASL")),
        asked("pgsql-rejects", "rejected", ("L7STS", None, "^FATAL 28000: pg_hba.conf rejects connection")),
    ]


def redis(open_port, guarded_port):
    hung, stopped = ("L7TOUT", None, "no answer to PING within"), ("L4CON", None, "refused")
    no_auth = ("L7STS", None, "^NOAUTH ")
    probe = {"type": "redis"}
    return [
        Case("redis-pongs", probe, open_port, [("L7OK", None, "^PONG$"), hung, ("L7OK", None, "^PONG$")]),
        Case("redis-wants-password", probe, guarded_port, [no_auth, no_auth, stopped]),
        Case("redis-password", {**probe, "password": "open-sesame"}, guarded_port,
             [("L7OK", None, "^PONG$"), ("L7OK", None, "^PONG$"), stopped]),
        Case("redis-wrong-password", {**probe, "password": "open-barley"}, guarded_port,
             [("L7STS", None, "^WRONGPASS (?!.*barley)"), ("L7STS", None, "^WRONGPASS"), stopped]),
    ]


def exchange(redis_port, smtp, ssh, web, ca):
    def steps(*steps, **more):
        return {"type": "exchange", "steps": list(steps), **more}

    pings = [{"send": "PING\r\n"}, {"expect": "+PONG\r\n"}, {"send_hex": "50494e470d0a"}, {"expect_hex": "2b504f4e47"}]
    hung = ("L7TOUT", None, r'^step 2 \(expect "\+PONG\\r\\n"\): no match within')
    passed = ("L7OK", None, r"^\+PONG")
    get = [{"send": "GET / HTTP/1.0\r\n\r\n"}, {"matches": "^HTTP/1\\.[01] 200 "}, {"expect": "well"}]
    return [
        Case("exchange-passes", steps(*pings), redis_port, [passed, hung, passed]),
        Case("exchange-of-smtp", steps({"expect": "220 "}, {"send": "EHLO lb.test\r\n"}, {"matches": "(?m)^250 .*\r\n"},
                                      {"send": "QUIT\r\n"}, {"expect": "221 "}), smtp, ("L7OK", None, "^221 ")),
        Case("exchange-fails", steps({"matches": "^SSH-1"}), ssh,
             ("L7TOUT", None, r'^step 1 \(matches "\^SSH-1"\): no match within .*received: SSH-2')),
        Case("exchange-closed", steps({"send": "hello\r\n"}, {"expect": "welcome"}), web["http1"],
             ("L7RSP", None, r'^step 2 \(expect "welcome"\): connection closed.*400 Bad Request')),
        Case("exchange-in-tls", steps(*get, tls=True), web["good"], ("L7OK", None, "well$"),
             aim={"ca": ca, "sni": "good.test"}),
        Case("exchange-in-bad-tls", steps(*get, tls=True), web["expired"], ("L6RSP", 45, "^certificate expired at 20"),
             aim={"ca": ca, "sni": "good.test"}),
    ]


def oco(crowd):
    well, sick = Says(crowd, b"200 all is well\n"), Says(crowd, b"503 no more room\n")

    def case(name, port, expects, **more):
        return Case(name, {"type": "oco"}, free_port(), expects, aim={"port": port} if port else {}, **more)

    cases = [
        case("oco-passes", well.port, ("L7OK", None, "^200 all is well$")),
        case("oco-fails", sick.port, ("L7RSP", None, "^503 no more room$")),
    ]
    if os.geteuid() == 0:
        Says(crowd, b"2\n", host="127.0.79.79", port=79)
        cases.append(case("oco-on-its-own-port", None, ("L7OK", None, "^2$"), host="127.0.79.79"))
    return cases


def agent(crowd, ssh):
    line = Says(crowd, b"up 75%\n")
    words = Says(crowd, b"500 Internal Server Error\n")
    passes, fails = {"type": "tcp"}, {"type": "tcp", "port": free_port()}
    advises, gibbers = {"type": "agent", "port": line.port}, {"type": "agent", "port": words.port}
    # An agent alone is no probe: what it says takes a server out, and brings it to no health of its own.
    return line, [
        Case("agent-speaks", {"type": "agent"}, ssh,
             [("L7OK", None, "^up 75%$", "off"), ("L7STS", None, "^down#by hand$"),
              ("L7OK", None, "^ready up 100%$", "off")],
             aim={"port": line.port}),
        Case("agent-gibbers", {"type": "agent", "send": "how?\n"}, ssh,
             ("L7RSP", None, '^not an agent\'s line: "500 Internal Server Error"$', "off"), aim={"port": words.port}),
        Several("agent-beside-a-probe", {"live": passes, "agent": advises}, ssh, ["up", "down", "up"]),
        Several("agent-outvotes-nobody", {"live": fails, "agent": advises}, ssh, "down"),
        Several("agent-that-gibbers-advises-nothing", {"live": passes, "agent": gibbers}, ssh, "up"),
        Case("agent-is-away", {"type": "agent"}, ssh, ("CHECKED", None, "^agent not reached: Connection refused$"),
             aim={"port": free_port()}),
    ]


def command(base, ssh):
    def script(name, text):
        path = os.path.join(base, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{text}\n")
        os.chmod(path, 0o755)
        return path

    told = script("told", 'test "$1" = "$FARMGATE_ADDRESS" && test "$2" = "$FARMGATE_PORT" && echo "at $1 $2"')
    fails = script("fails", "echo no good; exit 7")
    sleeps = script("sleeps", f"echo yawn; sleep 600 & echo $! >>{os.path.join(base, SLEEPERS)}; wait")

    def probe(program, *args):
        return {"type": "command", "program": program, "args": list(args)}

    return [
        Case("command-passes", probe(told, "{address}", "{port}"), ssh, ("PROCOK", 0, f"^at 127.0.0.1 {ssh}$")),
        Case("command-fails", probe(fails), ssh, ("PROCERR", 7, "^exit status 7: no good$")),
        Case("command-sleeps", probe(sleeps), ssh, ("PROCTOUT", None, "^killed after 800ms: yawn$")),
        Case("command-missing", probe("/nonexistent/check"), ssh, ("PROCERR", None, "No such file or directory")),
    ]


def several(ssh):
    passes, fails = {"type": "tcp"}, {"type": "tcp", "port": free_port()}
    shuts = {"type": "tcp", "port": ssh}
    return [
        Several("several-all-pass", {"a": passes, "b": passes}, ssh, ["up", "down"]),
        Several("several-one-fails", {"a": passes, "b": fails}, ssh, "down"),
        Several("several-quorum-met", {"a": passes, "b": fails, "c": shuts}, ssh, ["up", "down"], quorum=2),
        Several("several-quorum-missed", {"a": passes, "b": fails, "c": fails}, ssh, "down", quorum=2),
        Several("several-quorum-of-one", {"a": fails, "b": shuts}, ssh, ["up", "down"], quorum=1),
    ]


def tls(web, ca, other_ca):
    good = {"ca": ca, "sni": "good.test"}
    done, done_1_2 = ("L6OK", None, "^TLS 1.3 handshake done$"), ("L6OK", None, "^TLS 1.2 handshake done$")
    unknown = ("L6RSP", 48, "^certificate of an unknown authority$")
    return [
        Case("tls-good", {"type": "tls"}, web["good"], done, aim=good),
        Case("tls-expired", {"type": "tls"}, web["expired"], ("L6RSP", 45, "^certificate expired at 20"), aim=good),
        Case("tls-wrong-name", {"type": "tls"}, web["wrong"],
             ("L6RSP", 42, '^certificate not valid for name "good.test"; its names: other.test$'), aim=good),
        Case("tls-right-name-per-server", {"type": "tls", **good}, web["wrong"], done_1_2, aim={"sni": "other.test"}),
        # Nothing says a name, so the address is what the certificate must be for.
        Case("tls-no-name", {"type": "tls"}, web["good"],
             ("L6RSP", 42, '^certificate not valid for name "127.0.0.1"; its names: good.test$'), aim={"ca": ca}),
        Case("tls-unknown-authority", {"type": "tls"}, web["good"], unknown, aim={"sni": "good.test"}),
        Case("tls-other-authority", {"type": "tls"}, web["good"], unknown, aim={"sni": "good.test", "ca": other_ca}),
        Case("tls-unverified", {"type": "tls"}, web["expired"], done_1_2, aim={"verify": False}),
        Case("tls-unverified-per-server", {"type": "tls", "sni": "good.test"}, web["wrong"], done_1_2,
             aim={"verify": False}),
        Case("tls-of-http", {"type": "tls"}, web["http1"], ("L6RSP", None, "^not a TLS reply: "), aim=good),
    ]


def http(web):
    def probe(url, **more):
        return {"type": "http", "url": url, **more}

    ok, sick = ("L7OK", 200, "^OK$"), ("L7STS", 503, "^Service (Temporarily )?Unavailable: sick$")
    return [
        Case("http-passes", probe("/"), web["http1"], ok),
        Case("http-head-passes", probe("/", method="HEAD"), web["http1"], ok),
        Case("http-sick", probe("/sick"), web["http1"], sick),
        Case("http-sick-wanted", probe("/sick", expect={"status": "503"}), web["http1"],
             ("L7OK", 503, "^Service (Temporarily )?Unavailable$")),
        Case("http-stopping", probe("/none", expect={"status": "500", "stopping": "200"}), web["http1"],
             ("L7OKC", 200, "^OK$", "stopping")),
        Case("http-body", probe("/", expect={"matches": "^we(ll|st)$"}), web["http1"], ("L7OK", 200, "^well$")),
        Case("http-other-body", probe("/", expect={"contains": "unwell"}), web["http1"], ("L7RSP", 200, "^well$")),
        Case("http-of-ssh", probe("/"), web["ssh"], ("L7RSP", None, "^not an HTTP/1 reply.*SSH-2.0")),
        Case("http-of-tls", probe("/"), web["good"], ("L7STS", 400, "^Bad Request: .*HTTP request was sent to HTTPS")),
        Case("http2-passes", probe("/", version="2"), web["h2c"], ok),
        Case("http2-sick", probe("/sick", version="2"), web["h2c"], sick),
        Case("http2-of-http1", probe("/", version="2"), web["http1"],
             ("L7RSP", None, "^server speaks HTTP/1 and not HTTP/2: HTTP/1.1 400 Bad Request")),
    ]


def https(web, ca, other_ca):
    good = {"ca": ca, "sni": "good.test"}

    def probe(url, **more):
        return {"type": "https", "url": url, **more}

    ok, sick = ("L7OK", 200, "^OK$"), ("L7STS", 503, "^Service (Temporarily )?Unavailable: sick$")
    unknown = ("L6RSP", 48, "^certificate of an unknown authority$")
    return [
        Case("https-passes", probe("/"), web["good"], ok, aim=good),
        Case("https-sick", probe("/sick"), web["good"], sick, aim=good),
        Case("https-expired", probe("/"), web["expired"], ("L6RSP", 45, "^certificate expired at 20"), aim=good),
        Case("https-wrong-name", probe("/"), web["wrong"], ("L6RSP", 42, "^certificate not valid for name"), aim=good),
        Case("https-other-authority", probe("/"), web["good"], unknown, aim={"sni": "good.test", "ca": other_ca}),
        Case("https-of-http", probe("/"), web["http1"], ("L6RSP", None, "^not a TLS reply: "), aim=good),
        Case("https-name-of-host", probe("/who", expect={"contains": "for good.test by HTTP/1.1 at good.test"}),
             web["good"], ("L7OK", 200, "^from 127.0.0.1 for good.test"), aim={"ca": ca, "host": "good.test"}),
        Case("https-2-passes", probe("/", version="2"), web["good"], ok, aim=good),
        Case("https-2-sick", probe("/sick", version="2"), web["good"], sick, aim=good),
        Case("https-2-is-2", probe("/who", version="2", expect={"contains": "HTTP/2.0"}), web["good"],
             ("L7OK", 200, "^from 127.0.0.1 .* by HTTP/2.0 at good.test$"), aim=good),
        # One server ends the handshake where nothing is agreed on, another goes on as if nothing had been asked.
        Case("https-2-refused-by-alpn", probe("/", version="2"), web["http1-tls"],
             ("L6RSP", 120, "^TLS alert no_application_protocol$"), aim=good),
        Case("https-2-not-agreed", probe("/", version="2"), web["no-alpn"],
             ("L6RSP", None, "^TLS is there, and the server does not offer HTTP/2 in it"), aim=good),
    ]


def aim(web, ca):
    """Where a probe goes, and as whom, and what a server has that its farm's probe has not."""
    def asks(url, wanted, **more):
        return {"type": "http", "url": url, "expect": {"contains": wanted}, **more}

    good, elsewhere = {"ca": ca, "sni": "good.test"}, free_port()
    told, untold = "told of [127.0.0.1]", "told of []"
    return [
        Case("aim-host", asks("/who", "for shop.test by"), web["http1"], ("L7OK", 200, "for shop.test"),
             aim={"host": "shop.test"}),
        Case("aim-port", asks("/", "well"), elsewhere, ("L7OK", 200, "^well$"), aim={"port": web["http1"]}),
        Case("aim-address", asks("/", "well"), web["http1"], ("L7OK", 200, "^well$"), host="192.0.2.1",
             aim={"address": "127.0.0.1"}),
        Case("aim-server-wins", asks("/", "well", port=elsewhere), web["h2c"], ("L7OK", 200, "^well$"),
             aim={"port": web["http1"]}),
        Case("source-is-seen", asks("/who", "from 127.0.0.9 "), web["http1"], ("L7OK", 200, "^from 127.0.0.9 "),
             aim={"source": "127.0.0.9"}),
        Case("source-of-others", asks("/", "well"), web["http1"],
             ("SOCKERR", None, "^cannot connect from source 192.0.2.1: Cannot assign requested address$"),
             aim={"source": "192.0.2.1"}),
        Case("proxy-v1", asks("/told", told), web["proxied"], ("L7OK", 200, "^told of .127"), aim={"proxy": "v1"}),
        # It speaks for nobody but itself, so nobody is told of.
        Case("proxy-v2", asks("/told", untold), web["proxied"], ("L7OK", 200, "^told of ..$"), aim={"proxy": "v2"}),
        Case("proxy-v1-in-tls", {**asks("/told", told), "type": "https"}, web["proxied-tls"],
             ("L7OK", 200, "^told of .127"), aim={"proxy": "v1", **good}),
        Case("proxy-wanted", asks("/", "well"), web["proxied"], ("L7RSP", None, "")),
        Case("proxy-unwanted", asks("/", "well"), web["http1"], ("L7STS", 400, "^Bad Request"), aim={"proxy": "v1"}),
    ]


def grpc(plain, inside, web, ca):
    def probe(service, **more):
        return {"type": "grpc", "service": service, **more}

    good = {"ca": ca, "sni": "good.test"}
    serving, tired = ("L7OK", 0, "^SERVING$"), ("L7STS", 0, "NOT_SERVING")
    return [
        Case("grpc-serving", probe("shop"), plain.port, [serving, tired, serving]),
        Case("grpc-whole-server", {"type": "grpc"}, plain.port, serving),
        Case("grpc-not-serving", probe("tired"), plain.port, tired),
        Case("grpc-unknown-service", probe("none"), plain.port, ("L7STS", 5, "NOT_FOUND")),
        Case("grpc-of-http", probe("shop"), web["h2c"], ("L7RSP", None, "")),
        Case("grpc-of-http1", probe("shop"), web["http1"], ("L7RSP", None, "^server speaks HTTP/1 and not HTTP/2")),
        Case("grpc-in-tls", probe("shop", tls=True), inside.port, serving, aim=good),
        Case("grpc-in-tls-not-serving", probe("tired", tls=True), inside.port, tired, aim=good),
        Case("grpc-in-tls-unknown-authority", probe("shop", tls=True), inside.port,
             ("L6RSP", 48, "^certificate of an unknown authority$"), aim={"sni": "good.test"}),
        Case("grpc-in-tls-no-alpn", probe("shop", tls=True), web["no-alpn"],
             ("L6RSP", None, "^TLS is there, and the server does not offer HTTP/2 in it"), aim=good),
    ]


def ping(ssh):
    passed = ("L4OK", None, "^echo reply of 24 bytes$")
    not_permitted = ("SOCKERR", None, "ping needs CAP_NET_RAW")
    at_home = passed if may_ping() else not_permitted
    return [
        Case("ping-passes", {"type": "ping"}, ssh, at_home),
        Case("ping-passes-from", {"type": "ping"}, ssh, at_home, aim={"source": "127.0.0.3"}),
    ]


