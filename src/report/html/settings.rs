//! The settings that were in force, as they would stand in `shutdown-check.toml`.

use serde_json::{Map, Value};

/// The settings as TOML; those that are not set are left out.
pub(super) fn text(configuration: &Value) -> String {
    let text = toml::to_string_pretty(&without_nothing(configuration));
    text.unwrap_or_else(|_| serde_json::to_string_pretty(configuration).unwrap_or_default())
}

/// TOML has no null, and a table in which nothing is says nothing.
fn without_nothing(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !is_nothing(value));
            let kept = kept.map(|(name, value)| (name.clone(), without_nothing(value)));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(values) => {
            Value::Array(values.iter().filter(|it| !it.is_null()).map(without_nothing).collect())
        }
        value => value.clone(),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_stand_as_in_the_file() {
        let settings = json!({"deadline": "30s", "env": {}, "budget": null,
            "jobs": {"start": ["a"]}, "trials": 40, "request": [{"path": "/"}]});
        let toml: toml::Value = toml::from_str(&text(&settings)).unwrap();
        assert_eq!(toml["trials"].as_integer(), Some(40));
        assert_eq!(toml["jobs"]["start"][0].as_str(), Some("a"));
        assert_eq!(toml["request"][0]["path"].as_str(), Some("/"));
        assert!(toml.get("env").is_none() && toml.get("budget").is_none());
    }
}
