//! The ports of a listener as the vendor writes them: `80`, `8000-8010,9000`. Pure.

use http::StatusCode;

use super::error::Refusal;
use crate::admin::guard::quoted;

/// Sockets that one listener may have: each port on each address.
pub(super) const SOCKETS_MAX: usize = 64;

/// Returns the ports of a text, each once and in order.
///
/// # Errors
/// A [`Refusal`]: not of that form, too many, or one twice.
pub(super) fn parse(text: &str) -> Result<Vec<u16>, Refusal> {
    let mut ports: Vec<u16> = Vec::new();
    for part in text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high) = (port(low, text)?, port(high, text)?);
        if low > high {
            return Err(format_error(text, "begins behind its end"));
        }
        if (low, high) == (0, 0) {
            return Err(range_error(text, "asks for every port, which would take 65535 sockets"));
        }
        if low == 0 {
            return Err(range_error(text, "has a port of 0"));
        }
        if usize::from(high - low) >= SOCKETS_MAX || ports.len() + usize::from(high - low) >= SOCKETS_MAX {
            return Err(range_error(text, "has too many ports"));
        }
        ports.extend(low..=high);
    }
    let count = ports.len();
    ports.sort_unstable();
    ports.dedup();
    if ports.len() < count {
        let message = format!("port: \"{}\" names a port twice; name each once", quoted(text).escape_default());
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "INVALID_LISTENER_PORT_CONFLICT_SELF", message));
    }
    Ok(ports)
}

/// Returns a text that [`parse`] takes as the vendor stores it: in its own order, joined as [`show`] does.
pub(super) fn stored(text: &str) -> String {
    let each = text.split(',').filter_map(|part| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        Some(low.trim().parse::<u16>().ok()?..=high.trim().parse().ok()?)
    });
    show(&each.flatten().collect::<Vec<u16>>())
}

/// Returns the text that is told of ports in order: the one that was stored, for as long as it is theirs.
pub(super) fn told(stored: Option<&str>, is: &[u16]) -> String {
    let stored = stored.filter(|text| parse(text).is_ok_and(|it| it == is));
    stored.map_or_else(|| show(is), str::to_owned)
}

/// Returns the text of ports: those that follow each other are joined to a range, as the vendor stores them.
pub(super) fn show(ports: &[u16]) -> String {
    let runs = ports.chunk_by(|a, b| b.checked_sub(*a) == Some(1)).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        run => run.iter().map(u16::to_string).collect(),
    });
    runs.collect::<Vec<_>>().join(",")
}

fn port(part: &str, whole: &str) -> Result<u16, Refusal> {
    let part = part.trim();
    let is_plain = (1..=5).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !is_plain {
        return Err(format_error(whole, "is no list of ports"));
    }
    part.parse().map_err(|_| range_error(whole, "has a port above 65535"))
}

fn format_error(text: &str, why: &str) -> Refusal {
    let message =
        format!("port: \"{}\" {why}; write ports and ranges, as in 80,8000-8010", quoted(text).escape_default());
    Refusal::new(StatusCode::BAD_REQUEST, "INVALID_PORT_FORMAT_ERROR", message)
}

fn range_error(text: &str, why: &str) -> Refusal {
    let message =
        format!("port: \"{}\" {why}; name at most {SOCKETS_MAX} ports from 1 to 65535", quoted(text).escape_default());
    Refusal::new(StatusCode::BAD_REQUEST, "INVALID_PORT_RANGE", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_in_any_order_and_shown_joined() {
        for (text, shown) in
            [("80", "80"), ("1,2,3,4,5", "1-5"), ("8000,8080-8082", "8000,8080-8082"), ("9, 7-8", "7-9")]
        {
            assert_eq!(show(&parse(text).unwrap()), shown, "{text}");
        }
        for (text, shown) in
            [("8080-8083,8000", "8080-8083,8000"), ("443,80", "443,80"), ("1,2,3", "1-3"), (" 9 , 7 - 8", "9,7-8")]
        {
            assert_eq!(stored(text), shown, "{text}");
            assert_eq!(parse(&stored(text)).unwrap(), parse(text).unwrap(), "{text}");
        }
        assert_eq!(parse("1000-1063").unwrap().len(), SOCKETS_MAX);
    }

    #[test]
    fn ports_that_cannot_be_are_refused_by_the_published_codes() {
        for (text, code) in [
            ("", "INVALID_PORT_FORMAT_ERROR"),
            ("http", "INVALID_PORT_FORMAT_ERROR"),
            ("80-", "INVALID_PORT_FORMAT_ERROR"),
            ("+80", "INVALID_PORT_FORMAT_ERROR"),
            ("90-80", "INVALID_PORT_FORMAT_ERROR"),
            ("80,,81", "INVALID_PORT_FORMAT_ERROR"),
            ("0", "INVALID_PORT_RANGE"),
            ("0-10", "INVALID_PORT_RANGE"),
            ("65536", "INVALID_PORT_RANGE"),
            ("1-65535", "INVALID_PORT_RANGE"),
            ("1000-1064", "INVALID_PORT_RANGE"),
            ("1-40,100-140", "INVALID_PORT_RANGE"),
            ("80,80", "INVALID_LISTENER_PORT_CONFLICT_SELF"),
            ("1-5,3", "INVALID_LISTENER_PORT_CONFLICT_SELF"),
        ] {
            assert_eq!(parse(text).unwrap_err().code(), code, "{text:?}");
        }
    }
}
