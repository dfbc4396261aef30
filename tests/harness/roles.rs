//! Servers that are wrong in ways that no bundled one is. The tests' own program plays them, so
//! that nothing else need be installed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Says which role the program of the tests is to play.
const ROLE: &str = "ROLE";
/// The name of the test that plays it, in each file of tests.
const TEST: &str = "a_target_for_the_other_tests";

static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// The words that start a role, and the option that names it.
pub(crate) fn role(name: &str) -> (Vec<String>, String) {
    let own = std::env::current_exe().unwrap().display().to_string();
    let words = [own.as_str(), "--exact", TEST, "--nocapture", "--test-threads=1"];
    (words.map(String::from).to_vec(), format!("--env={ROLE}={name}"))
}

/// Plays the role that the environment names; without one, there is nothing to do.
pub(crate) fn play() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let _control = (role == "binds-before-it-is-ready").then(|| {
        let path = std::env::var("CONTROL").unwrap();
        let control = std::os::unix::net::UnixListener::bind(path).unwrap();
        // What it does meanwhile takes its time.
        std::thread::sleep(Duration::from_millis(500));
        control
    });
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    for stream in listener.incoming().flatten() {
        let role = role.clone();
        std::thread::spawn(move || serve(&role, stream));
    }
}

fn serve(role: &str, mut stream: TcpStream) -> Option<()> {
    if role == "speaks-first" {
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").ok()?;
        stay(stream)
    }
    let mut request = [0; 4096];
    loop {
        let length = stream.read(&mut request).ok().filter(|length| *length > 0)?;
        let path = String::from_utf8_lossy(&request[..length]);
        let path = path.split(' ').nth(1).unwrap_or_default();
        match role {
            "speaks-another-protocol" => {
                return stream.write_all(b"-ERR unknown command\r\n").ok();
            }
            "closes-each-connection" => return answer(&mut stream, "200 OK"),
            "is-silent" => stay(stream),
            "is-broken" if path != "/readyz" => answer(&mut stream, "500 Internal Server Error"),
            "crashes-under-load" if is_loaded() => {
                eprintln!("out of memory");
                std::process::exit(7);
            }
            "tells-of-its-load" if is_loaded() => {
                std::fs::write("loaded", "").ok()?;
                answer(&mut stream, "200 OK")
            }
            "crashes-at-a-request" if path == "/crash" => {
                eprintln!("attempt to divide by zero");
                std::process::abort();
            }
            // It never closes a connection itself.
            _ => answer(&mut stream, "200 OK"),
        }?;
    }
}

/// A rehearsal with two connections sends fewer requests than this, and the load of a trial more.
fn is_loaded() -> bool {
    REQUESTS.fetch_add(1, Ordering::Relaxed) > 12
}

fn answer(stream: &mut TcpStream, status: &str) -> Option<()> {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nhi\n");
    stream.write_all(answer.as_bytes()).ok()
}

fn stay(_open: TcpStream) -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
