//! Counts what comes out of an archive and stops it at the limits.

use super::{ArchiveError, ArchiveLimits};
use std::cell::{Cell, RefCell};
use std::io::{self, Read};

/// Unpacked bytes below which the ratio does not matter: small texts compress well.
const RATIO_GRACE_BYTES: u64 = 1 << 20;

/// Bytes that one member's metadata (long names, extended headers) may have: they are read into memory.
const METADATA_BYTES_MAX: u64 = 64 << 10;

/// What one archive may still bring. Shared by all readers of that archive.
#[derive(Debug)]
pub(super) struct Budget {
    limits: ArchiveLimits,
    packed: u64,
    unpacked: Cell<u64>,
    /// Left for metadata while an archive's library looks for the next member; none while content is read.
    metadata: Cell<Option<u64>>,
    /// The limit that a reader ran into, until somebody asks: libraries pass on `io::Error`s only.
    broken: RefCell<Option<ArchiveError>>,
}

impl Budget {
    pub(super) fn new(limits: ArchiveLimits, packed: u64) -> Self {
        Self { limits, packed, unpacked: Cell::new(0), metadata: Cell::new(None), broken: RefCell::new(None) }
    }

    /// Runs what looks for the next member, with a small budget of its own.
    pub(super) fn metadata<T>(&self, next: impl FnOnce() -> T) -> T {
        self.metadata.set(Some(METADATA_BYTES_MAX));
        let result = next();
        self.metadata.set(None);
        result
    }

    /// What a library's error means: the limit that a reader ran into, or damaged data.
    pub(super) fn explain(&self, error: &dyn std::error::Error) -> ArchiveError {
        self.broken.take().unwrap_or_else(|| ArchiveError::Corrupt { reason: error.to_string() })
    }

    fn spend(&self, bytes: u64) -> Result<(), ArchiveError> {
        if let Some(left) = self.metadata.get() {
            let left =
                left.checked_sub(bytes).ok_or(ArchiveError::MetadataTooLarge { bytes_max: METADATA_BYTES_MAX })?;
            self.metadata.set(Some(left));
        }
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
