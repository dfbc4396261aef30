//! How a request ended.

/// How a request ended: facts, compared with what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Status, length and hash as expected, and the framing complete.
    Completed,
    /// The status is another.
    WrongStatus,
    /// Fewer bytes than announced or expected, or no final chunk.
    Truncated,
    /// As many bytes as announced, and not the expected ones; or no HTTP at all.
    Corrupt,
    /// FIN before the first byte of the response.
    ClosedWithoutResponse,
    /// RST.
    Reset,
    /// No end within the deadline or the client's limit.
    TimedOut,
    /// Turned away by a draining server, in so many words.
    Rejected,
    /// Whole or cut, nobody can tell: the body ends where the connection does, and there is none
    /// to compare it with (RFC 9112, section 8).
    Unverifiable,
}

impl Outcome {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::WrongStatus => "wrong-status",
            Outcome::Truncated => "truncated",
            Outcome::Corrupt => "corrupt",
            Outcome::ClosedWithoutResponse => "closed-without-response",
            Outcome::Reset => "reset",
            Outcome::TimedOut => "timed-out",
            Outcome::Rejected => "rejected",
            Outcome::Unverifiable => "unverifiable",
        }
    }
}
