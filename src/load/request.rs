//! Requests as they go over the wire.

use std::sync::Arc;
use std::time::Duration;

use crate::model::address::ServerAddress;
use crate::model::contract::ExpectedResponse;
use crate::model::target::RequestTemplate;

/// A request of the contract, ready to be sent to one address.
#[derive(Clone, Debug)]
pub struct PreparedRequest {
    /// Its number in the contract.
    pub template: u16,
    /// The method.
    pub method: String,
    /// How often it is sent, in proportion to the others.
    pub weight: u32,
    /// How long it takes on a quiet target.
    pub usual: Duration,
    /// How long it takes until the first byte of the response.
    pub first_byte: Duration,
    /// The length of the response's body, where that is always the same.
    pub body_length: u64,
    /// How long the sending of the body is spread out.
    pub upload_over: Option<Duration>,
    bytes: Bytes,
    /// Whether `{key}` in the head makes each request's bytes its own.
    is_keyed: bool,
}

/// One request's bytes.
#[derive(Clone, Debug)]
pub struct Bytes {
    /// Head, then body.
    pub all: Arc<[u8]>,
    /// Where the head ends.
    pub head: usize,
}

impl PreparedRequest {
    /// Prepares a template, of which it is not known how long it takes.
    pub fn new(number: u16, of: &RequestTemplate, address: &ServerAddress) -> Self {
        let mut head = format!("{} {} HTTP/1.1\r\n", of.method, of.path);
        let named = |name: &str| of.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if !named("host") {
            head.push_str(&format!("Host: {}\r\n", address.host()));
        }
        if !named("user-agent") {
            head.push_str(concat!(
                "User-Agent: shutdown-check/",
                env!("CARGO_PKG_VERSION"),
                "\r\n"
            ));
        }
        for (name, value) in &of.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let is_bodiless = of.body.is_empty() && matches!(&*of.method, "GET" | "HEAD" | "DELETE");
        if !is_bodiless && !named("content-length") {
            head.push_str(&format!("Content-Length: {}\r\n", of.body.len()));
        }
        head.push_str("\r\n");
        Self {
            template: number,
            method: of.method.clone(),
            weight: of.weight,
            usual: Duration::ZERO,
            first_byte: Duration::ZERO,
            body_length: 0,
            upload_over: of.upload_over,
            is_keyed: head.contains("{key}"),
            bytes: Bytes::new(&head, &of.body),
        }
    }

    /// The same, with what was seen of it on a quiet target.
    pub fn expecting(self, expected: Option<&ExpectedResponse>) -> Self {
        match expected {
            Some(expected) => {
                let body_length = expected.body.map_or(0, |body| body.length);
                Self { usual: expected.usual, first_byte: expected.first_byte, body_length, ..self }
            }
            None => self,
        }
    }

    /// The length of the head, and of the whole request.
    pub fn lengths(&self) -> (usize, usize) {
        (self.bytes.head, self.bytes.all.len())
    }

    /// The same request, with this for `{key}`.
    pub fn with_key(&self, key: &str) -> Self {
        Self { bytes: self.bytes(|| key.to_owned()), is_keyed: false, ..self.clone() }
    }

    /// The bytes of one request; `key` is asked for what stands for `{key}` in them.
    pub fn bytes(&self, key: impl FnOnce() -> String) -> Bytes {
        if !self.is_keyed {
            return self.bytes.clone();
        }
        let (head, body) = self.bytes.all.split_at(self.bytes.head);
        Bytes::new(&String::from_utf8_lossy(head).replace("{key}", &key()), body)
    }
}

impl Bytes {
    fn new(head: &str, body: &[u8]) -> Self {
        Self { all: [head.as_bytes(), body].concat().into(), head: head.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(template: &RequestTemplate) -> String {
        let address = "127.0.0.1:8080".parse().unwrap();
        let prepared = PreparedRequest::new(0, template, &address);
        String::from_utf8(prepared.bytes(|| "k1".into()).all.to_vec()).unwrap()
    }

    #[test]
    fn a_get_has_no_length_and_a_post_has_one() {
        let get = bytes(&RequestTemplate::get("/items/{key}"));
        assert!(get.starts_with("GET /items/k1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"), "{get}");
        assert!(get.ends_with("\r\n\r\n") && !get.contains("Content-Length"));
        let mut post = RequestTemplate::get("/");
        post.method = "POST".into();
        post.body = b"hello".to_vec();
        assert!(bytes(&post).contains("Content-Length: 5\r\n\r\nhello"));
    }

    #[test]
    fn fields_that_the_user_names_are_not_sent_twice() {
        let mut template = RequestTemplate::get("/");
        template.headers = vec![("HOST".into(), "example".into())];
        assert_eq!(bytes(&template).to_lowercase().matches("host:").count(), 1);
    }
}
