//! Decides whether what has arrived of a reply is what the probe expects, or whether more must be read first.
//!
//! Pure: the caller reads, this file judges. A verdict is given as soon as no further byte can change it, so a check
//! never reads more than it needs. Transport failures never come here: `negate` inverts expectations, not those.

use crate::model::expect::BODY_BYTES_LOOKED_AT;
use crate::model::{BodyMatch, Expect, Negate};

/// What can be said of a reply so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The reply is what was expected of a server that wants no new work.
    Conditional,
    /// The reply is not what was expected, because of this.
    Fail(Mismatch),
    /// The bytes so far leave it open.
    NeedMore,
    /// The reply is what was expected.
    Pass,
}

/// Which part of a reply is not as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The body; or, inverted, status and body that match together.
    Body,
    /// The status.
    Status,
}

/// Returns what `expect` says of an HTTP reply with this status of which these first bytes of the body have arrived.
///
/// `is_complete` tells that the body has no further byte. A body is looked at to [`BODY_BYTES_LOOKED_AT`] bytes. A
/// status of `expect.stopping` says all by itself: neither the body nor `negate` changes it, nor whether `status` names
/// it too.
#[must_use]
pub fn decide(expect: &Expect, status: u16, body: &[u8], is_complete: bool) -> Decision {
    if expect.stopping.contains(status) {
        return Decision::Conditional;
    }
    let is_status_in = expect.status.contains(status);
    match (&expect.body, expect.negate) {
        (None, Negate::AsWritten) => pass_if(is_status_in, Mismatch::Status),
        (None, Negate::Inverted) => pass_if(!is_status_in, Mismatch::Status),
        (Some(_), negate) if !is_status_in => pass_if(negate == Negate::Inverted, Mismatch::Status),
        (Some(body_match), negate) => decide_bytes(body_match, negate, body, is_complete),
    }
}

/// Returns what a match says of the first bytes that a server sent: the banner of a TCP probe, or a body.
///
/// `is_complete` tells that no further byte will come, or none that counts. The only mismatch is of the body.
#[must_use]
pub fn decide_bytes(wanted: &BodyMatch, negate: Negate, bytes: &[u8], is_complete: bool) -> Decision {
    let is_settled = is_complete || bytes.len() >= BODY_BYTES_LOOKED_AT;
    match presence(wanted, bytes, is_settled) {
        None => Decision::NeedMore,
        Some(is_there) => pass_if(is_there == (negate == Negate::AsWritten), Mismatch::Body),
    }
}

fn pass_if(condition: bool, otherwise: Mismatch) -> Decision {
    if condition { Decision::Pass } else { Decision::Fail(otherwise) }
}

/// Whether the match is there; nothing while further bytes could change the answer.
fn presence(wanted: &BodyMatch, bytes: &[u8], is_settled: bool) -> Option<bool> {
    if !is_settled && depends_on_what_follows(wanted) {
        return None;
    }
    let is_there = wanted.is_in(bytes);
    (is_there || is_settled).then_some(is_there)
}

