//! The library's face: a check of a server from a test, by the same way as from the command line.
//!
//! The harness has a process of its own, here as there: whatever it sets for a whole process (limits,
//! who adopts orphans, signals), and whatever it would print, stays out of the test, and all that it
//! has started ends when the test does, however that ends. That process is the test's own program
//! once more, in which [`role`] takes over before `main`: a dependency has no program of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cli::child::{self, Said};
use crate::model::run::RunReport;
use crate::model::verdict::Profile;

mod checked;
mod error;
mod role;

pub use checked::{Checked, Violation};
pub use error::CheckError;

/// A check of how a server shuts down: what is started, and what is tried.
///
/// What is left out is as on the command line: 25 s of trials in all situations, the profile
/// `graceful`. Neither `shutdown-check.toml` nor `SHUTDOWN_CHECK_*` variables are read, unless
/// [`config`](Self::config) names a file.
#[derive(Clone, Debug, Default)]
pub struct Check {
    options: Vec<OsString>,
    target: Vec<OsString>,
    config: Option<PathBuf>,
    reports_dir: Option<PathBuf>,
    harness: Option<PathBuf>,
}

impl Check {
    /// A check of this program, which finds its port in `PORT`, or for `{port}` in its arguments; any
    /// other one it listens on is found, too.
    ///
    /// In an integration test of the package that has the server, `env!("CARGO_BIN_EXE_name")` is its
    /// program.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { target: vec![program.as_ref().to_owned()], ..Self::default() }
    }

    /// A check of the target that this configuration file names (`shutdown-check.toml`).
    pub fn from_config(file: impl AsRef<Path>) -> Self {
        Self::default().config(file)
    }

    /// An argument of the program; `{port}` in it becomes the port of a trial.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.target.push(argument.as_ref().to_owned());
        self
    }

    /// Arguments of the program.
    pub fn args(self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// A variable of the program's environment.
    pub fn env(self, name: &str, value: &str) -> Self {
        self.option("env", format!("{name}={value}"))
    }

    /// The directory to start it in.
    pub fn cwd(self, directory: impl AsRef<Path>) -> Self {
        self.set("cwd", directory.as_ref())
    }

    /// A request to send, such as `/orders` or `POST /orders`; several share the load.
    pub fn path(self, request: &str) -> Self {
        self.option("path", request)
    }

    /// Where it listens, if it can't be told: `http://127.0.0.1:8080/` or `unix:/tmp/app.sock`.
    pub fn url(self, url: &str) -> Self {
        self.set("url", url)
    }

    /// The URL or path that answers with success when it is ready.
    pub fn ready_url(self, url: &str) -> Self {
        self.set("ready-url", url)
    }

    /// A line that it writes when it is ready, as a regular expression.
    pub fn ready_line(self, pattern: &str) -> Self {
        self.set("ready-line", pattern)
    }

    /// A signal to send, such as `TERM`; trials take turns with several.
    pub fn signal(self, name: &str) -> Self {
        self.option("signal", name)
    }

    /// A situation to try, such as `slow-handler`; only those that are named, where any is.
    pub fn situation(self, name: &str) -> Self {
        self.option("situation", name)
    }

    /// The rules.
    pub fn profile(self, profile: Profile) -> Self {
        self.set("profile", profile.name())
    }

    /// This invariant fails the check where it is violated, whatever the profile says.
    pub fn deny(self, invariant: &str) -> Self {
        self.option("deny", invariant)
    }

    /// A violation of this invariant is told, and does not fail the check.
    pub fn warn(self, invariant: &str) -> Self {
        self.option("warn", invariant)
    }

    /// A violation of this invariant is recorded only.
    pub fn allow(self, invariant: &str) -> Self {
        self.option("allow", invariant)
    }

    /// The time from the signal within which it exits.
    pub fn deadline(self, time: Duration) -> Self {
        self.time("deadline", time)
    }

    /// The time from the signal for which it still serves new connections.
    pub fn lame_duck(self, time: Duration) -> Self {
        self.time("lame-duck", time)
    }

    /// How many trials to do, by a fixed plan.
    pub fn trials(self, number: u32) -> Self {
        self.without("budget").set("trials", number.to_string())
    }

    /// How long to do trials, which are then chosen by what the ones before have shown.
    pub fn budget(self, time: Duration) -> Self {
        self.without("trials").time("budget", time)
    }

    /// What the plan is drawn from; a new one each time where absent.
    pub fn seed(self, seed: u64) -> Self {
        self.set("seed", seed.to_string())
    }

    /// How many connections are in use at the same time.
    pub fn connections(self, number: u16) -> Self {
        self.set("connections", number.to_string())
    }

    /// How many trials run at the same time.
    pub fn parallel(self, number: u16) -> Self {
        self.set("parallel", number.to_string())
    }

    /// A snapshot that the run is compared with, as by `--snapshot`: written where it is missing, but
    /// not where `CI` is set.
    pub fn snapshot(self, file: impl AsRef<Path>) -> Self {
        self.set("snapshot", file.as_ref())
    }

    /// Any other option of the command line that has a value, by its name without the dashes:
    /// `option("job-url", "/jobs")`.
    pub fn option(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let mut word = OsString::from(format!("--{name}="));
        word.push(value);
        self.options.push(word);
        self
    }

    /// Any other option of the command line that has none: `switch("deep")`.
    pub fn switch(mut self, name: &str) -> Self {
        self.options.push(format!("--{name}").into());
        self
    }

    /// Settings come from this file where the check does not name them.
    pub fn config(mut self, file: impl AsRef<Path>) -> Self {
        self.config = Some(file.as_ref().to_owned());
        self
    }

    /// Reports and histories are kept here, in a folder that has the seed as its name; where absent,
    /// only for as long as the [`Checked`] lives.
    pub fn reports_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.reports_dir = Some(directory.as_ref().to_owned());
        self
    }

    /// The installed `shutdown-check` carries the check out, rather than this program itself: where this
    /// library is not part of the program that runs (in a `dylib`, say), or not on Linux.
    pub fn harness(mut self, program: impl AsRef<Path>) -> Self {
        self.harness = Some(program.as_ref().to_owned());
        self
    }

    /// Carries it out, and waits for its end.
    ///
    /// Nothing is printed, and no signal is handled in this process. Whatever was started ends when
    /// this process does.
    ///
    /// # Errors
    /// When it came to no verdict: see [`CheckError`]. A violation is none.
    pub fn run(&self) -> Result<Checked, CheckError> {
        self.run_until(&|| false)
    }

    /// Carries it out beside other tasks of any runtime. When the future is dropped, the target is
    /// ended, and all that it has started.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_async(&self) -> Result<Checked, CheckError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let dropped = Dropped::default();
        let (check, wish) = (self.clone(), Arc::clone(&dropped.0));
        // The harness ends with the thread that started it, so that this is no task of a runtime.
        let thread = std::thread::Builder::new().name("shutdown-check".into()).spawn(move || {
            let _ = sender.send(check.run_until(&|| wish.load(Ordering::Relaxed)));
        });
        thread.map_err(|reason| CheckError::NotStarted(reason.to_string()))?;
        let ended = |_| CheckError::Internal("the thread of the check has ended".into());
        receiver.await.map_err(ended)?
    }

    fn time(self, name: &str, time: Duration) -> Self {
        self.set(name, humantime::format_duration(time).to_string())
    }

    /// Has the option in place of what it was before.
    fn set(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.without(name).option(name, value)
    }

    fn without(mut self, name: &str) -> Self {
        let begin = format!("--{name}=");
        self.options.retain(|option| !option.to_string_lossy().starts_with(&begin));
        self
    }

    fn run_until(&self, is_dropped: &dyn Fn() -> bool) -> Result<Checked, CheckError> {
        let not_started = |reason: std::io::Error| CheckError::NotStarted(reason.to_string());
        let folder = match self.reports_dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().map_err(not_started)?),
        };
        let kept = self.reports_dir.as_deref().or(folder.as_ref().map(|folder| folder.path()));
        let mut command = self.command()?;
        command.args(self.words(kept.unwrap_or(Path::new("reports")))?);
        let said = child::run(command, is_dropped).map_err(not_started)?;
        let report = report(&said)?;
        Ok(Checked::new(report, said.stdout, folder))
    }

    /// The harness, whose options are still to come.
    fn command(&self) -> Result<Command, CheckError> {
        match &self.harness {
            Some(program) => Ok(Command::new(program)),
            None => role::harness().map_err(CheckError::NotStarted),
        }
    }

    fn words(&self, reports_dir: &Path) -> Result<Vec<OsString>, CheckError> {
        let named = |name: &str, value: &OsStr| {
            let mut word = OsString::from(name);
            word.push(value);
            word
        };
        let program = self.target.first().and_then(|program| program.to_str()).unwrap_or("-");
        if self.config.is_none() && (program.is_empty() || program.starts_with('-')) {
            // On the command line that would be the bundled reference server.
            return Err(CheckError::Usage("no program is named that could be checked".into()));
        }
        let config = self.config.as_deref();
        let mut words: Vec<OsString> = ["--format=json", "--no-progress"].map(Into::into).to_vec();
        words.push(match config {
            Some(file) => named("--config=", file.as_os_str()),
            None => "--no-config".into(),
        });
        words.push(named("--reports-dir=", reports_dir.as_os_str()));
        let begins =
            |option: &OsString| option.to_str().is_some_and(|it| it.starts_with("--regressions="));
        if !self.options.iter().any(begins) {
            words.push("--no-regressions".into());
        }
        words.extend(self.options.iter().cloned());
        if !self.target.is_empty() {
            words.push("--".into());
            words.extend(self.target.iter().cloned());
        }
        Ok(words)
    }
}

/// The report of a run that came to a verdict.
fn report(said: &Said) -> Result<RunReport, CheckError> {
    let report: Result<RunReport, _> = serde_json::from_str(&said.stdout);
    match report {
        Ok(report) if report.interrupted.is_none() => Ok(report),
        Ok(_) => Err(CheckError::Interrupted),
        Err(error) => Err(match said.stderr.trim() {
            "" => CheckError::Internal(format!(
                "the harness ended ({}) and left no report: {error}",
                said.status
            )),
            message => CheckError::of(said.status.code(), message),
        }),
    }
}

/// Says, when it is dropped, that nobody waits any more.
#[derive(Debug, Default)]
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
