//! Everything that a target ever started is known and, at the end, gone: whoever runs the program,
//! and however it ends.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use harness::{BIN, Ended, Running, User, wait_until, words};
use nix::sys::signal::Signal;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

#[test]
fn a_target_for_the_other_tests() {
    harness::roles::play();
}

/// Who runs the program, and how the target is started.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Account {
    /// Whoever runs the tests: for root there is usually a control group.
    Own,
    /// An ordinary user, who may make none.
    Nobody,
    /// The same, and the target is PID 1.
    NobodyAsPidOne,
}

const NOBODY: [&str; 4] = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];

/// The accounts that can be had here; the others are skipped, and the reason printed.
fn accounts() -> Vec<Account> {
    let tried = Command::new("setpriv").args(NOBODY).args([BIN, "--version"]).output();
    match tried {
        Ok(output) if output.status.success() => {
            vec![Account::Own, Account::Nobody, Account::NobodyAsPidOne]
        }
        Ok(output) => {
            println!("skipped for nobody: {}", String::from_utf8_lossy(&output.stderr));
            vec![Account::Own]
        }
        Err(error) => {
            println!("skipped for nobody: setpriv: {error}");
            vec![Account::Own]
        }
    }
}

/// Starts the program as this account, with a script of the shell as its target, in which `$0` is
/// the program; the script's files are in a directory that anybody may write to.
fn start(user: &User, account: Account, trials: &str, script: &str) -> Running {
    fs::set_permissions(user.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let mut options = vec!["--path", "/sleep?ms=200", "--situation", "load"];
    if account == Account::NobodyAsPidOne {
        options.push("--as-pid-1");
    }
    let target = ["/bin/sh", "-c", script, BIN];
    let words = words(&["--trials", trials], &options, &target);
    let mut command = match account {
        Account::Own => user.command(BIN),
        _ => {
            let mut command = user.command("setpriv");
            command.args(NOBODY).arg(BIN);
            command
        }
    };
    command.args(words);
    Running::start(command)
}

/// The processes whose starts are written in the file, a time of the day beside each, as far as
/// they live. By the directory they are in, since their numbers may be those of a namespace.
fn in_directory(user: &User) -> Vec<String> {
    let own = fs::canonicalize(user.path(".")).unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let is_there = |process: &Path| fs::read_link(process.join("cwd")).is_ok_and(|at| at == own);
    let name = |process: &Path| fs::read_to_string(process.join("comm")).unwrap_or_default();
    entries.map(|entry| entry.path()).filter(|it| is_there(it)).map(|it| name(&it)).collect()
}

fn ends_as_a_whole(user: &User, account: Account, since: Instant) {
    wait_until("the end of all", || in_directory(user).is_empty().then_some(()));
    println!("{account:?}: all gone {:?} after the end of the program", since.elapsed());
}

/// Runs one trial to its end, after which nothing lives.
fn check(account: Account, script: &str) -> Ended {
    let user = User::new();
    let ended = start(&user, account, "1", script).wait();
    ends_as_a_whole(&user, account, Instant::now());
    ended.panics_nowhere();
    ended
}

/// A daemon that has left its parent, its session, its environment and its name behind.
const DAEMON: &str = "(env -i setsid sh -c 'exec sleep 611' &)";

#[test]
fn a_daemon_is_named_and_ended() {
    for account in accounts() {
        let ended = check(account, &format!("{DAEMON}; exec \"$0\" fixture correct"));
        // The kernel ends a namespace with its first process: there it is not left.
        if account == Account::NobodyAsPidOne {
            ended.satisfies();
            continue;
        }
        ended.violates(&["nothing-is-left-behind"], &["signal-is-handled"]);
        assert!(ended.stdout.contains("(sleep 611) was still"), "{account:?}: {}", ended.stdout);
    }
}

/// Started when the harness has long looked who is there.
#[test]
fn a_daemon_that_is_started_by_the_shutdown_is_named_and_ended() {
    let script = format!(
        "\"$0\" fixture correct & server=$!; trap '{}; kill $server' TERM; \
         wait $server; wait $server",
        DAEMON.replace('\'', "\"")
    );
    for account in accounts() {
        let ended = check(account, &script);
        if account == Account::NobodyAsPidOne {
            continue;
        }
        ended.violates(&["nothing-is-left-behind"], &["signal-is-handled"]);
        // A command is long: the line breaks somewhere.
        let said = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("(sleep 611) was still"), "{account:?}: {said}");
    }
}

/// Two hundred processes, half of them daemons, and each of the others starts one all the time.
const TWO_HUNDRED: &str = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); \
     (env -i setsid sleep 600 &) ; while :; do sleep 0.2; done & done";

#[test]
fn two_hundred_processes_end_with_the_run() {
    for account in accounts() {
        check(account, &format!("{TWO_HUNDRED}; exec \"$0\" fixture correct"));
    }
}

/// A target of this script lives when it is loaded, and the harness is killed then.
fn dies_with_the_harness(script: &str, at_least: usize) {
    for account in accounts() {
        let user = User::new();
        let running = start(&user, account, "500", script);
        wait_until("the processes of the target", || {
            (in_directory(&user).len() >= at_least).then_some(())
        });
        running.signal(Signal::SIGKILL);
        let killed = Instant::now();
        running.wait();
        ends_as_a_whole(&user, account, killed);
    }
}

#[test]
fn two_hundred_processes_end_with_a_harness_that_is_killed() {
    dies_with_the_harness(&format!("{TWO_HUNDRED}; exec \"$0\" fixture correct"), 200);
}

/// Each starts two, nine times over, and the last ones start one all the time; more than 300 an
/// ordinary user may not have.
#[test]
fn a_bomb_ends_with_a_harness_that_is_killed() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        println!("skipped: there is no prlimit to keep the bomb small");
        return;
    }
    let bomb = "prlimit --nproc=300 --pid $$ || exit; bomb() { if [ $1 -gt 0 ]; then \
                (bomb $(($1-1)) &); (bomb $(($1-1)) &); sleep 600; \
                else while :; do sleep 0.5; done; fi; }; bomb 8";
    dies_with_the_harness(bomb, 200);
}
