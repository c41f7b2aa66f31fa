//! Coordinate transformations of SpatialData, resolved by the names of axes.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde_json::{Map, Value, json};

use crate::{Error, Result};

/// How deep sequences may be nested.
const MAX_DEPTH: usize = 64;

/// A map from the pixels (or coordinates) of an element into a named coordinate system.
///
/// Axes are matched by name: the rows of an `affine` follow its output axes and the columns its input axes,
/// which often differ in order.
///
/// # Examples
///
/// ```
/// use phenocoder_io::Transformation;
///
/// let scale = Transformation::scale(&["y", "x"], &[0.5, 0.25], "global");
/// assert_eq!(scale.target(), "global");
/// let affine = scale.to_affine()?;
/// assert_eq!(affine.axes, ["x", "y"]);
/// assert_eq!(affine.matrix[[0, 0]], 0.25);
/// # Ok::<(), phenocoder_io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Transformation {
    target: String,
    input: Vec<String>,
    output: Vec<String>,
    step: Step,
    original: Value,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Identity,
    Scale(Vec<f64>),
    Translation(Vec<f64>),
    /// Rows of factors for the input axes, then an offset.
    Affine(Vec<Vec<f64>>),
    /// Output axis, input axis.
    MapAxis(Vec<(String, String)>),
    Sequence(Vec<Transformation>),
}

/// A homogeneous matrix over named spatial axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// The axes of rows and columns: `x, y` or `x, y, z`.
    pub axes: Vec<String>,
    /// One row and column per axis and one more.
    pub matrix: Array2<f64>,
}

impl Affine {
    /// How long one step along an input axis is in the target system, or `None` for an axis that is not there.
    #[must_use]
    pub fn step_length(&self, axis: &str) -> Option<f64> {
        let column = self.axes.iter().position(|a| a == axis)?;
        let rows = 0..self.axes.len();
        Some(
            rows.map(|r| self.matrix[[r, column]].powi(2))
                .sum::<f64>()
                .sqrt(),
        )
    }
}

impl Transformation {
    /// A scale per axis into a coordinate system.
    #[must_use]
    pub fn scale(axes: &[&str], factors: &[f64], target: &str) -> Self {
        let step = if factors.iter().all(|&f| f == 1.0) {
            Step::Identity
        } else {
            Step::Scale(factors.to_vec())
        };
        let axes: Vec<String> = axes.iter().map(|&a| a.to_owned()).collect();
        let mut object = Map::new();
        match &step {
            Step::Identity => {
                object.insert("type".to_owned(), json!("identity"));
            }
            _ => {
                object.insert("type".to_owned(), json!("scale"));
                object.insert("scale".to_owned(), json!(factors));
            }
        }
        let described: Vec<Value> = axes.iter().map(|axis| describe_axis(axis)).collect();
        let name: String = axes.concat();
        object.insert("input".to_owned(), json!({"name": name, "axes": described}));
        object.insert(
            "output".to_owned(),
            json!({"name": target, "axes": described}),
        );
        Self {
            target: target.to_owned(),
            input: axes.clone(),
            output: axes,
            step,
            original: Value::Object(object),
        }
    }

    /// The coordinate system that the map leads into.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The axes that the map takes.
    #[must_use]
    pub fn input_axes(&self) -> &[String] {
        &self.input
    }

    /// The transformation as it is stored.
    #[must_use]
    pub fn to_json(&self) -> &Value {
        &self.original
    }

    /// The map of the spatial axes as one matrix.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`] when a step asks for an axis that the step before does not provide.
    pub fn to_affine(&self) -> Result<Affine> {
        let columns = self.input.len();
        let mut state: State = BTreeMap::new();
        for (i, axis) in self.input.iter().enumerate() {
            let mut row = vec![0.0; columns + 1];
            row[i] = 1.0;
            state.insert(axis.clone(), row);
        }
        self.apply(&mut state)?;
        let spatial: Vec<&str> = ["x", "y", "z"]
            .into_iter()
            .filter(|axis| self.input.iter().any(|a| a == axis))
            .collect();
        let n = spatial.len();
        let mut matrix = Array2::zeros((n + 1, n + 1));
        matrix[[n, n]] = 1.0;
        for (r, axis) in spatial.iter().enumerate() {
            let row = state
                .get(*axis)
                .ok_or_else(|| self.error(format!("no step provides the axis {axis}")))?;
            for (c, input) in spatial.iter().enumerate() {
                let column = self.input.iter().position(|a| a == input);
                matrix[[r, c]] = column.map_or(0.0, |column| row[column]);
            }
            matrix[[r, n]] = row[columns];
        }
        Ok(Affine {
            axes: spatial.into_iter().map(str::to_owned).collect(),
            matrix,
        })
    }

