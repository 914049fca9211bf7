use super::{KeyValue, StateView, check_key, counted};
use mortise_model::{ByteSize, PluginId};
use std::sync::Arc;

const MANY: ByteSize = ByteSize::mib(1);

fn state() -> Arc<KeyValue> {
    Arc::new(KeyValue::apart(PluginId::new("p").unwrap()))
}

fn serving(state: &Arc<KeyValue>) -> StateView {
    let view = StateView::new(Arc::clone(state));
    view.activate();
    view
}

fn text(view: &StateView, key: &str) -> Option<String> {
    view.get(key).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn put(view: &StateView, key: &str, value: &str) {
    view.put(key, Some(value.as_bytes()), MANY).unwrap();
}

fn keys(view: &StateView, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    view.keys(prefix, after, limit).iter().map(ToString::to_string).collect()
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
    assert_eq!((state.size(), view.get("a").as_deref()), ((2, 200), Some(&[0; 35][..])));
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
    let new = StateView::new(Arc::clone(&state));
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
    let dropped = StateView::new(Arc::clone(&state));
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
    let new = StateView::new(Arc::clone(&state));
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
    assert_eq!(changes.entries.len(), 1);
    // Written and gone while it is saved, and the save fails.
    view.put("stays", None, MANY).unwrap();
    state.end_save(version, &changes, false);
    let (version, changes) = state.begin_save().unwrap();
    assert_eq!(changes.entries, [("stays".into(), None)], "it may be on disk");
    state.end_save(version, &changes, true);
    assert!(state.begin_save().is_none() && state.live().on_disk.is_empty());
}
