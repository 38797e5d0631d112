//! A cheap keep-alive HTTP/1.1 client: it shares its cores with the server that it measures. A request is one write from
//! a reused buffer, and only the needed part of an answer is parsed.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::events::{Event, PayloadTemplate, Phase, Signature};

/// The maximum size of an answer.
const MAX_ANSWER_BYTES: usize = 16 * 1_024;

/// Presigned webhooks of one app, to be posted by many connections.
#[derive(Debug)]
pub(crate) struct RequestDeck {
    /// The server's address.
    pub(crate) addr: SocketAddr,
    template: PayloadTemplate,
    signatures: Vec<Signature>,
    /// The request up to and including the name of the signature header.
    head: Vec<u8>,
}

impl RequestDeck {
    /// Signs all events of `calls` calls; call it before a clock starts.
    pub(crate) fn sign(addr: SocketAddr, app_id: &str, secret: &str, calls: u32) -> Self {
        let template = PayloadTemplate::recent();
        let head = format!(
            "POST /webhooks/{app_id} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\nx-dialpad-signature: "
        );
        Self { addr, template, signatures: template.sign(secret, calls), head: head.into_bytes() }
    }

    /// Returns how many calls were signed.
    pub(crate) fn calls(&self) -> u32 {
        u32::try_from(self.signatures.len() / Phase::ALL.len()).expect("calls are counted in 32 bits")
    }

    fn write_request(&self, event: Event, body: &mut Vec<u8>, out: &mut Vec<u8>) {
        body.clear();
        self.template.write_body(event, body);
        let mut signature = [0; 64];
        hex::encode_to_slice(self.signatures[event.index()], &mut signature)
            .expect("64 digits hold 32 bytes");
        out.clear();
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&signature);
        write!(out, "\r\nContent-Length: {}\r\n\r\n", body.len()).expect("writing to a vector cannot fail");
        out.extend_from_slice(body);
    }
}

/// The server's answer to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// 200, stored and new: the only correct answer.
    Acknowledged,
    /// 200, but reported as a duplicate.
    Duplicate,
    /// 200, but not reported as stored.
    NotStored,
    /// Any other status.
    Refused(u16),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acknowledged => f.write_str("acknowledged"),
            Self::Duplicate => f.write_str("200 duplicate"),
            Self::NotStored => f.write_str("200 not stored"),
            Self::Refused(status) => write!(f, "{status}"),
        }
    }
}

/// A connection that posts webhooks, one at a time.
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
    pub(crate) async fn post(&mut self, deck: &RequestDeck, event: Event) -> io::Result<Answer> {
        deck.write_request(event, &mut self.body, &mut self.request);
        self.reconnect_if_closed().await?;
        self.stream.write_all(&self.request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    "connection closed instead of an answer",
                ));
            }
            if let Some(answer) = parse_answer(&self.answer)? {
                return Ok(answer);
            }
        }
    }

    /// Reconnects if the server closed the idle connection. That must be noticed before the next request is written;
    /// afterwards it would be unknown whether the event was stored.
    async fn reconnect_if_closed(&mut self) -> io::Result<()> {
        let mut probe = [0; 1];
        match self.stream.try_read(&mut probe) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => self.stream = open(self.addr).await?,
            Ok(_) => return Err(protocol_error("bytes that belong to no request")),
        }
        Ok(())
    }
}

async fn open(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Parses an answer; `None` while it is incomplete.
fn parse_answer(answer: &[u8]) -> io::Result<Option<Answer>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if answer.len() > MAX_ANSWER_BYTES {
            Err(protocol_error("an answer with an endless head"))
        } else {
            Ok(None)
        };
    };
    let (head, body) = (&answer[..end], &answer[end + 4..]);
    let length = content_length(head).ok_or_else(|| protocol_error("an answer without content-length"))?;
    if length > MAX_ANSWER_BYTES {
        return Err(protocol_error("an answer that is too long"));
    }
    if body.len() < length {
        return Ok(None);
    }
    let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    Ok(Some(match status.ok_or_else(|| protocol_error("an answer without a status line"))? {
        200 => stored_answer(&body[..length]),
        status => Answer::Refused(status),
    }))
}

fn content_length(head: &[u8]) -> Option<usize> {
    let header = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked("content-length:".len())?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    })?;
    std::str::from_utf8(header).ok()?.trim().parse().ok()
}

fn stored_answer(body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    struct WebhookReceipt {
        success: bool,
        duplicate: bool,
    }
    match serde_json::from_slice(body) {
        Ok(WebhookReceipt { success: true, duplicate: false }) => Answer::Acknowledged,
        Ok(WebhookReceipt { success: true, duplicate: true }) => Answer::Duplicate,
        Ok(WebhookReceipt { success: false, .. }) | Err(_) => Answer::NotStored,
    }
}

fn protocol_error(what: &str) -> io::Error {
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
            ("200 OK", r#"{"success":true,"event_id":"e","duplicate":false}"#, Answer::Acknowledged),
            ("200 OK", r#"{"success": true, "duplicate": true}"#, Answer::Duplicate),
            ("200 OK", r#"{"success":false,"duplicate":false}"#, Answer::NotStored),
            ("200 OK", "fine", Answer::NotStored),
            ("503 Service Unavailable", "{}", Answer::Refused(503)),
        ];
        for (status, body, expected) in cases {
            assert_eq!(parse_answer(&answer(status, body)).unwrap(), Some(expected), "{status} {body}");
        }
    }

    #[test]
    fn an_answer_is_parsed_once_it_is_complete() {
        let whole = answer("200 OK", r#"{"success":true,"duplicate":false}"#);
        for end in 0..whole.len() {
            assert_eq!(parse_answer(&whole[..end]).unwrap(), None);
        }
        assert!(parse_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_carries_the_signature_of_its_body() {
        let deck = RequestDeck::sign(([127, 0, 0, 1], 4000).into(), "app", "secret", 2);
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
