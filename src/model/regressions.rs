//! Known failures, as `shutdown-check.regressions.toml` has them: made to be read, committed, and
//! replayed first on every run.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::moment_text::{duration, exact};
use super::plan::{Arrivals, Hold, LoadShape, PlannedSignal, SignalTo, Situation, Trial};
use super::reproduction::Rate;
use super::signal::Signal;

/// Everything that the file has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Regressions {
    /// The failures, in the order in which they were found.
    #[serde(default)]
    pub regression: Vec<Regression>,
}

/// One known failure: a trial, without its number, and what it violates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Regression {
    /// The invariant that it violates.
    pub invariant: String,
    /// What the world looks like when the signal comes.
    pub situation: Situation,
    /// When the first signal comes.
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    pub moment: Moment,
    /// The first signal.
    pub signal: Signal,
    /// Who gets it, and the later ones; the leader where absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub to: SignalTo,
    /// The signals after it, such as "SIGTERM again +10 ms", or "19 x SIGTERM again +0.5 ms".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<String>,
    /// The only request that is asked for, such as "GET /orders"; where absent, what suits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// How many connections, of each kind that the situation consists of.
    pub connections: u16,
    /// How many kinds the situation consisted of, where that depends on the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<u16>,
    /// How long after the signal a connection asks that asks late, such as "200 ms"; where absent, each
    /// later than the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks_after: Option<String>,
    /// When a client of a load asks again, such as "5 ms after each answer", or "120 a second";
    /// at once where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<String>,
    /// Of a hundred connections, how many are kept for the next request; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<u8>,
    /// How many pooled clients ask beside the raw ones.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pooled_clients: u16,
    /// How long the target is held still after the signal, where it is held for the situation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<String>,
    /// Whether the target is PID 1.
    #[serde(default, skip_serializing_if = "is_default")]
    pub as_pid_1: bool,
    /// Whether it is started again after its exit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart: bool,
    /// The seed of everything that the trial draws, in hexadecimal digits.
    #[serde(with = "hexadecimal")]
    #[schemars(with = "String")]
    pub seed: u64,
    /// When it was found, and how often it failed: "2026-11-22, 9 of 10 runs"; the day alone where
    /// that is not known.
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    pub found: Found,
}

/// When a failure was found, and how often it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The day (ISO 8601).
    pub on: String,
    /// How often it failed.
    pub rate: Rate,
}

/// An entry that says something that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRegression {
    /// A later signal.
    #[error("again = {0:?} is no signal: write it as 'SIGTERM again +10 ms'")]
    Again(String),
    /// When a client asks again.
    #[error("pace = {0:?}: write '5 ms after each answer', or '120 a second'")]
    Pace(String),
    /// How long something takes.
    #[error("{0} = {1:?} is no time: write it as '150 ms'")]
    Time(&'static str, String),
    /// A trial without a signal violates nothing.
    #[error("a trial without a signal can't be recorded")]
    NoSignal,
}

impl Regression {
    /// The entry of a trial.
    ///
    /// # Errors
    /// When it has no signal.
    pub fn of(invariant: &str, trial: &Trial, found: Found) -> Result<Self, BadRegression> {
        let (first, later) = trial.signals.split_first().ok_or(BadRegression::NoSignal)?;
        let mut again: Vec<(usize, String)> = Vec::new();
        for planned in later {
            let text = later_text(planned, first.to);
            match again.last_mut() {
                Some((times, last)) if *last == text => *times += 1,
                _ => again.push((1, text)),
            }
        }
        let LoadShape { connections, arrivals, keep_alive_percent, pooled_clients } = trial.load;
        Ok(Self {
            invariant: invariant.to_owned(),
            situation: trial.situation,
            moment: first.moment,
            signal: first.signal,
            to: first.to,
            again: again
                .into_iter()
                .map(|(times, text)| if times == 1 { text } else { format!("{times} x {text}") })
                .collect(),
            request: trial.asks.clone(),
            connections,
            kinds: trial.kinds,
            asks_after: trial.asks_after.map(exact),
            pace: match arrivals {
                Arrivals::Closed { pause: Duration::ZERO } => None,
                Arrivals::Closed { pause } => Some(format!("{} after each answer", exact(pause))),
                Arrivals::Open { per_second } => Some(format!("{per_second} a second")),
            },
            keep_alive: (keep_alive_percent != 100).then_some(keep_alive_percent),
            pooled_clients,
            pause: trial.hold.map(|hold| exact(hold.pause)),
            as_pid_1: trial.as_pid_1,
            restart: trial.restart,
            seed: trial.seed,
            found,
        })
    }

    /// The trial, under this number.
    ///
    /// # Errors
    /// When a part of the entry can't be understood.
    pub fn trial(&self, number: u32) -> Result<Trial, BadRegression> {
        let first = PlannedSignal { signal: self.signal, to: self.to, moment: self.moment };
        let mut signals = vec![first];
        for text in &self.again {
            let later = later(text, self.to).ok_or_else(|| BadRegression::Again(text.clone()))?;
            signals.extend(later);
        }
        let arrivals = match self.pace.as_deref() {
            None => Arrivals::Closed { pause: Duration::ZERO },
            Some(text) => arrivals(text).ok_or_else(|| BadRegression::Pace(text.to_owned()))?,
        };
        let time = |name, text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            duration(text).map(Some).ok_or_else(|| BadRegression::Time(name, text.clone()))
        };
        Ok(Trial {
            number,
            seed: self.seed,
            situation: self.situation,
            load: LoadShape {
                connections: self.connections,
                arrivals,
                keep_alive_percent: self.keep_alive.unwrap_or(100),
                pooled_clients: self.pooled_clients,
            },
            asks: self.request.clone(),
            asks_after: time("asks-after", &self.asks_after)?,
            kinds: self.kinds,
            hold: time("pause", &self.pause)?.map(|pause| Hold { pause }),
            as_pid_1: self.as_pid_1,
            aside: false,
            signals,
            restart: self.restart,
        })
    }

    /// Whether both are the same thing to a reader of the file: the invariant, the situation, the
    /// signal and the kind of moment, or the system call.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let moment = |it: &Self| match it.moment {
            point @ Moment::AtSyscall { .. } => point.to_string(),
            moment => moment.name().to_owned(),
        };
        let key = |it: &Self| (it.invariant.clone(), it.situation, it.signal, moment(it));
        key(self) == key(other)
    }

    /// The entry as it stands in the file, below a comment that says what it is about.
    pub fn text(&self, about: &str) -> String {
        let about = about.replace(|c: char| c.is_control(), " ");
        // Numbers, switches and texts: there is nothing that TOML could not say.
        let body = toml::to_string(self).unwrap_or_default();
        format!("# {about}\n[[regression]]\n{body}")
    }
}

