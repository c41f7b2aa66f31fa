//! The settings of a run as one JSON value, and where two of them differ.

use phenocoder_core::{Fingerprint, PatchOrder, PatchSource, PatchTransform};
use serde_json::{Value, json};

use crate::train::{FitConfig, ScheduleConfig};
use crate::{Autoencoder, Error, Result, Snapshot};

/// All settings of a run and what tells its data apart.
pub(in crate::train) fn of_run(
    model: &dyn Autoencoder,
    config: &FitConfig,
    transforms: &[&dyn PatchTransform],
    order: &dyn PatchOrder,
    train: &dyn PatchSource,
    validation: Option<&dyn PatchSource>,
    context: &Value,
) -> Result<Value> {
    let fit = serde_json::to_value(config).map_err(|source| Error::Section {
        name: "fit".to_owned(),
        source,
    })?;
    // Settings that are no JSON are compared as text.
    let parse = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
    let transforms: Vec<Value> = transforms
        .iter()
        .map(|t| json!({"name": t.name(), "settings": parse(t.settings())}))
        .collect();
    Ok(json!({
        "model": {
            "kind": model.kind(),
            "config": model.config_json()?,
            "weights": weights(&model.parameters().snapshot()?)?,
        },
        "fit": fit,
        "transforms": transforms,
        "order": {"name": order.name(), "settings": parse(order.settings())},
        "data": {"training": data(train), "validation": validation.map(data)},
        "context": context,
    }))
}

/// What tells one set of weights and running statistics from another.
fn weights(snapshot: &Snapshot) -> Result<String> {
    let mut all = Fingerprint::new();
    for (name, tensor) in snapshot.tensors() {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        all = all.text(name).values(&values);
    }
    Ok(all.finish())
}

/// Lets a run begin with the weights that it would have ended with when its checkpoint was written: those of the model that
/// was in training.
pub(super) fn accept_weights(given: &mut Value, saved: &Value, result: &Snapshot) -> Result<()> {
    let at = "/model/weights";
    let (Some(given), Some(saved)) = (given.pointer_mut(at), saved.pointer(at)) else {
        return Ok(());
    };
    if given != saved && *given == weights(result)? {
        given.clone_from(saved);
    }
    Ok(())
}

/// What tells one set of patches from another without reading it.
fn data(source: &dyn PatchSource) -> Value {
    let last = source.len().saturating_sub(1);
    json!({
        "patches": source.len(),
        "first": source.describe(0),
        "last": source.describe(last),
        "source": source.fingerprint(),
    })
}

/// Settings of reading ahead: they change nothing but speed, and no file depends on them.
const SPEED: [&str; 2] = ["prefetch", "read_threads"];

/// The settings as checkpoints hold them: all but those that change nothing but speed.
pub(super) fn saved(settings: &Value) -> Value {
    let mut settings = settings.clone();
    if let Some(fit) = settings.get_mut("fit").and_then(Value::as_object_mut) {
        SPEED.iter().for_each(|name| drop(fit.remove(*name)));
    }
    settings
}

/// The settings that must be the same when a run is resumed; it may be made longer where no learning rate depends on its
/// length.
fn binding(settings: &Value, may_be_longer: bool) -> Value {
    let mut settings = saved(settings);
    if let Some(fit) = settings.get_mut("fit").and_then(Value::as_object_mut)
        && may_be_longer
    {
        fit.remove("epochs");
    }
    settings
}

/// Whether a run of these settings could have had another number of epochs so far.
pub(in crate::train) fn may_be_longer(config: &FitConfig) -> bool {
    config.schedules().all(|s| !depends_on_length(s))
}

fn depends_on_length(schedule: &ScheduleConfig) -> bool {
    !matches!(
        schedule,
        ScheduleConfig::Constant
            | ScheduleConfig::Step(_)
            | ScheduleConfig::MultiStep(_)
            | ScheduleConfig::Plateau(_)
    )
}

/// The first setting, in the order of the names, that two runs do not share.
pub(super) fn first_difference(saved: &Value, given: &Value, may_be_longer: bool) -> Option<Error> {
    let [saved, given] = [saved, given].map(|settings| binding(settings, may_be_longer));
    let difference = |path: &str, saved: &Value, given: &Value| Error::Settings {
        setting: path.to_owned(),
        saved: saved.to_string(),
        given: given.to_string(),
    };
    differ(String::new(), &saved, &given, &difference)
}

fn differ<T>(
    path: String,
    a: &Value,
    b: &Value,
    difference: &dyn Fn(&str, &Value, &Value) -> T,
) -> Option<T> {
    let below = |key: &str| match path.as_str() {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let mut keys: Vec<&String> = x.keys().chain(y.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.into_iter().find_map(|key| {
                let value = |object: &serde_json::Map<String, Value>| {
                    object.get(key).cloned().unwrap_or(Value::Null)
                };
                differ(below(key), &value(x), &value(y), difference)
            })
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            let pairs = x.iter().zip(y).enumerate();
            pairs
                .into_iter()
                .find_map(|(i, (x, y))| differ(below(&i.to_string()), x, y, difference))
        }
        _ if a == b => None,
        _ => Some(difference(&path, a, b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_setting_that_differs_is_named() {
        let saved =
            json!({"fit": {"batch_size": 64, "seed": 1}, "transforms": [{"name": "flips"}]});
        assert!(first_difference(&saved, &saved, false).is_none());
        let message = |given| {
            let difference = first_difference(&saved, &given, false);
            difference.unwrap().to_string()
        };
        let given =
            json!({"fit": {"batch_size": 32, "seed": 2}, "transforms": [{"name": "flips"}]});
        assert_eq!(
            message(given),
            "the checkpoint was made with `fit.batch_size` = 64, this run has 32"
        );
        let given = json!({"fit": {"batch_size": 64}, "transforms": [{"name": "flips"}]});
        assert!(message(given).contains("`fit.seed` = 1, this run has null"));
        let given =
            json!({"fit": {"batch_size": 64, "seed": 1}, "transforms": [{"name": "noise"}]});
        assert!(message(given).contains("`transforms.0.name` = \"flips\""));
        let given = json!({"fit": {"batch_size": 64, "seed": 1}, "transforms": []});
        assert!(message(given).contains("`transforms` = "));
    }
}
