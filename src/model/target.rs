//! How a target is started, and what is asked of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::event::ExitStatus;

/// How a target is started and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Program and arguments; `{port}` in any of them stands for the port of the trial.
    pub command: Vec<String>,
    /// The directory to start it in; the harness's own where absent.
    pub cwd: Option<PathBuf>,
    /// Variables to set besides `PORT`.
    pub env: Vec<(String, String)>,
    /// The port that it listens on whatever it is told; trials then run one at a time.
    pub port: Option<u16>,
    /// The unix socket that it listens on; `{port}` in its path stands for the port of the trial,
    /// so that each trial has one of its own.
    pub socket: Option<String>,
    /// The host to connect to; a loopback address.
    pub host: String,
    /// The path that answers with success when the target is ready; found out where absent.
    pub ready_path: Option<String>,
    /// Whether it listens; a worker does not.
    pub has_listener: bool,
    /// A line that it writes when it is ready, as a regular expression.
    pub ready_line: Option<String>,
    /// A file that it makes when it is ready; `{port}` as in the command.
    pub ready_file: Option<String>,
    /// How long it may take until it is ready.
    pub ready_timeout: Duration,
    /// Files that it takes away before it exits; `{port}` as in the command, and relative to its
    /// directory.
    pub leaves_no: Vec<String>,
    /// What is asked of it; found out where empty.
    pub requests: Vec<RequestTemplate>,
    /// Where else than in its output something is learnt of its jobs and its log.
    pub elsewhere: Elsewhere,
    /// How something is written to it that must be there when it is started again.
    pub writes: Option<WriteTemplates>,
}

/// Places besides the target's output; `{port}` in each stands for the port of the trial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// A file whose lines tell of jobs.
    pub job_file: Option<String>,
    /// A page whose lines tell of jobs: a path of the target's, or the URL of something that
    /// outlives it.
    pub job_url: Option<String>,
    /// The request that submits a job.
    pub job_submit: Option<RequestTemplate>,
    /// The file that its log is written to.
    pub log_file: Option<String>,
}

impl Elsewhere {
    /// Where something else than the target lists the jobs, which outlives it.
    pub fn ledger(&self) -> Option<&String> {
        self.job_url.as_ref().filter(|url| !url.starts_with('/'))
    }

    /// The same places, with this folder for `{dir}`.
    fn in_folder(&self, placed: impl Fn(&String) -> String) -> Self {
        Self {
            job_file: self.job_file.as_ref().map(&placed),
            log_file: self.log_file.as_ref().map(&placed),
            ..self.clone()
        }
    }
}

/// What stands for a trial's own folder in a command, a variable, a directory or a file's name.
const FOLDER: &str = "{dir}";

impl Target {
    /// The unix socket that it listens on in a trial with this port.
    pub fn socket_at(&self, port: u16) -> Option<PathBuf> {
        Some(self.socket.as_ref()?.replace("{port}", &port.to_string()).into())
    }

    /// Whether each trial needs a folder of its own: where `{dir}` stands for it somewhere.
    pub fn needs_folder(&self) -> bool {
        // Whatever it is replaced in, and nothing else.
        self.in_folder(Path::new("")) != *self
    }

    /// Whether trials side by side would meet in one of its places: a file that several write, or
    /// that says of all of them that they are ready, or a list of everybody's jobs.
    pub fn shares_places(&self) -> bool {
        let Elsewhere { job_file, log_file, .. } = &self.elsewhere;
        let own_cwd = self.cwd.as_ref().is_some_and(|cwd| cwd.to_string_lossy().contains(FOLDER));
        let in_cwd = self.leaves_no.iter().chain(&self.ready_file);
        let in_cwd = in_cwd.filter(|path| !own_cwd || Path::new(path).is_absolute());
        let others = job_file.iter().chain(log_file).chain(self.elsewhere.ledger());
        in_cwd.chain(others).any(|place| self.is_same_in_each_trial(place))
    }

    /// Where all trials have the same port, only their folders tell them apart.
    fn is_same_in_each_trial(&self, place: &str) -> bool {
        let has_port = self.port.is_none() && place.contains("{port}");
        !has_port && !place.contains(FOLDER)
    }

    /// The same target, with this folder for `{dir}`.
    pub fn in_folder(&self, folder: &Path) -> Self {
        let folder = folder.to_string_lossy();
        let placed = |text: &String| text.replace(FOLDER, &folder);
        let cwd = self.cwd.as_ref().map(|cwd| placed(&cwd.to_string_lossy().into_owned()).into());
        Self {
            command: self.command.iter().map(placed).collect(),
            cwd: cwd.or_else(|| self.cwd.clone()),
            env: self.env.iter().map(|(name, value)| (name.clone(), placed(value))).collect(),
            ready_file: self.ready_file.as_ref().map(placed),
            leaves_no: self.leaves_no.iter().map(placed).collect(),
            elsewhere: self.elsewhere.in_folder(placed),
            ..self.clone()
        }
    }
}

