//! Whether something is audio: by its media type and by its first bytes. A login page with status 200 is not, and
//! nothing that a browser would execute may pass.

/// The audio formats that are recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioFormat {
    /// MPEG audio, with or without an ID3 tag.
    Mp3,
    /// RIFF or RF64.
    Wav,
    /// Vorbis or Opus in Ogg.
    Ogg,
    /// FLAC.
    Flac,
    /// AAC in an MP4 container.
    Mp4,
    /// AAC as a stream of ADTS frames.
    Aac,
    /// AMR, a codec of telephones.
    Amr,
    /// WebM or Matroska.
    WebM,
    /// AIFF or AIFF-C.
    Aiff,
    /// Sun audio.
    Au,
}

/// How many bytes the detection looks at.
pub(super) const SNIFF_LEN: usize = 12;

impl AudioFormat {
    /// Returns the media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Wav => "audio/wav",
            Self::Ogg => "audio/ogg",
            Self::Flac => "audio/flac",
            Self::Mp4 => "audio/mp4",
            Self::Aac => "audio/aac",
            Self::Amr => "audio/amr",
            Self::WebM => "audio/webm",
            Self::Aiff => "audio/aiff",
            Self::Au => "audio/basic",
        }
    }

    /// Returns the file name extension.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Wav => "wav",
            Self::Ogg => "ogg",
            Self::Flac => "flac",
            Self::Mp4 => "m4a",
            Self::Aac => "aac",
            Self::Amr => "amr",
            Self::WebM => "webm",
            Self::Aiff => "aiff",
            Self::Au => "au",
        }
    }

    /// Detects the format from the first bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let begins = |with: &[u8]| bytes.starts_with(with);
        let has = |at: usize, what: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(what));
        if begins(b"ID3") {
            return Some(Self::Mp3);
        }
        if (begins(b"RIFF") || begins(b"RF64")) && has(8, b"WAVE") {
            return Some(Self::Wav);
        }
        if begins(b"OggS") {
            return Some(Self::Ogg);
        }
        if begins(b"fLaC") {
            return Some(Self::Flac);
        }
        if has(4, b"ftyp") {
            return Some(Self::Mp4);
        }
        if begins(b"#!AMR") {
            return Some(Self::Amr);
        }
        if begins(&[0x1a, 0x45, 0xdf, 0xa3]) {
            return Some(Self::WebM);
        }
        if begins(b"FORM") && (has(8, b"AIFF") || has(8, b"AIFC")) {
            return Some(Self::Aiff);
        }
        if begins(b".snd") {
            return Some(Self::Au);
        }
        // An MPEG frame begins with eleven set bits; layer 0 is AAC.
        match *bytes {
            [0xff, second, ..] if second & 0xf6 == 0xf0 => Some(Self::Aac),
            [0xff, second, ..] if second & 0xe0 == 0xe0 && second & 0x06 != 0 => Some(Self::Mp3),
            _ => None,
        }
    }

    /// Returns the format that a media type names.
    pub(super) fn of_type(media_type: &str) -> Option<Self> {
        match media_type {
            "audio/mpeg" | "audio/mp3" | "audio/x-mp3" | "audio/x-mpeg" | "audio/mpeg3" => Some(Self::Mp3),
            "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => Some(Self::Wav),
            "audio/ogg" | "audio/opus" | "application/ogg" => Some(Self::Ogg),
            "audio/flac" | "audio/x-flac" => Some(Self::Flac),
            "audio/mp4" | "audio/x-m4a" | "audio/m4a" | "video/mp4" => Some(Self::Mp4),
            "audio/aac" | "audio/aacp" | "audio/x-aac" => Some(Self::Aac),
            "audio/amr" | "audio/amr-wb" => Some(Self::Amr),
            "audio/webm" | "video/webm" => Some(Self::WebM),
            "audio/aiff" | "audio/x-aiff" => Some(Self::Aiff),
            "audio/basic" => Some(Self::Au),
            _ => None,
        }
    }
}

/// Returns whether a response of this media type may be audio. Blob stores call everything a stream of bytes.
pub(super) fn may_be_audio(media_type: &str) -> bool {
    let of_bytes = ["application/octet-stream", "binary/octet-stream"];
    media_type.starts_with("audio/")
        || of_bytes.contains(&media_type)
        || AudioFormat::of_type(media_type).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_detected_from_the_first_bytes() {
        for (bytes, expected) in [
            (&b"ID3\x04\0\0\0\0\0\0\0\0"[..], AudioFormat::Mp3),
            (b"\xff\xfb\x90\x64\0\0\0\0\0\0\0\0", AudioFormat::Mp3),
            (b"\xff\xf3\x44\xc4\0\0\0\0\0\0\0\0", AudioFormat::Mp3),
            (b"\xff\xf1\x50\x80\0\0\0\0\0\0\0\0", AudioFormat::Aac),
            (b"RIFF\x24\0\0\0WAVE", AudioFormat::Wav),
            (b"OggS\0\x02\0\0\0\0\0\0", AudioFormat::Ogg),
            (b"fLaC\0\0\0\x22\0\0\0\0", AudioFormat::Flac),
            (b"\0\0\0\x20ftypM4A ", AudioFormat::Mp4),
            (b"#!AMR\n\0\0\0\0\0\0", AudioFormat::Amr),
            (b"\x1a\x45\xdf\xa3\0\0\0\0\0\0\0\0", AudioFormat::WebM),
            (b"FORM\0\0\0\0AIFF", AudioFormat::Aiff),
        ] {
            assert_eq!(AudioFormat::of_bytes(bytes), Some(expected));
            assert_eq!(AudioFormat::of_type(expected.media_type()), Some(expected));
        }
    }

    #[test]
    fn other_content_is_no_audio() {
        for bytes in [
            &b"<!doctype html><title>Log in"[..],
            b"<html>",
            b"\xef\xbb\xbf<html>",
            b"{\"error\":{\"code\":403}}",
            b"  \n<svg onload=alert(1)>",
            b"%PDF-1.7",
            b"PK\x03\x04",
            b"RIFF\0\0\0\0AVI ",
            b"\xff",
            b"\xff\xe1\0\0",
            b"",
        ] {
            assert_eq!(AudioFormat::of_bytes(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn only_types_that_may_be_audio_are_accepted() {
        for media_type in ["audio/x-something-new", "binary/octet-stream", "audio/mpeg", "video/mp4"] {
            assert!(may_be_audio(media_type), "{media_type}");
        }
        for media_type in
            ["text/html", "application/json", "image/svg+xml", "text/plain", "", "video/quicktime"]
        {
            assert!(!may_be_audio(media_type), "{media_type}");
        }
    }
}
