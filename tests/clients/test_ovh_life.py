"""A life through python-ovh: a credential is asked for and granted; farm, servers, frontend, route and certificate are made,
carry traffic, change, fall ill and go; the credential ends."""

import unittest

import ovh

import farmgate
import ovh_gate
from ovh_gate import BASE, BOUND


def setUpModule():
    global gate
    gate = ovh_gate.Gate()
    unittest.addModuleCleanup(gate.close)
    ovh.client.ENDPOINTS["farmgate-life"] = f"http://{gate.admin}/1.0"
    unittest.addModuleCleanup(ovh.client.ENDPOINTS.pop, "farmgate-life")


def client(credential):
    return ovh.Client(endpoint="farmgate-life", **credential)


class Life(ovh_gate.Life, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """Comes by a credential as every application does: asked for, granted by an operator, used."""
        cls.gate, cls.client = gate, client(farmgate.APPLICATION)
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

    def refused(self, status, text, call, path, **params):
        kinds = {404: ovh.exceptions.ResourceNotFoundError, 409: ovh.exceptions.ResourceConflictError}
        with self.assertRaises(kinds[status]) as caught:
            call(path, **params)
        self.assertIn(text, str(caught.exception))

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
