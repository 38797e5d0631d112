//! The erasure of a person from a call: who it was with and what was said goes, that there was a call stays.

use super::{facts::CallFacts, recording::Recordings};

impl CallFacts {
    /// Forgets the numbers, the name, the custom data, the recordings and the content of the voicemail. What later
    /// webhooks say is new. Returns whether that changed anything.
    pub fn forget_person(&mut self) -> bool {
        let without = Self {
            was_erased: true,
            from_number: None,
            to_number: None,
            contact_name: None,
            custom_data: None,
            recordings: Recordings::default(),
            recording_url: None,
            recording_spare_url: None,
            voicemail_url: None,
            voicemail_spare_url: None,
            voicemail_transcript: None,
            ..self.clone()
        };
        let has_changed = *self != without;
        *self = without;
        has_changed
    }

    /// Whether its voicemail was deleted for good.
    #[must_use]
    pub fn has_deleted_voicemail(&self) -> bool {
        self.voicemail_deleted
    }

    /// Whether a person was erased from it: what it lacks is not looked for.
    #[must_use]
    pub fn was_erased(&self) -> bool {
        self.was_erased
    }
}
