//! Reports of hand-made trials, in every format: nothing here is timed, so nothing here varies.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::json;
use shutdown_check::invariants::CATALOGUE;
use shutdown_check::model::contract::{Contract, ExpectedResponse};
use shutdown_check::model::event::{
    BodySeen, Connection, ConnectionEnd, Event, EventKind, ExitStatus, PooledRequest, Probe,
    ProbeOutcome, Request, RequestEnd, Snapshot, SocketSeen,
};
use shutdown_check::model::header::{HISTORY_VERSION, Header};
use shutdown_check::model::history::History;
use shutdown_check::model::plan::{
    Arrivals, LoadShape, Moment, Plan, PlannedSignal, SignalTo, Situation, Trial,
};
use shutdown_check::model::run::{
    Environment, InvariantReport, PidOneChange, PidOneReport, RequestReport, RunReport,
    TargetReport, Tool,
};
use shutdown_check::model::signal::Signal;
use shutdown_check::model::stack::{Stack, StackReport};
use shutdown_check::model::time::Nanos;
use shutdown_check::model::verdict::{Finding, Profile, Severity, Verdict, VerdictName, Violation};
use shutdown_check::report::summary::{RunFacts, TrialSummary, assemble};
use shutdown_check::report::terminal::{Detail, Style, View, render};
use shutdown_check::report::{Format, catalogue, json as json_report, schema};

const IN_FLIGHT: &str = "in-flight-requests-complete";
const QUEUED: &str = "queued-connections-are-served";
const SEVERITIES: [(&str, Severity); 6] = [
    ("signal-is-handled", Severity::Deny),
    (IN_FLIGHT, Severity::Deny),
    ("new-connections-are-refused", Severity::Deny),
    (QUEUED, Severity::Warn),
    ("exits-before-deadline", Severity::Deny),
    ("jobs-finish", Severity::Deny),
];

// ---- trials --------------------------------------------------------------------------------

fn ms(ms: f64) -> Nanos {
    Nanos::from_ns((ms * 1e6) as u64)
}

fn trial(number: u32) -> Trial {
    Trial {
        number,
        seed: 1000 + u64::from(number),
        situation: Situation::Load,
        load: LoadShape {
            connections: 16,
            arrivals: Arrivals::Closed { pause: Duration::from_millis(2) },
            keep_alive_percent: 50,
            pooled_clients: 1,
        },
        asks: None,
        asks_after: None,
        kinds: None,
        hold: None,
        as_pid_1: false,
        aside: false,
        signals: vec![PlannedSignal {
            signal: Signal::TERM,
            to: SignalTo::Leader,
            moment: Moment::Uniform { after: Duration::from_millis(950) },
        }],
        restart: false,
    }
}

fn contract() -> Contract {
    Contract {
        lag_limit: Duration::from_millis(50),
        requests: vec![ExpectedResponse {
            name: "GET /orders".into(),
            status: 200,
            body: None,
            usual: Duration::from_millis(4),
            first_byte: Duration::from_millis(4),
        }],
        ..Contract::default()
    }
}

fn connection(number: u32, start: f64, end: f64, how: ConnectionEnd) -> Event {
    let connection = Connection {
        connection: number,
        local_port: Some(40_000),
        started: ms(start),
        established: Some(ms(start + 0.1)),
        ended: ms(end),
        end: how,
    };
    Event { at: ms(end), kind: EventKind::Connection(connection) }
}

fn request(number: u32, connection: u32, start: f64, end: f64, how: RequestEnd) -> Event {
    let complete = how == RequestEnd::Complete;
    let request = Request {
        request: number,
        connection,
        template: 0,
        head_bytes: 118,
        total_bytes: 118,
        stream_offset: 0,
        response_offset: 0,
        response_bytes: 0,
        started: ms(start),
        head_sent: Some(ms(start + 0.1)),
        sent: Some(ms(start + 0.1)),
        first_byte: complete.then(|| ms(end)),
        head_received: complete.then(|| ms(end)),
        parts: [].into(),
        ended: ms(end),
        end: how,
        status: complete.then_some(200),
        close_announced: false,
        http_1_0: false,
        sent_while_open: false,
        stalled: false,
        framing: None,
        body: BodySeen::default(),
    };
    Event { at: ms(end), kind: EventKind::Request(request) }
}

