//! Free text in a file of some syntax.

use super::{Outline, TemplateFile};
use mortise_model::one_line;

/// How a text is written into a file so that it stays what it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Within the quotes of JSON or of a TOML basic string.
    Quoted,
    /// Within the quotes of a Python string.
    Python,
    /// Within one line of Markdown or of a Rust comment.
    Line,
}

/// One file of a template: where it goes, how free text is written into it, its text.
pub(super) type Blank = (&'static str, Syntax, &'static str);

/// Fills `blanks` in: with what `outline` says, and with `more`, placeholders of the language.
pub(super) fn fill(blanks: &[Blank], outline: Outline<'_>, more: &[(&str, &str)]) -> Vec<TemplateFile> {
    let description = one_line(outline.description);
    let fill = |&(path, syntax, text): &Blank| {
        let text = text.replace("{{plugin_id}}", outline.id.as_str()).replace("{{type_name}}", outline.class_name);
        let text = more.iter().fold(text, |text, (placeholder, value)| text.replace(placeholder, value));
        // What is free text comes last: whatever it holds is not looked at again.
        TemplateFile { path, text: text.replace("{{description}}", &written(syntax, &description)) }
    };
    blanks.iter().map(fill).collect()
}

fn written(syntax: Syntax, text: &str) -> String {
    match syntax {
        Syntax::Quoted => quoted(text),
        // Every quote, so that three of them, or one at the end, do not close the docstring.
        Syntax::Python => text.replace('\\', "\\\\").replace('"', "\\\""),
        Syntax::Line => text.to_owned(),
    }
}

/// `text` as it stands between quotes: JSON's escapes are those of TOML's basic strings as well.
pub(super) fn quoted(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}
