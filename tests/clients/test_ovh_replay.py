"""The calls of OVHcloud's Terraform provider and of its command line, replayed byte for byte from `fixtures`.

Both are made with go-ovh, so every call is signed and carries fields as it does. Of an answer, what the client reads must
be there with exactly that value and type; a plan is empty when what is read equals what was sent.
"""

import hashlib
import http.client
import json
import os
import time
import unittest

import farmgate
from farmgate import SERVICE
from test_ovh_service import WRITER, Gate

HERE = os.path.dirname(os.path.abspath(__file__))


class GoOvh:
    """Sends what go-ovh sends: the literal URL is signed, the body is what it is given."""

    def __init__(self, admin):
        self.admin = admin
        self.delta = 0

    def call(self, method, path, body, is_signed=True):
        url = f"http://{self.admin}/1.0{path}"
        headers = {"Accept": "application/json", "User-Agent": "github.com/ovh/go-ovh (Terraform/1.9)"}
        headers["X-Ovh-Application"] = WRITER["application_key"]
        if body:
            headers["Content-Type"] = "application/json;charset=utf-8"
        if is_signed:
            now = str(int(time.time()) - self.delta)
            parts = [WRITER["application_secret"], WRITER["consumer_key"], method, url, body, now]
            headers["X-Ovh-Timestamp"] = now
            headers["X-Ovh-Consumer"] = WRITER["consumer_key"]
            headers["X-Ovh-Signature"] = "$1$" + hashlib.sha1("+".join(parts).encode()).hexdigest()
        connection = http.client.HTTPConnection(self.admin, timeout=farmgate.PATIENCE_S)
        try:
            connection.request(method, f"/1.0{path}", body.encode() or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class Replay(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.gate = Gate()
        cls.addClassCleanup(cls.gate.close)
        cls.api = GoOvh(cls.gate.admin)

    def replay(self, fixture):
        with open(os.path.join(HERE, "fixtures", fixture), encoding="utf-8") as file:
            scenes = json.load(file)["scenes"]
        pem = self.gate.certificate("shop.test")
        for scene in scenes:
            known = {name: json.dumps(text)[1:-1] for name, text in zip(("certificate", "key"), pem)}
            with self.subTest(scene=scene["scene"]):
                for step in scene["steps"]:
                    self.step(step, known)

    def step(self, step, known):
        method, path = step["send"].split(" ")
        path = filled(path.replace("~", f"/ipLoadbalancing/{SERVICE}"), known)
        body = filled(step.get("body", ""), known)
        deadline = time.monotonic() + farmgate.PATIENCE_S
        while True:
            status, answer = self.api.call(method.rstrip("!"), path, body, not method.endswith("!"))
            what = f"{step['does']}: {step['send']} {body}\n-> {status} {answer.decode()}"
            self.assertEqual(status, step.get("status", 200), what)
            answer = json.loads(answer)
            if not step.get("until") or answer["status"] == step["answers"]["status"]:
                break
            self.assertNotEqual(answer["status"], "error", what)
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.05)
        for name, field in step.get("keeps", {}).items():
            known[name] = answer[int(field)] if isinstance(answer, list) else answer[field]
            self.assertIs(type(known[name]), int, what)
        if "answers" in step:
            self.same(resolved(step["answers"], known), answer, what)

    def same(self, want, answer, what):
        """Every field that is wanted is there with this value and this type."""
        if isinstance(want, dict):
            self.assertIsInstance(answer, dict, what)
            for key, value in want.items():
                self.assertIn(key, answer, what)
                self.same(value, answer[key], f"{key} of {what}")
        elif isinstance(want, list):
            self.assertIsInstance(answer, list, what)
            self.assertEqual(len(answer), len(want), what)
            for one, other in zip(want, answer):
                self.same(one, other, what)
        else:
            self.assertEqual((type(answer), answer), (type(want), want), what)

    def test_terraform(self):
        self.replay("ovh-terraform.json")

    def test_command_line(self):
        self.replay("ovh-cli.json")


def filled(text, known):
    for name, value in known.items():
        text = text.replace(f"<{name}>", str(value))
    return text


def resolved(want, known):
    """Replaces `<x>` by what an earlier answer said."""
    if isinstance(want, dict):
        return {key: resolved(value, known) for key, value in want.items()}
    if isinstance(want, list):
        return [resolved(value, known) for value in want]
    if isinstance(want, str) and want[1:-1] in known and want == f"<{want[1:-1]}>":
        return known[want[1:-1]]
    return want


if __name__ == "__main__":
    unittest.main()
