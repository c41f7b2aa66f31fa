//! Input that is no store, and shapes of more places than numbers can count.

use super::*;

#[test]
fn chunks_and_shards_of_more_places_than_can_be_counted_are_refused() {
    // 2¹²⁸ places, which are 0 in 128 bits.
    let half = 1_u64 << 63;
    let array = |codecs: Value| {
        json_bytes(&json!({
            "zarr_format": 3, "node_type": "array", "shape": [1, 8, 8], "data_type": "uint8", "fill_value": 0,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [half, half, 4]}},
            "chunk_key_encoding": {"name": "default"}, "codecs": codecs, "attributes": {},
        }))
    };
    let plain = json!([{"name": "bytes"}]);
    let sharded = json!([{"name": "sharding_indexed", "configuration": {
        "chunk_shape": [1, 1, 1], "codecs": plain, "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    }}]);
    let refused = array_v3(&array(plain)).unwrap_err().to_string();
    assert!(refused.contains("a decoded chunk"), "{refused}");
    let refused = array_v3(&array(sharded)).unwrap_err().to_string();
    assert!(refused.contains("shorter than its index"), "{refused}");
}

#[test]
fn bytes_that_are_nothing_are_errors() {
    for bytes in [
        &b""[..],
        b"PAR1",
        b"\x01\x03\0\0\0\xff\xff\xff\xff",
        b"[{}]",
    ] {
        for (name, target) in TARGETS {
            // Three codes may be any bytes; two of these inputs have none.
            let is_possible = name == "categories" || name == "page_header";
            assert!(is_possible || target(bytes).is_err(), "{name} {bytes:?}");
        }
    }
}
