//! Dialpad's rate limits, kept before a request is sent.
//!
//! Dialpad allows a company 20 requests a second over all endpoints, and fewer of some
//! (<https://developers.dialpad.com/docs/rate-limits>). A sliding window that remembers when each request was sent keeps
//! to that exactly; a token bucket would let nearly twice as many through in its first period. Time is an argument.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use reqwest::Method;

use super::{
    id,
    request::{ApiRequest, Endpoint, Urgency},
};

/// Requests may arrive at Dialpad closer together than they were sent.
const MARGIN: Duration = Duration::from_millis(100);

/// At most `count` requests in any `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    count: usize,
    period: Duration,
}

impl Limit {
    const fn new(count: usize, seconds: u64) -> Self {
        Self { count, period: Duration::from_secs(seconds) }
    }
}

const COMPANY_LIMIT: Limit = Limit::new(20, 1);

/// What has a lower limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Special {
    /// `GET /call/{id}`.
    OneCall,
    /// `POST /call`, per user whose telephones ring.
    PlaceCall(Option<i64>),
    /// `POST /webhooks`.
    CreateWebhook,
}

impl Special {
    fn of(request: &ApiRequest) -> Option<Self> {
        match request.endpoint {
            Endpoint::Call => Some(Self::OneCall),
            Endpoint::PlaceCall => {
                let user = request.body.as_ref().and_then(|body| body.get("user_id"));
                Some(Self::PlaceCall(user.and_then(id)))
            }
            Endpoint::Webhooks if request.method == Method::POST => Some(Self::CreateWebhook),
            _ => None,
        }
    }

    /// Returns the limits of the `x-ratelimit` fields in Dialpad's OpenAPI document.
    fn limit(self) -> Limit {
        match self {
            Self::OneCall => Limit::new(10, 60),
            Self::PlaceCall(_) => Limit::new(5, 60),
            Self::CreateWebhook => Limit::new(100, 60),
        }
    }
}

/// The rate limits of one company.
#[derive(Debug)]
pub(crate) struct DialpadLimits {
    company: Window,
    special: HashMap<Special, Window>,
}

impl Default for DialpadLimits {
    fn default() -> Self {
        Self { company: Window::new(COMPANY_LIMIT), special: HashMap::new() }
    }
}

impl DialpadLimits {
    /// Returns how long a request has to wait; `None` if it may be sent now.
    pub(crate) fn wait(&self, request: &ApiRequest, now: Instant) -> Option<Duration> {
        let special = Special::of(request).and_then(|special| self.special.get(&special));
        let windows = special.into_iter().chain([&self.company]);
        windows.filter_map(|window| window.wait(request.urgency, now)).max()
    }

    /// Counts a request. [`Self::wait`] says whether it may be sent.
    pub(crate) fn take(&mut self, request: &ApiRequest, now: Instant) {
        self.company.take(now);
        if let Some(special) = Special::of(request) {
            self.special_window(special, now).take(now);
        }
    }

    /// Records that Dialpad answered 429 and takes no more for `pause`. It does not say which limit was reached; a
    /// special one is the likelier.
    pub(crate) fn close(&mut self, request: &ApiRequest, pause: Duration, now: Instant) {
        let window = match Special::of(request) {
            Some(special) => self.special_window(special, now),
            None => &mut self.company,
        };
        window.closed_until = window.closed_until.max(Some(now + pause));
    }

    fn special_window(&mut self, special: Special, now: Instant) -> &mut Window {
        // There is one for each user who places calls; those without effect are dropped.
        self.special.retain(|other, window| *other == special || window.has_effect(now));
        self.special.entry(special).or_insert_with(|| Window::new(special.limit()))
    }
}

/// The sliding window of one limit.
#[derive(Debug)]
struct Window {
    limit: Limit,
    /// When the latest requests were sent, oldest first; at most as many as the limit allows.
    sent_at: VecDeque<Instant>,
    closed_until: Option<Instant>,
}

impl Window {
    fn new(limit: Limit) -> Self {
        let period = limit.period + MARGIN;
        Self { limit: Limit { period, ..limit }, sent_at: VecDeque::new(), closed_until: None }
    }

