//! Modules of a plugin: which of its files a specifier names, and what is in it. Nothing but the plugin's own folder is read.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The module that is built in.
pub(super) const TENON: &str = "tenon";

/// The module by which the host's own script imports the plugin's. It is the host's as well, so that the plugin is a value in it, and not
/// what a promise would be kept with: that would call an export named `then`.
pub(super) const PLUGIN: &str = "<plugin>";

/// The largest module that is read.
const MODULE_BYTES_MAX: u64 = 8 << 20;

/// The longest path of a module within its folder.
const PATH_BYTES_MAX: usize = 1024;

/// The cure for packages that are imported by name.
const BUNDLE: &str = "bundle the package into the plugin's source, as with esbuild, or put its files into the plugin's folder and import `./…`";

/// Which module the specifier names, by its path within the plugin's folder. `base` is the module that imports it, none where
/// that is the host's own script.
///
/// # Errors
/// Text for the plugin's author.
pub(super) fn resolve(base: Option<&str>, specifier: &str) -> Result<String, String> {
    if specifier == TENON || (base.is_none() && specifier == PLUGIN) {
        return Ok(specifier.to_owned());
    }
    let importer = base.unwrap_or("the host");
    if specifier.len() > PATH_BYTES_MAX {
        return Err(format!("`{importer}` imports a module whose name has more than {PATH_BYTES_MAX} bytes"));
    }
    let refused = |reason: &str| Err(format!("`{importer}` imports `{specifier}`: {reason}"));
    let folder = match base {
        // What the manifest names.
        None => "",
        Some(base) if specifier.starts_with("./") || specifier.starts_with("../") => {
            base.rsplit_once('/').map_or("", |(folder, _)| folder)
        }
        Some(_) if specifier.starts_with('/') => {
            return refused("an absolute path leaves the plugin's folder; write it from here on, as in `./…`");
        }
        Some(_) if specifier.contains("://") || specifier.starts_with("data:") => {
            return refused(&format!("modules are not read over the network; {BUNDLE}"));
        }
        Some(_) if specifier.starts_with("node:") => {
            return refused("Node's own modules are not there; `tenon` and the globals of the web are");
        }
        Some(_) => return refused(&format!("there is no package of that name; {BUNDLE}")),
    };
    let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in specifier.split('/') {
        match part {
            "" | "." => {}
            ".." if path.pop().is_none() => return refused("it leaves the plugin's folder"),
            ".." => {}
            part => path.push(part),
        }
    }
    let path = path.join("/");
    if path.is_empty() || path.len() > PATH_BYTES_MAX || path.contains(['\\', '\0']) {
        return refused("it is no path of a file");
    }
    if path == TENON || path == PLUGIN {
        return refused("a file cannot have the name of a built-in module");
    }
    Ok(path)
}

/// The text of [`PLUGIN`].
pub(super) fn importing(entry_point: &str) -> String {
    format!("import * as plugin from {};\nexport {{ plugin }};\n", serde_json::Value::from(entry_point))
}

/// The text of a module. Blocks on the disk.
///
/// # Errors
/// Text for the plugin's author.
pub(super) fn read(root: &Path, module: &str) -> Result<String, String> {
    let file = open(root, module).map_err(|error| unreadable(root, module, &error))?;
    let metadata = file.metadata().map_err(|error| unreadable(root, module, &error))?;
    if !metadata.is_file() {
        return Err(format!("module `{module}` is no file"));
    }
    let mut source = Vec::new();
    let read = file.take(MODULE_BYTES_MAX + 1).read_to_end(&mut source);
    read.map_err(|error| unreadable(root, module, &error))?;
    if source.len() as u64 > MODULE_BYTES_MAX {
        return Err(format!("module `{module}` has more than {} MiB", MODULE_BYTES_MAX >> 20));
    }
    String::from_utf8(source).map_err(|_| format!("module `{module}` is not UTF-8"))
}

fn unreadable(root: &Path, module: &str, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::NotFound {
        return format!("module `{module}` cannot be read: {error}");
    }
    let nearby = [".js", ".mjs", "/index.js"].map(|end| format!("{module}{end}"));
    match nearby.iter().find(|path| open(root, path).is_ok()) {
        Some(path) => format!("module `{module}` is not there; `{path}` is: extensions are written out"),
        None => format!("module `{module}` is not there"),
    }
}

