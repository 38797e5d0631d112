//! Lists: the parameters that they share, and their pages.

use cti_actors::{
    error::StoreError,
    event::NumberFilter,
    id::AppId,
    model::{call::Direction, number::Region},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    ids::{Ids, Listing},
    query::parameters,
    values::{AnyWholeNumber, PageCursor, Timestamp, WholeNumberOr},
};
use crate::store::{
    Store,
    views::listing::{Cursor, Filter, Page},
};

/// How many items a page has: by default 50, at most 500.
pub(crate) type PageLimit = WholeNumberOr<50, 1, 500>;

/// Where a page begins, and how long it is.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// The maximum number of items on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageLimit,
    /// Where the page begins, as a `Link` header gave it. The format can change.
    #[param(inline)]
    cursor: Option<PageCursor>,
}

impl Paging {
    pub(crate) fn limit(self) -> usize {
        self.limit.count()
    }

    pub(crate) fn cursor(self) -> Option<Cursor> {
        self.cursor.map(|cursor| cursor.0)
    }
}

/// The filters that the lists of a CRM share.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListFilter {
    /// The direction.
    #[param(inline)]
    direction: Option<Direction>,
    /// The number on either side, in any spelling.
    number: Option<String>,
    /// The number of the caller or sender, in any spelling.
    from: Option<String>,
    /// The number of the called party or recipient, in any spelling.
    to: Option<String>,
    /// The Dialpad user.
    #[param(inline)]
    dialpad_user_id: Option<AnyWholeNumber>,
    /// The user in the CRM, by the mappings as they are now.
    crm_user_id: Option<String>,
    /// Only what changed at or after this time, the oldest change first. RFC 3339, unix seconds or unix milliseconds.
    #[param(inline)]
    since: Option<Timestamp>,
    /// Only what was first seen before this time; with `since`, last changed before this time. RFC 3339, unix seconds
    /// or unix milliseconds.
    #[param(inline)]
    until: Option<Timestamp>,
}

impl ListFilter {
    /// Returns the filter for the lists of an app. Numbers are read as those of its region.
    ///
    /// # Errors
    /// The region could not be read.
    pub(crate) async fn of_app(self, store: &Store, app: AppId) -> Result<Filter, StoreError> {
        let has_numbers = self.number.is_some() || self.from.is_some() || self.to.is_some();
        let region = if has_numbers { store.apps().region(app).await? } else { Region::default() };
        let number = |text: Option<String>| text.map(|text| NumberFilter::new(&text, region));
        Ok(Filter {
            direction: self.direction,
            number: number(self.number),
            from: number(self.from),
            to: number(self.to),
            dialpad_user_id: self.dialpad_user_id.map(|user| user.0),
            crm_user_id: self.crm_user_id,
            since: self.since.map(|time| time.0),
            until: self.until.map(|time| time.0),
        })
    }
}

parameters! {
    /// A list that only has pages.
    pub(crate) struct Pages {
        paging: Paging,
        ids: Ids,
    }
}

parameters! {
    /// A list of items of an app.
    pub(crate) struct ListItems {
        filter: ListFilter,
        paging: Paging,
        ids: Ids,
    }
}

impl<T> Listing<T> {
    /// Returns a page of a list with cursors.
    pub(crate) fn new(page: Page<T>, ids: Ids) -> Self {
        Self { items: page.items, next: page.next.map(|next| ("cursor", next.encode())), ids }
    }
}
