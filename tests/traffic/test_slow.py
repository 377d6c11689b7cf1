"""slowhttptest's four modes: whoever is slow is cut at the deadline, and everybody else is served meanwhile."""

import csv
import http.client
import threading
import time
import unittest

import gate

ATTACKERS, SECONDS = 200, 20
MODES = {
    "headers": ["-H", "-i", "2"],
    "bodies": ["-B", "-i", "2", "-s", "8192"],
    "reads": ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
    "ranges": ["-R", "-a", "10", "-b", "3000"],
}
# A request of somebody else may take so long.
OTHERS_S = 2.0


class Slow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = gate.Directory()
        cls.addClassCleanup(cls.directory.close)
        origin = gate.WebOrigin()
        cls.addClassCleanup(origin.close)
        cls.port = gate.free_port()
        timeouts = {"header": "4s", "body": "4s", "idle": "4s", "write": "4s"}
        frontends = {"web": {"protocol": "http", "listen": [gate.at(cls.port)], "farm": "web", "timeouts": timeouts}}
        cls.gate = gate.Gate(cls.directory.path, frontends, {"web": gate.http_farm(origin.port)})
        cls.addClassCleanup(cls.gate.close)

    def others(self, is_over, slowest):
        """Asks as an honest client does, again and again."""
        while not is_over.is_set():
            began = time.monotonic()
            connection = http.client.HTTPConnection(gate.LOOPBACK, self.port, timeout=gate.PATIENCE_S)
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                slowest.append(time.monotonic() - began if answer.status == 200 else float("inf"))
            except OSError:
                slowest.append(float("inf"))
            finally:
                connection.close()
            time.sleep(0.1)

    def test_who_is_slow_is_cut_and_others_are_served(self):
        for mode, flags in MODES.items():
            with self.subTest(mode):
                prefix, is_over, took = self.directory.path / mode, threading.Event(), []
                asking = threading.Thread(target=self.others, args=(is_over, took), daemon=True)
                asking.start()
                url = f"http://{gate.LOOPBACK}:{self.port}/"
                argv = [gate.program("slowhttptest"), *flags, "-c", ATTACKERS, "-r", ATTACKERS, "-l", SECONDS, "-p", "3", "-t", "POST" if mode == "bodies" else "GET"]
                gate.run(*argv, "-u", url, "-g", "-o", prefix, seconds=SECONDS + 30)
                is_over.set()
                asking.join(gate.PATIENCE_S)
                self.assertGreater(len(took), SECONDS)
                self.assertLess(max(took), OTHERS_S, "an honest client waited, or was turned away")
                with open(f"{prefix}.csv", encoding="ascii") as file:
                    rows = [{key.strip(): value for key, value in row.items() if key} for row in csv.DictReader(file)]
                self.assertGreater(max(int(row["Connected"]) for row in rows), 0, rows)
                self.assertEqual(int(rows[-1]["Connected"]), 0, f"attackers are still there after {SECONDS} s: {rows[-1]}")


if __name__ == "__main__":
    unittest.main()
