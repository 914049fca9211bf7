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
fn names_that_are_one_name_to_some_file_system() {
    for (one, other) in [("\u{e9}", "e\u{301}"), ("stra\u{df}e", "STRASSE"), ("a\u{200b}", "a"), ("\u{17f}", "S")] {
        let error = refuse(RawTar::plugin().file(one, b"1").file(other, b"2"));
        assert!(matches!(&error, ArchiveError::CaseCollision { other, .. } if other == one), "{error:?}");
    }
    let error = refuse(RawTar::plugin().file("a\u{202e}gpj.exe", b"x"));
    assert!(matches!(error, ArchiveError::UnsafePath { fault: PathFault::TextDirection, .. }), "{error:?}");
    assert_eq!(error.to_string(), "unsafe path in archive: a\\u{202e}gpj.exe");
}

#[test]
fn names_that_only_other_systems_mind() {
    // Devices of Windows, and its drives: this host does not run there, and `aux.py` is a fair name for a module.
    let fixture = Fixture::new();
    let tar = ["aux.py", "CON", "c:x", "a*b", "~"].iter().fold(RawTar::plugin(), |tar, name| tar.file(name, b""));
    assert!(fixture.stage(&tar.gz(), None).is_ok());
}

#[test]
fn modes_are_normalised() {
    use std::os::unix::fs::PermissionsExt as _;
    let table = [("setuid", 0o4755, 0o755), ("group", 0o610, 0o644), ("all", 0o7777, 0o755), ("none", 0, 0o644)];
    let tar =
        table.iter().fold(RawTar::plugin(), |tar, (name, mode, _)| tar.member_with_mode(name, b'0', "", b"x", *mode));
    let fixture = Fixture::new();
    let staged = fixture.stage(&tar.member_with_mode("dir/", b'5', "", b"", 0o1777).gz(), None).unwrap();
    let mode = |path: &str| std::fs::metadata(staged.root().join(path)).unwrap().permissions().mode() & 0o7777;
    for (name, _, expected) in table {
        assert_eq!(mode(name), expected, "{name}");
    }
    assert_eq!(mode("dir"), 0o755);
}

#[test]
fn extended_headers_that_leave_a_choice() {
    // Two names, or two sizes, for one member: which one counts would be the reader's choice.
    let both = RawTar::plugin().member("././@LongLink", b'L', "", b"one").pax(b'x', "path", "two").file("three", b"x");
    let error = refuse(both);
    assert!(matches!(&error, ArchiveError::HeadersDisagree { name } if name == "two"), "{error:?}");
    let error = refuse(RawTar::plugin().pax(b'x', "size", "512").file("a", b"x"));
    assert!(matches!(&error, ArchiveError::HeadersDisagree { name } if name == "a"), "{error:?}");
    for kind in [b'L', b'K'] {
        let twice = RawTar::plugin().member("long", kind, "", b"one").member("long", kind, "", b"two").file("a", b"x");
        let error = refuse(twice);
        assert!(matches!(&error, ArchiveError::RepeatedHeader { name } if name == "one"), "{error:?}");
    }
    let error = refuse(RawTar::plugin().pax(b'x', "path", "one").pax(b'x', "path", "two").file("a", b"x"));
    assert!(matches!(&error, ArchiveError::RepeatedHeader { name } if name == "one"), "{error:?}");
    for key in ["path", "size"] {
        let twice = format!("{0} {key}=1\n{0} {key}=2\n", key.len() + 5);
        let error = refuse(RawTar::plugin().member("pax", b'x', "", twice.as_bytes()).file("a", b"x"));
        assert!(matches!(&error, ArchiveError::RepeatedHeader { name } if name == "1"), "{error:?}");
    }
    for key in ["path", "linkpath", "size", "hdrcharset", "GNU.sparse.major"] {
        let error = refuse(RawTar::plugin().pax(b'g', key, "1").file("a", b"x"));
        assert!(matches!(&error, ArchiveError::GlobalHeader { key: got } if got == key), "{error:?}");
    }
    // Each of them describes the member behind it, so there has to be one.
    for tar in [
        RawTar::plugin().pax(b'x', "path", "a"),
        RawTar::plugin().member("long", b'L', "", b"a"),
        RawTar::plugin().member("long", b'K', "", b"a"),
        RawTar::plugin().pax(b'x', "path", "b").pax(b'g', "comment", "x").file("a", b"x"),
    ] {
        let error = refuse(tar);
        let reason = "an extended header is not followed by its member";
        assert!(matches!(&error, ArchiveError::Corrupt { reason: got } if got == reason), "{error:?}");
    }
    let error = refuse(RawTar::plugin().member("pax", b'x', "", b"rubbish\n").file("a", b"x"));
    assert!(matches!(error, ArchiveError::Corrupt { .. }), "{error:?}");
}

