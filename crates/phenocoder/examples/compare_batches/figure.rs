//! The cells before and after each correction, as one picture.

use phenocoder::core::Categorical;
use phenocoder::pipeline::BatchCorrection;
use phenocoder::plot::{AxesStyle, ColorBy, Figure, LegendPlace, ScatterConfig, scatter};

use crate::{Comparison, MAP};

/// Width and height of a panel, in points.
const SIDE: f64 = 195.0;
/// What the last panel has more, for the names of the colours.
const LEGEND: f64 = 130.0;

impl Comparison {
    /// Maps the cells after each correction and colours them by batch, and below by label, if a picture is asked for.
    pub(crate) fn draw(&mut self) -> anyhow::Result<()> {
        let Some(path) = self.arguments.figure.clone() else {
            return Ok(());
        };
        let batches = self.labels(&self.arguments.batch_key)?;
        let labels = self.labels(&self.arguments.label_key)?;
        let mut ways = Vec::from(self.corrections().map(|(name, how)| (name, how, false)));
        ways.push(("balanced neighbours", BatchCorrection::None, true));
        let last = ways.len() - 1;
        let mut figure: Option<Figure> = None;
        for (number, (name, correction, balanced)) in ways.into_iter().enumerate() {
            self.map(correction, balanced)?;
            let points = self.store.table(&self.arguments.table)?.obsm(MAP)?;
            let panel = |title: &str, key: &str, by: &Categorical| {
                let (legend, width) = match number == last {
                    true => (LegendPlace::Right, SIDE + LEGEND),
                    false => (LegendPlace::Hidden, SIDE),
                };
                let config = ScatterConfig::default()
                    .with_title(title)
                    .with_legend_title(key)
                    .with_legend(legend)
                    .with_axes(AxesStyle::Hidden)
                    .with_point_radius(1.0)
                    .with_size(width, SIDE);
                scatter(points.view(), ColorBy::Categories(by), &config)
            };
            let column = panel(name, &self.arguments.batch_key, &batches)?.above(panel(
                " ",
                &self.arguments.label_key,
                &labels,
            )?);
            figure = Some(match figure {
                Some(before) => before.beside(column),
                None => column,
            });
        }
        if let Some(figure) = figure {
            std::fs::write(path, figure.to_png(1.0)?)?;
        }
        Ok(())
    }
}
