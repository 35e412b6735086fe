// store/src/stats.rs
//! How much a store holds, and how much of the disk that really takes.

use rayon::prelude::*;

use crate::Store;
use crate::database;
use crate::error::StoreError;

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Troves.
    pub troves: u64,
    /// Different contents.
    pub objects: u64,
    /// Their bytes, each content once.
    pub content_bytes: u64,
    /// Files of objects: one content may have several, with different modes and owners.
    pub files: u64,
    /// Bytes that these files take on the disk. Blocks that reflinks share are counted for each of them.
    pub disk_bytes: u64,
    /// Bytes of files that roots and checked-out troves are linked to: they cost nothing there.
    pub linked_bytes: u64,
    /// How many further names such files have.
    pub links: u64,
    /// Rows about sources.
    pub sources: u64,
    /// Rows about actions.
    pub actions: u64,
    /// Installed roots that refer to this store.
    pub roots: u64,
    /// Bytes of the database.
    pub database_bytes: u64,
}

impl Store {
    /// Counts what the store holds.
    ///
    /// # Errors
    /// [`StoreError::Database`] or [`StoreError::Io`].
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        let mut stats = self.database().read("count", |connection| {
            let count = |table: &str| {
                let sql = format!("SELECT count(*) FROM {table}");
                connection.query_row(&sql, [], |row| database::unsigned(row, 0))
            };
            let pragma =
                |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| database::unsigned(row, 0));
            Ok(StoreStats {
                troves: count("troves")?,
                sources: count("sources")?,
                actions: count("actions")?,
                roots: count("roots")?,
                database_bytes: pragma("page_count")? * pragma("page_size")?,
                ..StoreStats::default()
            })
        })?;
        let shards: Vec<StoreStats> =
            (0..=255_u8).into_par_iter().map(|byte| self.count_shard(byte)).collect::<Result<_, _>>()?;
        for shard in shards {
            stats.objects += shard.objects;
            stats.content_bytes += shard.content_bytes;
            stats.files += shard.files;
            stats.disk_bytes += shard.disk_bytes;
            stats.linked_bytes += shard.linked_bytes;
            stats.links += shard.links;
        }
        Ok(stats)
    }

    fn count_shard(&self, byte: u8) -> Result<StoreStats, StoreError> {
        let shard = self.shard_with_files(byte)?;
        let mut stats = StoreStats::default();
        let mut last = None;
        for row in &shard.rows {
            if last != Some(row.object) {
                stats.objects += 1;
                stats.content_bytes += row.size;
                last = Some(row.object);
            }
            stats.files += 1;
            let Some(stat) = shard.stat(row.file_name().as_bytes()) else { continue };
            let disk = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            stats.disk_bytes += disk;
            if stat.st_nlink > 1 {
                stats.linked_bytes += disk;
                stats.links += stat.st_nlink - 1;
            }
        }
        Ok(stats)
    }
}
