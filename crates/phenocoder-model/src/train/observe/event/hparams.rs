//! Hyper-parameters: `HParamsPluginData` of TensorBoard's plugin `hparams`, version 0.

use serde_json::Value;

use super::{Message, event};

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::train::observe) enum Outcome {
    Success,
    Failure,
}

/// A setting as the plugin knows them.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::train::observe) enum Setting {
    Number(f64),
    Text(String),
    Switch(bool),
}

/// The settings of nested JSON by names with dots; absent ones are left out, lists become text.
pub(in crate::train::observe) fn flatten(settings: &Value) -> Vec<(String, Setting)> {
    let mut flat = Vec::new();
    collect(String::new(), settings, &mut flat);
    flat
}

fn collect(name: String, value: &Value, flat: &mut Vec<(String, Setting)>) {
    let setting = match value {
        Value::Object(inner) => {
            for (key, value) in inner {
                let name = match name.as_str() {
                    "" => key.clone(),
                    outer => format!("{outer}.{key}"),
                };
                collect(name, value, flat);
            }
            return;
        }
        Value::Null => return,
        Value::Bool(value) => Setting::Switch(*value),
        Value::Number(number) => match number.as_f64() {
            Some(number) => Setting::Number(number),
            None => Setting::Text(number.to_string()),
        },
        Value::String(text) => Setting::Text(text.clone()),
        Value::Array(_) => Setting::Text(value.to_string()),
    };
    flat.push((name, setting));
}

impl Setting {
    /// `DataType` of the plugin's `api.proto`.
    fn data_type(&self) -> u64 {
        match self {
            Self::Text(_) => 1,
            Self::Switch(_) => 2,
            Self::Number(_) => 3,
        }
    }

    /// `google.protobuf.Value`.
    fn value(&self) -> Vec<u8> {
        let value = Message::default();
        match self {
            Self::Number(number) => value.double(2, *number),
            Self::Text(text) => value.bytes(3, text.as_bytes()),
            Self::Switch(switch) => value.int(4, u64::from(*switch)),
        }
        .done()
    }
}

/// An event that holds data of the plugin; its tensor is empty.
fn plugin(wall_time: f64, tag: &str, field: u64, data: &[u8]) -> Vec<u8> {
    const DT_FLOAT: u64 = 1;
    // Version 0 is the default of the field `version`, which is therefore absent.
    let content = Message::default().bytes(field, data).done();
    let plugin = Message::default()
        .bytes(1, b"hparams")
        .bytes(2, &content)
        .done();
    let metadata = Message::default().bytes(1, &plugin).done();
    let empty = Message::default().bytes(2, &[]).done();
    let tensor = Message::default().int(1, DT_FLOAT).bytes(2, &empty).done();
    let value = Message::default()
        .bytes(1, tag.as_bytes())
        .bytes(8, &tensor)
        .bytes(9, &metadata);
    event(wall_time, 0, value)
}

/// Which settings and which metrics there are.
pub(in crate::train::observe) fn experiment(
    wall_time: f64,
    settings: &[(String, Setting)],
    metrics: &[&str],
) -> Vec<u8> {
    let mut experiment = Message::default().double(3, wall_time);
    for (name, setting) in settings {
        let info = Message::default()
            .bytes(1, name.as_bytes())
            .int(4, setting.data_type());
        experiment = experiment.bytes(4, &info.done());
    }
    for metric in metrics {
        let name = Message::default().bytes(2, metric.as_bytes()).done();
        experiment = experiment.bytes(5, &Message::default().bytes(1, &name).done());
    }
    plugin(wall_time, "_hparams_/experiment", 2, &experiment.done())
}

/// The settings of this session.
pub(in crate::train::observe) fn session_start(
    wall_time: f64,
    settings: &[(String, Setting)],
) -> Vec<u8> {
    let mut start = Message::default();
    for (name, setting) in settings {
        let entry = Message::default()
            .bytes(1, name.as_bytes())
            .bytes(2, &setting.value());
        start = start.bytes(1, &entry.done());
    }
    let start = start.double(5, wall_time).done();
    plugin(wall_time, "_hparams_/session_start_info", 3, &start)
}

/// The end of this session.
pub(in crate::train::observe) fn session_end(wall_time: f64, outcome: Outcome) -> Vec<u8> {
    let status = match outcome {
        Outcome::Success => 1,
        Outcome::Failure => 2,
    };
    let end = Message::default()
        .int(1, status)
        .double(2, wall_time)
        .done();
    plugin(wall_time, "_hparams_/session_end_info", 4, &end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_settings_get_names_with_dots() {
        let settings = serde_json::json!({
            "optimizer": {"kind": "adam", "beta_1": 0.9, "nested": {"deep": true}},
            "clip": null,
            "layers": [16, 32],
        });
        let text = |text: &str| Setting::Text(text.to_owned());
        let expected = [
            ("optimizer.kind", text("adam")),
            ("optimizer.beta_1", Setting::Number(0.9)),
            ("optimizer.nested.deep", Setting::Switch(true)),
            ("layers", text("[16,32]")),
        ];
        let expected = expected.map(|(name, setting)| (name.to_owned(), setting));
        assert_eq!(flatten(&settings), expected);
    }
}
