"""slowhttptest's four modes: whoever is slow is cut at the deadline, and everybody else is served meanwhile."""

import http.client
import threading
import time
import unittest

import gate
from ports import free_port

ATTACKERS, SECONDS = 200, 20
MODES = {
    "headers": ["-H", "-i", "2"],
    "bodies": ["-B", "-i", "2", "-s", "8192"],
    "reads": ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
    "ranges": ["-R", "-a", "10", "-b", "3000"],
}
# Modes whose attackers are slow to take an answer, which must be one that waits for them. Those with ranges take what
# there is as fast as it comes.
LARGE = {"reads"}
# A request of somebody else may take so long.
OTHERS_S = 2.0
# By then every attacker is gone: they come within a second, and the deadlines are 4 s.
CUT_S = 12


class Slow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = gate.Directory()
        cls.addClassCleanup(cls.directory.close)
        origin = gate.WebOrigin()
        cls.addClassCleanup(origin.close)
        cls.port = free_port()
        timeouts = {"header": "4s", "body": "4s", "idle": "4s", "write": "4s"}
        frontends = {"web": {"protocol": "http", "listen": [gate.at(cls.port)], "farm": "web", "timeouts": timeouts}}
        cls.gate = gate.Gate(cls.directory.path, frontends, {"web": gate.http_farm(origin.port)})
        cls.addClassCleanup(cls.gate.close)

    def others(self, is_over, slowest, held):
        """Asks as an honest client does, again and again; notes how many connections are open."""
        while not is_over.is_set():
            open_now = self.gate.metric("farmgate_frontend_connections_open", frontend="web")
            held.append((time.monotonic(), open_now))
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
                is_over, took, held = threading.Event(), [], []
                asking = threading.Thread(target=self.others, args=(is_over, took, held), daemon=True)
                asking.start()
                # What fits into a socket is not read slowly.
                path = "large" if mode in LARGE else ""
                url = f"http://{gate.LOOPBACK}:{self.port}/{path}"
                argv = [gate.program("slowhttptest"), *flags, "-c", ATTACKERS, "-r", ATTACKERS, "-l", SECONDS, "-p", "3", "-t", "POST" if mode == "bodies" else "GET"]
                gate.run(*argv, "-u", url, seconds=SECONDS + 30)
                is_over.set()
                asking.join(gate.PATIENCE_S)
                self.assertLess(max(took), OTHERS_S, "an honest client waited, or was turned away")
                # Where there was nobody left to attack with, the program ended before its time.
                late = [n for at, n in held if at - held[0][0] >= CUT_S][:-1]
                self.assertLess(max(late, default=0), ATTACKERS / 10, f"attackers are there still after {CUT_S} s: {late}")


if __name__ == "__main__":
    unittest.main()
