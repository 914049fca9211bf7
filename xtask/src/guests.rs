//! Builds every guest plugin of the repository into `target/guests`.
//!
//! ```text
//! target/guests/build/             cargo's own folder for guests
//! target/guests/out/<name>.wasm    one component per guest, by the name of its folder
//! target/guests/plugins/<id>/      manifest.json and the component: a plugin as a host loads it
//! ```

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::guest_toolchain::{self, GuestToolchain, TARGET, TARGETS};
use crate::workspace::Workspace;
use crate::{command, fixtures, folder, template};

/// Folders whose subfolders are plugins, or have them in one folder for each language.
const ROOTS: &[&str] = &["sdk/fixtures", "capabilities", "examples"];

/// What a component starts with; a core module has another version and layer.
const COMPONENT_PREAMBLE: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// A crate that becomes a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guest {
    /// The name of its folder; for a template `template-<language>`.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
}

impl Guest {
    pub(crate) fn crate_manifest(&self) -> PathBuf {
        self.folder.join("Cargo.toml")
    }

    /// `package.metadata.guest.target` of its `Cargo.toml`, or the usual one.
    fn target(&self) -> Result<&'static str> {
        let manifest = self.crate_manifest();
        let parsed: toml::Table =
            folder::read(&manifest)?.parse().with_context(|| format!("`{}` is not TOML", manifest.display()))?;
        let metadata = ["package", "metadata", "guest", "target"]
            .iter()
            .try_fold(&toml::Value::Table(parsed), |value, key| value.get(key))
            .cloned();
        match metadata {
            None => Ok(TARGET),
            Some(named) => TARGETS.into_iter().find(|target| named.as_str() == Some(target)).with_context(|| {
                format!("`{}` names the target {named}; there are {}", manifest.display(), TARGETS.join(" and "))
            }),
        }
    }

    /// The manifest of the plugin that this guest is, if it is a whole plugin.
    fn plugin_manifest(&self) -> Option<PathBuf> {
        Some(self.folder.join("manifest.json")).filter(|path| path.is_file())
    }
}

/// `cargo xtask guests`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    match arguments {
        ["--print-env"] => {
            let toolchain = guest_toolchain::find()?;
            println!("MORTISE_GUEST_RUSTC={}", toolchain.rustc.display());
            println!("MORTISE_SDK={}", workspace.sdk().display());
            Ok(())
        }
        ["--check"] => check(workspace),
        names => {
            if let Some(option) = names.iter().find(|name| name.starts_with('-')) {
                bail!("`guests` has no option `{option}`");
            }
            build(workspace, &guest_toolchain::find()?, names)
        }
    }
}

fn check(workspace: &Workspace) -> Result<()> {
    let toolchain = guest_toolchain::find()?;
    println!("compiler: {} ({})", toolchain.rustc.display(), toolchain.origin);
    for guest in all(workspace)? {
        println!("guest:    {}", guest.name);
    }
    fixtures::check(workspace)
}

/// Every guest of the repository, the rendered template included.
pub(crate) fn all(workspace: &Workspace) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for root in ROOTS {
        guests.extend(guests_in(&workspace.root.join(root))?);
    }
    guests.extend(template::render(workspace)?);
    Ok(guests)
}

fn guests_in(root: &Path) -> Result<Vec<Guest>> {
    let guest = |plugin: PathBuf| {
        let name = plugin.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = [plugin.join("rust"), plugin].into_iter().find(|folder| folder.join("Cargo.toml").is_file())?;
        Some(Guest { name, folder })
    };
    Ok(folder::entries(root)?.into_iter().filter_map(guest).collect())
}

/// Builds the named guests, or all where none is named. A guest that is up to date takes cargo a moment.
pub(crate) fn build(workspace: &Workspace, toolchain: &GuestToolchain, names: &[&str]) -> Result<()> {
    let guests = all(workspace)?;
    if let Some(unknown) = names.iter().find(|name| !guests.iter().any(|guest| guest.name == **name)) {
        let known: Vec<&str> = guests.iter().map(|guest| guest.name.as_str()).collect();
        bail!("no guest `{unknown}`; there are {}", known.join(", "));
    }
    let chosen: Vec<&Guest> =
        guests.iter().filter(|guest| names.is_empty() || names.contains(&guest.name.as_str())).collect();
    eprintln!("building {} guests with {} ({})", chosen.len(), toolchain.rustc.display(), toolchain.origin);
    for guest in chosen {
        let component = build_one(workspace, toolchain, guest)
            .with_context(|| format!("failed to build guest `{}`", guest.name))?;
        let out = workspace.guests().join("out").join(format!("{}.wasm", guest.name));
        folder::install(&component, &out)?;
        if let Some(manifest) = guest.plugin_manifest() {
            assemble(workspace, &manifest, &out)
                .with_context(|| format!("failed to assemble plugin `{}`", guest.name))?;
        }
        let size = std::fs::metadata(&out)?.len();
        eprintln!("  {:<24} {:>7.1} KiB", guest.name, size as f64 / 1024.0);
    }
    Ok(())
}

