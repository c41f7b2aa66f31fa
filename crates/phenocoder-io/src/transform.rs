//! Coordinate transformations of SpatialData, resolved by the names of axes.

mod affine;

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use ndarray::Array2;
use serde_json::{Map, Value, json};

use crate::{Error, Result};

pub use affine::Affine;

/// How deep sequences may be nested.
const MAX_DEPTH: usize = 64;

/// How many axes a map may take or give.
const MAX_AXES: usize = 16;

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
/// let scale = Transformation::scale(&["y", "x"], &[0.5, 0.25], "global")?;
/// assert_eq!(scale.target(), "global");
/// let affine = scale.to_affine()?;
/// assert_eq!(affine.axes(), ["x", "y"]);
/// assert_eq!(affine.matrix()[[0, 0]], 0.25);
/// # Ok::<(), phenocoder_io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Transformation {
    target: String,
    input: Vec<String>,
    output: Vec<String>,
    step: Step,
    /// As it is stored; null for a step of another map.
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
    /// Each takes some of the input axes and makes some of the output axes.
    ByDimension(Vec<Transformation>),
}

impl Transformation {
    /// The map that changes nothing.
    #[must_use]
    pub fn identity(axes: &[&str], target: &str) -> Self {
        Self::new(
            Step::Identity,
            json!({"type": "identity"}),
            axes,
            axes,
            target,
        )
    }

    /// A scale per axis into a coordinate system.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`] for another number of factors than of axes, for a factor that is no finite number, and
    /// for an axis that is named twice.
    pub fn scale(axes: &[&str], factors: &[f64], target: &str) -> Result<Self> {
        check_numbers(axes, factors, "factors", target)?;
        if factors.iter().all(|&f| f == 1.0) {
            return Ok(Self::identity(axes, target));
        }
        let step = Step::Scale(factors.to_vec());
        let json = json!({"type": "scale", "scale": factors});
        Ok(Self::new(step, json, axes, axes, target))
    }

    /// A shift per axis into a coordinate system.
    ///
    /// # Errors
    ///
    /// As [`scale`](Self::scale).
    ///
    /// # Examples
    ///
    /// ```
    /// use phenocoder_io::Transformation;
    ///
    /// let shift = Transformation::translation(&["x", "y"], &[10.0, -5.0], "global")?;
    /// assert_eq!(shift.to_affine()?.apply(&[1.0, 1.0]), [11.0, -4.0]);
    /// assert!(Transformation::translation(&["x", "y"], &[10.0], "global").is_err());
    /// # Ok::<(), phenocoder_io::Error>(())
    /// ```
    pub fn translation(axes: &[&str], offsets: &[f64], target: &str) -> Result<Self> {
        check_numbers(axes, offsets, "offsets", target)?;
        let step = Step::Translation(offsets.to_vec());
        let json = json!({"type": "translation", "translation": offsets});
        Ok(Self::new(step, json, axes, axes, target))
    }

    /// A matrix into a coordinate system: a row for each output axis, a column for each input axis and one for the
    /// offset.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`] for a matrix of another size, for a number in it that is not finite, and for an axis
    /// that one side names twice.
    ///
    /// # Examples
    ///
    /// ```
    /// use ndarray::array;
    /// use phenocoder_io::Transformation;
    ///
    /// let turned = array![[0.0, -1.0, 10.0], [1.0, 0.0, 0.0]];
    /// let turned = Transformation::affine(&["x", "y"], &["x", "y"], &turned, "global")?;
    /// assert_eq!(turned.to_affine()?.apply(&[2.0, 3.0]), [7.0, 2.0]);
    /// # Ok::<(), phenocoder_io::Error>(())
    /// ```
    pub fn affine(
        input: &[&str],
        output: &[&str],
        matrix: &Array2<f64>,
        target: &str,
    ) -> Result<Self> {
        if matrix.dim() != (output.len(), input.len() + 1) {
            let (n, p) = (output.len(), input.len() + 1);
            return Err(Error::InvalidTransform {
                key: target.to_owned(),
                problem: format!("the matrix does not have {n} rows of {p} numbers"),
            });
        }
        for axes in [input, output] {
            check_axes(axes, target)?;
        }
        let rows: Vec<Vec<f64>> = matrix.rows().into_iter().map(|row| row.to_vec()).collect();
        check_finite(rows.iter().flatten(), "the matrix", target)?;
        let json = json!({"type": "affine", "affine": rows});
        Ok(Self::new(Step::Affine(rows), json, input, output, target))
    }

