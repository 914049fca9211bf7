//! Bundles as they come over the mesh: base64 text, with a digest that its sender may pin (wire contract 10.5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mortise_model::Digest;

/// A bundle that is refused before anybody looks inside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Outside the alphabet, or wrongly padded.
    #[error("invalid base64 bundle")]
    NotBase64,
    /// Exactly the limit passes.
    #[error("bundle exceeds max size ({bytes_max} bytes)")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
        /// Decoded, whether or not it was.
        bytes: u64,
    },
    /// Another archive than the one the sender pinned.
    #[error("digest mismatch")]
    DigestMismatch {
        /// As pinned.
        expected: Digest,
        /// Of the bytes that arrived.
        actual: Digest,
    },
    /// A pin that no archive can match.
    #[error("digest mismatch")]
    DigestMalformed {
        /// As pinned.
        given: String,
        /// Of the bytes that arrived.
        actual: Digest,
    },
    /// The operator requires a pin.
    #[error("digest is required (set DC_PLUGIN_INSTALL_REQUIRE_DIGEST=1 or pass digest=)")]
    DigestRequired {
        /// Of the bytes that arrived.
        actual: Digest,
    },
}

impl BundleError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotBase64 => "invalid_base64",
            Self::TooLarge { .. } => "bundle_too_large",
            Self::DigestMismatch { .. } | Self::DigestMalformed { .. } => "digest_mismatch",
            Self::DigestRequired { .. } => "digest_required",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotBase64 => "encode the archive with the standard alphabet, padded, without line breaks".to_owned(),
            Self::TooLarge { bytes, .. } => {
                format!("the bundle has {bytes} bytes: leave out what the plugin does not need to run")
            }
            Self::DigestMismatch { expected, actual } => {
                format!("expected {expected}, got {actual}: send the archive that was pinned, or pin the one sent")
            }
            Self::DigestMalformed { given, actual } => {
                format!("expected `{given}`, which is not `sha256:` and 64 hex digits, got {actual}")
            }
            Self::DigestRequired { actual } => format!("this host installs pinned archives only: this one is {actual}"),
        }
    }
}

/// Decodes a bundle strictly: standard alphabet, padding, nothing else.
///
/// The size is known from the text's length and checked before anything is allocated.
///
/// # Errors
/// [`BundleError::TooLarge`], [`BundleError::NotBase64`].
pub fn decode_base64(text: &str, bytes_max: u64) -> Result<Vec<u8>, BundleError> {
    let padding = text.bytes().rev().take(2).take_while(|&byte| byte == b'=').count();
    let bytes = (text.len() as u64 / 4 * 3).saturating_sub(padding as u64);
    if bytes > bytes_max {
        return Err(BundleError::TooLarge { bytes_max, bytes });
    }
    STANDARD.decode(text).map_err(|_| BundleError::NotBase64)
}

/// Compares an archive's bytes with the digest that the caller pinned and returns the digest that they have.
///
/// Pins are trimmed, in any case, with or without `sha256:`. An empty one counts as none.
///
/// # Errors
/// [`BundleError::DigestRequired`] when `required` and there is no pin, [`BundleError::DigestMismatch`],
/// [`BundleError::DigestMalformed`].
pub fn check_digest(bytes: &[u8], pinned: Option<&str>, required: bool) -> Result<Digest, BundleError> {
    let actual = Digest::of(bytes);
    let Some(pinned) = pinned.map(str::trim).filter(|pinned| !pinned.is_empty()) else {
        return if required { Err(BundleError::DigestRequired { actual }) } else { Ok(actual) };
    };
    match Digest::parse(pinned) {
        Ok(expected) if expected == actual => Ok(actual),
        Ok(expected) => Err(BundleError::DigestMismatch { expected, actual }),
        Err(_) => Err(BundleError::DigestMalformed { given: crate::member::shown(pinned.as_bytes()), actual }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_strict() {
        assert_eq!(decode_base64("aGVsbG8=", 100), Ok(b"hello".to_vec()));
        assert_eq!(decode_base64("", 100), Ok(Vec::new()));
        for bad in ["aGVsbG8", "aGVs bG8=", "aGVsbG8=\n", "aGVsbG8*", "aGVsbG-_", "aGVsbG8==", "====", "é"] {
            assert_eq!(decode_base64(bad, 100), Err(BundleError::NotBase64), "{bad}");
        }
        assert_eq!(BundleError::NotBase64.to_string(), "invalid base64 bundle");
    }

    #[test]
    fn exactly_the_limit_passes() {
        for length in 0..10 {
            let bytes = vec![7; length];
            let text = STANDARD.encode(&bytes);
            assert_eq!(decode_base64(&text, length as u64), Ok(bytes));
            if length > 0 {
                let bytes_max = length as u64 - 1;
                let error = decode_base64(&text, bytes_max).unwrap_err();
                assert_eq!(error, BundleError::TooLarge { bytes_max, bytes: length as u64 });
                assert_eq!(error.to_string(), format!("bundle exceeds max size ({bytes_max} bytes)"));
            }
        }
    }

    #[test]
    fn digests_are_compared_as_callers_write_them() {
        let actual = Digest::of(b"x");
        let hex = actual.hex();
        for pinned in [&hex, &format!("sha256:{hex}"), &format!(" SHA256:{}\n", hex.to_uppercase())] {
            assert_eq!(check_digest(b"x", Some(pinned), true), Ok(actual));
        }
        assert_eq!(check_digest(b"x", None, false), Ok(actual));
        assert_eq!(check_digest(b"x", Some("  "), false), Ok(actual));
    }

    #[test]
    fn digests_that_differ_are_refused_with_both() {
        let (actual, expected) = (Digest::of(b"x"), Digest::of(b"y"));
        let error = check_digest(b"x", Some(&expected.to_string()), false).unwrap_err();
        assert_eq!(error, BundleError::DigestMismatch { expected, actual });
        assert_eq!(error.to_string(), "digest mismatch");
        assert!(error.hint().contains(&format!("expected {expected}, got {actual}")));
        let error = check_digest(b"x", Some("md5:1"), false).unwrap_err();
        assert_eq!(error, BundleError::DigestMalformed { given: "md5:1".to_owned(), actual });
        assert_eq!(error.to_string(), "digest mismatch");
        for absent in [None, Some("")] {
            let error = check_digest(b"x", absent, true).unwrap_err();
            assert_eq!(error, BundleError::DigestRequired { actual });
            assert_eq!(
                error.to_string(),
                "digest is required (set DC_PLUGIN_INSTALL_REQUIRE_DIGEST=1 or pass digest=)"
            );
        }
    }
}
