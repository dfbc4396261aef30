//! What the server owes to every request that had reached its host when the signal came.
//!
//! Most tests hold the server still, build the state in question, send the signal and let it go on:
//! the state is exact, not lucky.

mod common;

use std::io::Write as _;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, Server};
use nix::sys::signal::Signal;

/// Connections that the kernel has established, but that the program has not accepted.
fn queued_requests_are_answered(mut server: Server) {
    server.freeze();
    let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.get("/sleep?ms=20"));
    server.terminate_frozen();
    for client in &mut clients {
        client.response().expect_last();
        client.expect_end();
    }
    server.wait_gracefully();
}

#[test]
fn requests_in_the_accept_queue_are_answered() {
    queued_requests_are_answered(Server::start(&[]));
}

#[test]
fn requests_in_the_accept_queue_are_answered_over_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        queued_requests_are_answered(Server::start_at("[::1]:0", &[]));
    }
}

#[test]
fn a_queued_client_that_sends_a_moment_later_is_answered() {
    // The moment is longer than the queue takes to be emptied (5 ms) and shorter than a connection
    // is given (50 ms), which a busy machine may miss now and then.
    let answered = (0..10).any(|_| {
        let mut server = Server::start(&[]);
        server.freeze();
        let mut client = server.connect();
        server.terminate_frozen();
        server.wait_for_line("gracefully shutting down...");
        std::thread::sleep(Duration::from_millis(20));
        let _ = client.reader.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        let response = client.try_response();
        server.wait_gracefully();
        response.map(|response| response.expect_last()).is_ok()
    });
    assert!(answered);
}

#[test]
fn unread_requests_on_accepted_connections_are_answered() {
    let mut server = Server::start(&[]);
    let fresh: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    let mut reused: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    for client in &mut reused {
        client.get("/");
        client.response().expect_whole();
    }
    server.freeze();
    let mut all: Vec<Client> = fresh.into_iter().chain(reused).collect();
    all.iter_mut().for_each(|client| client.get("/sleep?ms=1"));
    server.terminate_frozen();
    for client in &mut all {
        client.response().expect_last();
        client.expect_end();
    }
    server.wait_gracefully();
}

/// RFC 9112 §9.6: after `Connection: close` no further request may be answered, so only the last
/// response says it.
fn three_pipelined_requests_are_answered(mut client: Client, mut server: Server) {
    for _ in 0..2 {
        let response = client.response();
        response.expect_whole();
        assert_eq!(response.header("connection"), None);
    }
    client.response().expect_last();
    client.expect_end();
    server.wait_gracefully();
}

#[test]
fn pipelined_requests_that_came_with_the_one_in_process_are_answered() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let first = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let second = "GET /sleep?ms=300 HTTP/1.1\r\nHost: b\r\n\r\n";
    let third = "GET / HTTP/1.1\r\nHost: c\r\n\r\n";
    server.freeze();
    client.send([first, second, third].concat());
    server.terminate_frozen();
    three_pipelined_requests_are_answered(client, server);
}

#[test]
fn pipelined_requests_behind_the_one_in_process_are_answered() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.get("/sleep?ms=300");
    server.freeze();
    client.get("/");
    client.get("/healthz");
    server.terminate_frozen();
    three_pipelined_requests_are_answered(client, server);
}

#[test]
fn a_client_that_pipelines_for_ever_is_told_to_stop() {
    let mut server = Server::start(&["--shutdown-timeout", "60s"]);
    let mut client = server.connect();
    for _ in 0..8 {
        client.get("/sleep?ms=5");
    }
    client.response().expect_whole();
    server.signal(Signal::SIGTERM);
    let begin = Instant::now();
    loop {
        client.get("/sleep?ms=5"); // There are always seven behind the one that is answered.
        let response = client.response();
        response.expect_whole();
        if response.header("connection").is_some() {
            break;
        }
    }
    client.expect_end();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    server.wait_gracefully();
}

