//! What the page tells people to do: first of all, and in the stack that they use.

use crate::invariants::{self, Invariant};
use crate::model::run::RunReport;
use crate::model::verdict::{Severity, VerdictName};

use super::super::hints::{for_stack, of_target};
use super::super::phrases::{failed, with};
use super::super::reproduced::again;
use super::super::text::clean;

/// No name of a stack is longer.
const NAME_MAX: usize = 40;

/// What to do first.
#[derive(Debug)]
pub(super) struct First {
    pub(super) id: String,
    /// Whether there is a failure to go to.
    pub(super) has_failure: bool,
    /// What is lacking, where nothing failed: of a failure, that stands with it.
    pub(super) what: Option<String>,
    pub(super) fix: String,
    /// The command that shows it again.
    pub(super) again: Option<String>,
}

/// One sentence of advice, with the stack that it is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Advice {
    pub(super) stack: String,
    pub(super) text: String,
}

/// What to do first: about the gravest failure, or about what was not shown.
pub(super) fn first(report: &RunReport) -> Option<First> {
    if let Some(violated) = failed(report).into_iter().next() {
        let fix = invariants::find(&violated.id).map(|it| capital(&of_target(report, it)));
        return Some(First {
            id: clean(&violated.id),
            has_failure: true,
            what: None,
            fix: fix.unwrap_or_default(),
            again: again(report, violated).map(clean),
        });
    }
    let lacking = with(report, Severity::Deny, VerdictName::Inconclusive).into_iter().next()?;
    Some(First {
        id: clean(&lacking.id),
        has_failure: false,
        what: Some(clean(lacking.reason.as_deref().unwrap_or("nothing was shown either way"))),
        fix: invariants::find(&lacking.id)
            .map_or_else(String::new, |it| format!("It takes {}.", it.needs)),
        again: None,
    })
}

/// The text of a fix, stack by stack, that of the target first.
pub(super) fn advice_for(report: &RunReport, invariant: &Invariant) -> Vec<Advice> {
    let own = report.target.stack.as_ref().and_then(|stack| for_stack(invariant, stack.name));
    let own = own.map(|(stack, text)| Advice { stack: stack.title().into(), text: text.into() });
    own.into_iter().chain(advice(invariant.fix)).collect()
}

/// The text of a fix, stack by stack: `In general: … . Go net/http: … . axum: … .`
fn advice(fix: &str) -> Vec<Advice> {
    let mut parts: Vec<Advice> = Vec::new();
    for sentence in sentences(fix) {
        let named = sentence.split_once(": ").filter(|(name, _)| {
            name.len() <= NAME_MAX && !name.contains(['.', ',', ';', '(', '`'])
        });
        match (named, parts.last_mut()) {
            (Some((name, text)), _) => {
                parts.push(Advice { stack: name.to_owned(), text: capital(text) });
            }
            (None, Some(last)) => {
                last.text.push(' ');
                last.text.push_str(sentence);
            }
            (None, None) => {
                parts.push(Advice { stack: String::new(), text: sentence.to_owned() });
            }
        }
    }
    parts
}

/// The sentences of a text; those of one stack may be parted by semicolons.
fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(". ") {
        let (sentence, after) = rest.split_at(end + 1);
        sentences.push(sentence);
        rest = after.trim_start();
    }
    sentences.push(rest);
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

/// With a capital at its beginning, unless that is code.
fn capital(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default();
    let is_word = word.trim_end_matches([',', '.']).chars().all(|c| c.is_ascii_lowercase());
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if is_word => first.to_ascii_uppercase().to_string() + chars.as_str(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::CATALOGUE;

    #[test]
    fn each_stack_has_its_own_line() {
        let fix = "In general: wait. Then exit. Go net/http: main must wait. nginx: SIGQUIT.";
        let lines: Vec<_> =
            advice(fix).into_iter().map(|it| format!("{} | {}", it.stack, it.text)).collect();
        assert_eq!(
            lines,
            ["In general | Wait. Then exit.", "Go net/http | Main must wait.", "nginx | SIGQUIT."]
        );
    }

    #[test]
    fn nothing_of_an_advice_is_lost() {
        for invariant in CATALOGUE {
            let letters = |text: &str| text.to_lowercase().replace([' ', ':'], "");
            let all: String =
                advice(invariant.fix).iter().map(|it| it.stack.clone() + &it.text).collect();
            assert_eq!(letters(&all), letters(invariant.fix), "{}", invariant.id);
        }
    }
}
