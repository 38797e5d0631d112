//! A keep-alive HTTP/1.1 client that costs next to nothing: it shares its cores with the server it measures,
//! so a request is one write from a reused buffer and an answer is read no further than its verdict.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::events::{Event, Phase, Script, Signature};

/// No answer to a webhook is larger.
const ANSWER_LIMIT: usize = 16 * 1_024;

/// Signed webhooks for one app, ready to be sent by many connections.
#[derive(Debug)]
pub(crate) struct Deck {
    /// Where the server listens.
    pub(crate) addr: SocketAddr,
    script: Script,
    signatures: Vec<Signature>,
    /// The request up to and with the name of the signature header.
    head: Vec<u8>,
}

impl Deck {
    /// Signs all events of `calls` calls of the app; do that before a clock starts.
    pub(crate) fn sign(addr: SocketAddr, app_id: &str, secret: &str, calls: u32) -> Self {
        let script = Script::recent();
        let head = format!(
            "POST /webhooks/{app_id} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\nx-dialpad-signature: "
        );
        Self { addr, script, signatures: script.sign(secret, calls), head: head.into_bytes() }
    }

    /// How many calls were signed.
    pub(crate) fn calls(&self) -> u32 {
        u32::try_from(self.signatures.len() / Phase::ALL.len()).expect("calls are counted in 32 bits")
    }

    fn write_request(&self, event: Event, body: &mut Vec<u8>, out: &mut Vec<u8>) {
        body.clear();
        self.script.write_body(event, body);
        let mut signature = [0; 64];
        hex::encode_to_slice(self.signatures[event.index()], &mut signature)
            .expect("64 digits hold 32 bytes");
        out.clear();
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&signature);
        write!(out, "\r\nContent-Length: {}\r\n\r\n", body.len()).expect("a vector takes every byte");
        out.extend_from_slice(body);
    }
}

/// What the server made of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// 200, stored, new: the only right answer to an event of the bench.
    Acknowledged,
    /// 200, but it claims to know an event that was never sent before.
    Duplicate,
    /// 200 without the promise of having stored it.
    NotStored,
    /// Any other status.
    Refused(u16),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acknowledged => f.write_str("acknowledged"),
            Self::Duplicate => f.write_str("200 duplicate"),
            Self::NotStored => f.write_str("200 not stored"),
            Self::Refused(status) => write!(f, "{status}"),
        }
    }
}

/// One connection that posts webhooks, one at a time.
#[derive(Debug)]
pub(crate) struct Client {
    addr: SocketAddr,
    stream: TcpStream,
    body: Vec<u8>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = open(addr).await?;
        let body = Vec::with_capacity(1_024);
        Ok(Self { addr, stream, body, request: Vec::with_capacity(2_048), answer: Vec::with_capacity(2_048) })
    }

    /// Posts one event and waits for the answer.
    pub(crate) async fn post(&mut self, deck: &Deck, event: Event) -> io::Result<Verdict> {
        deck.write_request(event, &mut self.body, &mut self.request);
        self.stay_connected().await?;
        self.stream.write_all(&self.request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    "connection closed instead of an answer",
                ));
            }
            if let Some(verdict) = verdict(&self.answer)? {
                return Ok(verdict);
            }
        }
    }

    /// A server may close an idle connection between two requests. That is noticed before the next one is
    /// written; later it would be unknown whether the event had been taken.
    async fn stay_connected(&mut self) -> io::Result<()> {
        let mut probe = [0; 1];
        match self.stream.try_read(&mut probe) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => self.stream = open(self.addr).await?,
            Ok(_) => return Err(bad("bytes that belong to no request")),
        }
        Ok(())
    }
}

async fn open(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads an answer; `None` while parts are missing.
fn verdict(answer: &[u8]) -> io::Result<Option<Verdict>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if answer.len() > ANSWER_LIMIT { Err(bad("an endless head")) } else { Ok(None) };
    };
    let (head, body) = (&answer[..end], &answer[end + 4..]);
    let length = content_length(head).ok_or_else(|| bad("an answer without content-length"))?;
    if length > ANSWER_LIMIT {
        return Err(bad("an answer of unlikely length"));
    }
    if body.len() < length {
        return Ok(None);
    }
    let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    Ok(Some(match status.ok_or_else(|| bad("no status line"))? {
        200 => promise(&body[..length]),
        status => Verdict::Refused(status),
    }))
}

fn content_length(head: &[u8]) -> Option<usize> {
    let header = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked("content-length:".len())?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    })?;
    std::str::from_utf8(header).ok()?.trim().parse().ok()
}

fn promise(body: &[u8]) -> Verdict {
    #[derive(Deserialize)]
    struct Promise {
        success: bool,
        duplicate: bool,
    }
    match serde_json::from_slice(body) {
        Ok(Promise { success: true, duplicate: false }) => Verdict::Acknowledged,
        Ok(Promise { success: true, duplicate: true }) => Verdict::Duplicate,
        Ok(Promise { success: false, .. }) | Err(_) => Verdict::NotStored,
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the server sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nserver: x\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn only_a_stored_new_event_is_acknowledged() {
        let cases = [
            ("200 OK", r#"{"success":true,"event_id":"e","duplicate":false}"#, Verdict::Acknowledged),
            ("200 OK", r#"{"success": true, "duplicate": true}"#, Verdict::Duplicate),
            ("200 OK", r#"{"success":false,"duplicate":false}"#, Verdict::NotStored),
            ("200 OK", "fine", Verdict::NotStored),
            ("503 Service Unavailable", "{}", Verdict::Refused(503)),
        ];
        for (status, body, expected) in cases {
            assert_eq!(verdict(&answer(status, body)).unwrap(), Some(expected), "{status} {body}");
        }
    }

    #[test]
    fn an_answer_is_judged_only_when_it_is_whole() {
        let whole = answer("200 OK", r#"{"success":true,"duplicate":false}"#);
        for end in 0..whole.len() {
            assert_eq!(verdict(&whole[..end]).unwrap(), None);
        }
        assert!(verdict(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_carries_the_signature_of_its_body() {
        let deck = Deck::sign(([127, 0, 0, 1], 4000).into(), "app", "secret", 2);
        let (mut body, mut request) = (Vec::new(), Vec::new());
        let event = Event { call: 1, phase: Phase::Started };
        deck.write_request(event, &mut body, &mut request);
        let text = String::from_utf8(request).unwrap();
        let signature = hex::encode(deck.signatures[event.index()]);
        assert_eq!(deck.calls(), 2);
        assert!(text.starts_with("POST /webhooks/app HTTP/1.1\r\nHost: 127.0.0.1:4000\r\n"));
        assert!(text.contains(&format!(
            "\r\nx-dialpad-signature: {signature}\r\nContent-Length: {}\r\n\r\n{{",
            body.len()
        )));
    }
}
