//! Clients that submit jobs: one before the signal, some while it is sent, one after it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::model::address::ServerAddress;
use crate::model::event::{EventKind, JobSubmit, Request, RequestEnd};
use crate::model::target::RequestTemplate;
use crate::model::time::Nanos;
use crate::observe::exact::wait_until;

use super::clients::{AFTER_SIGNAL, Clients, Stage};
use super::connect::connect;
use super::exchange::{Exchange, OpenConnection, Pace};
use super::request::PreparedRequest;
use super::timed::ALERT;

/// A quiet target that has not taken a job within this time does not take it.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// So much of a request is kept back until its instant.
const KEPT_BACK: usize = 2;
/// Around the planned signal, the instants at which requests become complete, in microseconds.
const AROUND_US: [i64; 4] = [-8000, -4000, -1500, 0];
/// A longer answer is no id; so much is kept of it, with the space around it.
const ANSWER_BYTES_MAX: usize = 100;
const BODY_BYTES_MAX: usize = 2 * ANSWER_BYTES_MAX;

/// Who submits the jobs of one trial.
#[derive(Debug)]
pub struct Submitter {
    clients: Rc<Clients>,
    address: ServerAddress,
    request: PreparedRequest,
    name: String,
    /// What its keys begin with.
    mark: String,
    /// From when the first request was sent to when it was answered.
    first_took: Cell<Duration>,
}

/// The number of the job that is submitted alone, at a known instant.
const ALONE: usize = 1;

impl Submitter {
    /// Nothing is sent yet. `seed` makes the keys those of this trial.
    /// None where the target has no listener.
    pub fn new(clients: Rc<Clients>, template: &RequestTemplate, seed: u64) -> Option<Rc<Self>> {
        let address = clients.address.clone()?;
        let request = PreparedRequest::new(0, template, &address);
        let (name, mark) = (template.name(), format!("sc{seed:x}"));
        let first_took = Cell::default();
        Some(Rc::new(Self { clients, address, request, name, mark, first_took }))
    }

    /// Submits a job and waits for the answer; the connection, for a later one.
    ///
    /// # Errors
    /// Why none was taken.
    pub async fn first(&self) -> Result<OpenConnection, String> {
        let refused =
            |what: String| format!("{} {what}: name what takes a job (--job-submit)", self.name);
        let no_connection = |error| refused(format!("could not be sent ({error})"));
        let mut connection =
            OpenConnection::apart(connect(&self.address).await.map_err(no_connection)?);
        let submit = timeout(ANSWER_LIMIT, self.submit(&mut connection, 0, AT_ONCE)).await;
        let submit = submit.map_err(|_| refused("was not answered before the signal".into()))?;
        self.first_took.set(submit.ended.since(submit.sent.unwrap_or(submit.started)));
        match submit.status {
            Some(_) if submit.is_acknowledged() => Ok(connection),
            Some(status) => Err(refused(format!("was answered with {status} before the signal"))),
            None => Err(refused("was not answered before the signal".into())),
        }
    }

    /// Connects, for requests that will be complete around an instant.
    pub async fn connect_around(&self) -> Vec<OpenConnection> {
        let mut connections = Vec::new();
        for _ in AROUND_US {
            connections.extend(connect(&self.address).await.map(OpenConnection::apart));
        }
        connections
    }

    /// How long the first one took to be answered, from when all of it was sent.
    pub fn first_took(&self) -> Duration {
        self.first_took.get()
    }

