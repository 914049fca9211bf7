//! The fuzzers' corpus: every archive in it is judged as its name says.

use crate::archive::gzip;
use crate::fixture::Fixture;
use crate::hostile_seeds::seeds;
use mortise_delivery::{ArchiveFormat, StageError, StagedPlugin};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/archive")
}

/// `ok`, or the variant of the error.
fn judged(name: &str, bytes: &[u8]) -> String {
    let fixture = Fixture::new();
    let (bytes, format) = match name.rsplit('.').next() {
        Some("tar") => (gzip(bytes), ArchiveFormat::TarGz),
        Some("zip") => (bytes.to_vec(), ArchiveFormat::Zip),
        _ => (bytes.to_vec(), ArchiveFormat::TarGz),
    };
    let judged = match StagedPlugin::from_archive(&bytes, format, None, &fixture.limits, &fixture.staging) {
        Err(StageError::Archive(error)) => {
            let text = format!("{error:?}");
            text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
        }
        // Whether the plugin itself is sound is another question.
        _ => "ok".to_owned(),
    };
    fixture.assert_untouched();
    judged
}

#[test]
fn every_archive_of_the_corpus_is_judged_as_its_name_says() {
    let mut found = 0;
    for entry in fs::read_dir(corpus()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let expected = name.split(['-', '.']).next().unwrap();
        assert_eq!(judged(&name, &fs::read(entry.path()).unwrap()), expected, "{name}");
        found += 1;
    }
    assert!(found >= seeds().len(), "{found} files");
}

#[test]
fn the_corpus_has_every_seed() {
    let mut names = BTreeSet::new();
    for (name, bytes) in seeds() {
        assert!(names.insert(name), "`{name}` twice");
        let there = fs::read(corpus().join(name)).unwrap_or_else(|error| panic!("`{name}`: {error}"));
        // Compressors may differ; what is stored may not.
        assert!(name.contains("deflated") || name.contains("HiddenData") || there == bytes, "`{name}` is out of date");
    }
}

/// To be run by hand after a change to the seeds.
#[test]
#[ignore = "writes into the checkout"]
fn write_the_corpus() {
    fs::create_dir_all(corpus()).unwrap();
    for (name, bytes) in seeds() {
        fs::write(corpus().join(name), bytes).unwrap();
    }
}
