//! Reads one HTTP/1.1 response as its bytes come (RFC 9112).
//!
//! Does no input itself, so that every way in which bytes can be cut is easy to test.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httparse::{ParserConfig, Status};
use sha2::{Digest, Sha256};

use crate::model::event::{BodySeen, Framing};

/// More than any server sends, and a bound for one that never ends its head.
const HEAD_BYTES_MAX: usize = 256 * 1024;
const HEADERS_MAX: usize = 256;

/// A response, as far as it has come.
#[derive(Debug)]
pub struct ResponseReader {
    bodiless: bool,
    stage: Stage,
    head: Vec<u8>,
    hash: Sha256,
    length: u64,
    digest: Option<String>,
    /// The beginning of the body, where it is wanted, and how much of it.
    kept: Vec<u8>,
    keeps: usize,
    /// The status code, once the head is complete.
    pub status: Option<u16>,
    /// How the end of the body is known, once the head is complete.
    pub framing: Option<Framing>,
    /// Whether the server said that it will close, or speaks HTTP/1.0 and did not say otherwise.
    pub closes: bool,
    /// Whether the head says `Connection: close`.
    pub close_announced: bool,
    /// Whether the server speaks HTTP/1.0.
    pub http_1_0: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Length { left: u64 },
    ChunkSize { size: u64, digits: bool, extension: bool },
    ChunkData { left: u64 },
    ChunkEnd,
    Trailer { empty: bool },
    UntilClose,
    Complete,
}

/// The bytes are no HTTP/1.1 response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an HTTP/1.1 response")]
pub struct NotHttp;

impl ResponseReader {
    /// Waits for the response to a request with this method.
    pub fn new(method: &str) -> Self {
        Self {
            bodiless: method == "HEAD",
            stage: Stage::Head,
            head: Vec::new(),
            hash: Sha256::new(),
            length: 0,
            digest: None,
            kept: Vec::new(),
            keeps: 0,
            status: None,
            framing: None,
            closes: false,
            close_announced: false,
            http_1_0: false,
        }
    }

    /// Keeps so many bytes of the body, where it is usually only measured.
    pub fn keep(&mut self, bytes: usize) {
        self.keeps = bytes;
    }

