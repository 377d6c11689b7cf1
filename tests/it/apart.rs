//! The admin side is never reached through a listener of the data plane: not by what a request says it is for, not by a
//! server that is where the admin side listens, and not by a name that leads there.

use serde_json::{Value, json};

use crate::harness::{Client, Farmgate, OPS_TOKEN, Origin, Server, Setup, place, run_to_end, until};

fn running() -> (Origin, Farmgate) {
    let origin = Origin::start("a");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .top("service: {name: it, addresses: [\"0.0.0.0\"], api_ports: \"1024-65535\"}");
    let farmgate = Farmgate::start(&setup);
    (origin, farmgate)
}

#[test]
fn request_that_says_it_is_for_the_admin_side_goes_to_the_farm_or_nowhere() {
    let (origin, farmgate) = running();
    let admin = farmgate.admin_addr();
    let token = format!("Authorization: Bearer {OPS_TOKEN}\r\n");
    for (line, fields) in [
        ("GET /api/v1/status HTTP/1.1", format!("Host: {admin}\r\n")),
        (&format!("GET http://{admin}/api/v1/status HTTP/1.1"), format!("Host: {admin}\r\n")),
        (&format!("GET http://{admin}/api/v1/status HTTP/1.1"), "Host: test.example\r\n".to_owned()),
        (&format!("CONNECT {admin} HTTP/1.1"), format!("Host: {admin}\r\n")),
        (
            "GET /api/v1/status HTTP/1.1",
            format!("Host: test.example\r\nX-Forwarded-Host: {admin}\r\nForwarded: host={admin}\r\n"),
        ),
        (&format!("GET //{admin}/api/v1/status HTTP/1.1"), "Host: test.example\r\n".to_owned()),
        (&format!("GET /@{admin}/api/v1/status HTTP/1.1"), "Host: test.example\r\n".to_owned()),
        (
            "POST /api/v1/farms/web/servers/a/maintenance HTTP/1.1",
            "Host: test.example\r\nContent-Length: 0\r\n".to_owned(),
        ),
    ] {
        let mut client = farmgate.client();
        client.send(format!("{line}\r\n{fields}{token}Connection: close\r\n\r\n"));
        let answer = client.try_response_to("GET");
        match answer {
            Ok(answer) if answer.status == 200 => assert_eq!(answer.origin(), "a", "{line}"),
            Ok(answer) => assert!((400..600).contains(&answer.status), "{line}: {}", answer.status),
            Err(fault) => panic!("{line}: {fault:?}"),
        }
    }
    // Nothing of it was done.
    assert_eq!(farmgate.server("a")["admin"], "active");
    drop(origin);
}

#[test]
fn server_where_the_admin_side_listens_is_refused_however_it_is_declared() {
    let (_origin, farmgate) = running();
    let port = farmgate.admin_addr().port();
    let call = |method: &str, path: &str, body: &Value| {
        farmgate.admin(method, path, Some(OPS_TOKEN), body.to_string().as_bytes())
    };
    for address in [format!("127.0.0.1:{port}"), format!("[::ffff:127.0.0.1]:{port}"), format!("0.0.0.0:{port}")] {
        let farm = json!({"name": "own", "protocol": "tcp", "servers": {"x": address}});
        for path in ["/api/v1/farms", "/api/v1/farms?stage=local"] {
            let reply = call("POST", path, &farm);
            assert_eq!((reply.status, &reply.json()["error"]["code"]), (422, &"invalid".into()), "{}", reply.text());
            let told = reply.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(told.starts_with("farms.own.servers.x.address: ") && told.contains("admin side listens"), "{told}");
        }
        let server = json!({"name": "x", "address": address});
        assert_eq!(call("POST", "/api/v1/farms/web/servers", &server).status, 422);
    }
    assert_eq!(farmgate.admin_get("/api/v1/farms").1["farms"].as_array().unwrap().len(), 1);
    // A reload is refused with the same words.
    let setup = Setup::http(&[Server::at("own", &format!("127.0.0.1:{port}"), "")])
        .admin_listen(&farmgate.admin_addr().to_string());
    let reply = farmgate.reload(&setup.yaml());
    assert!(reply.status == 422 && reply.text().contains("farms.web.servers.own.address"), "{}", reply.text());
}

#[test]
fn process_whose_file_leads_to_its_own_admin_side_does_not_start() {
    let admin = place();
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::http(&[Server::new("own", admin, "")]).admin_listen(&admin.to_string());
    std::fs::write(dir.path().join("own.yaml"), setup.yaml()).unwrap();
    let ended = run_to_end(dir.path(), &["run", "-c", "own.yaml"], &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert!(
        ended.text.contains("farms.web.servers.own.address") && ended.text.contains("admin side"),
        "{}",
        ended.text
    );
}

#[test]
fn name_that_leads_to_the_admin_side_leads_nowhere() {
    let (_origin, farmgate) = running();
    let port = farmgate.admin_addr().port();
    let farm = json!({"name": "own", "protocol": "http", "servers": {"x": format!("localhost:{port}")}});
    let front = place();
    farmgate.operate("POST", "/api/v1/farms", &farm.to_string());
    let frontend = json!({"name": "own", "protocol": "http", "listen": [front], "farm": "own"});
    farmgate.operate("POST", "/api/v1/frontends", &frontend.to_string());
    until("the name to be looked up", || farmgate.log().contains("leads to the admin side").then_some(()));
    let bearer = format!("Bearer {OPS_TOKEN}");
    let answer = Client::connect(front).request("GET", "/api/v1/status", &[("Authorization", &bearer)], b"");
    assert_eq!(answer.status, 503, "{}", answer.text());
}
