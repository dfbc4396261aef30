//! What two runs did not have in common, so that a change may be its, and not the target's.

use serde_json::Value;

use crate::model::diff::Unfair;
use crate::model::run::RunReport;

/// Settings that say nothing of what was tried, or that have their own line.
const NO_MATTER: [&str; 9] = [
    "cwd",
    "seed",
    "parallel",
    "reports-dir",
    "shrink-budget",
    "profile",
    "levels",
    "target",
    "request",
];
const MACHINE: &str = "machine";
const REQUESTS: &str = "requests";
const VALUE_MAX: usize = 200;

/// Whether times can't be compared where that differs.
pub(super) fn is_about_time(what: &str) -> bool {
    [MACHINE, REQUESTS].contains(&what)
}

/// Every such difference, the gravest first.
pub(super) fn differences(before: &RunReport, after: &RunReport) -> Vec<Unfair> {
    let mut all = Vec::new();
    let mut add = |what: &str, of: &dyn Fn(&RunReport) -> String| {
        let (before, after) = (cut(of(before)), cut(of(after)));
        if before != after {
            all.push(Unfair { what: what.to_owned(), before, after });
        }
    };
    add("target", &|it| it.target.command.join(" "));
    add("how much", &amount);
    add("profile", &|it| it.profile.to_string());
    add("version", &|it| format!("{} {}", it.tool.name, it.tool.version));
    add(MACHINE, &machine);
    add(REQUESTS, &|it| {
        let names = it.target.requests.iter().map(|it| format!("{} → {}", it.name, it.status));
        names.collect::<Vec<_>>().join(", ")
    });
    add("phases", &|it| format!("{:?}", it.levels).to_lowercase());
    for (before, after) in before.invariants.iter().filter_map(|before| {
        Some((before, after.invariants.iter().find(|after| after.id == before.id)?))
    }) {
        if before.level != after.level {
            let (what, id) = (format!("level of {}", before.id), before.level.to_string());
            all.push(Unfair { what, before: id, after: after.level.to_string() });
        }
    }
    let keys = |it: &RunReport| {
        let settings = it.configuration.as_object().into_iter().flatten();
        settings.map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    let mut names = [keys(before), keys(after)].concat();
    names.sort();
    names.dedup();
    for key in names.iter().filter(|key| !NO_MATTER.contains(&key.as_str())) {
        let value = |it: &RunReport| {
            let value = it.configuration.get(key);
            cut(value.map_or_else(|| "absent".to_owned(), Value::to_string))
        };
        let (before, after) = (value(before), value(after));
        if before != after {
            all.push(Unfair { what: format!("setting {key}"), before, after });
        }
    }
    all
}

fn machine(report: &RunReport) -> String {
    let it = &report.environment;
    let kernel = it.kernel.as_deref().unwrap_or("unknown");
    let processors = it.processors.map_or("unknown".to_owned(), |number| number.to_string());
    format!("{} {kernel}, {}, {processors} processors", it.os, it.architecture)
}

/// Whether it was all of a run.
fn amount(report: &RunReport) -> String {
    match (&report.partition, &report.merged, report.interrupted) {
        (_, _, Some(signal)) => format!("broken off by {signal}"),
        (Some(slice), _, _) => slice.to_string(),
        (_, Some(merged), _) if merged.is_incomplete() => {
            format!("some of {} slices", merged.count)
        }
        _ => "all of it".to_owned(),
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(VALUE_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
