//! Which values are secrets, by what they are called. Pure.

/// The last words of names whose values are never told, whatever their case, behind `_` or `-`.
const SECRET_WORDS: [&str; 11] = [
    "auth",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "pwd",
    "secret",
    "token",
];

/// A key of the config file that ends like one of them and holds none.
const NO_SECRET: &str = "client_auth";

/// Returns whether the value of a key or of a header of that name is never told.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let last = name.rsplit(['_', '-']).next().unwrap_or(&name);
    SECRET_WORDS.contains(&last) && name != NO_SECRET
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_ends_in_a_word_for_secrets_is_one() {
        for name in
            ["Authorization", "Proxy-Authorization", "X-Api-Key", "set-cookie", "consumer_key", "TOKEN", "X-Auth"]
        {
            assert!(is_secret(name), "{name}");
        }
        for name in ["Host", "X-Forwarded-For", "tokens", "key_id", "monkey", "X-Author", "client_auth", ""] {
            assert!(!is_secret(name), "{name:?}");
        }
    }
}