/// How something is written, and how it is read back. `{key}` stands for the key of a write, and
/// `{value}` for what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteTemplates {
    /// The request that writes.
    pub write: RequestTemplate,
    /// The request that reads it back.
    pub read: RequestTemplate,
    /// The status of the answer to the reading of a key that was never written; found out.
    pub absent: Option<u16>,
}

/// One kind of request of the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTemplate {
    /// The method (RFC 9110, section 9).
    pub method: String,
    /// Path and query; `{key}` stands for a text that no other request has.
    pub path: String,
    /// Header fields besides Host and Content-Length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How often it is sent, in proportion to the others.
    pub weight: u32,
    /// The expected status; where absent, the one that a quiet target answers with.
    pub expect: Option<u16>,
    /// Spread the sending of the body over this time, so that the request is long whatever the
    /// target does with it.
    pub upload_over: Option<Duration>,
}

impl RequestTemplate {
    /// A plain GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: "GET".into(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            weight: 1,
            expect: None,
            upload_over: None,
        }
    }

    /// The request as people name it.
    pub fn name(&self) -> String {
        match self.upload_over {
            Some(_) => format!("{} {} (slow upload)", self.method, self.path),
            None => format!("{} {}", self.method, self.path),
        }
    }
}

/// Why a target can't be tested, with what was seen of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWords {
    /// How it ended, where it did.
    pub exit: Option<ExitStatus>,
    /// The last lines that it wrote.
    pub lines: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One target for each of its places.
    fn with_place(place: &str) -> [Target; 5] {
        let place = Some(place.to_owned());
        let usual = Target::default;
        let elsewhere = |elsewhere| Target { elsewhere, ..usual() };
        [
            Target { leaves_no: place.iter().cloned().collect(), ..usual() },
            Target { ready_file: place.clone(), ..usual() },
            elsewhere(Elsewhere { job_file: place.clone(), ..Elsewhere::default() }),
            elsewhere(Elsewhere { log_file: place.clone(), ..Elsewhere::default() }),
            elsewhere(Elsewhere { job_url: place, ..Elsewhere::default() }),
        ]
    }

    #[test]
    fn a_place_is_shared_unless_each_trial_has_its_own() {
        for target in with_place("x") {
            assert!(target.shares_places(), "{target:?}");
        }
        for target in with_place("x-{port}") {
            assert!(!target.shares_places(), "{target:?}");
            let fixed = Target { port: Some(8080), ..target };
            assert!(fixed.shares_places(), "the port is the same in each: {fixed:?}");
        }
        for target in with_place("{dir}/x") {
            let fixed = Target { port: Some(8080), ..target };
            assert!(!fixed.shares_places(), "{fixed:?}");
        }
        assert!(!Target { port: Some(8080), ..Target::default() }.shares_places());
    }

    #[test]
    fn a_page_of_the_target_ends_with_it() {
        let page = with_place("/jobs")[4].clone();
        assert_eq!(page.elsewhere.ledger(), None);
        assert!(!page.shares_places());
    }

    #[test]
    fn what_lies_in_a_folder_of_the_trial_is_its_own() {
        let in_folder = |it| Target { cwd: Some("{dir}/run".into()), ..it };
        let [leaves_no, ready_file, job_file, ..] = with_place("x").map(in_folder);
        assert!(!leaves_no.shares_places());
        assert!(!ready_file.shares_places());
        assert!(job_file.shares_places(), "it is in the harness's directory");
        let [absolute, ..] = with_place("/run/x").map(in_folder);
        assert!(absolute.shares_places());
    }

    #[test]
    fn a_folder_is_made_wherever_it_is_named() {
        let name = || Some("{dir}/it".to_owned());
        let elsewhere = |job_file, log_file| Target {
            elsewhere: Elsewhere { job_file, log_file, ..Elsewhere::default() },
            ..Target::default()
        };
        let targets = [
            Target { command: vec!["./bin".into(), "--dir={dir}".into()], ..Target::default() },
            Target { cwd: Some("{dir}".into()), ..Target::default() },
            Target { env: vec![("DATA".into(), "{dir}".into())], ..Target::default() },
            Target { ready_file: name(), ..Target::default() },
            Target { leaves_no: vec!["{dir}/it".into()], ..Target::default() },
            elsewhere(name(), None),
            elsewhere(None, name()),
        ];
        for target in targets {
            assert!(target.needs_folder(), "{target:?}");
            assert!(!target.in_folder(Path::new("/tmp/own")).needs_folder(), "{target:?}");
        }
        assert!(!Target { command: vec!["./bin".into()], ..Target::default() }.needs_folder());
    }
}
