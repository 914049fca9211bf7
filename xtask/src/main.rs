//! The project's own commands: `cargo xtask <command>`. CI runs `cargo xtask test` and nothing else.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "xtask reports to the person who runs it")]

mod bench;
mod build_cache;
mod command;
mod debian;
mod dependencies;
mod docker;
mod environment;
mod fixtures;
mod folder;
mod fuzz;
mod guest_toolchain;
mod guests;
mod interop;
mod layer_table;
mod layers;
mod licence;
mod limits;
mod packages;
mod python;
mod quickjs;
mod run;
mod runners;
mod template;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};
use workspace::Workspace;

const USAGE: &str = "\
cargo xtask <command>

  run [-- args…]             run the host on Zenoh, without infrastructure, with the demo plugin; args go to `mortise run`
  test [phase…]              everything CI checks, or the named phases of it (`--list` names them)
  guests [name…]             build the guest plugins into target/guests
         --check             only say which toolchain and guests there are, and that a test runs every fixture
         --print-env         only print what `mortise new`, `pack` and `deploy install <crate>` need from a checkout:
                             `env $(cargo xtask guests --print-env) mortise …`
  runners                    build what runs plugins in Python and JavaScript into target/runners, and have the host compile it
  layers                     compare the crates with the layer table in docs/ARCHITECTURE.md
  dependencies               compare every dependency's licence and version with deny.toml
  interop [nats|zenoh] [-- args…]
                             the published Python packages against the release binary; args go to pytest
  fuzz [target…] [--minutes N]
                             the fuzzers of archives and manifests, for N minutes each; without, for a few seconds each
       <target> <file>       one input once
  docker-test [-- args…]     builds the container image, runs it with `compose.yaml` and drives it with the published
                             Python packages; needs Docker; args go to pytest
  bench [--quick] [--noisy]  throughput and latency over NATS, and the cost of one warm call; or noisy neighbours alone
  packages [--install]       list the apt, pip and npm packages that the commands above need

environment:
  MORTISE_NO_RUSTUP=1        never let rustup fetch a target; RUSTUP_AUTO_INSTALL=0 means the same
  MORTISE_GUEST_RUSTC=PATH   the compiler for guests, instead of looking for one
  MORTISE_NO_BUILD_CACHE=1   with CI=true: build in ./target, not under the user's cache folder
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some((&command, rest)) = arguments.split_first() else {
        print!("{USAGE}");
        return Ok(());
    };
    let workspace = Workspace::find()?;
    match command {
        "run" => run::run(&workspace, rest),
        "test" => test::run(workspace, rest),
        "guests" => guests::run(&workspace, rest),
        "runners" => runners::run(&workspace, rest),
        "layers" => no_arguments(command, rest).and_then(|()| layers::check(&workspace)),
        "dependencies" => no_arguments(command, rest).and_then(|()| dependencies::check(&workspace)),
        "interop" => interop::run(&workspace, rest),
        "fuzz" => fuzz::run(&workspace, rest),
        "docker-test" => docker::run(&workspace, rest),
        "bench" => bench::run(&workspace, rest),
        "packages" => packages::run(&workspace, rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown command `{other}`\n\n{USAGE}"),
    }
}

fn no_arguments(command: &str, rest: &[&str]) -> Result<()> {
    match rest.first() {
        Some(argument) => bail!("`{command}` takes no argument `{argument}`"),
        None => Ok(()),
    }
}
