//! The GitHub action: its steps are run as a runner would, with inputs and files of a test; and the YAML
//! of the documents is YAML.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use harness::{BIN, User};
use yaml_rust2::{Yaml, YamlLoader};

fn repository(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn action() -> Yaml {
    YamlLoader::load_from_str(&repository("action.yml")).unwrap().remove(0)
}

fn names(of: &Yaml) -> Vec<String> {
    of.as_hash().unwrap().keys().map(|key| key.as_str().unwrap().to_owned()).collect()
}

/// A runner: what expressions stand for, and what the steps have said so far.
struct Runner {
    user: User,
    values: BTreeMap<String, String>,
}

impl Runner {
    fn new(inputs: &[(&str, &str)]) -> Self {
        let user = User::new();
        let mut values = BTreeMap::new();
        for (name, input) in action()["inputs"].as_hash().unwrap() {
            let name = format!("inputs.{}", name.as_str().unwrap());
            values.insert(name, input["default"].as_str().unwrap().to_owned());
        }
        for (name, value) in inputs {
            let known = values.insert(format!("inputs.{name}"), (*value).to_owned());
            assert!(known.is_some(), "{name} is no input");
        }
        for (name, value) in [
            ("github.action_path", env!("CARGO_MANIFEST_DIR")),
            ("github.action_repository", "owner/shutdown-check"),
            ("github.server_url", "https://forge.example"),
        ] {
            values.insert(name.to_owned(), value.to_owned());
        }
        Self { user, values }
    }

    /// The text with its expressions replaced, of which only plain names are used.
    fn filled(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{ ") {
            let (name, after) = after.split_once(" }}").unwrap();
            let value = self.values.get(name).unwrap_or_else(|| panic!("{name} is unknown"));
            filled.push_str(before);
            filled.push_str(value);
            rest = after;
        }
        filled + rest
    }

    fn step(&mut self, id: &str, path: &str) -> Output {
        let action = action();
        let steps = action["runs"]["steps"].as_vec().unwrap();
        let step = steps.iter().find(|step| step["id"].as_str() == Some(id)).unwrap();
        assert_eq!(step["shell"].as_str(), Some("bash"));
        let script = step["run"].as_str().unwrap();
        assert!(!script.contains("${{"), "an input must not become a part of a script");
        let output = self.user.file(&format!("{id}.output"), "");
        let folder = step["working-directory"].as_str().unwrap_or(".");
        let mut command = self.user.command("bash");
        command
            .args(["--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script])
            .current_dir(self.user.path(&self.filled(folder)))
            .env("PATH", path)
            .env("CI", "true")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_STEP_SUMMARY", self.user.path("summary.md"))
            .env("RUNNER_TEMP", self.user.path("temp"));
        for (name, value) in step["env"].as_hash().unwrap() {
            command.env(name.as_str().unwrap(), self.filled(value.as_str().unwrap()));
        }
        let ended = command.output().unwrap();
        for line in fs::read_to_string(output).unwrap().lines() {
            let (name, value) = line.split_once('=').unwrap();
            self.values.insert(format!("steps.{id}.outputs.{name}"), value.to_owned());
        }
        ended
    }

    fn said(&self, name: &str) -> &str {
        self.values.get(&format!("steps.run.outputs.{name}")).map_or("", |value| value)
    }
}

fn usual_path() -> String {
    std::env::var("PATH").unwrap()
}

/// Both steps, with the program that is here.
fn run(inputs: &[(&str, &str)]) -> (Runner, Output) {
    let short = ("options", "--trials\n2\n--situation\nslow-handler\n--shrink-budget\n0s");
    let mut runner = Runner::new(&[inputs, &[("binary", BIN), short]].concat());
    let installed = runner.step("install", &usual_path());
    assert!(installed.status.success(), "{installed:?}");
    let ended = runner.step("run", &usual_path());
    (runner, ended)
}

#[test]
fn a_violation_fails_the_step_and_is_told_everywhere() {
    let target = format!("{BIN} fixture drops-in-flight");
    let (runner, ended) = run(&[("target", &target), ("deny", "in-flight-requests-complete")]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert_eq!((runner.said("exit-code"), runner.said("verdict")), ("1", "violated"));
    for format in ["html", "json", "junit", "sarif"] {
        let path = Path::new(runner.said(format));
        assert!(path.is_absolute() && path.metadata().unwrap().len() > 100, "{format}: {path:?}");
    }
    let stdout = String::from_utf8_lossy(&ended.stdout);
    assert!(
        stdout.contains("::error title=shutdown-check%3A in-flight-requests-complete::"),
        "{stdout}"
    );
    let summary = fs::read_to_string(runner.user.path("summary.md")).unwrap();
    assert!(summary.contains("in-flight-requests-complete"), "{summary}");
}

#[test]
fn words_with_spaces_stand_one_a_line_and_nothing_is_a_shells() {
    let target = format!("{BIN}\nfixture\n$(touch made) correct\n");
    let (runner, ended) = run(&[("target", &target)]);
    // No fixture has this name, and nobody has made the file.
    assert_eq!(ended.status.code(), Some(4), "{ended:?}");
    assert_eq!((runner.said("exit-code"), runner.said("html")), ("4", ""));
    assert!(!runner.user.path("made").exists());
}

#[test]
fn without_a_binary_it_is_built_from_the_action_or_from_a_version() {
    let fake = "#!/bin/sh\necho \"$0 $*\" >> \"$RUNNER_TEMP/../calls\"\n\
                case $0 in *cargo) mkdir -p \"$RUNNER_TEMP/shutdown-check/bin\";\n\
                printf '#!/bin/sh\\necho version\\n' > \"$RUNNER_TEMP/shutdown-check/bin/shutdown-check\";\n\
                chmod +x \"$RUNNER_TEMP/shutdown-check/bin/shutdown-check\";; esac\n";
    for (version, expected) in [
        ("", vec![format!("cargo install --locked --quiet --path {}", env!("CARGO_MANIFEST_DIR"))]),
        (
            "v1.2.3",
            vec![
                "git clone --quiet https://forge.example/owner/shutdown-check".to_owned(),
                "checkout --quiet v1.2.3".to_owned(),
                "cargo install --locked --quiet --path".to_owned(),
            ],
        ),
    ] {
        let mut runner = Runner::new(&[("version", version)]);
        fs::create_dir_all(runner.user.path("temp")).unwrap();
        for name in ["fake/cargo", "fake/git"] {
            runner.user.program(name, fake);
        }
        let path = format!("{}:{}", runner.user.path("fake").display(), usual_path());
        let ended = runner.step("install", &path);
        assert!(ended.status.success(), "{ended:?}");
        let calls = fs::read_to_string(runner.user.path("calls")).unwrap();
        assert_eq!(calls.lines().count(), expected.len(), "{calls}");
        for (call, expected) in calls.lines().zip(expected) {
            assert!(call.contains(&expected), "{calls}");
        }
    }
}

#[test]
fn inputs_and_outputs_are_documented() {
    let (action, page) = (action(), repository("docs/CI.md"));
    for name in names(&action["inputs"]).into_iter().chain(names(&action["outputs"])) {
        assert!(page.contains(&format!("`{name}`")), "docs/CI.md says nothing of {name}");
    }
    for (name, about) in action["inputs"].as_hash().unwrap() {
        assert!(about["description"].as_str().is_some_and(|it| it.len() > 20), "{name:?}");
    }
}

#[test]
fn the_yaml_of_the_documents_is_yaml() {
    let mut blocks = 0;
    for document in ["docs/CI.md", "README.md"] {
        let text = repository(document);
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let parsed = YamlLoader::load_from_str(block);
            let parsed = parsed.unwrap_or_else(|error| panic!("{document}: {error}\n{block}"));
            assert!(parsed.iter().all(|it| it.as_hash().is_some()), "{document}: {block}");
            blocks += 1;
        }
    }
    assert!(blocks >= 3, "{blocks}");
}
