//! Colours that people with any kind of colour vision can tell apart.

use serde::{Deserialize, Serialize};

/// A colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rgb(
    /// Red.
    pub u8,
    /// Green.
    pub u8,
    /// Blue.
    pub u8,
);

impl Rgb {
    pub(crate) const WHITE: Self = Self(255, 255, 255);
    pub(crate) const TEXT: Self = Self(38, 38, 38);
    pub(crate) const AXIS: Self = Self(80, 80, 80);
    pub(crate) const MUTED: Self = Self(110, 110, 110);
    pub(crate) const GRID: Self = Self(230, 230, 230);
    /// What has no value or no category.
    pub(crate) const MISSING: Self = Self(205, 205, 205);

    const fn hex(code: u32) -> Self {
        Self((code >> 16) as u8, (code >> 8) as u8, code as u8)
    }

    /// The colour as HTML, CSS and SVG write it.
    ///
    /// ```
    /// use phenocoder_plot::Rgb;
    ///
    /// assert_eq!(Rgb(0, 114, 178).to_hex(), "#0072b2");
    /// ```
    #[must_use]
    pub fn to_hex(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }

    /// The mixture with `t` of `other`.
    pub(crate) fn mix(self, other: Self, t: f64) -> Self {
        let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * t).round() as u8;
        Self(
            mix(self.0, other.0),
            mix(self.1, other.1),
            mix(self.2, other.2),
        )
    }

    /// Relative luminance (WCAG 2.2), 0 for black and 1 for white.
    ///
    /// Black text has a contrast of more than 4.5 on colours above 0.179, white text on those below.
    ///
    /// ```
    /// use phenocoder_plot::Rgb;
    ///
    /// assert_eq!((Rgb(0, 0, 0).luminance(), Rgb(255, 255, 255).luminance()), (0.0, 1.0));
    /// ```
    #[must_use]
    pub fn luminance(self) -> f64 {
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.040_45 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }

    /// The colour of text on this one: black or white, whichever has the higher contrast.
    pub(crate) fn text_on(self) -> Self {
        if self.luminance() > 0.179 {
            Self(0, 0, 0)
        } else {
            Self::WHITE
        }
    }
}

/// Okabe & Ito (2008), "Color universal design"; black last, for it is the colour of the text.
const OKABE_ITO: [Rgb; 8] = [
    Rgb::hex(0x00_72b2),
    Rgb::hex(0xe6_9f00),
    Rgb::hex(0x00_9e73),
    Rgb::hex(0xcc_79a7),
    Rgb::hex(0xd5_5e00),
    Rgb::hex(0x56_b4e9),
    Rgb::hex(0xf0_e442),
    Rgb::hex(0x00_0000),
];

/// Okabe and Ito's colours without black, continued.
const EXTENDED: [Rgb; 24] = [
    Rgb::hex(0x00_72b2),
    Rgb::hex(0xe6_9f00),
    Rgb::hex(0x00_9e73),
    Rgb::hex(0xcc_79a7),
    Rgb::hex(0xd5_5e00),
    Rgb::hex(0x56_b4e9),
    Rgb::hex(0xf0_e442),
    Rgb::hex(0x78_003c),
    Rgb::hex(0x3c_00a5),
    Rgb::hex(0x78_00ff),
    Rgb::hex(0x87_4b1e),
    Rgb::hex(0x87_78ff),
    Rgb::hex(0xb4_0f78),
    Rgb::hex(0x78_c387),
    Rgb::hex(0xd2_0fc3),
    Rgb::hex(0x69_0078),
    Rgb::hex(0xff_3c69),
    Rgb::hex(0x00_00d2),
    Rgb::hex(0xa5_e187),
    Rgb::hex(0xff_78d2),
    Rgb::hex(0x87_d2ff),
    Rgb::hex(0xd2_004b),
    Rgb::hex(0x69_2d00),
    Rgb::hex(0x69_3ca5),
];

/// The colour of category `code` of `n`.
///
/// Up to 8 categories have the colours of Okabe and Ito, which differ for every kind of colour vision.
/// Up to 24 follow colours that were chosen one after the other to be farthest from all before them, both as seen
/// normally and as seen with deuteranopia and protanopia; later ones are lighter and darker forms of these.
/// Where points have shapes and bars have patterns, [`Mark`](crate::Mark) tells more of them apart.
///
/// # Examples
///
/// ```
/// use phenocoder_plot::{Rgb, category_color};
///
/// assert_eq!(category_color(0, 3), Rgb(0, 114, 178));
/// assert_ne!(category_color(10, 40), category_color(34, 40));
/// ```
#[must_use]
pub fn category_color(code: usize, n: usize) -> Rgb {
    if n <= OKABE_ITO.len() {
        return OKABE_ITO[code % OKABE_ITO.len()];
    }
    let base = EXTENDED[code % EXTENDED.len()];
    match (code / EXTENDED.len()) % 3 {
        0 => base,
        1 => base.mix(Rgb::WHITE, 0.45),
        _ => base.mix(Rgb::TEXT, 0.45),
    }
}

