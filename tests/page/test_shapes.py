"""What any of the three APIs changes is on the page without its being loaded again: the native one, OVHcloud's shape after a
refresh, Zenlayer's. That the APIs, the command line and the metrics agree with one another is tests/it's."""

import unittest

from ports import free_port
from rig import Origin, Shown, until

OVH = "/1.0/ipLoadbalancing/lb-shapes"
ONE = "/farms/shop/servers/one"
OVH_ONE = "/tcp/farm/shop/server/one"


class Shapes(Shown):
    @classmethod
    def setUpClass(cls):
        cls.origins = [Origin() for _ in range(4)]
        for origin in cls.origins:
            cls.addClassCleanup(origin.close)
        config = {
            "service": {"name": "lb-shapes", "addresses": ["127.0.0.1"], "api_ports": "1024-65535"},
            "frontends": {},
            "farms": {"web": {"protocol": "http", "servers": {"w": cls.origins[0].address}}},
        }
        cls.start(config, "admin", keeps_state=True)
        cls.browser.get(f"http://{cls.admin}/")
        cls.sign_in()
        one, two, *_ = (origin.address for origin in cls.origins)
        servers = {"one": {"address": one, "weight": 3}, "two": two}
        probe = {"type": "tcp", "interval": "10s", "rise": 1}
        cls.native("POST", "/farms", {"name": "shop", "protocol": "tcp", "probe": probe, "servers": servers})
        cls.native("POST", "/frontends", {"name": "shop", "protocol": "tcp", "listen": [f"127.0.0.1:{free_port()}"], "farm": "shop"})

    # The three ways of making a change; each returns once it is to be seen.

    @classmethod
    def native(cls, method, path, body=None):
        return cls.ask(method, f"/api/v1{path}", body)

    @classmethod
    def ovh(cls, method, path, body=None):
        made = cls.ask(method, OVH + path, body)
        task = cls.ask("POST", f"{OVH}/refresh", None)
        until("the task", lambda: cls.ask("GET", f"{OVH}/task/{task['id']}", None)["status"] == "done")
        return made

    @classmethod
    def zenlayer(cls, action, **body):
        fields = {"X-ZC-Action": action, "X-ZC-Version": "2025-04-01"}
        return cls.ask("POST", "/api/v2/zlb", {"loadBalancerId": "lb-shapes", "listenerId": "shop", **body}, **fields)

    # What the page shows, at one instant: it draws itself anew again and again.

    def look(self, script):
        return self.browser.execute_script(f"const text = (of, what) => of.querySelector(what).textContent; {script}")

    def rows(self):
        """Of the farm `shop`, by the servers' addresses: the state's word, the configured weight, tags."""
        return self.look("""
            const rows = [...document.querySelectorAll('article[aria-label="Farm shop"] tbody tr')];
            const weight = (row) => text(row, "td.number").split(" / ").pop();
            const tags = (row) => [...row.querySelectorAll(".tag")].map((tag) => tag.textContent);
            return Object.fromEntries(rows.map((row) => [text(row, ".mono"), [text(row, ".state"), weight(row), tags(row)]]));
        """)

    def balance(self):
        return self.look('return document.querySelector(\'article[aria-label="Farm shop"] .line\').children[2].textContent')

    def farms(self):
        return set(self.look('return [...document.querySelectorAll("article.farm h2")].map((head) => head.textContent)'))

    def agrees(self, changes):
        for n, (change, shows, want) in enumerate(changes):
            with self.subTest(change=n, want=want):
                self.assertNotEqual(shows(), want, "it is so already")
                change()
                until(f"the page to show {want}", lambda: shows() == want)

    def test_what_each_api_changes_of_a_server_is_shown(self):
        one = self.origins[0].address
        host, port = one.split(":")
        weigh = lambda weight: {"backendServers": [{"privateIpAddress": host, "port": int(port), "weight": weight}]}
        until("the farm", lambda: self.rows()[one][0] == "UP")
        state, weight, tags = (lambda at=at: self.rows()[one][at] for at in range(3))
        self.agrees([
            (lambda: self.native("PATCH", ONE, {"weight": 9}), weight, "9"),
            (lambda: self.ovh("PUT", OVH_ONE, {"weight": 8}), weight, "8"),
            (lambda: self.zenlayer("ModifyBackend", **weigh(7)), weight, "7"),
            (lambda: self.native("PATCH", ONE, {"status": "drain"}), state, "DRAIN"),
            (lambda: self.native("PATCH", ONE, {"status": "active"}), state, "UP"),
            (lambda: self.ovh("PUT", OVH_ONE, {"status": "inactive"}), state, "MAINT"),
            (lambda: self.ovh("PUT", OVH_ONE, {"status": "active"}), state, "UP"),
            (lambda: self.ovh("PUT", OVH_ONE, {"backup": True}), tags, ["backup"]),
            (lambda: self.native("PATCH", ONE, {"backup": False}), tags, []),
        ])

    def test_what_each_api_changes_of_a_farm_is_shown(self):
        one, two, three, four = (origin.address for origin in self.origins)
        port = lambda address: int(address.split(":")[1])
        until("the farm", lambda: "shop" in self.farms())
        addresses = lambda: sorted(self.rows())
        named = lambda address: {"backendServers": [{"privateIpAddress": "127.0.0.1", "port": port(address)}]}
        fourth = {"address": "127.0.0.1", "port": port(four), "status": "active", "displayName": "four"}
        balance = self.balance
        listener = {"listenerName": "zen", "protocol": "TCP", "scheduler": "wrr", "port": str(free_port())}
        self.agrees([
            (lambda: self.zenlayer("RegisterBackend", **named(three)), addresses, sorted([one, two, three])),
            (lambda: self.ovh("POST", "/tcp/farm/shop/server", fourth), addresses, sorted([one, two, three, four])),
            (lambda: self.zenlayer("DeregisterBackend", **named(four)), addresses, sorted([one, two, three])),
            (lambda: self.native("DELETE", "/farms/shop/servers/two"), addresses, sorted([one, three])),
            (lambda: self.native("POST", "/farms/shop/servers", {"name": "two", "address": two}), addresses, sorted([one, two, three])),
            (lambda: self.native("PATCH", "/farms/shop", {"balance": "leastconn"}), balance, "leastconn"),
            (lambda: self.ovh("PUT", "/tcp/farm/shop", {"balance": "source"}), balance, "source"),
            (lambda: self.zenlayer("ModifyListener", scheduler="wrr"), balance, "roundrobin"),
            (lambda: self.ovh("POST", "/tcp/farm", {"zone": "all", "displayName": "ovh"}), self.farms, {"web", "shop", "ovh"}),
            (lambda: self.zenlayer("CreateListener", **listener), self.farms, {"web", "shop", "ovh", "zen"}),
            (lambda: self.native("DELETE", "/farms/ovh"), self.farms, {"web", "shop", "zen"}),
        ])


if __name__ == "__main__":
    unittest.main()
