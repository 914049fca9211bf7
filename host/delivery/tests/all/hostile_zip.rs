//! Zip files that are refused, each with its own variant, and leave nothing behind.

use crate::archive::{RawZip, ZipMember};
use crate::fixture::{Fixture, noise};
use mortise_delivery::{ArchiveError, ArchiveFormat, ArchiveLimits, PathFault, TreeLimits};

fn refuse(archive: RawZip) -> ArchiveError {
    Fixture::new().refuse(&archive.bytes())
}

#[test]
fn names_that_are_not_plain_paths_inside() {
    let table: [(&[u8], PathFault); 7] = [
        (b"../evil", PathFault::Parent),
        (b"a/../../evil", PathFault::Parent),
        (b"/etc/evil", PathFault::Absolute),
        (b"..\\evil", PathFault::Backslash),
        (b"evil\0.txt", PathFault::ControlCharacter),
        (b"a//evil", PathFault::EmptyComponent),
        (b"evil.", PathFault::TrailingDot),
    ];
    for (name, expected) in table {
        let error = refuse(RawZip::plugin().file(name, b"x"));
        assert!(error.to_string().starts_with("unsafe path in archive: "), "{error}");
        assert!(matches!(error, ArchiveError::UnsafePath { fault, .. } if fault == expected), "{error:?}");
    }
    let not_utf8 = ZipMember { flags: 1 << 11, ..ZipMember::new(b"evil\xff", 0o100_644, b"x") };
    let error = refuse(RawZip::plugin().with(not_utf8));
    assert!(matches!(error, ArchiveError::UnsafePath { fault: PathFault::NotUtf8, .. }), "{error:?}");
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
fn folders_that_are_deflated() {
    let folder = || ZipMember { method: 8, ..ZipMember::new("dir/", 0o040_755, b"") };
    assert!(Fixture::new().stage(&RawZip::plugin().with(folder()).bytes(), None).is_ok());
    let full = ZipMember { content: b"x".to_vec(), size: Some(0), ..folder() };
    let error = refuse(RawZip::plugin().with(full));
    assert!(matches!(error, ArchiveError::Truncated { expected: 0, actual: 1, .. }), "{error:?}");
    let error = refuse(RawZip::plugin().with(ZipMember { packed_extra: b"x".to_vec(), ..folder() }));
    assert!(matches!(error, ArchiveError::HiddenData { .. }), "{error:?}");
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

fn disagrees(member: ZipMember) {
    let name = String::from_utf8(member.name.clone()).unwrap();
    let error = refuse(RawZip::plugin().with(member));
    assert!(matches!(&error, ArchiveError::HeadersDisagree { name: got } if *got == name), "{error:?}");
}

#[test]
fn headers_that_disagree() {
    let member = || ZipMember::new("harmless", 0o100_644, b"x");
    disagrees(ZipMember { local_name: Some(b"evil".to_vec()), ..member() });
    disagrees(ZipMember { local_size: Some(2), ..member() });
    // What is stored has one size.
    disagrees(ZipMember { size: Some(2), ..member() });
    // Another name in an extra field, in either header: id, length, version, checksum, name.
    let unicode_path = |name: &[u8]| [b"up", &[name.len() as u8 + 5, 0][..], &[1, 0, 0, 0, 0], name].concat();
    disagrees(ZipMember { extra: unicode_path(b"evil"), ..member() });
    disagrees(ZipMember { local_extra: unicode_path(b"evil"), ..member() });
    let zip = RawZip::plugin().with(ZipMember { extra: unicode_path(b"harmless"), ..member() });
    assert!(Fixture::new().stage(&zip.bytes(), None).is_ok());
}

#[test]
fn sizes_behind_the_content() {
    let streamed = |name: &str| ZipMember { descriptor: true, method: 8, ..ZipMember::new(name, 0o100_644, b"x") };
    let fixture = Fixture::new();
    // With the signature, and, as the first version had it, without.
    let with = RawZip::plugin().with(streamed("a")).with(streamed("b")).bytes();
    assert!(fixture.stage(&with, None).is_ok());
    let without = RawZip::plugin().with(ZipMember { bare_descriptor: true, ..streamed("a") }).with(streamed("b"));
    assert!(fixture.stage(&without.bytes(), None).is_ok());
    // A local header that knows the sizes nonetheless must know the right ones.
    disagrees(ZipMember { local_size: Some(2), ..streamed("a") });
    // The descriptor is looked for where the directory says that the content ends.
    let mut bytes = with;
    let at = bytes.windows(4).position(|window| window == b"PK\x07\x08").unwrap();
    bytes[at + 4] ^= 1;
    let error = fixture.refuse(&bytes);
    assert!(matches!(&error, ArchiveError::HeadersDisagree { name } if name == "a"), "{error:?}");
}

#[test]
fn bytes_that_belong_to_nobody() {
    let fixture = Fixture::new();
    let good = RawZip::plugin().bytes();
    // Offsets that know of what stands before them, and offsets that do not.
    let mut aware = RawZip::plugin();
    aware.first_at = 4;
    for before in [[b"MZ\0\0", good.as_slice()].concat(), [b"PK\x03\x04", aware.bytes().as_slice()].concat()] {
        let error = ArchiveError::LeadingData;
        assert_eq!(fixture.refuse_as(&before, ArchiveFormat::Zip).to_string(), error.to_string());
    }
    let between = RawZip { between: b"hidden".to_vec(), ..RawZip::plugin() };
    let error = refuse(between);
    assert!(matches!(error, ArchiveError::StrayData { offset } if offset > 100), "{error:?}");
    // A member that the directory does not list is one of them.
    let mut unlisted = ZipMember::new("unlisted", 0o100_644, b"x");
    unlisted.listed = false;
    let error = refuse(RawZip::plugin().with(unlisted).file("last", b""));
    assert!(matches!(error, ArchiveError::StrayData { .. }), "{error:?}");
    let error = fixture.refuse(&[good.as_slice(), b"x"].concat());
    assert!(matches!(error, ArchiveError::TrailingData { after: "the end of the zip file" }), "{error:?}");
    // In the packed bytes, behind what they unpack to.
    let hidden = ZipMember { method: 8, packed_extra: b"x".to_vec(), ..ZipMember::new("a", 0o100_644, b"y") };
    let error = refuse(RawZip::plugin().with(hidden));
    assert!(matches!(&error, ArchiveError::HiddenData { name } if name == "a"), "{error:?}");
    let comment = RawZip { comment: b"a comment".to_vec(), ..RawZip::plugin() };
    assert!(fixture.stage(&comment.bytes(), None).is_ok());
}

#[test]
fn members_that_share_bytes() {
    // Each of many members may point at the same content: a bomb without compression's help.
    let mut again = ZipMember::new("manifest.json", 0o100_644, b"");
    again.offset = Some(0);
    let error = refuse(RawZip::plugin().with(again));
    // Its name and sizes would have to be those of the local header that it points at.
    assert!(matches!(error, ArchiveError::HeadersDisagree { .. } | ArchiveError::Duplicate { .. }), "{error:?}");
    // A member within a stored member's content.
    let inner = RawZip::new().file("inner", b"x").bytes();
    let at = RawZip::plugin().local_length() as u32 + 30 + 5;
    let outer = ZipMember::new("outer", 0o100_644, &inner[..30 + 5 + 1]);
    let mut inner = ZipMember::new("inner", 0o100_644, b"x");
    (inner.offset, inner.written) = (Some(at), false);
    let error = refuse(RawZip::plugin().with(outer).with(inner));
    assert!(matches!(&error, ArchiveError::Overlap { name } if name == "inner"), "{error:?}");
}

#[test]
fn an_end_that_is_not_the_end() {
    // An end record in the comment of another.
    let hidden = RawZip::new().bytes();
    let error = refuse(RawZip { comment: hidden, ..RawZip::plugin() });
    assert!(matches!(error, ArchiveError::AmbiguousEnd), "{error:?}");
    let error = refuse(RawZip { count: Some(1), ..RawZip::plugin() });
    assert!(matches!(error, ArchiveError::MemberCount { expected: 1, actual: 2 }), "{error:?}");
    let error = refuse(RawZip { count: Some(3), ..RawZip::plugin() });
    assert!(matches!(error, ArchiveError::MemberCount { expected: 3, actual: 2 }), "{error:?}");
    let mut part = RawZip::plugin().bytes();
    let at = part.len() - 18;
    part[at] = 1;
    let error = Fixture::new().refuse(&part);
    assert!(matches!(error, ArchiveError::SeveralDisks), "{error:?}");
}

#[test]
fn the_variety_for_large_files() {
    let field = [&[1, 0, 16, 0][..], &[0; 16]].concat();
    let member = || ZipMember::new("a", 0o100_644, b"x");
    for zip in [
        RawZip::plugin().with(ZipMember { extra: field.clone(), ..member() }),
        RawZip::plugin().with(ZipMember { local_extra: field, ..member() }),
        RawZip::plugin().with(ZipMember { size: Some(u32::MAX), ..member() }),
        RawZip::plugin().with(ZipMember { offset: Some(u32::MAX), ..member() }),
        RawZip { count: Some(u16::MAX), ..RawZip::plugin() },
        RawZip { before_end: [b"PK\x06\x07", &[0; 16][..]].concat(), ..RawZip::plugin() },
    ] {
        let error = refuse(zip);
        assert!(matches!(error, ArchiveError::Zip64), "{error:?}");
    }
}

#[test]
fn names_in_another_encoding() {
    let error = refuse(RawZip::plugin().file("\u{e9}", b"x"));
    assert!(matches!(&error, ArchiveError::NameEncoding { name } if name == "\u{e9}"), "{error:?}");
    let marked = ZipMember { flags: 1 << 11, ..ZipMember::new("\u{e9}", 0o100_644, b"x") };
    assert!(Fixture::new().stage(&RawZip::plugin().with(marked).bytes(), None).is_ok());
}

#[test]
fn modes_of_other_systems() {
    let dos = |name, attributes| ZipMember { system: 0, mode: attributes, ..ZipMember::new(name, 0, b"") };
    // What DOS has no word for: attributes of a link, which only Unix would heed.
    let zip = RawZip::plugin().with(dos("file", 0o120_777)).with(ZipMember { dos: 0x10, ..dos("dir/", 0) });
    assert!(Fixture::new().stage(&zip.bytes(), None).is_ok());
    let error = refuse(RawZip::plugin().with(ZipMember { dos: 0x10, ..dos("dir", 0) }));
    assert!(matches!(error, ArchiveError::SpecialFile { .. }), "{error:?}");
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
    // Members that become nothing on disk are members too.
    let top = || ZipMember::new("./", 0o040_755, b"");
    let error = fixture.refuse(&(0..3).fold(RawZip::plugin(), |zip, _| zip.with(top())).bytes());
    assert!(matches!(error, ArchiveError::TooManyMembers { members_max: 4 }), "{error:?}");
    assert!(fixture.stage(&RawZip::plugin().with(top()).with(top()).bytes(), None).is_ok());
    let error = fixture.refuse(&RawZip::plugin().file("a/b/c", b"").bytes());
    assert!(matches!(error, ArchiveError::TooManyMembers { members_max: 4 }), "{error:?}");

    let mut bomb = ZipMember::new("bomb", 0o100_644, &vec![0; 20 << 20]);
    bomb.method = 8;
    let error = refuse(RawZip::plugin().with(bomb.clone()));
    assert!(matches!(error, ArchiveError::RatioTooHigh { ratio_max: 200 }), "{error:?}");
    // Where a header makes light of it, no more is read than shows that it lies.
    bomb.size = Some(10);
    let error = refuse(RawZip::plugin().with(bomb));
    assert!(matches!(error, ArchiveError::Truncated { expected: 10, actual: 11, .. }), "{error:?}");
    let mut short = ZipMember::new("short", 0o100_644, b"x");
    (short.method, short.size) = (8, Some(10));
    let error = refuse(RawZip::plugin().with(short));
    assert!(matches!(error, ArchiveError::Truncated { expected: 10, actual: 1, .. }), "{error:?}");
}

#[test]
fn varieties_that_are_not_read() {
    let secret = || ZipMember::new("secret", 0o100_644, b"0123456789ab");
    for member in [
        ZipMember { flags: 1, ..secret() },
        ZipMember { flags: 1 << 6, ..secret() },
        ZipMember { flags: 1 << 13, ..secret() },
        ZipMember { method: 99, ..secret() },
        ZipMember { extra: vec![0x01, 0x99, 0, 0], ..secret() },
    ] {
        let error = refuse(RawZip::plugin().with(member));
        assert!(matches!(&error, ArchiveError::Encrypted { name } if name == "secret"), "{error:?}");
    }
    let odd = || ZipMember::new("odd", 0o100_644, b"x");
    for member in [ZipMember { method: 12, ..odd() }, ZipMember { flags: 1 << 5, ..odd() }] {
        let error = refuse(RawZip::plugin().with(member));
        assert!(matches!(&error, ArchiveError::Compression { name } if name == "odd"), "{error:?}");
    }
}

#[test]
fn damage() {
    let fixture = Fixture::new();
    assert!(matches!(fixture.refuse(b"PK"), ArchiveError::NotZip));
    let good = RawZip::plugin().file("big", &noise(5000)).bytes();
    assert!(matches!(fixture.refuse(&good[..good.len() / 2]), ArchiveError::NotZip));
    assert!(matches!(fixture.refuse(&good[..good.len() - 1]), ArchiveError::Corrupt { .. }));
    // The directory is whole, what it points at is not.
    let cut = [b"PK".as_slice(), &good[good.len() - 300..]].concat();
    let error = fixture.refuse(&cut);
    assert!(matches!(error, ArchiveError::LeadingData | ArchiveError::Corrupt { .. }), "{error:?}");
    let mut flipped = good.clone();
    let at = good.windows(4).position(|window| window == b"\0asm").unwrap();
    flipped[at] ^= 1;
    let error = fixture.refuse(&flipped);
    assert!(matches!(&error, ArchiveError::Checksum { name } if name == "plugin.wasm"), "{error:?}");
    for extra in [vec![1], vec![9, 9, 1, 0]] {
        let error = refuse(RawZip::plugin().with(ZipMember { extra, ..ZipMember::new("a", 0o100_644, b"") }));
        assert!(matches!(error, ArchiveError::Corrupt { .. }), "{error:?}");
    }
}
