//! The participants of a flow: users of a fictional company, and customers with fictional numbers.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::timeline::{self, Role};
use super::{Flow, FlowOptions};

/// The direction of a call or text, from the company's viewpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Inbound,
    Outbound,
}

impl Direction {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// A person on either side, or a group that can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    /// Dialpad's id of the user, contact or group.
    pub(crate) id: i64,
    /// Dialpad's `type`.
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
    /// In a reserved example domain; groups have none.
    pub(crate) email: Option<String>,
    /// An E.164 number from the range reserved for fiction.
    pub(crate) phone: String,
}

impl Party {
    pub(crate) fn is_group(&self) -> bool {
        !matches!(self.kind, "user" | "local")
    }
}

/// Returns the user of new access tokens: the company's administrator.
pub(crate) fn first_user() -> Party {
    user(0)
}

/// Returns the user with this id.
pub(crate) fn user_by_id(id: i64) -> Option<Party> {
    users().find(|user| user.id == id)
}

/// Returns every user of the company. The last one is the user 555 of the documents; no flow picks this one by itself.
pub(crate) fn users() -> impl Iterator<Item = Party> {
    let documented = Party {
        id: 555,
        kind: "user",
        name: "Uma Lang",
        email: Some("uma@acme.example".to_owned()),
        phone: "+14155550155".to_owned(),
    };
    (0..USERS.len()).map(user).chain([documented])
}

/// Returns the user or group with this id, by Dialpad's `target_type`.
pub(crate) fn target_by_id(kind: &str, id: i64) -> Option<Party> {
    match kind {
        "user" => user_by_id(id),
        "office" => Some(main_line()),
        "callcenter" | "call_center" => Some(centre()),
        "department" => Some(department()),
        _ => None,
    }
    .filter(|target| target.id == id)
}

/// Returns the outside party of a number: the known contact, or one without a name.
pub(crate) fn outside(number: &str) -> Party {
    let known = (0..CONTACTS.len()).map(contact).find(|contact| contact.phone == number);
    known.unwrap_or_else(|| Party { id: 0, kind: "local", name: "", email: None, phone: number.to_owned() })
}

/// Returns the contacts whom the flows call.
pub(crate) fn contacts() -> impl Iterator<Item = Party> {
    (0..CONTACTS.len()).map(contact)
}

/// The office of all users.
pub(crate) const OFFICE_ID: i64 = 5_527_348_325_810_176;

/// All parties and legs of a flow.
pub(crate) struct Participants {
    /// The legs, in the order of the flow's roles.
    pub(crate) legs: Vec<LegSpec>,
    /// The transcript of the voicemail.
    pub(crate) transcript: String,
}

/// The fields of a leg that do not change during playback.
pub(crate) struct LegSpec {
    pub(crate) call_id: i64,
    pub(crate) direction: Direction,
    /// The owner of the leg.
    pub(crate) target: Party,
    /// The other party.
    pub(crate) contact: Party,
    /// The id of its voicemail or recording.
    pub(crate) media_id: i64,
    /// Whether it is recorded.
    pub(crate) recorded: bool,
    /// The root leg, if a group's leg led to this one.
    pub(crate) master_call_id: Option<i64>,
    /// The group's leg that it was rung for.
    pub(crate) entry_point_call_id: Option<i64>,
    /// The leg of the agent who answers for the group.
    pub(crate) operator_call_id: Option<i64>,
    /// The party that the customer called first, if it was another one.
    pub(crate) entry_point: Option<Party>,
    /// The user who transferred the customer.
    pub(crate) transferred_from: Option<Party>,
    /// The leg from which the customer was transferred. Dialpad's events do not name it.
    pub(crate) transferred_call_id: Option<i64>,
    /// The `custom_data` of a call that was placed over the API.
    pub(crate) custom_data: Option<String>,
}

