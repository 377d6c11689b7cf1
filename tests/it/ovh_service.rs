//! What OVHcloud's shape says of the service itself, with what is kept of it: settings, certificates, quotas, orders.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::acme::Pebble;
use crate::certificates::{connect, get};
use crate::harness::{
    Client, EYE_TOKEN, Farmgate, OPS_TOKEN, Origin, Response, Server, Setup, free_port, place, until,
};

const LB: &str = "/1.0/ipLoadbalancing/it";

struct Running {
    farmgate: Farmgate,
    dir: Arc<tempfile::TempDir>,
    setup: Setup,
    origin: Origin,
}

impl Running {
    fn start() -> Self {
        Self::start_with(|setup, _| setup)
    }

    fn start_with(more: impl FnOnce(Setup, &Arc<tempfile::TempDir>) -> Setup) -> Self {
        let (origin, dir) = (Origin::start("a"), Arc::new(tempfile::tempdir().unwrap()));
        let state = dir.path().join("state");
        let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
            .top("service: {name: it, addresses: [\"0.0.0.0\"], api_ports: \"1024-65535\"}")
            .top(&format!("state_dir: {state:?}"));
        let setup = more(setup, &dir);
        let farmgate = Farmgate::start_in(&dir, &setup, &[]);
        Self { farmgate, dir, setup, origin }
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.farmgate.admin(method, path, Some(OPS_TOKEN), body.as_bytes())
    }

    /// Calls a part of the service; the answer must be 200, as every success of this shape is.
    #[track_caller]
    fn good(&self, method: &str, part: &str, body: &Value) -> Value {
        let response = self.call(method, &format!("{LB}{part}"), body);
        assert_eq!(response.status, 200, "{method} {part}: {}", response.text());
        response.json()
    }

    #[track_caller]
    fn read(&self, part: &str) -> Value {
        self.good("GET", part, &Value::Null)
    }

    #[track_caller]
    fn refused(&self, method: &str, part: &str, body: &Value, status: u16) -> String {
        let response = self.call(method, &format!("{LB}{part}"), body);
        assert_eq!(response.status, status, "{method} {part}: {}", response.text());
        response.json()["message"].as_str().unwrap().to_owned()
    }

    /// Starts another process in the place of this one, which was told to stop or killed.
    fn again(self, is_killed: bool) -> Self {
        let Self { mut farmgate, dir, setup, origin } = self;
        if is_killed {
            farmgate.kill();
        } else {
            farmgate.signal("TERM");
            farmgate.wait();
        }
        drop(farmgate);
        let farmgate = Farmgate::start_in(&dir, &setup, &[]);
        Self { farmgate, dir, setup, origin }
    }

    fn file(&self, id: &Value, part: &str) -> PathBuf {
        self.dir.path().join(format!("state/made/{id}.{part}.pem"))
    }
}

/// What is brought, and the authority that clients trust.
struct Brought {
    body: Value,
    authority: CertificateDer<'static>,
}

fn brought(name: &str) -> Brought {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_after = rcgen::date_time_ymd(2040, 1, 2);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let body = json!({
        "certificate": certificate.pem(), "key": key.serialize_pem(), "chain": authority.pem(), "displayName": "one",
    });
    Brought { body, authority: authority.der().clone() }
}

#[test]
fn settings_of_the_service_are_merged_and_outlive_a_kill() {
    let running = Running::start();
    assert_eq!(running.read("")["displayName"], "it");
    assert_eq!(running.good("PUT", "", &json!({"displayName": "shop", "offer": "x"})), Value::Null);
    running.good("PUT", "", &json!({"sslConfiguration": "modern"}));
    running.good("PUT", "/quota/local", &json!({"alert": 5000}));
    let service = running.read("");
    assert_eq!((&service["displayName"], &service["offer"]), (&json!("shop"), &json!("farmgate")), "read-only stays");
    assert_eq!(service["sslConfiguration"], "modern");
    // The name is live at once, the configuration of TLS waits for the zone like every change of frontends.
    let staged = running.farmgate.admin_get("/api/v1/staged").1;
    assert_eq!(staged["pending"], json!([{"zone": "local", "writes": 1}]), "{staged}");
    let running = running.again(true);
    let service = running.read("");
    assert_eq!((&service["displayName"], &service["sslConfiguration"]), (&json!("shop"), &json!("modern")));
    running.good("PUT", "", &json!({"displayName": null, "sslConfiguration": null}));
    let service = running.read("");
    assert_eq!((&service["displayName"], &service["sslConfiguration"]), (&json!("it"), &Value::Null));
    assert_eq!(running.farmgate.admin_get("/api/v1/staged").1["pending"], json!([]), "what was staged is as it was");
    assert_eq!(running.read("/quota/local")["alert"], 5000);
    running.good("PUT", "/quota/local", &json!({"alert": null}));
    assert_eq!(running.read("/quota/local")["alert"], Value::Null);
    let refused = running.farmgate.admin("PUT", LB, Some(EYE_TOKEN), b"{}");
    assert_eq!((refused.status, &refused.json()["errorCode"]), (403, &json!("FORBIDDEN")));
    assert_eq!(running.read("/serviceInfos")["creation"], "1970-01-01", "no settings make it another");
}

