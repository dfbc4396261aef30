//! What a server is built with, as far as its names, its answers and its files tell.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a server is built with, so that a hint can name the right call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    /// Go's net/http, and what is built on it.
    Go,
    /// axum, on hyper and tokio.
    Axum,
    /// hyper without a framework that is known.
    Hyper,
    /// actix-web.
    Actix,
    /// Express, on Node's http.
    Express,
    /// Fastify, on Node's http.
    Fastify,
    /// Node's http without a framework that is known.
    Node,
    /// uvicorn, and the ASGI frameworks that it runs.
    Uvicorn,
    /// gunicorn, whatever its workers are.
    Gunicorn,
    /// Spring Boot.
    SpringBoot,
    /// nginx.
    Nginx,
    /// Puma, and Rails on it.
    Puma,
    /// Something else: only what is true of all of them is said.
    General,
}

impl Stack {
    /// All of them, in the order in which they are listed to users.
    pub const ALL: [Stack; 13] = [
        Stack::Go,
        Stack::Axum,
        Stack::Hyper,
        Stack::Actix,
        Stack::Express,
        Stack::Fastify,
        Stack::Node,
        Stack::Uvicorn,
        Stack::Gunicorn,
        Stack::SpringBoot,
        Stack::Nginx,
        Stack::Puma,
        Stack::General,
    ];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Stack::Go => "go",
            Stack::Axum => "axum",
            Stack::Hyper => "hyper",
            Stack::Actix => "actix",
            Stack::Express => "express",
            Stack::Fastify => "fastify",
            Stack::Node => "node",
            Stack::Uvicorn => "uvicorn",
            Stack::Gunicorn => "gunicorn",
            Stack::SpringBoot => "spring-boot",
            Stack::Nginx => "nginx",
            Stack::Puma => "puma",
            Stack::General => "general",
        }
    }

    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Stack::Go => "Go net/http",
            Stack::Actix => "actix-web",
            Stack::Express => "Express",
            Stack::Fastify => "Fastify",
            Stack::Node => "Node http",
            Stack::SpringBoot => "Spring Boot",
            Stack::Puma => "Puma",
            Stack::General => "in general",
            named => named.name(),
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A stack of which nothing is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no stack that hints are known for: use {}", names())]
pub struct UnknownStack {
    text: String,
}

fn names() -> String {
    let (last, others) = (Stack::ALL.len() - 1, Stack::ALL.map(Stack::name));
    format!("{} or {}", others[..last].join(", "), others[last])
}

impl FromStr for Stack {
    type Err = UnknownStack;
    fn from_str(text: &str) -> Result<Self, UnknownStack> {
        let known = Stack::ALL.into_iter().find(|stack| stack.name() == text);
        known.ok_or_else(|| UnknownStack { text: text.to_owned() })
    }
}

/// The stack of a target, and what it is known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StackReport {
    /// The stack.
    pub name: Stack,
    /// What it is known by.
    pub by: String,
}

/// What was seen of a target that tells what it is built with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Command lines, the most telling first: of the process that listens, and as it was started.
    pub commands: Vec<Vec<String>>,
    /// The header fields of one of its answers.
    pub headers: Vec<(String, String)>,
    /// What its files tell, the most telling first.
    pub marks: Vec<StackReport>,
}

impl Signs {
    /// What can be known from its command alone.
    pub fn of_command(command: &[String]) -> Self {
        Self { commands: vec![command.to_vec()], ..Self::default() }
    }

    /// What the target is built with, where something tells.
    ///
    /// The name of a program says more than a header, which may be another's; files come last.
    pub fn stack(&self) -> Option<StackReport> {
        let named = self.commands.iter().find_map(|words| of_words(words));
        match named {
            Some((Stack::Node, program)) => Some(self.of_node(program)),
            Some((name, program)) => {
                Some(StackReport { name, by: format!("the program's name ({program})") })
            }
            None => self.of_headers().or_else(|| self.marks.first().cloned()),
        }
    }

    /// Whether Node runs it.
    pub fn is_node(&self) -> bool {
        let named = self.commands.iter().find_map(|words| of_words(words));
        matches!(named, Some((Stack::Node, _)))
    }

    /// The framework of a program that Node runs.
    fn of_node(&self, program: &str) -> StackReport {
        let framework = |it: &&StackReport| matches!(it.name, Stack::Express | Stack::Fastify);
        let by_header = self.of_headers().filter(|it| framework(&it));
        let known = by_header.or_else(|| self.marks.iter().find(framework).cloned());
        let by = format!("the program's name ({program})");
        known.unwrap_or(StackReport { name: Stack::Node, by })
    }

    fn of_headers(&self) -> Option<StackReport> {
        // Only these words are told: what a target says of itself besides stays out of reports.
        const KNOWN: [(&str, &str, Stack); 6] = [
            ("Server", "nginx", Stack::Nginx),
            ("Server", "openresty", Stack::Nginx),
            ("Server", "uvicorn", Stack::Uvicorn),
            ("Server", "gunicorn", Stack::Gunicorn),
            ("Server", "puma", Stack::Puma),
            ("X-Powered-By", "express", Stack::Express),
        ];
        KNOWN.iter().find_map(|(field, word, name)| {
            let says = |(name, value): &(String, String)| {
                name.eq_ignore_ascii_case(field) && value.to_ascii_lowercase().starts_with(word)
            };
            let by = format!("the header {field}: {word}");
            self.headers.iter().any(says).then_some(StackReport { name: *name, by })
        })
    }
}