fn later_text(planned: &PlannedSignal, to: SignalTo) -> String {
    let PlannedSignal { signal, moment, .. } = planned;
    match planned.to == to {
        true => format!("{signal} {moment}"),
        false => format!("{signal} {moment} to {}", planned.to.name()),
    }
}

fn later(text: &str, to: SignalTo) -> Option<Vec<PlannedSignal>> {
    let (times, one) = match text.split_once(" x ") {
        Some((times, one)) => (times.parse::<u16>().ok()?, one),
        None => (1, text),
    };
    let (one, to) = match one.rsplit_once(" to ") {
        Some((one, whom)) => (one, SignalTo::ALL.into_iter().find(|it| it.name() == whom)?),
        None => (one, to),
    };
    // A signal without a name is two words.
    let (signal, moment) = one.match_indices(' ').find_map(|(at, _)| {
        Some((one[..at].parse::<Signal>().ok()?, one[at + 1..].parse::<Moment>().ok()?))
    })?;
    Some(vec![PlannedSignal { signal, to, moment }; times.into()])
}

fn arrivals(text: &str) -> Option<Arrivals> {
    if let Some(pause) = text.strip_suffix(" after each answer") {
        return Some(Arrivals::Closed { pause: duration(pause)? });
    }
    let per_second: f64 = text.strip_suffix(" a second")?.parse().ok()?;
    (per_second.is_finite() && per_second > 0.0).then_some(Arrivals::Open { per_second })
}

impl Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate.runs {
            0 => write!(f, "{}", self.on),
            _ => write!(f, "{}, {}", self.on, self.rate),
        }
    }
}

impl FromStr for Found {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: write it as '2026-11-22, 9 of 10 runs'");
        let is_day = |text: &str| {
            let parts = || text.split('-');
            let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
            parts().map(str::len).eq([4, 2, 2]) && parts().all(is_number)
        };
        let (on, rate) = match text.split_once(", ") {
            Some((on, rate)) => (on, rate.parse().map_err(|_| wrong())?),
            // What was not run again has no rate.
            None if is_day(text) => (text, Rate::default()),
            None => return Err(wrong()),
        };
        Ok(Self { on: on.to_owned(), rate })
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What is written and read as people do it.
mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A seed as people copy it; TOML's integers are too short for some.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(seed: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{seed:x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        let wrong = |_| serde::de::Error::custom(format!("{text:?}: a seed is hexadecimal digits"));
        u64::from_str_radix(&text, 16).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Regression {
        let text = "invariant = 'in-flight-requests-complete'\nsituation = 'slow-handler'\nmoment = \
                    'reached'\nsignal = 'TERM'\nconnections = 1\nseed = '61f0a2c9'\nfound = \
                    '2026-11-22, 9 of 10 runs'\n";
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_entry_says_only_what_is_not_usual() {
        let text = entry().text("One request\nis lost.");
        assert_eq!(
            text,
            "# One request is lost.\n[[regression]]\ninvariant = \
             \"in-flight-requests-complete\"\nsituation = \"slow-handler\"\nmoment = \
             \"reached\"\nsignal = \"SIGTERM\"\nconnections = 1\nseed = \"61f0a2c9\"\nfound = \
             \"2026-11-22, 9 of 10 runs\"\n"
        );
        assert_eq!(toml::from_str::<Regressions>(&text).unwrap().regression, [entry()]);
    }

    #[test]
    fn what_was_not_run_again_has_a_day_alone() {
        let unknown = Found { on: "2026-11-22".into(), rate: Rate::default() };
        assert_eq!(unknown.to_string(), "2026-11-22");
        assert_eq!("2026-11-22".parse(), Ok(unknown));
        for wrong in ["", "9 of 10 runs", "abcd-ef-gh", "2026-11-22, often"] {
            assert!(wrong.parse::<Found>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_can_not_be_understood_says_what_would_be_right() {
        let wrong = |change: fn(&mut Regression)| {
            let mut entry = entry();
            change(&mut entry);
            entry.trial(1).unwrap_err().to_string()
        };
        assert!(wrong(|it| it.pause = Some("long".into())).contains("150 ms"));
        assert!(wrong(|it| it.again = vec!["TERM".into()]).contains("SIGTERM again +10 ms"));
        assert!(wrong(|it| it.pace = Some("often".into())).contains("120 a second"));
    }

    #[test]
    fn the_same_thing_is_known_again_whatever_its_seed_and_rate() {
        let mut other = entry();
        (other.seed, other.connections) = (1, 3);
        assert!(entry().is_same_as(&other));
        other.situation = Situation::Load;
        assert!(!entry().is_same_as(&other));
    }
}
