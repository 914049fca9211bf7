//! The ways in which a plugin arrives. Each ends in a staged plugin; what becomes of it is `install.rs`'s and `plan.rs`'s
//! business.

use crate::dependencies::Dependencies;
use crate::depot::{ArchivePin, Depot, DepotError};
use crate::download::StagingPlace;
use crate::install::disk_refusal;
use crate::manager::Manager;
use crate::refusal::Refusal;
use crate::signature::Arguments;
use crate::upload::Take;
use mortise_delivery::{
    ArchiveFormat, ArchiveLimits, DeliveryError, Lock, Package, SignatureError, StagedPlugin, TreeLimits, check_digest,
    check_signature, decode_base64, redacted_url,
};
use mortise_model::{Digest, PluginId, Provenance, Source};
use mortise_policy::{Policy, SourceKind};
use mortise_rpc::Origin;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A staged plugin, which says where it came from.
pub(crate) struct Candidate {
    pub(crate) plugin: StagedPlugin,
    pub(crate) archive: Option<Archive>,
    /// What was installed of other people's for it.
    pub(crate) dependencies: Vec<Package>,
}

/// A candidate, in the place where it was unpacked. Whoever gives the place back lets another one be unpacked beside it.
pub(crate) struct Arrived<'a> {
    pub(crate) candidate: Candidate,
    pub(crate) place: StagingPlace<'a>,
}

/// The archive that a plugin came in, which is in the store; a folder has none.
pub(crate) struct Archive {
    pub(crate) pin: ArchivePin,
    pub(crate) bytes: u64,
}

/// Where a delivery manifest says that the plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    Bundle,
    Url,
    Object,
}

/// What an archive is taken for.
struct Wanted {
    id: Option<PluginId>,
    digest: Option<String>,
    format: String,
    /// As `minisign` writes it.
    signature: Option<String>,
    /// What its name says of its format.
    name: Option<String>,
    install_dependencies: Option<bool>,
}

/// What the operator asks of an archive. Looked up once its bytes are here: a download may take minutes.
struct Terms {
    policy: Arc<Policy>,
    digest_required: bool,
    dependencies: Dependencies,
}

impl Wanted {
    fn of(arguments: &Arguments) -> Result<Self, Refusal> {
        Ok(Self {
            id: plugin_id(arguments)?,
            digest: arguments.optional_text("digest")?.map(str::to_owned),
            format: arguments.optional_text("format")?.unwrap_or("auto").to_owned(),
            signature: arguments
                .optional_text("signature")?
                .filter(|given| !given.trim().is_empty())
                .map(str::to_owned),
            name: None,
            install_dependencies: arguments.optional_flag("install_dependencies")?,
        })
    }

    /// The digest that the caller pinned.
    fn pinned(&self) -> Result<Option<Digest>, Refusal> {
        let given = self.digest.as_deref().map(str::trim).filter(|given| !given.is_empty());
        given.map(Digest::parse).transpose().map_err(|error| {
            Refusal::new("digest_mismatch", "digest mismatch")
                .detail(error.to_string())
                .hint("pin the archive's SHA-256, `sha256:` and 64 hex digits, or leave `digest` out")
        })
    }
}

