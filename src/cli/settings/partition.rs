//! Which slice of the plan is done here: named, or known from what CI systems and Kubernetes set.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::{Amount, Settings, first};
use crate::cli::args::RunArgs;
use crate::cli::error::UsageError;
use crate::cli::values::Slice;
use crate::model::partition::Partition;
use crate::plan::share::Share;

/// Variables that say which of several jobs one is.
struct System {
    name: &'static str,
    index: &'static str,
    /// How many jobs there are, where it says so.
    total: Option<&'static str>,
    /// The number of the first job.
    first: u32,
}

/// GitHub sets none: `matrix.slice` and `strategy.job-total` are handed over in the
/// workflow.
const SYSTEMS: [System; 4] = [
    // docs.gitlab.com/ci/variables/predefined_variables
    System { name: "GitLab", index: "CI_NODE_INDEX", total: Some("CI_NODE_TOTAL"), first: 1 },
    // circleci.com/docs/reference/variables
    System {
        name: "CircleCI",
        index: "CIRCLE_NODE_INDEX",
        total: Some("CIRCLE_NODE_TOTAL"),
        first: 0,
    },
    // buildkite.com/docs/pipelines/configure/environment-variables
    System {
        name: "Buildkite",
        index: "BUILDKITE_PARALLEL_JOB",
        total: Some("BUILDKITE_PARALLEL_JOB_COUNT"),
        first: 0,
    },
    // kubernetes.io/docs/concepts/workloads/controllers/job, completion mode
    System { name: "Kubernetes", index: "JOB_COMPLETION_INDEX", total: None, first: 0 },
];

impl Settings {
    /// The same, for the slice that the options and the variables name.
    pub(super) fn sliced(
        self,
        (line, env): (&RunArgs, &RunArgs),
        variables: &[(OsString, OsString)],
    ) -> Result<Self, UsageError> {
        let partition = match first(line.amount.partition, env.amount.partition, None) {
            None => Partition::WHOLE,
            Some(Slice::Named(partition)) => partition,
            Some(Slice::Auto(count)) => of_environment(count, variables)?,
        };
        let settings = Self { partition, ..self };
        settings.check_slice()?;
        Ok(settings)
    }

    fn check_slice(&self) -> Result<(), UsageError> {
        if !self.partition.is_part() {
            return Ok(());
        }
        let refused = |reason: String| Err(UsageError::Partition { reason });
        if self.pid.is_some() {
            return refused("a process that runs already is tried once (--pid)".into());
        }
        if self.seed.is_none() {
            return refused(
                "all slices are of one plan, so all need the same seed\n  give each of them the same \
                 --seed, such as the number of the build"
                    .into(),
            );
        }
        // Which points of system calls there are, the rehearsal finds.
        let Amount::Trials(trials) = self.amount else { return Ok(()) };
        let share = Share::new(&self.plan_options(0));
        match self.deep || share.count(trials.get()) > 0 {
            true => Ok(()),
            false => refused(format!(
                "there is no trial of {trials} in {}: what is compared stays together\n  use fewer \
                 slices, or more --trials",
                self.partition
            )),
        }
    }
}

/// The slice of a job of several, as its surroundings tell.
fn of_environment(
    count: Option<u32>,
    variables: &[(OsString, OsString)],
) -> Result<Partition, UsageError> {
    let variables: BTreeMap<&str, &str> = variables
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?.trim())))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let mut found: Vec<(&System, Partition)> = Vec::new();
    for system in &SYSTEMS {
        if let Some(partition) = of_system(system, count, &variables)? {
            found.push((system, partition));
        }
    }
    let refused = |reason: String| Err(UsageError::Partition { reason });
    let Some(&(system, one)) = found.first() else {
        return refused(format!(
            "no variable says which slice this is: {} is set\n  name it: --partition slice:1/3; in \
             GitHub Actions slice:${{{{ matrix.slice }}}}/${{{{ strategy.job-total }}}} (docs/SHARDING.md)",
            SYSTEMS.map(|it| it.index).join(", ").replacen("CI_NODE", "none of CI_NODE", 1)
        ));
    };
    match found.iter().find(|(_, other)| *other != one) {
        None => Ok(one),
        Some((other, its)) => refused(format!(
            "{} says {one}, and {} says {its}\n  name it: --partition slice:1/3",
            system.index, other.index
        )),
    }
}

