//! The TCP probe with an expectation: reads what a server says on its own after the connect.

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout_at;

use crate::health::expect::{Decision, decide_bytes};
use crate::model::expect::BODY_BYTES_LOOKED_AT;
use crate::model::{BodyMatch, CheckStatus, Content, Negate};

use super::check::{Deadline, Finding, READ_BYTES};
use super::failure::errno_text;

/// Reads the server's first bytes until they are what is wanted, can no longer be, or the deadline is there.
///
/// At the deadline a banner that must *not* hold something, and does not, passes if the server said anything at all:
/// a server that then waits for its client never ends its banner.
pub(super) async fn read<S>(stream: &mut S, wanted: &BodyMatch, negate: Negate, deadline: Deadline) -> Finding
where
    S: AsyncRead + Unpin + Send,
{
    let mut banner = Vec::new();
    let in_time = timeout_at(deadline.at, read_on(stream, wanted, negate, &mut banner)).await;
    in_time.unwrap_or_else(|_| match decide_bytes(wanted, negate, &banner, true) {
        Decision::Pass if !banner.is_empty() => passed(&banner),
        Decision::Conditional | Decision::Fail(_) | Decision::NeedMore | Decision::Pass => {
            let words = format!("no matching banner within {:?}: {}", deadline.after, seen(&banner));
            Finding::new(CheckStatus::L7Tout, None, &words)
        }
    })
}

async fn read_on<S>(stream: &mut S, wanted: &BodyMatch, negate: Negate, banner: &mut Vec<u8>) -> Finding
where
    S: AsyncRead + Unpin + Send,
{
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let is_complete = match stream.read(&mut buffer).await {
            Ok(0) => true,
            Ok(n) => {
                let room = BODY_BYTES_LOOKED_AT - banner.len();
                banner.extend_from_slice(&buffer[..n.min(room)]);
                false
            }
            Err(error) => {
                let words = format!("{}: {}", errno_text(&error), seen(banner));
                return Finding::new(CheckStatus::L7Rsp, None, &words);
            }
        };
        match decide_bytes(wanted, negate, banner, is_complete) {
            Decision::NeedMore => {}
            Decision::Conditional | Decision::Pass => return passed(banner),
            Decision::Fail(_) => return Finding::new(CheckStatus::L7Rsp, None, &seen(banner)),
        }
    }
}

fn passed(banner: &[u8]) -> Finding {
    Finding { content: Content::from_bytes(banner), ..Finding::new(CheckStatus::L7Ok, None, "") }
}

fn seen(banner: &[u8]) -> String {
    if banner.is_empty() {
        return "nothing received".to_owned();
    }
    Content::from_bytes(banner).as_str().to_owned()
}
