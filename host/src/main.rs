//! The plugin host: see `mortise --help`.

fn main() -> std::process::ExitCode {
    // First of all: with two providers compiled in, rustls refuses to guess.
    mortise_mesh::install_crypto_provider();
    mortise::cli::run(std::env::args_os())
}
