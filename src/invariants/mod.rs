//! The catalogue: what should be true of a shutdown, one file an invariant.
//!
//! To add one: a new file with a `pub(crate) const INVARIANT`, its line in [`CATALOGUE`], and a
//! server in `fixtures/` that violates it. Lists, explanations, reports and the docs follow from
//! the fields.

use crate::model::history::{History, SignalSent};
use crate::model::plan::Situation;
use crate::model::verdict::{Profile, Severity, Verdict};

mod acknowledged_writes_survive;
mod at_work;
mod close_is_announced;
mod deadline;
mod delivered_requests_complete;
mod dispositions;
mod drain_keeps_its_latency;
mod exit_status_is_clean;
mod exits_before_deadline;
mod fates;
mod idle;
mod idle_connections_are_released;
mod idle_exit_is_prompt;
mod in_flight_requests_complete;
mod interrupt_equals_terminate;
mod job_lines;
mod jobs_finish;
mod last_words_are_written;
mod late_requests_are_not_swallowed;
mod new_connections_are_refused;
mod no_job_starts_after_signal;
mod nothing_is_left_behind;
mod queued_connections_are_served;
mod readiness_fails_first;
mod repeated_signal_is_harmless;
mod responses_are_whole;
mod restarts_at_once;
mod serves_through_lame_duck;
mod signal_is_handled;
mod stalled_clients_do_not_block;
mod startup_signal_is_honoured;
#[cfg(test)]
pub(crate) mod testing;
mod wording;

/// Every invariant, in the order in which reports show them.
pub const CATALOGUE: &[&Invariant] = &[
    &signal_is_handled::INVARIANT,
    &in_flight_requests_complete::INVARIANT,
    &responses_are_whole::INVARIANT,
    &delivered_requests_complete::INVARIANT,
    &queued_connections_are_served::INVARIANT,
    &late_requests_are_not_swallowed::INVARIANT,
    &new_connections_are_refused::INVARIANT,
    &serves_through_lame_duck::INVARIANT,
    &readiness_fails_first::INVARIANT,
    &jobs_finish::INVARIANT,
    &no_job_starts_after_signal::INVARIANT,
    &exits_before_deadline::INVARIANT,
    &exit_status_is_clean::INVARIANT,
    &nothing_is_left_behind::INVARIANT,
    &acknowledged_writes_survive::INVARIANT,
    &restarts_at_once::INVARIANT,
    &idle_connections_are_released::INVARIANT,
    &close_is_announced::INVARIANT,
    &stalled_clients_do_not_block::INVARIANT,
    &idle_exit_is_prompt::INVARIANT,
    &last_words_are_written::INVARIANT,
    &drain_keeps_its_latency::INVARIANT,
    &startup_signal_is_honoured::INVARIANT,
    &repeated_signal_is_harmless::INVARIANT,
    &interrupt_equals_terminate::INVARIANT,
];

/// About a signal to a target that is not ready: trials with such a one say nothing else.
pub const AT_STARTUP: &str = startup_signal_is_honoured::INVARIANT.id;
/// About more than one signal: trials with several say nothing else.
pub const REPEATED: &str = repeated_signal_is_harmless::INVARIANT.id;
/// About the two usual signals: only a run has both.
pub const BOTH_SIGNALS: &str = interrupt_equals_terminate::INVARIANT.id;

pub(crate) use repeated_signal_is_harmless::{broken, told};

/// Whether each trial with one signal to a target that is ready says something of it.
pub fn is_about_trials(id: &str) -> bool {
    ![AT_STARTUP, REPEATED, BOTH_SIGNALS].contains(&id)
}

/// Something that should be true of every shutdown.
#[derive(Debug)]
pub struct Invariant {
    /// Its id: a sentence that should be true, in kebab-case.
    pub id: &'static str,
    /// The definition: "Fails when …".
    pub fails_when: &'static str,
    /// Why it matters to those who run the server.
    pub why: &'static str,
    /// Where the demand comes from (slide, RFC section, man page, thread).
    pub source: &'static str,
    /// How servers usually get it wrong.
    pub usual_cause: &'static str,
    /// What to do about it, in the common stacks.
    pub fix: &'static str,
    /// What a trial must have for it to be exercised, said where it was not ("it needs …").
    pub needs: &'static str,
    /// What its counts count.
    pub counts: Counts,
    /// The situations that give it an occasion; all of them where empty.
    pub occasions: &'static [Situation],
    /// What a violation does to a run, by profile.
    pub severity: Severities,
    /// What a history shows of it.
    pub check: fn(&History) -> Verdict,
}

impl Invariant {
    /// Whether it is about connections, so that a target without a listener has no occasion for it.
    pub fn needs_listener(&self) -> bool {
        self.severity.worker.is_none()
    }

    /// Whether only writes that the user declares can show anything of it.
    pub fn is_about_writes(&self) -> bool {
        self.occasions.contains(&Situation::Writes)
    }

    /// Why nothing was shown, where no occasion for it came.
    fn unexercised(&self) -> String {
        format!("not exercised; it needs {}", self.needs)
    }
}

/// Why what is about connections does not apply.
pub const NO_LISTENER: &str = "the target has no listener";

/// The occasions of an invariant that every situation may show.
const ANY: &[Situation] = &[];

