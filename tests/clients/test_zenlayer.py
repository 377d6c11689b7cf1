"""zenlayercloud-sdk-python as its users have it: only the domain and the scheme are ours."""

import time
import unittest
from unittest import mock

from zenlayercloud.common.config import Config
from zenlayercloud.common.credential import Credential, TokenCredential
from zenlayercloud.common.excpetion.zenlayer_cloud_sdk_exception import ZenlayerCloudSdkException
from zenlayercloud.zlb.v20250401 import models, zlb_client

import farmgate
from farmgate import SERVICE, ZENLAYER


def setUpModule():
    global gate
    gate = farmgate.Farmgate()
    unittest.addModuleCleanup(gate.close)


def client(key_id=ZENLAYER["id"], secret=ZENLAYER["secret"], credential=None):
    config = Config(domain=gate.admin, scheme="http", request_timeout=farmgate.PATIENCE_S)
    return zlb_client.ZlbClient(credential or Credential(key_id, secret), config)


def healths(listener_id=None, load_balancer_id=SERVICE, by=None):
    request = models.DescribeBackendHealthRequest()
    request.loadBalancerId = load_balancer_id
    request.listenerId = listener_id
    return (by or client()).DescribeBackendHealth(request)


class Reads(unittest.TestCase):
    def by_port(self, rows, listener):
        return {row.backendPort: row for row in rows if row.listenerName == listener}

    def test_health_is_dead_for_the_sick_and_alive_for_the_good(self):
        answer = healths()
        self.assertTrue(answer.requestId.startswith("T"))
        for listener, port in (("web", gate.web_port), ("alt", gate.alt_port)):
            rows = [row for row in answer.backends if row.listenerName == listener]
            self.assertEqual([r.healthStatus for r in rows], ["Alive", "Dead", "Dead", "Close", "Alive"])
            sick = self.by_port(rows, listener)[gate.sick.port]
            self.assertEqual((sick.privateIpAddress, sick.weight, sick.protocol), ("127.0.0.1", 50, "TCP"))
            self.assertEqual(sick.listenerPort, str(port))
            [detail] = sick.healthStatusDetail
            self.assertEqual((detail.port, detail.healthStatus), (gate.sick.port, "Dead"))
            self.assertEqual(rows[3].healthStatusDetail, [])
        [db] = [row for row in answer.backends if row.listenerName == "db"]
        self.assertEqual((db.healthStatus, db.backendPort), ("Alive", gate.good.port))

    def test_listener_id_narrows_the_list(self):
        every = healths().backends
        self.assertEqual(len(every), 11)
        listener = next(row.listenerId for row in every if row.listenerName == "db")
        self.assertEqual([row.listenerName for row in healths(listener).backends], ["db"])

    def test_bearer_token_reads_the_same(self):
        answer = healths(by=client(credential=TokenCredential(farmgate.TOKEN)))
        self.assertEqual(len(answer.backends), 11)

    def test_siblings_show_the_same_rows(self):
        request = models.DescribeLoadBalancersRequest()
        answer = client().DescribeLoadBalancers(request)
        self.assertEqual((answer.totalCount, answer.dataSet[0].status), (1, "RUNNING"))
        self.assertEqual((answer.dataSet[0].loadBalancerId, answer.dataSet[0].tags.tags), (SERVICE, []))
        request = models.DescribeListenersRequest()
        request.loadBalancerId = SERVICE
        listeners = client().DescribeListeners(request).listeners
        self.assertEqual([one.listenerName for one in listeners], ["web", "alt", "db"])
        self.assertEqual(listeners[0].healthCheck.checkType, "HTTP_GET")
        request = models.DescribeBackendsRequest()
        request.loadBalancerId = SERVICE
        request.listenerId = listeners[0].listenerId
        ports = [row.backendPort for row in client().DescribeBackends(request).backends]
        self.assertEqual(ports[:2], [gate.good.port, gate.sick.port])


class Errors(unittest.TestCase):
    """Each wrong call raises the SDK's own type with the code, and a request id to look for in the log."""

    def raised(self, code, call, *args, **kwargs):
        with self.assertRaises(ZenlayerCloudSdkException) as caught:
            call(*args, **kwargs)
        self.assertEqual(caught.exception.code, code, caught.exception)
        self.assertTrue(caught.exception.request_id.startswith("T"))
        return caught.exception.message

    def test_wrong_key_is_a_signature_failure(self):
        text = self.raised("AUTHFAILURE_SIGNATURE_FAILURE", healths, by=client(key_id="nobody"))
        self.assertIn("does not exist", text)

    def test_wrong_secret_is_a_signature_failure(self):
        text = self.raised("AUTHFAILURE_SIGNATURE_FAILURE", healths, by=client(secret="other"))
        self.assertIn("does not match", text)

    def test_skewed_clock_is_a_signature_failure_either_way(self):
        true_time = time.time
        for skew in (-400, 400):
            with self.subTest(skew=skew), mock.patch("time.time", lambda: true_time() + skew):
                text = self.raised("AUTHFAILURE_SIGNATURE_FAILURE", healths)
                self.assertIn("X-ZC-Timestamp", text)
        with mock.patch("time.time", lambda: true_time() - 200):
            self.assertEqual(len(healths().backends), 11)

    def test_unknown_token_is_not_authorized(self):
        by = client(credential=TokenCredential("nobody"))
        self.raised("AUTHFAILURE_INVALID_AUTHORIZATION", healths, by=by)

    def test_unknown_load_balancer_and_listener_are_not_found(self):
        self.raised("INVALID_LB_NOT_FOUND", healths, load_balancer_id="nobody")
        self.raised("INVALID_LB_LISTENER_NOT_FOUND", healths, listener_id="7")

    def test_writes_of_a_key_that_lists_none_are_refused_by_name(self):
        request = models.DeleteListenerRequest()
        request.loadBalancerId = SERVICE
        request.listenerId = healths().backends[0].listenerId
        text = self.raised("OPERATION_DENIED_ACTION", client().DeleteListener, request)
        self.assertIn("DeleteListener", text)
        self.assertEqual(len(healths().backends), 11)


if __name__ == "__main__":
    unittest.main()
