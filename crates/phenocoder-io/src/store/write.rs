//! Writing, replacing and removing elements.

use std::sync::Arc;

use ndarray::{ArrayView3, ArrayView4, Axis};
use phenocoder_core::{ImageSource, LabelSource, Progress};
use serde_json::{Map, Value};

use super::atomic::{self, Change, Lock, is_same_but_case};
use super::element::{Element, ElementKind, WriteMode};
use super::listing::{OLD_TABLE, OLD_TABLES};
use super::{Store, listing};
use crate::array::StoredPixel;
use crate::disk::{LeftOver, Place, left_over};
use crate::node::{Node, ZarrFormat};
use crate::ome::{
    self, FromImage, FromLabels, Image, ImageWriteOptions, LabelWriteOptions, Labels, Pixels,
};
use crate::points::{self, PointsData, PointsWriteOptions};
use crate::shapes::{self, ShapesData, ShapesWriteOptions};
use crate::table::{self, TableData};
use crate::{Error, Result, json, path};

impl Store {
    /// Writes a table, whole or not at all.
    ///
    /// Other programs that read the store see the old table or the new one.
    /// Handles on the old table that are still open must not be read any more.
    /// An entry that could not be read ([`Uns::Unsupported`](crate::Uns::Unsupported)) is copied, bytes for bytes, from
    /// the table that is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTable`] when the table breaks a rule ([`TableData::validate`]), holds a value that would not come
    /// back as it is (see [`Uns::Column`](crate::Uns::Column) and [`Records`](crate::Records)), or holds an unsupported
    /// entry that the table being replaced does not have or has for other rows (see [`TableData::take_unsupported`]),
    /// [`Error::InvalidName`] for its name or that of a column,
    /// [`Error::TooLarge`] for a text, names or a column of more than 2 GiB, and for bytes or a record of more than 1 MiB,
    /// which would not be read back,
    /// [`Error::Exists`] with [`WriteMode::Create`] when there is one, [`Error::Locked`] while somebody else writes,
    /// and [`Error::Io`] when the disk is full or read-only; the store is then as it was.
    #[doc(alias = "write_element")]
    pub fn write_table(&mut self, name: &str, table: &TableData, mode: WriteMode) -> Result<()> {
        table.validate()?;
        let (root, format) = (Arc::clone(&self.root), self.format);
        self.put(ElementKind::Table, name, mode, |place, old| {
            table::write(place, format, table)?;
            table::carry_over(&root, format, old, table, place)
        })
    }

    /// Removes an element, whole or not at all.
    ///
    /// Tables that annotate it are left as they are.
    ///
    /// # Errors
    ///
    /// [`Error::NoElement`] when there is none, and [`Error::Locked`] and [`Error::Io`] as in
    /// [`write_table`](Self::write_table).
    #[doc(alias = "delete_element_from_disk")]
    pub fn remove(&mut self, kind: ElementKind, name: &str) -> Result<()> {
        #[cfg(feature = "object-store")]
        if self.root.remote().is_some() {
            return self.remove_remote(kind, name);
        }
        let lock = self.prepare()?;
        // That of SpatialData before 0.1 for its only table.
        let group = listing::group_of(self.element(kind, name)?);
        self.must_be_at_rest(group, &[name])?;
        // The hidden one first: without this one it would come back.
        if group == kind.group() && self.has_old_table(kind, name)? {
            self.remove_from(&lock, OLD_TABLES, name)?;
        }
        self.remove_from(&lock, group, name)?;
        self.elements.retain(|e| e.kind != kind || e.name != name);
        Ok(())
    }

