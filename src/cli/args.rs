//! The command line, declared: what it means is settled in [`super::settings`].

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{
    Arg, ArgAction, ArgMatches, Args, ColorChoice, Command, FromArgMatches, Parser, Subcommand,
    ValueEnum,
};

use self::again::{AgainArgs, ReplayArgs};
use self::init::InitArgs;
use self::lines::{LinePatternArgs, SourceOfLinesArgs};
pub use self::reports::{DiffArgs, DiffFormat, MergeArgs};
pub use self::roles::{ForwardedArgs, GuardianArgs, KeeperArgs};
use self::snapshot::SnapshotArgs;
pub use super::values::Explained;
use super::values::{self, PathSpec, Slice};
use crate::model::bound::Bound;
use crate::model::contract::{ExpectedExit, SecondSignal};
use crate::model::plan::{SignalTo, Situation};
use crate::model::signal::Signal;
use crate::model::stack::Stack;
use crate::model::verdict::{Profile, Severity};
use crate::report::{Format, Output};

pub mod again;
pub mod init;
pub mod lines;
pub mod reports;
pub mod roles;
pub mod snapshot;

/// What follows the options in the help.
const AFTER_HELP: &str = "\
Examples:
  shutdown-check ./bin
          start ./bin, find its port, load it, signal it, judge how it ends
  shutdown-check ./bin --trials 5 --path /report --path 'POST /orders'
          five trials, with these two requests
  shutdown-check --budget 60s -- node server.js --port {port}
          what follows -- is the target's; {port} becomes the port of a trial
  shutdown-check plan --seed 42 --trials 5
          print what would be done, and do nothing

Settings come from the command line, else from the environment (--trials is
SHUTDOWN_CHECK_TRIALS), else from shutdown-check.toml, else from the defaults.

Exit codes:
  0  every denied invariant is satisfied
  1  at least one denied invariant is violated, or the snapshot differs
  2  wrong usage or configuration
  3  inconclusive: too little was exercised, or the machine was too busy to tell
  4  the target could not be tested: not started, never ready, already broken
  5  internal error
  130, 143  interrupted; what was recorded is written";