    /// The map of a homogeneous matrix into a coordinate system.
    #[must_use]
    pub fn from_affine(affine: &Affine, target: &str) -> Self {
        let axes: Vec<&str> = affine.axes.iter().map(String::as_str).collect();
        if affine.matrix == Array2::<f64>::eye(axes.len() + 1) {
            return Self::identity(&axes, target);
        }
        let rows = affine.matrix.rows().into_iter().take(axes.len());
        let rows: Vec<Vec<f64>> = rows.map(|row| row.to_vec()).collect();
        let json = json!({"type": "affine", "affine": rows});
        Self::new(Step::Affine(rows), json, &axes, &axes, target)
    }

    /// Several maps, from the first to the last, into a coordinate system; the systems of the single ones do not count.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`] for none, and when one asks for an axis that those before do not provide.
    ///
    /// # Examples
    ///
    /// ```
    /// use phenocoder_io::Transformation;
    ///
    /// let scale = Transformation::scale(&["x", "y"], &[2.0, 2.0], "any")?;
    /// let shift = Transformation::translation(&["x", "y"], &[1.0, 0.0], "any")?;
    /// let both = Transformation::sequence(vec![scale, shift], "global")?;
    /// assert_eq!(both.to_affine()?.apply(&[5.0, 5.0]), [11.0, 10.0]);
    /// # Ok::<(), phenocoder_io::Error>(())
    /// ```
    pub fn sequence(steps: Vec<Self>, target: &str) -> Result<Self> {
        let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
            return Err(Error::InvalidTransform {
                key: target.to_owned(),
                problem: "a sequence needs at least one step".to_owned(),
            });
        };
        let mut known = first.input.clone();
        for step in &steps {
            if let Some(axis) = step.input.iter().find(|axis| !known.contains(axis)) {
                return Err(Error::InvalidTransform {
                    key: target.to_owned(),
                    problem: format!("the axis {axis} is missing"),
                });
            }
            known.retain(|axis| !step.input.contains(axis));
            known.extend(step.output.iter().cloned());
        }
        let originals: Vec<&Value> = steps.iter().map(|step| &step.original).collect();
        let json = json!({"type": "sequence", "transformations": originals});
        let (input, output) = (first.input.clone(), last.output.clone());
        let input: Vec<&str> = input.iter().map(String::as_str).collect();
        let output: Vec<&str> = output.iter().map(String::as_str).collect();
        let steps = steps.into_iter().map(|step| Self {
            original: Value::Null,
            ..step
        });
        let step = Step::Sequence(steps.collect());
        let made = Self::new(step, json, &input, &output, target);
        made.to_affine()?;
        Ok(made)
    }

    fn new(step: Step, json: Value, input: &[&str], output: &[&str], target: &str) -> Self {
        let owned = |axes: &[&str]| axes.iter().map(|&axis| axis.to_owned()).collect();
        let described =
            |axes: &[&str]| -> Vec<Value> { axes.iter().map(|axis| describe_axis(axis)).collect() };
        let mut original = json;
        if let Some(object) = original.as_object_mut() {
            let side = json!({"name": input.concat(), "axes": described(input)});
            object.insert("input".to_owned(), side);
            let side = json!({"name": target, "axes": described(output)});
            object.insert("output".to_owned(), side);
        }
        Self {
            target: target.to_owned(),
            input: owned(input),
            output: owned(output),
            step,
            original,
        }
    }

    /// The same map into another coordinate system.
    #[must_use]
    pub fn with_target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        let output = self
            .original
            .get_mut("output")
            .and_then(Value::as_object_mut);
        if let Some(output) = output {
            output.insert("name".to_owned(), json!(target));
        }
        self
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
            let Some(row) = state.get(*axis) else {
                // One step leaves an axis that it does not provide as it is; several end without it, at 0.
                if !matches!(self.step, Step::Sequence(_)) {
                    matrix[[r, r]] = 1.0;
                }
                continue;
            };
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

    /// Takes the axes a step further; steps may not make more and more of them.
    fn apply(&self, state: &mut State) -> Result<()> {
        self.step_on(state)?;
        if state.len() > 2 * MAX_AXES {
            return Err(self.error(format!("its steps make more than {} axes", 2 * MAX_AXES)));
        }
        Ok(())
    }

    fn step_on(&self, state: &mut State) -> Result<()> {
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
                    match before.get(input) {
                        Some(row) => _ = state.insert(output.clone(), row.clone()),
                        // Maps of z stand at elements in the plane, too, where nobody asks for it.
                        None if !before.contains_key(output) => {}
                        None => return Err(self.error(format!("the axis {input} is missing"))),
                    }
                }
            }
            Step::Sequence(steps) => {
                for step in steps {
                    step.apply(state)?;
                }
            }
            Step::ByDimension(parts) => {
                let mut made = State::new();
                for part in parts {
                    let mut taken = state.clone();
                    taken.retain(|axis, _| part.input.contains(axis));
                    part.apply(&mut taken)?;
                    for axis in &part.output {
                        let row = taken.remove(axis);
                        let row = row.ok_or_else(|| {
                            self.error(format!("no step provides the axis {axis}"))
                        })?;
                        made.insert(axis.clone(), row);
                    }
                }
                state.retain(|axis, _| !self.input.contains(axis));
                state.append(&mut made);
            }
        }
        Ok(())
    }
}

