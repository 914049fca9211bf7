//! `cargo xtask layers`: the crates as they are against the layer table in `docs/ARCHITECTURE.md`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::layer_table::LayerTable;
use crate::workspace::Workspace;
use crate::{folder, guests};

const DOCUMENT: &str = "docs/ARCHITECTURE.md";

/// A crate of ours and what it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Room {
    /// The name in the layer table.
    name: String,
    manifest: PathBuf,
    dependencies: Vec<Dependency>,
    inherits_lints: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Dependency {
    name: String,
    /// The room it is, if it is ours.
    room: Option<String>,
    /// Whether only tests and benches use it.
    dev: bool,
}

/// Fails with every fault at once.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let document = folder::read(&workspace.root.join(DOCUMENT))?;
    let table =
        LayerTable::parse(&document).with_context(|| format!("failed to read the layer table of `{DOCUMENT}`"))?;
    let rooms = rooms(workspace)?;
    let faults = faults(&table, &rooms);
    if !faults.is_empty() {
        bail!(
            "{} fault(s) against the layer table of `{DOCUMENT}`:\n  {}\nhint: a new arrow is a decision (docs/decisions), then a change of the table",
            faults.len(),
            faults.join("\n  ")
        );
    }
    eprintln!("{} crates keep to the layer table", rooms.len());
    Ok(())
}

fn faults(table: &LayerTable, rooms: &[Room]) -> Vec<String> {
    let mut faults = Vec::new();
    for room in rooms {
        let name = &room.name;
        if !room.inherits_lints {
            faults.push(format!("`{}` lacks `[lints] workspace = true`", room.manifest.display()));
        }
        for dependency in &room.dependencies {
            let kind = if dependency.dev { "dev-dependency" } else { "dependency" };
            if let Some(to) = &dependency.room {
                match table.allows(name, to, dependency.dev) {
                    _ if to == name => {}
                    Some(true) => {}
                    Some(false) => faults.push(format!("wrong arrow: `{name}` → `{to}` ({kind})")),
                    None => {} // said below, once
                }
            } else if let Some(homes) = table.homes.get(&dependency.name)
                && !dependency.dev
                && !homes.contains(name)
            {
                let homes: Vec<&str> = homes.iter().map(String::as_str).collect();
                faults.push(format!(
                    "`{name}` depends on `{}`, which is at home only in {}",
                    dependency.name,
                    homes.join(", ")
                ));
            }
        }
    }
    let there: BTreeSet<&str> = rooms.iter().map(|room| room.name.as_str()).collect();
    let rows: BTreeSet<&str> = table.rooms().collect();
    faults.extend(there.difference(&rows).map(|room| format!("`{room}` has no row")));
    faults.extend(rows.difference(&there).map(|room| format!("the row `{room}` stands for no crate")));
    faults
}

/// Every crate of ours: the host's workspace, the SDK's, and the plugins, which are workspaces of their own.
fn rooms(workspace: &Workspace) -> Result<Vec<Room>> {
    let mut manifests = vec![workspace.root.join("Cargo.toml")];
    manifests.extend(Some(workspace.root.join("sdk/Cargo.toml")).filter(|path| path.is_file()));
    manifests.extend(guests::all(workspace)?.iter().map(guests::Guest::crate_manifest));
    let mut rooms: Vec<Room> = Vec::new();
    for manifest in manifests {
        if rooms.iter().any(|room| room.manifest == manifest) {
            continue;
        }
        let metadata = workspace.metadata(&manifest, &["--no-deps"])?;
        for package in list(&metadata, "packages")? {
            rooms.push(room(&workspace.root, package)?);
        }
    }
    rooms.sort_by(|one, other| one.manifest.cmp(&other.manifest));
    rooms.dedup();
    Ok(rooms)
}

fn room(root: &Path, package: &Value) -> Result<Room> {
    let manifest = PathBuf::from(text(package, "manifest_path")?);
    let name = room_name(root, &manifest)?;
    let mut dependencies = Vec::new();
    for dependency in list(package, "dependencies")? {
        let path = dependency.get("path").and_then(Value::as_str).map(|path| Path::new(path).join("Cargo.toml"));
        dependencies.push(Dependency {
            name: text(dependency, "name")?.to_owned(),
            room: path.map(|path| room_name(root, &path)).transpose()?,
            dev: dependency.get("kind").is_some_and(|kind| kind == "dev"),
        });
    }
    // A plugin is what its author would write: its own workspace, and its own taste in lints.
    let inherits_lints = name == "plugins" || inherits_lints(&folder::read(&manifest)?)?;
    Ok(Room { name, manifest, dependencies, inherits_lints })
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("cargo metadata tells no `{key}`"))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value]> {
    let list = value.get(key).and_then(Value::as_array).map(Vec::as_slice);
    list.with_context(|| format!("cargo metadata lists no `{key}`"))
}

