//! Gzip tars that are refused, each with its own variant, and leave nothing behind.

use crate::archive::{RawTar, gzip};
use crate::fixture::{Fixture, noise};
use mortise_delivery::{ArchiveError, ArchiveLimits, PathFault, TreeLimits};

fn refuse(archive: RawTar) -> ArchiveError {
    Fixture::new().refuse(&archive.gz())
}

#[test]
fn names_that_are_not_plain_paths_inside() {
    let long_name = "n".repeat(256);
    let long_path = vec!["n".repeat(200); 6].join("/");
    let deep = vec!["d"; 33].join("/");
    let table: [(&[u8], PathFault); 17] = [
        (b"../evil", PathFault::Parent),
        (b"a/../../evil", PathFault::Parent),
        (b"a/..", PathFault::Parent),
        (b"..", PathFault::Parent),
        (b"./../evil", PathFault::Parent),
        (b"/etc/evil", PathFault::Absolute),
        (b"//evil", PathFault::Absolute),
        (b".//evil", PathFault::EmptyComponent),
        (b"a//evil", PathFault::EmptyComponent),
        (b"evil/", PathFault::EmptyComponent),
        (b"..\\evil", PathFault::Backslash),
        (b"C:\\evil", PathFault::Backslash),
        (b"evil\n", PathFault::ControlCharacter),
        (b"evil\xff", PathFault::NotUtf8),
        (b"evil.", PathFault::TrailingDot),
        (b"evil /x", PathFault::TrailingDot),
        (b"a/./evil", PathFault::EmptyComponent),
    ];
    for (name, expected) in table {
        let error = refuse(RawTar::plugin().file(name, b"x"));
        let text = error.to_string();
        assert!(matches!(error, ArchiveError::UnsafePath { fault, .. } if fault == expected), "{error:?}");
        if let Ok(name) = std::str::from_utf8(name) {
            assert_eq!(text, format!("unsafe path in archive: {}", name.replace('\n', "\\n")));
        }
    }
    for (name, expected) in [
        (long_name, PathFault::NameTooLong { max: 255 }),
        (long_path, PathFault::PathTooLong { max: 1024 }),
        (deep, PathFault::TooDeep { max: 32 }),
        ("evil\0x".to_owned(), PathFault::ControlCharacter),
        ("../evil".to_owned(), PathFault::Parent),
    ] {
        // Long names come as a member of their own, in the GNU and in the POSIX way.
        let gnu = RawTar::plugin().member("././@LongLink", b'L', "", name.as_bytes()).file("short", b"x");
        let pax = RawTar::plugin().pax(b'x', "path", &name).file("short", b"x");
        for archive in [gnu, pax] {
            let error = refuse(archive);
            assert!(matches!(error, ArchiveError::UnsafePath { fault, .. } if fault == expected), "{error:?}");
        }
    }
}

#[test]
fn links_and_special_files() {
    for target in ["/etc/passwd", "../../canary", "manifest.json", ""] {
        let error = refuse(RawTar::plugin().member("link", b'2', target, b""));
        assert!(matches!(&error, ArchiveError::SymbolicLink { name } if name == "link"), "{error:?}");
        let error = refuse(RawTar::plugin().member("link", b'1', target, b""));
        assert!(matches!(&error, ArchiveError::HardLink { name } if name == "link"), "{error:?}");
    }
    // The classic: a link to elsewhere, then a file through it.
    let error = refuse(RawTar::plugin().member("dir", b'2', "../..", b"").file("dir/evil", b"x"));
    assert!(matches!(error, ArchiveError::SymbolicLink { .. }), "{error:?}");
    for (kind, expected) in [
        (b'3', "a character device"),
        (b'4', "a block device"),
        (b'6', "a pipe"),
        (b'S', "a sparse file"),
        (b'V', "of unknown type"),
    ] {
        let error = refuse(RawTar::plugin().member("special", kind, "", b""));
        assert!(matches!(&error, ArchiveError::SpecialFile { kind, .. } if *kind == expected), "{error:?}");
    }
    let error = refuse(RawTar::plugin().pax(b'x', "GNU.sparse.major", "1").file("sparse", b"x"));
    assert!(matches!(error, ArchiveError::SpecialFile { kind: "a sparse file", .. }), "{error:?}");
    let error = refuse(RawTar::plugin().member("dir/", b'5', "", b"content"));
    assert!(matches!(error, ArchiveError::SpecialFile { kind: "a folder with content", .. }), "{error:?}");
}

#[test]
fn members_that_get_in_each_others_way() {
    let error = refuse(RawTar::plugin().file("a", b"1").file("a", b"2"));
    assert!(matches!(&error, ArchiveError::Duplicate { name } if name == "a"), "{error:?}");
    let error = refuse(RawTar::plugin().file("a", b"1").file("./a", b"2"));
    assert!(matches!(&error, ArchiveError::Duplicate { name } if name == "./a"), "{error:?}");
    let error = refuse(RawTar::plugin().file("MANIFEST.json", b"{}"));
    assert!(matches!(&error, ArchiveError::CaseCollision { other, .. } if other == "manifest.json"), "{error:?}");
    let error = refuse(RawTar::plugin().file("dir/a", b"1").file("DIR/b", b"2"));
    assert!(matches!(&error, ArchiveError::CaseCollision { other, .. } if other == "dir"), "{error:?}");
    let error = refuse(RawTar::plugin().file("a", b"1").file("a/b", b"2"));
    assert!(matches!(&error, ArchiveError::FileAsFolder { other, .. } if other == "a"), "{error:?}");
    let error = refuse(RawTar::plugin().file("a/b", b"1").file("a", b"2"));
    assert!(matches!(&error, ArchiveError::FileAsFolder { other, .. } if other == "a"), "{error:?}");
    let error = refuse(RawTar::plugin().member("a/", b'5', "", b"").member("a", b'5', "", b""));
    assert!(matches!(&error, ArchiveError::Duplicate { name } if name == "a"), "{error:?}");
}

