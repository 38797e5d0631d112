//! The legs of a call over time, as a picture.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::parts::duration;

const WIDTH: i64 = 960;
const LABELS: i64 = 200;
const ROW: i64 = 34;
const BAR: i64 = 18;
const HEAD: i64 = 26;
/// How many characters of a label fit.
const MAX_LABEL: usize = 24;
const TICKS: i64 = 4;

/// When a leg rang, was answered, was held, and ended.
pub(super) struct LegSpan {
    pub(super) label: String,
    pub(super) began_at: DateTime<Utc>,
    pub(super) answered_at: Option<DateTime<Utc>>,
    /// `None` while it lasts.
    pub(super) ended_at: Option<DateTime<Utc>>,
    /// Beginning and end of each hold; without an end where it lasts.
    pub(super) holds: Vec<(DateTime<Utc>, Option<DateTime<Utc>>)>,
}

/// Where times are in the picture.
struct Scale {
    start: DateTime<Utc>,
    length: TimeDelta,
}

impl Scale {
    fn of(legs: &[LegSpan], now: DateTime<Utc>) -> Option<Self> {
        let start = legs.iter().map(|leg| leg.began_at).min()?;
        let end = legs.iter().map(|leg| leg.ended_at.unwrap_or(now)).max()?;
        Some(Self { start, length: (end - start).max(TimeDelta::seconds(1)) })
    }

    fn x(&self, at: DateTime<Utc>) -> i64 {
        let passed = (at - self.start).num_milliseconds().clamp(0, self.length.num_milliseconds());
        LABELS + passed.saturating_mul(WIDTH - LABELS) / self.length.num_milliseconds().max(1)
    }
}

/// One leg that a person left, and the leg at which another one took the caller over.
struct Transfer<'l> {
    from: &'l LegSpan,
    to: &'l LegSpan,
    at: DateTime<Utc>,
}

/// Finds the transfers: legs that began to ring while somebody talked already, and talked on when that one had gone.
fn transfers<'l>(legs: &'l [LegSpan], now: DateTime<Utc>) -> Vec<Transfer<'l>> {
    let source = |to: &LegSpan, at: DateTime<Utc>| {
        let left = |from: &&LegSpan| from.ended_at.is_some_and(|end| end < to.ended_at.unwrap_or(now));
        let talked = |from: &&LegSpan| {
            from.answered_at.is_some_and(|answered| answered <= to.began_at && answered < at)
        };
        legs.iter().filter(talked).filter(left).max_by_key(|from| from.answered_at)
    };
    let transfer = |to: &'l LegSpan| {
        let at = to.answered_at?;
        Some(Transfer { from: source(to, at)?, to, at })
    };
    legs.iter().filter_map(transfer).collect()
}

/// Draws the legs; nothing without any.
pub(super) fn timeline(legs: &[LegSpan], now: DateTime<Utc>) -> Markup {
    let Some(scale) = Scale::of(legs, now) else { return html! {} };
    let height = HEAD + ROW * i64::try_from(legs.len()).unwrap_or(1);
    let transfers = transfers(legs, now);
    let ticks = (0..=TICKS).map(|tick| {
        let seconds = scale.length.num_seconds() * tick / TICKS;
        (LABELS + (WIDTH - LABELS) * tick / TICKS, duration(seconds), tick)
    });
    html! {
        figure {
            // Narrower, its text could not be read.
            div.scroll tabindex="0" role="region" aria-label="The legs over time" { svg.timeline viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-labelledby="timeline-title" {
                title id="timeline-title" { (description(legs, now)) }
                @for (x, text, tick) in ticks {
                    line.axis x1=(x) y1=(HEAD - 6) x2=(x) y2=(height) {}
                    text x=(x) y="14" text-anchor=(if tick == TICKS { "end" } else { "middle" }) { (text) }
                }
                @for (leg, y) in legs.iter().zip((HEAD..).step_by(34)) { (row(&scale, leg, y, now)) }
                @for transfer in &transfers {
                    @let x = scale.x(transfer.at);
                    line.transfer x1=(x) y1=(HEAD - 6) x2=(x) y2=(height) {}
                }
            } }
            @for transfer in &transfers {
                @let at = duration((transfer.at - scale.start).num_seconds());
                p { (at) ": transferred from " (transfer.from.label) " to " (transfer.to.label) "." }
            }
            figcaption.hint {
                "Yellow: ringing. Green: talking. Grey: on hold. A dashed line: a transfer. Times since the first ring."
            }
        }
    }
}

