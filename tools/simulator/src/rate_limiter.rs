//! The rate limits of the real platform, for the switch `enforce_rate_limits`: one per company, and one per company for
//! some endpoints.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Requests per seconds.
type Rate = (usize, u64);

/// The limit of a company over all endpoints.
const COMPANY_LIMIT: Rate = (20, 1);

/// Endpoints with a limit of their own, per company.
const ENDPOINT_LIMITS: [(&str, Rate); 15] = [
    ("POST /api/v2/call", (5, 60)),
    ("POST /api/v2/users/{id}/initiate_call", (5, 60)),
    ("GET /api/v2/call/{id}", (10, 60)),
    ("POST /api/v2/webhooks", (100, 60)),
    ("POST /api/v2/users/{id}/screenpop", (5, 60)),
    ("GET /api/v2/call/{id}/ai_recap", (1, 5)),
    ("PUT /api/v2/call/{id}/labels", (500, 120)),
    ("POST /api/v2/recordingsharelink", (100, 60)),
    ("PUT /api/v2/recordingsharelink/{id}", (100, 60)),
    ("POST /api/v2/callreviewsharelink", (500, 120)),
    ("PUT /api/v2/callreviewsharelink/{id}", (500, 120)),
    ("POST /api/v2/contacts", (100, 60)),
    ("PUT /api/v2/contacts", (100, 60)),
    ("POST /api/v2/websockets", (500, 120)),
    ("POST /api/v2/sms", (100, 60)),
];

/// When each company called each limited endpoint.
#[derive(Default)]
pub(crate) struct RateLimiter {
    taken: HashMap<(i64, &'static str), VecDeque<Instant>>,
}

impl RateLimiter {
    /// Counts a request, or returns how long to wait for the next one.
    pub(crate) fn take(&mut self, company: i64, endpoint: &str, now: Instant) -> Result<(), Duration> {
        let own = ENDPOINT_LIMITS.iter().find(|(name, _)| *name == endpoint).copied();
        let budgets = || own.into_iter().chain([("", COMPANY_LIMIT)]);
        // No limit is charged when another one is exhausted.
        for (name, (count, seconds)) in budgets() {
            let taken = self.taken.entry((company, name)).or_default();
            let length = Duration::from_secs(seconds);
            while taken.front().is_some_and(|at| now.duration_since(*at) >= length) {
                taken.pop_front();
            }
            if let Some(first) = taken.front().filter(|_| taken.len() >= count) {
                return Err(length - now.duration_since(*first));
            }
        }
        for (name, _) in budgets() {
            self.taken.entry((company, name)).or_default().push_back(now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_company_may_send_twenty_requests_a_second() {
        let (mut limits, now) = (RateLimiter::default(), Instant::now());
        for _ in 0..20 {
            assert_eq!(limits.take(1, "GET /api/v2/company", now), Ok(()));
        }
        let half = now + Duration::from_millis(500);
        assert_eq!(limits.take(1, "GET /api/v2/company", half), Err(Duration::from_millis(500)));
        assert_eq!(limits.take(2, "GET /api/v2/company", half), Ok(()));
        assert_eq!(limits.take(1, "GET /api/v2/company", now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn one_call_may_be_read_ten_times_a_minute() {
        let (mut limits, now) = (RateLimiter::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(limits.take(1, "GET /api/v2/call/{id}", now), Ok(()));
        }
        let minute = Duration::from_secs(60);
        assert_eq!(limits.take(1, "GET /api/v2/call/{id}", now), Err(minute));
        assert_eq!(limits.take(1, "GET /api/v2/call", now), Ok(()));
        assert_eq!(limits.take(1, "GET /api/v2/call/{id}", now + minute), Ok(()));
    }
}
