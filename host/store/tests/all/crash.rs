//! A process that is killed in the middle of changes. The child is this test program itself.

use crate::fixture::{at, generation, id, json, key, loaded, name};
use mortise_store::{NameClaims, OperationRecord, OperationStatus, Store, StoreError};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const CHILD: &str = "crash::child_that_changes_until_it_is_killed";

/// Where this file is, the child works; it does nothing anywhere else.
const CONSENT: &str = "to-be-crashed";

fn last(store: &Store) -> u64 {
    store.plugin(&id("a")).unwrap().and_then(|record| record.current).unwrap_or(0)
}

#[test]
#[ignore = "the child of the test below"]
fn child_that_changes_until_it_is_killed() {
    if !Path::new(CONSENT).exists() {
        return;
    }
    let store = Store::open(Path::new(".")).unwrap();
    for number in last(&store) + 1.. {
        store
            .write(|change| -> Result<(), StoreError> {
                change.put_plugin(&id("a"), &loaded(number))?;
                change.put_generation(&id("a"), number, &generation(&number.to_string()))?;
                if number > 2 {
                    change.remove_generation(&id("a"), number - 2)?;
                }
                change.put_names(&NameClaims::from([(name(&format!("f{number}")), vec![id("a")])]))?;
                change.put_setting("number", &json(&number.to_string()))?;
                change.put_state(&id("a"), "number", number.to_string().as_bytes())?;
                change.put_state(&id("b"), "number", number.to_string().as_bytes())?;
                let operation = OperationRecord {
                    status: OperationStatus::Done,
                    plugin: None,
                    started_at: at(0),
                    finished_at: Some(at(1)),
                    outcome: Some(json(&format!("\"{}\"", "x".repeat(10_000)))),
                };
                change.put_operation(&key(&number.to_string()), &operation)
            })
            .unwrap();
        println!("\ncommitted {number}");
    }
}

fn spawn(folder: &Path) -> Child {
    std::fs::write(folder.join(CONSENT), b"").unwrap();
    #[expect(clippy::disallowed_methods, reason = "it is killed and waited for by whoever calls this")]
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", CHILD, "--ignored", "--nocapture"]);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Lets the child commit `commits` times, kills it, and returns the last change that it knew to be made.
fn kill_after(commits: usize, folder: &Path) -> Option<u64> {
    let mut child = spawn(folder);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut numbers = lines.filter_map(|line| line.strip_prefix("committed ")?.parse().ok());
    let seen = if commits == 0 { None } else { numbers.nth(commits - 1) };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(commits == 0 || seen.is_some(), "the child ended before it was killed");
    // It may have come further while it was being killed.
    numbers.last().or(seen)
}

#[test]
fn a_killed_process_leaves_the_last_change_whole() {
    let folder = crate::fixture::folder();
    let mut before = 0;
    for round in 0..20 {
        let acknowledged = kill_after(round % 5, folder.path()).unwrap_or(before);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(*store.report(), mortise_store::OpenReport::default(), "round {round}");
        let number = last(&store);
        assert!((acknowledged..=acknowledged + 1).contains(&number), "{acknowledged}, then {number}");
        let expected: Vec<u64> = (number.saturating_sub(1).max(1)..=number).collect();
        assert_eq!(store.generations(&id("a")).unwrap().into_keys().collect::<Vec<_>>(), expected);
        if number > 0 {
            assert_eq!(store.names().unwrap().into_keys().collect::<Vec<_>>(), [name(&format!("f{number}"))]);
            assert_eq!(store.setting("number").unwrap(), Some(json(&number.to_string())));
            for plugin in ["a", "b"] {
                let expected = ("number".to_owned(), number.to_string().into_bytes());
                assert_eq!(store.state(&id(plugin)).unwrap(), [expected]);
            }
            assert_eq!(store.operations().unwrap()[0].0, key(&number.to_string()));
        }
        before = number;
    }
    assert!(before >= 40, "{before}");
    let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["state.redb", CONSENT]);
}

#[test]
fn a_process_killed_while_it_makes_the_store_leaves_none_or_a_whole_one() {
    for _ in 0..10 {
        let folder = crate::fixture::folder();
        let mut child = spawn(folder.path());
        // As soon as there is anything, or the child has come further already.
        while std::fs::read_dir(folder.path()).unwrap().count() < 2 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(*store.report(), mortise_store::OpenReport::default());
        assert!(!folder.path().join("state.redb.new").exists());
    }
}
