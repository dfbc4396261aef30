//! What the target's processes would have done with the signal: it explains, and decides nothing.

use crate::model::event::{Disposition, EventIndex, EventKind, ProcessSeen};
use crate::model::history::{History, SignalSent};
use crate::model::signal::Signal;
use crate::model::verdict::Violation;

use super::wording::sorted;

/// A violation by a target that did nothing with the signal, with the reason where the kernel
/// showed one. The observation stands whether or not it can be explained.
pub(super) fn explained(
    history: &History,
    signal: &SignalSent,
    observed: String,
    evidence: impl IntoIterator<Item = EventIndex>,
) -> Violation {
    let events = std::iter::once(signal.event).chain(evidence);
    match explains(history, signal) {
        Some((event, why)) => Violation {
            message: format!("{observed}; {why}"),
            evidence: sorted(events.chain([event])),
        },
        None => Violation { message: observed, evidence: sorted(events) },
    }
}

/// What explains that a signal was not handled, in one sentence without an end, and the event
/// that shows it. Nothing where the process that got it handles it and serves itself.
pub(super) fn explains(history: &History, signal: &SignalSent) -> Option<(EventIndex, String)> {
    let (event, processes) = seen_before(history, signal)?;
    let to = processes.iter().find(|process| process.pid == signal.pid)?;
    let server = processes.iter().find(|process| process.listener).filter(|_| !to.listener);
    let name = signal.signal;
    let does = does(to.disposition, name);
    let sentence = match server {
        Some(server) => format!(
            "{} {does}, and the listener belongs to {} ({}), which {}",
            if to.leader { format!("the leader {} ({})", to.pid, to.name) } else { named(to) },
            server.pid,
            server.name,
            would(server.disposition),
        ),
        None if takes(to.disposition) => return None,
        None => {
            let why = if to.disposition == Disposition::Default { ": no handler" } else { "" };
            format!("{} {does}{why}", named(to))
        }
    };
    Some((event, sentence))
}

/// The last look at the processes before the signal: handlers may be installed late.
fn seen_before<'h>(
    history: &'h History,
    signal: &SignalSent,
) -> Option<(EventIndex, &'h [ProcessSeen])> {
    let before = (0..).zip(&history.events()[..signal.event as usize]);
    let looks = before.filter_map(|(event, e)| match &e.kind {
        EventKind::Dispositions { processes } => Some((event, processes.as_slice())),
        _ => None,
    });
    looks.last()
}

/// What the process that got a signal did with it as it was seen just after the signal, in a
/// sentence without an end.
pub(super) fn seen_after(history: &History, signal: &SignalSent) -> Option<(EventIndex, String)> {
    let after = (0..).zip(history.events()).skip(signal.event as usize);
    let mut looks = after.filter_map(|(event, e)| match &e.kind {
        EventKind::Dispositions { processes } => Some((event, processes)),
        _ => None,
    });
    let (event, processes) = looks.next()?;
    let to = processes.iter().find(|process| process.pid == signal.pid)?;
    Some((event, format!("{} {}", named(to), does(to.disposition, signal.signal))))
}

fn named(process: &ProcessSeen) -> String {
    format!("process {} ({})", process.pid, process.name)
}

/// Whether some code of the program's gets the signal.
fn takes(disposition: Disposition) -> bool {
    matches!(disposition, Disposition::Caught | Disposition::Awaited | Disposition::Descriptor)
}

fn does(disposition: Disposition, signal: Signal) -> String {
    match disposition {
        Disposition::Default => format!("had the default action for {signal}"),
        Disposition::Ignored => format!("ignored {signal}"),
        Disposition::Blocked => format!("blocked {signal} in every thread"),
        Disposition::Caught => format!("caught {signal}"),
        Disposition::Awaited => format!("waited for {signal}"),
        Disposition::Descriptor => format!("read {signal} from a descriptor"),
    }
}

fn would(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Default => "has the default action for it",
        Disposition::Ignored => "ignores it",
        Disposition::Blocked => "blocks it in every thread",
        Disposition::Caught => "catches it",
        Disposition::Awaited => "waits for it",
        Disposition::Descriptor => "reads it from a descriptor",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Story;
    use super::*;

    fn process(pid: u32, leader: bool, listener: bool, disposition: Disposition) -> ProcessSeen {
        let name = if listener { "server" } else { "sh" }.into();
        ProcessSeen { pid, name, leader, listener, disposition }
    }

    fn explanation(processes: Vec<ProcessSeen>) -> Option<String> {
        let story = Story::new().event(-1, EventKind::Dispositions { processes }).signal();
        let history = story.history();
        explains(&history, &history.signal().unwrap()).map(|(_, sentence)| sentence)
    }

    #[test]
    fn a_server_that_does_not_take_the_signal_is_named_with_what_it_does() {
        let alone = |disposition| explanation(vec![process(123, true, true, disposition)]);
        let said = |text: &str| Some(format!("process 123 (server) {text}"));
        assert_eq!(
            alone(Disposition::Default),
            said("had the default action for SIGTERM: no handler")
        );
        assert_eq!(alone(Disposition::Ignored), said("ignored SIGTERM"));
        assert_eq!(alone(Disposition::Blocked), said("blocked SIGTERM in every thread"));
    }

    #[test]
    fn a_server_that_takes_it_explains_nothing() {
        for takes in [Disposition::Caught, Disposition::Awaited, Disposition::Descriptor] {
            assert_eq!(explanation(vec![process(123, true, true, takes)]), None);
        }
    }

    #[test]
    fn a_wrapper_is_told_from_the_server_behind_it() {
        let wrapped = vec![
            process(123, true, false, Disposition::Default),
            process(124, false, true, Disposition::Caught),
        ];
        assert_eq!(
            explanation(wrapped).unwrap(),
            "the leader 123 (sh) had the default action for SIGTERM, and the listener belongs to \
             124 (server), which catches it"
        );
    }

    #[test]
    fn the_last_look_before_the_signal_counts() {
        let look = |disposition| EventKind::Dispositions {
            processes: vec![process(123, true, true, disposition)],
        };
        let history = Story::new()
            .event(-900, look(Disposition::Default))
            .event(-1, look(Disposition::Caught))
            .signal()
            .event(5, look(Disposition::Ignored))
            .history();
        assert_eq!(explains(&history, &history.signal().unwrap()), None);
    }

    #[test]
    fn without_a_look_at_the_process_nothing_is_explained() {
        assert_eq!(explanation(vec![process(99, true, true, Disposition::Default)]), None);
        let history = Story::new().signal().history();
        assert_eq!(explains(&history, &history.signal().unwrap()), None);
    }

    #[test]
    fn an_explanation_is_added_to_what_was_observed_and_to_its_evidence() {
        let processes = vec![process(123, true, true, Disposition::Default)];
        let story = Story::new().event(-1, EventKind::Dispositions { processes }).signal();
        let history = story.history();
        let violation = explained(&history, &history.signal().unwrap(), "it died".into(), []);
        assert_eq!(
            violation.message,
            "it died; process 123 (server) had the default action for SIGTERM: no handler"
        );
        assert_eq!(violation.evidence.len(), 2, "the look and the signal");
    }
}
