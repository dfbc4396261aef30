//! A slice of a plan: what one of several machines does of it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// As many slices are more than anybody has machines for.
pub const COUNT_MAX: u32 = 1000;

/// One slice of a plan, of so many; the whole is the only one of one.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Partition {
    /// Which one, from 1.
    pub index: u32,
    /// How many there are.
    pub count: u32,
}

impl Partition {
    /// All of a plan.
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    /// The slice with this number, from 1.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(index: u32, count: u32) -> Result<Self, BadPartition> {
        match (1..=COUNT_MAX).contains(&count) && (1..=count).contains(&index) {
            true => Ok(Self { index, count }),
            false => Err(BadPartition::Range { index, count }),
        }
    }

    /// Whether there are others beside it.
    pub fn is_part(self) -> bool {
        self.count > 1
    }

    /// Whether it has the item in this place, from 0, where they are dealt out in turns.
    pub fn has(self, place: u64) -> bool {
        place % u64::from(self.count) == u64::from(self.index - 1)
    }
}

impl Default for Partition {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slice:{}/{}", self.index, self.count)
    }
}

/// What is no slice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPartition {
    /// The number of the slice, or of all of them, can't be.
    #[error(
        "there is no slice {index} of {count}: they count from 1, and there may be {COUNT_MAX}"
    )]
    Range {
        /// Which one.
        index: u32,
        /// Of how many.
        count: u32,
    },
    /// Another way to divide tests, as nextest has it.
    #[error(
        "a plan is not divided by {0}: its comparisons would be torn apart; use slice, as in slice:1/3"
    )]
    Kind(String),
    /// It is none.
    #[error("{0:?} is no slice: write slice:1/3, or auto")]
    Text(String),
}

impl FromStr for Partition {
    type Err = BadPartition;
    fn from_str(text: &str) -> Result<Self, BadPartition> {
        let bad = || BadPartition::Text(text.to_owned());
        let (kind, numbers) = text.split_once(':').ok_or_else(bad)?;
        match kind {
            "slice" => {}
            "count" | "hash" => return Err(BadPartition::Kind(kind.to_owned())),
            _ => return Err(bad()),
        }
        let (index, count) = numbers.split_once('/').ok_or_else(bad)?;
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().map_err(|_| bad()),
            false => Err(bad()),
        };
        Self::new(number(index)?, number(count)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["slice:1/1", "slice:2/3", "slice:1000/1000"] {
            assert_eq!(text.parse::<Partition>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_none_says_what_would_be_one() {
        let told = |text: &str| text.parse::<Partition>().unwrap_err().to_string();
        for text in ["", "1/3", "slice:1", "slice:a/3", "slice:+1/3", "slice:/", "slices:1/3"] {
            assert!(told(text).contains("write slice:1/3, or auto"), "{text}: {}", told(text));
        }
        assert!(told("hash:1/3").contains("not divided by hash"), "{}", told("hash:1/3"));
        for text in ["slice:0/3", "slice:4/3", "slice:1/0", "slice:1/1001"] {
            assert!(told(text).contains("there is no slice"), "{text}");
        }
    }
}
