//! The users of an app: which user of the CRM belongs to a Dialpad user. Added, changed, deleted, and pasted as a list.

use std::collections::HashSet;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use cti_actors::id::AppId;
use maud::{Markup, html};
use serde::Deserialize;
use tracing::info;

use super::{
    access::{Failure, Submitted, Visitor},
    fields::Fields,
    page::{Section, see_other},
    parts::{Tone, address, app_address, button_form, confirmed, cursor, next_page, notice, table, time},
};
use crate::{
    http::{
        AppState,
        error::ApiError,
        extract::{
            app::{AppPath, app_not_found, existing},
            values::within,
        },
    },
    store::tenants::user_mappings::{MappingRef, UserMapping},
};

const PAGE: usize = 100;
/// How many users one list may have.
const MAX_PASTED: usize = 1000;

/// A mapping in the path.
#[derive(Deserialize)]
pub(super) struct UserPath {
    app_id: String,
    dialpad_user_id: i64,
}

/// Returns the address of the page with an app's users.
pub(super) fn users_address(app: AppId) -> String {
    format!("{}/users", app_address(app))
}

/// Shows the users.
pub(super) async fn list(
    visitor: Visitor,
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let app = path.find(&state).await?;
    let name = state.store.apps().find(app).await?.ok_or_else(app_not_found)?.name;
    let query = Fields::of_query(&request);
    let of_crm_user = query.get("crm_user_id");
    let page = state.store.user_mappings().list(app, of_crm_user, cursor(&query)?, PAGE).await?;
    let rows: Vec<Markup> = page.items.iter().map(|mapping| row(&visitor, app, mapping)).collect();
    let here = users_address(app);
    let columns = ["Dialpad user", "CRM user", "Changed", ""];
    let content = html! {
        h1 { "Users of " (name) }
        p { a href=(app_address(app)) { "Back to the app" } }
        @if let Some(sentence) = outcome(&query) { (notice(Tone::Good, sentence)) }
        (map_form(&visitor, app))
        form.line method="get" action=(here) {
            label for="of" { "Only of the CRM user" }
            input #of name="crm_user_id" value=[of_crm_user];
            button { "Filter" }
            a href=(here) { "Clear" }
        }
        (table("Dialpad users and users of the CRM, the newest first", &columns, &rows))
        (next_page(&here, &query, &["crm_user_id"], page.next))
        (paste_form(&visitor, app))
    };
    Ok(visitor.page(Section::Apps, "Users", &content))
}

fn outcome(query: &Fields) -> Option<String> {
    let count = |name: &str| query.get(name).and_then(|count| count.parse::<usize>().ok());
    match (count("mapped"), count("deleted")) {
        (Some(1), _) => Some("1 user is mapped. Events from now on name the user of the CRM.".to_owned()),
        (Some(count), _) => {
            Some(format!("{count} users are mapped. Events from now on name the users of the CRM."))
        }
        (_, Some(_)) => Some("The mapping is deleted.".to_owned()),
        (None, None) => None,
    }
}

fn row(visitor: &Visitor, app: AppId, mapping: &UserMapping) -> Markup {
    let user = mapping.dialpad_user_id;
    let delete = format!("{}/{user}/delete", users_address(app));
    let consequence = "Events of this user no longer name a user of the CRM.";
    html! {
        th scope="row" { (user) }
        td { (mapping.crm_user_id) }
        td { (time(mapping.updated_at)) }
        td {
            (confirmed(&format!("Delete {user}"), consequence, button_form(visitor, &delete, "danger", "Delete")))
        }
    }
}

fn map_form(visitor: &Visitor, app: AppId) -> Markup {
    html! {
        section {
            h2 { "Map a user" }
            p.hint { "A Dialpad user who is mapped already gets the new user of the CRM." }
            form.line method="post" action=(users_address(app)) {
                (visitor.csrf_field())
                label for="dialpad" { "Dialpad user" }
                input #dialpad name="dialpad_user_id" inputmode="numeric" required pattern="[0-9]+" autocomplete="off";
                label for="crm" { "CRM user" }
                input #crm name="crm_user_id" required maxlength="255" autocomplete="off";
                button { "Map" }
            }
        }
    }
}

fn paste_form(visitor: &Visitor, app: AppId) -> Markup {
    html! {
        section {
            h2 { "Map many users" }
            form method="post" action=(format!("{}/paste", users_address(app))) {
                (visitor.csrf_field())
                label for="csv" { "One user a line: the Dialpad user, a comma, the CRM user" }
                textarea #csv name="csv" rows="8" required aria-describedby="csv-hint"
                    placeholder="555,agent-7" spellcheck="false" autocomplete="off" {}
                p #csv-hint .hint {
                    "As a spreadsheet exports it: commas, semicolons or tabs, with or without a first line of names. Up to "
                    (MAX_PASTED) " users; all are mapped, or none."
                }
                button { "Map all" }
            }
        }
    }
}

