//! Any bytes as a manifest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mortise_model::{Manifest, PluginId};

fuzz_target!(|bytes: &[u8]| {
    let id = PluginId::new("demo").expect("a plugin id");
    for folder in [None, Some(&id)] {
        match Manifest::parse(bytes, folder) {
            Ok(manifest) => check(&manifest, bytes),
            Err(error) => {
                assert!(!error.code().is_empty() && !error.hint().is_empty() && !error.to_string().is_empty())
            }
        }
    }
    if let Ok(manifest) = Manifest::parse_installed(bytes, &id) {
        assert_eq!(manifest.id, id);
        check(&manifest, bytes);
    }
});

/// What holds for every manifest that is accepted.
fn check(manifest: &Manifest, bytes: &[u8]) {
    let path = &manifest.entry_point;
    assert!(!path.starts_with('/') && !path.contains(['\\', '\0']), "{path:?}");
    assert!(!path.split('/').any(|component| component == ".."), "{path:?}");
    assert_eq!(PluginId::new(manifest.id.as_str()).as_ref(), Ok(&manifest.id));
    assert!(manifest.config.is_object());
    // The settings keep their digits, so their text is part of the file.
    let settings = manifest.config.as_str();
    assert!(settings == "{}" || std::str::from_utf8(bytes).is_ok_and(|text| text.contains(settings)), "{settings:?}");
    // What the file means does not hang on how it is written.
    let again = serde_json::to_vec(&manifest.raw).expect("JSON");
    let again = Manifest::parse_installed(&again, &manifest.id).expect("the same manifest");
    let meaning = |manifest: &Manifest| {
        format!(
            "{:?}",
            (
                (&manifest.version, &manifest.description, manifest.runtime, &manifest.entry_point),
                (&manifest.class_name, &manifest.python_dependencies, &manifest.permissions, &manifest.limits),
            )
        )
    };
    assert_eq!(meaning(manifest), meaning(&again));
    assert_eq!(manifest.raw.keys().collect::<Vec<_>>(), again.raw.keys().collect::<Vec<_>>());
}
