//! Which connections a situation consists of, and how the kernel shows that each is as it should be.

use std::time::Duration;

use crate::model::event::SocketSeen;
use crate::model::plan::{Landmark, Situation};
use crate::model::syscall::Reach;

use super::exchange::Pace;
use super::open::Outstanding;
use super::request::PreparedRequest;

/// A response takes at least this long, until its first byte or from there to its end, for a
/// situation that lies in between to be seen and to be there still when the signal comes.
const LONG: Duration = Duration::from_millis(200);
/// A response of so many bytes fills a send buffer alone.
const LARGE: u64 = 1024 * 1024;
/// How long the sending of a body is spread out, so that the request outlasts the limit within which
/// connections must be refused.
const UPLOAD: Duration = Duration::from_millis(900);

/// What one connection is made to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pose {
    /// Accepted, and not one byte sent, ever.
    Silent,
    /// Accepted, and not one byte sent until after the signal.
    AskingLater,
    /// Its request is answered, and nothing outstanding.
    Idle,
    /// The same, and it asks again some time after the signal.
    AskingAgain,
    /// Its request was sent.
    Sent,
    /// Its request was read, and no byte of the response sent.
    InHandler,
    /// A part of its response was sent.
    Answering,
    /// The head of its request was read, and the body is being sent.
    Uploading,
    /// Half of its request's head was read; the rest is sent after the signal.
    HalfHead,
    /// Accepted before the target was held still; its request lies unread.
    Delivered,
    /// The same, after a first request that was answered.
    DeliveredAgain,
    /// In the accept queue with its request.
    Queued,
    /// In the accept queue; the request is sent after the signal.
    QueuedSilent,
    /// It does not read its responses.
    NotReading,
    /// It sends half of its request's head, and no more.
    HalfHeadForEver,
    /// It sends its request's head and half of the body, and no more.
    HalfBodyForEver,
}

/// One connection of a situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is made to be.
    pub pose: Pose,
    /// What it asks for.
    pub template: usize,
    /// Its number among those of its kind, from 0.
    pub nth: u16,
    /// How long after the signal it asks, where it asks late; by its number where absent.
    pub later: Option<Duration>,
}

/// How far a connection has come, besides what the kernel shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Its first request was answered, and the connection kept.
    pub kept: bool,
    /// Its last request was answered.
    pub answered: bool,
    /// What it sends is not taken any more.
    pub blocked: bool,
    /// Its part is over.
    pub over: bool,
}

/// The connections of a situation, so many of each kind.
///
/// # Errors
/// What the target lacks for it, and what to do about it.
pub fn cast(
    situation: Situation,
    landmark: Option<Landmark>,
    requests: &[PreparedRequest],
    of_each: u16,
) -> Result<Vec<Part>, &'static str> {
    let poses = poses(situation, landmark, requests);
    let mut parts = Vec::new();
    for pose in poses {
        let template = template(pose, situation, requests)?;
        parts.extend((0..of_each).map(|nth| Part { pose, template, nth, later: None }));
    }
    Ok(parts)
}

/// The connection of a trial at a system call, which asks for the quickest page as soon as all
/// threads are followed.
///
/// # Errors
/// What the target lacks for it, and what to do about it.
pub fn cast_at_syscall(
    reach: Reach,
    requests: &[PreparedRequest],
) -> Result<Vec<Part>, &'static str> {
    let pose = match reach {
        Reach::Fresh => Pose::Queued,
        Reach::Kept => Pose::DeliveredAgain,
    };
    let template = template(pose, Situation::OneRequest, requests)?;
    Ok(vec![Part { pose, template, nth: 0, later: None }])
}

