//! The servers that lose something: rare ones whose window is known, and real ones.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Outcome;

/// This package's program, which is also the rare servers.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_shutdown-check");

/// The page that is answered at once.
const QUICK: &str = "/";
/// A page that takes its time, so that many requests are in process.
const SLOW: &str = "/sleep?ms=200";

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    /// When it loses something, or what it is.
    pub(crate) loses: String,
    pub(crate) command: Vec<String>,
    pub(crate) dir: Option<PathBuf>,
    /// What a script asks it for: where its author knows what is in danger.
    pub(crate) script: Asked,
    /// What the tool is told of it besides.
    pub(crate) options: Vec<&'static str>,
}

/// What a script asks for again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A page.
    Page(&'static str),
    /// To take a job, whose end stands in the output.
    Job,
}

/// All that can be had here; what can't is said.
pub(crate) fn all() -> Outcome<Vec<Server>> {
    let mut servers: Vec<_> = fixtures::rare::ALL.iter().map(rare).collect();
    match rust() {
        Ok(rust) => servers.extend(rust),
        Err(error) => eprintln!("axum and hyper are left out: {error}"),
    }
    for (name, found) in [("go", go()), ("uvicorn", uvicorn())] {
        match found {
            Ok(server) => servers.push(server),
            Err(error) => eprintln!("{name} is left out: {error}"),
        }
    }
    Ok(servers)
}

fn rare(rare: &fixtures::rare::RareServer) -> Server {
    let [option, value] = rare.words;
    let is_of_jobs = value == "submitting";
    let script = match option {
        _ if is_of_jobs => Asked::Job,
        "--window" => Asked::Page(QUICK),
        _ if value == "after-pause" => Asked::Page(QUICK),
        _ => Asked::Page(SLOW),
    };
    Server {
        name: match option {
            "--only" => value.to_owned(),
            _ => format!("{} {value}", option.trim_start_matches('-')),
        },
        loses: rare.loses.to_owned(),
        command: [PROGRAM, "fixture", "rare", option, value].map(str::to_owned).into(),
        dir: None,
        script,
        options: if is_of_jobs { vec!["--job-submit", "POST /jobs?ms=50"] } else { vec![] },
    }
}

fn real(name: &str, loses: &str, command: Vec<String>) -> Server {
    Server {
        name: name.to_owned(),
        loses: loses.to_owned(),
        command,
        dir: None,
        script: Asked::Page(QUICK),
        options: vec![],
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/finding/servers")
}

/// Where what is built for the benchmark goes.
fn built() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("finding-servers")
}

fn rust() -> Outcome<Vec<Server>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--target-dir"]).arg(built()).current_dir(sources());
    succeed(&mut cargo)?;
    let binary = |name: &str| vec![built().join("debug").join(name).display().to_string()];
    Ok(vec![
        real("axum", "axum 0.8, several threads", binary("axum")),
        real("hyper", "hyper 1, several threads", binary("hyper")),
    ])
}

fn go() -> Outcome<Server> {
    let binary = built().join("go-server");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&binary).arg(".").current_dir(sources().join("go"));
    succeed(&mut go)?;
    Ok(real("go", "net/http", vec![binary.display().to_string()]))
}

/// With the Python that `FINDING_PYTHON` names, else `python3`.
fn uvicorn() -> Outcome<Server> {
    let python = env::var("FINDING_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    succeed(Command::new(&python).args(["-c", "import uvicorn"]))
        .map_err(|error| format!("{error} (name a Python that has it: FINDING_PYTHON)"))?;
    let words = ["-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "{port}"];
    let command = [&*python].into_iter().chain(words).map(str::to_owned).collect();
    let server = real("uvicorn", "uvicorn, asyncio", command);
    Ok(Server { dir: Some(sources().join("uvicorn")), ..server })
}

fn succeed(command: &mut Command) -> Outcome {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    Err(format!("{:?}: {last}", command.get_program()).into())
}
