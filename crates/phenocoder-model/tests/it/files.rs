//! Weights files: round trip, reproducible bytes, and files that are cut off, damaged or foreign.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use ndarray::ArrayD;
use phenocoder_core::{NoProgress, PatchShape, Seed};
use phenocoder_model::weights::{load_arrays, names::keras_names};
use phenocoder_model::{
    Autoencoder, Cvae, CvaeConfig, Error, FileError, Latent, SavedModel, encode,
};
use proptest::prelude::*;

use crate::synthetic::blobs;

type Arrays = BTreeMap<String, ArrayD<f32>>;

const SHAPE: PatchShape = PatchShape::new(8, 8, 2);

fn model(seed: u64) -> Cvae {
    CvaeConfig::new(SHAPE, 3)
        .with_conv_layers([4, 6])
        .with_n_conditions(2)
        .with_beta(0.02)
        .build(Seed::new(seed), &Device::Cpu)
        .unwrap()
}

fn saved() -> SavedModel {
    let mut saved = SavedModel::new(model(1));
    saved.sections.set("channels", &["DAPI", "SOX2"]).unwrap();
    saved
        .sections
        .set("scaling", &[0.1_f64, 1e300, -0.0])
        .unwrap();
    saved
}

fn bytes() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    saved().save(&path).unwrap();
    std::fs::read(path).unwrap()
}

fn load_bytes(bytes: &[u8]) -> Result<SavedModel, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, bytes).unwrap();
    SavedModel::load(&path, &Device::Cpu)
}

fn refused(bytes: &[u8]) -> FileError {
    match load_bytes(bytes) {
        Err(Error::File { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

/// The file with another header text (padded by its own rules) and the same tensors.
fn with_header(change: impl Fn(String) -> String) -> Vec<u8> {
    let bytes = bytes();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = change(String::from_utf8(bytes[8..8 + length].to_vec()).unwrap());
    let mut changed = (header.len() as u64).to_le_bytes().to_vec();
    changed.extend_from_slice(header.as_bytes());
    changed.extend_from_slice(&bytes[8 + length..]);
    changed
}

#[test]
fn a_loaded_model_encodes_to_the_same_bits() {
    let saved = saved();
    let loaded = load_bytes(&bytes()).unwrap();
    assert_eq!(loaded.sections, saved.sections);
    assert_eq!(
        loaded.model.config_json().unwrap(),
        saved.model.config_json().unwrap()
    );
    let patches = blobs(7, SHAPE, 2, 1);
    let latents = |saved: &SavedModel| {
        encode(saved.model.as_ref(), &patches, 4, Latent::Mean, &NoProgress).unwrap()
    };
    assert_eq!(latents(&saved), latents(&loaded));
}

#[test]
fn the_same_model_makes_the_same_bytes_and_any_safetensors_reader_opens_them() {
    let bytes = bytes();
    assert_eq!(bytes, self::bytes());
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(
        tensors.tensor("encoder.conv.0.kernel").unwrap().shape(),
        [3, 3, 2, 4]
    );
}

#[test]
fn saving_replaces_the_old_file_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, b"old").unwrap();
    saved().save(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = folder.path().join("missing/model.safetensors");
    let error = saved().save(&nowhere).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Io {
                action: "written",
                ..
            }
        ),
        "{error}"
    );
    let error = SavedModel::load(Path::new("/nowhere/model"), &Device::Cpu).unwrap_err();
    assert!(matches!(error, Error::Io { action: "read", .. }), "{error}");
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let bytes = bytes();
    for length in (0..bytes.len()).step_by(97) {
        refused(&bytes[..length]);
    }
    let mut longer = bytes.clone();
    longer.push(0);
    refused(&longer);
    assert!(matches!(
        refused(&bytes[..5]),
        FileError::Truncated {
            expected: 8,
            found: 5
        }
    ));
}

#[test]
fn a_changed_weight_is_noticed() {
    let mut bytes = bytes();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    assert!(matches!(refused(&bytes), FileError::Checksum { .. }));
}

#[test]
fn a_changed_section_is_noticed() {
    let changed = with_header(|h| h.replace("DAPI", "DAPY"));
    assert!(matches!(refused(&changed), FileError::Hash { .. }));
}

#[test]
fn a_file_without_its_hash_is_refused() {
    let without = with_header(|h| {
        let at = h.find("\"phenocoder.sha256\"").unwrap();
        let length = "\"phenocoder.sha256\":\"\"".len() + 64;
        let mut changed = h;
        changed.replace_range(at..at + length + 1, "");
        changed.replace("DAPI", "DAPY")
    });
    let error = refused(&without);
    assert!(
        matches!(error, FileError::Foreign { key } if key == "phenocoder.sha256"),
        "{error}"
    );
}

#[test]
fn weights_that_are_not_finite_are_neither_saved_nor_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for value in [f32::NAN, f32::INFINITY] {
        let saved = saved();
        let weight = saved.model.parameters().get("decoder.output.bias").unwrap();
        let broken = Tensor::full(value, weight.dims(), &Device::Cpu).unwrap();
        weight.set(&broken).unwrap();
        let error = saved.save(&path).unwrap_err();
        assert!(!path.exists());
        let Error::File { source, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(
            source.to_string(),
            "its tensor `decoder.output.bias` cannot be used: it is not finite"
        );
        let refused = refused(&sealed_with(value));
        assert_eq!(refused.to_string(), source.to_string());
    }
}

/// A file whose last bias has this value, with the checksums that belong to it.
fn sealed_with(value: f32) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    let bytes = bytes();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut payload = bytes[8 + length..].to_vec();
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let offset = header["decoder.output.bias"]["data_offsets"][0].as_u64();
    let offset = usize::try_from(offset.unwrap()).unwrap();
    payload[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    // Sorted by name.
    let metadata = header["__metadata__"].take();
    let mut metadata: BTreeMap<String, String> = serde_json::from_value(metadata).unwrap();
    metadata.remove("phenocoder.sha256");
    let checksum = format!("{:08x}", crc32c::crc32c(&payload));
    metadata.insert("phenocoder.checksum".to_owned(), checksum);
    header["__metadata__"] = serde_json::to_value(&metadata).unwrap();
    let mut hash = Sha256::new();
    hash.update(header.to_string());
    hash.update(&payload);
    let hash: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    metadata.insert("phenocoder.sha256".to_owned(), hash);
    header["__metadata__"] = serde_json::to_value(&metadata).unwrap();
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, &payload].concat()
}

