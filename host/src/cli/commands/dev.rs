//! `mortise dev`: installs a plugin at each save, and shows what it logs.

mod report;
mod watch;

use super::deploy::{self, install};
use crate::cli::args::DevArgs;
use crate::cli::client::{CallFailure, HostClient};
use crate::cli::output::{CommandError, ExitStatus, Printer};
use crate::cli::package::Package;
use crate::cli::progress::Progress;
use crate::cli::settings::config_failure;
use crate::config::{ClientConfig, ClientFlags, env::ProcessEnvironment, resolve_client};
use mortise_model::PluginId;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;
use watch::{Look, Watch};

/// Between two looks at the folder, and at the log. A change is sent when two looks in a row see the same.
const TICK: Duration = Duration::from_millis(250);

/// Between two attempts to reach a host that has gone.
const RECONNECT: Duration = Duration::from_secs(1);

/// Lines of log in one answer: as many as a host gives.
const LINES: usize = 1000;

pub(in crate::cli) fn run(args: &DevArgs, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let config = resolve_client(&ClientFlags::from(&args.connection), &ProcessEnvironment)
        .map_err(|errors| config_failure(&errors))?;
    for warning in &config.warnings {
        printer.note(&format!("warning: {warning}"));
    }
    let id = args.plugin_id.as_ref().map(PluginId::new).transpose();
    let id = id.map_err(|error| CommandError { status: ExitStatus::Usage, ..error.into() })?;
    if !args.path.is_dir() {
        let error = anyhow::anyhow!("not a directory: {}", args.path.display());
        return Err(CommandError::failed(error).hint("`mortise new <id>` makes a plugin to begin with"));
    }
    let runtime = super::client_runtime()?;
    let mut session = Session::new(args.path.clone(), id, config);
    let outcome = runtime.block_on(async {
        tokio::select! {
            failed = session.run(printer) => failed.map(|never| match never {}),
            _ = tokio::signal::ctrl_c() => Ok(ExitStatus::Success),
        }
    });
    // A build, or a transport's threads, may still be at work; nobody else waits for them.
    runtime.shutdown_background();
    if let (Ok(_), Some(id)) = (&outcome, &session.installed) {
        printer.note(&format!("`{id}` stays installed; `mortise deploy uninstall {id}` removes it"));
    }
    outcome
}

struct Session {
    folder: PathBuf,
    /// Under which it is to be installed, where that was said.
    id: Option<PluginId>,
    config: ClientConfig,
    /// None while the host is out of reach.
    client: Option<HostClient>,
    watch: Watch,
    /// Whether the folder could not be looked at last time.
    unseen: bool,
    /// What was packed last, whose log is shown.
    plugin: Option<PluginId>,
    /// What was installed last.
    installed: Option<PluginId>,
    /// The number of the last line of log that was shown.
    log_shown: u64,
    /// Whether the host says that it shows no log.
    log_closed: bool,
    /// Whether the last install got no answer, and is to be sent once more.
    unanswered: bool,
}

/// Why an install did not get as far as an answer.
enum Failure {
    /// The plugin is not sound, or does not build.
    Plugin(CommandError),
    /// Nobody knows what the host made of it.
    Host(CommandError),
}

impl Session {
    fn new(folder: PathBuf, id: Option<PluginId>, config: ClientConfig) -> Self {
        Self {
            folder,
            id,
            config,
            client: None,
            watch: Watch::default(),
            unseen: false,
            plugin: None,
            installed: None,
            log_shown: 0,
            log_closed: false,
            unanswered: false,
        }
    }

    /// Goes on until it is dropped.
    ///
    /// # Errors
    /// When there is no host at first. Later ones are printed.
    async fn run(&mut self, printer: &mut Printer) -> Result<Infallible, CommandError> {
        let client = HostClient::connect(&self.config, &Progress::none()).await?;
        // After an interruption it is the same host that is meant, not another that can be found.
        match &client {
            HostClient::Local(_) => self.config.state_dir_named = true,
            HostClient::Remote { host, .. } => self.config.host = Some(host.clone()),
        }
        self.client = Some(client);
        printer.note(&format!("watching `{}`; Ctrl-C ends that", self.folder.display()));
        loop {
            if self.client.is_none() {
                self.reconnect(printer).await;
            }
            if self.has_changed(printer).await {
                self.install(printer).await;
            }
            self.show_log(printer).await;
            tokio::time::sleep(TICK).await;
        }
    }

    /// Tries until the host is there again.
    async fn reconnect(&mut self, printer: &mut Printer) {
        printer.note("waiting for the host");
        loop {
            tokio::time::sleep(RECONNECT).await;
            let Ok(client) = HostClient::connect(&self.config, &Progress::none()).await else { continue };
            self.client = Some(client);
            // A broker is there without the host.
            if let Ok(_) | Err(CallFailure::Answered(_)) = self.ask("get_status", Map::new()).await {
                printer.note("the host is there again");
                return;
            }
        }
    }

