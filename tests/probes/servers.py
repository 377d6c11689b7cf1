"""Real servers for the probes, each a child process on a free port of loopback, in a directory of its own.

They run as nobody where this program runs as root, since some refuse root. `Crowd` starts them, waits until each
accepts connections, and ends every one of them whatever happens.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from concurrent import futures

from farmgate import PATIENCE_S
from ports import free_port

NOBODY, NOGROUP = 65534, 65534
# So few that a test can take them all.
MARIADB_CONNECTIONS = 10


def program(name):
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is missing; tests/probes/run installs it")
    return path


def wait_for(what, is_so, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(f"no {what} within {patience_s} s")
        time.sleep(0.05)


def accepts(port, host="127.0.0.1"):
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


class Crowd:
    """Every server of a run."""

    def __init__(self, base):
        self.base = base
        self.processes = {}
        self.closers = []

    def directory(self, name):
        path = os.path.join(self.base, name)
        os.makedirs(path, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOGROUP)
        return path

    def write(self, directory, name, text, mode=0o644):
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOGROUP)
        return path

    def as_nobody(self):
        if os.geteuid() != 0:
            return {}
        return {"user": NOBODY, "group": NOGROUP, "extra_groups": []}

    def run(self, *command, cwd=None):
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
            **self.as_nobody(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self, name, command, directory, port, executable=None):
        log = os.path.join(directory, "log")
        with open(log, "ab") as out:
            self.processes[name] = subprocess.Popen(
                command, executable=executable, cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, **self.as_nobody(),
            )

        def is_up():
            if self.processes[name].poll() is not None:
                with open(log, encoding="utf-8", errors="replace") as file:
                    raise RuntimeError(f"{name} ended: {file.read()[-2000:]}")
            return accepts(port)

        wait_for(f"{name} on port {port}", is_up)

    def stop(self, name, how=signal.SIGKILL):
        process = self.processes.pop(name)
        # The group: a server's own children too.
        for which in (how, signal.SIGKILL):
            try:
                os.killpg(process.pid, which)
            except ProcessLookupError:
                return
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                continue

    def send(self, name, which):
        os.killpg(self.processes[name].pid, which)

    def close(self):
        for name in list(self.processes):
            self.stop(name)
        for close in self.closers:
            close()


# ---- one function a server: starts it, returns its port


def sshd(crowd):
    directory, port = crowd.directory("sshd"), free_port()
    key = os.path.join(directory, "key")
    crowd.run(program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key)
    config = crowd.write(
        directory, "config",
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {key}\nPidFile none\nUsePAM no\nMaxStartups 1000\n",
    )
    crowd.start("sshd", [program("sshd"), "-D", "-e", "-f", config], directory, port)
    return port


def redis(crowd, name, *options):
    directory, port = crowd.directory(name), free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory, *options]
    # What it is called decides whether it serves or checks a file.
    crowd.start(name, command, directory, port, executable=program("redis-check-rdb"))
    return port


def postgres(crowd):
    directory, port, where = crowd.directory("postgres"), free_port(), os.environ["POSTGRES_DIR"]
    data = os.path.join(directory, "data")
    crowd.run(os.path.join(where, "initdb"), "-D", data, "-U", "admin", "-A", "trust", "--locale=C", "-N", cwd=directory)
    crowd.write(
        data, "pg_hba.conf",
        "host all guarded 127.0.0.1/32 scram-sha-256\nhost all rejected 127.0.0.1/32 reject\n"
        "host all all 127.0.0.1/32 trust\n",
    )
    command = [os.path.join(where, "postgres"), "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", directory]
    crowd.start("postgres", [*command, "-F", "-c", "jit=off", "-c", "log_connections=on"], directory, port)

    # It accepts connections long before it takes anybody.
    def is_ready():
        try:
            postgres_session(port).close()
        except RuntimeError:
            return False
        return True

    wait_for("PostgreSQL that has started up", is_ready)
    return port


def postgres_session(port, user="admin"):
    """Logs in and stays."""
    body = b"\0\3\0\0user\0" + user.encode() + b"\0database\0postgres\0\0"
    session = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    session.sendall((len(body) + 4).to_bytes(4, "big") + body)
    said = b""
    # ReadyForQuery ends the log-in.
    while b"Z\0\0\0\5I" not in said:
        more = session.recv(4096)
        if not more:
            raise RuntimeError(f"PostgreSQL refuses {user}: {said}")
        said += more
    return session


def mariadb(crowd):
    directory, port = crowd.directory("mariadb"), free_port()
    data = os.path.join(directory, "data")
    install = [program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-test-db"]
    crowd.run(*install, "--auth-root-authentication-method=normal", cwd=directory)
    init = crowd.write(
        directory, "init.sql",
        "DROP USER IF EXISTS ''@'localhost';\nCREATE USER 'probe'@'%';\n"
        "CREATE USER 'guarded'@'%' IDENTIFIED BY 'guarded-password';\n",
    )
    command = [program("mariadbd"), "--no-defaults", f"--datadir={data}", f"--port={port}", f"--init-file={init}"]
    # So few errors that a client that goes away at the greeting would soon be shut out.
    limits = [f"--max-connections={MARIADB_CONNECTIONS}", "--extra-max-connections=1", "--max-connect-errors=3", "--connect-timeout=60"]
    crowd.start(
        "mariadb",
        [*command, *limits, "--bind-address=127.0.0.1", f"--socket={directory}/socket", f"--pid-file={directory}/pid"],
        directory, port,
    )
    return port


def mariadb_sessions(port):
    """Takes every connection that it has, and keeps them."""
    sessions = []

    def is_full():
        """Takes one more, or finds one taken by somebody else, who will let go of it."""
        session = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        # After three bytes of length and one of turn, 255 is an error, here that there are too many.
        if session.recv(5)[4:] == b"\xff":
            session.close()
        else:
            sessions.append(session)
        # One more than was configured; that of an administrator is on another port.
        return len(sessions) == MARIADB_CONNECTIONS + 1

    wait_for("connection of MariaDB left", is_full)
    return sessions


NGINX = """
daemon off; master_process off; pid {dir}/pid; error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {dir}/1; proxy_temp_path {dir}/2; fastcgi_temp_path {dir}/3;
  uwsgi_temp_path {dir}/4; scgi_temp_path {dir}/5;
  proxy_buffering off; default_type text/plain;
  {servers}
}}
"""
NGINX_SERVER = """
  server {{
    listen 127.0.0.1:{port} {kind};
    location / {{ return 200 "well"; }}
    location /sick {{ return 503 "sick"; }}
    location /who {{ return 200 "from $remote_addr for $host by $server_protocol at $ssl_server_name"; }}
    location /told {{ return 200 "told of [$proxy_protocol_addr]"; }}
    location /endless {{ proxy_pass http://127.0.0.1:{endless}; }}
  }}
"""


def nginx(crowd, certificates, endless):
    """Returns the ports: in the clear `http1`, `h2c` and `proxied`, which wants a PROXY header; in TLS one a
    certificate, `http1-tls` and `proxied-tls`. Each has `/endless`, which is what is at that port."""
    directory = crowd.directory("nginx")

    def in_tls(name):
        version = "TLSv1.3" if name == "good" else "TLSv1.2"
        return "ssl; ssl_protocols {}; ssl_certificate {}; ssl_certificate_key {}".format(version, *certificates[name])

    kinds = {
        "http1": "", "h2c": "http2", "proxied": "proxy_protocol",
        **{name: f"http2 {in_tls(name)}" for name in certificates},
        "http1-tls": in_tls("good"), "proxied-tls": f"proxy_protocol {in_tls('good')}",
    }
    ports = {name: free_port() for name in kinds}
    blocks = [NGINX_SERVER.format(port=ports[name], kind=kind, endless=endless) for name, kind in kinds.items()]
    config = crowd.write(directory, "nginx.conf", NGINX.format(dir=directory, servers="".join(blocks)))
    # -e: or it tries the system's log first.
    command = [program("nginx"), "-p", directory, "-c", config, "-e", "stderr"]
    crowd.start("nginx", command, directory, ports["http1"])
    return ports


def certificates(crowd):
    """Makes an authority and what it signs, and another one; returns the two's files, and certificate and key by name."""
    directory = crowd.directory("tls")

    def openssl(*args):
        return crowd.run(program("openssl"), *args, cwd=directory)

    def file(name):
        return os.path.join(directory, name)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other"):
        openssl(
            "req", "-x509", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2",
            "-subj", f"/CN=test authority {name}",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
        )
    crowd.write(directory, "index", "")
    crowd.write(directory, "serial", "1000\n")
    crowd.write(
        directory, "ca.conf",
        "[ca]\ndefault_ca=it\n[it]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ncertificate=ca.pem\nprivate_key=ca.key\n"
        "default_md=sha256\npolicy=any\ncopy_extensions=copy\nunique_subject=no\n[any]\ncommonName=supplied\n",
    )
    day = 24 * 3600

    def stamp(offset_s):
        return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + offset_s))

    made = {}
    for name, host, begins, ends in (
        ("good", "good.test", -day, day), ("expired", "good.test", -3 * day, -day), ("wrong", "other.test", -day, day),
    ):
        openssl(
            "req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={host}",
            "-addext", f"subjectAltName=DNS:{host}",
        )
        openssl(
            "ca", "-batch", "-config", "ca.conf", "-in", f"{name}.csr", "-out", f"{name}.pem", "-notext",
            "-startdate", stamp(begins), "-enddate", stamp(ends),
        )
        made[name] = (file(f"{name}.pem"), file(f"{name}.key"))
    return file("ca.pem"), file("other.pem"), made


def smtp(crowd):
    """Returns the ports of one that is well, and one that will not be greeted."""
    from aiosmtpd.controller import Controller

    class Refuses:
        async def handle_HELO(self, *_):
            return "550 not from here"

    ports = []
    for handler in (object(), Refuses()):
        controller = Controller(handler, hostname="127.0.0.1", port=free_port())
        controller.start()
        crowd.closers.append(lambda controller=controller: controller.stop(no_assert=True))
        ports.append(controller.port)
    return ports


class Health:
    """A gRPC server with the health service and nothing else."""

    def __init__(self, crowd, credentials=None):
        import grpc
        from grpc_health.v1 import health, health_pb2, health_pb2_grpc

        self.words = health_pb2.HealthCheckResponse
        self.servicer = health.HealthServicer()
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        health_pb2_grpc.add_HealthServicer_to_server(self.servicer, self.server)
        if credentials is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            cert, key = (open(path, "rb").read() for path in credentials)
            self.port = self.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)]))
        self.tell("shop", "SERVING")
        self.tell("tired", "NOT_SERVING")
        self.server.start()
        crowd.closers.append(lambda: self.server.stop(None))

    def tell(self, service, word):
        self.servicer.set(service, self.words.ServingStatus.Value(word))
