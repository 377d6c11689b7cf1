"""Ports for servers that a test starts itself."""

import random
import socket

LOOPBACK = "127.0.0.1"
# Where the ports begin that are tried, and how far they go at least.
LOWEST, ENOUGH = 10_000, 2_000
# Every port that was given away by this process.
taken = set()


def free_port(kind=socket.SOCK_STREAM):
    """Returns a port that nobody listens on and that the system gives to no connection of its own, so that it is still
    free when a server comes, or comes back, later. No port is returned twice."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        below = int(file.read().split()[0])
    for _ in range(1000):
        port = random.randrange(LOWEST, max(below, LOWEST + ENOUGH))
        if port in taken:
            continue
        with socket.socket(socket.AF_INET, kind) as s:
            try:
                s.bind((LOOPBACK, port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise RuntimeError(f"of 1000 ports from {LOWEST} to {below} none is free")