impl LegSpec {
    /// Returns a leg without references to other legs.
    pub(crate) fn new(ids: (i64, i64), direction: Direction, target: Party, contact: Party) -> Self {
        let (call_id, media_id) = ids;
        Self {
            call_id,
            direction,
            target,
            contact,
            media_id,
            recorded: false,
            master_call_id: None,
            entry_point_call_id: None,
            operator_call_id: None,
            entry_point: None,
            transferred_from: None,
            transferred_call_id: None,
            custom_data: None,
        }
    }

    /// Returns the link to the voicemail or recording.
    pub(crate) fn media_url(&self, base: &str) -> String {
        format!("{base}/r/{}", self.media_id)
    }

    /// Returns the calling and the called number.
    pub(crate) fn numbers(&self) -> (&str, &str) {
        match self.direction {
            Direction::Inbound => (&self.contact.phone, &self.target.phone),
            Direction::Outbound => (&self.target.phone, &self.contact.phone),
        }
    }
}

impl Participants {
    pub(crate) fn pick(flow: Flow, seed: u64, options: &FlowOptions) -> Self {
        let people = People::pick(seed, options);
        let mut ids = ids(seed, options);
        let roles = timeline::roles(flow);
        let mut legs: Vec<LegSpec> = roles
            .iter()
            .map(|role| {
                let ids = (next_id(&mut ids), next_id(&mut ids));
                let (direction, target, contact) = people.parties_of(*role);
                LegSpec {
                    recorded: is_recorded(flow, *role),
                    custom_data: options.overrides.custom_data.clone(),
                    ..LegSpec::new(ids, direction, target.clone(), contact.clone())
                }
            })
            .collect();
        if let (Some(first), Some(call_id)) = (legs.first_mut(), options.overrides.call_id) {
            first.call_id = call_id;
        }
        link(&roles, &mut legs, &people);
        let transcript = format!(
            "Hi, this is {}. I am calling about {}. Please call me back. Thanks!",
            people.customer.name, people.topic
        );
        Self { legs, transcript }
    }
}

/// Sets the references between legs, as Dialpad does.
fn link(roles: &[Role], legs: &mut [LegSpec], people: &People) {
    let call_of = |wanted: Role| roles.iter().position(|role| *role == wanted);
    let id_of = |legs: &[LegSpec], wanted: Role| call_of(wanted).map(|index| legs[index].call_id);
    for (index, role) in roles.iter().enumerate() {
        match role {
            Role::Centre => {
                legs[index].master_call_id = id_of(legs, Role::MainLine);
                legs[index].operator_call_id = id_of(legs, Role::Operator);
                legs[index].entry_point = Some(people.main_line.clone());
            }
            Role::Agent | Role::Operator => {
                legs[index].entry_point_call_id = id_of(legs, Role::Centre);
                legs[index].entry_point = Some(people.main_line.clone());
            }
            Role::Successor => {
                legs[index].transferred_from = Some(people.lead.clone());
                legs[index].transferred_call_id = id_of(legs, Role::Called);
            }
            Role::Called | Role::Calling | Role::MainLine | Role::Consultation | Role::Conference => {}
        }
    }
}

/// Returns whether a leg is recorded: legs on which customer and user talk to the end are.
fn is_recorded(flow: Flow, role: Role) -> bool {
    match role {
        Role::Called => matches!(flow, Flow::Answered | Flow::Hold),
        Role::Operator => true,
        Role::Successor => flow == Flow::Transfer,
        Role::Calling
        | Role::MainLine
        | Role::Centre
        | Role::Agent
        | Role::Consultation
        | Role::Conference => false,
    }
}

/// The people that the seed, or the caller, picked.
struct People {
    /// The main user of the flow.
    lead: Party,
    /// Another user.
    colleague: Party,
    customer: Party,
    other_customer: Party,
    main_line: Party,
    centre: Party,
    topic: &'static str,
}

