//! The moments for people: when each kind of signal comes, how that is brought about, and what it finds.

use crate::model::moment::{JobLandmark, Landmark, Moment};
use crate::model::near::NearLandmark;
use crate::model::plan::Situation;

use super::text::hanging;

const WIDTH: usize = 80;

/// A kind of moment.
#[derive(Debug)]
pub struct Topic {
    /// Its name, as `explain` takes it.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// The names by which reports call moments of the kind, besides.
    shown_as: &'static str,
    /// When the signal comes, and how that is brought about.
    made: &'static str,
    finds: &'static str,
    /// The situations in which it is tried.
    tried: &'static [Situation],
    /// An option that it takes.
    option: &'static str,
}

const HELD: [Situation; 5] = [
    Situation::Delivered,
    Situation::DeliveredKeepalive,
    Situation::Queued,
    Situation::QueuedSilent,
    Situation::Mixed,
];
const REPEATED: [Situation; 3] =
    [Situation::SecondSignal, Situation::SignalBurst, Situation::MixedSignals];

/// Every kind, in the order of the list.
pub static TOPICS: [Topic; 8] = [
    Topic {
        name: "uniform",
        about: "anywhere in the window of the load",
        shown_as: "uniform, or the milliseconds since the load began",
        made: "The instant is drawn before the launch, so that a few trials are spread over the whole \
               window and no two lie together.",
        finds: "What is lost often, whatever the state.",
        tried: &[Situation::Load, Situation::Writes],
        option: "",
    },
    Topic {
        name: "reached",
        about: "as soon as the situation is there",
        shown_as: "reached, or \"64 at once\" for so many requests in process",
        made: "The kernel's view of the sockets is asked until every connection is as it should be; then \
               the signal is sent at once.",
        finds: "What the situation is made for.",
        tried: &[Situation::SlowHandler, Situation::IdleKeepalive, Situation::Streaming],
        option: "",
    },
    Topic {
        name: "held",
        about: "while the target stands still, which goes on later",
        shown_as: "held 0 ms, held 150 ms, held 1000 ms",
        made: "All processes of the target are stopped, the requests arrive, the signal is sent, and after \
               so many milliseconds the target is let go. Controls do the same without a signal.",
        finds: "What is lost when the process gets no processor for a moment, as on a busy machine.",
        tried: &HELD,
        option: "",
    },
    Topic {
        name: "landmark",
        about: "at a landmark of one request's life, as its client sees it",
        shown_as: "accepted, half-head, sent, first-byte, answered",
        made: "One client takes its request as far as the landmark; then the signal is sent.",
        finds: "The same as load, with one request and a short story.",
        tried: &[Situation::OneRequest],
        option: "",
    },
    Topic {
        name: "near-landmark",
        about: "10 µs to 1 s before or after such a landmark",
        shown_as: "\"< accept\" for before it, \"> first read\" for after it, \"accept +37 µs\" for how far; \
                   connect, accept, first read, read, first byte, last byte, close; job start, job \
                   finish, job answer",
        made: "A rehearsal measures when a request passes each landmark, and a trial does so again right \
               before. The request begins at a known instant, and the signal is sent at its distance from \
               where the landmark is expected. The history says when it really was.",
        finds: "Losses in a window between two steps of the server, down to tens of microseconds.",
        tried: &[Situation::OneRequest, Situation::JobRunning],
        option: "",
    },
    Topic {
        name: "at-syscall",
        about: "exactly at one of the server's own system calls (--deep)",
        shown_as: "before accept, after recv #1, before send #1 (kept); \"held\" where the thread stays \
                   30 ms longer, \"one queued\" with one more connection in the accept queue",
        made: "A rehearsal follows a request through the server by ptrace. In a trial the thread stands \
               still at the call until the signal is sent, so that the point is met each time. Linux; no \
               privilege is needed unless the system forbids ptrace.",
        finds: "What is lost only in the microseconds between two calls: it is lost in each such trial.",
        tried: &[Situation::OneRequest],
        option: "--deep",
    },
    Topic {
        name: "job-landmark",
        about: "at a landmark of a background job's life",
        shown_as: "job-submit, job-start, job-half-way, job-end",
        made: "Lines tell of jobs: the signal comes with the start line, after half of the usual time, just \
               before the predicted end, or around the request that submits it.",
        finds: "Jobs that are abandoned, and jobs that are taken and never done.",
        tried: &[Situation::JobRunning],
        option: "",
    },
    Topic {
        name: "again",
        about: "so long after the signal before it",
        shown_as: "again +10 ms, again < 1 ms, 20 in 10 ms",
        made: "The first signal comes when the situation is there, and the others after their gaps, counted \
               from when the target was let go if it was held.",
        finds: "Handlers that are good for one signal only.",
        tried: &REPEATED,
        option: "",
    },
];