fn poses(
    situation: Situation,
    landmark: Option<Landmark>,
    requests: &[PreparedRequest],
) -> Vec<Pose> {
    match situation {
        Situation::Load
        | Situation::Idle
        | Situation::Startup
        | Situation::JobRunning
        | Situation::Writes => Vec::new(),
        Situation::OneRequest => vec![match landmark {
            Some(Landmark::Accepted) => Pose::AskingLater,
            Some(Landmark::HalfHead) => Pose::HalfHead,
            Some(Landmark::Sent) | None => Pose::Sent,
            Some(Landmark::FirstByte) => Pose::Answering,
            Some(Landmark::Answered) => Pose::AskingAgain,
        }],
        Situation::IdleKeepalive => vec![Pose::Idle],
        Situation::Fresh => vec![Pose::Silent],
        Situation::SlowHandler
        | Situation::SecondSignal
        | Situation::SignalBurst
        | Situation::MixedSignals
        | Situation::AsPid1 => vec![Pose::InHandler],
        Situation::Streaming => vec![Pose::Answering],
        Situation::Uploading => vec![Pose::Uploading],
        Situation::PartialHead => vec![Pose::HalfHead],
        Situation::Delivered => vec![Pose::Delivered],
        Situation::DeliveredKeepalive => vec![Pose::DeliveredAgain],
        Situation::Queued => vec![Pose::Queued],
        Situation::QueuedSilent => vec![Pose::QueuedSilent],
        Situation::Mixed => {
            let mut all = vec![
                Pose::Idle,
                Pose::AskingAgain,
                Pose::HalfHead,
                Pose::Delivered,
                Pose::DeliveredAgain,
                Pose::Queued,
                Pose::QueuedSilent,
            ];
            // While the others are prepared, it would be over.
            let outlasts = |slow: &usize| {
                let quick = by_length(requests).next().map(|at| requests[at].usual);
                quick.is_some_and(|quick| quick * 4 < requests[*slow].first_byte)
            };
            all.extend(in_handler(requests).filter(outlasts).map(|_| Pose::InHandler));
            all
        }
        Situation::StalledReader => vec![Pose::NotReading],
        Situation::StalledSender => {
            let mut all = vec![Pose::HalfHeadForEver];
            all.extend(with_body(requests).map(|_| Pose::HalfBodyForEver));
            all
        }
    }
}

/// The request that suits a pose.
fn template(
    pose: Pose,
    situation: Situation,
    requests: &[PreparedRequest],
) -> Result<usize, &'static str> {
    let suits = match pose {
        Pose::InHandler => in_handler(requests),
        Pose::Answering if situation == Situation::Streaming => streaming(requests),
        Pose::Uploading | Pose::HalfBodyForEver => with_body(requests),
        Pose::Sent | Pose::Answering => by_length(requests).next_back(),
        Pose::NotReading => largest(requests),
        _ => by_length(requests).next(),
    };
    suits.ok_or(match pose {
        Pose::InHandler => "no request is answered as late as 200 ms: name one (--path)",
        Pose::NotReading => {
            "every response is slow, and none is large, so that no send buffer is filled: name a \
             page that is answered at once (--path)"
        }
        Pose::Answering => "no response takes 200 ms to come: name one (--path)",
        Pose::Uploading | Pose::HalfBodyForEver => {
            "no request has a body: name one (--path 'POST /orders' --body ...)"
        }
        _ => "every request has a slow upload: name a plain one (--path)",
    })
}

/// Connections that are opened together, where there are many: no more than an accept queue holds.
const WAVE: u16 = 64;
/// The time from one such wave to the next.
const WAVES_APART: Duration = Duration::from_millis(4);
/// All of them begin within this part of the time that each takes.
const BEGUN_WITHIN: u32 = 3;

/// How long after the first of its kind a connection is opened.
pub fn place_in_crowd(nth: u16) -> Duration {
    WAVES_APART * u32::from(nth / WAVE)
}

/// The request of which many can be in process together, and how many; none where each is answered
/// too soon for that.
pub fn crowd(requests: &[PreparedRequest]) -> Option<(usize, u16)> {
    let template = in_handler(requests)?;
    let waves =
        (requests[template].first_byte / BEGUN_WITHIN).as_millis() / WAVES_APART.as_millis();
    let most = u16::try_from(waves).unwrap_or(u16::MAX).saturating_mul(WAVE);
    Some((template, most))
}

fn in_handler(requests: &[PreparedRequest]) -> Option<usize> {
    by_length(requests).rfind(|&at| requests[at].first_byte >= LONG)
}

fn streaming(requests: &[PreparedRequest]) -> Option<usize> {
    by_length(requests).rfind(|&at| {
        let request = &requests[at];
        request.usual.saturating_sub(request.first_byte) >= LONG
    })
}

