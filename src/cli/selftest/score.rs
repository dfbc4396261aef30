//! What was expected of a bundled server against what was found; pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::invariants::CATALOGUE;
use crate::model::plan::Situation;
use crate::model::run::RunReport;
use crate::model::statistics::quantile;
use crate::model::verdict::VerdictName;

use super::child::{self, Tried};
use super::table::{self, Line};

/// What became of one line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// The line's name.
    pub name: String,
    /// Its server.
    pub fixture: String,
    /// The options of its run, and its target.
    pub command: Vec<String>,
    /// What it violates.
    pub expected: Vec<String>,
    /// The number of the first trial that showed some of it.
    pub caught_in_trial: Option<u32>,
    /// How many trials there were.
    pub trials: u32,
    /// The result.
    pub result: Outcome,
    /// Situations that could not be had, and why.
    pub not_had: BTreeMap<Situation, String>,
    /// Situations that were there.
    #[serde(skip)]
    pub had: BTreeSet<Situation>,
}

/// How a score compares with what was expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Outcome {
    /// All that it violates was named, and nothing else.
    AsExpected,
    /// Something is otherwise.
    Otherwise {
        /// What it violates, and was not named.
        missed: Vec<String>,
        /// What was named, and it does not violate.
        accused: Vec<String>,
        /// What should have been decided, and was not.
        undecided: Vec<String>,
        /// The exit code, where it was another than expected.
        exit_code: Option<u8>,
    },
    /// The run could not show it here.
    NotShown {
        /// Why.
        reason: String,
    },
}

impl Score {
    /// Compares a run with its line.
    pub fn of(line: &Line, tried: &Tried) -> Self {
        let strings = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let mut score = Self {
            name: line.name.replace('_', "-"),
            fixture: line.fixture.to_owned(),
            command: line.words("shutdown-check", 1),
            expected: strings(line.violated),
            caught_in_trial: None,
            trials: 0,
            result: Outcome::AsExpected,
            not_had: BTreeMap::new(),
            had: BTreeSet::new(),
        };
        match tried {
            Tried::Report(report) => score.compare(line, report),
            Tried::Nothing(said) => {
                let reason = said.trim().trim_start_matches("error: ").replace('\n', " ");
                score.result = Outcome::NotShown { reason };
            }
        }
        score
    }

    fn compare(&mut self, line: &Line, report: &RunReport) {
        self.trials = u32::try_from(report.trials.len()).unwrap_or(u32::MAX);
        self.caught_in_trial = first_trial(line, report);
        for cell in &report.coverage {
            match &cell.reason {
                Some(why) if cell.trials == 0 => {
                    _ = self.not_had.insert(cell.situation, why.clone())
                }
                _ => _ = self.had.insert(cell.situation),
            }
        }
        let (expected, others): (Vec<_>, Vec<_>) =
            report.invariants.iter().partition(|it| line.violated.contains(&&*it.id));
        let missed: Vec<_> =
            expected.into_iter().filter(|it| it.verdict != VerdictName::Violated).collect();
        let among_others = |verdict, may: fn(&str, &Line) -> bool| -> Vec<String> {
            let found = others.iter().filter(|it| it.verdict == verdict);
            found.filter(|it| !may(&it.id, line)).map(|it| it.id.clone()).collect()
        };
        let accused = among_others(VerdictName::Violated, table::may_be_violated_too);
        let undecided = among_others(VerdictName::Inconclusive, table::may_be_undecided);
        let exit_code = (report.exit_code != line.exit_code).then_some(report.exit_code);
        // A situation that can't be had here is no miss, nor is what a busy machine leaves open.
        let open = missed.iter().find(|it| it.verdict != VerdictName::Satisfied);
        let open = open.filter(|_| !self.not_had.is_empty()).and_then(|it| it.reason.clone());
        let open = open.or_else(|| child::busy(report).map(str::to_owned));
        // What was left undecided, and nothing else, accuses nobody and misses nothing.
        let undecided_only = undecided.first().filter(|_| missed.is_empty());
        let open = open.or_else(|| undecided_only.map(|id| format!("{id} was left undecided")));
        self.result = match open {
            Some(reason) if accused.is_empty() && missed.len() + undecided.len() > 0 => {
                Outcome::NotShown { reason }
            }
            _ => {
                let missed = missed.into_iter().map(|it| it.id.clone()).collect();
                Outcome::of(missed, accused, undecided, exit_code)
            }
        };
    }

    /// Adds a longer run, where the one before it has missed something.
    pub fn again(self, next: Self) -> Self {
        let Outcome::Otherwise { missed: before, accused: wrongly, .. } = self.result else {
            return next;
        };
        let after = |first| first + self.trials;
        let caught_in_trial = self.caught_in_trial.or(next.caught_in_trial.map(after));
        let result = match next.result {
            // What was found in one of the rounds was found.
            Outcome::Otherwise { mut missed, mut accused, undecided, .. } => {
                missed.retain(|id| before.contains(id));
                accused.extend(wrongly);
                Outcome::of(missed, accused, undecided, None)
            }
            other => other,
        };
        Self { caught_in_trial, trials: self.trials + next.trials, result, ..next }
    }

