//! The life of load balancers that are made through the ZLB API, with the real binary: what is written carries traffic.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{Behaviour, Client, EYE_TOKEN, Farmgate, OPS_TOKEN, Origin, Server, Setup, place, until};
use crate::udp::{Echo, ask, client};

const PATH: &str = "/api/v2/zlb";
const OF_FILE: &str = "it";

struct Running {
    farmgate: Farmgate,
    dir: Arc<tempfile::TempDir>,
    setup: Setup,
    origins: [Origin; 3],
    /// The address of the service, which no other test has.
    address: IpAddr,
}

impl Running {
    fn start() -> Self {
        let origins = ["file", "one", "two"].map(Origin::start);
        let address = place().ip();
        let service = format!("service: {{name: it, addresses: [\"{address}\"], api_ports: \"1024-65535\"}}");
        let servers = [Server::new("a", origins[0].addr(), "weight: 5")];
        let setup = Setup::tcp(&servers).top(&service).top("state_dir: state");
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let farmgate = Farmgate::start_in(&dir, &setup, &[]);
        Self { farmgate, dir, setup, origins, address }
    }

    /// A place on the service's address where nobody listens.
    fn place(&self) -> SocketAddr {
        TcpListener::bind((self.address, 0)).unwrap().local_addr().unwrap()
    }

    /// Kills the process and starts another one.
    fn again(self) -> Self {
        let Self { mut farmgate, dir, setup, origins, address } = self;
        farmgate.kill();
        drop(farmgate);
        let farmgate = Farmgate::start_in(&dir, &setup, &[]);
        Self { farmgate, dir, setup, origins, address }
    }

    fn ask(&self, token: &str, action: &str, body: &Value) -> (u16, Value) {
        let fields = [("X-ZC-Action", action), ("X-ZC-Version", "2025-04-01")];
        let answer = self.farmgate.admin_with("POST", PATH, Some(token), &fields, body.to_string().as_bytes());
        (answer.status, answer.json())
    }

    #[track_caller]
    fn ok(&self, action: &str, body: &Value) -> Value {
        let (status, mut answer) = self.ask(OPS_TOKEN, action, body);
        assert_eq!(status, 200, "{action} {body}: {answer}");
        assert_eq!(answer["requestId"], answer["response"]["requestId"]);
        answer["response"].take()
    }

    #[track_caller]
    fn refused(&self, action: &str, body: &Value, status: u16, code: &str) -> String {
        let (got, answer) = self.ask(OPS_TOKEN, action, body);
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)), "{action} {body}: {answer}");
        assert!(answer["requestId"].as_str().unwrap().starts_with('T') && answer.get("response").is_none());
        answer["message"].as_str().unwrap().to_owned()
    }

    fn balancer(&self) -> String {
        let body = json!({"regionId": "local", "vpcId": "vpc", "loadBalancerName": "shop"});
        self.ok("CreateLoadBalancer", &body)["loadBalancerIds"][0].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn listener(&self, balancer: &str, name: &str, more: &Value) -> String {
        let mut body = json!({"loadBalancerId": balancer, "listenerName": name, "protocol": "TCP", "scheduler": "wrr"});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.ok("CreateListener", &body)["listenerId"].as_str().unwrap().to_owned()
    }

    fn of(&self, balancer: &str, listener: &str, servers: &[Value]) -> Value {
        json!({"loadBalancerId": balancer, "listenerId": listener, "backendServers": servers})
    }

    fn server(&self, origin: usize) -> Value {
        json!({"privateIpAddress": "127.0.0.1", "port": self.origins[origin].addr().port()})
    }

    /// The health of each backend of a listener, by port.
    fn health(&self, balancer: &str, listener: &str) -> Vec<Value> {
        let body = json!({"loadBalancerId": balancer, "listenerId": listener});
        let mut answer = self.ok("DescribeBackendHealth", &body);
        serde_json::from_value(answer["backends"].take()).unwrap()
    }

    fn wait_for_health(&self, balancer: &str, listener: &str, wanted: &[&str]) -> Vec<Value> {
        until(&format!("{wanted:?}"), || {
            let rows = self.health(balancer, listener);
            let is_it = rows.iter().map(|row| row["healthStatus"].as_str().unwrap()).eq(wanted.iter().copied());
            is_it.then_some(rows)
        })
    }
}

/// Who answers there.
#[track_caller]
fn answers(addr: SocketAddr, of: &[&str]) -> String {
    let response = Client::connect(addr).get("/");
    let who = response.origin().to_owned();
    assert!(response.status == 200 && of.contains(&who.as_str()), "{} {}", response.status, response.text());
    who
}

