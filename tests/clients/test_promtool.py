"""Prometheus' own linter on what a running farmgate exposes."""

import shutil
import subprocess
import unittest
import urllib.request

import farmgate


class Scrape(unittest.TestCase):
    def test_promtool_finds_nothing_to_say(self):
        promtool = shutil.which("promtool")
        self.assertIsNotNone(promtool, "promtool is missing; install Debian's package prometheus")
        gate = farmgate.Farmgate()
        self.addCleanup(gate.close)
        request = urllib.request.Request(
            f"http://{gate.admin}/metrics", headers={"Authorization": f"Bearer {farmgate.TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=farmgate.PATIENCE_S) as answer:
            scrape = answer.read()
        self.assertIn(b"farmgate_server_up{", scrape)
        linted = subprocess.run(
            [promtool, "check", "metrics"], input=scrape, capture_output=True, timeout=farmgate.PATIENCE_S, check=False
        )
        said = (linted.stdout + linted.stderr).decode()
        self.assertEqual((linted.returncode, said), (0, ""))


if __name__ == "__main__":
    unittest.main()
