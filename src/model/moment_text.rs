//! Moments as people write and read them: exactly, so that what is written is what is tried again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::moment::{JobLandmark, Landmark, Moment};
use super::near::{NearLandmark, NearMoment};
use super::start::{StartLandmark, StartMoment};
use super::syscall::PointManner;

/// The text is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no moment: use one such as 'reached', 'sent', 'first-byte', '312.5 ms' (after the \
     load began), 'again +10 ms', 'handler +0.25 ms', 'after recv #1, held' or 'job-half-way'"
)]
pub struct UnknownMoment(String);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::Uniform { after } => f.write_str(&exact(*after)),
            Moment::AfterPrevious { gap } => write!(f, "again +{}", exact(*gap)),
            Moment::Start(moment) => moment.fmt(f),
            Moment::AtSyscall { point, manner } => write!(f, "{point}{}", manner.suffix()),
            Moment::Near(moment) => moment.fmt(f),
            Moment::Reached | Moment::Landmark { .. } | Moment::Job { .. } => {
                f.write_str(self.name())
            }
        }
    }
}

impl FromStr for Moment {
    type Err = UnknownMoment;
    fn from_str(text: &str) -> Result<Self, UnknownMoment> {
        let text = text.trim();
        let known = || {
            if text == Moment::Reached.name() {
                return Some(Moment::Reached);
            }
            if let Some(landmark) = Landmark::ALL.into_iter().find(|it| it.name() == text) {
                return Some(Moment::Landmark { landmark });
            }
            if let Some(landmark) = JobLandmark::ALL.into_iter().find(|it| it.name() == text) {
                return Some(Moment::Job { landmark });
            }
            if let Some(gap) = text.strip_prefix("again +") {
                return Some(Moment::AfterPrevious { gap: duration(gap)? });
            }
            let (point, manner) = PointManner::split(text);
            if let Ok(point) = point.parse() {
                return Some(Moment::AtSyscall { point, manner });
            }
            let start = || start(text).map(Moment::Start);
            let near = || near(text).map(Moment::Near);
            duration(text).map(|after| Moment::Uniform { after }).or_else(start).or_else(near)
        };
        known().ok_or_else(|| UnknownMoment(text.to_owned()))
    }
}

impl fmt::Display for StartMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartMoment::Within { permille } => {
                write!(f, "start {}.{} %", permille / 10, permille % 10)
            }
            StartMoment::Near { landmark, offset_us } => {
                let sign = if *offset_us < 0 { '-' } else { '+' };
                let offset = Duration::from_micros(offset_us.unsigned_abs());
                write!(f, "{} {sign}{}", landmark.name(), exact(offset))
            }
        }
    }
}

fn start(text: &str) -> Option<StartMoment> {
    let (name, rest) = text.split_once(' ')?;
    if name == "start" {
        let (percent, tenths) = rest.strip_suffix('%')?.trim_end().split_once('.')?;
        let [percent, tenths]: [u16; 2] = [percent.parse().ok()?, tenths.parse().ok()?];
        let permille = percent.checked_mul(10)?.checked_add(tenths).filter(|_| tenths < 10)?;
        return Some(StartMoment::Within { permille });
    }
    let landmark = StartLandmark::ALL.into_iter().find(|landmark| landmark.name() == name)?;
    Some(StartMoment::Near { landmark, offset_us: offset_us(rest)? })
}

/// `accept +37 µs`, `first byte -1.2 ms (kept)`.
impl fmt::Display for NearMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.offset_us < 0 { '-' } else { '+' };
        write!(f, "{} {sign}", self.landmark.name())?;
        match self.offset_us.unsigned_abs() {
            short @ 0..1_000 => write!(f, "{short} µs")?,
            us => f.write_str(&exact(Duration::from_micros(us)))?,
        }
        f.write_str(match (self.kept, self.slow) {
            (false, false) => "",
            (true, false) => " (kept)",
            (false, true) => " (slow)",
            (true, true) => " (kept, slow)",
        })
    }
}