/// The request with the largest response, among those that soon fill a send buffer: one by one, as
/// they are answered soon, or alone.
fn largest(requests: &[PreparedRequest]) -> Option<usize> {
    let fills = |&at: &usize| requests[at].usual < LONG || requests[at].body_length >= LARGE;
    by_length(requests).filter(fills).max_by_key(|&at| requests[at].body_length)
}

fn with_body(requests: &[PreparedRequest]) -> Option<usize> {
    requests.iter().position(|request| {
        let (head, total) = request.lengths();
        total > head + 1
    })
}

/// The requests without a slow upload, the quickest first.
pub fn by_length(requests: &[PreparedRequest]) -> impl DoubleEndedIterator<Item = usize> {
    let mut plain: Vec<usize> =
        (0..requests.len()).filter(|&at| requests[at].upload_over.is_none()).collect();
    plain.sort_by_key(|&at| requests[at].usual);
    plain.into_iter()
}

impl Pose {
    /// How its request is sent, where that is not the request's own pace.
    pub fn pace(self, request: &PreparedRequest) -> Option<Pace> {
        let (head, total) = request.lengths();
        match self {
            Pose::Uploading => Some(Pace::Spread(request.upload_over.unwrap_or(UPLOAD))),
            Pose::HalfHead | Pose::HalfHeadForEver => Some(Pace::Gated(head / 2)),
            Pose::HalfBodyForEver => Some(Pace::Gated(head + (total - head) / 2)),
            _ => None,
        }
    }

    /// Whether the target can be held still for it now.
    pub fn is_prepared(
        self,
        socket: Option<&SocketSeen>,
        outstanding: Option<&Outstanding>,
        progress: Progress,
    ) -> bool {
        match self {
            Pose::Queued | Pose::QueuedSilent => true,
            Pose::Delivered => socket.is_some_and(|socket| socket.accepted),
            Pose::DeliveredAgain => progress.kept,
            _ => self.is_there(socket, outstanding, progress),
        }
    }

    /// Whether the connection is as it should be.
    pub fn is_there(
        self,
        socket: Option<&SocketSeen>,
        outstanding: Option<&Outstanding>,
        progress: Progress,
    ) -> bool {
        // A quick request may be over before anybody looks.
        if progress.answered && matches!(self, Pose::Sent | Pose::Answering) {
            return true;
        }
        let Some(socket) = socket else { return false };
        let read = socket.received.saturating_sub(socket.unread.into());
        // Of the request on its way: how much was sent of it, how much read, what was answered.
        let of_this = |asked: &Outstanding| {
            let since = |bytes: u64| bytes.saturating_sub(asked.sent_before);
            (since(socket.received), since(read), socket.sent > asked.received_before)
        };
        let is = |wanted: &dyn Fn(&Outstanding, u64, u64, bool) -> bool| {
            outstanding.is_some_and(|asked| {
                let (sent, read, answering) = of_this(asked);
                wanted(asked, sent, read, answering)
            })
        };
        match self {
            Pose::Silent | Pose::AskingLater => socket.accepted && socket.received == 0,
            Pose::Idle | Pose::AskingAgain => {
                socket.accepted && progress.kept && outstanding.is_none()
            }
            Pose::Sent => is(&|asked, sent, _, _| sent == asked.total),
            Pose::InHandler => is(&|asked, _, read, answering| read == asked.total && !answering),
            Pose::Answering => is(&|_, _, _, answering| answering),
            Pose::HalfHead | Pose::HalfHeadForEver => {
                is(&|asked, _, read, answering| read == asked.head / 2 && !answering)
            }
            Pose::Uploading | Pose::HalfBodyForEver => is(&|asked, sent, read, answering| {
                read >= asked.head && sent < asked.total && !answering
            }),
            Pose::Delivered | Pose::DeliveredAgain => {
                socket.accepted && is(&|asked, sent, read, _| sent == asked.total && read == 0)
            }
            Pose::Queued => !socket.accepted && is(&|asked, sent, _, _| sent == asked.total),
            Pose::QueuedSilent => !socket.accepted && socket.received == 0,
            Pose::NotReading => progress.blocked && socket.accepted && socket.unsent > 0,
        }
    }

