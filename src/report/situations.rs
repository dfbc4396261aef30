//! The situations for people: how each is made and seen to be there, and which defects it brings to
//! light.

use crate::invariants::CATALOGUE;
use crate::model::plan::Situation;

use super::text::hanging;

const WIDTH: usize = 80;

/// How a situation is made, how it is known to be there, and what it finds.
struct Texts {
    situation: Situation,
    made: &'static str,
    seen: &'static str,
    finds: &'static str,
}

/// Where the kernel says that the connections are as they should be.
const BY_SOCKETS: &str = "The kernel's view of the server's sockets (sock_diag), asked again and again \
                          until each kind of connection is as it should be; on a unix socket, time.";
/// Where the target is held still.
const BY_SOCKETS_HELD: &str = "The kernel's view of the server's sockets, while all processes of the \
                               target are held still, so that nothing moves between the look and the \
                               signal.";

const TEXTS: [Texts; Situation::ALL.len()] = [
    Texts {
        situation: Situation::Load,
        made: "Many clients ask, some on kept and some on fresh connections, until well after \
                   the signal, which comes anywhere in the window.",
        seen: "Requests are answered before the signal; who held each at that instant the \
                   kernel says.",
        finds: "Whatever is lost often: exits without a drain, cut responses, listeners that stay \
                    open.",
    },
    Texts {
        situation: Situation::OneRequest,
        made: "One client sends one request; the signal comes as it is accepted, half read, sent, \
                   answered in part, or answered; or, in every other trial, 10 µs to 1 s before or \
                   after such a landmark, as a rehearsal has timed it.",
        seen: BY_SOCKETS,
        finds: "The same as load, with nothing else in the way: the shortest story of a loss.",
    },
    Texts {
        situation: Situation::Idle,
        made: "Nothing is sent to the target once it is ready.",
        seen: "No client has a connection.",
        finds: "Fixed sleeps, and threads that nobody wakes: a target with nothing to do should \
                    go at once.",
    },
    Texts {
        situation: Situation::IdleKeepalive,
        made: "Each client has one answer and keeps its connection.",
        seen: BY_SOCKETS,
        finds: "Servers that wait for connections which only the client would close.",
    },
    Texts {
        situation: Situation::Fresh,
        made: "Clients connect and send nothing, as browsers do in advance.",
        seen: BY_SOCKETS,
        finds: "Servers that take a connection without a request for one in process.",
    },
    Texts {
        situation: Situation::SlowHandler,
        made: "Clients ask for the slowest page: three, in later trials 64, then up to 1024. Where every page is quick, requests are caught \
                   in process by holding the target still.",
        seen: BY_SOCKETS,
        finds: "Handlers that are cancelled or cut off by the exit.",
    },
    Texts {
        situation: Situation::Streaming,
        made: "Clients ask for a page that comes in parts, and have some of them.",
        seen: BY_SOCKETS,
        finds: "Responses that begin well and end in the middle.",
    },
    Texts {
        situation: Situation::Uploading,
        made: "Clients send the body of a request slowly, from before the signal until after it.",
        seen: BY_SOCKETS,
        finds: "Uploads that are reset, though the server was reading them.",
    },
    Texts {
        situation: Situation::PartialHead,
        made: "Clients send half of a request's head; the rest follows after the signal.",
        seen: BY_SOCKETS,
        finds: "Servers that take a connection in mid-request for an idle one and close it.",
    },
    Texts {
        situation: Situation::Delivered,
        made: "Clients connect and are accepted; the target is held still, and a whole request \
                   sent to each connection.",
        seen: BY_SOCKETS_HELD,
        finds: "Connections that are closed as idle while a request lies unread on them.",
    },
    Texts {
        situation: Situation::DeliveredKeepalive,
        made: "As delivered, on connections that have had an answer before.",
        seen: BY_SOCKETS_HELD,
        finds: "The race that every keep-alive client knows: its next request meets the close.",
    },
    Texts {
        situation: Situation::Queued,
        made: "The target is held still; clients connect and send a request each, which the \
                   kernel accepts for it.",
        seen: BY_SOCKETS_HELD,
        finds: "Listeners that are closed without a last accept: whoever waits there is reset.",
    },
    Texts {
        situation: Situation::QueuedSilent,
        made: "As queued, but the request is sent only after the signal.",
        seen: BY_SOCKETS_HELD,
        finds: "Connections that are accepted after the signal and never answered.",
    },
    Texts {
        situation: Situation::Mixed,
        made: "Connections of every kind that can be had at once.",
        seen: BY_SOCKETS_HELD,
        finds: "Drains that hold for each kind alone and not for all of them.",
    },
    Texts {
        situation: Situation::StalledReader,
        made: "Clients ask for large pages and stop reading, until the server's send buffer is \
                   full. They give up at the deadline.",
        seen: "The kernel shows bytes in the send buffer that nobody takes.",
        finds: "Drains without a limit: one client that sleeps holds up the exit.",
    },
    Texts {
        situation: Situation::StalledSender,
        made: "Clients stop in the middle of a head, and of a body. They give up at the deadline.",
        seen: BY_SOCKETS,
        finds: "Reads without a limit, which hold up the exit.",
    },
    Texts {
        situation: Situation::Startup,
        made: "The target is started and gets its signal before it is ready, at landmarks that \
                   two starts before it have shown.",
        seen: "It had not answered when the signal went out; otherwise the trial is missed.",
        finds: "Handlers that are installed too late, and starts that go on regardless.",
    },
    Texts {
        situation: Situation::SecondSignal,
        made: "As slow-handler, and the same signal comes again while the requests end.",
        seen: BY_SOCKETS,
        finds: "Handlers that are taken away after the first signal, so that the second kills.",
    },
    Texts {
        situation: Situation::SignalBurst,
        made: "As slow-handler, and 20 signals come within 10 ms.",
        seen: BY_SOCKETS,
        finds: "Handlers that are not made for being called again.",
    },
    Texts {
        situation: Situation::MixedSignals,
        made: "As slow-handler, and the other of SIGTERM and SIGINT follows.",
        seen: BY_SOCKETS,
        finds: "Two handlers for one drain, of which the second breaks off the first.",
    },
    Texts {
        situation: Situation::JobRunning,
        made: "The signal comes when a job has begun, is half done, is about to end, or is being \
                   submitted; there are no other connections.",
        seen: "Lines that tell of jobs: in the output, a file or a page.",
        finds: "Jobs that are abandoned, taken and never done, or begun when all should end.",
    },
    Texts {
        situation: Situation::Writes,
        made: "Clients write as --write says until the target is gone; it is started again, and \
                   all is read back.",
        seen: "Writes are acknowledged before the signal.",
        finds: "Data that was acknowledged and is not there any more.",
    },
    Texts {
        situation: Situation::AsPid1,
        made: "As slow-handler, with the target as the first process of a PID namespace.",
        seen: BY_SOCKETS,
        finds: "Targets that rely on the default action of a signal, which PID 1 does not have.",
    },
];

