//! Metadata of images and masks, sound and broken.

use serde_json::json;

use super::*;

fn node(format: ZarrFormat, attributes: &Value) -> Node {
    Node {
        key: "images/a".to_owned(),
        format,
        attributes: attributes.as_object().unwrap().clone(),
        array: None,
    }
}

fn axes(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name})).collect()
}

fn multiscale() -> Value {
    let side = |name: &str| json!({"name": name, "axes": axes(&["c", "y", "x"])});
    json!({
        "axes": axes(&["c", "y", "x"]),
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 2]}]}],
        "coordinateTransformations": [{"type": "identity", "input": side("cyx"), "output": side("global")}],
    })
}

/// Parses an image of Zarr v3 with this `ome`.
fn parse(ome: &Value) -> Result<Multiscale> {
    Multiscale::parse(&node(ZarrFormat::V3, &json!({"ome": ome})), false)
}

/// What is expected, as the error says.
fn expected(ome: &Value) -> String {
    match parse(ome) {
        Err(Error::InvalidMetadata { key, expected, .. }) => {
            assert_eq!(key, "images/a");
            expected
        }
        Err(Error::MissingMetadata { key, expected }) => {
            assert_eq!(key, "images/a");
            expected
        }
        other => panic!("{other:?}"),
    }
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut multiscale = multiscale();
    change(&mut multiscale);
    json!({"multiscales": [multiscale]})
}

#[test]
fn levels_axes_and_channels_are_read_in_both_formats() {
    let found = parse(&json!({
        "version": "0.5", "multiscales": [multiscale()],
        "omero": {"channels": [{"label": "DAPI"}, {"label": 7}, {}]},
    }));
    let found = found.unwrap();
    assert_eq!(found.axes, ["c", "y", "x"]);
    assert_eq!(found.paths, ["0"]);
    assert_eq!(
        found.channels,
        Some(vec![json!("DAPI"), json!(7), json!(2)])
    );
    let names: Vec<String> = found.channels.iter().flatten().map(channel_name).collect();
    assert_eq!(names, ["DAPI", "7", "2"]);

    // Zarr v2 has no `ome`, old writers named axes by text and kept `omero` in the metadata of the multiscale.
    let mut old = multiscale();
    old["axes"] = json!(["c", "z", "y", "x"]);
    old["datasets"][0]["coordinateTransformations"] = Value::Null;
    old["version"] = json!("0.4");
    old["metadata"] = json!({"omero": {"channels": [{"label": "a"}]}});
    let attributes = json!({"multiscales": [old], "spatialdata_attrs": {"version": "0.1"}});
    let found = Multiscale::parse(&node(ZarrFormat::V2, &attributes), false).unwrap();
    assert_eq!(found.axes.len(), 4);
    assert_eq!(found.channels, Some(vec![json!("a")]));

    let masks = with(|m| {
        m["axes"] = axes(&["y", "x"]);
        m["datasets"][0]["coordinateTransformations"] = json!([]);
    });
    let found = Multiscale::parse(&node(ZarrFormat::V3, &json!({"ome": masks})), true).unwrap();
    assert_eq!((found.axes.len(), found.channels), (2, None));
}

#[test]
fn what_is_missing_is_named() {
    let nothing = node(ZarrFormat::V3, &json!({}));
    assert!(matches!(
        Multiscale::parse(&nothing, false),
        Err(Error::MissingMetadata { expected, .. }) if expected.contains("ome")
    ));
    assert_eq!(expected(&json!({})), "`multiscales`");
    assert_eq!(
        expected(&json!({"multiscales": [1, 2]})),
        "`multiscales` with one object"
    );
    assert_eq!(
        expected(&with(|m| m["axes"] = json!([{"type": "space"}]))),
        "`axes` with names"
    );
    assert_eq!(
        expected(&with(|m| m["datasets"] = json!([]))),
        "`datasets` as a list of 1 to 1000 levels"
    );
    assert_eq!(
        expected(&with(|m| m["datasets"] = json!([{}]))),
        "`path` of each dataset"
    );
}

#[test]
fn axes_of_another_order_are_refused() {
    assert_eq!(
        expected(&with(|m| m["axes"] = axes(&["y", "x", "c"]))),
        "axes cyx or czyx"
    );
    let masks = node(
        ZarrFormat::V3,
        &json!({"ome": {"multiscales": [multiscale()]}}),
    );
    assert!(matches!(
        Multiscale::parse(&masks, true),
        Err(Error::InvalidMetadata { expected, .. }) if expected == "axes yx or zyx"
    ));
}

#[test]
fn scales_of_levels_have_a_number_for_each_axis() {
    for name in ["scale", "translation"] {
        let wrong = with(|m| {
            m["datasets"][0]["coordinateTransformations"] =
                json!([{"type": name, name: [1.0, 2.0]}]);
        });
        assert!(matches!(
            parse(&wrong),
            Err(Error::InvalidTransform { key, problem }) if key == "images/a" && problem.contains("2 numbers for 3 axes")
        ));
    }
}

#[test]
fn versions_of_the_future_are_refused() {
    let future = json!({"version": "0.9", "multiscales": [multiscale()]});
    assert!(matches!(
        parse(&future),
        Err(Error::UnsupportedVersion { key, found, .. }) if key == "images/a" && found.contains("0.9")
    ));
    for (format, version) in [
        (ZarrFormat::V3, json!("0.2")),
        (ZarrFormat::V2, json!("0.3")),
        (ZarrFormat::V2, json!(1)),
    ] {
        let attributes = json!({"spatialdata_attrs": {"version": version}, "ome": {"multiscales": [multiscale()]}});
        assert!(matches!(
            Multiscale::parse(&node(format, &attributes), false),
            Err(Error::UnsupportedVersion { key, .. }) if key == "images/a"
        ));
    }
}

#[test]
fn labels_of_channels_are_texts_or_numbers() {
    for channels in [json!([{"label": [1]}]), json!({"label": "a"}), json!(3)] {
        let ome = json!({"multiscales": [multiscale()], "omero": {"channels": channels}});
        assert_eq!(
            expected(&ome),
            "channels with labels of text or whole numbers"
        );
    }
    let plain =
        json!({"multiscales": [multiscale()], "channels_metadata": {"channels": [{"label": "a"}]}});
    assert_eq!(parse(&plain).unwrap().channels, Some(vec![json!("a")]));
}
