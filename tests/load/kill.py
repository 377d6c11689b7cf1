"""An origin is killed under load and comes back: who notices, how soon, and what it costs."""

import http.client
import time

from rig import LOOPBACK, Oha, until
from views import Checks, Watch, epoch

INTERVAL_S, TIMEOUT_S, RISE, FALL = 0.2, 0.1, 2, 3
PROBE = {"type": "http", "url": "/healthz", "interval": "200ms", "timeout": "100ms", "rise": RISE, "fall": FALL}
# What a busy machine may add to either bound: the time from a due check to its recorded end.
SLACK_S = 0.15
KILLED = "a"
NAMES = ("a", "b", "c")
# An origin's service time: long enough that requests are under way on it when it dies.
SERVICE_MS = 10
CONNECTIONS = 32
BODY = "x" * 200
EQUAL = "serverState, DescribeBackendHealth, /api/v1, status and /metrics were equal"


def under_load(bench, where, rate, body, times):
    """One run of oha; the origin dies and comes back at the given seconds."""
    kill_s, back_s, end_s = times
    with bench.rig() as rig:
        origins, farmgate, port = prepare(rig)
        watch = rig.closing(Watch(farmgate, "web"))
        began = time.monotonic()
        oha = rig.closing(Oha(bench.oha, f"http://{LOOPBACK}:{port}/", end_s, CONNECTIONS, rate, body))
        time.sleep(max(0, began + kill_s - time.monotonic()))
        asked, died = origins[KILLED].kill()
        under_way = origins[KILLED].page()[1]
        time.sleep(max(0, began + back_s - time.monotonic()))
        checks = rig.closing(Checks(farmgate, "web", KILLED))
        origins[KILLED].start()
        back = time.time()
        result = oha.result()
        watch.stop()
        checks.close()
        judge_requests(bench.report, where, farmgate, result, body, (asked, died, under_way))
        judge_health(bench.report, where, watch, checks, origins[KILLED], asked, back)


def prepare(rig):
    origins = {name: rig.origin(name, SERVICE_MS) for name in NAMES}
    farm = {
        "protocol": "http",
        "probe": PROBE,
        "retries": {"attempts": 2},
        "servers": {name: {"address": origin.address} for name, origin in origins.items()},
    }
    port = rig.port()
    frontend = {"protocol": "http", "listen": [f"{LOOPBACK}:{port}"], "farm": "web"}
    farmgate = rig.farmgate({"frontends": {"web": frontend}, "farms": {"web": farm}})
    farmgate.wait_ready()
    return origins, farmgate, port


def judge_requests(report, where, farmgate, result, body, death):
    asked, died, under_way = death
    lines = until("the access log to be whole", lambda: whole(farmgate, result.answered))
    tried_again = sum(line["retries"] > 0 for line in lines)
    failed = [line for line in lines if line["status"] != 200]
    figures = {**result.figures(), "tried_again": tried_again, "under_way_by_the_origin": under_way}
    report.note(where, **figures, died_within_ms=round(1000 * (died - asked), 2))
    said = f"{result}; {tried_again} tried again; {under_way} under way on the origin as it knew"
    if not body:
        unjust = failed
        report.claim(where, "no request failed", result.failed == 0 and result.answered > 0, said)
    else:
        unjust = [line for line in failed if not is_lost_with_the_origin(line, died)]
        report.note(where, failed=len(failed), failed_unjustly=len(unjust))
        is_so = not unjust and not result.errors and set(result.codes) <= {200, 502} and result.codes.get(200)
        what = "only POSTs that were under way on the origin when it died failed, each with 502"
        report.claim(where, what, is_so, f"{len(failed)} failed, {len(unjust)} of them unjustly; {said}")
    for line in unjust[:5]:
        print(f"        began {1000 * (started(line) - died):.3f} ms after the death: {line}")
    counted = requests_counted(farmgate)
    is_same = counted == result.answered == len(lines)
    report.claim(where, "oha, /metrics and the access log count the same", is_same, f"{result.answered}, {counted}, {len(lines)}")


def whole(farmgate, requests):
    lines = farmgate.access_lines()
    return lines if len(lines) >= requests else None


def requests_counted(farmgate):
    admin = farmgate.admin()
    series = admin.metrics()
    admin.close()
    return int(sum(value for key, value in series.items() if key.startswith("farmgate_requests_total{")))


def is_lost_with_the_origin(line, died):
    """Whether Farmgate had the request, and had it for the origin, before that was gone. The log's times are cut to
    milliseconds, so one that began up to a millisecond later passes as well."""
    return line["status"] == 502 and line.get("server") == KILLED and started(line) <= died


def started(line):
    return epoch(line["at"]) - line["duration_us"] / 1e6


