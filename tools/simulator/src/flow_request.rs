//! What can be asked of the simulator: which flows, how many, how fast, to whom.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use serde::Deserialize;

use super::flows::{Family, Flow, UnknownFlow};

/// One order for flows: the body of `POST /simulator/flows`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowRequest {
    /// Which flow to play.
    pub flow: FlowChoice,
    /// How many calls; none (`null`) means until the simulator stops.
    #[serde(default = "one_call")]
    pub calls: Option<u64>,
    /// How many calls begin in a second. Not touched by `pace`.
    #[serde(default = "one")]
    pub rate: f64,
    /// What all chance comes from. Without one, the simulator's own seed and the number of the run decide.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The shape of the payloads.
    #[serde(default)]
    pub family: Family,
    /// The company that it happens at; without one, that of new authorisations.
    #[serde(default)]
    pub company_id: Option<i64>,
    /// Scales every wait within a call: 0.5 is twice as fast, 0 does not wait at all.
    #[serde(default = "one")]
    pub pace: f64,
    /// Sends there instead of to the subscriptions.
    #[serde(default)]
    pub target: Option<Target>,
    /// Begins only when somebody has subscribed.
    #[serde(default)]
    pub wait_for_subscriber: bool,
}

fn one_call() -> Option<u64> {
    Some(1)
}

fn one() -> f64 {
    1.0
}

/// A receiver that has not subscribed: it gets JSON with an HMAC in `x-dialpad-signature`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Where to post.
    pub url: String,
    /// The key of the HMAC.
    pub secret: String,
    /// What the workflow family names as the organisation; without it, the company that the flow happens at.
    #[serde(default)]
    pub organization_id: Option<i64>,
}

impl FlowRequest {
    /// One call of a flow at its natural pace, to whoever subscribed.
    pub fn new(flow: FlowChoice) -> Self {
        Self {
            flow,
            calls: one_call(),
            rate: one(),
            seed: None,
            family: Family::default(),
            company_id: None,
            pace: one(),
            target: None,
            wait_for_subscriber: false,
        }
    }

    /// Refuses what cannot be played.
    pub(crate) fn check(&self) -> Result<(), InvalidFlowRequest> {
        if !(self.rate.is_finite() && self.rate >= 0.001) {
            return Err(InvalidFlowRequest::Rate);
        }
        if !(0.0..=1_000.0).contains(&self.pace) {
            return Err(InvalidFlowRequest::Pace);
        }
        let url = self.target.as_ref().map(|target| Url::parse(&target.url));
        match url {
            Some(Ok(url)) if !matches!(url.scheme(), "http" | "https") => Err(InvalidFlowRequest::Target),
            Some(Err(_)) => Err(InvalidFlowRequest::Target),
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

/// Why a request for flows was rejected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFlowRequest {
    /// Calls cannot begin that rarely, or the rate is no number.
    #[error("rate must be a number of calls per second, at least 0.001")]
    Rate,
    /// Waits cannot be scaled by that.
    #[error("pace must be between 0 and 1000")]
    Pace,
    /// The receiver's address is none.
    #[error("target.url must be an absolute http(s) address")]
    Target,
}

/// Which flow each call of a run plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum FlowChoice {
    /// The same for all.
    Single(Flow),
    /// A mixture as a company sees it on an ordinary day.
    Mixed,
}

impl FromStr for FlowChoice {
    type Err = UnknownFlowChoice;

    fn from_str(name: &str) -> Result<Self, UnknownFlowChoice> {
        match name {
            "mixed" => Ok(Self::Mixed),
            flow => Ok(Self::Single(flow.parse()?)),
        }
    }
}

impl fmt::Display for FlowChoice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(flow) => flow.fmt(out),
            Self::Mixed => out.write_str("mixed"),
        }
    }
}

/// A name that is neither a flow nor `mixed`.
#[derive(Debug, thiserror::Error)]
#[error("{0}, or mixed")]
pub struct UnknownFlowChoice(#[from] UnknownFlow);

impl TryFrom<String> for FlowChoice {
    type Error = UnknownFlowChoice;

    fn try_from(name: String) -> Result<Self, UnknownFlowChoice> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Result<FlowRequest, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_flow_is_enough_and_a_slip_is_named() {
        let request = parsed(r#"{"flow":"mixed"}"#).expect("the rest has defaults");
        assert_eq!((request.flow, request.calls, request.check()), (FlowChoice::Mixed, Some(1), Ok(())));
        assert!(parsed(r#"{"flow":"anwsered"}"#).err().is_some_and(|error| error.contains("anwsered")));
        assert!(parsed(r#"{"flow":"hold","cals":3}"#).err().is_some_and(|error| error.contains("cals")));
    }

    #[test]
    fn impossible_speeds_and_addresses_are_refused() {
        let checked = |change: fn(&mut FlowRequest)| {
            let mut request = FlowRequest::new(FlowChoice::Mixed);
            change(&mut request);
            request.check()
        };
        assert_eq!(checked(|request| request.rate = 0.0), Err(InvalidFlowRequest::Rate));
        assert_eq!(checked(|request| request.rate = f64::NAN), Err(InvalidFlowRequest::Rate));
        assert_eq!(checked(|request| request.pace = -1.0), Err(InvalidFlowRequest::Pace));
        let nowhere =
            |url: &str| Some(Target { url: url.to_owned(), secret: String::new(), organization_id: None });
        let mut request = FlowRequest::new(FlowChoice::Mixed);
        request.target = nowhere("localhost:4000");
        assert_eq!(request.check(), Err(InvalidFlowRequest::Target));
    }
}
