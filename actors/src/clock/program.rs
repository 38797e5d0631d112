//! How the program's clock follows the wall clock. Pure: readings of both clocks are arguments.
//!
//! - A small difference is made up for slowly.
//! - A larger one is a step: somebody set the wall clock, or the machine was suspended. It is not followed before it has
//!   persisted. Then the clock is set forward at once, but never back: it runs slower until the wall clock has caught
//!   up.
//! - It does not begin before the newest stored instant, so that what is stored sorts by time across a restart. The
//!   exception is a stored instant so far ahead that it must be wrong itself.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A larger difference from the wall clock is a step.
const MAX_SLEWED: TimeDelta = TimeDelta::seconds(2);
/// One part in this many by which the clock runs faster or slower to make up for a difference.
const SLEW: i32 = 10;
/// How long a step must persist before it is followed.
const PERSISTS_AFTER: Duration = Duration::from_secs(60);
/// A stored instant further ahead of the wall clock must be wrong. If the newest one is further behind, the wall clock
/// may be wrong.
const MAX_STORED_AHEAD: TimeDelta = TimeDelta::days(1);

/// What happened to the clock, and by how much: what the wall clock is ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The wall clock was set.
    Stepped(TimeDelta),
    /// A step forward has persisted and was followed.
    Adopted(TimeDelta),
    /// A step back has persisted: the clock runs slower.
    Slowed(TimeDelta),
    /// The clock begins at the newest stored instant, ahead of the wall clock.
    StartedAhead(TimeDelta),
    /// The newest stored instant is so far ahead of the wall clock that it counts as wrong.
    StoredAhead(TimeDelta),
    /// The newest stored instant is far behind the wall clock.
    LongAway(TimeDelta),
}

/// A difference that is not followed yet, or only slowly.
#[derive(Clone, Copy, Debug)]
struct Step {
    since: Duration,
    /// The difference at the last reading.
    by: TimeDelta,
    has_persisted: bool,
}

/// The clock. Monotonic time is given as the time since its beginning.
#[derive(Debug)]
pub(super) struct ProgramClock {
    now: DateTime<Utc>,
    read_at: Duration,
    step: Option<Step>,
    /// Since when it has agreed with the wall clock; `None`: always.
    steady_since: Option<Duration>,
}

impl ProgramClock {
    pub(super) fn new(wall: DateTime<Utc>) -> Self {
        Self { now: wall, read_at: Duration::ZERO, step: None, steady_since: None }
    }

    /// Returns the current time.
    pub(super) fn read(&mut self, wall: DateTime<Utc>, elapsed: Duration) -> (DateTime<Utc>, Option<Notice>) {
        let passed = TimeDelta::from_std(elapsed.saturating_sub(self.read_at)).unwrap_or_default();
        self.read_at = self.read_at.max(elapsed);
        self.now += passed;
        let by = wall - self.now;
        let notice = if by.abs() <= MAX_SLEWED {
            if self.step.take().is_some() {
                self.steady_since = Some(self.read_at);
            }
            self.slew(by, passed);
            None
        } else {
            self.follow_step(by, wall, passed)
        };
        (self.now, notice)
    }

    fn follow_step(&mut self, by: TimeDelta, wall: DateTime<Utc>, passed: TimeDelta) -> Option<Notice> {
        let same = self.step.as_mut().filter(|step| (by - step.by).abs() <= MAX_SLEWED + passed / SLEW);
        let Some(step) = same else {
            self.step = Some(Step { since: self.read_at, by, has_persisted: false });
            return Some(Notice::Stepped(by));
        };
        step.by = by;
        if !step.has_persisted && self.read_at.saturating_sub(step.since) < PERSISTS_AFTER {
            return None;
        }
        if by > TimeDelta::zero() {
            self.step = None;
            self.steady_since = Some(self.read_at);
            self.now = wall;
            return Some(Notice::Adopted(by));
        }
        let is_first = !std::mem::replace(&mut step.has_persisted, true);
        self.slew(by, passed);
        is_first.then_some(Notice::Slowed(by))
    }

