//! The table of expectations: what each of the bundled servers violates, under which options, and
//! that it violates nothing else.
//!
//! `selftest` shows users that it holds, and `tests/expectations.rs` that it goes on to.

use crate::plan::ROUND_TRIALS;

/// One bundled server, how it is tried, and what must come of it.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// What the line goes by: a fixture may have several, under different options.
    pub name: &'static str,
    /// The fixture, or [`REFERENCE_SERVER`].
    pub fixture: &'static str,
    /// Options besides the usual ones.
    pub options: &'static [&'static str],
    /// The ids of the invariants that it violates, of whatever severity.
    pub violated: &'static [&'static str],
    /// The exit code of the run.
    pub exit_code: u8,
}

/// The one server in the table that is no fixture.
pub const REFERENCE_SERVER: &str = "reference-server";

impl Line {
    /// How many trials a round of it has.
    pub fn trials(&self) -> usize {
        let given = self.options.iter().skip_while(|option| **option != "--trials").nth(1);
        given.and_then(|number| number.parse().ok()).unwrap_or(ROUND_TRIALS)
    }

    /// The options of a run with so many rounds, those aside that say what is written, and its
    /// target.
    pub fn words(&self, program: &str, rounds: usize) -> Vec<String> {
        let at = self.options.iter().position(|option| *option == "--trials");
        let (before, after) = self.options.split_at(at.unwrap_or(self.options.len()));
        let trials = (self.trials() * rounds).to_string();
        let amount = ["--trials", &*trials];
        let options = before.iter().chain(&amount).chain(after.iter().skip(amount.len()));
        let target = match self.fixture {
            REFERENCE_SERVER => vec![],
            fixture => vec!["--", program, "fixture", fixture],
        };
        options.chain(&target).map(|word| (*word).to_owned()).collect()
    }
}

/// A run over one round of all situations.
const USUAL: &[&str] = &["--deadline", "4s"];
const INTERRUPT: &[&str] = &["--deadline", "4s", "--signal", "INT"];
/// Long enough for a fixture that sleeps for three seconds, after a stalled client's one.
const PATIENT: &[&str] = &["--deadline", "8s"];
/// As behind a load balancer that is told late. The fixtures serve on for as long as they are told.
const LAME_DUCK: &[&str] = &[
    "--deadline",
    "8s",
    "--profile",
    "kubernetes",
    "--ready-url",
    "/health",
    "--lame-duck",
    "2s",
    "--env",
    "LAME_DUCK_MS=2000",
];
/// The same, with a server that was not told.
const NO_LAME_DUCK: &[&str] =
    &["--deadline", "8s", "--profile", "kubernetes", "--ready-url", "/health", "--lame-duck", "2s"];
/// On a unix socket, with a pid file.
const UNIX: &[&str] = &[
    "--deadline",
    "4s",
    "--env",
    "SOCKET=/tmp/shutdown-check-fixture-{port}.sock",
    "--env",
    "PID_FILE=/tmp/shutdown-check-fixture-{port}.pid",
];
/// Without a listener.
const WORKER: &[&str] =
    &["--deadline", "6s", "--profile", "worker", "--ready-line", "^ready$", "--trials", "8"];
/// Only quick requests: how long they take while the server drains is compared with before.
const QUICK: &[&str] =
    &["--deadline", "4s", "--path", "/", "--path", "/sleep?ms=50", "--situation", "load"];
/// Without SIGINT, which would end a server that does not handle it while it drains.
const ONLY_TERM: &[&str] = &[
    "--deadline",
    "4s",
    "--situation",
    "load,one-request,slow-handler,streaming,uploading,partial-head,delivered,queued,mixed",
    "--situation",
    "idle,idle-keepalive,fresh,stalled-reader,stalled-sender,startup,second-signal,signal-burst",
];
/// Without the situations in which a server that dies at once may or may not lose something more.
const BOTH_SIGNALS: &[&str] =
    &["--deadline", "4s", "--signal", "TERM,INT", "--situation", "slow-handler,streaming,idle"];
