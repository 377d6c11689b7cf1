"""python-ovh as its users have it: only the endpoint's URL is ours."""

import datetime
import unittest

import ovh

import farmgate
from farmgate import SERVICE

BASE = f"/ipLoadbalancing/{SERVICE}"


def setUpModule():
    global gate
    gate = farmgate.Farmgate()
    unittest.addModuleCleanup(gate.close)
    ovh.client.ENDPOINTS["farmgate"] = f"http://{gate.admin}/1.0"
    unittest.addModuleCleanup(ovh.client.ENDPOINTS.pop, "farmgate")


def client(**other):
    return ovh.Client(endpoint="farmgate", **{**farmgate.OVH, **other})


class Reads(unittest.TestCase):
    def setUp(self):
        self.client = client()

    def server(self, name, kind="http"):
        """Finds a server as OVHcloud's clients do: ids first, then one object each."""
        for farm in self.client.get(f"{BASE}/{kind}/farm"):
            for server in self.client.get(f"{BASE}/{kind}/farm/{farm}/server"):
                found = self.client.get(f"{BASE}/{kind}/farm/{farm}/server/{server}")
                if found["displayName"] == name:
                    self.assertEqual((found["backendId"], found["serverId"]), (farm, server))
                    return found
        self.fail(f"no server is called {name}")

    def test_server_that_answers_503_is_down_with_the_evidence(self):
        server = self.server("sick")
        self.assertEqual((server["status"], server["weight"], server["probe"]), ("active", 50, True))
        self.assertEqual((server["address"], server["port"]), ("127.0.0.1", gate.sick.port))
        [state] = server["serverState"]
        self.assertEqual(state["instanceId"], farmgate.INSTANCE_ID)
        self.assertEqual((state["status"], state["checkStatus"], state["checkCode"]), ("DOWN", "L7STS", "503"))
        self.assertTrue(state["lastCheckContent"])
        at = datetime.datetime.fromisoformat(state["checkTime"].replace("Z", "+00:00"))
        age = datetime.datetime.now(datetime.timezone.utc) - at
        self.assertLess(abs(age), datetime.timedelta(seconds=farmgate.PATIENCE_S))

    def test_every_other_server_has_its_own_state(self):
        states = {}
        for name in ("good", "closed", "unprobed", "resting"):
            [state] = self.server(name)["serverState"]
            states[name] = (state["status"], state["checkStatus"], state["checkCode"])
        self.assertEqual(
            states,
            {
                "good": ("UP", "L7OK", "200"),
                "closed": ("DOWN", "L4CON", None),
                "unprobed": ("no check", None, None),
                "resting": ("MAINT", "L7OK", "200"),
            },
        )
        self.assertEqual(self.server("resting")["status"], "inactive")
        [state] = self.server("db-1", "tcp")["serverState"]
        self.assertEqual((state["status"], state["checkStatus"]), ("UP", "L4OK"))

    def test_both_prefixes_are_the_same_api(self):
        self.assertEqual(self.client.get("/ipLoadbalancing"), [SERVICE])
        self.assertEqual(self.client.get("/v1/ipLoadbalancing"), [SERVICE])
        self.assertEqual(self.client.get(BASE)["serviceName"], SERVICE)

    def test_filters_roll_up_and_frontends(self):
        [farm] = self.client.get(f"{BASE}/http/farm", zone="local", vrackNetworkId=None)
        self.assertEqual(self.client.get(f"{BASE}/http/farm", zone="gra"), [])
        [inactive] = self.client.get(f"{BASE}/http/farm/{farm}/server", status="inactive")
        self.assertEqual(self.client.get(f"{BASE}/http/farm/{farm}/server/{inactive}")["displayName"], "resting")
        [frontend] = self.client.get(f"{BASE}/http/frontend", port=str(gate.alt_port))
        frontend = self.client.get(f"{BASE}/http/frontend/{frontend}")
        self.assertEqual((frontend["port"], frontend["defaultFarmId"]), (str(gate.alt_port), farm))
        status = self.client.get(f"{BASE}/status")
        self.assertEqual(status["servers"]["total"], 6)
        self.assertEqual(sum(status["servers"]["status"].values()), 6)
        self.assertEqual(self.client.get(f"{BASE}/instancesState")[0]["internalId"], farmgate.INSTANCE_ID)

    def test_caller_is_the_credential_of_the_config(self):
        self.assertEqual(self.client.get("/auth/details")["account"], "ci")
        self.assertEqual(self.client.get("/auth/currentCredential")["status"], "validated")


