//! The seeds of the fuzzers: archives as plugins come in, and one for each malformation.

use crate::archive::{MANIFEST, RawTar, RawZip, ZipMember};

/// Each by its file's name, which begins with how it is judged: `ok`, or the variant of `ArchiveError`. Tars are bare:
/// the fuzzers wrap them, and changes to them mean something.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = tars();
    seeds.extend(zips());
    seeds
}

fn tars() -> Vec<(&'static str, Vec<u8>)> {
    let tar = RawTar::plugin;
    let mut end = [tar().bytes(), vec![0; 1024]].concat();
    end.extend(RawTar::default().file("hidden", b"x").bytes());
    let mut cut = tar();
    cut.header("cut", b'0', "", 10_000);
    let mut old = tar();
    old.old_header("old", b'x', 0);
    let top = RawTar::default()
        .pax(b'g', "comment", "8f3c2a")
        .member("./demo-1.0/", b'5', "", b"")
        .file("./demo-1.0/manifest.json", MANIFEST.as_bytes())
        .file("./demo-1.0/plugin.wasm", b"\0asm");
    [
        ("ok-plain.tar", tar()),
        ("ok-top-folder.tar", top),
        ("ok-long-name.tar", tar().member("././@LongLink", b'L', "", &[b'n'; 60]).file("n", b"x")),
        ("ok-pax-name.tar", tar().pax(b'x', "path", "dir/\u{e9}").file("n", b"x")),
        ("ok-executable.tar", tar().member_with_mode("tool", b'0', "", b"#!", 0o4755)),
        ("UnsafePath-parent.tar", tar().file("../evil", b"x")),
        ("UnsafePath-absolute.tar", tar().file("/evil", b"x")),
        ("UnsafePath-not-utf8.tar", tar().file(b"evil\xff", b"x")),
        ("UnsafePath-backslash.tar", tar().file("a\\evil", b"x")),
        ("UnsafePath-deep.tar", tar().file("d/".repeat(40) + "x", b"x")),
        ("UnsafePath-direction.tar", tar().file("a\u{202e}b", b"x")),
        ("Duplicate.tar", tar().file("a", b"1").file("a", b"2")),
        ("CaseCollision-case.tar", tar().file("a", b"1").file("A", b"2")),
        ("CaseCollision-accent.tar", tar().file("\u{e9}", b"1").file("e\u{301}", b"2")),
        ("FileAsFolder.tar", tar().file("a", b"1").file("a/b", b"2")),
        ("SymbolicLink.tar", tar().member("a", b'2', "/etc", b"").file("a/b", b"x")),
        ("HardLink.tar", tar().member("a", b'1', "/etc/passwd", b"")),
        ("SpecialFile-device.tar", tar().member("a", b'3', "", b"")),
        ("SpecialFile-pipe.tar", tar().member("a", b'6', "", b"")),
        ("SpecialFile-sparse.tar", tar().member("a", b'S', "", b"")),
        ("SpecialFile-sparse-pax.tar", tar().pax(b'x', "GNU.sparse.major", "1").file("a", b"x")),
        ("SpecialFile-old.tar", old),
        ("GlobalHeader.tar", tar().pax(b'g', "path", "a").file("b", b"x")),
        ("RepeatedHeader.tar", tar().pax(b'x', "path", "a").pax(b'x', "path", "b").file("c", b"x")),
        ("HeadersDisagree-size.tar", tar().pax(b'x', "size", "512").file("a", b"x")),
        ("HeadersDisagree-name.tar", tar().member("l", b'L', "", b"a").pax(b'x', "path", "b").file("c", b"x")),
        ("Corrupt-nothing-follows.tar", tar().member("l", b'K', "", b"a")),
        ("Truncated.tar", cut),
        ("NoManifest.tar", RawTar::default().file("a", b"x")),
    ]
    .map(|(name, tar)| (name, tar.bytes()))
    .into_iter()
    .chain([("TrailingData.tar", end)])
    .collect()
}

fn zips() -> Vec<(&'static str, Vec<u8>)> {
    let zip = RawZip::plugin;
    let member = |name: &str| ZipMember::new(name, 0o100_644, b"x");
    let with = |change: fn(&mut ZipMember)| {
        let mut member = member("a");
        change(&mut member);
        zip().with(member)
    };
    let inner = RawZip::new().with(member("b")).bytes();
    let at = zip().local_length() as u32 + 30 + 1;
    let overlap = zip().with(ZipMember::new("a", 0o100_644, &inner[..32])).with(ZipMember {
        offset: Some(at),
        written: false,
        ..member("b")
    });
    let seeds = [
        ("ok-plain.zip", zip()),
        (
            "ok-top-folder.zip",
            RawZip::new().with(ZipMember::new("top/", 0o040_755, b"")).file("top/manifest.json", b"{}"),
        ),
        ("ok-streamed.zip", with(|member| member.descriptor = true)),
        ("ok-deflated.zip", with(|member| member.method = 8)),
        ("ok-comment.zip", RawZip { comment: b"c".to_vec(), ..zip() }),
        ("ok-utf8.zip", with(|member| (member.name, member.flags) = ("\u{e9}".into(), 1 << 11))),
        ("UnsafePath-parent.zip", zip().file("../evil", b"x")),
        ("Duplicate.zip", zip().file("a", b"1").file("a", b"2")),
        ("SymbolicLink.zip", with(|member| member.mode = 0o120_777)),
        ("SpecialFile-device.zip", with(|member| member.mode = 0o020_644)),
        ("Encrypted.zip", with(|member| member.flags = 1)),
        ("Compression.zip", with(|member| member.method = 12)),
        ("NameEncoding.zip", zip().file("\u{e9}", b"x")),
        ("Zip64.zip", with(|member| member.extra = [&[1, 0, 8, 0][..], &[0; 8]].concat())),
        ("HeadersDisagree-name.zip", with(|member| member.local_name = Some(b"evil".to_vec()))),
        ("HeadersDisagree-size.zip", with(|member| member.local_size = Some(2))),
        ("HiddenData.zip", with(|member| (member.method, member.packed_extra) = (8, b"x".to_vec()))),
        ("Checksum.zip", with(|member| member.crc = Some(1))),
        ("Truncated.zip", with(|member| (member.method, member.size) = (8, Some(2)))),
        ("Overlap.zip", overlap),
        ("StrayData.zip", RawZip { between: b"x".to_vec(), ..zip() }),
        ("LeadingData.zip", RawZip { first_at: 4, ..zip() }),
        ("AmbiguousEnd.zip", RawZip { comment: RawZip::new().bytes(), ..zip() }),
        ("MemberCount.zip", RawZip { count: Some(1), ..zip() }),
    ];
    let mut seeds: Vec<_> = seeds.map(|(name, zip)| (name, zip.bytes())).into();
    for (name, bytes) in &mut seeds {
        if *name == "LeadingData.zip" {
            bytes.splice(0..0, *b"PK\x03\x04");
        }
    }
    let trailing = [zip().bytes(), b"x".to_vec()].concat();
    let mut part = zip().bytes();
    let disk = part.len() - 18;
    part[disk] = 1;
    seeds.extend([("TrailingData.zip", trailing), ("SeveralDisks.zip", part)]);
    seeds
}
