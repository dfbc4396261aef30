//! `interrupt-equals-terminate`: SIGINT and SIGTERM lead to the same end.

use crate::model::history::{History, SignalSent};
use crate::model::verdict::Verdict;

use super::{ANY, Counts, Invariant, Severities, given_signal};
use crate::model::verdict::Severity;

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "interrupt-equals-terminate",
    fails_when: "Fails when SIGINT and SIGTERM lead to different verdicts on another invariant: \
                 trials with the one violate it, trials with the other do not, and chance does \
                 not explain it (Fisher's exact test, p ≤ 0.01). It needs both signals in one \
                 run: --signal TERM,INT.",
    why: "Developers end a server with Ctrl-C, which is SIGINT, and orchestrators with SIGTERM. \
          Where only one of them drains, what was tried at the desk is not what runs in \
          production; and some supervisors, terminals and container files send the other one.",
    source: "Slides: signal.Notify for SIGINT and SIGTERM alike. POSIX.1-2024, section 11.1.9 (the \
             interrupt character); systemd.kill(5), KillSignal; Dockerfile reference, STOPSIGNAL. \
             Threads: oxidezap/whatsapp-rust#960, nginx/docker-nginx#377.",
    usual_cause: "A handler for one of the two only: tokio::signal::ctrl_c, os.Interrupt, \
                  KeyboardInterrupt and process.on('SIGINT') know nothing of SIGTERM; servers \
                  whose graceful signal is a third one, to which both mean \"at once\".",
    fix: "In general: register the same handler for both. Go: signal.NotifyContext(ctx, \
          os.Interrupt, syscall.SIGTERM). tokio: select over ctrl_c() and \
          signal(SignalKind::terminate()). Node: the same function for process.on('SIGINT') and \
          process.on('SIGTERM'). Python: signal.signal for both. Where they are meant to differ, \
          allow it: --allow interrupt-equals-terminate.",
    needs: "trials with SIGINT and trials with SIGTERM: --signal TERM,INT",
    counts: Counts {
        one: "invariant compared",
        many: "invariants compared",
        failed: "differ",
        has_rate: false,
    },
    occasions: ANY,
    severity: Severities::of(Severity::Warn, Severity::Warn, Severity::Allow),
    check: |history| given_signal(history, check),
};

/// One history has one signal; a run has the answer (`report/summary/interrupt.rs`).
fn check(_: &History, _: &SignalSent) -> Verdict {
    Verdict::NotApplicable { reason: format!("it compares {}", INVARIANT.needs) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Story;
    use super::*;

    #[test]
    fn one_trial_alone_does_not_say_anything() {
        let verdict = (INVARIANT.check)(&Story::new().signal().exit_code(4, 0).history());
        let Verdict::NotApplicable { reason } = verdict else { panic!("{verdict:?}") };
        assert!(reason.contains("--signal TERM,INT"), "{reason}");
    }
}
