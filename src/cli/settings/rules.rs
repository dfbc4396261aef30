//! Which violations fail a run.

use std::collections::BTreeMap;

use serde::Serialize;

use super::first;
use crate::cli::args::ExpectArgs;
use crate::cli::config::ConfigFile;
use crate::invariants::CATALOGUE;
use crate::model::verdict::{Profile, Severity};

/// A profile, and the invariants that are taken otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// The profile.
    pub profile: Profile,
    /// The severities that are not the profile's, by the invariant's id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub levels: BTreeMap<&'static str, Severity>,
}

impl Rules {
    pub(super) fn resolve(line: &ExpectArgs, env: &ExpectArgs, file: &ConfigFile) -> Self {
        let of_file = file.levels.iter().map(|(id, severity)| (id.0, *severity));
        let changes =
            of_file.chain(env.levels.0.iter().copied()).chain(line.levels.0.iter().copied());
        Self {
            profile: first(line.profile, env.profile, file.profile).unwrap_or_default(),
            // Of several that name the same invariant, a map keeps the last.
            levels: changes.collect(),
        }
    }

    /// What a violation of each invariant does to the run.
    pub fn severities(&self) -> BTreeMap<&'static str, Severity> {
        let of_profile = CATALOGUE.iter().map(|it| (it.id, it.severity.under(self.profile)));
        of_profile.chain(self.levels.iter().map(|(id, severity)| (*id, *severity))).collect()
    }

    /// The same, in the order in which reports show them.
    pub fn in_order_of_catalogue(&self) -> Vec<(&'static str, Severity)> {
        let severities = self.severities();
        CATALOGUE.iter().filter_map(|it| Some((it.id, *severities.get(it.id)?))).collect()
    }
}
