//! The layer tables of `docs/ARCHITECTURE.md`, as data.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

/// The heading under which both tables stand.
const HEADING: &str = "## Layers";

/// Which room may use which.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LayerTable {
    rooms: BTreeMap<String, Uses>,
    /// Crates from outside that only the named rooms may depend on.
    pub(crate) homes: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Uses {
    normal: BTreeSet<String>,
    /// Only as a dev-dependency.
    tests: BTreeSet<String>,
    every: bool,
}

impl LayerTable {
    /// Reads the tables: `| Room | May use | …` and `| Crate | Only in | …`, cells with names in backticks.
    pub(crate) fn parse(document: &str) -> Result<Self> {
        let section = document
            .split_once(&format!("\n{HEADING}\n"))
            .with_context(|| format!("there is no heading `{HEADING}`"))?
            .1;
        let section = section.split("\n## ").next().unwrap_or_default();
        let mut table = Self::default();
        for cells in rows(section, "Room", "May use")? {
            let [rooms, uses, ..] = cells.as_slice() else {
                bail!("a row of the layer table has fewer than two cells")
            };
            let uses = Uses::parse(uses)?;
            for room in names(rooms) {
                ensure!(
                    table.rooms.insert(room.clone(), uses.clone()).is_none(),
                    "the layer table has two rows for `{room}`"
                );
            }
        }
        for cells in rows(section, "Crate", "Only in")? {
            let [crates, homes, ..] = cells.as_slice() else {
                bail!("a row of the table of crates has fewer than two cells")
            };
            for name in names(crates) {
                table.homes.insert(name, names(homes).into_iter().collect());
            }
        }
        table.check_names()?;
        Ok(table)
    }

    /// Every room with a row.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = &str> {
        self.rooms.keys().map(String::as_str)
    }

    /// Whether `from` may depend on `to`; nothing if `from` has no row.
    pub(crate) fn allows(&self, from: &str, to: &str, dev: bool) -> Option<bool> {
        let uses = self.rooms.get(from)?;
        Some(uses.every || uses.normal.contains(to) || (dev && uses.tests.contains(to)))
    }

    fn check_names(&self) -> Result<()> {
        let named = self.rooms.values().flat_map(|uses| uses.normal.iter().chain(&uses.tests));
        for room in named.chain(self.homes.values().flatten()) {
            ensure!(self.rooms.contains_key(room), "the layer table names `{room}`, which has no row");
        }
        Ok(())
    }
}

impl Uses {
    fn parse(cell: &str) -> Result<Self> {
        let mut uses = Self { normal: BTreeSet::new(), tests: BTreeSet::new(), every: false };
        match cell {
            "nothing of ours" => return Ok(uses),
            "every room" => {
                uses.every = true;
                return Ok(uses);
            }
            _ => {}
        }
        for entry in cell.split(',') {
            let room = names(entry).pop().with_context(|| format!("`{cell}` is no list of rooms in backticks"))?;
            if entry.trim_end().ends_with("(tests)") {
                uses.tests.insert(room)
            } else {
                uses.normal.insert(room)
            };
        }
        Ok(uses)
    }
}

/// The rows, cell by cell, of the table whose header starts with these two cells.
fn rows(section: &str, first: &str, second: &str) -> Result<Vec<Vec<String>>> {
    let mut lines = section.lines().map(cells);
    lines
        .find(|cells| matches!(cells.as_slice(), [one, two, ..] if one == first && two == second))
        .with_context(|| format!("there is no table `| {first} | {second} |` under `{HEADING}`"))?;
    let rows: Vec<Vec<String>> = lines.skip(1).take_while(|cells| !cells.is_empty()).collect();
    ensure!(!rows.is_empty(), "the table `| {first} | {second} |` has no rows");
    Ok(rows)
}

fn cells(line: &str) -> Vec<String> {
    let Some(inner) = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')) else { return Vec::new() };
    inner.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// What stands in backticks.
fn names(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "\
# Title

| Room | May use |
| --- | --- |
| `decoy` | nothing of ours |

## Layers

Text.

| Room | May use | Never |
| --- | --- | --- |
| `model` | nothing of ours | tokio |
| `mesh`, `rpc` | `model`, `support` (tests) | |
| `support` | `model` | |
| `host` | every room | |

| Crate | Only in |
| --- | --- |
| `zenoh`, `async-nats` | `mesh` |

## After

| Room | May use |
| --- | --- |
| `decoy` | nothing of ours |
";

    #[test]
    fn rows_become_arrows() {
        let table = LayerTable::parse(DOCUMENT).unwrap();
        assert_eq!(table.rooms().collect::<Vec<_>>(), ["host", "mesh", "model", "rpc", "support"]);
        assert_eq!(table.allows("mesh", "model", false), Some(true));
        assert_eq!(table.allows("rpc", "mesh", false), Some(false));
        assert_eq!(table.allows("model", "mesh", true), Some(false));
        assert_eq!(table.allows("host", "mesh", false), Some(true));
        assert_eq!(table.allows("decoy", "model", false), None);
    }

    #[test]
    fn a_room_marked_tests_is_for_dev_dependencies_only() {
        let table = LayerTable::parse(DOCUMENT).unwrap();
        assert_eq!(table.allows("mesh", "support", true), Some(true));
        assert_eq!(table.allows("mesh", "support", false), Some(false));
    }

    #[test]
    fn crates_have_homes() {
        let table = LayerTable::parse(DOCUMENT).unwrap();
        assert_eq!(table.homes["zenoh"], BTreeSet::from(["mesh".to_owned()]));
        assert_eq!(table.homes["async-nats"], table.homes["zenoh"]);
    }

    #[test]
    fn a_damaged_table_is_refused_with_its_fault() {
        let cases = [
            (DOCUMENT.replace("## Layers", "## Rooms"), "there is no heading `## Layers`"),
            (
                DOCUMENT.replace("| Room | May use | Never |", "| Room | Uses |"),
                "there is no table `| Room | May use |`",
            ),
            (
                DOCUMENT.replace("`model`, `support` (tests)", "`modal`"),
                "the layer table names `modal`, which has no row",
            ),
            (
                DOCUMENT.replace("| `support` | `model` | |", "| `mesh` | `model` | |"),
                "the layer table has two rows for `mesh`",
            ),
            (DOCUMENT.replace("| every room |", "| all |"), "`all` is no list of rooms in backticks"),
            (DOCUMENT.replace("| `mesh` |\n\n## After", "| `net` |\n\n## After"), "the layer table names `net`"),
        ];
        for (document, fault) in cases {
            let error = LayerTable::parse(&document).unwrap_err().to_string();
            assert!(error.contains(fault), "expected `{fault}` in `{error}`");
        }
    }
}