/// What the counts of an invariant count, in words.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// One time that it could have failed.
    pub one: &'static str,
    /// Several of them.
    pub many: &'static str,
    /// What became of those that failed, after `3 of 1 912`.
    pub failed: &'static str,
    /// Whether a pass is worth as much as the rate of loss that it excludes.
    pub has_rate: bool,
}

impl Counts {
    /// Whole trials.
    pub const TRIALS: Counts =
        Counts { one: "trial", many: "trials", failed: "trials", has_rate: false };
    /// For an id of which nothing is known, as in a report of a later version.
    pub const CASES: Counts =
        Counts { one: "case", many: "cases", failed: "cases", has_rate: false };
}

/// What a violation does to a run, by profile.
#[derive(Clone, Copy, Debug)]
pub struct Severities {
    /// Under [`Profile::Graceful`].
    pub graceful: Severity,
    /// Under [`Profile::Strict`].
    pub strict: Severity,
    /// Under [`Profile::Kubernetes`].
    pub kubernetes: Severity,
    /// Under [`Profile::Worker`]; absent where it is about connections, which a worker has none of.
    pub worker: Option<Severity>,
}

impl Severities {
    /// It fails the run under every profile.
    const DENY: Self = Self::of(Severity::Deny, Severity::Deny, Severity::Deny);
    /// It fails the run only of servers that claim that nothing goes wrong.
    const WARN: Self = Self::of(Severity::Warn, Severity::Deny, Severity::Warn);

    /// The severities under graceful, strict and kubernetes; a worker's are those of graceful.
    const fn of(graceful: Severity, strict: Severity, kubernetes: Severity) -> Self {
        Self { graceful, strict, kubernetes, worker: Some(graceful) }
    }

    /// The same, of something that only a target with a listener can show.
    const fn of_servers(self) -> Self {
        Self { worker: None, ..self }
    }

    /// The severity under a profile.
    pub fn under(self, profile: Profile) -> Severity {
        match profile {
            Profile::Graceful => self.graceful,
            Profile::Strict => self.strict,
            Profile::Kubernetes => self.kubernetes,
            Profile::Worker => self.worker.unwrap_or(Severity::Allow),
        }
    }
}

/// The invariant with this id.
pub fn find(id: &str) -> Option<&'static Invariant> {
    CATALOGUE.iter().copied().find(|invariant| invariant.id == id)
}

/// The verdict of `check`, where a signal came to a living target; otherwise nothing was shown.
fn given_signal(history: &History, check: fn(&History, &SignalSent) -> Verdict) -> Verdict {
    let Some(signal) = history.signal() else {
        return Verdict::inconclusive(
            "no signal was sent: the trial was over before its moment came",
        );
    };
    let Some(exit) = history.exit() else { return check(history, &signal) };
    let died_of_it = exit.status.signal == Some(signal.signal);
    let when = if exit.at <= signal.bracket.before {
        "before"
    } else if exit.at < signal.bracket.after && !died_of_it {
        "at the very moment when"
    } else {
        return check(history, &signal);
    };
    let (pid, ended) = (exit.pid, wording::ended(exit.status));
    Verdict::inconclusive(format!("process {pid} {ended} {when} {} was sent", signal.signal))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::testing::{Story, inconclusive};
    use super::*;

    #[test]
    fn ids_are_unique_sentences_in_kebab_case() {
        let ids: BTreeSet<_> = CATALOGUE.iter().map(|invariant| invariant.id).collect();
        assert_eq!(ids.len(), CATALOGUE.len());
        for id in ids {
            assert!(id.split('-').all(|word| !word.is_empty()), "{id}");
            assert!(id.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()), "{id}");
            assert_eq!(find(id).map(|invariant| invariant.id), Some(id));
        }
    }

    #[test]
    fn each_invariant_has_the_file_that_its_id_names_and_each_such_file_is_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/invariants");
        let listed: BTreeSet<_> =
            CATALOGUE.iter().map(|invariant| invariant.id.replace('-', "_")).collect();
        let mut written = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            if text.contains("\npub(crate) const INVARIANT: Invariant") {
                written.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
            }
        }
        assert_eq!(written, listed);
    }

    #[test]
    fn every_field_says_something_in_plain_text() {
        for i in CATALOGUE {
            for text in [i.fails_when, i.why, i.source, i.usual_cause, i.fix, i.needs] {
                assert!(text.len() > 20, "{}: {text:?}", i.id);
                assert!(!text.contains("TODO") && !text.contains('\n'), "{}: {text:?}", i.id);
                assert!(!text.contains("  "), "{}: a lost line continuation: {text:?}", i.id);
            }
            assert!(i.fails_when.starts_with("Fails when "), "{}", i.id);
            assert!(!i.needs.ends_with('.'), "{}: it stands within a sentence", i.id);
            assert!(i.severity.graceful <= i.severity.strict, "{}", i.id);
        }
    }

    #[test]
    fn without_a_signal_nothing_is_shown() {
        let history = Story::new().exit_code(10, 0).history();
        for invariant in CATALOGUE {
            assert!(inconclusive((invariant.check)(&history)).starts_with("no signal was sent"));
        }
    }

    #[test]
    fn a_target_that_ended_by_itself_accuses_nobody() {
        for at_ms in [-5, 0] {
            let request = Story::new().signal().reset_request(-400, 3);
            let history = request.exit_code(at_ms, 1).history();
            for invariant in CATALOGUE {
                let reason = inconclusive((invariant.check)(&history));
                assert!(reason.contains("SIGTERM was sent"), "{}: {reason}", invariant.id);
            }
        }
    }
}