fn at(at: f64, kind: EventKind) -> Event {
    Event { at: ms(at), kind }
}

/// A trial with one request before the signal (event 9 is the other one's end, 10 that of its
/// connection), and one that the server had read when the signal came, 1000 ms after the start.
fn history(number: u32, end: RequestEnd) -> History {
    let how = match end {
        RequestEnd::Complete => ConnectionEnd::ClosedByServer,
        _ => ConnectionEnd::ResetByServer,
    };
    let seen =
        SocketSeen { connection: 1, accepted: true, unread: 0, received: 118, sent: 0, unsent: 0 };
    let address = "127.0.0.1:8080".parse().unwrap();
    let exited = ExitStatus { code: Some(0), signal: None };
    let probe = Probe { started: ms(1000.5), ended: ms(1000.9), outcome: ProbeOutcome::Refused };
    let pooled = PooledRequest {
        template: 0,
        started: ms(1001.0),
        ended: ms(1001.5),
        status: None,
        error: Some("error sending request".into()),
    };
    let events = vec![
        at(0.0, EventKind::Spawned { pid: 4121 }),
        at(42.0, EventKind::Ready { address: Some(address), owner: Some(4121) }),
        at(50.0, EventKind::LoadStarted),
        request(1, 2, 960.0, 961.0, RequestEnd::Complete),
        connection(2, 959.5, 961.0, ConnectionEnd::ClosedByClient),
        at(999.95, EventKind::SocketsSeen { when: Snapshot::Before, sockets: vec![seen] }),
        at(
            1000.0,
            EventKind::SignalSending { signal: Signal::TERM, pid: 4121, planned: ms(999.99) },
        ),
        at(1000.03, EventKind::SignalSent { signal: Signal::TERM }),
        at(1001.0, EventKind::Probe(probe)),
        request(2, 1, 998.7, 1004.1, end),
        connection(1, 998.0, 1004.1, how),
        at(1004.2, EventKind::PooledRequest(pooled)),
        at(1004.5 + f64::from(number), EventKind::Exited { pid: 4121, status: exited }),
        at(1020.0, EventKind::HarnessLag { worst: Duration::from_micros(300) }),
    ];
    let header = Header {
        history_version: HISTORY_VERSION.into(),
        tool_version: "0.1.0".into(),
        command: vec!["./bin".into()],
        trial: trial(number),
        contract: contract(),
    };
    History::new(header, events).unwrap()
}

fn satisfied(exercised: u32) -> Verdict {
    Verdict::Satisfied { exercised: NonZeroU32::new(exercised).unwrap() }
}

fn violated(exercised: u32, violations: &[(&str, &[u32])]) -> Verdict {
    let violations = violations
        .iter()
        .map(|(message, evidence)| Violation {
            message: (*message).to_owned(),
            evidence: evidence.to_vec(),
        })
        .collect();
    Verdict::of(exercised as usize, violations, "")
}

/// The findings of a trial, with those for two invariants given.
fn findings(in_flight: Verdict, queued: Verdict) -> Vec<Finding> {
    let no_jobs = "no line named a job: name the patterns with --job-start and --job-finish";
    let verdicts = [
        satisfied(1),
        in_flight,
        satisfied(10),
        queued,
        satisfied(1),
        Verdict::NotApplicable { reason: no_jobs.into() },
    ];
    let ids = SEVERITIES.iter().map(|(id, _)| *id);
    ids.zip(verdicts).map(|(invariant, verdict)| Finding::of(invariant, verdict)).collect()
}