    /// Makes up for a part of a difference that is no larger than the time that passed allows.
    fn slew(&mut self, by: TimeDelta, passed: TimeDelta) {
        let most = passed / SLEW;
        self.now += by.clamp(-most, most);
    }

    /// Begins no earlier than the newest stored instant. Those that must be wrong are left out.
    pub(super) fn start_after(
        &mut self,
        stored: &[DateTime<Utc>],
        wall: DateTime<Utc>,
        elapsed: Duration,
    ) -> Option<Notice> {
        self.read(wall, elapsed);
        let ahead = stored.iter().map(|at| *at - self.now);
        let (wrong, plausible): (Vec<TimeDelta>, Vec<TimeDelta>) =
            ahead.partition(|ahead| *ahead > MAX_STORED_AHEAD);
        let newest = plausible.into_iter().max();
        let mut notice = None;
        if let Some(ahead) = newest.filter(|ahead| *ahead > TimeDelta::zero()) {
            self.now += ahead;
            let by = wall - self.now;
            if by.abs() > MAX_SLEWED {
                self.step = Some(Step { since: self.read_at, by, has_persisted: true });
                notice = Some(Notice::StartedAhead(by));
            }
        } else if let Some(behind) = newest.filter(|ahead| *ahead < -MAX_STORED_AHEAD) {
            self.steady_since = Some(self.read_at);
            notice = Some(Notice::LongAway(-behind));
        }
        if let Some(wrong) = wrong.into_iter().max() {
            self.steady_since = Some(self.read_at);
            notice = Some(Notice::StoredAhead(-wrong));
        }
        notice
    }

