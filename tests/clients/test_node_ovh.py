"""A life through the npm package `ovh`, which speaks TLS only: made, carrying traffic, ill, changed, refused, deleted."""

import hashlib
import json
import os
import ssl
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.request

import farmgate
from farmgate import SERVICE, until

BASE = f"/ipLoadbalancing/{SERVICE}"
HERE = os.path.dirname(os.path.abspath(__file__))
APPLICATION = {"appKey": farmgate.APPLICATION["application_key"], "appSecret": farmgate.APPLICATION["application_secret"]}
BOUND = {"appKey": "ak-bound", "appSecret": "as-bound-secret", "consumerKey": "ck-bound"}


class Gate(farmgate.Farmgate):
    """A farmgate that keeps objects, whose admin speaks TLS, with an application that asks for a credential and one that may read and make farms."""

    def _config(self):
        config = super()._config()
        config["state_dir"] = os.path.join(self.dir.name, "state")
        config["service"] = {"name": SERVICE, "addresses": ["127.0.0.1"], "api_ports": "1024-65535"}
        rules = [{"method": "GET", "path": "/*"}, {"method": "POST", "path": "/ipLoadbalancing/*/http/farm"}]
        config["admin"]["ovh"]["probe_interval_min"] = "1s"
        keys = {"application_key": BOUND["appKey"], "application_secret": BOUND["appSecret"], "consumer_key": BOUND["consumerKey"]}
        config["admin"]["ovh"]["credentials"].append({"name": "bound", "role": "admin", "rules": rules, **keys})
        self.lets_ask(config)
        self.cert, key = self.certificate("127.0.0.1", "IP:127.0.0.1")
        config["admin"]["tls"] = {"cert": self.cert, "key": key}
        return config

    @property
    def admin_url(self):
        return f"https://{self.admin}"

    def trust(self):
        with open(self.cert, encoding="ascii") as pem:
            der = ssl.PEM_cert_to_DER_cert(pem.read())
        return {"FARMGATE_FINGERPRINT": hashlib.sha256(der).hexdigest()}

    def certificate(self, name, alternative):
        """Makes a certificate and its key; returns where they are."""
        cert, key = (os.path.join(self.dir.name, f"{name}.{end}") for end in ("pem", "key"))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-days", "30", "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}"]
        subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
        return cert, key

    def _is_ready(self):
        context = ssl.create_default_context(cafile=self.cert)
        try:
            with urllib.request.urlopen(f"https://{self.admin}/readyz", timeout=1, context=context) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


class Refused(Exception):
    """What the package rejects a call with: the status, and the message of the body."""

    def __init__(self, outcome):
        self.status, self.message = outcome["error"], outcome.get("message")
        super().__init__(f"{self.status}: {self.message}")


