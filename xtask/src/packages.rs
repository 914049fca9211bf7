//! Everything besides crates that the project's commands need: packages, an interpreter, a permission.

use std::path::Path;

use anyhow::{Result, bail, ensure};

use crate::workspace::Workspace;
use crate::{command, docker, environment, folder, interop, python, quickjs, runners};

/// A Debian package and how its presence is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SystemPackage {
    name: &'static str,
    /// A program on `PATH`, or a file by its absolute path.
    seen_by: &'static str,
    purpose: &'static str,
}

pub(crate) const GCC: SystemPackage = SystemPackage { name: "gcc", seen_by: "cc", purpose: "links every binary" };
pub(crate) const GXX: SystemPackage =
    SystemPackage { name: "g++", seen_by: "c++", purpose: "compiles libFuzzer, for the fuzzers" };
pub(crate) const MAKE: SystemPackage =
    SystemPackage { name: "make", seen_by: "make", purpose: "builds jemalloc, the host's allocator" };
pub(crate) const LIBC: SystemPackage = SystemPackage {
    name: "libc6-dev",
    seen_by: "/usr/include/stdlib.h",
    purpose: "headers for the C parts of dependencies",
};
pub(crate) const NATS: SystemPackage =
    SystemPackage { name: "nats-server", seen_by: "nats-server", purpose: "the broker of tests, interop and bench" };
pub(crate) const IPROUTE: SystemPackage = SystemPackage {
    name: "iproute2",
    seen_by: "ip",
    purpose: "sets up the network namespace of the Zenoh half of interop",
};
pub(crate) const UTIL_LINUX: SystemPackage =
    SystemPackage { name: "util-linux", seen_by: "unshare", purpose: "makes that namespace" };

/// What building the host takes.
pub(crate) const BUILD: &[SystemPackage] = &[GCC, MAKE, LIBC];

pub(crate) const APT: &[SystemPackage] = &[GCC, GXX, MAKE, LIBC, NATS, IPROUTE, UTIL_LINUX];

/// Downloaded by `cargo xtask guests` where it must, unpacked under the user's cache folder and never installed.
const APT_DOWNLOADED: &[&str] =
    &["rustc-web", "libstd-rust-web-dev", "libstd-rust-web-<version>", "rust-web-src", "libllvm<version>", "wasi-libc"];

/// `cargo xtask packages`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    match arguments {
        [] => list(workspace),
        ["--install"] => ensure_all(),
        [other, ..] => bail!("`packages` has no option `{other}`"),
    }
}

fn list(workspace: &Workspace) -> Result<()> {
    let state = |found: bool| if found { "there" } else { "missing" };
    for package in APT {
        println!("apt  {:<28} {:<8} {}", package.name, state(package.is_installed()), package.purpose);
    }
    let versions = python::INTEROP.versions;
    let python = format!("python{} with venv", versions.join(" or python"));
    println!(
        "sys  {python:<28} {:<8} runs interop; from wherever you like",
        state(python::interpreter(versions).is_ok())
    );
    println!(
        "sys  {:<28} {:<8} fetches QuickJS, and tests what runs in it",
        "Node 20 with npm",
        state(quickjs::ensure().is_ok())
    );
    println!("sys  {:<28} {:<8} the Zenoh half of interop", "network namespaces", state(network_namespace().is_ok()));
    println!(
        "sys  {:<28} {:<8} docker-test, and nothing else",
        "Docker, compose and buildx",
        state(docker::ensure_engine().is_ok())
    );
    for name in APT_DOWNLOADED {
        println!("apt  {name:<28} {:<8} the guests' compiler where rustup has none; downloaded, not installed", "");
    }
    for (requirements, purpose) in
        [(python::INTEROP, "interop and tests in Python"), (runners::REQUIREMENTS, "makes the Python runner")]
    {
        let text = folder::read(&workspace.root.join(requirements.file))?;
        // A line of its own for each package; hashes are indented.
        for line in text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_alphanumeric())) {
            let package = line.trim_end_matches(['\\', ' ']);
            println!("pip  {package:<28} {:<8} {purpose}, in a virtual environment of its own", "");
        }
    }
    println!("npm  {:<28} {:<8} runs plugins in JavaScript; its lock file has the version", quickjs::PACKAGE, "");
    Ok(())
}

impl SystemPackage {
    fn is_installed(&self) -> bool {
        match Path::new(self.seen_by) {
            file if file.is_absolute() => file.is_file(),
            _ => environment::find_program(self.seen_by).is_some(),
        }
    }
}

/// Makes sure that everything is there that any command needs, so that nothing is found missing half an hour later.
pub(crate) fn ensure_all() -> Result<()> {
    ensure(APT)?;
    python::interpreter(python::INTEROP.versions)?;
    quickjs::ensure()?;
    network_namespace()
}

/// Makes sure that we may make a network namespace and set it up, by doing it.
pub(crate) fn network_namespace() -> Result<()> {
    ensure!(
        command::try_output(&mut interop::in_namespace("true")).is_some(),
        "no network namespace can be made: `unshare --net` is refused\n\
         hint: in a container, as root, add the capabilities SYS_ADMIN and NET_ADMIN; as another user, allow user \
         namespaces (on Ubuntu: `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`)"
    );
    Ok(())
}

/// Makes sure that the packages are there: installs those that are missing as root on Debian, else says which.
pub(crate) fn ensure(packages: &[SystemPackage]) -> Result<()> {
    let missing: Vec<&str> =
        packages.iter().filter(|package| !package.is_installed()).map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root() || environment::find_program("apt-get").is_none() {
        bail!(
            "system packages are missing: {list}\nhint: on Debian, as root: `apt-get install --no-install-recommends {list}`"
        );
    }
    let install = || {
        let mut apt = command::new("apt-get");
        apt.args(["install", "--yes", "-qq", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command::run(&mut apt)
    };
    // A bare machine has no package lists, and old lists name files that are gone: fetch them only then. That a third
    // party's source fails is no matter as long as Debian's answers, and whether it did, the second try tells.
    if install().is_err() {
        if let Err(error) = command::run(command::new("apt-get").args(["-qq", "update"])) {
            eprintln!("{error:#}; trying with what was fetched");
        }
        install()?;
    }
    Ok(())
}

/// Whether we run as root.
pub(crate) fn is_root() -> bool {
    command::try_output(command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0")
}
