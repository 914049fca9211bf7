//! Chunked uploads from the outside.

use crate::faults::TinyDisk;
use crate::fixture::{Fixture, names, noise};
use mortise_delivery::{ArchiveStore, Staging, UploadError, UploadId, UploadLimits, UploadPhase, Uploads};
use mortise_model::Digest;
use std::fs;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

struct Host {
    fixture: Fixture,
    uploads: Uploads,
    now: Instant,
}

impl Host {
    fn new(limits: UploadLimits) -> Self {
        let fixture = Fixture::new();
        let uploads = Uploads::new(fixture.staging.clone(), limits);
        Self { fixture, uploads, now: Instant::now() }
    }

    fn begin(&self, bytes: &[u8]) -> UploadId {
        self.uploads.begin(bytes.len() as u64, Digest::of(bytes), self.now).unwrap()
    }

    fn append(&self, id: &UploadId, offset: u64, chunk: &[u8]) -> Result<u64, UploadError> {
        self.uploads.append(id, offset, chunk, self.now)
    }

    fn staged(&self) -> usize {
        names(self.fixture.staging.path()).len()
    }
}

fn roomy() -> UploadLimits {
    UploadLimits::new(1 << 20)
}

#[test]
fn chunks_become_a_verified_bundle() {
    let host = Host::new(roomy());
    let bundle = noise(100_000);
    let id = host.begin(&bundle);
    let mut next = 0;
    for chunk in bundle.chunks(30_000) {
        next = host.append(&id, next, chunk).unwrap();
    }
    assert_eq!(next, 100_000);
    let status = host.uploads.status(&id, host.now).unwrap();
    assert_eq!((status.next_offset, status.total_bytes, status.phase), (100_000, 100_000, UploadPhase::Receiving));
    let uploaded = host.uploads.commit(&id, host.now).unwrap();
    assert_eq!((uploaded.bytes, uploaded.digest), (100_000, Digest::of(&bundle)));
    assert_eq!(uploaded.read().unwrap(), bundle);
    assert_eq!(host.uploads.status(&id, host.now).unwrap().phase, UploadPhase::Verified);
    let store = ArchiveStore::open(&host.fixture.capabilities().join(".mortise")).unwrap();
    store.put_file(uploaded.path(), &uploaded.digest).unwrap();
    assert!(store.contains(&uploaded.digest).unwrap());
}

#[test]
fn whatever_reply_was_lost_the_same_may_be_sent_again() {
    let host = Host::new(roomy());
    let id = host.begin(b"0123456789");
    assert_eq!(host.append(&id, 0, b"0123").unwrap(), 4);
    assert_eq!(host.append(&id, 0, b"0123").unwrap(), 4);
    assert_eq!(host.append(&id, 4, b"4567").unwrap(), 8);
    // An older chunk, an empty one, and one that goes beyond what has come.
    assert_eq!(host.append(&id, 1, b"12").unwrap(), 8);
    assert_eq!(host.append(&id, 8, b"").unwrap(), 8);
    assert_eq!(host.append(&id, 6, b"6789").unwrap(), 10);
    let first = host.uploads.commit(&id, host.now).unwrap();
    let again = host.uploads.commit(&id, host.now + MINUTE).unwrap();
    assert_eq!((first.path(), first.digest), (again.path(), again.digest));
    assert_eq!(again.read().unwrap(), b"0123456789");
    // Chunks that were delayed come after the commit, and change nothing.
    assert_eq!(host.append(&id, 8, b"89").unwrap(), 10);
    assert!(matches!(host.append(&id, 8, b"XX"), Err(UploadError::Conflict { expected: 10, offset: 8 })));
    assert_eq!(again.read().unwrap(), b"0123456789");
}

