//! Clients that ask without a pause, in the background, and note everything that goes wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;

use super::client::Client;
use super::wait::until;

/// Requests of one connection, after which a new one is made.
const REQUESTS_A_CONNECTION: usize = 50;

/// A load under way.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Starts one client for each method.
    pub(crate) fn start(front: SocketAddr, methods: &[&'static str]) -> Self {
        let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |method: &&'static str| {
            let (is_over, served, method) = (Arc::clone(&is_over), Arc::clone(&served), *method);
            std::thread::spawn(move || ask(front, method, &is_over, &served))
        };
        let clients = methods.iter().map(client).collect();
        Self { is_over, served, clients }
    }

    /// How many requests were answered 200.
    pub(crate) fn served(&self) -> usize {
        self.served.load(SeqCst)
    }

    /// Waits until so many more were.
    #[track_caller]
    pub(crate) fn wait_for_more(&self, n: usize) {
        let so_far = self.served();
        until("more requests to be served", || (self.served() >= so_far + n).then_some(()));
    }

    /// Ends the load and returns what went wrong.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.is_over.store(true, SeqCst);
        self.clients.drain(..).flat_map(|client| client.join().unwrap()).collect()
    }

    /// Ends the load; nothing may have gone wrong.
    #[track_caller]
    pub(crate) fn finish_without_failure(self) {
        let served = Arc::clone(&self.served);
        let failures = self.finish();
        assert!(failures.is_empty(), "{} failed, {} served: {failures:#?}", failures.len(), served.load(SeqCst));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
    }
}

fn ask(front: SocketAddr, method: &str, is_over: &AtomicBool, served: &AtomicUsize) -> Vec<String> {
    let body: &[u8] = if method == "POST" { b"body" } else { b"" };
    let mut failures = Vec::new();
    let mut count = 0;
    let mut client = None;
    while !is_over.load(SeqCst) {
        count += 1;
        let outcome = match client.take().map_or_else(|| Client::try_connect(front), Ok) {
            Ok(mut open) => {
                let answer = open.try_request(method, "/", &[], body);
                client = Some(open).filter(|_| count % REQUESTS_A_CONNECTION != 0);
                answer.map_err(|fault| format!("{fault:?}"))
            }
            Err(error) => Err(format!("no connection: {error}")),
        };
        match outcome {
            Ok(response) if response.status == 200 => {
                served.fetch_add(1, SeqCst);
            }
            Ok(response) => failures.push(format!("{method} {count}: {} {}", response.status, response.text())),
            Err(why) => failures.push(format!("{method} {count}: {why}")),
        }
        if failures.len() > 20 {
            break;
        }
        if failures.last().is_some_and(|last| last.starts_with(&format!("{method} {count}:"))) {
            client = None;
        }
    }
    failures
}
