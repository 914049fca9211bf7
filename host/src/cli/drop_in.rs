//! The reference's command lines, for a program that is called by one of the reference's names (wire contract 10.11,
//! 10.12).
//!
//! They are made of the arguments of our own commands and end in them: only what the reference's names change is here.

use super::args::{ArtifactArgs, Cli, Command, DeployArgs, EXIT_CODES, RunArgs, ValidateArgs};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::Path;

const TARGETS: &str = "\
--host has to be given, before or after the subcommand. Where no credentials are named, the newest *.creds.json in \
~/.config/device-connect is taken.";

/// Run the plugin host until SIGTERM or Ctrl-C; with a command, do that instead. This is Mortise under the name of the
/// reference host.
#[derive(Debug, Parser)]
#[command(name = "dc-plugin-driver", version, after_help = EXIT_CODES, args_override_self = true)]
#[command(max_term_width = 100, disable_help_subcommand = true, args_conflicts_with_subcommands = true)]
struct Driver {
    #[command(subcommand)]
    command: Option<DriverCommand>,
    #[command(flatten)]
    run: Box<RunArgs>,
}

#[derive(Debug, Subcommand)]
enum DriverCommand {
    /// Install, load, call and remove plugins of a running host.
    #[command(after_help = TARGETS)]
    Deploy(Box<DeployArgs>),
    /// Check a plugin, and ask it in the sandbox what it brings.
    Validate(ValidateArgs),
    /// Publish plugins for hosts to fetch, and serve them.
    Artifact(ArtifactArgs),
}

/// Install, load, call and remove plugins of a running host. This is Mortise under the name of the reference's program.
#[derive(Debug, Parser)]
#[command(name = "dc-plugin-deploy", version, args_override_self = true)]
#[command(max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = format!("{TARGETS}\n\n{EXIT_CODES}"))]
struct Deployer {
    #[command(flatten)]
    deploy: Box<DeployArgs>,
}

/// What `args` ask for when the first of them is one of the reference's names; none when it is any other.
pub(super) fn parse(args: &[OsString]) -> Option<Result<Cli, clap::Error>> {
    let name = Path::new(args.first()?).file_name()?.to_str()?;
    let command = match name {
        "device-connect-plugin-driver" | "dc-plugin-driver" => driver(args),
        "dc-plugin-deploy" => Deployer::try_parse_from(args).map(|Deployer { deploy }| as_reference(deploy)),
        _ => return None,
    };
    Some(command.map(|command| Cli { command }))
}

fn driver(args: &[OsString]) -> Result<Command, clap::Error> {
    let Driver { command, run } = Driver::try_parse_from(args)?;
    Ok(match command {
        None => Command::Run(run),
        Some(DriverCommand::Deploy(deploy)) => as_reference(deploy),
        Some(DriverCommand::Validate(validate)) => Command::Validate(validate),
        // The help, under the name that was called.
        Some(DriverCommand::Artifact(ArtifactArgs { command: None })) => {
            let mut asking = args.to_vec();
            asking.push("--help".into());
            return driver(&asking);
        }
        Some(DriverCommand::Artifact(artifact)) => Command::Artifact(artifact),
    })
}

