use super::*;

fn axes(names: &str) -> Value {
    let axes: Vec<Value> = names
        .chars()
        .map(|c| describe_axis(&c.to_string()))
        .collect();
    json!({"name": names, "axes": axes})
}

#[test]
fn steps_that_make_ever_more_axes_are_refused() {
    let step = |n: usize| {
        let output: Vec<Value> = (0..16)
            .map(|i| json!({"name": format!("a{n}_{i}")}))
            .collect();
        json!({
            "type": "mapAxis", "input": {"axes": [{"name": "x"}]}, "output": {"axes": output},
            "mapAxis": (0..16).map(|i| (format!("a{n}_{i}"), json!("x"))).collect::<Map<_, _>>(),
        })
    };
    let map = |n: usize| {
        let steps: Vec<Value> = (0..n).map(step).collect();
        let axes = json!({"axes": [{"name": "x"}, {"name": "y"}]});
        let map =
            json!({"type": "sequence", "input": axes, "output": axes, "transformations": steps});
        parse_all("images/i", Some(&json!([map]))).and_then(|maps| maps[0].to_affine())
    };
    assert!(map(1).is_ok());
    assert!(matches!(map(20), Err(Error::InvalidTransform { .. })));
    let mut wide = step(0);
    wide["mapAxis"] = (0..17).map(|i| (format!("{i}"), json!("x"))).collect();
    assert!(parse_all("images/i", Some(&json!([wide]))).is_err());
}

#[test]
fn rows_of_an_affine_follow_the_output_axes() {
    let value = json!([{
        "type": "affine", "input": axes("cyx"), "output": axes("cxy"),
        "affine": [[1, 0, 0, 0], [0, 2, 3, 4], [0, 5, 6, 7]],
    }]);
    let affine = parse_all("k", Some(&value)).unwrap()[0]
        .to_affine()
        .unwrap();
    let expected = ndarray::array![[3.0, 2.0, 4.0], [6.0, 5.0, 7.0], [0.0, 0.0, 1.0]];
    assert_eq!(affine.matrix, expected);
}

