//! Slices of a plan, done one by one and put together: they say what one run of all of it says.
#![cfg(target_os = "linux")]

use std::fs;

use serde_json::{Value, json};
use yaml_rust2::YamlLoader;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

use harness::{BIN, User};

/// What is done to a report.
type Change<'c> = &'c dyn Fn(&mut Value);

fn read(user: &User, name: &str) -> Value {
    serde_json::from_slice(&fs::read(user.path(name)).unwrap()).unwrap()
}

fn write(user: &User, name: &str, value: &Value) {
    fs::create_dir_all(user.path(name).parent().unwrap()).unwrap();
    fs::write(user.path(name), value.to_string()).unwrap();
}

/// Runs a target with these options, all at once or a slice of it; its report.
fn run(user: &User, folder: &str, options: &[&str], target: &[&str]) -> Value {
    let fixed = ["--no-config", "-q", "--shrink-budget", "0s", "--seed", "7", "--parallel", "6"];
    let words = [&fixed[..], &["--reports-dir", folder], options, &["--"], target].concat();
    let ended = user.run(&words);
    let report = read(user, &format!("{folder}/7/report.json"));
    assert_eq!(report["exit_code"], ended.status.code().unwrap(), "{ended:?}");
    report
}

/// The numbers and seeds of a plan, with what is tried.
fn planned(report: &Value) -> Vec<(u64, u64, String)> {
    let trials = report["plan"]["trials"].as_array().unwrap().iter();
    let key = |it: &Value| {
        (it["number"].as_u64().unwrap(), it["seed"].as_u64().unwrap(), it["situation"].to_string())
    };
    trials.map(key).collect()
}

/// The denied invariants with their verdicts.
fn verdicts(report: &Value) -> Vec<(String, String)> {
    let denied = report["invariants"].as_array().unwrap().iter().filter(|it| it["level"] == "deny");
    denied.map(|it| (it["id"].to_string(), it["verdict"].to_string())).collect()
}

/// Three slices and their merger against the whole.
fn adds_up(options: &[&str], target: &[&str], verdict: &str) {
    let user = User::new();
    let whole = run(&user, "whole", options, target);
    for index in 1..=3 {
        let slice = format!("slice:{index}/3");
        let options = [options, &["--partition", &slice]].concat();
        let report = run(&user, &format!("s{index}"), &options, target);
        let is_violated = report["verdict"] == "violated";
        assert!(is_violated || report["exit_code"] == 0, "a slice alone fails nothing: {report:#}");
        assert_eq!(report["partition"], json!({ "index": index, "count": 3 }));
    }
    let ended = user.run(&["merge", "s3/7", "s1/7", "s2/7", "-q", "-o", "json=all/merged.json"]);
    let merged = read(&user, "all/merged.json");
    assert_eq!(merged["exit_code"], ended.status.code().unwrap(), "{ended:?}");
    assert_eq!(merged["verdict"], verdict, "{:#}", merged["invariants"]);
    assert_eq!(merged["verdict"], whole["verdict"]);
    assert_eq!(planned(&merged), planned(&whole));
    assert_eq!(verdicts(&merged), verdicts(&whole));
    assert_eq!(merged["merged"]["missing"], json!([]));
    for trial in merged["trials"].as_array().unwrap() {
        let history = user.path("all").join(trial["history"].as_str().unwrap());
        assert!(history.is_file(), "{}", history.display());
    }
    // Without one of them, nothing is proven; what was violated stays so.
    let ended = user.run(&["merge", "s1/7", "s2/7/report.json", "--format", "json"]);
    let partial: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(partial["merged"]["missing"], json!([3]));
    assert_ne!(partial["verdict"], "satisfied");
}

#[test]
fn slices_of_the_reference_server_are_satisfied_as_the_whole_is() {
    let options = ["--trials", "6", "--situation", "slow-handler,idle,load"];
    let jobs = ["--background-job", "300ms", "--heavy-job", "0s"];
    adds_up(&options, &[&[BIN, "reference-server"], &jobs[..]].concat(), "satisfied");
}

#[test]
fn slices_of_a_server_that_drops_requests_are_violated_as_the_whole_is() {
    let options = ["--trials", "9", "--situation", "slow-handler,streaming,idle"];
    adds_up(&options, &[BIN, "fixture", "drops-in-flight"], "violated");
}

#[test]
fn slices_of_a_server_that_abandons_jobs_are_violated_as_the_whole_is() {
    let options = ["--trials", "9", "--situation", "job-running,load,idle"];
    adds_up(&options, &[BIN, "fixture", "abandons-job"], "violated");
}

