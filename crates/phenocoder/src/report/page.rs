//! The page as a whole: what fits, and the template.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use phenocoder_io::PatchSet;
use sha2::{Digest as _, Sha256};

use super::cells::Cells;
use super::data::{Channel, MapData};
use super::gallery::{Examples, examples};
use super::gather::{Gathered, Run};
use super::html::{count, escape, json};
use super::sections::{self, Section};
use super::sprites::{MOST_CHANNELS, MOST_SIDE, Tiles};
use super::traversal::Walks;
use super::{ChannelColors, Part, ReportConfig, part};
use crate::error::Result;

const TEMPLATE: &str = include_str!("assets/page.html");
const STYLE: &str = include_str!("assets/style.css");
const SCRIPTS: [&str; 2] = [
    include_str!("assets/map.js"),
    include_str!("assets/table.js"),
];

/// Clusters beyond these, by size, have no pictures of their own.
const MOST_CLUSTERS: usize = 40;
/// Patches in memory at once, by number and by bytes.
const RUN: (usize, usize) = (512, 64 << 20);
/// Colours that are added up where channels lie over each other.
const COLORS: [[u8; 3]; MOST_CHANNELS] = [
    [0, 190, 255],
    [255, 60, 170],
    [255, 215, 0],
    [60, 220, 120],
    [170, 120, 255],
    [235, 235, 235],
];

/// How much the page shows; lowered until it fits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Limits {
    pub(super) cells: usize,
    pub(super) patches: usize,
    pub(super) side: usize,
    /// Whether walks along latents are shown.
    pub(super) walks: bool,
    /// Nothing is left that could be left out.
    exceeded: bool,
}

impl Limits {
    pub(super) fn new(settings: &ReportConfig) -> Self {
        Self {
            cells: settings.max_cells,
            patches: settings.max_patches,
            side: MOST_SIDE,
            walks: true,
            exceeded: false,
        }
    }

    /// Shows less: half the pictures, then smaller ones, then fewer cells, then no pictures of cells, then none of walks;
    /// `false` at the end.
    pub(super) fn lower(&mut self) -> bool {
        match () {
            () if self.patches > 500 => self.patches /= 2,
            () if self.side > 24 => self.side = if self.side > 32 { 32 } else { 24 },
            () if self.cells > 2_000 => self.cells /= 2,
            () if self.patches > 60 => self.patches /= 2,
            () if self.patches > 0 => self.patches = 0,
            () if self.walks => self.walks = false,
            () if !self.exceeded => self.exceeded = true,
            () => return false,
        }
        true
    }
}

/// Everything that is read once.
pub(super) struct Material<'a> {
    pub(super) run: Run<'a>,
    pub(super) gathered: Gathered,
    pub(super) cells: Part<Cells>,
    pub(super) walks: Part<Walks>,
    pub(super) patches: Part<PatchSet>,
    /// Typical and odd cells of each cluster.
    pub(super) examples: Part<Vec<Examples>>,
}

/// A page that was put together.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) cells: usize,
    pub(super) pictures: usize,
    pub(super) notes: Vec<String>,
}

/// The cells that are shown.
pub(super) struct Shown {
    /// Rows of the table, rising.
    pub(super) rows: Vec<usize>,
    /// The tile of each of these rows.
    pub(super) tile_of: Vec<Option<usize>>,
    pub(super) pictures: usize,
    /// Whether the tiles of walks follow those of the cells.
    pub(super) walks: bool,
    /// Latents that the map can be coloured by.
    pub(super) latents: usize,
}

impl Shown {
    /// The position of a row among those shown, with its tile.
    pub(super) fn place(&self, row: usize) -> Option<(usize, usize)> {
        let place = self.rows.binary_search(&row).ok()?;
        self.tile_of[place].map(|tile| (place, tile))
    }
}