/// Start a server, load it, signal it, and judge how it shuts down.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "shutdown-check",
    version,
    args_conflicts_with_subcommands = true,
    max_term_width = 100,
    after_help = AFTER_HELP
)]
pub struct Cli {
    /// What to do; run where absent.
    #[command(subcommand)]
    pub command: Option<Subcommands>,
    /// The options of the default command.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What can be done besides running.
#[derive(Clone, Debug, Subcommand)]
pub enum Subcommands {
    /// Start a target once, and write a commented shutdown-check.toml for it
    Init(Box<InitArgs>),
    /// Print the plan and do nothing
    Plan(Box<PlanArgs>),
    /// Run again what failed: known failures, a run's report.json or folder, or one history
    ///
    /// Without a report or a history first, the failures of the regressions file are run. What follows
    /// is the target, with the options of a run.
    Replay(Box<ReplayArgs>),
    /// Judge recorded histories again, by the same or by other rules
    Judge(Box<JudgeArgs>),
    /// Say what became better and what worse from one report to another
    ///
    /// Exit codes: 0 nothing became worse, 1 something did, and not by chance, 2 a report can't be
    /// read, 3 nothing was shown by both.
    Diff(DiffArgs),
    /// Put the reports of slices together (--partition)
    Merge(Box<MergeArgs>),
    /// List the invariants, situations, moments and profiles
    List(ListArgs),
    /// Say what an invariant, a situation or a moment means, why it matters and how to fix it
    Explain(ExplainArgs),
    /// Print the JSON Schema of a file that is written or read
    Schema(SchemaArgs),
    /// Render a saved report in another format
    Report(ReportArgs),
    /// Plant known defects, and show that each is found
    Selftest(SelftestArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page (roff)
    Man,
    /// Run the bundled reference server
    #[command(hide = true, disable_help_flag = true)]
    ReferenceServer(ForwardedArgs),
    /// Run one of the bundled defective servers
    #[command(hide = true, disable_help_flag = true)]
    Fixture(ForwardedArgs),
    /// Wait for the end of a run, and end what it leaves
    #[command(hide = true)]
    Guardian(GuardianArgs),
    /// Start a target, and end all of it at the end of standard input
    #[command(hide = true)]
    Keeper(KeeperArgs),
}

/// The options of `plan`.
#[derive(Args, Clone, Debug, Default)]
pub struct PlanArgs {
    /// Say what a search would try next, after what this report shows
    #[arg(long, value_name = "REPORT", help_heading = "How much")]
    pub after: Option<PathBuf>,
    /// Those of a run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// The options of `run` and `plan`.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// The program to check; the bundled reference server if there is none
    pub target: Option<String>,
    /// Its arguments; put -- before them if they look like options
    pub args: Vec<String>,
    /// How the target is started and found.
    #[command(flatten)]
    pub start: StartArgs,
    /// What is asked of it.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Which signals it gets.
    #[command(flatten)]
    pub signal: SignalArgs,
    /// What is expected of it.
    #[command(flatten)]
    pub expect: ExpectArgs,
    /// Where its jobs and its log are read.
    #[command(flatten)]
    pub sources: SourceOfLinesArgs,
    /// How much is done.
    #[command(flatten)]
    pub amount: AmountArgs,
    /// What is done about failures.
    #[command(flatten)]
    pub again: AgainArgs,
    /// What the run is compared with.
    #[command(flatten)]
    pub snapshot: SnapshotArgs,
    /// What is written.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Where settings come from.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// How the target is started and found.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Target")]
pub struct StartArgs {
    /// Where it listens: http://… or unix:/…
    #[arg(long, value_name = "URL", conflicts_with = "port")]
    pub url: Option<String>,
    /// Its port, if it can't be told another one
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// URL or path that answers 2xx when it is ready
    #[arg(long, value_name = "URL")]
    pub ready_url: Option<String>,
    /// A line that it writes when it is ready
    #[arg(long, value_name = "REGEX", value_parser = values::pattern)]
    pub ready_line: Option<String>,
    /// A file that it makes when it is ready
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<String>,
    /// How long until it is ready [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    pub ready_timeout: Option<Duration>,
    /// Set a variable for it (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::variable)]
    pub env: Vec<(String, String)>,
    /// Removed by it before it exits (repeatable)
    #[arg(long, value_name = "FILE")]
    pub leaves_no: Vec<String>,
    /// Start it in this directory
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Make it PID 1, as in a container without an init
    #[arg(long)]
    pub as_pid_1: bool,
    /// What it is built with, for hints: go, axum, … [default: found out]
    #[arg(long, value_name = "NAME")]
    pub stack: Option<Stack>,
    /// Try a process that runs already, once
    #[arg(long, value_name = "PID", conflicts_with_all = ["target", "as_pid_1"])]
    pub pid: Option<u32>,
}

/// What is asked of the target.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Load")]
pub struct LoadArgs {
    /// Ask for this: /a or 'POST /a' (repeatable)
    #[arg(long, value_name = "PATH", value_parser = values::path_spec)]
    pub path: Vec<PathSpec>,
    /// Method of each --path [GET; POST with a body]
    #[arg(long, value_name = "NAME", value_parser = values::method)]
    pub method: Option<String>,
    /// Send 'Name: value' with each --path (repeatable)
    #[arg(long, value_name = "FIELD", value_parser = values::header)]
    pub header: Vec<(String, String)>,
    /// Send this body with each --path
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    pub body: Option<String>,
    /// Send the content of a file with each --path
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,
    /// The right status of each --path
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(100..=599))]
    pub expect_status: Option<u16>,
    /// Write like this, and look for it after a restart: 'PUT /kv/{key}'
    #[arg(long, value_name = "PATH", value_parser = values::path_spec)]
    pub write: Option<PathSpec>,
    /// What is written [default: {value}]
    #[arg(long, value_name = "TEXT")]
    pub write_body: Option<String>,
    /// Read it back like this: '/kv/{key}'
    #[arg(long, value_name = "PATH", value_parser = values::path_spec)]
    pub read: Option<PathSpec>,
    /// Connections in use at the same time [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub connections: Option<u16>,
    /// Send N requests a second, answered or not
    #[arg(long, value_name = "N", value_parser = values::rate)]
    pub rate: Option<f64>,
}

/// Which signals the target gets, and when.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Signal")]
pub struct SignalArgs {
    /// Signals to send, in turns [default: TERM]
    #[arg(long, value_name = "TERM,INT", value_delimiter = ',', value_parser = values::signal)]
    pub signal: Vec<Signal>,
    /// To the leader, listener or group [default: leader]
    #[arg(long, value_name = "WHOM", value_parser = values::signal_to)]
    pub signal_to: Option<SignalTo>,
    /// Try only this situation (repeatable) [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = values::situation)]
    pub situation: Vec<Situation>,
}

/// What is expected of the target.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What is expected (times count from the signal)")]
pub struct ExpectArgs {
    /// graceful, strict, kubernetes, worker [default: graceful]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<Profile>,
    /// What single violations do, instead of what the profile says.
    #[command(flatten)]
    pub levels: LevelArgs,
    /// It has exited after this [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    pub deadline: Option<Duration>,
    /// No new connections after [default: 500ms]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub refuse_within: Option<Duration>,
    /// New connections are served until then [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub lame_duck: Option<Duration>,
    /// No new jobs after [default: 500ms]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub jobs_stop_within: Option<Duration>,
    /// Its right ends, such as 0,143,signal:TERM
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub expect_exit: Vec<ExpectedExit>,
    /// What a second one means: ignore or force [default: ignore]
    #[arg(long, value_name = "MEANING", value_parser = values::second_signal)]
    pub second_signal: Option<SecondSignal>,
    /// Lines that say that a job has started.
    #[arg(long, value_name = "REGEX", value_parser = values::job_pattern)]
    #[arg(help = r"A job's start: 'job (?P<id>\S+) began'")]
    pub job_start: Vec<String>,
    /// A job's finish (both repeatable)
    #[arg(long, value_name = "REGEX", value_parser = values::job_pattern)]
    pub job_finish: Vec<String>,
    /// Other lines.
    #[command(flatten)]
    pub lines: LinePatternArgs,
}

/// `--deny`, `--warn` and `--allow`, in the order in which they were written: as in rustc, the
/// last one that names an invariant counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LevelArgs(pub Vec<(&'static str, Severity)>);

/// The options of [`LevelArgs`], with their help.
const LEVELS: [(&str, Severity, &str); 3] = [
    ("deny", Severity::Deny, "Fail if it is violated (repeatable)"),
    ("warn", Severity::Warn, "Only warn if it is violated (repeatable)"),
    ("allow", Severity::Allow, "Only record if it is violated (repeatable)"),
];

// By hand, since the derived code doesn't keep the order among several options.
impl Args for LevelArgs {
    fn augment_args(command: Command) -> Command {
        command.args(LEVELS.map(|(name, _, help)| {
            Arg::new(name)
                .long(name)
                .value_name("ID")
                .help(help)
                .action(ArgAction::Append)
                .value_delimiter(',')
                .value_parser(values::invariant)
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LevelArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut placed = Vec::new();
        for (name, severity, _) in LEVELS {
            let places = matches.indices_of(name).into_iter().flatten();
            let ids = matches.get_many::<&'static str>(name).into_iter().flatten();
            placed.extend(places.zip(ids.map(|id| (*id, severity))));
        }
        placed.sort_by_key(|(place, _)| *place);
        Ok(Self(placed.into_iter().map(|(_, level)| level).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// How much is done.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "How much")]
pub struct AmountArgs {
    /// Do this many trials
    #[arg(long, value_name = "N", conflicts_with = "budget")]
    pub trials: Option<NonZeroU32>,
    /// Do trials for this long [default: 25s]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    pub budget: Option<Duration>,
    /// Go on until losses above this rate, such as 1%, are excluded
    #[arg(long, value_name = "RATE")]
    pub until_bound: Option<Bound>,
    /// Stop at the first violation that fails the run
    #[arg(long)]
    pub fail_fast: bool,
    /// Draw the plan from this number [default: a new one]
    #[arg(long, value_name = "SEED", value_parser = values::seed)]
    pub seed: Option<u64>,
    /// Do one slice of the plan: slice:1/3, or auto in CI
    #[arg(long, value_name = "SLICE", value_parser = values::slice)]
    pub partition: Option<Slice>,
    /// Also send the signal exactly at the server's system calls (ptrace)
    #[arg(long, conflicts_with = "pid")]
    pub deep: bool,
    /// Trials at the same time [default: by processors]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub parallel: Option<u16>,
    /// Print the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What is written, and where.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write a report, such as json=run.json (repeatable)
    #[arg(short, long, value_name = "FORMAT=PATH")]
    pub output: Vec<Output>,
    /// What goes to standard output [default: text]
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    pub format: Option<Format>,
    /// Keep reports and histories here [default: reports]
    #[arg(long, value_name = "DIR")]
    pub reports_dir: Option<PathBuf>,
    /// Show all that was found out
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Show the verdict only
    #[arg(short, long)]
    pub quiet: bool,
    /// Colours: auto, always or never [default: auto]
    #[arg(long, value_name = "WHEN", hide_possible_values = true)]
    pub color: Option<ColorChoice>,
    /// Show no progress while it runs
    #[arg(long)]
    pub no_progress: bool,
}

/// Where settings come from besides the command line.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Configuration")]
pub struct SourceArgs {
    /// Read this file [default: ./shutdown-check.toml]
    #[arg(long, value_name = "PATH", conflicts_with = "no_config")]
    pub config: Option<PathBuf>,
    /// Read no file
    #[arg(long)]
    pub no_config: bool,
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    #[default]
    #[value(alias = "terminal")]
    Text,
    /// For programs.
    Json,
}

/// The options of `report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// A report.json, or the folder of a run
    #[arg(value_name = "REPORT")]
    pub report: PathBuf,
    /// What is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The options of `selftest`.
#[derive(Args, Clone, Debug)]
pub struct SelftestArgs {
    /// Only these servers, or ways to try one
    #[arg(value_name = "NAME", value_parser = values::selftest)]
    pub names: Vec<&'static str>,
    /// How to print it: text or json
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true)]
    pub format: ListFormat,
    /// Servers at the same time [default: 4 a processor]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub parallel: Option<u16>,
}

/// The options of `completions`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// For which shell: bash, elvish, fish, powershell or zsh
    #[arg(value_enum, hide_possible_values = true)]
    pub shell: clap_complete::Shell,
}

/// The options of `judge`.
#[derive(Args, Clone, Debug)]
pub struct JudgeArgs {
    /// Recorded histories (.jsonl), or directories of them
    #[arg(required = true, value_name = "HISTORY")]
    pub histories: Vec<PathBuf>,
    /// What is expected, where it is not what the histories say.
    #[command(flatten)]
    pub expect: ExpectArgs,
    /// What is written.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Where settings come from.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// The options of `list`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// What to list: invariants, situations, moments or profiles [default: all]
    #[arg(value_enum, hide_possible_values = true)]
    pub what: Option<Listed>,
    /// How to print it: text or json
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true)]
    pub format: ListFormat,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// What should be true of a shutdown.
    Invariants,
    /// What the world looks like when the signal comes.
    Situations,
    /// When it comes.
    Moments,
    /// Sets of severities.
    Profiles,
}

/// The options of `explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// An invariant, a situation or a moment, as in reports and `shutdown-check list`
    #[arg(value_name = "NAME", value_parser = values::explained)]
    pub what: Explained,
    /// Say what to do in this stack: go, axum, express, …
    #[arg(long, value_name = "NAME")]
    pub stack: Option<Stack>,
}

/// The options of `schema`.
#[derive(Args, Clone, Debug)]
pub struct SchemaArgs {
    /// Of what: report, history, config or diff
    #[arg(value_enum, default_value = "report", hide_possible_values = true)]
    pub of: SchemaOf,
}

/// The files that have a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// The JSON report.
    Report,
    /// Each line of a history.
    History,
    /// shutdown-check.toml.
    Config,
    /// What `diff --format json` prints.
    Diff,
}
