//! A store as a person would want to see it.

use arrow::datatypes::{DataType as ArrowType, Field};
use phenocoder_core::{DataType, ImageShape, ImageSource, LabelSource};
use phenocoder_io::{
    ColumnInfo, ElementKind, Error, GeometryKind, MatrixInfo, SparseFormat, Store, Table,
    Transformation, validate,
};

use super::describe::error_entry;

pub(crate) fn print(path: &str, store: &Store) {
    let software = store.attributes().get("spatialdata_attrs");
    let software = software.and_then(|a| a["spatialdata_software_version"].as_str());
    println!(
        "{path}: container {}{}",
        store.version().as_str(),
        software.map_or_else(String::new, |s| format!(", written by {s}")),
    );
    for kind in ElementKind::ALL {
        let elements: Vec<_> = store.elements().iter().filter(|e| e.kind == kind).collect();
        if elements.is_empty() {
            continue;
        }
        println!("\n{}", kind.group());
        for element in elements {
            println!("  {}", element.name);
            let lines = match kind {
                ElementKind::Image => image(store, &element.name),
                ElementKind::Labels => labels(store, &element.name),
                ElementKind::Table => table(store, &element.name),
                ElementKind::Points => points(store, &element.name),
                ElementKind::Shapes => shapes(store, &element.name),
                _ => Ok(Vec::new()),
            };
            match lines {
                Ok(lines) => lines.iter().for_each(|line| println!("    {line}")),
                Err(error) => {
                    let entry = error_entry(&error, &element.key, "open");
                    println!(
                        "    ERROR {}",
                        entry["message"].as_str().unwrap_or_default()
                    );
                }
            }
        }
    }
}

/// Every rule that the store breaks; its tables are read for it.
pub(crate) fn print_violations(store: &Store) {
    let violations = validate(store);
    println!("\nfindings");
    if violations.is_empty() {
        println!("  none");
    }
    for violation in violations {
        let kind = if violation.is_warning {
            "warning"
        } else {
            "error"
        };
        println!("  {kind} {}: {}", violation.key, violation.problem);
    }
}

fn size(bytes: u128) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

fn extent(axes: &[String], shape: ImageShape) -> String {
    let along = |axis: &String| match axis.as_str() {
        "c" => shape.c.to_string(),
        "z" => shape.z.to_string(),
        "y" => shape.y.to_string(),
        _ => shape.x.to_string(),
    };
    axes.iter().map(along).collect::<Vec<_>>().join(" × ")
}

fn level(
    at: usize,
    axes: &[String],
    data_type: DataType,
    shape: ImageShape,
    chunk: ImageShape,
) -> String {
    let places = [shape.c, shape.z, shape.y, shape.x];
    let bytes = places.iter().fold(data_type.size() as u128, |n, &s| {
        n.saturating_mul(s as u128)
    });
    format!(
        "level {at}: {} ({}), {} in chunks of {}, {} decoded",
        extent(axes, shape),
        axes.join(", "),
        format!("{data_type:?}").to_lowercase(),
        extent(axes, chunk),
        size(bytes),
    )
}

fn transformations(all: &[Transformation], lines: &mut Vec<String>) {
    for transformation in all {
        let kind = transformation.to_json()["type"]
            .as_str()
            .unwrap_or("?")
            .to_owned();
        let detail = match transformation.to_affine() {
            Ok(affine) => {
                let lengths = affine.axes().iter().filter_map(|axis| {
                    affine
                        .step_length(axis)
                        .map(|step| format!("{axis} {step}"))
                });
                lengths.collect::<Vec<_>>().join(", ")
            }
            Err(error) => error.to_string(),
        };
        lines.push(format!(
            "in `{}`: {kind}; one step is {detail}",
            transformation.target()
        ));
    }
}

fn image(store: &Store, name: &str) -> Result<Vec<String>, Error> {
    let image = store.image(name)?;
    let mut lines = Vec::new();
    for at in 0..image.n_levels() {
        let image = image.level(at)?;
        lines.push(level(
            at,
            image.axes(),
            image.data_type(),
            image.shape(),
            image.chunk_shape(),
        ));
    }
    lines.push(format!("channels: {}", image.channels().join(", ")));
    transformations(image.transformations(), &mut lines);
    Ok(lines)
}

fn labels(store: &Store, name: &str) -> Result<Vec<String>, Error> {
    let labels = store.labels(name)?;
    let mut lines = Vec::new();
    for at in 0..labels.n_levels() {
        let labels = labels.level(at)?;
        lines.push(level(
            at,
            labels.axes(),
            labels.data_type(),
            labels.shape(),
            labels.chunk_shape(),
        ));
    }
    transformations(labels.transformations(), &mut lines);
    Ok(lines)
}

