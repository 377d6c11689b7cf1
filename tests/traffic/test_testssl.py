"""testssl.sh finds nothing that matters in the TLS of a frontend, in either profile."""

import json
import unittest

import gate
from ports import free_port

GRAVE = ("MEDIUM", "HIGH", "CRITICAL", "WARN")
# What is said of the certificate, whose authority is one of this test, and of the origin's answers, not of our TLS.
NOT_OURS = ("security_headers", "cert_trust", "cert_chain_of_trust", "cert_ocsp", "cert_crlDistributionPoints", "OCSP_stapling", "cert_caIssuers", "DNS_CAArecord")

RESUMPTION, RESUMPTION_LOOKS = "sessionresumption_ticket", 5


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

    def findings(self, profile, *only):
        out = self.directory.path / f"{profile}.json"
        out.unlink(missing_ok=True)
        argv = [gate.program("testssl"), "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", *only]
        text = gate.run(*argv, "--add-ca", self.authority.ca, "--jsonfile", out, "--ip", "127.0.0.1", f"localhost:{self.ports[profile]}", seconds=600)
        try:
            return json.loads(out.read_text())
        except (OSError, ValueError) as error:
            raise AssertionError(f"no report ({error}):\n{text[-3000:]}") from None

    def resumption(self, profile):
        """Looks again whether sessions are resumed. testssl.sh closes its first connection once the handshake is done; where the
        machine is busy the ticket comes after that, and it has none to show on the second one, which it takes for a failure."""
        for _ in range(RESUMPTION_LOOKS):
            found = [f for f in self.findings(profile, "--server-defaults") if f["id"] == RESUMPTION]
            if found and found[0]["severity"] != "WARN":
                return found
        return found

    def test_nothing_above_low(self):
        for profile in self.ports:
            with self.subTest(profile):
                findings = self.findings(profile)
                self.assertGreater(len(findings), 50, "testssl.sh looked at nothing")
                if any(f["id"] == RESUMPTION and f["severity"] == "WARN" for f in findings):
                    findings = [f for f in findings if f["id"] != RESUMPTION] + self.resumption(profile)
                grave = [f"{f['id']}: {f['severity']} {f['finding']}" for f in findings if f["severity"] in GRAVE and not f["id"].startswith(NOT_OURS)]
                self.assertEqual(grave, [])
                offered = {f["id"]: f["finding"] for f in findings}
                self.assertIn("offered", offered["TLS1_3"])
                self.assertIn(offered[RESUMPTION], ("supported", "not supported"))
                self.assertTrue(offered["TLS1_2"].startswith("not offered") == (profile == "modern"), offered["TLS1_2"])


if __name__ == "__main__":
    unittest.main()
