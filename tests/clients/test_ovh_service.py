"""python-ovh on what concerns the service itself: settings, certificates, quotas, paging, refusals, documents."""

import json
import os
import ssl
import unittest
import urllib.request

import ovh

import farmgate
import ovh_gate
from farmgate import SERVICE
from ovh_gate import BASE
from ports import free_port

WRITER = {"application_key": "ak-writer", "application_secret": "as-writer-secret", "consumer_key": "ck-writer"}


class Gate(ovh_gate.Gate):
    """One in which one credential writes all."""

    def _config(self):
        config = super()._config()
        config["admin"]["ovh"]["credentials"].append({"name": "writer", "role": "admin", **WRITER})
        return config


def setUpModule():
    global gate
    gate = Gate()
    unittest.addModuleCleanup(gate.close)
    ovh.client.ENDPOINTS["farmgate-service"] = f"http://{gate.admin}/1.0"
    unittest.addModuleCleanup(ovh.client.ENDPOINTS.pop, "farmgate-service")


def client(credential):
    return ovh.Client(endpoint="farmgate-service", **credential)


class Service(unittest.TestCase):
    def setUp(self):
        self.client = client(WRITER)

    def test_displayed_name_is_merged_and_cleared(self):
        self.assertIsNone(self.client.put(BASE, displayName="shop"))
        service = self.client.get(BASE)
        self.assertEqual((service["displayName"], service["serviceName"]), ("shop", SERVICE))
        # Whole objects are sent back by those who edit them; what is read-only is passed over.
        self.client.put(BASE, **{**service, "displayName": "shop 2"})
        self.assertEqual(self.client.get(BASE)["displayName"], "shop 2")
        self.client.put(BASE, displayName=None)
        self.assertEqual(self.client.get(BASE)["displayName"], SERVICE)
        with self.assertRaisesRegex(ovh.exceptions.BadParametersError, "displayName: a text of 51 characters is outside 0..=50"):
            self.client.put(BASE, displayName="x" * 51)
        with self.assertRaises(ovh.exceptions.Forbidden):
            client(farmgate.OVH).put(BASE, displayName="x")

    def test_certificate_is_brought_shown_to_clients_and_removed(self):
        cert, key = gate.certificate("shop.test")
        made = self.client.post(f"{BASE}/ssl", certificate=cert, key=key, displayName="mine")
        self.assertEqual((made["type"], made["san"], made["displayName"]), ("custom", ["shop.test"], "mine"))
        self.assertIsInstance(made["id"], int)
        self.assertEqual(self.client.get(f"{BASE}/ssl", type="custom"), [made["id"]])
        self.assertIsNone(self.client.put(f"{BASE}/ssl/{made['id']}", displayName="yours"))
        self.assertEqual(self.client.get(f"{BASE}/ssl/{made['id']}")["displayName"], "yours")
        port = free_port()
        files = {part: os.path.join(gate.dir.name, f"state/made/{made['id']}.{part}.pem") for part in ("cert", "key")}
        tls = {"certificates": [files]}
        secure = {"name": "secure", "protocol": "http", "listen": [f"127.0.0.1:{port}"], "farm": "web", "tls": tls}
        self.native("POST", "/api/v1/frontends", secure)
        shown = ssl.get_server_certificate(("127.0.0.1", port))
        self.assertEqual(shown.split(), cert.split())
        with self.assertRaisesRegex(ovh.exceptions.ResourceConflictError, "is used by frontends.secure"):
            self.client.delete(f"{BASE}/ssl/{made['id']}")
        self.native("DELETE", "/api/v1/frontends/secure")
        self.assertIsNone(self.client.delete(f"{BASE}/ssl/{made['id']}"))
        with self.assertRaises(ovh.exceptions.ResourceNotFoundError):
            self.client.get(f"{BASE}/ssl/{made['id']}")
        with self.assertRaisesRegex(ovh.exceptions.BadParametersError, "key: is not the key of certificate"):
            self.client.post(f"{BASE}/ssl", certificate=cert, key=gate.certificate("other.test")[1])

    def native(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{gate.admin}{path}", data, method=method)
        request.add_header("Authorization", f"Bearer {farmgate.OPERATOR}")
        with urllib.request.urlopen(request, timeout=farmgate.PATIENCE_S) as answer:
            self.assertLess(answer.status, 300)

    def test_quota_counts_bytes_and_takes_an_alert(self):
        before = self.client.get(f"{BASE}/quota/local")["total"]
        with urllib.request.urlopen(f"http://127.0.0.1:{gate.web_port}/", timeout=farmgate.PATIENCE_S) as answer:
            answer.read()
        deadline = farmgate.time.monotonic() + farmgate.PATIENCE_S
        while self.client.get(f"{BASE}/quota/local")["total"] <= before:
            self.assertLess(farmgate.time.monotonic(), deadline)
            farmgate.time.sleep(0.05)
        self.client.put(f"{BASE}/quota/local", alert=10**12)
        quota = self.client.get(f"{BASE}/quota/local")
        self.assertEqual((quota["alert"], quota["zone"], quota["included"]), (10**12, "local", None))
        self.assertEqual(self.client.get(f"{BASE}/quotaHistory"), [])

    def test_what_is_not_here_says_so(self):
        for call, path in (
            (self.client.get, "/vrack/status"),
            (self.client.post, "/terminate"),
            (self.client.get, "/log/subscription"),
            (self.client.delete, "/zone/local"),
        ):
            with self.subTest(path=path), self.assertRaisesRegex(ovh.exceptions.APIError, "not offered here"):
                call(f"{BASE}{path}")
        with self.assertRaisesRegex(ovh.exceptions.ResourceConflictError, "acme"):
            self.client.post(f"{BASE}/freeCertificate", fqdn=["shop.test"])
        self.assertEqual(self.client.get(f"{BASE}/serviceInfos")["expiration"], "9999-12-31")

    def test_pages_have_whole_objects(self):
        [farm] = self.client.get(f"{BASE}/http/farm")
        path = f"{BASE}/http/farm/{farm}/server"
        headers = {"X-Pagination-Mode": "CachedObjectList-Pages", "X-Pagination-Size": "2"}
        headers["X-Pagination-Sort"] = "displayName"
        answer = self.client.raw_call("GET", path, None, True, headers)
        self.assertEqual([it["displayName"] for it in answer.json()], ["closed", "good"])
        self.assertEqual(answer.headers["X-Pagination-Elements"], "5")
        headers = {"X-Pagination-Mode": "CachedObjectList-Cursor", "X-Pagination-Size": "3"}
        names = []
        while True:
            answer = self.client.raw_call("GET", path, None, True, headers)
            names += [it["displayName"] for it in answer.json()]
            if "X-Pagination-Cursor-Next" not in answer.headers:
                break
            headers["X-Pagination-Cursor"] = answer.headers["X-Pagination-Cursor-Next"]
        self.assertEqual(sorted(names), ["closed", "good", "resting", "sick", "unprobed"])

    def test_documents_describe_what_is_offered(self):
        with urllib.request.urlopen(f"http://{gate.admin}/1.0/ipLoadbalancing.json", timeout=farmgate.PATIENCE_S) as answer:
            document = json.load(answer)
        self.assertEqual((document["apiVersion"], document["basePath"]), ("1.0", f"http://{gate.admin}/1.0"))
        self.assertEqual(document["models"]["ipLoadbalancing.ProxyProtocolVersionEnum"]["enum"], ["v1", "v2", "v2-ssl", "v2-ssl-cn"])
        # What it says can be read without further parameters can.
        for api in document["apis"]:
            path = api["path"].replace("{serviceName}", SERVICE)
            if "{" not in path and any(it["httpMethod"] == "GET" for it in api["operations"]):
                with self.subTest(path=path):
                    self.client.get(path)


if __name__ == "__main__":
    unittest.main()
