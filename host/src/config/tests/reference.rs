use crate::config::env::{EnvVar, TABLE, WITHOUT_EFFECT};
use expect_test::expect_file;
use std::collections::BTreeSet;
use std::fmt::Write as _;

#[test]
fn every_variable_stands_once_in_the_table() {
    let names: BTreeSet<_> =
        TABLE.iter().map(|variable| variable.name).chain(WITHOUT_EFFECT.iter().map(|(name, _)| *name)).collect();
    assert_eq!(names.len(), TABLE.len() + WITHOUT_EFFECT.len());
}

/// `UPDATE_EXPECT=1` writes the page anew.
#[test]
fn the_reference_page_is_the_table() {
    let mut page = "# Environment variables\n\n\
        Every variable that `mortise` reads. A flag wins over its variable, a variable over the credentials file, that over the\n\
        default. A variable that is set to nothing counts as not set. Booleans are `1`, `true`, `yes`, `on` and `0`, `false`,\n\
        `no`, `off`, in any case. This page is generated from `host/src/config/env.rs`.\n\n\
        | Variable | Value | Default | What it does |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for EnvVar { name, doc, default, unit } in TABLE {
        writeln!(page, "| `{name}` | {unit} | {default} | {} |", doc.trim()).unwrap();
    }
    page.push_str("\n## Without effect\n\nVariables of the reference host that change nothing yet; `mortise run` warns when one is set.\n\n| Variable | Why |\n| --- | --- |\n");
    for (name, reason) in WITHOUT_EFFECT {
        writeln!(page, "| `{name}` | {reason} |").unwrap();
    }
    expect_file!["../../../../docs/reference/environment.md"].assert_eq(&page);
}
