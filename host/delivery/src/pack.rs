//! Making archives: the same folder gives the same bytes, wherever and whenever it is packed.

use crate::disk::failed;
use crate::member::TreeLimits;
use crate::tree::{Found, Selection, TreeError, walk};
use flate2::{Compression, GzBuilder};
use mortise_model::PluginId;
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// Packs the plugin in `folder` as a gzip tar with one top-level folder, `top` (wire contract 10.11).
///
/// Left out are dot files and what tools leave behind (`target` beside a `Cargo.toml`, `node_modules`, `__pycache__`).
/// Members are sorted and carry neither time nor owner; the only mode that is told apart is executable. Blocks, and
/// holds the archive in memory.
///
/// # Errors
/// [`TreeError`], for whatever would be refused at the other end too.
pub fn pack(folder: &Path, top: &PluginId, limits: &TreeLimits) -> Result<Vec<u8>, TreeError> {
    // 255: the gzip header does not say on which system it was made.
    let encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::default());
    let mut builder = Builder::new(encoder);
    walk(folder, Selection::Authored, limits, &mut |found: Found<'_>| {
        let path = folder.join(found.path);
        // The header comes first, so a file that grows or shrinks meanwhile would spoil the archive.
        let mut content = Vec::new();
        found.content.read_to_end(&mut content).map_err(failed("read", &path))?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(if found.executable { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let member = format!("{top}/{}", found.path);
        builder.append_data(&mut header, member, content.as_slice()).map_err(failed("pack", &path))?;
        Ok::<(), TreeError>(())
    })?;
    let packed = builder.into_inner().and_then(flate2::write::GzEncoder::finish);
    Ok(packed.map_err(failed("pack", folder))?)
}
