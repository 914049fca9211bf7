//! One upload: its file, and what has come of it.

use super::{UploadError, UploadPhase};
use crate::disk::{DiskError, failed};
use mortise_model::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use tempfile::NamedTempFile;

/// A bundle that came whole, in staging. Its file is there for as long as a clone of this is.
#[derive(Debug, Clone)]
pub struct UploadedBundle {
    file: Arc<NamedTempFile>,
    /// Its size.
    pub bytes: u64,
    /// Of every byte that came; it is the one that was announced.
    pub digest: Digest,
}

impl UploadedBundle {
    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Reads it whole, through the file that it was written to. Blocks.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn read(&self) -> Result<Vec<u8>, DiskError> {
        let mut bytes = vec![0; usize::try_from(self.bytes).unwrap_or(usize::MAX)];
        self.file.as_file().read_exact_at(&mut bytes, 0).map_err(failed("read", self.path()))?;
        Ok(bytes)
    }
}

#[derive(Debug)]
pub(super) struct Receiver {
    total_bytes: u64,
    received_bytes: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Receiving { file: NamedTempFile, hash: Sha256 },
    Verified(UploadedBundle),
    Refused { expected: Digest, actual: Digest },
}

impl Receiver {
    pub(super) fn new(file: NamedTempFile, total_bytes: u64) -> Self {
        Self { total_bytes, received_bytes: 0, content: Content::Receiving { file, hash: Sha256::new() } }
    }

    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    pub(super) fn phase(&self) -> UploadPhase {
        match self.content {
            Content::Receiving { .. } => UploadPhase::Receiving,
            Content::Verified(_) => UploadPhase::Verified,
            Content::Refused { .. } => UploadPhase::Refused,
        }
    }

    /// Takes a chunk. Bytes that came before are compared and not written again; a failed write counts for nothing.
    pub(super) fn append(&mut self, offset: u64, chunk: &[u8]) -> Result<(), UploadError> {
        if let Content::Refused { expected, actual } = self.content {
            return Err(UploadError::DigestMismatch { expected, actual });
        }
        let expected = self.received_bytes;
        let end = offset.saturating_add(chunk.len() as u64);
        if end > self.total_bytes {
            return Err(UploadError::BeyondEnd { expected, total_bytes: self.total_bytes, end });
        }
        let known = expected.checked_sub(offset).ok_or(UploadError::Gap { expected, offset })?;
        let known = usize::try_from(known).map_or(chunk.len(), |known| known.min(chunk.len()));
        let (known, new) = chunk.split_at(known);
        let file = match &self.content {
            Content::Receiving { file, .. } => file,
            Content::Verified(bundle) => &*bundle.file,
            Content::Refused { .. } => return Ok(()),
        };
        if !holds(file.as_file(), offset, known).map_err(failed("read", file.path()))? {
            return Err(UploadError::Conflict { expected, offset });
        }
        // What is verified is complete, so that nothing can be new to it.
        if let Content::Receiving { file, hash } = &mut self.content {
            file.as_file().write_all_at(new, expected).map_err(failed("write", file.path()))?;
            hash.update(new);
            self.received_bytes = end.max(expected);
        }
        Ok(())
    }

    /// Says that everything came, syncs and judges it. Asked again, it says the same again.
    pub(super) fn finish(&mut self, digest: Digest) -> Result<UploadedBundle, UploadError> {
        let actual = match &self.content {
            Content::Verified(bundle) => return Ok(bundle.clone()),
            Content::Refused { expected, actual } => {
                return Err(UploadError::DigestMismatch { expected: *expected, actual: *actual });
            }
            Content::Receiving { .. } if self.received_bytes < self.total_bytes => {
                let (expected, total_bytes) = (self.received_bytes, self.total_bytes);
                return Err(UploadError::Incomplete { expected, total_bytes });
            }
            Content::Receiving { file, hash } => {
                file.as_file().sync_all().map_err(failed("sync", file.path()))?;
                Digest::from_bytes(hash.clone().finalize().into())
            }
        };
        let refused = Content::Refused { expected: digest, actual };
        // Refused unless it is verified below; its file goes with it.
        match std::mem::replace(&mut self.content, refused) {
            Content::Receiving { file, .. } if actual == digest => {
                let bundle = UploadedBundle { file: Arc::new(file), bytes: self.total_bytes, digest };
                self.content = Content::Verified(bundle.clone());
                Ok(bundle)
            }
            _ => Err(UploadError::DigestMismatch { expected: digest, actual }),
        }
    }
}

/// Whether the file has these bytes at `offset`.
fn holds(file: &File, mut offset: u64, mut bytes: &[u8]) -> std::io::Result<bool> {
    let mut buffer = [0; 16 << 10];
    while !bytes.is_empty() {
        let (part, rest) = bytes.split_at(bytes.len().min(buffer.len()));
        let held = buffer.get_mut(..part.len()).unwrap_or_default();
        file.read_exact_at(held, offset)?;
        if held != part {
            return Ok(false);
        }
        offset += part.len() as u64;
        bytes = rest;
    }
    Ok(true)
}
