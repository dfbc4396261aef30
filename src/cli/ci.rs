//! What a CI server is told without being asked: annotations and a job's summary.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crate::model::run::RunReport;
use crate::report::{github, markdown};

use super::publish::print;

/// Whether a CI server runs this program: nobody watches, and what is written beside its reports
/// would be gone.
pub(super) fn is_ci() -> bool {
    says_ci(&of_process)
}

/// Where GitHub Actions runs this program, prints a workflow command a violation, and appends the
/// report to the job's summary. The runner reads commands from both streams; where standard output
/// is for another program, they go to standard error.
pub(super) fn tell(report: &RunReport, stdout_is_free: bool) {
    let Some(told) = Told::of(report, &of_process) else { return };
    if stdout_is_free {
        print(&told.commands);
    } else {
        let _ = std::io::stderr().write_all(told.commands.as_bytes());
    }
    let Some((path, text)) = told.summary else { return };
    let file = OpenOptions::new().append(true).create(true).open(path);
    // A summary that can't be written takes nothing from the verdict.
    let _ = file.and_then(|mut file| file.write_all(text.as_bytes()));
}

/// A variable of the environment; none where it is empty.
type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

fn of_process(name: &str) -> Option<String> {
    env::var_os(name).map(|it| it.to_string_lossy().into_owned()).filter(|it| !it.is_empty())
}

fn says_ci(variables: Variables<'_>) -> bool {
    variables("CI").is_some_and(|it| it != "false") || is_github(variables)
}

/// GitHub sets it to true, and nothing else counts (its documentation of default variables).
fn is_github(variables: Variables<'_>) -> bool {
    variables("GITHUB_ACTIONS").is_some_and(|it| it == "true")
}

/// What GitHub Actions is told.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    commands: String,
    /// Where the summary goes, and what it is.
    summary: Option<(PathBuf, String)>,
}

impl Told {
    fn of(report: &RunReport, variables: Variables<'_>) -> Option<Self> {
        is_github(variables).then(|| Self {
            commands: github::render(report),
            summary: variables("GITHUB_STEP_SUMMARY")
                .map(|path| (path.into(), markdown::render(report))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<'v>(all: &'v [(&str, &str)]) -> impl Fn(&str) -> Option<String> + use<'v> {
        move |name| all.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
    }

    fn report() -> RunReport {
        serde_json::from_value(serde_json::json!({
            "schema_version": "1.0", "tool": {"name": "t", "version": "0"}, "verdict": "violated",
            "exit_code": 1, "interrupted": null, "profile": "graceful", "seed": 1, "levels": "kernel",
            "target": {"command": ["./bin"], "url": null, "discovered": false, "requests": []},
            "invariants": [{"id": "jobs-finish", "level": "deny", "verdict": "violated", "trials": 1,
                "trials_violated": 1, "exercised": 2, "violations": 1, "rate_upper_bound_95": null,
                "rate_lower_bound_95": null, "reason": null,
                "evidence": [{"trial": 1, "message": "job a is not done", "events": []}]}],
            "coverage": [], "trials": [], "plan": {"seed": 1, "trials": []}, "outcomes": {},
            "timings": {}, "pooled_clients": {"requests": 0, "failed_before_signal": 0,
                "failed_after_signal": 0, "errors": {}},
            "configuration": {}, "environment": {"os": "linux", "kernel": null,
                "architecture": "x86_64", "processors": null},
            "started_at": "2026-11-22T10:00:00Z", "duration_ms": 1.0,
        }))
        .unwrap()
    }

    #[test]
    fn github_is_told_in_annotations_and_in_the_summary_of_the_job() {
        let told = Told::of(&report(), &variables(&[("GITHUB_ACTIONS", "true")])).unwrap();
        assert!(told.commands.starts_with("::error title=shutdown-check%3A jobs-finish::"));
        assert!(told.commands.contains("job a is not done"));
        assert_eq!(told.summary, None, "there is no place for it");
        let all = [("GITHUB_ACTIONS", "true"), ("GITHUB_STEP_SUMMARY", "/tmp/summary")];
        let (path, text) = Told::of(&report(), &variables(&all)).unwrap().summary.unwrap();
        assert_eq!(path, PathBuf::from("/tmp/summary"));
        assert!(text.starts_with("## shutdown-check: violated: 1 invariant"), "{text}");
    }

    #[test]
    fn nobody_else_is_told_in_commands_that_only_github_knows() {
        for all in [&[("CI", "true")][..], &[("GITHUB_ACTIONS", "false")], &[]] {
            assert_eq!(Told::of(&report(), &variables(all)), None);
        }
    }

    #[test]
    fn a_ci_server_is_known_by_what_all_of_them_set() {
        for (all, is) in [
            (&[("CI", "true")][..], true),
            (&[("CI", "1")], true),
            (&[("CI", "false")], false),
            (&[("GITHUB_ACTIONS", "true")], true),
            (&[], false),
        ] {
            assert_eq!(says_ci(&variables(all)), is, "{all:?}");
        }
    }
}
