//! What all trials of a run have in common: the target as the rehearsal found it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::load::request::PreparedRequest;
use crate::model::address::ServerAddress;
use crate::model::contract::Contract;
use crate::model::event::Event;
use crate::model::ledger::{BadPattern, JobLines, usual_durations};
use crate::model::log::LogLines;
use crate::model::start::StartTimes;
use crate::model::target::{RequestTemplate, Target};
use crate::target::tree::ProcessId;

use super::lives::Lives;

/// Is told which processes live, so that somebody knows when the harness itself is killed.
pub trait Guard: std::fmt::Debug + Send + Sync {
    /// A process of a target lives.
    fn launched(&self, process: ProcessId);
    /// Nothing of the target is left.
    fn ended(&self, process: ProcessId);
}

/// Nobody guards: the leader ends with the harness (PR_SET_PDEATHSIG), others may not.
#[derive(Debug)]
pub struct Unguarded;

impl Guard for Unguarded {
    fn launched(&self, _: ProcessId) {}
    fn ended(&self, _: ProcessId) {}
}

/// A target that is known well enough to be tried.
#[derive(Clone, Debug)]
pub struct Subject {
    /// How it is started.
    pub target: Target,
    /// What is expected of it; its `requests` go with `templates`.
    pub contract: Contract,
    /// What is asked of it.
    pub templates: Vec<RequestTemplate>,
    /// How many requests it works on at the same time, where that is fewer than were asked.
    pub parallelism: Option<u16>,
    /// Whether it listens on the port that it is handed; otherwise trials can't run side by side.
    pub takes_port: bool,
    /// How many requests it has answered in about their usual time that were in process together;
    /// before the rehearsal, how many are to be tried. None where it is zero.
    pub crowd: u16,
    /// The lives of single requests; before the rehearsal, none is wanted where it is absent.
    pub lives: Lives,
    /// Whether signals will be aimed at the lives of single requests, so that they are rehearsed.
    pub wants_lives: bool,
    /// Requests, by their names, whose lives are rehearsed besides those of the quickest and the
    /// longest.
    pub lives_of: Vec<String>,
    /// How long its start takes, at its quickest.
    pub start: StartTimes,
    /// Whether trials of a target that insists on its port run side by side all the same, each in a
    /// network of its own; before the rehearsal, whether that is to be tried.
    pub own_network: bool,
    /// A text that no other run on this machine has, from which its processes are known.
    pub run_id: String,
    /// This program, where it may be started as a keeper of targets.
    pub keeper: Option<PathBuf>,
    /// Whether it is rehearsed as PID 1, since all trials are so.
    pub as_pid_1: bool,
    /// The process that runs already, and is neither started nor ended here.
    pub running: Option<ProcessId>,
    /// Who is told which processes live.
    pub guard: Arc<dyn Guard>,
    /// The contract's job patterns, compiled once for all trials.
    pub job_lines: Arc<JobLines>,
    /// The same of the patterns of its log.
    pub log_lines: Arc<LogLines>,
    /// Whether it has background jobs, as far as that is known.
    pub has_jobs: bool,
    /// How long its jobs usually take, by their kind.
    pub usual_jobs: BTreeMap<String, Duration>,
}

impl Subject {
    /// A target of which nothing is known yet but what the user said.
    ///
    /// # Errors
    /// When a pattern of the contract can't be used.
    pub fn new(
        target: Target,
        contract: Contract,
        run_id: String,
        guard: Arc<dyn Guard>,
    ) -> Result<Self, BadPattern> {
        let mut contract = contract;
        // The page is logged as others are.
        contract.log.ready_path = target.ready_path.clone().filter(|_| !contract.log.is_empty());
        Ok(Self {
            templates: target.requests.clone(),
            job_lines: Arc::new(JobLines::new(&contract.jobs)?),
            log_lines: Arc::new(LogLines::new(&contract.log)?),
            has_jobs: contract.jobs.declared,
            usual_jobs: BTreeMap::new(),
            target,
            contract,
            parallelism: None,
            takes_port: true,
            crowd: 0,
            lives: Lives::default(),
            wants_lives: true,
            lives_of: Vec::new(),
            start: StartTimes::default(),
            own_network: false,
            run_id,
            keeper: None,
            as_pid_1: false,
            running: None,
            guard,
        })
    }

    /// Learns of its jobs from what was seen of a start.
    pub fn learn_jobs(&mut self, events: &[Event]) {
        let jobs = self.job_lines.books(events).jobs;
        self.has_jobs |= !jobs.is_empty();
        self.usual_jobs.extend(usual_durations(&jobs));
    }

    /// The requests, ready to be sent to one address.
    pub fn prepared(&self, address: &ServerAddress) -> Vec<PreparedRequest> {
        let expected = self.contract.requests.iter().map(Some).chain(std::iter::repeat(None));
        (0u16..)
            .zip(&self.templates)
            .zip(expected)
            .map(|((n, template), expected)| {
                PreparedRequest::new(n, template, address).expecting(expected)
            })
            .collect()
    }
}