    async fn has_changed(&mut self, printer: &mut Printer) -> bool {
        let folder = self.folder.clone();
        let look = tokio::task::spawn_blocking(move || Look::at(&folder)).await;
        let look = look.map_err(std::io::Error::other).and_then(|look| look);
        match look {
            Ok(look) => {
                self.unseen = false;
                self.watch.is_news(look)
            }
            Err(error) => {
                // Once, and not at each look.
                if !std::mem::replace(&mut self.unseen, true) {
                    let context = format!("failed to look at `{}`", self.folder.display());
                    printer.failure(&CommandError::failed(anyhow::Error::new(error).context(context)));
                }
                false
            }
        }
    }

    /// Installs the plugin as it lies there, and prints what came of it.
    async fn install(&mut self, printer: &mut Printer) {
        let outcome = self.send(printer).await;
        let answered = match &outcome {
            Ok(_) | Err(Failure::Plugin(_)) => true,
            Err(Failure::Host(_)) => false,
        };
        let runs = match outcome {
            Ok(result) => report::installed(&result, printer),
            Err(Failure::Plugin(error) | Failure::Host(error)) => {
                printer.failure(&error);
                false
            }
        };
        // One that got no answer is sent once more: the same files change nothing where they are there already.
        if !answered {
            self.client = None;
            if !std::mem::replace(&mut self.unanswered, true) {
                self.watch.forget();
            }
            return;
        }
        self.unanswered = false;
        if runs {
            self.installed.clone_from(&self.plugin);
        } else {
            self.tell_what_runs(printer).await;
        }
    }

    async fn send(&mut self, printer: &mut Printer) -> Result<Value, Failure> {
        let package = self.pack().await.map_err(Failure::Plugin)?;
        for warning in &package.warnings {
            printer.note(&format!("warning: {warning}"));
        }
        if package.plugin_id != self.plugin {
            self.plugin.clone_from(&package.plugin_id);
            self.log_shown = self.log_end().await;
        }
        let Some(client) = &mut self.client else {
            return Err(Failure::Host(no_host()));
        };
        let digest = package.digest;
        let action = install::of_package(package, &digest, true);
        deploy::send(client, &self.config, action, &Progress::none()).await.map_err(Failure::Host)
    }

    /// Packs the folder; a crate is built first.
    async fn pack(&self) -> Result<Package, CommandError> {
        let (folder, id) = (self.folder.clone(), self.id.clone());
        let pack = move || Package::make(&folder, id, false, &ProcessEnvironment, &Progress::none());
        tokio::task::spawn_blocking(pack).await?
    }

    /// The number of the last line of the plugin's log: what is older is not shown.
    async fn log_end(&mut self) -> u64 {
        let page = self.log_page(&[("limit", json!(1))]).await;
        page.and_then(|page| page.get("next")?.as_u64()).unwrap_or_default()
    }

    async fn show_log(&mut self, printer: &mut Printer) {
        while let Some(page) = self.log_page(&[("since", json!(self.log_shown)), ("limit", json!(LINES))]).await {
            deploy::report::log_lines(&page, printer);
            self.log_shown = page.get("next").and_then(Value::as_u64).unwrap_or(self.log_shown);
            if page.get("lines").and_then(Value::as_array).map_or(0, Vec::len) < LINES {
                return;
            }
        }
    }

    /// A part of the plugin's log; none where there is no log, none to see, or no host.
    async fn log_page(&mut self, wanted: &[(&str, Value)]) -> Option<Value> {
        if self.log_closed {
            return None;
        }
        let mut params = Map::from_iter([("plugin_id".to_owned(), json!(self.plugin.as_ref()?.as_str()))]);
        params.extend(wanted.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        match self.ask("get_plugin_logs", params).await {
            // Refused where nobody has tried to load the plugin yet.
            Ok(page) => Some(page).filter(|page| page.get("status") == Some(&json!("success"))),
            Err(CallFailure::Answered(_)) => {
                self.log_closed = true;
                None
            }
            Err(CallFailure::Lost(_) | CallFailure::Final(_)) => None,
        }
    }

    async fn tell_what_runs(&mut self, printer: &mut Printer) {
        let Some(id) = self.plugin.clone() else { return };
        if let Ok(list) = self.ask("list_plugins", Map::new()).await {
            report::what_runs(id.as_str(), &list, printer);
        }
    }

    /// Calls a function of the host; the connection is given up where nothing comes back.
    async fn ask(&mut self, method: &str, params: Map<String, Value>) -> Result<Value, CallFailure> {
        let Some(client) = &mut self.client else { return Err(CallFailure::Final(no_host())) };
        let answer = client.call(method, params, self.config.timeout, &Progress::none()).await;
        if let Err(CallFailure::Lost(_) | CallFailure::Final(_)) = &answer {
            self.client = None;
        }
        answer
    }
}

fn no_host() -> CommandError {
    CommandError::failed(anyhow::anyhow!("the host is not there"))
}
