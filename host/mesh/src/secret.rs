//! Text that must not be printed.

use std::fmt;

/// A credential. Neither `Debug` nor `Display` shows it, and it is not serialisable: whoever needs the text asks for
/// it with [`Secret::expose`], which a reviewer can search for.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. It must not reach a log, an error or a result.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// `url` with any user information masked, fit for logs and errors.
///
/// Everything before the last `@` is taken for user information: a password may hold a `/`, and rather too much is
/// masked than too little.
#[must_use]
pub fn masked_url(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, url),
    };
    let rest = match rest.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => rest.to_owned(),
    };
    match scheme {
        Some(scheme) => format!("{scheme}://{rest}"),
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new("SUAM-very-secret");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[redacted] Some([redacted])");
        assert_eq!(secret.expose(), "SUAM-very-secret");
    }

    #[test]
    fn user_information_is_masked() {
        for (url, masked) in [
            ("nats://broker:4222", "nats://broker:4222"),
            ("nats://user:pass@broker:4222", "nats://***@broker:4222"),
            ("nats://user:pa/s@s@broker:4222", "nats://***@broker:4222"),
            ("tls://token@broker/x@y", "tls://***@y"),
            ("user:p@ss@broker:4222", "***@broker:4222"),
            ("tcp/broker:7447", "tcp/broker:7447"),
        ] {
            assert_eq!(masked_url(url), masked);
        }
    }
}
