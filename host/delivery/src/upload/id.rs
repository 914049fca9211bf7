//! Names of uploads.

use std::fmt;

/// The name of an upload: 128 random bits as 32 lowercase hex digits. Whoever knows it may go on with the upload, so
/// that it is not for logs; `Debug` shows the beginning only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(u128);

impl UploadId {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    /// Parses what [`fmt::Display`] writes; none for anything else, which names no upload.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(u128::from_str_radix(text, 16).ok()?);
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadId({:06x}…)", self.0 >> 104)
    }
}
