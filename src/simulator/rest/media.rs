//! Recordings: `/r/{id}` sends an authenticated reader on to a second of quiet, as the real links do.

use actix_web::http::header::{CONTENT_TYPE, LOCATION};
use actix_web::{HttpResponse, web};

use super::Caller;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/r/{id}", web::get().to(link)).route("/blob-server/{id}.wav", web::get().to(audio));
}

/// Asks for the token here; what it redirects to asks for none, like a signed link.
async fn link(_caller: Caller, id: web::Path<i64>) -> HttpResponse {
    HttpResponse::Found().insert_header((LOCATION, format!("/blob-server/{id}.wav"))).finish()
}

async fn audio(_id: web::Path<i64>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "audio/wav")).body(quiet())
}

/// One second of silence: 8 kHz, mono, 8 bits, in which 128 is zero.
fn quiet() -> Vec<u8> {
    const RATE: u32 = 8_000;
    let mut wav = Vec::with_capacity(44 + RATE as usize);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + RATE).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    wav.extend_from_slice(&[1, 0, 1, 0]);
    wav.extend_from_slice(&RATE.to_le_bytes());
    wav.extend_from_slice(&RATE.to_le_bytes());
    // One byte for each frame, eight bits for each sample.
    wav.extend_from_slice(&[1, 0, 8, 0]);
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&RATE.to_le_bytes());
    wav.resize(44 + RATE as usize, 128);
    wav
}
