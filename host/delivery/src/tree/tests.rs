use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn read(root: &Path) -> Result<Tree, TreeError> {
    Tree::read(root, Selection::Everything, &TreeLimits::default())
}

#[test]
fn the_digest_tells_path_mode_and_content() {
    let files = [("manifest.json", "{}"), ("a/b", "1"), ("a-b", "2")];
    let same = tree(&[("a-b", "2"), ("a/b", "1"), ("manifest.json", "{}")]);
    fs::create_dir(same.path().join("empty")).unwrap();
    let digest = |dir: &tempfile::TempDir| read(dir.path()).unwrap().digest;
    let first = tree(&files);
    assert_eq!(digest(&first), digest(&same));
    // The format is kept on disk: this value may never change.
    let expected = "sha256:cc1bb817ac310307ac9996e091c3e56cc1b18fa02aba9251e502b4e7985bec51";
    assert_eq!(digest(&first).to_string(), expected);
    for other in [
        &[("manifest.json", "{}"), ("a/b", "2"), ("a-b", "1")][..],
        &[("manifest.json", "{}"), ("a/b", "1"), ("a-c", "2")],
        &[("manifest.json", "{}"), ("a/b", "1")],
        &[("manifest.json", "{}"), ("a/b", "1"), ("a-b", "2"), (".hidden", "")],
    ] {
        assert_ne!(digest(&first), digest(&tree(other)));
    }
    fs::set_permissions(first.path().join("a-b"), Permissions::from_mode(0o755)).unwrap();
    assert_ne!(digest(&first), digest(&same));
}

#[test]
fn links_and_special_files_are_refused_at_any_level() {
    let outside = tree(&[("secret", "x")]);
    for target in [outside.path().join("secret"), outside.path().to_owned(), "manifest.json".into(), "gone".into()] {
        let dir = tree(&[("manifest.json", "{}"), ("sub/file", "")]);
        symlink(target, dir.path().join("sub/link")).unwrap();
        let error = read(dir.path()).unwrap_err();
        assert!(matches!(&error, TreeError::SymbolicLink { name } if name == "sub/link"), "{error}");
    }
    let dir = tree(&[("manifest.json", "{}")]);
    rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let error = read(dir.path()).unwrap_err();
    assert!(matches!(&error, TreeError::SpecialFile { name } if name == "pipe"), "{error}");
    let dir = tree(&[("manifest.json", "{}")]);
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let error = read(dir.path()).unwrap_err();
    assert!(matches!(&error, TreeError::SpecialFile { name } if name == "socket"), "{error}");
}

#[test]
fn the_folder_itself_must_be_one() {
    let dir = tree(&[("real/manifest.json", "{}"), ("file", "")]);
    symlink("real", dir.path().join("link")).unwrap();
    assert!(matches!(read(&dir.path().join("gone")), Err(TreeError::NotFound { .. })));
    assert!(matches!(read(&dir.path().join("file")), Err(TreeError::NotAFolder { .. })));
    assert!(matches!(read(&dir.path().join("link")), Err(TreeError::NotAFolder { .. })));
}

#[test]
fn a_folder_is_read_within_limits() {
    let dir = tree(&[("a", "1234"), ("b", "5678"), ("c/d/e", "")]);
    let limited = |change: fn(&mut TreeLimits)| {
        let mut limits = TreeLimits { bytes_max: 8, members_max: 5, depth_max: 3, ..TreeLimits::default() };
        change(&mut limits);
        Tree::read(dir.path(), Selection::Everything, &limits)
    };
    assert!(limited(|_| ()).is_ok());
    assert!(matches!(limited(|limits| limits.bytes_max = 7), Err(TreeError::TooLarge { bytes_max: 7 })));
    assert!(matches!(limited(|limits| limits.members_max = 4), Err(TreeError::TooManyMembers { members_max: 4 })));
    let error = limited(|limits| limits.depth_max = 2).unwrap_err();
    assert!(matches!(error, TreeError::UnsafePath { fault: PathFault::TooDeep { max: 2 }, .. }), "{error}");
    let dir = tree(&[("a", ""), ("A", "")]);
    let error = read(dir.path()).unwrap_err();
    assert!(matches!(&error, TreeError::CaseCollision { name, other } if name == "a" && other == "A"), "{error}");
    let dir = tree(&[("a\\b", "")]);
    let error = read(dir.path()).unwrap_err();
    assert!(matches!(error, TreeError::UnsafePath { fault: PathFault::Backslash, .. }), "{error}");
}

#[test]
fn what_tools_leave_behind_is_not_authored() {
    let dir = tree(&[
        ("manifest.json", "{}"),
        ("Cargo.toml", ""),
        ("target/x", ""),
        ("assets/target/kept", ""),
        (".git/x", ""),
        ("sub/.env", ""),
        ("node_modules/x", ""),
        ("sub/__pycache__/x", ""),
        ("sub/kept", ""),
    ]);
    let mut paths = Vec::new();
    walk(dir.path(), Selection::Authored, &TreeLimits::default(), &mut |found: Found<'_>| {
        paths.push(found.path.to_owned());
        Ok::<(), TreeError>(())
    })
    .unwrap();
    assert_eq!(paths, ["Cargo.toml", "assets/target/kept", "manifest.json", "sub/kept"]);
}
