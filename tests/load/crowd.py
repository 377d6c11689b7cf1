"""Many at once: thousands of idle clients, thousands of relays and tunnels, and more clients than there are descriptors.
Everybody who is in stays served, and what a connection costs in memory is measured.
"""

import os
import resource
import time

from drain import Tunnel
from rig import LOOPBACK, PATIENCE_S, Failure, until
from stop import Client

IDLE, RELAYS, TUNNELS = 9000, 2000, 2000
# What an idle connection may cost, in kB: a build without optimisation included.
IDLE_KB_MAX = 12
# What an idle relay of raw TCP may cost, both its connections.
RELAY_KB_MAX = 16
# What a tunnel may cost, both its connections: the engine's buffers for bodies among it.
TUNNEL_KB_MAX = 80
# A newcomer's request may take so long while all the others are there.
NEWCOMER_S = 1.0
# Descriptors of the process that has too few, and clients that come nevertheless.
DESCRIPTORS, CLIENTS = 400, 450
# Seconds over which it is watched, and the share of a core that it may use for turning clients away.
WATCHED_S, BUSY_MAX = 3, 0.5


def config(rig, origin, protocol="http"):
    port = rig.port()
    limits = {"connections": 20_000, "connections_per_source": 0}
    timeouts = {"idle": "10m", "tunnel": "10m"} if protocol == "http" else {}
    frontend = {"protocol": protocol, "listen": [f"{LOOPBACK}:{port}"], "farm": "web", "limits": limits, "timeouts": timeouts}
    farm = {"protocol": protocol, "timeouts": {"idle": "10m"}, "probe": {"type": "http", "url": "/healthz", "timeout": "1s"}, "servers": {"a": {"address": origin.address}}}
    return port, {"workers": 1, "frontends": {"web": frontend}, "farms": {"web": farm}}