#[test]
fn more_than_a_plugin_may_have() {
    let with = |tree: TreeLimits| {
        let mut fixture = Fixture::new();
        fixture.limits = ArchiveLimits { tree, ..ArchiveLimits::default() };
        fixture
    };
    let fixture = with(TreeLimits { bytes_max: 100 << 10, ..TreeLimits::default() });
    let error = fixture.refuse(&RawTar::plugin().file("big", &noise(100 << 10)).gz());
    assert!(matches!(error, ArchiveError::UnpackedTooLarge { bytes_max: 102_400 }), "{error:?}");
    // What lies behind the end of the tar counts as well.
    let mut bytes = RawTar::plugin().bytes();
    bytes.resize(bytes.len() + 1024, 0);
    bytes.extend_from_slice(&noise(100 << 10));
    let error = fixture.refuse(&gzip(&bytes));
    assert!(matches!(error, ArchiveError::UnpackedTooLarge { bytes_max: 102_400 }), "{error:?}");

    let fixture = with(TreeLimits { members_max: 5, ..TreeLimits::default() });
    let error = fixture.refuse(&RawTar::plugin().file("a/b/c/d", b"").gz());
    assert!(matches!(error, ArchiveError::TooManyMembers { members_max: 5 }), "{error:?}");
    // Members that become nothing on disk are members too.
    let nothing = (0..6).fold(RawTar::default(), |tar, _| tar.pax(b'g', "comment", "x"));
    let error = fixture.refuse(&nothing.gz());
    assert!(matches!(error, ArchiveError::TooManyMembers { members_max: 5 }), "{error:?}");
    let nothing = (0..6).fold(RawTar::default(), |tar, _| tar.member("./", b'5', "", b""));
    let error = fixture.refuse(&nothing.gz());
    assert!(matches!(error, ArchiveError::TooManyMembers { members_max: 5 }), "{error:?}");

    let error = refuse(RawTar::plugin().file("bomb", &vec![0; 20 << 20]));
    assert!(matches!(error, ArchiveError::RatioTooHigh { ratio_max: 200 }), "{error:?}");

    let huge = vec![b'n'; 100 << 10];
    let error = refuse(RawTar::plugin().member("././@LongLink", b'L', "", &huge).file("a", b""));
    assert!(matches!(error, ArchiveError::MetadataTooLarge { bytes_max: 65_536 }), "{error:?}");
    let error = refuse(RawTar::plugin().member("pax", b'x', "", &huge).file("a", b""));
    assert!(matches!(error, ArchiveError::MetadataTooLarge { bytes_max: 65_536 }), "{error:?}");
}

#[test]
fn exactly_the_limits_pass() {
    let mut fixture = Fixture::new();
    let bytes = RawTar::plugin().file("a/b", &noise(5000)).gz();
    let unpacked = 512 * (3 + 1 + 1) + 5120 + 1024;
    fixture.limits.tree = TreeLimits { bytes_max: unpacked, members_max: 4, depth_max: 2, ..TreeLimits::default() };
    assert!(fixture.stage(&bytes, None).is_ok());
    fixture.limits.tree.bytes_max -= 1;
    assert!(matches!(fixture.refuse(&bytes), ArchiveError::UnpackedTooLarge { .. }));
}

#[test]
fn damage() {
    let fixture = Fixture::new();
    let good = RawTar::plugin().file("big", &noise(50_000)).gz();
    for length in [10, 100, good.len() / 2, good.len() - 9, good.len() - 1] {
        let error = fixture.refuse(&good[..length]);
        assert!(matches!(error, ArchiveError::Corrupt { .. }), "{length}: {error:?}");
    }
    let mut flipped = good.clone();
    // The checksum's first byte.
    let at = flipped.len() - 8;
    flipped[at] ^= 1;
    assert!(matches!(fixture.refuse(&flipped), ArchiveError::Corrupt { .. }));

    assert!(matches!(fixture.refuse(b""), ArchiveError::NotGzip));
    assert!(matches!(fixture.refuse(b"hello"), ArchiveError::NotGzip));
    assert!(matches!(fixture.refuse(&RawTar::plugin().bytes()), ArchiveError::NotGzip));
    assert!(matches!(fixture.refuse(&gzip(&noise(2048))), ArchiveError::Corrupt { .. }));

    // A header that promises more than there is, in a gzip that is whole.
    let mut cut = RawTar::plugin();
    cut.header("cut", b'0', "", 10_000);
    let mut bytes = cut.bytes();
    bytes.extend_from_slice(b"short");
    let error = fixture.refuse(&gzip(&bytes));
    assert!(matches!(error, ArchiveError::Truncated { expected: 10_000, actual: 5, .. }), "{error:?}");
}

#[test]
fn no_manifest_where_it_is_looked_for() {
    let text = "archive must contain manifest.json at root or in a single top-level folder";
    let manifest = crate::fixture::MANIFEST.as_bytes();
    for archive in [
        RawTar::default(),
        RawTar::default().file("readme", b""),
        RawTar::default().file("a/b/manifest.json", manifest),
        RawTar::default().file("a/manifest.json", manifest).file("b/x", b""),
        RawTar::default().file("manifest.json/x", manifest).file("b/x", b""),
        RawTar::default().member("a/manifest.json", b'5', "", b""),
    ] {
        let error = refuse(archive);
        assert!(matches!(error, ArchiveError::NoManifest), "{error:?}");
        assert_eq!(error.to_string(), text);
    }
}