    /// Gives an element another name, whole or not at all.
    ///
    /// Tables that annotate it are left as they are and name what is no longer there:
    /// write them with a new [`Annotation`](crate::Annotation).
    ///
    /// # Errors
    ///
    /// [`Error::NoElement`] when there is none, [`Error::InvalidName`] for a new name that breaks the rules or is taken,
    /// [`Error::ReadOnly`] on a server, where nothing can be renamed,
    /// and [`Error::Locked`] and [`Error::Io`] as in [`write_table`](Self::write_table).
    ///
    /// # Examples
    ///
    /// ```
    /// use phenocoder_io::{ContainerVersion, ElementKind, Store, TableData, WriteMode};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut store = Store::create(folder.path().join("s.zarr"), ContainerVersion::V02)?;
    /// store.write_table("draft", &TableData::new(vec![], vec![], None), WriteMode::Create)?;
    /// store.rename(ElementKind::Table, "draft", "cells")?;
    /// assert_eq!(store.table_names(), ["cells"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rename(&mut self, kind: ElementKind, name: &str, to: &str) -> Result<()> {
        let lock = self.prepare()?;
        let element = self.element(kind, name)?;
        let (key, group) = (element.key.clone(), listing::group_of(element));
        if group != kind.group() {
            let found = "the place of SpatialData before 0.1; write the table anew and remove it";
            return Err(Error::invalid(key, "a table in `tables/`", found));
        }
        if name == to {
            return Ok(());
        }
        self.must_be_at_rest(kind.group(), &[name, to])?;
        path::check_name(to)?;
        let others = self.elements.iter().filter(|e| e.key != key);
        check_free(to, others)?;
        // On a file system that does not tell case apart the element itself may be in the way.
        let group = self.root.writable()?.place(kind.group());
        let place = group.join(to);
        if !is_same_but_case(name, to) {
            place.must_be_free()?;
        } else if group.list()?.iter().any(|entry| entry.name == *to) {
            return Err(Error::Exists {
                path: place.path().to_owned(),
            });
        }
        let has_old = self.has_old_table(kind, name)?;
        let renamed = self.change(kind.group(), name).rename(&lock, to);
        self.cache.forget(&key);
        self.cache.forget(&path::child(kind.group(), to));
        self.look_again_unless(renamed)?;
        self.elements.retain(|e| e.key != key);
        self.enter(kind, to);
        if has_old {
            self.remove_hidden(&lock, name);
        }
        Ok(())
    }

    /// Writes an image, chunk by chunk, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] when a pixel does not fit the type asked for, [`Error::Source`] when the source cannot be
    /// read, [`Error::InvalidTransform`] for maps that do not take `x` and `y` or lead into the same system,
    /// [`Error::Cancelled`], and the errors of [`write_table`](Self::write_table); the store is then as it was.
    pub fn write_image(
        &mut self,
        name: &str,
        image: &dyn ImageSource,
        options: &ImageWriteOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        let pixels = FromImage {
            name,
            image,
            data_type: options.data_type,
        };
        self.put_image(name, &pixels, image.channels(), options, progress)
    }

    /// Writes an image in memory, `[c, z, y, x]`, every pixel as it is: 64-bit pixels keep all their bits.
    ///
    /// Channels are numbered unless the options name them.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the options ask for another type, and those of [`write_image`](Self::write_image).
    ///
    /// # Examples
    ///
    /// ```
    /// use ndarray::Array4;
    /// use phenocoder_core::{DataType, ImageSource, NoProgress};
    /// use phenocoder_io::{ContainerVersion, ImageWriteOptions, Store};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut store = Store::create(folder.path().join("s.zarr"), ContainerVersion::V02)?;
    /// let pixels = Array4::from_elem((1, 1, 2, 2), u64::MAX);
    /// let options = ImageWriteOptions::new(DataType::UInt64);
    /// store.write_pixels("a", pixels.view(), &options, &NoProgress)?;
    ///
    /// let image = store.image("a")?;
    /// let mut pixels = [0; 4];
    /// image.read_typed(&image.shape().region(), &mut pixels)?;
    /// assert_eq!(pixels, [u64::MAX; 4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_pixels<T: StoredPixel>(
        &mut self,
        name: &str,
        pixels: ArrayView4<'_, T>,
        options: &ImageWriteOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        let channels: Vec<String> = (0..pixels.dim().0).map(|c| c.to_string()).collect();
        self.put_image(name, &pixels, &channels, options, progress)
    }

    /// Writes an image of this or another store, every pixel as it is.
    ///
    /// [`ImageWriteOptions::like`] keeps its levels, channels, maps and looks.
    ///
    /// # Errors
    ///
    /// As [`write_pixels`](Self::write_pixels), and when the image cannot be read.
    pub fn copy_image(
        &mut self,
        name: &str,
        image: &Image,
        options: &ImageWriteOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        self.put_image(name, image.raster(), image.channels(), options, progress)
    }

    fn put_image(
        &mut self,
        name: &str,
        pixels: &dyn Pixels,
        channels: &[String],
        options: &ImageWriteOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        let format = self.format;
        self.put(ElementKind::Image, name, options.mode, |place, _| {
            ome::write_image(place, name, format, pixels, channels, options, progress)
        })
    }

    /// Writes a label mask, chunk by chunk, whole or not at all.
    ///
    /// # Errors
    ///
    /// As [`write_image`](Self::write_image).
    pub fn write_labels(
        &mut self,
        name: &str,
        labels: &dyn LabelSource,
        options: &LabelWriteOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        let pixels = FromLabels {
            name,
            labels,
            data_type: options.data_type,
        };
        self.put_labels(name, &pixels, options, progress)
    }

    /// Writes a mask in memory, `[z, y, x]`, every label as it is.
    ///
    /// # Errors
    ///
    /// As [`write_pixels`](Self::write_pixels).
    pub fn write_label_pixels<T: StoredPixel>(
        &mut self,
        name: &str,
        labels: ArrayView3<'_, T>,
        options: &LabelWriteOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        let labels = labels.insert_axis(Axis(0));
        self.put_labels(name, &labels, options, progress)
    }

    /// Writes a mask of this or another store, every label as it is.
    ///
    /// # Errors
    ///
    /// As [`copy_image`](Self::copy_image).
    pub fn copy_labels(
        &mut self,
        name: &str,
        labels: &Labels,
        options: &LabelWriteOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        self.put_labels(name, labels.raster(), options, progress)
    }

    fn put_labels(
        &mut self,
        name: &str,
        pixels: &dyn Pixels,
        options: &LabelWriteOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        let format = self.format;
        self.put(ElementKind::Labels, name, options.mode, |place, _| {
            ome::write_labels(place, name, format, pixels, options, progress)
        })
    }

    /// Writes points, whole or not at all.
    ///
    /// Categories are stored with their whole list, so that Python has the same ones in the same order.
    ///
    /// # Errors
    ///
    /// [`Error::MissingMetadata`] without columns `x` and `y`, [`Error::DataType`] for columns that Parquet or pandas
    /// does not have, [`Error::LengthMismatch`] for an index of another length, [`Error::Config`] for settings that are
    /// not possible, and the errors of [`write_table`](Self::write_table); the store is then as it was.
    pub fn write_points(
        &mut self,
        name: &str,
        points: &PointsData,
        options: &PointsWriteOptions,
    ) -> Result<()> {
        options.validate()?;
        let (attrs, table) = points::check(name, points)?;
        let format = self.format;
        self.put(ElementKind::Points, name, options.mode, |place, _| {
            points::write(place, format, attrs, &table, options)
        })
    }

    /// Writes shapes, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidGeometry`] when points have no radius greater than 0, are mixed with polygons, or a geometry has
    /// no vertices, and the errors of [`write_points`](Self::write_points); the store is then as it was.
    pub fn write_shapes(
        &mut self,
        name: &str,
        shapes: &ShapesData,
        options: &ShapesWriteOptions,
    ) -> Result<()> {
        let (attrs, table) = shapes::check(name, shapes)?;
        let format = self.format;
        self.put(ElementKind::Shapes, name, options.mode, |place, _| {
            shapes::write(place, format, attrs, &table, options)
        })
    }

    /// Replaces the attributes of the root group that are the user's own, whole or not at all.
    ///
    /// `spatialdata_attrs`, which holds the version of the store, stays as it is. So does, as it is written in the store,
    /// what is equal to that in [`attributes`](Self::attributes), which does not hold all numbers of Python.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] while somebody else writes, and [`Error::Io`]; the store is then as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use phenocoder_io::{ContainerVersion, Store};
    /// use serde_json::json;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut store = Store::create(folder.path().join("new.zarr"), ContainerVersion::V02)?;
    /// store.write_attributes(serde_json::from_value(json!({"donor": 7}))?)?;
    /// assert_eq!(store.attributes()["donor"], 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "write_attrs")]
    pub fn write_attributes(&mut self, attributes: Map<String, Value>) -> Result<()> {
        let mut attributes = attributes;
        let keep_own = |attributes: &mut Map<String, Value>, own: &Map<String, Value>| {
            match own.get("spatialdata_attrs") {
                Some(own) => attributes.insert("spatialdata_attrs".to_owned(), own.clone()),
                None => attributes.remove("spatialdata_attrs"),
            };
        };
        #[cfg(feature = "object-store")]
        if self.root.remote().is_some() {
            keep_own(&mut attributes, &self.attributes);
            return self.write_attributes_remote(attributes);
        }
        let lock = Lock::acquire(&self.root.writable()?.place(""))?;
        atomic::tidy(&self.root, &lock)?;
        let node = Node::open(&self.root, "", self.format)?;
        keep_own(&mut attributes, &node.attributes);
        let new = Value::Object(attributes.clone());
        let key = match self.format {
            ZarrFormat::V3 => "zarr.json",
            ZarrFormat::V2 => ".zattrs",
        };
        let old = self.root.read_metadata(key)?.unwrap_or_default();
        let text = match self.format {
            ZarrFormat::V3 => {
                let mut metadata = json::parse_members(key, &old)?;
                json::set_member(&mut metadata, "attributes", &new);
                json::object(&metadata)
            }
            ZarrFormat::V2 => json::render_onto(&String::from_utf8_lossy(&old), &new),
        };
        let bytes = text.into_bytes();
        let replaced = atomic::replace_root(&self.root, self.format, &lock, key, bytes);
        match &replaced {
            Ok(()) => self.attributes = attributes,
            // What is there now may be the old or the new.
            Err(_) => {
                if let Ok(node) = Node::open(&self.root, "", self.format) {
                    self.attributes = node.attributes;
                }
            }
        }
        replaced
    }

    fn put(
        &mut self,
        kind: ElementKind,
        name: &str,
        mode: WriteMode,
        write: impl FnOnce(&Place, Option<&str>) -> Result<()>,
    ) -> Result<()> {
        #[cfg(feature = "object-store")]
        if self.root.remote().is_some() {
            return self.put_remote(kind, name, mode, write);
        }
        let lock = self.prepare()?;
        let existing = self
            .elements
            .iter()
            .find(|e| e.kind == kind && e.name == name)
            .map(|e| e.key.clone());
        match (&existing, mode) {
            (Some(_), WriteMode::Create) => {
                let place = self.root.writable()?.place(kind.group()).join(name);
                return Err(Error::Exists {
                    path: place.path().to_owned(),
                });
            }
            (Some(_), WriteMode::Replace) => {}
            (None, _) => {
                path::check_name(name)?;
                check_free(name, self.elements.iter())?;
                // Something that is no element, such as a file.
                self.root
                    .writable()?
                    .place(kind.group())
                    .join(name)
                    .must_be_free()?;
            }
        }
        self.must_be_at_rest(kind.group(), &[name])?;
        let has_old = self.has_old_table(kind, name)?;
        let put = self
            .change(kind.group(), name)
            .put(&lock, |staged| write(staged, existing.as_deref()));
        self.cache.forget(&path::child(kind.group(), name));
        self.look_again_unless(put)?;
        self.enter(kind, name);
        if has_old {
            self.remove_hidden(&lock, name);
        }
        Ok(())
    }

    /// Whether there is a table of SpatialData before 0.1 of this name, which is to go with the element.
    fn has_old_table(&self, kind: ElementKind, name: &str) -> Result<bool> {
        if kind != ElementKind::Table || name != OLD_TABLE || !listing::has_old_table(&self.root)? {
            return Ok(false);
        }
        self.must_be_at_rest(OLD_TABLES, &[name])?;
        Ok(true)
    }

    /// Removes the table of SpatialData before 0.1 after a change that has been made: where that fails, it stays hidden, or is
    /// shown again.
    fn remove_hidden(&mut self, lock: &Lock, name: &str) {
        if let Err(error) = self.remove_from(lock, OLD_TABLES, name) {
            tracing::warn!(name, %error, "the table of SpatialData before 0.1 stays");
        }
    }

    fn remove_from(&mut self, lock: &Lock, group: &'static str, name: &str) -> Result<()> {
        let removed = self.change(group, name).remove(lock);
        self.cache.forget(&path::child(group, name));
        self.look_again_unless(removed)
    }

    /// Sees what is there after a change that failed: it may be what was to be there.
    pub(super) fn look_again_unless(&mut self, changed: Result<()>) -> Result<()> {
        if changed.is_err()
            && let Ok(elements) = listing::list(&self.root)
        {
            self.elements = elements;
        }
        changed
    }

    /// Takes the right to write, and sees what others wrote since the store was opened.
    pub(super) fn prepare(&mut self) -> Result<Lock> {
        let lock = Lock::acquire(&self.root.writable()?.place(""))?;
        atomic::tidy(&self.root, &lock)?;
        self.elements = listing::list(&self.root)?;
        Ok(lock)
    }

    /// An error that names what a writer that cannot be helped has taken out of the place of an element.
    ///
    /// It would be put back as soon as the place is empty.
    fn must_be_at_rest(&self, group: &str, names: &[&str]) -> Result<()> {
        for entry in self.root.entries(group)? {
            if let Some(LeftOver::Old(name)) = left_over(&entry.name)
                && names.contains(&name)
            {
                return Err(listing::locked(
                    &self.root,
                    &path::child(group, &entry.name),
                ));
            }
        }
        Ok(())
    }

    fn change<'a>(&'a self, group: &'static str, name: &'a str) -> Change<'a> {
        Change {
            root: &self.root,
            format: self.format,
            group,
            name,
        }
    }

    /// Adds an element to the table of contents.
    pub(super) fn enter(&mut self, kind: ElementKind, name: &str) {
        let key = path::child(kind.group(), name);
        self.elements.retain(|e| e.kind != kind || e.name != name);
        let name = name.to_owned();
        self.elements.push(Element { kind, name, key });
        self.elements
            .sort_unstable_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    }
}

/// Names differ over all kinds of elements, also where case is not told apart.
pub(super) fn check_free<'a>(
    name: &str,
    mut others: impl Iterator<Item = &'a Element>,
) -> Result<()> {
    let lower = name.to_lowercase();
    if others.any(|e| e.name.to_lowercase() == lower) {
        return Err(Error::InvalidName {
            name: name.to_owned(),
            problem: "another element has this name, or one that differs in case only",
        });
    }
    Ok(())
}
