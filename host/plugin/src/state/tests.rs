use super::{KeyValue, Of, StateChanges, StateView, check_key, counted, rows};
use mortise_model::{ByteSize, PluginId};
use std::collections::BTreeMap;
use std::sync::Arc;

const MANY: ByteSize = ByteSize::mib(1);

fn state() -> Arc<KeyValue> {
    Arc::new(KeyValue::apart(PluginId::new("p").unwrap()))
}

/// Of a generation and the version of the same number.
fn prepared(state: &Arc<KeyValue>, generation: u64) -> StateView {
    StateView::new(Arc::clone(state), Of { version: generation.to_string().into(), generation })
}

fn serving(state: &Arc<KeyValue>) -> StateView {
    let view = prepared(state, 1);
    view.activate();
    view
}

fn text(view: &StateView, key: &str) -> Option<String> {
    view.get(key).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn put(view: &StateView, key: &str, value: &str) {
    view.put(key, Some(value.as_bytes()), MANY).unwrap();
}

/// The rows that are not the host's own.
fn users(changes: &StateChanges) -> Vec<(String, Option<String>)> {
    let text = |value: &Arc<[u8]>| String::from_utf8(value.to_vec()).unwrap();
    let entries = changes.entries.iter().filter(|(key, _)| !rows::is_own(key));
    let mut entries: Vec<_> = entries.map(|(key, value)| (key.to_string(), value.as_ref().map(text))).collect();
    entries.sort();
    entries
}

fn keys(view: &StateView, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    view.keys(prefix, after, limit).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn what_would_be_too_much_changes_nothing_and_what_makes_room_always_may() {
    let state = state();
    let view = serving(&state);
    let limit = ByteSize(200);
    view.put("a", Some(&[0; 35]), limit).unwrap();
    view.put("b", Some(&[0; 35]), limit).unwrap();
    assert_eq!(state.size(), (2, 200));
    let full = view.put("c", Some(b""), limit).unwrap_err();
    assert_eq!(full.code, "state_full");
    assert!(full.message.contains("265 bytes") && full.message.contains("`limits.state` (200B)"), "{full:?}");
    assert_eq!(view.put("a", Some(&[1; 36]), limit).unwrap_err().code, "state_full");
    assert_eq!((state.size(), view.get("a").unwrap().as_deref()), ((2, 200), Some(&[0; 35][..])));
    // A version with a lower limit.
    view.put("a", Some(&[1; 34]), ByteSize(100)).unwrap();
    view.put("b", None, ByteSize(100)).unwrap();
    view.put("nothing", None, ByteSize(1)).unwrap();
    assert_eq!(state.size(), (1, 99));
}

#[test]
fn ten_thousand_tiny_keys_are_no_small_thing() {
    let view = serving(&state());
    let kept = (0..20_000).take_while(|n| view.put(&format!("{n:05}"), Some(b""), MANY).is_ok()).count();
    assert_eq!(kept, (1 << 20) / counted("00000", b""));
}

#[test]
fn what_is_written_before_the_swap_lies_over_the_rest_and_then_in_it() {
    let state = state();
    let old = serving(&state);
    for key in ["a", "b", "c"] {
        put(&old, key, "old");
    }
    let new = prepared(&state, 1);
    put(&new, "a", "new");
    new.put("b", None, MANY).unwrap();
    put(&new, "d", "new");
    put(&new, "e", "new");
    new.put("e", None, MANY).unwrap();
    assert_eq!(["a", "b", "c", "d", "e"].map(|key| text(&old, key).is_some()), [true, true, true, false, false]);
    assert_eq!(text(&old, "a").as_deref(), Some("old"));
    assert_eq!(
        (keys(&new, "", None, 9), text(&new, "a").as_deref()),
        (vec!["a".into(), "c".into(), "d".into()], Some("new"))
    );
    // What the old one still writes is seen, where the new one has not spoken.
    put(&old, "c", "later");
    put(&old, "a", "later");
    assert_eq!((text(&new, "c").as_deref(), text(&new, "a").as_deref()), (Some("later"), Some("new")));
    new.activate();
    assert_eq!(keys(&old, "", None, 9), ["a", "c", "d"]);
    assert_eq!((text(&old, "a").as_deref(), text(&old, "c").as_deref()), (Some("new"), Some("later")));
    assert_eq!(state.size(), (3, counted("a", b"new") + counted("c", b"later") + counted("d", b"new")));
}

#[test]
fn what_is_written_before_the_swap_counts_with_the_rest() {
    let state = state();
    let limit = ByteSize(200);
    serving(&state).put("a", Some(&[0; 35]), limit).unwrap();
    let dropped = prepared(&state, 1);
    dropped.put("b", Some(&[0; 35]), limit).unwrap();
    assert_eq!(dropped.put("c", Some(b""), limit).unwrap_err().code, "state_full");
    dropped.put("a", None, limit).unwrap();
    dropped.put("c", Some(&[0; 35]), limit).unwrap();
    assert_eq!(dropped.put("a", Some(b""), limit).unwrap_err().code, "state_full");
    // It never served.
    drop(dropped);
    assert_eq!((state.size(), keys(&serving(&state), "", None, 9)), ((1, 100), vec!["a".to_owned()]));
}

#[test]
fn keys_come_in_pages() {
    let state = state();
    let old = serving(&state);
    for n in 0..1500 {
        put(&old, &format!("n/{n:04}"), "");
    }
    put(&old, "m", "");
    put(&old, "o", "");
    let new = prepared(&state, 1);
    for n in (0..1500).step_by(2) {
        new.put(&format!("n/{n:04}"), None, MANY).unwrap();
    }
    put(&new, "n/0000/1", "");
    assert_eq!(keys(&old, "n/", None, usize::MAX).len(), 1000);
    assert_eq!(keys(&old, "n/", Some("n/0999"), usize::MAX).len(), 500);
    assert_eq!(keys(&new, "n/", None, 3), ["n/0000/1", "n/0001", "n/0003"]);
    assert_eq!(keys(&new, "n/", Some("n/0001"), 2), ["n/0003", "n/0005"]);
    assert_eq!(keys(&new, "n/", Some("a"), 1), ["n/0000/1"]);
    assert_eq!(keys(&new, "n/", Some("o"), 1), Vec::<String>::new());
    assert_eq!(keys(&new, "", None, 0), Vec::<String>::new());
    assert_eq!(keys(&new, "", Some("n/1499"), 9), ["o"]);
}

#[test]
fn keys_are_short_and_can_be_shown() {
    let longest = "é".repeat(128);
    for key in ["a", " ", "/", longest.as_str()] {
        assert_eq!(check_key(key), Ok(()), "{key}");
    }
    for key in ["", "a\n", "\u{7f}", "\u{85}", &format!("{longest}a")] {
        assert_eq!(check_key(key).unwrap_err().code, "invalid_key", "{key:?}");
    }
}

/// Whatever a plugin does between two saves, what is noted for them is not more than there is, and was.
#[test]
fn keys_that_come_and_go_between_two_saves_leave_nothing_behind() {
    let state = state();
    state.live().gone = false;
    let view = serving(&state);
    for n in 0..1000 {
        put(&view, &n.to_string(), "");
        view.put(&n.to_string(), None, MANY).unwrap();
    }
    put(&view, "stays", "");
    let (version, changes) = state.begin_save().unwrap();
    assert_eq!(users(&changes), [("stays".to_owned(), Some(String::new()))]);
    // Written and gone while it is saved, and the save fails.
    view.put("stays", None, MANY).unwrap();
    state.end_save(version, &changes, false);
    let (version, changes) = state.begin_save().unwrap();
    assert_eq!((changes.clear, users(&changes)), (true, Vec::new()), "it may be on disk");
    state.end_save(version, &changes, true);
    assert!(state.begin_save().is_none() && state.live().on_disk.is_empty());
    // However often the disk refuses.
    for n in 0..1000 {
        put(&view, &n.to_string(), "");
        let (version, changes) = state.begin_save().unwrap();
        view.put(&n.to_string(), None, MANY).unwrap();
        state.end_save(version, &changes, false);
    }
    let live = state.live();
    assert!(live.on_disk.is_empty() && live.unsaved.is_empty());
}

/// What the disk has after every save that is due, as it is read at the next start.
fn restarted(state: &KeyValue, disk: &mut BTreeMap<String, Vec<u8>>) -> Arc<KeyValue> {
    while let Some((version, changes)) = state.begin_save() {
        if changes.clear {
            disk.clear();
        }
        for (key, value) in &changes.entries {
            match value {
                Some(value) => drop(disk.insert(key.to_string(), value.to_vec())),
                None => drop(disk.remove(key.as_ref())),
            }
        }
        state.end_save(version, &changes, true);
    }
    let rows = disk.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Arc::new(KeyValue::loaded(state.plugin.clone(), rows, Arc::default()))
}

fn code<T: std::fmt::Debug>(result: Result<T, mortise_model::Failure>) -> String {
    result.unwrap_err().code.into_owned()
}

#[test]
fn only_a_newer_version_that_finds_something_migrates() {
    let mut disk = BTreeMap::new();
    let state = restarted(&state(), &mut disk);
    let one = serving(&state);
    assert_eq!(prepared(&state, 2).migration(), None, "nothing is kept");
    put(&one, "k", "1");
    assert_eq!(prepared(&state, 1).migration(), None, "it is the same");
    assert_eq!(prepared(&state, 2).migration().unwrap(), ["1".into(), "2".into()]);
    let same = StateView::new(Arc::clone(&state), Of { version: "1".into(), generation: 3 });
    assert_eq!(same.migration(), None, "a reload of edited files");
    same.activate();
    let state = restarted(&state, &mut disk);
    assert_eq!(prepared(&state, 2).migration(), None, "it goes back");
    assert_eq!(prepared(&state, 4).migration().unwrap(), ["1".into(), "4".into()]);
    let unwilling = prepared(&state, 4);
    unwilling.migration().unwrap();
    unwilling.activate();
    assert_eq!(text(&one, "k").as_deref(), Some("1"), "nothing was migrated, so all go on");
    assert_eq!(prepared(&restarted(&state, &mut disk), 5).migration().unwrap(), ["4".into(), "5".into()]);
}

#[test]
fn a_migration_that_was_overtaken_is_done_again_alone() {
    let state = state();
    let old = serving(&state);
    put(&old, "k", "1");
    let new = prepared(&state, 2);
    new.migration().unwrap();
    put(&new, "k", "list of 1");
    put(&old, "k", "2");
    new.migrated();
    assert!(new.migration().is_some(), "it was overtaken");
    assert_eq!((text(&new, "k").as_deref(), keys(&new, "", None, 9)), (Some("2"), vec!["k".to_owned()]));
    assert_eq!(code(old.put("k", Some(b"3"), MANY)), "state_migrating");
    put(&new, "k", "list of 2");
    new.migrated();
    assert_eq!(new.migration(), None);
    assert_eq!(text(&old, "k").as_deref(), Some("2"), "it may read");
    new.activate();
    assert_eq!(text(&new, "k").as_deref(), Some("list of 2"));
    assert_eq!(
        [code(old.get("k")), code(old.keys("", None, 1)), code(old.put("k", None, MANY))],
        ["state_migrated"; 3]
    );
    put(&new, "k", "list of 3");
}

#[test]
fn a_migrated_version_that_never_serves_changes_nothing() {
    let state = state();
    let old = serving(&state);
    put(&old, "k", "1");
    let new = prepared(&state, 2);
    new.migration().unwrap();
    put(&new, "k", "list of 1");
    new.migrated();
    assert_eq!(code(old.put("k", Some(b"2"), MANY)), "state_migrating");
    drop(new);
    put(&old, "k", "2");
    assert_eq!(text(&old, "k").as_deref(), Some("2"));
}

#[test]
fn whoever_goes_back_finds_what_was_there_before_the_migration() {
    let mut disk = BTreeMap::new();
    let state = restarted(&state(), &mut disk);
    let one = serving(&state);
    put(&one, "k", "1");
    put(&one, "same", "1");
    let two = prepared(&state, 2);
    two.migration().unwrap();
    put(&two, "k", "list of 1");
    two.migrated();
    two.activate();
    put(&two, "later", "2");
    let state = restarted(&state, &mut disk);
    // A third version that has nothing to migrate; and back to the second, which loses nothing.
    let three = prepared(&state, 3);
    three.activate();
    put(&three, "third", "3");
    prepared(&state, 2).activate();
    let state = restarted(&state, &mut disk);
    let two = prepared(&state, 2);
    two.activate();
    assert_eq!(keys(&two, "", None, 9), ["k", "later", "same", "third"]);

    let back = prepared(&state, 1);
    assert_eq!((back.migration(), keys(&back, "", None, 9)), (None, vec!["k".to_owned(), "same".to_owned()]));
    back.put("same", None, MANY).unwrap();
    assert_eq!(back.put("new", Some(&[0; 1 << 20]), MANY).unwrap_err().code, "state_full");
    put(&two, "too late", "2");
    back.activate();
    assert_eq!(code(two.get("k")), "state_migrated");
    let state = restarted(&state, &mut disk);
    let back = prepared(&state, 1);
    back.activate();
    assert_eq!((text(&back, "k").as_deref(), keys(&back, "", None, 9)), (Some("1"), vec!["k".to_owned()]));
    assert_eq!(state.size(), (1, counted("k", b"1")));
    assert_eq!(prepared(&state, 2).migration().unwrap(), ["1".into(), "2".into()], "forward again");
    assert!(disk.keys().all(|key| !key.starts_with("\0before")), "{disk:?}");
}

#[test]
fn what_a_save_did_not_bring_the_next_one_does() {
    let state = state();
    state.live().gone = false;
    let one = serving(&state);
    put(&one, "a", "1");
    put(&one, "b", "1");
    let (version, changes) = state.begin_save().unwrap();
    state.end_save(version, &changes, false);
    put(&one, "b", "2");
    let (version, changes) = state.begin_save().unwrap();
    assert_eq!(users(&changes), [("a".to_owned(), Some("1".to_owned())), ("b".to_owned(), Some("2".to_owned()))]);
    // It is migrated while that is on its way.
    let two = prepared(&state, 2);
    two.migration().unwrap();
    two.put("a", None, MANY).unwrap();
    two.migrated();
    two.activate();
    state.end_save(version, &changes, true);
    let (version, changes) = state.begin_save().unwrap();
    assert_eq!((changes.clear, users(&changes)), (true, vec![("b".to_owned(), Some("2".to_owned()))]));
    state.end_save(version, &changes, true);
    assert!(state.begin_save().is_none());
}

#[test]
fn whoever_goes_back_finds_it_also_where_the_migration_left_nothing() {
    let mut disk = BTreeMap::new();
    let state = restarted(&state(), &mut disk);
    put(&serving(&state), "k", "1");
    let two = prepared(&state, 2);
    two.migration().unwrap();
    two.put("k", None, MANY).unwrap();
    two.migrated();
    two.activate();
    assert_eq!(keys(&two, "", None, 9), [""; 0]);
    let state = restarted(&state, &mut disk);
    let one = prepared(&state, 1);
    assert_eq!(text(&one, "k").as_deref(), Some("1"));
    one.activate();
    assert_eq!(text(&prepared(&restarted(&state, &mut disk), 1), "k").as_deref(), Some("1"));
}

#[test]
fn what_is_written_before_the_swap_is_bounded_whatever_the_old_version_does_meanwhile() {
    let state = state();
    let (old, new) = (serving(&state), prepared(&state, 1));
    let limit = ByteSize(1000);
    let mut refused = 0;
    for n in 0..1000 {
        let key = format!("{n:04}");
        old.put(&key, Some(&[0; 100]), limit).unwrap();
        // In its place something small, or nothing at all.
        let value = (n % 2 == 0).then_some(&b""[..]);
        refused += usize::from(new.put(&key, value, limit).is_err());
        old.put(&key, None, limit).unwrap();
    }
    assert!(refused > 950, "{refused}");
    new.activate();
    assert!(state.size().1 <= 2000, "{:?}", state.size());
}
