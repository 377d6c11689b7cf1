"""Twenty upgrades under load: each time a new process takes over, and none of the clients notices. Tunnels stay with the
process that has them, which stays for them, for its grace and no longer.
"""

import ctypes
import json
import os
import signal
import time

from drain import Tunnel
from loads import PLAIN, Clients, judge
from rig import LOOPBACK, PATIENCE_S, Failure, until

UPGRADES = 20
# Whoever is replaced lets its tunnels live so long: longer than all of this takes.
GRACE_S = 300
SHORT_GRACE_S = 2
# A grace may end so much later.
LATE_S_MAX = 1.5
PROBE = {"type": "http", "url": "/healthz", "interval": "1s", "timeout": "900ms"}
PR_SET_CHILD_SUBREAPER = 36
# About what a line of the access log is.
LINE_BYTES = 300


def adopt_orphans():
    """Makes this process the parent of whoever loses its own, so that it learns how it ended."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise Failure(f"prctl: {os.strerror(ctypes.get_errno())}")


class Line:
    """The processes that serve one after the other."""

    def __init__(self, farmgate):
        self.farmgate, self.pids, self.ended = farmgate, [farmgate.process.pid], {}

    def upgrade(self, by_command):
        """Has the one that serves replaced; returns how long that took."""
        began = time.monotonic()
        if by_command:
            self.farmgate.cli("upgrade", "--reason", f"the {len(self.pids)}th")
        else:
            os.kill(self.pids[-1], signal.SIGUSR2)
        self.pids.append(until("a new process to serve", self.next_pid))
        return time.monotonic() - began

    def next_pid(self):
        with open(self.farmgate.log_path, encoding="utf-8") as log:
            lines = [line for line in log if "the new process serves" in line or "upgrade refused" in line]
        refused = [line for line in lines if "upgrade refused" in line]
        if refused:
            raise Failure(refused[0])
        return json.loads(lines[len(self.pids) - 1])["fields"]["pid"] if len(lines) >= len(self.pids) else None

    def wait_end(self, pid, patience_s=PATIENCE_S):
        """Waits for the end of one that was replaced; returns its exit code and how long that took."""
        began = time.monotonic()
        self.ended[pid] = until(f"process {pid} to end", lambda: self.code(pid), patience_s)[0]
        return self.ended[pid], time.monotonic() - began

    def code(self, pid):
        """Its exit code, in a tuple, once it has ended."""
        if pid == self.farmgate.process.pid:
            code = self.farmgate.process.poll()
            return None if code is None else (code,)
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            # Its parent is there still, and has not asked.
            return code_of_zombie(pid)
        return (os.waitstatus_to_exitcode(status),) if ended else None

    def close(self):
        for pid in self.pids[1:]:
            if pid not in self.ended:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.farmgate.close()
        for pid in self.pids[1:]:
            try:
                os.waitpid(pid, 0) if pid not in self.ended else None
            except ChildProcessError:
                pass


class Asked:
    """Requests that reach the log, by its size, which is quicker to look at than its lines."""

    def __init__(self, farmgate, requests):
        self.path, self.bytes = farmgate.access_path, requests * LINE_BYTES

    def wait(self):
        """Waits for so many more."""
        before = self.path.stat().st_size
        until("requests before an upgrade", lambda: self.path.stat().st_size > before + self.bytes)


def code_of_zombie(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(") ")[2].split()
    # The first is the third of all; the exit code is the last but none.
    return (os.waitstatus_to_exitcode(int(fields[-1])),) if fields[0] == "Z" else None


def under_load(bench, where, rate):
    adopt_orphans()
    report = bench.report
    with bench.rig() as rig:
        origins = [rig.origin(name, 2) for name in "ab"]
        clients = Clients(rig)
        farm = {"protocol": "http", "probe": PROBE, "servers": {origin.name: origin.address for origin in origins}}
        config = {"state_dir": str(rig.directory / "state"), "frontends": clients.frontends(), "farms": {"web": farm}}
        farmgate = rig.farmgate({**config, "grace": f"{GRACE_S}s"})
        farmgate.wait_ready()
        line = rig.closing(Line(farmgate))
        farmgate.cli("weight", "web/a", "3")
        first = rig.closing(Tunnel(clients.ports[PLAIN]))
        clients.start(bench.oha, rate)
        asked = Asked(farmgate, rate)
        took, leaving = [], []
        for n in range(UPGRADES):
            asked.wait()
            old = line.pids[-1]
            took.append(line.upgrade(by_command=n % 2 == 0))
            if n > 0:
                leaving.append(line.wait_end(old))
        is_so = clients.are_running() and first.echoes()
        said = f"median {1000 * sorted(took)[UPGRADES // 2]:.0f} ms, slowest {1000 * max(took):.0f} ms"
        report.claim(where, f"{UPGRADES} upgrades fall into the load, by signal and by command", is_so, said)
        results = clients.stop()
        judge(report, where, farmgate, results)
        # All but the first, which has the tunnel.
        codes, slowest = sorted({code for code, _ in leaving}), max(seconds for _, seconds in leaving)
        said = f"exit codes {codes}, the slowest {slowest:.2f} s after its successor served"
        report.claim(where, "whoever is replaced ends by itself once its clients have gone", codes == [0], said)
        [server] = [row for row in farmgate.admin().json("/api/v1/farms/web/servers")["servers"] if row["name"] == "a"]
        report.claim(where, "what an operator set holds through all of them", server["weight"] == 3, f"weight {server['weight']}")
        tunnels(report, where, rig, line, first, clients, config)
        report.note(where, upgrades=UPGRADES, upgrade_ms=[round(1000 * seconds) for seconds in took], last_to_leave_s=round(slowest, 2))


def tunnels(report, where, rig, line, first, clients, config):
    farmgate = line.farmgate
    echoed = first.echoes()
    first.close()
    code, seconds = line.wait_end(line.pids[0])
    said = f"it echoed after {UPGRADES} upgrades: {echoed}; its process ended with {code} {seconds:.2f} s after it was closed"
    report.claim(where, "a WebSocket is kept through all of them, and its process as long as it", echoed and code == 0, said)
    farmgate.write_config({**config, "grace": f"{SHORT_GRACE_S}s"})
    farmgate.cli("reload")
    short, old = rig.closing(Tunnel(clients.ports[PLAIN])), line.pids[-1]
    line.upgrade(by_command=True)
    replaced = time.time()
    echoed = short.echoes()
    ended = short.closed_at()
    code, _ = line.wait_end(old)
    lasted = (ended or 0) - replaced
    is_so = echoed and code == 0 and SHORT_GRACE_S - 0.5 < lasted < SHORT_GRACE_S + LATE_S_MAX
    report.claim(where, f"a WebSocket of a process with a grace of {SHORT_GRACE_S} s ends with that", is_so, f"after {lasted:.2f} s, exit code {code}")
    again = Tunnel(clients.ports[PLAIN])
    report.claim(where, "the last process serves", again.echoes(), f"the {len(line.pids)}th, at {LOOPBACK}:{clients.ports[PLAIN]}")
    again.close()