impl Manager {
    /// From `bundle_b64`.
    pub(crate) async fn arrive_in_bundle(&self, arguments: &mut Arguments) -> Result<Arrived<'_>, Refusal> {
        let wanted = Wanted::of(arguments)?;
        let bundle = arguments.take_text("bundle_b64")?;
        let bytes_max = self.config.bundle_bytes_max;
        self.admit_source(SourceKind::Bundle)?;
        let place = self.staging_place().await;
        let terms = self.terms(&wanted);
        let staged = self.on_disk(move |depot| {
            let bytes = decode_base64(&bundle, bytes_max).map_err(DeliveryError::from)?;
            drop(bundle);
            stage(depot, &bytes, &wanted, &terms, Source::Bundle)
        });
        arrived(staged.await, place)
    }

    /// From `url`.
    pub(crate) async fn arrive_from_url(&self, arguments: &Arguments) -> Result<Arrived<'_>, Refusal> {
        let mut wanted = Wanted::of(arguments)?;
        let url = arguments.text("url")?;
        self.admit_source(SourceKind::Url)?;
        let shown = redacted_url(url);
        wanted.name = Some(shown.clone());
        let source = Source::Url { url: shown };
        self.check_url(url)?;
        if wanted.signature.is_none() && self.authority.policy().requires_signature() {
            wanted.signature = Some(self.signature_beside(url).await?);
        }
        let (found, place) = self.archive_at(url, &source, wanted.pinned()?).await?;
        let terms = self.terms(&wanted);
        let staged = self.on_disk(move |depot| {
            let (bytes, remembered) = found.read()?;
            let candidate = stage(depot, &bytes, &wanted, &terms, source)?;
            remembered.note(depot);
            Ok(candidate)
        });
        arrived(staged.await, place)
    }

    /// From `object`, which the mesh keeps under a `bucket` and a `name`. What anybody may write there at any time has
    /// to be pinned.
    pub(crate) async fn arrive_as_object(&self, arguments: &mut Arguments) -> Result<Arrived<'_>, Refusal> {
        let object = Arguments::of(arguments.take_object("object")?);
        let (bucket, name) = (object.text("bucket")?.to_owned(), object.text("name")?.to_owned());
        self.admit_source(SourceKind::Object)?;
        let wanted = Wanted { name: Some(name.clone()), ..Wanted::of(arguments)? };
        let (found, place) = self.archive_in_mesh(&bucket, &name, wanted.pinned()?).await?;
        let terms = self.terms(&wanted);
        let staged = self.on_disk(move |depot| {
            let (bytes, _) = found.read()?;
            stage(depot, &bytes, &wanted, &terms, Source::Object { bucket, name })
        });
        arrived(staged.await, place)
    }

    /// From `source_path`.
    pub(crate) async fn arrive_from_folder(
        &self,
        origin: Origin,
        arguments: &Arguments,
    ) -> Result<Arrived<'_>, Refusal> {
        let id = plugin_id(arguments)?;
        let source = PathBuf::from(arguments.text("source_path")?);
        self.admit_source(SourceKind::Folder)?;
        if self.authority.policy().requires_signature() {
            return Err(disk_refusal(&DeliveryError::from(SignatureError::Folder).into()));
        }
        let dependencies = self.dependencies(None);
        let roots = [&self.config.source_roots, self.authority.policy().source_roots()].concat();
        let place = self.staging_place().await;
        let staged = self.on_disk(move |depot| {
            let source = match origin {
                Origin::Control => source,
                // The path that was judged is the one that is read, whatever becomes of the links in the other.
                _ => match within(&source, &roots) {
                    Some(source) => source,
                    None => return Ok(Err(not_a_root(&source))),
                },
            };
            let plugin = StagedPlugin::from_folder(&source, id.as_ref(), &TreeLimits::default(), depot.staging())?;
            // No link and no `..` tells of another place than the files are from.
            let path = source.canonicalize().unwrap_or(source).display().to_string();
            let plugin = brought(plugin, Source::Folder { path }, None, None);
            let plugin = dependencies.of_arrived(plugin)?;
            let dependencies = installed(&plugin);
            Ok(Ok(Candidate { plugin, archive: None, dependencies }))
        });
        let candidate = staged.await.map_err(|error| disk_refusal(&error))??;
        Ok(Arrived { candidate, place })
    }

    /// From a complete upload, which stays.
    pub(crate) async fn arrive_by_upload(&self, arguments: &Arguments, take: Take) -> Result<Arrived<'_>, Refusal> {
        self.admit_source(SourceKind::Upload)?;
        let bundle = self.uploaded(arguments, take).await?;
        let wanted = Wanted { digest: Some(bundle.digest.to_string()), ..Wanted::of(arguments)? };
        let place = self.staging_place().await;
        let terms = self.terms(&wanted);
        let staged = self.on_disk(move |depot| {
            let bytes = bundle.read().map_err(DeliveryError::from)?;
            stage(depot, &bytes, &wanted, &terms, Source::Upload)
        });
        arrived(staged.await, place)
    }
}

impl Manager {
    pub(crate) fn admit_source(&self, source: SourceKind) -> Result<(), Refusal> {
        if self.authority.policy().admits_source(source) {
            return Ok(());
        }
        let message =
            format!("the host's policy does not let plugins be installed from a source of kind `{}`", source.name());
        Err(Refusal::new("not_allowed", message).hint("the operator names those that are allowed in `install.sources`"))
    }

