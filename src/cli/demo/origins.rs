//! The demo's three origins, on one thread of their own.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::runtime::{Builder, Runtime};

/// How long the slow origin takes.
const SLOWNESS: Duration = Duration::from_millis(300);
/// The flapping origin's rhythm.
const WELL: Duration = Duration::from_secs(12);
const ILL: Duration = Duration::from_secs(8);

/// The running origins; they end with it.
pub(super) struct Origins {
    runtime: Runtime,
    addresses: [SocketAddr; 3],
    is_ill: Arc<AtomicBool>,
}

impl Origins {
    /// Starts them on ports that the system chooses.
    pub(super) fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("origins").enable_all().build()?;
        let is_ill = Arc::new(AtomicBool::new(false));
        let never = Arc::new(AtomicBool::new(false));
        let addresses = [
            serve(&runtime, "steady", Duration::ZERO, &never)?,
            serve(&runtime, "flapping", Duration::ZERO, &is_ill)?,
            serve(&runtime, "slow", SLOWNESS, &never)?,
        ];
        Ok(Self { runtime, addresses, is_ill })
    }

    /// Returns where steady, flapping and slow are.
    pub(super) fn addresses(&self) -> [SocketAddr; 3] {
        self.addresses
    }

    /// Returns what makes the flapping origin fail its checks.
    pub(super) fn flapping(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_ill)
    }

    /// Lets it flap by itself.
    pub(super) fn flap(&self) {
        let is_ill = self.flapping();
        self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(WELL).await;
                is_ill.store(true, Relaxed);
                tokio::time::sleep(ILL).await;
                is_ill.store(false, Relaxed);
            }
        });
    }
}

fn serve(
    runtime: &Runtime,
    name: &'static str,
    takes: Duration,
    is_ill: &Arc<AtomicBool>,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let is_ill = Arc::clone(is_ill);
    let health = move || async move {
        if is_ill.load(Relaxed) {
            (StatusCode::SERVICE_UNAVAILABLE, "database connection lost\n")
        } else {
            (StatusCode::OK, "fine\n")
        }
    };
    let hello = move || async move {
        tokio::time::sleep(takes).await;
        ([("X-Origin", name)], format!("hello from {name}\n"))
    };
    let router = Router::new().route("/healthz", get(health)).fallback(hello);
    let _entered = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    runtime.spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
