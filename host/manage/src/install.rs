//! The ways a plugin arrives. Each ends in a staged plugin, and from there all go the same way: see `change.rs`.

use crate::artifact::on_artifacts;
use crate::change::{ChangeError, Next, Verb, busy, change_refusal};
use crate::depot::{ArchivePin, DepotError};
use crate::lifecycle::no_dependencies;
use crate::manager::Manager;
use crate::object::insert;
use crate::refusal::{Refusal, chain};
use crate::signature::Arguments;
use crate::status::summary;
use mortise_delivery::{
    ArchiveFormat, ArchiveLimits, CommitError, DeliveryError, FetchOutcome, IfExists, ReadArchive, StagedPlugin,
    TreeLimits, check_digest, decode_base64,
};
use mortise_model::{Digest, PluginId};
use mortise_plugin::{Operation, RunningPlugin};
use mortise_rpc::Origin;
use mortise_store::Source;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// A staged plugin and what is known of where it came from.
pub(crate) struct Candidate {
    pub(crate) plugin: StagedPlugin,
    pub(crate) source: Source,
    /// The archive, which is in the store; a folder has none.
    pub(crate) archive: Option<ArchivePin>,
}

/// What an archive is taken for.
struct Wanted {
    id: Option<PluginId>,
    digest: Option<String>,
    format: String,
    /// What its name says of its format.
    name: Option<String>,
}

/// How a plugin is put in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placing {
    pub(crate) load: bool,
    pub(crate) if_exists: IfExists,
}

impl Manager {
    pub(crate) async fn install_from_bundle(&self, arguments: &mut Arguments) -> Result<Value, Refusal> {
        let (wanted, placing) = archive_arguments(arguments)?;
        let bundle = arguments.take_text("bundle_b64")?;
        let candidate = self.stage_bundle(bundle, wanted).await?;
        self.install_candidate(candidate, placing).await
    }

    pub(crate) async fn install_from_url(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let (wanted, placing) = archive_arguments(arguments)?;
        let url = arguments.text("url")?.to_owned();
        let installed = match self.stage_url(&url, wanted).await {
            Ok(candidate) => self.install_candidate(candidate, placing).await,
            Err(refusal) => Err(refusal),
        };
        installed.map_err(|refusal| refusal.with("url", without_query(&url)))
    }

    /// A delivery manifest says where the plugin comes from; its `type` never overrides what the bundle itself says
    /// (wire contract 10.3).
    pub(crate) async fn install_from_manifest(&self, arguments: &mut Arguments) -> Result<Value, Refusal> {
        let load = arguments.optional_flag("load")?.unwrap_or(true);
        let mut manifest = arguments.take_object("manifest")?;
        let kind = match manifest.get("type") {
            None | Some(Value::Null) => "python".to_owned(),
            Some(Value::String(kind)) => kind.clone(),
            Some(other) => other.to_string(),
        };
        match kind.as_str() {
            "python" | "javascript" | "wasm" => {}
            "docker" => {
                let message = "Sidecars disabled. Restart with --enable-sidecars or DC_PLUGIN_ENABLE_SIDECARS=1";
                return Err(Refusal::new("sidecars_disabled", message).hint("this version runs no containers"));
            }
            other => {
                return Err(Refusal::new("unsupported", format!("unsupported manifest type: {other}"))
                    .hint("use `python`, `javascript` or `wasm`"));
            }
        }
        let mut given = Map::new();
        for (from, to) in [("id", "plugin_id"), ("digest", "digest"), ("format", "format")] {
            given.extend(manifest.remove(from).map(|value| (to.to_owned(), value)));
        }
        given.extend(manifest.remove("install_dependencies").map(|value| ("install_dependencies".to_owned(), value)));
        given.insert("load".to_owned(), load.into());
        for way in ["bundle_b64", "url"] {
            if let Some(value) = manifest.remove(way).filter(|value| value.as_str() != Some("") && !value.is_null()) {
                given.insert(way.to_owned(), value);
                let mut arguments = Arguments::of(given);
                return match way {
                    "bundle_b64" => self.install_from_bundle(&mut arguments).await,
                    _ => self.install_from_url(&arguments).await,
                };
            }
        }
        Err(Refusal::new("missing_source", format!("{kind} manifest requires bundle_b64 or url"))
            .hint("give the archive itself, or where it can be fetched"))
    }

