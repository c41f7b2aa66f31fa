//! Writing, replacing and removing elements.

use std::path::Path;
use std::sync::Arc;

use phenocoder_core::{ImageSource, LabelSource, Progress};

use super::atomic::{self, Change, Lock, unwatched};
use super::element::{ElementKind, WriteMode};
use super::{Store, listing};
use crate::ome::{self, ImageWriteOptions, LabelWriteOptions};
use crate::table::{self, TableData};
use crate::{Error, Result, path};

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
    /// [`Error::InvalidTable`] when the table breaks a rule or holds an unsupported entry that the table being replaced
    /// does not have or has for other rows (see [`TableData::take_unsupported`]), [`Error::InvalidName`] for its name,
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

    /// Removes a table.
    ///
    /// # Errors
    ///
    /// [`Error::NoElement`] when there is none, and [`Error::Locked`] and [`Error::Io`] as in
    /// [`write_table`](Self::write_table).
    #[doc(alias = "delete_element_from_disk")]
    pub fn remove_table(&mut self, name: &str) -> Result<()> {
        let lock = Lock::acquire(self.root.path())?;
        atomic::tidy(&self.root, &lock)?;
        self.elements = listing::list(&self.root)?;
        let key = self.element(ElementKind::Table, name)?.key.clone();
        let (group, name) = match key.as_str() {
            "table/table" => ("table", "table"),
            _ => (ElementKind::Table.group(), name),
        };
        let change = Change {
            root: &self.root,
            format: self.format,
            group,
            name,
        };
        change.remove(&lock, &unwatched)?;
        self.elements = listing::list(&self.root)?;
        Ok(())
    }

    /// Writes an image, chunk by chunk, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] when a pixel does not fit the type asked for, [`Error::Source`] when the source cannot be
    /// read, [`Error::Cancelled`], and the errors of [`write_table`](Self::write_table); the store is then as it was.
    pub fn write_image(
        &mut self,
        name: &str,
        image: &dyn ImageSource,
        options: &ImageWriteOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        let format = self.format;
        self.put(ElementKind::Image, name, options.mode, |place, _| {
            ome::write_image(place, name, format, image, options, progress)
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
        let format = self.format;
        self.put(ElementKind::Labels, name, options.mode, |place, _| {
            ome::write_labels(place, name, format, labels, options, progress)
        })
    }

    fn put(
        &mut self,
        kind: ElementKind,
        name: &str,
        mode: WriteMode,
        write: impl FnOnce(&Path, Option<&str>) -> Result<()>,
    ) -> Result<()> {
        let lock = Lock::acquire(self.root.path())?;
        atomic::tidy(&self.root, &lock)?;
        self.elements = listing::list(&self.root)?;
        let place = self.root.place(kind.group()).join(name);
        let existing = self
            .elements
            .iter()
            .find(|e| e.kind == kind && e.name == name)
            .map(|e| e.key.clone());
        match (&existing, mode) {
            (Some(_), WriteMode::Create) => return Err(Error::Exists { path: place }),
            (Some(_), WriteMode::Replace) => {}
            (None, _) => self.check_new_name(name)?,
        }
        let change = Change {
            root: &self.root,
            format: self.format,
            group: kind.group(),
            name,
        };
        change.put(&lock, &unwatched, |staged| {
            write(staged, existing.as_deref())
        })?;
        self.cache.forget(&path::child(kind.group(), name));
        self.elements = listing::list(&self.root)?;
        Ok(())
    }

    /// Names differ over all kinds of elements, also where case is not told apart.
    fn check_new_name(&self, name: &str) -> Result<()> {
        path::check_name(name)?;
        let lower = name.to_lowercase();
        if self.elements.iter().any(|e| e.name.to_lowercase() == lower) {
            return Err(Error::InvalidName {
                name: name.to_owned(),
                problem: "another element has this name, or one that differs in case only",
            });
        }
        Ok(())
    }
}
