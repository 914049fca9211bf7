//! `cargo xtask docker-test`: the container image, built and run for real.
//!
//! Xtask builds the image, a broker for it and the plugin that it is driven with; the suite in `interop/image` starts
//! them with `compose.yaml`. The engine is whatever `docker` talks to. Not part of `cargo xtask test`: it compiles
//! everything once more, inside the image.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::Workspace;
use crate::{command, environment, guest_toolchain, guests, python};

/// The image under test.
const IMAGE: &str = "mortise:docker-test";

/// A broker from Debian's package, so that no image but the base images of ours is pulled.
const BROKER_IMAGE: &str = "mortise-broker:docker-test";

/// The plugin that the agent installs.
const PLUGIN: &str = "hello-world";

/// `cargo xtask docker-test [-- args…]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let pytest = match arguments.split_first() {
        None => &[],
        Some((&"--", rest)) => rest,
        Some((other, _)) => bail!("`docker-test` takes no argument `{other}`; pytest's come after `--`"),
    };
    ensure_engine()?;
    let python = python::environment(workspace, python::INTEROP)?;
    guests::build(workspace, &guest_toolchain::find()?, &[PLUGIN])?;

    let mut broker = docker(workspace);
    broker.args(["build", "--tag", BROKER_IMAGE, "interop/image/broker"]);
    command::run(&mut broker)?;
    // As an operator does, so that `compose.yaml` is what builds it.
    let mut build = docker(workspace);
    build.args(["compose", "build", "host"]).env("MORTISE_IMAGE", IMAGE);
    command::run(&mut build)?;
    println!("image size: {:.1} MB", image_bytes(workspace)? as f64 / 1e6);

    let mut suite = command::new(python);
    suite
        .args(["-m", "pytest", "-q", "image"])
        .args(pytest)
        .current_dir(workspace.root.join("interop"))
        .env("MORTISE_IMAGE", IMAGE)
        .env("NATS_IMAGE", BROKER_IMAGE)
        .env("MORTISE_GUESTS", workspace.guests().join("plugins"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command::run(&mut suite)
}

fn docker(workspace: &Workspace) -> Command {
    let mut docker = command::new("docker");
    docker.current_dir(&workspace.root);
    docker
}

/// Fails with what is missing of: the client, its plugins, an engine that answers.
pub(crate) fn ensure_engine() -> Result<()> {
    ensure!(
        environment::find_program("docker").is_some(),
        "`docker` is not on `PATH`\nhint: install Docker's command line with the plugins `compose` and `buildx`"
    );
    for plugin in ["compose", "buildx"] {
        ensure!(
            command::try_output(command::new("docker").args([plugin, "version"])).is_some(),
            "`docker {plugin}` does not work\nhint: install Docker's plugin `{plugin}`"
        );
    }
    let engine = command::try_output(command::new("docker").args(["version", "--format", "{{.Server.Version}}"]));
    ensure!(
        engine.is_some_and(|version| !version.trim().is_empty()),
        "no container engine answers{}\n\
         hint: start one, let this user reach its socket, or set `DOCKER_HOST` to one of this machine",
        environment::value("DOCKER_HOST").map(|host| format!(" at `{}`", host.display())).unwrap_or_default()
    );
    Ok(())
}

/// What the image takes unpacked.
fn image_bytes(workspace: &Workspace) -> Result<u64> {
    let text = command::output(docker(workspace).args(["image", "inspect", "--format", "{{.Size}}", IMAGE]))?;
    text.trim().parse().with_context(|| format!("`docker image inspect` told the size `{}`", text.trim()))
}

#[cfg(test)]
mod tests {
    use crate::folder;
    use crate::workspace::Workspace;

    #[test]
    fn the_image_is_built_with_the_pinned_compiler() {
        let workspace = Workspace::find().unwrap();
        let toolchain: toml::Table =
            folder::read(&workspace.root.join("rust-toolchain.toml")).unwrap().parse().unwrap();
        let pinned = toolchain["toolchain"]["channel"].as_str().unwrap().to_owned();
        let dockerfile = folder::read(&workspace.root.join("Dockerfile")).unwrap();
        let version = dockerfile.lines().find_map(|line| line.strip_prefix("ARG RUST_VERSION=")).unwrap();
        assert_eq!(version, pinned);
    }
}