fn as_reference(mut deploy: Box<DeployArgs>) -> Command {
    deploy.connection.as_reference = true;
    Command::Deploy(deploy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{ArtifactCommand, ConnectionArgs, DeployCommand};
    use crate::config::HostFlags;
    use clap::CommandFactory as _;

    fn parse_line(line: &str) -> Result<Command, clap::Error> {
        let args: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        super::parse(&args).unwrap_or_else(|| panic!("{line}: not one of the reference's names")).map(|cli| cli.command)
    }

    fn good(line: &str) -> Command {
        parse_line(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn deploy(line: &str) -> Box<DeployArgs> {
        let Command::Deploy(args) = good(line) else { panic!("{line}: not `deploy`") };
        assert!(args.connection.as_reference, "{line}");
        args
    }

    #[test]
    fn the_trees_of_commands_are_sound() {
        Driver::command().debug_assert();
        Deployer::command().debug_assert();
    }

    #[test]
    fn only_the_references_names_are_the_references() {
        for name in ["mortise", "/usr/bin/mortise", "dc-plugin-sidecar", "dc-plugin-driver-2", ""] {
            assert!(parse(&[name.into()]).is_none(), "{name}");
        }
        assert!(parse(&[]).is_none());
        for name in ["dc-plugin-driver", "/opt/bin/dc-plugin-driver", "./device-connect-plugin-driver"] {
            assert!(matches!(good(name), Command::Run(_)), "{name}");
        }
    }

    /// Wire contract 10.12.
    #[test]
    fn a_driver_without_a_command_runs_the_host() {
        let line = "dc-plugin-driver --device-id d --tenant t --capabilities-dir c --no-auto-load --enable-sidecars \
            --sidecar-network n --artifact-serve --messaging-backend nats --messaging-url a --messaging-url b \
            --nats-credentials-file f --portal --portal-credentials p --portal-credentials-glob *.json \
            --portal-credentials-dir x --allow-insecure --discovery-mode infra --tenant u";
        let Command::Run(run) = good(line) else { panic!("not `run`") };
        let text = |text: &str| Some(text.to_owned());
        let expected = HostFlags {
            device_id: text("d"),
            tenant: text("u"),
            capabilities_dir: text("c"),
            no_auto_load: true,
            enable_sidecars: true,
            sidecar_network: text("n"),
            artifact_serve: true,
            messaging_backend: text("nats"),
            messaging_urls: vec!["a".to_owned(), "b".to_owned()],
            nats_credentials_file: text("f"),
            portal: true,
            portal_credentials: text("p"),
            portal_credentials_glob: text("*.json"),
            portal_credentials_dir: text("x"),
            allow_insecure: true,
            discovery_mode: text("infra"),
            ..HostFlags::default()
        };
        assert_eq!(HostFlags::from(&*run), expected);
    }

    #[test]
    fn a_driver_has_the_references_commands() {
        let args = deploy("dc-plugin-driver deploy --host h load p --install-dependencies");
        assert!(
            matches!(&args.command, DeployCommand::Load { plugin_id, install_dependencies: true } if plugin_id == "p")
        );
        let Command::Validate(args) = good("dc-plugin-driver validate ./p --json") else { panic!("not `validate`") };
        assert!(args.json);
        let line = "dc-plugin-driver artifact publish ./p --capabilities-dir c --plugin-id q --version 1.2 --json";
        let Command::Artifact(args) = good(line) else { panic!("not `artifact`") };
        let Some(ArtifactCommand::Publish(args)) = args.command else { panic!("not `publish`") };
        assert_eq!((args.plugin_id.as_deref(), args.version.as_deref()), (Some("q"), Some("1.2")));
        assert_eq!(args.store.capabilities_dir.as_deref(), Some("c"));
        for line in ["artifact list --json", "artifact serve --capabilities-dir c --host localhost --port 0"] {
            assert!(matches!(good(&format!("dc-plugin-driver {line}")), Command::Artifact(_)), "{line}");
        }
    }

    /// Wire contract 10.11: the defect that is mended.
    #[test]
    fn every_common_flag_of_a_deployment_counts_in_either_position() {
        let flags = "--host h --tenant t --portal-credentials c --nats-url u --nats-url v --messaging-backend nats \
            --timeout 5 --json --dry-run";
        let all = |line: &str| {
            let DeployArgs { connection, json, dry_run, .. } = *deploy(line);
            let ConnectionArgs { host, tenant, credentials, messaging_urls, messaging_backend, timeout, .. } =
                connection;
            (host, tenant, credentials, messaging_urls, messaging_backend, timeout, json, dry_run)
        };
        let text = |text: &str| Some(text.to_owned());
        let urls = vec!["u".to_owned(), "v".to_owned()];
        let expected = (text("h"), text("t"), text("c"), urls, text("nats"), text("5"), true, true);
        for program in ["dc-plugin-deploy", "dc-plugin-driver deploy", "device-connect-plugin-driver deploy"] {
            for line in [
                format!("{program} {flags} list"),
                format!("{program} list {flags}"),
                format!("{program} {flags} list {flags}"),
                format!("{program} --host g --timeout 1 list {flags}"),
                format!("{program} {flags} --host g list --host h"),
            ] {
                assert_eq!(all(&line), expected, "{line}");
            }
        }
    }

    #[test]
    fn every_command_of_a_deployment_is_understood() {
        for line in [
            "install ./p --digest sha256:0 --plugin-id p --no-load --skip-validate --install-dependencies",
            "install --url https://a.example/p.tgz --skip-validate --digest 0",
            "load p --install-dependencies",
            "unload p",
            "reload p",
            "list",
            "status",
            "invoke p.f --params {}",
        ] {
            deploy(&format!("dc-plugin-deploy --host h {line}"));
        }
    }

    #[test]
    fn help_ends_with_0_and_a_wrong_call_with_2() {
        for (line, code, text) in [
            ("dc-plugin-driver artifact", 0, "Usage: dc-plugin-driver artifact [COMMAND]"),
            ("dc-plugin-driver artifact --help", 0, "Usage: dc-plugin-driver artifact [COMMAND]"),
            ("device-connect-plugin-driver --help", 0, "Usage: device-connect-plugin-driver [OPTIONS]"),
            ("dc-plugin-driver deploy --help", 0, "--host has to be given"),
            ("dc-plugin-deploy --help", 0, "--host has to be given"),
            ("dc-plugin-deploy --help", 0, "Exit codes:"),
            ("dc-plugin-driver --version", 0, env!("CARGO_PKG_VERSION")),
            ("dc-plugin-driver dance", 2, "dance"),
            ("dc-plugin-driver run", 2, "run"),
            ("dc-plugin-driver artifact dance", 2, "dance"),
            ("dc-plugin-driver validate", 2, "<PATH>"),
            ("dc-plugin-driver --tenant t validate ./p", 2, "validate"),
            ("dc-plugin-driver --discovery-mode chaos", 2, "chaos"),
            ("dc-plugin-deploy", 2, "Usage: dc-plugin-deploy"),
            ("dc-plugin-deploy --host h", 2, "Usage: dc-plugin-deploy"),
            ("dc-plugin-deploy --host h dance", 2, "dance"),
            ("dc-plugin-deploy --host h load", 2, "<PLUGIN_ID>"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert_eq!(error.exit_code(), code, "{line}: {error}");
            assert!(error.to_string().contains(text), "{line}: {error}");
        }
    }
}
