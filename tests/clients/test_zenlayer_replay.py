"""What Zenlayer's Terraform provider and CLI send, byte for byte, and what they need to hear.

A fixture is the head of the client's requests and its calls in order. `${name}` is filled in: what the test knows, what an
answer gave (`keep`), and what is signed anew. `expect` names values of the answer by path, `#` being a length. The steps
called "plan" are the provider's reads, held against the configuration attribute by attribute: nothing differs, so a plan
is empty.
"""

import hashlib
import hmac
import json
import pathlib
import socket
import string
import time
import unittest

import farmgate
import zenlayer_gate
from farmgate import until
from zenlayer_gate import REGION, WRITER

FIXTURES = pathlib.Path(__file__).parent / "fixtures"


def setUpModule():
    global gate
    gate = zenlayer_gate.Gate()
    unittest.addModuleCleanup(gate.close)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def authorization(body, timestamp):
    canonical = f"POST\n/\n\ncontent-type:application/json\nhost:{gate.admin}\n\ncontent-type;host\n{sha256(body)}"
    text = f"ZC2-HMAC-SHA256\n{timestamp}\n{sha256(canonical.encode())}"
    signature = hmac.new(WRITER["secret"].encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"ZC2-HMAC-SHA256 Credential={WRITER['id']}, SignedHeaders=content-type;host, Signature={signature}"


def value_at(answer, path):
    for part in path.split("."):
        if part == "#":
            answer = len(answer)
        elif isinstance(answer, list):
            answer = answer[int(part)]
        else:
            answer = answer[part]
    return answer


class Replay(unittest.TestCase):
    maxDiff = None

    def send(self, head, step, known):
        body = string.Template(step["body"]).substitute(known).encode()
        timestamp = str(int(time.time()))
        own = {"host": gate.admin, "length": len(body), "action": step["action"], "timestamp": timestamp}
        own["authorization"] = authorization(body, timestamp)
        own["service"], own["version"] = step.get("service", "zlb"), step.get("version", "2025-04-01")
        lines = [string.Template(line).substitute(own) for line in head]
        with socket.create_connection(gate.admin.split(":"), farmgate.PATIENCE_S) as s:
            s.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            answer = s.makefile("rb")
            status = int(answer.readline().split()[1])
            headers = dict(line.decode().rstrip().lower().split(": ", 1) for line in iter(answer.readline, b"\r\n"))
            self.assertIn("application/json", headers["content-type"])
            return status, json.loads(answer.read(int(headers["content-length"])))

    def check(self, fixture, step, known):
        status, answer = self.send(fixture["head"], step, known)
        self.assertEqual(status, step["status"], answer)
        self.assertIsInstance(answer["requestId"], str)
        if status == 200:
            answer = answer["response"]
            if fixture.get("one_array"):
                # The CLI takes the first one that it meets.
                arrays = [key for key, value in answer.items() if isinstance(value, list)]
                self.assertLessEqual(len(arrays), 1, answer)
        for path, wanted in step["expect"].items():
            if isinstance(wanted, str):
                wanted = string.Template(wanted).substitute(known)
            is_number = isinstance(value_at(answer, path), int) and isinstance(wanted, str)
            self.assertEqual(value_at(answer, path), int(wanted) if is_number else wanted, (path, answer))
        for name, path in step.get("keep", {}).items():
            known[name] = value_at(answer, path)
            self.assertNotIn(":", known[name], "the provider joins ids with it")

    def replay(self, name):
        fixture = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
        known = {"region": REGION, "port": gate.port(), "port2": gate.port(), "origin": gate.good.port}
        for step in fixture["steps"]:
            with self.subTest(step=step["what"]):
                if not step.get("poll"):
                    self.check(fixture, step, known)
                    continue

                def is_so():
                    try:
                        self.check(fixture, step, known)
                        return True
                    except AssertionError:
                        return False

                until(step["what"], is_so)

    def test_terraform_provider(self):
        self.replay("zenlayer_terraform")

    def test_cli(self):
        self.replay("zenlayer_cli")


if __name__ == "__main__":
    unittest.main()
