"""curl and h2load, in both versions of HTTP, in clear and in TLS, before servers in TLS too."""

import re
import ssl
import unittest

import gate
from ports import free_port


class Http(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = gate.Directory()
        cls.addClassCleanup(directory.close)
        cls.authority = gate.Authority(directory.path)
        plain, encrypted = gate.WebOrigin("plain"), gate.WebOrigin("encrypted")
        for origin in (plain, encrypted):
            cls.addClassCleanup(origin.close)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cls.authority.cert, cls.authority.key)
        encrypted.server.socket = context.wrap_socket(encrypted.server.socket, server_side=True, do_handshake_on_connect=False)
        tls = {"ca": str(cls.authority.ca), "sni": "localhost"}
        stranger = gate.Directory()
        cls.addClassCleanup(stranger.close)
        wrong = {"ca": str(gate.Authority(stranger.path).ca), "sni": "localhost"}
        server = {"address": gate.at(encrypted.port)}
        farms = {
            "plain": gate.http_farm(plain.port),
            "tls": {"protocol": "http", "servers": {"s1": {**server, "tls": tls}}},
            "tls-http2": {"protocol": "http", "http2": True, "servers": {"s1": {**server, "tls": tls}}},
            "wrong-ca": {"protocol": "http", "servers": {"s1": {**server, "tls": wrong}}},
            "wrong-name": {"protocol": "http", "servers": {"s1": {**server, "tls": {**tls, "sni": "other.example"}}}},
            "unverified": {"protocol": "http", "servers": {"s1": {**server, "tls": {"verify": False}}}},
        }
        cls.clear = {farm: free_port() for farm in farms}
        cls.secure = free_port()
        frontends = {farm: {"protocol": "http", "listen": [gate.at(port)], "farm": farm, "h2c": True} for farm, port in cls.clear.items()}
        frontends["secure"] = {"protocol": "http", "listen": [gate.at(cls.secure)], "farm": "plain", "tls": cls.authority.tls()}
        cls.gate = gate.Gate(directory.path, frontends, farms)
        cls.addClassCleanup(cls.gate.close)

    def curl(self, *argv):
        text = gate.run(gate.program("curl"), "--silent", "--show-error", "--cacert", self.authority.ca, "--write-out", "|%{http_code}|%{http_version}", *argv, seconds=60)
        return text.rsplit("|", 2)

    def test_curl_in_each_version(self):
        clear, secure = f"http://localhost:{self.clear['plain']}/x", f"https://localhost:{self.secure}/x"
        for argv, version in [
            (["--http1.0", clear], "1.0"),
            (["--http1.1", clear], "1.1"),
            (["--http2-prior-knowledge", clear], "2"),
            (["--http1.1", secure], "1.1"),
            (["--http2", secure], "2"),
            (["--http2", "--tlsv1.2", "--tls-max", "1.2", secure], "2"),
        ]:
            with self.subTest(argv=argv):
                body, status, spoken = self.curl(*argv)
                self.assertEqual((body, status), ("plain /x\n", "200"), body)
                # A client of 1.0 is answered in our own version.
                self.assertIn(spoken, (version, "1.1") if version == "1.0" else (version,))

    def test_curl_upload_in_each_version(self):
        for argv in (["--http1.1", f"http://localhost:{self.clear['plain']}/"], ["--http2", f"https://localhost:{self.secure}/"]):
            with self.subTest(argv=argv):
                body, status, _ = self.curl("--data-binary", "x" * 100_000, *argv)
                self.assertEqual((len(body), status), (100_000, "200"))

    def test_servers_in_tls_are_verified(self):
        for farm, want in [("tls", "200"), ("tls-http2", "200"), ("unverified", "200"), ("wrong-ca", "502"), ("wrong-name", "502")]:
            with self.subTest(farm=farm):
                for _ in range(3):
                    body, status, _ = self.curl(f"http://localhost:{self.clear[farm]}/x")
                    self.assertEqual(status, want, body)
                    self.assertEqual(body == "encrypted /x\n", want == "200", body)
        body, _, _ = self.curl(f"http://localhost:{self.clear['wrong-ca']}/x")
        self.assertIn("unknown authority", body)
        body, _, _ = self.curl(f"http://localhost:{self.clear['wrong-name']}/x")
        self.assertIn("not for its name", body)

    def test_h2load_loses_no_request(self):
        for url in (f"http://localhost:{self.clear['plain']}/", f"https://localhost:{self.secure}/", f"http://localhost:{self.clear['tls']}/"):
            with self.subTest(url=url):
                text = gate.run(gate.program("h2load"), "--requests=2000", "--clients=4", "--max-concurrent-streams=25", url, seconds=120)
                found = re.search(r"requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout", text)
                self.assertIsNotNone(found, text)


if __name__ == "__main__":
    unittest.main()
