//! In which phase a request was when the signal came.

use std::fmt;
use std::time::Duration;

use super::event::{Connection, Framing, Request, RequestEnd, SocketSeen};
use super::time::Nanos;

/// Where a request was at the signal, and so who held it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// It was over.
    Finished,
    /// The server had read all of it, and the response was not complete.
    Processing,
    /// The server had read the head, and the client was still sending the body.
    Uploading,
    /// The server had read some of the head.
    PartialHead,
    /// Accepted, and wholly unread in the server's receive queue: the kernel held it.
    Delivered,
    /// Sent on a connection that waited in the accept queue: the kernel held it.
    Queued,
    /// Sent after the signal on a connection that was opened before it.
    ReusedLate,
    /// Sent on a connection that was begun after the signal.
    ConnectedLate,
    /// The harness can't order it against the signal: it accuses nobody.
    Ambiguous,
}

impl Phase {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Finished => "finished",
            Phase::Processing => "processing",
            Phase::Uploading => "uploading",
            Phase::PartialHead => "partial-head",
            Phase::Delivered => "delivered",
            Phase::Queued => "queued",
            Phase::ReusedLate => "reused-late",
            Phase::ConnectedLate => "connected-late",
            Phase::Ambiguous => "ambiguous",
        }
    }

    /// Whether the program held the request: it had read the whole head at least.
    pub fn is_in_process(self) -> bool {
        matches!(self, Phase::Processing | Phase::Uploading)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The signal's bracket: the clock just before kill(2) and just after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bracket {
    /// S⁻.
    pub before: Nanos,
    /// S⁺.
    pub after: Nanos,
}

/// What the kernel showed of one connection, around the signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Just before the signal.
    pub before: Option<SocketSeen>,
    /// Just after the signal.
    pub after: Option<SocketSeen>,
}

/// How phases are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the kernel's view of the server's sockets.
    Kernel(Around),
    /// From time: what was sent longer ago than this counts as read.
    Time(Duration),
}

/// The phase of `request`, carried by `connection`, at the signal.
pub fn phase(request: &Request, connection: &Connection, at: Bracket, source: Source) -> Phase {
    let before = |instant: Option<Nanos>| instant.is_some_and(|instant| instant <= at.before);
    if request.ended <= at.before {
        return Phase::Finished;
    }
    // It ended while the signal was being sent: by the signal or before it, nobody can tell.
    if request.ended <= at.after {
        return Phase::Ambiguous;
    }
    if request.started >= at.after {
        return if connection.started >= at.after {
            Phase::ConnectedLate
        } else {
            Phase::ReusedLate
        };
    }
    if !before(request.head_sent) {
        return head_under_way(request, source);
    }
    if let Some(over) = answered(request, at, source) {
        return over;
    }
    // A byte of the response came back: the program has the request, whatever else is known.
    let answering = before(request.first_byte);
    let sent = before(request.sent);
    match source {
        _ if answering && sent => Phase::Processing,
        _ if answering => Phase::Uploading,
        Source::Kernel(around) => from_kernel(request, sent, around),
        Source::Time(margin) => from_time(request, sent, at, margin),
    }
}

/// The phase of a request whose response may have been on its way when the signal came, and only
/// the client was late to read it.
///
/// A response that was sent before the signal says nothing of what the signal did.
fn answered(request: &Request, at: Bracket, source: Source) -> Option<Phase> {
    let is_told_by_length = request.framing != Some(Framing::CloseDelimited);
    if request.end != RequestEnd::Complete || !is_told_by_length || request.response_bytes == 0 {
        return None;
    }
    let end = request.response_offset + request.response_bytes;
    match source {
        Source::Kernel(Around { before: Some(before), .. }) if before.sent >= end => {
            Some(Phase::Finished)
        }
        Source::Kernel(Around { after: Some(after), .. }) if after.sent >= end => {
            Some(Phase::Ambiguous)
        }
        Source::Time(margin) if request.ended.since(at.before) < margin => Some(Phase::Ambiguous),
        Source::Kernel(_) | Source::Time(_) => None,
    }
}

