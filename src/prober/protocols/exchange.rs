//! The exchange probe: sends and expects in the order written.
//!
//! An expectation looks at what has arrived since the last match, at most [`BODY_BYTES_LOOKED_AT`] bytes of it; what
//! comes before a match is passed over, what follows it is left for the next. The record tells the step that failed,
//! counted from 1, and what was there instead.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout_at;

use crate::health::expect::{Decision, decide_bytes};
use crate::model::expect::BODY_BYTES_LOOKED_AT;
use crate::model::probe::{ExchangeProbe, Step};
use crate::model::{BodyMatch, CheckStatus, Content, Negate};

use super::super::check::{Deadline, Finding};
use super::super::failure::errno_text;
use super::heard;
use super::talk::Talk;

/// Bytes of an expectation that are quoted.
const QUOTED_BYTES_MAX: usize = 48;

/// Where an exchange stands.
struct Course<'a> {
    steps: &'a [Step],
    /// The step under way.
    at: usize,
    /// What the last expectation that held was held by.
    matched: Vec<u8>,
}

pub(super) async fn hold<S>(stream: &mut S, exchange: &ExchangeProbe, deadline: Deadline) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut talk = Talk::new(stream);
    let mut course = Course { steps: &exchange.steps, at: 0, matched: Vec::new() };
    match timeout_at(deadline.at, walk(&mut talk, &mut course)).await {
        Ok(Ok(finding) | Err(finding)) => finding,
        Err(_) => late(&talk, &course, deadline),
    }
}

async fn walk<S>(talk: &mut Talk<'_, S>, course: &mut Course<'_>) -> Result<Finding, Finding>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    while let Some(step) = course.steps.get(course.at) {
        match step {
            Step::Send(bytes) => talk.send(bytes).await,
            Step::ExpectBytes(_) | Step::ExpectMatch(_) => expect(talk, course, step).await?,
        }
        course.at += 1;
    }
    match talk.unsent() {
        // Nothing was expected after it that would have told.
        Some(error) if matches!(course.steps.last(), Some(Step::Send(_))) => {
            let words = format!("step {}: {}", course.steps.len(), errno_text(error));
            Err(Finding::new(CheckStatus::L7Rsp, None, &words))
        }
        Some(_) | None => Ok(passed(course)),
    }
}

async fn expect<S>(talk: &mut Talk<'_, S>, course: &mut Course<'_>, step: &Step) -> Result<(), Finding>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut has_ended = false;
    loop {
        let arrived = talk.pending();
        if let Some(end) = end_of_match(step, arrived, has_ended) {
            course.matched = arrived[..end].to_vec();
            talk.take(end);
            return Ok(());
        }
        let is_full = arrived.len() >= BODY_BYTES_LOOKED_AT;
        if is_full || has_ended {
            let why = match talk.unsent() {
                _ if is_full => format!("not in the first {BODY_BYTES_LOOKED_AT} bytes"),
                Some(error) => errno_text(error),
                None => "connection closed".to_owned(),
            };
            return Err(failed(CheckStatus::L7Rsp, talk, course, &why));
        }
        match talk.read().await {
            Ok(n) => has_ended = n == 0,
            Err(error) => return Err(failed(CheckStatus::L7Rsp, talk, course, &errno_text(&error))),
        }
    }
}

/// Returns where the match ends, if it is there and no further byte can undo it.
fn end_of_match(step: &Step, arrived: &[u8], is_complete: bool) -> Option<usize> {
    let wanted = match step {
        Step::ExpectBytes(bytes) => return end_of_bytes(bytes, arrived),
        Step::ExpectMatch(wanted) => wanted,
        Step::Send(_) => return Some(0),
    };
    match decide_bytes(wanted, Negate::AsWritten, arrived, is_complete) {
        Decision::Conditional | Decision::Pass => match wanted {
            BodyMatch::Contains(text) => end_of_bytes(text.as_bytes(), arrived),
            BodyMatch::Matches(regex) => regex.find(arrived).map(|found| found.end()),
        },
        Decision::Fail(_) | Decision::NeedMore => None,
    }
}

