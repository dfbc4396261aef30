//! Hints: what to do about a violation in the target's own stack.

use crate::invariants::Invariant;
use crate::model::run::RunReport;
use crate::model::stack::Stack;

mod go;
mod java;
mod nginx;
mod node;
mod python;
mod ruby;
mod rust;

/// What one stack does about each kind of violation: the calls, options and files to change.
struct Hints {
    /// The signal is not handled, or not every one.
    handler: &'static str,
    /// Requests in process are lost, or their responses broken off.
    in_flight: &'static str,
    /// Requests are lost that had arrived and were not read.
    unread: &'static str,
    /// New connections are still taken.
    refusal: &'static str,
    /// Readiness does not fail, or the listener closes too soon after it.
    readiness: &'static str,
    /// Jobs are broken off, or begin too late.
    jobs: &'static str,
    /// It exits too late, or never.
    exit: &'static str,
    /// It exits with the wrong status.
    status: &'static str,
    /// Connections are closed without a word.
    close: &'static str,
    /// Processes or files stay behind.
    children: &'static str,
}

impl Hints {
    fn of(stack: Stack) -> Option<&'static Hints> {
        Some(match stack {
            Stack::Go => &go::HINTS,
            Stack::Axum => &rust::AXUM,
            Stack::Hyper => &rust::HYPER,
            Stack::Actix => &rust::ACTIX,
            Stack::Express => &node::EXPRESS,
            Stack::Fastify => &node::FASTIFY,
            Stack::Node => &node::HTTP,
            Stack::Uvicorn => &python::UVICORN,
            Stack::Gunicorn => &python::GUNICORN,
            Stack::SpringBoot => &java::SPRING_BOOT,
            Stack::Nginx => &nginx::HINTS,
            Stack::Puma => &ruby::PUMA,
            Stack::General => return None,
        })
    }

    /// What is said of an invariant; nothing where all stacks do the same about it.
    fn about(&self, id: &str) -> Option<&'static str> {
        Some(match id {
            "signal-is-handled" | "interrupt-equals-terminate" => self.handler,
            "in-flight-requests-complete" | "responses-are-whole" => self.in_flight,
            "delivered-requests-complete"
            | "queued-connections-are-served"
            | "late-requests-are-not-swallowed" => self.unread,
            "new-connections-are-refused" => self.refusal,
            "readiness-fails-first" | "serves-through-lame-duck" => self.readiness,
            "jobs-finish" | "no-job-starts-after-signal" => self.jobs,
            "exits-before-deadline"
            | "idle-connections-are-released"
            | "stalled-clients-do-not-block" => self.exit,
            "exit-status-is-clean" => self.status,
            "close-is-announced" => self.close,
            "nothing-is-left-behind" => self.children,
            _ => return None,
        })
    }
}

/// What to do about a violation in this stack, where something is known of it.
pub fn for_stack(invariant: &Invariant, stack: Stack) -> Option<(Stack, &'static str)> {
    Some((stack, Hints::of(stack)?.about(invariant.id)?))
}

/// What to do about a violation, in this stack where something is known of it, else in general.
pub fn hint(invariant: &Invariant, stack: Option<Stack>) -> String {
    match stack.and_then(|stack| for_stack(invariant, stack)) {
        Some((stack, text)) => format!("({}) {text}", stack.title()),
        None => in_general(invariant).to_owned(),
    }
}

/// What to do about a violation in the stack of the target of a report.
pub fn of_target(report: &RunReport, invariant: &Invariant) -> String {
    hint(invariant, report.target.stack.as_ref().map(|stack| stack.name))
}

/// What to do about it whatever the server is built with: the first sentence of its fix.
fn in_general(invariant: &Invariant) -> &'static str {
    let fix = invariant.fix.strip_prefix("In general: ").unwrap_or(invariant.fix);
    fix.split_inclusive(". ").next().unwrap_or(fix).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::CATALOGUE;

    /// Invariants of which each stack says something of its own, one for each kind of violation.
    const ONE_EACH: [&str; 10] = [
        "signal-is-handled",
        "in-flight-requests-complete",
        "delivered-requests-complete",
        "new-connections-are-refused",
        "readiness-fails-first",
        "jobs-finish",
        "exits-before-deadline",
        "exit-status-is-clean",
        "close-is-announced",
        "nothing-is-left-behind",
    ];

    #[test]
    fn every_invariant_has_a_general_hint_that_names_no_stack() {
        for invariant in CATALOGUE {
            let text = hint(invariant, None);
            assert!(text.len() > 30 && text.ends_with('.'), "{}: {text}", invariant.id);
            for name in ["Go ", "axum", "Node", "uvicorn", "gunicorn", "tokio"] {
                assert!(!text.contains(name), "{}: {text}", invariant.id);
            }
            assert_eq!(hint(invariant, Some(Stack::General)), text);
        }
    }

    #[test]
    fn every_stack_has_plain_sentences() {
        for stack in Stack::ALL.into_iter().filter(|stack| *stack != Stack::General) {
            for invariant in CATALOGUE.iter().filter(|it| ONE_EACH.contains(&it.id)) {
                let text = hint(invariant, Some(stack));
                assert!(text.starts_with(&format!("({}) ", stack.title())), "{text}");
                assert!(!text.contains("  ") && !text.contains('\n'), "{text}");
                assert!(text.ends_with(['.', ')']) && text.len() > 50, "{text}");
            }
        }
    }

    #[test]
    fn the_hints_of_each_stack() {
        for stack in Stack::ALL {
            let of = |id: &str| {
                let invariant = crate::invariants::find(id).unwrap();
                format!("{id}\n  {}\n", hint(invariant, Some(stack)))
            };
            insta::assert_snapshot!(format!("{stack}"), ONE_EACH.map(of).concat());
        }
    }
}