/// The phase of a request whose head was not wholly sent: of interest only if the program had begun
/// to read it, which the kernel alone can show.
fn head_under_way(request: &Request, source: Source) -> Phase {
    match source {
        Source::Kernel(around) => match from_kernel(request, false, around) {
            Phase::PartialHead => Phase::PartialHead,
            _ => Phase::Ambiguous,
        },
        Source::Time(_) => Phase::Ambiguous,
    }
}

fn from_time(request: &Request, sent: bool, at: Bracket, margin: Duration) -> Phase {
    let last = if sent { request.sent } else { request.head_sent };
    match last {
        Some(last) if at.before.since(last) < margin => Phase::Ambiguous,
        Some(_) if sent => Phase::Processing,
        Some(_) => Phase::Uploading,
        None => Phase::Ambiguous,
    }
}

fn from_kernel(request: &Request, sent: bool, around: Around) -> Phase {
    let Some(before) = around.before.map(|socket| seen_in(request, sent, socket)) else {
        return Phase::Ambiguous;
    };
    // What a program has read it can't give back, so the earlier sight is enough.
    if before.is_in_process() {
        return before;
    }
    match around.after.map(|socket| seen_in(request, sent, socket)) {
        Some(after) if after == before => before,
        _ => Phase::Ambiguous,
    }
}

