//! What in a user's words is a secret, and how a text is written without it.
//!
//! Secrets are known by their names: options, variables, header fields, parameters of a query; and
//! by their place, before the `@` of a URL.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::target::{RequestTemplate, Target};

/// What stands where a secret was.
pub const REDACTED: &str = "(redacted)";
/// Values that are shorter, or numbers, may stand in any text by chance: they are hidden only beside
/// their names.
const LENGTH_MIN: usize = 6;

/// What the name of a secret has in it.
const NAMES: &str = "passw(?:or)?d|passphrase|secret|token|signature|credential|authorization|cookie\
                     |(?:api|access|private)[-_]?key";

static NAME: LazyLock<Regex> = LazyLock::new(|| regex(&format!("(?i){NAMES}")));

/// The ways in which a value stands beside its name, and credentials in a URL.
static BESIDE: LazyLock<[Regex; 4]> = LazyLock::new(|| {
    let name = format!(r"(?i:[\w.-]*(?:{NAMES})[\w.-]*)");
    let value = r#"(?<value>"[^"]*"|'[^']*'|[^\s'"&;]+)"#;
    [
        regex(&format!(r#"{name}["']?={value}"#)),
        regex(&format!(r#"{name}["']?:\s*["']?(?<value>[^'"\r\n]+)"#)),
        regex(&format!(r#"(?:^|\s)-{name}\s+{value}"#)),
        regex(r#"(?<value>[^\s:/@'"=]*:[^\s/@'"]+)@"#),
    ]
});

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns of this file are tested")
}

/// Whether the name of an option, a variable, a header field or a parameter says that its value is a
/// secret.
pub fn is_secret(name: &str) -> bool {
    NAME.is_match(name)
}

/// The words of a command line without the secrets in them.
pub fn hidden_words(words: &[String]) -> Vec<String> {
    let hidden = |(at, word): (usize, &String)| match is_named_by_the_one_before(words, at) {
        true => REDACTED.to_owned(),
        false => hidden_text(word),
    };
    words.iter().enumerate().map(hidden).collect()
}

/// A command line, a request or a URL without the secrets in it.
pub fn hidden_text(text: &str) -> String {
    let mut hidden = text.to_owned();
    let mut values: Vec<Range<usize>> = found(text).into_iter().map(|(_, value)| value).collect();
    values.sort_by_key(|value| (value.start, std::cmp::Reverse(value.end)));
    values.dedup_by(|later, earlier| later.start < earlier.end);
    for value in values.into_iter().rev() {
        hidden.replace_range(value, REDACTED);
    }
    hidden
}

/// Whether the word is the value of an option of its own, as in `--token VALUE`.
fn is_named_by_the_one_before(words: &[String], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).and_then(|before| words.get(before)) else { return false };
    let is_option = before.starts_with('-') && !before.contains(['=', ':', ' ']);
    is_option && is_secret(before) && !words[at].starts_with('-')
}

/// The secrets in a text: each with its name, where it has one, and alone.
fn found(text: &str) -> Vec<(Range<usize>, Range<usize>)> {
    let captures = BESIDE.iter().flat_map(|pattern| pattern.captures_iter(text));
    captures.filter_map(|it| Some((it.get(0)?.range(), it.name("value")?.range()))).collect()
}

/// The secrets that a target is started and asked with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// What is replaced by what, the longest first.
    replaced: Vec<(String, String)>,
}

impl Secrets {
    /// Those in the target's command, its variables, and the requests that are sent.
    pub fn of(target: &Target) -> Self {
        let mut secrets = Self::default();
        for (at, word) in target.command.iter().enumerate() {
            secrets.learn_from(word);
            if is_named_by_the_one_before(&target.command, at) {
                secrets.learn(&format!("{} ", target.command[at - 1]), word, "");
            }
        }
        for (name, value) in &target.env {
            secrets.learn_from(value);
            if is_secret(name) {
                secrets.learn(&format!("{name}="), value, "");
            }
        }
        let writes = target.writes.iter().flat_map(|writes| [&writes.write, &writes.read]);
        let requests = target.requests.iter().chain(writes).chain(&target.elsewhere.job_submit);
        for request in requests {
            secrets.learn_from_request(request);
        }
        for url in target.elsewhere.job_url.iter().chain(&target.ready_path) {
            secrets.learn_from(url);
        }
        secrets.replaced.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
        secrets.replaced.dedup();
        secrets
    }

    /// The text without them.
    pub fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut hidden = Cow::Borrowed(text);
        for (secret, instead) in &self.replaced {
            if hidden.contains(secret) {
                hidden = hidden.replace(secret, instead).into();
            }
        }
        hidden
    }

    fn learn_from_request(&mut self, request: &RequestTemplate) {
        self.learn_from(&request.path);
        for (name, value) in request.headers.iter().filter(|(name, _)| is_secret(name)) {
            self.learn(&format!("{name}: "), value, "");
            // The credentials alone, after their scheme (RFC 9110, section 11.4).
            if let Some((scheme, credentials)) = value.split_once(' ') {
                self.learn(&format!("{scheme} "), credentials, "");
            }
        }
    }

    fn learn_from(&mut self, text: &str) {
        for (whole, value) in found(text) {
            let (before, after) = (&text[whole.start..value.start], &text[value.end..whole.end]);
            self.learn(before, &text[value], after);
        }
    }

    fn learn(&mut self, before: &str, value: &str, after: &str) {
        let alone = value.trim_matches(['"', '\'']);
        // What stands for the port or the folder of a trial is no secret.
        if alone.is_empty() || alone == REDACTED || alone.contains("{port}") {
            return;
        }
        let hidden = format!("{before}{REDACTED}{after}");
        self.replaced.push((format!("{before}{value}{after}"), hidden));
        let is_number = alone.bytes().all(|byte| byte.is_ascii_digit());
        if alone.len() >= LENGTH_MIN && !is_number {
            self.replaced.push((alone.to_owned(), REDACTED.to_owned()));
        }
        // A password may turn up without its user.
        if let Some((_, password)) = alone.split_once(':').filter(|_| after == "@") {
            self.learn(":", password, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names_and_places() {
        let table = [
            ("--password=hunter2", "--password=(redacted)"),
            ("--db-password=\"a b\"", "--db-password=(redacted)"),
            ("API_KEY=abc", "API_KEY=(redacted)"),
            ("--api-key=abc", "--api-key=(redacted)"),
            ("Authorization: Bearer abc", "Authorization: (redacted)"),
            ("Cookie: a=b; c=d", "Cookie: (redacted)"),
            ("postgres://me:pw@host/db", "postgres://(redacted)@host/db"),
            ("redis://:pw@host", "redis://(redacted)@host"),
            ("me:pw@tcp(host)/db", "(redacted)@tcp(host)/db"),
            ("/orders?token=abc&page=2", "/orders?token=(redacted)&page=2"),
            ("exec ./bin --token abc --port 80", "exec ./bin --token (redacted) --port 80"),
            ("X_TOKEN=a ./bin -password 'b c'", "X_TOKEN=(redacted) ./bin -password (redacted)"),
            (r#"{"password": "abc", "x": 1}"#, r#"{"password": "(redacted)", "x": 1}"#),
            ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080/a"),
            ("mail@example.org at 10:30", "mail@example.org at 10:30"),
            ("--port=80 --keys=4 token", "--port=80 --keys=4 token"),
        ];
        for (text, hidden) in table {
            assert_eq!(hidden_text(text), hidden);
        }
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let command = "./bin --token abc --secret --port 1 --password=x";
        let hidden = "./bin --token (redacted) --secret --port 1 --password=(redacted)";
        assert_eq!(hidden_words(&words(command)), words(hidden));
    }

    #[test]
    fn what_was_handed_over_is_hidden_wherever_it_turns_up() {
        let target = Target {
            command: ["./bin", "--token", "command-secret", "--pin-secret=12"]
                .map(Into::into)
                .into(),
            env: vec![
                ("DB_PASSWORD".into(), "env-secret".into()),
                ("DATABASE".into(), "mysql://me:url-secret@db/".into()),
                ("MODE".into(), "usual mode".into()),
            ],
            requests: vec![RequestTemplate {
                headers: vec![("Authorization".into(), "Bearer header-secret".into())],
                ..RequestTemplate::get("/a?token=xy&page=12")
            }],
            ..Target::default()
        };
        let secrets = Secrets::of(&target);
        let text = "command-secret env-secret url-secret header-secret /a?token=xy&page=12 12 \
                    --pin-secret=12 in usual mode";
        let hidden = "(redacted) (redacted) (redacted) (redacted) /a?token=(redacted)&page=12 12 \
                      --pin-secret=(redacted) in usual mode";
        assert_eq!(secrets.hide(text), hidden);
        assert_eq!(Secrets::of(&Target::default()).hide(text), text);
    }
}
