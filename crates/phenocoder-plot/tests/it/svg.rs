//! What comes out as SVG.

use super::*;
use proptest::prelude::*;

#[test]
fn every_svg_is_well_formed() {
    for (name, figure) in one_of_each() {
        let svg = figure.to_svg().unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(document.root_element().tag_name().name(), "svg");
        let width: f64 = document
            .root_element()
            .attribute("width")
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(width, figure.size().0, "{name}");
    }
}

#[test]
fn an_embedded_image_is_a_png() {
    let patches = Array4::from_elem((1, 40, 40, 1), 0.5_f32);
    let figure = montage(
        patches.view(),
        patches.view(),
        &["c"],
        &MontageConfig::default(),
    )
    .unwrap();
    let svg = figure.to_svg().unwrap();
    // The signature of PNG in base64.
    assert_eq!(svg.matches("data:image/png;base64,iVBORw0KGgo").count(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_stays_text(title in any::<String>(), label in any::<String>()) {
        let config = CurvesConfig::default()
            .with_title(title.clone())
            .with_labels(label, "<y> & \"z\"");
        let figure = curves(&[Curve::over_epochs(title.clone(), vec![1.0, 2.0])], &config).unwrap();
        let svg = figure.to_svg().unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let texts: Vec<&str> = document
            .descendants()
            .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")))
            .filter_map(|node| node.text())
            .collect();
        prop_assert!(texts.contains(&"<y> & \"z\""));
        prop_assert!(document.descendants().all(|node| node.tag_name().name() != "script"));
        figure.to_png(0.5).unwrap();
    }
}