impl<'a> Material<'a> {
    pub(super) fn new(
        run: Run<'a>,
        gathered: Gathered,
        cells: Part<Cells>,
        walks: Part<Walks>,
        patches: Part<PatchSet>,
    ) -> Self {
        let examples = match &cells {
            Ok(cells) => examples_of(cells, run.settings.patches_per_cluster / 2),
            Err(why) => Err(why.clone()),
        };
        Self {
            run,
            gathered,
            cells,
            walks,
            patches,
            examples,
        }
    }

    /// The page within these limits.
    pub(super) fn compose(&self, limits: &Limits) -> Result<Page> {
        let mut tiles = Tiles::new(self.extent(), limits.side);
        let channels = self.channels(&tiles);
        let mut damage = None;
        let (shown, data) = match &self.cells {
            Ok(cells) => {
                let (mut shown, order) = self.choose(cells, limits);
                let read = self.read_tiles(cells, &order, &mut tiles);
                if let Err(why) = part(read, self.run.progress)? {
                    tiles = Tiles::new(self.extent(), limits.side);
                    shown.tile_of.fill(None);
                    shown.pictures = 0;
                    damage = Some(format!("no pictures of cells: {why}"));
                }
                if limits.walks {
                    self.add_walks(&mut tiles);
                }
                let (data, latents) =
                    MapData::new(cells, &shown.rows, &shown.tile_of, &tiles, channels);
                shown.latents = latents;
                (Ok(shown), json(&data)?)
            }
            Err(why) => (Err(why.clone()), "null".to_owned()),
        };
        let mut notes = self.notes(limits, shown.as_ref().ok());
        notes.extend(damage);
        let sections = sections::all(self, shown.as_ref().map_err(String::as_str), &notes);
        let title = self.title();
        let images: Vec<String> = tiles
            .images()?
            .iter()
            .map(|image| format!("<img class=\"atlas\" alt=\"\" hidden src=\"{image}\">"))
            .collect();
        let html = fill(TEMPLATE, |name| match name {
            "title" => escape(&title),
            "policy" => policy(),
            "style" => STYLE.to_owned(),
            "head" => sections::head(self, &title),
            "navigation" => sections::navigation(&sections),
            "main" => sections.iter().map(Section::html).collect(),
            "images" => images.concat(),
            "data" => data.clone(),
            "scripts" => SCRIPTS
                .map(|script| format!("<script>{script}</script>"))
                .concat(),
            _ => String::new(),
        });
        Ok(Page {
            html,
            cells: shown.as_ref().map_or(0, |shown| shown.rows.len()),
            pictures: shown.as_ref().map_or(0, |shown| shown.pictures),
            notes,
        })
    }

    fn title(&self) -> String {
        let named = self.run.settings.title.clone();
        named.unwrap_or_else(|| {
            let address = self.run.store.address();
            let name = address.trim_end_matches('/').rsplit('/').next();
            name.unwrap_or("phenocoder").to_owned()
        })
    }

    /// Rows, columns and channels of a patch.
    pub(super) fn extent(&self) -> (usize, usize, usize) {
        match (&self.patches, &self.walks) {
            (Ok(patches), _) => {
                let shape = patches.shape();
                (shape.height, shape.width, shape.channels)
            }
            (_, Ok(walks)) => walks.extent,
            _ => (1, 1, 1),
        }
    }

    /// The channels of the tiles with their colours.
    pub(super) fn channels(&self, tiles: &Tiles) -> Vec<Channel> {
        let names = self.gathered.manifest.as_ref().ok().map(|m| &m.channels);
        let chosen = |name: &str| match &self.run.settings.channels {
            ChannelColors::Named(named) => named.iter().find(|(known, _)| known == name),
            ChannelColors::Auto => None,
        };
        let color = |channel: usize| match tiles.channels {
            1 => [255; 3],
            // Magenta and green.
            2 => [[255, 60, 200], [40, 230, 90]][channel],
            _ => COLORS[channel],
        };
        (0..tiles.channels)
            .map(|channel| {
                let name = names.and_then(|names| names.get(channel)).cloned();
                let name = name.unwrap_or_else(|| format!("channel {}", channel + 1));
                let chosen = chosen(&name);
                Channel {
                    color: chosen.map_or_else(|| color(channel), |(_, color)| *color),
                    named: chosen.is_some(),
                    on: channel < 3,
                    name,
                }
            })
            .collect()
    }

