// store/src/trust.rs
//! Whom a store trusts, what must be signed, and the signatures of the troves in it.
//!
//! A policy says how many of the trusted keys must have signed a trove before it may be installed. A valid signature by a key that is not
//! trusted counts for nothing; an invalid one by a trusted key is a refusal whatever the policy says.

use recipes::Digest;
use rusqlite::{OptionalExtension, Transaction, params};

use crate::Store;
use crate::ccs::{PublicKey, Signature};
use crate::error::StoreError;

/// The setting that holds the policy.
const POLICY: &str = "install.policy";

/// How many trusted keys must have signed what is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// None: unsigned troves may be installed.
    pub signatures: u32,
}

/// A key and what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// What it is called here.
    pub name: String,
}

/// A trove may not be installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A trusted key's signature does not fit.
    #[error("{spec} has a signature by {name} ({key}) that is not valid")]
    Invalid {
        /// The trove.
        spec: String,
        /// What the key is called.
        name: String,
        /// The key.
        key: PublicKey,
    },
    /// Too few trusted keys have signed.
    #[error("{spec} is signed by {found} of the trusted keys and must be by {needed}")]
    TooFew {
        /// The trove.
        spec: String,
        /// How many have.
        found: u32,
        /// How many must have.
        needed: u32,
        /// Keys that have signed and are not trusted.
        others: Vec<PublicKey>,
    },
}

impl TrustError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Invalid { .. } => "do not use this package; get it again from whom it comes".to_owned(),
            Self::TooFew { others, .. } if others.is_empty() => {
                "sign it with `conary ccs sign`, or look at `conary trust policy`".to_owned()
            }
            Self::TooFew { others, .. } => {
                let keys: Vec<String> = others.iter().map(ToString::to_string).collect();
                format!("it is signed by {}; `conary trust add` trusts a key", keys.join(", "))
            }
        }
    }
}

impl Policy {
    /// Reads `unsigned`, `signed` (which is `1`) or a number of keys.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let signatures = match text {
            "unsigned" => 0,
            "signed" => 1,
            number => number.parse().ok().filter(|number| (1..=64).contains(number))?,
        };
        Some(Self { signatures })
    }

    /// Decides about a trove with these signatures.
    ///
    /// # Errors
    /// [`TrustError`] says why it may not be installed.
    pub fn check(
        self,
        spec: &str,
        trove: &Digest,
        signatures: &[Signature],
        trusted: &[TrustedKey],
    ) -> Result<(), TrustError> {
        let mut found = 0;
        let mut others = Vec::new();
        for signature in signatures {
            let Some(known) = trusted.iter().find(|known| known.key == signature.key) else {
                others.push(signature.key);
                continue;
            };
            if !signature.verify(trove) {
                let (spec, name, key) = (spec.to_owned(), known.name.clone(), known.key);
                return Err(TrustError::Invalid { spec, name, key });
            }
            found += 1;
        }
        if found < self.signatures {
            let spec = spec.to_owned();
            return Err(TrustError::TooFew { spec, found, needed: self.signatures, others });
        }
        Ok(())
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.signatures {
            0 => formatter.write_str("unsigned"),
            1 => formatter.write_str("signed"),
            number => number.fmt(formatter),
        }
    }
}

