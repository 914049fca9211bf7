//! `cargo xtask fuzz`: the fuzzers of `host/delivery/fuzz`, with libFuzzer, on the toolchain that builds the host.
//!
//! libFuzzer asks for coverage counters and for nothing else of a sanitizer. The compiler puts them in with flags that
//! every release channel takes; what cargo-fuzz needs a nightly compiler for is AddressSanitizer, and there is no
//! unsafe code here for it to watch.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use toml::Value;

use crate::guest_toolchain::{self, HostToolchain};
use crate::workspace::Workspace;
use crate::{command, folder, packages};

/// The fuzzers, each a binary and a folder of the corpus.
const TARGETS: &[&str] = &["archive", "members", "manifest"];

const FOLDER: &str = "host/delivery/fuzz";

/// How long each target runs when nobody says, as in `cargo xtask test`.
const SHORT_SECONDS: u64 = 8;

/// Counters at each edge, the table that tells where they belong, and what comparisons compare.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Dwarnings",
];

/// Edges that each of the targets passes with its first seed. Fewer: the counters are not there.
const EDGES_MIN: u64 = 200;

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
struct Plan<'a> {
    targets: Vec<&'a str>,
    seconds: u64,
    /// An input to run once, instead of fuzzing.
    input: Option<&'a str>,
}

/// `cargo xtask fuzz [target…] [--minutes N]`, or `cargo xtask fuzz <target> <file>`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let plan = Plan::parse(arguments)?;
    packages::ensure(&[packages::GCC, packages::LIBC, packages::GXX])?;
    same_versions(workspace)?;
    let binaries = build(workspace)?;
    let memory = Memory::new()?;
    for target in &plan.targets {
        let mut fuzzer = command::new(binaries.join(target));
        fuzzer.env("TMPDIR", &memory.0).env("RUST_BACKTRACE", "1").args(["-timeout=10", "-rss_limit_mb=1024"]);
        match plan.input {
            Some(input) => command::run(fuzzer.arg(input))?,
            None => fuzz(workspace, target, plan.seconds, fuzzer)?,
        }
    }
    Ok(())
}

impl<'a> Plan<'a> {
    fn parse(arguments: &[&'a str]) -> Result<Self> {
        let mut plan = Plan { targets: Vec::new(), seconds: SHORT_SECONDS, input: None };
        let mut rest = arguments.iter();
        while let Some(&argument) = rest.next() {
            if argument == "--minutes" {
                let minutes: u64 =
                    rest.next().and_then(|text| text.parse().ok()).context("`--minutes` takes a number")?;
                plan.seconds = minutes.saturating_mul(60);
                // libFuzzer takes none for no limit.
                ensure!(plan.seconds > 0, "`--minutes` must be at least 1");
            } else if TARGETS.contains(&argument) {
                plan.targets.push(argument);
            } else if plan.targets.len() == 1 && plan.input.is_none() && Path::new(argument).is_file() {
                plan.input = Some(argument);
            } else {
                bail!("no fuzz target `{argument}`; there are {}", TARGETS.join(", "));
            }
        }
        if plan.targets.is_empty() {
            plan.targets = TARGETS.to_vec();
        }
        Ok(plan)
    }
}

/// Cargo in the fuzzers' folder, for rustfmt too.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut cargo = guest_toolchain::clean_cargo();
    cargo.current_dir(workspace.root.join(FOLDER)).env("CARGO_TARGET_DIR", workspace.target.join("fuzz"));
    cargo
}

/// Builds the fuzzers and returns the folder that they are in.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let triple = HostToolchain::find()?.triple;
    if !workspace.target.starts_with(&workspace.root) {
        // In CI's build cache the age of our files says nothing.
        command::run(
            cargo(workspace).args(["clean", "--quiet", "--release", "--locked", "--target", &triple]).args([
                "--package",
                "mortise-delivery-fuzz",
                "--package",
                "mortise-model",
            ]),
        )?;
    }
    // With a target named, build scripts and macros are built without counters, which nothing there would count.
    command::run(
        cargo(workspace)
            .args(["build", "--release", "--locked", "--bins", "--target", &triple])
            .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\x1f")),
    )?;
    Ok(workspace.target.join("fuzz").join(triple).join("release"))
}

fn fuzz(workspace: &Workspace, target: &str, seconds: u64, mut fuzzer: Command) -> Result<()> {
    let work = workspace.root.join("target/fuzz-work");
    // What is found is kept for the next run; the corpus in the checkout is only read.
    let (found, faults) = (work.join("corpus").join(target), work.join("faults"));
    let corpus = workspace.root.join(FOLDER).join("corpus").join(target);
    folder::create(&found)?;
    folder::create(&faults)?;
    ensure!(!folder::entries(&corpus)?.is_empty(), "`{}` has no seeds", corpus.display());
    let log = work.join(format!("{target}.log"));
    let file = File::create(&log).with_context(|| format!("failed to create `{}`", log.display()))?;
    fuzzer
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{target}-", faults.display()))
        .args(["-max_len=16384", "-print_final_stats=1"])
        .args([&found, &corpus])
        .stderr(file);
    let result = command::run(&mut fuzzer);
    let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    if let Err(error) = result {
        return Err(error.context(format!(
            "{}\nhint: the whole of it is in `{}`; run the input again with `cargo xtask fuzz {target} <file>`",
            fault(&text),
            log.display()
        )));
    }
    let done = done(&text).with_context(|| format!("`{target}` does not say what it did; see `{}`", log.display()))?;
    ensure!(done.edges >= EDGES_MIN, "`{target}` covered {} edges: it was built without counters", done.edges);
    eprintln!("{target}: {} executions, {} edges, {} inputs", done.executions, done.edges, done.inputs);
    Ok(())
}

