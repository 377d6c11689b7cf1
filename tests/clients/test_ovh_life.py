"""A life through python-ovh: a credential is asked for and granted; farm, servers, frontend, route and certificate are made,
carry traffic, change, fall ill and go; the credential ends."""

import os
import ssl
import unittest
import urllib.error
import urllib.request

import ovh

import farmgate
from farmgate import SERVICE, until
from test_ovh_service import certificate_in

BASE = f"/ipLoadbalancing/{SERVICE}"
BOUND = {"application_key": "ak-bound", "application_secret": "as-bound-secret", "consumer_key": "ck-bound"}


class Gate(farmgate.Farmgate):
    """A farmgate that keeps objects, with an application that asks for a credential, and one that may make farms only."""

    def _config(self):
        config = super()._config()
        config["state_dir"] = os.path.join(self.dir.name, "state")
        config["service"] = {"name": SERVICE, "addresses": ["127.0.0.1"], "api_ports": "1024-65535"}
        rules = [{"method": "GET", "path": "/*"}, {"method": "POST", "path": "/ipLoadbalancing/*/http/farm"}]
        config["admin"]["ovh"]["probe_interval_min"] = "1s"
        config["admin"]["ovh"]["credentials"] += [
            {"name": "bound", "role": "admin", "rules": rules, **BOUND},
        ]
        self.lets_ask(config)
        return config


def setUpModule():
    global gate
    gate = Gate()
    unittest.addModuleCleanup(gate.close)
    ovh.client.ENDPOINTS["farmgate-life"] = f"http://{gate.admin}/1.0"
    unittest.addModuleCleanup(ovh.client.ENDPOINTS.pop, "farmgate-life")


def client(credential):
    return ovh.Client(endpoint="farmgate-life", **credential)


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


class Life(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """Comes by a credential as every application does: asked for, granted by an operator, used."""
        cls.client = client(farmgate.APPLICATION)
        asking = cls.client.new_consumer_key_request()
        asking.add_recursive_rules(ovh.API_READ_WRITE, "/ipLoadbalancing")
        asking.add_rule("POST", "/auth/logout")
        asking.add_rule("GET", "/auth/currentCredential")
        asked = asking.request()
        cls.client = client({**farmgate.APPLICATION, "consumer_key": asked["consumerKey"]})
        assert asked["state"] == "pendingValidation" and asked["validationUrl"].startswith("http"), asked
        try:
            raise AssertionError(cls.client.get(BASE))
        except ovh.exceptions.InvalidCredential:
            gate.grant()
        assert cls.client.get("/auth/currentCredential")["status"] == "validated"

    @classmethod
    def tearDownClass(cls):
        cls.client.post("/auth/logout")
        try:
            raise AssertionError(cls.client.get(BASE))
        except (ovh.exceptions.NotCredential, ovh.exceptions.InvalidCredential):
            pass

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
        def look():
            states = self.client.get(path)["serverState"]
            return states[-1] if states and states[-1]["status"] == status else None

        return until(f"{path} to be {status}", look)

    def test_objects_live_from_the_first_post_to_the_last_delete(self):
        call, ill = self.client, farmgate.Origin(200)
        self.addCleanup(ill.close)
        port = farmgate.free_port()
        probe = {"type": "http", "url": "/", "interval": 1, "match": "status", "pattern": "200"}
        farm = call.post(f"{BASE}/http/farm", zone="all", displayName="shop", probe=probe, balance="roundrobin")
        farm_path = f"{BASE}/http/farm/{farm['farmId']}"
        servers = f"{farm_path}/server"
        one = call.post(servers, address="127.0.0.1", status="active", port=ill.port, probe=True)
        two = call.post(servers, address="127.0.0.1", status="active", port=gate.good.port, probe=True, backup=True)
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
        cert, key = certificate_in(gate, "shop.test")
        brought = call.post(f"{BASE}/ssl", certificate=cert, key=key, displayName="mine")
        self.assertIsNone(call.put(frontend_path, ssl=True, defaultSslId=brought["id"]))
        self.refresh()
        shown = until("the certificate", lambda: certificate_at(port))
        self.assertEqual(shown.split(), cert.split())

        with self.assertRaises(ovh.exceptions.ResourceConflictError) as caught:
            call.delete(farm_path)
        self.assertIn("is used by", str(caught.exception))
        ssl_path = f"{BASE}/ssl/{brought['id']}"
        paths = (f"{route_path}/rule/{rule['ruleId']}", route_path, frontend_path, one_path, two_path, farm_path)
        for path in paths:
            self.assertIsNone(call.delete(path))
            with self.assertRaises(ovh.exceptions.ResourceNotFoundError):
                call.get(path)
        self.assertTrue(certificate_at(port))
        self.refresh()
        until("the frontend to close", lambda: certificate_at(port) is None)
        self.assertIsNone(call.delete(ssl_path))
        with self.assertRaises(ovh.exceptions.ResourceNotFoundError):
            call.get(ssl_path)

    def test_each_wrong_write_raises_its_own_type(self):
        post, bad = self.client.post, ovh.exceptions.BadParametersError
        farms = f"{BASE}/http/farm"
        for kind, text, call, path, body in (
            (bad, "zone: is missing", post, farms, {"port": 80}),
            (bad, 'zone: "gra" is outside all, local', post, farms, {"zone": "gra"}),
            (bad, "probe.interval: 0 is outside", post, farms, {"zone": "all", "probe": {"interval": 0}}),
            (bad, "balance", post, f"{BASE}/tcp/farm", {"zone": "all", "balance": "uri"}),
            (bad, "port: 80 is outside the texts", post, f"{BASE}/http/frontend", {"zone": "all", "port": 80}),
            (ovh.exceptions.ResourceNotFoundError, "farm", post, f"{farms}/5/server", {"address": "10.0.0.1"}),
            (ovh.exceptions.ResourceConflictError, "farmgate.yaml:", self.client.put, f"{farms}/web", {"balance": "first"}),
            (ovh.exceptions.NotGrantedCall, "not been granted", client(BOUND).post, f"{BASE}/refresh", {}),
        ):
            with self.subTest(path=path, body=body):
                with self.assertRaises(kind) as caught:
                    call(path, **body)
                self.assertIs(type(caught.exception), kind, caught.exception)
                self.assertIn(text, str(caught.exception))
                self.assertTrue(caught.exception.query_id)
        self.assertEqual(self.client.get(f"{BASE}/pendingChanges"), [])
        made = client(BOUND).post(farms, zone="all")
        self.client.delete(f"{farms}/{made['farmId']}")


if __name__ == "__main__":
    unittest.main()
