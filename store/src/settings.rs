// store/src/settings.rs
//! What users set: mirrors and settings. Rows take the place of configuration files.

use rusqlite::{OptionalExtension, params};

use crate::Store;
use crate::error::StoreError;

/// Another place to look for sources whose address begins with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorRow {
    /// What addresses begin with.
    pub prefix: String,
    /// What to put in its place.
    pub url: String,
}

impl Store {
    /// Lists the mirrors: longer prefixes first, those of one prefix in the order they were added.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn mirrors(&self) -> Result<Vec<MirrorRow>, StoreError> {
        self.database().read("list mirrors", |connection| {
            connection
                .prepare_cached(
                    "SELECT prefix, url FROM mirrors
                     ORDER BY length(prefix) DESC, prefix, position",
                )?
                .query_map([], |row| Ok(MirrorRow { prefix: row.get(0)?, url: row.get(1)? }))?
                .collect()
        })
    }

    /// Adds a mirror behind the others of its prefix; one that is there stays where it is.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn add_mirror(&self, prefix: &str, url: &str) -> Result<(), StoreError> {
        self.writable()?;
        self.database().write("add a mirror", |transaction| {
            transaction
                .prepare_cached(
                    "INSERT OR IGNORE INTO mirrors (prefix, url, position) VALUES (?1, ?2,
                     (SELECT ifnull(max(position), 0) + 1 FROM mirrors WHERE prefix = ?1))",
                )?
                .execute(params![prefix, url])
                .map(drop)
        })
    }

    /// Removes a mirror, or all of a prefix; returns how many there were.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn remove_mirror(&self, prefix: &str, url: Option<&str>) -> Result<usize, StoreError> {
        self.writable()?;
        self.database().write("remove a mirror", |transaction| {
            transaction
                .prepare_cached("DELETE FROM mirrors WHERE prefix = ?1 AND (?2 IS NULL OR url = ?2)")?
                .execute(params![prefix, url])
        })
    }

    /// Returns a setting.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.database().read("find a setting", |connection| {
            connection
                .prepare_cached("SELECT value FROM settings WHERE key = ?")?
                .query_row([key], |row| row.get(0))
                .optional()
        })
    }

    /// Lists the settings by key.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.database().read("list settings", |connection| {
            connection
                .prepare_cached("SELECT key, value FROM settings ORDER BY key")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    /// Sets a setting, or removes it with `None`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn set_setting(&self, key: &str, value: Option<&str>) -> Result<(), StoreError> {
        self.writable()?;
        self.database().write("change a setting", |transaction| {
            match value {
                Some(value) => transaction
                    .prepare_cached("INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)")?
                    .execute(params![key, value]),
                None => transaction.prepare_cached("DELETE FROM settings WHERE key = ?")?.execute([key]),
            }
            .map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenOptions;

    #[test]
    fn mirrors_keep_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        for (prefix, url) in [("https://a/", "x"), ("https://a/", "a"), ("https://a/b/", "z"), ("https://a/", "x")] {
            store.add_mirror(prefix, url).unwrap();
        }
        let urls =
            |store: &Store| -> Vec<String> { store.mirrors().unwrap().into_iter().map(|mirror| mirror.url).collect() };
        assert_eq!(urls(&store), ["z", "x", "a"]);
        assert_eq!(store.remove_mirror("https://a/", Some("x")).unwrap(), 1);
        assert_eq!(urls(&store), ["z", "a"]);
        assert_eq!(store.remove_mirror("https://a/", None).unwrap(), 1);
        assert_eq!(urls(&store), ["z"]);
    }

    #[test]
    fn settings_are_set_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        assert_eq!(store.setting("a").unwrap(), None);
        store.set_setting("a", Some("1")).unwrap();
        store.set_setting("a", Some("2")).unwrap();
        assert_eq!(store.setting("a").unwrap().as_deref(), Some("2"));
        assert_eq!(store.settings().unwrap(), [("a".to_owned(), "2".to_owned())]);
        store.set_setting("a", None).unwrap();
        assert!(store.settings().unwrap().is_empty());
    }
}