    /// A note on channels that were given a colour and are not there.
    fn unknown_channels(&self) -> Option<String> {
        let ChannelColors::Named(named) = &self.run.settings.channels else {
            return None;
        };
        let known = &self.gathered.manifest.as_ref().ok()?.channels;
        let unknown: Vec<String> = named
            .iter()
            .filter(|(name, _)| !known.contains(name))
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        match unknown.is_empty() {
            true => None,
            false => Some(format!(
                "colours were named for channels that are not there: {}",
                unknown.join(", ")
            )),
        }
    }

    /// The cells that are shown, and those with a picture in the order of their tiles.
    pub(super) fn choose(&self, cells: &Cells, limits: &Limits) -> (Shown, Vec<usize>) {
        let settings = self.run.settings;
        // One of each cluster, then the next of each: what does not fit is missing everywhere alike.
        let mut first = Vec::new();
        for examples in self.examples.iter().flatten() {
            let both = [&examples.typical, &examples.odd];
            let ranked = both
                .into_iter()
                .flat_map(|rows| rows.iter().copied().enumerate());
            first.extend(ranked);
        }
        first.sort_by_key(|(rank, _)| *rank);
        let first: Vec<usize> = first.into_iter().map(|(_, row)| row).collect();
        let rows = cells.shown(&first, limits.cells, settings.seed);
        let first: Vec<usize> = first
            .into_iter()
            .filter(|row| rows.binary_search(row).is_ok())
            .collect();
        let order = cells.pictured(&rows, &first, limits.patches, settings.seed);
        let mut tile_of = vec![None; rows.len()];
        for (tile, row) in order.iter().enumerate() {
            if let Ok(place) = rows.binary_search(row) {
                tile_of[place] = Some(tile);
            }
        }
        let shown = Shown {
            rows,
            tile_of,
            pictures: order.len(),
            walks: limits.walks,
            latents: 0,
        };
        (shown, order)
    }

    /// The patches of these rows as tiles.
    pub(super) fn read_tiles(
        &self,
        cells: &Cells,
        order: &[usize],
        tiles: &mut Tiles,
    ) -> Result<()> {
        let Ok(patches) = &self.patches else {
            return Ok(());
        };
        for rows in order.chunks(at_once(self.extent())) {
            self.run.progress.check()?;
            let wanted: Vec<usize> = rows.iter().filter_map(|&row| cells.patches[row]).collect();
            for patch in patches.read_channels_last(&wanted)?.outer_iter() {
                tiles.push(patch);
            }
        }
        Ok(())
    }

    fn add_walks(&self, tiles: &mut Tiles) {
        for patch in self.walks.iter().flat_map(|walks| &walks.patches) {
            tiles.push(patch.view());
        }
    }

    /// What the page leaves out, and why.
    fn notes(&self, limits: &Limits, shown: Option<&Shown>) -> Vec<String> {
        let mut notes = Vec::new();
        if let (Ok(cells), Some(shown)) = (&self.cells, shown) {
            notes.extend(cells.notes.iter().cloned());
            let all = cells.len();
            if shown.rows.len() < all {
                let (n, all) = (count(shown.rows.len()), count(all));
                notes.push(format!(
                    "the map shows {n} of {all} cells: of every cluster in every sample its share"
                ));
            }
            let with_patch = shown
                .rows
                .iter()
                .filter(|&&row| cells.patches[row].is_some());
            let with_patch = with_patch.count();
            if shown.pictures < with_patch {
                let (n, all) = (count(shown.pictures), count(with_patch));
                notes.push(format!("{n} of {all} cells on the map have a picture"));
            }
            let (_, _, channels) = self.extent();
            if channels > MOST_CHANNELS {
                notes.push(format!(
                    "pictures show the first {MOST_CHANNELS} of {channels} channels"
                ));
            }
            let latents = cells.latents.ncols();
            if shown.latents < latents {
                let n = shown.latents;
                notes.push(format!(
                    "the map can be coloured by the {n} of {latents} latents that vary most"
                ));
            }
        }
        notes.extend(self.unknown_channels());
        let largest = self.run.settings.max_bytes;
        if *limits != Limits::new(self.run.settings) {
            let megabytes = largest as f64 / 1e6;
            notes.push(match limits.exceeded {
                false => format!("pictures or cells were left out so that this file is no larger than {megabytes} MB"),
                true => format!("even without pictures of cells and walks this file is larger than the {megabytes} MB that were allowed"),
            });
        }
        notes
    }
}

