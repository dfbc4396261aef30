//! By which lines jobs and last words are known, and where those lines are found.

use std::path::Path;

use super::{Layers, Settings, first, listed};
use crate::cli::error::UsageError;
use crate::cli::values::{JobUrl, PathSpec};
use crate::model::contract::JobPatterns;
use crate::model::log::LogPatterns;
use crate::model::target::{Elsewhere, RequestTemplate};

impl Settings {
    /// Where else than in the target's output something is learnt of its jobs and its log.
    pub(super) fn elsewhere(&self) -> Elsewhere {
        Elsewhere {
            job_file: self.jobs.file.clone(),
            job_url: self.jobs.url.clone(),
            job_submit: self.job_submit.clone(),
            log_file: self.log_file.clone(),
        }
    }

    /// What is known of the target's log; its readiness page is added when it is known.
    pub(super) fn log_patterns(&self) -> LogPatterns {
        LogPatterns {
            last_words: self.last_words.clone(),
            access_log: self.access_log.clone(),
            in_file: self.log_file.is_some(),
            ready_path: None,
        }
    }
}

impl Layers<'_> {
    pub(super) fn jobs(&self) -> Result<JobPatterns, UsageError> {
        let (line, env, file) = (&self.line.expect, &self.env.expect, &self.file.jobs);
        let start = listed(&line.job_start, &env.job_start, &file.start);
        let finish = listed(&line.job_finish, &env.job_finish, &file.finish);
        let (l, e) = (&line.lines, &env.lines);
        let (start, finish) = match (start, finish) {
            (None, None) => (None, None),
            (Some(start), Some(finish)) => (Some(start), Some(finish)),
            (Some(_), None) => {
                return Err(UsageError::HalfJobs { given: "start", missing: "finish" });
            }
            (None, Some(_)) => {
                return Err(UsageError::HalfJobs { given: "finish", missing: "start" });
            }
        };
        let usual = JobPatterns::usual();
        let listed = |line, env, file| listed(line, env, file).unwrap_or_default();
        let patterns = JobPatterns {
            handed_over: listed(&l.job_handed_over, &e.job_handed_over, &file.handed_over),
            refused: listed(&l.job_refused, &e.job_refused, &file.refused),
            file: self.job_file(),
            url: self.job_url().map(|url| url.0),
            submit: self.job_submit().map(|request| request.name()),
            ..JobPatterns::default()
        };
        let declared = start.is_some() || patterns != JobPatterns::default();
        let start = start.unwrap_or(usual.start);
        let finish = finish.unwrap_or(usual.finish);
        Ok(JobPatterns { start, finish, declared, ..patterns })
    }

    pub(super) fn job_submit(&self) -> Option<RequestTemplate> {
        let (line, env) = (&self.line.sources, &self.env.sources);
        let spec =
            first(line.job_submit.clone(), env.job_submit.clone(), self.file.jobs.submit.clone());
        spec.map(|PathSpec { method, path }| RequestTemplate {
            method: method.unwrap_or_else(|| "POST".into()),
            ..RequestTemplate::get(path)
        })
    }

    pub(super) fn last_words(&self) -> Vec<String> {
        let (line, env) = (&self.line.expect.lines, &self.env.expect.lines);
        listed(&line.last_words, &env.last_words, &self.file.last_words).unwrap_or_default()
    }

    pub(super) fn access_log(&self) -> Vec<String> {
        let (line, env) = (&self.line.expect.lines, &self.env.expect.lines);
        listed(&line.access_log, &env.access_log, &self.file.access_log).unwrap_or_default()
    }

    pub(super) fn log_file(&self) -> Option<String> {
        let (line, env) = (&self.line.sources.log_file, &self.env.sources.log_file);
        self.placed(line.as_deref().or(env.as_deref()), self.file.log_file.as_deref())
    }

    fn job_file(&self) -> Option<String> {
        let (line, env) = (&self.line.sources.job_file, &self.env.sources.job_file);
        self.placed(line.as_deref().or(env.as_deref()), self.file.jobs.file.as_deref())
    }

    fn job_url(&self) -> Option<JobUrl> {
        let (line, env) = (&self.line.sources.job_url, &self.env.sources.job_url);
        first(line.clone(), env.clone(), self.file.jobs.url.clone())
    }

    /// A path from where it was written.
    fn placed(&self, given: Option<&Path>, in_file: Option<&Path>) -> Option<String> {
        let path = match given {
            Some(path) => Some(self.dir.join(path)),
            None => in_file.map(|path| self.beside_file(path)),
        };
        path.map(|path| path.display().to_string())
    }
}