#[test]
fn certificate_that_is_brought_is_shown_to_clients_and_stays_while_a_frontend_names_it() {
    let running = Running::start();
    let Brought { body, authority } = brought("localhost");
    let made = running.good("POST", "/ssl", &body);
    let id = made["id"].clone();
    assert_eq!(
        (&made["type"], &made["displayName"], &made["san"]),
        (&json!("custom"), &json!("one"), &json!(["localhost"]))
    );
    assert_eq!((&made["subject"], &made["expireDate"]), (&json!("CN=localhost"), &json!("2040-01-02T00:00:00.000Z")));
    assert!(made.get("key").is_none() && made.get("certificate").is_none(), "{made}");
    running.good("PUT", &format!("/ssl/{id}"), &json!({"displayName": "two", "serial": "x"}));
    let read = running.read(&format!("/ssl/{id}"));
    assert_eq!((&read["displayName"], &read["serial"]), (&json!("two"), &made["serial"]));
    let (fingerprint, serial) = (made["fingerprint"].as_str().unwrap(), made["serial"].as_str().unwrap());
    for (query, is_there) in [
        ("type=custom".to_owned(), true),
        ("type=built".to_owned(), false),
        (format!("fingerprint={fingerprint}&serial={serial}"), true),
        (format!("fingerprint={}%25", &fingerprint[..5]), true),
        ("serial=nothing".to_owned(), false),
        ("expireDate=2041-01-01".to_owned(), true),
        ("expireDate=2039-01-01".to_owned(), false),
        ("expireDate=2040-01-02T01:00:00%2B02:00".to_owned(), false),
    ] {
        let want = if is_there { json!([id]) } else { json!([]) };
        assert_eq!(running.read(&format!("/ssl?{query}")), want, "{query}");
    }

    let why = running.refused("GET", "/ssl?expireDate=soon", &Value::Null, 400);
    assert!(why.starts_with("expireDate: soon is outside the times"), "{why}");
    let (addr, [cert, key]): (SocketAddr, _) = (place(), ["cert", "key"].map(|part| running.file(&id, part)));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let tls = json!({"certificates": [{"cert": cert, "key": key}], "alpn": ["http/1.1"]});
    let frontend = json!({"name": "secure", "protocol": "http", "listen": [addr], "farm": "web", "tls": tls});
    let answer = running.call("POST", "/api/v1/frontends", &frontend);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let mut stream = connect(addr, "localhost", &authority).unwrap();
    assert!(get(&mut stream).starts_with("HTTP/1.1 200"));

    let why = running.refused("DELETE", &format!("/ssl/{id}"), &Value::Null, 409);
    assert_eq!(why, format!("certificates.ssl-{id}: is used by frontends.secure; change or remove them first"));
    let running = running.again(true);
    assert!(get(&mut connect(addr, "localhost", &authority).unwrap()).starts_with("HTTP/1.1 200"));
    running.call("DELETE", "/api/v1/frontends/secure", &Value::Null);
    assert_eq!(running.good("DELETE", &format!("/ssl/{id}"), &Value::Null), Value::Null);
    assert_eq!((running.read("/ssl"), running.file(&id, "key").exists()), (json!([]), false));
    running.refused("GET", &format!("/ssl/{id}"), &Value::Null, 404);
}

#[test]
fn certificate_that_cannot_be_served_is_refused_and_nothing_is_kept() {
    let running = Running::start();
    let (one, other) = (brought("a.test").body, brought("b.test").body);
    let with = |field: &str, value: &Value| {
        let mut body = one.clone();
        body[field] = value.clone();
        body
    };
    for (body, want) in [
        (with("key", &other["key"]), "key: is not the key of certificate; send the two that belong together"),
        (
            with("chain", &one["certificate"]),
            "chain: certificate 2 did not issue certificate 1; send each behind the one that it issued",
        ),
        (with("certificate", &json!(7)), "certificate: 7 is outside texts"),
    ] {
        assert_eq!(running.refused("POST", "/ssl", &body, 400), want);
    }
    assert_eq!(running.read("/ssl"), json!([]));
    assert!(!running.farmgate.log().contains("PRIVATE KEY"));
}

