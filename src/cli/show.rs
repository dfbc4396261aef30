//! The commands that only print: `plan`, `list`, `explain`, `schema`.

use crate::invariants::CATALOGUE;
use crate::model::run::RunReport;
use crate::model::stack::Stack;
use crate::plan::search::Search;
use crate::plan::{self, PlanOptions};
use crate::report::{Format, catalogue, moments, plan_text, schema, situations};

use super::args::{ListArgs, ListFormat, Listed, SchemaArgs, SchemaOf};
use super::deep::points_of;
use super::publish::print;
use super::run::draw_seed;
use super::settings::{Amount, Settings};
use super::values::Explained;

/// Prints the plan; the same seed prints the same, byte for byte.
pub fn plan(settings: &Settings) -> u8 {
    let options = settings.plan_options(settings.seed.unwrap_or_else(draw_seed));
    let (trials, is_all) = match settings.amount {
        Amount::Trials(trials) => (trials.get(), true),
        Amount::Budget(_) => (plan::round(&options), false),
    };
    let plan = plan::plan(&options, trials);
    match settings.outputs.stdout {
        Format::Json => print(&plan_text::json(&plan)),
        _ if is_all => print(&plan_text::table(&plan)),
        _ => print(&format!("{}{}", plan_text::table(&plan), plan_text::WHAT_FOLLOWS)),
    }
    if settings.partition.is_part() && settings.outputs.stdout != Format::Json {
        print(&plan_text::slice(settings.partition, trials, is_all));
    }
    if settings.deep && settings.outputs.stdout != Format::Json {
        print(plan_text::WHAT_IS_BETWEEN);
    }
    0
}

/// Prints what a search would try next, after all that a report shows.
pub fn plan_after(settings: &Settings, report: &RunReport) -> u8 {
    let options = settings.plan_options(settings.seed.unwrap_or(report.seed));
    let options = PlanOptions { points: points_of(report), ..options };
    let search = Search::after(options, report);
    let (choice, standings) = (search.next(&|_| true), search.standings());
    match settings.outputs.stdout {
        Format::Json => print(&plan_text::next_json(choice.as_ref(), &standings)),
        _ => print(&plan_text::next(report.trials.len(), choice.as_ref(), &standings)),
    }
    0
}

/// Prints what there is.
pub fn list(args: &ListArgs) -> u8 {
    let text = match (args.format, args.what) {
        (ListFormat::Json, what) => {
            let mut all = catalogue::list_json(CATALOGUE);
            let part = what.map(|what| all[listed_name(what)].take());
            format!("{:#}\n", part.unwrap_or(all))
        }
        (ListFormat::Text, None) => catalogue::list(CATALOGUE),
        (ListFormat::Text, Some(Listed::Invariants)) => catalogue::list_invariants(CATALOGUE),
        (ListFormat::Text, Some(Listed::Situations)) => catalogue::list_situations(),
        (ListFormat::Text, Some(Listed::Moments)) => catalogue::list_moments(),
        (ListFormat::Text, Some(Listed::Profiles)) => catalogue::list_profiles(),
    };
    print(&text);
    0
}

fn listed_name(what: Listed) -> &'static str {
    match what {
        Listed::Invariants => "invariants",
        Listed::Situations => "situations",
        Listed::Moments => "moments",
        Listed::Profiles => "profiles",
    }
}

/// Prints what an invariant, a situation or a moment means.
pub fn explain(what: Explained, stack: Option<Stack>) -> u8 {
    print(&match what {
        Explained::Invariant(invariant) => catalogue::explain(invariant, stack),
        Explained::Situation(situation) => situations::explain(situation),
        Explained::Moment(topic) => moments::explain(topic),
    });
    0
}

/// Prints a schema.
pub fn schema(args: &SchemaArgs) -> u8 {
    match args.of {
        SchemaOf::Report => print(&schema::render(&schema::report())),
        SchemaOf::History => print(&schema::render(&schema::history())),
        SchemaOf::Diff => print(&schema::render(&schema::diff())),
        SchemaOf::Config => print(&schema::render(&super::config::schema())),
    }
    0
}
