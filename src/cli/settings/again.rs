//! What is done about failures: how long they are shrunk, and where they are kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{Layers, first, written};

/// How long the least that fails is looked for, where nobody says.
const SHRINK_BUDGET: Duration = Duration::from_secs(10);
/// The name of the file of known failures, where none is named.
const DEFAULT_NAME: &str = "shutdown-check.regressions.toml";

/// What is done about failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Again {
    /// How long the least that fails is looked for; nothing is looked for in no time.
    #[serde(serialize_with = "written::duration")]
    pub shrink_budget: Duration,
    /// The file of known failures; absent where none is wanted.
    #[serde(skip)]
    pub regressions: Option<PathBuf>,
    /// Whether the file may be made: somebody has named it, or a configuration file lies beside it.
    #[serde(skip)]
    pub may_be_made: bool,
}

impl Layers<'_> {
    pub(super) fn again(&self) -> Again {
        let (line, env, file) = (&self.line.again, &self.env.again, self.file);
        let shrink_budget = first(line.shrink_budget, env.shrink_budget, file.shrink_budget);
        // A process that is not started here is tried once.
        let budget = shrink_budget.filter(|_| self.pid().is_none());
        let in_dir = |path: &PathBuf| self.dir.join(path);
        let of_file = || file.regressions.as_ref().map(|path| self.beside_file(path));
        let named = match (line.no_regressions, &line.regressions) {
            (true, _) => Err(()),
            (_, Some(path)) => Ok(Some(in_dir(path))),
            _ if env.no_regressions => Err(()),
            _ => Ok(env.regressions.as_ref().map(in_dir).or_else(of_file)),
        };
        let reads_files = self.config_file.is_some() || !self.reads_no_file();
        let usual = || reads_files.then(|| self.beside_file(Path::new(DEFAULT_NAME)));
        let is_named = matches!(named, Ok(Some(_)));
        let path = named.map_or(None, |named| named.or_else(usual));
        Again {
            shrink_budget: match self.pid() {
                Some(_) => Duration::ZERO,
                None => budget.unwrap_or(SHRINK_BUDGET),
            },
            regressions: path.filter(|_| self.pid().is_none()),
            may_be_made: is_named || self.config_file.is_some(),
        }
    }

    fn reads_no_file(&self) -> bool {
        self.line.source.no_config || self.env.source.no_config
    }
}
