//! How much is done, and what ends it before.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;

use super::{Layers, first, written};
use crate::cli::args::AmountArgs;
use crate::model::bound::Bound;

/// How long a run takes where nobody says.
const BUDGET: Duration = Duration::from_secs(25);
/// The same, where it is to exclude a rate of loss: that takes hundreds of trials.
const BUDGET_FOR_BOUND: Duration = Duration::from_secs(30 * 60);

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// This many trials.
    Trials(NonZeroU32),
    /// As many trials as begin in this time.
    #[serde(serialize_with = "written::duration")]
    Budget(Duration),
}

/// What ends a run before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ending {
    /// The first violation of a denied invariant.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fail_fast: bool,
    /// So small a rate of loss, or the first such violation.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "written::bound")]
    pub until_bound: Option<Bound>,
}

impl Layers<'_> {
    pub(super) fn amount(&self) -> Amount {
        let of = |args: &AmountArgs| {
            args.trials.map(Amount::Trials).or_else(|| args.budget.map(Amount::Budget))
        };
        let of_file = || {
            let trials = self.file.trials.as_ref().map(|trials| Amount::Trials(*trials.get_ref()));
            trials.or_else(|| self.file.budget.map(Amount::Budget))
        };
        let usual = match self.ending().until_bound {
            Some(_) => BUDGET_FOR_BOUND,
            None => BUDGET,
        };
        of(&self.line.amount)
            .or_else(|| of(&self.env.amount))
            .or_else(of_file)
            .unwrap_or(Amount::Budget(usual))
    }

    pub(super) fn ending(&self) -> Ending {
        let (line, env) = (&self.line.amount, &self.env.amount);
        Ending {
            fail_fast: line.fail_fast || env.fail_fast || self.file.fail_fast,
            until_bound: first(line.until_bound, env.until_bound, self.file.until_bound),
        }
    }
}