fn of_system(
    system: &System,
    count: Option<u32>,
    variables: &BTreeMap<&str, &str>,
) -> Result<Option<Partition>, UsageError> {
    let refused = |reason: String| UsageError::Partition { reason };
    let number = |name: &str| match variables.get(name) {
        None => Ok(None),
        Some(text) => text.parse::<u32>().map(Some).map_err(|_| {
            refused(format!("{name} is {text:?}, and no number\n  name it: --partition slice:1/3"))
        }),
    };
    let total = system.total.map(number).transpose()?.flatten();
    let index = match (number(system.index)?, total) {
        (Some(index), _) => index,
        // A job of GitLab's that has no others beside it has no index.
        (None, Some(1)) => system.first,
        (None, _) => return Ok(None),
    };
    let count = match (total, count) {
        (Some(total), Some(count)) if total != count => {
            let name = system.total.unwrap_or_default();
            return Err(refused(format!(
                "{name} says that there are {total}, and --partition auto/{count} another number\n  \
                 leave it out: --partition auto"
            )));
        }
        (Some(count), _) | (None, Some(count)) => count,
        (None, None) => {
            return Err(refused(format!(
                "{} says which slice this is, and not of how many\n  say so: --partition auto/3",
                system.index
            )));
        }
    };
    let place = index.checked_sub(system.first).ok_or_else(|| {
        refused(format!(
            "{} is {index}, and {} counts from {}\n  name it: --partition slice:1/3",
            system.index, system.name, system.first
        ))
    })?;
    match Partition::new(place.saturating_add(1), count) {
        Ok(partition) => Ok(Some(partition)),
        Err(error) => Err(refused(format!("{} is {index}: {error}", system.index))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(count: Option<u32>, variables: &[(&str, &str)]) -> Result<String, String> {
        let variables: Vec<(OsString, OsString)> =
            variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let found = of_environment(count, &variables);
        found.map(|it| it.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_system_counts_in_its_own_way() {
        let of = |variables: &[_]| auto(None, variables).unwrap();
        assert_eq!(of(&[("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "3")]), "slice:1/3");
        assert_eq!(of(&[("CIRCLE_NODE_INDEX", "0"), ("CIRCLE_NODE_TOTAL", "3")]), "slice:1/3");
        let buildkite = [("BUILDKITE_PARALLEL_JOB", "2"), ("BUILDKITE_PARALLEL_JOB_COUNT", "3")];
        assert_eq!(of(&buildkite), "slice:3/3");
        assert_eq!(auto(Some(4), &[("JOB_COMPLETION_INDEX", "3")]).unwrap(), "slice:4/4");
        // A job of GitLab's without `parallel`.
        assert_eq!(of(&[("CI_NODE_TOTAL", "1")]), "slice:1/1");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let of = |count, variables: &[_]| auto(count, variables).unwrap_err();
        assert!(of(None, &[]).contains("none of CI_NODE_INDEX"), "{}", of(None, &[]));
        assert!(of(None, &[("CI_NODE_INDEX", "")]).contains("no variable says"));
        let kubernetes = ("JOB_COMPLETION_INDEX", "3");
        assert!(of(None, &[kubernetes]).contains("--partition auto/3"));
        assert!(of(Some(3), &[kubernetes]).contains("there is no slice 4 of 3"));
        let gitlab = [("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "3")];
        assert!(of(None, &gitlab).contains("GitLab counts from 1"), "{}", of(None, &gitlab));
        let gitlab = [("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "3")];
        assert!(of(Some(2), &gitlab).contains("auto/2"));
        assert!(of(None, &[("CI_NODE_INDEX", "one")]).contains("no number"));
        let both = of(Some(3), &[&gitlab[..], &[("JOB_COMPLETION_INDEX", "1")]].concat());
        assert!(both.contains("CI_NODE_INDEX says slice:1/3"), "{both}");
        let agree = auto(Some(3), &[&gitlab[..], &[("JOB_COMPLETION_INDEX", "0")]].concat());
        assert_eq!(agree.unwrap(), "slice:1/3");
    }
}
