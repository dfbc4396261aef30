//! The slides' service as a whole: start-up, jobs, log, endpoints.

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, Server, command};
use nix::sys::signal::Signal;

fn post(client: &mut Client, target: &str) -> common::Response {
    client.send(format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
    client.response()
}

#[test]
fn a_turn_that_has_begun_is_finished_and_none_begins_after_the_signal() {
    let flags = ["--listen", "127.0.0.1:0", "--background-job", "100ms", "--heavy-job", "800ms"];
    let mut server = Server::start_plain(&flags);
    server.wait_for_line("job id=background-2 finished");
    server.signal(Signal::SIGTERM);
    server.wait_for_line("gracefully shutting down...");
    let before = server.log.len();
    server.wait_gracefully();
    let after = &server.log[before..];
    assert!(!after.iter().any(|line| line.ends_with("started")), "{after:#?}");
    for line in ["job id=heavy-1 finished", "[heavy job] Done", "[heavy job] ctx Done"] {
        assert!(after.iter().any(|logged| logged == line), "no `{line}`: {after:#?}");
    }
    let count = |end: &str| server.log.iter().filter(|line| line.ends_with(end)).count();
    assert_eq!(count(" started"), count(" finished"));
    assert_eq!(count("] Done"), count(" finished"));
    assert_eq!(count("] ctx Done"), 2);
}

#[test]
fn posted_jobs_are_waited_for_and_refused_after_the_signal() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(post(&mut client, "/jobs?ms=700").text(), "posted-1\n");
    server.wait_for_line("job id=posted-1 started");
    client.get("/jobs");
    assert_eq!(client.response().text(), "posted-1\n");

    server.freeze();
    let mut late = server.connect();
    late.send("POST /jobs?ms=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.get("/readyz");
    server.terminate_frozen();
    for client in [&mut late, &mut client] {
        let response = client.response();
        assert_eq!(response.status, 503);
        assert_eq!(response.header("connection").as_deref(), Some("close"));
    }
    server.wait_gracefully();
    assert!(server.log.iter().any(|line| line == "job id=posted-1 finished"));
    assert!(!server.log.iter().any(|line| line.contains("posted-2")));
}

/// Whether the process has a handler for SIGTERM, proc_pid_status(5).
fn handles_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).expect("a mask");
    let caught = u64::from_str_radix(caught, 16).expect("hexadecimal");
    caught & 1 << (Signal::SIGTERM as u64 - 1) != 0
}

#[test]
fn a_signal_during_start_up_leads_to_a_prompt_exit() {
    // A log that is full, and that nobody reads yet, holds the server at its first line.
    let (mut log, mut writer) = std::io::pipe().expect("a pipe");
    std::io::Write::write_all(&mut writer, &[b'x'; 64 * 1024]).expect("fills it, pipe(7)");
    let mut command = command(&["--listen", "127.0.0.1:0"]);
    let mut child = command.stderr(writer).spawn().expect("starts");
    drop(command); // And with it our end for writing.
    let begin = Instant::now();
    while !handles_sigterm(child.id()) {
        assert!(begin.elapsed() < PATIENCE, "no handler");
        std::thread::sleep(Duration::from_millis(1));
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)
        .expect("it lives");
    let begin = Instant::now();
    let mut lines = String::new();
    std::io::Read::read_to_string(&mut log, &mut lines).expect("text");
    assert!(child.wait().expect("a status").success());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(!lines.contains(" started"), "{}", lines.trim_start_matches('x'));
    assert!(lines.ends_with("server shut down gracefully\n"));
}

#[test]
fn a_closed_log_does_not_stop_the_service() {
    let flags = ["--listen", "127.0.0.1:0", "--background-job", "1ms", "--heavy-job", "0s"];
    let mut child = command(&flags).stderr(Stdio::piped()).spawn().expect("starts");
    let mut stderr = std::io::BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.starts_with("listening on ") {
        line.clear();
        std::io::BufRead::read_line(&mut stderr, &mut line).expect("a line");
    }
    drop(stderr); // From here on every write to the log fails with EPIPE.
    let address = line["listening on ".len()..].trim_end().parse().expect("an address");
    let mut client = Client::connect(address);
    client.get("/sleep?ms=50");
    client.response().expect_whole();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)
        .expect("it lives");
    assert!(child.wait().expect("a status").success());
}

#[test]
fn the_port_comes_from_the_environment_unless_a_flag_says_otherwise() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let port = port.expect("a free port").port().to_string();
    let mut from_environment = command(&[]);
    from_environment.env("PORT", &port);
    let line = Server::spawn(from_environment).wait_for_line("listening on ");
    assert!(line.ends_with(&format!(":{port}")), "{line}");

    let mut from_flag = command(&["--listen", "127.0.0.1:0"]);
    from_flag.env("PORT", &port);
    let line = Server::spawn(from_flag).wait_for_line("listening on 127.0.0.1:");
    assert!(!line.ends_with(&format!(":{port}")), "{line}");
}

#[test]
fn what_makes_a_start_impossible_is_said() {
    let taken = Server::start(&[]);
    let address = taken.address.to_string();
    let mut second = Server::spawn(command(&["--listen", &address]));
    assert_eq!(second.wait().code(), Some(1));
    assert!(second.log.iter().any(|line| line.contains(&address)), "{:?}", second.log);

    let mut wrong = Server::spawn(command(&["--listen", "nowhere"]));
    assert_eq!(wrong.wait().code(), Some(2));
    assert!(wrong.log.join("\n").contains("expected `:8080`"), "{:?}", wrong.log);
}

#[test]
fn responses_state_their_size_and_digest() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for (target, text) in [
        ("/", "hello from the demo service\n"),
        ("/healthz", "ok\n"),
        ("/readyz", "ready\n"),
        ("/sleep?ms=1", "slept 1 ms\n"),
        ("/stream?chunks=2&size=10", "chunk 1..\nchunk 2..\n"),
    ] {
        client.get(target);
        let response = client.response();
        response.expect_whole();
        assert_eq!(response.text(), text);
        let length = text.len().to_string();
        let stated = response.header("content-length").or(response.header("x-content-length"));
        assert_eq!(stated, Some(length), "{target}");
    }
    let content = "y".repeat(3_000_000);
    client.send(format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        content.len()
    ));
    client.send(&content);
    let response = client.response();
    response.expect_whole();
    assert_eq!(response.text(), content);

    for target in ["/sleep?ms=x", "/sleep?ms=9999999", "/stream?chunks=0", "/stream?size=0"] {
        client.get(target);
        assert_eq!(client.response().status, 400, "{target}");
    }
    client.get("/nothing");
    assert_eq!(client.response().status, 404);
    assert_eq!(post(&mut client, "/").status, 405);
}
