//! The template of JavaScript: a module of functions, an event and a routine, which a host runs as it is.

use super::text::{Blank, Syntax, fill};
use super::{Outline, TemplateFile};

pub(super) const SOURCE: &str = "plugin.js";

const BLANKS: [Blank; 3] = [
    ("manifest.json", Syntax::Quoted, include_str!("../../../../templates/javascript/manifest.json")),
    (SOURCE, Syntax::Line, include_str!("../../../../templates/javascript/plugin.js")),
    ("README.md", Syntax::Line, include_str!("../../../../templates/javascript/README.md")),
];

/// Any class name will do: there is no class.
pub(super) fn render(outline: Outline<'_>) -> Vec<TemplateFile> {
    fill(&BLANKS, outline, &[])
}
