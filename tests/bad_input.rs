//! What can't be done is refused: with a message that says what to do next, with the documented
//! exit code, with no panic, and with no process left.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::TcpListener;

use harness::{BIN, Ended, User, fixed_port};

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

const CORRECT: [&str; 3] = [BIN, "fixture", "correct"];
const QUICK: [&str; 2] = ["--path", "/sleep?ms=200"];

#[test]
fn a_target_for_the_other_tests() {
    harness::roles::play();
}

fn check_role(name: &str, options: &[&str]) -> Ended {
    let (words, role) = harness::roles::role(name);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    User::new().check(&[&[role.as_str()], options].concat(), &words)
}

// ---- what can't be started -------------------------------------------------------------------

#[test]
fn a_missing_program() {
    let ended = User::new().check(&[], &["./no-such-program"]);
    ended.refuses(4, &["cannot start ./no-such-program: No such file", "check the path"]);
    let ended = User::new().check(&[], &["no-such-program", "serve"]);
    ended.refuses(4, &["cannot start no-such-program: ", "is ./bin"]);
}

#[test]
fn a_file_that_is_not_executable() {
    let user = User::new();
    user.file("server", "#!/bin/sh\n");
    user.check(&[], &["./server"]).refuses(4, &["./server: Permission denied", "chmod +x"]);
}

#[test]
fn a_directory() {
    let user = User::new();
    user.file("server/main", "");
    let ended = user.check(&[], &["./server"]);
    ended.refuses(4, &["cannot start ./server: ", "it is a directory: name a program in it"]);
}

#[test]
fn a_script_whose_interpreter_is_missing() {
    let user = User::new();
    user.program("server", "#!/no/such/interpreter\n");
    user.check(&[], &["./server"]).refuses(4, &["cannot start ./server: ", "#! line"]);
}

/// A run that comes to nothing leaves nothing.
#[test]
fn a_target_that_is_never_tried_leaves_no_folder() {
    let user = User::new();
    user.run(&["--no-config", "./no-such-program"]).refuses(4, &["cannot start"]);
    user.run(&["--no-config", "--output", "json=a/b/c.json", "--", "false"]).refuses(4, &["false"]);
    assert_eq!(fs::read_dir(user.path("")).unwrap().count(), 0);
    user.run(&words_for_reports()).satisfies();
    assert_eq!(fs::read_to_string(user.path("reports/.gitignore")).unwrap(), "*\n");
}

fn words_for_reports() -> Vec<&'static str> {
    let options = ["--no-config", "--trials", "1", "--situation", "load"];
    [&options[..], &QUICK, &["--"], &CORRECT].concat()
}

#[test]
fn a_command_that_is_misspelt() {
    let user = User::new();
    let words: [&[&str]; 2] = [&["jugde", "reports"], &["jugde", "reports", "--histories", "3"]];
    for words in words {
        user.run(words).refuses(2, &["did you mean judge?", "(./jugde)"]);
    }
    user.file("jugde", "");
    user.run(&["--no-config", "jugde"]).refuses(4, &["cannot start jugde"]);
}

/// execvp(3) hands a file of unknown format to the shell, which then says what it thinks of it.
#[test]
fn a_file_that_is_no_program() {
    let user = User::new();
    user.program("text", "Dear reader (if any),\n");
    user.check(&[], &["./text"]).refuses(4, &["./text", "last lines it wrote", "by hand"]);
    user.program("binary", [&b"\x7fELF"[..], &[0; 60]].concat());
    user.check(&[], &["./binary"]).refuses(4, &["./binary"]);
    user.program("empty", "");
    user.check(&[], &["./empty"]).refuses(4, &["./empty exited with status 0", "by hand"]);
}

#[test]
fn a_directory_to_start_in_that_is_none() {
    let ended = User::new().check(&["--cwd", "nowhere"], &CORRECT);
    ended.refuses(2, &["nowhere: it is no directory", "--cwd"]);
}

// ---- what does not become ready --------------------------------------------------------------

#[test]
fn a_target_that_exits_at_once() {
    let script = "echo reading config; echo no database >&2; exit $0";
    for code in ["0", "1"] {
        let ended = User::new().check(&[], &["/bin/sh", "-c", script, code]);
        let exited = format!("exited with status {code} before it was ready");
        ended.refuses(4, &[&exited, "last lines it wrote", "    no database", "by hand"]);
        assert!(ended.stderr.contains("    reading config\n"), "{}", ended.stderr);
    }
}

