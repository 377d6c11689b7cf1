"""When a server is asked, as the server itself sees it: one check for all farms that share it, and keepalived's pace."""

import time

from faults import Origin
from gate import GUARDS, SLACK_MS, Gate
from servers import wait_for

SLACK_S = SLACK_MS / 1000
# Arrivals may be as much closer to each other than the checks were.
BEFORE_S = 0.06
# The schedule's own: an interval is never longer, and up to so much of it shorter.
JITTER = 0.1
INTERVAL_S, RETRY_S = 2.0, 0.3
SHARED_S = 0.5


def farm(port, probe):
    return {"protocol": "tcp", "probe": probe, "servers": {"it": {"address": f"127.0.0.1:{port}"}}, **GUARDS}


def farms_at(port):
    shared = {"type": "http", "url": "/shared", "interval": "500ms", "timeout": "400ms", "rise": 1}
    kept = {
        "type": "http", "url": "/kept", "interval": "2s", "retry_interval": "300ms", "timeout": "200ms",
        "retries": 2, "rise": 2,
    }
    return {
        # What they make of a result is their own.
        "shared-a": farm(port, {**shared, "fall": 1}), "shared-b": farm(port, {**shared, "fall": 1}),
        "shared-c": farm(port, {**shared, "fall": 4}),
        "alone": farm(port, {**shared, "url": "/alone", "fall": 1}),
        "kept": farm(port, kept),
    }


def gaps(times):
    return [later - earlier for earlier, later in zip(times, times[1:])]


def is_about(gap, interval_s):
    return interval_s * (1 - JITTER) - BEFORE_S <= gap <= interval_s + SLACK_S


class Paced:
    """Runs a gate of its own; `told` takes whether a claim is so, the claim, and what was seen."""

    def __init__(self, base, crowd, told):
        self.origin, self.told = Origin(crowd), told
        self.gate = Gate(base, farms_at(self.origin.port))

    def run(self):
        try:
            names = ("shared-a", "shared-b", "shared-c", "alone", "kept")
            wait_for("first checks", lambda: all(self.health(name) == "up" for name in names))
            self.shares()
            self.keeps_pace()
        finally:
            self.gate.close()

    def health(self, name):
        return self.gate.status().get(name, {}).get("health")

    def shares(self):
        begin = time.monotonic()
        time.sleep(4)
        shared, alone = (len(self.origin.since(path, begin)) for path in ("/shared", "/alone"))
        most = 4 / (SHARED_S * (1 - JITTER)) + 2
        self.told(4 <= shared <= most, "one check serves three farms", f"{shared} requests in 4 s, alone: {alone}")
        self.told(4 <= alone <= most, "another path is another check", f"{alone} requests in 4 s")
        begin = time.monotonic()
        self.origin.statuses["/shared"] = 503
        wait_for("shared-a and -b down", lambda: self.health("shared-a") == self.health("shared-b") == "down")
        first = len(self.origin.since("/shared", begin))
        wait_for("shared-c down", lambda: self.health("shared-c") == "down")
        all_four = len(self.origin.since("/shared", begin))
        self.told(first <= 3 and 4 <= all_four <= 6, "each farm counts the shared failures itself",
                  f"one fell after {first}, one of four after {all_four}")
        self.told(self.health("alone") == "up", "who does not share is not concerned", self.health("alone"))

    def keeps_pace(self):
        self.flips(503, "down", 3, "after its first failure")
        self.flips(200, "up", 2, "after its first pass")

    def flips(self, status, health, needed, when):
        """The origin answers otherwise, just after a check; sees when it is asked until the verdict, and after."""
        before = len(self.origin.asked["/kept"])
        wait_for("a check", lambda: len(self.origin.asked["/kept"]) > before)
        time.sleep(0.1)
        begin = time.monotonic()
        self.origin.statuses["/kept"] = status
        seen = []

        def has_changed():
            row = self.gate.status().get("kept", {})
            asked = len(self.origin.since("/kept", begin))
            seen.append((asked, row.get("health")))
            return row.get("health") == health

        wait_for(f"kept {health}", has_changed)
        wait_for("the check after", lambda: len(self.origin.since("/kept", begin)) > needed)
        times = self.origin.since("/kept", begin)[: needed + 1]
        between = gaps(times)
        said = ", ".join(f"{gap:.2f}" for gap in between) + " s apart"
        too_early = [asked for asked, is_now in seen if is_now == health and asked < needed]
        self.told(not too_early, f"{health} comes with check {needed}", f"seen with {too_early or needed}")
        self.told(all(is_about(gap, RETRY_S) for gap in between[:-1]), f"retry_interval counts {when}", said)
        self.told(is_about(between[-1], INTERVAL_S), f"interval counts again once {health}", said)