    fn wait(&self, urgency: Urgency, now: Instant) -> Option<Duration> {
        let max = match urgency {
            Urgency::Foreground => self.limit.count,
            // The other half is reserved for requests that somebody waits for.
            Urgency::Background => (self.limit.count / 2).max(1),
        };
        let blocking = self.sent_at.len().checked_sub(max).and_then(|first| self.sent_at.get(first));
        let free_at = blocking.map(|sent_at| *sent_at + self.limit.period);
        let wait = free_at.max(self.closed_until)?.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    fn take(&mut self, now: Instant) {
        if self.sent_at.len() == self.limit.count {
            self.sent_at.pop_front();
        }
        self.sent_at.push_back(now);
    }

    fn has_effect(&self, now: Instant) -> bool {
        let last = self.sent_at.back().map(|sent_at| *sent_at + self.limit.period);
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
        ApiRequest::new(Endpoint::PlaceCall, Method::POST, "call").with_body(json!({"user_id": user}))
    }

    /// Sends as many of these requests as the limits allow now, and returns their number.
    fn send_all(limits: &mut DialpadLimits, request: &ApiRequest, now: Instant) -> usize {
        let mut sent = 0;
        while limits.wait(request, now).is_none() {
            limits.take(request, now);
            sent += 1;
        }
        sent
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn no_second_has_more_than_twenty() {
        let mut limits = DialpadLimits::default();
        let start = Instant::now();
        let mut sent = Vec::new();
        for tenth in 0..50 {
            let now = start + Duration::from_millis(100) * tenth;
            sent.extend(std::iter::repeat_n(now, send_all(&mut limits, &user(), now)));
        }
        for (first, at) in sent.iter().enumerate() {
            let within = sent[first..].iter().take_while(|other| **other - *at <= seconds(1)).count();
            assert!(within <= 20, "{within} in a second");
        }
        assert!(sent.len() >= 90, "only {} in 5 s", sent.len());
    }

    #[test]
    fn the_wait_ends_when_the_oldest_request_leaves_the_window() {
        let mut limits = DialpadLimits::default();
        let now = Instant::now();
        assert_eq!(send_all(&mut limits, &user(), now), 20);
        let wait = limits.wait(&user(), now).expect("a wait");
        assert_eq!(wait, seconds(1) + MARGIN);
        assert_eq!(limits.wait(&user(), now + wait), None);
    }

    #[test]
    fn background_requests_leave_half_of_the_limit() {
        let mut limits = DialpadLimits::default();
        let now = Instant::now();
        assert_eq!(send_all(&mut limits, &user().in_background(), now), 10);
        assert_eq!(send_all(&mut limits, &user(), now), 10);
        assert_eq!(send_all(&mut limits, &one_call().in_background(), now + seconds(2)), 5);
        assert_eq!(send_all(&mut limits, &one_call(), now + seconds(2)), 5);
    }

    #[test]
    fn one_call_is_requested_ten_times_a_minute_and_delays_nothing_else() {
        let mut limits = DialpadLimits::default();
        let now = Instant::now();
        assert_eq!(send_all(&mut limits, &one_call(), now), 10);
        assert_eq!(send_all(&mut limits, &one_call(), now + seconds(59)), 0);
        assert_eq!(send_all(&mut limits, &user(), now + seconds(59)), 20);
        assert_eq!(send_all(&mut limits, &one_call(), now + seconds(62)), 10);
    }

    #[test]
    fn calls_are_counted_for_each_user() {
        let mut limits = DialpadLimits::default();
        let now = Instant::now();
        assert_eq!(send_all(&mut limits, &placed_by(1), now), 5);
        assert_eq!(send_all(&mut limits, &placed_by(2), now), 5);
        assert_eq!(send_all(&mut limits, &placed_by(1), now + seconds(30)), 0);
    }

    #[test]
    fn what_dialpad_closes_stays_closed_for_that_long() {
        let mut limits = DialpadLimits::default();
        let now = Instant::now();
        limits.close(&one_call(), seconds(30), now);
        assert_eq!(limits.wait(&one_call(), now), Some(seconds(30)));
        assert_eq!(limits.wait(&user(), now), None, "only the special limit was reached");
        limits.close(&user(), seconds(5), now);
        limits.close(&user(), seconds(2), now);
        assert_eq!(limits.wait(&user(), now), Some(seconds(5)), "a shorter pause does not end a longer one");
        assert_eq!(limits.wait(&user(), now + seconds(5)), None);
    }

    #[test]
    fn windows_without_effect_are_dropped() {
        let mut limits = DialpadLimits::default();
        let now = Instant::now();
        for user in 0..100 {
            limits.take(&placed_by(user), now);
        }
        assert_eq!(limits.special.len(), 100);
        limits.take(&placed_by(1000), now + seconds(70));
        assert_eq!(limits.special.len(), 1);
    }
}
