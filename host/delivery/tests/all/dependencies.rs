//! What Python plugins declare, installed by a program in pip's place. The suite against the published packages has pip.

use crate::fixture::{Fixture, names};
use mortise_delivery::{
    DependencyConfig, DependencyError, Lock, Package, StageError, StagedPlugin, TreeError, TreeLimits,
};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Programs in pip's place. They lie here ready: a file that was just written cannot always be started while other threads
/// start programs.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pip");

struct Pip {
    program: &'static str,
    folder: TempDir,
    fixture: Fixture,
}

impl Pip {
    fn new(program: &'static str) -> Self {
        Self { program, folder: tempfile::tempdir().unwrap(), fixture: Fixture::new() }
    }

    fn config(&self) -> DependencyConfig {
        let notes = self.folder.path().to_str().unwrap();
        let environment = [("PATH", "/usr/bin:/bin"), ("PIP_NOTES", notes)];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let python = Path::new(PROGRAMS).join(self.program);
        DependencyConfig { python, environment, index: None, allow: None, time_max: Duration::from_secs(60) }
    }

    fn noted(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// A staged plugin that declares `requirements`, with more files.
    fn plugin(&self, requirements: &[&str], files: &[(&str, &str)]) -> StagedPlugin {
        self.plugin_of("capability.py", requirements, files)
    }

    fn plugin_of(&self, entry_point: &str, requirements: &[&str], files: &[(&str, &str)]) -> StagedPlugin {
        let source = self.folder.path().join("source");
        let _ = fs::remove_dir_all(&source);
        fs::create_dir(&source).unwrap();
        let requirements = format!("{requirements:?}");
        let manifest = format!(
            r#"{{"id": "demo", "entry_point": "{entry_point}", "class_name": "C", "dependencies": {{"python": {requirements}}}}}"#
        );
        for (name, content) in files.iter().chain(&[("manifest.json", manifest.as_str()), (entry_point, "")]) {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self.stage(&source)
    }

    fn stage(&self, source: &Path) -> StagedPlugin {
        StagedPlugin::from_folder(source, None, &TreeLimits::default(), &self.fixture.staging).unwrap()
    }

    fn install(&self, plugin: StagedPlugin, wanted: Option<bool>) -> Result<StagedPlugin, StageError> {
        plugin.with_dependencies(wanted, Some(&self.config()), &TreeLimits::default())
    }

    /// Why they are not installed. Nothing is left then.
    fn refused(&self, plugin: StagedPlugin, wanted: Option<bool>, config: &DependencyConfig) -> DependencyError {
        match plugin.with_dependencies(wanted, Some(config), &TreeLimits::default()) {
            Err(StageError::Dependencies(error)) => {
                self.fixture.assert_untouched();
                assert!(!error.code().is_empty() && !error.hint().is_empty());
                error
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn packages_come_into_the_plugins_own_folder_and_are_written_down() {
    let pip = Pip::new("unpacks");
    let plugin = pip.plugin(&["b>=1,<2"], &[]);
    let bare = plugin.tree;
    let plugin = pip.install(plugin, None).unwrap();
    assert_ne!(plugin.tree, bare);
    assert_eq!(names(plugin.root()), ["capability.py", "dependencies.lock", "manifest.json", "site-packages"]);
    assert_eq!(names(&plugin.root().join("site-packages")), ["b"], "no programs");
    let package = Package { name: "b".into(), version: "1.2".into(), sha256: "00ff".into() };
    let lock = Lock { requirements: vec!["b>=1,<2".into()], packages: vec![package] };
    assert_eq!(Lock::read(plugin.root()), Some(lock));

    let arguments = pip.noted("arguments");
    for argument in [
        "-c\n# pip, with",
        "\ninstall\n",
        "--no-deps",
        "--only-binary=:all:",
        "--abi=none",
        "--platform=any",
        "--\nb>=1,<2",
    ] {
        assert!(arguments.contains(argument), "{argument} in {arguments}");
    }
    let environment = pip.noted("environment");
    assert!(environment.contains("PIP_NOTES=") && !environment.contains("CARGO"), "{environment}");
}

#[test]
fn what_is_there_for_the_same_requirements_is_kept_unless_it_is_asked_for_again() {
    let pip = Pip::new("unpacks");
    let first = pip.install(pip.plugin(&["b"], &[]), None).unwrap();
    let kept = pip.install(pip.stage(first.root()), None).unwrap();
    assert_eq!((kept.tree, pip.noted("calls").lines().count()), (first.tree, 1));
    let again = pip.install(pip.stage(first.root()), Some(true)).unwrap();
    assert_eq!((again.tree == first.tree, pip.noted("calls").lines().count()), (false, 2));
    assert_eq!(fs::read_to_string(again.root().join("site-packages/b/__init__.py")).unwrap(), "x = 2\n");

    // Other requirements than those it was made for.
    let lock = fs::read_to_string(first.root().join("dependencies.lock")).unwrap();
    let other = pip.plugin(&["b", "c"], &[("dependencies.lock", &lock), ("site-packages/old.py", "")]);
    let other = pip.install(other, None).unwrap();
    assert_eq!(
        (names(&other.root().join("site-packages")), pip.noted("calls").lines().count()),
        (vec!["b".into(), "c".into()], 3)
    );
}

#[test]
fn without_the_operators_leave_or_the_callers_wish_nothing_is_installed() {
    let pip = Pip::new("unpacks");
    let plugin = pip.plugin(&["b"], &[]);
    let tree = plugin.tree;
    let plugin = pip.install(plugin, Some(false)).unwrap();
    let plugin = plugin.with_dependencies(None, None, &TreeLimits::default()).unwrap();
    assert_eq!(plugin.tree, tree);
    match plugin.with_dependencies(Some(true), None, &TreeLimits::default()) {
        Err(StageError::Dependencies(error @ DependencyError::Off { .. })) => {
            assert_eq!(error.to_string(), "dependencies are not installed on this host: b");
            assert!(error.hint().contains("DC_PLUGIN_INSTALL_DEPENDENCIES"), "{}", error.hint());
        }
        other => panic!("{other:?}"),
    }
    // One that declares none has them all.
    let none = pip.plugin(&[], &[]);
    assert!(none.with_dependencies(Some(true), None, &TreeLimits::default()).is_ok());
    assert_eq!(pip.noted("calls"), "");
}

#[test]
fn packages_that_the_plugin_brings_are_its_own() {
    let pip = Pip::new("unpacks");
    let brought = [("site-packages/b.py", "its own")];
    let kept = pip.install(pip.plugin(&["b"], &brought), None).unwrap();
    assert_eq!(names(&kept.root().join("site-packages")), ["b.py"]);
    drop(kept);
    let error = pip.refused(pip.plugin(&["b"], &brought), Some(true), &pip.config());
    assert!(matches!(error, DependencyError::Brought), "{error:?}");
    assert_eq!(pip.noted("calls"), "");
}

#[test]
fn the_operator_names_the_index_and_the_packages() {
    let pip = Pip::new("unpacks");
    let with = |allow: &[&str]| DependencyConfig {
        index: Some("https://index.test/simple".into()),
        allow: Some(allow.iter().map(|&name| name.to_owned()).collect()),
        ..pip.config()
    };
    let plugin = pip.plugin(&["a"], &[]).with_dependencies(None, Some(&with(&["a", "B"])), &TreeLimits::default());
    drop(plugin.unwrap());
    let environment = pip.noted("environment");
    assert!(environment.contains("PIP_INDEX_URL=https://index.test/simple"), "{environment}");
    assert!(environment.contains("PIP_CONFIG_FILE=/dev/null"), "{environment}");
    // The one that was asked for is allowed; the one that it brings along is not, and is never fetched.
    let error = pip.refused(pip.plugin(&["a"], &[]), None, &with(&["a"]));
    assert_eq!(error.code(), "dependency_not_allowed");
    assert_eq!(
        error.to_string(),
        "package `a` requires `b (>=1)`: package `b` is not among those that this host installs"
    );
    assert_eq!(pip.noted("calls").lines().count(), 1, "only the first was installed");
}

#[test]
fn what_packages_require_is_installed_and_judged_like_what_the_plugin_does() {
    let pip = Pip::new("unpacks");
    let plugin = pip.install(pip.plugin(&["a"], &[]), None).unwrap();
    assert_eq!(names(&plugin.root().join("site-packages")), ["a", "b"]);
    drop(plugin);
    // pip would fetch it from there, and have it build itself.
    let error = pip.refused(pip.plugin(&["deep"], &[]), None, &pip.config());
    assert_eq!(error.code(), "invalid_requirement");
    assert!(error.to_string().starts_with("package `deep` requires `evil @"), "{error}");
    assert_eq!(pip.noted("calls").lines().count(), 1);
}

#[test]
fn a_lock_that_arrives_with_a_plugin_counts_nothing() {
    let pip = Pip::new("unpacks");
    let lock = "# requirements: [\"b\"]\nb==9 --hash=sha256:00\n";
    let plugin = pip.plugin(&["b"], &[("dependencies.lock", lock)]);
    let plugin = plugin.without_lock(&TreeLimits::default()).unwrap();
    assert_eq!(Lock::read(plugin.root()), None);
    let bare = pip.plugin(&["b"], &[]).tree;
    assert_eq!(plugin.tree, bare);
    assert_eq!(Lock::read(pip.install(plugin, None).unwrap().root()).unwrap().packages[0].version, "1.2");
}

#[test]
fn other_plugins_than_those_in_python_have_none() {
    let pip = Pip::new("unpacks");
    let plugin = pip.plugin_of("plugin.wasm", &["b"], &[]);
    assert_eq!(names(pip.install(plugin, Some(true)).unwrap().root()), ["manifest.json", "plugin.wasm"]);
    assert_eq!(pip.noted("calls"), "");
}

#[test]
fn failures_are_told_and_leave_nothing() {
    let refused = |program: &'static str, requirements: &[&str]| {
        let pip = Pip::new(program);
        pip.refused(pip.plugin(requirements, &[]), None, &pip.config())
    };
    let error = refused("finds-none", &["numpy"]);
    assert_eq!(error.to_string(), "pip cannot install the dependencies: No matching distribution found for numpy");
    assert!(error.hint().contains("native code"), "{}", error.hint());
    let error = refused("raises", &["b; osname == 'nt'"]).to_string();
    assert!(error.contains("InvalidMarker: Expected a marker variable") && !error.contains("Traceback"), "{error}");
    let error = refused("has-no-pip", &["b"]);
    assert!(matches!(error, DependencyError::NoPip { .. }), "{error:?}");
    let error = refused("is-old", &["b"]);
    assert!(matches!(error, DependencyError::NoPip { .. }) && error.hint().contains("22.2"), "{error:?}");
    let error = refused("writes-much", &["b"]);
    assert!(matches!(error, DependencyError::TooLarge), "{error:?}");
    let error = refused("reports-nothing", &["b"]);
    assert!(matches!(error, DependencyError::Disk(_)), "{error:?}");
    let error = refused("unpacks", &["b", "--index-url=http://elsewhere"]);
    assert!(matches!(&error, DependencyError::Requirement { text, .. } if text.starts_with("--")), "{error:?}");

    let pip = Pip::new("takes-long");
    let began = Instant::now();
    let hurried = DependencyConfig { time_max: Duration::from_millis(200), ..pip.config() };
    let error = pip.refused(pip.plugin(&["b"], &[]), None, &hurried);
    assert!(matches!(error, DependencyError::TimedOut { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(50), "it was not ended");

    let pip = Pip::new("unpacks");
    let nowhere = DependencyConfig { python: "/nowhere/python3".into(), ..pip.config() };
    let error = pip.refused(pip.plugin(&["b"], &[]), None, &nowhere);
    assert!(matches!(error, DependencyError::NoPip { .. }) && error.hint().contains("MORTISE_PYTHON"), "{error:?}");
}

#[test]
fn packages_count_for_the_limits_of_a_plugins_files() {
    let pip = Pip::new("unpacks");
    let limits = TreeLimits { members_max: 3, ..TreeLimits::default() };
    match pip.plugin(&["b"], &[]).with_dependencies(None, Some(&pip.config()), &limits) {
        Err(StageError::Folder(mortise_delivery::FolderError::Tree(TreeError::TooManyMembers { .. }))) => {}
        other => panic!("{other:?}"),
    }
    pip.fixture.assert_untouched();
}