impl Store {
    /// Lists the trusted keys by name.
    ///
    /// # Errors
    /// [`StoreError::Database`], also for a key that is none.
    pub fn trusted_keys(&self) -> Result<Vec<TrustedKey>, StoreError> {
        let rows: Vec<([u8; 32], String)> = self.database().read("list trusted keys", |connection| {
            connection
                .prepare_cached("SELECT key, name FROM trusted_keys ORDER BY name, key")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.into_iter()
            .map(|(key, name)| match PublicKey::from_bytes(key) {
                Ok(key) => Ok(TrustedKey { key, name }),
                Err(_) => Err(StoreError::Row { what: "a trusted key", path: self.database().path().to_owned() }),
            })
            .collect()
    }

    /// Trusts a key under a name of its own.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when another key has the name, or the key another name.
    pub fn trust_key(&self, key: &PublicKey, name: &str) -> Result<(), StoreError> {
        self.writable()?;
        let invalid = |reason: String| Err(StoreError::Invalid { what: "trusted key", value: name.to_owned(), reason });
        let plain = |character: char| !character.is_control() && !character.is_whitespace();
        if name.is_empty() || name.len() > 255 || !name.chars().all(plain) || name.starts_with("ed25519:") {
            return invalid("a name is 1 to 255 bytes without spaces, and no key itself".to_owned());
        }
        for known in self.trusted_keys()? {
            match (known.key == *key, known.name == name) {
                (true, true) => return Ok(()),
                (true, false) => return invalid(format!("this key is trusted as {}", known.name)),
                (false, true) => return invalid(format!("the name belongs to {}", known.key)),
                (false, false) => {}
            }
        }
        self.database().write("trust a key", |transaction| {
            transaction
                .execute("INSERT INTO trusted_keys (key, name) VALUES (?, ?)", params![key.as_bytes(), name])
                .map(drop)
        })
    }

    /// Trusts a key no more, by its name or itself; says whether it was trusted.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn distrust_key(&self, name: &str) -> Result<bool, StoreError> {
        self.writable()?;
        let key: Option<PublicKey> = name.parse().ok();
        self.database().write("trust a key no more", |transaction| {
            let key = key.as_ref().map(PublicKey::as_bytes);
            let sql = "DELETE FROM trusted_keys WHERE name = ?1 OR key = ?2";
            transaction.execute(sql, params![name, key]).map(|rows| rows > 0)
        })
    }

    /// Returns the policy; unsigned troves may be installed when none was set.
    ///
    /// # Errors
    /// [`StoreError::Row`] for a setting that is no policy: nothing is installed then.
    pub fn policy(&self) -> Result<Policy, StoreError> {
        match self.setting(POLICY)? {
            None => Ok(Policy::default()),
            Some(text) => Policy::parse(&text)
                .ok_or_else(|| StoreError::Row { what: "the policy", path: self.database().path().to_owned() }),
        }
    }

    /// Sets the policy.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn set_policy(&self, policy: Policy) -> Result<(), StoreError> {
        self.set_setting(POLICY, Some(&policy.to_string()))
    }

    /// Decides whether a trove with these signatures may be installed, by this store's policy and keys.
    ///
    /// # Errors
    /// [`StoreError`]; the inner result says what the policy decides.
    pub fn may_install(
        &self,
        spec: &str,
        trove: &Digest,
        signatures: &[Signature],
    ) -> Result<Result<(), TrustError>, StoreError> {
        Ok(self.policy()?.check(spec, trove, signatures, &self.trusted_keys()?))
    }

