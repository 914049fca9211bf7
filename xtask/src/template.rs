//! The plugin templates, rendered so that they are built as guests like any other.

use anyhow::Result;

use crate::guests::Guest;
use crate::workspace::Workspace;

/// The rendered templates.
pub(crate) fn render(_workspace: &Workspace) -> Result<Vec<Guest>> {
    Ok(Vec::new())
}
