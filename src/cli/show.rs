//! The commands that only print: `plan`, `list`, `explain`, `schema`.

use std::num::NonZeroU32;

use crate::invariants::{self, CATALOGUE};
use crate::plan;
use crate::report::{catalogue, plan_text, schema};

use super::args::{ListArgs, SchemaArgs, SchemaOf, StdoutFormat};
use super::publish::print;
use super::settings::{Amount, Settings};

/// Trials of a plan that has a budget and no number: as many as are worth reading.
const SHOWN: u32 = 20;

/// Prints the plan; the same seed prints the same, byte for byte.
pub fn plan(settings: &Settings) -> u8 {
    let trials = match settings.amount {
        Amount::Trials(trials) => trials.get(),
        Amount::Budget(_) => NonZeroU32::MIN.get() * SHOWN,
    };
    let options = settings.plan_options(settings.seed.unwrap_or_default());
    let plan = plan::plan(&options, trials);
    match settings.outputs.stdout {
        StdoutFormat::Terminal => print(&plan_text::table(&plan)),
        StdoutFormat::Json => print(&plan_text::json(&plan)),
    }
    0
}

/// Prints what there is.
pub fn list(_args: &ListArgs) -> u8 {
    print(&catalogue::list(CATALOGUE));
    0
}

/// Prints what an invariant means.
pub fn explain(id: &str) -> u8 {
    if let Some(invariant) = invariants::find(id) {
        print(&catalogue::explain(invariant));
    }
    0
}

/// Prints a schema.
pub fn schema(args: &SchemaArgs) -> u8 {
    match args.of {
        SchemaOf::Report => print(&schema::render(&schema::report())),
        SchemaOf::Config => print(&schema::render(&super::config::schema())),
    }
    0
}