fn is_closed(addr: SocketAddr) -> Option<()> {
    Client::try_connect(addr).is_err().then_some(())
}

#[test]
fn load_balancer_lives_from_its_making_to_its_end() {
    let running = Running::start();
    let (balancer, front) = (running.balancer(), running.place());
    let check = json!({"checkType": "HTTP_GET", "checkHttpGetUrl": "/healthz", "checkHttpStatusCode": 200,
        "checkRetry": 1, "checkDelayTry": 1, "checkConnTimeout": 1});
    let listener = running.listener(&balancer, "web", &json!({"port": front.port().to_string(), "healthCheck": check}));
    let both = running.of(&balancer, &listener, &[running.server(1), running.server(2)]);
    running.ok("RegisterBackend", &both);
    running.wait_for_health(&balancer, &listener, &["Alive", "Alive"]);
    let who: std::collections::BTreeSet<_> = (0..8).map(|_| answers(front, &["one", "two"])).collect();
    assert_eq!(who.len(), 2, "{who:?}");

    // The others see the same.
    let farm = running.farmgate.admin_get("/api/v1/farms/shop-web").1;
    assert_eq!(
        (&farm["servers"][0]["weight"], &farm["id"].as_u64().map(|id| id >= 1 << 40)),
        (&json!(100), &Some(true))
    );

    running.origins[2].health(Behaviour::Status(503));
    let rows = running.wait_for_health(&balancer, &listener, &["Alive", "Dead"]);
    let detail = json!([{"port": running.origins[2].addr().port(), "healthStatus": "Dead"}]);
    assert_eq!((&rows[1]["healthStatusDetail"], &rows[1]["protocol"]), (&detail, &json!("TCP")));
    (0..4).for_each(|_| drop(answers(front, &["one"])));
    running.origins[2].health(Behaviour::Ok);
    running.wait_for_health(&balancer, &listener, &["Alive", "Alive"]);

    let mut weighed = running.server(1);
    weighed["weight"] = json!("0");
    running.ok("ModifyBackend", &running.of(&balancer, &listener, &[weighed]));
    (0..4).for_each(|_| drop(answers(front, &["two"])));
    let farm = running.farmgate.admin_get("/api/v1/farms/shop-web").1;
    assert_eq!(farm["servers"][0]["weight"], 0);

    // The counters are those of the data plane.
    let (from, to) = (farmgate::clock::wall(), farmgate::clock::wall() + std::time::Duration::from_secs(60));
    let second = |at: farmgate::model::Timestamp| format!("{}Z", at.to_string().split_once('.').unwrap().0);
    let from = farmgate::model::Timestamp(from.0 - 60_000_000);
    let asked = json!({"loadBalancerId": balancer, "metricType": "NEW_CONNECTIONS", "startTime": second(from), "endTime": second(to)});
    let seen = running.ok("DescribeLoadBalancerMonitorData", &asked);
    assert!(seen["maxValue"].as_f64().unwrap() > 0.0, "{seen}");

    // A crash loses nothing of it.
    let running = running.again();
    running.wait_for_health(&balancer, &listener, &["Alive", "Alive"]);
    (0..2).for_each(|_| drop(answers(front, &["two"])));
    running.ok("DeregisterBackend", &running.of(&balancer, &listener, &[running.server(1)]));
    assert_eq!(running.health(&balancer, &listener).len(), 1);

    let own = json!({"loadBalancerId": balancer});
    running.ok("TerminateLoadBalancer", &own);
    until("the listener to close", || is_closed(front));
    let listed = running.ok("DescribeLoadBalancers", &json!({"loadBalancerIds": [balancer]}));
    assert_eq!((&listed["totalCount"], &listed["dataSet"]), (&json!(0), &json!([])));
    running.refused("DescribeListeners", &own, 404, "INVALID_LB_NOT_FOUND");
    let running = running.again();
    running.ok("RestoreLoadBalancer", &own);
    running.wait_for_health(&balancer, &listener, &["Alive"]);
    answers(front, &["two"]);

    running.ok("DeleteListener", &json!({"loadBalancerId": balancer, "listenerId": listener}));
    until("the listener to close", || is_closed(front));
    assert_eq!(running.ok("DescribeListeners", &own)["listeners"], json!([]));
    (0..2).for_each(|_| drop(running.ok("TerminateLoadBalancer", &own)));
    running.refused("RestoreLoadBalancer", &own, 404, "INVALID_LB_NOT_FOUND");
    let made = running.farmgate.admin_get("/api/v1/farms").1;
    assert_eq!(made["farms"].as_array().unwrap().len(), 1, "the file's");
}

