//! The spool: where webhooks are kept while the database can't take them.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;

use super::settings::Settings;
use crate::database_url::DatabaseUrl;

/// Where the spool is, and how large it may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolConfig {
    /// `SPOOL_DIR`.
    pub folder: PathBuf,
    /// `SPOOL_MAX_BYTES`.
    pub max_bytes: u64,
}

impl SpoolConfig {
    /// Reads the settings. The inner value is `None` with `SPOOL=off`.
    pub(super) fn read(settings: &mut Settings, database: Option<&DatabaseUrl>) -> Option<Option<Self>> {
        let is_on = settings.parse("spool", |text| match text.to_ascii_lowercase().as_str() {
            "on" | "true" => Ok(true),
            "off" | "false" => Ok(false),
            _ => Err("must be on or off".into()),
        });
        let max_bytes = settings.parse("spool_max_bytes", |text| match text.parse::<ByteSize>() {
            Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
            _ => Err("must be a size such as 1GiB or 500MiB, and not 0".into()),
        });
        let set = settings.text("spool_dir").map(PathBuf::from);
        let folder = set.or_else(|| database.map(default_folder));
        let config = Self { folder: folder?, max_bytes: max_bytes? };
        Some(is_on?.then_some(config))
    }
}

fn default_folder(database: &DatabaseUrl) -> PathBuf {
    match database {
        DatabaseUrl::Sqlite(path) => path.parent().unwrap_or(Path::new("")).join("spool"),
        DatabaseUrl::Postgres(_) => Path::new("data").join("spool"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Config, ConfigError, Needs};

    fn spool(settings: &[(&str, &str)]) -> Result<Option<SpoolConfig>, ConfigError> {
        let variables: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::from_variables(&variables, Needs::Database).map(|config| config.spool)
    }

    #[test]
    fn the_spool_is_beside_the_sqlite_file_and_else_under_data() {
        let folder = |url| spool(&[("DATABASE_URL", url)]).expect("valid").expect("on").folder;
        assert_eq!(folder("sqlite:///srv/cti/cti.db"), Path::new("/srv/cti/spool"));
        assert_eq!(folder("sqlite://cti.db"), Path::new("spool"));
        assert_eq!(folder("postgres://localhost/cti"), Path::new("data/spool"));
        let set = spool(&[("SPOOL_DIR", "/mnt/spool"), ("SPOOL_MAX_BYTES", "64KiB")]).expect("valid");
        assert_eq!(set, Some(SpoolConfig { folder: "/mnt/spool".into(), max_bytes: 64 << 10 }));
        assert_eq!(spool(&[("SPOOL", "off")]).expect("valid"), None);
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        for (name, value) in [
            ("SPOOL", "maybe"),
            ("SPOOL_MAX_BYTES", "much"),
            ("SPOOL_MAX_BYTES", "0"),
            ("SPOOL_MAX_BYTES", "-1"),
            ("SPOOL_MAX_BYTES", ""),
        ] {
            let error = spool(&[(name, value)]).expect_err(value);
            assert!(error.problems.iter().any(|problem| problem.starts_with(name)), "{error}");
        }
    }
}