/// The first axis that is named twice.
fn repeated<'a>(axes: &[&'a str]) -> Option<&'a str> {
    let mut seen = axes.iter().enumerate();
    seen.find_map(|(i, &axis)| axes.iter().take(i).any(|a| *a == axis).then_some(axis))
}

fn check_axes(axes: &[&str], target: &str) -> Result<()> {
    let problem = match repeated(axes) {
        Some(axis) => format!("the axis {axis} is named twice"),
        None if axes.len() > MAX_AXES => format!("more than {MAX_AXES} axes"),
        None => return Ok(()),
    };
    Err(Error::InvalidTransform {
        key: target.to_owned(),
        problem,
    })
}

fn check_finite<'a>(
    mut numbers: impl Iterator<Item = &'a f64>,
    what: &str,
    target: &str,
) -> Result<()> {
    match numbers.find(|v| !v.is_finite()) {
        None => Ok(()),
        Some(number) => Err(Error::InvalidTransform {
            key: target.to_owned(),
            problem: format!("{what}: {number} is not finite"),
        }),
    }
}

fn check_numbers(axes: &[&str], numbers: &[f64], what: &str, target: &str) -> Result<()> {
    check_axes(axes, target)?;
    if numbers.len() != axes.len() {
        let (found, expected) = (numbers.len(), axes.len());
        let axes = axes.join(", ");
        return Err(Error::InvalidTransform {
            key: target.to_owned(),
            problem: format!("{found} {what} for the {expected} axes {axes}"),
        });
    }
    check_finite(numbers.iter(), what, target)
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

/// Reads the `coordinateTransformations` of an element; of maps into the same system the last counts, as in SpatialData.
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
    let mut parsed: Vec<Transformation> = Vec::with_capacity(list.len());
    let mut places = BTreeMap::new();
    for value in list {
        let map = parse(key, value, 0)?;
        match places.entry(map.target.clone()) {
            Entry::Occupied(at) => parsed[*at.get()] = map,
            Entry::Vacant(place) => {
                place.insert(parsed.len());
                parsed.push(map);
            }
        }
    }
    let takes = |map: &Transformation, axis: &str| map.input.iter().any(|a| a == axis);
    if !parsed.iter().all(|map| takes(map, "x") && takes(map, "y")) {
        return Err(bad("a map does not take the axes x and y"));
    }
    Ok(parsed)
}

/// The matrix of a map of the element at a key.
pub(crate) fn affine_of(key: &str, map: &Transformation) -> Result<Affine> {
    map.to_affine().map_err(|error| match error {
        Error::InvalidTransform { problem, .. } => Error::InvalidTransform {
            key: key.to_owned(),
            problem: format!("the map into `{}`: {problem}", map.target()),
        },
        other => other,
    })
}