class Errors(unittest.TestCase):
    """Each wrong call raises the SDK's own type, with the shape's message and a query id."""

    def raised(self, kind, call, *args, **kwargs):
        with self.assertRaises(kind) as caught:
            call(*args, **kwargs)
        # Not a base class of it.
        self.assertIs(type(caught.exception), kind, caught.exception)
        self.assertTrue(caught.exception.query_id)
        return str(caught.exception)

    def test_wrong_application_key_is_an_invalid_key(self):
        text = self.raised(ovh.exceptions.InvalidKey, client(application_key="nobody").get, BASE)
        self.assertIn("application key is invalid", text)

    def test_wrong_consumer_key_is_no_credential(self):
        text = self.raised(ovh.exceptions.NotCredential, client(consumer_key="nobody").get, BASE)
        self.assertIn("credential does not exist", text)

    def test_wrong_secret_makes_an_invalid_signature(self):
        text = self.raised(ovh.exceptions.BadParametersError, client(application_secret="other").get, BASE)
        self.assertIn("Invalid signature", text)

    def test_skewed_clock_is_out_of_time_either_way(self):
        for delta in (-400, 400):
            with self.subTest(delta=delta):
                skewed = client()
                skewed._time_delta = delta
                text = self.raised(ovh.exceptions.BadParametersError, skewed.get, BASE)
                self.assertIn("out of time", text)

    def test_clock_within_five_minutes_is_good(self):
        for delta in (-200, 200):
            slow = client()
            slow._time_delta = delta
            self.assertEqual(slow.get("/ipLoadbalancing"), [SERVICE])

    def test_unsigned_call_must_log_in(self):
        text = self.raised(ovh.exceptions.APIError, client().get, BASE, _need_auth=False)
        self.assertIn("login", text)

    def test_unknown_objects_and_paths_are_not_found(self):
        for path in ("/ipLoadbalancing/nobody", f"{BASE}/http/farm/1", f"{BASE}/tcp/farm/web", "/nothing/at/all"):
            with self.subTest(path=path):
                self.raised(ovh.exceptions.ResourceNotFoundError, client().get, path)

    def test_wrong_filter_is_a_bad_parameter(self):
        farm = client().get(f"{BASE}/http/farm")[0]
        call = client().get
        self.raised(ovh.exceptions.BadParametersError, call, f"{BASE}/http/farm/{farm}/server", status="up")

    def test_writes_of_a_reader_are_refused_and_change_nothing(self):
        farm = client().get(f"{BASE}/http/farm")[0]
        server = client().get(f"{BASE}/http/farm/{farm}/server")[0]
        path = f"{BASE}/http/farm/{farm}/server/{server}"
        before = client().get(path)["weight"]
        for call, role in (
            (lambda: client().put(path, weight=1), "operate"),
            (lambda: client().post(f"{BASE}/refresh"), "operate"),
            (lambda: client().put(path, address="127.0.0.9"), "admin"),
            (lambda: client().delete(path), "admin"),
        ):
            text = self.raised(ovh.exceptions.Forbidden, call)
            self.assertIn(f"needs role {role}", text)
        self.assertEqual(client().get(path)["weight"], before)


if __name__ == "__main__":
    unittest.main()
