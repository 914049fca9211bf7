//! Zip files that are refused, each with its own variant, and leave nothing behind.

use crate::archive::{RawZip, ZipMember};
use crate::fixture::{Fixture, noise};
use mortise_delivery::{ArchiveError, ArchiveLimits, PathFault, TreeLimits};

fn refuse(archive: RawZip) -> ArchiveError {
    Fixture::new().refuse(&archive.bytes())
}

#[test]
fn names_that_are_not_plain_paths_inside() {
    let table: [(&[u8], PathFault); 8] = [
        (b"../evil", PathFault::Parent),
        (b"a/../../evil", PathFault::Parent),
        (b"/etc/evil", PathFault::Absolute),
        (b"..\\evil", PathFault::Backslash),
        (b"evil\0.txt", PathFault::ControlCharacter),
        (b"evil\xff", PathFault::NotUtf8),
        (b"a//evil", PathFault::EmptyComponent),
        (b"evil.", PathFault::TrailingDot),
    ];
    for (name, expected) in table {
        let error = refuse(RawZip::plugin().file(name, b"x"));
        assert!(error.to_string().starts_with("unsafe path in archive: "), "{error}");
        assert!(matches!(error, ArchiveError::UnsafePath { fault, .. } if fault == expected), "{error:?}");
    }
    let error = refuse(RawZip::plugin().file("d/".repeat(33) + "x", b""));
    assert!(matches!(error, ArchiveError::UnsafePath { fault: PathFault::TooDeep { max: 32 }, .. }), "{error:?}");
}

#[test]
fn links_and_special_files() {
    let error = refuse(RawZip::plugin().with(ZipMember::new("link", 0o120_777, b"/etc/passwd")));
    assert!(matches!(&error, ArchiveError::SymbolicLink { name } if name == "link"), "{error:?}");
    for (mode, expected) in [
        (0o020_644, "a character device"),
        (0o060_644, "a block device"),
        (0o010_644, "a pipe"),
        (0o140_644, "a socket"),
        (0o160_644, "of unknown type"),
    ] {
        let error = refuse(RawZip::plugin().with(ZipMember::new("special", mode, b"")));
        assert!(matches!(&error, ArchiveError::SpecialFile { kind, .. } if *kind == expected), "{error:?}");
    }
    for member in [
        ZipMember::new("dir/", 0o040_755, b"content"),
        ZipMember::new("dir/", 0o100_644, b""),
        ZipMember::new("dir", 0o040_755, b""),
    ] {
        let error = refuse(RawZip::plugin().with(member));
        assert!(matches!(error, ArchiveError::SpecialFile { .. }), "{error:?}");
    }
}

#[test]
fn members_that_get_in_each_others_way() {
    let error = refuse(RawZip::plugin().file("a", b"1").file("a", b"2"));
    assert!(matches!(&error, ArchiveError::Duplicate { name } if name == "a"), "{error:?}");
    let error = refuse(RawZip::plugin().file("a", b"1").file("./a", b"2"));
    assert!(matches!(&error, ArchiveError::Duplicate { name } if name == "./a"), "{error:?}");
    let error = refuse(RawZip::plugin().file("Plugin.wasm", b"x"));
    assert!(matches!(&error, ArchiveError::CaseCollision { other, .. } if other == "plugin.wasm"), "{error:?}");
    let error = refuse(RawZip::plugin().file("plugin.wasm/x", b"x"));
    assert!(matches!(&error, ArchiveError::FileAsFolder { other, .. } if other == "plugin.wasm"), "{error:?}");
}

#[test]
fn headers_that_disagree() {
    let mut member = ZipMember::new("harmless", 0o100_644, b"x");
    member.local_name = Some(b"evil".to_vec());
    let error = refuse(RawZip::plugin().with(member));
    assert!(matches!(error, ArchiveError::Corrupt { .. }), "{error:?}");
}

#[test]
fn more_than_a_plugin_may_have() {
    let mut fixture = Fixture::new();
    fixture.limits = ArchiveLimits {
        tree: TreeLimits { bytes_max: 10_000, members_max: 4, ..TreeLimits::default() },
        ratio_max: 200,
    };
    let error = fixture.refuse(&RawZip::plugin().file("big", &noise(10_000)).bytes());
    assert!(matches!(error, ArchiveError::UnpackedTooLarge { bytes_max: 10_000 }), "{error:?}");
    let many = (0..3).fold(RawZip::plugin(), |zip, n| zip.file(format!("{n}"), b""));
    let error = fixture.refuse(&many.bytes());
    assert!(matches!(error, ArchiveError::TooManyMembers { members_max: 4 }), "{error:?}");
    let error = fixture.refuse(&RawZip::plugin().file("a/b/c", b"").bytes());
    assert!(matches!(error, ArchiveError::TooManyMembers { members_max: 4 }), "{error:?}");

    let mut bomb = ZipMember::new("bomb", 0o100_644, &vec![0; 20 << 20]);
    bomb.method = 8;
    let error = refuse(RawZip::plugin().with(bomb.clone()));
    assert!(matches!(error, ArchiveError::RatioTooHigh { ratio_max: 200 }), "{error:?}");
    // A header that makes light of it changes nothing.
    bomb.size = Some(10);
    let error = refuse(RawZip::plugin().with(bomb));
    assert!(matches!(error, ArchiveError::RatioTooHigh { .. } | ArchiveError::Corrupt { .. }), "{error:?}");
}

#[test]
fn varieties_that_are_not_read() {
    let mut member = ZipMember::new("secret", 0o100_644, b"0123456789ab");
    member.flags = 1;
    let error = refuse(RawZip::plugin().with(member));
    assert!(matches!(&error, ArchiveError::Encrypted { name } if name == "secret"), "{error:?}");
    let mut member = ZipMember::new("odd", 0o100_644, b"x");
    member.method = 12;
    let error = refuse(RawZip::plugin().with(member));
    assert!(matches!(&error, ArchiveError::Compression { name } if name == "odd"), "{error:?}");
}

#[test]
fn damage() {
    let fixture = Fixture::new();
    assert!(matches!(fixture.refuse(b"PK"), ArchiveError::NotZip));
    let good = RawZip::plugin().file("big", &noise(5000)).bytes();
    assert!(matches!(fixture.refuse(&good[..good.len() / 2]), ArchiveError::NotZip));
    // The directory is whole, what it points at is not.
    let cut = [b"PK".as_slice(), &good[good.len() - 300..]].concat();
    let error = fixture.refuse(&cut);
    assert!(matches!(error, ArchiveError::Corrupt { .. }), "{error:?}");
    let mut flipped = good.clone();
    let at = good.windows(4).position(|window| window == b"\0asm").unwrap();
    flipped[at] ^= 1;
    assert!(matches!(fixture.refuse(&flipped), ArchiveError::Corrupt { .. }));
}
