//! How often one company may be asked: at most so many times in any stretch of time, whoever asks.
//!
//! Dialpad counts over all endpoints, and some endpoints more tightly. A window that remembers when its places were
//! taken keeps to that exactly; a bucket that fills up evenly would let nearly twice as many through in its first
//! period. Time is an argument.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use reqwest::Method;

use super::{
    id,
    request::{ApiRequest, Endpoint, Urgency},
};

/// Requests may come closer together at Dialpad than they were sent here.
const MARGIN: Duration = Duration::from_millis(100);

/// So many times in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    times: usize,
    period: Duration,
}

impl Limit {
    const fn new(times: usize, seconds: u64) -> Self {
        Self { times, period: Duration::from_secs(seconds) }
    }
}

/// What a company may be asked altogether.
const OVERALL: Limit = Limit::new(20, 1);

/// What is limited more tightly than the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Special {
    OneCall,
    /// For each user whose telephones ring.
    CallsPlacedBy(Option<i64>),
    NewWebhooks,
}

impl Special {
    fn of(question: &ApiRequest) -> Option<Self> {
        match question.endpoint {
            Endpoint::Call => Some(Self::OneCall),
            Endpoint::PlaceCall => {
                let user = question.body.as_ref().and_then(|body| body.get("user_id"));
                Some(Self::CallsPlacedBy(user.and_then(id)))
            }
            Endpoint::Webhooks if question.method == Method::POST => Some(Self::NewWebhooks),
            _ => None,
        }
    }

    fn limit(self) -> Limit {
        match self {
            Self::OneCall => Limit::new(10, 60),
            Self::CallsPlacedBy(_) => Limit::new(5, 60),
            Self::NewWebhooks => Limit::new(100, 60),
        }
    }
}

/// What one company may still be asked.
#[derive(Debug)]
pub(crate) struct Allowance {
    overall: Window,
    special: HashMap<Special, Window>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { overall: Window::new(OVERALL), special: HashMap::new() }
    }
}

impl Allowance {
    /// How long a question has to wait for its place; none if it need not.
    pub(crate) fn wait(&self, question: &ApiRequest, now: Instant) -> Option<Duration> {
        let special = Special::of(question).and_then(|special| self.special.get(&special));
        let windows = special.into_iter().chain([&self.overall]);
        windows.filter_map(|window| window.wait(question.urgency, now)).max()
    }

    /// Takes a place. Whether there is one, [`Self::wait`] says.
    pub(crate) fn take(&mut self, question: &ApiRequest, now: Instant) {
        self.overall.take(now);
        if let Some(special) = Special::of(question) {
            self.special_window(special, now).take(now);
        }
    }

    /// Dialpad said that it takes no more for so long. Which limit was reached it does not say; a special one is
    /// the likelier.
    pub(crate) fn close(&mut self, question: &ApiRequest, rest: Duration, now: Instant) {
        let window = match Special::of(question) {
            Some(special) => self.special_window(special, now),
            None => &mut self.overall,
        };
        window.closed_until = window.closed_until.max(Some(now + rest));
    }

    fn special_window(&mut self, special: Special, now: Instant) -> &mut Window {
        // There is one for each user who places calls: those that count nothing any more go.
        self.special.retain(|other, window| *other == special || window.counts_anything(now));
        self.special.entry(special).or_insert_with(|| Window::new(special.limit()))
    }
}

/// The places of one limit.
#[derive(Debug)]
struct Window {
    limit: Limit,
    /// When the newest ones were taken, oldest first; never more than the limit has.
    taken: VecDeque<Instant>,
    closed_until: Option<Instant>,
}

impl Window {
    fn new(limit: Limit) -> Self {
        let period = limit.period + MARGIN;
        Self { limit: Limit { period, ..limit }, taken: VecDeque::new(), closed_until: None }
    }

