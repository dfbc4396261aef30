//! Writes that are acknowledged or not, and what is there of them when the target is started again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::RequestEnd;
use super::time::Nanos;

/// One write, with a key and a value that no other has; the value is never kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Write {
    /// Its key.
    pub key: String,
    /// The client's port; `None` when it never got one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
    /// Just before the first write(2).
    pub started: Nanos,
    /// When the write(2) of the last byte returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Nanos>,
    /// When it was over, for this client.
    pub ended: Nanos,
    /// How it was over.
    pub outcome: WriteOutcome,
}

/// What a client knows of its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WriteOutcome {
    /// The answer says that it is done: the expected status, or one from 200 to 299.
    Acknowledged(u16),
    /// The answer has another status, and promises nothing.
    Refused(u16),
    /// No whole answer came, so that it may be done or not.
    Indeterminate(RequestEnd),
}

/// One key, read after the second start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadBack {
    /// The key.
    pub key: String,
    /// The status of the answer; `None` when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What there was.
    pub outcome: ReadOutcome,
}

/// What is there of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReadOutcome {
    /// The value.
    Present,
    /// Nothing, as before the write.
    Absent,
    /// Something else, or a part of it.
    Damaged,
    /// The answer tells nothing.
    Unknown,
}

/// What an answer to the reading of a written key shows.
///
/// `absent` is the status of the answer to a key that was never written. Where that is a success,
/// what has nothing of the value in it is taken for absent.
pub fn read_outcome(status: u16, body: &[u8], value: &str, absent: Option<u16>) -> ReadOutcome {
    let holds = |part: &str| body.windows(part.len()).any(|window| window == part.as_bytes());
    let is_success = |status: u16| (200..300).contains(&status);
    match status {
        404 | 410 => ReadOutcome::Absent,
        status if !is_success(status) => match absent {
            // That a server fails tells nothing, also where it usually does.
            Some(absent) if absent == status && status < 500 => ReadOutcome::Absent,
            _ => ReadOutcome::Unknown,
        },
        _ if holds(value) => ReadOutcome::Present,
        _ if absent.is_some_and(is_success) => {
            let quarter = value.len() / 4;
            let mut parts = (0..4).map(|n| &value[n * quarter..(n + 1) * quarter]);
            if parts.any(holds) { ReadOutcome::Damaged } else { ReadOutcome::Absent }
        }
        _ => ReadOutcome::Damaged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "0123456789abcdefghijklmnopqrstuv";

    fn outcome(status: u16, body: &str, absent: u16) -> ReadOutcome {
        read_outcome(status, body.as_bytes(), VALUE, Some(absent))
    }

    #[test]
    fn a_value_may_stand_in_any_body_of_a_success() {
        let body = format!("{{\"key\": 1, \"value\": {VALUE:?}}}");
        assert_eq!(outcome(200, &body, 404), ReadOutcome::Present);
        assert_eq!(outcome(203, VALUE, 200), ReadOutcome::Present);
        assert_eq!(outcome(500, VALUE, 404), ReadOutcome::Unknown);
    }

    #[test]
    fn half_a_value_is_damaged() {
        assert_eq!(outcome(200, &VALUE[..16], 404), ReadOutcome::Damaged);
        assert_eq!(outcome(200, &VALUE[16..], 200), ReadOutcome::Damaged);
        assert_eq!(outcome(200, "", 404), ReadOutcome::Damaged);
    }

    #[test]
    fn what_is_answered_as_for_any_other_key_is_absent() {
        assert_eq!(outcome(404, "", 404), ReadOutcome::Absent);
        assert_eq!(outcome(410, "", 404), ReadOutcome::Absent);
        assert_eq!(outcome(400, "no such key", 400), ReadOutcome::Absent);
        assert_eq!(outcome(200, "null", 200), ReadOutcome::Absent);
    }

    #[test]
    fn an_error_tells_nothing() {
        assert_eq!(outcome(503, "starting", 404), ReadOutcome::Unknown);
        assert_eq!(read_outcome(400, b"", VALUE, None), ReadOutcome::Unknown);
    }
}
