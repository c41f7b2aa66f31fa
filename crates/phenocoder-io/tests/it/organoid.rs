//! Golden: the two real stores, one in Zarr v3 and one in Zarr v2, hold the same.

use ndarray::Array2;
use phenocoder_core::{Column, DataType, ImageRegion, ImageShape, ImageSource, LabelSource};
use phenocoder_io::{ContainerVersion, Matrix, Store};
use phenocoder_testdata::find;

fn stores() -> Option<(Store, Store)> {
    let v3 = find("organoid/store.zarr")?;
    let v2 = find("organoid/store_zarrv2.zarr")?;
    Some((Store::open(v3).unwrap(), Store::open(v2).unwrap()))
}

#[test]
fn both_stores_list_the_same_elements() {
    let Some((v3, v2)) = stores() else { return };
    assert_eq!(v3.version(), ContainerVersion::V02);
    assert_eq!(v2.version(), ContainerVersion::V01);
    assert_eq!(v3.elements(), v2.elements());
    assert_eq!(
        v3.image_names(),
        ["IF_A06", "IF_G04", "IF_MIP_A06", "IF_MIP_G04"]
    );
    assert_eq!(v3.label_names(), ["nuclei_A06", "nuclei_G04"]);
    assert_eq!(v3.table_names(), ["nuclei_features"]);
    let message = v3.image("IF").unwrap_err().to_string();
    assert_eq!(
        message,
        "there is no image `IF`; there are: IF_A06, IF_G04, IF_MIP_A06, IF_MIP_G04"
    );
}

#[test]
fn shapes_types_and_channels_are_those_of_the_files() {
    let Some((v3, v2)) = stores() else { return };
    for store in [&v3, &v2] {
        for name in ["IF_A06", "IF_G04"] {
            let image = store.image(name).unwrap();
            assert_eq!(image.shape(), ImageShape::new(4, 52, 954, 954));
            assert_eq!(image.channels(), ["C01", "C02", "C03", "C04"]);
            assert_eq!(image.n_levels(), 1);
            assert_eq!(image.axes(), ["c", "z", "y", "x"]);
        }
        let mip = store.image("IF_MIP_A06").unwrap();
        assert_eq!(mip.n_levels(), 3);
        assert_eq!(mip.shape().z, 1);
        assert_eq!(mip.level(1).unwrap().shape().y, mip.shape().y / 2);
        assert!(mip.level(3).is_err());
        let labels = store.labels("nuclei_A06").unwrap();
        assert_eq!(labels.shape(), ImageShape::new(1, 52, 954, 954));
        assert!(labels.data_type().is_integer());
        assert!(labels.pixel_size("global").is_some());
        assert_eq!(
            image_type(store),
            DataType::UInt8.size().max(image_type(store))
        );
    }
}

fn image_type(store: &Store) -> usize {
    store.image("IF_A06").unwrap().data_type().size()
}

#[test]
fn windows_of_both_stores_hold_the_same_pixels() {
    let Some((v3, v2)) = stores() else { return };
    let mut nonzero = 0;
    for name in v3.image_names() {
        let (a, b) = (v3.image(&name).unwrap(), v2.image(&name).unwrap());
        let shape = a.shape();
        for (z, y, x) in [(0, 0, 0), (25, 400, 380), (51, 700, 850), (30, 250, 501)] {
            let z = z.min(shape.z - 1);
            let region = ImageRegion {
                c: 0..shape.c,
                z: z..(z + 3).min(shape.z),
                y: y..y + 97,
                x: x..x + 104,
            };
            let mut pixels = [(); 2].map(|()| vec![0.0; region.checked_len().unwrap()]);
            a.read_region(&region, &mut pixels[0]).unwrap();
            b.read_region(&region, &mut pixels[1]).unwrap();
            assert_eq!(pixels[0], pixels[1], "{name} {region:?}");
            nonzero += pixels[0].iter().filter(|&&v| v != 0.0).count();
        }
    }
    assert!(nonzero > 1000, "{nonzero} pixels tell nothing");
    for name in v3.label_names() {
        let (a, b) = (v3.labels(&name).unwrap(), v2.labels(&name).unwrap());
        let region = ImageRegion {
            c: 0..1,
            z: 20..24,
            y: 300..600,
            x: 300..600,
        };
        let mut labels = [(); 2].map(|()| vec![0; region.checked_len().unwrap()]);
        a.read_region(&region, &mut labels[0]).unwrap();
        b.read_region(&region, &mut labels[1]).unwrap();
        assert_eq!(labels[0], labels[1], "{name}");
        assert!(labels[0].iter().any(|&l| l != 0));
    }
}

#[test]
fn the_table_is_the_same_in_both_stores() {
    let Some((v3, v2)) = stores() else { return };
    let (a, b) = (
        v3.table("nuclei_features").unwrap(),
        v2.table("nuclei_features").unwrap(),
    );
    assert_eq!((a.n_obs(), b.n_obs()), (6379, 6379));
    let (a_data, b_data) = (a.read_all().unwrap(), b.read_all().unwrap());
    assert_eq!(a_data, b_data);
    a_data.validate().unwrap();
    assert!(matches!(
        a_data.x,
        Some(Matrix::Dense(_) | Matrix::DenseF32(_))
    ));
    assert_eq!(
        a.obsm_keys().unwrap(),
        ["spatial", "spatial_2d", "spatial_index"]
    );
    assert_eq!(a.obsm("spatial").unwrap().dim(), (6379, 3));
    let annotation = a.annotation().unwrap();
    assert_eq!(annotation.regions, ["nuclei"]);
    assert_eq!(annotation.instance_key, "instance_id");
    let Column::Categorical(clusters) = a.obs_column("cluster").unwrap() else {
        panic!("clusters are categories")
    };
    assert_eq!(clusters.len(), 6379);
    let Column::Int(instances) = a.obs_column("instance_id").unwrap() else {
        panic!("instances are whole numbers")
    };
    assert_eq!(instances.len(), 6379);
    let message = a.obs_column("Cluster").unwrap_err().to_string();
    assert!(
        message.contains("there are:") && message.contains("cluster"),
        "{message}"
    );
}

#[test]
fn the_matrix_is_the_golden_feature_matrix() {
    let Some((v3, _)) = stores() else { return };
    let Some(path) = find("organoid/golden/X_features.npy") else {
        return;
    };
    let x = v3.table("nuclei_features").unwrap().x().unwrap().unwrap();
    let found = x.to_dense_f64().unwrap();
    let expected: Array2<f64> = match std::panic::catch_unwind(|| {
        phenocoder_testdata::read_npy::<f64, ndarray::Ix2>(&path)
    }) {
        Ok(matrix) => matrix,
        Err(_) => phenocoder_testdata::read_npy::<f32, ndarray::Ix2>(&path).mapv(f64::from),
    };
    assert_eq!(found, expected);
}