fn summary(number: u32, end: RequestEnd, findings: &[Finding]) -> TrialSummary {
    let path = format!("trials/trial-{number:04}.jsonl");
    TrialSummary::of(&history(number, end), findings, Some(path), &SEVERITIES)
}

// ---- runs ----------------------------------------------------------------------------------

fn facts(trials: u32) -> RunFacts {
    RunFacts {
        tool: Tool { name: "shutdown-check".into(), version: "0.1.0".into() },
        profile: Profile::Graceful,
        severities: SEVERITIES.to_vec(),
        seed: 0x9f_31c2,
        target: TargetReport {
            command: vec!["./bin".into(), "--say".into(), "good bye".into()],
            url: Some("http://127.0.0.1:8080/".into()),
            discovered: true,
            parallelism: None,
            stack: Some(StackReport {
                name: Stack::Axum,
                by: "paths of axum in its executable".into(),
            }),
            requests: vec![RequestReport {
                name: "GET /orders".into(),
                status: 200,
                body_bytes: None,
                usual_ms: 4.0,
            }],
        },
        plan: Plan { seed: 0x9f_31c2, trials: (1..=trials).map(trial).collect() },
        search: None,
        until_bound: None,
        configuration: json!({ "deadline": "30s" }),
        environment: Environment {
            os: "linux".into(),
            kernel: Some("6.12".into()),
            architecture: "x86_64".into(),
            processors: Some(2),
        },
        started_at: "2026-11-22T10:01:07Z".into(),
        duration_ms: 29_812.0,
        interrupted: None,
        retries: 0,
        deep: None,
        chosen: BTreeSet::new(),
        unreachable: BTreeMap::new(),
        partition: Default::default(),
        merged: None,
        histories: None,
    }
}

/// Everything that is denied holds, and some queued connections are lost.
fn pass_with_a_warning() -> RunReport {
    let reset = "connection 7 waited in the accept queue and was reset 1.2 ms after the signal";
    let trials: Vec<_> = (1..=4)
        .map(|number| {
            let queued = match number {
                1 => satisfied(20),
                _ => violated(20, &[(reset, &[4]), (reset, &[4])]),
            };
            summary(number, RequestEnd::Complete, &findings(satisfied(478), queued))
        })
        .collect();
    assemble(facts(4), &trials)
}

fn lost(ms: f64) -> String {
    format!(
        "GET /orders on connection 1: sent 118 B, read by the server (kernel: receive queue \
         empty, 118 B received), no response byte, then RST +{ms} ms."
    )
}

/// One request of trial 2 is lost, and two of trial 3.
fn failure() -> RunReport {
    let (first, second) = (lost(4.1), lost(4.3));
    let trials = [
        summary(1, RequestEnd::Complete, &findings(satisfied(500), satisfied(3))),
        summary(
            2,
            RequestEnd::Reset,
            &findings(violated(700, &[(&first, &[9, 10, 12])]), satisfied(3)),
        ),
        summary(
            3,
            RequestEnd::Reset,
            &findings(violated(712, &[(&first, &[9, 10]), (&second, &[9])]), satisfied(3)),
        ),
    ];
    assemble(facts(3), &trials)
}

fn inconclusive() -> RunReport {
    let nothing = "no request was in flight at any signal: every response took less than 0.1 ms; \
                   name a slower one (--path '/report?ms=300')";
    let findings = findings(Verdict::inconclusive(nothing), Verdict::inconclusive("none waited"));
    let trials = [summary(1, RequestEnd::Complete, &findings)];
    let mut facts = facts(8);
    facts.interrupted = Some(Signal::INT);
    assemble(facts, &trials)
}

const PLAIN: View<'_> = View {
    entries: false,
    style: Style { colour: false, unicode: true },
    width: 120,
    detail: Detail::Normal,
    report: Some("reports/9f31c2/report.json"),
    histories: Some("reports/9f31c2/trials"),
};

