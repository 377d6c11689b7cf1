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
import ovh_gate
from ovh_gate import BASE

HERE = os.path.dirname(os.path.abspath(__file__))


def named(keys):
    """Returns the keys of a credential as the package calls them."""
    names = {"application_key": "appKey", "application_secret": "appSecret", "consumer_key": "consumerKey"}
    return {names[key]: value for key, value in keys.items()}


APPLICATION, BOUND = named(farmgate.APPLICATION), named(ovh_gate.BOUND)


class Gate(ovh_gate.Gate):
    """One whose admin side speaks TLS."""

    def _config(self):
        config = super()._config()
        self.cert, key = self.certificate_files("127.0.0.1", "IP:127.0.0.1")
        config["admin"]["tls"] = {"cert": self.cert, "key": key}
        return config

    @property
    def admin_url(self):
        return f"https://{self.admin}"

    def trust(self):
        with open(self.cert, encoding="ascii") as pem:
            der = ssl.PEM_cert_to_DER_cert(pem.read())
        return {"FARMGATE_FINGERPRINT": hashlib.sha256(der).hexdigest()}

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


class Life(ovh_gate.Life, unittest.TestCase):
    def setUp(self):
        self.gate, self.client = gate, Client(WRITER)

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