#[test]
fn an_axis_that_an_affine_does_not_provide_stays_and_in_a_sequence_is_zero() {
    let affine = json!({
        "type": "affine", "input": axes("xyz"), "output": axes("xy"),
        "affine": [[1, 2, 3, 4], [5, 6, 7, 8]],
    });
    let sequence = json!({
        "type": "sequence", "input": axes("xyz"), "output": axes("xyz"),
        "transformations": [affine],
    });
    for (value, kept) in [(affine, 1.0), (sequence, 0.0)] {
        let parsed = parse_all("k", Some(&json!([value]))).unwrap();
        let expected = ndarray::array![
            [1.0, 2.0, 3.0, 4.0],
            [5.0, 6.0, 7.0, 8.0],
            [0.0, 0.0, kept, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ];
        assert_eq!(parsed[0].to_affine().unwrap().matrix, expected);
    }
}

#[test]
fn steps_of_a_sequence_apply_from_first_to_last() {
    let value = json!([{
        "type": "sequence", "input": axes("yx"), "output": axes("yx"),
        "transformations": [
            {"type": "translation", "translation": [1, 2], "input": axes("yx"), "output": axes("yx")},
            {"type": "scale", "scale": [10, 100], "input": axes("yx"), "output": axes("yx")},
            {"type": "mapAxis", "mapAxis": {"x": "y", "y": "x"}, "input": axes("yx"), "output": axes("yx")},
        ],
    }]);
    let affine = parse_all("k", Some(&value)).unwrap()[0]
        .to_affine()
        .unwrap();
    let expected = ndarray::array![[0.0, 10.0, 10.0], [100.0, 0.0, 200.0], [0.0, 0.0, 1.0]];
    assert_eq!(affine.matrix, expected);
    assert_eq!(affine.step_length("x"), Some(100.0));
}

/// As spatialdata 0.8.0 has it: `MapAxis(…).to_affine_matrix(("x", "y"), ("x", "y"))` asks for x and y only.
#[test]
fn an_axis_that_the_element_does_not_have_is_mapped_from_nothing_only_when_nobody_asks_for_it() {
    let map = |pairs: Value| {
        let value = json!([{
            "type": "mapAxis", "mapAxis": pairs, "input": axes("yx"), "output": axes("yx"),
        }]);
        // The element is opened whatever the map.
        let maps = parse_all("k", Some(&value)).unwrap();
        affine_of("k", &maps[0]).map(|affine| affine.matrix)
    };
    let swapped = ndarray::array![[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]];
    let found = map(json!({"x": "y", "y": "x", "z": "z"})).unwrap();
    assert_eq!(found, swapped);
    for same in [json!({"z": "z"}), json!({"x": "x", "y": "y", "z": "x"})] {
        assert_eq!(map(same).unwrap(), Array2::<f64>::eye(3));
    }
    for asked in [json!({"x": "z", "y": "y"}), json!({"y": "z"})] {
        let refused = map(asked).unwrap_err();
        assert!(
            matches!(&refused, Error::InvalidTransform { key, problem }
                if key == "k" && problem == "the map into `yx`: the axis z is missing"),
            "{refused:?}"
        );
    }
}

#[test]
fn rotations_and_maps_by_dimension_are_read() {
    let value = json!([{
        "type": "byDimension", "input": axes("zyx"), "output": axes("zyx"),
        "transformations": [
            {"type": "rotation", "rotation": [[0, -1], [1, 0]], "input": axes("yx"), "output": axes("yx")},
            {"type": "scale", "scale": [5], "input": axes("z"), "output": axes("z")},
        ],
    }]);
    let affine = parse_all("k", Some(&value)).unwrap()[0]
        .to_affine()
        .unwrap();
    assert_eq!(affine.apply(&[1.0, 2.0, 3.0]), [2.0, -1.0, 15.0]);
}

#[test]
fn what_is_made_is_read_back_as_it_was() {
    let scale = Transformation::scale(&["x", "y"], &[2.0, 3.0], "a").unwrap();
    let shift = Transformation::translation(&["x", "y"], &[0.5, -3.0], "b").unwrap();
    let both = Transformation::sequence(vec![scale.clone(), shift.clone()], "c").unwrap();
    let matrix = Transformation::from_affine(&both.to_affine().unwrap(), "d");
    let same = Transformation::identity(&["x", "y"], "f").with_target("e");
    let all = [scale, shift, both, matrix, same];
    let written = write_all("k", &all, &["x", "y"]).unwrap();
    let read = parse_all("k", Some(&written)).unwrap();
    assert_eq!(read, all);
    let targets: Vec<&str> = read.iter().map(Transformation::target).collect();
    assert_eq!(targets, ["a", "b", "c", "d", "e"]);
    assert_eq!(read[2].to_affine().unwrap(), read[3].to_affine().unwrap());
}

/// Who reads an element, changes a column and writes it keeps the maps that only another program can use.
#[test]
fn a_map_that_was_read_and_cannot_be_resolved_is_written_back_as_it_was() {
    let value = json!([{
        "type": "mapAxis", "mapAxis": {"x": "z", "y": "y"}, "input": axes("xy"), "output": axes("xy"),
    }]);
    let maps = parse_all("k", Some(&value)).unwrap();
    assert!(maps[0].to_affine().is_err());
    assert_eq!(write_all("k", &maps, &["x", "y"]).unwrap(), value);
}

/// spatialdata 0.8.0 reads scales 5, 7 and 8 into `global`, `b` and `global` as `{"global": 8, "b": 7}`.
#[test]
fn of_maps_into_the_same_system_the_last_is_read() {
    let scale = |factor: f64, target: &str| {
        let map = Transformation::scale(&["y", "x"], &[factor; 2], target).unwrap();
        map.to_json().clone()
    };
    let value = json!([scale(5.0, "global"), scale(7.0, "b"), scale(8.0, "global")]);
    let maps = parse_all("k", Some(&value)).unwrap();
    let found: Vec<(&str, Option<f64>)> = maps
        .iter()
        .map(|map| (map.target(), map.to_affine().unwrap().step_length("x")))
        .collect();
    assert_eq!(found, [("global", Some(8.0)), ("b", Some(7.0))]);
    // And so it can be written.
    let written = write_all("k", &maps, &["x", "y"]).unwrap();
    assert_eq!(written, json!([scale(8.0, "global"), scale(7.0, "b")]));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let one = Transformation::identity(&["x"], "a");
    let good = Transformation::identity(&["x", "y"], "a");
    for bad in [vec![one], vec![good.clone(), good.clone()]] {
        let refused = write_all("k", &bad, &["x", "y"]);
        assert!(matches!(refused, Err(Error::InvalidTransform { .. })));
    }
    assert!(write_all("k", &[good], &["x", "y"]).is_ok());
    assert!(Transformation::sequence(Vec::new(), "a").is_err());
    assert!(Transformation::affine(&["x"], &["x"], &Array2::eye(2), "a").is_err());
}

#[test]
fn lengths_and_axes_of_maps_are_checked_and_the_axis_is_named() {
    let xy = &["x", "y"][..];
    let many: Vec<String> = (0..17).map(|i| format!("a{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (refused, reason) in [
        (
            Transformation::scale(xy, &[2.0], "a"),
            "1 factors for the 2 axes x, y",
        ),
        (Transformation::scale(xy, &[], "a"), "0 factors"),
        (Transformation::translation(xy, &[1.0; 3], "a"), "3 offsets"),
        (
            Transformation::scale(&["x", "x"], &[1.0, 2.0], "a"),
            "x is named twice",
        ),
        (
            Transformation::scale(xy, &[f64::NAN, 1.0], "a"),
            "NaN is not finite",
        ),
        (
            Transformation::scale(&many, &[1.0; 17], "a"),
            "more than 16 axes",
        ),
        (
            Transformation::affine(&["y", "y"], xy, &Array2::zeros((2, 3)), "a"),
            "y is named twice",
        ),
        (
            Transformation::affine(xy, xy, &Array2::from_elem((2, 3), f64::INFINITY), "a"),
            "inf is not finite",
        ),
    ] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
    }
    let x = Transformation::scale(&["x"], &[2.0], "a").unwrap();
    let y = Transformation::translation(&["y"], &[2.0], "a").unwrap();
    let refused = Transformation::sequence(vec![x, y], "a").unwrap_err();
    assert!(
        refused.to_string().contains("the axis y is missing"),
        "{refused}"
    );
}

#[test]
fn nonsense_is_an_invalid_transform() {
    let (i, o) = (axes("yx"), axes("yx"));
    for bad in [
        json!(null),
        json!([]),
        json!([{"type": "wobble", "input": i, "output": o}]),
        json!([{"type": "scale", "scale": [1], "input": i, "output": o}]),
        json!([{"type": "affine", "affine": [[1, 0, 0], [0, 1]], "input": i, "output": o}]),
        json!([{"type": "identity"}]),
        json!([{"type": "identity", "input": axes("c"), "output": axes("c")}]),
        json!([{"type": "identity", "input": axes("x"), "output": axes("x")}]),
        json!([{"type": "identity", "input": axes("xyabdefghijklmnop"), "output": o}]),
    ] {
        let refused = parse_all("k", Some(&bad));
        assert!(
            matches!(refused, Err(Error::InvalidTransform { .. })),
            "{bad}"
        );
    }
}