#[test]
fn quota_counts_what_went_through_and_goes_on_in_the_next_process() {
    let running = Running::start();
    assert_eq!(running.read("/quota"), json!(["local"]));
    let before = running.read("/quota/local")["total"].as_u64().unwrap();
    for _ in 0..5 {
        assert_eq!(Client::connect(running.farmgate.front("web")).request("POST", "/", &[], &[b'x'; 1000]).status, 200);
    }
    let total = until("the bytes to be counted", || {
        let total = running.read("/quota/local")["total"].as_u64().unwrap();
        (total >= before + 5000).then_some(total)
    });
    let running = running.again(false);
    let quota = running.read("/quota/local");
    assert!(quota["total"].as_u64().unwrap() >= total, "{quota}");
    assert!(quota["resetDate"].as_str().unwrap().ends_with("-01T00:00:00.000Z"), "{quota}");
    assert_eq!(running.read("/quotaHistory"), json!([]), "this month is no history");
}

#[test]
fn order_of_a_certificate_without_an_authority_names_the_key_to_set() {
    let running = Running::start();
    let why = running.refused("POST", "/freeCertificate", &json!({"fqdn": ["a.test"]}), 409);
    assert!(why.contains("acme: {terms_agreed: true}"), "{why}");
}

fn task(running: &Running, id: &Value) -> Value {
    until("the task to end", || {
        let (_, task) = running.farmgate.admin_get(&format!("/api/v1/tasks/{id}"));
        (task["status"] == "done" || task["status"] == "error").then_some(task)
    })
}

#[test]
fn order_that_no_authority_fills_ends_in_error_and_leaves_nothing() {
    let running = Running::start_with(|setup, dir| {
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem())
            .unwrap();
        let port = free_port();
        setup.top(&format!("acme: {{directory: \"https://localhost:{port}/dir\", ca: {ca:?}, terms_agreed: true}}"))
    });
    let begun = running.good("POST", "/freeCertificate", &json!({"fqdn": ["a.test"]}));
    assert_eq!((&begun["action"], &begun["zones"]), (&json!("orderFreeCertificate"), &json!(["local"])));
    let ended = task(&running, &begun["id"]);
    assert_eq!(ended["status"], "error", "{ended}");
    assert!(ended["error"].as_str().unwrap().starts_with("a.test: "), "{ended}");
    assert_eq!(running.read("/ssl"), json!([]));
}

#[test]
#[ignore = "needs Debian's pebble: apt-get install pebble, then cargo test --test it ovh_service:: -- --ignored"]
fn order_is_filled_by_an_authority_and_the_certificate_is_there() {
    let mut pebble = None;
    let running = Running::start_with(|setup, dir| {
        let (http, tls) = (free_port(), free_port());
        let started = pebble.insert(Pebble::start(dir.path(), http, tls));
        let (directory, ca) = (&started.directory, dir.path().join("ca.pem"));
        let acme = format!("acme: {{directory: {directory:?}, ca: {ca:?}, challenge: http-01, terms_agreed: true}}");
        setup.frontend(&format!("listen: [\"127.0.0.1:{http}\"]")).top(&acme)
    });
    running.good("POST", "/ssl", &brought("a.test").body);
    let addr = place();
    let frontend = json!({
        "zone": "all", "port": addr.port().to_string(), "dedicatedIpfo": [format!("{}/32", addr.ip())],
        "ssl": true, "redirectLocation": "https://a.test/",
    });
    running.good("POST", "/http/frontend", &frontend);
    refresh(&running);
    let begun = running.good("POST", "/freeCertificate", &json!({"fqdn": ["localhost"]}));
    assert_eq!(task(&running, &begun["id"])["status"], "done");
    assert_eq!(running.read("/pendingChanges")[0]["number"], 1, "the frontend is to show it");
    let all = running.read("/ssl?type=built");
    let one = running.read(&format!("/ssl/{}", all[0]));
    assert_eq!((&one["type"], &one["san"]), (&json!("built"), &json!(["localhost"])));
    assert!(running.file(&all[0], "key").exists());
    let chain = CertificateDer::pem_file_iter(running.file(&all[0], "cert")).unwrap();
    let authority = chain.map(Result::unwrap).last().unwrap();
    assert!(connect(addr, "localhost", &authority).is_err());
    refresh(&running);
    assert!(connect(addr, "localhost", &authority).is_ok());
    let running = running.again(true);
    assert_eq!(running.read("/ssl?type=built"), all);
    assert!(running.origin.addr().port() > 0);
}