    pub(crate) async fn install_from_folder(&self, origin: Origin, arguments: &Arguments) -> Result<Value, Refusal> {
        let id = plugin_id(arguments)?;
        let source = PathBuf::from(arguments.text("source_path")?);
        let roots = self.config.source_roots.clone();
        // Never closed.
        let place = self.staging_places.acquire().await;
        let staged = self
            .on_disk(move |depot| {
                let source = match origin {
                    Origin::Control => source,
                    // The path that was judged is the one that is read, whatever becomes of the links in the other.
                    _ => match within(&source, &roots) {
                        Some(source) => source,
                        None => return Ok(Err(not_a_root(&source))),
                    },
                };
                let plugin = StagedPlugin::from_folder(&source, id.as_ref(), &TreeLimits::default(), depot.staging())?;
                let source = Source::Folder { path: source.display().to_string() };
                Ok(Ok(Candidate { plugin, source, archive: None }))
            })
            .await;
        drop(place);
        let candidate = staged.map_err(|error| disk_refusal(&error))??;
        self.install_candidate(candidate, Placing { load: true, if_exists: IfExists::Refuse }).await
    }

    async fn stage_bundle(&self, bundle: String, wanted: Wanted) -> Result<Candidate, Refusal> {
        let bytes_max = self.config.bundle_bytes_max;
        let required = self.config.digest_required;
        // Never closed.
        let place = self.staging_places.acquire().await;
        let staged = self
            .on_disk(move |depot| {
                let bytes = decode_base64(&bundle, bytes_max).map_err(DeliveryError::from)?;
                drop(bundle);
                stage(depot, &bytes, &wanted, required, Source::Bundle)
            })
            .await;
        drop(place);
        staged.map_err(|error| disk_refusal(&error))
    }

    /// Installs what was uploaded in chunks.
    pub(crate) async fn stage_upload(
        &self,
        bundle: mortise_delivery::UploadedBundle,
        arguments: &Arguments,
    ) -> Result<Candidate, Refusal> {
        let wanted = Wanted {
            id: plugin_id(arguments)?,
            digest: Some(bundle.digest.to_string()),
            format: arguments.optional_text("format")?.unwrap_or("auto").to_owned(),
            name: None,
        };
        // Never closed.
        let place = self.staging_places.acquire().await;
        let staged = self
            .on_disk(move |depot| {
                let bytes = bundle.read().map_err(DeliveryError::from)?;
                stage(depot, &bytes, &wanted, true, Source::Upload)
            })
            .await;
        drop(place);
        staged.map_err(|error| disk_refusal(&error))
    }

    async fn stage_url(&self, url: &str, mut wanted: Wanted) -> Result<Candidate, Refusal> {
        wanted.name = Some(without_query(url).to_owned());
        let required = self.config.digest_required;
        let source = Source::Url { url: without_query(url).to_owned() };
        if let Some(pinned) = wanted.digest.as_deref().and_then(|digest| Digest::parse(digest.trim()).ok()) {
            // What is pinned and here already needs no download.
            let known = self.on_disk(move |depot| Ok(depot.archives().read_verified(&pinned, u64::MAX)?)).await;
            if let Ok(ReadArchive::Intact(bytes)) = known {
                // Never closed.
                let _place = self.staging_places.acquire().await;
                let staged = self.on_disk(move |depot| stage(depot, &bytes, &wanted, required, source)).await;
                return staged.map_err(|error| disk_refusal(&error));
            }
        }
        if let Some(artifact) = self.artifacts.resolve_local(url) {
            // Our own archive: no need to ask ourselves over HTTP.
            let (store, bytes_max) = (self.artifacts.clone(), self.config.bundle_bytes_max);
            // Never closed.
            let _place = self.staging_places.acquire().await;
            let bytes = on_artifacts(&store, move |store| store.read(&artifact, bytes_max)).await?;
            let staged = self.on_disk(move |depot| stage(depot, &bytes, &wanted, required, source)).await;
            return staged.map_err(|error| disk_refusal(&error));
        }
        let fetched = match self.fetcher().await {
            Ok(fetcher) => fetcher.fetch(url, None, self.depot.staging()).await,
            Err(error) => Err(error),
        };
        let fetched = match fetched.map_err(|error| disk_refusal(&DeliveryError::from(error).into()))? {
            FetchOutcome::Archive(fetched) => fetched,
            // Nothing was known that could be unmodified.
            FetchOutcome::NotModified { digest } => {
                return Err(Refusal::new("fetch_failed", format!("the server sent no archive, only `{digest}`"))
                    .hint("try again, or ask whoever runs the server"));
            }
        };
        // Never closed.
        let place = self.staging_places.acquire().await;
        let staged = self
            .on_disk(move |depot| {
                let bytes = std::fs::read(fetched.archive.path())
                    .map_err(|error| DepotError::Internal(format!("failed to read what was fetched: {error}")))?;
                stage(depot, &bytes, &wanted, required, source)
            })
            .await;
        drop(place);
        staged.map_err(|error| disk_refusal(&error))
    }

