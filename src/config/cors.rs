//! The web pages that may use the API from a browser.

use reqwest::Url;

/// The origins of pages that may read the answers of `/api`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CorsOrigins {
    /// None.
    #[default]
    None,
    /// Every one.
    Any,
    /// These, each as a browser writes it in `Origin` (RFC 6454, section 6.2).
    Listed(Vec<String>),
}

impl CorsOrigins {
    /// Parses `*`, or origins separated by commas.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => return Ok(Self::None),
            "*" => return Ok(Self::Any),
            _ => {}
        }
        let origins: Result<Vec<String>, String> = text.split(',').map(|part| origin(part.trim())).collect();
        origins.map(Self::Listed)
    }
}

fn origin(text: &str) -> Result<String, String> {
    let example = "such as https://crm.example.com, or * alone";
    let invalid = || format!("{text:?} is not an origin {example}");
    let url = Url::parse(text).map_err(|_| invalid())?;
    let has_only_origin = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !has_only_origin || !matches!(url.scheme(), "http" | "https") || text.contains('*') {
        return Err(invalid());
    }
    Ok(url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        let listed =
            |origins: &[&str]| Ok(CorsOrigins::Listed(origins.iter().map(|o| (*o).into()).collect()));
        assert_eq!(CorsOrigins::parse(""), Ok(CorsOrigins::None));
        assert_eq!(CorsOrigins::parse("*"), Ok(CorsOrigins::Any));
        assert_eq!(
            CorsOrigins::parse("https://CRM.example:443/, http://localhost:5173,http://[::1]:80"),
            listed(&["https://crm.example", "http://localhost:5173", "http://[::1]"])
        );
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "crm.example",
            "https://crm.example/app",
            "https://crm.example?x",
            "https://*.example",
            "null",
            "file:///",
            "https://crm.example,",
            "*,https://crm.example",
            "https://user@crm.example",
        ] {
            assert!(CorsOrigins::parse(bad).is_err(), "{bad}");
        }
    }
}
