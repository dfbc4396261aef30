//! What all trials of a run have in common: the target as the rehearsal found it.

use std::sync::Arc;

use crate::load::request::PreparedRequest;
use crate::model::address::ServerAddress;
use crate::model::contract::Contract;
use crate::model::ledger::{BadPattern, JobLines};
use crate::model::start::StartTimes;
use crate::model::target::{RequestTemplate, Target};

/// Is told which processes live, so that somebody knows when the harness itself is killed.
pub trait Guard: std::fmt::Debug + Send + Sync {
    /// The leader of a process group was started.
    fn launched(&self, leader: u32);
    /// Nothing of it is left.
    fn ended(&self, leader: u32);
}

/// Nobody guards: the leader ends with the harness (PR_SET_PDEATHSIG), others may not.
#[derive(Debug)]
pub struct Unguarded;

impl Guard for Unguarded {
    fn launched(&self, _: u32) {}
    fn ended(&self, _: u32) {}
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
    /// How long its start takes, at its quickest.
    pub start: StartTimes,
    /// A text that no other run on this machine has, from which its processes are known.
    pub run_id: String,
    /// Who is told which processes live.
    pub guard: Arc<dyn Guard>,
    /// The contract's job patterns, compiled once for all trials.
    pub job_lines: Arc<JobLines>,
}

impl Subject {
    /// A target of which nothing is known yet but what the user said.
    ///
    /// # Errors
    /// When a job pattern of the contract can't be used.
    pub fn new(
        target: Target,
        contract: Contract,
        run_id: String,
        guard: Arc<dyn Guard>,
    ) -> Result<Self, BadPattern> {
        Ok(Self {
            templates: target.requests.clone(),
            job_lines: Arc::new(JobLines::new(&contract.jobs)?),
            target,
            contract,
            parallelism: None,
            takes_port: true,
            start: StartTimes::default(),
            run_id,
            guard,
        })
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
