//! The JSON Schemas of the report and of histories, derived from the types that write them.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Value, json};

use crate::model::diff::{DIFF_VERSION, DiffReport};
use crate::model::event::Event;
use crate::model::header::{HISTORY_VERSION, Header};
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

/// The JSON Schema (draft 2020-12) of a comparison.
///
/// Unknown properties are allowed, as in the report.
pub fn diff() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema: Schema = settings.into_generator().into_root_schema_for::<DiffReport>();
    let mut schema = schema.to_value();
    let major = DIFF_VERSION.split('.').next().unwrap_or(DIFF_VERSION);
    schema["$id"] = json!(format!("urn:shutdown-check:diff:{major}"));
    schema["title"] = json!(format!("Comparison of two reports, version {DIFF_VERSION}"));
    schema
}

/// A line of a history: the first has the header, every other one an event.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum HistoryLine {
    Header(Box<Header>),
    Event(Box<Event>),
}

/// The JSON Schema (draft 2020-12) of each line of a history.
///
/// Unknown properties are allowed, as in the report.
pub fn history() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema: Schema = settings.into_generator().into_root_schema_for::<HistoryLine>();
    let mut schema = schema.to_value();
    let major = HISTORY_VERSION.split('.').next().unwrap_or(HISTORY_VERSION);
    schema["$id"] = json!(format!("urn:shutdown-check:history:{major}"));
    schema["title"] = json!(format!("Line of a history, version {HISTORY_VERSION}"));
    schema
}

/// A schema as it is committed: pretty JSON with a newline at the end.
pub fn render(schema: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(schema).expect("a schema has only text keys");
    text.push('\n');
    text
}
