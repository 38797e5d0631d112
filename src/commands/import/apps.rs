//! Apps, their keys, connections and user mappings.

use std::collections::BTreeSet;

use cti_actors::id::AppId;
use uuid::Uuid;

use super::{Import, ImportError, KnownApp, report::Outcome, row::Row};
use crate::store::{
    dialpad::connections::Tokens,
    import::{ImportedApp, ImportedAudit, ImportedConnection, ImportedKey, ImportedMapping, stable_id},
};

/// How many characters the name of an app has at most.
const MAX_NAME: usize = 255;

impl Import {
    pub(super) async fn apps(&mut self) -> Result<(), ImportError> {
        if !self.begin("apps", "", &["created_at", "id"]).await? {
            return Ok(());
        }
        loop {
            let page = self.page().await?;
            if page.is_empty() {
                return Ok(());
            }
            for row in page {
                let outcome = self.app(&row).await?;
                self.report.table("apps").add(&row.name(), outcome);
                self.note_problems("apps", &row);
            }
        }
    }

    async fn app(&mut self, row: &Row) -> Result<Outcome, ImportError> {
        let Some(id) = row.uuid("id").map(AppId) else {
            return Ok(Outcome::LeftOut("its id is no UUID".to_owned()));
        };
        let created_at = row.instant("created_at").unwrap_or(self.now);
        let app = ImportedApp {
            id,
            name: name_of(row, id),
            is_active: row.boolean("is_active").unwrap_or(true),
            created_at,
            updated_at: row.instant("updated_at").unwrap_or(created_at),
        };
        if let Some(is_active) = self.target.is_active(id).await? {
            self.apps.insert(id, KnownApp { is_active, is_new: false });
            return Ok(Outcome::AlreadyThere);
        }
        if let Some((store, keep)) = self.target.store()
            && !store.imports().app(&app, keep).await?
        {
            return Ok(Outcome::LeftOut("it was deleted here".to_owned()));
        }
        self.apps.insert(id, KnownApp { is_active: app.is_active, is_new: true });
        let problem = match key_of(row.text("api_key").as_deref()) {
            Ok(key) => self.has_lost_key(&app, &key).await?,
            Err(problem) => Some(problem),
        };
        if let Some(problem) = problem {
            let name = &app.name;
            let to_do =
                format!("app {id} ({name}): {problem}; give it a new one: POST /internal/apps/{id}/api-key");
            self.report.to_do.push(to_do);
        }
        Ok(Outcome::Taken)
    }