#[test]
fn a_target_that_crashes() {
    let ended = User::new().check(&[], &["/bin/sh", "-c", "echo dying; kill -SEGV $$"]);
    ended.refuses(4, &["was ended by SIGSEGV before it was ready", "    dying\n"]);
}

#[test]
fn what_a_target_wrote_can_not_disturb_the_terminal() {
    let script = r"printf '\033[2Jcleared\007\n'; exit 1";
    let ended = User::new().check(&[], &["/bin/sh", "-c", script]);
    ended.refuses(4, &["cleared"]);
    assert!(!ended.stderr.contains(['\x1b', '\x07']), "{:?}", ended.stderr);
}

#[test]
fn a_long_command_is_one_line_of_the_message() {
    let script = format!("true\n{}\nexit 1", "# nothing\n".repeat(100));
    let ended = User::new().check(&[], &["/bin/sh", "-c", &script]);
    ended.refuses(4, &["error: /bin/sh -c 'true # nothing", "… exited with status 1 before"]);
}

#[test]
fn a_target_that_never_listens() {
    let words = ["/bin/sh", "-c", "echo waiting for godot; exec sleep 600"];
    let ended = User::new().check(&["--ready-timeout", "300ms"], &words);
    let parts = ["never became ready", "waited 300ms: it listens on no TCP port", "--port"];
    ended.refuses(4, &parts);
    assert!(ended.stderr.contains("    waiting for godot\n"), "{}", ended.stderr);
}

#[test]
fn a_target_that_never_says_that_it_is_ready() {
    let words = ["/bin/sh", "-c", "echo reading; exec sleep 600"];
    let line = ["--profile", "worker", "--ready-line", "^ready$", "--ready-timeout", "300ms"];
    let run = |options: &[&str]| {
        User::new().run(&[&["--trials", "1"], options, &["--"], &words].concat())
    };
    let ended = run(&line);
    ended.refuses(4, &["never became ready", "no line that matches \"^ready$\"", "held back"]);
    let file = ["--profile", "worker", "--ready-file", "up", "--ready-timeout", "300ms"];
    run(&file).refuses(4, &["never became ready", "it made no file", "--ready-timeout"]);
}

#[test]
fn a_unix_socket_that_nobody_or_another_program_listens_on() {
    let user = User::new();
    let path = user.path("x.sock").display().to_string();
    let url = format!("unix:{path}");
    let options = ["--url", &url, "--ready-timeout", "300ms"];
    let ended = user.check(&options, &["/bin/sh", "-c", "exec sleep 600"]);
    ended.refuses(4, &["never became ready", &format!("nobody listens on {url}")]);
    let _taken = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let ended = user.check(&options, &["/bin/sh", "-c", "exec sleep 600"]);
    ended.refuses(4, &[&format!("{url} is taken by another program"), "{port}.sock"]);
}

#[test]
fn a_target_that_listens_elsewhere() {
    let (named, actual) = (fixed_port().to_string(), fixed_port());
    let listen = format!("127.0.0.1:{actual}");
    let options = ["--port", &named, "--ready-timeout", "2s"];
    let ended = User::new().check(&options, &[BIN, "reference-server", "--listen", &listen]);
    let parts = [
        format!("no TCP port that was asked for, but on {actual}"),
        format!("name that port (--port {actual})"),
    ];
    ended.refuses(4, &[&parts[0], &parts[1]]);
}

#[test]
fn a_port_that_another_program_has() {
    let other = TcpListener::bind(("127.0.0.1", fixed_port())).unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let user = User::new();
    let ended = user.check(&["--port", &port], &["touch", "started"]);
    ended.refuses(4, &[&format!("port {port} is taken by another program"), "end the other"]);
    assert!(!user.path("started").exists(), "nothing is started in vain");
}

/// The harness finds the port free, and the target gives it to a program that it can't know.
#[test]
fn a_target_that_can_not_have_its_port() {
    let other = TcpListener::bind(("127.0.0.1", fixed_port())).unwrap();
    let listen = other.local_addr().unwrap().to_string();
    let ended = User::new().check(&[], &[BIN, "reference-server", "--listen", &listen]);
    ended.refuses(
        4,
        &[
            "exited with status 1 before it was ready",
            "    an error occurred, cannot listen on 127.0.0.1:",
        ],
    );
}

