"""Servers that do nothing but what a case needs, each a listener with a thread a connection.

Most are at fault: they drip, never end, reset, or take nothing at all.
"""

import socket
import ssl
import threading
import time

from farmgate import PATIENCE_S

# From one byte to the next of what drips.
DRIP_S = 0.2
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell"
# Closing with no time to linger sends a reset.
AT_ONCE = b"\1\0\0\0\0\0\0\0"


class Talker:
    """A server whose every connection is given to a function, in a thread."""

    def __init__(self, crowd, talk, host="127.0.0.1", port=0, backlog=64):
        self.listener = socket.create_server((host, port), backlog=backlog)
        self.port = self.listener.getsockname()[1]
        self.talk = talk
        threading.Thread(target=self._accept, daemon=True).start()
        crowd.closers.append(self.listener.close)

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            connection.settimeout(PATIENCE_S)
            try:
                self.talk(connection)
            except OSError:
                pass


class Says:
    """Says a line at once, which can be changed, and waits for the other side to close."""

    def __init__(self, crowd, line, **where):
        self.line = line
        self.port = Talker(crowd, self._talk, **where).port

    def _talk(self, connection):
        connection.sendall(self.line)
        while connection.recv(4096):
            pass


class Origin:
    """An HTTP server that remembers when it was asked for what, and answers a path with the status it is told."""

    def __init__(self, crowd):
        self.asked, self.statuses = {}, {}
        self.port = Talker(crowd, self._talk).port

    def _talk(self, connection):
        at = time.monotonic()
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(4096)
            if not more:
                return
            head += more
        path = head.split(b" ")[1].decode()
        self.asked.setdefault(path, []).append(at)
        status = self.statuses.get(path, 200)
        connection.sendall(f"HTTP/1.1 {status} told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    def since(self, path, begin):
        return [at for at in self.asked.get(path, []) if at >= begin]


def silent(crowd):
    """Takes everything, says nothing."""

    def talk(connection):
        while connection.recv(4096):
            pass

    return Talker(crowd, talk).port


def drip(crowd, port):
    """Says what the server at that port says, so slowly that nobody waits for it."""

    def talk(connection):
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as server:
            threading.Thread(target=forward, args=(connection, server), daemon=True).start()
            while more := server.recv(4096):
                for byte in more:
                    connection.sendall(bytes([byte]))
                    time.sleep(DRIP_S)

    def forward(connection, server):
        try:
            while more := connection.recv(4096):
                server.sendall(more)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    return Talker(crowd, talk).port


def in_tls(talk, certificate, protocols=()):
    """Returns what talks so inside TLS, and agrees on one of these protocols only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if protocols:
        context.set_alpn_protocols(list(protocols))

    def talk_inside(connection):
        with context.wrap_socket(connection, server_side=True) as inside:
            talk(inside)

    return talk_inside


def drip_answer(connection):
    """Sends a good answer of HTTP, a byte at a time."""
    for byte in ANSWER:
        connection.sendall(bytes([byte]))
        time.sleep(DRIP_S)


def endless_answer(connection):
    """Begins a good answer of HTTP, and never ends it."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def slow_endless_answer(connection):
    """The same, in no hurry: after any deadline there is still little of it."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 10)
        time.sleep(0.02)


def endless_head(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: and more\r\n" * 1000)


def endless(connection):
    """Says the same letter for ever."""
    while True:
        connection.sendall(b"x" * 65536)


def reset(connection):
    """Resets what it was asked, or what asks nothing in a moment."""
    connection.settimeout(0.1)
    try:
        connection.recv(1)
    except TimeoutError:
        pass
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)


def black_hole(crowd):
    """Neither accepts nor refuses: nobody takes from a backlog that is full."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = listener.getsockname()[1]
    crowd.closers.append(listener.close)
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        crowd.closers.append(filler.close)
    return port
