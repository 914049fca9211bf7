//! From the bytes of a plugin to code that can be instantiated, or to the reason why not.

use crate::binary::{Binary, Form};
use crate::bindings::PluginPre;
use crate::cache::CodeCache;
use crate::engine::{CompilePool, Engine};
use crate::javascript::Program;
use crate::view::State;
use crate::{host, javascript};
use mortise_model::{ByteSize, Digest, one_line};
use mortise_plugin::{Package, PrepareError};
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use wasmtime::component::{Component, Linker};

/// The largest component that is read.
const CODE_BYTES_MAX: u64 = 128 << 20;

/// What every component has to export.
const GUEST: &str = "mortise:plugin/guest@0.1.0";

/// The same without the version.
const GUEST_UNVERSIONED: &str = "mortise:plugin/guest";

const HINT_COMPONENT: &str = "build the crate with `mortise pack`, which makes a component of it";

/// Code, linked and ready to be instantiated any number of times.
pub(crate) enum Code {
    Component {
        plugin: PluginPre<State>,
        /// Whether it imports `wasi:http`.
        sends_requests: bool,
    },
    /// What [`crate::javascript`] drives.
    Interpreter(Program),
}

/// Where all code of one engine comes from: memory, the cache on disk, or the compiler.
pub(crate) struct CodeStore {
    /// Code in use, by the digest of the component: a reload with the same code reads and hashes one file.
    in_use: Mutex<HashMap<Digest, Weak<Code>>>,
    linkers: Linkers,
    cache: Option<Arc<CodeCache>>,
    pool: Arc<CompilePool>,
    engine: Arc<Engine>,
}

/// What code of the engine's form may import.
enum Linkers {
    Component(Linker<State>),
    Module(wasmtime::Linker<State>),
}

/// Why code cannot be used.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) reason: String,
    hint: Option<&'static str>,
}

impl CodeStore {
    pub(crate) fn new(
        engine: Arc<Engine>,
        cache: Option<Arc<CodeCache>>,
        pool: Arc<CompilePool>,
    ) -> wasmtime::Result<Self> {
        let linkers = match engine.form() {
            Form::Component => Linkers::Component(host::linker(engine.wasmtime())?),
            Form::Module => Linkers::Module(javascript::linker(engine.wasmtime())?),
        };
        Ok(Self { in_use: Mutex::default(), linkers, cache, pool, engine })
    }

    /// What the code is for.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The code that a package brings.
    pub(crate) async fn load(self: &Arc<Self>, package: &Package) -> Result<Arc<Code>, PrepareError> {
        let entry_point = package.manifest.entry_point.clone();
        self.load_file(package.root.join(&entry_point), entry_point).await
    }

    /// The code in a file. Files are read on tokio's blocking pool, compilation has its own.
    pub(crate) async fn load_file(
        self: &Arc<Self>,
        path: PathBuf,
        entry_point: String,
    ) -> Result<Arc<Code>, PrepareError> {
        let unusable = |Unusable { reason, hint }: Unusable| PrepareError::Code {
            path: entry_point.clone(),
            reason,
            hint: hint.map(str::to_owned),
        };

        let store = Arc::clone(self);
        let found = tokio::task::spawn_blocking(move || store.find(&path)).await;
        let found = found.map_err(|_| unusable(Unusable::plain("reading it failed within the host")))?;
        let (bytes, digest) = match found {
            Ok(Found::Code(code)) => return Ok(code),
            Ok(Found::Bytes(bytes, digest)) => (bytes, digest),
            Err(Trouble::Read(source)) => return Err(PrepareError::Read { path: entry_point, source }),
            Err(Trouble::Unusable(problem)) => return Err(unusable(problem)),
        };

        let store = Arc::clone(self);
        let compiled = self.pool.run(move || store.compile(&bytes, digest)).await;
        compiled.unwrap_or_else(|| Err(Unusable::plain("the compiler failed"))).map_err(unusable)
    }

    /// Blocks on the disk.
    fn find(&self, path: &Path) -> Result<Found, Trouble> {
        let bytes = read(path, CODE_BYTES_MAX)?;
        let digest = Digest::of(&bytes);
        if let Some(code) = self.in_use().get(&digest).and_then(Weak::upgrade) {
            return Ok(Found::Code(code));
        }
        preamble(&bytes, self.engine.form()).map_err(Trouble::Unusable)?;
        let cached = self.cache.as_ref().and_then(|cache| cache.load(self.engine.wasmtime(), digest));
        match cached {
            Some(binary) => Ok(Found::Code(self.link(&binary, digest).map_err(Trouble::Unusable)?)),
            None => Ok(Found::Bytes(bytes, digest)),
        }
    }

    /// Runs on the compile pool.
    fn compile(&self, bytes: &[u8], digest: Digest) -> Result<Arc<Code>, Unusable> {
        let form = self.engine.form();
        let binary = Binary::compile(self.engine.wasmtime(), form, bytes)
            .map_err(|error| Unusable::plain(format!("it is no valid {form}: {}", said(&error))))?;
        let code = self.link(&binary, digest)?;
        if let Some(cache) = &self.cache {
            cache.store(digest, &binary);
        }
        Ok(code)
    }