/// The coordinate systems that the attributes of an element name, be it raster, points or shapes.
pub(crate) fn targets(attributes: &Map<String, Value>) -> Vec<String> {
    let multiscale = |attributes: &Map<String, Value>| {
        let multiscales = attributes.get("multiscales")?.as_array()?;
        multiscales
            .first()?
            .get("coordinateTransformations")
            .cloned()
    };
    let ome = attributes.get("ome").and_then(Value::as_object);
    let list = attributes
        .get("coordinateTransformations")
        .cloned()
        .or_else(|| multiscale(ome.unwrap_or(attributes)));
    let Some(Value::Array(list)) = list else {
        return Vec::new();
    };
    list.iter()
        .map(|map| {
            let name = map.get("output").and_then(|output| output.get("name"));
            name.and_then(Value::as_str).unwrap_or("global").to_owned()
        })
        .collect()
}

/// The `coordinateTransformations` of a new element with these axes; the identity into `global` where there are none.
///
/// A map that was read is written as it was, also one whose steps ask for an axis that is not there: it harms who asks
/// for it, not who changes something else of the element.
///
/// # Errors
///
/// [`Error::InvalidTransform`] for maps that do not take the axes, or that lead into the same system; not for what
/// [`Transformation::to_affine`] alone refuses.
pub(crate) fn write_all(
    key: &str,
    transformations: &[Transformation],
    axes: &[&str],
) -> Result<Value> {
    let bad = |problem: String| Error::InvalidTransform {
        key: key.to_owned(),
        problem,
    };
    let mut targets = BTreeSet::new();
    for transformation in transformations {
        let target = transformation.target();
        if !targets.insert(target) {
            return Err(bad(format!("two maps lead into `{target}`")));
        }
        // Says what is wrong with lengths, and with numbers that JSON does not have.
        parse(key, transformation.to_json(), 0)?;
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
        let identity = Transformation::identity(axes, "global");
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
            // A matrix has a place for each pair of axes: their number must be believable.
            .filter(|axes| axes.len() <= MAX_AXES)
            .and_then(|axes| {
                axes.iter()
                    .map(|a| a.get("name").and_then(Value::as_str).map(str::to_owned))
                    .collect()
            })
            .ok_or_else(|| bad(format!("`{side}` does not name up to {MAX_AXES} axes")))
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
    let matrix = |name: &str, columns: usize| -> Result<Vec<Vec<f64>>> {
        let rows = value.get(name).and_then(Value::as_array);
        let rows: Option<Vec<Vec<f64>>> = rows.and_then(|rows| {
            rows.iter()
                .map(|row| row.as_array()?.iter().map(Value::as_f64).collect())
                .collect()
        });
        let rows = rows.ok_or_else(|| bad(format!("`{name}` is no matrix of numbers")))?;
        if rows.len() != output.len() || rows.iter().any(|row| row.len() != columns) {
            let n = output.len();
            return Err(bad(format!(
                "`{name}` does not have {n} rows of {columns} numbers"
            )));
        }
        Ok(rows)
    };
    let step = match value.get("type").and_then(Value::as_str) {
        Some("identity") => Step::Identity,
        Some("scale") => Step::Scale(per_axis("scale")?),
        Some("translation") => Step::Translation(per_axis("translation")?),
        Some("affine") => Step::Affine(matrix("affine", input.len() + 1)?),
        Some("rotation") => {
            let mut rows = matrix("rotation", input.len())?;
            rows.iter_mut().for_each(|row| row.push(0.0));
            Step::Affine(rows)
        }
        Some("mapAxis") => {
            let pairs: Option<Vec<(String, String)>> = value
                .get("mapAxis")
                .and_then(Value::as_object)
                .filter(|map| map.len() <= MAX_AXES)
                .and_then(|map| {
                    map.iter()
                        .map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
                        .collect()
                });
            Step::MapAxis(
                pairs
                    .ok_or_else(|| bad(format!("`mapAxis` is no map of up to {MAX_AXES} axes")))?,
            )
        }
        Some(kind @ ("sequence" | "byDimension")) => {
            let steps = value
                .get("transformations")
                .and_then(Value::as_array)
                .ok_or_else(|| bad("`transformations` is no list".to_owned()))?;
            let steps = steps
                .iter()
                .map(|step| parse(key, step, depth + 1))
                .collect::<Result<_>>()?;
            match kind {
                "sequence" => Step::Sequence(steps),
                _ => Step::ByDimension(steps),
            }
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
        // That of a step is part of the whole.
        original: if depth == 0 {
            value.clone()
        } else {
            Value::Null
        },
    })
}

#[cfg(test)]
mod tests;
