//! Whatever the user, the machine and the target do: a verdict or an orderly end, and nothing of
//! the target left.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::{BIN, Ended, Running, USUAL, User, fixed_port, wait_until, words};
use nix::sys::signal::{SigSet, Signal};
use serde_json::Value;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

const CORRECT: [&str; 3] = [BIN, "fixture", "correct"];
const QUICK: [&str; 4] = ["--path", "/sleep?ms=200", "--situation", "load"];
/// A run that was told to end has ended after this time, even on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(10);

#[test]
fn a_target_for_the_other_tests() {
    harness::roles::play();
}

/// One quick trial of a script of the shell, in which `$0` is the program.
fn check_script(options: &[&str], script: &str) -> Ended {
    User::new().check(&[&QUICK, options].concat(), &["/bin/sh", "-c", script, BIN])
}

// ---- interruption ----------------------------------------------------------------------------

/// A target that leaves its session, its group and its parent; `starts` tells how often it ran.
const SCATTERED: &str = "echo >> starts; setsid sleep 600 & \
                         (setsid sh -c 'sleep 600; true' &); exec \"$0\" fixture ";

fn start_scattered(user: &User, fixture: &str) -> Running {
    let script = format!("{SCATTERED}{fixture}");
    user.start(&words(&["--trials", "500"], &QUICK, &["/bin/sh", "-c", &script, BIN]))
}

fn wait_for_start(user: &User, number: usize) {
    wait_until("a start of the target", || {
        let starts = fs::read_to_string(user.path("starts")).unwrap_or_default();
        (starts.lines().count() >= number).then_some(())
    });
}

/// A script that ends by `exec "$@"`, which starts a server that says when it has load.
fn start_with_load_told(user: &User, script: &str) -> Running {
    let (server, role) = harness::roles::role("tells-of-its-load");
    let target: Vec<&str> = server.iter().map(String::as_str).collect();
    let target = [&["/bin/sh", "-c", script, "sh"], &target[..]].concat();
    let options = [role.as_str(), "--path", "/", "--connections", "2"];
    user.start(&words(&["--trials", "1"], &options, &target))
}

fn wait_for_load(user: &User) {
    wait_until("the load", || user.path("loaded").exists().then_some(()));
}

/// Its first trial lasts until its deadline, which is far away.
fn start_endless_trial(user: &User) -> Running {
    let script = "setsid sleep 600 & (setsid sh -c 'sleep 600; true' &); trap '' TERM; exec \"$@\"";
    start_with_load_told(user, script)
}

fn wait_for_trial(user: &User, number: u32) {
    let path = user.path(&format!("r/1/trial-{number:04}.jsonl"));
    wait_until("a history", || path.exists().then_some(()));
}

/// Ends a run by a signal, and sees that it does end.
fn interrupted(user: &User, running: Running, signal: Signal) -> Ended {
    let told = Instant::now();
    running.signal(signal);
    let ended = running.wait();
    assert!(told.elapsed() < AT_ONCE, "{:?}", told.elapsed());
    assert_eq!(user.processes(), Vec::<String>::new(), "{ended:?}");
    assert_eq!(ended.code(), 128 + signal as i32, "{ended:?}");
    ended.panics_nowhere();
    ended
}

#[test]
fn a_run_that_is_interrupted_reports_what_it_has() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let user = User::new();
        let running = start_scattered(&user, "correct");
        wait_for_trial(&user, 1);
        let ended = interrupted(&user, running, signal);
        let says = format!("interrupted by {}", signal.as_str());
        assert!(ended.stdout.contains(&says), "{}", ended.stdout);
        let report: Value =
            serde_json::from_slice(&fs::read(user.path("r/1/report.json")).unwrap()).unwrap();
        assert_eq!(report["interrupted"], signal.as_str());
        assert_eq!(report["exit_code"], 128 + signal as i32);
        assert!(!report["trials"].as_array().unwrap().is_empty());
        judge_all(&user);
    }
}

/// Most of such a run is spent with the target held still.
fn start_held(user: &User) -> Running {
    let options = ["--path", "/", "--situation", "delivered,queued,mixed"];
    user.start(&words(&["--trials", "500"], &options, &CORRECT))
}

/// However the harness ends, no target stays behind, stopped or frozen.
#[test]
fn a_target_that_is_held_still_outlives_no_harness() {
    for (trials, signal) in [(2, Signal::SIGINT), (3, Signal::SIGTERM), (5, Signal::SIGINT)] {
        let user = User::new();
        let running = start_held(&user);
        wait_for_trial(&user, trials);
        interrupted(&user, running, signal);
        judge_all(&user);
    }
    for trials in [1, 2, 3, 4] {
        let user = User::new();
        let running = start_held(&user);
        wait_for_trial(&user, trials);
        running.signal(Signal::SIGKILL);
        running.wait();
        user.wait_for_the_last_process();
    }
}

