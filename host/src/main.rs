//! The plugin host: see `mortise --help`.

/// Buffers and answers are allocated on one thread and freed on another, for every call: glibc's allocator pays for that
/// with a sixth of a call's CPU time (decision 0018).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    // First of all: with two providers compiled in, rustls refuses to guess.
    mortise_mesh::install_crypto_provider();
    mortise::cli::run(std::env::args_os())
}
