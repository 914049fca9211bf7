//! Debian's own Rust compiler as the guests' compiler, for machines that reach package registries only.
//!
//! Debian 12 carries a recent compiler, `rustc-web`, with its sources. Nothing is installed: the packages are
//! unpacked into a private folder, the standard library is compiled once for the guests' targets, and a wrapper script
//! starts the compiler with its own libraries. Toolchains from rustup bring the two linkers that Debian's lacks.
//!
//! Debian's C library for WASI is older than the sockets of WASI 0.2: whatever else `std` has works for
//! `wasm32-wasip2`, and what uses `std::net` does not link.
//!
//! The finished folder appears by one rename, under a lock, after a smoke test: a build that was killed leaves only a
//! `*.tmp` folder, which the next one sweeps.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::guest_toolchain::{HostToolchain, TARGETS, WASI_TARGET, clean_cargo, missing_target};
use crate::{command, environment, folder};

/// What the unpacked compiler, its sources and the build of the standard library need at the peak, in MiB.
const DISK_FREE_MIN_MIB: u64 = 2_000;

/// Raised when the way in which the folder is made changes: folders of another recipe are not used.
const RECIPE: u32 = 2;

/// The oldest compiler that takes the guests, as their `rust-version` says. Debian's stable suite keeps an older one beside
/// that of its security suite.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Starts Debian's compiler with the libraries that were unpacked beside it.
const WRAPPER: &str = r#"#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$(echo "$here"/usr/lib/*-linux-gnu) exec "$here/usr/bin/rustc" "$@"
"#;

/// Code that needs the allocator, and so the whole standard library, to link.
const SMOKE_TEST: &str = "#[unsafe(no_mangle)] pub extern \"C\" fn f(n: u32) -> u32 { vec![n; 3].iter().sum() }\n";

/// The compiler from the cache folder, made first if need be; nothing where `apt` has no such packages.
pub(crate) fn toolchain(host: &HostToolchain) -> Result<Option<PathBuf>> {
    if environment::find_program("apt-get").is_none() || environment::find_program("dpkg-deb").is_none() {
        return Ok(None);
    }
    let cache = environment::cache_folder()?.join("guest-toolchain");
    let _lock = folder::lock(&cache.join("lock"))?;
    let home = cache.join(format!("debian-{RECIPE}-{}", host.triple));
    let rustc = home.join("rustc");
    if home.join("ready").is_file() {
        // The host's toolchain may have moved since: the links follow it.
        link_tools(&home, host)?;
        if missing_target(&rustc).is_none() && takes_guests(&rustc) {
            return Ok(Some(rustc));
        }
        eprintln!("`{}` is damaged or older than Rust {OLDEST}: making it again", home.display());
    }
    for entry in
        folder::entries(&cache)?.iter().filter(|path| path.extension().is_some_and(|extension| extension == "tmp"))
    {
        folder::remove(entry)?;
    }
    let Some((apt, packages)) = find_packages(&cache)? else { return Ok(None) };
    let temporary = cache.join(format!("debian-{RECIPE}-{}.tmp", host.triple));
    make(&temporary, host, &apt, &packages)?;
    folder::remove(&home)?;
    folder::rename(&temporary, &home)?;
    Ok(Some(rustc))
}

