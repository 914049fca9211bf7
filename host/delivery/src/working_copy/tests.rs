use super::*;
use crate::Generations;

struct Fixture {
    capabilities: TempDir,
    staging: Staging,
    copies: WorkingCopies,
    generation: GenerationFolder,
}

impl Fixture {
    fn new() -> Self {
        let capabilities = tempfile::tempdir().unwrap();
        let state = capabilities.path().join(".mortise");
        let source = state.join("demo");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("manifest.json"), r#"{"entry_point": "p.wasm"}"#).unwrap();
        fs::write(source.join("p.wasm"), "generation").unwrap();
        let staging = Staging::open(&state).unwrap();
        let staged = StagedPlugin::from_folder(&source, None, &TreeLimits::default(), &staging).unwrap();
        let generations = Generations::open(&state, staging.clone()).unwrap();
        let generation = generations.commit(staged, 1).unwrap().keep();
        let copies = WorkingCopies::new(capabilities.path().to_owned(), staging.clone(), TreeLimits::default());
        copies.write(&generation).unwrap();
        fs::write(capabilities.path().join("demo/p.wasm"), "edited").unwrap();
        Self { capabilities, staging, copies, generation }
    }

    fn content(&self, folder: &str) -> String {
        fs::read_to_string(self.capabilities.path().join(folder).join("p.wasm")).unwrap()
    }
}

#[test]
fn a_crash_between_the_steps_of_setting_aside_loses_no_edit() {
    let fixture = Fixture::new();
    let (guard, content) = fixture.copies.stage(&fixture.generation.path).unwrap();
    fixture.copies.place_aside(&content, &fixture.generation.id).unwrap();
    // As if the process had died here.
    let _left_behind = guard.keep();
    assert_eq!((fixture.content("demo"), fixture.content(".edits/demo.1")), ("edited".into(), "generation".into()));
    fixture.staging.sweep().unwrap();
    let repaired = fixture.copies.repair(&fixture.generation, None).unwrap();
    assert_eq!(repaired, Repaired::SetAside { edits: fixture.capabilities.path().join(".edits/demo.2") });
    assert_eq!((fixture.content("demo"), fixture.content(".edits/demo.2")), ("generation".into(), "edited".into()));
}

#[test]
fn edits_that_cannot_be_exchanged_stay_where_they_are() {
    let fixture = Fixture::new();
    let (_guard, content) = fixture.copies.stage(&fixture.generation.path).unwrap();
    let edits = fixture.copies.place_aside(&content, &fixture.generation.id).unwrap();
    let gone = PluginId::new("gone").unwrap();
    assert_eq!(fixture.copies.exchange_with(&edits, &gone).unwrap_err().code(), "disk");
    assert!(!edits.exists(), "the host's own copy is no edit");
    assert_eq!(fixture.content("demo"), "edited");
}

#[test]
fn so_many_edits_are_kept_and_no_more() {
    let fixture = Fixture::new();
    let dir = fixture.capabilities.path().join(EDITS);
    for number in 1..=EDITS_MAX {
        fs::create_dir_all(dir.join(format!("demo.{number}"))).unwrap();
    }
    let error = fixture.copies.repair(&fixture.generation, None).unwrap_err();
    assert!(matches!(&error, WorkingCopyError::TooManyEdits { path, .. } if *path == dir), "{error:?}");
    assert_eq!(fixture.content("demo"), "edited");
}
