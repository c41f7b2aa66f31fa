//! Points from a CSV file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use phenocoder_core::Categorical;

use super::input::{
    Described, Input, InputError, Overrides, Result, name_of, parameters, read_text,
};

/// A header and rows of text, with the line of every row.
struct Csv {
    path: PathBuf,
    header: Vec<String>,
    rows: Vec<(usize, Vec<String>)>,
}

impl Csv {
    fn read(path: &Path) -> Result<Self> {
        let text = read_text(path)?;
        let text = text.trim_start_matches('\u{feff}');
        let mut header: Option<Vec<String>> = None;
        let mut rows = Vec::new();
        for (i, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.is_empty())
        {
            let line_of = i + 1;
            let fields = fields(line).ok_or_else(|| InputError::Quote {
                path: path.to_owned(),
                line: line_of,
            })?;
            match &header {
                None => header = Some(fields),
                Some(header) if header.len() == fields.len() => rows.push((line_of, fields)),
                Some(header) => {
                    return Err(InputError::Fields {
                        path: path.to_owned(),
                        line: line_of,
                        found: fields.len(),
                        expected: header.len(),
                    });
                }
            }
        }
        let path = path.to_owned();
        let Some(header) = header else {
            return Err(InputError::NoHeader { path });
        };
        let twice = (1..header.len()).find(|&i| header[..i].contains(&header[i]));
        if let Some(i) = twice {
            let name = header[i].clone();
            return Err(InputError::Twice { path, name });
        }
        Ok(Self { path, header, rows })
    }

    fn column(&self, name: &str) -> Result<usize> {
        let found = self.header.iter().position(|h| h == name);
        found.ok_or_else(|| InputError::Column {
            path: self.path.clone(),
            name: name.to_owned(),
            columns: self.header.join(", "),
        })
    }

    /// The labels of a column; an empty field is a missing one.
    fn labels(&self, name: &str) -> Result<Vec<Option<&str>>> {
        let column = self.column(name)?;
        let fields = self.rows.iter().map(|(_, row)| row[column].as_str());
        Ok(fields
            .map(|field| Some(field).filter(|field| !field.is_empty()))
            .collect())
    }

    /// The numbers of columns; an empty field is NaN.
    fn numbers(&self, names: &[String]) -> Result<Array2<f64>> {
        let mut values = Array2::zeros((self.rows.len(), names.len()));
        for (j, name) in names.iter().enumerate() {
            let column = self.column(name)?;
            for (i, (line, row)) in self.rows.iter().enumerate() {
                values[[i, j]] = match row[column].trim() {
                    "" => f64::NAN,
                    text => text.parse().map_err(|_| InputError::Number {
                        path: self.path.clone(),
                        line: *line,
                        column: name.clone(),
                        text: text.to_owned(),
                    })?,
                };
            }
        }
        Ok(values)
    }
}

/// The fields of a line, of which those in quotes may contain commas and doubled quotes; `None` for an open quote.
fn fields(line: &str) -> Option<Vec<String>> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    (!quoted).then_some(fields)
}

/// Reads a table with a header and one row per point.
pub(super) fn read(path: &Path, overrides: &Overrides) -> Result<Input> {
    let csv = Csv::read(path)?;
    let name = name_of(path, overrides);
    let described = match overrides.parameters {
        Some(_) => Described::read(path, overrides)?,
        None => Described::default(),
    };
    let coordinates = overrides.coordinates.clone().unwrap_or_else(|| {
        let axis = |axis: &&str| csv.header.iter().any(|column| column == axis);
        let axes = ["z", "y", "x"].into_iter().filter(axis);
        axes.map(str::to_owned).collect()
    });
    let coordinates = match coordinates.is_empty() {
        true => vec!["y".to_owned(), "x".to_owned()],
        false => coordinates,
    };
    let label = overrides
        .label
        .clone()
        .unwrap_or_else(|| "label".to_owned());
    let points = csv.numbers(&coordinates)?;
    let odd = points.indexed_iter().find(|(_, value)| !value.is_finite());
    if let Some(((row, column), &value)) = odd {
        let (line, column) = (csv.rows[row].0, &coordinates[column]);
        return Err(InputError::Coordinate {
            path: path.to_owned(),
            place: format!("line {line}, column `{column}`"),
            value,
        });
    }
    let labels = Categorical::from_optional_labels(csv.labels(&label)?);
    let libraries = match &overrides.library {
        None => None,
        Some(library) => Some(Categorical::from_optional_labels(csv.labels(library)?)),
    };
    let features = overrides.features.clone().unwrap_or_else(|| {
        let used = |column: &&String| {
            coordinates.contains(column)
                || **column == label
                || overrides.library.as_ref() == Some(*column)
        };
        csv.header.iter().filter(|c| !used(c)).cloned().collect()
    });
    Ok(Input {
        x: csv.numbers(&features)?,
        features,
        parameters: parameters(&name, &described, overrides),
        name,
        points,
        labels,
        libraries,
        locations: None,
        edges: BTreeMap::new(),
    })
}
