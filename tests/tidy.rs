//! The house rules, held by a test: who may use whom, and how files begin.

use std::fs;
use std::path::{Path, PathBuf};

/// A part of the crate, and the parts that it may use besides itself.
const MAY_USE: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("plan", &["model"]),
    ("invariants", &["model"]),
    ("judge", &["model", "invariants"]),
    ("report", &["model", "invariants"]),
    ("sys", &["model"]),
    ("observe", &["model", "sys"]),
    ("target", &["model", "sys", "observe"]),
    ("load", &["model", "sys", "observe"]),
    ("trial", &["model", "sys", "observe", "target", "load"]),
    (
        "cli",
        &[
            "model",
            "plan",
            "invariants",
            "judge",
            "report",
            "sys",
            "observe",
            "target",
            "load",
            "trial",
        ],
    ),
    ("check", &["model", "report", "sys", "target", "cli"]),
];

/// Parts that do no input or output, read no clock, and draw nothing that no seed decides.
const PURE: [&str; 5] = ["model", "plan", "invariants", "judge", "report"];
const IMPURE: [&str; 12] = [
    "tokio",
    "nix::",
    "reqwest",
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "rand::rng",
];
/// The one writer of reports, and the reader of saved histories' lines (from any `BufRead`).
const EXEMPT: [&str; 1] = ["src/report/write.rs"];
const LINES_MAX: usize = 400;

struct Source {
    path: String,
    part: String,
    text: String,
    /// The text before the tests in the file, without comments and string literals.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    rust_files(&root.join("src"), &mut paths);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let part = path.split('/').nth(1).unwrap().trim_end_matches(".rs").to_owned();
        let before_tests = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let code = before_tests.lines().filter(is_code).collect::<Vec<_>>().join("\n");
        let strings = regex::Regex::new(r#""(?:[^"\\]|\\.|\\\n)*""#).unwrap();
        let code = strings.replace_all(&code, "\"\"").into_owned();
        Source { path, part, text, code }
    };
    paths.into_iter().map(read).collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn parts_use_only_those_below_them() {
    for source in sources() {
        let Some((_, allowed)) = MAY_USE.iter().find(|(part, _)| *part == source.part) else {
            assert!(["lib", "main"].contains(&&*source.part), "{}: of no part", source.path);
            continue;
        };
        for used in source.code.split("crate::").skip(1) {
            let used: String =
                used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let is_allowed = used == source.part || allowed.contains(&&*used);
            assert!(is_allowed, "{} uses crate::{used}", source.path);
        }
    }
}

#[test]
fn pure_parts_are_pure() {
    for source in sources() {
        if !PURE.contains(&&*source.part) || EXEMPT.contains(&&*source.path) {
            continue;
        }
        for word in IMPURE {
            assert!(!source.code.contains(word), "{} uses {word}", source.path);
        }
    }
}

#[test]
fn unsafe_code_is_in_one_module() {
    for source in sources() {
        let has = source.code.contains("unsafe ") || source.code.contains("allow(unsafe_code)");
        assert!(!has || source.path == "src/sys.rs", "{} has unsafe code", source.path);
    }
}

#[test]
fn every_file_begins_with_what_it_is_and_is_of_readable_size() {
    for source in sources() {
        assert!(source.text.starts_with("//!"), "{} begins without `//!`", source.path);
        let lines = source.code.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines of code", source.path);
        for name in ["util", "helper", "manager", "imp", "misc", "common"] {
            let file = source.path.rsplit('/').next().unwrap();
            assert!(!file.starts_with(name), "{}: what is it?", source.path);
        }
    }
}

#[test]
fn every_invariant_is_listed_and_documented() {
    let listed =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/invariants/mod.rs"))
            .unwrap();
    for invariant in shutdown_check::invariants::CATALOGUE {
        assert!(listed.contains(&format!("&{}::INVARIANT", invariant.id.replace('-', "_"))));
    }
}
