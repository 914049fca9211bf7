//! Counts what comes out of an archive and stops it at the limits.

use super::{ArchiveError, ArchiveLimits};
use crate::member::shown;
use std::cell::{Cell, RefCell};
use std::io::{self, Read};

/// Unpacked bytes below which the ratio does not matter: small texts compress well.
const RATIO_GRACE_BYTES: u64 = 1 << 20;

/// Bytes that one extended header (a long name, say) may have: it is read into memory.
pub(super) const METADATA_BYTES_MAX: u64 = 64 << 10;

/// What one archive may still bring. Shared by all readers of that archive.
#[derive(Debug)]
pub(super) struct Budget {
    limits: ArchiveLimits,
    packed: u64,
    unpacked: Cell<u64>,
    /// The limit that a reader ran into, until somebody asks: libraries pass on `io::Error`s only.
    broken: RefCell<Option<ArchiveError>>,
}

impl Budget {
    pub(super) fn new(limits: ArchiveLimits, packed: u64) -> Self {
        Self { limits, packed, unpacked: Cell::new(0), broken: RefCell::new(None) }
    }

    /// What a library's error means: the limit that a reader ran into, or damaged data.
    pub(super) fn explain(&self, error: &dyn std::error::Error) -> ArchiveError {
        // The text may quote the archive.
        let corrupt = || ArchiveError::Corrupt { reason: shown(error.to_string().as_bytes()) };
        self.broken.take().unwrap_or_else(corrupt)
    }

    fn spend(&self, bytes: u64) -> Result<(), ArchiveError> {
        let unpacked = self.unpacked.get().saturating_add(bytes);
        self.unpacked.set(unpacked);
        let (bytes_max, ratio_max) = (self.limits.tree.bytes_max, self.limits.ratio_max);
        if unpacked > bytes_max {
            return Err(ArchiveError::UnpackedTooLarge { bytes_max });
        }
        if unpacked > RATIO_GRACE_BYTES && unpacked > self.packed.saturating_mul(ratio_max) {
            return Err(ArchiveError::RatioTooHigh { ratio_max });
        }
        Ok(())
    }
}

/// A reader that spends from a [`Budget`].
#[derive(Debug)]
pub(super) struct Metered<'a, R> {
    inner: R,
    budget: &'a Budget,
}

impl<'a, R> Metered<'a, R> {
    pub(super) fn new(inner: R, budget: &'a Budget) -> Self {
        Self { inner, budget }
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.budget.spend(read as u64).map_err(|error| {
            let text = error.to_string();
            self.budget.broken.replace(Some(error));
            io::Error::other(text)
        })?;
        Ok(read)
    }
}
