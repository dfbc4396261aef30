//! What each invariant counts, in words.

/// The words for the counts of one invariant.
#[derive(Clone, Copy)]
pub(super) struct Nouns {
    /// One time that it could have failed.
    pub(super) one: &'static str,
    /// Several of them.
    pub(super) many: &'static str,
    /// What became of those that failed, after `3 of 1 912`.
    pub(super) failed: &'static str,
    /// Whether a pass is worth as much as its bound, rather than as its trials.
    pub(super) has_rate: bool,
}

const fn rate(one: &'static str, many: &'static str, failed: &'static str) -> Nouns {
    Nouns { one, many, failed, has_rate: true }
}

const fn plain(one: &'static str, many: &'static str) -> Nouns {
    Nouns { one, many, failed: many, has_rate: false }
}

/// The nouns of an invariant; of one that is not known here, the most general ones.
pub(super) fn nouns(invariant: &str) -> Nouns {
    match invariant {
        "in-flight-requests-complete" | "delivered-requests-complete" => {
            rate("request", "requests", "lost")
        }
        "late-requests-are-not-swallowed" | "queued-connections-are-served" => {
            rate("request", "requests", "lost")
        }
        "responses-are-whole" => rate("response", "responses", "broken"),
        "close-is-announced" => plain("response", "responses"),
        "new-connections-are-refused" => plain("attempt", "attempts"),
        "jobs-finish" => Nouns { failed: "unfinished", ..plain("job", "jobs") },
        "no-job-starts-after-signal"
        | "signal-is-handled"
        | "exits-before-deadline"
        | "exit-status-is-clean"
        | "nothing-is-left-behind"
        | "idle-exit-is-prompt" => plain("trial", "trials"),
        "idle-connections-are-released" => plain("connection", "connections"),
        _ => plain("case", "cases"),
    }
}