class Node:
    """The package, in a process of its own."""

    def __init__(self, gate):
        command = ["node", os.path.join(HERE, "node_ovh.mjs"), os.environ["FARMGATE_NODE_PACKAGES"]]
        env = {**os.environ, "NODE_EXTRA_CA_CERTS": gate.cert}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
        self.place = {"host": "127.0.0.1", "port": gate.admin_port, "basePath": "/1.0"}

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(farmgate.PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def call(self, credential, method, path, params):
        late = threading.Timer(farmgate.PATIENCE_S, self.process.kill)
        late.start()
        try:
            call = {"client": {**self.place, **credential}, "method": method, "path": path, "params": params}
            self.process.stdin.write(json.dumps(call) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        finally:
            late.cancel()
        if not line:
            raise RuntimeError(f"node ended or hung at {method} {path}")
        outcome = json.loads(line)
        self.warnings = outcome["warnings"]
        if "error" in outcome:
            raise Refused(outcome)
        return outcome["answer"]


class Client:
    def __init__(self, credential):
        self.credential = credential

    def get(self, path, **params):
        return node.call(self.credential, "GET", path, params)

    def post(self, path, **params):
        return node.call(self.credential, "POST", path, params)

    def put(self, path, **params):
        return node.call(self.credential, "PUT", path, params)

    def delete(self, path):
        return node.call(self.credential, "DELETE", path, {})


def setUpModule():
    global gate, node, WRITER
    gate = Gate()
    unittest.addModuleCleanup(gate.close)
    node = Node(gate)
    unittest.addModuleCleanup(node.close)
    WRITER = granted()


def granted():
    """Comes by a credential as every application does: asked for, granted by an operator, used."""
    verbs = ("GET", "POST", "PUT", "DELETE")
    rules = [{"method": verb, "path": f"/ipLoadbalancing{rest}"} for verb in verbs for rest in ("", "/*")]
    asked = Client(APPLICATION).post("/auth/credential", accessRules=rules)
    assert asked["state"] == "pendingValidation", asked
    credential = {**APPLICATION, "consumerKey": asked["consumerKey"]}
    try:
        raise AssertionError(Client(credential).get(BASE))
    except Refused as refused:
        assert refused.status == 403, refused
    gate.grant()
    return credential


def status_of(port, path="/"):
    """Returns the status that a frontend answers with; nothing where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=farmgate.PATIENCE_S) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, OSError):
        return None


class Life(unittest.TestCase):
    def setUp(self):
        self.client = Client(WRITER)

    def refresh(self):
        """Makes live what is staged."""
        self.assertTrue(self.client.get(f"{BASE}/pendingChanges"))
        task = self.client.post(f"{BASE}/refresh")
        self.assertEqual(task["action"], "refreshIplb")
        path = f"{BASE}/task/{task['id']}"
        task = until("the task to end", lambda: next((t for t in [self.client.get(path)] if t["status"] == "done"), None))
        self.assertEqual(task["progress"], 100)
        self.assertEqual(self.client.get(f"{BASE}/task", action="refreshIplb", status="doing"), [])
        self.assertEqual(self.client.get(f"{BASE}/pendingChanges"), [])

    def state(self, path, status):
        def look():
            states = self.client.get(path)["serverState"]
            return states[-1] if states and states[-1]["status"] == status else None

        return until(f"{path} to be {status}", look)

    def test_objects_live_from_the_first_post_to_the_last_delete(self):
        call, ill = self.client, farmgate.Origin(200)
        self.addCleanup(ill.close)
        port = farmgate.free_port()
        probe = {"type": "http", "url": "/", "interval": 1, "match": "status", "pattern": "200"}
        # Beyond ASCII: the package escapes it, and signs what it escaped.
        farm = call.post(f"{BASE}/http/farm", zone="all", displayName="café", probe=probe, balance="roundrobin")
        self.assertEqual(farm["displayName"], "café")
        farm_path = f"{BASE}/http/farm/{farm['farmId']}"
        servers = f"{farm_path}/server"
        one = call.post(servers, address="127.0.0.1", status="active", port=ill.port, probe=True)
        two = call.post(servers, address="127.0.0.1", status="active", port=gate.good.port, probe=True, backup=True)
        one_path, two_path = f"{servers}/{one['serverId']}", f"{servers}/{two['serverId']}"
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
        self.assertIsNone(call.put(one_path, status="inactive"))
        self.assertEqual((call.get(one_path)["status"], call.get(two_path)["weight"]), ("inactive", 7))
        self.refresh()
        self.state(one_path, "MAINT")
        self.assertEqual(status_of(port), 200)

        self.refused(409, "is used by", call.delete, farm_path)
        frontend_path = f"{BASE}/http/frontend/{frontend['frontendId']}"
        for path in (f"{route_path}/rule/{rule['ruleId']}", route_path, frontend_path, one_path, two_path, farm_path):
            self.assertIsNone(call.delete(path))
            self.refused(404, "", call.get, path)
        self.assertEqual(status_of(port), 200)
        self.refresh()
        until("the frontend to close", lambda: status_of(port) is None)

    def test_certificate_is_brought_and_removed(self):
        files = gate.certificate("shop.test", "DNS:shop.test")
        texts = []
        for file in files:
            with open(file, encoding="ascii") as text:
                texts.append(text.read())
        made = self.client.post(f"{BASE}/ssl", certificate=texts[0], key=texts[1], displayName="mine")
        self.assertEqual((made["type"], made["san"], made["displayName"]), ("custom", ["shop.test"], "mine"))
        self.assertEqual(self.client.get(f"{BASE}/ssl", type="custom"), [made["id"]])
        self.assertIsNone(self.client.delete(f"{BASE}/ssl/{made['id']}"))
        self.refused(404, "", self.client.get, f"{BASE}/ssl/{made['id']}")

    def test_each_wrong_call_is_rejected_with_its_status_and_sentence(self):
        get, post, farms = self.client.get, self.client.post, f"{BASE}/http/farm"
        now = int(time.time())
        for status, text, call, path, params in (
            (400, "zone: is missing", post, farms, {"port": 80}),
            (400, 'zone: "gra" is outside all, local', post, farms, {"zone": "gra"}),
            (400, "probe.interval: 0 is outside", post, farms, {"zone": "all", "probe": {"interval": 0}}),
            (404, "farm", get, f"{farms}/5", {}),
            (404, "farm", post, f"{farms}/5/server", {"address": "10.0.0.1"}),
            (409, "farmgate.yaml:", self.client.put, f"{farms}/web", {"balance": "first"}),
            (400, "Invalid signature", Client({**WRITER, "appSecret": "another"}).get, BASE, {}),
            (400, "Query out of time", Client({**WRITER, "apiTimeDiff": -3600}).get, BASE, {}),
            (400, "Query out of time", Client({**WRITER, "apiTimeDiff": now}).get, BASE, {}),
            (403, "application key is invalid", Client({**WRITER, "appKey": "nobody"}).get, BASE, {}),
            (403, "credential does not exist", Client({**WRITER, "consumerKey": "nobody"}).get, BASE, {}),
            (403, "not been granted", Client(BOUND).post, f"{BASE}/refresh", {}),
        ):
            with self.subTest(path=path, params=params, text=text):
                self.refused(status, text, call, path, **params)
        self.assertEqual(get(f"{BASE}/pendingChanges"), [])

    def test_rules_let_through_what_they_grant(self):
        made = Client(BOUND).post(f"{BASE}/http/farm", zone="all")
        self.refused(403, "not been granted", Client(BOUND).delete, f"{BASE}/http/farm/{made['farmId']}")
        self.assertIsNone(self.client.delete(f"{BASE}/http/farm/{made['farmId']}"))

    def test_calls_are_in_the_schemas_that_the_package_loads(self):
        checking = Client({**WRITER, "apis": ["auth", "ipLoadbalancing"]})
        web = f"{BASE}/http/farm/web"
        for path in ("/ipLoadbalancing", BASE, web, f"{web}/server", f"{web}/server/good", f"{BASE}/task", f"{BASE}/ssl"):
            self.assertIsNotNone(checking.get(path))
            self.assertEqual(node.warnings, [], path)
        made = checking.post(f"{BASE}/tcp/farm", zone="all")
        self.assertEqual(node.warnings, [])
        checking.delete(f"{BASE}/tcp/farm/{made['farmId']}")
        self.assertEqual(node.warnings, [])
        self.refused(404, "", checking.get, f"{BASE}/sctp/farm")
        self.assertIn("was not found in the API schemas", node.warnings[0])

    def refused(self, status, text, call, path, **params):
        with self.assertRaises(Refused) as caught:
            call(path, **params)
        self.assertEqual(caught.exception.status, status, caught.exception)
        self.assertIn(text, caught.exception.message)


if __name__ == "__main__":
    unittest.main()