/// The kind that is meant by its name, by that of one of its moments, or by a moment as it is written in
/// a plan; `deep` is what is done at system calls.
pub fn named(text: &str) -> Option<&'static Topic> {
    let text = text.trim();
    let of = |name: &str| TOPICS.iter().find(|topic| topic.name == name);
    let is_near = |text: &str| {
        let bare = text.strip_prefix(['<', '>']).map(str::trim);
        bare.is_some_and(|bare| NearLandmark::ALL.iter().any(|it| it.name() == bare))
    };
    let kind = match text {
        "deep" | "--deep" => "at-syscall",
        "near" => "near-landmark",
        text if Landmark::ALL.iter().any(|it| it.name() == text) => "landmark",
        text if JobLandmark::ALL.iter().any(|it| it.name() == text) => "job-landmark",
        text if text.starts_with("held ") => "held",
        text if is_near(text) => "near-landmark",
        text => match text.parse::<Moment>() {
            _ if of(text).is_some() => text,
            Ok(Moment::Uniform { .. }) => "uniform",
            Ok(Moment::AfterPrevious { .. }) => "again",
            Ok(Moment::AtSyscall { .. }) => "at-syscall",
            Ok(Moment::Near(_)) => "near-landmark",
            _ => return None,
        },
    };
    of(kind)
}

/// What a kind of moment is, how it is made, and what it finds.
pub fn explain(topic: &Topic) -> String {
    let tried: Vec<_> = topic.tried.iter().map(|it| it.name()).collect();
    let option = if topic.option.is_empty() { String::new() } else { format!("{} ", topic.option) };
    let alone = format!("shutdown-check {option}--situation {} ./bin", tried[0]);
    let parts = [
        ("What it is", format!("When the signal comes: {}.", topic.about)),
        ("In reports", format!("{}.", topic.shown_as)),
        ("How it is made", topic.made.to_owned()),
        ("What it finds", topic.finds.to_owned()),
        ("Situations", tried.join(", ")),
        ("To try it", alone),
    ];
    let mut text = format!("{}\n", topic.name);
    for (title, body) in parts {
        text.push_str(&format!("\n{title}\n{}", hanging("  ", &body, WIDTH)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::text::columns;
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_explained() {
        for topic in &TOPICS {
            assert_eq!(named(topic.name).unwrap().name, topic.name);
            let text = explain(topic);
            assert!(text.lines().all(|line| columns(line) <= WIDTH), "{text}");
            assert!(topic.made.ends_with('.') && topic.finds.ends_with('.'));
        }
    }

    #[test]
    fn what_stands_in_a_report_is_found_as_well() {
        for (text, name) in [
            ("deep", "at-syscall"),
            ("after recv #1", "at-syscall"),
            ("< accept", "near-landmark"),
            ("accept +37 µs", "near-landmark"),
            ("first-byte", "landmark"),
            ("job-half-way", "job-landmark"),
            ("held 150 ms", "held"),
            ("again +10 ms", "again"),
            ("312.5 ms", "uniform"),
        ] {
            assert_eq!(named(text).map(|topic| topic.name), Some(name), "{text}");
        }
        assert!(named("soon").is_none());
    }
}