    fn error(&self, problem: String) -> Error {
        Error::InvalidTransform {
            key: self.target.clone(),
            problem,
        }
    }

    fn apply(&self, state: &mut State) -> Result<()> {
        match &self.step {
            Step::Identity => {}
            Step::Scale(factors) => {
                for (axis, factor) in self.input.iter().zip(factors) {
                    if let Some(row) = state.get_mut(axis) {
                        row.iter_mut().for_each(|v| *v *= factor);
                    }
                }
            }
            Step::Translation(offsets) => {
                for (axis, offset) in self.input.iter().zip(offsets) {
                    if let Some(last) = state.get_mut(axis).and_then(|row| row.last_mut()) {
                        *last += offset;
                    }
                }
            }
            Step::Affine(rows) => {
                let width = state.values().next().map_or(0, Vec::len);
                let mut made = State::new();
                for (axis, factors) in self.output.iter().zip(rows) {
                    let mut row = vec![0.0; width];
                    for (input, &factor) in self.input.iter().zip(factors) {
                        match state.get(input) {
                            Some(from) => {
                                row.iter_mut().zip(from).for_each(|(r, f)| *r += factor * f);
                            }
                            None if factor == 0.0 => {}
                            None => return Err(self.error(format!("the axis {input} is missing"))),
                        }
                    }
                    if let (Some(last), Some(offset)) = (row.last_mut(), factors.last()) {
                        *last += offset;
                    }
                    made.insert(axis.clone(), row);
                }
                state.retain(|axis, _| !self.input.contains(axis));
                state.append(&mut made);
            }
            Step::MapAxis(pairs) => {
                let before = state.clone();
                for (output, input) in pairs {
                    let row = before
                        .get(input)
                        .ok_or_else(|| self.error(format!("the axis {input} is missing")))?;
                    state.insert(output.clone(), row.clone());
                }
            }
            Step::Sequence(steps) => {
                for step in steps {
                    step.apply(state)?;
                }
            }
        }
        Ok(())
    }
}

/// For each axis so far, its factors of the input axes and an offset.
type State = BTreeMap<String, Vec<f64>>;

fn describe_axis(name: &str) -> Value {
    if name == "c" {
        json!({"name": name, "type": "channel"})
    } else {
        json!({"name": name, "type": "space", "unit": "unit"})
    }
}

/// Reads the `coordinateTransformations` of an element.
///
/// # Errors
///
/// [`Error::InvalidTransform`] when there is none or one is not understood.
pub(crate) fn parse_all(key: &str, list: Option<&Value>) -> Result<Vec<Transformation>> {
    let bad = |problem: &str| Error::InvalidTransform {
        key: key.to_owned(),
        problem: problem.to_owned(),
    };
    let list = list
        .and_then(Value::as_array)
        .ok_or_else(|| bad("there is no list `coordinateTransformations`"))?;
    if list.is_empty() {
        return Err(bad("the list `coordinateTransformations` is empty"));
    }
    let parsed: Vec<Transformation> = list
        .iter()
        .map(|value| parse(key, value, 0))
        .collect::<Result<_>>()?;
    for transformation in &parsed {
        transformation.to_affine().map_err(|error| match error {
            Error::InvalidTransform { problem, .. } => bad(&problem),
            other => other,
        })?;
    }
    Ok(parsed)
}

/// The `coordinateTransformations` of a new element with these axes; the identity into `global` where there are none.
///
/// # Errors
///
/// [`Error::InvalidTransform`] for maps that do not take the axes, or that lead into the same system.
pub(crate) fn write_all(
    key: &str,
    transformations: &[Transformation],
    axes: &[&str],
) -> Result<Value> {
    let bad = |problem: String| Error::InvalidTransform {
        key: key.to_owned(),
        problem,
    };
    let mut targets: Vec<&str> = Vec::new();
    for transformation in transformations {
        let target = transformation.target();
        if targets.contains(&target) {
            return Err(bad(format!("two maps lead into `{target}`")));
        }
        targets.push(target);
        if let Some(axis) = axes
            .iter()
            .find(|axis| !transformation.input.iter().any(|a| a == *axis))
        {
            return Err(bad(format!(
                "the map into `{target}` does not take the axis {axis}"
            )));
        }
    }
    if transformations.is_empty() {
        let factors = vec![1.0; axes.len()];
        let identity = Transformation::scale(axes, &factors, "global");
        return Ok(json!([identity.to_json()]));
    }
    Ok(transformations
        .iter()
        .map(|t| t.to_json().clone())
        .collect())
}

