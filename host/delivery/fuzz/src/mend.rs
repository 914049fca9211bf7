//! Puts right what no mutation would ever hit: sums over headers.

use flate2::{Compression, write::GzEncoder};
use std::io::Write as _;

const BLOCK: usize = 512;

/// Gives each header of a tar the checksum that it should have, as far as sizes lead from one to the next.
pub fn mend_tar(tar: &mut [u8]) {
    let mut at = 0_usize;
    while let Some(block) = tar.get_mut(at..at.saturating_add(BLOCK)) {
        at += BLOCK;
        if block.iter().all(|&byte| byte == 0) {
            continue;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = block[124..136].iter().skip_while(|&&byte| byte == b' ');
        let size = digits.take_while(|byte| (b'0'..=b'7').contains(byte));
        let size = size.fold(0, |size: usize, byte| size.saturating_mul(8).saturating_add(usize::from(byte - b'0')));
        at = at.saturating_add(size.div_ceil(BLOCK).saturating_mul(BLOCK));
    }
}

/// A gzip file that holds `bytes` as they are: no time is spent on compression.
///
/// # Panics
/// Never: memory is written to.
#[must_use]
pub fn store_gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() + 64), Compression::none());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}