fn row(scale: &Scale, leg: &LegSpan, y: i64, now: DateTime<Utc>) -> Markup {
    let end = leg.ended_at.unwrap_or(now);
    let bar = |class: &str, from: DateTime<Utc>, until: DateTime<Utc>| {
        let (x, until) = (scale.x(from), scale.x(until));
        // A moment is shown too.
        html! { rect class=(class) x=(x) y=(y) width=((until - x).max(2)) height=(BAR) rx="3" {} }
    };
    let label: String = leg.label.chars().take(MAX_LABEL).collect();
    html! {
        text x="0" y=(y + 14) { (label) }
        (bar("ring", leg.began_at, leg.answered_at.unwrap_or(end)))
        @if let Some(answered_at) = leg.answered_at { (bar("talk", answered_at, end)) }
        @for (began, ended) in &leg.holds { (bar("hold", *began, ended.unwrap_or(end))) }
    }
}

/// Says what the picture shows.
fn description(legs: &[LegSpan], now: DateTime<Utc>) -> String {
    let leg = |leg: &LegSpan| {
        let end = leg.ended_at.unwrap_or(now);
        let rang = duration((leg.answered_at.unwrap_or(end) - leg.began_at).num_seconds().max(0));
        match leg.answered_at {
            Some(at) => {
                format!("{} rang {rang} and talked {}", leg.label, duration((end - at).num_seconds().max(0)))
            }
            None => format!("{} rang {rang} and was not answered", leg.label),
        }
    };
    legs.iter().map(leg).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_704_110_400 + second, 0).expect("an instant")
    }

    fn leg(answered: Option<i64>, ended: Option<i64>) -> LegSpan {
        let (answered_at, ended_at) = (answered.map(at), ended.map(at));
        LegSpan {
            label: "Ann".into(),
            began_at: at(0),
            answered_at,
            ended_at,
            holds: vec![(at(20), Some(at(30)))],
        }
    }

    #[test]
    fn a_leg_is_drawn_from_its_ring_to_its_end() {
        let picture = timeline(&[leg(Some(10), Some(40))], at(100)).into_string();
        let (ring, talk) = ("class=\"ring\" x=\"200\"", "class=\"talk\" x=\"390\"");
        let hold = "class=\"hold\" x=\"580\"";
        for part in [ring, talk, hold, "Ann rang 0:10 and talked 0:30"] {
            assert!(picture.contains(part), "{part} is missing in {picture}");
        }
        assert!(!picture.contains("style="), "the policy forbids it: {picture}");
    }

    #[test]
    fn a_transfer_is_marked_and_a_group_that_rings_is_none() {
        let named = |label: &str, began, answered, ended| LegSpan {
            label: label.into(),
            began_at: at(began),
            holds: Vec::new(),
            ..leg(answered, ended)
        };
        let first = || named("Ann", 0, Some(10), Some(40));
        let picture = timeline(&[first(), named("Bob", 30, Some(38), Some(90))], at(100)).into_string();
        for part in ["0:38: transferred from Ann to Bob.", "class=\"transfer\""] {
            assert!(picture.contains(part), "{part} is missing in {picture}");
        }
        let others = [
            named("Bob, who rang with Ann", 0, Some(12), Some(90)),
            named("Bob, whom Ann only asked", 15, Some(20), Some(30)),
            named("Bob, who did not answer", 15, None, Some(90)),
        ];
        for other in others {
            let label = other.label.clone();
            let picture = timeline(&[first(), other], at(100)).into_string();
            assert!(!picture.contains("transferred"), "{label}: {picture}");
        }
    }

    #[test]
    fn a_leg_that_lasts_is_drawn_until_now() {
        let picture = timeline(&[leg(None, None)], at(40)).into_string();
        assert!(picture.contains("width=\"760\""), "{picture}");
        assert!(picture.contains("Ann rang 0:40 and was not answered"), "{picture}");
        assert!(timeline(&[], at(0)).into_string().is_empty());
    }
}