    /// Whether it was tried in vain, and might have been caught by chance: another round tells.
    pub fn is_missed(&self) -> bool {
        match &self.result {
            Outcome::Otherwise { missed, accused, .. } => !missed.is_empty() && accused.is_empty(),
            _ => false,
        }
    }

    /// Whether it has no defect.
    pub fn is_correct_server(&self) -> bool {
        self.expected.is_empty()
    }

    /// Whether all that it violates was named, and nothing else.
    pub fn is_as_expected(&self) -> bool {
        self.result == Outcome::AsExpected
    }

    /// Whether something was named that it does not violate.
    pub fn is_accused_wrongly(&self) -> bool {
        matches!(&self.result, Outcome::Otherwise { accused, .. } if !accused.is_empty())
    }
}

impl Outcome {
    fn of(
        missed: Vec<String>,
        accused: Vec<String>,
        undecided: Vec<String>,
        exit_code: Option<u8>,
    ) -> Self {
        let is_otherwise = [&missed, &accused, &undecided].iter().any(|ids| !ids.is_empty());
        match is_otherwise || exit_code.is_some() {
            true => Self::Otherwise { missed, accused, undecided, exit_code },
            false => Self::AsExpected,
        }
    }
}

/// The number of the first trial in which something that the line expects was found.
fn first_trial(line: &Line, report: &RunReport) -> Option<u32> {
    let is_expected = |id: &str| line.violated.contains(&id);
    let counts = report.trials.iter().filter(|trial| !trial.control && !trial.aside);
    let showing = counts.filter(|trial| trial.violated.iter().any(|id| is_expected(id)));
    // What takes several trials to tell is in none of them alone.
    let evidence = report.invariants.iter().filter(|it| is_expected(&it.id));
    let evidence = evidence.flat_map(|it| &it.evidence).map(|evidence| evidence.trial);
    showing.map(|trial| trial.number).chain(evidence).min()
}

/// All scores, and what follows from them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The version of this program.
    pub version: &'static str,
    /// Runs over a server with a defect.
    pub planted: usize,
    /// Those of them in which all of it was named, and nothing else.
    pub caught: usize,
    /// Runs over a server without one, or under options that its defect does not show under.
    pub correct: usize,
    /// Runs, over whatever server, in which something was named that it does not violate.
    pub accused_wrongly: usize,
    /// Runs that could not show anything here.
    pub not_shown: usize,
    /// The median number of the first trial that showed a defect.
    pub median_trials_to_detection: Option<f64>,
    /// How many trials there were altogether.
    pub trials: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Invariants that no line violates: nothing was shown of them. None where lines were chosen.
    pub not_planted: Vec<&'static str>,
    /// The scores, in the order of the table.
    pub scores: Vec<Score>,
}

impl Summary {
    /// Counts.
    pub fn of(scores: Vec<Score>, took: Duration) -> Self {
        let count = |is: &dyn Fn(&Score) -> bool| scores.iter().filter(|score| is(score)).count();
        let mut first: Vec<_> =
            scores.iter().filter_map(|score| score.caught_in_trial).map(f64::from).collect();
        first.sort_by(f64::total_cmp);
        let is_planted =
            |id: &str| scores.iter().any(|score| score.expected.iter().any(|it| it == id));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            planted: count(&|score| !score.is_correct_server()),
            caught: count(&|score| !score.is_correct_server() && score.is_as_expected()),
            correct: count(&Score::is_correct_server),
            accused_wrongly: count(&Score::is_accused_wrongly),
            not_shown: count(&|score| matches!(score.result, Outcome::NotShown { .. })),
            median_trials_to_detection: quantile(&first, 0.5),
            trials: scores.iter().map(|score| u64::from(score.trials)).sum(),
            seconds: took.as_secs_f64(),
            // Of what was not chosen nothing was to be shown.
            not_planted: match scores.len() < table::TABLE.len() {
                true => Vec::new(),
                false => CATALOGUE.iter().map(|it| it.id).filter(|id| !is_planted(id)).collect(),
            },
            scores,
        }
    }

    /// 0 where all is as expected, 1 where something is otherwise, 3 where something could not be
    /// shown here.
    pub fn exit_code(&self) -> u8 {
        let is_otherwise = |score: &Score| matches!(score.result, Outcome::Otherwise { .. });
        match () {
            () if self.scores.iter().any(is_otherwise) => 1,
            () if self.not_shown > 0 || self.scores.is_empty() => 3,
            () => 0,
        }
    }
}