#[test]
fn a_target_that_speaks_no_http() {
    let options = ["--ready-timeout", "1s"];
    let ended = check_role("speaks-another-protocol", &options);
    ended.refuses(4, &["does not speak HTTP/1.1: it answered \"-ERR unknown", "(--port)"]);
    let ended = check_role("speaks-first", &options);
    ended.refuses(4, &["does not speak HTTP/1.1: it answered \"SSH-2.0", "(--port)"]);
    let ended = check_role("is-silent", &options);
    ended.refuses(4, &["takes connections and answers nothing", "--ready-url"]);
}

#[test]
fn a_target_that_is_not_ready_by_its_own_word() {
    let ended = check_role("is-broken", &["--ready-timeout", "1s"]);
    ended.refuses(4, &["/ answered 500 (", " times)", "--ready-timeout", "--ready-url"]);
    let user = User::new();
    let ended = user.check(&["--ready-url", "/nope", "--ready-timeout", "1s"], &CORRECT);
    ended.refuses(4, &["/nope answered 404 (", "--ready-url"]);
}

// ---- what is broken before any signal --------------------------------------------------------

#[test]
fn a_target_that_is_broken_although_it_is_ready() {
    let ended = check_role("is-broken", &["--ready-url", "/readyz", "--path", "/orders"]);
    let parts = ["GET /orders was answered with status 500, before any signal", "--expect-status"];
    ended.refuses(4, &parts);
}

#[test]
fn a_status_that_was_not_expected() {
    let ended = User::new().check(&["--path", "/", "--expect-status", "201"], &CORRECT);
    ended.refuses(4, &["GET / was answered with status 200", "201 was expected (--expect-status"]);
}

#[test]
fn a_page_that_is_not_there() {
    let ended = User::new().check(&["--path", "/nope"], &CORRECT);
    ended.refuses(
        4,
        &["GET /nope was answered with status 404", "check the path", "--expect-status"],
    );
    // Where it is expected, it is a page like any other; only too quick to show much.
    let expected = User::new().check(&["--path", "/nope", "--expect-status", "404"], &CORRECT);
    assert!([0, 3].contains(&expected.code()), "{expected:?}");
}

#[test]
fn a_target_that_crashes_at_its_first_request() {
    let ended = check_role("crashes-at-a-request", &["--path", "/crash"]);
    ended.refuses(4, &["was ended by SIGABRT before any signal", "attempt to divide by zero\n"]);
}

#[test]
fn a_target_that_crashes_under_load_before_the_signal() {
    let ended = check_role("crashes-under-load", &["--path", "/", "--connections", "2"]);
    ended.refuses(4, &["exited with status 7 before any signal", "out of memory\n"]);
}

// ---- configuration ---------------------------------------------------------------------------

fn configured(text: &str) -> (User, Ended) {
    let user = User::new();
    user.file("check.toml", text);
    let ended = user.run(&["--config", "check.toml", "--no-progress", "--", "touch", "started"]);
    assert!(!user.path("started").exists(), "{text}");
    (user, ended)
}

#[test]
fn a_configuration_that_is_not_there() {
    let ended = User::new().run(&["--config", "nowhere.toml", "--", "touch", "started"]);
    ended.refuses(2, &["nowhere.toml: No such file", "--config", "--no-config"]);
    let ended = User::new().run(&["--config", ".", "--", "touch", "started"]);
    ended.refuses(2, &["Is a directory", "--config"]);
}

#[test]
fn a_configuration_that_can_not_be_understood() {
    let table = [
        ("trials = 1\nsignal = [\n", "check.toml:2: "),
        (
            "trials = 1\n\ndedline = \"3s\"\n",
            "check.toml:3: unknown key \"dedline\"; did you mean \"deadline\"?",
        ),
        ("trials = \"many\"\n", "check.toml:1: trials: expected a number"),
        ("deadline = \"soon\"\n", "check.toml:1: "),
        ("[levels]\nno-such-rule = \"deny\"\n", "check.toml:2: "),
        ("trials = 1\nbudget = \"3s\"\n", "exclude each other: keep one"),
    ];
    for (text, part) in table {
        configured(text).1.refuses(2, &[part]);
    }
    let user = User::new();
    user.file("check.toml", b"target = \"\xff\"\n");
    user.run(&["--config", "check.toml"]).refuses(2, &["check.toml", "UTF-8"]);
}

// ---- the command line ------------------------------------------------------------------------

