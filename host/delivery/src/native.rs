//! Machine code among the packages that a plugin in Python brings: it does not run in the sandbox.

use std::fs;
use std::path::{Path, PathBuf};

/// Where a plugin in Python has what it imports of other people's.
pub const SITE_PACKAGES: &str = "site-packages";

/// Of extension modules and shared libraries.
const EXTENSIONS: [&str; 3] = ["so", "pyd", "dylib"];

/// A file of machine code among the packages in the plugin's folder `root`, relative to it and the same at each look; none
/// where there is none. Blocks. What cannot be read the check of the files tells.
#[must_use]
pub fn native_file(root: &Path) -> Option<PathBuf> {
    let file = find(&root.join(SITE_PACKAGES))?;
    Some(file.strip_prefix(root).map(Path::to_owned).unwrap_or(file))
}

fn find(folder: &Path) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    entries.into_iter().find_map(|path| {
        if path.is_dir() && !path.is_symlink() {
            return find(&path);
        }
        let extension = path.extension()?.to_str()?;
        EXTENSIONS.contains(&extension).then_some(path)
    })
}
