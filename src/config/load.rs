//! From text to the raw configuration: every value that cannot be read is reported and taken out,
//! until the rest can be read.

use figment::Error;
use figment::value::{Dict, Value};

use super::key::{Key, Step};
use super::raw::Raw;
use super::report::Report;

/// What of `merged` can be read; nothing when the whole cannot.
pub(super) fn extract(merged: Dict, report: &mut Report<'_>) -> Option<Raw> {
    let mut value = Value::from(merged);
    let mut retried: Vec<(Key, Error)> = Vec::new();
    loop {
        let error = match value.deserialize::<Raw>() {
            Ok(raw) => return Some(raw),
            Err(error) => error,
        };
        let (key, path) = (key_of(&value, &error.path), error.path.clone());
        let before = retried.iter().position(|(tried, _)| *tried == key);
        // The environment has no quotes: what looks like a number may be meant as text.
        if let (None, Some(text)) = (before, report.source().plain(&key)) {
            retried.push((key, error));
            if let Some(place) = find(&mut value, &path) {
                *place = text;
            }
            continue;
        }
        let error = before.map_or(error, |at| retried.swap_remove(at).1);
        report.unreadable(&key, &error.kind);
        if !remove(&mut value, &path) {
            return None;
        }
    }
}

/// The key that a path of figment means in `value`.
fn key_of(value: &Value, path: &[String]) -> Key {
    let mut here = Some(value);
    path.iter().fold(Key::default(), |key, part| {
        let step = match (here, part.parse::<usize>()) {
            (Some(Value::Array(_, list)), Ok(index)) => {
                here = list.get(index);
                Step::Index(index)
            }
            (Some(Value::Dict(_, dict)), _) => {
                here = dict.get(part);
                Step::Name(part.clone())
            }
            _ => Step::Name(part.clone()),
        };
        key.with(step)
    })
}

fn find<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |here, part| match here {
        Value::Dict(_, dict) => dict.get_mut(part),
        Value::Array(_, list) => list.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Takes out what stands at the path; false when nothing does, or when it is everything.
fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((last, around)) = path.split_last() else {
        return false;
    };
    match find(value, around) {
        Some(Value::Dict(_, dict)) => dict.remove(last).is_some(),
        Some(Value::Array(_, list)) => {
            let index = last
                .parse::<usize>()
                .ok()
                .filter(|index| *index < list.len());
            index.map(|index| list.remove(index)).is_some()
        }
        _ => false,
    }
}