fn assert_width(text: &str, width: usize) {
    for line in text.lines() {
        // One word of a command is never broken: it could not be pasted.
        let word = line.trim().trim_end_matches(" \\");
        let is_word = word.starts_with('\'') && word.ends_with('\'') || !word.contains(' ');
        let is_short = line.chars().count() <= width;
        assert!(is_short || is_word, "{} columns: {line}", line.chars().count());
        assert_eq!(line, line.trim_end(), "spaces at the end");
    }
}

// ---- the terminal --------------------------------------------------------------------------

#[test]
fn a_pass_says_what_it_has_shown_and_what_it_warns_of() {
    insta::assert_snapshot!("pass_with_a_warning", render(&pass_with_a_warning(), &PLAIN));
}

#[test]
fn a_failure_shows_its_smallest_trial() {
    insta::assert_snapshot!("failure", render(&failure(), &PLAIN));
}

#[test]
fn trials_that_count_for_nothing_say_why() {
    let mut report = pass_with_a_warning();
    let reason = "no request was read in time";
    report.trials[0].missed = Some(reason.into());
    let told = |report: &RunReport| render(report, &PLAIN).replace("\n           ", "");
    assert!(told(&report).contains(&format!("1 of them not counted: {reason}\n")), "{report:#?}");
    report.trials[1].missed = Some("the harness was late".into());
    report.trials[2].missed = Some(reason.into());
    assert!(told(&report).contains(&format!("3 of them not counted, 2 since {reason}\n")));
}

#[test]
fn what_would_be_otherwise_as_pid_1_is_told_to_everybody_alike() {
    let mut report = pass_with_a_warning();
    let change = |invariant: &str| PidOneChange {
        invariant: invariant.into(),
        level: Severity::Deny,
        otherwise: VerdictName::Satisfied,
        trials_violated: 1,
        trial: 3,
        message: "it was alive at the deadline".into(),
    };
    let changes = vec![change("exits-before-deadline"), change("jobs-finish")];
    report.pid_1 = Some(PidOneReport { trials: 1, changes });
    for format in [Format::Text, Format::Html, Format::Markdown] {
        let text = format.render(&report, &PLAIN, &[]);
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let told =
            "never exits: it was alive at the deadline (trial 3); it also violates jobs-finish";
        assert!(words.contains(told), "{format}: {words}");
    }
}

#[test]
fn an_inconclusive_run_says_why_and_what_to_do() {
    insta::assert_snapshot!("inconclusive", render(&inconclusive(), &PLAIN));
}

#[test]
fn a_pass_that_shows_little_says_so() {
    let trials = [summary(1, RequestEnd::Complete, &findings(satisfied(20), satisfied(3)))];
    let mut report = assemble(facts(1), &trials);
    let text = render(&report, &PLAIN);
    assert!(text.contains("20 requests are too few, name a slow page (--path)"), "{text}");
    report.target.requests[0].usual_ms = 900.0;
    let text = render(&report, &PLAIN);
    assert!(text.contains("loss < 14 %: 20 requests are too few, try --budget 60s"), "{text}");
}

#[test]
fn a_long_report_shows_coverage_outcomes_and_timings() {
    let view = View { detail: Detail::Verbose, ..PLAIN };
    insta::assert_snapshot!("verbose", render(&failure(), &view));
}

#[test]
fn what_shows_two_failures_is_drawn_once() {
    let mut report = failure();
    let drawings =
        |report: &RunReport| render(report, &PLAIN).matches("the smallest that shows it").count();
    let drawn = drawings(&report);
    let violated = report.invariants.iter().find(|i| i.verdict == VerdictName::Violated).unwrap();
    let twin = InvariantReport { id: "its-twin".into(), ..violated.clone() };
    let other = twin.evidence[0].message.clone() + " elsewhere";
    report.invariants.push(twin);
    assert_eq!(drawings(&report), drawn);
    report.invariants.last_mut().unwrap().evidence[0].message = other;
    assert_eq!(drawings(&report), drawn + 1);
}

