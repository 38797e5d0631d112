//! The configured database. A dry run asks it the same questions, and writes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use cti_actors::{
    clock::SystemClock,
    error::StoreError,
    id::{AppId, DialpadCallId},
    model::number::Region,
    ports::Ledger,
    unit::Unit,
};
use futures_util::future::join_all;

use super::{ImportError, report::Outcome};
use crate::{
    config::Config,
    database_url::DatabaseUrl,
    encryption_keys::EncryptionKeys,
    startup::{StartError, open_store},
    store::{Store, crypto::vault::Vault},
};

/// The database that is written to.
pub(super) struct Target {
    /// `None` in a dry run without a database: everything would be new.
    store: Option<Store>,
    keeps: bool,
}

/// A unit of work about one call or one message.
pub(super) struct Candidate {
    pub(super) app: AppId,
    pub(super) unit: Unit,
}

impl Target {
    /// Opens the database and applies the pending migrations; a dry run only opens what is there.
    pub(super) async fn open(config: &Config, source: &str, is_dry_run: bool) -> Result<Self, ImportError> {
        if !is_dry_run {
            let (store, _) = open_store(config, Arc::new(SystemClock)).await?;
            refuse_the_same(&store, source).await?;
            store.migrate().await?;
            return Ok(Self { store: Some(store), keeps: true });
        }
        let is_missing = matches!(&config.database_url, DatabaseUrl::Sqlite(path) if !path.exists());
        if is_missing {
            return Ok(Self { store: None, keeps: false });
        }
        // A dry run opens no secret, and must not make a key file.
        let key = BASE64_STANDARD.encode(rand::random::<[u8; 32]>());
        let vault = Vault::new(&EncryptionKeys::parse(&key.into()).map_err(StartError::from)?);
        let (store, _) = Store::open(&config.database_url, vault, Arc::new(SystemClock)).await?;
        refuse_the_same(&store, source).await?;
        let pending = store.pending_migrations().await?;
        if pending.iter().any(|migration| migration.starts_with("0001")) {
            store.close().await;
            return Ok(Self { store: None, keeps: false });
        }
        if !pending.is_empty() {
            return Err(StartError::NotMigrated(pending).into());
        }
        Ok(Self { store: Some(store), keeps: false })
    }

    pub(super) async fn close(self) {
        if let Some(store) = self.store {
            store.close().await;
        }
    }

    /// Returns the database, and whether to write into it.
    pub(super) fn store(&self) -> Option<(&Store, bool)> {
        self.store.as_ref().map(|store| (store, self.keeps))
    }

    /// Returns whether an app is active; `None` where it is not there.
    pub(super) async fn is_active(&self, app: AppId) -> Result<Option<bool>, StoreError> {
        match &self.store {
            Some(store) => Ok(store.apps().find(app).await?.map(|app| app.is_active)),
            None => Ok(None),
        }
    }

    pub(super) async fn region(&self, app: AppId, is_new: bool) -> Result<Region, StoreError> {
        match &self.store {
            Some(store) if !is_new => store.apps().region(app).await,
            _ => Ok(Region::default()),
        }
    }

    /// Writes units of work whose calls and messages are not there yet. Returns what became of each.
    pub(super) async fn write(&self, candidates: Vec<Candidate>) -> Result<Vec<Outcome>, StoreError> {
        let Some(store) = &self.store else { return Ok(vec![Outcome::Taken; candidates.len()]) };
        let known = Known::of(store, &candidates).await?;
        let written = candidates.into_iter().map(|Candidate { app, unit }| {
            let is_known = known.has(app, &unit);
            async move {
                if is_known {
                    return Ok(Outcome::AlreadyThere);
                }
                if !self.keeps {
                    return Ok(Outcome::Taken);
                }
                match store.commit(Arc::new(unit)).await {
                    Ok(_) => Ok(Outcome::Taken),
                    // A running server was first.
                    Err(StoreError::Conflict(_)) => Ok(Outcome::AlreadyThere),
                    Err(StoreError::Rejected(reason)) => Ok(Outcome::LeftOut(reason)),
                    Err(error) => Err(error),
                }
            }
        });
        join_all(written).await.into_iter().collect()
    }
}

async fn refuse_the_same(store: &Store, source: &str) -> Result<(), ImportError> {
    if store.imports().identity().await?.as_deref() == Some(source) {
        let problem = "DATABASE_URL names the database that is to be imported: it needs one of its own";
        return Err(ImportError::Refused(problem.to_owned()));
    }
    Ok(())
}

/// The calls and messages of candidates that are there already.
#[derive(Default)]
struct Known {
    calls: BTreeSet<(AppId, DialpadCallId)>,
    messages: BTreeSet<(AppId, String)>,
}

impl Known {
    async fn of(store: &Store, candidates: &[Candidate]) -> Result<Self, StoreError> {
        let mut by_app: BTreeMap<AppId, (Vec<DialpadCallId>, Vec<String>)> = BTreeMap::new();
        for Candidate { app, unit } in candidates {
            let (calls, messages) = by_app.entry(*app).or_default();
            calls.extend(unit.calls.iter().map(|record| record.call.dialpad_call_id));
            messages.extend(unit.messages.iter().map(|message| message.dialpad_message_id.clone()));
        }
        let mut known = Self::default();
        for (app, (calls, messages)) in by_app {
            let relatives = store.relatives(app, &calls).await?;
            known.calls.extend(relatives.into_iter().map(|call| (app, call.dialpad_call_id)));
            let there = Ledger::messages(store, app, &messages).await?;
            known.messages.extend(there.into_iter().map(|message| (app, message.dialpad_message_id)));
        }
        Ok(known)
    }

    fn has(&self, app: AppId, unit: &Unit) -> bool {
        unit.calls.iter().any(|record| self.calls.contains(&(app, record.call.dialpad_call_id)))
            || unit.messages.iter().any(|it| self.messages.contains(&(app, it.dialpad_message_id.clone())))
    }
}