/// What a run comes to.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    executions: u64,
    edges: u64,
    inputs: u64,
}

/// Reads libFuzzer's last line: `#9 DONE cov: 5 ft: 6 corp: 7/8b …`.
fn done(log: &str) -> Option<Done> {
    let line = log.lines().rev().find(|line| line.starts_with('#') && line.contains("DONE"))?;
    let field = |name: &str| {
        let rest = line.split_once(name)?.1.trim_start();
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    Some(Done { executions: field("#")?, edges: field("cov:")?, inputs: field("corp:")? })
}

/// The lines of a log that say what went wrong, and with which input.
fn fault(log: &str) -> String {
    let telling = |line: &&str| line.contains("panicked at") || line.contains("ERROR:") || line.contains("written to");
    let mut lines: Vec<&str> = Vec::new();
    let mut all = log.lines();
    while let Some(line) = all.next() {
        if telling(&line) {
            lines.push(line);
            lines.extend(line.contains("panicked at").then(|| all.next()).flatten());
        }
    }
    lines.join("\n")
}

/// The fuzzers test the versions of other people's code that the host is built with.
fn same_versions(workspace: &Workspace) -> Result<()> {
    let (ours, theirs) = (workspace.root.join("Cargo.lock"), workspace.root.join(FOLDER).join("Cargo.lock"));
    let differing = differing(&folder::read(&ours)?, &folder::read(&theirs)?)?;
    ensure!(
        differing.is_empty(),
        "`{FOLDER}/Cargo.lock` has other versions than `Cargo.lock`: {}\nhint: in `{FOLDER}`: `cargo update <name> --precise <version>`",
        differing.join(", ")
    );
    Ok(())
}

/// The packages of `theirs` that `ours` has as well, but in no version the same.
fn differing(ours: &str, theirs: &str) -> Result<Vec<String>> {
    let (ours, theirs) = (locked(ours)?, locked(theirs)?);
    let differs = |(name, version): &&(String, String)| {
        let mut same_name = ours.iter().filter(|(other, _)| other == name).peekable();
        same_name.peek().is_some() && !same_name.any(|(_, other)| other == version)
    };
    Ok(theirs.iter().filter(differs).map(|(name, version)| format!("{name} {version}")).collect())
}

fn locked(text: &str) -> Result<Vec<(String, String)>> {
    let file: toml::Table = toml::from_str(text).context("a lock file is not TOML")?;
    let packages = file.get("package").and_then(Value::as_array).context("a lock file has no packages")?;
    let text = |package: &Value, key| Some(package.get(key)?.as_str()?.to_owned());
    packages
        .iter()
        .map(|package| text(package, "name").zip(text(package, "version")).context("a locked package has no version"))
        .collect()
}

/// A folder for what the fuzzers unpack, in memory where there is such a place. Removed on drop.
#[derive(Debug)]
struct Memory(PathBuf);

impl Memory {
    fn new() -> Result<Self> {
        let base = PathBuf::from("/dev/shm");
        let base = if base.is_dir() { base } else { std::env::temp_dir() };
        let path = base.join(format!("mortise-fuzz-{}", std::process::id()));
        folder::create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Err(error) = folder::remove(&self.0) {
            eprintln!("{error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_targets_a_time_or_an_input() {
        let plan = Plan::parse(&[]).unwrap();
        assert_eq!((plan.targets.as_slice(), plan.seconds), (TARGETS, SHORT_SECONDS));
        let plan = Plan::parse(&["manifest", "--minutes", "30"]).unwrap();
        assert_eq!((plan.targets.as_slice(), plan.seconds), (["manifest"].as_slice(), 1800));
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(Plan::parse(&["archive", path]).unwrap().input, Some(path));
        for wrong in [&["archiv"][..], &["--minutes"], &["--minutes", "0"], &["--minutes", "x"], &[path]] {
            assert!(Plan::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_log_tells_what_was_done_and_what_went_wrong() {
        let log = "#2\tINITED cov: 1 ft: 1 corp: 1/1b\n#3733382\tDONE   cov: 1805 ft: 6221 corp: 1640/695Kb lim: 8192\nDone\n";
        assert_eq!(done(log), Some(Done { executions: 3_733_382, edges: 1805, inputs: 1640 }));
        assert_eq!(done("#2\tINITED cov: 1"), None);
        let log = "#1\nthread 'x' panicked at a.rs:1:1:\nsaid\nstack\n==1== ERROR: libFuzzer: deadly signal\nx; Test unit written to a\n";
        assert_eq!(
            fault(log),
            "thread 'x' panicked at a.rs:1:1:\nsaid\n==1== ERROR: libFuzzer: deadly signal\nx; Test unit written to a"
        );
    }

    #[test]
    fn packages_in_another_version_are_named() {
        let lock = |packages: &[(&str, &str)]| {
            packages.iter().fold(String::new(), |text, (name, version)| {
                text + &format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n")
            })
        };
        let ours = lock(&[("tar", "1"), ("rand", "1"), ("rand", "2")]);
        let theirs = lock(&[("tar", "2"), ("rand", "2"), ("libfuzzer-sys", "1")]);
        assert_eq!(differing(&ours, &theirs).unwrap(), ["tar 2"]);
    }
}