    /// Puts a candidate in place, and loads it if that was asked for.
    pub(crate) async fn install_candidate(&self, candidate: Candidate, placing: Placing) -> Result<Value, Refusal> {
        let Candidate { plugin, source, archive: pin } = candidate;
        let id = plugin.id.clone();
        let archive = pin.as_ref().map(|pin| pin.digest);
        let result = self.install_in_turn(plugin, source, archive, placing).await;
        drop(pin);
        // One that no version came in after all goes again.
        if let Some(archive) = archive
            && let Err(error) = self.on_disk(move |depot| depot.forget_archives(vec![archive])).await
        {
            warn!(plugin = %id, error = chain(&error), "failed to remove an archive that is not needed");
        }
        let mut reply = result?;
        if let Some(archive) = archive {
            insert(&mut reply, "digest", archive.to_string());
        }
        info!(plugin = %id, load = placing.load, "plugin installed");
        Ok(reply)
    }

    async fn install_in_turn(
        &self,
        plugin: StagedPlugin,
        source: Source,
        archive: Option<Digest>,
        placing: Placing,
    ) -> Result<Value, Refusal> {
        let id = plugin.id.clone();
        let operation = self.registry.begin(&id).await.map_err(|error| busy(&error))?;
        let installed_to = self.depot.working_copy(&id).display().to_string();
        let (wanted, path) = (id.clone(), self.depot.working_copy(&id));
        let taken = self
            .on_disk(move |depot| {
                // A link or a file in its place is nobody's working copy, and is not replaced.
                let odd = std::fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_dir());
                Ok((odd, path.exists() || depot.installed(&wanted)?.is_some()))
            })
            .await;
        let (odd, exists) = taken.map_err(|error| disk_refusal(&error))?;
        let path = self.depot.working_copy(&id);
        if odd {
            return Err(disk_refusal(&DeliveryError::from(CommitError::NotAFolder { path }).into()));
        }
        if exists && placing.if_exists == IfExists::Refuse {
            return Err(disk_refusal(&DeliveryError::from(CommitError::Exists { id, path }).into()));
        }
        if !placing.load {
            let mut reply = json!({
                "status": "success",
                "plugin_id": id,
                "installed_to": installed_to,
                "loaded": false,
            });
            if let Some(warning) = self.place(plugin, source, archive).await? {
                insert(&mut reply, "warnings", vec![warning]);
            }
            return Ok(reply);
        }
        if let Some(running) = self.running(&id).filter(|running| running.package().tree == plugin.tree)
            && let Some(reply) = self.already_serving(&operation, &running, &installed_to).await?
        {
            self.on_disk(move |_| {
                drop(plugin);
                Ok(())
            })
            .await
            .map_err(|error| disk_refusal(&error))?;
            return Ok(reply);
        }
        let predecessor = self.running(&id);
        let changed = async {
            let guard = self.on_disk(move |depot| depot.add(plugin)).await?;
            let proven = self.prove(&operation, Next::New { guard, source, archive }).await?;
            self.adopt(&operation, proven).await
        };
        let changed = changed.await.map_err(|error: ChangeError| {
            change_refusal(&id, &error, Verb::Load)
                .hint_if_none("nothing was installed; correct the plugin and install it again")
        })?;
        if let Some(predecessor) = predecessor.filter(|_| changed.activated.replaced) {
            self.begin_probation(&id, &predecessor, changed.activated.generation);
        }
        Ok(json!({
            "status": "success",
            "plugin_id": id,
            "installed_to": installed_to,
            "load_result": self.load_result(&id, &changed),
            "generation": changed.activated.generation,
            "incarnation": changed.activated.incarnation,
        }))
    }

    /// The same files serve already: nothing is prepared again (wire contract 11, A8). The working copy may have been
    /// edited meanwhile, and is put right. None where the generation that serves is not on record.
    async fn already_serving(
        &self,
        operation: &Operation,
        running: &RunningPlugin,
        installed_to: &str,
    ) -> Result<Option<Value>, Refusal> {
        let id = operation.id();
        let (wanted, generation) = (id.clone(), running.generation());
        let recorded = self
            .on_disk(move |depot| {
                let versions = depot.versions(&wanted)?;
                let record = versions.and_then(|(_, mut generations)| generations.remove(&generation));
                record.map(|record| depot.choose(depot.open_generation(&wanted, generation, &record)?)).transpose()
            })
            .await
            .map_err(|error| disk_refusal(&error))?;
        let Some(recorded) = recorded else { return Ok(None) };
        let mut reply = json!({
            "status": "success",
            "plugin_id": id,
            "installed_to": installed_to,
            "load_result": {"status": "success", "plugin": summary(running)},
            "generation": generation,
            "incarnation": running.incarnation(),
            "unchanged": true,
        });
        match self.settle(recorded).await {
            Ok(None) => {}
            Ok(Some(edits)) => insert(&mut reply, "edits_kept_at", edits.display().to_string()),
            Err(error) => insert(&mut reply, "warnings", vec![not_tidied(&error)]),
        }
        Ok(Some(reply))
    }

    /// Records a plugin without running it. Returns what could not be tidied up.
    async fn place(
        &self,
        plugin: StagedPlugin,
        source: Source,
        archive: Option<Digest>,
    ) -> Result<Option<String>, Refusal> {
        let recorded = self
            .on_disk(move |depot| {
                // What is on record already needs no further version.
                if let Some(installed) = depot.installed(&plugin.id)?
                    && installed.generation.tree == plugin.tree
                {
                    let folder = depot.open_generation(&plugin.id, installed.number, &installed.generation)?;
                    return depot.show(&folder).map(|_| None);
                }
                let guard = depot.add(plugin)?;
                depot.record(guard, source, archive, None, None).map(Some)
            })
            .await
            .map_err(|error| disk_refusal(&error))?;
        let Some(recorded) = recorded else { return Ok(None) };
        Ok(self.settle(recorded).await.err().map(|error| not_tidied(&error)))
    }

    /// The serving generation of a plugin.
    pub(crate) fn running(&self, id: &PluginId) -> Option<RunningPlugin> {
        self.registry.snapshot().iter().find(|plugin| plugin.id == *id)?.running.clone()
    }
}