    fn terms(&self, wanted: &Wanted) -> Terms {
        let policy = self.authority.policy();
        Terms {
            digest_required: self.config.digest_required || policy.requires_digest(),
            dependencies: self.dependencies(wanted.install_dependencies),
            policy,
        }
    }
}

fn arrived(staged: Result<Candidate, DepotError>, place: StagingPlace<'_>) -> Result<Arrived<'_>, Refusal> {
    let candidate = staged.map_err(|error| disk_refusal(&error))?;
    Ok(Arrived { candidate, place })
}

/// What a delivery manifest asks for, as arguments of the function that does it. Its `type` never overrides what the
/// bundle itself says (wire contract 10.3).
pub(crate) fn read_delivery(mut manifest: Map<String, Value>) -> Result<(Delivered, Map<String, Value>), Refusal> {
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
    for (from, to) in [
        ("id", "plugin_id"),
        ("digest", "digest"),
        ("format", "format"),
        ("signature", "signature"),
        ("install_dependencies", "install_dependencies"),
    ] {
        given.extend(manifest.remove(from).map(|value| (to.to_owned(), value)));
    }
    let ways = [("bundle_b64", Delivered::Bundle), ("url", Delivered::Url), ("object", Delivered::Object)];
    for (key, delivered) in ways {
        if let Some(value) = manifest.remove(key).filter(|value| value.as_str() != Some("") && !value.is_null()) {
            given.insert(key.to_owned(), value);
            return Ok((delivered, given));
        }
    }
    Err(Refusal::new("missing_source", format!("{kind} manifest requires bundle_b64 or url"))
        .hint("give the archive itself, or where it can be fetched: a URL, or an `object` with `bucket` and `name`"))
}

/// Checks an archive's bytes, keeps them, and unpacks them.
fn stage(depot: &Depot, bytes: &[u8], wanted: &Wanted, terms: &Terms, source: Source) -> Result<Candidate, DepotError> {
    let Terms { policy, digest_required, dependencies } = terms;
    let digest = check_digest(bytes, wanted.digest.as_deref(), *digest_required).map_err(DeliveryError::from)?;
    let signature = wanted.signature.as_deref();
    let signer = check_signature(bytes, signature, policy.signers(), policy.requires_signature())
        .map_err(DeliveryError::from)?;
    let format = ArchiveFormat::detect(&wanted.format, wanted.name.as_deref(), bytes);
    let limits = ArchiveLimits::default();
    let plugin = StagedPlugin::from_archive(bytes, format, wanted.id.as_ref(), &limits, depot.staging())?;
    if signer.is_some() && !plugin.manifest.raw.get("id").is_some_and(Value::is_string) {
        return Err(DeliveryError::from(SignatureError::NoId).into());
    }
    let plugin = brought(plugin, source, Some(digest), signer);
    let plugin = dependencies.of_arrived(plugin)?;
    // Last: what is not accepted is not kept.
    let archive = Archive { pin: depot.keep_archive(bytes)?, bytes: bytes.len() as u64 };
    let dependencies = installed(&plugin);
    Ok(Candidate { plugin, archive: Some(archive), dependencies })
}

/// A staged plugin with where it came from.
pub(crate) fn brought(
    mut plugin: StagedPlugin,
    source: Source,
    archive: Option<Digest>,
    signer: Option<String>,
) -> StagedPlugin {
    plugin.provenance = Arc::new(Provenance::new(source, archive, signer));
    plugin
}

fn installed(plugin: &StagedPlugin) -> Vec<Package> {
    Lock::read(plugin.root()).map(|lock| lock.packages).unwrap_or_default()
}

fn plugin_id(arguments: &Arguments) -> Result<Option<PluginId>, Refusal> {
    let given = arguments.optional_text("plugin_id")?.filter(|given| !given.is_empty());
    given.map(PluginId::new).transpose().map_err(|error| {
        Refusal::new("invalid_plugin_id", "invalid plugin id")
            .detail(error.to_string())
            .hint("use letters, digits, `-` and `_`, beginning with a letter or digit")
    })
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
        .hint("the operator allows folders with `--install-source-root` or in the policy file; or send a bundle")
}
