//! Numbers in the text of a page.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;

/// A list of numbers, compressed.
#[derive(Serialize)]
pub(super) struct Packed {
    kind: Kind,
    len: usize,
    /// The bytes, with zlib and in base64.
    data: String,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// 32-bit floats whose fraction is rounded to 14 bits, without their last byte; all first bytes
    /// before all second ones, and so on. The relative error is at most 2^-15. The order makes them
    /// smaller, since first bytes are alike.
    Float24,
    /// 32-bit floats, in the same order.
    Float32,
    /// Bytes that stand for 0 to 1.
    Byte,
}

impl Packed {
    pub(super) fn rounded(values: &[f32]) -> Self {
        // Rounds to nearest. Only values next to the largest would round to infinity.
        let rounded = values.iter().map(|value| match value.to_bits().checked_add(0x100) {
            Some(bits) if f32::from_bits(bits).is_finite() => bits & !0x1ff,
            _ => value.to_bits() & !0x1ff,
        });
        Self::planes(Kind::Float24, &rounded.collect::<Vec<_>>(), 3)
    }

    pub(super) fn exact(values: &[f32]) -> Self {
        let bits = values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        Self::planes(Kind::Float32, &bits, 4)
    }

    pub(super) fn bytes(values: &[f32]) -> Self {
        let byte = |value: &f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
        Self::new(Kind::Byte, values.len(), &values.iter().map(byte).collect::<Vec<_>>())
    }

    /// Packs the first `count` bytes of each value.
    fn planes(kind: Kind, bits: &[u32], count: usize) -> Self {
        let plane = |i: usize| bits.iter().map(move |bits| bits.to_be_bytes()[i]);
        Self::new(kind, bits.len(), &(0..count).flat_map(plane).collect::<Vec<_>>())
    }

    fn new(kind: Kind, len: usize, bytes: &[u8]) -> Self {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        let packed = zlib.write_all(bytes).and_then(|()| zlib.finish());
        let data = BASE64_STANDARD.encode(packed.expect("a vector takes all bytes"));
        Self { kind, len, data }
    }
}