    /// Returns for how long it has agreed with the wall clock.
    pub(super) fn steady_for(&self, elapsed: Duration) -> Option<Duration> {
        if self.step.is_some() {
            return None;
        }
        Some(self.steady_since.map_or(Duration::MAX, |since| elapsed.saturating_sub(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose wall clock can be set.
    struct Machine {
        wall: DateTime<Utc>,
        elapsed: Duration,
        clock: ProgramClock,
    }

    impl Machine {
        fn new() -> Self {
            let wall = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
            Self { wall, elapsed: Duration::ZERO, clock: ProgramClock::new(wall) }
        }

        fn set(&mut self, by: TimeDelta) {
            self.wall += by;
        }

        /// Lets seconds pass, with a reading in each. Returns what was noticed.
        fn pass(&mut self, seconds: u32) -> Vec<Notice> {
            let mut notices = Vec::new();
            for _ in 0..seconds {
                self.elapsed += Duration::from_secs(1);
                self.wall += TimeDelta::seconds(1);
                let before = self.clock.now;
                let (now, notice) = self.clock.read(self.wall, self.elapsed);
                assert!(now > before, "it went back");
                notices.extend(notice);
            }
            notices
        }

        /// Returns how far the wall clock is ahead of the program's clock, in seconds.
        fn behind(&self) -> i64 {
            (self.wall - self.clock.now).num_seconds()
        }

        fn steady_for(&self) -> Option<u64> {
            self.clock.steady_for(self.elapsed).map(|steady| steady.as_secs())
        }
    }

    #[test]
    fn a_small_difference_is_made_up_for_slowly() {
        for by in [1500, -1500] {
            let mut machine = Machine::new();
            machine.set(TimeDelta::milliseconds(by));
            assert_eq!(machine.pass(5), []);
            assert_eq!((machine.wall - machine.clock.now).num_milliseconds().abs(), 1000);
            machine.pass(15);
            assert_eq!(machine.wall, machine.clock.now);
            assert_eq!(machine.steady_for(), Some(Duration::MAX.as_secs()));
        }
    }

    #[test]
    fn a_wall_clock_that_is_wrong_for_a_moment_changes_nothing() {
        for by in [TimeDelta::days(31), TimeDelta::days(-40), TimeDelta::minutes(10)] {
            let mut machine = Machine::new();
            machine.set(by);
            assert_eq!(machine.pass(50).len(), 1);
            assert_eq!(machine.steady_for(), None);
            assert_eq!(machine.behind(), by.num_seconds(), "it was not followed");
            machine.set(-by);
            assert_eq!(machine.pass(10), []);
            assert_eq!((machine.behind(), machine.steady_for()), (0, Some(9)));
        }
    }

    #[test]
    fn a_step_forward_is_followed_once_it_has_persisted() {
        let mut machine = Machine::new();
        let by = TimeDelta::hours(2);
        machine.set(by);
        assert_eq!(machine.pass(60), [Notice::Stepped(by)]);
        assert_eq!(machine.pass(2), [Notice::Adopted(by)]);
        assert_eq!((machine.behind(), machine.steady_for()), (0, Some(1)));
    }

    #[test]
    fn after_a_step_back_the_clock_runs_slower_until_the_wall_clock_has_caught_up() {
        let mut machine = Machine::new();
        let by = TimeDelta::seconds(-30);
        machine.set(by);
        assert_eq!(machine.pass(62), [Notice::Stepped(by), Notice::Slowed(by)]);
        assert_eq!(machine.steady_for(), None);
        assert_eq!(machine.pass(100), []);
        assert_eq!(machine.behind(), -19);
        assert_eq!(machine.pass(300), []);
        assert_eq!(machine.behind(), 0);
        assert!(machine.steady_for().is_some());
    }

    #[test]
    fn a_second_step_has_to_persist_by_itself() {
        let mut machine = Machine::new();
        machine.set(TimeDelta::days(1));
        machine.pass(50);
        machine.set(TimeDelta::days(30));
        assert_eq!(machine.pass(59), [Notice::Stepped(TimeDelta::days(31))]);
        machine.set(TimeDelta::days(-31));
        machine.pass(1);
        assert_eq!(machine.behind(), 0);
    }

    #[test]
    fn it_begins_at_the_newest_stored_instant() {
        let mut machine = Machine::new();
        let stored = machine.wall + TimeDelta::minutes(10);
        let notice = machine.clock.start_after(&[stored], machine.wall, machine.elapsed);
        assert_eq!(notice, Some(Notice::StartedAhead(TimeDelta::minutes(-10))));
        assert_eq!(machine.clock.now, stored);
        assert_eq!(machine.steady_for(), None);
        assert_eq!(machine.pass(5400), [], "it only runs slower");
        assert!(machine.behind() > -61 && machine.behind() < -59, "{}", machine.behind());
    }

    #[test]
    fn a_stored_instant_that_must_be_wrong_is_not_followed_and_nothing_is_deleted_for_a_while() {
        let mut machine = Machine::new();
        let notice =
            machine.clock.start_after(&[machine.wall + TimeDelta::days(31)], machine.wall, machine.elapsed);
        assert_eq!(notice, Some(Notice::StoredAhead(TimeDelta::days(-31))));
        machine.pass(5);
        assert_eq!((machine.behind(), machine.steady_for()), (0, Some(5)));

        let mut machine = Machine::new();
        let notice =
            machine.clock.start_after(&[machine.wall - TimeDelta::days(31)], machine.wall, machine.elapsed);
        assert_eq!(notice, Some(Notice::LongAway(TimeDelta::days(31))));
        machine.pass(5);
        assert_eq!((machine.behind(), machine.steady_for()), (0, Some(5)));

        let mut machine = Machine::new();
        assert_eq!(machine.clock.start_after(&[machine.wall], machine.wall, machine.elapsed), None);
        assert_eq!(machine.steady_for(), Some(Duration::MAX.as_secs()));
    }
}
