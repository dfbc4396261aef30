//! What the target's processes would have done with the signal: it explains, and decides nothing.

use crate::model::event::{Disposition, EventIndex, EventKind, ProcessSeen};
use crate::model::history::{History, SignalSent};
use crate::model::plan::SignalTo;
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
    wrapped(history, signal).or_else(|| {
        let (event, to, _) = recipient(history, signal)?;
        let (who, name) = (named(to), signal.signal);
        let sentence = match to.disposition {
            disposition if takes(disposition) => return None,
            Disposition::Default if is_pid_1(history, to) => format!(
                "{who} is PID 1 and had no handler for {name}, which the kernel drops then: handle \
                 it, or start the server below an init (tini, dumb-init, docker run --init)"
            ),
            Disposition::Default => format!("{} {}: no handler", who, does(to.disposition, name)),
            disposition => format!("{who} {}", does(disposition, name)),
        };
        Some((event, sentence))
    })
}

/// What became of a signal that went to another process than the one that listens, and what to
/// change; nothing where it went to the one that listens, or to all.
pub(super) fn wrapped(history: &History, signal: &SignalSent) -> Option<(EventIndex, String)> {
    let (event, to, processes) = recipient(history, signal)?;
    let to_all = history.header().trial.signals.first().is_some_and(|it| it.to == SignalTo::Group);
    let server = processes.iter().find(|process| process.listener)?;
    if to.listener || to_all {
        return None;
    }
    let name = signal.signal;
    let died = history.exit().is_some_and(|exit| exit.status.signal == Some(name));
    let did = match to.disposition {
        Disposition::Default if is_pid_1(history, to) => {
            "which is PID 1 and has no handler, so that the kernel dropped it"
        }
        Disposition::Default if died => "which has no handler and died",
        Disposition::Default => "which has no handler",
        Disposition::Ignored => "which ignores it",
        Disposition::Blocked => "which blocks it in every thread",
        Disposition::Caught => "which catches it",
        Disposition::Awaited => "which waits for it",
        Disposition::Descriptor => "which reads it from a descriptor",
    };
    // Whether a wrapper that takes it has handed it on, nobody saw.
    let (got, change) = match takes(to.disposition) {
        true => (
            "is another process",
            "let the wrapper hand the signal on and wait for the end (trap and wait, or tini -g)",
        ),
        false => {
            ("never got it", "start it with exec, or use an init that forwards (tini, dumb-init)")
        }
    };
    let sentence = format!(
        "{name} went to {} (pid {}), {did}; {} (pid {}), which listens, {got}: {change}, or \
         --signal-to listener or group to check the server itself",
        to.name, to.pid, server.name, server.pid,
    );
    Some((event, sentence))
}

/// Whether the process that the signal went to had the default action for it.
pub(super) fn had_no_handler(history: &History, signal: &SignalSent) -> bool {
    let to = recipient(history, signal).map(|(_, to, _)| to.disposition);
    to == Some(Disposition::Default)
}

/// The process that the signal went to, as it was seen before, and those beside it.
fn recipient<'h>(
    history: &'h History,
    signal: &SignalSent,
) -> Option<(EventIndex, &'h ProcessSeen, &'h [ProcessSeen])> {
    let (event, processes) = seen_before(history, signal)?;
    let to = processes.iter().find(|process| process.pid == signal.pid)?;
    Some((event, to, processes))
}

fn is_pid_1(history: &History, process: &ProcessSeen) -> bool {
    process.leader && history.header().trial.as_pid_1
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

#[cfg(test)]
mod tests {
    use super::super::testing::Story;
    use super::*;
    use crate::model::plan::{Moment, PlannedSignal};

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

    fn behind(disposition: Disposition) -> Vec<ProcessSeen> {
        vec![process(123, true, false, disposition), process(124, false, true, Disposition::Caught)]
    }

    #[test]
    fn a_wrapper_is_told_from_the_server_behind_it() {
        assert_eq!(
            explanation(behind(Disposition::Default)).unwrap(),
            "SIGTERM went to sh (pid 123), which has no handler; server (pid 124), which listens, \
             never got it: start it with exec, or use an init that forwards (tini, dumb-init), or \
             --signal-to listener or group to check the server itself"
        );
    }

    #[test]
    fn a_wrapper_that_takes_the_signal_may_have_handed_it_on() {
        let said = explanation(behind(Disposition::Caught)).unwrap();
        assert!(said.contains("which catches it; server (pid 124), which listens, is another"));
        assert!(said.contains("hand the signal on and wait"), "{said}");
    }

    #[test]
    fn the_death_of_a_wrapper_is_told_where_it_was_seen() {
        let processes = behind(Disposition::Default);
        let story = Story::new().event(-1, EventKind::Dispositions { processes }).signal();
        let history = story.exit_signal(2, Signal::TERM).history();
        let (_, said) = wrapped(&history, &history.signal().unwrap()).unwrap();
        assert!(said.contains("which has no handler and died; server"), "{said}");
    }

    #[test]
    fn the_kernel_drops_what_pid_1_does_not_handle() {
        let as_pid_1 = |processes| {
            let story = Story::new().event(-1, EventKind::Dispositions { processes }).signal();
            let (mut header, events) = story.history().into_parts();
            header.trial.as_pid_1 = true;
            let history = History::new(header, events).unwrap();
            explains(&history, &history.signal().unwrap()).unwrap().1
        };
        let alone = as_pid_1(vec![process(123, true, true, Disposition::Default)]);
        assert!(alone.contains("is PID 1 and had no handler for SIGTERM"), "{alone}");
        let wrapper = as_pid_1(behind(Disposition::Default));
        assert!(wrapper.contains("so that the kernel dropped it; server"), "{wrapper}");
    }

    #[test]
    fn a_signal_to_the_whole_group_passes_nobody_by() {
        let processes = behind(Disposition::Caught);
        let story = Story::new().event(-1, EventKind::Dispositions { processes }).signal();
        let (mut header, events) = story.history().into_parts();
        let moment = Moment::Reached;
        header.trial.signals =
            vec![PlannedSignal { signal: Signal::TERM, to: SignalTo::Group, moment }];
        let history = History::new(header, events).unwrap();
        assert_eq!(explains(&history, &history.signal().unwrap()), None);
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