    /// Gives an app its key. Returns why it could not.
    async fn has_lost_key(
        &self,
        app: &ImportedApp,
        key: &ImportedKey,
    ) -> Result<Option<&'static str>, ImportError> {
        let Some((store, true)) = self.target.store() else { return Ok(None) };
        let is_new = store.imports().key(app.id, key, app.created_at).await?;
        Ok((!is_new).then_some("its API key is in use by another app"))
    }

    pub(super) async fn connections(&mut self) -> Result<(), ImportError> {
        // The newest of an app is read last.
        if !self.begin("dialpad_connections", "", &["app_id", "updated_at", "created_at"]).await? {
            return Ok(());
        }
        let mut waiting: Option<(Row, AppId)> = None;
        loop {
            let page = self.page().await?;
            if page.is_empty() {
                break;
            }
            for row in page {
                match self.app_of(&row).await? {
                    Err(reason) => self.finish("dialpad_connections", &row, Outcome::LeftOut(reason)),
                    Ok(app) => {
                        let is_same = waiting.as_ref().is_some_and(|(_, before)| *before == app);
                        if let Some((before, before_app)) = waiting.replace((row, app)) {
                            if is_same {
                                let reason = "the app has a newer connection".to_owned();
                                self.finish("dialpad_connections", &before, Outcome::LeftOut(reason));
                            } else {
                                self.connection(&before, before_app).await?;
                            }
                        }
                    }
                }
            }
        }
        match waiting {
            Some((row, app)) => self.connection(&row, app).await,
            None => Ok(()),
        }
    }

    async fn connection(&mut self, row: &Row, app_id: AppId) -> Result<(), ImportError> {
        let connected_at = row.instant("created_at").unwrap_or(self.now);
        let updated_at = row.instant("updated_at").unwrap_or(connected_at);
        let [access, refresh] = ["access_token", "refresh_token"].map(|column| token_of(row, column));
        let environment = row.text("environment").filter(|it| matches!(&**it, "sandbox" | "production"));
        let tokens = access.map(|access| Tokens {
            access: access.into(),
            refresh: refresh.map(Into::into),
            issued_at: updated_at,
            expires_at: row.instant("token_expires_at"),
        });
        let connection = ImportedConnection {
            app_id,
            environment: environment.unwrap_or_else(|| self.environment.to_owned()),
            organization: row.integer("dialpad_org_id"),
            tokens,
            scopes: self.scopes.clone(),
            connected_at,
            updated_at,
        };
        if let Some(organization) = connection.organization {
            self.organizations.entry(organization).or_default().push(app_id);
        }
        let outcome = match self.writable(app_id) {
            Some((store, keep)) if !store.imports().connection(&connection, keep).await? => {
                Outcome::AlreadyThere
            }
            _ => Outcome::Taken,
        };
        if outcome == Outcome::Taken && connection.tokens.is_none() {
            self.report.table("dialpad_connections").count("expired");
            let to_do = format!(
                "app {app_id}: its tokens can't be used; connect it again: /authorize?app_id={app_id}"
            );
            self.report.to_do.push(to_do);
        }
        self.finish("dialpad_connections", row, outcome);
        Ok(())
    }

    pub(super) async fn audit_log(&mut self) -> Result<(), ImportError> {
        if !self.begin("api_key_audit_log", "", &["created_at"]).await? {
            return Ok(());
        }
        loop {
            let page = self.page().await?;
            if page.is_empty() {
                return Ok(());
            }
            for row in page {
                let outcome = match self.app_of(&row).await? {
                    Err(reason) => Outcome::LeftOut(reason),
                    Ok(app) => self.audit(&row, app).await?,
                };
                self.finish("api_key_audit_log", &row, outcome);
            }
        }
    }

    async fn audit(&mut self, row: &Row, app_id: AppId) -> Result<Outcome, ImportError> {
        let action = row.text("action").filter(|it| matches!(&**it, "created" | "rotated" | "revoked"));
        let Some(action) = action else { return Ok(Outcome::LeftOut("its action is unknown".to_owned())) };
        let at = row.instant("performed_at").or_else(|| row.instant("created_at")).unwrap_or(self.now);
        let entry = ImportedAudit {
            id: stable_id("audit", app_id, &row.key(), at),
            app_id,
            action,
            old_key_hint: row.text("old_key_hint"),
            new_key_hint: row.text("new_key_hint"),
            created_at: at,
        };
        Ok(match self.writable(app_id) {
            Some((store, keep)) if !store.imports().audit(&entry, keep).await? => Outcome::AlreadyThere,
            _ => Outcome::Taken,
        })
    }

    pub(super) async fn user_mappings(&mut self) -> Result<(), ImportError> {
        if !self.begin("dialpad_user_mappings", "", &["created_at", "id"]).await? {
            return Ok(());
        }
        let mut mapped: BTreeSet<(AppId, i64)> = BTreeSet::new();
        loop {
            let page = self.page().await?;
            if page.is_empty() {
                return Ok(());
            }
            for row in page {
                let outcome = match self.app_of(&row).await? {
                    Err(reason) => Outcome::LeftOut(reason),
                    Ok(app) => self.user_mapping(&row, app, &mut mapped).await?,
                };
                self.finish("dialpad_user_mappings", &row, outcome);
            }
        }
    }

    async fn user_mapping(
        &mut self,
        row: &Row,
        app_id: AppId,
        mapped: &mut BTreeSet<(AppId, i64)>,
    ) -> Result<Outcome, ImportError> {
        let Some((dialpad_user_id, crm_user_id)) =
            row.integer("dialpad_user_id").zip(row.text("crm_user_id"))
        else {
            return Ok(Outcome::LeftOut("it does not name both users".to_owned()));
        };
        if !mapped.insert((app_id, dialpad_user_id)) {
            return Ok(Outcome::LeftOut("its user is mapped by another row".to_owned()));
        }
        let created_at = row.instant("created_at").unwrap_or(self.now);
        let mapping = ImportedMapping {
            id: row.uuid("id").unwrap_or_else(Uuid::now_v7),
            app_id,
            dialpad_user_id,
            crm_user_id,
            created_at,
            updated_at: row.instant("updated_at").unwrap_or(created_at),
        };
        Ok(match self.writable(app_id) {
            Some((store, keep)) if !store.imports().mapping(&mapping, keep).await? => Outcome::AlreadyThere,
            _ => Outcome::Taken,
        })
    }

    /// Adds a row to the report.
    pub(super) fn finish(&mut self, table: &'static str, row: &Row, outcome: Outcome) {
        self.report.table(table).add(&row.name(), outcome);
        self.note_problems(table, row);
    }

    /// Returns the database to write a row of an app into; `None` in a dry run where the app is not there: all that it has
    /// would be new.
    pub(super) fn writable(&self, app: AppId) -> Option<(&crate::store::Store, bool)> {
        let is_new = self.apps.get(&app).is_some_and(|app| app.is_new);
        self.target.store().filter(|(_, keep)| *keep || !is_new)
    }
}

fn name_of(row: &Row, id: AppId) -> String {
    let name = row.text("name").unwrap_or_else(|| {
        row.remember("it has no name".to_owned());
        format!("app {id}")
    });
    if name.chars().count() > MAX_NAME {
        row.remember(format!("its name is cut to {MAX_NAME} characters"));
    }
    name.chars().take(MAX_NAME).collect()
}

/// Returns the key of an app. Only what is certainly a key is taken for one: the hash of a key must not become a key.
fn key_of(stored: Option<&str>) -> Result<ImportedKey, &'static str> {
    let stored = stored.ok_or("it has no API key")?.trim();
    if stored.starts_with("raw_") {
        return Ok(ImportedKey::Plain(stored.into()));
    }
    let hash = hex::decode(stored).ok().and_then(|bytes| bytes.try_into().ok());
    hash.map(ImportedKey::Hash)
        .ok_or("its API key can't be taken over: only a hash of another kind is stored")
}

/// Returns a token, unless it is encrypted: one of Dialpad's has neither colons nor spaces.
fn token_of(row: &Row, column: &'static str) -> Option<String> {
    let token = row.text(column)?;
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':' && byte != b'$');
    if !is_plain {
        row.remember(format!("{column} is encrypted or damaged"));
    }
    is_plain.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_key_never_becomes_a_key() {
        let key = format!("raw_{}", "a1".repeat(32));
        assert!(matches!(key_of(Some(&key)), Ok(ImportedKey::Plain(_))));
        assert!(matches!(key_of(Some(&"a1".repeat(32))), Ok(ImportedKey::Hash(_))));
        for stored in
            ["$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", &"a1".repeat(64), "plain", ""]
        {
            assert!(key_of(Some(stored)).is_err(), "{stored}");
        }
        assert!(key_of(None).is_err());
    }
}