/// How many patches of this extent (rows, columns, channels) are in memory at once.
pub(super) fn at_once((height, width, channels): (usize, usize, usize)) -> usize {
    let bytes = size_of::<f32>() * height * width * channels;
    (RUN.1 / bytes.max(1)).clamp(1, RUN.0)
}

/// Up to `each` typical and `each` odd cells of every cluster, among the cells with a picture.
fn examples_of(cells: &Cells, each: usize) -> Part<Vec<Examples>> {
    let clusters = cells.clusters.as_ref().map_err(Clone::clone)?;
    let pictured = |row: usize| cells.patches[row].is_some();
    let latents = cells.latents.view();
    Ok(examples(latents, clusters, pictured, each, MOST_CLUSTERS))
}

/// The template with each `{{name}}` replaced once; what is put in is not looked at again.
fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else {
            break;
        };
        out.push_str(before);
        out.push_str(&value(name));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// What the browser may do: draw what is in the file and run the two programs of the page, known by their hashes.
fn policy() -> String {
    let hashes = SCRIPTS.map(|script| {
        let hash = STANDARD.encode(Sha256::digest(script.as_bytes()));
        format!("'sha256-{hash}'")
    });
    format!(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {}; base-uri 'none'; form-action 'none'",
        hashes.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_not_looked_at_again() {
        let filled = fill("<{{a}}|{{b}}>", |name| match name {
            "a" => "{{b}}".to_owned(),
            name => name.to_uppercase(),
        });
        assert_eq!(filled, "<{{b}}|B>");
    }

    #[test]
    fn less_and_less_is_shown_until_nothing_can_be_left_out() {
        let mut limits = Limits::new(&ReportConfig::new());
        let mut steps = vec![limits.clone()];
        while limits.lower() {
            steps.push(limits.clone());
        }
        assert!(steps.len() < 20);
        assert_eq!(steps[1].patches, 1_500);
        let last = &steps[steps.len() - 1];
        assert_eq!((last.patches, last.side, last.exceeded), (0, 24, true));
        assert!(last.cells <= 2_000);
        // Walks go last.
        assert!(!last.walks);
        assert!(
            steps
                .iter()
                .all(|limits| limits.walks || limits.patches == 0)
        );
    }

    #[test]
    fn fewer_patches_are_in_memory_at_once_where_they_are_large() {
        assert_eq!(at_once((32, 32, 3)), 512);
        assert_eq!(at_once((256, 256, 6)), 42);
        assert_eq!(at_once((4_000, 4_000, 8)), 1);
        assert_eq!(at_once((0, 0, 0)), 512);
    }

    #[test]
    fn the_assets_are_small_and_name_nothing_outside_the_page() {
        let map = include_str!("assets/map.html");
        let all = [TEMPLATE, STYLE, map, SCRIPTS[0], SCRIPTS[1]];
        assert!(all.iter().map(|text| text.len()).sum::<usize>() < 60_000);
        for text in all {
            for outside in [
                "http:", "https:", "//cdn", "@import", "url(", "fetch(", "import(", "XMLHttp",
            ] {
                assert!(!text.contains(outside), "{outside}");
            }
        }
        // A script element ends at the first end tag, wherever that stands.
        assert!(SCRIPTS.iter().all(|script| !script.contains("</")));
    }
}
