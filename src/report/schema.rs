//! The JSON Schema of the report, derived from the types that write it.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Value, json};

use crate::model::run::{RunReport, SCHEMA_VERSION};

/// The JSON Schema (draft 2020-12) of the report.
///
/// Unknown properties are allowed: they are added within a major version.
pub fn report() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema: Schema = settings.into_generator().into_root_schema_for::<RunReport>();
    let mut schema = schema.to_value();
    let major = SCHEMA_VERSION.split('.').next().unwrap_or(SCHEMA_VERSION);
    schema["$id"] = json!(format!("urn:shutdown-check:report:{major}"));
    schema["title"] = json!(format!("Report of shutdown-check, version {SCHEMA_VERSION}"));
    schema
}

/// A schema as it is committed: pretty JSON with a newline at the end.
pub fn render(schema: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(schema).expect("a schema has only text keys");
    text.push('\n');
    text
}
