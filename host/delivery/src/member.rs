//! Names that files of a plugin may have, in archives and in folders alike.
//!
//! A name is taken apart at `/` and judged component by component; nothing is ever resolved by the file system.

use icu_normalizer::DecomposingNormalizerBorrowed;
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// How large a plugin may be when it is unpacked. The defaults are far above what plugins have and far below what
/// hurts a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLimits {
    /// Bytes over all files.
    pub bytes_max: u64,
    /// Files and folders, those counted that are only implied by a path.
    pub members_max: usize,
    /// Components of one path.
    pub depth_max: usize,
    /// Bytes of one component.
    pub name_bytes_max: usize,
    /// Bytes of one path.
    pub path_bytes_max: usize,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self {
            bytes_max: 100 << 20,
            members_max: 10_000,
            depth_max: 32,
            // What Linux file systems hold.
            name_bytes_max: 255,
            path_bytes_max: 1024,
        }
    }
}

/// Why a name cannot be a file of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Other systems, and other readers of the same archive, would see another name.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// NUL ends a name early for C code; line breaks and the others deceive whoever reads a log.
    #[error("it holds a control character")]
    ControlCharacter,
    /// Makes a name look like another one: `a\u{202e}gpj.exe` is shown as `aexe.jpg`.
    #[error("it holds a character that changes the direction of text")]
    TextDirection,
    /// A separator on other systems.
    #[error("it holds a backslash")]
    Backslash,
    /// Begins with `/`.
    #[error("it is absolute")]
    Absolute,
    /// Has a component `..`.
    #[error("it has a component `..`")]
    Parent,
    /// Has a component that is empty or `.`, which another reader may drop or keep.
    #[error("it has a component that is empty or `.`")]
    EmptyComponent,
    /// Ends in a dot or a blank, which other systems drop.
    #[error("it has a component that ends in a dot or a blank")]
    TrailingDot,
    /// A component longer than file systems hold.
    #[error("it has a component longer than {max} bytes")]
    NameTooLong {
        /// [`TreeLimits::name_bytes_max`].
        max: usize,
    },
    /// A path longer than the limit.
    #[error("it is longer than {max} bytes")]
    PathTooLong {
        /// [`TreeLimits::path_bytes_max`].
        max: usize,
    },
    /// More components than the limit.
    #[error("it is deeper than {max} components")]
    TooDeep {
        /// [`TreeLimits::depth_max`].
        max: usize,
    },
}

/// How two files of one plugin get in each other's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Clash {
    /// The same path twice.
    Duplicate,
    /// Paths that differ in case only, or in how their accents are written.
    Case(String),
    /// A file where a folder is needed, or the other way round.
    FileAsFolder(String),
    /// More than [`TreeLimits::members_max`].
    TooMany,
}

/// Takes a member's name apart. None is the top folder itself (`./`).
///
/// A leading `./` and the trailing `/` of folders are dropped, as archivers add them freely.
pub(crate) fn parse<'a>(raw: &'a [u8], limits: &TreeLimits) -> Result<Option<&'a str>, PathFault> {
    let name = std::str::from_utf8(raw).map_err(|_| PathFault::NotUtf8)?;
    if name.chars().any(is_control) {
        return Err(PathFault::ControlCharacter);
    }
    if name.chars().any(changes_direction) {
        return Err(PathFault::TextDirection);
    }
    if name.contains('\\') {
        return Err(PathFault::Backslash);
    }
    if name.starts_with('/') {
        return Err(PathFault::Absolute);
    }
    let path = name.strip_prefix("./").unwrap_or(name);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path == "." || (path.is_empty() && name == "./") {
        return Ok(None);
    }
    if path.len() > limits.path_bytes_max {
        return Err(PathFault::PathTooLong { max: limits.path_bytes_max });
    }
    if path.split('/').count() > limits.depth_max {
        return Err(PathFault::TooDeep { max: limits.depth_max });
    }
    path.split('/').try_for_each(|component| check_component(component, limits))?;
    Ok(Some(path))
}

fn check_component(component: &str, limits: &TreeLimits) -> Result<(), PathFault> {
    match component {
        "" | "." => Err(PathFault::EmptyComponent),
        ".." => Err(PathFault::Parent),
        _ if component.ends_with(['.', ' ']) => Err(PathFault::TrailingDot),
        _ if component.len() > limits.name_bytes_max => Err(PathFault::NameTooLong { max: limits.name_bytes_max }),
        _ => Ok(()),
    }
}

