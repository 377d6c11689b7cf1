"""A running farmgate with servers in known states, for tests that drive it through a vendor's SDK.

Everything is on loopback: origins are threads of this process, farmgate is a child process in a directory of its own,
on ports that were free a moment ago. Every wait has a deadline.
"""

import http.server
import json
import os
import re
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from ports import free_port

SERVICE = "lb-clients"
INSTANCE_ID = 4711
# An application whose credentials are asked for and granted at run time.
APPLICATION = {"application_key": "ak-application", "application_secret": "as-application-secret"}
OPERATOR = "token-of-the-operator"
OVH = {"application_key": "ak-clients", "application_secret": "as-clients-secret", "consumer_key": "ck-clients"}
ZENLAYER = {"id": "zk-clients", "secret": "zs-clients-secret"}
TOKEN = "token-of-the-client-tests"

PATIENCE_S = 20


class Origin:
    """A web server whose every answer has this status."""

    def __init__(self, status):
        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = f"{status}\n".encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def until(what, look):
    """Returns the first true value of `look`."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE_S} s in vain for {what}")


class Farmgate:
    """Starts farmgate and returns when its first round of checks is done."""

    def __init__(self, role="read", keeps_state=False):
        self.role, self.keeps_state = role, keeps_state
        self.dir = tempfile.TemporaryDirectory(prefix="farmgate-clients-")
        self.good, self.sick = Origin(200), Origin(503)
        self.admin_port, self.web_port, self.alt_port, self.db_port = (free_port() for _ in range(4))
        self.process = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def admin(self):
        return f"127.0.0.1:{self.admin_port}"

    @property
    def admin_url(self):
        return f"http://{self.admin}"

    def run(self, *words):
        """Runs the command line as the operator; returns what it printed."""
        env = {**os.environ, "FARMGATE_ADMIN": self.admin_url, "FARMGATE_TOKEN": OPERATOR, **self.trust()}
        command = [os.environ["FARMGATE_BIN"], *words]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout

    def trust(self):
        """What the command line needs to know of the admin side's certificate, in its environment."""
        return {}

    def grant(self):
        """Grants the one credential that was asked for, as an operator does: looked up and granted on the command line."""
        waiting = re.findall(r"(?m)^(\d+) application: pendingValidation", self.run("credentials"))
        assert len(waiting) == 1, waiting
        told = self.run("credentials", "grant", waiting[0], "--reason", "the tests")
        assert "application: validated" in told, told

    def lets_ask(self, config):
        """Adds an application that may ask for credentials, and the operator who grants them."""
        application = {"name": "application", "role": "admin", **APPLICATION}
        config["admin"]["ovh"].setdefault("applications", []).append(application)
        config["admin"]["tokens"].append({"name": "operator", "role": "admin", "token": OPERATOR})

    def close(self):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.good.close()
        self.sick.close()
        self.dir.cleanup()

    def _start(self):
        path = os.path.join(self.dir.name, "farmgate.yaml")
        with open(path, "w", encoding="utf-8") as file:
            # JSON is YAML.
            json.dump(self._config(), file, indent=1)
        self.log = os.path.join(self.dir.name, "log")
        with open(self.log, "wb") as log:
            command = [os.environ["FARMGATE_BIN"], "run", "-c", path]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log, encoding="utf-8", errors="replace") as log:
                    raise RuntimeError(f"farmgate is not ready (exit {self.process.poll()}):\n{log.read()}")
            time.sleep(0.02)

    def _is_ready(self):
        try:
            with urllib.request.urlopen(f"http://{self.admin}/readyz", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def _config(self):
        def at(port):
            return f"127.0.0.1:{port}"

        # Made at run time: objects are kept, and may listen on the loopback.
        state = {"state_dir": os.path.join(self.dir.name, "state")} if self.keeps_state else {}
        addresses = ["127.0.0.1"] if self.keeps_state else ["192.0.2.10"]
        # One credential makes thousands of calls.
        rate = {"rate": {"requests": 100000, "window": "1s"}} if self.keeps_state else {}
        timing = {"interval": "1s", "timeout": "1s", "rise": 1, "fall": 2}
        return {
            **state,
            "service": {"name": SERVICE, "addresses": addresses},
            "instance_id": INSTANCE_ID,
            "frontends": {
                "web": {"protocol": "http", "listen": [at(self.web_port)], "farm": "web"},
                "alt": {"protocol": "http", "listen": [at(self.alt_port)], "farm": "web"},
                "db": {"protocol": "tcp", "listen": [at(self.db_port)], "farm": "db"},
            },
            "farms": {
                "web": {
                    "protocol": "http",
                    "probe": {"type": "http", "url": "/healthz", "expect": {"status": "200-399"}, **timing},
                    "servers": {
                        "good": {"address": at(self.good.port), "weight": 100},
                        "sick": {"address": at(self.sick.port), "weight": 50},
                        "closed": {"address": at(free_port())},
                        "unprobed": {"address": at(self.good.port), "probe": False},
                        "resting": {"address": at(self.good.port), "status": "maintenance", "weight": 0},
                    },
                },
                "db": {
                    "protocol": "tcp",
                    "balance": "leastconn",
                    "probe": {"type": "tcp", **timing},
                    "servers": {"db-1": {"address": at(self.good.port)}},
                },
            },
            "admin": {
                "listen": self.admin,
                **rate,
                "tokens": [{"name": "ops", "role": self.role, "token": TOKEN}],
                "ovh": {"credentials": [{"name": "ci", "role": "read", **OVH}]},
                "zenlayer": {"access_keys": [{"name": "ci", "role": "read", **ZENLAYER}]},
            },
        }
