//! Bundles that come in chunks, since they are larger than one message of the mesh.
//!
//! An upload is begun with its size and digest, its chunks are appended in order, and it is committed. Whoever lost a
//! reply sends the same again. Uploads live in staging and in memory: a restart of the host ends them by design.

mod error;
mod id;
mod receiver;

pub use error::UploadError;
pub use id::UploadId;
pub use receiver::UploadedBundle;

use crate::Staging;
use crate::disk::failed;
use mortise_model::Digest;
use receiver::Receiver;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much may be uploaded at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// Of one bundle.
    pub bundle_bytes_max: u64,
    /// Uploads at once.
    pub open_max: usize,
    /// Announced bytes of all uploads.
    pub bytes_in_all_max: u64,
    /// How long an upload lives after it last grew, or after it was committed.
    pub expiry: Duration,
}

impl UploadLimits {
    /// 16 uploads at once, as many bytes as four of the largest bundles, 10 minutes.
    #[must_use]
    pub fn new(bundle_bytes_max: u64) -> Self {
        Self {
            bundle_bytes_max,
            open_max: 16,
            bytes_in_all_max: bundle_bytes_max.saturating_mul(4),
            expiry: Duration::from_secs(600),
        }
    }
}

/// What has become of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadPhase {
    /// Chunks are taken.
    Receiving,
    /// It is complete and has the digest that was announced.
    Verified,
    /// It is complete, and its digest is another.
    Refused,
}

/// Where an upload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadStatus {
    /// As announced.
    pub total_bytes: u64,
    /// As announced.
    pub digest: Digest,
    /// Where the next chunk belongs: so many bytes have come.
    pub next_offset: u64,
    /// What has become of it.
    pub phase: UploadPhase,
    /// How long it lives if nothing comes.
    pub expires_in: Duration,
}

/// The uploads of a host. Clones share them. Everything blocks on the disk: calls belong on threads that may.
///
/// Calls take the time, so that only their caller knows a clock. An upload that is past its time is gone for every call,
/// whether or not [`Uploads::expire`] has removed it; that one only gives its bytes back.
#[derive(Debug, Clone)]
pub struct Uploads {
    staging: Staging,
    limits: UploadLimits,
    table: Arc<Mutex<HashMap<UploadId, Slot>>>,
}

#[derive(Debug)]
struct Slot {
    total_bytes: u64,
    digest: Digest,
    deadline: Instant,
    phase: UploadPhase,
    /// Whether its owner has had all that it is for: such a one makes room for others.
    done: bool,
    /// Locked while a chunk is written, so that uploads do not wait for one another.
    receiver: Arc<Mutex<Receiver>>,
}

impl Slot {
    /// What it counts against the limit.
    fn bytes(&self) -> u64 {
        if self.phase == UploadPhase::Refused { 0 } else { self.total_bytes }
    }
}

impl Uploads {
    /// No uploads yet. Their files will be in `staging`.
    #[must_use]
    pub fn new(staging: Staging, limits: UploadLimits) -> Self {
        Self { staging, limits, table: Arc::default() }
    }

    /// Begins an upload of `total_bytes` bytes that have `digest`. Those that were committed make room, the oldest
    /// first, when there is none.
    ///
    /// # Errors
    /// [`UploadError::Empty`], [`UploadError::TooLarge`], [`UploadError::TooMany`], [`UploadError::NoRoom`],
    /// [`UploadError::Disk`].
    pub fn begin(&self, total_bytes: u64, digest: Digest, now: Instant) -> Result<UploadId, UploadError> {
        let UploadLimits { bundle_bytes_max, .. } = self.limits;
        if total_bytes == 0 {
            return Err(UploadError::Empty);
        }
        if total_bytes > bundle_bytes_max {
            return Err(UploadError::TooLarge { bytes_max: bundle_bytes_max, bytes: total_bytes });
        }
        // Judged and taken in one step, so that two cannot take the last place.
        let mut table = lock(&self.table);
        table.retain(|_, slot| now < slot.deadline);
        while let Err(error) = self.has_room(&table, total_bytes) {
            let done = table.iter().filter(|(_, slot)| slot.done || slot.phase == UploadPhase::Refused);
            let oldest = done.min_by_key(|(_, slot)| slot.deadline).map(|(id, _)| *id);
            oldest.and_then(|id| table.remove(&id)).ok_or(error)?;
        }
        let dir = self.staging.path();
        let file = tempfile::Builder::new().prefix("upload-").tempfile_in(dir);
        let file = file.map_err(failed("create a file in", dir))?;
        let id = UploadId::random();
        let receiver = Arc::new(Mutex::new(Receiver::new(file, total_bytes)));
        let deadline = now + self.limits.expiry;
        table.insert(id, Slot { total_bytes, digest, deadline, phase: UploadPhase::Receiving, done: false, receiver });
        Ok(id)
    }

