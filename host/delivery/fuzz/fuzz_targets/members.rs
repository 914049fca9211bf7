//! Archives that are well formed down to the member, whatever their members say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mortise_delivery_fuzz::builder::Script;
use mortise_delivery_fuzz::{ArchiveFormat, Checker, store_gzip};
use std::cell::OnceCell;

thread_local! {
    static CHECKER: OnceCell<Checker> = const { OnceCell::new() };
}

fuzz_target!(|script: Script| {
    CHECKER.with(|checker| {
        let checker = checker.get_or_init(Checker::new);
        checker.unpack(&store_gzip(&script.tar()), ArchiveFormat::TarGz);
        checker.unpack(&script.zip(), ArchiveFormat::Zip);
    });
});