#[test]
fn health_has_its_four_states_and_each_type_of_check_is_told_again() {
    let running = Running::start();
    let balancer = running.balancer();
    // Who is not heard of within 15 s is not known until then.
    running.origins[2].health(Behaviour::Silent);
    let slow = json!({"checkType": "HTTP_GET", "checkHttpGetUrl": "/healthz", "checkConnTimeout": 15});
    for (name, check, origin, health, details) in [
        ("tcp", json!({"checkType": "TCP", "checkRetry": 1}), 1, "Alive", 1),
        ("silent", slow, 2, "Unknown", 0),
        ("off", json!({"enabled": false}), 1, "Close", 0),
        ("status", json!({"checkType": "HTTP_GET", "checkHttpStatusCode": 404}), 1, "Dead", 1),
    ] {
        let more = json!({"port": running.place().port().to_string(), "healthCheck": check});
        let listener = running.listener(&balancer, name, &more);
        running.ok("RegisterBackend", &running.of(&balancer, &listener, &[running.server(origin)]));
        let rows = running.wait_for_health(&balancer, &listener, &[health]);
        assert_eq!(rows[0]["healthStatusDetail"].as_array().unwrap().len(), details, "{name}");
    }
    let ping = json!({"port": running.place().port().to_string(), "healthCheck": {"checkType": "PING_CHECK", "checkDelayLoop": 30}});
    running.listener(&balancer, "ping", &ping);
    let told = running.ok("DescribeListeners", &json!({"loadBalancerId": balancer}));
    let types: Vec<_> =
        told["listeners"].as_array().unwrap().iter().map(|it| it["healthCheck"]["checkType"].clone()).collect();
    assert_eq!(types, [json!("TCP"), json!("HTTP_GET"), json!(null), json!("HTTP_GET"), json!("PING_CHECK")]);
    assert_eq!(told["listeners"][4]["healthCheck"]["checkDelayLoop"], 30);
}

#[test]
fn backends_follow_a_listener_to_each_of_its_ports() {
    let running = Running::start();
    let balancer = running.balancer();
    let (first, second, third) = (running.place(), running.place(), running.place());
    let other = place().ip();
    let beside = |front: SocketAddr| SocketAddr::new(other, front.port());
    let origins =
        [("first", first), ("second", second), ("third", third)].map(|(name, front)| Origin::at(name, beside(front)));
    let ports = |fronts: &[SocketAddr]| {
        let ports: Vec<_> = fronts.iter().map(|front| front.port().to_string()).collect();
        json!({"port": ports.join(",")})
    };
    let listener = running.listener(&balancer, "web", &ports(&[first, second]));
    running.ok("RegisterBackend", &running.of(&balancer, &listener, &[json!({"privateIpAddress": other})]));
    answers(first, &["first"]);
    answers(second, &["second"]);
    let mut moved = ports(&[second, third]);
    (moved["loadBalancerId"], moved["listenerId"]) = (json!(balancer), json!(listener));
    running.ok("ModifyListener", &moved);
    answers(second, &["second"]);
    answers(third, &["third"]);
    until("the first to close", || is_closed(first));
    // The listener's own frontend takes the place of the other.
    moved["port"] = json!(second.port().to_string());
    running.ok("ModifyListener", &moved);
    answers(second, &["second"]);
    until("the third to close", || is_closed(third));
    let told = running.ok("DescribeBackends", &json!({"loadBalancerId": balancer}));
    let backend = &told["backends"][0];
    assert_eq!((&backend["backendPort"], &backend["listenerPort"]), (&json!(null), &json!(second.port().to_string())));
    drop(origins);
}

#[test]
fn datagrams_reach_the_backends_of_a_udp_listener() {
    let running = Running::start();
    let (balancer, echo) = (running.balancer(), Echo::start("dns"));
    let front = running.place();
    let listener = running.listener(&balancer, "dns", &json!({"protocol": "UDP", "port": front.port().to_string()}));
    let server = json!({"privateIpAddress": "127.0.0.1", "port": echo.addr.port()});
    running.ok("RegisterBackend", &running.of(&balancer, &listener, &[server]));
    assert_eq!(ask(&client(), front, b"hello"), "dns:hello");
    assert_eq!(running.health(&balancer, &listener)[0]["protocol"], "UDP");
}