/// The phase that one sight of the server's socket shows.
fn seen_in(request: &Request, sent: bool, socket: SocketSeen) -> Phase {
    let read = socket.received.saturating_sub(u64::from(socket.unread));
    let of_this = read.saturating_sub(request.stream_offset);
    if !socket.accepted {
        Phase::Queued
    } else if of_this == 0 {
        Phase::Delivered
    } else if of_this < u64::from(request.head_bytes) {
        Phase::PartialHead
    } else if sent && of_this >= u64::from(request.total_bytes) {
        Phase::Processing
    } else {
        // The head is read. Of the body, some is unread or unsent: either way the program has
        // begun with it and the rest is on its way.
        Phase::Uploading
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::{BodySeen, ConnectionEnd, RequestEnd};
    use super::*;

    const AT: Bracket =
        Bracket { before: Nanos::from_ms(1000), after: Nanos::from_ns(1_000_020_000) };

    fn connection(started_ms: u64) -> Connection {
        Connection {
            connection: 1,
            local_port: Some(40_000),
            started: Nanos::from_ms(started_ms),
            established: Some(Nanos::from_ms(started_ms)),
            ended: Nanos::from_ms(3000),
            end: ConnectionEnd::ClosedByServer,
        }
    }

    /// A request of 100 bytes, of which 60 are the head, on a connection that carried 40 before.
    fn request(started_ms: u64) -> Request {
        let sent = Some(Nanos::from_ms(started_ms));
        Request {
            request: 1,
            connection: 1,
            template: 0,
            head_bytes: 60,
            total_bytes: 100,
            stream_offset: 40,
            response_offset: 0,
            response_bytes: 0,
            started: Nanos::from_ms(started_ms),
            head_sent: sent,
            sent,
            first_byte: None,
            head_received: None,
            parts: [].into(),
            ended: Nanos::from_ms(2000),
            end: RequestEnd::Complete,
            status: Some(200),
            close_announced: false,
            http_1_0: false,
            sent_while_open: false,
            stalled: false,
            framing: None,
            body: BodySeen::default(),
        }
    }

    fn socket(accepted: bool, received: u64, unread: u32) -> Option<SocketSeen> {
        Some(SocketSeen { connection: 1, accepted, unread, received, sent: 0, unsent: 0 })
    }

    fn kernel(before: Option<SocketSeen>, after: Option<SocketSeen>) -> Phase {
        let around = Around { before, after };
        phase(&request(990), &connection(900), AT, Source::Kernel(around))
    }

    #[test]
    fn bytes_read_by_the_program_are_in_process_even_if_the_socket_is_gone_after() {
        assert_eq!(kernel(socket(true, 140, 0), None), Phase::Processing);
    }

    #[test]
    fn bytes_unread_are_delivered_or_queued() {
        let delivered = socket(true, 140, 100);
        assert_eq!(kernel(delivered, delivered), Phase::Delivered);
        let queued = socket(false, 140, 140);
        assert_eq!(kernel(queued, queued), Phase::Queued);
    }

    #[test]
    fn two_sights_that_disagree_accuse_nobody() {
        assert_eq!(kernel(socket(false, 140, 140), socket(true, 140, 0)), Phase::Ambiguous);
        assert_eq!(kernel(socket(true, 140, 100), None), Phase::Ambiguous);
        assert_eq!(kernel(None, None), Phase::Ambiguous);
    }

    #[test]
    fn a_part_of_the_head_or_of_the_body() {
        let head = socket(true, 140, 70);
        assert_eq!(kernel(head, head), Phase::PartialHead);
        assert_eq!(kernel(socket(true, 140, 20), None), Phase::Uploading);
    }

    #[test]
    fn half_a_head_is_told_by_what_was_read_of_it() {
        let mut request = request(990);
        request.head_sent = Some(Nanos::from_ms(1020));
        request.sent = request.head_sent;
        let at = |before, after| {
            phase(&request, &connection(900), AT, Source::Kernel(Around { before, after }))
        };
        let half_read = socket(true, 70, 0);
        assert_eq!(at(half_read, half_read), Phase::PartialHead);
        assert_eq!(
            at(half_read, socket(true, 140, 0)),
            Phase::Ambiguous,
            "the rest came meanwhile"
        );
        let unread = socket(true, 70, 30);
        assert_eq!(at(unread, unread), Phase::Ambiguous, "the program has nothing of it");
    }

    #[test]
    fn a_response_that_was_sent_before_the_signal_shows_nothing_of_it() {
        let mut request = request(990);
        (request.response_offset, request.response_bytes) = (70, 30);
        let sent = |sent| socket(true, 140, 0).map(|socket| SocketSeen { sent, ..socket });
        let at = |before, after| {
            phase(&request, &connection(900), AT, Source::Kernel(Around { before, after }))
        };
        assert_eq!(at(sent(100), sent(100)), Phase::Finished);
        assert_eq!(at(sent(70), sent(100)), Phase::Ambiguous);
        assert_eq!(at(sent(70), sent(70)), Phase::Processing);
        assert_eq!(at(sent(99), None), Phase::Processing);
    }

    #[test]
    fn without_the_kernel_only_old_requests_count_as_read() {
        let margin = Source::Time(Duration::from_millis(100));
        assert_eq!(phase(&request(850), &connection(800), AT, margin), Phase::Processing);
        assert_eq!(phase(&request(950), &connection(800), AT, margin), Phase::Ambiguous);
    }

    #[test]
    fn a_response_that_began_proves_that_the_request_was_read() {
        let mut request = request(990);
        request.first_byte = Some(Nanos::from_ms(995));
        let margin = Source::Time(Duration::from_millis(100));
        assert_eq!(phase(&request, &connection(900), AT, margin), Phase::Processing);
    }

    #[test]
    fn what_was_sent_after_the_signal_is_late_and_what_spans_it_is_ambiguous() {
        let kernel = Source::Kernel(Around::default());
        assert_eq!(phase(&request(1100), &connection(900), AT, kernel), Phase::ReusedLate);
        assert_eq!(phase(&request(1100), &connection(1050), AT, kernel), Phase::ConnectedLate);
        let mut spanning = request(999);
        spanning.head_sent = Some(Nanos::from_ms(1001));
        assert_eq!(phase(&spanning, &connection(900), AT, kernel), Phase::Ambiguous);
    }

    #[test]
    fn what_ended_while_the_signal_was_being_sent_accuses_nobody() {
        let mut request = request(500);
        request.ended = AT.after;
        let margin = Source::Time(Duration::from_millis(100));
        assert_eq!(phase(&request, &connection(400), AT, margin), Phase::Ambiguous);
    }

    #[test]
    fn a_request_that_was_over_is_nobodys_concern() {
        let mut request = request(500);
        request.ended = Nanos::from_ms(600);
        let source = Source::Kernel(Around::default());
        assert_eq!(phase(&request, &connection(400), AT, source), Phase::Finished);
    }
}