const AGAIN: &[&str] = &[
    "--deadline",
    "4s",
    "--situation",
    "load,slow-handler,idle,stalled-sender,second-signal,signal-burst,mixed-signals",
];
/// The second signal is a wish to end at once.
const FORCE: &[&str] = &[
    "--deadline",
    "4s",
    "--second-signal",
    "force",
    "--situation",
    "load,slow-handler,idle,stalled-sender,second-signal",
];
/// The same, and the drain takes longer than the second signal leaves it.
const FORCE_SLOW: &[&str] = &[
    "--deadline",
    "8s",
    "--second-signal",
    "force",
    "--path",
    "/sleep?ms=2500",
    "--situation",
    "load,slow-handler,idle,stalled-sender,second-signal",
];
/// Hundreds of requests in process, in the second of its visits.
const CROWD: &[&str] =
    &["--deadline", "8s", "--situation", "slow-handler", "--connections", "256", "--trials", "3"];
/// Many signals near the landmarks of a request that is quick, and slow enough to be met.
const NEAR: &[&str] = &[
    "--deadline",
    "4s",
    "--situation",
    "one-request,idle",
    "--path",
    "/sleep?ms=15",
    "--trials",
    "60",
];
/// Many second signals, half of them within a millisecond.
const AT_ONCE: &[&str] = &[
    "--deadline",
    "4s",
    "--situation",
    "slow-handler,idle,second-signal,signal-burst",
    "--trials",
    "40",
];
/// Many starts, and enough of the other trials to compare with.
const STARTUP: &[&str] =
    &["--deadline", "4s", "--situation", "load,slow-handler,idle,stalled-sender,startup"];

/// Jobs that requests submit, around the signal and after it.
const SUBMITS: &[&str] =
    &["--deadline", "4s", "--situation", "job-running,load", "--job-submit", "POST /jobs?ms=400"];
/// What is written to the log, at the end and of each request.
const LOG: &[&str] = &[
    "--deadline",
    "4s",
    "--env",
    "LOG=stderr",
    "--last-words",
    "^shut down gracefully$",
    "--access-log",
    r"^(GET|POST) \S+ \d+$",
];

