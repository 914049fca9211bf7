//! The plugin host: see `mortise --help`.

fn main() -> std::process::ExitCode {
    mortise::cli::run(std::env::args_os())
}
