"""A load balancer's life through zenlayercloud-sdk-python as its users have it."""

import datetime
import socket
import unittest

from zenlayercloud.common.config import Config
from zenlayercloud.common.credential import Credential
from zenlayercloud.common.excpetion.zenlayer_cloud_sdk_exception import ZenlayerCloudSdkException
from zenlayercloud.zlb.v20250401 import models, zlb_client

import farmgate
import zenlayer_gate
from farmgate import until
from zenlayer_gate import REGION, WRITER, Echo, Silent


def setUpModule():
    global gate
    gate = zenlayer_gate.Gate()
    unittest.addModuleCleanup(gate.close)


def model(kind, /, **fields):
    made = kind()
    for name, value in fields.items():
        if not hasattr(made, name):
            raise AttributeError(f"{kind.__name__} has no {name}")
        setattr(made, name, value)
    return made


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        config = Config(domain=gate.admin, scheme="http", request_timeout=farmgate.PATIENCE_S)
        self.client = zlb_client.ZlbClient(Credential(WRITER["id"], WRITER["secret"]), config)

    def ask(self, action, **fields):
        return getattr(self.client, action)(model(getattr(models, f"{action}Request"), **fields))

    def raised(self, code, action, **fields):
        with self.assertRaises(ZenlayerCloudSdkException) as caught:
            self.ask(action, **fields)
        self.assertIs(type(caught.exception), ZenlayerCloudSdkException)
        self.assertEqual(caught.exception.code, code, caught.exception)
        self.assertTrue(caught.exception.request_id.startswith("T"))
        return caught.exception.message

    def balancer(self):
        made = self.ask("CreateLoadBalancer", regionId=REGION, vpcId="vpc", loadBalancerName="sdk")
        self.assertEqual(len(made.loadBalancerIds), 1)
        return made.loadBalancerIds[0]

    def listener(self, balancer, name, port, protocol="TCP", **more):
        made = self.ask(
            "CreateListener",
            loadBalancerId=balancer, listenerName=name, protocol=protocol, port=str(port), scheduler="wrr", **more,
        )  # fmt: skip
        return made.listenerId

    def change(self, action, balancer, listener, *servers):
        servers = [model(models.BackendServer, **server) for server in servers]
        return self.ask(action, loadBalancerId=balancer, listenerId=listener, backendServers=servers)

    def health(self, balancer, listener):
        return self.ask("DescribeBackendHealth", loadBalancerId=balancer, listenerId=listener).backends

    def wait_for(self, balancer, listener, *wanted):
        def look():
            rows = self.health(balancer, listener)
            return rows if [row.healthStatus for row in rows] == list(wanted) else None

        return until(wanted, look)


def at(port, **more):
    return {"privateIpAddress": "127.0.0.1", "port": port, **more}


def check(**fields):
    return model(models.HealthCheck, **{"enabled": True, "checkRetry": 1, "checkDelayTry": 1, **fields})