/// The row that stands for the crate with this manifest.
fn room_name(root: &Path, manifest: &Path) -> Result<String> {
    let folder = manifest.parent().and_then(|folder| folder.strip_prefix(root).ok());
    let folder = folder.with_context(|| format!("`{}` lies outside the repository", manifest.display()))?;
    let mut parts = folder.iter().map(|part| part.to_string_lossy().into_owned());
    Ok(match (parts.next().as_deref(), parts.next()) {
        (Some("host"), Some(room)) => room,
        (Some("sdk"), Some(member)) if member == "fixtures" => "plugins".to_owned(),
        (Some("capabilities" | "examples" | "templates" | "target"), _) => "plugins".to_owned(),
        (Some(top), _) => top.to_owned(),
        (None, _) => bail!("the repository's top folder is no room"),
    })
}

fn inherits_lints(manifest: &str) -> Result<bool> {
    let manifest: toml::Table = toml::from_str(manifest)?;
    Ok(manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "\n## Layers\n
| Room | May use |
| --- | --- |
| `model` | nothing of ours |
| `mesh` | `model` |
| `host` | every room |

| Crate | Only in |
| --- | --- |
| `zenoh` | `mesh` |
";

    fn crate_of(name: &str, dependencies: &[(&str, Option<&str>, bool)]) -> Room {
        Room {
            name: name.to_owned(),
            manifest: format!("/r/{name}/Cargo.toml").into(),
            dependencies: dependencies
                .iter()
                .map(|(name, room, dev)| Dependency {
                    name: (*name).to_owned(),
                    room: room.map(str::to_owned),
                    dev: *dev,
                })
                .collect(),
            inherits_lints: true,
        }
    }

    fn faults_of(change: impl FnOnce(&mut Vec<Room>)) -> Vec<String> {
        let mut rooms = vec![
            crate_of("model", &[("serde", None, false)]),
            crate_of("mesh", &[("mortise-model", Some("model"), false), ("zenoh", None, false)]),
            crate_of("host", &[("mortise-mesh", Some("mesh"), false), ("zenoh", None, true)]),
        ];
        change(&mut rooms);
        faults(&LayerTable::parse(DOCUMENT).unwrap(), &rooms)
    }

    #[test]
    fn crates_that_keep_to_the_table_have_no_faults() {
        assert_eq!(faults_of(|_| {}), [""; 0]);
    }

    #[test]
    fn a_wrong_arrow_is_a_fault_in_tests_too() {
        let arrow = |dev| faults_of(|rooms| rooms[0] = crate_of("model", &[("mortise-mesh", Some("mesh"), dev)]));
        assert_eq!(arrow(false), ["wrong arrow: `model` → `mesh` (dependency)"]);
        assert_eq!(arrow(true), ["wrong arrow: `model` → `mesh` (dev-dependency)"]);
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_faults() {
        assert_eq!(faults_of(|rooms| rooms.push(crate_of("bench", &[]))), ["`bench` has no row"]);
        assert_eq!(faults_of(|rooms| drop(rooms.remove(0))), ["the row `model` stands for no crate"]);
    }

    #[test]
    fn a_crate_away_from_home_is_a_fault() {
        let faults = faults_of(|rooms| rooms[0] = crate_of("model", &[("zenoh", None, false)]));
        assert_eq!(faults, ["`model` depends on `zenoh`, which is at home only in mesh"]);
    }

    #[test]
    fn lints_must_be_inherited() {
        assert!(inherits_lints("[lints]\nworkspace = true\n").unwrap());
        assert!(inherits_lints("[package]\nname = \"x\"\nlints.workspace = true\n").is_ok_and(|inherits| !inherits));
        assert!(!inherits_lints("[package]\nname = \"x\"\n").unwrap());
        assert_eq!(
            faults_of(|rooms| rooms[0].inherits_lints = false),
            ["`/r/model/Cargo.toml` lacks `[lints] workspace = true`"]
        );
    }

    #[test]
    fn rooms_are_named_by_their_folder() {
        let name = |path: &str| room_name(Path::new("/r"), &Path::new("/r").join(path).join("Cargo.toml")).unwrap();
        assert_eq!(name("host"), "host");
        assert_eq!(name("host/runtime-wasm"), "runtime-wasm");
        assert_eq!(name("xtask"), "xtask");
        assert_eq!(name("sdk/tenon-macros"), "sdk");
        assert_eq!(name("sdk/fixtures/behave"), "plugins");
        assert_eq!(name("capabilities/demo"), "plugins");
        assert!(room_name(Path::new("/r"), Path::new("/elsewhere/x/Cargo.toml")).is_err());
    }
}
