//! What a plan is drawn from, by the settings.

use crate::model::plan::Arrivals;
use crate::plan::PlanOptions;

use super::Settings;

impl Settings {
    /// What the plan is drawn from.
    pub fn plan_options(&self, seed: u64) -> PlanOptions {
        PlanOptions {
            signals: self.signals.clone(),
            signal_to: self.signal_to,
            has_listener: self.has_listener(),
            situations: self.situations.clone(),
            as_pid_1: self.as_pid_1,
            pid_1_counts: self.pid_1_counts,
            connections: self.connections,
            crowd: self.crowd,
            arrivals: self.rate.map(|per_second| Arrivals::Open { per_second }),
            submits_jobs: self.job_submit.is_some(),
            writes: self.writes.is_some(),
            partition: self.partition,
            ..PlanOptions::new(seed)
        }
    }
}
