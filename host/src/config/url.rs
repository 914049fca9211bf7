//! Broker URLs as they may be shown.

/// `url` with the user information between `//` and `@` masked, for messages and listings.
#[must_use]
pub fn redacted_url(url: &str) -> String {
    let authority_start = url.find("//").map_or(0, |at| at + 2);
    let (scheme, rest) = url.split_at(authority_start);
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    match authority.rfind('@') {
        Some(at) => format!("{scheme}***{}{path}", authority.get(at..).unwrap_or_default()),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_user_information() {
        for (url, shown) in [
            ("nats://user:p@ss@h:4222", "nats://***@h:4222"),
            ("nats://token@h:4222/x@y", "nats://***@h:4222/x@y"),
            ("nats://h:4222", "nats://h:4222"),
            ("tcp/h:7447", "tcp/h:7447"),
            ("user:pass@h:1", "***@h:1"),
        ] {
            assert_eq!(redacted_url(url), shown);
        }
    }
}
