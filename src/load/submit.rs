//! Clients that submit jobs: one before the signal, some while it is sent, one after it.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::model::address::ServerAddress;
use crate::model::event::{EventKind, Framing, JobSubmit};
use crate::model::target::RequestTemplate;

use super::clients::{AFTER_SIGNAL, Clients, Stage};
use super::connect::connect;
use super::request::PreparedRequest;
use super::response::ResponseReader;
use super::stream::Stream;

/// A quiet target that has not taken a job within this time does not take it.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// So much of a request is kept back until its instant.
const KEPT_BACK: usize = 2;
/// Around the planned signal, the instants at which requests become complete, in microseconds.
const AROUND_US: [i64; 4] = [-8000, -4000, -1500, 0];
/// A longer answer is no id.
const ANSWER_BYTES_MAX: usize = 100;

/// Who submits the jobs of one trial.
#[derive(Debug)]
pub struct Submitter {
    clients: Rc<Clients>,
    address: ServerAddress,
    request: PreparedRequest,
    name: String,
    /// What its keys begin with.
    mark: String,
}

impl Submitter {
    /// Nothing is sent yet. `seed` makes the keys those of this trial.
    /// None where the target has no listener.
    pub fn new(clients: Rc<Clients>, template: &RequestTemplate, seed: u64) -> Option<Rc<Self>> {
        let address = clients.address.clone()?;
        let request = PreparedRequest::new(0, template, &address);
        let (name, mark) = (template.name(), format!("sc{seed:x}"));
        Some(Rc::new(Self { clients, address, request, name, mark }))
    }

    /// Submits a job and waits for the answer; the connection, for a later one.
    ///
    /// # Errors
    /// Why none was taken.
    pub async fn first(&self) -> Result<Stream, String> {
        let refused =
            |what: String| format!("{} {what}: name what takes a job (--job-submit)", self.name);
        let no_connection = |error| refused(format!("could not be sent ({error})"));
        let mut stream = connect(&self.address).await.map_err(no_connection)?;
        let submit = timeout(ANSWER_LIMIT, self.submit(&mut stream, 0, None)).await;
        let submit = submit.map_err(|_| refused("was not answered before the signal".into()))?;
        match submit.status {
            Some(_) if submit.is_acknowledged() => Ok(stream),
            Some(status) => Err(refused(format!("was answered with {status} before the signal"))),
            None => Err(refused("was not answered before the signal".into())),
        }
    }

    /// Connects, for requests that will be complete around an instant.
    pub async fn connect_around(&self) -> Vec<Stream> {
        let mut streams = Vec::new();
        for _ in AROUND_US {
            streams.extend(connect(&self.address).await);
        }
        streams
    }

    /// Submits a job by a request whose last bytes are sent at about this instant.
    pub async fn around(self: Rc<Self>, mut stream: Stream, nth: usize, at: Instant) {
        let offset = AROUND_US[nth % AROUND_US.len()];
        let distance = Duration::from_micros(offset.unsigned_abs());
        let due = if offset < 0 { at - distance } else { at + distance };
        self.submit(&mut stream, nth + 1, Some(due)).await;
    }

    /// Submits a job on an open connection, some time after the signal.
    pub async fn late(self: Rc<Self>, mut stream: Stream) {
        self.clients.until(Stage::Signalled).await;
        tokio::time::sleep(AFTER_SIGNAL).await;
        self.submit(&mut stream, AROUND_US.len() + 1, None).await;
    }

    /// Sends the request, the end of it not before it is due, and writes down what became of it.
    async fn submit(&self, stream: &mut Stream, nth: usize, due: Option<Instant>) -> JobSubmit {
        let key = format!("{}-{nth}", self.mark);
        let bytes = self.request.bytes(|| key.clone()).all;
        let now = self.clients.recorder.now();
        let mut submit =
            JobSubmit { key, started: now, sent: None, ended: now, status: None, answer: None };
        tokio::select! {
            () = self.exchange(stream, &bytes, due, &mut submit) => {}
            () = self.clients.until(Stage::Over) => {}
        }
        submit.ended = self.clients.recorder.now();
        self.clients.recorder.record(EventKind::JobSubmit(submit.clone()));
        submit
    }

    async fn exchange(
        &self,
        stream: &mut Stream,
        bytes: &[u8],
        due: Option<Instant>,
        submit: &mut JobSubmit,
    ) {
        let kept_back = if due.is_some() { KEPT_BACK.min(bytes.len()) } else { 0 };
        let (now, later) = bytes.split_at(bytes.len() - kept_back);
        if stream.write_all(now).await.is_err() {
            return;
        }
        if let Some(due) = due {
            sleep_until(due).await;
            if stream.write_all(later).await.is_err() {
                return;
            }
        }
        submit.sent = Some(self.clients.recorder.now());
        let mut reader = ResponseReader::new(&self.request.method);
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        while !reader.is_complete() {
            match stream.read(&mut buffer).await {
                Ok(length @ 1..) if reader.push(&buffer[..length]).is_ok() => {
                    received.extend_from_slice(&buffer[..length]);
                }
                Ok(0) if reader.end_of_stream() => {}
                _ => return,
            }
        }
        submit.status = reader.status;
        submit.answer = word_of(&received, reader.framing);
    }
}

/// The body of a response, where it is one short word.
fn word_of(response: &[u8], framing: Option<Framing>) -> Option<String> {
    let text = std::str::from_utf8(response).ok()?;
    let (_, body) = text.split_once("\r\n\r\n")?;
    let body = match framing? {
        // The size of a chunk stands on a line before it.
        Framing::Chunked => body.split("\r\n").nth(1)?,
        _ => body,
    };
    let word = body.trim();
    let is_word = !word.is_empty() && !word.contains(char::is_whitespace);
    (is_word && word.len() <= ANSWER_BYTES_MAX).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
        let answer = |body: &str, framing| {
            word_of(format!("HTTP/1.1 202 x\r\n\r\n{body}").as_bytes(), Some(framing))
        };
        assert_eq!(answer("posted-1\n", Framing::ContentLength(9)).as_deref(), Some("posted-1"));
        assert_eq!(
            answer("8\r\nposted-1\r\n0\r\n\r\n", Framing::Chunked).as_deref(),
            Some("posted-1")
        );
        assert_eq!(answer("thank you", Framing::ContentLength(9)), None);
        assert_eq!(answer("", Framing::NoBody), None);
    }
}