impl People {
    fn pick(seed: u64, options: &FlowOptions) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let lead = rng.random_range(0..USERS.len());
        let customer = rng.random_range(0..CONTACTS.len());
        let topic = TOPICS[rng.random_range(0..TOPICS.len())];
        let colleague = user((lead + rng.random_range(1..USERS.len())) % USERS.len());
        let other_customer = contact((customer + rng.random_range(1..CONTACTS.len())) % CONTACTS.len());
        let fixed = &options.overrides;
        let mut people = Self {
            lead: match fixed.user_id {
                Some(id) => user_by_id(id).unwrap_or(Party { id, ..user(lead) }),
                None => user(lead),
            },
            colleague,
            customer: contact(customer),
            other_customer,
            main_line: main_line(),
            centre: centre(),
            topic,
        };
        if people.colleague.id == people.lead.id {
            people.colleague = user((lead + 1) % USERS.len());
        }
        if let Some(number) = &fixed.internal_number {
            people.lead.phone.clone_from(number);
            people.main_line.phone.clone_from(number);
        }
        if let Some(number) = &fixed.external_number {
            people.customer.phone.clone_from(number);
        }
        people
    }

    /// Returns the direction, the owner and the other party of a leg.
    fn parties_of(&self, role: Role) -> (Direction, &Party, &Party) {
        use Direction::{Inbound, Outbound};
        match role {
            Role::Called | Role::Operator => (Inbound, &self.lead, &self.customer),
            Role::Calling => (Outbound, &self.lead, &self.customer),
            Role::MainLine => (Inbound, &self.main_line, &self.customer),
            Role::Centre => (Inbound, &self.centre, &self.customer),
            Role::Agent | Role::Successor => (Inbound, &self.colleague, &self.customer),
            Role::Consultation => (Outbound, &self.lead, &self.colleague),
            Role::Conference => (Outbound, &self.lead, &self.other_customer),
        }
    }
}

/// Returns the generator of ids. It depends on the start: the same seed played later is another call.
pub(crate) fn ids(seed: u64, options: &FlowOptions) -> Xoshiro256PlusPlus {
    let start = options.start.timestamp_micros().cast_unsigned();
    Xoshiro256PlusPlus::seed_from_u64(seed ^ start.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Returns an id like Dialpad's: sixteen digits, below 2^53.
pub(crate) fn next_id(ids: &mut Xoshiro256PlusPlus) -> i64 {
    ids.random_range(4_503_599_627_370_496..6_755_399_441_055_744)
}

fn user(index: usize) -> Party {
    let (name, mailbox) = USERS[index];
    Party {
        id: 5_100_000_000_000_000 + i64::try_from(index).expect("the roster is short"),
        kind: "user",
        name,
        email: Some(format!("{mailbox}@acme.example")),
        phone: format!("+141555501{:02}", index),
    }
}

fn contact(index: usize) -> Party {
    let (name, mailbox) = CONTACTS[index];
    Party {
        id: 6_200_000_000_000_000 + i64::try_from(index).expect("the roster is short"),
        kind: "local",
        name,
        email: Some(format!("{mailbox}@customer.example")),
        phone: format!("+1{}55501{:02}", AREAS[index % AREAS.len()], 20 + index),
    }
}

pub(crate) fn main_line() -> Party {
    Party { id: OFFICE_ID, kind: "office", name: "Acme Corp.", email: None, phone: "+14155550190".to_owned() }
}

/// Returns the call center. Events and queries spell its type differently.
pub(crate) fn centre() -> Party {
    let phone = "+14155550191".to_owned();
    Party { id: 5_300_000_000_000_000, kind: "call_center", name: "Support", email: None, phone }
}

/// Returns the department. No flow reaches it; a transfer may.
pub(crate) fn department() -> Party {
    let phone = "+14155550192".to_owned();
    Party { id: 5_350_000_000_000_000, kind: "department", name: "Sales", email: None, phone }
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
