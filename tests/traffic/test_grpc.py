"""grpcio on both sides: every kind of call, trailers, deadlines and large messages, in clear and in TLS."""

import concurrent.futures
import threading
import unittest

import gate
import grpc
from ports import free_port

LARGE = bytes(range(256)) * (4 * 1024 * 4)
"""4 MiB."""
OPTIONS = [("grpc.max_receive_message_length", 8 << 20), ("grpc.max_send_message_length", 8 << 20), ("grpc.enable_retries", 0)]
SERVICE = "traffic.Echo"


class Echo(grpc.GenericRpcHandler):
    """A service that knows no message format: what it gets it gives back."""

    def __init__(self):
        self.cancelled = threading.Event()

    def service(self, call):
        method = call.method.rpartition("/")[2]
        return {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Hang": grpc.unary_unary_rpc_method_handler(self.hang),
            "Down": grpc.unary_stream_rpc_method_handler(self.down),
            "Up": grpc.stream_unary_rpc_method_handler(self.up),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
        }.get(method)

    def unary(self, request, context):
        sent = dict(context.invocation_metadata())
        context.send_initial_metadata([("x-first", "1")])
        context.set_trailing_metadata([("x-last", sent.get("x-sent", "")), ("x-last-bin", b"\0\1")])
        return request

    def fail(self, _request, context):
        context.set_trailing_metadata([("x-why", "because")])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: ü")

    def hang(self, request, context):
        context.add_callback(self.cancelled.set)
        threading.Event().wait(5)
        return request

    def down(self, request, _context):
        for n in range(int(request)):
            yield str(n).encode()

    def up(self, requests, _context):
        return str(sum(len(request) for request in requests)).encode()

    def both(self, requests, _context):
        for request in requests:
            yield request[::-1]


class Grpc(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = gate.Directory()
        cls.addClassCleanup(directory.close)
        authority = gate.Authority(directory.path)
        cls.echo = Echo()
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(64), handlers=[cls.echo], options=OPTIONS)
        clear = server.add_insecure_port("127.0.0.1:0")
        pair = [(authority.key.read_bytes(), authority.cert.read_bytes())]
        secure = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pair))
        server.start()
        cls.addClassCleanup(lambda: server.stop(0).wait())
        farms = {
            "clear": gate.http_farm(clear, http2=True, timeouts={"response": "2s"}),
            "secure": {
                "protocol": "http",
                "http2": True,
                "timeouts": {"response": "2s"},
                "servers": {"s1": {"address": gate.at(secure), "tls": {"ca": str(authority.ca), "sni": "localhost"}}},
            },
        }
        ports = {name: free_port() for name in farms}
        frontends = {
            "clear": {"protocol": "http", "listen": [gate.at(ports["clear"])], "farm": "clear", "h2c": True},
            "secure": {"protocol": "http", "listen": [gate.at(ports["secure"])], "farm": "secure", "tls": authority.tls()},
        }
        cls.gate = gate.Gate(directory.path, frontends, farms)
        cls.addClassCleanup(cls.gate.close)
        trust = grpc.ssl_channel_credentials(authority.ca.read_bytes())
        cls.channels = {
            "clear": grpc.insecure_channel(f"localhost:{ports['clear']}", OPTIONS),
            "secure": grpc.secure_channel(f"localhost:{ports['secure']}", trust, OPTIONS),
        }
        for channel in cls.channels.values():
            cls.addClassCleanup(channel.close)

    def each(self):
        """Every way to the service."""
        for name, channel in self.channels.items():
            with self.subTest(way=name):
                yield channel

    def test_unary_with_metadata_and_trailers(self):
        for channel in self.each():
            answer, call = channel.unary_unary(f"/{SERVICE}/Unary").with_call(b"hello", metadata=[("x-sent", "there")], timeout=20)
            self.assertEqual(answer, b"hello")
            self.assertEqual(dict(call.initial_metadata()).get("x-first"), "1")
            last = dict(call.trailing_metadata())
            self.assertEqual((last.get("x-last"), last.get("x-last-bin")), ("there", b"\0\1"))

    def test_status_and_words_of_a_failed_call(self):
        for channel in self.each():
            with self.assertRaises(grpc.RpcError) as raised:
                channel.unary_unary(f"/{SERVICE}/Fail")(b"", timeout=20)
            error = raised.exception
            self.assertEqual((error.code(), error.details()), (grpc.StatusCode.FAILED_PRECONDITION, "not now: ü"))
            self.assertEqual(dict(error.trailing_metadata())["x-why"], "because")

    def test_unknown_method(self):
        for channel in self.each():
            with self.assertRaises(grpc.RpcError) as raised:
                channel.unary_unary(f"/{SERVICE}/Nothing")(b"", timeout=20)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_streams_of_either_side(self):
        for channel in self.each():
            down = channel.unary_stream(f"/{SERVICE}/Down")(b"1000", timeout=20)
            self.assertEqual([int(answer) for answer in down], list(range(1000)))
            up = channel.stream_unary(f"/{SERVICE}/Up")((b"x" * n for n in range(500)), timeout=20)
            self.assertEqual(int(up), sum(range(500)))

    def test_stream_of_both_sides_goes_to_and_fro(self):
        """Each message waits for the answer to the one before: nothing on the way may hold one back."""
        for channel in self.each():
            answered = threading.Semaphore(1)

            def requests():
                for n in range(100):
                    self.assertTrue(answered.acquire(timeout=20))
                    yield f"<{n}".encode()

            answers = []
            for answer in channel.stream_stream(f"/{SERVICE}/Both")(requests(), timeout=40):
                answers.append(answer)
                answered.release()
            self.assertEqual(answers, [f"<{n}".encode()[::-1] for n in range(100)])

    def test_stream_that_is_silent_beyond_the_response_timeout_lives(self):
        for channel in self.each():
            go_on = threading.Event()

            def requests():
                yield b"first"
                go_on.wait(4)
                yield b"second"

            answers = channel.stream_stream(f"/{SERVICE}/Both")(requests(), timeout=30)
            self.assertEqual(list(answers), [b"tsrif", b"dnoces"])

    def test_message_of_4_mib_both_ways(self):
        for channel in self.each():
            self.assertEqual(channel.unary_unary(f"/{SERVICE}/Unary")(LARGE, timeout=60), LARGE)

    def test_deadline_is_the_clients_and_reaches_the_server(self):
        for channel in self.each():
            self.echo.cancelled.clear()
            with self.assertRaises(grpc.RpcError) as raised:
                channel.unary_unary(f"/{SERVICE}/Hang")(b"", timeout=0.5)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
            self.assertTrue(self.echo.cancelled.wait(20), "the server was not told")

    def test_call_that_is_cancelled_costs_no_other(self):
        for channel in self.each():
            kept = channel.unary_unary(f"/{SERVICE}/Hang").future(b"kept", timeout=30)
            left = channel.unary_unary(f"/{SERVICE}/Hang").future(b"left", timeout=30)
            left.cancel()
            self.assertEqual(kept.result(30), b"kept")

    def test_many_calls_at_once(self):
        for channel in self.each():
            call = channel.unary_unary(f"/{SERVICE}/Unary")
            futures = [call.future(str(n).encode(), timeout=30) for n in range(200)]
            self.assertEqual([int(future.result(30)) for future in futures], list(range(200)))


if __name__ == "__main__":
    unittest.main()