/// Refreshes and waits until nothing is staged.
fn refresh(running: &Running) {
    let begun = running.good("POST", "/refresh", &Value::Null);
    let ended = task(running, &begun["id"]);
    assert_eq!(ended["status"], "done", "{ended}");
    assert_eq!(running.read("/pendingChanges"), json!([]));
}

#[test]
fn encrypted_frontends_follow_certificates_and_the_configuration_with_each_refresh() {
    let running = Running::start();
    let (one, two) = (brought("one.test"), brought("two.test"));
    let first = running.good("POST", "/ssl", &one.body)["id"].clone();
    assert_eq!(running.read("/pendingChanges"), json!([]), "nobody shows it yet");
    let farm = running.good("POST", "/http/farm", &json!({"zone": "all", "port": running.origin.addr().port()}));
    let farm = &farm["farmId"];
    let server = json!({"address": running.origin.addr().ip(), "status": "active"});
    running.good("POST", &format!("/http/farm/{farm}/server"), &server);
    let addr = place();
    let frontend = json!({
        "zone": "all", "port": addr.port().to_string(), "dedicatedIpfo": [format!("{}/32", addr.ip())],
        "ssl": true, "defaultFarmId": farm, "defaultSslId": first,
    });
    let frontend = running.good("POST", "/http/frontend", &frontend);
    let path = format!("/http/frontend/{}", frontend["frontendId"]);
    refresh(&running);
    let shows = |name: &str, brought: &Brought| connect(addr, name, &brought.authority).is_ok();
    assert!(shows("one.test", &one) && !shows("two.test", &two));

    // One that comes is shown to who asks for its name, from the next refresh on.
    let second = running.good("POST", "/ssl", &two.body)["id"].clone();
    assert_eq!(running.read("/pendingChanges")[0]["number"], 1);
    assert!(!shows("two.test", &two), "it is staged");
    let read = running.read(&path);
    assert_eq!((&read["ssl"], &read["defaultSslId"]), (&json!(true), &first), "what was written is read");
    refresh(&running);
    assert!(shows("one.test", &one) && shows("two.test", &two));

    // One that is not the default goes with the next refresh, the default does not.
    let why = running.refused("DELETE", &format!("/ssl/{first}"), &Value::Null, 409);
    assert!(why.starts_with(&format!("certificates.ssl-{first}: is used by frontends.")), "{why}");
    running.good("DELETE", &format!("/ssl/{second}"), &Value::Null);
    assert_eq!(running.read("/ssl"), json!([first]));
    assert!(shows("two.test", &two) && running.file(&second, "key").exists(), "it is staged");
    refresh(&running);
    assert!(shows("one.test", &one) && !shows("two.test", &two) && !running.file(&second, "key").exists());

    running.good("PUT", "", &json!({"sslConfiguration": "modern"}));
    refresh(&running);
    assert_eq!(running.read("")["sslConfiguration"], "modern");
    assert!(shows("one.test", &one));
    assert!(!takes_tls_1_2(addr), "modern is TLS 1.3 alone");
    running.good("PUT", "", &json!({"sslConfiguration": null}));
    refresh(&running);
    assert!(takes_tls_1_2(addr));

    // Once the frontend is to go, its certificate may go with the same refresh.
    running.good("DELETE", &path, &Value::Null);
    running.good("DELETE", &format!("/ssl/{first}"), &Value::Null);
    refresh(&running);
    assert_eq!(running.read("/ssl"), json!([]));
    until("the listener to close", || Client::try_connect(addr).is_err().then_some(()));
}

/// Whether a client that knows nothing newer is served.
fn takes_tls_1_2(addr: SocketAddr) -> bool {
    let mut hello = vec![0x16, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3];
    hello.extend([7; 32]);
    // No session; ECDHE with ECDSA and AES-128-GCM; no compression.
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    let extended_secret = [0, 23, 0, 0];
    let length = u8::try_from(groups.len() + signatures.len() + extended_secret.len()).unwrap();
    hello.extend([0, length]);
    hello.extend(groups);
    hello.extend(signatures);
    hello.extend(extended_secret);
    let whole = u8::try_from(hello.len() - 5).unwrap();
    (hello[4], hello[8]) = (whole, whole - 4);
    let mut client = Client::connect(addr);
    client.send(&hello);
    // A handshake record, or an alert.
    client.take(1).unwrap()[0] == 0x16
}
