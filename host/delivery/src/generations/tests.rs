use super::*;

struct Fixture {
    state: TempDir,
    staging: Staging,
    generations: Generations,
}

impl Fixture {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let staging = Staging::open(state.path()).unwrap();
        let generations = Generations::open(state.path(), staging.clone()).unwrap();
        Self { state, staging, generations }
    }

    fn stage(&self) -> StagedPlugin {
        let source = self.state.path().join("source");
        fs::create_dir_all(source.join("sub")).unwrap();
        fs::write(source.join("manifest.json"), r#"{"id": "demo", "entry_point": "sub/p.wasm"}"#).unwrap();
        fs::write(source.join("sub/p.wasm"), "x").unwrap();
        StagedPlugin::from_folder(&source, None, &TreeLimits::default(), &self.staging).unwrap()
    }
}

#[test]
fn a_crash_before_the_name_is_given_leaves_no_generation() {
    let fixture = Fixture::new();
    let staged = fixture.stage();
    seal(&staged.root).unwrap();
    sync_tree(&staged.root).unwrap();
    own_folder::make(&fixture.generations.dir.join("demo"), 0o755).unwrap();
    // As if the process had died here.
    let _left_behind = staged.guard.keep();
    assert_eq!(fixture.generations.list().unwrap(), []);
    assert_eq!(fixture.staging.sweep().unwrap().removed, 1);
    assert!(fixture.generations.sweep(|_, _| true).unwrap().removed.is_empty());
    assert!(!fixture.generations.dir.join("demo").exists());
}

#[test]
fn a_crash_in_a_removal_leaves_no_half_generation() {
    let fixture = Fixture::new();
    let folder = fixture.generations.commit(fixture.stage(), 1).unwrap().keep();
    let aside = fixture.generations.move_out(&folder.id, 1).unwrap().unwrap();
    // As if the process had died here.
    let aside = aside.keep();
    assert!(!folder.path.exists());
    assert_eq!(fixture.generations.list().unwrap(), []);
    assert!(aside.join("content/sub/p.wasm").exists(), "read-only files are swept as well");
    assert_eq!(fixture.staging.sweep().unwrap().removed, 1);
}
