// store/src/need.rs
//! What a store lacks of many objects, found out in one look into the database.

use rayon::prelude::*;
use recipes::Digest;

use crate::Store;
use crate::cas::Variant;
use crate::condemned;
use crate::error::StoreError;

/// From how many objects on their files are looked at by several threads.
const TOGETHER: usize = 64;

/// What a store needs of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it has it, and the file looks untouched.
    Nothing,
    /// Its content.
    Content,
    /// Its content, in the place of a file that somebody touched, or that is condemned.
    Replacement,
}

impl Store {
    /// Says what is needed of each of these objects, given with their sizes.
    pub(crate) fn needs(&self, objects: &[(Digest, u64)]) -> Result<Vec<Need>, StoreError> {
        let (found, condemned) = self.database().read("find objects", |connection| {
            let mut find =
                connection.prepare_cached("SELECT variant FROM objects WHERE digest = ? AND size_bytes = ?")?;
            let mut found: Vec<Vec<String>> = Vec::with_capacity(objects.len());
            for (object, size) in objects {
                // A size that the database cannot hold is one that no object has.
                let size = i64::try_from(*size).unwrap_or(-1);
                let rows = find.query_map((object.as_bytes(), size), |row| row.get(0))?;
                found.push(rows.collect::<Result<_, _>>()?);
            }
            Ok((found, condemned::any(connection)?))
        })?;
        let need = |((object, size), variants): (&(Digest, u64), &Vec<String>)| {
            let whole = |variant| self.fits(object, &variant, *size);
            match variants.iter().filter_map(|text| Variant::parse(text)).any(whole) {
                true => Need::Nothing,
                false if variants.is_empty() && !condemned => Need::Content,
                false => Need::Replacement,
            }
        };
        Ok(objects.par_iter().with_min_len(TOGETHER).zip(&found).map(need).collect())
    }
}