    /// Returns the signatures of a trove that came with it or were added.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn signatures(&self, trove: &Digest) -> Result<Vec<Signature>, StoreError> {
        let rows: Vec<([u8; 32], [u8; 64])> = self.database().read("find signatures", |connection| {
            connection
                .prepare_cached("SELECT key, signature FROM signatures WHERE trove = ? ORDER BY key")?
                .query_map([trove.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        // A row with a weak key proves nothing and says nothing.
        let signature = |(key, bytes)| PublicKey::from_bytes(key).ok().map(|key| Signature { key, bytes });
        Ok(rows.into_iter().filter_map(signature).collect())
    }

    /// Keeps signatures of a trove, as far as they are valid; returns how many are.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn add_signatures(&self, trove: &Digest, signatures: &[Signature]) -> Result<usize, StoreError> {
        if signatures.is_empty() {
            return Ok(0);
        }
        self.writable()?;
        self.database().write("keep signatures", |transaction| insert_signatures(transaction, trove, signatures))
    }

    /// Says under which name a key is trusted.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn trusted_name(&self, key: &PublicKey) -> Result<Option<String>, StoreError> {
        self.database().read("find a trusted key", |connection| {
            connection
                .prepare_cached("SELECT name FROM trusted_keys WHERE key = ?")?
                .query_row([key.as_bytes()], |row| row.get(0))
                .optional()
        })
    }
}

/// Records those of a trove's signatures that are valid; returns how many are.
pub(crate) fn insert_signatures(
    transaction: &Transaction<'_>,
    trove: &Digest,
    signatures: &[Signature],
) -> rusqlite::Result<usize> {
    let sql = "INSERT OR REPLACE INTO signatures (trove, key, signature) VALUES (?, ?, ?)";
    let mut insert = transaction.prepare_cached(sql)?;
    let mut valid = 0;
    for signature in signatures.iter().filter(|signature| signature.verify(trove)) {
        insert.execute(params![trove.as_bytes(), signature.key.as_bytes(), signature.bytes])?;
        valid += 1;
    }
    Ok(valid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenOptions;
    use crate::ccs::SecretKey;

    fn secret(byte: u8) -> SecretKey {
        SecretKey::from_seed(&[byte; 32])
    }

    #[test]
    fn keys_and_names_belong_together() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        let (one, two) = (secret(1).public(), secret(2).public());
        store.trust_key(&one, "one").unwrap();
        store.trust_key(&one, "one").unwrap();
        for (key, name) in [(&two, "one"), (&one, "other"), (&two, ""), (&two, "a b"), (&two, &one.to_string())] {
            assert!(matches!(store.trust_key(key, name), Err(StoreError::Invalid { .. })), "{name}");
        }
        store.trust_key(&two, "two").unwrap();
        assert_eq!(store.trusted_keys().unwrap().len(), 2);
        assert_eq!(store.trusted_name(&two).unwrap().as_deref(), Some("two"));
        assert!(store.distrust_key("two").unwrap() && !store.distrust_key("two").unwrap());
        assert!(store.distrust_key(&one.to_string()).unwrap());
        assert!(store.trusted_keys().unwrap().is_empty());
    }

    #[test]
    fn a_policy_counts_trusted_keys_only() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        let (trove, other) = (Digest::blake3([1; 32]), Digest::blake3([2; 32]));
        store.trust_key(&secret(1).public(), "one").unwrap();
        store.trust_key(&secret(2).public(), "two").unwrap();
        let sign = |key: u8| secret(key).sign(&trove);
        let decide = |signatures: &[Signature]| store.may_install("hello=1-1", &trove, signatures).unwrap();
        assert_eq!(store.policy().unwrap(), Policy::default());
        assert_eq!(decide(&[]), Ok(()));
        let wrong = Signature { bytes: secret(1).sign(&other).bytes, ..sign(1) };
        assert!(matches!(decide(&[wrong]), Err(TrustError::Invalid { .. })), "whatever the policy");
        for (policy, signatures, found) in [
            ("signed", vec![], Some(0)),
            ("signed", vec![sign(3)], Some(0)),
            ("signed", vec![sign(3), sign(2)], None),
            ("2", vec![sign(1)], Some(1)),
            ("2", vec![sign(1), sign(3)], Some(1)),
            ("2", vec![sign(1), sign(2)], None),
        ] {
            store.set_policy(Policy::parse(policy).unwrap()).unwrap();
            assert_eq!(store.policy().unwrap().to_string(), policy);
            match (decide(&signatures), found) {
                (Ok(()), None) => {}
                (Err(TrustError::TooFew { found, .. }), Some(expected)) => assert_eq!(found, expected),
                other => panic!("{policy}: {other:?}"),
            }
        }
        for text in ["", "0", "-1", "65", "Signed", "1 "] {
            assert_eq!(Policy::parse(text), None, "{text}");
        }
        store.set_setting(POLICY, Some("nonsense")).unwrap();
        assert!(store.may_install("hello=1-1", &trove, &[]).is_err(), "a damaged policy is no permission");
    }

    #[test]
    fn only_valid_signatures_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        let (trove, other) = (Digest::blake3([1; 32]), Digest::blake3([2; 32]));
        let good = secret(1).sign(&trove);
        assert_eq!(store.add_signatures(&trove, &[good, secret(2).sign(&other)]).unwrap(), 1);
        assert_eq!(store.signatures(&trove).unwrap(), vec![good]);
        assert!(store.signatures(&other).unwrap().is_empty());
    }
}