#[test]
fn a_chunk_out_of_place_says_where_to_go_on() {
    let host = Host::new(roomy());
    let id = host.begin(b"0123456789");
    host.append(&id, 0, b"0123").unwrap();
    let refused = |offset, chunk: &[u8]| {
        let error = host.append(&id, offset, chunk).unwrap_err();
        assert_eq!(error.expected_offset(), Some(4), "{error}");
        error.code()
    };
    assert_eq!(refused(5, b"5"), "upload_gap");
    assert_eq!(refused(2, b"2X"), "upload_conflict");
    assert_eq!(refused(2, b"2X45"), "upload_conflict");
    assert_eq!(refused(4, b"4567890"), "upload_beyond_end");
    assert_eq!(refused(u64::MAX, b"4"), "upload_beyond_end");
    let error = host.uploads.commit(&id, host.now).unwrap_err();
    assert!(matches!(error, UploadError::Incomplete { expected: 4, total_bytes: 10 }), "{error}");
    host.append(&id, 4, b"456789").unwrap();
    assert_eq!(host.uploads.commit(&id, host.now).unwrap().read().unwrap(), b"0123456789");
}

#[test]
fn another_bundle_than_announced_is_refused_and_gone() {
    let host = Host::new(roomy());
    let id = host.uploads.begin(4, Digest::of(b"good"), host.now).unwrap();
    host.append(&id, 0, b"evil").unwrap();
    for _ in 0..2 {
        match host.uploads.commit(&id, host.now) {
            Err(UploadError::DigestMismatch { expected, actual }) => {
                assert_eq!((expected, actual), (Digest::of(b"good"), Digest::of(b"evil")));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(host.staged(), 0);
    assert_eq!(host.append(&id, 0, b"good").unwrap_err().code(), "digest_mismatch");
    assert_eq!(host.uploads.status(&id, host.now).unwrap().phase, UploadPhase::Refused);
}

#[test]
fn limits_hold_for_one_and_for_all() {
    let limits = UploadLimits { open_max: 2, bytes_in_all_max: 15, ..UploadLimits::new(10) };
    let host = Host::new(limits);
    let begin = |bytes: u64| host.uploads.begin(bytes, Digest::of(b"0123456789"), host.now);
    assert!(matches!(begin(0), Err(UploadError::Empty)));
    assert!(matches!(begin(11), Err(UploadError::TooLarge { bytes_max: 10, bytes: 11 })));
    let first = begin(10).unwrap();
    assert!(matches!(begin(6), Err(UploadError::NoRoom { bytes_max: 15 })));
    let second = begin(5).unwrap();
    assert!(matches!(begin(1), Err(UploadError::TooMany { open_max: 2 })));
    assert!(host.uploads.abort(&second));
    assert!(!host.uploads.abort(&second));
    assert_eq!(host.staged(), 1);
    // One that was committed makes room; who holds its bundle keeps it.
    host.append(&first, 0, b"0123456789").unwrap();
    let bundle = host.uploads.commit(&first, host.now).unwrap();
    let third = begin(10).unwrap();
    assert!(matches!(host.uploads.commit(&first, host.now), Err(UploadError::NotFound)));
    assert_eq!(bundle.read().unwrap(), b"0123456789");
    drop(bundle);
    assert_eq!(host.staged(), 1);
    // One that was looked at is there to be committed.
    host.append(&third, 0, b"0123456789").unwrap();
    host.uploads.verify(&third, host.now).unwrap();
    assert!(matches!(begin(10), Err(UploadError::NoRoom { bytes_max: 15 })));
    assert_eq!(host.uploads.commit(&third, host.now).unwrap().read().unwrap(), b"0123456789");
    let third = begin(10).unwrap();
    // One that was refused counts no bytes.
    host.append(&third, 0, b"XXXXXXXXXX").unwrap();
    assert_eq!(host.uploads.commit(&third, host.now).unwrap_err().code(), "digest_mismatch");
    begin(10).unwrap();
}

#[test]
fn an_upload_that_does_not_grow_expires() {
    let host = Host::new(roomy());
    let id = host.begin(b"0123");
    let at = |minutes: u32| host.now + MINUTE * minutes;
    host.uploads.append(&id, 0, b"01", at(9)).unwrap();
    assert_eq!(host.uploads.expire(at(18)), 0);
    // The same bytes again are no progress.
    host.uploads.append(&id, 0, b"01", at(18)).unwrap();
    assert_eq!(host.uploads.status(&id, at(18)).unwrap().expires_in, MINUTE);
    // Past its time it is gone, swept or not.
    assert!(matches!(host.uploads.status(&id, at(19)), Err(UploadError::NotFound)));
    assert!(matches!(host.uploads.append(&id, 2, b"23", at(19)), Err(UploadError::NotFound)));
    assert!(matches!(host.uploads.commit(&id, at(19)), Err(UploadError::NotFound)));
    assert_eq!(host.uploads.expire(at(19)), 1);
    host.fixture.assert_untouched();

    let id = host.begin(b"0123");
    host.append(&id, 0, b"0123").unwrap();
    let bundle = host.uploads.commit(&id, at(9)).unwrap();
    assert!(host.uploads.commit(&id, at(18)).is_ok());
    assert_eq!(host.uploads.expire(at(19)), 1, "a commit that is repeated does not live longer");
    assert_eq!(bundle.read().unwrap(), b"0123");
    drop(bundle);
    host.fixture.assert_untouched();
}

#[test]
fn ids_are_unlike_one_another_and_do_not_print_whole() {
    let host = Host::new(roomy());
    let (one, two) = (host.begin(b"x"), host.begin(b"x"));
    assert_ne!(one, two);
    let text = one.to_string();
    assert_eq!((text.len(), UploadId::parse(&text)), (32, Some(one)));
    assert!(!format!("{one:?}").contains(&text));
    for bad in ["", "x", &text[1..], &text.to_uppercase().replace(char::is_numeric, "A"), &format!("+{}", &text[1..])] {
        assert_eq!(UploadId::parse(bad), None, "{bad}");
    }
    assert!(matches!(host.append(&UploadId::parse(&"0".repeat(32)).unwrap(), 0, b"x"), Err(UploadError::NotFound)));
}

#[test]
fn uploads_of_an_earlier_process_are_swept_with_staging() {
    let host = Host::new(roomy());
    let id = host.begin(b"0123");
    host.append(&id, 0, b"01").unwrap();
    // As if the process had died here.
    std::mem::forget(host.uploads.clone());
    assert_eq!(host.fixture.staging.sweep().unwrap().removed, 1);
    let next = Uploads::new(host.fixture.staging.clone(), roomy());
    assert!(matches!(next.status(&id, host.now), Err(UploadError::NotFound)));
}

#[test]
fn many_threads_may_send_at_once() {
    let host = Host::new(roomy());
    let bundle = noise(64 << 10);
    let id = host.begin(&bundle);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut next = 0;
                while next < bundle.len() {
                    let end = bundle.len().min(next + 5_000);
                    next = usize::try_from(host.append(&id, next as u64, &bundle[next..end]).unwrap()).unwrap();
                }
            });
        }
    });
    assert_eq!(host.uploads.commit(&id, host.now).unwrap().read().unwrap(), bundle);
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let Some(disk) = TinyDisk::mount(64 << 10) else { return };
    let staging = Staging::open(disk.path()).unwrap();
    let uploads = Uploads::new(staging, roomy());
    let now = Instant::now();
    let bundle = noise(48 << 10);
    let id = uploads.begin(bundle.len() as u64, Digest::of(&bundle), now).unwrap();
    let (first, rest) = bundle.split_at(8 << 10);
    uploads.append(&id, 0, first, now).unwrap();
    let filler = disk.path().join("filler");
    assert!(fs::write(&filler, noise(64 << 10)).is_err());
    let error = uploads.append(&id, first.len() as u64, rest, now).unwrap_err();
    assert_eq!((error.code(), error.hint().as_str()), ("disk", "make room on the disk"));
    assert_eq!(uploads.status(&id, now).unwrap().next_offset, first.len() as u64);
    fs::remove_file(&filler).unwrap();
    uploads.append(&id, first.len() as u64, rest, now).unwrap();
    assert_eq!(uploads.commit(&id, now).unwrap().read().unwrap(), bundle);
    drop(uploads);
    let uploads = Uploads::new(Staging::open(disk.path()).unwrap(), roomy());
    disk.set_read_only(true);
    assert_eq!(uploads.begin(1, Digest::of(b"x"), now).unwrap_err().hint(), "let the host's user write there");
    disk.set_read_only(false);
}
