//! What the attributes and doc comments say.

use proc_macro2::Span;
use std::time::Duration;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, ExprLit, Lit, LitStr, Meta, Result, Token, parenthesized};

/// What a method is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Function,
    Routine(Pace),
    Event,
    On,
    Init,
    Start,
    Stop,
    SelfTest,
    Migrate,
}

/// The attributes that mark a method.
const MARKERS: [&str; 9] = ["function", "routine", "event", "on", "init", "start", "stop", "self_test", "migrate"];

/// A marked method's attribute.
#[derive(Debug)]
pub(crate) struct Marker {
    pub(crate) role: Role,
    pub(crate) span: Span,
    pub(crate) name: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) tags: Vec<String>,
    /// Of which devices it hears.
    pub(crate) device: String,
    /// Of which events it hears.
    pub(crate) event: String,
}

/// When a routine's next tick begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Every(Duration),
    Delay(Duration),
}

impl Marker {
    /// Takes the marker out of a method's attributes; none if it is an ordinary method.
    pub(crate) fn take(attributes: &mut Vec<Attribute>) -> Result<Option<Self>> {
        let mut marker: Option<Self> = None;
        let is_marker = |attribute: &Attribute| MARKERS.iter().any(|marker| attribute.path().is_ident(marker));
        for attribute in attributes.extract_if(.., |attribute| is_marker(attribute)) {
            if marker.is_some() {
                return Err(Error::new(attribute.span(), "a method has one role only"));
            }
            marker = Some(Self::parse(&attribute)?);
        }
        Ok(marker)
    }

    fn parse(attribute: &Attribute) -> Result<Self> {
        let span = attribute.span();
        let word = attribute.path().get_ident().map(ToString::to_string).unwrap_or_default();
        let is_routine = word == "routine";
        let is_told = word == "function" || word == "event";
        let is_on = word == "on";
        let (mut name, mut pace, mut labels, mut tags) = (None, None, Vec::new(), Vec::new());
        let (mut device, mut event) = (None, None);
        if !matches!(attribute.meta, Meta::Path(_)) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") && name.is_none() && (is_told || is_routine) {
                    name = Some(mesh_name(&meta.value()?.parse()?)?);
                } else if meta.path.is_ident("label") && is_told {
                    labels.push(pair(&meta)?);
                } else if meta.path.is_ident("tag") && is_told {
                    let tag;
                    parenthesized!(tag in meta.input);
                    tags.push(tag.parse::<LitStr>()?.value());
                } else if meta.path.is_ident("every") && is_routine && pace.is_none() {
                    pace = Some(Pace::Every(duration(&meta.value()?.parse()?)?));
                } else if meta.path.is_ident("delay") && is_routine && pace.is_none() {
                    pace = Some(Pace::Delay(duration(&meta.value()?.parse()?)?));
                } else if meta.path.is_ident("device") && is_on && device.is_none() {
                    device = Some(pattern(&meta.value()?.parse()?)?);
                } else if meta.path.is_ident("event") && is_on && event.is_none() {
                    event = Some(pattern(&meta.value()?.parse()?)?);
                } else {
                    return Err(meta.error("unknown, repeated or misplaced option"));
                }
                Ok(())
            })?;
        }
        let role = match word.as_str() {
            "routine" => Role::Routine(pace.ok_or_else(|| {
                let message =
                    "a routine needs `every = \"5s\"` (from begin to begin) or `delay = \"5s\"` (from end to begin)";
                Error::new(span, message)
            })?),
            "event" => Role::Event,
            "on" => Role::On,
            "init" => Role::Init,
            "start" => Role::Start,
            "stop" => Role::Stop,
            "self_test" => Role::SelfTest,
            "migrate" => Role::Migrate,
            _ => Role::Function,
        };
        let any = || "*".to_owned();
        let (device, event) = (device.unwrap_or_else(any), event.unwrap_or_else(any));
        Ok(Self { role, span, name, labels, tags, device, event })
    }
}

/// `("key", "value")`.
fn pair(meta: &ParseNestedMeta<'_>) -> Result<(String, String)> {
    let pair;
    parenthesized!(pair in meta.input);
    let key = pair.parse::<LitStr>()?;
    pair.parse::<Token![,]>()?;
    Ok((key.value(), pair.parse::<LitStr>()?.value()))
}

