//! Says what is wrong with a configuration file in the words of its author.

use std::ops::Range;

use crate::cli::values::advice;

/// The line, from 1, on which the span begins; the first where there is no span.
pub(super) fn line(text: &str, span: Option<Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start.min(text.len()));
    1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count()
}

/// The message of the parser, with the nearest known key, and what was expected first.
///
/// serde words the errors of derived code in these ways (`serde::de::Error`); other messages are
/// left as they are.
pub(super) fn explained(message: &str) -> String {
    let message = message.trim().replace('\n', ": ");
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (unknown, known) = quoted(rest);
        let advice = advice(unknown, known, "shutdown-check schema config");
        return format!("unknown key {unknown:?}; {advice}");
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        return format!("the key {:?} is missing", quoted(rest).0);
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (unknown, known) = quoted(rest);
        return format!("{unknown:?} is not possible here: use {}", known.join(" or "));
    }
    let wrong = ["invalid type: ", "invalid value: "];
    match wrong.iter().find_map(|wrong| message.strip_prefix(wrong)?.split_once(", expected ")) {
        Some((found, expected)) => {
            let expected = match expected {
                "a nonzero u16" => "a number from 1 to 65535",
                "a nonzero u32" => "a number from 1 to 4294967295",
                expected => expected,
            };
            format!("expected {expected}, found {found}")
        }
        None => message,
    }
}

/// The message with the key before it whose line the span is on, unless it names the key already.
/// Values are not repeated: they may be secrets.
pub(super) fn placed(message: String, text: &str, span: Option<Range<usize>>) -> String {
    let on_line = text.lines().nth(line(text, span) - 1).unwrap_or_default();
    let key = on_line.split_once('=').map_or("", |(key, _)| key).trim();
    match key.is_empty() || message.contains(key) {
        true => message,
        false => format!("{key}: {message}"),
    }
}

/// The first word between backticks, and the others.
fn quoted(text: &str) -> (&str, Vec<&str>) {
    let mut words = text.split('`').skip(1).step_by(2);
    (words.next().unwrap_or_default(), words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        assert_eq!(line("a\nb\nc", Some(4..5)), 3);
        assert_eq!(line("a\nb\nc", None), 1);
        assert_eq!(line("", Some(9..9)), 1);
    }

    #[test]
    fn the_nearest_key_is_named() {
        let message = "unknown field `dedline`, expected one of `deadline`, `budget`";
        assert_eq!(explained(message), r#"unknown key "dedline"; did you mean "deadline"?"#);
        assert_eq!(explained("something else"), "something else");
    }
}
