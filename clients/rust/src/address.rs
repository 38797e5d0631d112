//! The address of a server's WebSocket. Pure.

use url::Url;

use crate::error::InvalidUrl;

/// The address of a server's `/ws`.
#[derive(Clone, Debug)]
pub(crate) struct Address(Url);

impl Address {
    /// Parses a server's address: `https://host`, `http://host:4000/prefix/`, `wss://host`.
    pub(crate) fn of_server(text: &str) -> Result<Self, InvalidUrl> {
        let bad = |problem| InvalidUrl { problem };
        let mut url = Url::parse(text).map_err(|_| bad("is not a URL"))?;
        let scheme = match url.scheme() {
            "http" | "ws" => "ws",
            "https" | "wss" => "wss",
            _ => return Err(bad("must start_after with http, https, ws or wss")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("must not name a user"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("must have no query"));
        }
        url.set_scheme(scheme).map_err(|()| bad("can't be the address of a WebSocket"))?;
        url.path_segments_mut().map_err(|()| bad("has no host"))?.pop_if_empty().push("ws");
        Ok(Self(url))
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.0.scheme() == "wss"
    }

    /// Returns the address with these query parameters.
    pub(crate) fn with_parameters(&self, parameters: &[(String, String)]) -> String {
        let mut url = self.0.clone();
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> String {
        Address::of_server(text)
            .map_or_else(|error| error.to_string(), |address| address.with_parameters(&[]))
    }

    #[test]
    fn the_socket_is_where_the_server_is() {
        assert_eq!(address("http://127.0.0.1:4000"), "ws://127.0.0.1:4000/ws");
        assert_eq!(address("https://crm.example/cti/"), "wss://crm.example/cti/ws");
        assert_eq!(address("wss://crm.example"), "wss://crm.example/ws");
    }

    #[test]
    fn parameters_are_encoded() {
        let parameters =
            [("after".to_owned(), "41".to_owned()), ("types".to_owned(), "call.*,a b".to_owned())];
        let address = Address::of_server("http://h").expect("good");
        assert_eq!(address.with_parameters(&parameters), "ws://h/ws?after=41&types=call.*%2Ca+b");
    }

    #[test]
    fn an_invalid_address_is_refused() {
        for text in
            ["crm.example", "ftp://crm.example", "https://me:pw@crm.example", "https://crm.example?x=1"]
        {
            assert!(address(text).starts_with("the server's address"), "{text}");
        }
    }
}
