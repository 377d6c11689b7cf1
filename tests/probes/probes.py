"""Every type of probe, against a real server that passes it and real ones that fail it.

One farmgate has a farm for every case: `cases.py` (a type of probe at a server that passes it and at ones that do not),
`matrix.py` (every type at every fault: silent, a black hole, a reset, endless, dripping). A case says what its last
check must be: status, code and content, with which the server's health and, at the deadline, the duration go. That is
asked for in phases: all is well; still, after enough checks for a server to have minded them; each server in another
trouble (stopped, stopped in its tracks, full, leaving, not serving); some back, some ended. A phase waits until every
case is as it has it, so nothing here depends on how fast a machine is.

Then come farmgates of their own: `paced.py` looks at when an origin is asked (one check for all farms that share it,
keepalived's retries and retry_interval), and pings are sent where they are not permitted, not answered and have nowhere
to go. `servers.py` has the real servers, `faults.py` those that only do what a case needs, `gate.py` farmgate and the
verdict. Whatever happens, every process that was started ends with this one.

Says of each case what was seen, and ends with "N passed, N failed".
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import cases
import faults
import matrix
import servers
from faults import Says, Talker
from gate import Case, Gate, NetnsGate, farms_of, judge
from paced import Paced
from ports import free_port
from servers import Crowd


def is_sleeping(number):
    try:
        with open(f"/proc/{number}/cmdline", "rb") as file:
            return file.read() == b"sleep\0600\0"
    except FileNotFoundError:
        return False


def may_unshare():
    """Returns whether this process may make a network of its own."""
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


class Run:
    def __init__(self, base, wanted):
        self.base, self.wanted, self.crowd = base, wanted, Crowd(base)
        self.passed = self.failed = 0
        self.sessions = []

    def pick(self, cases):
        return [case for case in cases if not self.wanted or case.name.startswith(tuple(self.wanted))]

    def all(self):
        crowd, base = self.crowd, self.base
        ca, other_ca, certificates = servers.certificates(crowd)
        ssh = servers.sshd(crowd)
        # One that stays when that is stopped.
        other = Says(crowd, b"SSH-2.0-other\r\n").port
        web = servers.nginx(crowd, certificates, endless=Talker(crowd, faults.endless_answer).port)
        web["ssh"] = other
        web["no-alpn"] = Talker(crowd, faults.in_tls(faults.drip_answer, certificates["good"])).port
        smtp = servers.smtp(crowd)
        self.mysql, self.postgres = servers.mariadb(crowd), servers.postgres(crowd)
        open_port = servers.redis(crowd, "redis")
        guarded_port = servers.redis(crowd, "redis-guarded", "--requirepass", "open-sesame")
        self.line, agents = cases.agent(crowd, other)
        self.health = servers.Health(crowd)
        well = {
            "banner": other, "tls": web["good"], "https": web["good"], "http": web["http1"], "http2": web["h2c"],
            "grpc": self.health.port, "smtp": smtp[0], "mysql": self.mysql, "pgsql": self.postgres, "redis": open_port,
            "exchange": open_port, "agent": self.line.port,
        }
        return [
            *cases.tcp(ssh), *cases.mail(smtp, other), *cases.mysql(self.mysql), *cases.pgsql(self.postgres),
            *cases.redis(open_port, guarded_port), *cases.exchange(open_port, smtp[0], other, web, ca),
            *cases.oco(crowd), *agents, *cases.command(base, other), *cases.several(ssh),
            *cases.tls(web, ca, other_ca), *cases.http(web), *cases.https(web, ca, other_ca), *cases.aim(web, ca),
            *cases.grpc(self.health, servers.Health(crowd, certificates["good"]), web, ca), *cases.ping(other),
            *matrix.everywhere(crowd), *matrix.dripping(crowd, well),
            *matrix.answers(crowd, web, certificates["good"], ca),
        ]

    def count(self, counts):
        self.passed += counts[0]
        self.failed += counts[1]

    def main(self):
        picked = self.pick(self.all())
        if picked:
            gate = Gate(self.base, farms_of(picked), allow_commands=True)
            try:
                self.count(judge(gate, picked, 0, "all well"))
                # Long enough for a server that minds to have been annoyed by every one of these.
                time.sleep(4)
                self.count(judge(gate, picked, 0, "still well"))
                self.disturb()
                self.count(judge(gate, picked, 1, "disturbed"))
                self.stop_some()
                self.count(judge(gate, picked, 2, "some stopped"))
            finally:
                gate.close()
            if any(case.name == "command-sleeps" for case in picked):
                self.nothing_is_left()
        if not self.wanted or any("paced".startswith(wanted) for wanted in self.wanted):
            Paced(self.base, self.crowd, self.told).run()
        self.elsewhere()

    def told(self, is_right, claim, seen):
        self.count((1, 0) if is_right else (0, 1))
        print(f"{'ok' if is_right else 'FAILED':6} {claim}: {seen}", flush=True)

    def disturb(self):
        """Each server another trouble."""
        self.crowd.stop("sshd", signal.SIGTERM)
        self.sessions += servers.mariadb_sessions(self.mysql)
        self.sessions.append(servers.postgres_session(self.postgres))
        # Smart: it waits for those who are there, and takes nobody new.
        os.kill(self.crowd.processes["postgres"].pid, signal.SIGTERM)
        self.crowd.send("redis", signal.SIGSTOP)
        self.health.tell("shop", "NOT_SERVING")
        self.line.line = b"down#by hand\n"

    def stop_some(self):
        """Some come back, some end."""
        self.crowd.stop("mariadb")
        self.crowd.stop("postgres")
        self.crowd.stop("redis-guarded")
        self.crowd.send("redis", signal.SIGCONT)
        self.health.tell("shop", "SERVING")
        self.line.line = b"ready up 100%\n"

    def nothing_is_left(self):
        """What a command probe started has ended with its check."""
        try:
            with open(os.path.join(self.base, cases.SLEEPERS), encoding="utf-8") as file:
                numbers = file.read().split()
        except FileNotFoundError:
            numbers = []
        left = [number for number in numbers if is_sleeping(number)]
        self.told(numbers and not left, "no process of a command is left behind", f"of {len(numbers)} these are: {left}")

    def elsewhere(self):
        """Pings that need a farmgate of their own."""
        probe, anywhere = {"type": "ping"}, free_port()
        bare = self.pick([Case("ping-not-permitted", probe, anywhere, ("SOCKERR", None, "^ping needs CAP_NET_RAW: "))])
        alone = self.pick([
            Case("ping-unanswered", probe, anywhere, ("L4TOUT", None, "^no echo reply within 800ms$")),
            Case("ping-unreachable", probe, anywhere, ("L4CON", None, "^No route to host$"), host="198.51.100.1"),
            Case("ping-6-passes", probe, anywhere, ("L4OK", None, "^echo reply of 24 bytes$"), host="::1"),
        ])
        if bare and os.geteuid() == 0:
            as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]
            # Nobody may not look into every directory of ours.
            program = shutil.copy(os.environ["FARMGATE_BIN"], os.path.join(self.base, "farmgate"))
            os.chmod(program, 0o755)
            gate = Gate(self.base, farms_of(bare), [*as_nobody, "--", "env", f"FARMGATE_BIN={program}"])
            self.judge_alone(gate, bare)
        if alone and may_unshare():
            self.judge_alone(NetnsGate(self.base, farms_of(alone)), alone)
        elif alone:
            print("       pings in a network of their own: left out, since none can be made here", flush=True)

    def judge_alone(self, gate, picked):
        try:
            self.count(judge(gate, picked, 0, "elsewhere"))
        finally:
            gate.close()


def main():
    # Room for a nobody to get in.
    base = tempfile.mkdtemp(prefix="farmgate-probes-")
    os.chmod(base, 0o755)
    run = Run(base, sys.argv[1:])
    # Whoever ends this early ends its servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    try:
        run.main()
    except (Exception, SystemExit):
        traceback.print_exc()
        run.failed += 1
    finally:
        for session in run.sessions:
            session.close()
        run.crowd.close()
        shutil.rmtree(base, ignore_errors=True)
    print(f"{run.passed} passed, {run.failed} failed", flush=True)
    # aiosmtpd and gRPC leave threads that nobody needs to wait for.
    sys.stdout.flush()
    os._exit(1 if run.failed or not run.passed else 0)


if __name__ == "__main__":
    main()
