//! Reports: what a run has shown, put together and rendered.
//!
//! Everything here but [`mod@write`] is pure: text from data, with no clock, file or environment.
//! To add a format: a new file with a `render`, and its variant of [`Format`].

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::model::history::History;
use crate::model::run::RunReport;

pub mod again;
pub mod badge;
pub mod catalogue;
pub mod diff;
pub mod github;
pub mod hints;
pub mod html;
pub mod issue;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod merge;
pub mod moments;
pub mod plan_text;
pub mod replay;
pub mod sarif;
pub mod schema;
pub mod situations;
pub mod snapshot;
pub mod summary;
pub mod terminal;
pub mod write;

mod numbers;
mod phrases;
mod reproduced;
pub(crate) mod text;

pub use phrases::quoted;

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// For other programs; its schema is published.
    Json,
    /// For people, in a terminal or a log.
    #[default]
    Text,
    /// For CI servers: a test case an invariant.
    Junit,
    /// For people, in a job's summary or a comment.
    Markdown,
    /// For GitHub Actions: an annotation a violation.
    Github,
    /// For code scanning.
    Sarif,
    /// For a README: the verdict as an SVG picture.
    Badge,
    /// For people: a page with the timelines of what failed.
    Html,
    /// For an issue tracker: the gravest failure, and how to see it again.
    Issue,
}

impl Format {
    /// Every format, in the order in which they are listed to users.
    pub const ALL: [Format; 9] = [
        Format::Json,
        Format::Text,
        Format::Junit,
        Format::Markdown,
        Format::Github,
        Format::Sarif,
        Format::Badge,
        Format::Html,
        Format::Issue,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Text => "text",
            Format::Junit => "junit",
            Format::Markdown => "markdown",
            Format::Github => "github",
            Format::Sarif => "sarif",
            Format::Badge => "badge",
            Format::Html => "html",
            Format::Issue => "issue",
        }
    }

    /// Another name that is understood, and not shown.
    pub fn other_name(self) -> Option<&'static str> {
        (self == Format::Text).then_some("terminal")
    }

    /// The report in this format. `view` matters to text only, and `histories`, those of the trials
    /// that [`html::wanted`] names, to the page and the issue.
    pub fn render(
        self,
        report: &RunReport,
        view: &terminal::View<'_>,
        histories: &[History],
    ) -> String {
        match self {
            Format::Json => json::render(report),
            Format::Text => terminal::render(report, view),
            Format::Junit => junit::render(report),
            Format::Markdown => markdown::render(report),
            Format::Github => github::render(report),
            Format::Sarif => sarif::render(report),
            Format::Badge => badge::render(report),
            Format::Html => html::render(report, histories),
            Format::Issue => issue::render(report, histories),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = BadOutput;
    fn from_str(text: &str) -> Result<Self, BadOutput> {
        Format::ALL
            .into_iter()
            .find(|format| format.name() == text || format.other_name() == Some(text))
            .ok_or_else(|| BadOutput::Format { text: text.to_owned() })
    }
}

/// One output that was asked for: `json=reports/run.json`, or `text=-` for standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it is written.
    pub format: Format,
    /// Where to; `-` is standard output.
    pub path: PathBuf,
}

impl FromStr for Output {
    type Err = BadOutput;
    fn from_str(text: &str) -> Result<Self, BadOutput> {
        match text.split_once('=') {
            Some((format, path)) if !path.is_empty() => {
                Ok(Output { format: format.parse()?, path: path.into() })
            }
            _ => Err(BadOutput::NoPath),
        }
    }
}

/// A format or an output that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOutput {
    /// No format has this name.
    #[error("{text:?} is no format: use {}", names())]
    Format {
        /// What was given.
        text: String,
    },
    /// It is not of the form FORMAT=PATH.
    #[error("write FORMAT=PATH, such as json=report.json (- for standard output)")]
    NoPath,
}

fn names() -> String {
    let (last, others) = (Format::ALL.len() - 1, Format::ALL.map(Format::name));
    format!("{} or {}", others[..last].join(", "), others[last])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_a_format_and_a_path() {
        let output = Output { format: Format::Json, path: "a=b.json".into() };
        assert_eq!("json=a=b.json".parse(), Ok(output));
        let output = Output { format: Format::Text, path: "-".into() };
        assert_eq!("text=-".parse(), Ok(output.clone()));
        assert_eq!("terminal=-".parse(), Ok(output));
    }

    #[test]
    fn what_is_none_says_what_would_be_one() {
        let error = "yaml=x".parse::<Output>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"yaml\" is no format: use json, text, junit, markdown, github, sarif, badge, html or issue"
        );
        for text in ["json", "json=", ""] {
            assert!(text.parse::<Output>().unwrap_err().to_string().contains("FORMAT=PATH"));
        }
    }

    #[test]
    fn every_format_has_a_name_that_is_understood() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
    }
}