/// The `axes` of points or shapes: `x, y` or `x, y, z`.
pub(crate) fn spatial_axes(key: &str, axes: &Value) -> Result<Vec<String>> {
    let names: Option<Vec<String>> = axes
        .as_array()
        .and_then(|list| list.iter().map(|a| a.as_str().map(str::to_owned)).collect());
    let allowed: [&[&str]; 2] = [&["x", "y"], &["x", "y", "z"]];
    names
        .filter(|names| allowed.iter().any(|a| names.iter().eq(a.iter())))
        .ok_or_else(|| Error::invalid(key, "the axes x, y or x, y, z", axes))
}

fn parse(key: &str, value: &Value, depth: usize) -> Result<Transformation> {
    let bad = |problem: String| Error::InvalidTransform {
        key: key.to_owned(),
        problem,
    };
    if depth > MAX_DEPTH {
        return Err(bad(format!(
            "sequences are nested more than {MAX_DEPTH} deep"
        )));
    }
    let axes = |side: &str| -> Result<Vec<String>> {
        value
            .get(side)
            .and_then(|s| s.get("axes"))
            .and_then(Value::as_array)
            .and_then(|axes| {
                axes.iter()
                    .map(|a| a.get("name").and_then(Value::as_str).map(str::to_owned))
                    .collect()
            })
            .ok_or_else(|| bad(format!("`{side}` names no axes")))
    };
    let (input, output) = (axes("input")?, axes("output")?);
    let numbers = |name: &str| -> Result<Vec<f64>> {
        let list = value.get(name).and_then(Value::as_array);
        list.and_then(|list| list.iter().map(Value::as_f64).collect())
            .ok_or_else(|| bad(format!("`{name}` is no list of numbers")))
    };
    let per_axis = |name: &str| -> Result<Vec<f64>> {
        let found = numbers(name)?;
        if found.len() == input.len() {
            Ok(found)
        } else {
            let (expected, found) = (input.len(), found.len());
            Err(bad(format!(
                "`{name}` has {found} numbers for {expected} axes"
            )))
        }
    };
    let step = match value.get("type").and_then(Value::as_str) {
        Some("identity") => Step::Identity,
        Some("scale") => Step::Scale(per_axis("scale")?),
        Some("translation") => Step::Translation(per_axis("translation")?),
        Some("affine") => {
            let rows: Option<Vec<Vec<f64>>> = value
                .get("affine")
                .and_then(Value::as_array)
                .and_then(|rows| {
                    rows.iter()
                        .map(|row| row.as_array()?.iter().map(Value::as_f64).collect())
                        .collect()
                });
            let rows = rows.ok_or_else(|| bad("`affine` is no matrix of numbers".to_owned()))?;
            if rows.len() != output.len() || rows.iter().any(|r| r.len() != input.len() + 1) {
                let (n, p) = (output.len(), input.len() + 1);
                return Err(bad(format!(
                    "`affine` does not have {n} rows of {p} numbers"
                )));
            }
            Step::Affine(rows)
        }
        Some("mapAxis") => {
            let pairs: Option<Vec<(String, String)>> = value
                .get("mapAxis")
                .and_then(Value::as_object)
                .and_then(|map| {
                    map.iter()
                        .map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
                        .collect()
                });
            Step::MapAxis(pairs.ok_or_else(|| bad("`mapAxis` is no map of axes".to_owned()))?)
        }
        Some("sequence") => {
            let steps = value
                .get("transformations")
                .and_then(Value::as_array)
                .ok_or_else(|| bad("`transformations` is no list".to_owned()))?;
            Step::Sequence(
                steps
                    .iter()
                    .map(|step| parse(key, step, depth + 1))
                    .collect::<Result<_>>()?,
            )
        }
        other => {
            let name = other.unwrap_or("none");
            return Err(bad(format!("the type `{name}` is not known")));
        }
    };
    let target = value
        .get("output")
        .and_then(|o| o.get("name"))
        .and_then(Value::as_str);
    Ok(Transformation {
        target: target.unwrap_or("global").to_owned(),
        input,
        output,
        step,
        original: value.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(names: &str) -> Value {
        let axes: Vec<Value> = names
            .chars()
            .map(|c| describe_axis(&c.to_string()))
            .collect();
        json!({"name": names, "axes": axes})
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
        ] {
            let refused = parse_all("k", Some(&bad));
            assert!(
                matches!(refused, Err(Error::InvalidTransform { .. })),
                "{bad}"
            );
        }
    }
}