#[test]
fn a_quiet_report_is_what_failed_and_the_verdict() {
    let view = View { detail: Detail::Quiet, ..PLAIN };
    insta::assert_snapshot!("quiet_failure", render(&failure(), &view));
    let text = render(&pass_with_a_warning(), &view);
    assert_eq!(text, "  satisfied, with 1 warning and no occasion for jobs-finish\n");
}

#[test]
fn colour_adds_escapes_and_nothing_else() {
    let coloured = View { style: Style { colour: true, unicode: true }, ..PLAIN };
    for report in [pass_with_a_warning(), failure(), inconclusive()] {
        let text = render(&report, &coloured);
        assert!(text.contains("\x1b["));
        assert_eq!(without_escapes(&text), render(&report, &PLAIN));
    }
    let text = render(&failure(), &coloured).replace('\x1b', "ESC");
    insta::assert_snapshot!("failure_in_colour", text);
}

fn without_escapes(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[test]
fn ascii_is_enough() {
    let view = View { style: Style::default(), detail: Detail::Verbose, ..PLAIN };
    for report in [pass_with_a_warning(), failure(), inconclusive()] {
        let text = render(&report, &view);
        assert!(text.is_ascii(), "{text}");
    }
    insta::assert_snapshot!("failure_in_ascii", render(&failure(), &view));
}

#[test]
fn no_line_is_too_long_whatever_is_in_it() {
    let long = "word ".repeat(60) + &"x".repeat(300) + "\n\x1b[31mred";
    let id: &'static str = "an-invariant-with-a-name-that-is-much-longer-than-any-line-may-be-wide";
    let mut facts = facts(1);
    facts.severities.extend([(id, Severity::Deny), ("short", Severity::Warn)]);
    facts.target.command = vec!["c".repeat(200)];
    let evidence: Vec<u32> = (0..14).collect();
    let mut findings = findings(violated(1_234_567, &[(&long, &evidence)]), satisfied(u32::MAX));
    let failed = violated(2_345_678, &[(&long, &evidence), (&long, &evidence)]);
    findings.push(Finding::of(id, failed));
    findings.push(Finding::of("short", Verdict::inconclusive(long.clone())));
    let report = assemble(facts, &[summary(1, RequestEnd::TimedOut, &findings)]);
    for (width, limit) in [(0, 60), (72, 72), (500, 80)] {
        for detail in [Detail::Quiet, Detail::Normal, Detail::Verbose] {
            let view = View { width, detail, ..PLAIN };
            let text = render(&report, &view);
            assert_width(&text, limit);
            assert!(!text.contains('\x1b'), "what a target wrote must not move the cursor");
        }
    }
    for report in [pass_with_a_warning(), failure(), inconclusive()] {
        assert_width(&render(&report, &PLAIN), 80);
    }
}

// ---- what other programs read --------------------------------------------------------------

#[test]
fn the_json_of_a_small_report() {
    insta::assert_snapshot!("json", json_report::render(&failure()));
}

#[test]
fn the_json_is_read_back_as_the_same_report() {
    for report in [pass_with_a_warning(), failure(), inconclusive()] {
        let text = json_report::render(&report);
        assert_eq!(serde_json::from_str::<RunReport>(&text).unwrap(), report);
        assert!(text.ends_with("}\n"));
    }
}

#[test]
fn reports_are_valid_by_the_schema_with_and_without_additions() {
    let validator = jsonschema::validator_for(&schema::report()).unwrap();
    for report in [pass_with_a_warning(), failure(), inconclusive()] {
        let mut value: serde_json::Value = serde_json::to_value(&report).unwrap();
        value["added_later"] = json!(1);
        value["trials"][0]["added_later"] = json!("too");
        let errors: Vec<_> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        value["verdict"] = json!("perhaps");
        assert!(!validator.is_valid(&value));
    }
}

#[test]
fn every_format_of_a_failure() {
    let report = failure();
    for (name, format) in [
        ("junit", Format::Junit),
        ("markdown", Format::Markdown),
        ("github", Format::Github),
        ("sarif", Format::Sarif),
        ("badge", Format::Badge),
    ] {
        insta::assert_snapshot!(name, format.render(&report, &PLAIN, &[]));
    }
}

/// The schema is that of Jenkins' xunit plugin.
#[test]
fn junit_is_valid_by_its_published_schema() {
    let schema = uppsala::parse(include_str!("schemas/junit-10.xsd")).unwrap();
    let schema = uppsala::XsdValidator::from_schema(&schema).unwrap();
    let errors = |text: &str| schema.validate(&uppsala::parse(text).unwrap());
    for report in [pass_with_a_warning(), failure(), inconclusive()] {
        let junit = Format::Junit.render(&report, &PLAIN, &[]);
        assert!(errors(&junit).is_empty(), "{:?}: {junit}", errors(&junit));
        for (right, wrong) in
            [(" name=", " nom="), ("testcase", "testcaso"), (" time=\"", " time=\"x")]
        {
            assert!(!errors(&junit.replace(right, wrong)).is_empty(), "{wrong}");
        }
    }
}

/// The schema is OASIS's own (sarif-schema-2.1.0).
#[test]
fn sarif_is_valid_by_its_published_schema() {
    // Its pattern for languages, which are not written here, has a bracket too many.
    let schema = include_str!("schemas/sarif-2.1.0.json").replace("]{2}]?$", "]{2}$");
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    for report in [pass_with_a_warning(), failure(), inconclusive()] {
        let mut sarif: serde_json::Value =
            serde_json::from_str(&Format::Sarif.render(&report, &PLAIN, &[])).unwrap();
        let errors: Vec<_> = validator.iter_errors(&sarif).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let violated = report.invariants.iter().filter(|i| i.verdict == VerdictName::Violated);
        assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), violated.count());
        sarif["version"] = json!("9");
        assert!(!validator.is_valid(&sarif));
    }
}