/// Line and paragraph separators are none by Unicode's book, and do what line breaks do.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn changes_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters that take no room, and that some file systems drop when they compare names.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// What a path is to a file system that tells names apart as little as any does: without case, accents taken apart,
/// ignorable characters dropped. Two paths of one plugin may not be the same by it.
///
/// Case is folded by way of the capital, so that `ß` meets `ss`, `ſ` meets `s` and `ς` meets `σ`.
pub(crate) fn folded(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    let apart: Cow<'_, str> = DecomposingNormalizerBorrowed::new_nfd().normalize(path);
    let seen = apart.chars().filter(|&c| !is_ignorable(c));
    let folded: String = seen.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    // What folding brought in may have to be taken apart again.
    DecomposingNormalizerBorrowed::new_nfd().normalize(&folded).into_owned()
}

/// A member's name as messages show it: without control characters, at most 200 characters.
pub(crate) fn shown(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut shown = String::new();
    for c in text.chars().take(200) {
        if is_control(c) || changes_direction(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(200).is_some() {
        shown.push('…');
    }
    shown
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    /// Named by itself, not only by what lies in it.
    Folder {
        named: bool,
    },
}

/// The files and folders of one plugin, told apart even where neither case nor the way of writing an accent counts.
#[derive(Debug)]
pub(crate) struct PathSet {
    /// By the folded path: the path as written, and what it is.
    members: HashMap<String, (String, Kind)>,
    members_max: usize,
}

impl PathSet {
    pub(crate) fn new(limits: &TreeLimits) -> Self {
        Self { members: HashMap::new(), members_max: limits.members_max }
    }

    /// Adds a file, and with it the folders above it.
    pub(crate) fn insert_file(&mut self, path: &str) -> Result<(), Clash> {
        self.insert_ancestors(path)?;
        self.insert(path, Kind::File)
    }

    /// Adds a folder, and with it the folders above it.
    pub(crate) fn insert_folder(&mut self, path: &str) -> Result<(), Clash> {
        self.insert_ancestors(path)?;
        self.insert(path, Kind::Folder { named: true })
    }

    /// Every folder, in no order.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        self.members.values().filter(|(_, kind)| *kind != Kind::File).map(|(path, _)| path.as_str())
    }

    fn insert_ancestors(&mut self, path: &str) -> Result<(), Clash> {
        path.match_indices('/').try_for_each(|(at, _)| {
            let ancestor = path.get(..at).unwrap_or_default();
            self.insert(ancestor, Kind::Folder { named: false })
        })
    }

    fn insert(&mut self, path: &str, kind: Kind) -> Result<(), Clash> {
        let full = self.members.len() >= self.members_max;
        match self.members.entry(folded(path)) {
            Entry::Vacant(_) if full => Err(Clash::TooMany),
            Entry::Vacant(slot) => {
                slot.insert((path.to_owned(), kind));
                Ok(())
            }
            Entry::Occupied(mut slot) => {
                let (known, known_kind) = slot.get_mut();
                if known != path {
                    return Err(Clash::Case(known.clone()));
                }
                match (&known_kind, kind) {
                    (_, Kind::Folder { named: false }) if *known_kind != Kind::File => Ok(()),
                    (Kind::Folder { named: false }, Kind::Folder { named: true }) => {
                        *known_kind = kind;
                        Ok(())
                    }
                    (Kind::File, Kind::File) | (Kind::Folder { .. }, Kind::Folder { .. }) => Err(Clash::Duplicate),
                    (Kind::File, Kind::Folder { .. }) | (Kind::Folder { .. }, Kind::File) => {
                        Err(Clash::FileAsFolder(known.clone()))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(raw: &[u8]) -> Result<Option<&str>, PathFault> {
        parse(raw, &TreeLimits { depth_max: 3, name_bytes_max: 8, path_bytes_max: 20, ..TreeLimits::default() })
    }

    #[test]
    fn plain_names_are_taken_as_they_are() {
        for (raw, path) in
            [("a", "a"), ("./a/b", "a/b"), ("a/b/", "a/b"), ("./a/", "a"), (".env", ".env"), ("..a", "..a"), ("é", "é")]
        {
            assert_eq!(parsed(raw.as_bytes()), Ok(Some(path)));
        }
        assert_eq!(parsed(b"./"), Ok(None));
        assert_eq!(parsed(b"."), Ok(None));
    }

    #[test]
    fn each_fault_has_its_own_name() {
        for (raw, fault) in [
            (&b"a\xff"[..], PathFault::NotUtf8),
            (b"a\0b", PathFault::ControlCharacter),
            (b"a\n", PathFault::ControlCharacter),
            ("a\u{9b}".as_bytes(), PathFault::ControlCharacter),
            ("a\u{2028}b".as_bytes(), PathFault::ControlCharacter),
            ("a\u{202e}gpj.exe".as_bytes(), PathFault::TextDirection),
            ("a\u{200f}".as_bytes(), PathFault::TextDirection),
            (b"a\\..\\b", PathFault::Backslash),
            (b"/etc/x", PathFault::Absolute),
            (b"/", PathFault::Absolute),
            (b"..", PathFault::Parent),
            (b"../x", PathFault::Parent),
            (b"a/../b", PathFault::Parent),
            (b"a/..", PathFault::Parent),
            (b"./../a", PathFault::Parent),
            (b"", PathFault::EmptyComponent),
            (b"a//b", PathFault::EmptyComponent),
            (b".//", PathFault::EmptyComponent),
            (b".//etc", PathFault::EmptyComponent),
            (b"a/./b", PathFault::EmptyComponent),
            (b"././a", PathFault::EmptyComponent),
            (b"a./b", PathFault::TrailingDot),
            (b"a/b ", PathFault::TrailingDot),
            (b"...", PathFault::TrailingDot),
            (b"123456789", PathFault::NameTooLong { max: 8 }),
            (b"1234567/1234567/1234567", PathFault::PathTooLong { max: 20 }),
            (b"a/b/c/d", PathFault::TooDeep { max: 3 }),
        ] {
            assert_eq!(parsed(raw), Err(fault), "{}", shown(raw));
        }
    }

    #[test]
    fn members_do_not_get_in_each_others_way() {
        let mut set = PathSet::new(&TreeLimits::default());
        assert_eq!(set.insert_file("a/b/c"), Ok(()));
        assert_eq!(set.insert_folder("a/b"), Ok(()));
        assert_eq!(set.insert_file("a/d"), Ok(()));
        assert_eq!(set.insert_folder("a/b"), Err(Clash::Duplicate));
        assert_eq!(set.insert_file("a/d"), Err(Clash::Duplicate));
        assert_eq!(set.insert_file("a/D"), Err(Clash::Case("a/d".to_owned())));
        assert_eq!(set.insert_file("A/x"), Err(Clash::Case("a".to_owned())));
        assert_eq!(set.insert_file("a/d/e"), Err(Clash::FileAsFolder("a/d".to_owned())));
        assert_eq!(set.insert_file("a/b"), Err(Clash::FileAsFolder("a/b".to_owned())));
        assert_eq!(set.insert_folder("a/d"), Err(Clash::FileAsFolder("a/d".to_owned())));
        let mut folders: Vec<&str> = set.folders().collect();
        folders.sort_unstable();
        assert_eq!(folders, ["a", "a/b"]);
    }

    #[test]
    fn names_that_some_file_system_takes_for_one_collide() {
        for (one, other) in [
            ("a", "A"),
            ("\u{e9}", "e\u{301}"),
            ("\u{c9}", "e\u{301}"),
            ("\u{1e69}", "s\u{307}\u{323}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{3c2}", "\u{3c3}"),
            ("\u{17f}", "s"),
            ("\u{212a}", "k"),
            ("a\u{200b}b", "ab"),
            ("\u{2764}\u{fe0f}", "\u{2764}"),
            ("\u{1f88}", "\u{1f00}\u{345}"),
            ("\u{ac00}", "\u{1100}\u{1161}"),
        ] {
            let mut set = PathSet::new(&TreeLimits::default());
            assert_eq!(set.insert_file(one), Ok(()));
            assert_eq!(set.insert_file(other), Err(Clash::Case(one.to_owned())), "{one} {other}");
            assert_eq!(set.insert_file(&format!("{other}/x")), Err(Clash::Case(one.to_owned())), "{one} {other}");
        }
        let mut set = PathSet::new(&TreeLimits::default());
        for apart in ["e", "\u{e9}", "\u{e8}", "\u{430}", "a", "\u{3c0}", "s", "ss", "1", "\u{b9}"] {
            assert_eq!(set.insert_file(apart), Ok(()), "{apart}");
        }
    }

    #[test]
    fn implied_folders_count() {
        let mut set = PathSet::new(&TreeLimits { members_max: 3, ..TreeLimits::default() });
        assert_eq!(set.insert_file("a/b/c"), Ok(()));
        assert_eq!(set.insert_folder("a"), Ok(()));
        assert_eq!(set.insert_file("d"), Err(Clash::TooMany));
    }

    #[test]
    fn names_are_shown_without_surprises() {
        assert_eq!(shown(b"a\x1b[31mb\n"), "a\\u{1b}[31mb\\n");
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(shown(&[b'x'; 300]).chars().count(), 201);
    }
}