#[test]
fn options_that_can_not_be_understood() {
    let table: [(&[&str], &str); 7] = [
        (&["--trails", "3"], "similar argument exists: '--trials'"),
        (&["--deny", "in-flight"], "did you mean \"in-flight-requests-complete\"?"),
        (&["--deadline", "3 fortnights"], "is no length of time: write 30s or 500ms"),
        (&["--signal", "TREM"], "\"TREM\" is no signal: use a name such as TERM"),
        (&["--trials", "0"], "--trials"),
        (&["--url", "http://example.com/"], "is not this machine"),
        (&["--output", "pdf=report.pdf"], "\"pdf\" is no format: use "),
    ];
    for (options, part) in table {
        let user = User::new();
        let words = [options, &["--no-config", "--", "touch", "started"]].concat();
        user.run(&words).refuses(2, &[part]);
        assert!(!user.path("started").exists(), "{options:?}");
    }
}

#[test]
fn a_variable_that_is_no_setting() {
    let user = User::new();
    let mut command = user.command(BIN);
    command.env("SHUTDOWN_CHECK_TRAILS", "3").args(["--no-config", "--", "touch", "started"]);
    let ended = harness::Running::start(command).wait();
    ended.refuses(2, &["SHUTDOWN_CHECK_TRAILS is no setting", "SHUTDOWN_CHECK_TRIALS"]);
}

/// By paths that lead through a file or into `/proc`, since root may write everywhere else.
#[test]
fn a_place_that_can_not_be_written_to() {
    let table: [(&[&str], &str); 5] = [
        (&["--output", "json=file/report.json"], "file"),
        (&["--output", "json=/proc/none/report.json"], "/proc/none"),
        (&["--output", "json=."], "it is a directory"),
        (&["--reports-dir", "file"], "file"),
        (&["--reports-dir", "/proc/none"], "/proc/none"),
    ];
    for (options, part) in table {
        let user = User::new();
        user.file("file", "");
        let words = [options, &["--no-config", "--seed", "1", "--", "touch", "started"]].concat();
        user.run(&words).refuses(2, &[part]);
        assert!(!user.path("started").exists(), "{options:?}: nothing is started in vain");
        assert_eq!(fs::read(user.path("file")).unwrap(), b"", "{options:?}");
    }
}

// ---- histories -------------------------------------------------------------------------------

#[test]
fn histories_that_are_none() {
    let user = User::new();
    user.file("garbage", "once upon a time\n");
    user.file("nothing", "");
    user.file("noise", (0..=255).cycle().take(10_000).collect::<Vec<u8>>());
    user.file("folder/notes.txt", "");
    let table = [
        ("nowhere", "nowhere is no history that can be judged: No such file"),
        ("garbage", "garbage is no history that can be judged: line 1: "),
        ("nothing", "nothing is no history that can be judged: line 1: the file is empty"),
        ("noise", "noise is no history that can be judged: line 1: "),
        ("folder", "no histories (trial-*.jsonl) in "),
    ];
    for (name, part) in table {
        user.run(&["judge", "--no-config", name]).refuses(2, &[part]);
    }
}

/// What is left of a history is judged for what it shows, or refused where it contradicts itself:
/// the life of a connection is written down at its end, after its requests.
#[test]
fn a_history_that_was_cut() {
    let user = User::new();
    user.check(&QUICK, &CORRECT).satisfies();
    let whole = fs::read(user.path("r/1/trial-0001.jsonl")).unwrap();
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for length in [header + 1, header + 20, whole.len() - 3, whole.len() - 1] {
        user.file("cut.jsonl", &whole[..length]);
        let ended = user.run(&["judge", "--no-config", "cut.jsonl"]);
        ended.panics_nowhere();
        assert!([0, 1, 3].contains(&ended.code()), "{length}: {ended:?}");
    }
    let middle = [&whole[..header + 30], &whole[header + 40..]].concat();
    let text = String::from_utf8_lossy(&whole);
    let request = text.find("\"event\":\"request\"").unwrap();
    let after_request = request + text[request..].find('\n').unwrap() + 1;
    let table = [
        (&whole[..header / 2], "line 1: EOF"),
        (&whole[..after_request], "the request has no connection"),
        (&middle[..], "line 2: "),
    ];
    for (content, part) in table {
        user.file("cut.jsonl", content);
        let ended = user.run(&["judge", "--no-config", "cut.jsonl"]);
        ended.refuses(2, &["cut.jsonl is no history that can be judged: ", part]);
    }
}