/// `apt` with the system's package lists, or with lists of our own where the system has none or old ones.
#[derive(Debug)]
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn system() -> Self {
        Self { options: vec!["-oAPT::Sandbox::User=root".to_owned()] }
    }

    /// Lists in a folder of ours: needs no privilege, and leaves the system's alone.
    fn private(folder: &Path) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            folder::create(&folder.join(part))?;
        }
        let mut apt = Self::system();
        apt.options.push(format!("-oDir::State::Lists={}", folder.join("lists").display()));
        apt.options.push(format!("-oDir::Cache={}", folder.join("cache").display()));
        // A source that cannot be reached (a third party's, say) is no failure as long as Debian's answers.
        if let Err(error) = command::run(apt.command("apt-get").args(["-qq", "update"])) {
            eprintln!("{error:#}; going on with what was fetched");
        }
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut apt = command::new(program);
        apt.env("LC_ALL", "C").args(&self.options);
        apt
    }

    /// The version that `apt` would install.
    fn candidate(&self, package: &str) -> Option<String> {
        let text = command::try_output(self.command("apt-cache").args(["policy", package]))?;
        let version = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
        (version != "(none)").then(|| version.to_owned())
    }

    /// The first dependency of the package whose name starts with `prefix` and then a digit.
    fn dependency(&self, package: &str, prefix: &str) -> Option<String> {
        let text = command::try_output(self.command("apt-cache").args(["show", "--no-all-versions", package]))?;
        dependency_in(&text, prefix)
    }

    /// The packages that make a compiler, each as `name=version`; none where the lists know of an old one only.
    fn packages(&self) -> Option<Vec<String>> {
        let version = self.candidate("rustc-web").filter(|version| is_recent(version))?;
        let standard = self.dependency(&format!("libstd-rust-web-dev={version}"), "libstd-rust-web-")?;
        let llvm = self.dependency(&format!("{standard}={version}"), "libllvm")?;
        let llvm_version = self.candidate(&llvm)?;
        let mut packages: Vec<String> = ["rustc-web", "libstd-rust-web-dev", &standard, "rust-web-src"]
            .map(|name| format!("{name}={version}"))
            .into();
        packages.push(format!("{llvm}={llvm_version}"));
        packages.push(format!("wasi-libc={}", self.candidate("wasi-libc")?));
        Some(packages)
    }

    fn download(&self, packages: &[String], into: &Path) -> Result<()> {
        command::run(self.command("apt-get").args(["-qq", "download"]).args(packages).current_dir(into))
    }
}

/// The name in a `Depends:` line that starts with `prefix` and then a digit.
fn dependency_in(text: &str, prefix: &str) -> Option<String> {
    let depends = text.lines().find_map(|line| line.strip_prefix("Depends: "))?;
    depends
        .split([',', '|'])
        .filter_map(|entry| entry.split_whitespace().next())
        .find(|name| {
            name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        })
        .map(str::to_owned)
}

fn takes_guests(rustc: &Path) -> bool {
    let version = command::try_output(command::new(rustc).arg("--version"));
    version.and_then(|text| text.split_whitespace().nth(1).map(is_recent)).unwrap_or(false)
}

/// Whether a compiler of that version (`1.96.0`, `1.96.0+dfsg1-1~deb12u2`) takes the guests.
fn is_recent(version: &str) -> bool {
    let release = |text: &str| {
        let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    release(version) >= release(OLDEST)
}

/// The packages as the system's lists have them, else, where those are missing or old, as lists fetched now have them.
fn find_packages(cache: &Path) -> Result<Option<(Apt, Vec<String>)>> {
    let system = Apt::system();
    if let Some(packages) = system.packages() {
        return Ok(Some((system, packages)));
    }
    let private = Apt::private(&cache.join("apt"))?;
    Ok(private.packages().map(|packages| (private, packages)))
}

fn make(home: &Path, host: &HostToolchain, apt: &Apt, packages: &[String]) -> Result<()> {
    let started = Instant::now();
    folder::create(home)?;
    check_disk(home)?;
    eprintln!(
        "unpacking Debian's {} into the cache folder (once, about two minutes)",
        packages.first().map_or("rustc", String::as_str)
    );
    let downloads = home.join("packages");
    folder::create(&downloads)?;
    if let Err(error) = apt.download(packages, &downloads) {
        // The system's lists may name a version that the archive has since replaced.
        eprintln!("{error:#}; fetching the package lists and trying again");
        let fresh = Apt::private(&home.with_file_name("apt"))?;
        let packages =
            fresh.packages().with_context(|| format!("apt knows no `rustc-web` of Rust {OLDEST} or newer"))?;
        fresh.download(&packages, &downloads)?;
    }
    for package in folder::entries(&downloads)? {
        unpack(&package, home)?;
    }
    folder::remove(&downloads)?;
    let rustc = home.join("rustc");
    folder::write(&rustc, WRAPPER.as_bytes())?;
    std::fs::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755))?;
    check_libraries(home)?;
    link_tools(home, host)?;
    build_standard_library(home, &rustc)?;
    install_c_library(home)?;
    smoke_test(home, &rustc)?;
    folder::write(&home.join("ready"), b"")?;
    eprintln!("the compiler for guests is ready after {} s", started.elapsed().as_secs());
    Ok(())
}

