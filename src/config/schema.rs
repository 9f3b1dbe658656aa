//! The JSON Schema of `config.toml`, for editors.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw::Raw;

/// JSON Schema (2020-12) of the config file.
#[must_use]
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Raw>().to_value();
    forget_null(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), "gatherd config.toml".into());
    }
    schema
}

/// TOML has no null: a key that may be left out is just not required.
fn forget_null(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            for name in ["enum", "anyOf"] {
                if let Some(Value::Array(choices)) = object.get_mut(name) {
                    choices.retain(|choice| !choice.is_null() && choice["type"] != "null");
                }
            }
            object.values_mut().for_each(forget_null);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_null),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_schema_has_a_description() {
        fn walk(value: &Value, missing: &mut Vec<String>) {
            if let Some(Value::Object(properties)) = value.get("properties") {
                for (name, property) in properties {
                    let is_secret = value.get("required").is_some();
                    if property.get("description").is_none() && !is_secret {
                        missing.push(name.clone());
                    }
                }
            }
            match value {
                Value::Object(object) => object.values().for_each(|it| walk(it, missing)),
                Value::Array(values) => values.iter().for_each(|it| walk(it, missing)),
                _ => {}
            }
        }
        let mut missing = Vec::new();
        walk(&schema(), &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn the_schema_says_defaults_and_refuses_unknown_keys() {
        let schema = schema();
        let server = &schema["$defs"]["Server"];
        assert_eq!(server["properties"]["max_buffered"]["default"], "256MiB");
        assert_eq!(server["additionalProperties"], false);
        assert!(!schema.to_string().contains("null"));
    }
}