/// Hands the table to a macro: one makes it a constant, another a test of each line.
#[doc(hidden)]
#[macro_export]
macro_rules! expectations {
    ($take:ident) => {
        $take! {
            correct: "correct", USUAL => [], exit 0;
            correct_under_interrupt: "correct", INTERRUPT => [], exit 0;
            correct_behind_a_load_balancer: "correct", LAME_DUCK => [], exit 0;
            correct_that_was_not_told_of_it: "correct", NO_LAME_DUCK => [
                "serves-through-lame-duck"
            ], exit 1;
            correct_on_a_unix_socket: "correct", UNIX => [], exit 0;
            leaves_unix_socket: "leaves-unix-socket", UNIX => ["nothing-is-left-behind"], exit 1;
            leaves_pid_file: "leaves-pid-file", USUAL => ["nothing-is-left-behind"], exit 1;
            waits_for_job_for_ever: "waits-for-job-for-ever", USUAL => [
                "jobs-finish", "exits-before-deadline"
            ], exit 1;
            worker: "worker", WORKER => [], exit 0;
            worker_abandons_job: "worker-abandons-job", WORKER => ["jobs-finish"], exit 1;
            ignores_signal: "ignores-signal", USUAL => [
                "signal-is-handled", "new-connections-are-refused", "no-job-starts-after-signal",
                "exits-before-deadline", "close-is-announced"
            ], exit 1;
            default_dies: "default-dies", USUAL => [
                "signal-is-handled", "in-flight-requests-complete", "responses-are-whole",
                "delivered-requests-complete", "queued-connections-are-served",
                "jobs-finish", "exit-status-is-clean"
            ], exit 1;
            exits_at_once: "exits-at-once", USUAL => [
                "in-flight-requests-complete", "responses-are-whole", "delivered-requests-complete",
                "queued-connections-are-served", "late-requests-are-not-swallowed", "jobs-finish"
            ], exit 1;
            drops_in_flight: "drops-in-flight", USUAL => [
                "in-flight-requests-complete", "responses-are-whole"
            ], exit 1;
            drains_a_hundred: "drains-a-hundred", CROWD => [
                "in-flight-requests-complete"
            ], exit 1;
            overlooks_the_newest: "overlooks-the-newest", NEAR => [
                "in-flight-requests-complete"
            ], exit 1;
            correct_near_its_landmarks: "correct", NEAR => [], exit 0;
            truncates_content_length: "truncates-content-length", USUAL => [
                "in-flight-requests-complete", "responses-are-whole"
            ], exit 1;
            truncates_chunked: "truncates-chunked", USUAL => [
                "in-flight-requests-complete", "responses-are-whole"
            ], exit 1;
            loses_stream_tail: "loses-stream-tail", USUAL => [
                "in-flight-requests-complete", "responses-are-whole"
            ], exit 1;
            cancels_handlers: "cancels-handlers", USUAL => ["in-flight-requests-complete"], exit 1;
            keeps_accepting: "keeps-accepting", USUAL => ["new-connections-are-refused"], exit 1;
            accepts_never_answers: "accepts-never-answers", USUAL => [
                "late-requests-are-not-swallowed", "new-connections-are-refused"
            ], exit 1;
            refuses_then_accepts: "refuses-then-accepts", USUAL => [
                "new-connections-are-refused"
            ], exit 1;
            hangs_past_deadline: "hangs-past-deadline", USUAL => [
                "exits-before-deadline", "idle-exit-is-prompt"
            ], exit 1;
            sleeps_fixed_time: "sleeps-fixed-time", USUAL => [
                "in-flight-requests-complete", "responses-are-whole"
            ], exit 1;
            abandons_job: "abandons-job", USUAL => ["jobs-finish"], exit 1;
            starts_job_after_signal: "starts-job-after-signal", USUAL => [
                "no-job-starts-after-signal"
            ], exit 0;
            correct_with_submitted_jobs: "correct", SUBMITS => [], exit 0;
            drops_late_job: "drops-late-job", SUBMITS => ["jobs-finish"], exit 1;
            correct_with_its_log: "correct", LOG => [], exit 0;
            loses_last_words: "loses-last-words", LOG => ["last-words-are-written"], exit 0;
            forgets_reuse_address: "forgets-reuse-address", USUAL => ["restarts-at-once"], exit 0;
            exits_nonzero: "exits-nonzero", USUAL => ["exit-status-is-clean"], exit 0;
            leaves_child: "leaves-child", USUAL => [
                "new-connections-are-refused", "nothing-is-left-behind"
            ], exit 1;
            leaves_daemon: "leaves-daemon", USUAL => ["nothing-is-left-behind"], exit 1;
            leaves_helper: "leaves-helper", USUAL => ["nothing-is-left-behind"], exit 1;
            handles_term: "handles-term-not-int", ONLY_TERM => [], exit 0;
            handles_not_int: "handles-term-not-int", INTERRUPT => [
                "signal-is-handled", "in-flight-requests-complete", "responses-are-whole",
                "delivered-requests-complete", "queued-connections-are-served",
                "jobs-finish", "exit-status-is-clean"
            ], exit 1;
            handles_term_alone: "handles-term-not-int", BOTH_SIGNALS => [
                "signal-is-handled", "in-flight-requests-complete", "responses-are-whole", "jobs-finish",
                "exit-status-is-clean", "interrupt-equals-terminate"
            ], exit 1;
            handles_int_alone: "handles-int-not-term", BOTH_SIGNALS => [
                "signal-is-handled", "in-flight-requests-complete", "responses-are-whole", "jobs-finish",
                "exit-status-is-clean", "interrupt-equals-terminate"
            ], exit 1;
            handles_both: "correct", BOTH_SIGNALS => [], exit 0;
            dies_of_an_interrupt_while_draining: "handles-term-not-int", AGAIN => [
                "repeated-signal-is-harmless"
            ], exit 0;
            second_signal_aborts: "second-signal-aborts", AGAIN => [
                "repeated-signal-is-harmless"
            ], exit 0;
            puts_its_handler_back_late: "puts-its-handler-back-late", AT_ONCE => [
                "repeated-signal-is-harmless"
            ], exit 0;
            second_signal_is_to_abort: "second-signal-aborts", FORCE => [], exit 0;
            second_signal_changes_nothing: "correct", FORCE_SLOW => [
                "repeated-signal-is-harmless"
            ], exit 0;
            repeated_signals_change_nothing: "correct", AGAIN => [], exit 0;
            installs_handler_late: "installs-handler-late", STARTUP => [
                "startup-signal-is-honoured"
            ], exit 0;
            is_ended_while_it_starts: "correct", STARTUP => [], exit 0;
            needs_second_signal: "needs-second-signal", USUAL => [
                "signal-is-handled", "new-connections-are-refused", "no-job-starts-after-signal",
                "exits-before-deadline", "close-is-announced"
            ], exit 1;
            loses_queued: "loses-queued", USUAL => [
                "queued-connections-are-served", "late-requests-are-not-swallowed"
            ], exit 0;
            closes_idle_with_unread_request: "closes-idle-with-unread-request", USUAL => [
                "delivered-requests-complete", "late-requests-are-not-swallowed"
            ], exit 0;
            drops_late_requests: "drops-late-requests", USUAL => [
                "late-requests-are-not-swallowed"
            ], exit 0;
            idle_holds_exit: "idle-holds-exit", USUAL => [
                "exits-before-deadline", "idle-connections-are-released"
            ], exit 1;
            half_head_holds_exit: "half-head-holds-exit", USUAL => [
                "exits-before-deadline", "stalled-clients-do-not-block"
            ], exit 1;
            half_body_holds_exit: "half-body-holds-exit", USUAL => [
                "exits-before-deadline", "stalled-clients-do-not-block"
            ], exit 1;
            stalled_reader_holds_exit: "stalled-reader-holds-exit", USUAL => [
                "exits-before-deadline", "stalled-clients-do-not-block"
            ], exit 1;
            no_connection_close: "no-connection-close", USUAL => ["close-is-announced"], exit 0;
            sleeps_when_idle: "sleeps-when-idle", PATIENT => ["idle-exit-is-prompt"], exit 0;
            slows_down_while_draining: "slows-down-while-draining", QUICK => [
                "drain-keeps-its-latency"
            ], exit 0;
            skips_lame_duck: "skips-lame-duck", LAME_DUCK => ["serves-through-lame-duck"], exit 1;
            readiness_never_fails: "readiness-never-fails", LAME_DUCK => [
                "readiness-fails-first"
            ], exit 1;
            readiness_flips_back: "readiness-flips-back", LAME_DUCK => [
                "readiness-fails-first"
            ], exit 1;
            reference_server: "reference-server", USUAL => [], exit 0;
        }
    };
}