fn near(text: &str) -> Option<NearMoment> {
    let (moment, request) = match text.split_once(" (") {
        Some((moment, rest)) => (moment, rest.strip_suffix(')')?),
        None => (text, ""),
    };
    let (kept, slow) = match request {
        "" => (false, false),
        "kept" => (true, false),
        "slow" => (false, true),
        "kept, slow" => (true, true),
        _ => return None,
    };
    let all = NearLandmark::ALL.into_iter();
    let mut after_name = all.filter_map(|it| Some((it, moment.strip_prefix(it.name())?)));
    let (landmark, offset) = after_name.find(|(_, rest)| rest.starts_with(' '))?;
    Some(NearMoment { landmark, offset_us: offset_us(offset.trim_start())?, kept, slow })
}

/// A signed offset, in whole microseconds.
fn offset_us(text: &str) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let ns = duration(rest)?.as_nanos();
    let us = i64::try_from(ns / 1000).ok().filter(|_| ns.is_multiple_of(1000))?;
    Some(sign * us)
}

/// A time in milliseconds, with as many decimals as it has.
pub fn exact(time: Duration) -> String {
    let (ms, rest_ns) = (time.as_millis(), time.subsec_nanos() % 1_000_000);
    let decimals = format!("{rest_ns:06}");
    match decimals.trim_end_matches('0') {
        "" => format!("{ms} ms"),
        decimals => format!("{ms}.{decimals} ms"),
    }
}

/// A time with a unit (ns, us, µs, ms or s) and without a sign, to the nanosecond.
pub fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    let unit_ns: u128 = match unit.trim() {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return None,
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let mut ns = whole.parse::<u128>().ok()?.checked_mul(unit_ns)?;
    // No unit has more than nine places down to a nanosecond.
    if decimals.is_empty() || decimals.len() > 9 {
        return None;
    }
    let (part, scale) = (decimals.parse::<u128>().ok()?, 10u128.pow(decimals.len() as u32));
    ns = ns.checked_add((part * unit_ns) / scale)?;
    let seconds = u64::try_from(ns / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, (ns % 1_000_000_000) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<Moment>();
        let landmark = Landmark::FirstByte;
        assert_eq!(read("first-byte"), Ok(Moment::Landmark { landmark }));
        assert_eq!(read("1.5 s"), Ok(Moment::Uniform { after: Duration::from_millis(1500) }));
        assert_eq!(read("312.5ms"), Ok(Moment::Uniform { after: Duration::from_micros(312_500) }));
        let gap = Duration::from_micros(20);
        assert_eq!(read("again +20 µs"), Ok(Moment::AfterPrevious { gap }));
        let near = StartMoment::Near { landmark: StartLandmark::Handler, offset_us: -250 };
        assert_eq!(read("handler -0.25 ms"), Ok(Moment::Start(near)));
        let held = Moment::AtSyscall {
            point: "after recv #1 (kept)".parse().unwrap(),
            manner: PointManner::Held,
        };
        assert_eq!(read("after recv #1 (kept), held"), Ok(held));
        assert_eq!(held.to_string(), "after recv #1 (kept), held");
        let landmark = NearLandmark::FirstByte;
        let near = NearMoment { landmark, offset_us: -1_200, kept: true, slow: false };
        assert_eq!(read("first byte -1.2 ms (kept)"), Ok(Moment::Near(near)));
        for text in [
            "",
            "soon",
            "accept",
            "accept +1 ms (late)",
            "12",
            "again 10 ms",
            "start 45 %",
            "handler 2 ms",
            "-1 ms",
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("is no moment"), "{text}: {error}");
        }
    }

    #[test]
    fn times_are_written_as_long_as_they_are() {
        assert_eq!(exact(Duration::from_millis(10)), "10 ms");
        assert_eq!(exact(Duration::from_nanos(1_000_001)), "1.000001 ms");
        assert_eq!(exact(Duration::ZERO), "0 ms");
    }
}
