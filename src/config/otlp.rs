//! Where traces are exported to.

use reqwest::Url;

use super::settings::Settings;

/// Where traces are exported to, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpConfig {
    /// `OTLP_ENDPOINT`.
    pub endpoint: Url,
    /// `OTEL_TRACES_SAMPLER_ARG`: the share of the requests that is traced, 0 to 1.
    pub sample_ratio: f64,
}

impl OtlpConfig {
    /// Reads the settings. The inner value is `None` where nothing is exported.
    pub(super) fn read(settings: &mut Settings) -> Option<Option<Self>> {
        let sample_ratio = settings.parse("otel_traces_sampler_arg", |text| match text.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err("must be a number from 0 to 1".into()),
        });
        if settings.text("otlp_endpoint").is_none() {
            return sample_ratio.map(|_| None);
        }
        let endpoint = settings.url("otlp_endpoint", false)?;
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            settings.report("otlp_endpoint", "must not contain a password: use OTEL_EXPORTER_OTLP_HEADERS");
        }
        Some(Some(Self { endpoint, sample_ratio: sample_ratio? }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Config, ConfigError, Needs};

    fn otlp(settings: &[(&str, &str)]) -> Result<Option<OtlpConfig>, ConfigError> {
        let variables: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::from_variables(&variables, Needs::Database).map(|config| config.otlp)
    }

    #[test]
    fn nothing_is_exported_unless_it_is_said_where_to() {
        assert_eq!(otlp(&[]).expect("valid"), None);
        let set = otlp(&[("OTLP_ENDPOINT", "http://collector:4318"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")]);
        let set = set.expect("valid").expect("on");
        assert_eq!((set.endpoint.as_str(), set.sample_ratio), ("http://collector:4318/", 0.25));
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        for (name, value) in [
            ("OTLP_ENDPOINT", "collector:4317"),
            ("OTLP_ENDPOINT", "http://name:password@collector:4318"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
            ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
            ("OTEL_TRACES_SAMPLER_ARG", "always"),
        ] {
            let error = otlp(&[(name, value)]).expect_err(value);
            assert!(error.problems.iter().any(|problem| problem.starts_with(name)), "{error}");
        }
    }
}
