//! The command line as its users meet it.

use super::{ArtifactCommand, Cli, Command, DeployArgs, DeployCommand};
use crate::config::{ClientFlags, HostFlags};
use clap::{CommandFactory as _, Parser as _};
use expect_test::expect_file;
use std::fmt::Write as _;

fn parse(line: &str) -> Cli {
    Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn deploy(line: &str) -> Box<DeployArgs> {
    let Command::Deploy(args) = parse(line).command else { panic!("{line}: not `deploy`") };
    args
}

#[test]
fn the_tree_of_commands_is_sound() {
    Cli::command().debug_assert();
}

/// `UPDATE_EXPECT=1` writes the page anew.
#[test]
fn the_reference_page_is_the_help() {
    let mut page =
        "# Command line\n\nThe help of every command. This page is generated from `host/src/cli/args`.\n".to_owned();
    document(Cli::command(), "mortise", &mut page);
    expect_file!["../../../../docs/reference/cli.md"].assert_eq(&page);
}

fn document(command: clap::Command, path: &str, page: &mut String) {
    let mut command = command.bin_name(path).term_width(100).color(clap::ColorChoice::Never);
    // Global flags reach a subcommand only when the tree is built.
    command.build();
    let help = command.render_long_help().to_string();
    let help: String = help.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    write!(page, "\n## {path}\n\n```text\n{}\n```\n", help.trim()).unwrap();
    let children: Vec<_> = command.get_subcommands().cloned().collect();
    for child in children {
        let name = format!("{path} {}", child.get_name());
        document(child, &name, page);
    }
}

#[test]
fn common_flags_stand_in_either_position() {
    for line in [
        "mortise deploy --host h --json --dry-run --timeout 5 list",
        "mortise deploy list --host h --json --dry-run --timeout 5",
        "mortise deploy --json list --timeout 5 --host h --dry-run",
    ] {
        let args = deploy(line);
        assert_eq!(args.connection.host.as_deref(), Some("h"), "{line}");
        assert!(args.json && args.dry_run, "{line}");
        assert_eq!(args.connection.timeout.as_deref(), Some("5"), "{line}");
    }
}

#[test]
fn of_two_common_flags_the_last_wins() {
    for (line, host) in [
        ("mortise deploy --host a list --host b", "b"),
        ("mortise deploy --host a --host b list", "b"),
        ("mortise deploy list --host a --host b", "b"),
        ("mortise deploy --host a --json --json list --json", "a"),
    ] {
        assert_eq!(deploy(line).connection.host.as_deref(), Some(host), "{line}");
    }
}

#[test]
fn the_references_spellings_are_understood() {
    let args =
        deploy("mortise deploy install ./p --nats-url nats://a --nats-url nats://b --portal-credentials c --host h");
    let flags = ClientFlags::from(&args.connection);
    assert_eq!(flags.messaging_urls, ["nats://a", "nats://b"]);
    assert_eq!(flags.credentials.as_deref(), Some("c"));

    let line = "mortise run --device-id d --tenant t --capabilities-dir c --no-auto-load --enable-sidecars --sidecar-network n \
        --artifact-serve --messaging-backend nats --messaging-url a --messaging-url b --nats-credentials-file f --portal \
        --portal-credentials p --portal-credentials-glob *.json --portal-credentials-dir x --allow-insecure --discovery-mode D2D";
    let Command::Run(run) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else { panic!("not `run`") };
    let flags = HostFlags::from(&*run);
    assert_eq!(flags.messaging_urls, ["a", "b"]);
    assert!(
        flags.no_auto_load && flags.enable_sidecars && flags.artifact_serve && flags.portal && flags.allow_insecure
    );
    assert_eq!(flags.portal_credentials_glob.as_deref(), Some("*.json"));
}

#[test]
fn an_install_is_from_a_path_or_a_url() {
    let install = |line: &str| match deploy(line).command {
        DeployCommand::Install(install) => install,
        other => panic!("{line}: {other:?}"),
    };
    let args = install("mortise deploy install --url https://a.example/p.tgz --no-load");
    assert_eq!((args.path, args.url.as_deref()), (None, Some("https://a.example/p.tgz")));
    // Neither is a failure of the command, not of the call (wire contract 10.11).
    assert!(install("mortise deploy install").path.is_none());
}

#[test]
fn what_to_do_with_versions_is_said_in_words() {
    let rollback = |line: &str| match deploy(line).command {
        DeployCommand::Rollback { plugin_id, generation } => (plugin_id, generation),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(rollback("mortise deploy rollback demo"), ("demo".to_owned(), None));
    assert_eq!(rollback("mortise deploy rollback demo --generation 7 --json"), ("demo".to_owned(), Some(7)));
    assert!(matches!(deploy("mortise deploy versions demo").command, DeployCommand::Versions { .. }));
    assert!(matches!(deploy("mortise deploy uninstall demo").command, DeployCommand::Uninstall { .. }));
}

#[test]
fn a_version_can_be_published_by_name() {
    let Command::Artifact(args) = parse("mortise artifact publish ./p --version 1.2.3 --plugin-id q --json").command
    else {
        panic!("not `artifact`")
    };
    let Some(ArtifactCommand::Publish(args)) = args.command else { panic!("not `publish`") };
    assert_eq!((args.version.as_deref(), args.plugin_id.as_deref(), args.json), (Some("1.2.3"), Some("q"), true));
    let Command::Artifact(args) = parse("mortise artifact").command else { panic!("not `artifact`") };
    assert!(args.command.is_none());
}

#[test]
fn params_default_to_an_empty_object() {
    let args = deploy("mortise deploy invoke demo.ping");
    let DeployCommand::Invoke(invoke) = &args.command else { panic!("not `invoke`") };
    assert_eq!((invoke.function.as_str(), invoke.params.as_str()), ("demo.ping", "{}"));
}

#[test]
fn wrong_calls_end_with_2() {
    for line in [
        "mortise",
        "mortise dance",
        "mortise run --discovery-mode chaos",
        "mortise deploy",
        "mortise deploy load",
        "mortise deploy list extra",
        "mortise new",
        "mortise pack .",
        "mortise deploy install ./p --url https://a.example/p.tgz",
        "mortise deploy rollback",
        "mortise deploy rollback demo --generation one",
        "mortise artifact dance",
    ] {
        assert_eq!(Cli::try_parse_from(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
    }
    assert_eq!(Cli::try_parse_from(["mortise", "deploy", "install", "--help"]).unwrap_err().exit_code(), 0);
}