def resident_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def busy_s(pid):
    """Processor time of the process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(wanted):
    """Lets this process, and the origin that it starts, have so many; fails where the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted:
        raise Failure(f"this machine allows {hard} open files a process and {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def asked(client, path="/"):
    client.ask(path)
    return client.outcome() == "200"


def newcomer_s(port):
    began = time.monotonic()
    client = Client(port)
    if not asked(client):
        raise Failure("a newcomer got no answer")
    return time.monotonic() - began


def idle(bench, name):
    open_files(IDLE + 500)
    with bench.rig() as rig:
        port, whole = config(rig, rig.origin("a", 0))
        farmgate = rig.farmgate(whole)
        farmgate.wait_ready()
        warm = [Client(port) for _ in range(100)]
        all(asked(client) for client in warm)
        before = resident_kb(farmgate.process.pid)
        began = time.monotonic()
        clients = [Client(port) for _ in range(IDLE)]
        first = sum(asked(client) for client in clients)
        took = time.monotonic() - began
        each = (resident_kb(farmgate.process.pid) - before) / IDLE
        newcomer = newcomer_s(port)
        second = sum(asked(client) for client in clients)
        report = bench.report
        report.claim(name, f"{IDLE} kept connections are let in and answered", first == IDLE, f"{first} in {took:.1f} s")
        report.claim(name, f"an idle one costs no more than {IDLE_KB_MAX} kB", each <= IDLE_KB_MAX, f"{each:.1f} kB")
        report.claim(name, f"a newcomer is answered within {NEWCOMER_S} s", newcomer <= NEWCOMER_S, f"{newcomer * 1000:.1f} ms")
        report.claim(name, "every one of them is answered again", second == IDLE, f"{second}")
        report.note(name, idle_kb=round(each, 2), newcomer_ms=round(newcomer * 1000, 2))


def relays(bench, name):
    open_files(2 * RELAYS + 1000)
    with bench.rig() as rig:
        port, whole = config(rig, rig.origin("a", 0), "tcp")
        farmgate = rig.farmgate(whole)
        farmgate.wait_ready()
        warm = [Client(port) for _ in range(100)]
        all(asked(client) for client in warm)
        before = resident_kb(farmgate.process.pid)
        clients = [Client(port) for _ in range(RELAYS)]
        first = sum(asked(client) for client in clients)
        each = (resident_kb(farmgate.process.pid) - before) / RELAYS
        second = sum(asked(client) for client in clients)
        report = bench.report
        report.claim(name, f"{RELAYS} relays carry a request, twice", first == second == RELAYS, f"{first}, {second}")
        report.claim(name, f"an idle one costs no more than {RELAY_KB_MAX} kB", each <= RELAY_KB_MAX, f"{each:.1f} kB")
        report.note(name, relay_kb=round(each, 2))


def tunnels(bench, name):
    open_files(2 * TUNNELS + 1000)
    with bench.rig() as rig:
        port, whole = config(rig, rig.origin("a", 0))
        farmgate = rig.farmgate(whole)
        farmgate.wait_ready()
        before = resident_kb(farmgate.process.pid)
        open_ones = [Tunnel(port) for _ in range(TUNNELS)]
        echoed = sum(tunnel.echoes() for tunnel in open_ones)
        each = (resident_kb(farmgate.process.pid) - before) / TUNNELS
        newcomer = newcomer_s(port)
        again = sum(tunnel.echoes() for tunnel in open_ones)
        report = bench.report
        report.claim(name, f"{TUNNELS} WebSockets echo, twice", echoed == again == TUNNELS, f"{echoed}, {again}")
        report.claim(name, f"one costs no more than {TUNNEL_KB_MAX} kB", each <= TUNNEL_KB_MAX, f"{each:.1f} kB")
        report.claim(name, f"a newcomer is answered within {NEWCOMER_S} s", newcomer <= NEWCOMER_S, f"{newcomer * 1000:.1f} ms")
        for tunnel in open_ones:
            tunnel.close()
        admin = farmgate.admin()
        is_idle = lambda: admin.json("/api/v1/farms/web/servers/a")["in_flight"] == 0
        until("the server to have nothing open", is_idle, PATIENCE_S)
        report.claim(name, "nothing of them is left on the server once they are closed", True)
        report.note(name, tunnel_kb=round(each, 2))
        admin.close()


def descriptors(bench, name):
    """More clients than descriptors: who is in stays served, who waits is let in as soon as there is room."""
    open_files(CLIENTS + 500)
    with bench.rig() as rig:
        port, whole = config(rig, rig.origin("a", 0))
        farmgate = rig.farmgate(whole, ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"])
        farmgate.wait_ready()
        admin = farmgate.admin()
        clients = [Client(port) for _ in range(CLIENTS)]
        for client in clients:
            client.socket.settimeout(0.2 if client is not clients[0] else PATIENCE_S)
        served = [client for client in clients if is_served(client)]
        before = busy_s(farmgate.process.pid)
        time.sleep(WATCHED_S)
        share = (busy_s(farmgate.process.pid) - before) / WATCHED_S
        report = bench.report
        report.claim(name, "some of them are in", 0 < len(served) < CLIENTS, f"{len(served)} of {CLIENTS} with {DESCRIPTORS} descriptors")
        report.claim(name, "accepting rests rather than spins", share <= BUSY_MAX, f"{100 * share:.0f} % of a core")
        still = sum(asked(client) for client in served[:100])
        report.claim(name, "who is in is answered still", still == min(100, len(served)), f"{still}")
        report.claim(name, "the admin side answers", admin.is_ready())
        waiting = [client for client in clients if client not in served]
        for client in served:
            client.socket.close()
        for client in waiting:
            client.socket.settimeout(PATIENCE_S)
        outcomes = [client.outcome() for client in waiting[: DESCRIPTORS // 4]]
        let_in, said = outcomes.count("200"), ", ".join(f"{outcomes.count(o)} x {o}" for o in sorted(set(outcomes)))
        report.claim(name, "who waited is let in once there is room", let_in == len(outcomes), said)
        report.note(name, served=len(served), busy=round(share, 3))
        admin.close()


def is_served(client):
    client.ask("/")
    try:
        return client.outcome() == "200"
    except TimeoutError:
        return False