    /// The bytes of the body that were kept.
    pub fn kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.kept)
    }

    /// Takes more bytes; how many of them belong to this response.
    ///
    /// # Errors
    /// When they break the syntax of HTTP/1.1.
    pub fn push(&mut self, bytes: &[u8]) -> Result<usize, NotHttp> {
        let mut at = 0;
        while at < bytes.len() && self.stage != Stage::Complete {
            at += self.step(&bytes[at..])?;
        }
        Ok(at)
    }

    /// Whether the response is complete by its framing.
    pub fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    /// Whether the head is complete.
    pub fn has_head(&self) -> bool {
        self.status.is_some()
    }

    /// Takes note that the connection has ended; whether that completes the response.
    pub fn end_of_stream(&mut self) -> bool {
        if self.stage == Stage::UntilClose {
            self.stage = Stage::Complete;
        }
        self.is_complete()
    }

    /// The body so far.
    pub fn body(&self) -> BodySeen {
        let hash = self.hash.clone().finalize();
        let mut prefix = [0; 8];
        prefix.copy_from_slice(&hash[..8]);
        let named = self.digest.as_deref().filter(|_| self.is_complete());
        let digest_matches = named.map(|digest| digest == STANDARD.encode(hash));
        BodySeen { length: self.length, sha256_prefix: u64::from_be_bytes(prefix), digest_matches }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, NotHttp> {
        match self.stage {
            Stage::Head => self.take_head(bytes),
            Stage::Length { left } => {
                let taken = self.take_body(bytes, left);
                let left = left - taken as u64;
                self.stage = if left == 0 { Stage::Complete } else { Stage::Length { left } };
                Ok(taken)
            }
            Stage::UntilClose => Ok(self.take_body(bytes, u64::MAX)),
            Stage::ChunkData { left } => {
                let taken = self.take_body(bytes, left);
                let left = left - taken as u64;
                self.stage = if left == 0 { Stage::ChunkEnd } else { Stage::ChunkData { left } };
                Ok(taken)
            }
            Stage::ChunkSize { .. } | Stage::ChunkEnd | Stage::Trailer { .. } => {
                self.take_chunk_syntax(bytes[0])?;
                Ok(1)
            }
            Stage::Complete => Ok(0),
        }
    }

    fn take_body(&mut self, bytes: &[u8], limit: u64) -> usize {
        let taken = bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        self.hash.update(&bytes[..taken]);
        let room = self.keeps.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..taken.min(room)]);
        self.length += taken as u64;
        taken
    }

    /// The syntax between chunks (RFC 9112, section 7.1), a byte at a time.
    fn take_chunk_syntax(&mut self, byte: u8) -> Result<(), NotHttp> {
        self.stage = match (self.stage, byte) {
            (Stage::ChunkSize { size, digits: true, .. }, b'\n') => match size {
                0 => Stage::Trailer { empty: true },
                left => Stage::ChunkData { left },
            },
            (Stage::ChunkSize { size, digits, extension: true }, _) => {
                Stage::ChunkSize { size, digits, extension: true }
            }
            (Stage::ChunkSize { size, digits: true, .. }, b';' | b' ' | b'\t' | b'\r') => {
                Stage::ChunkSize { size, digits: true, extension: true }
            }
            (Stage::ChunkSize { size, .. }, digit) => {
                let digit = char::from(digit).to_digit(16).ok_or(NotHttp)?;
                let size = size.checked_mul(16).ok_or(NotHttp)?.saturating_add(digit.into());
                Stage::ChunkSize { size, digits: true, extension: false }
            }
            (Stage::ChunkEnd, b'\r') => Stage::ChunkEnd,
            (Stage::ChunkEnd, b'\n') => CHUNK,
            (Stage::Trailer { empty: true }, b'\n') => Stage::Complete,
            (Stage::Trailer { .. }, b'\n') => Stage::Trailer { empty: true },
            (Stage::Trailer { empty }, b'\r') => Stage::Trailer { empty },
            (Stage::Trailer { .. }, _) => Stage::Trailer { empty: false },
            _ => return Err(NotHttp),
        };
        Ok(())
    }

    fn take_head(&mut self, bytes: &[u8]) -> Result<usize, NotHttp> {
        let before = self.head.len();
        let mut held = std::mem::take(&mut self.head);
        let head = match before {
            // Most heads come in one piece, and are parsed where they lie.
            0 => Cow::Borrowed(bytes),
            _ => {
                held.extend_from_slice(bytes);
                Cow::Owned(held)
            }
        };
        // Left uninitialised, because clearing room for so many takes longer than parsing a few.
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let config = ParserConfig::default();
        let parsed = config.parse_response_with_uninit_headers(&mut response, &head, &mut headers);
        let length = match parsed.map_err(|_| NotHttp)? {
            Status::Complete(length) => length,
            Status::Partial if head.len() > HEAD_BYTES_MAX => return Err(NotHttp),
            Status::Partial => {
                self.head = head.into_owned();
                return Ok(bytes.len());
            }
        };
        let status = response.code.ok_or(NotHttp)?;
        // 1xx is followed by the real answer (RFC 9110, section 15.2), but for a switch of
        // protocols, after which the bytes are none of HTTP's.
        if !(100..200).contains(&status) || status == 101 {
            self.take_fields(status, response.version == Some(0), response.headers)?;
        }
        Ok(length - before)
    }

    fn take_fields(
        &mut self,
        status: u16,
        http10: bool,
        headers: &[httparse::Header<'_>],
    ) -> Result<(), NotHttp> {
        let values = |name: &'static str| {
            headers
                .iter()
                .filter(move |header| header.name.eq_ignore_ascii_case(name))
                .filter_map(|header| std::str::from_utf8(header.value).ok())
        };
        let says = |name, wanted: &str| {
            let mut tokens = values(name).flat_map(|value| value.split(','));
            tokens.any(|token| token.trim().eq_ignore_ascii_case(wanted))
        };
        self.close_announced = says("connection", "close");
        self.http_1_0 = http10;
        self.closes = self.close_announced || (http10 && !says("connection", "keep-alive"));
        self.digest = values("content-digest").find_map(sha256_of).map(str::to_owned);
        self.status = Some(status);
        let framing = if self.bodiless || matches!(status, 101 | 204 | 304) {
            Framing::NoBody
        } else if says("transfer-encoding", "chunked") {
            Framing::Chunked
        } else if let Some(value) = values("content-length").next() {
            Framing::ContentLength(value.trim().parse().map_err(|_| NotHttp)?)
        } else {
            Framing::CloseDelimited
        };
        self.framing = Some(framing);
        self.stage = match framing {
            Framing::NoBody | Framing::ContentLength(0) => Stage::Complete,
            Framing::ContentLength(left) => Stage::Length { left },
            Framing::Chunked => CHUNK,
            Framing::CloseDelimited => Stage::UntilClose,
        };
        self.closes |= framing == Framing::CloseDelimited;
        Ok(())
    }
}

