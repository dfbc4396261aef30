//! The options by which jobs and last words are known, and where their lines are found.

use std::path::PathBuf;

use clap::Args;

use crate::cli::values::{self, JobUrl, PathSpec};

/// Where lines are found besides the target's output.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Jobs and logs, where it is not its output that tells")]
pub struct SourceOfLinesArgs {
    /// A file with a line for each job's start and end
    #[arg(long, value_name = "PATH")]
    pub job_file: Option<PathBuf>,
    /// A page with such lines: /jobs, or http://...
    #[arg(long, value_name = "URL", value_parser = values::job_url)]
    pub job_url: Option<JobUrl>,
    /// What submits a job: 'POST /jobs?id={key}'
    #[arg(long, value_name = "REQUEST", value_parser = values::path_spec)]
    pub job_submit: Option<PathSpec>,
    /// The file that --last-words and --access-log are about
    #[arg(long, value_name = "PATH")]
    pub log_file: Option<PathBuf>,
}

/// By which lines they are known, besides the start and the finish of a job.
#[derive(Args, Clone, Debug, Default)]
pub struct LinePatternArgs {
    /// A job is handed over, which is an end too (repeatable)
    #[arg(long, value_name = "REGEX", value_parser = values::job_pattern)]
    pub job_handed_over: Vec<String>,
    /// A job is refused, and so is none (repeatable)
    #[arg(long, value_name = "REGEX", value_parser = values::job_pattern)]
    pub job_refused: Vec<String>,
    /// It writes this line after the signal (repeatable)
    #[arg(long, value_name = "REGEX", value_parser = values::pattern)]
    pub last_words: Vec<String>,
    /// It writes such a line for each request (repeatable)
    #[arg(long, value_name = "REGEX", value_parser = values::pattern)]
    pub access_log: Vec<String>,
}
