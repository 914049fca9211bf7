//! Any bytes as an archive: a gzip tar, a zip file, or else a bare tar, whose sums are put right before it is wrapped.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mortise_delivery_fuzz::{ArchiveFormat, Checker, mend_tar, store_gzip};
use std::cell::OnceCell;

thread_local! {
    static CHECKER: OnceCell<Checker> = const { OnceCell::new() };
}

fuzz_target!(|bytes: &[u8]| {
    CHECKER.with(|checker| {
        let checker = checker.get_or_init(Checker::new);
        if bytes.starts_with(b"\x1f\x8b") {
            checker.unpack(bytes, ArchiveFormat::TarGz);
        } else if bytes.windows(4).any(|window| window == b"PK\x05\x06") {
            checker.unpack(bytes, ArchiveFormat::Zip);
        } else {
            let mut tar = bytes.to_vec();
            mend_tar(&mut tar);
            checker.unpack(&store_gzip(&tar), ArchiveFormat::TarGz);
        }
    });
});