/// Checks an archive's bytes, keeps them, and unpacks them.
fn stage(
    depot: &crate::depot::Depot,
    bytes: &[u8],
    wanted: &Wanted,
    digest_required: bool,
    source: Source,
) -> Result<Candidate, DepotError> {
    check_digest(bytes, wanted.digest.as_deref(), digest_required).map_err(DeliveryError::from)?;
    let format = ArchiveFormat::detect(&wanted.format, wanted.name.as_deref(), bytes);
    let limits = ArchiveLimits::default();
    let plugin = StagedPlugin::from_archive(bytes, format, wanted.id.as_ref(), &limits, depot.staging())?;
    // Last: what is not accepted is not kept.
    let archive = depot.keep_archive(bytes)?;
    Ok(Candidate { plugin, source, archive: Some(archive) })
}

fn archive_arguments(arguments: &Arguments) -> Result<(Wanted, Placing), Refusal> {
    if arguments.optional_flag("install_dependencies")? == Some(true) {
        return Err(no_dependencies());
    }
    let wanted = Wanted {
        id: plugin_id(arguments)?,
        digest: arguments.optional_text("digest")?.map(str::to_owned),
        format: arguments.optional_text("format")?.unwrap_or("auto").to_owned(),
        name: None,
    };
    let load = arguments.optional_flag("load")?.unwrap_or(true);
    Ok((wanted, Placing { load, if_exists: IfExists::Replace }))
}

fn plugin_id(arguments: &Arguments) -> Result<Option<PluginId>, Refusal> {
    let given = arguments.optional_text("plugin_id")?.filter(|given| !given.is_empty());
    given.map(PluginId::new).transpose().map_err(|error| {
        Refusal::new("invalid_plugin_id", "invalid plugin id")
            .detail(error.to_string())
            .hint("use letters, digits, `-` and `_`, beginning with a letter or digit")
    })
}

/// A URL as it may be shown: what follows `?` can be a secret.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// `path` with every link resolved, where that lies in one of `roots`.
fn within(path: &Path, roots: &[PathBuf]) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let mut roots = roots.iter().filter_map(|root| root.canonicalize().ok());
    roots.any(|root| path.starts_with(root)).then_some(path)
}

fn not_a_root(source: &Path) -> Refusal {
    let message = format!("plugins may not be installed from `{}`", source.display());
    Refusal::new("not_allowed", message)
        .hint("the operator allows folders with `--install-source-root`; or send a bundle")
}

/// The plugin is whole; what follows is done again by the next start.
pub(crate) fn not_tidied(error: &DepotError) -> String {
    format!("the working copy could not be put right: {}", chain(error))
}

pub(crate) fn disk_refusal(error: &DepotError) -> Refusal {
    Refusal::new(error.code(), chain(error)).hint(error.hint())
}