/// Whatever was recorded can be judged.
fn judge_all(user: &User) {
    let ended = user.run(&["judge", "--no-config", "r/1"]);
    assert!([0, 1, 3].contains(&ended.code()), "{ended:?}");
}

#[test]
fn a_run_that_is_interrupted_in_its_first_trial_keeps_its_history() {
    let user = User::new();
    let running = start_endless_trial(&user);
    wait_for_load(&user);
    interrupted(&user, running, Signal::SIGINT);
    assert!(user.path("r/1/trial-0001.jsonl").exists());
    judge_all(&user);
}

#[test]
fn a_run_that_is_interrupted_before_its_first_trial_says_so() {
    let user = User::new();
    let script = "echo > starts; setsid sleep 600 & sleep 600";
    let running = user.start(&words(&[], &["--ready-timeout", "1h"], &["/bin/sh", "-c", script]));
    wait_for_start(&user, 1);
    let ended = interrupted(&user, running, Signal::SIGTERM);
    ended.refuses(143, &["interrupted by SIGTERM before the end of the first trial"]);
}

#[test]
fn a_second_interruption_ends_it_at_once() {
    let user = User::new();
    let running = start_endless_trial(&user);
    wait_for_load(&user);
    let told = Instant::now();
    running.signal(Signal::SIGINT);
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    assert!(told.elapsed() < AT_ONCE, "{:?}", told.elapsed());
    // The first may have been enough.
    assert!([130, 143].contains(&ended.code()), "{ended:?}");
    ended.panics_nowhere();
    user.wait_for_the_last_process();
}

#[test]
fn a_harness_that_is_killed_leaves_nothing() {
    for start in 1..=4 {
        let user = User::new();
        let running = start_scattered(&user, "correct");
        wait_for_start(&user, start);
        running.signal(Signal::SIGKILL);
        assert!(running.wait().status.code().is_none());
        user.wait_for_the_last_process();
    }
}

/// Without its environment, a process in a session of its own bears no mark of the harness.
#[test]
fn a_harness_that_is_killed_leaves_not_even_those_without_an_environment() {
    let user = User::new();
    let script = "rm -f pid; env -i setsid /bin/sh -c 'echo $$ > pid; sleep 600; true' & \
                  while ! test -s pid; do sleep 0.01; done; trap '' TERM; exec \"$@\"";
    let running = start_with_load_told(&user, script);
    wait_for_load(&user);
    let pid = fs::read_to_string(user.path("pid")).unwrap();
    let process = format!("/proc/{}", pid.trim());
    assert!(Path::new(&process).exists());
    running.signal(Signal::SIGKILL);
    running.wait();
    wait_until("its end", || (!Path::new(&process).exists()).then_some(()));
    user.wait_for_the_last_process();
}

// ---- targets that write ----------------------------------------------------------------------

#[test]
fn a_target_that_floods_its_output_has_a_verdict() {
    let ended = check_script(&[], "yes & yes >&2 & exec \"$0\" fixture correct");
    let kept = ["signal-is-handled", "in-flight-requests-complete", "exits-before-deadline"];
    ended.violates(&["nothing-is-left-behind"], &kept);
    assert!(ended.memory_kib < 200 * 1024, "{} KiB", ended.memory_kib);
}

#[test]
fn a_target_that_writes_one_line_without_end_has_a_verdict() {
    let ended = check_script(&[], "yes | tr -d '\\n' & exec \"$0\" fixture correct");
    ended.violates(&["nothing-is-left-behind"], &["in-flight-requests-complete"]);
    assert!(ended.memory_kib < 200 * 1024, "{} KiB", ended.memory_kib);
}

#[test]
fn a_target_that_closes_its_output_has_a_verdict() {
    check_script(&[], "exec >&- 2>&-; exec \"$0\" fixture correct").satisfies();
}

// ---- targets of many processes ---------------------------------------------------------------

#[test]
fn a_target_of_many_processes_is_ended_as_a_whole() {
    let fifty = "for i in 1 2 3 4 5; do for j in 1 2 3 4 5; do \
                 sleep 600 & setsid sleep 600 & done; done; exec \"$0\" fixture correct";
    check_script(&[], fifty).violates(&["nothing-is-left-behind"], &["signal-is-handled"]);
}

