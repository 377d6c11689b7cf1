"""Node's own http2 client, in TLS and by prior knowledge in clear."""

import json
import unittest

import gate
from ports import free_port


class Node(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = gate.Directory()
        cls.addClassCleanup(cls.directory.close)
        origin = gate.WebOrigin()
        cls.addClassCleanup(origin.close)
        cls.authority = gate.Authority(cls.directory.path)
        cls.clear, cls.secure = free_port(), free_port()
        frontends = {
            "clear": {"protocol": "http", "listen": [gate.at(cls.clear)], "farm": "web", "h2c": True},
            "secure": {"protocol": "http", "listen": [gate.at(cls.secure)], "farm": "web", "tls": cls.authority.tls()},
        }
        cls.gate = gate.Gate(cls.directory.path, frontends, {"web": gate.http_farm(origin.port)})
        cls.addClassCleanup(cls.gate.close)

    def talk(self, url):
        script = gate.HERE / "node_http2.mjs"
        text = gate.run(gate.program("node"), script, url, self.authority.ca, seconds=60)
        return json.loads(text.splitlines()[-1])

    def test_streams_uploads_and_cancelled_ones_in_tls(self):
        self.holds(self.talk(f"https://localhost:{self.secure}"))

    def test_streams_uploads_and_cancelled_ones_in_clear(self):
        self.holds(self.talk(f"http://localhost:{self.clear}"))

    def holds(self, said):
        self.assertEqual(said["gets"], 200, said)
        self.assertEqual(said["uploaded"], said["came_back"], said)
        self.assertEqual(said["after_cancel"], 200, said)
        self.assertEqual(said["protocol"], "h2")


if __name__ == "__main__":
    unittest.main()