    fn wait(&self, urgency: Urgency, now: Instant) -> Option<Duration> {
        let most = match urgency {
            Urgency::Foreground => self.limit.times,
            // Half of the places are kept for those whom somebody waits for.
            Urgency::Background => (self.limit.times / 2).max(1),
        };
        let in_the_way = self.taken.len().checked_sub(most).and_then(|first| self.taken.get(first));
        let free = in_the_way.map(|taken| *taken + self.limit.period);
        let wait = free.max(self.closed_until)?.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    fn take(&mut self, now: Instant) {
        if self.taken.len() == self.limit.times {
            self.taken.pop_front();
        }
        self.taken.push_back(now);
    }

    fn counts_anything(&self, now: Instant) -> bool {
        let last = self.taken.back().map(|taken| *taken + self.limit.period);
        last.max(self.closed_until).is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user() -> ApiRequest {
        ApiRequest::get(Endpoint::User, "users/me")
    }

    fn one_call() -> ApiRequest {
        ApiRequest::get(Endpoint::Call, "call/1")
    }

    fn placed_by(user: i64) -> ApiRequest {
        ApiRequest::new(Endpoint::PlaceCall, Method::POST, "call").saying(json!({"user_id": user}))
    }

    /// How many of these questions find a place at this instant.
    fn places(allowance: &mut Allowance, question: &ApiRequest, now: Instant) -> usize {
        let mut found = 0;
        while allowance.wait(question, now).is_none() {
            allowance.take(question, now);
            found += 1;
        }
        found
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn no_stretch_of_a_second_has_more_than_twenty() {
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        let mut sent = Vec::new();
        for tenth in 0..50 {
            let now = start + Duration::from_millis(100) * tenth;
            sent.extend(std::iter::repeat_n(now, places(&mut allowance, &user(), now)));
        }
        for (first, at) in sent.iter().enumerate() {
            let within = sent[first..].iter().take_while(|other| **other - *at <= seconds(1)).count();
            assert!(within <= 20, "{within} in a second");
        }
        assert!(sent.len() >= 90, "only {} in 5 s", sent.len());
    }

    #[test]
    fn the_wait_is_as_long_as_it_must_be() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        assert_eq!(places(&mut allowance, &user(), now), 20);
        let wait = allowance.wait(&user(), now).expect("a wait");
        assert_eq!(wait, seconds(1) + MARGIN);
        assert_eq!(allowance.wait(&user(), now + wait), None);
    }

    #[test]
    fn the_background_leaves_half_of_the_places() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        assert_eq!(places(&mut allowance, &user().in_background(), now), 10);
        assert_eq!(places(&mut allowance, &user(), now), 10);
        assert_eq!(places(&mut allowance, &one_call().in_background(), now + seconds(2)), 5);
        assert_eq!(places(&mut allowance, &one_call(), now + seconds(2)), 5);
    }

    #[test]
    fn one_call_is_asked_for_ten_times_a_minute_and_hinders_nothing_else() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        assert_eq!(places(&mut allowance, &one_call(), now), 10);
        assert_eq!(places(&mut allowance, &one_call(), now + seconds(59)), 0);
        assert_eq!(places(&mut allowance, &user(), now + seconds(59)), 20);
        assert_eq!(places(&mut allowance, &one_call(), now + seconds(62)), 10);
    }

    #[test]
    fn calls_are_counted_for_each_user() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        assert_eq!(places(&mut allowance, &placed_by(1), now), 5);
        assert_eq!(places(&mut allowance, &placed_by(2), now), 5);
        assert_eq!(places(&mut allowance, &placed_by(1), now + seconds(30)), 0);
    }

    #[test]
    fn what_dialpad_closes_stays_closed_for_that_long() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        allowance.close(&one_call(), seconds(30), now);
        assert_eq!(allowance.wait(&one_call(), now), Some(seconds(30)));
        assert_eq!(allowance.wait(&user(), now), None, "only the special limit was reached");
        allowance.close(&user(), seconds(5), now);
        allowance.close(&user(), seconds(2), now);
        assert_eq!(
            allowance.wait(&user(), now),
            Some(seconds(5)),
            "a shorter rest does not end a longer one"
        );
        assert_eq!(allowance.wait(&user(), now + seconds(5)), None);
    }

    #[test]
    fn windows_of_users_that_count_nothing_are_forgotten() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        for user in 0..100 {
            allowance.take(&placed_by(user), now);
        }
        assert_eq!(allowance.special.len(), 100);
        allowance.take(&placed_by(1000), now + seconds(70));
        assert_eq!(allowance.special.len(), 1);
    }
}
