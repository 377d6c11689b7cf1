"""dig through a UDP frontend and a TCP one, to dnsmasq."""

import socket
import subprocess
import unittest

import gate
from ports import free_port

NAMES = 40


class Dns(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = gate.Directory()
        cls.addClassCleanup(cls.directory.close)
        cls.servers = [cls.dnsmasq(n) for n in (1, 2)]
        cls.udp, cls.tcp = free_port(socket.SOCK_DGRAM), free_port()
        frontends = {
            "dns": {"protocol": "udp", "listen": [gate.at(cls.udp)], "farm": "dns"},
            "dns-tcp": {"protocol": "tcp", "listen": [gate.at(cls.tcp)], "farm": "dns-tcp"},
        }
        farms = {"dns": gate.tcp_farm(*cls.servers, protocol="udp"), "dns-tcp": gate.tcp_farm(*cls.servers)}
        cls.gate = gate.Gate(cls.directory.path, frontends, farms)
        cls.addClassCleanup(cls.gate.close)

    @classmethod
    def dnsmasq(cls, n):
        port = free_port()
        records = [f"--address=/name-{i}.test/192.0.2.{i + 1}" for i in range(NAMES)]
        long = ["--txt-record=long.test," + ",".join(["x" * 200] * 5)]
        argv = [gate.program("dnsmasq"), "--keep-in-foreground", "--no-resolv", "--no-hosts", "--no-daemon", "--pid-file=", "--conf-file=/dev/null"]
        argv += [f"--port={port}", f"--listen-address={gate.LOOPBACK}", "--bind-interfaces", *records, *long, f"--txt-record=who.test,server-{n}"]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(process.wait, gate.PATIENCE_S)
        cls.addClassCleanup(process.terminate)
        gate.wait_for("dnsmasq", lambda: gate.accepts(port))
        return port

    def dig(self, port, *question):
        return gate.run(gate.program("dig"), f"@{gate.LOOPBACK}", "-p", port, "+short", "+tries=1", "+time=5", *question).split()

    def test_names_are_answered_over_udp(self):
        for n in range(NAMES):
            self.assertEqual(self.dig(self.udp, f"name-{n}.test"), [f"192.0.2.{n + 1}"])

    def test_both_servers_are_asked(self):
        asked = {tuple(self.dig(self.udp, "who.test", "TXT")) for _ in range(10)}
        self.assertEqual(asked, {('"server-1"',), ('"server-2"',)})

    def test_an_answer_of_a_kilobyte_comes_whole(self):
        answer = self.dig(self.udp, "long.test", "TXT", "+bufsize=4096", "+ignore")
        self.assertEqual(len("".join(answer).replace('"', "")), 1000, answer)

    def test_names_are_answered_over_tcp(self):
        self.assertEqual(self.dig(self.tcp, "name-7.test", "+tcp"), ["192.0.2.8"])


if __name__ == "__main__":
    unittest.main()