fn check_disk(home: &Path) -> Result<()> {
    let text = command::output(command::new("df").args(["-P", "-m"]).arg(home))?;
    let free =
        text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)).and_then(|free| free.parse::<u64>().ok());
    let free = free.context("`df` told no free space")?;
    ensure!(
        free >= DISK_FREE_MIN_MIB,
        "`{}` needs {DISK_FREE_MIN_MIB} MiB of free disk, and has {free} MiB",
        home.display()
    );
    Ok(())
}

fn unpack(package: &Path, home: &Path) -> Result<()> {
    let name = package.file_name().unwrap_or_default().to_string_lossy();
    let mut dpkg = command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start `dpkg-deb`")?;
    let mut tar = command::new("tar");
    tar.arg("-x").arg("-C").arg(home);
    if name.starts_with("rust-web-src_") {
        tar.args(["--wildcards", "./usr/src/rustc-*/library/*"]);
    } else {
        tar.args(["--exclude=./usr/share/*", "--exclude=*/rustdoc", "--exclude=./usr/libexec/*"]);
    }
    let unpacked = tar.stdin(dpkg.stdout.take().map_or_else(Stdio::null, Stdio::from)).status();
    // Our own end of the pipe lives in the command: while it is open, `dpkg-deb` would write on for a `tar` that is gone.
    drop(tar);
    let read = dpkg.wait()?;
    let unpacked = unpacked.context("failed to start `tar`")?;
    ensure!(unpacked.success() && read.success(), "failed to unpack `{name}`");
    Ok(())
}

/// The folder with the shared libraries of the compiler.
fn library_folder(home: &Path) -> Result<PathBuf> {
    let found =
        folder::entries(&home.join("usr/lib"))?.into_iter().find(|path| path.to_string_lossy().ends_with("-linux-gnu"));
    found.context("the packages hold no library folder")
}

fn check_libraries(home: &Path) -> Result<()> {
    let libraries = library_folder(home)?;
    let mut ldd = command::new("ldd");
    ldd.env("LD_LIBRARY_PATH", &libraries);
    for library in folder::entries(&libraries)? {
        let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("librustc_driver-") || name.starts_with("libLLVM") {
            ldd.arg(library);
        }
    }
    let text = command::output(&mut ldd)?;
    let missing: Vec<&str> = text.lines().map(str::trim).filter(|line| line.ends_with("not found")).collect();
    ensure!(missing.is_empty(), "Debian's compiler misses shared libraries: {}", missing.join(", "));
    Ok(())
}

fn link_tools(home: &Path, host: &HostToolchain) -> Result<()> {
    let tools = host.tools();
    let folder = home.join("usr/lib/rustlib").join(&host.triple).join("bin");
    folder::create(&folder)?;
    for name in ["rust-lld", "wasm-component-ld", "gcc-ld"] {
        let from = tools.join(name);
        if !from.exists() {
            bail!("`{}` is missing: every toolchain from rustup has it since 1.82", from.display());
        }
        let link = folder.join(name);
        if std::fs::read_link(&link).is_ok_and(|target| target == from) {
            continue;
        }
        let temporary = folder.join(format!("{name}.new"));
        let _ = std::fs::remove_file(&temporary); // left by a run that was killed, or not there at all
        symlink(&from, &temporary).with_context(|| format!("failed to link `{}`", temporary.display()))?;
        folder::rename(&temporary, &link)?;
    }
    Ok(())
}

