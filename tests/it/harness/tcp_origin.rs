//! A scripted origin for raw TCP.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// How long a connection may be silent before its thread gives up.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// What a TCP origin does with a connection. Every kind begins by sending its name and a line end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TcpBehaviour {
    /// Sends back what comes; ends when the client does.
    Echo,
    /// Reads to the client's end, then sends the number of bytes read, and ends.
    CountThenAnswer,
    /// Ends at once after the name.
    CloseFirst,
}

/// A running TCP origin; stops accepting when dropped.
pub(crate) struct TcpOrigin {
    addr: SocketAddr,
    is_over: Arc<AtomicBool>,
    /// Connections on which at least one byte came (a check sends none).
    spoken: Arc<AtomicUsize>,
}

impl TcpOrigin {
    /// Starts one on a port of the system's choice.
    pub(crate) fn start(name: &'static str, behaviour: TcpBehaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (is_over, spoken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (over, counter) = (Arc::clone(&is_over), Arc::clone(&spoken));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if over.load(SeqCst) {
                    return;
                }
                let counter = Arc::clone(&counter);
                std::thread::spawn(move || serve(stream, name, behaviour, &counter));
            }
        });
        Self { addr, is_over, spoken }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections on which at least one byte came.
    pub(crate) fn spoken(&self) -> usize {
        self.spoken.load(SeqCst)
    }
}

impl Drop for TcpOrigin {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        drop(TcpStream::connect(self.addr));
    }
}

fn serve(mut stream: TcpStream, name: &str, behaviour: TcpBehaviour, spoken: &AtomicUsize) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(SILENCE_MAX));
    let _ = stream.write_all(format!("{name}\n").as_bytes());
    let mut chunk = vec![0; 64 * 1024];
    let mut total = 0_usize;
    if matches!(behaviour, TcpBehaviour::CloseFirst) {
        return;
    }
    loop {
        let Ok(n) = stream.read(&mut chunk) else { return };
        if n == 0 {
            break;
        }
        if total == 0 {
            spoken.fetch_add(1, SeqCst);
        }
        total += n;
        if matches!(behaviour, TcpBehaviour::Echo) && stream.write_all(&chunk[..n]).is_err() {
            return;
        }
    }
    if matches!(behaviour, TcpBehaviour::CountThenAnswer) {
        let _ = stream.write_all(total.to_string().as_bytes());
    }
    let _ = stream.shutdown(Shutdown::Write);
}
