//! The users of a company, as Dialpad lists them.

use cti_actors::id::AppId;
use serde_json::Value;

use super::{
    api::{Dialpad, next_cursor},
    client::{
        DialpadError, id,
        request::{ApiRequest, Endpoint},
    },
};

/// A user of a company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialpadUser {
    /// Dialpad's id.
    pub id: i64,
    /// The displayed name, else first and last name.
    pub name: Option<String>,
    /// The mail addresses.
    pub emails: Vec<String>,
    /// The telephone numbers.
    pub phone_numbers: Vec<String>,
    /// Such as `active` or `suspended`.
    pub state: Option<String>,
}

/// A page of the list of users.
#[derive(Clone, Debug)]
pub struct UsersPage {
    /// The users, in Dialpad's order.
    pub users: Vec<DialpadUser>,
    /// The cursor of the next page, if there is one.
    pub cursor: Option<String>,
}

impl Dialpad {
    /// Returns a page of the users of an app's company.
    ///
    /// # Errors
    /// See [`DialpadError`].
    pub async fn users(&self, app: AppId, cursor: Option<&str>) -> Result<UsersPage, DialpadError> {
        let mut request = ApiRequest::get(Endpoint::Users, "users");
        if let Some(cursor) = cursor {
            request = request.with("cursor", cursor);
        }
        let page = self.send(app, &request).await?;
        if !page.is_object() {
            return Err(DialpadError::InvalidResponse);
        }
        // An empty list may omit `items`.
        let items = page.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Ok(UsersPage { users: items.iter().filter_map(user).collect(), cursor: next_cursor(&page, cursor) })
    }
}

fn user(item: &Value) -> Option<DialpadUser> {
    let text =
        |field: &str| item.get(field).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let texts = |field: &str| {
        let items = item.get(field).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let full_name = || {
        let parts: Vec<&str> = ["first_name", "last_name"].into_iter().filter_map(text).collect();
        Some(parts.join(" ")).filter(|name| !name.is_empty())
    };
    Some(DialpadUser {
        id: id(item.get("id")?)?,
        name: text("display_name").map(str::to_owned).or_else(full_name),
        emails: texts("emails"),
        phone_numbers: texts("phone_numbers"),
        state: text("state").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_user_needs_only_an_id() {
        let complete = json!({"id": "555", "display_name": "Uma Lang", "first_name": "U", "emails": ["u@acme.example"],
            "phone_numbers": ["+14155550155"], "state": "active"});
        let expected = DialpadUser {
            id: 555,
            name: Some("Uma Lang".to_owned()),
            emails: vec!["u@acme.example".to_owned()],
            phone_numbers: vec!["+14155550155".to_owned()],
            state: Some("active".to_owned()),
        };
        assert_eq!(user(&complete), Some(expected));
        let named = user(&json!({"id": 555, "display_name": " ", "first_name": "Uma", "last_name": "Lang"}));
        assert_eq!(named.and_then(|user| user.name).as_deref(), Some("Uma Lang"));
        let bare = user(&json!({"id": 555, "emails": null})).expect("a user");
        assert_eq!((bare.name, bare.emails, bare.state), (None, Vec::new(), None));
        assert_eq!(user(&json!({"display_name": "Uma Lang"})), None);
    }
}