#[test]
fn a_target_that_forks_all_the_time_is_ended_as_a_whole() {
    let storm = "storm() { while :; do sleep 600 & sleep 0.02; done; }; \
                 storm & exec \"$0\" fixture correct";
    check_script(&[], storm).violates(&["nothing-is-left-behind"], &["signal-is-handled"]);
}

#[test]
fn a_wrapper_that_does_not_pass_the_signal_on_is_accused() {
    let ended = check_script(&[], "\"$0\" fixture correct; true");
    ended.violates(&["nothing-is-left-behind"], &[]);
}

#[test]
fn a_server_in_a_wrapper_can_be_signalled_itself() {
    check_script(&["--signal-to", "listener"], "\"$0\" fixture correct; true").satisfies();
}

#[test]
fn a_launcher_may_be_gone_before_its_server_listens() {
    let script = "(sleep 0.5; exec \"$0\" fixture correct) & exit 0";
    check_script(&[], script).satisfies();
}

/// It lives when the load begins, so that the signal is for it, and is gone when the time comes.
#[test]
fn a_launcher_that_ends_under_load_is_told_from_its_server() {
    let user = User::new();
    let script = "rm -f loaded; \"$@\" & while ! test -e loaded; do sleep 0.01; done; exit 0";
    let ended = start_with_load_told(&user, script).wait();
    assert_eq!(user.processes(), Vec::<String>::new());
    ended.panics_nowhere();
    // On a busy machine the signal comes first, and ends the launcher.
    if ended.code() != 1 {
        let parts = ["with status 0 before any signal, and its server goes on", "--signal-to"];
        ended.refuses(4, &parts);
    }
}

#[test]
fn a_target_that_ignores_the_signal_is_killed_at_its_deadline() {
    let user = User::new();
    let target = [BIN, "fixture", "ignores-signal"];
    let ended = user.check(&[&QUICK[..], &["--deadline", "1s"]].concat(), &target);
    ended.violates(&["signal-is-handled", "exits-before-deadline"], &[]);
}

// ---- how it is started -----------------------------------------------------------------------

#[test]
fn two_runs_at_the_same_time_do_not_disturb_each_other() {
    let users = [User::new(), User::new()];
    let words = words(&["--trials", "2"], &QUICK, &CORRECT);
    let running = users.each_ref().map(|user| user.start(&words));
    running.map(Running::wait).iter().for_each(Ended::satisfies);
    for user in &users {
        assert_eq!(user.processes(), Vec::<String>::new());
    }
}

/// nohup(1) and a shell's `&` leave signals ignored, and targets must not inherit that.
#[test]
fn a_harness_that_was_started_with_signals_ignored_signals_its_targets() {
    let user = User::new();
    let mut command = user.command("/bin/sh");
    let words = words(&["--trials", "1", "--signal", "INT"], &QUICK, &CORRECT);
    command.args(["-c", "trap '' INT TERM HUP QUIT; exec \"$0\" \"$@\"", BIN]).args(words);
    Running::start(command).wait().satisfies();
    assert_eq!(user.processes(), Vec::<String>::new());
}

#[test]
fn a_harness_that_was_started_with_signals_blocked_signals_its_targets() {
    let user = User::new();
    let words = words(&["--trials", "1"], &QUICK, &CORRECT);
    let blocked: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGUSR1].into_iter().collect();
    let old = blocked.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK).unwrap();
    let running = user.start(&words);
    old.thread_set_mask().unwrap();
    running.wait().satisfies();
    assert_eq!(user.processes(), Vec::<String>::new());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for arguments in [&["list"][..], &["explain", "signal-is-handled"], &["schema", "report"]] {
        let user = User::new();
        let mut command = user.command("/bin/sh");
        // The reader ends first: the program is started when nobody reads any more.
        let script = "{ sleep 0.2; \"$0\" \"$@\"; echo $? > status; } | true; cat status";
        command.args(["-c", script, BIN]).args(arguments);
        let ended = Running::start(command).wait();
        ended.panics_nowhere();
        assert_eq!(ended.stdout, "0\n", "{ended:?}");
    }
    let user = User::new();
    let mut command = user.command("/bin/sh");
    let script = "{ \"$0\" \"$@\"; echo $? > status; } | head -1 > first; cat status";
    command.args(["-c", script, BIN]).args(words(&["--trials", "1"], &QUICK, &CORRECT));
    let ended = Running::start(command).wait();
    ended.panics_nowhere();
    assert_eq!(ended.stdout, "0\n", "{ended:?}");
    let first = fs::read_to_string(user.path("first")).unwrap();
    assert!(first.starts_with("  target "), "{first}");
}

// ---- where the target listens ----------------------------------------------------------------

