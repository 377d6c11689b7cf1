//! What one API changes, all of them tell at once: the native one, OVHcloud's shape after a refresh, Zenlayer's, the CLI
//! and the metrics.
//!
//! Nothing here waits for a change to be seen: when its answer is there, and for OVHcloud's shape its task is done, every
//! view is asked once.

use std::net::{IpAddr, SocketAddr, TcpListener};

use serde_json::{Value, json};

use crate::harness::{Client, Farmgate, OPS_TOKEN, Origin, Server, Setup, place, until};

/// How a server is changed.
const OF_NATIVE: &str = "PATCH /farms/shop/servers/one";
const OF_OVH: &str = "PUT /KIND/farm/shop/server/one";

/// Who makes a change.
#[derive(Clone, Copy, Debug)]
enum Api {
    Native,
    Ovh,
    Zenlayer,
}

/// What several views tell of the farm and the frontend `shop`.
#[derive(Clone, Debug)]
enum Field {
    Backup(&'static str),
    Balance,
    /// Whether there is a farm of that name.
    Farm(&'static str),
    /// Whether there is a frontend of that name.
    Frontend(&'static str),
    Port,
    /// The addresses of all servers, in order.
    Servers,
    Status(&'static str),
    Weight(&'static str),
}

/// Whose the farm `shop` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Api,
    File,
}

/// A change and what is seen of it.
struct Change {
    by: Api,
    /// Method and path, or an action; `/KIND/` stands for the protocol.
    says: &'static str,
    body: Value,
    seen: Vec<(Field, Value)>,
}

struct World {
    farmgate: Farmgate,
    origins: [Origin; 4],
    kind: &'static str,
    /// The address of the service, which no other test has.
    address: IpAddr,
}

impl World {
    /// Starts one with a farm and a frontend `shop` whose two servers are up.
    fn start(kind: &'static str, maker: Maker) -> Self {
        let origins = ["one", "two", "three", "four"].map(Origin::start);
        let address = place().ip();
        let [one, two, ..] = origins.each_ref().map(Origin::addr);
        let listen = [SocketAddr::new(address, free_port_of(address))];
        let probe = json!({"type": "tcp", "interval": "10s", "timeout": "10s", "rise": 1});
        let servers = json!({"one": {"address": one, "weight": 3}, "two": {"address": two}});
        let mut farm = json!({"protocol": kind, "probe": probe, "servers": servers});
        let mut frontend = json!({"protocol": kind, "listen": listen, "farm": "shop"});
        let mut setup = Setup::tcp(&[Server::new("a", one, "")])
            .top(&format!("service: {{name: it, addresses: [\"{address}\"], api_ports: \"1024-65535\"}}"))
            .top("state_dir: state");
        if maker == Maker::File {
            setup = setup.another_farm(&format!("shop: {farm}")).another_frontend(&format!("shop: {frontend}"));
        }
        let world = Self { farmgate: Farmgate::start(&setup), origins, kind, address };
        if maker == Maker::Api {
            (farm["name"], frontend["name"]) = ("shop".into(), "shop".into());
            world.write(Api::Native, "POST /farms", &farm);
            world.write(Api::Native, "POST /frontends", &frontend);
        }
        for server in ["one", "two"] {
            until("its first check", || (world.native(server)["state"] == "UP").then_some(()));
        }
        world
    }

    fn free_port(&self) -> u16 {
        free_port_of(self.address)
    }

    /// Makes a change and returns once it is to be seen.
    #[track_caller]
    fn write(&self, by: Api, says: &str, body: &Value) {
        match by {
            Api::Native => drop(self.call("/api/v1", says, body)),
            Api::Ovh => {
                let base = "/1.0/ipLoadbalancing/it";
                self.call(base, says, body);
                let task = self.call(base, "POST /refresh", &Value::Null);
                until("the task to end", || {
                    let task = self.call(base, &format!("GET /task/{}", task["id"]), &Value::Null);
                    assert_ne!(task["status"], "error", "{says}: {task}");
                    (task["status"] == "done").then_some(())
                });
            }
            Api::Zenlayer => drop(self.zenlayer(says, body)),
        }
    }

    #[track_caller]
    fn call(&self, base: &str, says: &str, body: &Value) -> Value {
        let (method, path) = says.split_once(' ').unwrap();
        let path = format!("{base}{}", path.replace("KIND", self.kind));
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.farmgate.admin(method, &path, Some(OPS_TOKEN), text.as_bytes());
        let told = response.text();
        assert!((200..300).contains(&response.status), "{says} {body}: {} {told}", response.status);
        if told.trim().is_empty() { Value::Null } else { response.json() }
    }

    #[track_caller]
    fn zenlayer(&self, action: &str, body: &Value) -> Value {
        let mut body = body.clone();
        body["loadBalancerId"] = json!("it");
        let fields = [("X-ZC-Action", action), ("X-ZC-Version", "2025-04-01")];
        let text = body.to_string();
        let response = self.farmgate.admin_with("POST", "/api/v2/zlb", Some(OPS_TOKEN), &fields, text.as_bytes());
        assert_eq!(response.status, 200, "{action} {body}: {}", response.text());
        response.json()["response"].take()
    }

    fn native(&self, server: &str) -> Value {
        self.call("/api/v1", &format!("GET /farms/shop/servers/{server}"), &Value::Null)
    }

    fn ovh(&self, path: &str) -> Value {
        self.call("/1.0/ipLoadbalancing/it", &format!("GET {path}"), &Value::Null)
    }

    /// What `farmgate status` knows of an object.
    fn cli(&self, kind: &str, name: &str) -> Option<Value> {
        let ended = self.farmgate.cli(&["status", "--json"]);
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        named(&serde_json::from_str::<Value>(&ended.text).unwrap()[kind], "name", name)
    }

    /// What an action tells of the listener `shop`.
    fn backends(&self, action: &str) -> Vec<Value> {
        let told = self.zenlayer(action, &json!({"listenerId": "shop"}));
        told["backends"].as_array().unwrap().clone()
    }

    fn listener(&self, name: &str) -> Option<Value> {
        named(&self.zenlayer("DescribeListeners", &json!({}))["listeners"], "listenerName", name)
    }

    fn metric(&self, name: &str, labels: &[String]) -> Option<f64> {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        self.farmgate.metric(name, &labels)
    }

    /// What each view that knows of it tells, in the native API's words.
    fn views(&self, field: &Field) -> Vec<(&'static str, Value)> {
        match field {
            Field::Backup(server) => self.backup(server),
            Field::Balance => self.balance(),
            Field::Farm(name) => self.farm(name),
            Field::Frontend(name) => self.frontend(name),
            Field::Port => self.port(),
            Field::Servers => self.servers(),
            Field::Status(server) => self.status(server),
            Field::Weight(server) => self.weight(server),
        }
    }

    fn backup(&self, server: &str) -> Vec<(&'static str, Value)> {
        vec![
            ("native", self.native(server)["backup"].clone()),
            ("ovh", self.ovh(&format!("/KIND/farm/shop/server/{server}"))["backup"].clone()),
            ("cli", self.cli_server(server)["backup"].clone()),
        ]
    }

    fn balance(&self) -> Vec<(&'static str, Value)> {
        let scheduler = match self.listener("shop").unwrap()["scheduler"].as_str().unwrap() {
            "wrr" => "roundrobin".to_owned(),
            "wlc" => "leastconn".to_owned(),
            "sh" => "source".to_owned(),
            other => other.to_owned(),
        };
        vec![
            ("native", self.call("/api/v1", "GET /farms/shop", &Value::Null)["balance"].clone()),
            ("ovh", self.ovh("/KIND/farm/shop")["balance"].clone()),
            ("zenlayer", scheduler.into()),
            ("cli", self.cli("farms", "shop").unwrap()["balance"].clone()),
        ]
    }

    fn farm(&self, name: &str) -> Vec<(&'static str, Value)> {
        let native = self.call("/api/v1", "GET /farms", &Value::Null);
        let ovh = |path: &str| {
            self.farmgate.admin_get(&format!("/1.0/ipLoadbalancing/it/{}", path.replace("KIND", self.kind)))
        };
        let id = named(&native["farms"], "name", name).map(|farm| farm["id"].clone());
        vec![
            ("native", id.is_some().into()),
            ("ovh", (ovh(&format!("KIND/farm/{name}")).0 == 200).into()),
            ("ovh, all", id.is_some_and(|id| has(&ovh("definedFarms").1, "id", &id)).into()),
            ("cli", self.cli("farms", name).is_some().into()),
            ("metrics", self.metric("farmgate_farm_serving", &[format!("farm=\"{name}\"")]).is_some().into()),
        ]
    }

    fn frontend(&self, name: &str) -> Vec<(&'static str, Value)> {
        let native = self.call("/api/v1", "GET /frontends", &Value::Null);
        let ovh = |path: &str| {
            self.farmgate.admin_get(&format!("/1.0/ipLoadbalancing/it/{}", path.replace("KIND", self.kind)))
        };
        let id = named(&native["frontends"], "name", name).map(|frontend| frontend["id"].clone());
        let open = self.metric("farmgate_frontend_connections_open", &[format!("frontend=\"{name}\"")]);
        vec![
            ("native", id.is_some().into()),
            ("ovh", (ovh(&format!("KIND/frontend/{name}")).0 == 200).into()),
            ("ovh, all", id.is_some_and(|id| has(&ovh("definedFrontends").1, "id", &id)).into()),
            ("zenlayer", self.listener(name).is_some().into()),
            ("cli", self.cli("frontends", name).is_some().into()),
            ("metrics", open.is_some().into()),
        ]
    }

    fn port(&self) -> Vec<(&'static str, Value)> {
        let of = |frontend: &Value| last_part(&frontend["listen"][0]);
        let native = self.call("/api/v1", "GET /frontends/shop", &Value::Null);
        let port = of(&native);
        let at = SocketAddr::new(self.address, port.as_str().unwrap().parse().unwrap());
        vec![
            ("native", port.clone()),
            ("ovh", self.ovh("/KIND/frontend/shop")["port"].clone()),
            ("zenlayer", self.listener("shop").unwrap()["port"].clone()),
            ("zenlayer, backends", self.backends("DescribeBackends")[0]["listenerPort"].clone()),
            ("cli", of(&self.cli("frontends", "shop").unwrap())),
            ("traffic", if Client::connect(at).get("/").status == 200 { port } else { Value::Null }),
        ]
    }

    fn servers(&self) -> Vec<(&'static str, Value)> {
        let native = self.call("/api/v1", "GET /farms/shop", &Value::Null);
        let farm = |farm: &Value| texts(farm["servers"].as_array().unwrap().iter().map(|it| it["address"].clone()));
        let ids = self.ovh("/KIND/farm/shop/server");
        let ovh = ids.as_array().unwrap().iter().map(|id| self.ovh(&format!("/KIND/farm/shop/server/{id}")));
        let zenlayer =
            |action| texts(self.backends(action).iter().map(|it| joined(it, "privateIpAddress", "backendPort")));
        let count = self.call("/api/v1", "GET /farms/shop", &Value::Null)["servers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| {
                let labels = ["farm=\"shop\"".to_owned(), format!("server={}", it["name"])];
                self.metric("farmgate_server_up", &labels).is_some()
            })
            .map(|it| it["address"].clone())
            .collect::<Vec<_>>();
        vec![
            ("native", farm(&native)),
            ("ovh", texts(ovh.map(|it| joined(&it, "address", "port")))),
            ("zenlayer", zenlayer("DescribeBackends")),
            ("zenlayer, health", zenlayer("DescribeBackendHealth")),
            ("cli", farm(&self.cli("farms", "shop").unwrap())),
            ("metrics", texts(count.into_iter())),
        ]
    }

    fn status(&self, server: &str) -> Vec<(&'static str, Value)> {
        let ovh = self.ovh(&format!("/KIND/farm/shop/server/{server}"));
        let of_ovh = match (ovh["status"].as_str().unwrap(), ovh["serverState"][0]["status"].as_str().unwrap()) {
            ("active", "UP") => "active".to_owned(),
            ("inactive", "DRAIN") => "drain".to_owned(),
            ("inactive", "MAINT") => "maintenance".to_owned(),
            (status, state) => format!("{status}, {state}"),
        };
        let metric = ["active", "drain", "maintenance"].into_iter().filter(|status| {
            let labels = ["farm=\"shop\"".to_owned(), format!("server=\"{server}\""), format!("status=\"{status}\"")];
            self.metric("farmgate_server_admin_status", &labels).is_some_and(|is| is > 0.5)
        });
        vec![
            ("native", self.native(server)["admin"].clone()),
            ("ovh", of_ovh.into()),
            ("cli", self.cli_server(server)["admin"].clone()),
            ("metrics", metric.collect::<Vec<_>>().join(", ").into()),
        ]
    }

    fn weight(&self, server: &str) -> Vec<(&'static str, Value)> {
        let native = self.native(server);
        let is_it = |it: &&Value| joined(it, "privateIpAddress", "backendPort") == native["address"];
        let zenlayer = |action| self.backends(action).iter().find(is_it).map_or(Value::Null, |it| it["weight"].clone());
        let labels = ["farm=\"shop\"".to_owned(), format!("server=\"{server}\"")];
        #[expect(clippy::cast_possible_truncation, reason = "a weight is a whole number")]
        let metric = self.metric("farmgate_server_weight", &labels).map(|weight| weight as i64);
        vec![
            ("native", native["weight"].clone()),
            ("ovh", self.ovh(&format!("/KIND/farm/shop/server/{server}"))["weight"].clone()),
            ("zenlayer", zenlayer("DescribeBackends")),
            ("zenlayer, health", zenlayer("DescribeBackendHealth")),
            ("cli", self.cli_server(server)["weight"].clone()),
            ("metrics", metric.into()),
        ]
    }

    fn cli_server(&self, server: &str) -> Value {
        named(&self.cli("farms", "shop").unwrap()["servers"], "name", server).unwrap()
    }

    /// Makes each change in turn; every view tells it.
    #[track_caller]
    fn agrees_on(&self, changes: Vec<Change>) {
        for Change { by, says, body, seen } in changes {
            for (field, want) in &seen {
                let before = self.views(field);
                assert!(before.iter().all(|(_, is)| is != want), "{says} {body}: {field:?} is so already: {before:?}");
            }
            self.write(by, says, &body);
            for (field, want) in seen {
                let views = self.views(&field);
                assert!(
                    views.iter().all(|(_, is)| *is == want),
                    "{by:?} {says} {body}: {field:?} is {want}, not {views:#?}"
                );
            }
        }
    }
}

/// A port of that address where nobody listens.
fn free_port_of(address: IpAddr) -> u16 {
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port()
}

fn change(by: Api, says: &'static str, body: Value, field: Field, want: impl Into<Value>) -> Change {
    Change { by, says, body, seen: vec![(field, want.into())] }
}

fn named(list: &Value, key: &str, name: &str) -> Option<Value> {
    list.as_array().unwrap().iter().find(|it| it[key] == name).cloned()
}

fn has(list: &Value, key: &str, value: &Value) -> bool {
    list.as_array().unwrap().iter().any(|it| it[key] == *value)
}

fn joined(of: &Value, address: &str, port: &str) -> Value {
    format!("{}:{}", of[address].as_str().unwrap(), of[port]).into()
}

fn last_part(address: &Value) -> Value {
    address.as_str().unwrap().rsplit(':').next().unwrap().into()
}

/// Returns them in order.
fn texts(all: impl Iterator<Item = Value>) -> Value {
    let mut all: Vec<String> = all.map(|it| it.as_str().unwrap().to_owned()).collect();
    all.sort();
    all.into()
}

#[test]
fn field_of_a_server_that_one_api_changes_is_told_by_all_at_once() {
    use Api::{Native, Ovh};
    use Field::Backup;
    for kind in ["tcp", "http"] {
        let world = World::start(kind, Maker::Api);
        world.agrees_on(weights_and_statuses(&world));
        world.agrees_on(vec![
            change(Ovh, OF_OVH, json!({"backup": true}), Backup("one"), true),
            change(Native, OF_NATIVE, json!({"backup": false}), Backup("one"), false),
        ]);
    }
}

#[test]
fn field_of_a_server_of_the_file_that_one_api_overrides_is_told_by_all_at_once() {
    for kind in ["tcp", "http"] {
        let world = World::start(kind, Maker::File);
        world.agrees_on(weights_and_statuses(&world));
    }
}

fn weights_and_statuses(world: &World) -> Vec<Change> {
    use Api::{Native, Ovh, Zenlayer};
    use Field::{Status, Weight};
    let one = world.origins[0].addr();
    let weighed = |weight| {
        let server = json!({"privateIpAddress": one.ip(), "port": one.port(), "weight": weight});
        json!({"listenerId": "shop", "backendServers": [server]})
    };
    vec![
        change(Native, OF_NATIVE, json!({"weight": 9}), Weight("one"), 9),
        change(Ovh, OF_OVH, json!({"weight": 8}), Weight("one"), 8),
        change(Zenlayer, "ModifyBackend", weighed(7), Weight("one"), 7),
        change(Native, "PUT /farms/shop/servers/one/weight", json!({"weight": 6}), Weight("one"), 6),
        change(Ovh, OF_OVH, json!({"weight": 0}), Weight("one"), 0),
        change(Zenlayer, "ModifyBackend", weighed(100), Weight("one"), 100),
        change(Native, OF_NATIVE, json!({"status": "drain"}), Status("one"), "drain"),
        change(Native, OF_NATIVE, json!({"status": "active"}), Status("one"), "active"),
        change(Ovh, OF_OVH, json!({"status": "inactive"}), Status("one"), "maintenance"),
        change(Ovh, OF_OVH, json!({"status": "active"}), Status("one"), "active"),
        change(Native, "POST /farms/shop/servers/one/maintenance", json!({}), Status("one"), "maintenance"),
        change(Ovh, OF_OVH, json!({"status": "active"}), Status("one"), "active"),
        change(Native, "POST /farms/shop/servers/one/drain", json!({}), Status("one"), "drain"),
        change(Ovh, OF_OVH, json!({"status": "active"}), Status("one"), "active"),
    ]
}

#[test]
fn servers_balance_and_port_that_one_api_changes_are_told_by_all_at_once() {
    use Api::{Native, Ovh, Zenlayer};
    use Field::{Balance, Port, Servers};
    const LISTENER: &str = "ModifyListener";
    for kind in ["tcp", "http"] {
        let world = World::start(kind, Maker::Api);
        let [one, two, three, four] = world.origins.each_ref().map(Origin::addr);
        let of = |servers: &[SocketAddr]| texts(servers.iter().map(|it| it.to_string().into()));
        let named = |addr: SocketAddr| json!({"listenerId": "shop", "backendServers": [{"privateIpAddress": addr.ip(), "port": addr.port()}]});
        let port = || world.free_port();
        let (first, second, third) = (port(), port(), port());
        let own = |more: &str, value: Value| json!({"listenerId": "shop", more: value});
        let made = json!({"address": four.ip(), "port": four.port(), "status": "active", "displayName": "four"});
        let native = "PATCH /farms/shop/servers/one";
        let listen = [SocketAddr::new(world.address, first)];
        world.agrees_on(vec![
            change(Native, native, json!({"address": three}), Servers, of(&[three, two])),
            change(Ovh, "PUT /KIND/farm/shop/server/one", json!({"port": one.port()}), Servers, of(&[one, two])),
            change(Zenlayer, "RegisterBackend", named(three), Servers, of(&[one, two, three])),
            change(Ovh, "POST /KIND/farm/shop/server", made, Servers, of(&[one, two, three, four])),
            change(Native, "DELETE /farms/shop/servers/two", Value::Null, Servers, of(&[one, three, four])),
            change(Zenlayer, "DeregisterBackend", named(four), Servers, of(&[one, three])),
            change(
                Native,
                "POST /farms/shop/servers",
                json!({"name": "two", "address": two}),
                Servers,
                of(&[one, two, three]),
            ),
            change(Ovh, "DELETE /KIND/farm/shop/server/two", Value::Null, Servers, of(&[one, three])),
            change(Native, "PATCH /farms/shop", json!({"balance": "leastconn"}), Balance, "leastconn"),
            change(Ovh, "PUT /KIND/farm/shop", json!({"balance": "source"}), Balance, "source"),
            change(Zenlayer, LISTENER, own("scheduler", "wrr".into()), Balance, "roundrobin"),
            change(Native, "PATCH /frontends/shop", json!({"listen": listen}), Port, first.to_string()),
            change(Ovh, "PUT /KIND/frontend/shop", json!({"port": second.to_string()}), Port, second.to_string()),
            change(Zenlayer, LISTENER, own("port", third.to_string().into()), Port, third.to_string()),
        ]);
    }
}

#[test]
fn farm_and_frontend_that_one_api_makes_and_another_removes_are_told_by_all_at_once() {
    use Api::{Native, Ovh, Zenlayer};
    use Field::{Farm, Frontend};
    let world = World::start("tcp", Maker::Api);
    let port = || world.free_port();
    let listen = [SocketAddr::new(world.address, port())];
    let native = json!({"name": "native", "protocol": "tcp", "listen": listen, "farm": "native"});
    let zenlayer = json!({"listenerName": "zen", "protocol": "TCP", "scheduler": "wrr", "port": port().to_string()});
    let farm = json!({"name": "native", "protocol": "tcp", "servers": {}});
    world.agrees_on(vec![
        change(Native, "POST /farms", farm, Farm("native"), true),
        change(Native, "POST /frontends", native, Frontend("native"), true),
        change(Ovh, "POST /KIND/farm", json!({"zone": "all", "displayName": "ovh"}), Farm("ovh"), true),
    ]);
    let farm = world.ovh("/KIND/farm/ovh")["farmId"].clone();
    let ovh = json!({"zone": "all", "port": port().to_string(), "displayName": "ovh", "defaultFarmId": farm});
    world.agrees_on(vec![
        change(Ovh, "POST /KIND/frontend", ovh, Frontend("ovh"), true),
        Change {
            by: Zenlayer,
            says: "CreateListener",
            body: zenlayer,
            seen: vec![(Frontend("zen"), true.into()), (Farm("zen"), true.into())],
        },
        change(Ovh, "DELETE /KIND/frontend/native", Value::Null, Frontend("native"), false),
        change(Ovh, "DELETE /KIND/farm/native", Value::Null, Farm("native"), false),
        change(Zenlayer, "DeleteListener", json!({"listenerId": "ovh"}), Frontend("ovh"), false),
        change(Native, "DELETE /farms/ovh", Value::Null, Farm("ovh"), false),
        change(Native, "DELETE /frontends/zen", Value::Null, Frontend("zen"), false),
        change(Native, "DELETE /farms/zen", Value::Null, Farm("zen"), false),
    ]);
}
