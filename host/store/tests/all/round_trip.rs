//! Everything comes back as it was written, from the same process and from the next.

use crate::fixture::{at, folder, generation, id, json, loaded, name, open, put_raw};
use mortise_model::{Digest, Source};
use mortise_store::{
    DOWNLOADS_MAX, Desired, DownloadRecord, GenerationRecord, NameClaims, PluginRecord, Store, StoreError,
};
use redb::{Database, ReadableDatabase as _, TableDefinition};
use std::os::unix::fs::PermissionsExt as _;

fn every_source() -> Vec<Source> {
    vec![
        Source::Folder { path: "/opt/plugins/ä b".to_owned() },
        Source::Bundle,
        Source::Url { url: "https://example.com/a.tgz".to_owned() },
        Source::Upload,
        Source::Object { bucket: "plugins".to_owned(), name: "a.tgz".to_owned() },
        Source::WorkingCopy,
    ]
}

fn every_generation() -> Vec<GenerationRecord> {
    every_source()
        .into_iter()
        .enumerate()
        .map(|(index, source)| GenerationRecord {
            version: (index % 2 == 0).then(|| format!("0.{index}")),
            tree: Digest::of(&[0, 1]),
            archive: (index % 2 == 1).then(|| Digest::of(b"archive")),
            source,
            signer: (index % 4 == 1).then(|| "RWQ".to_owned()),
            installed_at: at(7),
            manifest: json("{ \"id\":\"a\",\n \"n\": 1.500, \"n\": 123456789012345678901234567890 }"),
            description: (index % 3 == 0).then(|| json(r#"{"functions":[]}"#)),
        })
        .collect()
}

fn every_plugin() -> Vec<(&'static str, PluginRecord)> {
    let quarantined = Desired::Quarantined { reason: "it \"trapped\"\n".to_owned() };
    let rolled = PluginRecord { previous: vec![4, 2], current: Some(5), working_copy: None, ..loaded(5) };
    vec![
        ("a", loaded(1)),
        ("b", PluginRecord::new(Desired::Unloaded)),
        ("c", PluginRecord { desired: quarantined, ..rolled }),
    ]
}

fn claims() -> NameClaims {
    NameClaims::from([(name("hello"), vec![id("b"), id("a")]), (name("bye"), vec![id("a")])])
}

fn download(second: i64) -> DownloadRecord {
    DownloadRecord {
        etag: "W/\"v1\"".to_owned(),
        place: Digest::of(b"place"),
        archive: Digest::of(b"archive"),
        seen_at: at(second),
    }
}

fn check(store: &Store) {
    let plugins = every_plugin();
    for (plugin, record) in &plugins {
        assert_eq!(store.plugin(&id(plugin)).unwrap().as_ref(), Some(record));
    }
    assert_eq!(store.plugins().unwrap(), plugins.into_iter().map(|(plugin, record)| (id(plugin), record)).collect());
    let generations = store.generations(&id("a")).unwrap();
    assert_eq!(generations.keys().copied().collect::<Vec<_>>(), (1..=every_source().len() as u64).collect::<Vec<_>>());
    assert_eq!(generations.into_values().collect::<Vec<_>>(), every_generation());
    assert_eq!(store.generation(&id("a"), 1).unwrap().as_ref(), every_generation().first());
    assert_eq!(store.generation(&id("a"), 99).unwrap(), None);
    assert_eq!(store.generation(&id("a-1"), 1).unwrap(), Some(generation("other")));
    assert_eq!(store.names().unwrap(), claims());
    assert_eq!(store.code_hash("runner/x86").unwrap(), Some(Digest::of(b"code")));
    assert_eq!(store.code_hashes().unwrap().len(), 1);
    assert_eq!(store.download("url").unwrap(), Some(download(1)));
    assert_eq!(store.download("another").unwrap(), None);
    assert_eq!(store.state(&id("a")).unwrap(), [("k".to_owned(), vec![0, 255]), ("é/1".to_owned(), vec![])]);
    assert_eq!(store.state(&id("a-1")).unwrap(), [("k".to_owned(), b"other".to_vec())]);
    assert_eq!(store.state(&id("b")).unwrap(), []);
    assert_eq!(store.state_owners().unwrap(), [id("a"), id("a-1")]);
    assert_eq!(store.setting("retain").unwrap(), Some(json("3")));
    assert_eq!(store.setting("nothing").unwrap(), Some(json("null")));
    assert_eq!(store.settings().unwrap().len(), 2);
}

#[test]
fn everything_comes_back_and_survives_a_restart() {
    let folder = folder();
    let store = open(folder.path());
    store
        .write(|change| {
            for (plugin, record) in every_plugin() {
                change.put_plugin(&id(plugin), &record)?;
            }
            for (number, record) in (1..).zip(every_generation()) {
                change.put_generation(&id("a"), number, &record)?;
            }
            // Sorts next to `a`, and is not one of its generations.
            change.put_generation(&id("a-1"), 1, &generation("other"))?;
            change.put_names(&claims())?;
            change.put_code_hash("runner/x86", &Digest::of(b"code"))?;
            change.put_download("url", &download(1))?;
            for (plugin, key, value) in [("a", "é/1", &[][..]), ("a-1", "k", b"other"), ("a", "k", &[0, 255])] {
                change.put_state(&id(plugin), key, value)?;
            }
            change.put_setting("retain", &json("3"))?;
            change.put_setting("nothing", &json("null"))
        })
        .unwrap();
    check(&store);
    drop(store);
    check(&open(folder.path()));
}

#[test]
fn what_is_removed_is_gone_and_its_neighbours_are_not() {
    let folder = folder();
    let store = open(folder.path());
    store
        .write(|change| {
            for plugin in ["a", "a-1", "b"] {
                change.put_plugin(&id(plugin), &loaded(2))?;
                change.put_generation(&id(plugin), 1, &generation("1"))?;
                change.put_generation(&id(plugin), 2, &generation("2"))?;
                change.put_state(&id(plugin), "k", b"v")?;
                change.put_state(&id(plugin), "l", b"v")?;
            }
            change.put_code_hash("k", &Digest::of(b""))?;
            change.put_download("u", &download(1))?;
            change.put_setting("s", &json("1"))
        })
        .unwrap();
    store
        .write(|change| {
            change.remove_plugin(&id("a"))?;
            change.remove_generation(&id("b"), 1)?;
            change.remove_generation(&id("b"), 77)?;
            change.remove_code_hash("k")?;
            change.remove_download("u")?;
            change.remove_download("nobody's")?;
            change.clear_state(&id("a"))?;
            change.remove_state(&id("b"), "k")?;
            change.remove_state(&id("b"), "nothing")?;
            change.remove_setting("s")
        })
        .unwrap();
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.plugins().unwrap().into_keys().collect::<Vec<_>>(), [id("a-1"), id("b")]);
    assert!(store.generations(&id("a")).unwrap().is_empty());
    assert_eq!(store.generations(&id("a-1")).unwrap().len(), 2);
    assert_eq!(store.generations(&id("b")).unwrap().into_keys().collect::<Vec<_>>(), [2]);
    assert!(store.code_hashes().unwrap().is_empty() && store.settings().unwrap().is_empty());
    assert_eq!(store.download("u").unwrap(), None);
    let keys = |plugin| store.state(&id(plugin)).unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(["a", "a-1", "b"].map(keys), [vec![], vec!["k".to_owned(), "l".to_owned()], vec!["l".to_owned()]]);
}

#[test]
fn of_many_downloads_those_seen_last_are_remembered() {
    let folder = folder();
    let store = open(folder.path());
    let put = |url: usize, second: i64| {
        store.write(|change| change.put_download(&format!("url-{url}"), &download(second))).unwrap();
    };
    for url in 0..DOWNLOADS_MAX {
        put(url, i64::try_from(url).unwrap());
    }
    // The oldest is seen again, so the second oldest makes room.
    put(0, 1_000);
    put(DOWNLOADS_MAX, 1_001);
    let known = |url: usize| store.download(&format!("url-{url}")).unwrap().is_some();
    let forgotten: Vec<usize> = (0..=DOWNLOADS_MAX).filter(|url| !known(*url)).collect();
    assert_eq!(forgotten, [1]);
}

#[test]
fn a_table_that_an_earlier_build_did_not_have_is_added() {
    const DOWNLOADS: TableDefinition<&str, &[u8]> = TableDefinition::new("downloads");
    let folder = folder();
    drop(open(folder.path()));
    let file = folder.path().join("state.redb");
    let database = Database::open(&file).unwrap();
    let tables = database.begin_write().unwrap();
    assert!(tables.delete_table(DOWNLOADS).unwrap());
    tables.commit().unwrap();
    drop(database);
    let store = open(folder.path());
    assert_eq!(store.download("url").unwrap(), None);
    store.write(|change| change.put_download("url", &download(1))).unwrap();
    drop(store);
    let database = Database::open(&file).unwrap();
    assert!(database.begin_read().unwrap().open_table(DOWNLOADS).is_ok());
}

#[test]
fn names_are_replaced_as_a_whole() {
    let folder = folder();
    let store = open(folder.path());
    store.write(|change| change.put_names(&claims())).unwrap();
    let next = NameClaims::from([(name("hello"), vec![id("a")]), (name("empty"), vec![])]);
    store.write(|change| change.put_names(&next)).unwrap();
    assert_eq!(store.names().unwrap(), NameClaims::from([(name("hello"), vec![id("a")])]));
}

#[test]
fn a_generation_number_is_never_given_twice() {
    let folder = folder();
    let store = open(folder.path());
    let take = |store: &Store, plugin| store.write(|change| change.take_generation(&id(plugin))).unwrap();
    assert_eq!([take(&store, "a"), take(&store, "a"), take(&store, "b")], [1, 2, 1]);
    let failed = store.write(|change| {
        change.take_generation(&id("a"))?;
        change.put_setting("large", &json(&format!("\"{}\"", "x".repeat(mortise_store::RECORD_BYTES_MAX))))
    });
    assert!(matches!(failed, Err(StoreError::TooLarge { .. })));
    store
        .write(|change| {
            change.put_plugin(&id("a"), &loaded(2))?;
            change.put_generation(&id("a"), 2, &generation("2"))?;
            change.remove_plugin(&id("a"))
        })
        .unwrap();
    drop(store);
    let store = open(folder.path());
    assert_eq!(take(&store, "a"), 3, "the plugin is gone, its numbers are not");
    store.write(|change| change.put_generation(&id("b"), 7, &generation("7"))).unwrap();
    drop(store);
    put_raw(folder.path(), "next_generations", "b", b"nonsense");
    let store = Store::open(folder.path()).unwrap();
    assert_eq!((store.report().corrupt.len(), take(&store, "b")), (1, 8), "the count is lost, its generations are not");
}

#[test]
fn only_the_owner_may_read_the_file() {
    let folder = folder();
    let file = folder.path().join("state.redb");
    let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    drop(open(folder.path()));
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(folder.path()));
    assert_eq!(mode(), 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