    /// Connects, for a request that will be complete at an instant.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect_one(&self) -> Result<OpenConnection, String> {
        let connected = connect(&self.address).await.map(OpenConnection::apart);
        connected.map_err(|error| format!("no connection to submit a job on ({error})"))
    }

    /// What the job that is submitted alone is known by.
    pub fn key_of_one(&self) -> String {
        self.key(ALONE)
    }

    /// Submits a job by a request whose last bytes are sent at this instant.
    pub async fn complete_at(self: Rc<Self>, mut connection: OpenConnection, at: Nanos) {
        let recorder = &self.clients.recorder;
        let due = async {
            let left = at.since(recorder.now());
            tokio::time::sleep(left.saturating_sub(ALERT)).await;
            wait_until(recorder, at);
        };
        self.submit(&mut connection, ALONE, Some(due)).await;
    }

    /// Submits a job by a request whose last bytes are sent at about this instant.
    pub async fn around(self: Rc<Self>, mut connection: OpenConnection, nth: usize, at: Instant) {
        let offset = AROUND_US[nth % AROUND_US.len()];
        let distance = Duration::from_micros(offset.unsigned_abs());
        let due = if offset < 0 { at - distance } else { at + distance };
        self.submit(&mut connection, nth + 1, Some(sleep_until(due))).await;
    }

    /// Submits a job on an open connection, some time after the signal.
    pub async fn late(self: Rc<Self>, mut connection: OpenConnection) {
        self.clients.until(Stage::Signalled).await;
        tokio::time::sleep(AFTER_SIGNAL).await;
        self.submit(&mut connection, AROUND_US.len() + 1, AT_ONCE).await;
    }

    fn key(&self, nth: usize) -> String {
        format!("{}-{nth}", self.mark)
    }

    /// Sends the request, the end of it not before it is due, and writes down what became of it.
    async fn submit(
        &self,
        connection: &mut OpenConnection,
        nth: usize,
        due: Option<impl Future<Output = ()>>,
    ) -> JobSubmit {
        let key = self.key(nth);
        let request = self.request.with_key(&key);
        let recorder = &self.clients.recorder;
        let pace = match due {
            Some(_) => Pace::Gated(request.lengths().1.saturating_sub(KEPT_BACK)),
            None => Pace::AtOnce,
        };
        let exchange = Exchange::new(0, connection, &request, recorder);
        let mut exchange = exchange.at_pace(pace).keeping(BODY_BYTES_MAX);
        let gate = async {
            if let Some(due) = due {
                due.await;
            }
        };
        tokio::select! {
            () = exchange.run(connection, recorder, gate) => {}
            () = self.clients.until(Stage::Over) => {}
        }
        let body = exchange.kept();
        let Request { started, sent, ended, end, status, body: seen, .. } =
            exchange.finish(recorder);
        let is_complete = end == RequestEnd::Complete;
        let is_whole = seen.length == body.len() as u64;
        let submit = JobSubmit {
            key,
            started,
            sent,
            ended,
            status: status.filter(|_| is_complete),
            answer: word_of(&body).filter(|_| is_complete && is_whole),
        };
        recorder.record(EventKind::JobSubmit(submit.clone()));
        submit
    }
}

/// All of a request is sent at once, and nothing waited for.
const AT_ONCE: Option<std::future::Ready<()>> = None;

/// The body of a response, where it is one short word.
fn word_of(body: &[u8]) -> Option<String> {
    let word = std::str::from_utf8(body).ok()?.trim();
    let is_word = !word.is_empty() && !word.contains(char::is_whitespace);
    (is_word && word.len() <= ANSWER_BYTES_MAX).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::response::ResponseReader;
    use super::*;

    /// The address of a server that answers each request with a number, from 1 on.
    async fn counting_server() -> ServerAddress {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().into();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for number in 1.. {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut request).await.unwrap() == 0 {
                        return;
                    }
                }
                let answer =
                    format!("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{number}\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    #[test]
    fn a_job_is_submitted_before_the_signal_and_another_after_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let recorder = crate::observe::recorder::Recorder::new();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let clients = Clients::new(recorder.clone(), Some(counting_server().await), Vec::new());
            let mut template = RequestTemplate::get("/jobs?name={key}");
            template.method = "POST".into();
            let submitter = Submitter::new(clients.clone(), &template, 255).unwrap();
            let stream = submitter.first().await.unwrap();
            let late = tokio::task::spawn_local(submitter.late(stream));
            clients.enter(Stage::Signalled);
            late.await.unwrap();
        });
        let submits: Vec<_> = recorder
            .into_events()
            .into_iter()
            .map(|event| match event.kind {
                EventKind::JobSubmit(submit) => (submit.key, submit.status, submit.answer),
                other => panic!("{other:?}"),
            })
            .collect();
        let submit = |key: &str, answer: &str| (key.into(), Some(202), Some(answer.into()));
        assert_eq!(submits, [submit("scff-0", "1"), submit("scff-5", "2")]);
    }

    #[test]
    fn an_answer_is_kept_where_it_is_one_short_word() {
        let answer = |head: &str, body: &str| {
            let mut reader = ResponseReader::new("POST");
            reader.keep(BODY_BYTES_MAX);
            reader.push(format!("HTTP/1.1 {head}\r\n\r\n{body}").as_bytes()).unwrap();
            assert!(reader.is_complete());
            word_of(&reader.kept())
        };
        let of_nine = "202 x\r\nContent-Length: 9";
        assert_eq!(answer(of_nine, "posted-1\n").as_deref(), Some("posted-1"));
        let chunked = "202 x\r\nTransfer-Encoding: chunked";
        let chunks = "8\r\nposted-1\r\n0\r\n\r\n";
        assert_eq!(answer(chunked, chunks).as_deref(), Some("posted-1"));
        assert_eq!(answer(of_nine, "thank you"), None);
        assert_eq!(answer("204 x", ""), None);
    }
}
