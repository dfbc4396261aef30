//! `idle-connections-are-released`: a connection on which nobody waits for anything holds nobody up.

use std::time::Duration;

use crate::model::event::ConnectionEnd;
use crate::model::history::{Exit, History, SignalSent};
use crate::model::plan::Situation;
use crate::model::time::{Nanos, human};
use crate::model::verdict::{Verdict, Violation};

use super::deadline::exit_on_release;
use super::idle::{Idle, idle};
use super::wording::{ended, sorted, when};
use super::{Counts, Invariant, Severities, given_signal, job_lines};

/// An exit that is later than usual by less than this may only have missed a tick: several servers
/// look once in half a second, or in a second, whether they are to stop.
const TICK: Duration = Duration::from_secs(1);
/// The kernel closes the connections of a process as it exits; helper processes of runtimes, which
/// may share them, are gone some 100 ms later.
const CLOSED_WITHIN: Duration = Duration::from_millis(500);

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "idle-connections-are-released",
    fails_when: "Fails when a connection with nothing outstanding at the signal (idle), or on \
                 which nothing was ever sent (fresh), held the exit: it was still open a second \
                 after the time that the target takes to exit with nothing open, the exit came \
                 later than that, and nothing else was there to wait for; or the exit came only \
                 when the clients, at the deadline, closed such connections. And when one was \
                 still open, with the process gone.",
    why: "Browsers, proxies and connection pools keep connections open for minutes, so that there \
          are always some. A server that waits for them needs its whole grace period for each \
          deployment, is then killed, and loses the work that it should have finished.",
    source: "RFC 9112, section 9.5 (either side may close a connection at any time). Slides: \
             \"Server shutdown\". Threads: nodejs/node#2642, yesodweb/wai#853, golang/go#22682, \
             hyperium/hyper#2730.",
    usual_cause: "The server counts connections, not requests, and waits until all are closed; \
                  the keep-alive time-out (5 s, 65 s, 75 s) ends them in the end. Or it closes \
                  those that have answered something and not those that have never sent a byte, \
                  which browsers open in advance.",
    fix: "In general: at the signal close every connection on which no request was begun, and \
          give the rest of the drain a time-out. Go net/http: Shutdown closes idle connections at \
          once and a new one only when it is 5 s old, so use a context with a deadline, and Close \
          when it is over. axum and hyper: use with_graceful_shutdown or hyper_util's \
          GracefulShutdown, which close them; an accept loop that only joins its tasks does not. \
          Node http and Express: server.close closes idle connections from Node 19 on, and \
          before that closeIdleConnections does; neither ends one that has not sent a request, so \
          call closeAllConnections after a time-out. uvicorn and gunicorn close idle connections \
          themselves. nginx: worker_shutdown_timeout bounds what is left.",
    needs: "idle connections that the clients keep open until the target closes them, which the \
            situations idle-keepalive and fresh bring about",
    counts: Counts {
        one: "connection",
        many: "connections",
        failed: "not released",
        has_rate: false,
    },
    occasions: &[Situation::IdleKeepalive, Situation::Fresh],
    severity: Severities::WARN.of_servers(),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let idle = idle(history, signal);
    if idle.is_empty() {
        return Verdict::inconclusive(INVARIANT.unexercised());
    }
    let Some(exit) = history.exit() else { return without_exit(history) };
    if history.clients_released().is_some() && exit_on_release(history).is_none() {
        return without_exit(history);
    }
    let end = End::of(history, signal, exit, &idle);
    let (mut exercised, mut unknown, mut violations) = (0, 0, Vec::new());
    for idle in &idle {
        match end.hold(history, idle.connection.ended) {
            Hold::Shown(how) => violations.push(held(signal, &end, idle, &how)),
            Hold::Unknown => unknown += 1,
            Hold::None if is_kept(history, &exit, idle) => {
                violations.push(kept(signal, &exit, idle));
            }
            Hold::None if is_given_up(&exit, idle) => {}
            Hold::None => exercised += 1,
        }
    }
    let if_none = match unknown {
        0 => INVARIANT.unexercised(),
        _ => "the exit came late with idle connections open, and how long it takes with none is \
              not known: let the run include the situation idle"
            .into(),
    };
    Verdict::of(exercised + violations.len(), violations, &if_none)
}

/// Nothing exited, so that nothing shows what kept it.
fn without_exit(history: &History) -> Verdict {
    Verdict::inconclusive(match (history.deadline_passed(), history.clients_released()) {
        (Some(_), Some(_)) => {
            "the target outlived its deadline, and did not exit at once when the clients had closed \
             the idle connections either: something else holds it"
        }
        (Some(_), None) => "the target outlived its deadline, and nothing shows what held it",
        (None, _) => "the trial was broken off before the target's exit",
    })
}

/// The exit, and whether idle connections alone can have held it.
struct End {
    exit: Exit,
    /// Nothing else was there to wait for.
    is_alone: bool,
    /// When the clients let go of what they kept, where the exit came after that.
    released: Option<(u32, Nanos)>,
    /// How long the exit takes with nothing open, where that is known.
    usual: Option<Duration>,
    /// The instant from which on an exit is late.
    late_from: Nanos,
}