/// What a situation is, how it is made and verified, and what it finds.
pub fn explain(situation: Situation) -> String {
    let texts = TEXTS.iter().find(|texts| texts.situation == situation);
    let told = |text: fn(&Texts) -> &'static str| texts.map_or("", text);
    let about = format!("The world when the signal comes: {}.", situation.about());
    let shown: Vec<_> = CATALOGUE
        .iter()
        .filter(|invariant| invariant.occasions.contains(&situation))
        .map(|invariant| invariant.id)
        .collect();
    let everywhere = "what every situation shows: the exit, its status, and what is left";
    let shown = match shown.is_empty() {
        true => everywhere.to_owned(),
        false => format!("{}; and {everywhere}", shown.join(", ")),
    };
    let alone = format!("shutdown-check --situation {} ./bin", situation.name());
    let parts = [
        ("What it is", about.as_str()),
        ("How it is made", told(|it| it.made)),
        ("How it is verified", told(|it| it.seen)),
        ("What it finds", told(|it| it.finds)),
        ("Invariants", &shown),
        ("To try it alone", &alone),
    ];
    let mut text = format!("{}\n", situation.name());
    for (title, body) in parts {
        text.push_str(&format!("\n{title}\n{}", hanging("  ", body, WIDTH)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::text::columns;
    use super::*;

    #[test]
    fn every_situation_is_explained_in_full_sentences() {
        for (situation, texts) in Situation::ALL.into_iter().zip(&TEXTS) {
            assert_eq!(texts.situation, situation, "in the order of the list");
            for text in [texts.made, texts.seen, texts.finds] {
                assert!(text.ends_with('.') && !text.contains("  "), "{text}");
            }
            let explained = explain(situation);
            assert!(explained.starts_with(situation.name()));
            assert!(explained.lines().all(|line| columns(line) <= WIDTH), "{explained}");
        }
    }
}
