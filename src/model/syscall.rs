//! The boundaries of a target's system calls, named by the story of the connection under test.
//!
//! A count of calls since the target's start, or since the request's, is not the same from one
//! time to the next where there are several threads; that of one connection is.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A boundary of a system call that the target makes for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SyscallPoint {
    /// Which request of its connection.
    pub reach: Reach,
    /// Whether the call is about to begin, or has come back.
    pub side: Side,
    /// The call.
    pub call: Call,
    /// Which of the calls of its kind, from 1, counted for this request.
    pub nth: u16,
}

/// Which request of its connection is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reach {
    /// The first one, on a connection that is opened for it.
    Fresh,
    /// The next one, on a connection that was kept.
    Kept,
}

/// The side of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The thread is about to make it.
    Before,
    /// The kernel has done it, and the program does not know yet.
    After,
}

/// A kind of system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// One that waits for several descriptors, and tells of the listening socket or of the
    /// connection: epoll_wait(2), poll(2), select(2).
    Wait,
    /// accept(2) and accept4(2).
    Accept,
    /// read(2), readv(2), recvfrom(2), recvmsg(2).
    Recv,
    /// write(2), writev(2), sendto(2), sendmsg(2), sendfile(2), splice(2).
    Send,
    /// shutdown(2).
    Shutdown,
    /// close(2).
    Close,
}

/// What is done at the point, besides that the signal is sent.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PointManner {
    /// Nothing: the thread goes on at once.
    Plain,
    /// The thread stays there a little longer, while the others go on.
    Held,
    /// One more connection waits in the accept queue, with its request.
    Extra,
}

impl SyscallPoint {
    /// Whether its number is written: a request is accepted once, and its connection closed once,
    /// unless several processes have it.
    fn is_counted(self) -> bool {
        self.nth > 1 || matches!(self.call, Call::Wait | Call::Recv | Call::Send)
    }
}

impl Call {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Call::Wait => "wait",
            Call::Accept => "accept",
            Call::Recv => "recv",
            Call::Send => "send",
            Call::Shutdown => "shutdown",
            Call::Close => "close",
        }
    }

    const ALL: [Call; 6] =
        [Call::Wait, Call::Accept, Call::Recv, Call::Send, Call::Shutdown, Call::Close];
}

impl Side {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Side::Before => "before",
            Side::After => "after",
        }
    }
}

impl PointManner {
    /// Every manner.
    pub const ALL: [PointManner; 3] = [PointManner::Plain, PointManner::Held, PointManner::Extra];

    /// What is added to a point's name in reports.
    pub fn suffix(self) -> &'static str {
        match self {
            PointManner::Plain => "",
            PointManner::Held => ", held",
            PointManner::Extra => ", one queued",
        }
    }

    /// A point's name, and the manner that stands after it.
    pub fn split(text: &str) -> (&str, PointManner) {
        let others = [PointManner::Held, PointManner::Extra];
        let named = |manner: PointManner| Some((text.strip_suffix(manner.suffix())?, manner));
        others.into_iter().find_map(named).unwrap_or((text, PointManner::Plain))
    }
}

/// `after accept`, `before recv #1`; of a kept connection `after recv #1 (kept)`.
impl fmt::Display for SyscallPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.side.name(), self.call.name())?;
        if self.is_counted() {
            write!(f, " #{}", self.nth)?;
        }
        match self.reach {
            Reach::Fresh => Ok(()),
            Reach::Kept => f.write_str(" (kept)"),
        }
    }
}

/// A text that names no point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a point of a system call is written like `after accept`, `before recv #1`, or `after \
         recv #1 (kept)`"
)]
pub struct NoPoint;

impl FromStr for SyscallPoint {
    type Err = NoPoint;

    fn from_str(text: &str) -> Result<Self, NoPoint> {
        let (text, reach) = match text.trim().strip_suffix(" (kept)") {
            Some(text) => (text, Reach::Kept),
            None => (text.trim(), Reach::Fresh),
        };
        let mut words = text.split(' ');
        let side = match words.next() {
            Some("before") => Side::Before,
            Some("after") => Side::After,
            _ => return Err(NoPoint),
        };
        let name = words.next().ok_or(NoPoint)?;
        let call = Call::ALL.into_iter().find(|call| call.name() == name).ok_or(NoPoint)?;
        let nth = match words.next() {
            Some(number) => {
                let number = number.strip_prefix('#').ok_or(NoPoint)?;
                number.parse().ok().filter(|nth| *nth > 0).ok_or(NoPoint)?
            }
            None => 1,
        };
        let point = Self { reach, side, call, nth };
        let is_right = words.next().is_none() && (nth == 1 || call != Call::Accept);
        if is_right { Ok(point) } else { Err(NoPoint) }
    }
}

impl Serialize for SyscallPoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SyscallPoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for SyscallPoint {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SyscallPoint".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A boundary of a system call, such as `before recv #1`."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_as_it_is_written() {
        for text in ["after accept", "before recv #2", "after recv #1 (kept)", "before close"] {
            assert_eq!(text.parse::<SyscallPoint>().unwrap().to_string(), text);
        }
        let short: SyscallPoint = "before recv".parse().unwrap();
        assert_eq!(short.to_string(), "before recv #1");
    }

    #[test]
    fn anything_else_is_no_point() {
        for text in ["", "recv #1", "after", "after recv 1", "after recv #0", "after accept #2"] {
            assert_eq!(text.parse::<SyscallPoint>(), Err(NoPoint), "{text}");
        }
        assert_eq!("after recv #1 (kept) twice".parse::<SyscallPoint>(), Err(NoPoint));
    }
}
