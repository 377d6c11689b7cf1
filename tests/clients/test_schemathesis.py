"""Schemathesis on /openapi.json: calls made of the document, every answer held against it."""

import json
import os
import re
import subprocess
import sys
import unittest
import urllib.request

import farmgate

# Calls of each operation beyond those that cover its parameters, and how long all of it may take.
EXAMPLES = 10
DEADLINE_S = 420
CHECKS = ",".join(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)
# They have the process read its file again or replaced by another one: tests of their own call them.
LEFT_OUT = ["reload", "upgrade"]
# What is there, so that more than 404 is answered.
THERE = """
[parameters]
"path.farm" = "web"
"path.server" = "good"
"path.frontend" = "web"
"path.route" = "made"
"path.certificate" = "made"
"""


class Document(unittest.TestCase):
    def run_against(self, parameters, make=lambda gate: None):
        gate = farmgate.Farmgate(role="admin", keeps_state=True)
        self.addCleanup(gate.close)
        with open(os.path.join(gate.dir.name, "schemathesis.toml"), "w", encoding="utf-8") as file:
            file.write(parameters)
        make(gate)
        options = {
            "--header": f"Authorization: Bearer {farmgate.TOKEN}",
            "--checks": CHECKS,
            "--max-examples": str(EXAMPLES),
            "--phases": "examples,coverage,fuzzing",
            "--generation-database": "none",
            "--seed": "20261121",
            "--request-timeout": str(farmgate.PATIENCE_S),
        }
        command = [os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run"]
        command += [f"http://{gate.admin}/openapi.json", "--no-color"]
        command += [word for option in options.items() for word in option]
        command += [word for operation in LEFT_OUT for word in ("--exclude-operation-id", operation)]
        ran = subprocess.run(
            command, cwd=gate.dir.name, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        self.assertEqual(ran.returncode, 0, ran.stdout[-20_000:] + ran.stderr)
        made = re.search(r"Test cases:\s+(\d+) generated", ran.stdout)
        self.assertGreater(int(made[1]), 1000, "it has hardly called anything")
        self.assertIsNone(gate.process.poll(), "farmgate ended")
        with open(gate.log, encoding="utf-8", errors="replace") as log:
            self.assertNotIn("panicked", log.read())

    def test_calls_of_any_names_are_answered_as_the_document_says(self):
        self.run_against("")

    def test_calls_of_what_is_there_are_answered_as_the_document_says(self):
        self.run_against(THERE, self.make)

    def make(self, gate):
        """Makes a route and a certificate of the names that calls use."""
        rules = [{"field": "uri", "match": "startswith", "pattern": "/made"}]
        self.post(gate, "frontends/web/routes", {"name": "made", "rules": rules, "action": {"farm": "web"}})
        made = {}
        cert, key = (os.path.join(gate.dir.name, name) for name in ("made.crt", "made.key"))
        subject = ["-subj", "/CN=made.test", "-addext", "subjectAltName=DNS:made.test", "-days", "9"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, *subject]
        subprocess.run(command, check=True, capture_output=True, timeout=farmgate.PATIENCE_S)
        for name, path in (("cert", cert), ("key", key)):
            with open(path, encoding="ascii") as file:
                made[name] = file.read()
        self.post(gate, "certificates", {"name": "made", **made})

    def post(self, gate, path, body):
        headers = {"Authorization": f"Bearer {farmgate.TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            f"http://{gate.admin}/api/v1/{path}", json.dumps(body).encode(), headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=farmgate.PATIENCE_S) as answer:
            self.assertEqual(answer.status, 201)

    def test_document_is_served_to_all(self):
        gate = farmgate.Farmgate()
        self.addCleanup(gate.close)
        with urllib.request.urlopen(f"http://{gate.admin}/openapi.json", timeout=farmgate.PATIENCE_S) as answer:
            document = json.load(answer)
        self.assertEqual(document["openapi"], "3.1.0")
        self.assertIn("/api/v1/status", document["paths"])


if __name__ == "__main__":
    unittest.main()
