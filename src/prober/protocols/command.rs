//! The command probe: a program of the operator's, whose exit status is the verdict.
//!
//! No shell. The program leads a process group of its own, reads nothing, and is given an empty environment but for
//! PATH, FARMGATE_ADDRESS and FARMGATE_PORT. Whatever it writes is taken, so that it never waits for us, and the first
//! [`EVIDENCE_BYTES_MAX`] bytes are kept. When it has ended, at the deadline, and when the check is dropped, the whole
//! group is killed before its leader is reaped: as long as that is not done the group's number is nobody else's.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{timeout, timeout_at};

use crate::model::check::EVIDENCE_BYTES_MAX;
use crate::model::probe::CommandProbe;
use crate::model::{CheckStatus, Content, PeerAddr};

use super::super::check::{Deadline, Finding};
use super::super::failure::errno_text;

/// Where programs are looked for that the program starts, when we have no PATH ourselves.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const READ_BYTES: usize = 4096;
/// Reads that are made, without waiting, of what is left when the program has ended.
const LAST_READS_MAX: usize = 16;
/// How long a program that was killed is waited for.
const REAP_TIME_MAX: Duration = Duration::from_millis(100);

pub(super) async fn run(probe: &CommandProbe, addr: &PeerAddr, deadline: Deadline) -> Finding {
    match start(probe, addr) {
        Ok(mut program) => {
            let verdict = follow(&mut program, deadline).await;
            let output = std::mem::take(&mut program.output);
            Finding { received: Some(output.into()), ..verdict }
        }
        Err(error) => unstarted(probe, &error),
    }
}

async fn follow(program: &mut Program, deadline: Deadline) -> Finding {
    let in_time = timeout_at(deadline.at, program.listen_to_the_end()).await;
    program.group.kill();
    match in_time {
        Ok(Ok(())) => {
            program.take_what_is_left();
            match program.child.wait().await {
                Ok(status) => judge(status, &program.output),
                Err(error) => ours("cannot reap the program", &error),
            }
        }
        Ok(Err(error)) => ours("cannot wait for the program", &error),
        Err(_) => {
            // Killed, so that only the system can keep it; then the runtime reaps it later.
            timeout(REAP_TIME_MAX, program.child.wait()).await.ok();
            let words = said(&format!("killed after {:?}", deadline.after), &program.output);
            Finding::new(CheckStatus::ProcTout, None, &words)
        }
    }
}

/// A program that runs. The group is killed before the child is dropped, which leaves the reaping to the runtime.
struct Program {
    group: Group,
    child: Child,
    pipe: Receiver,
    output: Vec<u8>,
}

struct Group(Pid);

impl Group {
    fn kill(&self) {
        // It may have no process left; there is nobody else to tell.
        killpg(self.0, Signal::SIGKILL).ok();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A child that has been reaped has no number any more, and its group may be somebody else's.
        if self.child.id().is_some() {
            self.group.kill();
        }
    }
}

fn start(probe: &CommandProbe, addr: &PeerAddr) -> io::Result<Program> {
    let (address, port) = match addr {
        PeerAddr::Ip(addr) => (addr.ip().to_string(), addr.port().to_string()),
        PeerAddr::Unix(path) => (path.display().to_string(), String::new()),
    };
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(&*probe.program);
    command
        .args(probe.args.iter().map(|arg| arg.replace("{address}", &address).replace("{port}", &port)))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| PATH.into()))
        .env("FARMGATE_ADDRESS", &address)
        .env("FARMGATE_PORT", &port)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true);
    let pipe = Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let child = command.spawn()?;
    let number = child.id().and_then(|id| i32::try_from(id).ok()).ok_or(io::ErrorKind::NotFound)?;
    Ok(Program { group: Group(Pid::from_raw(number)), child, pipe, output: Vec::new() })
}

impl Program {
    /// Takes what is written until the leader has ended; it is not reaped.
    async fn listen_to_the_end(&mut self) -> io::Result<()> {
        let Self { group, pipe, output, .. } = self;
        let mut buffer = vec![0; READ_BYTES];
        let mut is_open = true;
        let ended = ended(group.0);
        tokio::pin!(ended);
        loop {
            tokio::select! {
                result = &mut ended => return result,
                read = pipe.read(&mut buffer), if is_open => match read {
                    Ok(n) => {
                        is_open = n > 0;
                        keep(output, &buffer[..n]);
                    }
                    Err(_) => is_open = false,
                }
            }
        }
    }

    fn take_what_is_left(&mut self) {
        let mut buffer = vec![0; READ_BYTES];
        for _ in 0..LAST_READS_MAX {
            // Asked of the system itself: the runtime may not have heard yet that there is something to read.
            match nix::unistd::read(&self.pipe, &mut buffer) {
                Ok(n) if n > 0 => keep(&mut self.output, &buffer[..n]),
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Returns when this process, a child of ours, has ended and can be reaped.
async fn ended(leader: Pid) -> io::Result<()> {
    let mut changes = signal(SignalKind::child())?;
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while waitid(Id::Pid(leader), flags)? == WaitStatus::StillAlive {
        changes.recv().await;
    }
    Ok(())
}

fn keep(output: &mut Vec<u8>, bytes: &[u8]) {
    let room = EVIDENCE_BYTES_MAX.saturating_sub(output.len());
    output.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

fn judge(status: ExitStatus, output: &[u8]) -> Finding {
    let code = status.code().and_then(|code| u16::try_from(code).ok());
    if status.success() {
        let words = if output.trim_ascii().is_empty() { "exit status 0".to_owned() } else { said("", output) };
        return Finding::new(CheckStatus::ProcOk, code, &words);
    }
    let why = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {number}"),
        },
        (None, None) => status.to_string(),
    };
    Finding::new(CheckStatus::ProcErr, code, &said(&why, output))
}

/// The reason, and what the program wrote.
fn said(why: &str, output: &[u8]) -> String {
    let output = Content::from_bytes(output.trim_ascii());
    match (why, output.as_str()) {
        (why, "") => why.to_owned(),
        ("", output) => output.to_owned(),
        (why, output) => format!("{why}: {output}"),
    }
}

/// A program that does not start is the operator's to mend, unless it was our own descriptors or memory that ran out.
fn unstarted(probe: &CommandProbe, error: &io::Error) -> Finding {
    use nix::errno::Errno;
    let exhausted = [Errno::EAGAIN, Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM];
    let is_ours = error.raw_os_error().is_some_and(|raw| exhausted.contains(&Errno::from_raw(raw)));
    let status = if is_ours { CheckStatus::SockErr } else { CheckStatus::ProcErr };
    let why = errno_text(error);
    let remedy = if is_ours { "" } else { "; give the absolute path of a program that farmgate's user may execute" };
    Finding::new(status, None, &format!("cannot run \"{}\": {why}{remedy}", probe.program.display()))
}

fn ours(what: &str, error: &io::Error) -> Finding {
    Finding::new(CheckStatus::SockErr, None, &format!("{what}: {}", errno_text(error)))
}

#[cfg(test)]
mod tests;