const CHUNK: Stage = Stage::ChunkSize { size: 0, digits: false, extension: false };

/// The value of `sha-256=:…:` in a Content-Digest field (RFC 9530, section 2).
fn sha256_of(field: &str) -> Option<&str> {
    let member = field.split(',').find_map(|member| member.trim().strip_prefix("sha-256="))?;
    member.strip_prefix(':')?.split(':').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: yes\r\n\r\n";

    fn read(bytes: &[u8]) -> ResponseReader {
        let mut reader = ResponseReader::new("GET");
        reader.push(bytes).unwrap();
        reader
    }

    #[test]
    fn a_response_reads_the_same_however_it_is_cut() {
        let whole = read(CHUNKED);
        assert!(whole.is_complete());
        assert_eq!(whole.body().length, 11);
        for cut in 0..CHUNKED.len() {
            let mut reader = ResponseReader::new("GET");
            reader.push(&CHUNKED[..cut]).unwrap();
            assert!(!reader.is_complete(), "complete after {cut} bytes");
            reader.push(&CHUNKED[cut..]).unwrap();
            assert!(reader.is_complete());
            assert_eq!(reader.body(), whole.body());
        }
    }

    #[test]
    fn bytes_after_the_response_are_left_alone() {
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
        let length = bytes.len();
        bytes.extend_from_slice(b"HTTP/1.1 200");
        assert_eq!(ResponseReader::new("GET").push(&bytes), Ok(length));
    }

    #[test]
    fn a_body_until_close_is_complete_when_the_stream_ends() {
        let mut reader = read(b"HTTP/1.0 200 OK\r\n\r\nhello");
        assert!(!reader.is_complete() && reader.closes);
        assert!(reader.end_of_stream());
        assert_eq!(reader.body().length, 5);
    }

    #[test]
    fn a_body_shorter_than_its_length_is_not_complete() {
        let mut reader = read(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
        assert!(!reader.end_of_stream());
    }

    #[test]
    fn an_interim_response_is_not_the_answer() {
        let reader = read(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!((reader.status, reader.is_complete()), (Some(204), true));
    }

    #[test]
    fn a_head_request_has_no_body() {
        let mut reader = ResponseReader::new("HEAD");
        reader.push(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap();
        assert!(reader.is_complete());
    }

    #[test]
    fn close_is_announced_in_any_list_and_any_case() {
        let reader =
            read(b"HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 0\r\n\r\n");
        assert!(reader.close_announced && reader.closes);
    }

    #[test]
    fn a_digest_is_checked() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Digest: sha-256=:\
                    LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:\r\n\r\n";
        let body = |text: &str| read(format!("{head}{text}").as_bytes()).body().digest_matches;
        assert_eq!(body("hello"), Some(true));
        assert_eq!(body("hellO"), Some(false));
        assert_eq!(body("hel"), None, "incomplete bodies are told by their length");
    }

    #[test]
    fn what_is_not_http_is_refused() {
        assert_eq!(ResponseReader::new("GET").push(b"SSH-2.0-OpenSSH\r\n"), Err(NotHttp));
        let chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
        assert_eq!(ResponseReader::new("GET").push(chunk), Err(NotHttp));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, cut in 0usize..64) {
            let mut response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            response.truncate(response.len() - cut.min(response.len()));
            response.extend_from_slice(&bytes);
            let mut reader = ResponseReader::new("GET");
            let _ = reader.push(&response);
            let _ = reader.body();
        }
    }
}
