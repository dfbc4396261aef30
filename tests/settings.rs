//! What the user writes, and the settings or the message that come of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use shutdown_check::cli::args::{Cli, Explained, Subcommands};
use shutdown_check::cli::config;
use shutdown_check::cli::settings::{Address, Amount, JudgeSettings, Settings, Verbosity};
use shutdown_check::invariants::CATALOGUE;
use shutdown_check::model::contract::{Contract, ExpectedExit, JobPatterns};
use shutdown_check::model::plan::{Arrivals, Situation};
use shutdown_check::model::signal::Signal;
use shutdown_check::model::target::RequestTemplate;
use shutdown_check::model::verdict::{Profile, Severity};
use shutdown_check::report::{Format, Output, again};

const ID: &str = "in-flight-requests-complete";

/// A user: an empty directory, a file in it, variables.
struct User {
    dir: tempfile::TempDir,
    variables: Vec<(OsString, OsString)>,
}

impl User {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    fn file(self, text: &str) -> Self {
        self.named("shutdown-check.toml", text)
    }

    fn named(self, name: &str, text: &str) -> Self {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn try_run(&self, line: &str) -> Result<Settings, String> {
        let words = ["shutdown-check"].into_iter().chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        assert!(cli.command.is_none(), "{line:?} is no run");
        Settings::resolve(&cli.run, self.variables.clone(), self.dir.path())
            .map_err(|error| error.to_string())
    }

    fn run(&self, line: &str) -> Settings {
        self.try_run(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// The message, with `DIR` for the directory.
    fn error(&self, line: &str) -> String {
        let error = self.try_run(line).expect_err(line);
        let error = error.replace(&self.dir.path().display().to_string(), "DIR");
        error.trim_end().trim_end_matches("For more information, try '--help'.").trim_end().into()
    }
}

fn run(line: &str) -> Settings {
    User::new().run(line)
}

fn error(line: &str) -> String {
    User::new().error(line)
}

fn file_error(text: &str) -> String {
    User::new().file(text).error("")
}

fn args(line: &str) -> Cli {
    Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

// ---- the command line ------------------------------------------------------------------------

#[test]
fn options_stand_before_and_after_the_target() {
    let table = [
        ("", vec![], None),
        ("./bin --trials 5", vec!["./bin"], Some(5)),
        ("--trials 5 ./bin serve", vec!["./bin", "serve"], Some(5)),
        ("./bin serve --trials 5 now", vec!["./bin", "serve", "now"], Some(5)),
        ("--trials 5 -- ./bin --port 80", vec!["./bin", "--port", "80"], Some(5)),
        ("./bin -- --port 80 --trials 5", vec!["./bin", "--port", "80", "--trials", "5"], None),
        ("./bin --trials 5 -- --port {port}", vec!["./bin", "--port", "{port}"], Some(5)),
        ("./bin plan", vec!["./bin", "plan"], None),
    ];
    for (line, command, trials) in table {
        let settings = run(line);
        assert_eq!(settings.command, command, "{line}");
        let found = match settings.amount {
            Amount::Trials(trials) => Some(trials.get()),
            Amount::Budget(_) => None,
        };
        assert_eq!(found, trials, "{line}");
    }
}

#[test]
fn subcommands_take_what_they_need() {
    match args("shutdown-check plan ./bin --trials 5 -- --port 80").command {
        Some(Subcommands::Plan(plan)) => {
            assert_eq!(plan.run.target.as_deref(), Some("./bin"));
            assert_eq!(plan.run.args, ["--port", "80"]);
        }
        other => panic!("{other:?}"),
    }
    match args("shutdown-check fixture --name x --help -- y").command {
        Some(Subcommands::Fixture(forwarded)) => {
            assert_eq!(forwarded.args, ["--name", "x", "--help", "--", "y"]);
        }
        other => panic!("{other:?}"),
    }
    match args(&format!("shutdown-check explain {ID}")).command {
        Some(Subcommands::Explain(explain)) => match explain.what {
            Explained::Invariant(invariant) => assert_eq!(invariant.id, ID),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    for line in ["list", "list profiles --format json", "schema config", "reference-server -p 1"] {
        assert!(args(&format!("shutdown-check {line}")).command.is_some(), "{line}");
    }
    assert!(Cli::try_parse_from(["shutdown-check", "judge"]).is_err());
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_fits_into_80_columns() {
    let help = Cli::command().term_width(80).render_help().to_string();
    let long: Vec<_> = help.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(long.is_empty(), "{long:#?}");
    insta::assert_snapshot!("help", help);
}

// ---- precedence ------------------------------------------------------------------------------

/// One setting on each layer, and what it is found to be.
struct Row {
    option: &'static str,
    variable: (&'static str, &'static str),
    file: &'static str,
    found: fn(&Settings) -> String,
    /// By the command line, the environment, the file, and nobody.
    expected: [&'static str; 4],
}

const ROWS: [Row; 21] = [
    Row {
        option: "--deadline 1s",
        variable: ("DEADLINE", "2s"),
        file: "deadline = '3s'",
        found: |s| format!("{:?}", s.deadline),
        expected: ["1s", "2s", "3s", "30s"],
    },
    Row {
        option: "--refuse-within 1s",
        variable: ("REFUSE_WITHIN", "2s"),
        file: "refuse-within = '3s'",
        found: |s| format!("{:?}", s.refuse_within),
        expected: ["1s", "2s", "3s", "500ms"],
    },
    Row {
        option: "--jobs-stop-within 1s",
        variable: ("JOBS_STOP_WITHIN", "2s"),
        file: "jobs-stop-within = '3s'",
        found: |s| format!("{:?}", s.jobs_stop_within),
        expected: ["1s", "2s", "3s", "500ms"],
    },
    Row {
        option: "--ready-timeout 1s",
        variable: ("READY_TIMEOUT", "2s"),
        file: "ready-timeout = '3s'",
        found: |s| format!("{:?}", s.ready_timeout),
        expected: ["1s", "2s", "3s", "10s"],
    },
    Row {
        option: "--trials 1",
        variable: ("BUDGET", "2s"),
        file: "trials = 3",
        found: |s| format!("{:?}", s.amount),
        expected: ["Trials(1)", "Budget(2s)", "Trials(3)", "Budget(25s)"],
    },
    Row {
        option: "--seed 0xff",
        variable: ("SEED", "2"),
        file: "seed = '0x3'",
        found: |s| format!("{:?}", s.seed),
        expected: ["Some(255)", "Some(2)", "Some(3)", "None"],
    },
    Row {
        option: "--signal INT,HUP",
        variable: ("SIGNAL", "QUIT,TERM"),
        file: "signal = 'USR1'",
        found: |s| s.signals.iter().map(|s| format!("{s} ")).collect(),
        expected: ["SIGINT SIGHUP ", "SIGQUIT SIGTERM ", "SIGUSR1 ", "SIGTERM "],
    },
    Row {
        option: "--signal-to group",
        variable: ("SIGNAL_TO", "listener"),
        file: "signal-to = 'group'",
        found: |s| format!("{:?}", s.signal_to),
        expected: ["Some(Group)", "Some(Listener)", "Some(Group)", "None"],
    },
    Row {
        option: "--second-signal force",
        variable: ("SECOND_SIGNAL", "force"),
        file: "second-signal = 'force'",
        found: |s| format!("{:?}", s.second_signal),
        expected: ["Force", "Force", "Force", "Ignore"],
    },
    Row {
        option: "--profile graceful",
        variable: ("PROFILE", "strict"),
        file: "profile = 'strict'",
        found: |s| s.rules.profile.to_string(),
        expected: ["graceful", "strict", "strict", "graceful"],
    },
    Row {
        option: "--connections 1",
        variable: ("CONNECTIONS", "2"),
        file: "connections = 3",
        found: |s| s.connections.to_string(),
        expected: ["1", "2", "3", "16"],
    },
    Row {
        option: "--rate 1.5",
        variable: ("RATE", "2"),
        file: "rate = 3",
        found: |s| format!("{:?}", s.rate),
        expected: ["Some(1.5)", "Some(2.0)", "Some(3.0)", "None"],
    },
    Row {
        option: "--expect-exit 1,signal:TERM",
        variable: ("EXPECT_EXIT", "2"),
        file: "expect-exit = [3, 'signal:INT']",
        found: |s| s.expect_exit.iter().map(|exit| format!("{exit} ")).collect(),
        expected: ["1 signal:SIGTERM ", "2 ", "3 signal:SIGINT ", ""],
    },
    Row {
        option: "--path /1",
        variable: ("PATH", "POST /2"),
        file: "request = [{ path = '/3', method = 'PUT' }]",
        found: |s| s.requests.iter().map(RequestTemplate::name).collect(),
        expected: ["GET /1", "POST /2", "PUT /3", ""],
    },
    Row {
        option: "--url http://127.0.0.1:1/",
        variable: ("PORT", "2"),
        file: "url = 'http://127.0.0.1:3'",
        found: |s| format!("{:?}", s.address.port),
        expected: ["Some(1)", "Some(2)", "Some(3)", "None"],
    },
    Row {
        option: "--job-file 1",
        variable: ("JOB_FILE", "2"),
        file: "jobs.file = '3'",
        found: |s| file_name(&s.target().elsewhere.job_file),
        expected: ["1", "2", "3", ""],
    },
    Row {
        option: "--log-file 1",
        variable: ("LOG_FILE", "2"),
        file: "log-file = '3'",
        found: |s| file_name(&s.target().elsewhere.log_file),
        expected: ["1", "2", "3", ""],
    },
    Row {
        option: "--job-url /1",
        variable: ("JOB_URL", "http://127.0.0.1:{port}/2"),
        file: "jobs.url = '/3'",
        found: |s| s.target().elsewhere.job_url.unwrap_or_default(),
        expected: ["/1", "http://127.0.0.1:{port}/2", "/3", ""],
    },
    Row {
        option: "--job-submit /1",
        variable: ("JOB_SUBMIT", "PUT /2/{key}"),
        file: "jobs.submit = 'POST /3'",
        found: |s| s.target().elsewhere.job_submit.map(|it| it.name()).unwrap_or_default(),
        expected: ["POST /1", "PUT /2/{key}", "POST /3", ""],
    },
    Row {
        option: "--last-words 1",
        variable: ("LAST_WORDS", "2"),
        file: "last-words = ['3', '4']",
        found: |s| s.contract(Vec::new()).log.last_words.join(" "),
        expected: ["1", "2", "3 4", ""],
    },
    Row {
        option: "--access-log 1",
        variable: ("ACCESS_LOG", "2"),
        file: "access-log = '3'",
        found: |s| s.contract(Vec::new()).log.access_log.join(" "),
        expected: ["1", "2", "3", ""],
    },
];

fn file_name(path: &Option<String>) -> String {
    path.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned()
}

#[test]
fn the_command_line_outweighs_the_environment_the_file_and_the_defaults() {
    for row in ROWS {
        let name = format!("SHUTDOWN_CHECK_{}", row.variable.0);
        let all = User::new().file(row.file).variable(&name, row.variable.1);
        let without_variable = User::new().file(row.file);
        let found = [all.run(row.option), all.run(""), without_variable.run(""), run("")];
        assert_eq!(found.each_ref().map(row.found), row.expected, "{}", row.option);
        assert_eq!((row.found)(&without_variable.run(row.option)), row.expected[0]);
    }
}

#[test]
fn the_last_level_counts_whatever_its_name() {
    let level = |user: &User, line: &str| user.run(line).severities()[ID];
    let user = User::new().file(&format!("[levels]\n{ID} = 'warn'"));
    assert_eq!(level(&User::new(), ""), Severity::Deny);
    assert_eq!(level(&user, ""), Severity::Warn);
    assert_eq!(level(&user, &format!("--allow {ID} --deny {ID}")), Severity::Deny);
    assert_eq!(level(&user, &format!("--deny {ID} --allow {ID}")), Severity::Allow);
    let user = user.variable("SHUTDOWN_CHECK_ALLOW", ID);
    assert_eq!(level(&user, "--profile strict"), Severity::Allow);
    assert_eq!(level(&user, &format!("--warn {ID}")), Severity::Warn);
    assert_eq!(run("").severities().len(), CATALOGUE.len());
}

#[test]
fn variables_of_the_target_add_up() {
    let user = User::new()
        .file("env = { A = 'file', B = 'file', C = 'file' }")
        .variable("SHUTDOWN_CHECK_ENV", "B=env");
    let settings = user.run("--env C=line --env D=a=b");
    let found: Vec<_> = settings.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(found, ["A=file", "B=env", "C=line", "D=a=b"]);
}

#[test]
fn switches_can_be_variables() {
    let user = User::new()
        .variable("SHUTDOWN_CHECK_QUIET", "1")
        .variable("SHUTDOWN_CHECK_NO_PROGRESS", "true")
        .variable("SHUTDOWN_CHECK_DRY_RUN", "0")
        .variable("SHUTDOWN_CHECK_TRIALS", "")
        .variable("SHUTDOWN", "left alone");
    let settings = user.run("");
    assert_eq!(settings.outputs.verbosity, Verbosity::Quiet);
    assert!(!settings.outputs.progress && !settings.dry_run);
    assert_eq!(user.run("-v").outputs.verbosity, Verbosity::Verbose);
}

// ---- single settings -------------------------------------------------------------------------

#[test]
fn a_url_says_where_it_listens_and_what_to_ask_for() {
    let table = [
        ("--url http://127.0.0.1:8080/orders?id=1", "127.0.0.1", Some(8080), "/orders?id=1"),
        ("--url http://localhost:8080", "localhost", Some(8080), ""),
        ("--url http://[::1]:8080/", "::1", Some(8080), ""),
        ("--url HTTP://127.0.0.2", "127.0.0.2", Some(80), ""),
        ("--url http://127.0.0.1:{port}/a", "127.0.0.1", None, "/a"),
        ("--port 8080 --path /b", "127.0.0.1", Some(8080), "/b"),
        ("--ready-url http://localhost:8080/ready", "localhost", Some(8080), ""),
    ];
    for (line, host, port, path) in table {
        let settings = run(line);
        let wanted = Address { host: host.into(), port, socket: None };
        assert_eq!(settings.address, wanted, "{line}");
        let paths: String = settings.requests.iter().map(|request| &request.path[..]).collect();
        assert_eq!(paths, path, "{line}");
    }
    let user = User::new().file("url = 'http://[::1]:1/a'");
    let target = user.run("--port 2").target();
    assert_eq!((target.host.as_str(), target.port), ("::1", Some(2)));
    assert_eq!(target.requests, [RequestTemplate::get("/a")]);
}

#[test]
fn a_unix_socket_is_a_url_as_well() {
    let table = [
        ("--url unix:/run/a-{port}.sock --path /x", "/run/a-{port}.sock", "/x"),
        ("--url unix:///run/a.sock", "/run/a.sock", ""),
        ("--url unix:@name", "@name", ""),
        ("--url http+unix://%2Frun%2Fa.sock/x?y=1", "/run/a.sock", "/x?y=1"),
        ("--ready-url http+unix://%2Frun%2Fa.sock/ready", "/run/a.sock", ""),
    ];
    for (line, socket, path) in table {
        let settings = run(line);
        assert_eq!(settings.address.socket.as_deref(), Some(socket), "{line}");
        assert_eq!((settings.address.port, settings.target().port), (None, None), "{line}");
        let paths: String = settings.requests.iter().map(|request| &request.path[..]).collect();
        assert_eq!(paths, path, "{line}");
    }
    let user = User::new().file("url = 'unix:/run/a.sock'");
    assert_eq!(user.run("--port 2").target().socket, None, "a port outweighs it");
    let written = serde_json::to_value(user.run("")).unwrap();
    assert_eq!(written["url"], "unix:/run/a.sock");
}

#[test]
fn a_worker_says_itself_that_it_is_ready() {
    let worker = run("--profile worker --ready-line ^up$ --leaves-no a.pid --leaves-no b.lock");
    let target = worker.target();
    assert!(!target.has_listener && !worker.plan_options(1).has_listener);
    assert_eq!(target.ready_line.as_deref(), Some("^up$"));
    assert_eq!(target.leaves_no, ["a.pid", "b.lock"]);
    let user = User::new().file(
        "profile = 'worker'\nready-file = 'up-{port}'\nleaves-no = 'a.pid'\n[jobs]\n\
         start = '(?P<id>x)'\nfinish = '(?P<id>y)'",
    );
    let target = user.run("").target();
    assert_eq!(target.ready_file.as_deref(), Some("up-{port}"));
    assert_eq!(target.leaves_no, ["a.pid"]);
    let server = run("--ready-line up --ready-url /ready").target();
    assert!(server.has_listener && server.ready_line.is_some() && server.ready_path.is_some());
}

#[test]
fn readiness_is_a_path_on_the_same_host() {
    let ready = |line: &str| run(line).ready_path;
    assert_eq!(ready(""), None);
    assert_eq!(ready("--ready-url /readyz").as_deref(), Some("/readyz"));
    let same = "--url http://127.0.0.1:8080 --ready-url http://localhost:8080/readyz";
    assert_eq!(ready(same).as_deref(), Some("/readyz"));
    assert_eq!(run(same).address.host, "127.0.0.1");
}

#[test]
fn options_describe_the_requests_of_the_paths() {
    let user = User::new().named("order.json", "{}");
    let line = "--path /a --path GET:/b --body-file order.json --header X-A:1 --expect-status 201";
    let words = line.replace("GET:/b", "GET\u{a0}/b");
    let words = ["shutdown-check".to_owned()]
        .into_iter()
        .chain(words.split(' ').map(|word| word.replace('\u{a0}', " ")));
    let cli = Cli::try_parse_from(words).unwrap();
    let requests = Settings::resolve(&cli.run, [], user.dir.path()).unwrap().requests;
    let names: Vec<_> = requests.iter().map(RequestTemplate::name).collect();
    assert_eq!(names, ["POST /a", "GET /b"]);
    for request in requests {
        assert_eq!((&request.body[..], request.expect), (&b"{}"[..], Some(201)));
        assert_eq!(request.headers, [("X-A".to_owned(), "1".to_owned())]);
    }
}

#[test]
fn jobs_are_declared_or_usual() {
    assert_eq!(run("").jobs, JobPatterns::usual());
    let jobs = run("--job-start s(?P<id>.) --job-finish f(?P<id>.) --job-finish g(?P<id>.)").jobs;
    assert!(jobs.declared);
    assert_eq!((jobs.start.len(), jobs.finish.len()), (1, 2));
    let in_file = run("--job-file jobs.log").jobs;
    assert!(in_file.declared && in_file.start == JobPatterns::usual().start);
}

#[test]
fn writes_are_tried_where_they_are_declared() {
    let settings = run("--write /kv/{key} --read /kv/{key}");
    let writes = settings.writes.clone().unwrap();
    assert_eq!(
        (writes.write.name(), writes.read.name()),
        ("POST /kv/{key}".into(), "GET /kv/{key}".into())
    );
    assert_eq!(writes.write.body, b"{value}");
    assert!(settings.situations.contains(&Situation::Writes));
    assert!(settings.contract(Vec::new()).has_writes && settings.plan_options(7).writes);
    let none = run("");
    assert_eq!(none.writes, None);
    assert!(!none.situations.contains(&Situation::Writes));
    assert_eq!(run("--write /set/{key}/{value} --read /get/{key}").writes.unwrap().write.body, b"");
    let of_file = whole().run("--config ci/check.toml").writes.unwrap();
    assert_eq!((of_file.write.name().as_str(), of_file.write.expect), ("PUT /kv/{key}", Some(201)));
    let user = whole().variable("SHUTDOWN_CHECK_READ", "/v2/{key}");
    let of_line = user.run("--config ci/check.toml --write /v2/{key}").writes.unwrap();
    assert_eq!(of_line.read.path, "/v2/{key}");
}

#[test]
fn a_folder_of_its_own_need_not_be_there_yet() {
    let target = run("--cwd {dir}/data --env DATABASE={dir}/kv.db ./bin").target();
    assert!(target.needs_folder() && !run("--env A={port} ./bin").target().needs_folder());
    let target = target.in_folder(Path::new("/tmp/x"));
    assert_eq!(target.cwd, Some("/tmp/x/data".into()));
    assert_eq!(target.env, [("DATABASE".into(), "/tmp/x/kv.db".into())]);
}

#[test]
fn plans_and_contracts_follow() {
    let settings = run("--signal INT --rate 50 --connections 3 --expect-exit 0,143");
    let options = settings.plan_options(7);
    assert_eq!((options.seed, options.connections), (7, 3));
    assert_eq!(options.arrivals, Some(Arrivals::Open { per_second: 50.0 }));
    assert_eq!(options.signals, [Signal::INT]);
    let contract = settings.contract(Vec::new());
    assert_eq!(contract.expect_exit, [ExpectedExit::Code(0), ExpectedExit::Code(143)]);
    assert_eq!(contract.deadline, Duration::from_secs(30));
}

#[test]
fn outputs_are_kept_for_the_reports() {
    let settings = run("--output json=a.json --output text=-=b --format json --color never");
    let reports: Vec<_> = settings
        .outputs
        .reports
        .iter()
        .map(|Output { format, path }| format!("{format} {}", path.file_name().unwrap().display()))
        .collect();
    assert_eq!(reports, ["json a.json", "text -=b"]);
    assert_eq!(settings.outputs.stdout, Format::Json);
    assert_eq!(settings.outputs.color, clap::ColorChoice::Never);
    assert_eq!(settings.outputs.reports_dir, None);
}

#[test]
fn a_dash_is_standard_output() {
    let settings = run("--output json=- --output markdown=x.md");
    assert_eq!(settings.outputs.stdout, Format::Json);
    assert_eq!(settings.outputs.reports.len(), 1, "what goes there unasked does not");
    assert!(settings.outputs.folder(1).ends_with("x.trials"));
    let both = run("--output json=- --format terminal").outputs;
    assert_eq!(both.stdout, Format::Text);
    assert_eq!(both.reports, [Output { format: Format::Json, path: "-".into() }]);
}

// ---- the file --------------------------------------------------------------------------------

/// Every key of the file.
const WHOLE: &str = r#"
target   = ["./bin/api", "--port", "{port}"]
cwd      = "data"
env      = { LOG = "debug" }
url      = "http://127.0.0.1:{port}/"
ready-url = "/readyz"
ready-timeout = "5s"
connections = 8
rate     = 12.5
signal   = ["TERM", "INT"]
signal-to = "group"
situation = "load"
profile  = "strict"
deadline = "25s"
refuse-within = "1s"
jobs-stop-within = "2s"
expect-exit = [0, "signal:TERM"]
budget   = "60s"
seed     = 1337
parallel = 2
reports-dir = "out"
snapshot = "data/shutdown.toml"
last-words = "^shut down"
access-log = ["^GET ", "^POST "]
log-file = "access-{port}.log"

[[request]]
path = "/orders/{key}"
weight = 4

[[request]]
method = "POST"
path = "/orders"
headers = { Authorization = "Bearer abc", Accept = "*/*" }
body-file = "data/order.json"
expect = 201

[jobs]
start  = 'job (?P<id>\S+) started'
finish = 'job (?P<id>\S+) done'
handed-over = 'job (?P<id>\S+) handed over'
refused = 'job (?P<id>\S+) refused'
file   = "jobs-{port}.log"
url    = "/jobs?access_token=hunter2"
submit = "POST /jobs/{key}"

[writes]
write = { method = "PUT", path = "/kv/{key}", headers = { Authorization = "Bearer abc" }, body = '{"n": "{value}"}', expect = 201 }
read  = { path = "/kv/{key}" }

[levels]
in-flight-requests-complete = "warn"
"#;

fn whole() -> User {
    User::new().named("ci/data/order.json", r#"{"n": 1}"#).named("ci/check.toml", WHOLE)
}

#[test]
fn every_key_of_the_file_is_understood() {
    let user = whole();
    let settings = user.run("--config ci/check.toml");
    assert_eq!(settings.cwd, Some(user.dir.path().join("ci/data")));
    assert_eq!(settings.outputs.reports_dir.unwrap(), user.dir.path().join("ci/out"));
    assert_eq!(settings.config_file, Some(user.dir.path().join("ci/check.toml")));
    assert_eq!(settings.requests[1].body, br#"{"n": 1}"#);
    assert_eq!(settings.rules.levels, BTreeMap::from([(ID, Severity::Warn)]));
    assert_eq!(settings.parallel, Some(2));
    assert_eq!(settings.snapshot.file, Some(user.dir.path().join("ci/data/shutdown.toml")));
    assert!(!settings.snapshot.update);
    let settings = user.run("--config ci/check.toml --snapshot x.toml --update-snapshots");
    assert_eq!(settings.snapshot.file, Some(user.dir.path().join("x.toml")));
    assert!(settings.snapshot.update);
    assert_eq!(user.run("--config ci/check.toml --no-progress ./other").command, ["./other"]);
    assert_eq!(user.run("").config_file, None);
}

#[test]
fn the_written_configuration_is_a_configuration_without_secrets() {
    let user = whole();
    let line = "--config ci/check.toml --env TOKEN=hunter2 --ready-url /r?access_token=hunter2";
    let settings = user.run(line);
    let mut written = serde_json::to_value(&settings).unwrap();
    let text = toml::to_string(&written).unwrap();
    for secret in ["hunter2", "Bearer", r#""n""#, "debug"] {
        assert!(!text.contains(secret), "{text}");
    }
    config::parse(&text, Path::new("written")).unwrap();
    let bare = toml::to_string(&run("")).unwrap();
    config::parse(&bare, Path::new("written")).unwrap();

    for key in ["cwd", "reports-dir", "log-file"] {
        written[key] = key.into();
    }
    written["jobs"]["file"] = "jobs.file".into();
    insta::assert_json_snapshot!(written);
}

#[test]
fn the_schema_knows_the_file() {
    let schema = serde_json::to_value(config::schema()).unwrap();
    let document: serde_json::Value = toml::from_str(WHOLE).unwrap();
    jsonschema::validate(&schema, &document).unwrap();
    let wrong = serde_json::json!({ "dedline": "3s" });
    assert!(!jsonschema::is_valid(&schema, &wrong));
}

#[test]
fn no_config_means_none() {
    let user = User::new().file("nonsense");
    assert_eq!(user.run("--no-config").config_file, None);
    let user = user.variable("SHUTDOWN_CHECK_CONFIG", "absent.toml");
    assert_eq!(user.run("--no-config").config_file, None);
}

// ---- judging again ---------------------------------------------------------------------------

fn judging(user: &User, line: &str) -> JudgeSettings {
    let words = ["shutdown-check", "judge"].into_iter().chain(line.split_whitespace());
    match Cli::try_parse_from(words).unwrap().command {
        Some(Subcommands::Judge(judge)) => {
            JudgeSettings::resolve(&judge, user.variables.clone(), user.dir.path()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recorded_contract_is_departed_from_only_where_asked() {
    let user = User::new().file("deadline = '1s'\nprofile = 'strict'");
    let recorded: Contract = run("--deadline 9s --expect-exit 3").contract(Vec::new());
    let settings = judging(&user, "a.jsonl b");
    assert_eq!(settings.histories.len(), 2);
    assert_eq!(settings.rules.profile, Profile::Strict);
    assert_eq!(settings.changes.apply(recorded.clone()), recorded);
    let changed = judging(&user, "a.jsonl --deadline 2s").changes.apply(recorded.clone());
    assert_eq!(changed, Contract { deadline: Duration::from_secs(2), ..recorded });
}

// ---- messages --------------------------------------------------------------------------------

#[test]
fn messages_about_options() {
    insta::assert_snapshot!(error("--deny in-flight-request-complete"), @r#"error: invalid value 'in-flight-request-complete' for '--deny <ID>': no invariant is called "in-flight-request-complete"; did you mean "in-flight-requests-complete"?"#);
    assert!(
        error("--deny xyz").ends_with(r#"no invariant is called "xyz"; see `shutdown-check list`"#)
    );
    insta::assert_snapshot!(error("--trials 5 --budget 3s"), @r"
    error: the argument '--trials <N>' cannot be used with '--budget <TIME>'

    Usage: shutdown-check --trials <N> [TARGET] [ARGS]...
    ");
    insta::assert_snapshot!(error("--trails 5"), @r"
    error: unexpected argument '--trails' found

      tip: a similar argument exists: '--trials'

    Usage: shutdown-check --trials <N> [TARGET] [ARGS]...
    ");
    insta::assert_snapshot!(error("--deadline 30"), @r#"error: invalid value '30' for '--deadline <TIME>': "30" is no length of time: write 30s or 500ms"#);
    insta::assert_snapshot!(error("--deadline 0s"), @"error: invalid value '0s' for '--deadline <TIME>': it must be longer than zero");
    insta::assert_snapshot!(error("--deadline 99years"), @"error: invalid value '99years' for '--deadline <TIME>': it is longer than a day");
    insta::assert_snapshot!(error("--rate 0"), @r#"error: invalid value '0' for '--rate <N>': "0" is no rate: use requests a second, more than 0 and up to 1e6"#);
    insta::assert_snapshot!(error("--connections 0"), @"error: invalid value '0' for '--connections <N>': 0 is not in 1..=10000");
    insta::assert_snapshot!(error("--seed 9f31c2"), @r#"error: invalid value '9f31c2' for '--seed <SEED>': "9f31c2" is no seed: use up to 64 bits, such as 1337 or 0x9f31c2"#);
    insta::assert_snapshot!(error("--signal TERM,KILL"), @"error: invalid value 'KILL' for '--signal <TERM,INT>': no program can handle SIGKILL: use TERM, INT or another");
    insta::assert_snapshot!(error("--signal-to child"), @r#"error: invalid value 'child' for '--signal-to <WHOM>': "child" gets no signal: use leader, listener or group"#);
    insta::assert_snapshot!(error("--profile stict"), @r#"error: invalid value 'stict' for '--profile <NAME>': "stict" is no profile: use graceful, strict, kubernetes, worker"#);
    insta::assert_snapshot!(error("--situation laod"), @r#"error: invalid value 'laod' for '--situation <NAME>': no situation is called "laod"; did you mean "load"?"#);
    insta::assert_snapshot!(error("--path orders"), @r#"error: invalid value 'orders' for '--path <PATH>': "orders" is no path: begin it with /, as in /orders or 'POST /orders'"#);
    insta::assert_snapshot!(error("--path /a#b"), @"error: invalid value '/a#b' for '--path <PATH>': a path can't hold '#': percent-encode it");
    insta::assert_snapshot!(error("--path / --header Host:x"), @"error: invalid value 'Host:x' for '--header <FIELD>': the harness sets Host itself: leave it out");
    insta::assert_snapshot!(error("--expect-exit 300"), @r#"error: invalid value '300' for '--expect-exit <LIST>': "300" is no exit status: use 0 to 255, or signal:TERM"#);
    insta::assert_snapshot!(error("--env X"), @"error: invalid value 'X' for '--env <KEY=VALUE>': write KEY=VALUE");
    insta::assert_snapshot!(error("--output report.json"), @"error: invalid value 'report.json' for '--output <FORMAT=PATH>': write FORMAT=PATH, such as json=report.json (- for standard output)");
}

#[test]
fn messages_about_settings() {
    insta::assert_snapshot!(error("--url https://127.0.0.1/"), @r#"can't use the URL "https://127.0.0.1/": https is not spoken yet: name a port of the target that speaks http"#);
    insta::assert_snapshot!(error("--url http://example.org/"), @r#"can't use the URL "http://example.org/": "example.org" is not this machine: the target is started here, so use 127.0.0.1, [::1] or localhost"#);
    insta::assert_snapshot!(error("--url http://user:hunter2@127.0.0.1/"), @r#"can't use the URL "…@127.0.0.1/": user and password don't go there: use --header 'Authorization: …'"#);
    insta::assert_snapshot!(error("--url 127.0.0.1:80"), @r#"can't use the URL "127.0.0.1:80": it has to begin with http:// or unix:, as in http://127.0.0.1:8080/ or unix:/run/x.sock"#);
    insta::assert_snapshot!(error("--url unix:run/x.sock"), @r#"can't use the URL "unix:run/x.sock": "run/x.sock" is no absolute path: write unix:/run/server-{port}.sock"#);
    insta::assert_snapshot!(error("--url unix:/run/x.sock -j 2"), @"
    trials that share unix:/run/x.sock can't run at the same time
      leave out --parallel, or put {port} into the path, which is another number in each trial
    ");
    insta::assert_snapshot!(error("--profile worker"), @"
    nothing says when a worker is ready
      name the line that it writes then (--ready-line REGEX), or the file that it makes (--ready-file)
    ");
    insta::assert_snapshot!(error("--profile worker --ready-line x --path /a"), @"
    --path: a worker has no listener that this could be about
      leave it out, or use another profile than worker
    ");
    insta::assert_snapshot!(error("--profile worker --ready-line x --situation load"), @"
    --situation with connections: a worker has no listener that this could be about
      leave it out, or use another profile than worker
    ");
    insta::assert_snapshot!(error("--ready-line ("), @r#"error: invalid value '(' for '--ready-line <REGEX>': "(" is no regular expression: unclosed group"#);
    insta::assert_snapshot!(error("--url http://127.0.0.1:99999/"), @r#"can't use the URL "http://127.0.0.1:99999/": "99999" is no port: use 1 to 65535, or {port}"#);
    insta::assert_snapshot!(error("--url http://127.0.0.1:80 --ready-url http://[::1]:80/r"), @r#"can't use the URL "http://[::1]:80/r": readiness is asked for where the target listens: give a path alone"#);
    insta::assert_snapshot!(error("--port 80 --ready-url http://127.0.0.1:81/r"), @r#"can't use the URL "http://127.0.0.1:81/r": readiness is asked for where the target listens: give a path alone"#);
    insta::assert_snapshot!(error("--port 80 -j 2"), @r"
    trials that share port 80 can't run at the same time
      leave out --parallel, or let the target listen on {port} or $PORT
    ");
    insta::assert_snapshot!(error("--trials 5 plan ./bin"), @r"
    plan is a command of shutdown-check: put it first (shutdown-check plan …)
      or, if it is a program to check, name it by its path (./plan)
    ");
    insta::assert_snapshot!(error("--trials 5 jugde reports"), @"
    jugde is neither a command of shutdown-check nor a program that can be found: did you mean judge?
      if it is a program to check, name it by its path (./jugde)
    ");
    insta::assert_snapshot!(error("--method PUT --expect-status 201"), @r"
    --method, --expect-status describe the requests of --path, and there is none
      name one: --path /orders
    ");
    insta::assert_snapshot!(error("--path / --body-file absent.json"), @"can't read the body of the requests of --path from DIR/absent.json: No such file or directory (os error 2)");
    insta::assert_snapshot!(error("--cwd absent"), @r"
    can't start the target in DIR/absent: it is no directory
      name another one (--cwd)
    ");
    insta::assert_snapshot!(error("--config absent.toml"), @r"
    can't read DIR/absent.toml: No such file or directory (os error 2)
      name another one (--config), or none (--no-config)
    ");
}

#[test]
fn messages_about_writes() {
    insta::assert_snapshot!(error("--write /kv/{key}"), @r"
    --write is given and --read is not: a write is read back after a restart
      give both: --write 'PUT /kv/{key}' --read '/kv/{key}'
    ");
    insta::assert_snapshot!(error("--read /kv/{key}"), @r"
    --read is given and --write is not: a write is read back after a restart
      give both: --write 'PUT /kv/{key}' --read '/kv/{key}'
    ");
    insta::assert_snapshot!(error("--write-body {value}"), @r"
    --write-body is given and --write is not: a write is read back after a restart
      give both: --write 'PUT /kv/{key}' --read '/kv/{key}'
    ");
    insta::assert_snapshot!(error("--write /kv --read /kv/{key}"), @r"
    POST /kv has no {key} in it
      each write has a key of its own: put {key} where it belongs
    ");
    insta::assert_snapshot!(error("--write /kv/{key} --write-body x --read /kv/{key}"), @r"
    POST /kv/{key} has no {value} in it
      what is written is looked for later: put {value} into the body or the path
    ");
}

#[test]
fn messages_about_lines() {
    insta::assert_snapshot!(error("--job-start job(?P<id>.)"), @r"
    can't tell jobs by their start alone
      name their finish, too: --job-finish
    ");
    insta::assert_snapshot!(error("--job-start started --job-finish (?P<id>.)"), @r#"error: invalid value 'started' for '--job-start <REGEX>': "started" has no group named id: write (?P<id>…) around the part that names the job"#);
    insta::assert_snapshot!(error("--last-words ("), @r#"error: invalid value '(' for '--last-words <REGEX>': "(" is no regular expression: unclosed group"#);
    insta::assert_snapshot!(error("--job-refused refused"), @r#"error: invalid value 'refused' for '--job-refused <REGEX>': "refused" has no group named id: write (?P<id>…) around the part that names the job"#);
    insta::assert_snapshot!(error("--job-url jobs"), @r#"error: invalid value 'jobs' for '--job-url <URL>': "jobs" is no page: use /jobs for one of the target's, or http://…"#);
    insta::assert_snapshot!(error("--job-url https://127.0.0.1/jobs"), @r#"error: invalid value 'https://127.0.0.1/jobs' for '--job-url <URL>': "https://127.0.0.1/jobs" is no page: use /jobs for one of the target's, or http://…"#);
    insta::assert_snapshot!(error("--job-submit jobs"), @r#"error: invalid value 'jobs' for '--job-submit <REQUEST>': "jobs" is no path: begin it with /, as in /orders or 'POST /orders'"#);
    insta::assert_snapshot!(error("--job-start ( --job-finish (?P<id>.)"), @r#"error: invalid value '(' for '--job-start <REGEX>': "(" is no regular expression: unclosed group"#);
}

#[test]
fn messages_about_variables() {
    let with = |name: &str, value: &str| User::new().variable(name, value).error("");
    insta::assert_snapshot!(with("SHUTDOWN_CHECK_TRAILS", "5"), @"the variable SHUTDOWN_CHECK_TRAILS is no setting: did you mean SHUTDOWN_CHECK_TRIALS?");
    insta::assert_snapshot!(with("SHUTDOWN_CHECK_TRIALS", "five"), @r"
    SHUTDOWN_CHECK_TRIALS can't be used
      invalid value 'five' for '--trials <N>': invalid digit found in string
    ");
    insta::assert_snapshot!(with("SHUTDOWN_CHECK_QUIET", "very"), @r"
    SHUTDOWN_CHECK_QUIET can't be used
      it is a switch: use 1 or 0
    ");
    let both =
        User::new().variable("SHUTDOWN_CHECK_TRIALS", "5").variable("SHUTDOWN_CHECK_BUDGET", "5s");
    insta::assert_snapshot!(both.error(""), @r"
    SHUTDOWN_CHECK_* can't be used
      the argument '--trials <N>' cannot be used with '--budget <TIME>'
    ");
}

#[test]
fn messages_about_the_file() {
    insta::assert_snapshot!(file_error("\ndedline = '3s'"), @r#"DIR/shutdown-check.toml:2: unknown key "dedline"; did you mean "deadline"?"#);
    insta::assert_snapshot!(file_error("lamb-duck = '3s'"), @r#"DIR/shutdown-check.toml:1: unknown key "lamb-duck"; did you mean "lame-duck"?"#);
    insta::assert_snapshot!(file_error("[[request]]\npath = '/'\nwieght = 2"), @r#"DIR/shutdown-check.toml:3: unknown key "wieght"; did you mean "weight"?"#);
    insta::assert_snapshot!(file_error("[jobs]\nstrat = ''"), @r#"DIR/shutdown-check.toml:2: unknown key "strat"; did you mean "start"?"#);
    insta::assert_snapshot!(file_error("wirtes = 1"), @r#"DIR/shutdown-check.toml:1: unknown key "wirtes"; did you mean "writes"?"#);
    insta::assert_snapshot!(file_error("[writes]\nx = 1"), @r#"DIR/shutdown-check.toml:2: unknown key "x"; see `shutdown-check schema config`"#);
    insta::assert_snapshot!(file_error("[writes]\nwrite = { path = '/kv/{key}', body = '{value}' }"), @r#"DIR/shutdown-check.toml:1: the key "read" is missing"#);
    insta::assert_snapshot!(file_error("[writes]\nwrite = { path = '/kv/{key}' }\nread = { path = '/kv/{key}' }"), @r"
    GET /kv/{key} has no {value} in it
      what is written is looked for later: put {value} into the body or the path
    ");
    insta::assert_snapshot!(file_error("[levels]\nin-flight-request-complete = 'deny'"), @r#"DIR/shutdown-check.toml:2: no invariant is called "in-flight-request-complete"; did you mean "in-flight-requests-complete"?"#);
    insta::assert_snapshot!(file_error("[levels]\nin-flight-requests-complete = 'denied'"), @r#"DIR/shutdown-check.toml:2: in-flight-requests-complete: "denied" is not possible here: use allow or warn or deny"#);
    insta::assert_snapshot!(file_error("profile = 'stict'"), @r#"DIR/shutdown-check.toml:1: profile: "stict" is not possible here: use graceful or strict or kubernetes or worker"#);
    insta::assert_snapshot!(file_error("deadline = 30"), @r#"DIR/shutdown-check.toml:1: deadline: "30" is no length of time: write 30s or 500ms"#);
    insta::assert_snapshot!(file_error("deadline = '0s'"), @"DIR/shutdown-check.toml:1: deadline: it must be longer than zero");
    insta::assert_snapshot!(file_error("deadline = true"), @r#"DIR/shutdown-check.toml:1: deadline: expected a length of time such as "30s", found boolean `true`"#);
    insta::assert_snapshot!(file_error("rate = 0"), @r#"DIR/shutdown-check.toml:1: "0" is no rate: use requests a second, more than 0 and up to 1e6"#);
    insta::assert_snapshot!(file_error("signal = ['TERM',\n'TREM']"), @r#"DIR/shutdown-check.toml:2: "TREM" is no signal: use a name such as TERM, INT, QUIT or USR1, or a number from 1 to 64"#);
    insta::assert_snapshot!(file_error("target = './bin --port 80'"), @r#"DIR/shutdown-check.toml:1: write a target with arguments as an array: ["./bin", "--port", "80"]"#);
    insta::assert_snapshot!(file_error("target = []"), @"DIR/shutdown-check.toml:1: target is empty: name a program");
    insta::assert_snapshot!(file_error("connections = 0"), @"DIR/shutdown-check.toml:1: connections: expected a number from 1 to 10000, found 0");
    insta::assert_snapshot!(file_error("trials = 0"), @"DIR/shutdown-check.toml:1: trials: expected a number from 1 to 4294967295, found integer `0`");
    insta::assert_snapshot!(file_error("port = 70000"), @"DIR/shutdown-check.toml:1: port: expected a number from 1 to 65535, found integer `70000`");
    insta::assert_snapshot!(file_error("budget = '3s'\ntrials = 5"), @"DIR/shutdown-check.toml:2: trials and budget exclude each other: keep one");
    insta::assert_snapshot!(file_error("port = 1\nurl = 'http://127.0.0.1'"), @"DIR/shutdown-check.toml:1: port and url exclude each other: write the port in the url");
    insta::assert_snapshot!(file_error("[[request]]\nmethod = 'PUT'"), @r#"DIR/shutdown-check.toml:1: the key "path" is missing"#);
    insta::assert_snapshot!(file_error("[[request]]\npath = '/'\nweight = 0"), @"DIR/shutdown-check.toml:3: weight: expected a number from 1 to 4294967295, found integer `0`");
    insta::assert_snapshot!(file_error("[[request]]\npath = '/'\nbody = ''\nbody-file = 'x'"), @"DIR/shutdown-check.toml:4: body and body-file exclude each other: keep one");
    insta::assert_snapshot!(file_error("[[request]]\npath = '/'\nbody-file = 'x'"), @"can't read the body of POST / from DIR/x: No such file or directory (os error 2)");
    insta::assert_snapshot!(file_error("[[request]]\npath = '/'\nheaders = { 'a b' = 'x' }"), @r#"DIR/shutdown-check.toml:3: headers: "a b" is no name of a header field"#);
    insta::assert_snapshot!(file_error("[[request]]\npath = '/'\nexpect = 20"), @"DIR/shutdown-check.toml:3: expected a status code from 100 to 599, found 20");
    insta::assert_snapshot!(file_error("env = { A = 1 }"), @"DIR/shutdown-check.toml:1: env: expected a string, found integer `1`");
    insta::assert_snapshot!(file_error("target == 'x'"), @"DIR/shutdown-check.toml:1: target: extra `=`, expected nothing");
    insta::assert_snapshot!(file_error("[jobs]\nfinish = 'done'"), @r#"DIR/shutdown-check.toml:2: finish: "done" has no group named id: write (?P<id>…) around the part that names the job"#);
    insta::assert_snapshot!(file_error("access-log = [\n'ok',\n'[']"), @r#"DIR/shutdown-check.toml:3: "[" is no regular expression: unclosed character class"#);
    insta::assert_snapshot!(file_error("deadline = '1s'\ndeadline = '2s'"), @"DIR/shutdown-check.toml:2: deadline: duplicate key");
}

/// What a report says of its settings, said again on a command line, gives the same settings.
#[test]
fn a_command_says_every_setting_that_is_not_the_default() {
    let of_the_plan = ["trials", "budget", "situation", "deep", "fail-fast", "until-bound", "seed"];
    let written = |settings: &Settings| {
        let mut value = serde_json::to_value(settings).unwrap();
        let keys = value.as_object_mut().unwrap();
        of_the_plan.iter().for_each(|key| _ = keys.remove(*key));
        value
    };
    for line in [
        "./bin",
        "--trials 5 --deadline 4s --path /a?b=1 --path POST:/b ./bin",
        "--profile strict --deny exit-status-is-clean --allow close-is-announced ./bin --own 1",
        "--port 8080 --ready-url /readyz --ready-line ^up --connections 40 --rate 12.5 ./bin",
        "--url unix:/tmp/x-{port}.sock --path / --signal INT,TERM --signal-to group -j 1 ./bin",
        "--lame-duck 1s --refuse-within 2s --jobs-stop-within 0s --second-signal force ./bin",
        "--expect-exit 0,signal:TERM --leaves-no a.pid --leaves-no b.sock --as-pid-1 ./bin",
        "--job-start (?P<id>a) --job-finish (?P<id>b) --job-url /jobs --job-file x.log ./bin",
        "--job-submit /jobs?id={key} --last-words ^bye --access-log GET --log-file l.log ./bin",
        "--path /a --header X-A:b --expect-status 201 --env A=b --ready-timeout 90s ./bin",
        "--write /kv/{key} --read /kv/{key} --env TOKEN=abcdefgh --deep --cwd . ./bin",
    ] {
        let words = line.split(' ').map(|word| word.replace("POST:", "POST "));
        let parse = |words: Vec<String>| {
            let words = ["shutdown-check".to_owned()].into_iter().chain(words);
            let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
            let variables: Vec<(OsString, OsString)> = Vec::new();
            Settings::resolve(&cli.run, variables, Path::new("/tmp")).unwrap()
        };
        // What follows the target is its own.
        let mut words: Vec<String> = words.collect();
        let target = words.iter().position(|word| word == "./bin").unwrap();
        words.insert(target, "--".into());
        let settings = parse(words.clone());
        let options = again::options(&serde_json::to_value(&settings).unwrap());
        let said = parse([&options.words[..], &words[target..]].concat());
        assert_eq!(written(&said), written(&settings), "{line}: {:?}", options.words);
        if line == "./bin" {
            assert_eq!(options, again::Options::default(), "nothing but defaults");
        }
        assert_eq!(options.lacking.is_empty(), settings.env.is_empty(), "{options:?}");
    }
}

#[test]
fn a_command_says_what_it_can_not_say() {
    let user = User::new().file(
        "target = ['./bin', '--token', 'abcdefgh']\n[[request]]\npath = '/a?token=abcdefgh'\n\
         headers = { Authorization = 'Bearer abcdefgh' }\nbody = 'x'\nweight = 3\n",
    );
    let settings = serde_json::to_value(user.run("")).unwrap();
    let options = again::options(&settings);
    let words = options.words.join(" ");
    assert!(words.contains("--path POST /a?token=… --header Authorization: … --body …"), "{words}");
    assert!(!words.contains("abcdefgh") && !words.contains("redacted"), "{words}");
    let lacking = options.lacking.join("; ");
    for part in ["weight", "body", "secret"] {
        assert!(lacking.contains(part), "{part}: {lacking}");
    }
}
