//! SHA-256 (FIPS 180-4, section 6.2) of two streams that have the same blocks from some point on.
//!
//! The steps of one digest wait for each other, and a processor with instructions for them could do twice as
//! many. Two digests of the same blocks also share what is derived of a block alone. So there the second one
//! costs nothing, and one digest at a time is sha2's.

use sha2::block_api::compress256;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 64;

/// What a digest of whole blocks has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State([u32; 8]);

impl State {
    /// Of no block yet.
    pub(crate) const NEW: Self = Self([
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ]);

    pub(crate) fn update(&mut self, blocks: &[[u8; BLOCK]]) {
        compress256(&mut self.0, blocks);
    }

    /// Takes the same blocks to both.
    pub(crate) fn update_both(&mut self, other: &mut Self, blocks: &[[u8; BLOCK]]) {
        #[cfg(target_arch = "x86_64")]
        if x86::compress_both(&mut self.0, &mut other.0, blocks) {
            return;
        }
        self.update(blocks);
        other.update(blocks);
    }

    /// The digest, where `rest` comes after the last whole block and makes it `length` bytes in all.
    pub(crate) fn finish(mut self, rest: &[u8], length: u64) -> [u8; 32] {
        let mut blocks = [[0; BLOCK]; 2];
        let bytes = blocks.as_flattened_mut();
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()] = 0x80;
        let count = if rest.len() < BLOCK - 8 { 1 } else { 2 };
        let bits = (length << 3).to_be_bytes();
        bytes[count * BLOCK - 8..][..8].copy_from_slice(&bits);
        self.update(&blocks[..count]);
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.0) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32,
    };

    use super::BLOCK;

    /// Takes `blocks` to both states. False, and nothing done, where the processor has no instructions for it.
    #[expect(
        unsafe_code,
        reason = "that the processor has these instructions is known at run time only"
    )]
    pub(super) fn compress_both(
        one: &mut [u32; 8],
        other: &mut [u32; 8],
        blocks: &[[u8; BLOCK]],
    ) -> bool {
        let has_them = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("sse4.1")
            && is_x86_feature_detected!("ssse3");
        if has_them {
            // SAFETY: the function is safe but for the instructions it was compiled to, and they are there.
            unsafe { compress(one, other, blocks) };
        }
        has_them
    }

    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn compress(one: &mut [u32; 8], other: &mut [u32; 8], blocks: &[[u8; BLOCK]]) {
        let mut states = [load(one), load(other)];
        let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        for block in blocks {
            let before = states;
            let (parts, _) = block.as_chunks();
            // The last 16 words of the schedule, by four.
            let mut words: [__m128i; 4] = std::array::from_fn(|n| {
                let [low, high] = [2 * n, 2 * n + 1].map(|n| i64::from_le_bytes(parts[n]));
                _mm_shuffle_epi8(_mm_set_epi64x(high, low), big_endian)
            });
            for (sixteen, constants) in CONSTANTS.iter().enumerate() {
                for n in 0..4 {
                    if sixteen > 0 {
                        let [w0, w1, w2, w3] = [n, n + 1, n + 2, n + 3].map(|n| words[n % 4]);
                        let sum = _mm_sha256msg1_epu32(w0, w1);
                        let sum = _mm_add_epi32(sum, _mm_alignr_epi8::<4>(w3, w2));
                        words[n] = _mm_sha256msg2_epu32(sum, w3);
                    }
                    let [k0, k1, k2, k3] = constants[n].map(u32::cast_signed);
                    let low = _mm_add_epi32(words[n], _mm_set_epi32(k3, k2, k1, k0));
                    let high = _mm_shuffle_epi32::<0x0e>(low);
                    for [abef, cdgh] in &mut states {
                        *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, low);
                        *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, high);
                    }
                }
            }
            for (state, before) in states.iter_mut().zip(before) {
                *state = [0, 1].map(|n| _mm_add_epi32(state[n], before[n]));
            }
        }
        [*one, *other] = states.map(|state| store(state));
    }

    /// A state in the two registers that the instructions want it in.
    #[target_feature(enable = "sse4.1")]
    fn load(state: &[u32; 8]) -> [__m128i; 2] {
        let four = |[x, y, z, w]: [usize; 4]| {
            let word = |n: usize| state[n].cast_signed();
            _mm_set_epi32(word(x), word(y), word(z), word(w))
        };
        [four([0, 1, 4, 5]), four([2, 3, 6, 7])]
    }

    #[target_feature(enable = "sse4.1")]
    fn store([abef, cdgh]: [__m128i; 2]) -> [u32; 8] {
        [
            _mm_extract_epi32::<3>(abef),
            _mm_extract_epi32::<2>(abef),
            _mm_extract_epi32::<3>(cdgh),
            _mm_extract_epi32::<2>(cdgh),
            _mm_extract_epi32::<1>(abef),
            _mm_extract_epi32::<0>(abef),
            _mm_extract_epi32::<1>(cdgh),
            _mm_extract_epi32::<0>(cdgh),
        ]
        .map(i32::cast_unsigned)
    }

    /// FIPS 180-4, section 4.2.2, as they are used: sixteen words at a time, by four.
    static CONSTANTS: [[[u32; 4]; 4]; 4] = [
        [
            [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
            [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
            [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
            [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        ],
        [
            [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
            [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
            [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
            [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        ],
        [
            [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
            [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
            [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
            [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        ],
        [
            [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
            [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
            [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
            [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
        ],
    ];
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn two_at_once_are_what_each_is_alone() {
        let bytes: Vec<u8> = (0..100_000_u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        for (before, after) in [(0, 1), (1, 0), (1, 1), (3, 700), (800, 40)] {
            let (blocks, _) = bytes.as_chunks();
            let (mut long, mut short) = (State::NEW, State::NEW);
            long.update(&blocks[..before]);
            long.update_both(&mut short, &blocks[before..][..after]);
            let (start, end) = (before * BLOCK, (before + after) * BLOCK);
            for more in [0, 1, 55, 56, 63] {
                let (rest, all) = (&bytes[end..][..more], end + more);
                assert_eq!(
                    long.finish(rest, all as u64)[..],
                    Sha256::digest(&bytes[..all])[..]
                );
                assert_eq!(
                    short.finish(rest, (all - start) as u64)[..],
                    Sha256::digest(&bytes[start..all])[..]
                );
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn without_the_instructions_nothing_is_done() {
        let states = [State::NEW.0, [7; 8]];
        let [mut one, mut other] = states;
        let done = x86::compress_both(&mut one, &mut other, &[[1; BLOCK]]);
        assert_eq!(done, is_x86_feature_detected!("sha"));
        assert_eq!(done, [one, other] != states);
    }
}