/// The stack that the words of a command line name, and the word that does.
fn of_words(words: &[String]) -> Option<(Stack, &'static str)> {
    let mut words = words.iter().map(|word| program(word));
    let first = words.next()?;
    if let Some(known) = of_program(first) {
        return Some(known);
    }
    let runs_others = first.starts_with("python")
        || first.starts_with("ruby")
        || ["bundle", "env", "exec", "tini", "dumb-init"].contains(&first);
    // The first word that is no option is the script or the module; `exec` is of `bundle exec`.
    let next = words.find(|word| !word.starts_with('-') && *word != "exec" && !word.is_empty());
    next.filter(|_| runs_others).and_then(of_program)
}

/// The name of a program, without its folder, and without what it says of its state in its title:
/// `nginx: master process`, `puma 7.0.1 (tcp://…)`.
fn program(word: &str) -> &str {
    let word = word.split([' ', ':']).next().unwrap_or_default();
    word.rsplit('/').next().unwrap_or_default()
}

fn of_program(name: &str) -> Option<(Stack, &'static str)> {
    const KNOWN: [(&str, Stack); 10] = [
        ("nginx", Stack::Nginx),
        ("openresty", Stack::Nginx),
        ("gunicorn", Stack::Gunicorn),
        ("uvicorn", Stack::Uvicorn),
        ("puma", Stack::Puma),
        ("rails", Stack::Puma),
        ("node", Stack::Node),
        ("nodejs", Stack::Node),
        ("tsx", Stack::Node),
        ("ts-node", Stack::Node),
    ];
    KNOWN.iter().find(|(known, _)| *known == name).map(|(known, stack)| (*stack, *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split('|').map(str::to_owned).collect()
    }

    fn header(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    fn mark(name: Stack) -> StackReport {
        StackReport { name, by: "a file".into() }
    }

    fn stack(signs: &Signs) -> Option<Stack> {
        signs.stack().map(|it| it.name)
    }

    #[test]
    fn names_are_understood_and_unknown_ones_refused() {
        for stack in Stack::ALL {
            assert_eq!(stack.to_string().parse(), Ok(stack));
            assert_eq!(serde_json::to_value(stack).unwrap(), stack.name());
        }
        let error = "go-lang".parse::<Stack>().unwrap_err().to_string();
        assert!(error.contains("spring-boot, nginx, puma or general"), "{error}");
    }

    #[test]
    fn the_program_names_its_stack() {
        let told = [
            ("/usr/sbin/nginx|-g|daemon off;", Stack::Nginx),
            ("nginx: master process nginx", Stack::Nginx),
            ("/usr/bin/python3|/usr/bin/gunicorn|app:app", Stack::Gunicorn),
            ("python3.13|-m|uvicorn|app:app|--port|8000", Stack::Uvicorn),
            ("bundle|exec|puma|-p|9292", Stack::Puma),
            ("puma 7.0.1 (tcp://0.0.0.0:9292) [app]", Stack::Puma),
            ("node|server.js", Stack::Node),
        ];
        for (line, expected) in told {
            assert_eq!(stack(&Signs::of_command(&words(line))), Some(expected), "{line}");
        }
    }

    #[test]
    fn other_words_and_programs_name_none() {
        let silent = [
            "./run.sh|nginx",
            "./server|--upstream|gunicorn",
            "python3|app.py|uvicorn",
            "",
            "./nginx-like",
        ];
        for line in silent {
            assert_eq!(Signs::of_command(&words(line)).stack(), None, "{line}");
        }
    }

    #[test]
    fn the_process_that_listens_comes_before_what_started_it() {
        let commands = vec![words("node|server.js"), words("./run.sh")];
        assert_eq!(stack(&Signs { commands, ..Signs::default() }), Some(Stack::Node));
    }

    #[test]
    fn headers_tell_where_names_do_not() {
        let signs = |name, value| Signs {
            headers: header(name, value),
            ..Signs::of_command(&words("./serve"))
        };
        assert_eq!(stack(&signs("server", "uvicorn")), Some(Stack::Uvicorn));
        assert_eq!(stack(&signs("server", "nginx/1.29.3")), Some(Stack::Nginx));
        assert_eq!(stack(&signs("x-powered-by", "Express")), Some(Stack::Express));
        assert_eq!(stack(&signs("server", "something")), None);
        // gunicorn's workers may be uvicorn's: who gets the signal counts.
        let both = Signs {
            headers: header("server", "uvicorn"),
            ..Signs::of_command(&words("gunicorn|app"))
        };
        assert_eq!(stack(&both), Some(Stack::Gunicorn));
    }

    #[test]
    fn a_framework_of_node_is_told_by_header_or_file() {
        let node = || Signs::of_command(&words("/usr/bin/node|server.js"));
        let express = Signs { headers: header("X-Powered-By", "Express"), ..node() };
        assert_eq!(stack(&express), Some(Stack::Express));
        let fastify = Signs { marks: vec![mark(Stack::Fastify)], ..node() };
        assert_eq!(stack(&fastify), Some(Stack::Fastify));
        // What lies in front of it is not it.
        let proxied = Signs { headers: header("Server", "nginx"), ..node() };
        assert_eq!(stack(&proxied), Some(Stack::Node));
    }

    #[test]
    fn files_tell_last() {
        let marks = vec![mark(Stack::Go)];
        let signs = Signs { marks, ..Signs::of_command(&words("./api")) };
        assert_eq!(signs.stack(), Some(mark(Stack::Go)));
    }
}
