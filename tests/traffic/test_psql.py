"""psql through a TCP frontend, to PostgreSQL; also with TLS from end to end, which is not ours to open."""

import glob
import os
import shutil
import subprocess
import unittest

import gate
from ports import free_port

NOBODY, NOGROUP = 65534, 65534


class Psql(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = gate.Directory()
        cls.addClassCleanup(cls.directory.close)
        cls.authority = gate.Authority(cls.directory.path)
        server = cls.postgres()
        cls.port = free_port()
        frontends = {"db": {"protocol": "tcp", "listen": [gate.at(cls.port)], "farm": "db"}}
        cls.gate = gate.Gate(cls.directory.path, frontends, {"db": gate.tcp_farm(server)})
        cls.addClassCleanup(cls.gate.close)

    @classmethod
    def postgres(cls):
        bin_ = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        home, port = cls.directory.path / "postgres", free_port()
        home.mkdir()
        as_nobody = {}
        for name in ("cert.pem", "key.pem"):
            shutil.copy(cls.directory.path / name, home / name)
        if os.geteuid() == 0:
            for path in (home, home / "cert.pem", home / "key.pem"):
                os.chown(path, NOBODY, NOGROUP)
            as_nobody = {"user": NOBODY, "group": NOGROUP, "extra_groups": []}
        (home / "key.pem").chmod(0o600)
        data = home / "data"
        environment = {**os.environ, "HOME": str(home)}
        made = subprocess.run([f"{bin_}/initdb", "-D", data, "-U", "farm", "--auth=trust", "--no-sync"], capture_output=True, env=environment, cwd=home, **as_nobody)
        if made.returncode != 0:
            raise AssertionError(f"initdb: {made.stderr.decode(errors='replace')}")
        options = ["-c", "ssl=on", "-c", f"ssl_cert_file={home}/cert.pem", "-c", f"ssl_key_file={home}/key.pem", "-c", "fsync=off"]
        argv = [f"{bin_}/postgres", "-D", data, "-h", gate.LOOPBACK, "-p", str(port), "-k", home, *options]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=home, **as_nobody)
        cls.addClassCleanup(process.wait, gate.PATIENCE_S)
        cls.addClassCleanup(process.terminate)
        gate.wait_for("PostgreSQL", lambda: gate.accepts(port))
        gate.wait_for("an answer of PostgreSQL", lambda: cls.ask(port, "select 1", "disable") == "1")
        return port

    @staticmethod
    def ask(port, statement, sslmode):
        address = f"host=localhost hostaddr={gate.LOOPBACK} port={port} user=farm dbname=postgres sslmode={sslmode} connect_timeout=10"
        return gate.run(gate.program("psql"), address, "-XAtc", statement, seconds=60).strip()

    def test_query_is_answered(self):
        self.assertEqual(self.ask(self.port, "select 6 * 7", "disable"), "42")

    def test_ten_megabytes_come_whole(self):
        said = self.ask(self.port, "select repeat('farmgate', 1310720)", "disable")
        self.assertEqual((len(said), said[:8]), (10 * 1024 * 1024, "farmgate"))

    def test_tls_goes_from_end_to_end(self):
        self.assertEqual(self.ask(self.port, "select ssl from pg_stat_ssl where pid = pg_backend_pid()", "require"), "t")


if __name__ == "__main__":
    unittest.main()