    /// Appends a chunk and returns the offset of the next. Bytes that came before are compared and not written again, so
    /// that a chunk may be sent twice. Only an upload that grows lives longer. Nothing is synced before the commit.
    ///
    /// # Errors
    /// [`UploadError::NotFound`]; [`UploadError::Gap`], [`UploadError::Conflict`] and [`UploadError::BeyondEnd`], which
    /// say where to go on; [`UploadError::DigestMismatch`] once it is refused; [`UploadError::Disk`].
    pub fn append(&self, id: &UploadId, offset: u64, chunk: &[u8], now: Instant) -> Result<u64, UploadError> {
        let receiver = self.receiver(id, now)?;
        let mut receiver = lock(&receiver);
        let before = receiver.received_bytes();
        receiver.append(offset, chunk)?;
        let next = receiver.received_bytes();
        drop(receiver);
        if next > before {
            self.update(id, now, UploadPhase::Receiving);
        }
        Ok(next)
    }

    /// Where an upload stands.
    ///
    /// # Errors
    /// [`UploadError::NotFound`].
    pub fn status(&self, id: &UploadId, now: Instant) -> Result<UploadStatus, UploadError> {
        let receiver = self.receiver(id, now)?;
        let receiver = lock(&receiver);
        let (next_offset, phase) = (receiver.received_bytes(), receiver.phase());
        drop(receiver);
        let table = lock(&self.table);
        let Slot { total_bytes, digest, deadline, .. } = *table.get(id).ok_or(UploadError::NotFound)?;
        let expires_in = deadline.saturating_duration_since(now);
        Ok(UploadStatus { total_bytes, digest, next_offset, phase, expires_in })
    }

    /// Ends an upload: as [`Uploads::verify`], and from now on it makes room for others. Asked again before it expires,
    /// it answers the same again.
    ///
    /// # Errors
    /// As for [`Uploads::verify`].
    pub fn commit(&self, id: &UploadId, now: Instant) -> Result<UploadedBundle, UploadError> {
        let bundle = self.verify(id, now)?;
        if let Some(slot) = lock(&self.table).get_mut(id) {
            slot.done = true;
        }
        Ok(bundle)
    }

    /// Syncs a complete upload and compares its digest with the announced one. For whoever wants to look at it: it is
    /// there to be committed as before.
    ///
    /// # Errors
    /// [`UploadError::NotFound`], [`UploadError::Incomplete`], [`UploadError::DigestMismatch`], [`UploadError::Disk`].
    pub fn verify(&self, id: &UploadId, now: Instant) -> Result<UploadedBundle, UploadError> {
        let receiver = self.receiver(id, now)?;
        let digest = lock(&self.table).get(id).ok_or(UploadError::NotFound)?.digest;
        let mut receiver = lock(&receiver);
        let was = receiver.phase();
        let finished = receiver.finish(digest);
        let is = receiver.phase();
        drop(receiver);
        if is != was {
            self.update(id, now, is);
        }
        finished
    }

    /// Ends an upload and returns whether there was one. A bundle that was committed stays for who holds it.
    pub fn abort(&self, id: &UploadId) -> bool {
        lock(&self.table).remove(id).is_some()
    }

    /// Ends the uploads whose time has come and returns how many they were. To be called now and then, so that their
    /// bytes do not wait for the next upload.
    pub fn expire(&self, now: Instant) -> usize {
        let mut table = lock(&self.table);
        let before = table.len();
        table.retain(|_, slot| now < slot.deadline);
        before - table.len()
    }

    fn has_room(&self, table: &HashMap<UploadId, Slot>, total_bytes: u64) -> Result<(), UploadError> {
        let UploadLimits { open_max, bytes_in_all_max, .. } = self.limits;
        if table.len() >= open_max {
            return Err(UploadError::TooMany { open_max });
        }
        let bytes = table.values().fold(total_bytes, |sum, slot| sum.saturating_add(slot.bytes()));
        if bytes > bytes_in_all_max { Err(UploadError::NoRoom { bytes_max: bytes_in_all_max }) } else { Ok(()) }
    }

    fn receiver(&self, id: &UploadId, now: Instant) -> Result<Arc<Mutex<Receiver>>, UploadError> {
        let table = lock(&self.table);
        let slot = table.get(id).filter(|slot| now < slot.deadline).ok_or(UploadError::NotFound)?;
        Ok(Arc::clone(&slot.receiver))
    }

    /// Notes that an upload grew or ended, if it is still there.
    fn update(&self, id: &UploadId, now: Instant, phase: UploadPhase) {
        if let Some(slot) = lock(&self.table).get_mut(id) {
            // A chunk that was written while another thread committed does not open the upload again.
            if slot.phase == UploadPhase::Receiving {
                slot.phase = phase;
            }
            slot.deadline = now + self.limits.expiry;
        }
    }
}

/// What is behind these locks is valid between any two statements, so that a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
