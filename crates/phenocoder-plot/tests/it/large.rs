//! As much as there is in practice, and as extreme.

use super::*;

#[test]
fn a_hundred_thousand_points_are_drawn_as_one_picture() {
    let points = cloud(100_000);
    let kinds = thirds(100_000);
    let config = ScatterConfig::embedding("UMAP");
    let figure = scatter(points.view(), ColorBy::Categories(&kinds), &config).unwrap();
    let png = figure.to_png(2.0).unwrap();
    let svg = figure.to_svg().unwrap();
    assert!(
        svg.contains("<image") && svg.len() < 4_000_000,
        "{}",
        svg.len()
    );
    assert!(decode(&png).count(Rgb(255, 255, 255)) > 1_000);
}

#[test]
fn more_categories_and_longer_names_than_fit_do_not_break_the_layout() {
    let names =
        (0..300).map(|i| format!("category number {i} with a name that is too long to show"));
    let kinds = Categorical::from_labels(names);
    let points = cloud(300);
    for (width, height) in [(120.0, 120.0), (720.0, 540.0)] {
        let config = ScatterConfig::default()
            .with_title("title ".repeat(50))
            .with_labels("x ".repeat(400), "y ".repeat(400))
            .with_size(width, height);
        let figure = scatter(points.view(), ColorBy::Categories(&kinds), &config).unwrap();
        assert!(figure.to_svg().unwrap().contains(" more</text>"));
        draw(&figure);
    }
    let config = BarsConfig::default().with_size(120.0, 120.0);
    draw(&bars(&kinds, None, &config).unwrap());
}

#[test]
fn two_legends_share_the_height_and_say_what_they_leave_out() {
    let points = cloud(80);
    let names: Vec<String> = (0..80).map(|i| format!("sample {i}")).collect();
    let samples = Categorical::from_labels(&names);
    let batches = Categorical::from_labels((0..80).map(|i| format!("batch {}", i % 12)));
    let every = |n: usize| {
        let names = (0..80_usize).map(move |i| format!("kind {}", i % n));
        Categorical::from_labels(names)
    };
    let both = |condition: &Categorical, batch: &Categorical| {
        let config = SampleMapConfig::default().with_title("Samples");
        sample_map(points.view(), &names, condition, batch, &config).unwrap()
    };
    // Without a column of conditions, samples have the colours; a legend of as many shapes does not fit either.
    for (condition, batch) in [
        (&samples, &batches),
        (&batches, &samples),
        (&samples, &samples),
        (&every(25), &every(20)),
    ] {
        let figure = both(condition, batch);
        let svg = figure.to_svg().unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let mut entries = 0;
        let texts = document.descendants();
        for text in texts.filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "text"))) {
            let words = text.text().unwrap();
            let y: f64 = text.attribute("y").unwrap().parse().unwrap();
            assert!(y < figure.size().1, "{words} at {y}");
            // Names beside the points have a halo.
            if text.attribute("stroke").is_none() {
                let left_out = words
                    .strip_prefix("+ ")
                    .and_then(|n| n.strip_suffix(" more"));
                let kinds = ["sample ", "batch ", "kind "];
                let is_entry = kinds.iter().any(|kind| words.starts_with(kind));
                entries += left_out.map_or(usize::from(is_entry), |n| n.parse().unwrap());
            }
        }
        let all = condition.categories().len() + batch.categories().len();
        assert_eq!(entries, all, "what is neither shown nor counted");
    }
    // The few batches have all the room that they need.
    let svg = both(&samples, &batches).to_svg().unwrap();
    for batch in batches.categories() {
        assert!(svg.contains(&format!(">{batch}</text>")), "{batch}");
    }
}

#[test]
fn names_of_any_length_are_drawn() {
    let name = "a name that does not end ".repeat(4_000);
    let kinds = Categorical::from_labels([name.as_str(), "b", "c"]);
    draw(&bars(&kinds, None, &BarsConfig::default()).unwrap());
    let config = ScatterConfig::default().with_title(&name);
    draw(&scatter(cloud(3).view(), ColorBy::Categories(&kinds), &config).unwrap());
}

#[test]
fn a_matrix_of_many_cells_is_embedded_as_pixels() {
    let values = Array2::from_shape_fn((200, 300), |(i, j)| (i * j) as f64);
    let rows: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    let columns: Vec<String> = (0..300).map(|i| i.to_string()).collect();
    let figure = heat_map(values.view(), &rows, &columns, &HeatMapConfig::default()).unwrap();
    let svg = figure.to_svg().unwrap();
    assert!(svg.contains("<image"));
    draw(&figure);
}

#[test]
fn the_most_extreme_numbers_can_be_drawn() {
    for scale in [f64::MAX / 4.0, 1e300, 1e-300, f64::MIN_POSITIVE] {
        let points = array![[-scale, -scale], [scale, scale], [0.0, scale]];
        let config = ScatterConfig::default();
        let values: Vec<f64> = points.column(0).to_vec();
        draw(&scatter(points.view(), ColorBy::Values(&values, "v"), &config).unwrap());
        let matrix = heat_map(
            points.view(),
            &["a", "b", "c"],
            &["u", "v"],
            &HeatMapConfig::diverging(),
        );
        draw(&matrix.unwrap());
        for log in [false, true] {
            let curve = Curve::over_epochs("a", values.clone());
            draw(
                &curves(
                    &[curve],
                    &CurvesConfig::default().with_log_x(log).with_log_y(log),
                )
                .unwrap(),
            );
        }
    }
}