class Life(Case):
    def test_load_balancer_lives_from_its_making_to_its_end(self):
        balancer, port = self.balancer(), gate.port()
        [region] = self.ask("DescribeLoadBalancerRegions").regions
        self.assertEqual(region.regionId, REGION)
        price = self.ask("InquiryPriceCreateLoadBalancer", regionId=REGION)
        self.assertEqual(price.loadBalancerInstancePrice.discountPrice, 0)

        http = check(checkType="HTTP_GET", checkHttpGetUrl="/healthz", checkHttpStatusCode=200)
        listener = self.listener(balancer, "web", port, healthCheck=http, kind="FNAT", idleTimeout=30, persistent=0)
        [told] = self.ask("DescribeListeners", loadBalancerId=balancer).listeners
        self.assertEqual((told.listenerId, told.port, told.protocol, told.idleTimeout), (listener, str(port), "TCP", 30))
        self.assertEqual((told.healthCheck.checkType, told.healthCheck.checkRetry), ("HTTP_GET", 1))

        self.change("RegisterBackend", balancer, listener, at(gate.good.port, weight=7), at(gate.sick.port))
        rows = self.wait_for(balancer, listener, "Alive", "Dead")
        self.assertEqual([row.weight for row in rows], [7, 100])
        for row, state in zip(rows, ("Alive", "Dead")):
            [detail] = row.healthStatusDetail
            self.assertEqual((detail.port, detail.healthStatus), (row.backendPort, state))
        self.assertEqual({gate.get(port) for _ in range(4)}, {200})

        self.change("ModifyBackend", balancer, listener, at(gate.good.port, weight=9))
        backends = self.ask("DescribeBackends", loadBalancerId=balancer, listenerId=listener).backends
        self.assertEqual([row.weight for row in backends], [9, 100])
        now = datetime.datetime.now(datetime.timezone.utc)
        span = [(now + datetime.timedelta(minutes=by)).strftime("%Y-%m-%dT%H:%M:%SZ") for by in (-2, 1)]
        seen = self.ask(
            "DescribeLoadBalancerMonitorData",
            loadBalancerId=balancer, metricType="NEW_CONNECTIONS", startTime=span[0], endTime=span[1], step=1,
        )  # fmt: skip
        self.assertEqual(len(seen.metrics), 4)
        self.assertGreater(seen.maxValue, 0)

        self.change("DeregisterBackend", balancer, listener, at(gate.sick.port))
        self.assertEqual(len(self.health(balancer, listener)), 1)
        # No check: what answers 503 is given work.
        self.ask("ModifyListener", loadBalancerId=balancer, listenerId=listener, healthCheck=check(enabled=False))
        self.change("RegisterBackend", balancer, listener, at(gate.sick.port))
        self.change("DeregisterBackend", balancer, listener, at(gate.good.port))
        self.assertEqual(until("traffic", lambda: gate.get(port)), 503)

        self.ask("ModifyLoadBalancersAttribute", loadBalancerIds=[balancer], loadBalancerName="renamed")
        listed = self.ask("DescribeLoadBalancers", loadBalancerName="ren*")
        self.assertEqual((listed.totalCount, listed.dataSet[0].listenerCount), (1, 1))
        self.assertEqual(listed.dataSet[0].resourceGroup.resourceGroupId, "default")

        self.ask("TerminateLoadBalancer", loadBalancerId=balancer)
        self.assertEqual(self.ask("DescribeLoadBalancers", loadBalancerIds=[balancer]).totalCount, 0)
        until("the listener to close", lambda: gate.is_closed(port))
        self.ask("RestoreLoadBalancer", loadBalancerId=balancer)
        self.assertEqual(gate.get(port), 503)
        self.ask("DeleteListener", loadBalancerId=balancer, listenerId=listener)
        until("the listener to close", lambda: gate.is_closed(port))
        self.assertEqual(self.ask("DescribeListeners", loadBalancerId=balancer).listeners, [])
        self.ask("TerminateLoadBalancer", loadBalancerId=balancer)
        self.ask("TerminateLoadBalancer", loadBalancerId=balancer)
        self.raised("INVALID_LB_NOT_FOUND", "TerminateLoadBalancer", loadBalancerId=balancer)

    def test_each_type_of_check_and_each_of_the_four_states(self):
        balancer, silent = self.balancer(), Silent()
        self.addCleanup(silent.close)
        for name, wanted, port, health_check in (
            ("tcp", "Alive", gate.sick.port, check(checkType="TCP")),
            ("http", "Dead", gate.sick.port, check(checkType="HTTP_GET", checkHttpGetUrl="/", checkHttpStatusCode=200)),
            ("not-yet", "Unknown", silent.port, check(checkType="HTTP_GET", checkConnTimeout=15)),
            ("no-check", "Close", gate.sick.port, check(enabled=False)),
        ):
            listener = self.listener(balancer, name, gate.port(), healthCheck=health_check)
            self.change("RegisterBackend", balancer, listener, at(port))
            [row] = self.wait_for(balancer, listener, wanted)
            details = [(one.port, one.healthStatus) for one in row.healthStatusDetail]
            self.assertEqual(details, [(port, wanted)] if wanted in ("Alive", "Dead") else [])
        self.listener(balancer, "ping", gate.port(), healthCheck=check(checkType="PING_CHECK"))
        told = self.ask("DescribeListeners", loadBalancerId=balancer).listeners
        types = [one.healthCheck.checkType for one in told if one.healthCheck.enabled]
        self.assertEqual(types, ["TCP", "HTTP_GET", "HTTP_GET", "PING_CHECK"])

    def test_datagrams_pass_a_udp_listener(self):
        balancer, echo, port = self.balancer(), Echo(), gate.port()
        self.addCleanup(echo.close)
        listener = self.listener(balancer, "dns", port, protocol="UDP")
        self.change("RegisterBackend", balancer, listener, at(echo.port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(farmgate.PATIENCE_S)
            s.sendto(b"hello", (gate.address, port))
            self.assertEqual(s.recv(100), b"hello")

    def test_wrong_calls_raise_by_code_and_change_nothing(self):
        balancer, port = self.balancer(), gate.port()
        listener = self.listener(balancer, "web", port)
        new = {"loadBalancerId": balancer, "listenerName": "b", "protocol": "TCP", "scheduler": "wrr"}
        taken = socket.create_server((gate.address, 0))
        self.addCleanup(taken.close)
        for code, wrong in (
            ("INVALID_LISTENER_PORT_CONFLICT", {"port": str(port)}),
            ("INVALID_LISTENER_PORT_CONFLICT", {"port": str(taken.getsockname()[1])}),
            ("INVALID_LISTENER_PORT_CONFLICT_SELF", {"port": "2000,2000"}),
            ("INVALID_PORT_RANGE", {"port": "2000-2064"}),
            ("INVALID_PORT_RANGE", {"port": "80"}),
            ("INVALID_PORT_FORMAT_ERROR", {"port": "web"}),
            ("INVALID_PARAMETER", {"port": "2000", "protocol": "SCTP"}),
            ("MISSING_PARAMETER", {"port": "2000", "healthCheck": check()}),
            ("INVALID_LB_NOT_FOUND", {"port": "2000", "loadBalancerId": "1"}),
        ):
            with self.subTest(wrong=wrong):
                self.raised(code, "CreateListener", **{**new, **wrong})
        self.change("RegisterBackend", balancer, listener, at(gate.good.port, instanceId="vm"))
        for code, action, servers in (
            ("INVALID_BACKEND_INSTANCE_LISTENER_EXIST", "RegisterBackend", [at(gate.good.port)]),
            ("INVALID_BACKEND_INSTANCE_MULTIPLE", "RegisterBackend", [at(1), at(1)]),
            ("INVALID_BACKEND_IP_ADDRESS", "RegisterBackend", [{"privateIpAddress": "nobody"}]),
            ("INVALID_BACKEND_SERVER_PORT", "RegisterBackend", [at(65536)]),
            ("INVALID_INSTANCE_NOT_FOUND", "DeregisterBackend", [at(1, instanceId="other")]),
        ):
            with self.subTest(code=code), self.assertRaises(ZenlayerCloudSdkException) as caught:
                self.change(action, balancer, listener, *servers)
            self.assertEqual(caught.exception.code, code)
        self.assertEqual(len(self.health(balancer, listener)), 1)
        self.raised("OPERATION_DENIED_FILE_MADE", "TerminateLoadBalancer", loadBalancerId=farmgate.SERVICE)
        self.raised("INVALID_REGION_NOT_FOUND", "CreateLoadBalancer", regionId="HKG", vpcId="v", loadBalancerName="n")
        self.raised("OPERATION_DENIED_ACTION", "AssignLoadBalancerIpv6", loadBalancerId=balancer)


if __name__ == "__main__":
    unittest.main()
