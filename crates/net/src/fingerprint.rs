/// A 64-bit number that stands for `bytes`: FNV-1a with a final mix (that of SplitMix64).
///
/// It is written into kernel objects and read back by other versions of this
/// program, so it may never change; that is why it is not the standard
/// library's hasher. The mix spreads short inputs, so that a part of the
/// number may be used as well. It resists accidents, not attacks.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(hash)
}

fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_changes() {
        // Numbers that are already in kernels and on disks.
        assert_eq!(fingerprint(b""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(fingerprint(b"sealane"), 0x56d9_fb14_f8e7_d705);
    }

    #[test]
    fn spreads_neighbours_over_the_upper_bits() {
        let mut tops: Vec<u64> = (0..10_000)
            .map(|n| fingerprint(format!("pod-{n}").as_bytes()) >> 24)
            .collect();
        tops.sort_unstable();
        tops.dedup();
        assert_eq!(tops.len(), 10_000, "40 bits must tell 10,000 names apart");
    }
}
