"""A farmgate in which the ZLB API may write, on a loopback address of its own, and what its tests share."""

import itertools
import os
import socket
import threading

import farmgate

WRITER = {"id": "zk-writer", "secret": "zs-writer-secret"}
REGION = "local"
# Every action that changes something, as an operator would list them for a key.
ACTIONS = [
    "AddLoadBalancersPrivateIps", "AddResourceResourceGroup", "CreateListener", "CreateLoadBalancer", "DeleteListener", "DeleteLoadBalancersPrivateIps",
    "DeregisterBackend", "ModifyBackend", "ModifyListener", "ModifyLoadBalancersAttribute", "ModifyResourceTags", "RegisterBackend",
    "RestoreLoadBalancer", "SetSecurityGroupForLoadBalancers", "TerminateLoadBalancer",
    "UnbindSecurityGroupFromLoadBalancers",
]  # fmt: skip

_addresses = itertools.count(1)


class Gate(farmgate.Farmgate):
    """Starts one whose listeners open on `address`."""

    def __init__(self):
        # Listeners of other tests may be on the same ports elsewhere.
        self.address = f"127.78.{os.getpid() % 250}.{next(_addresses)}"
        super().__init__()

    def _config(self):
        config = super()._config()
        config["state_dir"] = os.path.join(self.dir.name, "state")
        config["service"] = {"name": farmgate.SERVICE, "addresses": [self.address], "api_ports": "1024-65535"}
        key = {"name": "writer", "role": "admin", "actions": ACTIONS, **WRITER}
        config["admin"]["zenlayer"]["access_keys"].append(key)
        return config

    def port(self):
        """A port of `address` on which nobody listens."""
        with socket.socket() as s:
            s.bind((self.address, 0))
            return s.getsockname()[1]

    def get(self, port):
        """What a client is answered there: the status that the origin behind has."""
        with socket.create_connection((self.address, port), farmgate.PATIENCE_S) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return int(s.makefile("rb").readline().split()[1])

    def is_closed(self, port):
        try:
            socket.create_connection((self.address, port), 1).close()
            return False
        except OSError:
            return True


class Silent:
    """Connections are taken and never answered."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def close(self):
        self.socket.close()


class Echo:
    """Answers every datagram with itself."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                data, source = self.socket.recvfrom(2048)
                if data == b"":
                    return
                self.socket.sendto(data, source)
            except OSError:
                return

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", ("127.0.0.1", self.port))
        self.socket.close()
