"""testssl.sh finds nothing that matters in the TLS of a frontend, in either profile."""

import json
import unittest

import gate
from ports import free_port

GRAVE = ("MEDIUM", "HIGH", "CRITICAL", "WARN")
# What is said of the certificate, whose authority is one of this test, and of the origin's answers, not of our TLS.
NOT_OURS = ("security_headers", "cert_trust", "cert_chain_of_trust", "cert_ocsp", "cert_crlDistributionPoints", "OCSP_stapling", "cert_caIssuers", "DNS_CAArecord")


class TestSsl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = gate.Directory()
        cls.addClassCleanup(cls.directory.close)
        origin = gate.WebOrigin()
        cls.addClassCleanup(origin.close)
        cls.authority = gate.Authority(cls.directory.path)
        cls.ports = {profile: free_port() for profile in ("intermediate", "modern")}
        frontends = {
            profile: {"protocol": "http", "listen": [gate.at(port)], "farm": "web", "hsts": True, "tls": cls.authority.tls(profile=profile)}
            for profile, port in cls.ports.items()
        }
        cls.gate = gate.Gate(cls.directory.path, frontends, {"web": gate.http_farm(origin.port)})
        cls.addClassCleanup(cls.gate.close)

    def findings(self, profile):
        out = self.directory.path / f"{profile}.json"
        argv = [gate.program("testssl"), "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none"]
        text = gate.run(*argv, "--add-ca", self.authority.ca, "--jsonfile", out, "--ip", "127.0.0.1", f"localhost:{self.ports[profile]}", seconds=600)
        try:
            return json.loads(out.read_text())
        except (OSError, ValueError) as error:
            raise AssertionError(f"no report ({error}):\n{text[-3000:]}") from None

    def test_nothing_above_low(self):
        for profile in self.ports:
            with self.subTest(profile):
                findings = self.findings(profile)
                self.assertGreater(len(findings), 50, "testssl.sh looked at nothing")
                grave = [f"{f['id']}: {f['severity']} {f['finding']}" for f in findings if f["severity"] in GRAVE and not f["id"].startswith(NOT_OURS)]
                self.assertEqual(grave, [])
                offered = {f["id"]: f["finding"] for f in findings}
                self.assertIn("offered", offered["TLS1_3"])
                self.assertTrue(offered["TLS1_2"].startswith("not offered") == (profile == "modern"), offered["TLS1_2"])


if __name__ == "__main__":
    unittest.main()
