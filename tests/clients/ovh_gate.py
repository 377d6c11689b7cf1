"""A farmgate in which the OVHcloud API may write, and the life that objects live in it, whichever client asks for it."""

import os
import ssl
import subprocess
import urllib.error
import urllib.request

import farmgate
from farmgate import SERVICE, until
from ports import free_port

BASE = f"/ipLoadbalancing/{SERVICE}"
# A credential of which everything is read, and by which farms are made and no more.
BOUND = {"application_key": "ak-bound", "application_secret": "as-bound-secret", "consumer_key": "ck-bound"}
BOUND_RULES = [{"method": "GET", "path": "/*"}, {"method": "POST", "path": "/ipLoadbalancing/*/http/farm"}]


class Gate(farmgate.Farmgate):
    """Keeps objects, checks as often as every second, and has an application that asks for credentials."""

    def _config(self):
        config = super()._config()
        config["state_dir"] = os.path.join(self.dir.name, "state")
        config["service"] = {"name": SERVICE, "addresses": ["127.0.0.1"], "api_ports": "1024-65535"}
        config["admin"]["ovh"]["probe_interval_min"] = "1s"
        config["admin"]["ovh"]["credentials"].append({"name": "bound", "role": "admin", "rules": BOUND_RULES, **BOUND})
        self.lets_ask(config)
        return config

    def certificate(self, name):
        """Makes a certificate for a name and its key; returns both as PEM."""
        texts = []
        for file in self.certificate_files(name, f"DNS:{name}"):
            with open(file, encoding="ascii") as text:
                texts.append(text.read())
        return texts

    def certificate_files(self, name, alternative):
        """Makes them for this alternative name; returns where they are."""
        cert, key = (os.path.join(self.dir.name, f"{name}.{end}") for end in ("pem", "key"))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-days", "30", "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}"]
        subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
        return cert, key


def status_of(port, path="/"):
    """Returns the status that a frontend answers with; nothing where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=farmgate.PATIENCE_S) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, OSError):
        return None


def certificate_at(port):
    """Returns the certificate that a frontend shows; nothing where nobody speaks TLS."""
    try:
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=farmgate.PATIENCE_S)
    except OSError:
        return None


class Life:
    """For test cases that have the gate as `gate`, as `client` one who may do all with `get`, `post`, `put` and `delete`,
    and `refused(status, text, call, path, **params)`."""

    # Beyond ASCII: clients sign what they send, however they write it.
    NAME = "café"

    def refresh(self):
        """Makes live what is staged, as the Terraform provider does."""
        self.assertTrue(self.client.get(f"{BASE}/pendingChanges"))
        task = self.client.post(f"{BASE}/refresh")
        self.assertEqual(task["action"], "refreshIplb")
        path = f"{BASE}/task/{task['id']}"
        task = until("the task to end", lambda: next((t for t in [self.client.get(path)] if t["status"] == "done"), None))
        self.assertEqual(task["progress"], 100)
        for status in ("todo", "doing"):
            self.assertEqual(self.client.get(f"{BASE}/task", action="refreshIplb", status=status), [])
        self.assertEqual(self.client.get(f"{BASE}/pendingChanges"), [])

    def state(self, path, status):
        """Returns what the last instance says of a server once it says this."""

        def look():
            states = self.client.get(path)["serverState"]
            return states[-1] if states and states[-1]["status"] == status else None

        return until(f"{path} to be {status}", look)

    def test_objects_live_from_the_first_post_to_the_last_delete(self):
        call, ill = self.client, farmgate.Origin(200)
        self.addCleanup(ill.close)
        port, good = free_port(), self.gate.good.port
        probe = {"type": "http", "url": "/", "interval": 1, "match": "status", "pattern": "200"}
        farm = call.post(f"{BASE}/http/farm", zone="all", displayName=self.NAME, probe=probe, balance="roundrobin")
        self.assertEqual(farm["displayName"], self.NAME)
        farm_path = f"{BASE}/http/farm/{farm['farmId']}"
        servers = f"{farm_path}/server"
        one = call.post(servers, address="127.0.0.1", status="active", port=ill.port, probe=True)
        two = call.post(servers, address="127.0.0.1", status="active", port=good, probe=True, backup=True)
        one_path, two_path = f"{servers}/{one['serverId']}", f"{servers}/{two['serverId']}"
        self.assertEqual(one["serverState"], [])
        frontend = call.post(f"{BASE}/http/frontend", zone="all", port=str(port), defaultFarmId=farm["farmId"])
        action = {"type": "reject", "status": 429}
        route = call.post(f"{BASE}/http/route", action=action, frontendId=frontend["frontendId"])
        route_path = f"{BASE}/http/route/{route['routeId']}"
        rule = call.post(f"{route_path}/rule", field="uri", match="startswith", pattern="/no")
        self.assertIsNone(status_of(port))
        self.refresh()
        until("the frontend to answer", lambda: status_of(port) == 200)
        self.assertEqual(status_of(port, "/no/way"), 429)
        self.assertEqual(call.get(route_path)["rules"][0]["ruleId"], rule["ruleId"])
        self.assertEqual(call.get(servers, address="127.0.0.1"), [one["serverId"], two["serverId"]])
        self.assertEqual(self.state(one_path, "UP")["checkStatus"], "L7OK")

        ill.close()
        down = self.state(one_path, "DOWN")
        self.assertEqual((down["checkStatus"], down["checkCode"]), ("L4CON", None))
        self.assertTrue(down["lastCheckContent"] and down["checkTime"])
        self.assertEqual(status_of(port), 200)

        self.assertIsNone(call.put(two_path, backup=False, weight=7))
        self.assertIsNone(call.put(one_path, status="inactive", weight=None))
        self.assertEqual((call.get(one_path)["status"], call.get(two_path)["weight"]), ("inactive", 7))
        self.assertEqual(call.get(servers, status="inactive"), [one["serverId"]])
        self.refresh()
        self.state(one_path, "MAINT")
        self.assertEqual(status_of(port), 200)

        frontend_path = f"{BASE}/http/frontend/{frontend['frontendId']}"
        cert, key = self.gate.certificate("shop.test")
        brought = call.post(f"{BASE}/ssl", certificate=cert, key=key, displayName="mine")
        self.assertEqual((brought["type"], brought["san"], brought["displayName"]), ("custom", ["shop.test"], "mine"))
        self.assertEqual(call.get(f"{BASE}/ssl", type="custom"), [brought["id"]])
        self.assertIsNone(call.put(frontend_path, ssl=True, defaultSslId=brought["id"]))
        self.refresh()
        shown = until("the certificate", lambda: certificate_at(port))
        self.assertEqual(shown.split(), cert.split())

        self.refused(409, "is used by", call.delete, farm_path)
        ssl_path = f"{BASE}/ssl/{brought['id']}"
        for path in (f"{route_path}/rule/{rule['ruleId']}", route_path, frontend_path, one_path, two_path, farm_path):
            self.assertIsNone(call.delete(path))
            self.refused(404, "", call.get, path)
        self.assertTrue(certificate_at(port))
        self.refresh()
        until("the frontend to close", lambda: certificate_at(port) is None)
        self.assertIsNone(call.delete(ssl_path))
        self.refused(404, "", call.get, ssl_path)