/// Whether a connection held the exit.
enum Hold {
    None,
    Unknown,
    Shown(String),
}

impl End {
    fn of(history: &History, signal: &SignalSent, exit: Exit, idle: &[Idle<'_>]) -> Self {
        let usual = history.contract().usual_exit;
        let last_job = history.jobs().iter().filter_map(|job| job.finished).max();
        let nothing_to_do =
            (signal.felt + usual.unwrap_or_default()).max(last_job.unwrap_or(Nanos::ZERO));
        let released = history.clients_released().filter(|(_, at)| *at <= exit.at);
        let until = released.map_or(exit.at, |(_, at)| at);
        Self {
            exit,
            is_alone: is_all(history, signal, until, idle),
            released,
            usual,
            late_from: nothing_to_do + TICK + history.lag(),
        }
    }

    fn hold(&self, history: &History, connection_ended: Nanos) -> Hold {
        let exited = ended(self.exit.status);
        let pid = self.exit.pid;
        if !self.is_alone {
            return Hold::None;
        }
        match (self.released, self.usual) {
            (Some((_, released)), _) if connection_ended >= released => Hold::Shown(format!(
                "process {pid} was alive at the deadline of {}, and {exited} {} after the clients \
                 had closed it",
                human(history.contract().deadline),
                human(self.exit.at.since(released)),
            )),
            _ if self.exit.at <= self.late_from || connection_ended <= self.late_from => Hold::None,
            (_, None) => Hold::Unknown,
            (_, Some(usual)) => Hold::Shown(format!(
                "process {pid}, which takes {} with nothing open, {exited}",
                human(usual)
            )),
        }
    }
}

/// Whether nothing else was there for the target to wait for at the end: no request, no job that was
/// not over, no other connection, and no pooled client, whose connections nobody sees.
fn is_all(history: &History, signal: &SignalSent, end: Nanos, idle: &[Idle<'_>]) -> bool {
    use crate::model::event::EventKind::{JobSubmit, PooledRequest, Write};
    let before = signal.bracket.before;
    let open =
        history.connections().filter(|(_, c)| c.established.is_some() && c.ended > before).count();
    open == idle.len()
        && history.requests().all(|(_, request)| request.ended <= before)
        && history.first(|it| matches!(it, PooledRequest(_) | Write(_) | JobSubmit(_))).is_none()
        && history.jobs().iter().all(|job| job.finished.is_some_and(|at| at <= end))
        && !job_lines::dropped(history)
}

/// Whether the client, or the harness by killing what was left, had to end a connection of a
/// process that was gone.
fn is_kept(history: &History, exit: &Exit, idle: &Idle<'_>) -> bool {
    let connection = idle.connection;
    let by_harness = history.killed().is_some_and(|(_, at)| connection.ended >= at)
        || connection.end == ConnectionEnd::ClosedByClient;
    by_harness && connection.ended > exit.at + CLOSED_WITHIN + history.lag()
}

/// Whether the client closed a connection before the exit, so that nobody knows what the target
/// would have done with it.
fn is_given_up(exit: &Exit, idle: &Idle<'_>) -> bool {
    idle.connection.end == ConnectionEnd::ClosedByClient && idle.connection.ended < exit.at
}

fn held(signal: &SignalSent, end: &End, idle: &Idle<'_>, how: &str) -> Violation {
    let exit = &end.exit;
    let message =
        format!("{} held the exit: {how}, {}", named(signal, idle), when(exit.at, signal));
    let released = end.released.map(|(event, _)| event);
    let evidence = [signal.event, idle.event, exit.event].into_iter().chain(released);
    Violation { message, evidence: sorted(evidence) }
}

fn kept(signal: &SignalSent, exit: &Exit, idle: &Idle<'_>) -> Violation {
    let message = format!(
        "{} was open for {} after process {} {} {}",
        named(signal, idle),
        human(idle.connection.ended.since(exit.at)),
        exit.pid,
        ended(exit.status),
        when(exit.at, signal),
    );
    Violation { message, evidence: sorted([signal.event, idle.event, exit.event]) }
}

fn named(signal: &SignalSent, idle: &Idle<'_>) -> String {
    let number = idle.connection.connection;
    match idle.since {
        Some(since) => {
            let age = human(signal.bracket.before.since(since));
            format!("connection {number}, idle for {age} at {},", signal.signal)
        }
        None => format!("connection {number}, on which nothing had been sent,"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::ConnectionEnd::{ClosedByClient, ClosedByServer};
    use crate::model::event::{EventKind, PooledRequest, RequestEnd};
    use crate::model::time::Nanos;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    /// A connection that is idle since 300 ms before the signal.
    fn idle_until(ended_ms: i64, end: ConnectionEnd) -> Story {
        let story = Story::new().signal().connection(-400, ended_ms, end);
        story.request_on(1, -400, -300, RequestEnd::Complete, |_| {})
    }

    #[test]
    fn connections_that_the_server_closes_satisfy_it() {
        let story = idle_until(5, ClosedByServer).connection(-200, 9, ClosedByServer);
        assert_eq!(satisfied(verdict(story.exit_code(10, 0))), 2);
    }

    #[test]
    fn an_exit_that_waits_for_an_idle_connection_violates_it() {
        let held = |exit_ms| idle_until(5_000, ClosedByServer).exit_code(exit_ms, 0);
        let message = violated(verdict(held(5_010))).remove(0).message;
        assert_eq!(
            message,
            "connection 1, idle for 300 ms at SIGTERM, held the exit: process 123, which takes 10 \
             ms with nothing open, exited with status 0, 5.01 s after SIGTERM"
        );
        let on_time = idle_until(1_010, ClosedByServer).exit_code(1_010, 0);
        satisfied(verdict(on_time));
        let closed_long_before = idle_until(9, ClosedByServer).exit_code(5_010, 0);
        satisfied(verdict(closed_long_before));
    }

    #[test]
    fn a_fresh_connection_holds_as_well_as_one_that_was_used() {
        let fresh = Story::new().signal().connection(-400, 5_000, ClosedByServer);
        let message = violated(verdict(fresh.exit_code(5_010, 0))).remove(0).message;
        assert!(message.starts_with("connection 1, on which nothing had been sent, held the exit"));
    }

    #[test]
    fn nothing_is_held_by_a_connection_where_something_else_was_there_to_wait_for() {
        let held = || idle_until(5_000, ClosedByServer).exit_code(5_010, 0);
        satisfied(verdict(held().completed_request(-100, 5_000)));
        satisfied(verdict(held().completed_request(20, 5_000)));
        satisfied(verdict(held().connection(2, 5_000, ClosedByServer)));
        satisfied(verdict(held().line(-9, "job id=1 started")));
        let dropped = EventKind::OutputDropped { lines: 9, job_lines: 9 };
        satisfied(verdict(held().event(-9, dropped)));
        let (started, ended) = (Nanos::ZERO, Nanos::ZERO);
        let pooled = PooledRequest { template: 0, started, ended, status: Some(200), error: None };
        satisfied(verdict(held().event(-900, EventKind::PooledRequest(pooled))));
        violated(verdict(held().completed_request(-200, -100)));
        violated(verdict(held().line(-9, "job id=1 started").line(-5, "job id=1 finished")));
    }

    #[test]
    fn what_is_usual_must_be_known() {
        let held = idle_until(5_000, ClosedByServer).exit_code(5_010, 0);
        let unknown = held.promising(|contract| contract.usual_exit = None);
        assert!(
            inconclusive(verdict(unknown)).contains("how long it takes with none is not known")
        );
        let slow = |contract: &mut crate::model::contract::Contract| {
            contract.usual_exit = Some(Duration::from_secs(4));
        };
        satisfied(verdict(idle_until(5_000, ClosedByServer).exit_code(5_000, 0).promising(slow)));
    }

    #[test]
    fn an_exit_that_comes_when_the_clients_let_go_violates_it() {
        let outlived = |ended_ms, end| {
            let story = idle_until(ended_ms, end).event(30_000, EventKind::DeadlinePassed);
            story.released(30_001).promising(|contract| contract.usual_exit = None)
        };
        let let_go = || outlived(30_002, ClosedByClient);
        let message = violated(verdict(let_go().exit_code(30_013, 0))).remove(0).message;
        assert!(
            message.contains(
                "process 123 was alive at the deadline of 30.0 s, and exited with status 0 12 ms \
                 after the clients had closed it"
            ),
            "{message}"
        );
        let reason = inconclusive(verdict(let_go().killed(31_000)));
        assert!(reason.contains("something else holds it"), "{reason}");
        satisfied(verdict(outlived(5, ClosedByServer).exit_code(30_013, 0)));
        inconclusive(verdict(idle_until(30_002, ClosedByServer).killed_at_deadline()));
    }

    #[test]
    fn a_connection_that_outlives_the_process_violates_it() {
        let message = violated(verdict(idle_until(700, ClosedByClient).exit_code(10, 0))).remove(0);
        assert!(message.message.ends_with(
            "was open for 690 ms after process 123 exited with status 0 10 ms after SIGTERM"
        ));
        satisfied(verdict(idle_until(510, ClosedByClient).exit_code(10, 0)));
        let left = idle_until(1_012, ClosedByServer).exit_code(10, 0);
        violated(verdict(left.process_left(1_010).killed(1_011)));
        satisfied(verdict(idle_until(700, ClosedByServer).exit_code(10, 0)));
    }

    #[test]
    fn what_the_client_closed_before_the_exit_shows_nothing() {
        let given_up = idle_until(5, ClosedByClient).exit_code(10, 0);
        assert!(inconclusive(verdict(given_up)).contains("needs idle connections"));
        inconclusive(verdict(Story::new().signal().completed_request(-400, 9).exit_code(10, 0)));
    }

    #[test]
    fn the_time_in_which_the_target_was_held_still_is_not_the_connections() {
        let paused = |exit_ms| {
            let story = idle_until(exit_ms, ClosedByServer).held(-5).thawed(1_000);
            verdict(story.exit_code(exit_ms, 0))
        };
        satisfied(paused(2_010));
        violated(paused(2_011));
    }
}