/// Whether a match in the first bytes can be undone by the bytes after them: `ok$` is in "ok" and not in "okay".
///
/// Errs towards yes, which costs only the wait for the rest.
fn depends_on_what_follows(wanted: &BodyMatch) -> bool {
    match wanted {
        BodyMatch::Contains(_) => false,
        BodyMatch::Matches(regex) => {
            let pattern = regex.as_str();
            ["$", r"\b", r"\B", r"\z", r"\<", r"\>"].iter().any(|assertion| pattern.contains(assertion))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::StatusSet;

    use Decision::{Fail, NeedMore, Pass};
    use Negate::{AsWritten, Inverted};

    fn contains(text: &str) -> Option<BodyMatch> {
        Some(BodyMatch::Contains(text.into()))
    }

    fn matches(pattern: &str) -> Option<BodyMatch> {
        Some(BodyMatch::Matches(regex::bytes::Regex::new(pattern).unwrap()))
    }

    fn expect(body: Option<BodyMatch>, negate: Negate) -> Expect {
        Expect { body, negate, ..Expect::default() }
    }

    #[test]
    fn reply_is_judged_row_by_row() {
        for (body, negate, status, bytes, is_complete, want) in [
            (None, AsWritten, 200, "", false, Pass),
            (None, AsWritten, 399, "", false, Pass),
            (None, AsWritten, 404, "", false, Fail(Mismatch::Status)),
            (None, AsWritten, 999, "", false, Fail(Mismatch::Status)),
            (None, Inverted, 200, "", false, Fail(Mismatch::Status)),
            (None, Inverted, 503, "", false, Pass),
            (contains("ok"), AsWritten, 503, "ok", true, Fail(Mismatch::Status)),
            (contains("ok"), AsWritten, 200, "o", false, NeedMore),
            (contains("ok"), AsWritten, 200, "ok", false, Pass),
            (contains("ok"), AsWritten, 200, "no", true, Fail(Mismatch::Body)),
            (contains("ok"), AsWritten, 200, "", true, Fail(Mismatch::Body)),
            (contains("ok"), Inverted, 200, "no", false, NeedMore),
            (contains("ok"), Inverted, 200, "no", true, Pass),
            (contains("ok"), Inverted, 200, "ok", false, Fail(Mismatch::Body)),
            (contains("ok"), Inverted, 503, "ok", false, Pass),
            (matches("^ok"), AsWritten, 200, "ok", false, Pass),
            (matches("^ok$"), AsWritten, 200, "ok", false, NeedMore),
            (matches("^ok$"), AsWritten, 200, "ok", true, Pass),
            (matches("^ok$"), AsWritten, 200, "okay", true, Fail(Mismatch::Body)),
            (matches(r"ok\b"), AsWritten, 200, "ok", false, NeedMore),
        ] {
            let got = decide(&expect(body.clone(), negate), status, bytes.as_bytes(), is_complete);
            assert_eq!(got, want, "{body:?} {negate:?} {status} {bytes:?} {is_complete}");
        }
    }

    #[test]
    fn stopping_status_is_conditional_whatever_else_is_asked() {
        let stopping = StatusSet::parse("404").unwrap();
        for (body, negate) in
            [(None, AsWritten), (None, Inverted), (contains("ok"), AsWritten), (contains("x"), Inverted)]
        {
            let wanted = Expect { stopping: stopping.clone(), ..expect(body, negate) };
            assert_eq!(decide(&wanted, 404, b"", false), Decision::Conditional);
            assert_ne!(decide(&wanted, 200, b"ok", true), Decision::Conditional);
        }
        let both = Expect { status: StatusSet::parse("200-499").unwrap(), stopping, ..Expect::default() };
        assert_eq!((decide(&both, 404, b"", false), decide(&both, 403, b"", false)), (Decision::Conditional, Pass));
    }

    #[test]
    fn body_past_the_bound_is_not_waited_for() {
        let body = vec![b'x'; BODY_BYTES_LOOKED_AT];
        assert_eq!(decide(&expect(contains("y"), AsWritten), 200, &body, false), Fail(Mismatch::Body));
        assert_eq!(decide(&expect(contains("y"), Inverted), 200, &body, false), Pass);
        assert_eq!(decide(&expect(contains("y"), AsWritten), 200, &body[1..], false), NeedMore);
    }

    proptest! {
        /// However a body is cut, an early verdict is the verdict of the whole.
        #[test]
        fn early_verdict_equals_the_verdict_of_the_whole(
            body in "[ok \n]{0,12}",
            cut in 0..13usize,
            pattern in prop::sample::select(vec!["ok", "^ok", "ok$", r"\bok", r"k\b", "(?m)^k$", r"o+k\z", "", "[^o]k"]),
            inverted in any::<bool>(),
            is_regex in any::<bool>(),
        ) {
            let negate = if inverted { Inverted } else { AsWritten };
            let wanted = expect(if is_regex { matches(pattern) } else { contains(pattern) }, negate);
            let first = &body.as_bytes()[..cut.min(body.len())];
            let early = decide(&wanted, 200, first, false);
            let whole = decide(&wanted, 200, body.as_bytes(), true);
            prop_assert_ne!(whole, NeedMore);
            if early != NeedMore {
                prop_assert_eq!(early, whole);
            }
        }
    }
}
