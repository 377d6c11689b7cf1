"""The `websockets` library on both sides, in clear and in TLS."""

import asyncio
import threading
import unittest

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

import gate
from ports import free_port

MESSAGES = 500
BIG = bytes(range(256)) * 8192


class Echo:
    """A WebSocket server on a thread of its own: sends back what comes, and closes when asked to, with a code."""

    def __init__(self):
        self.loop, self.port, started = asyncio.new_event_loop(), None, threading.Event()

        async def answer(socket):
            async for message in socket:
                if isinstance(message, str) and message.startswith("close "):
                    await socket.close(int(message.split()[1]), "as asked")
                    return
                await socket.send(message)

        async def main():
            self.stop = self.loop.create_future()
            async with serve(answer, gate.LOOPBACK, 0, max_size=None, ping_interval=None) as server:
                self.port = server.sockets[0].getsockname()[1]
                started.set()
                await self.stop

        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(main()), daemon=True)
        self.thread.start()
        started.wait(gate.PATIENCE_S)

    def close(self):
        self.loop.call_soon_threadsafe(self.stop.set_result, None)
        self.thread.join(gate.PATIENCE_S)


class WebSockets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = gate.Directory()
        cls.addClassCleanup(cls.directory.close)
        cls.echo = Echo()
        cls.addClassCleanup(cls.echo.close)
        cls.authority = gate.Authority(cls.directory.path)
        cls.plain, cls.secure = free_port(), free_port()
        frontends = {
            "plain": {"protocol": "http", "listen": [gate.at(cls.plain)], "farm": "web"},
            "secure": {"protocol": "http", "listen": [gate.at(cls.secure)], "farm": "web", "tls": cls.authority.tls()},
        }
        cls.gate = gate.Gate(cls.directory.path, frontends, {"web": gate.http_farm(cls.echo.port)})
        cls.addClassCleanup(cls.gate.close)

    def through(self, conversation):
        """Holds the conversation over both frontends."""
        for where, url, context in (
            ("in clear", f"ws://localhost:{self.plain}/", None),
            ("in TLS", f"wss://localhost:{self.secure}/", self.authority.context()),
        ):
            with self.subTest(where):

                async def held():
                    async with connect(url, ssl=context, max_size=None, open_timeout=gate.PATIENCE_S) as socket:
                        await conversation(socket)

                asyncio.run(asyncio.wait_for(held(), 3 * gate.PATIENCE_S))

    def test_texts_and_bytes_come_back_in_order(self):
        async def talk(socket):
            for n in range(MESSAGES):
                await socket.send(f"text {n}" if n % 2 else f"bytes {n}".encode())
            for n in range(MESSAGES):
                self.assertEqual(await socket.recv(), f"text {n}" if n % 2 else f"bytes {n}".encode())

        self.through(talk)

    def test_two_megabytes_come_back_whole(self):
        async def talk(socket):
            await socket.send(BIG)
            self.assertEqual(await socket.recv(), BIG)

        self.through(talk)

    def test_fragments_are_joined(self):
        async def talk(socket):
            await socket.send(["a", "b", "c"])
            self.assertEqual(await socket.recv(), "abc")

        self.through(talk)

    def test_ping_is_answered(self):
        async def talk(socket):
            await asyncio.wait_for(await socket.ping(), gate.PATIENCE_S)

        self.through(talk)

    def test_close_of_the_server_comes_with_its_code(self):
        async def talk(socket):
            await socket.send("close 4321")
            with self.assertRaises(ConnectionClosed) as closed:
                await socket.recv()
            self.assertEqual((closed.exception.rcvd.code, closed.exception.rcvd.reason), (4321, "as asked"))

        self.through(talk)


if __name__ == "__main__":
    unittest.main()