/// How numbers become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ColorMap {
    /// Dark violet over green to yellow, of even steps in lightness (Smith and van der Walt 2015).
    Viridis,
    /// Dark blue over grey to yellow, the same for every kind of colour vision (Nuñez et al. 2018,
    /// doi:10.1371/journal.pone.0199239).
    Cividis,
    /// Blue over white to red (`RdBu` of ColorBrewer, reversed), for numbers with a meaningful middle.
    BlueRed,
    /// Black to white.
    Grey,
}

impl ColorMap {
    /// The colour at `t` in `[0, 1]`; numbers beyond it take the end's colour, NaN the grey of missing values.
    ///
    /// # Examples
    ///
    /// ```
    /// use phenocoder_plot::{ColorMap, Rgb};
    ///
    /// assert_eq!(ColorMap::Grey.color(1.0), Rgb(255, 255, 255));
    /// assert_eq!(ColorMap::BlueRed.color(0.5), Rgb(247, 247, 247));
    /// ```
    #[must_use]
    pub fn color(self, t: f64) -> Rgb {
        if t.is_nan() {
            return Rgb::MISSING;
        }
        let stops: &[u32] = match self {
            Self::Viridis => &VIRIDIS,
            Self::Cividis => &CIVIDIS,
            Self::BlueRed => &BLUE_RED,
            Self::Grey => &[0x00_0000, 0xff_ffff],
        };
        let last = stops.len() - 1;
        let place = t.clamp(0.0, 1.0) * last as f64;
        let i = (place.floor() as usize).min(last - 1);
        Rgb::hex(stops[i]).mix(Rgb::hex(stops[i + 1]), place - i as f64)
    }
}

const VIRIDIS: [u32; 11] = [
    0x44_0154, 0x48_2576, 0x41_4487, 0x35_608d, 0x2a_788e, 0x21_908c, 0x22_a884, 0x43_bf71,
    0x7a_d151, 0xbb_df27, 0xfd_e725,
];

const CIVIDIS: [u32; 10] = [
    0x00_204d, 0x00_336f, 0x39_486b, 0x57_5c6d, 0x70_7173, 0x8a_8779, 0xa6_9d75, 0xc4_b56c,
    0xe4_cf5b, 0xff_ea46,
];

const BLUE_RED: [u32; 11] = [
    0x05_3061, 0x21_66ac, 0x43_93c3, 0x92_c5de, 0xd1_e5f0, 0xf7_f7f7, 0xfd_dbc7, 0xf4_a582,
    0xd6_604d, 0xb2_182b, 0x67_001f,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequential_maps_grow_lighter_all_the_way() {
        for map in [ColorMap::Viridis, ColorMap::Cividis, ColorMap::Grey] {
            let light: Vec<f64> = (0..=40)
                .map(|i| map.color(f64::from(i) / 40.0).luminance())
                .collect();
            assert!(light.windows(2).all(|w| w[0] < w[1]), "{map:?}: {light:?}");
        }
    }

    #[test]
    fn text_stands_out_from_every_color_of_a_map() {
        for map in [
            ColorMap::Viridis,
            ColorMap::Cividis,
            ColorMap::BlueRed,
            ColorMap::Grey,
        ] {
            for i in 0..=255 {
                let color = map.color(f64::from(i) / 255.0);
                let (a, b) = (color.luminance(), color.text_on().luminance());
                let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(contrast >= 4.5, "{map:?} at {i}: {contrast}");
            }
        }
    }

    #[test]
    fn colors_of_many_categories_differ() {
        for n in [8, 24, 72] {
            let mut colors: Vec<Rgb> = (0..n).map(|code| category_color(code, n)).collect();
            colors.sort_by_key(|c| (c.0, c.1, c.2));
            colors.dedup();
            assert_eq!(colors.len(), n);
        }
    }

    #[test]
    fn values_out_of_range_take_the_colors_of_the_ends() {
        assert_eq!(ColorMap::Viridis.color(-3.0), ColorMap::Viridis.color(0.0));
        assert_eq!(
            ColorMap::Viridis.color(f64::INFINITY),
            Rgb(0xfd, 0xe7, 0x25)
        );
        assert_eq!(ColorMap::Viridis.color(f64::NAN), Rgb::MISSING);
    }
}