/// What a target wrote stands in messages: no format may be broken by it.
#[test]
fn what_a_target_wrote_breaks_no_format() {
    let hostile = "</failure><b>]]> & \"'\n::error::x \u{1b}[31m`|*_";
    let mut report = failure();
    for invariant in &mut report.invariants {
        for evidence in &mut invariant.evidence {
            evidence.message = hostile.into();
        }
        invariant.reason = invariant.reason.as_ref().map(|_| hostile.into());
    }
    let junit = Format::Junit.render(&report, &PLAIN, &[]);
    let read = quick_junit::Report::deserialize_from_str(&junit).unwrap();
    assert_eq!(read.test_suites[0].test_cases.len(), report.invariants.len());
    let github = Format::Github.render(&report, &PLAIN, &[]);
    assert!(github.lines().all(|line| line.starts_with("::")), "{github}");
    let markdown = Format::Markdown.render(&report, &PLAIN, &[]);
    assert!(!markdown.contains("<b>"), "{markdown}");
}

#[test]
fn junit_counts_what_fails_a_run_as_failures_and_what_was_not_shown_as_errors_or_skipped() {
    for report in [pass_with_a_warning(), failure(), inconclusive()] {
        let junit = Format::Junit.render(&report, &PLAIN, &[]);
        let read = quick_junit::Report::deserialize_from_str(&junit).unwrap();
        let count = |verdict| {
            let denied = report.invariants.iter().filter(|i| i.level == Severity::Deny);
            denied.filter(|i| i.verdict == verdict).count()
        };
        assert_eq!(read.failures, count(VerdictName::Violated));
        assert_eq!(read.errors, count(VerdictName::Inconclusive));
    }
}