fn fields(fields: &[Field]) -> String {
    let show = |field: &Field| {
        let kind = match field.data_type() {
            ArrowType::Dictionary(_, _) => "categories".to_owned(),
            ArrowType::Utf8 => "text".to_owned(),
            other => other.to_string().to_lowercase(),
        };
        format!("{} ({kind})", field.name())
    };
    fields.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn points(store: &Store, name: &str) -> Result<Vec<String>, Error> {
    let points = store.points(name)?;
    let mut lines = vec![
        format!(
            "{} points ({}) in {} files",
            points.n_rows()?,
            points.axes().join(", "),
            points.n_parts()
        ),
        format!("columns: {}", fields(points.fields())),
    ];
    for (what, key) in [
        ("features", points.feature_key()),
        ("instances", points.instance_key()),
    ] {
        lines.extend(key.map(|key| format!("{what} in `{key}`")));
    }
    transformations(points.transformations(), &mut lines);
    Ok(lines)
}

fn shapes(store: &Store, name: &str) -> Result<Vec<String>, Error> {
    let shapes = store.shapes(name)?;
    let first = shapes.geometries_of(0..shapes.n_rows().min(1))?;
    let kind = match first.kinds().first() {
        Some(GeometryKind::Point) => "circles",
        _ => "shapes",
    };
    let mut lines = vec![
        format!("{} {kind} ({})", shapes.n_rows(), shapes.axes().join(", ")),
        format!("columns: {}", fields(shapes.fields())),
    ];
    transformations(shapes.transformations(), &mut lines);
    Ok(lines)
}

fn matrix(info: &MatrixInfo) -> String {
    let (n, p) = info.shape;
    let data_type = format!("{:?}", info.data_type).to_lowercase();
    let chunk: Vec<String> = info.chunk.iter().map(u64::to_string).collect();
    let kind = match (info.format, info.n_stored) {
        (Some(SparseFormat::Csr), Some(stored)) => format!("sparse by rows, {stored} values"),
        (Some(SparseFormat::Csc), Some(stored)) => format!("sparse by columns, {stored} values"),
        _ => "dense".to_owned(),
    };
    format!(
        "{n} × {p} {data_type}, {kind}, chunks of {}",
        chunk.join(" × ")
    )
}

fn columns(columns: &[ColumnInfo]) -> String {
    let show = |column: &ColumnInfo| {
        let data_type = column.data_type.map(|t| format!("{t:?}").to_lowercase());
        let kind = match (column.encoding.as_str(), &data_type, column.n_categories) {
            ("categorical", _, Some(n)) => format!("{n} categories"),
            ("array", Some(data_type), _) => data_type.clone(),
            (_, Some(data_type), _) => format!("{data_type}, nullable"),
            ("nullable-string-array", ..) => "text, nullable".to_owned(),
            ("string-array", ..) => "text".to_owned(),
            (other, ..) => other.to_owned(),
        };
        format!("{} ({kind})", column.name)
    };
    match columns {
        [] => "no columns".to_owned(),
        _ => columns.iter().map(show).collect::<Vec<_>>().join(", "),
    }
}

fn table(store: &Store, name: &str) -> Result<Vec<String>, Error> {
    let table = store.table(name)?;
    let mut lines = vec![format!(
        "{} rows × {} variables",
        table.n_obs(),
        table.n_vars()
    )];
    if let Some(annotation) = table.annotation() {
        lines.push(format!(
            "annotates {} (region in `{}`, instance in `{}`)",
            annotation.regions.join(", "),
            annotation.region_key,
            annotation.instance_key,
        ));
    }
    lines.push(match table.x_info()? {
        Some(info) => format!("X: {}", matrix(&info)),
        None => "X: none".to_owned(),
    });
    lines.push(format!("obs: {}", columns(&table.obs_info()?)));
    lines.push(format!("var: {}", columns(&table.var_info()?)));
    for layer in table.layers()? {
        let info = table.layer_info(&layer);
        let shown = info.map_or_else(|error| format!("not read: {error}"), |info| matrix(&info));
        lines.push(format!("layer {layer}: {shown}"));
    }
    groups(&table, &mut lines)?;
    Ok(lines)
}

fn groups(table: &Table, lines: &mut Vec<String>) -> Result<(), Error> {
    let groups = [
        ("obsm", table.obsm_keys()?),
        ("varm", table.varm_keys()?),
        ("obsp", table.obsp_keys()?),
        ("varp", table.varp_keys()?),
        ("uns", table.uns_keys()?),
    ];
    for (group, keys) in groups {
        if !keys.is_empty() {
            lines.push(format!("{group}: {}", keys.join(", ")));
        }
    }
    if table.has_raw()? {
        lines.push("raw".to_owned());
    }
    Ok(())
}
