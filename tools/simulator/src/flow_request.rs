//! A request for flows: which, how many, how fast, to whom.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use serde::Deserialize;

use super::flows::{Family, Flow, UnknownFlow};

/// A request for flows: the body of `POST /simulator/flows`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowRequest {
    /// Which flow to play.
    pub flow: FlowChoice,
    /// The number of calls; `None` (`null`): until the simulator stops.
    #[serde(default = "one_call")]
    pub calls: Option<u64>,
    /// Calls per second; not scaled by `pace`.
    #[serde(default = "one")]
    pub rate: f64,
    /// The seed of all random choices; by default derived from the simulator's seed and the number of the run.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The payload family.
    #[serde(default)]
    pub family: Family,
    /// The company where it happens; by default that of new authorizations.
    #[serde(default)]
    pub company_id: Option<i64>,
    /// Scales every delay within a call: 0.5 is twice as fast, 0 does not wait.
    #[serde(default = "one")]
    pub pace: f64,
    /// Sends to this receiver instead of the subscriptions.
    #[serde(default)]
    pub target: Option<Target>,
    /// Starts once somebody has subscribed.
    #[serde(default)]
    pub wait_for_subscriber: bool,
}

fn one_call() -> Option<u64> {
    Some(1)
}

fn one() -> f64 {
    1.0
}

/// A receiver without a subscription: it gets JSON with an HMAC in `x-dialpad-signature`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The receiver's URL.
    pub url: String,
    /// The key of the HMAC.
    pub secret: String,
    /// The organization that the workflow family names; by default the company where the flow happens.
    #[serde(default)]
    pub organization_id: Option<i64>,
}

impl FlowRequest {
    /// Requests one call of a flow, unscaled, for all subscribers.
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

    /// Rejects a request that cannot be played.
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
    /// The rate is too low, or not a number.
    #[error("rate must be a number of calls per second, at least 0.001")]
    Rate,
    /// The pace is out of range.
    #[error("pace must be between 0 and 1000")]
    Pace,
    /// The receiver's URL is invalid.
    #[error("target.url must be an absolute http(s) address")]
    Target,
}

/// Which flow the calls of a run play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum FlowChoice {
    /// The same flow for all calls.
    Single(Flow),
    /// The mix of an ordinary day.
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
    fn a_flow_is_enough_and_an_error_names_the_field() {
        let request = parsed(r#"{"flow":"mixed"}"#).expect("the rest has defaults");
        assert_eq!((request.flow, request.calls, request.check()), (FlowChoice::Mixed, Some(1), Ok(())));
        assert!(parsed(r#"{"flow":"anwsered"}"#).err().is_some_and(|error| error.contains("anwsered")));
        assert!(parsed(r#"{"flow":"hold","cals":3}"#).err().is_some_and(|error| error.contains("cals")));
    }

    #[test]
    fn impossible_rates_and_addresses_are_rejected() {
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