fn build_standard_library(home: &Path, rustc: &Path) -> Result<()> {
    let source =
        folder::entries(&home.join("usr/src"))?.into_iter().next().context("`rust-web-src` holds no source")?;
    let build = home.join("build");
    let mut cargo = clean_cargo();
    cargo
        .current_dir(source.join("library"))
        .args(["build", "--quiet", "--release", "--locked", "-p", "std", "-p", "panic_abort"])
        .args(TARGETS.map(|target| format!("--target={target}")))
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_DEFAULT_LIB_METADATA", "mortise")
        .env("CARGO_TARGET_DIR", &build)
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")
        .env("RUSTFLAGS", "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes -Cdebuginfo=0 -Awarnings");
    command::run(&mut cargo).context("Debian's standard library does not compile for the guests' targets")?;
    for target in TARGETS {
        let libraries = target_libraries(home, target);
        folder::create(&libraries)?;
        for library in folder::entries(&build.join(target).join("release/deps"))? {
            if library.extension().is_some_and(|extension| extension == "rlib") {
                folder::rename(&library, &libraries.join(library.file_name().unwrap_or_default()))?;
            }
        }
    }
    folder::remove(&build)?;
    folder::remove(&home.join("usr/src"))
}

/// Where a compiler looks for the standard library of a target.
fn target_libraries(home: &Path, target: &str) -> PathBuf {
    home.join("usr/lib/rustlib").join(target).join("lib")
}

/// Puts what the target with WASI links besides the standard library where rustup's toolchains have it.
fn install_c_library(home: &Path) -> Result<()> {
    let (from, to) = (home.join("usr/lib/wasm32-wasi"), target_libraries(home, WASI_TARGET).join("self-contained"));
    folder::create(&to)?;
    for name in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
        folder::rename(&from.join(name), &to.join(name))?;
    }
    folder::remove(&from)?;
    folder::remove(&home.join("usr/include"))
}

fn smoke_test(home: &Path, rustc: &Path) -> Result<()> {
    let (source, module) = (home.join("smoke.rs"), home.join("smoke.wasm"));
    folder::write(&source, SMOKE_TEST.as_bytes())?;
    for target in TARGETS {
        let mut compile = command::new(rustc);
        compile
            .args(["--edition", "2024", "--crate-type", "cdylib", "-O", "--target", target, "-o"])
            .arg(&module)
            .arg(&source);
        command::run(&mut compile).with_context(|| format!("the new compiler fails its smoke test for {target}"))?;
    }
    for file in [source, module] {
        std::fs::remove_file(&file).with_context(|| format!("failed to remove `{}`", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_found_by_prefix_and_digit() {
        let text = "Package: x\nDepends: libc6 (>= 2.34), libllvm19 (>= 1:19.1), libstd-rust-web-dev, libstd-rust-web-1.96 (= 1)\n";
        assert_eq!(dependency_in(text, "libllvm").as_deref(), Some("libllvm19"));
        assert_eq!(dependency_in(text, "libstd-rust-web-").as_deref(), Some("libstd-rust-web-1.96"));
        assert_eq!(dependency_in(text, "libgcc"), None);
    }

    #[test]
    fn an_old_compiler_is_told_from_a_recent_one() {
        for version in ["1.85.0+dfsg3-1~deb12u3", "0.99.0", "1.9.0", "", "unknown", "1"] {
            assert!(!is_recent(version), "{version}");
        }
        for version in [OLDEST, "1.96.0+dfsg1-1~deb12u2", "1.100.0", "2.0.0"] {
            assert!(is_recent(version), "{version}");
        }
    }
}