fn build_one(workspace: &Workspace, toolchain: &GuestToolchain, guest: &Guest) -> Result<PathBuf> {
    let mut cargo = toolchain.cargo();
    cargo
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target",
            guest.target()?,
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--target-dir")
        .arg(workspace.guests().join("build"))
        .current_dir(&guest.folder);
    let messages = command::output(&mut cargo)?;
    let component = component_in(&messages, &guest.crate_manifest())
        .context("the crate makes no component; its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`")?;
    ensure_component(&component)?;
    Ok(component)
}

/// The `.wasm` file among cargo's messages that the crate with this manifest made.
fn component_in(messages: &str, crate_manifest: &Path) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let made = messages.filter(|message| {
        let is = |key: &str, expected: &str| message.get(key).and_then(Value::as_str) == Some(expected);
        is("reason", "compiler-artifact") && is("manifest_path", &crate_manifest.to_string_lossy())
    });
    made.filter_map(|message| {
        let names = message.get("filenames")?.as_array()?;
        names.iter().filter_map(Value::as_str).find(|name| name.ends_with(".wasm")).map(PathBuf::from)
    })
    .next_back()
}

fn ensure_component(path: &Path) -> Result<()> {
    let mut preamble = [0; 8];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut preamble))
        .with_context(|| format!("failed to read `{}`", path.display()))?;
    ensure!(
        preamble == COMPONENT_PREAMBLE,
        "`{}` is a core module, not a component: was it linked by `wasm-component-ld`, and does it export the world?",
        path.display()
    );
    Ok(())
}

/// Puts manifest and component together under the plugin's id.
fn assemble(workspace: &Workspace, manifest: &Path, component: &Path) -> Result<()> {
    let text = folder::read(manifest)?;
    let value: Value = serde_json::from_str(&text).with_context(|| format!("`{}` is not JSON", manifest.display()))?;
    let field = |key: &str| {
        value.get(key).and_then(Value::as_str).with_context(|| format!("`{}` has no `{key}`", manifest.display()))
    };
    let (id, entry_point) = (field("id")?, field("entry_point")?);
    for name in [id, entry_point] {
        ensure!(!name.contains('/') && !name.starts_with('.'), "the manifest's `{name}` is no plain name");
    }
    let plugin = workspace.guests().join("plugins").join(id);
    folder::install(component, &plugin.join(entry_point))?;
    folder::install(manifest, &plugin.join("manifest.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_of_the_crate_itself_is_taken() {
        let messages = [
            r#"{"reason":"compiler-artifact","manifest_path":"/w/dependency/Cargo.toml","filenames":["/t/libdep.rlib"]}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/w/other/Cargo.toml","filenames":["/t/other.wasm"]}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/w/me/Cargo.toml","filenames":["/t/libme.rlib","/t/me.wasm"]}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ]
        .join("\n");
        assert_eq!(component_in(&messages, Path::new("/w/me/Cargo.toml")), Some("/t/me.wasm".into()));
        assert_eq!(component_in(&messages, Path::new("/w/dependency/Cargo.toml")), None);
    }

    #[test]
    fn a_guest_says_which_target_it_is_for() {
        let folder = tempfile::tempdir().unwrap();
        let guest = Guest { name: "g".to_owned(), folder: folder.path().to_owned() };
        let with = |text: &str| {
            std::fs::write(guest.crate_manifest(), text).unwrap();
            guest.target().map_err(|error| error.to_string())
        };
        assert_eq!(with("[package]\nname = 'g'"), Ok("wasm32-unknown-unknown"));
        assert_eq!(with("[package.metadata.guest]\ntarget = 'wasm32-wasip2'"), Ok("wasm32-wasip2"));
        for wrong in ["'wasm64'", "2"] {
            let refusal = with(&format!("[package.metadata.guest]\ntarget = {wrong}")).unwrap_err();
            assert!(refusal.contains("there are wasm32-unknown-unknown and wasm32-wasip2"), "{refusal}");
        }
    }

    #[test]
    fn a_plugin_lies_in_its_folder_or_in_that_of_its_language() {
        let root = tempfile::tempdir().unwrap();
        for crate_of in ["plain", "tides/rust"] {
            std::fs::create_dir_all(root.path().join(crate_of)).unwrap();
            std::fs::write(root.path().join(crate_of).join("Cargo.toml"), "").unwrap();
        }
        std::fs::create_dir_all(root.path().join("source")).unwrap();
        let guest = |name: &str, folder: &str| Guest { name: name.to_owned(), folder: root.path().join(folder) };
        assert_eq!(guests_in(root.path()).unwrap(), [guest("plain", "plain"), guest("tides", "tides/rust")]);
    }

    #[test]
    fn a_core_module_is_not_a_component() {
        let folder = tempfile::tempdir().unwrap();
        let (core, component) = (folder.path().join("core.wasm"), folder.path().join("component.wasm"));
        std::fs::write(&core, b"\0asm\x01\0\0\0").unwrap();
        std::fs::write(&component, COMPONENT_PREAMBLE).unwrap();
        assert!(ensure_component(&core).unwrap_err().to_string().contains("core module"));
        ensure_component(&component).unwrap();
    }
}
