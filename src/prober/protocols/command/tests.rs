//! Real programs: their verdicts, what they are given, and that none of them is left behind.

use super::*;
use crate::clock;
use std::path::Path;
use tokio::time::{Instant, sleep};

const TIMEOUT: Duration = Duration::from_millis(400);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);

fn probe(program: &str, args: &[&str]) -> CommandProbe {
    CommandProbe { program: Path::new(program).into(), args: args.iter().map(|arg| (*arg).into()).collect() }
}

fn deadline(after: Duration) -> Deadline {
    Deadline { at: Instant::from_std(clock::monotonic() + after), after }
}

async fn run_for(program: &str, args: &[&str], after: Duration) -> (CheckStatus, Option<u16>, String) {
    let addr = PeerAddr::Ip("127.0.0.9:8080".parse().unwrap());
    let finding = run(&probe(program, args), &addr, deadline(after)).await;
    (finding.status, finding.code, finding.content.as_str().to_owned())
}

async fn script(text: &str) -> (CheckStatus, Option<u16>, String) {
    run_for("/bin/sh", &["-c", text], Duration::from_secs(10)).await
}

fn told(status: CheckStatus, code: Option<u16>, words: &str) -> (CheckStatus, Option<u16>, String) {
    (status, code, words.to_owned())
}

/// Waits until no process of that number is left.
async fn is_gone(number: i32) -> bool {
    let until = clock::monotonic() + SLACK;
    while clock::monotonic() < until {
        // One that is dead and not yet reaped by whoever inherited it has no command line.
        let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        if line.is_empty() {
            return true;
        }
        sleep(Duration::from_millis(5)).await;
    }
    false
}

#[tokio::test]
async fn exit_status_decides_and_the_output_is_kept() {
    assert_eq!(script("exit 0").await, told(CheckStatus::ProcOk, Some(0), "exit status 0"));
    assert_eq!(script("echo fine").await, told(CheckStatus::ProcOk, Some(0), "fine"));
    let failed = told(CheckStatus::ProcErr, Some(3), "exit status 3: out\\nerr");
    assert_eq!(script("echo out; echo err >&2; exit 3").await, failed);
    assert_eq!(script("kill -SEGV $$").await, told(CheckStatus::ProcErr, None, "killed by SIGSEGV"));
}

#[tokio::test]
async fn program_is_given_the_address_and_nothing_of_ours() {
    let (status, _, content) = run_for("/bin/echo", &["{address}:{port}", "a b; $HOME"], TIMEOUT + SLACK).await;
    assert_eq!((status, content.as_str()), (CheckStatus::ProcOk, "127.0.0.9:8080 a b; $HOME"));
    let (_, _, content) = script("env | grep -v -e ^PATH= -e ^PWD= -e ^SHLVL= -e ^_= | sort").await;
    assert_eq!(content, "FARMGATE_ADDRESS=127.0.0.9\\nFARMGATE_PORT=8080");
    let (status, _, content) = script("cat; pwd").await;
    assert_eq!((status, content.as_str()), (CheckStatus::ProcOk, "/"), "no input, and no directory of ours");
}

#[tokio::test]
async fn program_that_writes_much_is_not_held_up() {
    let finding = run(
        &probe("/bin/sh", &["-c", "head -c 1000000 /dev/zero | tr '\\0' x"]),
        &PeerAddr::Ip("127.0.0.9:1".parse().unwrap()),
        deadline(Duration::from_secs(10)),
    )
    .await;
    assert_eq!(finding.status, CheckStatus::ProcOk, "{finding:?}");
    assert_eq!(finding.received.as_deref(), Some(&[b'x'; EVIDENCE_BYTES_MAX][..]));
}

#[tokio::test]
async fn program_that_is_missing_is_told() {
    let (status, code, content) = run_for("/nonexistent/check", &[], TIMEOUT).await;
    assert_eq!((status, code), (CheckStatus::ProcErr, None));
    assert!(content.starts_with("cannot run \"/nonexistent/check\": No such file or directory; give"), "{content}");
    let (status, _, content) = run_for("/etc/passwd", &[], TIMEOUT).await;
    assert_eq!(status, CheckStatus::ProcErr);
    assert!(content.starts_with("cannot run \"/etc/passwd\": Permission denied"), "{content}");
}

#[tokio::test]
async fn deadline_kills_the_whole_group() {
    let began = clock::monotonic();
    let (status, code, content) =
        run_for("/bin/sh", &["-c", "sleep 60 & echo $!; trap '' TERM; sleep 60"], TIMEOUT).await;
    let took = clock::monotonic() - began;
    assert_eq!((status, code), (CheckStatus::ProcTout, None), "{content}");
    assert!((TIMEOUT..TIMEOUT + SLACK).contains(&took), "{took:?}");
    let number = content.strip_prefix("killed after 400ms: ").and_then(|number| number.parse().ok()).unwrap();
    assert!(is_gone(number).await, "{number}");
}

#[tokio::test]
async fn program_that_ends_leaves_no_child_behind() {
    let (status, _, content) = script("sleep 60 & echo $!").await;
    assert_eq!(status, CheckStatus::ProcOk, "a child that holds the output is not waited for");
    assert!(is_gone(content.parse().unwrap()).await, "{content}");
}

#[tokio::test]
async fn check_that_is_dropped_leaves_no_process_behind() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("numbers");
    let text = format!("sleep 60 & echo $$ $! > {0}.new; mv {0}.new {0}; sleep 60", file.display());
    let task = tokio::spawn(async move {
        let addr = PeerAddr::Ip("127.0.0.9:1".parse().unwrap());
        run(&probe("/bin/sh", &["-c", &text]), &addr, deadline(Duration::from_secs(60))).await
    });
    let until = clock::monotonic() + SLACK;
    while !file.exists() {
        assert!(clock::monotonic() < until, "the program does not start");
        sleep(Duration::from_millis(5)).await;
    }
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    for number in std::fs::read_to_string(&file).unwrap().split_whitespace() {
        assert!(is_gone(number.parse().unwrap()).await, "{number}");
    }
}