#[test]
fn the_committed_schema_is_the_current_one() {
    let report = schema::render(&schema::report());
    assert_current("reports/schema/report.schema.json", &report, "UPDATE_SCHEMAS");
    let diff = schema::render(&schema::diff());
    assert_current("reports/schema/diff.schema.json", &diff, "UPDATE_SCHEMAS");
    let history = schema::render(&schema::history());
    assert_current("reports/schema/history.schema.json", &history, "UPDATE_SCHEMAS");
}

#[test]
fn the_page_of_invariants_is_the_current_one() {
    let page = catalogue::page(CATALOGUE);
    assert_current("docs/INVARIANTS.md", &page, "UPDATE_DOCS");
}

/// A committed file says what follows from the program; with the variable, it is made to.
fn assert_current(name: &str, current: &str, variable: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os(variable).is_some() {
        std::fs::write(&path, current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == current, "{name} is not current: run the tests with {variable}=1");
}

#[test]
fn histories_are_valid_by_the_schema_with_and_without_additions() {
    let validator = jsonschema::validator_for(&schema::history()).unwrap();
    for end in [RequestEnd::Complete, RequestEnd::Reset] {
        let (header, events) = history(1, end).into_parts();
        let mut header = serde_json::to_value(&header).unwrap();
        header["added_later"] = json!(1);
        let events = events.iter().map(|event| serde_json::to_value(event).unwrap());
        for line in events.chain([header.clone()]) {
            let errors: Vec<_> = validator.iter_errors(&line).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{line}: {errors:#?}");
        }
        header["trial"] = json!("perhaps");
        assert!(!validator.is_valid(&header));
    }
    assert!(!validator.is_valid(&json!({ "at": 1, "event": "spawned", "pid": "one" })));
    assert!(!validator.is_valid(&json!({ "at": 1, "event": "never-heard-of" })));
}

// ---- what a trial gives --------------------------------------------------------------------

#[test]
fn a_trial_is_measured_from_its_history() {
    let report = pass_with_a_warning();
    let trial = &report.trials[1];
    let near = |value: Option<f64>, expected: f64| {
        let value = value.unwrap();
        assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
    };
    near(trial.ready_ms, 42.0);
    near(trial.refused_after_ms, 0.87);
    near(trial.drain_ms, 4.07);
    near(trial.exit.as_ref().unwrap().after_ms, 6.47);
    near(Some(trial.signals[0].error_us), 10.0);
    near(Some(trial.signals[0].bracket_us), 30.0);
    near(Some(trial.signals[0].at_ms), 1000.0);
    near(Some(trial.harness_lag_ms), 0.3);
    assert_eq!((trial.requests, trial.ambiguous), (2, 0));
    assert_eq!(trial.violated, [QUEUED]);
    assert_eq!(report.outcomes["processing"]["completed"], 4);
    assert_eq!(report.outcomes["finished"]["completed"], 4);
    let pooled = &report.pooled_clients;
    assert_eq!((pooled.failed_before_signal, pooled.failed_after_signal), (0, 4));
    assert_eq!(pooled.errors["error sending request"], 4);
    let cell = &report.coverage[0];
    assert_eq!((cell.trials, cell.violations[QUEUED]), (4, 6));
}

#[test]
fn a_trial_without_a_signal_has_no_times_from_it() {
    let whole = history(1, RequestEnd::Complete);
    let events = whole.events()[..5].to_vec();
    let history = History::new(whole.header().clone(), events).unwrap();
    let summary = TrialSummary::of(&history, &[], None, &SEVERITIES);
    let report = summary.report();
    assert!(report.signals.is_empty() && report.exit.is_none());
    assert_eq!((report.drain_ms, report.refused_after_ms), (None, None));
    assert_eq!(report.verdict.to_string(), "inconclusive");
}
