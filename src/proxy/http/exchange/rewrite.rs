//! The path that a server sees in the place of the one that was asked for. Pure.

use crate::model::Rewrite;

/// Returns the target that a server is asked for, if it is another one: where the path begins with the prefix at the end
/// of a segment, what it is to be instead, and the rest as it was received, query included. The two are joined by one
/// slash. A `/` at the end of either says nothing.
#[must_use]
pub fn rewritten(rewrite: &Rewrite, target: &[u8]) -> Option<Vec<u8>> {
    let rest = target.strip_prefix(trimmed(&rewrite.prefix))?;
    let is_whole_segment = matches!(rest.first(), None | Some(b'/' | b'?'));
    if !is_whole_segment || target.first() != Some(&b'/') {
        return None;
    }
    let with = trimmed(&rewrite.with);
    let mut made = Vec::with_capacity(1 + with.len() + rest.len());
    if with.first().is_some_and(|byte| *byte != b'/') {
        made.push(b'/');
    }
    made.extend_from_slice(with);
    if made.is_empty() && rest.first() != Some(&b'/') {
        made.push(b'/');
    }
    made.extend_from_slice(rest);
    Some(made)
}

fn trimmed(prefix: &str) -> &[u8] {
    prefix.trim_end_matches('/').as_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(prefix: &str, with: &str, target: &str, want: Option<&str>) {
        let made = rewritten(&Rewrite { prefix: prefix.into(), with: with.into() }, target.as_bytes());
        assert_eq!(made.map(|made| String::from_utf8(made).unwrap()).as_deref(), want, "{prefix} {with} {target}");
    }

    #[test]
    fn prefix_is_replaced_at_the_end_of_a_segment_only() {
        check("/api", "/v2", "/api/items?x=/api", Some("/v2/items?x=/api"));
        check("/api", "/v2", "/api", Some("/v2"));
        check("/api", "/v2", "/api?x", Some("/v2?x"));
        check("/api", "/v2", "/api/", Some("/v2/"));
        check("/api", "/v2", "/apis", None);
        check("/api", "/v2", "/a", None);
        check("/api", "/v2", "/API/x", None);
        check("/api", "/v2", "/api%2Fx", None);
        check("/api", "/v2", "/api/%2F%20ü", Some("/v2/%2F%20ü"));
        check("/api", "/v2", "*", None);
        check("/", "/v2", "*", None);
    }

    #[test]
    fn path_begins_with_one_slash_whatever_is_written() {
        for (prefix, with) in [("/api", "/"), ("/api/", "/"), ("/api", ""), ("/api/", "")] {
            check(prefix, with, "/api/x", Some("/x"));
            check(prefix, with, "/api", Some("/"));
            check(prefix, with, "/api?q", Some("/?q"));
            check(prefix, with, "/api/", Some("/"));
        }
        check("/api/", "/v2/", "/api/x", Some("/v2/x"));
        check("/", "/v2", "/x", Some("/v2/x"));
        check("/", "/v2/", "/", Some("/v2/"));
        check("", "v2", "/x", Some("/v2/x"));
    }

    proptest! {
        #[test]
        fn whatever_is_made_begins_with_a_slash(
            prefix in "[/a]{0,3}", with in "[/a]{0,3}", target in prop::collection::vec(any::<u8>(), 0..8)
        ) {
            let rewrite = Rewrite { prefix: prefix.into(), with: with.into() };
            for target in [[b"/a".as_slice(), &target].concat(), target] {
                if let Some(made) = rewritten(&rewrite, &target) {
                    prop_assert_eq!(made.first(), Some(&b'/'));
                }
            }
        }
    }
}