    pub(crate) fn link(&self, binary: &Binary, digest: Digest) -> Result<Arc<Code>, Unusable> {
        let code = match (binary, &self.linkers) {
            (Binary::Component(component), Linkers::Component(linker)) => {
                check_exports(component)?;
                let linked = linker.instantiate_pre(component);
                let linked = linked.map_err(|error| Self::unknown_imports(component, &error))?;
                let plugin = PluginPre::new(linked)
                    .map_err(|error| Unusable::plain(format!("its `{GUEST}` is not ours: {}", said(&error))))?;
                let sends_requests = imports(component).iter().any(|name| name.starts_with(host::http::PACKAGE));
                Code::Component { plugin, sends_requests }
            }
            (Binary::Module(module), Linkers::Module(linker)) => {
                let linked = linker.instantiate_pre(module);
                let linked = linked.map_err(|error| Unusable::plain(format!("it is not QuickJS: {}", said(&error))))?;
                Code::Interpreter(Program::new(linked))
            }
            _ => return Err(Unusable::plain(format!("it is no {}", self.engine.form()))),
        };
        let code = Arc::new(code);
        let mut in_use = self.in_use();
        in_use.retain(|_, code| code.strong_count() > 0);
        in_use.insert(digest, Arc::downgrade(&code));
        Ok(code)
    }

    fn unknown_imports(component: &Component, error: &wasmtime::Error) -> Unusable {
        let unknown: Vec<String> = imports(component)
            .into_iter()
            .filter(|name| !host::PACKAGES.iter().any(|package| name.starts_with(package)))
            .map(|name| format!("`{name}`"))
            .collect();
        let reason = if unknown.is_empty() {
            format!("it imports what this host does not provide: {}", said(error))
        } else {
            format!("it imports what this host does not provide: {}", unknown.join(", "))
        };
        Unusable {
            reason,
            hint: Some(
                "a plugin may import `mortise:plugin/host`, WASI 0.2 without sockets, `wasi:http` 0.2 for requests of its own, `wasi:config` 0.2.0-rc.1 and `wasi:keyvalue` 0.2.0-draft",
            ),
        }
    }

    fn in_use(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Code>>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Found {
    Code(Arc<Code>),
    Bytes(Vec<u8>, Digest),
}

enum Trouble {
    Read(std::io::Error),
    Unusable(Unusable),
}

impl Unusable {
    fn plain(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: None }
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(Trouble::Read)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(Trouble::Read)?;
    if bytes.len() as u64 > bytes_max {
        let reason = format!("it has more than {}", ByteSize(bytes_max));
        let hint = Some("build it in release mode, and without what it does not need to run");
        return Err(Trouble::Unusable(Unusable { reason, hint }));
    }
    Ok(bytes)
}

/// Tells what the engine runs from what is often taken for it, by the first eight bytes.
fn preamble(bytes: &[u8], form: Form) -> Result<(), Unusable> {
    match (form, bytes.first_chunk::<8>()) {
        (Form::Component, Some([0, b'a', b's', b'm', _, _, 1, 0]))
        | (Form::Module, Some([0, b'a', b's', b'm', _, _, 0, 0])) => Ok(()),
        (Form::Component, Some([0, b'a', b's', b'm', _, _, 0, 0])) => {
            Err(Unusable { reason: "it is a core module, not a component".to_owned(), hint: Some(HINT_COMPONENT) })
        }
        (Form::Module, _) => Err(Unusable::plain("it is no core module")),
        (Form::Component, _) => {
            Err(Unusable { reason: "it is not WebAssembly".to_owned(), hint: Some(HINT_COMPONENT) })
        }
    }
}

/// The names of what it imports.
fn imports(component: &Component) -> Vec<String> {
    component.component_type().imports(component.engine()).map(|(name, _)| name.to_owned()).collect()
}

fn check_exports(component: &Component) -> Result<(), Unusable> {
    let exports: Vec<String> =
        component.component_type().exports(component.engine()).map(|(name, _)| name.to_owned()).collect();
    if exports.iter().any(|name| name == GUEST) {
        return Ok(());
    }
    if let Some(other) = exports.iter().find(|name| name.split('@').next() == Some(GUEST_UNVERSIONED)) {
        return Err(Unusable {
            reason: format!("it exports `{other}`, and this host serves `{GUEST}`"),
            hint: Some("rebuild it with the SDK of this release, or run a host that serves that version"),
        });
    }
    let found = match exports.as_slice() {
        [] => "nothing: it is an empty component".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    };
    Err(Unusable {
        reason: format!("it does not export `{GUEST}`; it exports {found}"),
        hint: Some("put `#[tenon::plugin]` on the plugin's impl block: a crate without it becomes an empty component"),
    })
}

/// What wasmtime says of the component, with everything below it.
fn said(error: &wasmtime::Error) -> String {
    one_line(&format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineConfig;

    #[test]
    fn a_component_is_read_up_to_its_limit_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin.wasm");
        std::fs::write(&path, [7; 1024]).unwrap();
        let Ok(bytes) = read(&path, 1024) else { panic!("as much as the limit is allowed") };
        assert_eq!(bytes, [7; 1024]);
        std::fs::write(&path, [7; 1025]).unwrap();
        let Err(Trouble::Unusable(problem)) = read(&path, 1024) else { panic!("one byte more is not") };
        assert_eq!(problem.reason, "it has more than 1KiB");
        assert!(problem.hint.is_some());
        assert_eq!(ByteSize(CODE_BYTES_MAX), ByteSize::mib(128));
    }

    #[test]
    fn a_component_over_the_limit_is_refused_by_the_store() {
        let config = EngineConfig::of_components(std::time::Duration::from_millis(1));
        let engine = Arc::new(Engine::new(config).unwrap());
        let store = CodeStore::new(engine, None, Arc::new(CompilePool::new(1).unwrap())).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        // A hole: as long as the limit, and nothing on the disk.
        file.as_file().set_len(CODE_BYTES_MAX + 1).unwrap();
        let Err(Trouble::Unusable(problem)) = store.find(file.path()) else { panic!("it was not refused") };
        assert_eq!(problem.reason, "it has more than 128MiB");
    }
}
