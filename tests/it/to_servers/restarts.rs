//! Servers that restart while clients ask: they end every connection, refuse for a moment and come back. It costs no GET,
//! and no POST is served twice.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Certified, answer_each};
use crate::harness::{Client, Farmgate, Server, Setup, place, until};

/// Clients at once, each on a connection that it keeps.
const CLIENTS: usize = 4;
/// How many GETs are taken up while both servers are there, and while one is not.
const UP: usize = 120;
const DOWN: usize = 15;
/// Of so many requests one is a POST.
const POST_EVERY: usize = 10;

/// What servers speak.
#[derive(Clone)]
enum Speaks {
    Http1,
    Http2,
    Tls(Arc<ServerConfig>),
}

/// A server that restarts again and again.
struct Restarting {
    addr: SocketAddr,
    speaks: Speaks,
    is_down: AtomicBool,
    restarts: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
    /// How often each target was asked for.
    seen: Mutex<BTreeMap<String, usize>>,
}

impl Restarting {
    fn new(speaks: Speaks) -> Arc<Self> {
        Arc::new(Self {
            addr: place(),
            speaks,
            is_down: AtomicBool::new(true),
            restarts: AtomicUsize::new(0),
            open: Mutex::default(),
            seen: Mutex::default(),
        })
    }

    /// Listens, until [`Self::goes`].
    fn comes(self: &Arc<Self>) {
        let listener = TcpListener::bind(self.addr).unwrap();
        self.is_down.store(false, SeqCst);
        let server = Arc::clone(self);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if server.is_down.load(SeqCst) {
                    return;
                }
                server.open.lock().unwrap().push(stream.try_clone().unwrap());
                let server = Arc::clone(&server);
                thread::spawn(move || server.serve(stream));
            }
        });
    }

    /// Refuses, and ends every connection.
    fn goes(&self) {
        self.is_down.store(true, SeqCst);
        // Wakes the listener, which is gone once that is answered by nobody.
        drop(TcpStream::connect(self.addr));
        while TcpStream::connect(self.addr).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.restarts.fetch_add(1, SeqCst);
    }

    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let saw = |target: &str| *self.seen.lock().unwrap().entry(target.to_owned()).or_default() += 1;
        match &self.speaks {
            Speaks::Http1 => answer_each(&mut { stream }, saw),
            Speaks::Http2 => serve_http2(stream, saw),
            Speaks::Tls(config) => {
                let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream);
                answer_each(&mut tls, saw);
            }
        }
    }
}

fn serve_http2(stream: TcpStream, saw: impl Fn(&str)) {
    stream.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            saw(request.uri().path());
            if let Ok(mut body) = respond.send_response(http::Response::new(()), false) {
                let _ = body.send_data("served".into(), true);
            }
        }
    });
}

/// Has two servers restart by turns while `gets` are asked for; none may fail.
fn restarted(speaks: &Speaks, farm: &str, server: &str, gets: usize) {
    let servers = [Restarting::new(speaks.clone()), Restarting::new(speaks.clone())];
    servers.iter().for_each(Restarting::comes);
    let declared: Vec<_> =
        ["a", "b"].into_iter().zip(&servers).map(|(name, one)| Server::new(name, one.addr, server)).collect();
    let mut setup = Setup::http(&declared);
    if !farm.is_empty() {
        setup = setup.farm(farm);
    }
    let farmgate = Farmgate::start(&setup);
    let (left, posts) = (AtomicUsize::new(gets), AtomicUsize::new(0));
    // Goes by what is asked, not by time: nobody is to meet two restarts because the machine is busy.
    let until_more = |more: usize| {
        let before = left.load(SeqCst);
        until("more to be asked", || (left.load(SeqCst) <= before.saturating_sub(more)).then_some(()));
    };
    let restarting = || {
        for server in servers.iter().cycle() {
            until_more(UP);
            if left.load(SeqCst) == 0 {
                return;
            }
            server.goes();
            until_more(DOWN);
            server.comes();
        }
    };
    let told: Vec<(String, u16)> = thread::scope(|scope| {
        scope.spawn(restarting);
        let ask = || asking(farmgate.front("web"), &left, &posts);
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    servers.iter().for_each(|server| server.goes());

    let restarts: usize = servers.iter().map(|server| server.restarts.load(SeqCst)).sum();
    assert!(restarts > 6, "{restarts} restarts");
    let times = |target: &str| -> usize {
        servers.iter().map(|server| server.seen.lock().unwrap().get(target).copied().unwrap_or(0)).sum()
    };
    for (target, status) in &told {
        let seen = times(target);
        assert!(seen <= 1, "{target} was served {seen} times");
        assert!(*status == 502 || (*status == 200 && seen == 1), "{target}: {status}, served {seen} times");
    }
    let served = told.iter().filter(|(_, status)| *status == 200).count();
    assert!(served > told.len() / 2, "{served} of {} POSTs", told.len());
}

/// Asks until enough GETs were; returns what became of the POSTs between.
fn asking(front: SocketAddr, left: &AtomicUsize, posts: &AtomicUsize) -> Vec<(String, u16)> {
    let mut client = Client::connect(front);
    let mut told = Vec::new();
    let take = || left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
    for n in 1.. {
        if n % POST_EVERY == 0 {
            let target = format!("/order/{}", posts.fetch_add(1, SeqCst));
            let status = client.request("POST", &target, &[], b"one book").status;
            told.push((target, status));
            if status != 200 {
                client = Client::connect(front);
            }
        } else if take() {
            let response = client.get("/page");
            assert_eq!(response.status, 200, "GET {n}: {}", response.text());
        } else {
            break;
        }
    }
    told
}

#[test]
fn servers_that_restart_cost_none_of_ten_thousand_gets() {
    restarted(&Speaks::Http1, "", "probe: false", 10_000);
}

#[test]
fn servers_in_tls_that_restart_cost_no_get() {
    let dir = tempfile::tempdir().unwrap();
    let Certified { config, ca } = Certified::new(dir.path(), "restarts.example");
    let keys = format!("probe: false, tls: {{ca: {}, sni: restarts.example}}", shown(&ca));
    restarted(&Speaks::Tls(config), "", &keys, 3_000);
}

#[test]
fn servers_of_http_2_that_restart_cost_no_get() {
    restarted(&Speaks::Http2, "http2: true", "probe: false", 3_000);
}

fn shown(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}
