//! Reads any text as the query of every list, and as a cursor.

use super::{
    admin::{journal::ListWebhookEvents, user_mappings::ListMappings},
    crm::{
        calls::{ListCallEvents, ListCalls},
        interactions::ListInteractions,
    },
    extract::{
        lists::{ListItems, Pages},
        query::read,
    },
    feed::params::{ListEvents, OpenSession},
};

/// Reads a query. Returns of how many routes it is a valid one.
pub(crate) fn read_query(query: &str) -> usize {
    let lists = [
        read::<ListCalls>(query).is_ok(),
        read::<ListCallEvents>(query).is_ok(),
        read::<ListInteractions>(query).is_ok(),
        read::<ListItems>(query).is_ok(),
        read::<Pages>(query).is_ok(),
        read::<ListWebhookEvents>(query).is_ok(),
        read::<ListMappings>(query).is_ok(),
    ];
    let page = read::<ListEvents>(query).is_ok_and(|page| page.subscription().is_ok());
    let session = read::<OpenSession>(query).is_ok_and(|session| session.subscription().is_ok());
    lists.into_iter().chain([page, session]).filter(|is_valid| *is_valid).count()
}
