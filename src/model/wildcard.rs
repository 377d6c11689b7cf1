//! Patterns in which one character stands for anything.

/// Returns whether `text` is what `pattern` says, where each `any` stands for any run of characters, or none.
#[must_use]
pub fn matches(pattern: &str, any: char, text: &str) -> bool {
    let mut parts = pattern.split(any);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
