//! Changes of a JSON tree.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// The words of the dictionary that libFuzzer is given too.
static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let lines = include_str!("../dictionaries/json.dict").lines();
    lines
        .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'))
        .collect()
});

/// Random numbers, from the seed that libFuzzer gives each mutation.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u32) -> Self {
        Self(u64::from(seed))
    }

    /// A number below `n`, which is not zero (SplitMix64).
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn word(&mut self) -> String {
        WORDS[self.below(WORDS.len())].to_owned()
    }
}

/// Changes one value of the tree.
pub(crate) fn mutate(root: &mut Value, dice: &mut Dice) {
    let n = count(root);
    let other = nth(root, dice.below(n)).clone();
    let place = nth_mut(root, &mut dice.below(n));
    match place {
        Value::Object(object) if dice.below(8) != 0 => mutate_object(object, other, dice),
        Value::Array(list) if dice.below(8) != 0 => mutate_list(list, other, dice),
        place => {
            *place = match dice.below(4) {
                0 => other,
                1 => json!(dice.word()),
                _ => leaf(place, dice),
            }
        }
    }
}

fn mutate_object(object: &mut Map<String, Value>, other: Value, dice: &mut Dice) {
    let keys: Vec<String> = object.keys().cloned().collect();
    let word = dice.word();
    if keys.is_empty() {
        object.insert(word, other);
        return;
    }
    let key = &keys[dice.below(keys.len())];
    match dice.below(4) {
        0 => {
            object.remove(key);
        }
        1 => {
            object.insert(key.clone(), other);
        }
        2 => {
            if let Some(value) = object.remove(key) {
                object.insert(word, value);
            }
        }
        _ => {
            object.insert(word, other);
        }
    }
}

fn mutate_list(list: &mut Vec<Value>, other: Value, dice: &mut Dice) {
    let at = dice.below(list.len() + 1);
    match dice.below(5) {
        0 if at < list.len() => {
            list.remove(at);
        }
        1 if at < list.len() => list[at] = other,
        2 if at < list.len() => list.insert(at, list[at].clone()),
        3 if at < list.len() => {
            let last = list.len() - 1;
            list.swap(at, last);
        }
        _ => list.insert(at, other),
    }
}

/// Another value without others in it.
fn leaf(old: &Value, dice: &mut Dice) -> Value {
    let numbers = [
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(3),
        json!(4),
        json!(7),
        json!(8),
        json!(16),
        json!(17),
        json!(127),
        json!(255),
        json!(256),
        json!(65536),
        json!(16_777_216),
        json!(i32::MAX),
        json!(u32::MAX),
        json!(1_u64 << 32),
        json!(1_u64 << 53),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(0.5),
        json!(-0.0),
        json!(1e300),
        json!(1e-300),
        json!("NaN"),
        json!("Infinity"),
        json!("-Infinity"),
    ];
    match (dice.below(6), old.as_i64()) {
        (0, Some(n)) => json!(n.wrapping_add(1)),
        (1, Some(n)) => json!(n.wrapping_sub(1)),
        (2, Some(n)) => json!(n.wrapping_mul(2)),
        (3, _) => {
            [Value::Null, json!(true), json!(false), json!([]), json!({})][dice.below(5)].clone()
        }
        (4, _) if old.is_string() => json!(dice.word()),
        _ => numbers[dice.below(numbers.len())].clone(),
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(object) => object.values().map(count).sum(),
        _ => 0,
    }
}

/// The `n`-th value in the order in which they are written; the last when there are fewer.
fn nth(value: &Value, mut n: usize) -> &Value {
    fn walk<'a>(value: &'a Value, n: &mut usize) -> Option<&'a Value> {
        if *n == 0 {
            return Some(value);
        }
        *n -= 1;
        match value {
            Value::Array(list) => list.iter().find_map(|v| walk(v, n)),
            Value::Object(object) => object.values().find_map(|v| walk(v, n)),
            _ => None,
        }
    }
    walk(value, &mut n).unwrap_or(value)
}

/// As [`nth`], to be changed.
fn nth_mut<'a>(value: &'a mut Value, n: &mut usize) -> &'a mut Value {
    if *n == 0 {
        return value;
    }
    *n -= 1;
    let found = match &*value {
        Value::Array(list) => list.iter().position(|v| skip(v, n)),
        Value::Object(object) => object.values().position(|v| skip(v, n)),
        _ => None,
    };
    match (found, value) {
        (Some(i), Value::Array(list)) => nth_mut(&mut list[i], n),
        (Some(i), Value::Object(object)) => {
            let value = object.values_mut().nth(i);
            nth_mut(value.expect("the position was found in it"), n)
        }
        (_, value) => value,
    }
}

/// Whether the `n`-th value lies in this one; if not, `n` is counted down past it.
fn skip(value: &Value, n: &mut usize) -> bool {
    let within = count(value);
    if *n < within {
        return true;
    }
    *n -= within;
    false
}