#[test]
fn port_that_is_taken_or_cannot_be_had_is_refused_by_name() {
    let running = Running::start();
    let balancer = running.balancer();
    let taken = TcpListener::bind((running.address, 0)).unwrap();
    let front = running.place();
    running.listener(&balancer, "web", &json!({"port": front.port().to_string()}));
    let try_port = |port: String, code: &str| {
        let body = json!({"loadBalancerId": balancer, "listenerName": "b", "protocol": "TCP", "scheduler": "wrr", "port": port});
        running.refused("CreateListener", &body, 400, code)
    };
    try_port(taken.local_addr().unwrap().port().to_string(), "INVALID_LISTENER_PORT_CONFLICT");
    try_port(front.port().to_string(), "INVALID_LISTENER_PORT_CONFLICT");
    assert!(try_port("80".to_owned(), "INVALID_PORT_RANGE").contains("api_ports"));
    try_port("2000-2100".to_owned(), "INVALID_PORT_RANGE");
    let left = running.ok("DescribeListeners", &json!({"loadBalancerId": balancer}));
    assert_eq!(left["listeners"].as_array().unwrap().len(), 1);
    let farms = running.farmgate.admin_get("/api/v1/farms").1;
    assert_eq!(farms["farms"].as_array().unwrap().len(), 2, "nothing of what was refused is left");
}

#[test]
fn servers_of_the_file_are_weighed_here_and_others_stand_beside_them() {
    let running = Running::start();
    let of_file = |server: Value| running.of(OF_FILE, "web", &[server]);
    let mut weighed = running.server(0);
    weighed["weight"] = json!(9);
    running.ok("ModifyBackend", &of_file(weighed));
    assert_eq!(running.farmgate.server("a")["weight"], 9);
    running.ok("RegisterBackend", &of_file(running.server(1)));
    running.refused("DeregisterBackend", &of_file(running.server(0)), 409, "OPERATION_DENIED_FILE_MADE");
    let front = running.farmgate.front("web");
    until("the new one to serve", || (answers(front, &["file", "one"]) == "one").then_some(()));
    running.ok("DeregisterBackend", &of_file(running.server(1)));
    let told = running.ok("DescribeBackends", &json!({"loadBalancerId": OF_FILE}));
    assert_eq!(told["backends"].as_array().unwrap().len(), 1);
    // Who only reads only reads.
    let (status, answer) = running.ask(EYE_TOKEN, "RegisterBackend", &of_file(running.server(1)));
    assert_eq!((status, &answer["code"]), (403, &json!("OPERATION_DENIED_ROLE")));
    let log = running.farmgate.log();
    assert!(log.lines().any(|line| line.contains("admin write") && line.contains("RegisterBackend")), "{log}");
}

/// A frontend of the file whose routes lead to several farms: every server of theirs is told, with its own health.
#[test]
fn servers_of_every_farm_that_a_listener_leads_to_are_told() {
    let origins = ["web", "api", "gone"].map(Origin::start);
    let [web, api, gone] = origins.each_ref().map(Origin::addr);
    let probe = "{type: tcp, interval: 200ms, rise: 1, fall: 1}";
    let setup = Setup::http(&[Server::new("one", web, "")])
        .probe(probe)
        .top("service: it")
        .another_farm(&format!("api: {{protocol: http, probe: {probe}, servers: {{one: \"{api}\", two: \"{gone}\"}}}}"))
        .frontend(
            "routes: [{name: api, rules: [{field: uri, match: startswith, pattern: /api}], action: {farm: api}}]",
        );
    let farmgate = Farmgate::start(&setup);
    let [_, _, last] = origins;
    drop(last);
    let ask = |action: &str| {
        let fields = [("X-ZC-Action", action), ("X-ZC-Version", "2025-04-01")];
        let body = json!({"loadBalancerId": OF_FILE}).to_string();
        let answer = farmgate.admin_with("POST", PATH, Some(OPS_TOKEN), &fields, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["response"]["backends"].as_array().unwrap().clone()
    };
    let ports = |rows: &[Value]| rows.iter().map(|row| row["backendPort"].as_u64().unwrap()).collect::<Vec<_>>();
    let wanted: Vec<u64> = [web, api, gone].iter().map(|it| it.port().into()).collect();
    assert_eq!(ports(&ask("DescribeBackends")), wanted);
    until("the health of each", || {
        let rows = ask("DescribeBackendHealth");
        assert_eq!(ports(&rows), wanted);
        let healths: Vec<_> = rows.iter().map(|row| row["healthStatus"].as_str().unwrap()).collect();
        (healths == ["Alive", "Alive", "Dead"]).then_some(())
    });
}