#[test]
fn extended_headers_that_agree() {
    let long = "n".repeat(150);
    let fixture = Fixture::new();
    let tar = RawTar::plugin()
        .member("././@LongLink", b'L', "", format!("{long}\0").as_bytes())
        .pax(b'x', "path", &long)
        .file("short", b"x")
        .pax(b'x', "size", "1")
        .file("a", b"x");
    let staged = fixture.stage(&tar.gz(), None).unwrap();
    assert_eq!(crate::fixture::names(staged.root()), ["a", "manifest.json", &long, "plugin.wasm"]);
}

#[test]
fn headers_of_the_oldest_variety_extend_nothing() {
    for kind in [b'L', b'K', b'x', b'g'] {
        let mut tar = RawTar::plugin();
        tar.old_header("extended", kind, 0);
        let error = refuse(tar.file("a", b"x"));
        assert!(matches!(error, ArchiveError::SpecialFile { kind: "of unknown type", .. }), "{error:?}");
    }
}

#[test]
fn what_follows_the_end() {
    let fixture = Fixture::new();
    let good = RawTar::plugin().gz();
    let error = fixture.refuse(&[good.as_slice(), b"x"].concat());
    assert!(matches!(error, ArchiveError::TrailingData { after: "the gzip data" }), "{error:?}");
    let error = fixture.refuse(&[good.as_slice(), &[0; 512]].concat());
    assert!(matches!(error, ArchiveError::TrailingData { after: "the gzip data" }), "{error:?}");
    let error = fixture.refuse(&[good.as_slice(), &RawTar::default().file("hidden", b"x").gz()].concat());
    assert!(matches!(error, ArchiveError::SeveralGzips), "{error:?}");
    let mut hidden = RawTar::plugin().bytes();
    hidden.resize(hidden.len() + 1024, 0);
    hidden.extend(RawTar::default().file("hidden", b"x").bytes());
    let error = fixture.refuse(&gzip(&hidden));
    assert!(matches!(error, ArchiveError::TrailingData { after: "the end of the tar" }), "{error:?}");
    // Tars are padded to the size of a tape's block, and some archivers write no end at all.
    let mut padded = RawTar::plugin().bytes();
    assert!(fixture.stage(&gzip(&padded), None).is_ok());
    padded.resize(10 << 10, 0);
    assert!(fixture.stage(&gzip(&padded), None).is_ok());
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
    // What pads the tar counts as well.
    let mut bytes = RawTar::plugin().bytes();
    bytes.resize(bytes.len() + 1024, 0);
    bytes.resize(bytes.len() + (100 << 10), 0);
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

    // Exactly what an extended header may have passes, and is too long for a name.
    let long = vec![b'n'; 64 << 10];
    let error = refuse(RawTar::plugin().member("././@LongLink", b'L', "", &long).file("a", b""));
    assert!(matches!(error, ArchiveError::UnsafePath { fault: PathFault::PathTooLong { .. }, .. }), "{error:?}");
    let huge = vec![b'n'; (64 << 10) + 1];
    let error = refuse(RawTar::plugin().member("././@LongLink", b'L', "", &huge).file("a", b""));
    assert!(matches!(error, ArchiveError::MetadataTooLarge { bytes_max: 65_536 }), "{error:?}");
    for kind in [b'K', b'g'] {
        let error = refuse(RawTar::plugin().member("huge", kind, "", &huge).file("a", b""));
        assert!(matches!(error, ArchiveError::MetadataTooLarge { bytes_max: 65_536 }), "{error:?}");
    }
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

    fixture.limits = ArchiveLimits::default();
    // 32 components, one of 255 bytes, 1,024 bytes in all.
    let deep = format!("{}/{}", vec!["d"; 31].join("/"), "n".repeat(255));
    let long = format!("{}/{}/n", vec!["d".repeat(255); 3].join("/"), "n".repeat(254));
    let tar = RawTar::plugin().pax(b'x', "path", &deep).file("a", b"").pax(b'x', "path", &long).file("b", b"");
    assert!(fixture.stage(&tar.gz(), None).is_ok());
    // 200 times the packed size, as nearly as a compressor allows, and more.
    let zeros = RawTar::plugin().file("zeros", &vec![0; 2 << 20]);
    let noisy = |noise_bytes| {
        let tar = RawTar::plugin().file("noise", &noise(noise_bytes)).file("zeros", &vec![0; 4 << 20]);
        tar.gz()
    };
    assert!(matches!(fixture.refuse(&zeros.gz()), ArchiveError::RatioTooHigh { ratio_max: 200 }));
    assert!(fixture.stage(&noisy(20_000), None).is_ok());
    assert!(matches!(fixture.refuse(&noisy(10_000)), ArchiveError::RatioTooHigh { ratio_max: 200 }));
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
    let error = fixture.refuse(&gzip(&noise(2048)));
    assert!(matches!(error, ArchiveError::Corrupt { .. }), "{error:?}");
    // The library quotes the header that it cannot read.
    assert!(!error.to_string().chars().any(char::is_control), "{error:?}");

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