/// The same histories, once in one report and once in three, give the same report to the last figure.
#[test]
fn a_merged_report_is_that_of_one_run() {
    let user = User::new();
    let options = [
        "--trials",
        "10",
        "--signal",
        "TERM,INT",
        "--situation",
        "slow-handler,delivered,queued,second-signal,idle",
    ];
    let whole = run(&user, "whole", &options, &[BIN, "fixture", "loses-queued"]);
    for index in 1..=3u64 {
        let mut part = whole.clone();
        part["partition"] = json!({ "index": index, "count": 3 });
        let is_own = |trial: &Value| trial["number"].as_u64().unwrap() % 3 == index - 1;
        for of in ["/trials", "/plan/trials"] {
            part.pointer_mut(of).unwrap().as_array_mut().unwrap().retain(is_own);
        }
        // Its own figures are not believed.
        part["invariants"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|it| it["exercised"] = json!(0));
        write(&user, &format!("whole/7/part-{index}.json"), &part);
    }
    let parts = [1, 2, 3].map(|index| format!("whole/7/part-{index}.json"));
    let words = [&["merge"], &parts.each_ref().map(|it| &**it)[..], &["-q", "-o", "json=m.json"]];
    user.run(&words.concat());
    let mut merged = read(&user, "m.json");
    assert_eq!(merged["merged"]["slices"].as_array().unwrap().len(), 3);
    merged["merged"] = Value::Null;
    merged["histories"] = whole["histories"].clone();
    // Starts that were tried again are added up, and all three parts had all of them.
    merged["retries"] = whole["retries"].clone();
    for (at, trial) in merged["trials"].as_array_mut().unwrap().iter_mut().enumerate() {
        let history = whole["trials"][at]["history"].as_str().unwrap();
        assert_eq!(trial["history"], format!("whole/7/{history}"));
        trial["history"] = json!(history);
    }
    for (key, value) in whole.as_object().unwrap() {
        assert_eq!(&merged[key], value, "{key}");
    }
}

#[test]
fn what_does_not_belong_together_is_refused_and_says_why() {
    let user = User::new();
    let options = ["--trials", "2", "--situation", "idle"];
    let target = [BIN, "fixture", "correct"];
    let whole = run(&user, "whole", &options, &target);
    let part = |name: &str, index: u32, change: &dyn Fn(&mut Value)| {
        let mut part = whole.clone();
        part["partition"] = json!({ "index": index, "count": 2 });
        change(&mut part);
        write(&user, name, &part);
    };
    part("whole/7/one.json", 1, &|_| {});
    let cases: [(&str, Change<'_>); 7] = [
        ("the seed is 7 and 8", &|it| it["seed"] = json!(8)),
        ("the version is", &|it| it["tool"]["version"] = json!("9.9.9")),
        ("the profile is graceful and strict", &|it| it["profile"] = json!("strict")),
        ("the target is", &|it| it["target"]["command"] = json!(["other"])),
        ("the setting deadline is", &|it| it["configuration"]["deadline"] = json!("5s")),
        ("the number of slices is 2 and 3", &|it| it["partition"]["count"] = json!(3)),
        ("is no slice of a plan", &|it| it["partition"] = Value::Null),
    ];
    for (reason, change) in cases {
        part("whole/7/two.json", 2, change);
        let ended = user.run(&["merge", "whole/7/one.json", "whole/7/two.json"]);
        assert_eq!(ended.status.code(), Some(2), "{reason}: {ended:?}");
        assert!(ended.stderr.contains(reason), "{reason}: {}", ended.stderr);
    }
    let refused = |words: &[&str], reason: &str| {
        let ended = user.run(words);
        assert_eq!(ended.status.code(), Some(2), "{reason}: {ended:?}");
        assert!(ended.stderr.contains(reason), "{reason}: {}", ended.stderr);
    };
    refused(&["merge", "whole/7/one.json", "whole/7/one.json"], "are both slice:1/2");
    refused(&["merge", "none"], "cannot read");
    user.file("bare/report.json", fs::read(user.path("whole/7/one.json")).unwrap());
    refused(&["merge", "bare"], "the history of trial 1 of bare is not there");
}

/// The examples of the documents: they are YAML, and say of how many slices there are.
#[test]
fn the_examples_divide_the_plan_as_they_say() {
    let page = include_str!("../docs/SHARDING.md");
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let all: Vec<_> = blocks.map(|it| YamlLoader::load_from_str(it).unwrap().remove(0)).collect();
    let [github, gitlab, kubernetes] = &all[..] else { panic!("{} examples", all.len()) };
    let slice = &github["jobs"]["slice"];
    assert_eq!(slice["strategy"]["matrix"]["slice"].as_vec().unwrap().len(), 3);
    let run = slice["steps"][1]["run"].as_str().unwrap();
    assert!(run.contains("slice:${{ matrix.slice }}/${{ strategy.job-total }} --reports-dir"));
    assert!(github["jobs"]["verdict"]["steps"][1]["run"].as_str().unwrap().contains(" merge "));
    assert_eq!(gitlab["slice"]["parallel"].as_i64(), Some(3));
    assert!(gitlab["slice"]["script"][0].as_str().unwrap().contains("--partition auto --reports"));
    let spec = &kubernetes["spec"];
    assert_eq!(spec["completionMode"].as_str(), Some("Indexed"));
    assert_eq!(spec["completions"].as_i64(), Some(3));
    let container = &spec["template"]["spec"]["containers"][0];
    assert!(container["args"][0].as_str().unwrap().contains("--partition auto/3"));
}
