//! What callers elsewhere are told of the disk: which thing, and not where on this machine it lies. The operator, who
//! asks over the control socket, and the log are told all of it.

use serde_json::Value;
use std::path::Path;

/// Texts for people, in answers. What else is a path there is so by the wire contract (10.3).
const TEXTS: [&str; 10] = [
    "message",
    "detail",
    "hint",
    "warnings",
    "error",
    "manifest_error",
    "failed_plugins",
    "reason",
    "quarantine_reason",
    "quarantined_plugins",
];

/// Refusals whose message has a path by the wire contract (10.3).
const PATH_IN_MESSAGE: [&str; 2] = ["plugin_exists", "plugin_not_found"];

/// The host's own folders.
#[derive(Debug)]
pub(crate) struct OwnFolders {
    /// Path and name, the longest path first: one may lie in another.
    folders: Vec<(String, &'static str)>,
}

impl OwnFolders {
    pub(crate) fn new(folders: [(&Path, &'static str); 3]) -> Self {
        let folders = folders.into_iter().map(|(path, name)| (path.display().to_string(), name));
        // A host whose folder is the root has nothing to hide.
        let mut folders: Vec<(String, &str)> = folders.filter(|(path, _)| path.len() > 1).collect();
        folders.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self { folders }
    }

    /// Shortens the paths in an answer's texts to what they are within the host's folders. Returns whether there were
    /// any.
    pub(crate) fn shorten(&self, answer: &mut Value) -> bool {
        match answer {
            Value::Object(object) => {
                let code = object.get("code").and_then(Value::as_str);
                let keep_message = code.is_some_and(|code| PATH_IN_MESSAGE.contains(&code));
                let mut any = false;
                for (key, value) in object.iter_mut() {
                    any |= match key.as_str() {
                        "message" if keep_message => false,
                        // The plugin's own.
                        "manifest" => false,
                        key if TEXTS.contains(&key) => self.shorten_texts(value),
                        _ => self.shorten(value),
                    };
                }
                any
            }
            Value::Array(values) => values.iter_mut().fold(false, |any, value| any | self.shorten(value)),
            _ => false,
        }
    }

    fn shorten_texts(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => {
                let shorter = self.shorten_text(text);
                let is_shorter = shorter != *text;
                *text = shorter;
                is_shorter
            }
            Value::Array(values) => values.iter_mut().fold(false, |any, value| any | self.shorten_texts(value)),
            Value::Object(object) => object.values_mut().fold(false, |any, value| any | self.shorten_texts(value)),
            _ => false,
        }
    }

    fn shorten_text(&self, text: &str) -> String {
        self.folders.iter().fold(text.to_owned(), |text, (path, name)| {
            let mut pieces = text.split(path.as_str());
            let mut shorter = pieces.next().unwrap_or_default().to_owned();
            for piece in pieces {
                match piece.strip_prefix('/') {
                    Some(within) => shorter.push_str(within),
                    // A longer name that begins alike is another folder's.
                    None if piece.starts_with(|next: char| next.is_alphanumeric() || "._-".contains(next)) => {
                        shorter.push_str(path);
                        shorter.push_str(piece);
                    }
                    None => {
                        shorter.push_str(name);
                        shorter.push_str(piece);
                    }
                }
            }
            shorter
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn folders() -> OwnFolders {
        OwnFolders::new([
            (Path::new("/srv/plugins"), "capabilities_dir"),
            (Path::new("/srv/plugins/.mortise"), "state_dir"),
            (Path::new("/var/artifacts"), "artifact_dir"),
        ])
    }

    #[test]
    fn a_path_is_told_as_it_is_within_the_hosts_folders() {
        for (text, told) in [
            (
                "failed to create `/srv/plugins/.mortise/generations/demo/2`: full",
                "failed to create `generations/demo/2`: full",
            ),
            ("not a directory: /srv/plugins/demo", "not a directory: demo"),
            ("`/var/artifacts/demo/1.tgz` and `/srv/plugins/demo`", "`demo/1.tgz` and `demo`"),
            ("failed to list `/srv/plugins`", "failed to list `capabilities_dir`"),
            ("the folder `/srv/plugins/.mortise`", "the folder `state_dir`"),
            ("`/srv/plugins-2/demo` and `/srv/plugins.old`", "`/srv/plugins-2/demo` and `/srv/plugins.old`"),
            ("nothing of the disk", "nothing of the disk"),
        ] {
            assert_eq!(folders().shorten_text(text), told);
        }
    }

    #[test]
    fn only_texts_are_shortened_and_none_that_the_contract_words() {
        let path = "/srv/plugins/demo";
        let mut answer = json!({
            "installed_to": path,
            "load_result": {"warnings": [format!("failed to read `{path}`")], "plugin": {"manifest": {"error": path}}},
            "failed_plugins": {"demo": format!("lost: {path}")},
        });
        assert!(folders().shorten(&mut answer));
        let expected = json!({
            "installed_to": path,
            "load_result": {"warnings": ["failed to read `demo`"], "plugin": {"manifest": {"error": path}}},
            "failed_plugins": {"demo": "lost: demo"},
        });
        assert_eq!(answer, expected);
        let worded = json!({"code": "plugin_exists", "message": format!("Plugin 'demo' already exists at {path}")});
        let mut answer = worded.clone();
        assert!(!folders().shorten(&mut answer));
        assert_eq!(answer, worded);
    }
}