#[test]
fn requests_in_process_are_completed() {
    let mut server = Server::start(&[]);
    let mut waiting = server.connect();
    waiting.get("/sleep?ms=1500");
    let mut streaming = server.connect();
    streaming.get("/stream?chunks=50&ms=1500&size=1000");
    let mut old = server.connect();
    old.send("GET /sleep?ms=1500 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let mut half_closed = server.connect();
    half_closed.get("/sleep?ms=1500");
    half_closed.stream().shutdown(Shutdown::Write).expect("half closes");
    let mut partial = server.connect();
    partial.send("GET /sleep?ms=1 HTT");
    let mut uploading = server.connect();
    uploading.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegin");
    let mut expecting = server.connect();
    expecting.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(expecting.response().status, 100);

    server.signal(Signal::SIGTERM);
    server.wait_for_line("gracefully shutting down...");

    std::thread::sleep(Duration::from_millis(200)); // Longer than an idle connection is kept.
    expecting.send("body");
    uploading.send(vec![b'x'; 100_000 - 5]);
    partial.send("P/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(uploading.response().body.len(), 100_000);
    for client in [&mut waiting, &mut old, &mut half_closed, &mut partial, &mut expecting] {
        client.response().expect_last();
        client.expect_end();
    }
    let streamed = streaming.response();
    streamed.expect_whole();
    assert_eq!(streamed.body.len(), 50_000);
    streaming.expect_end();
    server.wait_gracefully();
}

#[test]
fn idle_connections_are_released_at_once() {
    let mut server = Server::start(&["--shutdown-timeout", "60s"]);
    let mut clients: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    for client in clients.iter_mut().skip(5) {
        client.get("/");
        client.response().expect_whole();
    }
    server.signal(Signal::SIGTERM);
    let begin = Instant::now();
    clients.iter_mut().for_each(Client::expect_end);
    drop(clients);
    server.wait_gracefully();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn clients_that_never_close_do_not_hold_the_exit() {
    let mut server = Server::start(&["--shutdown-timeout", "60s"]);
    let mut client = server.connect();
    client.get("/");
    client.response().expect_whole();
    server.signal(Signal::SIGTERM);
    let begin = Instant::now();
    server.wait_gracefully();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn the_end_of_a_response_survives_bytes_that_nobody_reads() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    let junk = "x".repeat(300_000);
    client.send(
        "GET /stream?chunks=32&size=65536&ms=200 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    client.send(junk);
    server.signal(Signal::SIGTERM);
    // Most of it reaches this host while the response is sent; none of it may cause a reset.
    let response = client.response();
    response.expect_whole();
    assert_eq!(response.body.len(), 32 * 65_536);
    client.expect_end();
    server.wait_gracefully();
}

#[test]
fn the_end_of_a_response_survives_bytes_that_come_after_it() {
    // The client's small buffer leaves most of the response to the server's kernel, which would
    // throw it away if bytes came for a socket that the server has closed. They come later than
    // such a close would be, and sooner than the lingering ends, if the machine isn't too busy.
    let whole = (0..10).any(|_| {
        let mut server = Server::start(&[]);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        socket.connect(&server.address.into()).expect("connects");
        let mut client = Client { reader: std::io::BufReader::new(socket.into()) };
        client.stream().set_read_timeout(Some(PATIENCE)).expect("a timeout");
        server.freeze();
        client.get("/stream?chunks=1&size=50000");
        server.terminate_frozen();
        client.stream().peek(&mut [0]).expect("the response begins");
        std::thread::sleep(Duration::from_millis(50));
        let _ = client.reader.get_mut().write_all(b"more");
        let response = client.try_response();
        server.wait_gracefully();
        response.map(|response| response.expect_last()).is_ok()
    });
    assert!(whole);
}

#[test]
fn stalled_clients_do_not_hold_the_exit() {
    let flags = ["--shutdown-timeout", "60s", "--stall-timeout", "400ms"];
    let mut server = Server::start(&flags);
    let mut head = server.connect();
    head.send("GET / HTT");
    let mut content = server.connect();
    content.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    let mut reader = server.connect();
    reader.get("/stream?chunks=1000&size=65536");
    // A handler that takes its time is no stalled client.
    let mut patient = server.connect();
    patient.get("/sleep?ms=2000");
    std::thread::sleep(Duration::from_millis(100));

    server.signal(Signal::SIGTERM);
    let begin = Instant::now();
    patient.response().expect_last();
    server.wait_gracefully();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let given_up = server.log.iter().filter(|line| line.contains("stalled for 400ms")).count();
    assert_eq!(given_up, 3, "{:#?}", server.log);
    drop((head, content, reader));
}

#[test]
fn slow_readers_are_not_taken_for_stalled() {
    let mut server = Server::start(&["--stall-timeout", "500ms", "--shutdown-timeout", "60s"]);
    let mut client = server.connect();
    client.get("/stream?chunks=400&size=65536");
    server.signal(Signal::SIGTERM);
    server.wait_for_line("gracefully shutting down...");
    let mut body = Vec::new();
    let mut part = vec![0; 1_000_000];
    loop {
        std::thread::sleep(Duration::from_millis(100));
        match std::io::Read::read(&mut client.reader, &mut part).expect("no reset") {
            0 => break,
            read => body.extend_from_slice(&part[..read]),
        }
    }
    assert!(body.len() > 400 * 65_536, "{} bytes", body.len());
    assert!(body.ends_with(b"\r\n0\r\n\r\n"));
    server.wait_gracefully();
}

#[test]
fn what_outlives_the_deadline_is_abandoned_and_named() {
    let mut server = Server::start(&["--shutdown-timeout", "300ms"]);
    let mut client = server.connect();
    client.get("/sleep?ms=60000");
    let mut poster = server.connect();
    poster.send("POST /jobs?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(poster.response().status, 202);
    server.wait_for_line("job id=posted-1 started");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(1));
    for line in [
        "request abandoned: GET /sleep?ms=60000",
        "error shutting down the server: deadline of 300ms exceeded, abandoned: GET /sleep?ms=60000",
        "job id=posted-1 abandoned",
        "error shutting down the server: deadline of 300ms exceeded, abandoned: posted-1",
    ] {
        assert!(server.log.iter().any(|logged| logged == line), "no `{line}`: {:#?}", server.log);
    }
    assert!(!server.log.iter().any(|line| line.contains("gracefully") && line.contains("down g")));
}

#[test]
fn an_idle_server_exits_at_once_and_refuses_from_then_on() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start(&[]);
        server.signal(signal);
        let begin = Instant::now();
        server.wait_gracefully();
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        assert!(std::net::TcpStream::connect(server.address).is_err());
    }
}

#[test]
fn further_signals_change_nothing() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    client.get("/sleep?ms=1500");
    server.signal(Signal::SIGTERM);
    server.wait_for_line("gracefully shutting down...");
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGTERM] {
        server.signal(signal);
    }
    client.response().expect_last();
    server.wait_gracefully();
}

