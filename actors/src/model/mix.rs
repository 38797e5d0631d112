//! The hash by which processes agree on who does what.

/// Spreads every bit of a number over all others (the finalizer of SplitMix64). Not the hash of the standard library:
/// processes of different versions must agree.
pub(super) fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
