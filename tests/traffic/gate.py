"""A farmgate before whatever a test puts behind it, certificates, and servers to put there.

Everything is on loopback and in a directory of its own; every wait has a deadline; whatever was started is ended.
"""

import http.client
import http.server
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from ports import free_port

HERE = pathlib.Path(__file__).resolve().parent
LOOPBACK = "127.0.0.1"
PATIENCE_S = 20
TOKEN = "token-of-the-traffic-tests"


def at(port):
    return f"{LOOPBACK}:{port}"


def wait_for(what, is_so, patience_s=PATIENCE_S):
    """Returns the first true answer of `is_so`."""
    deadline = time.monotonic() + patience_s
    while True:
        answer = is_so()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {patience_s} s")
        time.sleep(0.05)


def accepts(port):
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def program(name):
    path = shutil.which(name)
    if path is None:
        raise AssertionError(f"{name} is missing; tests/traffic/run installs it")
    return path


def run(*argv, seconds=PATIENCE_S, **options):
    """Runs a program to its end; returns its output, errors included. What it returns is not looked at."""
    done = subprocess.run(
        [str(part) for part in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, **options
    )
    return done.stdout.decode(errors="replace")


class Directory:
    """A temporary directory; gone at the end."""

    def __init__(self):
        self._held = tempfile.TemporaryDirectory(prefix="farmgate-traffic-")
        self.path = pathlib.Path(self._held.name)
        # Servers that refuse to run as root must get in.
        self.path.chmod(0o755)

    def close(self):
        self._held.cleanup()


class Authority:
    """A certificate authority and a certificate of it for `localhost` and 127.0.0.1, on P-256."""

    def __init__(self, directory):
        self.ca, self.cert, self.key = (directory / name for name in ("ca.pem", "cert.pem", "key.pem"))
        ca_key, request, extensions = directory / "ca.key", directory / "request.pem", directory / "extensions"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        self._openssl("req", "-x509", *curve, "-days", "90", "-subj", "/CN=Traffic CA", "-keyout", ca_key, "-out", self.ca)
        self._openssl("req", *curve, "-subj", "/CN=localhost", "-keyout", self.key, "-out", request)
        extensions.write_text(
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
            "extendedKeyUsage=serverAuth\ncrlDistributionPoints=URI:http://localhost/ca.crl\n"
        )
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "89", "-sha256", "-extfile", extensions, "-out", self.cert)

    def tls(self, **keys):
        """The `tls` of a frontend."""
        return {"certificates": [{"cert": str(self.cert), "key": str(self.key)}], **keys}

    def context(self):
        """A client's, that trusts it."""
        return ssl.create_default_context(cafile=str(self.ca))

    @staticmethod
    def _openssl(*argv):
        done = subprocess.run([program("openssl"), *map(str, argv)], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S)
        if done.returncode != 0:
            raise AssertionError(f"openssl {argv[0]}: {done.stderr.decode(errors='replace')}")


# More than any socket's buffers swallow.
LARGE_BYTES = 16 << 20
LARGE = bytes(LARGE_BYTES)


class WebOrigin:
    """A web server: GET answers with its name, of /large with LARGE_BYTES, POST with what it was sent."""

    def __init__(self, name="origin"):
        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer(LARGE if self.path == "/large" else f"{name} {self.path}\n".encode())

            def do_POST(self):
                self.answer(self.rfile.read(int(self.headers["Content-Length"])) if self.headers["Content-Length"] else self.chunks())

            def chunks(self):
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass
                return body

            def answer(self, body):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 512

            def handle_error(self, *_):
                """A connection that is cut is no news here."""

        self.server = Server((LOOPBACK, 0), Answer)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Gate:
    """A farmgate with these frontends and farms; ready when made."""

    def __init__(self, directory, frontends, farms):
        self.admin_port = free_port()
        admin = {"listen": at(self.admin_port), "tokens": [{"name": "ops", "role": "operate", "token": TOKEN}]}
        config = {"service": {"name": "lb-traffic"}, "frontends": frontends, "farms": farms, "admin": admin}
        path, self.log = directory / "farmgate.yaml", directory / "log"
        # JSON is YAML.
        path.write_text(json.dumps(config, indent=1))
        with open(self.log, "wb") as log:
            argv = [os.environ["FARMGATE_BIN"], "run", "-c", str(path)]
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for("readiness of farmgate", self._is_ready)
        except BaseException:
            self.close()
            raise

    def _is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"farmgate ended with {self.process.returncode}:\n{self.log.read_text(errors='replace')}")
        connection = http.client.HTTPConnection(LOOPBACK, self.admin_port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def metric(self, name, **labels):
        """The sum of the series of that name with these labels."""
        connection = http.client.HTTPConnection(LOOPBACK, self.admin_port, timeout=PATIENCE_S)
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        text = connection.getresponse().read().decode()
        connection.close()
        has = lambda series: all(f'{key}="{value}"' in series for key, value in labels.items())
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return sum(float(value) for series, value in lines if series.partition("{")[0] == name and has(series))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def http_farm(*ports, **keys):
    """An HTTP farm of servers at these ports, not checked unless the keys say so."""
    return {"protocol": "http", "servers": {f"s{n}": {"address": at(port)} for n, port in enumerate(ports, 1)}, **keys}


def tcp_farm(*ports, protocol="tcp", **keys):
    return {"protocol": protocol, "servers": {f"s{n}": {"address": at(port)} for n, port in enumerate(ports, 1)}, **keys}
