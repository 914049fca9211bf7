//! What is packed comes out again, and always as the same bytes.

use crate::fixture::{Fixture, MANIFEST, names};
use mortise_delivery::{TreeError, TreeLimits, pack};
use mortise_model::PluginId;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

fn plugin(order: [&str; 4]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for path in order {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
    }
    fs::write(dir.path().join("manifest.json"), MANIFEST).unwrap();
    dir
}

fn packed(folder: &Path) -> Result<Vec<u8>, TreeError> {
    pack(folder, &PluginId::new("demo").unwrap(), &TreeLimits::default())
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let long = "a/very/long/name/".to_owned() + &"n".repeat(120);
    let first = plugin(["plugin.wasm", "src/lib.rs", &long, "tool"]);
    let second = plugin(["tool", &long, "plugin.wasm", "src/lib.rs"]);
    for dir in [&first, &second] {
        fs::set_permissions(dir.path().join("tool"), Permissions::from_mode(0o700)).unwrap();
    }
    let bytes = packed(first.path()).unwrap();
    assert_eq!(bytes, packed(second.path()).unwrap());

    let fixture = Fixture::new();
    let staged = fixture.stage(&bytes, None).unwrap();
    assert_eq!(names(staged.root()), ["a", "manifest.json", "plugin.wasm", "src", "tool"]);
    assert_eq!(fs::read(staged.root().join(&long)).unwrap(), "n".repeat(120).as_bytes());
    assert_eq!(fs::metadata(staged.root().join("tool")).unwrap().permissions().mode() & 0o777, 0o755);
    // What is packed again has the same bytes again.
    assert_eq!(bytes, packed(staged.root()).unwrap());
}

#[test]
fn what_would_be_refused_is_not_packed() {
    let dir = plugin(["plugin.wasm", "a", "b", "c"]);
    symlink("a", dir.path().join("link")).unwrap();
    let error = packed(dir.path()).unwrap_err();
    assert!(matches!(&error, TreeError::SymbolicLink { name } if name == "link"), "{error:?}");
}