/// Maps one user.
pub(super) async fn map(
    submitted: Submitted,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let app = path.find(&state).await?;
    let fields = submitted.fields;
    let required = |name: &str| ApiError::invalid(format!("{name}: is required"));
    let user = fields.parsed("dialpad_user_id", dialpad_user)?.ok_or_else(|| required("dialpad_user_id"))?;
    let crm_user = fields.parsed("crm_user_id", within::<255>)?.ok_or_else(|| required("crm_user_id"))?;
    store(&state, app, &[(user, crm_user)]).await
}

/// Maps the users of a list.
pub(super) async fn paste(
    submitted: Submitted,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let app = path.find(&state).await?;
    let users = read_list(submitted.fields.get("csv").unwrap_or_default()).map_err(ApiError::invalid)?;
    store(&state, app, &users).await
}

async fn store(state: &AppState, app: AppId, users: &[(i64, String)]) -> Result<HttpResponse, Failure> {
    state.store.user_mappings().map(app, users).await?;
    info!(app.id = %app, users = users.len(), "users were mapped");
    let count = users.len().to_string();
    Ok(see_other(&address(&users_address(app), &[("mapped", Some(&count))])))
}

/// Deletes the mapping of a user. One that another administrator has deleted already is deleted.
pub(super) async fn delete(
    _: Submitted,
    state: Data<AppState>,
    path: Path<UserPath>,
) -> Result<HttpResponse, Failure> {
    let app = existing(&state, &path.app_id).await?;
    if state.store.user_mappings().delete(app, MappingRef::DialpadUser(path.dialpad_user_id)).await? {
        info!(app.id = %app, "a user mapping was deleted");
    }
    Ok(see_other(&address(&users_address(app), &[("deleted", Some("1"))])))
}

fn dialpad_user(text: &str) -> Option<i64> {
    text.parse().ok().filter(|user| *user > 0)
}

/// Reads a list of users, each named once.
///
/// # Errors
/// A sentence that names the line.
fn read_list(text: &str) -> Result<Vec<(i64, String)>, String> {
    let mut users = Vec::new();
    let mut seen = HashSet::new();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (position, (index, line)) in lines.enumerate() {
        let line_number = index + 1;
        let Some((user, crm_user)) = line.split_once([',', ';', '\t']) else {
            return Err(format!("line {line_number}: a comma is missing"));
        };
        let Some(user) = dialpad_user(unquoted(user).as_str()) else {
            if position == 0 {
                // The names of the columns.
                continue;
            }
            return Err(format!("line {line_number}: the Dialpad user must be a number"));
        };
        let crm_user = within::<255>(&unquoted(crm_user))
            .ok_or_else(|| format!("line {line_number}: the CRM user must have from 1 to 255 characters"))?;
        if !seen.insert(user) {
            return Err(format!("line {line_number}: the Dialpad user {user} is there twice"));
        }
        users.push((user, crm_user));
    }
    match users.len() {
        0 => Err("there is no user in the list".to_owned()),
        count if count > MAX_PASTED => {
            Err(format!("{count} users are too many: at most {MAX_PASTED} at a time"))
        }
        _ => Ok(users),
    }
}

/// Returns a field without the quotes of CSV around it.
fn unquoted(field: &str) -> String {
    let field = field.trim();
    match field.strip_prefix('"').and_then(|field| field.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(i64, String)> {
        read_list(text).expect("a list")
    }

    #[test]
    fn a_list_is_read_as_spreadsheets_write_it() {
        let expected = [(555, "agent-7".to_owned()), (556, "a,b \"c\"".to_owned())];
        assert_eq!(read("555,agent-7\n556,\"a,b \"\"c\"\"\"\n"), expected);
        assert_eq!(
            read("dialpad_user_id;crm_user_id\r\n\"555\"; agent-7 \r\n\r\n556;\"a,b \"\"c\"\"\""),
            expected
        );
        assert_eq!(read("555\tagent-7"), expected[..1]);
    }

    #[test]
    fn a_list_that_can_not_be_read_names_the_line() {
        let problem = |text: &str| read_list(text).expect_err("it can't be read");
        assert_eq!(problem("555,a\n556"), "line 2: a comma is missing");
        assert_eq!(problem("555,a\n\nx,b"), "line 3: the Dialpad user must be a number");
        assert_eq!(problem("555,a\n0,b"), "line 2: the Dialpad user must be a number");
        assert_eq!(problem("555,"), "line 1: the CRM user must have from 1 to 255 characters");
        assert_eq!(problem("555,a\n555,b"), "line 2: the Dialpad user 555 is there twice");
        assert_eq!(problem("dialpad,crm"), "there is no user in the list");
        let many: String = (1..=1001).map(|user| format!("{user},a\n")).collect();
        assert!(problem(&many).starts_with("1001 users are too many"));
    }
}