def judge_health(report, where, watch, checks, origin, asked, back):
    down, up = watch.first_seen(KILLED, "down", asked), watch.first_seen(KILLED, "up", back)
    said = f"{watch.compared} readings of all five, {watch.repeated} repeated as a change fell into them"
    said += f", the longest {1000 * watch.longest_s:.0f} ms"
    is_so = not watch.disagreements and watch.compared > 20 and down and up
    report.claim(where, EQUAL, is_so, said)
    for disagreement in watch.disagreements[:5]:
        print(f"        {disagreement}")
    if not (down and up):
        report.claim(where, "the server went down and came back", False, f"seen: {watch.seen}")
        return
    claim_removal(report, where, down, asked)
    # On a busy machine an origin that has just started may miss the deadline of a check: it counts from there.
    failed = [at for at, is_passed in checks.records if back < at < up.since and not is_passed]
    began = max([back, *failed])
    passes = sum(began < at <= up.since and is_passed for at, is_passed in checks.records)
    # The first may have been answered before its origin said that it is ready.
    passes += not failed and any(is_passed for at, is_passed in checks.records if at <= back)
    return_s, bound_s = up.since - began, RISE * INTERVAL_S + TIMEOUT_S
    said = f"{passes} passes, {return_s * 1000:.0f} ms of {bound_s * 1000:.0f} ms, slack {SLACK_S * 1000:.0f} ms; "
    said += f"{len(failed)} failed before; in all five views {1000 * (up.at - up.since):.0f} ms later"
    is_so = passes == RISE and return_s <= bound_s + SLACK_S
    report.claim(where, "back after exactly rise checks", is_so, said)
    taken_in, _, first_at = origin.page()
    said = f"the first of {taken_in} came {1000 * (first_at - up.since):.1f} ms after the verdict"
    report.claim(where, "no work before it was back, and work at once then", 0 <= first_at - up.since < 0.5, said)
    report.note(
        where,
        return_ms=round(1000 * return_s, 1),
        return_passes=passes,
        return_failed_before=len(failed),
        readings=watch.compared,
        readings_repeated=watch.repeated,
        disagreements=len(watch.disagreements),
        seen_down_after_ms=round(1000 * (down.at - down.since), 1),
        seen_up_after_ms=round(1000 * (up.at - up.since), 1),
    )


def hung(bench, where):
    """An origin that takes connections and never answers: every check lasts until its timeout."""
    with bench.rig() as rig:
        origins, farmgate, _ = prepare(rig)
        watch = rig.closing(Watch(farmgate, "web"))
        time.sleep(1)
        asked = origins[KILLED].hang()
        down = until("the server to be down", lambda: watch.first_seen(KILLED, "down", asked))
        watch.stop()
        claim_removal(bench.report, where, down, asked)
        said = f"{watch.compared} readings of all five, {watch.repeated} repeated"
        bench.report.claim(where, EQUAL, not watch.disagreements, said)


def claim_removal(report, where, down, asked):
    removal_s, bound_s = down.since - asked, FALL * INTERVAL_S + TIMEOUT_S
    said = f"{removal_s * 1000:.0f} ms of {bound_s * 1000:.0f} ms, slack {SLACK_S * 1000:.0f} ms; "
    said += f"in all five views {1000 * (down.at - down.since):.0f} ms later"
    report.claim(where, "out of rotation within fall x interval + timeout", 0 < removal_s <= bound_s + SLACK_S, said)
    report.note(where, removal_ms=round(1000 * removal_s, 1))


def kept_connections(bench, where):
    """The connections that were kept to an origin are closed with it: that must cost nobody anything."""
    with bench.rig() as rig:
        origins, farmgate, port = prepare(rig)
        fill = rig.closing(Oha(bench.oha, f"http://{LOOPBACK}:{port}/", 2, CONNECTIONS))
        fill.result()
        before = len(farmgate.access_lines())
        origins[KILLED].kill()
        client = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
        codes, slowest_s = {}, 0.0
        for n in range(60):
            began = time.monotonic()
            client.request("POST" if n % 2 else "GET", "/", BODY if n % 2 else None)
            answer = client.getresponse()
            answer.read()
            codes[answer.status] = codes.get(answer.status, 0) + 1
            slowest_s = max(slowest_s, time.monotonic() - began)
        client.close()
        lines = until("the access log", lambda: whole(farmgate, before + 60))
        tried_again = sum(line["retries"] for line in lines[before:])
        said = f"{codes}, {tried_again} tried again, slowest {1000 * slowest_s:.1f} ms"
        is_so = codes == {200: 60} and tried_again > 0 and slowest_s < 0.5
        bench.report.claim(where, "the kept connections of a killed origin cost no GET and no POST", is_so, said)
        bench.report.note(where, codes=codes, tried_again=tried_again, slowest_ms=round(1000 * slowest_s, 2))