    /// What it is, in words, for the case that it can't be reached.
    pub fn about(self) -> &'static str {
        match self {
            Pose::Silent | Pose::AskingLater => "no silent connection was accepted",
            Pose::Idle | Pose::AskingAgain => "no connection was kept after its response",
            Pose::Sent => "no request was sent",
            Pose::InHandler => "no request was read and left unanswered",
            Pose::Answering => "no response was seen in part",
            Pose::Uploading | Pose::HalfBodyForEver => {
                "no head was read with its body still to come"
            }
            Pose::HalfHead | Pose::HalfHeadForEver => "no half of a head was read",
            Pose::Delivered => "no accepted connection had a request unread",
            Pose::DeliveredAgain => "no kept connection had its next request unread",
            Pose::Queued => "no request waited in the accept queue",
            Pose::QueuedSilent => "no connection waited in the accept queue",
            Pose::NotReading => {
                "no client could fill the target's send buffer: name a larger page (--path)"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::contract::ExpectedResponse;
    use crate::model::target::RequestTemplate;

    fn request(number: u16, first_byte_ms: u64, usual_ms: u64, body: usize) -> PreparedRequest {
        let template = RequestTemplate {
            method: if body > 0 { "POST" } else { "GET" }.into(),
            body: vec![b'x'; body],
            ..RequestTemplate::get("/")
        };
        let expected = ExpectedResponse {
            name: template.name(),
            status: 200,
            body: None,
            usual: Duration::from_millis(usual_ms),
            first_byte: Duration::from_millis(first_byte_ms),
        };
        let address = "127.0.0.1:80".parse().unwrap();
        PreparedRequest::new(number, &template, &address).expecting(Some(&expected))
    }

    #[test]
    fn each_situation_finds_the_request_that_suits_it() {
        let requests = [
            request(0, 900, 900, 0),
            request(1, 1, 900, 0),
            request(2, 1, 1, 0),
            request(3, 1, 1, 9),
        ];
        let template = |situation| cast(situation, None, &requests, 2).unwrap()[0].template;
        assert_eq!(template(Situation::SlowHandler), 0);
        assert_eq!(template(Situation::Streaming), 1);
        assert_eq!(template(Situation::Delivered), 2);
        assert_eq!(template(Situation::Uploading), 3);
        assert_eq!(cast(Situation::Mixed, None, &requests, 2).unwrap().len(), 16);
    }

    #[test]
    fn a_target_with_one_quick_page_lacks_only_what_needs_more() {
        let requests = [request(0, 1, 1, 0)];
        let lacking: Vec<_> = Situation::ALL
            .into_iter()
            .filter(|situation| cast(*situation, None, &requests, 2).is_err())
            .collect();
        let wanted = [
            Situation::SlowHandler,
            Situation::Streaming,
            Situation::Uploading,
            Situation::SecondSignal,
            Situation::SignalBurst,
            Situation::MixedSignals,
            Situation::AsPid1,
        ];
        assert_eq!(lacking, wanted);
    }

    #[test]
    fn a_pose_is_told_by_what_the_kernel_shows() {
        let asked = Outstanding { sent_before: 40, head: 100, total: 120, received_before: 70 };
        let socket = |accepted, received, unread, sent| SocketSeen {
            connection: 1,
            accepted,
            unread,
            received,
            sent,
            unsent: 0,
        };
        let there =
            |pose: Pose, socket| pose.is_there(Some(&socket), Some(&asked), Progress::default());
        assert!(there(Pose::DeliveredAgain, socket(true, 160, 120, 70)));
        assert!(!there(Pose::DeliveredAgain, socket(true, 160, 0, 70)));
        assert!(there(Pose::InHandler, socket(true, 160, 0, 70)));
        assert!(!there(Pose::InHandler, socket(true, 160, 0, 71)), "it is answering");
        assert!(there(Pose::Answering, socket(true, 160, 0, 71)));
        assert!(there(Pose::HalfHead, socket(true, 90, 0, 70)));
        assert!(!there(Pose::HalfHead, socket(true, 90, 50, 70)), "it lies unread");
        assert!(there(Pose::Queued, socket(false, 160, 160, 0)));
        assert!(!there(Pose::Queued, socket(true, 160, 160, 0)), "it was accepted");
    }
}
