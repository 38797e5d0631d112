//! Who takes part in a flow: users of a small invented company, and customers with numbers that nobody has.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::{Flow, Setting};

/// Which way the call or text goes, from the company's viewpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Inbound,
    Outbound,
}

impl Direction {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// A person on either side.
#[derive(Clone, Debug)]
pub(in crate::simulator) struct Person {
    /// Dialpad's id of the user or contact.
    pub(in crate::simulator) id: i64,
    pub(in crate::simulator) name: &'static str,
    /// In a domain that is reserved for examples.
    pub(in crate::simulator) email: String,
    /// E.164, from the range that is reserved for fiction.
    pub(in crate::simulator) phone: String,
}

/// The user of the company with this id.
pub(in crate::simulator) fn user_by_id(id: i64) -> Option<Person> {
    (0..USERS.len()).map(user).find(|user| user.id == id)
}

/// The user whom a new access token belongs to: the company's administrator.
pub(in crate::simulator) fn first_user() -> Person {
    user(0)
}

/// The office all users sit in.
pub(in crate::simulator) const OFFICE_ID: i64 = 5_527_348_325_810_176;

/// Everyone and everything that a flow names.
pub(super) struct Cast {
    pub(super) call_id: i64,
    pub(super) direction: Direction,
    pub(super) user: Person,
    pub(super) contact: Person,
    /// The voicemail or recording, whichever the flow comes to.
    pub(super) media_id: i64,
    /// What the customer says on the voicemail.
    pub(super) transcript: String,
    /// Whether calls of this flow are recorded.
    pub(super) recorded: bool,
    /// What whoever placed the call attached to it.
    pub(super) custom_data: Option<String>,
}

impl Cast {
    pub(super) fn pick(flow: Flow, seed: u64, setting: &Setting) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut user = user(rng.random_range(0..USERS.len()));
        let mut contact = contact(rng.random_range(0..CONTACTS.len()));
        let topic = TOPICS[rng.random_range(0..TOPICS.len())];
        let fixed = &setting.overrides;
        if let Some(id) = fixed.user_id {
            user = user_by_id(id).unwrap_or(Person { id, ..user });
        }
        if let Some(number) = &fixed.internal_number {
            user.phone.clone_from(number);
        }
        if let Some(number) = &fixed.external_number {
            contact.phone.clone_from(number);
        }
        let mut ids = ids(seed, setting);
        Self {
            call_id: fixed.call_id.unwrap_or_else(|| next_id(&mut ids)),
            media_id: next_id(&mut ids),
            direction: if flow == Flow::Outbound { Direction::Outbound } else { Direction::Inbound },
            transcript: format!(
                "Hi, this is {}. I am calling about {topic}. Please call me back. Thanks!",
                contact.name
            ),
            recorded: matches!(flow, Flow::Answered | Flow::Hold),
            custom_data: fixed.custom_data.clone(),
            user,
            contact,
        }
    }

    /// The link to the voicemail or recording.
    pub(super) fn media_url(&self, base: &str) -> String {
        format!("{base}/r/{}", self.media_id)
    }

    /// From whom to whom, as E.164 numbers.
    pub(super) fn numbers(&self) -> (&str, &str) {
        match self.direction {
            Direction::Inbound => (&self.contact.phone, &self.user.phone),
            Direction::Outbound => (&self.user.phone, &self.contact.phone),
        }
    }
}

/// The chance that ids are drawn from. It knows the start: a seed played again is another call.
pub(super) fn ids(seed: u64, setting: &Setting) -> Xoshiro256PlusPlus {
    let start = setting.start.timestamp_micros().cast_unsigned();
    Xoshiro256PlusPlus::seed_from_u64(seed ^ start.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// An id like Dialpad's: sixteen digits, below 2^53.
pub(super) fn next_id(ids: &mut Xoshiro256PlusPlus) -> i64 {
    ids.random_range(4_503_599_627_370_496..6_755_399_441_055_744)
}

fn user(index: usize) -> Person {
    let (name, mailbox) = USERS[index];
    Person {
        id: 5_100_000_000_000_000 + i64::try_from(index).expect("the roster is short"),
        name,
        email: format!("{mailbox}@acme.example"),
        phone: format!("+141555501{:02}", index),
    }
}

fn contact(index: usize) -> Person {
    let (name, mailbox) = CONTACTS[index];
    Person {
        id: 6_200_000_000_000_000 + i64::try_from(index).expect("the roster is short"),
        name,
        email: format!("{mailbox}@customer.example"),
        phone: format!("+1{}55501{:02}", AREAS[index % AREAS.len()], 20 + index),
    }
}

const USERS: [(&str, &str); 6] = [
    ("Ada Marsh", "ada"),
    ("Ben Okafor", "ben"),
    ("Carla Reyes", "carla"),
    ("Dev Anand", "dev"),
    ("Elin Berg", "elin"),
    ("Farid Haddad", "farid"),
];

const CONTACTS: [(&str, &str); 12] = [
    ("Grace Lindqvist", "grace"),
    ("Hugo Baptiste", "hugo"),
    ("Ines Moreau", "ines"),
    ("Jonas Weber", "jonas"),
    ("Kiri Tane", "kiri"),
    ("Liam O'Shea", "liam"),
    ("Mina Sato", "mina"),
    ("Noor Rahman", "noor"),
    ("Otto Virtanen", "otto"),
    ("Priya Nair", "priya"),
    ("Quentin Lowe", "quentin"),
    ("Rosa Delgado", "rosa"),
];

const AREAS: [&str; 5] = ["212", "312", "415", "512", "646"];

const TOPICS: [&str; 5] = [
    "my last invoice",
    "the delivery on Friday",
    "a new quote",
    "the open ticket",
    "changing our appointment",
];
