//! A page that lists jobs, asked again and again: its lines that were not there before.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// An answer that takes longer is none.
const LIMIT: Duration = Duration::from_secs(2);
/// A longer list is not read.
const BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The page, and which lines it had.
#[derive(Debug)]
pub struct JobList {
    client: reqwest::Client,
    url: String,
    /// How often each line was there; `None` before the first answer.
    known: Option<HashMap<String, usize>>,
}

impl JobList {
    /// A page that has not been asked yet, on a unix socket where one is given.
    ///
    /// # Errors
    /// Why there is no client.
    pub fn new(url: String, socket: Option<PathBuf>) -> Result<Self, String> {
        // A connection that is kept would be one more that the target has to close.
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(LIMIT);
        let builder = match socket {
            Some(path) => builder.unix_socket(path),
            None => builder,
        };
        let client = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { client, url, known: None })
    }

    /// The lines that are new since the last time: none the first time, since what was there then
    /// is of earlier jobs.
    ///
    /// # Errors
    /// What came back instead of a list.
    pub async fn lines(&mut self) -> Result<Vec<String>, String> {
        let body = self.body().await?;
        let is_first = self.known.is_none();
        let known = self.known.get_or_insert_default();
        let mut now: HashMap<&str, usize> = HashMap::new();
        let mut new = Vec::new();
        for line in body.lines() {
            let times = now.entry(line).or_default();
            *times += 1;
            if known.get(line).is_none_or(|before| before < times) {
                new.push(line.to_owned());
            }
        }
        for (line, times) in now {
            let before = known.entry(line.to_owned()).or_default();
            *before = times.max(*before);
        }
        Ok(if is_first { Vec::new() } else { new })
    }

    async fn body(&self) -> Result<String, String> {
        let request = self.client.get(&self.url).header("Connection", "close");
        let response = request.send().await.map_err(|error| innermost(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("it answered {}", status.as_u16()));
        }
        if response.content_length().is_some_and(|length| length > BYTES_MAX) {
            return Err(format!("its answer is longer than {BYTES_MAX} B"));
        }
        response.text().await.map_err(|error| innermost(&error))
    }
}

/// The innermost cause: the outer ones only say that a request failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_lines_that_were_not_there_before_are_new() {
        let bodies = ["old\n", "old\na\n", "old\na\na\n", "a\na\nb\n"];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let new: Vec<_> = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/jobs", listener.local_addr().unwrap());
            let served = tokio::spawn(async move {
                for body in bodies {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let _ = stream.read(&mut [0; 4096]).await.unwrap();
                    let length = body.len();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                }
            });
            let mut list = JobList::new(url, None).unwrap();
            let mut new = Vec::new();
            for _ in bodies {
                new.push(list.lines().await.unwrap());
            }
            served.await.unwrap();
            assert!(list.lines().await.is_err(), "nobody answers any more");
            new
        });
        assert_eq!(new, [vec![], vec!["a"], vec!["a"], vec!["b"]]);
    }
}
