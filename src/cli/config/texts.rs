//! Values of the configuration file that are written as texts, or as one text or several.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use crate::cli::values::{self, JobUrl, PathSpec};
use crate::model::bound::Bound;
use crate::model::contract::ExpectedExit;
use crate::model::plan::Situation;
use crate::model::signal::Signal;

const A_TIME: &str = r#"a length of time such as "30s""#;

/// The id of an invariant of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InvariantId(pub &'static str);

impl<'de> Deserialize<'de> for InvariantId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        required(deserializer, "the id of an invariant", values::invariant).map(InvariantId)
    }
}

/// The command of a target. One text is the program alone: whether the spaces in it separate
/// arguments is not guessed.
pub(super) fn command<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let expected = "a program, or an array of a program and its arguments";
    let words = many(from, expected, |text| Ok(text.to_owned()))?;
    match &words[..] {
        [] => Err(D::Error::custom("target is empty: name a program")),
        [program] if program.contains(char::is_whitespace) => {
            let array: Vec<_> = program.split_whitespace().collect();
            Err(D::Error::custom(format!("write a target with arguments as an array: {array:?}")))
        }
        _ => Ok(words),
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    required(from, A_TIME, values::duration).map(Some)
}

pub(super) fn positive_duration<'de, D>(from: D) -> Result<Option<Duration>, D::Error>
where
    D: Deserializer<'de>,
{
    required(from, A_TIME, values::positive_duration).map(Some)
}

pub(super) fn job_url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<JobUrl>, D::Error> {
    required(from, "a page such as \"/jobs\"", values::job_url).map(Some)
}

pub(super) fn path_spec<'de, D>(from: D) -> Result<Option<PathSpec>, D::Error>
where
    D: Deserializer<'de>,
{
    required(from, "a request such as \"POST /jobs\"", values::path_spec).map(Some)
}

pub(super) fn connections<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    bounded(from, "a number from 1 to 10000", 1, 10_000).map(Some)
}

pub(super) fn status<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    bounded(from, "a status code from 100 to 599", 100, 599).map(Some)
}

pub(super) fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    required(from, "requests a second", values::rate).map(Some)
}

pub(super) fn bound<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bound>, D::Error> {
    required(from, r#"a rate such as "1%""#, |text| {
        text.parse::<Bound>().map_err(|bad| bad.to_string())
    })
    .map(Some)
}

pub(super) fn seed<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    required(from, r#"a number, or a text such as "0x9f31c2""#, values::seed).map(Some)
}

pub(super) fn signals<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Signal>, D::Error> {
    many(from, "the name of a signal, or an array of names", values::signal)
}

pub(super) fn situations<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Situation>, D::Error> {
    many(from, "the name of a situation, or an array of names", values::situation)
}

pub(super) fn exits<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ExpectedExit>, D::Error> {
    many(from, r#"an exit status, "signal:TERM", or an array of them"#, str::parse)
}

pub(super) fn pattern<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    required(from, "a regular expression", values::pattern).map(Some)
}

pub(super) fn patterns<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    many(from, "a regular expression, or an array of them", values::pattern)
}

pub(super) fn job_patterns<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    many(from, "a regular expression, or an array of them", values::job_pattern)
}

pub(super) fn files<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    many(from, "a file's path, or an array of them", |text| Ok(text.to_owned()))
}

pub(super) fn path<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    required(from, r#"a path such as "/orders""#, values::path)
}

pub(super) fn method<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    required(from, r#"a method such as "POST""#, values::method).map(Some)
}

pub(super) fn headers<'de, D>(from: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    let fields = BTreeMap::<String, String>::deserialize(from)?;
    let checked = fields.iter().map(|(name, value)| values::header_field(name, value));
    checked.collect::<Result<_, _>>().map_err(D::Error::custom)
}

fn bounded<'de, D>(from: D, expected: &'static str, low: u16, high: u16) -> Result<u16, D::Error>
where
    D: Deserializer<'de>,
{
    let text = required(from, expected, |text| Ok(text.to_owned()))?;
    match text.parse() {
        Ok(number) if (low..=high).contains(&number) => Ok(number),
        _ => Err(D::Error::custom(format!("expected {expected}, found {text}"))),
    }
}

fn required<'de, D, T>(from: D, expected: &'static str, parse: Parse<T>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let texts = Texts { expected, list: false, parse };
    let found = from.deserialize_any(texts)?.pop();
    found.ok_or_else(|| D::Error::custom(format!("expected {expected}")))
}

fn many<'de, D, T>(from: D, expected: &'static str, parse: Parse<T>) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
{
    from.deserialize_any(Texts { expected, list: true, parse })
}

type Parse<T> = fn(&str) -> Result<T, String>;

/// Reads a text, or a number as its text, or where `list` allows it an array of them.
struct Texts<T> {
    expected: &'static str,
    list: bool,
    parse: Parse<T>,
}

impl<'de, T> Visitor<'de> for Texts<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        (self.parse)(text).map(|value| vec![value]).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Vec<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Vec<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        if !self.list {
            return Err(A::Error::custom(format!("expected {}, found an array", self.expected)));
        }
        while let Some(value) = array.next_element_seed(Texts { list: false, ..self })? {
            values.extend(value);
        }
        Ok(values)
    }
}

impl<'de, T> DeserializeSeed<'de> for Texts<T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<T>, D::Error> {
        from.deserialize_any(self)
    }
}