/// Opens a file of the folder. Links may lead from one file of it to another and nowhere else, and nothing is waited for.
#[cfg(target_os = "linux")]
fn open(root: &Path, module: &str) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let folder = openat(CWD, root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(folder, module, flags | OFlags::NONBLOCK, Mode::empty(), resolve)?;
    Ok(File::from(file))
}

#[cfg(not(target_os = "linux"))]
fn open(root: &Path, module: &str) -> io::Result<File> {
    let path: PathBuf = root.join(module).canonicalize()?;
    if !path.starts_with(root.canonicalize()?) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it leads out of the plugin's folder"));
    }
    File::open(path)
}

/// Where the modules of a plugin are, and which of them is its own.
#[derive(Debug, Clone)]
pub(crate) struct Modules {
    pub(crate) root: PathBuf,
    pub(crate) entry_point: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_name_files_of_the_folder_and_nothing_else() {
        let resolved = |base: Option<&str>, specifier: &str| resolve(base, specifier);
        assert_eq!(resolved(None, "src/main.js").as_deref(), Ok("src/main.js"));
        assert_eq!(resolved(None, PLUGIN).as_deref(), Ok(PLUGIN));
        assert_eq!(resolved(Some("src/main.js"), "tenon").as_deref(), Ok("tenon"));
        assert_eq!(resolved(Some("src/main.js"), "./util.js").as_deref(), Ok("src/util.js"));
        assert_eq!(resolved(Some("src/main.js"), "../lib/./a//b.js").as_deref(), Ok("lib/a/b.js"));
        for (specifier, reason) in [
            ("../../main.js", "leaves the plugin's folder"),
            ("./../../../etc/hostname", "leaves the plugin's folder"),
            ("/etc/hostname", "absolute path"),
            ("https://a.test/b.js", "over the network"),
            ("data:text/javascript,1", "over the network"),
            ("node:fs", "Node's own modules"),
            ("lodash", "esbuild"),
            ("../", "no path of a file"),
            ("./a\\b.js", "no path of a file"),
            ("../tenon", "built-in module"),
            (PLUGIN, "esbuild"),
            ("../<plugin>", "built-in module"),
        ] {
            let error = resolved(Some("src/main.js"), specifier).map(|path| panic!("`{path}`")).unwrap_err();
            assert!(error.contains(reason) && error.starts_with("`src/main.js` imports `"), "{error}");
        }
        assert!(resolve(Some("main.js"), &format!("./{}", "a".repeat(PATH_BYTES_MAX + 1))).is_err());
    }

    #[test]
    fn modules_are_files_within_their_limit_and_links_stay_in_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        std::fs::create_dir(path("lib")).unwrap();
        std::fs::write(path("lib/a.js"), "export {}").unwrap();
        std::os::unix::fs::symlink("lib/a.js", path("inner.js")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", path("outer.js")).unwrap();
        std::os::unix::fs::symlink("/", path("up")).unwrap();
        for module in ["lib/a.js", "inner.js"] {
            assert_eq!(read(root.path(), module).as_deref(), Ok("export {}"));
        }
        for module in ["outer.js", "up/etc/hostname", "../etc/hostname"] {
            assert!(read(root.path(), module).unwrap_err().contains("cannot be read"), "{module}");
        }
        assert_eq!(read(root.path(), "lib").unwrap_err(), "module `lib` is no file");
        assert!(read(root.path(), "lib/a").unwrap_err().contains("`lib/a.js` is: extensions are written out"));
        assert_eq!(read(root.path(), "b.js").unwrap_err(), "module `b.js` is not there");
        std::fs::write(path("latin.js"), b"// \xe9").unwrap();
        assert_eq!(read(root.path(), "latin.js").unwrap_err(), "module `latin.js` is not UTF-8");
        File::create(path("large.js")).unwrap().set_len(MODULE_BYTES_MAX + 1).unwrap();
        assert_eq!(read(root.path(), "large.js").unwrap_err(), "module `large.js` has more than 8 MiB");
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe.js"), rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
        assert_eq!(read(root.path(), "pipe.js").unwrap_err(), "module `pipe.js` is no file");
    }
}
