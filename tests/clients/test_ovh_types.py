"""Every answer of the OVHcloud shape under the strictest reader: each operation that the published documents have is called on
objects of every kind, and what comes is decoded as a generated client decodes it. No field is unknown or missing, whole numbers
are whole, texts are texts, lists are never null, and null is only where it may be."""

import ipaddress
import json
import re
import unittest
import urllib.error
import urllib.request

import farmgate
import ovh_gate
from farmgate import SERVICE
from ports import free_port

HOME = f"/ipLoadbalancing/{SERVICE}"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)")
DATE = re.compile(r"\d{4}-\d\d-\d\d")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KINDS = ("http", "tcp", "udp")


class Gate(ovh_gate.Gate):
    def _config(self):
        config = super()._config()
        config["admin"]["rate"] = {"requests": 100000, "window": "1s"}
        return config


def setUpModule():
    global gate
    gate = Gate()
    unittest.addModuleCleanup(gate.close)


def ask(method, path, body=None, want=200):
    """Returns what an operator is answered, whole numbers kept apart from others."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{gate.admin_url}/1.0{path}", data, method=method)
    request.add_header("Authorization", f"Bearer {farmgate.OPERATOR}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=farmgate.PATIENCE_S) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    assert status == want, f"{method} {path}: {status} {text[:300]}"
    return json.loads(text) if text.strip() else None


class Reader:
    """Decodes as the documents say."""

    def __init__(self):
        documents = [ask("GET", f"/{name}.json") for name in ("ipLoadbalancing", "auth")]
        self.models = {name: model for document in documents for name, model in document["models"].items()}
        self.operations = [
            (operation["httpMethod"], api["path"], operation["responseType"])
            for document in documents
            for api in document["apis"]
            for operation in api["operations"]
        ]
        self.read = set()

    def wrong(self, kind, value, at="$"):
        """Returns what is wrong with a value of that type, each with its place."""
        if kind == "void":
            return [] if value is None else [f"{at}: {value!r} where nothing is due"]
        if kind.endswith("[]"):
            if not isinstance(value, list):
                return [f"{at}: {value!r} is no list"]
            return [text for i, one in enumerate(value) for text in self.wrong(kind[:-2], one, f"{at}[{i}]")]
        if kind.startswith("map["):
            return [] if isinstance(value, dict) else [f"{at}: {value!r} is no object"]
        if kind in self.models:
            return self.wrong_model(kind, value, at)
        is_right = PRIMITIVES[kind]
        return [] if is_right(value) else [f"{at}: {value!r} is no {kind}"]

    def wrong_model(self, kind, value, at):
        self.read.add(kind)
        model = self.models[kind]
        if "enum" in model:
            return [] if value in model["enum"] else [f"{at}: {value!r} is none of {model['enum']}"]
        if not isinstance(value, dict):
            return [f"{at}: {value!r} is no object"]
        properties = model["properties"]
        wrong = [f"{at}.{name}: is not of {kind}" for name in value if name not in properties]
        for name, of in properties.items():
            if name not in value:
                wrong.append(f"{at}.{name}: is missing")
            elif value[name] is None:
                wrong += [] if of["canBeNull"] else [f"{at}.{name}: is null"]
            else:
                wrong += self.wrong(of["type"], value[name], f"{at}.{name}")
        return wrong


def is_text(pattern=None):
    return lambda value: isinstance(value, str) and (pattern is None or pattern.fullmatch(value) is not None)


def is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def is_parsed(parse):
    def check(value):
        try:
            return isinstance(value, str) and bool(parse(value))
        except ValueError:
            return False

    return check


PRIMITIVES = {
    "boolean": lambda value: isinstance(value, bool),
    "date": is_text(DATE),
    "datetime": is_text(TIME),
    "ip": is_parsed(ipaddress.ip_address),
    "ipBlock": is_parsed(ipaddress.ip_network),
    "ipv4": is_parsed(ipaddress.IPv4Address),
    "ipv6": is_parsed(ipaddress.IPv6Address),
    "long": is_whole,
    "string": is_text(),
    "uuid": is_text(UUID),
}


class Types(unittest.TestCase):
    def setUp(self):
        self.reader = Reader()

    def make(self, method_path, body):
        """Makes an object and reads what is answered."""
        path = method_path.removeprefix("POST ")
        answer = ask("POST", path, body)
        self.check("POST", path, answer)
        return answer

    def check(self, method, path, answer):
        known = [(template, kind) for verb, template, kind in self.reader.operations if verb == method and fits(template, path)]
        # The one that says the most in words.
        (_, kind) = min(known, key=lambda it: it[0].count("{"))
        self.assertEqual(self.reader.wrong(kind, answer), [], f"{method} {path}: {kind}")

    def objects(self):
        """Makes one of everything with every field, and one with as few as may be."""
        probe = {"type": "http", "url": "/", "interval": 5, "match": "status", "pattern": "200", "method": "GET", "negate": False,
                 "forceSsl": False, "port": gate.good.port}  # fmt: skip
        cert, key = gate.certificate("types.test")
        brought = self.make(f"{HOME}/ssl", {"certificate": cert, "key": key, "displayName": "types"})
        ask("PUT", HOME, {"sslConfiguration": "intermediate"})
        for kind in KINDS:
            home, is_udp = f"{HOME}/{kind}", kind == "udp"
            few = self.make(f"{home}/farm", {"zone": "all", **({"port": 7} if is_udp else {})})
            more = {} if is_udp else {"probe": {**probe, "type": "http" if kind == "http" else "tcp"}, "balance": "source", "stickiness": "sourceIp"}
            if kind == "tcp":
                more["probe"] = {"type": "tcp", "interval": 5}
            many = self.make(f"{home}/farm", {"zone": "local", "displayName": f"{kind}-many", "port": gate.good.port, **more})
            servers = f"{home}/farm/{many['farmId']}/server"
            more = {} if is_udp else {"probe": True, "weight": 3, "backup": False, "onMarkedDown": "shutdown-sessions", "ssl": False,
                                      "proxyProtocolVersion": "v2" if kind == "tcp" else None}  # fmt: skip
            if kind == "http":
                more["cookie"] = "one"
            self.make(servers, {"address": "127.0.0.1", "status": "active", "displayName": "one", "port": gate.good.port, **more})
            self.make(servers, {"address": "127.0.0.1", "status": "inactive", "port": 9})
            self.make(f"{home}/farm/{few['farmId']}/server", {"address": "127.0.0.1", "status": "active"})
            self.make(f"{home}/frontend", {"zone": "all", "port": str(free_port()), "disabled": True})
            more = {} if is_udp else {"allowedSource": ["127.0.0.0/8"], "ssl": True, "defaultSslId": brought["id"]}
            if kind == "http":
                more |= {"hsts": True, "httpHeader": ["X-Ip: %ci"]}
            port = str(free_port())
            front = {"zone": "all", "port": port, "displayName": f"{kind}-front", "defaultFarmId": many["farmId"], **more}
            frontend = self.make(f"{home}/frontend", front)
            if is_udp:
                continue
            action = {"type": "farm", "target": str(few["farmId"])}
            route = self.make(f"{home}/route", {"action": action, "frontendId": frontend["frontendId"], "weight": 3, "displayName": "r"})
            rule = {"field": "host", "match": "is", "pattern": "types.test", "negate": True}
            self.make(f"{home}/route/{route['routeId']}/rule", rule)
            self.make(f"{home}/route", {"action": {"type": "reject", **({"status": 403} if kind == "http" else {})}})

    def read_all(self):
        """Reads every GET that there is, of every object; returns how many there were of each."""
        counts = {}
        for method, template, kind in self.reader.operations:
            if method != "GET":
                continue
            paths = list(filled(template))
            counts[template] = len(paths)
            for path in paths:
                want = 200
                answer = ask("GET", path, want=want)
                self.check("GET", path, answer)
        return counts

    def test_every_answer_decodes_under_strict_types(self):
        # What nothing is there of: a past month.
        may_be_none = {"/ipLoadbalancing/{serviceName}/quotaHistory/{id}"}
        self.objects()
        self.read_all()
        ask("POST", f"{HOME}/refresh")
        task = self.make(f"{HOME}/refresh", {"zone": "local"})
        farmgate.until("the task", lambda: ask("GET", f"{HOME}/task/{task['id']}")["status"] == "done")
        farmgate.until("checks", lambda: ask("GET", f"{HOME}/http/farm/http-many/server/one")["serverState"])
        counts = self.read_all()
        self.assertEqual({template for template, count in counts.items() if not count} - may_be_none, set())
        self.assertGreater(counts["/ipLoadbalancing/{serviceName}/http/farm/{farmId}/server/{serverId}"], 5)
        # Nor is a model left that nothing was read of, but for what only requests have, and what there is none of here.
        of_requests = {"ipLoadbalancing.Ip", "auth.Credential", "auth.CredentialStateEnum", "auth.HTTPMethodEnum", "auth.AccessRule", "api.Credential"}
        unread = set(self.reader.models) - self.reader.read - of_requests
        nothing = {"iam.ResourceMetadata", "ipLoadbalancing.OrderableZone", "ipLoadbalancing.QuotaHistory.QuotaHistory", "service.RenewType"}
        self.assertEqual(unread, nothing | {"ipLoadbalancing.ProxyTypeEnum"})

    def test_reader_sees_what_is_wrong(self):
        reader = self.reader
        server = ask("GET", f"{HOME}/http/farm/web/server/good")
        kind = "ipLoadbalancing.backendHttpCustomerServer.BackendHTTPServer"
        self.assertEqual(reader.wrong(kind, server), [])
        for change, said in (
            ({"weight": "100"}, "$.weight: '100' is no long"),
            ({"weight": 1.0}, "$.weight: 1.0 is no long"),
            ({"backup": 0}, "$.backup: 0 is no boolean"),
            ({"serverState": None}, "$.serverState: is null"),
            ({"status": "up"}, "$.status: 'up' is none of"),
            ({"nobody": 1}, "$.nobody: is not of"),
            ({"address": "::1"}, "$.address: '::1' is no ipv4"),
        ):
            (wrong,) = reader.wrong(kind, {**server, **change})
            self.assertIn(said, wrong)
        missing = {name: value for name, value in server.items() if name != "port"}
        self.assertEqual(reader.wrong(kind, missing), ["$.port: is missing"])


def fits(template, path):
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) is not None


def filled(template):
    """Every path of that form, its parameters taken from the lists that lead there."""
    if "{" not in template:
        yield template
        return
    before, _, rest = template.partition("{")
    _, _, rest = rest.partition("}")
    for one in ask("GET", before.rstrip("/")):
        yield from filled(f"{before}{one}{rest}")


if __name__ == "__main__":
    unittest.main()