#[test]
fn a_shape_that_is_too_large_beside_an_axis_of_no_extent_is_refused() {
    for shape in ["0,18446744073709551615,2", "4611686018427387904,0"] {
        let hostile = with_header(|h| {
            let entry = format!(
                "{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{shape}],\"data_offsets\":[0,0]}},"
            );
            h.replacen('{', &entry, 1)
        });
        let error = refused(&hostile);
        assert!(matches!(error, FileError::Header { .. }), "{error}");
        assert!(error.to_string().contains("claims the shape"), "{error}");
    }
}

#[test]
fn a_header_of_absurd_length_is_refused_before_it_is_read() {
    let mut bytes = bytes();
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(refused(&bytes), FileError::HeaderLength { .. }));
    bytes[..8].copy_from_slice(&(1_u64 << 20).to_le_bytes());
    assert!(matches!(refused(&bytes), FileError::Truncated { .. }));
}

#[test]
fn foreign_and_newer_files_are_told_apart() {
    let foreign = with_header(|h| h.replace("phenocoder.format", "pickle.format"));
    assert!(matches!(refused(&foreign), FileError::Foreign { .. }));
    let newer =
        with_header(|h| h.replace("\"phenocoder.format\":\"1\"", "\"phenocoder.format\":\"2\""));
    let FileError::Version {
        found,
        supported: 1,
    } = refused(&newer)
    else {
        panic!("version")
    };
    assert_eq!(found, "2");
    let kind = with_header(|h| {
        h.replace(
            "\"phenocoder.kind\":\"cvae\"",
            "\"phenocoder.kind\":\"gan\"",
        )
    });
    assert!(matches!(refused(&kind), FileError::Kind { .. }));
    let section = with_header(|h| h.replace("[\\\"DAPI", "[[\\\"DAPI"));
    assert!(matches!(refused(&section), FileError::Metadata { .. }));
    assert!(matches!(
        refused(b"\x10\0\0\0\0\0\0\0not json at all!"),
        FileError::Header { .. }
    ));
}

#[test]
fn a_configuration_larger_than_the_tensors_is_refused_before_it_is_built() {
    let larger = with_header(|h| {
        let changed = h.replace("\\\"dense_dim\\\":64", "\\\"dense_dim\\\":64000000000000");
        assert_ne!(changed, h);
        changed
    });
    let error = refused(&larger).to_string();
    assert!(error.contains("its network has"), "{error}");
    let overflow = with_header(|h| {
        h.replace(
            "\\\"dense_dim\\\":64",
            "\\\"dense_dim\\\":18446744073709551615",
        )
    });
    assert!(refused(&overflow).to_string().contains("too large"));
}

#[test]
fn arrays_of_another_program_must_be_complete_and_fit() {
    let model = model(1);
    let names = keras_names(model.config()).unwrap();
    let mut arrays: Arrays = BTreeMap::new();
    for (ours, theirs) in &names {
        let shape = model.parameters().get(ours).unwrap().dims().to_vec();
        arrays.insert(theirs.clone(), ArrayD::from_elem(shape, 0.5));
    }
    load_arrays(model.parameters(), &names, &arrays).unwrap();
    let snapshot = model.parameters().snapshot().unwrap();
    assert!(
        snapshot
            .values("decoder.output.bias")
            .unwrap()
            .iter()
            .all(|&v| v == 0.5)
    );

    let fails = |change: &dyn Fn(&mut Arrays)| {
        let mut changed = arrays.clone();
        change(&mut changed);
        load_arrays(model.parameters(), &names, &changed)
            .unwrap_err()
            .to_string()
    };
    let key = "encoder/conv_4/bias";
    assert_eq!(
        fails(&|a| drop(a.remove(key))),
        "array `encoder/conv_4/bias`: missing"
    );
    assert_eq!(
        fails(&|a| drop(a.insert("extra".to_owned(), ArrayD::zeros(vec![1])))),
        "array `extra`: the model has no place for it"
    );
    assert_eq!(
        fails(&|a| drop(a.insert(key.to_owned(), ArrayD::zeros(vec![5])))),
        "array `encoder.conv.0.bias`: expected F32 [4], found F32 [5]"
    );
    let equal = CvaeConfig::new(SHAPE, 3).with_conv_layers([4, 4]);
    assert!(keras_names(&equal).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_damaged_byte_makes_a_panic_or_a_different_model(
        position in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let good = bytes();
        let mut bytes = good.clone();
        let at = position.index(bytes.len());
        bytes[at] ^= flip;
        // A changed blank may still be a valid file; sections and weights are protected.
        if let Ok(loaded) = load_bytes(&bytes) {
            let weights = |m: &dyn Autoencoder| {
                let snapshot = m.parameters().snapshot().unwrap();
                let names = m.parameters().names();
                names.map(|n| snapshot.values(n).unwrap()).collect::<Vec<_>>()
            };
            prop_assert_eq!(weights(loaded.model.as_ref()), weights(&model(1)));
            prop_assert_eq!(loaded.sections, saved().sections);
        }
    }
}