macro_rules! table {
    ($($name:ident: $fixture:literal, $options:expr => [$($violated:literal),*], exit $code:literal;)*) => {
        /// Every line.
        pub const TABLE: &[Line] = &[$(
            Line {
                name: stringify!($name),
                fixture: $fixture,
                options: $options,
                violated: &[$($violated),*],
                exit_code: $code,
            }
        ),*];
    };
}

expectations!(table);

/// Whether it is chance that a line's server violates this, too: who exits while requests are in
/// process may be gone before it has read what has just arrived, or while somebody connects.
pub fn may_be_violated_too(id: &str, line: &Line) -> bool {
    let dies_at_once = ["signal-is-handled", "in-flight-requests-complete"];
    let dies_at_once = dies_at_once.iter().all(|id| line.violated.contains(id));
    let exits_early = ["drops-in-flight", "sleeps-fixed-time"].contains(&line.fixture);
    match id {
        "late-requests-are-not-swallowed" => dies_at_once || exits_early,
        // What it reads between signal and handler, it overlooks as well.
        "delivered-requests-complete" if line.fixture == "overlooks-the-newest" => true,
        // Of a crowd, some have only just arrived.
        "delivered-requests-complete" | "queued-connections-are-served" => {
            exits_early || dies_at_once
        }
        _ => false,
    }
}

/// Whether a run over such a server may leave this undecided.
pub fn may_be_undecided(id: &str, line: &Line) -> bool {
    let violated = line.violated;
    match id {
        // Most loads have too few quick requests, and a start may be over before its signal.
        "drain-keeps-its-latency" | "startup-signal-is-honoured" => true,
        // One signal breaks it as well, in trials that are not many.
        "repeated-signal-is-harmless" => !violated.is_empty(),
        "exit-status-is-clean"
        | "nothing-is-left-behind"
        | "stalled-clients-do-not-block"
        | "idle-connections-are-released" => violated.contains(&"exits-before-deadline"),
        "restarts-at-once" => ["exits-before-deadline", "nothing-is-left-behind"]
            .into_iter()
            .any(|id| violated.contains(&id)),
        // All is answered before the server may be expected to know of its end.
        "close-is-announced" if line.options == NEAR => true,
        // Nothing lives long enough to answer.
        "close-is-announced" | "late-requests-are-not-swallowed" => {
            violated.contains(&"in-flight-requests-complete")
        }
        // A job that does not end leaves no moment with nothing to do.
        "idle-exit-is-prompt" => {
            ["jobs-finish", "exits-before-deadline"].into_iter().any(|id| violated.contains(&id))
        }
        _ => false,
    }
}
