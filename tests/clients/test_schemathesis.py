"""Schemathesis on /openapi.json: calls made of the document, every answer held against it."""

import json
import os
import subprocess
import sys
import unittest

import farmgate

# Calls of each operation, and how long all of it may take.
EXAMPLES = 12
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
# They end the process or open a stream, or wait for what does not come: tests of their own call them.
LEFT_OUT = ["reload", "upgrade"]


class Document(unittest.TestCase):
    def test_every_answer_is_as_the_document_says_and_none_is_a_fault_of_ours(self):
        gate = farmgate.Farmgate(role="admin", keeps_state=True)
        self.addCleanup(gate.close)
        command = [
            os.path.join(os.path.dirname(sys.executable), "schemathesis"),
            "run",
            f"http://{gate.admin}/openapi.json",
            "--header",
            f"Authorization: Bearer {farmgate.TOKEN}",
            "--checks",
            CHECKS,
            "--max-examples",
            str(EXAMPLES),
            "--phases",
            "examples,coverage,fuzzing",
            "--generation-database",
            "none",
            "--seed",
            "20261121",
            "--request-timeout",
            str(farmgate.PATIENCE_S),
            "--no-color",
        ]
        for operation in LEFT_OUT:
            command += ["--exclude-operation-id", operation]
        ran = subprocess.run(
            command, cwd=gate.dir.name, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        said = ran.stdout[-20_000:] + ran.stderr
        self.assertEqual(ran.returncode, 0, said)
        with open(gate.log, encoding="utf-8", errors="replace") as log:
            lines = log.read()
        self.assertNotIn("panicked", lines)
        self.assertIsNone(gate.process.poll(), "farmgate ended")

    def test_document_is_what_the_process_serves_to_all(self):
        gate = farmgate.Farmgate()
        self.addCleanup(gate.close)
        import urllib.request

        with urllib.request.urlopen(f"http://{gate.admin}/openapi.json", timeout=farmgate.PATIENCE_S) as answer:
            document = json.load(answer)
        self.assertEqual(document["openapi"], "3.1.0")
        self.assertIn("/api/v1/status", document["paths"])


if __name__ == "__main__":
    unittest.main()