#[test]
fn a_port_that_the_target_chooses_is_found() {
    let user = User::new();
    let port = fixed_port();
    let listen = format!("127.0.0.1:{port}");
    let target = [BIN, "reference-server", "--heavy-job", "0s", "--background-job", "0s"];
    let target = [&target[..], &["--listen", &listen]].concat();
    let ended = user.check(&[&QUICK[..], &["--format", "json"]].concat(), &target);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["target"]["url"], format!("http://{listen}/"));
    assert_eq!(report["target"]["discovered"], true);
    assert!([0, 3].contains(&ended.code()), "{}", ended.stdout);
}

/// How many trials were at the same time, at most, of a target that insists on its port and runs
/// `first` before it serves.
fn most_at_once((shell, first): (&str, &str), options: &[&str]) -> i32 {
    let user = User::new();
    let script = format!(
        "{first} export PORT={}; \"$0\" fixture correct & server=$!; echo + >> log; \
         trap 'kill $server' TERM; wait $server; wait $server; echo - >> log",
        fixed_port()
    );
    let usual = ["--situation", "idle", "--path", "/", "--trials", "12"];
    let words = [&["--seed", "1"][..], &USUAL[..]].concat();
    let target = ["--", shell, "-c", &script, BIN];
    let ended = user.run(&[&words[..], &usual, options, &target].concat());
    assert!([0, 3].contains(&ended.code()), "{ended:?}");
    let (mut now, mut most) = (0, 0);
    for line in fs::read_to_string(user.path("log")).unwrap().lines() {
        now += if line == "+" { 1 } else { -1 };
        most = most.max(now);
    }
    most
}

/// Each of its trials has a network of its own, where the program may make one.
#[test]
fn a_target_that_insists_on_its_port_is_tried_side_by_side() {
    let most = most_at_once(("/bin/sh", ""), &["-j", "4"]);
    // The rehearsal has two, to see whether that makes a difference.
    match nix::unistd::getuid().is_root() {
        true => assert!(most >= 3, "{most} at the same time"),
        false => assert!(most <= 2, "{most} at the same time"),
    }
}

/// It does without, so that only its connection tells that it wants one.
#[test]
fn a_target_that_is_connected_to_others_keeps_its_network() {
    let shell = "/bin/bash";
    if !Path::new(shell).exists() {
        println!("skipped: there is no {shell} here");
        return;
    }
    let broker = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = broker.local_addr().unwrap().port();
    let connects = format!("exec 3<>/dev/tcp/127.0.0.1/{port} || :;");
    assert_eq!(most_at_once((shell, &connects), &["-j", "4"]), 1);
    drop(broker);
}

#[test]
fn one_trial_at_a_time_is_one_start_at_a_time() {
    assert_eq!(most_at_once(("/bin/sh", ""), &["-j", "1"]), 1);
    assert_eq!(most_at_once(("/bin/sh", ""), &["-j", "4", "--leaves-no", "x"]), 1);
}

#[test]
fn a_port_may_stand_in_the_arguments() {
    let target = [BIN, "reference-server", "--heavy-job", "0s", "--background-job", "0s"];
    let target = [&target[..], &["--listen", "127.0.0.1:{port}"]].concat();
    User::new().check(&QUICK, &target).satisfies();
}

#[test]
fn a_script_is_started_in_its_directory_with_its_variables() {
    let user = User::new();
    let script =
        "#!/bin/sh\npwd -P > where; echo \"$GREETING\" > said\nexec \"$SERVER\" fixture correct\n";
    user.program("server/start", script);
    let server = format!("SERVER={BIN}");
    let options = ["--cwd", "server", "--env", "GREETING=hello {port}", "--env", &server];
    let ended = user.check(&[&QUICK[..], &options].concat(), &["./start"]);
    ended.satisfies();
    let read = |name: &str| fs::read_to_string(user.path("server").join(name)).unwrap();
    let here = fs::canonicalize(user.path("server")).unwrap();
    assert_eq!(read("where").trim_end(), here.display().to_string());
    let port = read("said").trim_end().strip_prefix("hello ").map(str::to_owned);
    assert!(port.is_some_and(|port| port.parse::<u16>().is_ok()), "{}", read("said"));
}

/// A server that keeps connections open although it is asked not to is ready all the same.
#[test]
fn a_server_that_never_closes_is_ready_at_once() {
    let (words, role) = harness::roles::role("keeps-open");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let options = [role.as_str(), "--path", "/", "--deadline", "2s", "--format", "json"];
    let ended = User::new().check(&options, &words);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let ready = report["trials"][0]["ready_ms"].as_f64().unwrap();
    assert!(ready < 1500.0, "{ready} ms");
}