fn end_of_bytes(wanted: &[u8], arrived: &[u8]) -> Option<usize> {
    memchr::memmem::find(arrived, wanted).map(|at| at + wanted.len())
}

/// At the deadline a last expectation holds that only a further byte could have undone, such as one that ends with `$`.
fn late<S>(talk: &Talk<'_, S>, course: &Course<'_>, deadline: Deadline) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let arrived = talk.pending();
    let step = course.steps.get(course.at).filter(|_| course.at + 1 == course.steps.len() && !arrived.is_empty());
    match step.map(|step| (step, end_of_match(step, arrived, true))) {
        Some((Step::ExpectMatch(_), Some(end))) => heard(CheckStatus::L7Ok, None, &arrived[..end]),
        Some((Step::ExpectBytes(_) | Step::ExpectMatch(_) | Step::Send(_), _)) | None => {
            failed(CheckStatus::L7Tout, talk, course, &format!("no match within {:?}", deadline.after))
        }
    }
}

fn passed(course: &Course<'_>) -> Finding {
    let expects = course.steps.iter().any(|step| !matches!(step, Step::Send(_)));
    if expects {
        heard(CheckStatus::L7Ok, None, &course.matched)
    } else {
        Finding::new(CheckStatus::L7Ok, None, "sent, nothing expected")
    }
}

fn failed<S>(status: CheckStatus, talk: &Talk<'_, S>, course: &Course<'_>, why: &str) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let step = course.steps.get(course.at).map(described).unwrap_or_default();
    Finding::new(status, None, &format!("step {} ({step}): {why}, {}", course.at + 1, talk.seen()))
}

fn described(step: &Step) -> String {
    let quoted = |bytes: &[u8]| Content::from_bytes(&bytes[..bytes.len().min(QUOTED_BYTES_MAX)]).as_str().to_owned();
    match step {
        Step::ExpectBytes(bytes) => format!("expect \"{}\"", quoted(bytes)),
        Step::ExpectMatch(BodyMatch::Contains(text)) => format!("expect \"{}\"", quoted(text.as_bytes())),
        Step::ExpectMatch(BodyMatch::Matches(regex)) => format!("matches \"{}\"", quoted(regex.as_str().as_bytes())),
        Step::Send(_) => "send".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &str) -> Step {
        Step::ExpectBytes(text.as_bytes().into())
    }

    fn matches(pattern: &str) -> Step {
        Step::ExpectMatch(BodyMatch::Matches(regex::bytes::Regex::new(pattern).unwrap()))
    }

    #[test]
    fn match_ends_where_it_ends() {
        for (step, arrived, is_complete, want) in [
            (bytes("ab"), "xxabyy", false, Some(4)),
            (bytes("ab"), "xxa", false, None),
            (bytes("ab"), "xxa", true, None),
            (Step::ExpectMatch(BodyMatch::Contains("ab".into())), "abab", false, Some(2)),
            (matches("b+"), "abba", false, Some(3)),
            (matches("b$"), "ab", false, None),
            (matches("b$"), "ab", true, Some(2)),
            (matches("c"), "ab", true, None),
        ] {
            assert_eq!(end_of_match(&step, arrived.as_bytes(), is_complete), want, "{step:?} {arrived:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_a_panic(
            arrived in prop::collection::vec(any::<u8>(), 0..100),
            wanted in prop::collection::vec(any::<u8>(), 0..4),
            is_complete in any::<bool>(),
        ) {
            let end = end_of_match(&Step::ExpectBytes(wanted.clone().into()), &arrived, is_complete);
            if let Some(end) = end {
                prop_assert!(arrived[..end].ends_with(&wanted));
            }
            let end = end_of_match(&matches("(?-u)\\xff*a?$"), &arrived, is_complete);
            prop_assert!(end.is_none_or(|end| end <= arrived.len()));
        }
    }
}
