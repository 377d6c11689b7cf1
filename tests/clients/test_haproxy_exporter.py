"""Prometheus' exporter for HAProxy, unmodified, on the CSV of a running farmgate."""

import re
import shutil
import subprocess
import time
import unittest
import urllib.error
import urllib.request

import farmgate
from ports import free_port


class Exporter(unittest.TestCase):
    def test_exporter_reads_farms_servers_and_their_states(self):
        exporter = shutil.which("prometheus-haproxy-exporter")
        self.assertIsNotNone(exporter, "it is missing; install Debian's package prometheus-haproxy-exporter")
        gate = farmgate.Farmgate()
        self.addCleanup(gate.close)
        with urllib.request.urlopen(f"http://127.0.0.1:{gate.web_port}/", timeout=farmgate.PATIENCE_S) as answer:
            answer.read()
        port = free_port()
        # It knows Basic only: the token is the password.
        stats = f"http://any:{farmgate.TOKEN}@{gate.admin}/haproxy/stats;csv"
        command = [exporter, f"--haproxy.scrape-uri={stats}", f"--web.listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.terminate)
        found = self.scrape(process, port)
        self.assertEqual(found["haproxy_up{}"], 1)
        self.assertEqual(found["haproxy_exporter_csv_parse_failures_total{}"], 0)
        server = 'haproxy_server_up{backend="web",server="%s"}'
        self.assertEqual([found[server % name] for name in ("good", "sick", "resting")], [1, 0, 0])
        self.assertEqual(found['haproxy_server_weight{backend="web",server="good"}'], 100)
        self.assertEqual(found['haproxy_backend_up{backend="web"}'], 1)
        self.assertEqual(found['haproxy_backend_http_responses_total{backend="web",code="2xx"}'], 1)
        self.assertEqual(found['haproxy_frontend_http_requests_total{frontend="web"}'], 1)
        self.assertGreater(found['haproxy_server_check_failures_total{backend="web",server="sick"}'], 0)

    def scrape(self, process, port):
        """What it exposes, by name and labels; once it listens."""
        deadline = time.monotonic() + farmgate.PATIENCE_S
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=farmgate.PATIENCE_S) as answer:
                    text = answer.read().decode()
                break
            except (urllib.error.URLError, OSError):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        line = re.compile(r"^(haproxy_\w+)(\{.*\})? (\S+)$", re.MULTILINE)
        return {name + (labels or "{}"): float(value) for name, labels, value in line.findall(text)}


if __name__ == "__main__":
    unittest.main()
