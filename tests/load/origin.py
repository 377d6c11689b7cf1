"""An origin to be killed: an HTTP/1.1 server in a process of its own, with keep-alive and a fixed service time.

What must be known after its death is outside of it: a shared page with counters.
It knows nothing of Farmgate. It ends when its standard input does, so it never outlives whoever started it.

    origin.py NAME PORT SERVICE_MS PAGE

Paths: /healthz at once; /reset/BYTES half of the body that it announces, then a reset; /wait/MS after so long; /drip/MS a body in pieces over so long; /echo with an Upgrade sends back
whatever comes; everything else after SERVICE_MS.
"""

import asyncio
import mmap
import os
import socket
import struct
import sys
import time

# The shared page: requests taken in, requests under way, time of the first request that was no check (s, 0: none).
PAGE = struct.Struct("<qqd")
DRIP_PIECES = 10
RESET_AFTER_S = 0.02


class State:
    def __init__(self, name, service_s, page):
        self.body = f"{name}\n".encode()
        self.name = name
        self.service_s = service_s
        page = os.open(page, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.ftruncate(page, PAGE.size)
        self.page = mmap.mmap(page, PAGE.size)
        self.taken_in, self.under_way, self.first_at = 0, 0, 0.0

    def began(self):
        self.taken_in += 1
        self.under_way += 1
        self.first_at = self.first_at or time.time()
        self.show()

    def ended(self):
        self.under_way -= 1
        self.show()

    def show(self):
        PAGE.pack_into(self.page, 0, self.taken_in, self.under_way, self.first_at)


class Connection(asyncio.Protocol):
    def __init__(self, state):
        self.state = state
        self.held = b""
        self.is_busy = False
        self.is_echoing = False
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _):
        if self.is_busy:
            self.is_busy = False
            self.state.ended()

    def data_received(self, data):
        if self.is_echoing:
            self.transport.write(data)
            return
        self.held += data
        self.serve_next()

    def serve_next(self):
        if self.is_busy:
            return
        head, end, rest = self.held.partition(b"\r\n\r\n")
        if not end:
            return
        request, *fields = head.decode("latin-1").split("\r\n")
        length = 0
        for field in fields:
            name, _, value = field.partition(":")
            if name.lower() == "content-length":
                length = int(value)
            elif name.lower() == "transfer-encoding":
                self.transport.abort()
                return
        if len(rest) < length:
            return
        self.held = rest[length:]
        self.answer(request.split(" ")[1])

    def answer(self, path):
        if path == "/healthz":
            self.send(self.state.body)
            return
        self.is_busy = True
        self.state.began()
        later = asyncio.get_running_loop().call_later
        _, kind, *number = path.split("/")
        if kind == "echo":
            self.is_echoing = True
            head = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Origin: {self.state.name}\r\n\r\n"
            self.transport.write(head.encode())
        elif kind == "drip":
            self.send_head(DRIP_PIECES * len(self.state.body))
            self.drip(DRIP_PIECES, float(number[0]) / 1000 / DRIP_PIECES)
        elif kind == "reset":
            self.send_head(int(number[0]))
            self.transport.write(bytes(int(number[0]) // 2))
            # Once what was written has left: a reset at once would take it along.
            later(RESET_AFTER_S, self.reset)
        elif kind == "wait":
            later(float(number[0]) / 1000, self.finish, self.state.body)
        elif self.state.service_s:
            later(self.state.service_s, self.finish, self.state.body)
        else:
            self.finish(self.state.body)

    def reset(self):
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def drip(self, left, pause_s):
        if left == 1:
            self.done(self.state.body)
        elif self.is_busy:
            self.transport.write(self.state.body)
            asyncio.get_running_loop().call_later(pause_s, self.drip, left - 1, pause_s)

    def finish(self, body):
        if self.is_busy:
            self.send_head(len(body))
            self.done(body)

    def done(self, last):
        if not self.is_busy:
            return
        self.transport.write(last)
        self.is_busy = False
        self.state.ended()
        self.serve_next()

    def send(self, body):
        self.send_head(len(body))
        self.transport.write(body)
        self.serve_next()

    def send_head(self, length):
        self.transport.write(
            f"HTTP/1.1 200 OK\r\nX-Origin: {self.state.name}\r\nContent-Length: {length}\r\n\r\n".encode()
        )


async def serve(name, port, service_ms, page):
    state = State(name, float(service_ms) / 1000, page)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(state), "127.0.0.1", int(port), backlog=1024)
    over = loop.create_future()
    loop.add_reader(0, lambda: os.read(0, 1) or over.done() or over.set_result(None))
    print("ready", flush=True)
    await over
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