#[test]
fn new_connections_are_refused_while_requests_are_completed() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    client.get("/sleep?ms=1500");
    server.signal(Signal::SIGTERM);
    server.wait_for_line("gracefully shutting down...");
    let begin = Instant::now();
    while std::net::TcpStream::connect_timeout(&server.address, Duration::from_millis(50)).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "still accepting");
    }
    client.response().expect_last();
    server.wait_gracefully();
}

#[test]
fn during_the_lame_duck_readiness_fails_and_new_connections_are_served() {
    let flags = ["--listen", "127.0.0.1:0", "--background-job", "10ms", "--heavy-job", "0s"];
    let mut server = Server::start_plain(&[&flags[..], &["--lame-duck", "1s"]].concat());
    let mut idle = server.connect();
    idle.get("/readyz");
    assert_eq!(idle.response().status, 200);
    let mut fresh = server.connect();
    server.wait_for_line("job id=background-1 finished");
    server.signal(Signal::SIGTERM);
    let begin = Instant::now();
    server.wait_for_line("[background job] ctx Done");
    assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());

    // For longer than an idle connection is kept once the lame duck is over.
    while begin.elapsed() < Duration::from_millis(700) {
        let mut client = server.connect();
        client.get("/readyz");
        let response = client.response();
        assert_eq!(response.status, 503);
        assert_eq!(response.header("connection").as_deref(), Some("close"));
        client.expect_end();
        std::thread::sleep(Duration::from_millis(20));
    }
    fresh.get("/");
    fresh.response().expect_last();
    idle.expect_end();
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    server.wait_gracefully();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

#[test]
fn the_lame_duck_is_not_taken_from_the_time_for_requests() {
    let mut server = Server::start(&["--lame-duck", "500ms", "--shutdown-timeout", "500ms"]);
    let mut client = server.connect();
    client.get("/sleep?ms=800");
    server.signal(Signal::SIGTERM);
    client.response().expect_last();
    server.wait_gracefully();
}
