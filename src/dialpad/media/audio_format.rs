//! Whether something is audio: by what it says it is, and by how it begins. A login page with status 200 is not, and
//! whatever could run in somebody's browser must not get there through us.

macro_rules! sounds {
    ($($(#[$doc:meta])* $variant:ident = $media_type:literal, $extension:literal,)*) => {
        /// The kinds of audio that are known here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Sound { $($(#[$doc])* $variant),* }

        impl Sound {
            /// What it is called on the web.
            #[must_use]
            pub fn media_type(self) -> &'static str {
                match self { $(Self::$variant => $media_type),* }
            }

            /// How its files' names end.
            #[must_use]
            pub fn extension(self) -> &'static str {
                match self { $(Self::$variant => $extension),* }
            }
        }
    };
}

sounds! {
    /// MPEG audio, with or without a tag in front.
    Mp3 = "audio/mpeg", "mp3",
    /// RIFF.
    Wav = "audio/wav", "wav",
    /// Vorbis or Opus.
    Ogg = "audio/ogg", "ogg",
    /// FLAC.
    Flac = "audio/flac", "flac",
    /// AAC in its container.
    Mp4 = "audio/mp4", "m4a",
    /// AAC without one.
    Aac = "audio/aac", "aac",
    /// What telephones record.
    Amr = "audio/amr", "amr",
    /// Matroska.
    WebM = "audio/webm", "webm",
    /// Apple's.
    Aiff = "audio/aiff", "aiff",
    /// Sun's.
    Au = "audio/basic", "au",
}

/// How many bytes tell the kind.
pub(super) const TELLING: usize = 12;

impl Sound {
    /// The kind of what begins like this.
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
        // A frame: eleven bits set; the layer is 0 in AAC alone.
        match *bytes {
            [0xff, second, ..] if second & 0xf6 == 0xf0 => Some(Self::Aac),
            [0xff, second, ..] if second & 0xe0 == 0xe0 && second & 0x06 != 0 => Some(Self::Mp3),
            _ => None,
        }
    }

    /// The kind that a media type names.
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

/// Whether what calls itself this may be audio. Blob stores say of everything that it is a stream of bytes.
pub(super) fn may_be_audio(media_type: &str) -> bool {
    let of_bytes = ["application/octet-stream", "binary/octet-stream"];
    media_type.starts_with("audio/") || of_bytes.contains(&media_type) || Sound::of_type(media_type).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_told_by_how_it_begins() {
        for (bytes, expected) in [
            (&b"ID3\x04\0\0\0\0\0\0\0\0"[..], Sound::Mp3),
            (b"\xff\xfb\x90\x64\0\0\0\0\0\0\0\0", Sound::Mp3),
            (b"\xff\xf3\x44\xc4\0\0\0\0\0\0\0\0", Sound::Mp3),
            (b"\xff\xf1\x50\x80\0\0\0\0\0\0\0\0", Sound::Aac),
            (b"RIFF\x24\0\0\0WAVE", Sound::Wav),
            (b"OggS\0\x02\0\0\0\0\0\0", Sound::Ogg),
            (b"fLaC\0\0\0\x22\0\0\0\0", Sound::Flac),
            (b"\0\0\0\x20ftypM4A ", Sound::Mp4),
            (b"#!AMR\n\0\0\0\0\0\0", Sound::Amr),
            (b"\x1a\x45\xdf\xa3\0\0\0\0\0\0\0\0", Sound::WebM),
            (b"FORM\0\0\0\0AIFF", Sound::Aiff),
        ] {
            assert_eq!(Sound::of_bytes(bytes), Some(expected));
            assert_eq!(Sound::of_type(expected.media_type()), Some(expected));
        }
    }

    #[test]
    fn a_page_is_no_audio_whatever_it_calls_itself() {
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
            assert_eq!(Sound::of_bytes(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_type_that_is_no_audio_is_refused_whatever_the_bytes() {
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
