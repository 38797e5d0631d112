//! The users of an app's company at Dialpad, for administrators who map them.

use actix_web::web::{Data, Path};
use cti_actors::event::schema::DialpadId;
use reqwest::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::{
    dialpad::{client::DialpadError, users::DialpadUser},
    http::{
        error::{
            ApiError,
            ErrorCode::{
                AppNotFound, DialpadRateLimited, DialpadRefused, DialpadUnavailable, NotConnected,
                TokensExpired,
            },
        },
        extract::{
            app::AppPath,
            auth::Administrator,
            ids::{Ids, Listing},
            lists::PageLimit,
            query::parameters,
            values::parse_text,
        },
        openapi::{
            admin_examples,
            errors::{ADMINISTRATOR, Errors, codes},
            tags,
        },
        state::AppState,
    },
};

/// How many of Dialpad's pages one of ours is put together from. After so many ours is shorter than its limit.
const MAX_DIALPAD_PAGES: usize = 10;

/// A user of the app's company at Dialpad.
#[derive(Serialize, ToSchema)]
#[schema(as = DialpadUser)]
pub(crate) struct ListedUser {
    /// The Dialpad user.
    #[schema(value_type = DialpadId)]
    dialpad_user_id: i64,
    /// The name of the user.
    name: Option<String>,
    /// The mail addresses.
    emails: Vec<String>,
    /// The telephone numbers.
    phone_numbers: Vec<String>,
    /// The state of the user at Dialpad, such as `active`.
    state: Option<String>,
    /// The same person in the CRM, if the user is mapped.
    crm_user_id: Option<String>,
}

/// Where a page begins: Dialpad's cursor, and how many users of the page there were listed before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Position {
    skip: usize,
    cursor: Option<String>,
}

impl Position {
    fn encode(&self) -> String {
        format!("{}.{}", self.skip, self.cursor.as_deref().unwrap_or_default())
    }

    fn decode(text: &str) -> Option<Self> {
        let (skip, cursor) = text.split_once('.')?;
        let cursor = Some(cursor).filter(|cursor| !cursor.is_empty()).map(str::to_owned);
        Some(Self { skip: skip.parse().ok()?, cursor })
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_text(deserializer, "one that a Link header gave", Self::decode)
    }
}

/// The part of the list that is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UserPaging {
    /// The maximum number of users on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageLimit,
    /// Where the page begins, as a `Link` header gave it. The format can change.
    #[param(value_type = Option<String>)]
    cursor: Option<Position>,
}

parameters! {
    /// The parameters of the list of Dialpad's users.
    pub(crate) struct ListUsers {
        paging: UserPaging,
        ids: Ids,
    }
}

/// Lists Dialpad's users of the connected company.
///
/// They are requested from Dialpad with the app's token, in Dialpad's order. `crm_user_id` is the mapping as it is now.
/// Dialpad lists users only for an administrator of the company: that person must have connected the app.
#[utoipa::path(
    get, path = "/internal/apps/{app_id}/dialpad-users", operation_id = "list_dialpad_users",
    tag = tags::USER_MAPPINGS, params(AppPath, ListUsers),
    responses(
        (status = 200, description = "A page of users.", body = Vec<ListedUser>,
         headers(("Link" = String, description = "The next page. Absent on the last page.")),
         example = json!([admin_examples::dialpad_user()])),
        Errors<{
            ADMINISTRATOR
                | codes(&[
                    AppNotFound,
                    NotConnected,
                    TokensExpired,
                    DialpadRefused,
                    DialpadRateLimited,
                    DialpadUnavailable,
                ])
        }>,
    ),
)]
pub(crate) async fn list(
    administrator: Administrator<ListUsers>,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<Listing<ListedUser>, ApiError> {
    let ListUsers { paging, ids } = administrator.query;
    let app = path.find(&state).await?;
    let limit = paging.limit.count();
    let mut position = paging.cursor.unwrap_or_default();
    let mut users: Vec<DialpadUser> = Vec::new();
    let mut has_more = true;
    for _ in 0..MAX_DIALPAD_PAGES {
        if users.len() == limit {
            break;
        }
        let page = state.dialpad.users(app, position.cursor.as_deref()).await.map_err(refused)?;
        let unlisted = page.users.len().saturating_sub(position.skip);
        let wanted = limit - users.len();
        users.extend(page.users.into_iter().skip(position.skip).take(wanted));
        if unlisted > wanted {
            position.skip += wanted;
            break;
        }
        has_more = page.cursor.is_some();
        if !has_more {
            break;
        }
        position = Position { skip: 0, cursor: page.cursor };
    }
    let named: Vec<i64> = users.iter().map(|user| user.id).collect();
    let mut crm_users = state.store.user_mappings().crm_users(app, &named).await?;
    let items = users.into_iter().map(|user| ListedUser {
        dialpad_user_id: user.id,
        name: user.name,
        emails: user.emails,
        phone_numbers: user.phone_numbers,
        state: user.state,
        crm_user_id: crm_users.remove(&user.id),
    });
    Ok(Listing { items: items.collect(), next: has_more.then(|| ("cursor", position.encode())), ids })
}

fn refused(error: DialpadError) -> ApiError {
    let DialpadError::Refused(status) = error else { return error.into() };
    let refused = ApiError::from(error).with_details(json!({"dialpad_status": status.as_u16()}));
    if status != StatusCode::FORBIDDEN {
        return refused;
    }
    let message = "Dialpad refuses the list of users (403): the person who connected the app is not an administrator of \
                   the company";
    ApiError { message: message.into(), ..refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let positions = [
            Position::default(),
            Position { skip: 20, cursor: None },
            Position { skip: 0, cursor: Some("a.b/=+c".to_owned()) },
        ];
        for position in positions {
            assert_eq!(Position::decode(&position.encode()), Some(position));
        }
        for text in ["", "x", "-1.a", ".a", "1"] {
            assert_eq!(Position::decode(text), None, "{text}");
        }
    }
}
