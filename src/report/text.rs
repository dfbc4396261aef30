//! Plain text in a given width: words are wrapped, and what can't be wrapped is cut.

/// How many columns a text takes; every character that this program writes takes one.
pub(super) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// The text on one line without control characters: what a target wrote must not move the cursor.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// The text, or as much of it as fits, with an ellipsis where it was cut.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

/// The words of a text in lines of at most `width` columns; words that are longer are split.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    for word in clean(text).split_whitespace() {
        let mut rest = word;
        loop {
            let line = lines.last_mut().expect("there is always a line");
            let used = if line.is_empty() { 0 } else { columns(line) + 1 };
            if used + columns(rest) <= width {
                if used > 0 {
                    line.push(' ');
                }
                line.push_str(rest);
                break;
            }
            if used > 0 {
                lines.push(String::new());
                continue;
            }
            let split = rest.char_indices().nth(width).map_or(rest.len(), |(at, _)| at);
            line.push_str(&rest[..split]);
            rest = &rest[split..];
            lines.push(String::new());
        }
    }
    lines
}

/// A paragraph in which `first` stands before the first line, and the other lines are indented
/// as far.
pub(crate) fn hanging(first: &str, text: &str, width: usize) -> String {
    let indent = columns(first);
    let mut paragraph = String::new();
    for (at, line) in wrap(text, width.saturating_sub(indent)).iter().enumerate() {
        let row = match at {
            0 => format!("{first}{line}"),
            _ => format!("{:indent$}{line}", ""),
        };
        paragraph.push_str(row.trim_end());
        paragraph.push('\n');
    }
    paragraph
}

/// A command with `first` before it, in lines that a shell takes for one: they are broken between its
/// words only, so that one that is too long for a line has it for itself.
pub(super) fn pasted(first: &str, command: &str, width: usize) -> String {
    let indent = columns(first);
    // Room for what says that it goes on.
    let width = width.saturating_sub(indent + 2);
    let mut lines: Vec<String> = Vec::new();
    for word in shell_words(&clean(command)) {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(&word) <= width => {
                line.push_str(&format!(" {word}"));
            }
            _ => lines.push(word),
        }
    }
    format!("{first}{}\n", lines.join(&format!(" \\\n{:indent$}", "")))
}

/// The words of a command as they are written, with their quotes.
fn shell_words(command: &str) -> Vec<String> {
    let (mut words, mut is_quoted, mut is_escaped) = (vec![String::new()], false, false);
    for c in command.chars() {
        match c {
            ' ' if !is_quoted && !is_escaped => words.push(String::new()),
            c => {
                is_quoted ^= c == '\'' && !is_escaped;
                is_escaped = c == '\\' && !is_quoted && !is_escaped;
                words.last_mut().into_iter().for_each(|word| word.push(c));
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The same text in ASCII, as far as this program chose the characters; no line gets longer.
pub(super) fn ascii(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '─' | '·' | '–' => '-',
            '━' => '=',
            '├' | '┤' | '│' => '|',
            '┆' => ':',
            '┿' => '+',
            '✗' => 'x',
            '●' => '*',
            '→' => '>',
            '≤' => '<',
            '…' => '~',
            '×' => 'x',
            'µ' => 'u',
            c => c,
        })
        .collect()
}

/// A block of Markdown that is shown as it is; nothing in it ends it early.
pub(super) fn fenced(language: &str, text: &str) -> String {
    let text = text.trim_end_matches('\n').replace("```", "'''");
    format!("```{language}\n{text}\n```\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_is_broken_between_its_words_only() {
        let command = r"shutdown-check --path 'POST /a b' --header 'It'\''s: so it is' -- ./x";
        let text = pasted("  again  ", command, 40);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                r"  again  shutdown-check --path \",
                r"         'POST /a b' --header \",
                r"         'It'\''s: so it is' -- ./x",
            ]
        );
    }

    #[test]
    fn words_are_kept_whole_where_they_fit() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap("", 8), [""]);
    }

    #[test]
    fn the_cut_is_visible() {
        assert_eq!(cut("a long reason", 7), "a long…");
        assert_eq!(cut("short", 5), "short");
    }

    #[test]
    fn what_a_target_wrote_does_not_move_the_cursor() {
        assert_eq!(clean("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb c");
    }

    #[test]
    fn later_lines_are_indented_like_the_first() {
        assert_eq!(hanging("  why  ", "it is so", 12), "  why  it is\n       so\n");
    }

    proptest! {
        #[test]
        fn no_line_is_too_long_and_no_word_is_lost(text in "[a-z é·]{0,200}", width in 1usize..90) {
            let lines = wrap(&text, width);
            prop_assert!(lines.iter().all(|line| columns(line) <= width));
            let letters = |text: &str| text.replace(' ', "");
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