/// A name as the mesh carries it.
fn mesh_name(literal: &LitStr) -> Result<String> {
    let name = literal.value();
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        Ok(name)
    } else {
        Err(Error::new(literal.span(), "a name consists of letters, digits, `-` and `_`"))
    }
}

/// Names as the mesh carries them, in which `*` stands for any run of characters.
fn pattern(literal: &LitStr) -> Result<String> {
    let pattern = literal.value();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'*');
    if !pattern.is_empty() && pattern.bytes().all(allowed) {
        Ok(pattern)
    } else {
        Err(Error::new(literal.span(), "a pattern consists of letters, digits, `-`, `_`, `.` and `*`"))
    }
}

fn duration(literal: &LitStr) -> Result<Duration> {
    let text = literal.value();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds_per_unit = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let milliseconds = number.parse::<u64>().ok().zip(milliseconds_per_unit).and_then(|(n, unit)| n.checked_mul(unit));
    match milliseconds {
        Some(milliseconds @ 1..=31_536_000_000) => Ok(Duration::from_millis(milliseconds)),
        _ => Err(Error::new(literal.span(), "expected a whole number and `ms`, `s`, `m` or `h`, from 1ms to a year")),
    }
}

/// Takes `#[default = …]` out of a parameter's attributes.
pub(crate) fn take_default(attributes: &mut Vec<Attribute>) -> Result<Option<Expr>> {
    let mut default = None;
    for attribute in attributes.extract_if(.., |attribute| attribute.path().is_ident("default")) {
        let value = attribute.meta.require_name_value()?.value.clone();
        if default.replace(value).is_some() {
            return Err(Error::new(attribute.span(), "a parameter has one default only"));
        }
    }
    Ok(default)
}

/// The text of the doc comments, without common indentation.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

/// The first paragraph, on one line.
pub(crate) fn summary(doc: &str) -> String {
    let lines = doc.lines().skip_while(|line| line.is_empty());
    lines.take_while(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>().join(" ")
}

/// What the list under `# Arguments` says of a parameter: ``* `name` - text``, `- name: text`.
pub(crate) fn argument_doc(doc: &str, parameter: &str) -> String {
    let mut found: Option<String> = None;
    let section = doc.lines().skip_while(|line| !is_arguments_heading(line)).skip(1);
    for line in section.take_while(|line| !line.starts_with('#')) {
        let Some(item) = line.strip_prefix("* ").or_else(|| line.strip_prefix("- ")) else {
            // A line that continues the item before it.
            match &mut found {
                Some(text) if !line.trim().is_empty() => {
                    text.push(' ');
                    text.push_str(line.trim());
                }
                _ => {}
            }
            continue;
        };
        if found.is_some() {
            break;
        }
        let item = item.trim_start_matches('`');
        if let Some(rest) = item.strip_prefix(parameter).filter(|rest| rest.starts_with(['`', ' ', ':'])) {
            found = Some(rest.trim_start_matches(['`', ' ', ':', '-', '–', '—']).to_owned());
        }
    }
    found.unwrap_or_default()
}

fn is_arguments_heading(line: &str) -> bool {
    line.starts_with('#') && matches!(line.trim_start_matches('#').trim(), "Arguments" | "Parameters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_the_first_paragraph_on_one_line() {
        assert_eq!(summary("Says hello\nto somebody.\n\nAt length."), "Says hello to somebody.");
        assert_eq!(summary("\nShort.\n# Arguments"), "Short.");
        assert_eq!(summary(""), "");
    }

    #[test]
    fn argument_docs_are_found_in_either_form() {
        let doc = "Dims.\n\n# Arguments\n* `level` - how far,\n  in percent\n- zone: which lamp\n# Errors\n- none: x";
        assert_eq!(argument_doc(doc, "level"), "how far, in percent");
        assert_eq!(argument_doc(doc, "zone"), "which lamp");
        assert_eq!(argument_doc(doc, "lev"), "");
        assert_eq!(argument_doc(doc, "none"), "");
    }

    #[test]
    fn durations_carry_their_unit() {
        let parse = |text| duration(&LitStr::new(text, Span::call_site())).ok();
        assert_eq!(parse("5s"), Some(Duration::from_secs(5)));
        assert_eq!(parse("1ms"), Some(Duration::from_millis(1)));
        assert_eq!(parse("2h"), Some(Duration::from_secs(7200)));
        for bad in ["", "5", "0s", "s", "1.5s", "-1s", "9999999h", "18446744073709551615h", "5 s"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
