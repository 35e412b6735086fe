// kitchen/src/fetch/signature/openpgp.rs
//! OpenPGP: which key of a certificate may sign, and when.
//!
//! A signature counts when it is over binary data, uses SHA-2 or SHA-3, and was made by a certificate's primary
//! key or by a subkey that the primary key has bound to it for signing, and that has signed back. Both must have been made, and not
//! expired, when the signature says it was made; a revocation of either counts whenever it was made. Third parties' signatures play no
//! part. A certificate's own signatures may use SHA-1, as those of many a maintainer do: its bytes are the
//! recipe's, and collisions are detected; MD5 may not be used anywhere.

use std::io::Cursor;
use std::time::{Duration, SystemTime};

use pgp::composed::{Deserializable, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, Tag};

use super::{Key, SignatureError, Signed};
use crate::shown::shown;

/// Verifies a detached signature; where there are several in it, one that holds is enough.
pub(super) fn verify(bytes: &[u8], keys: &[Key], signed: &dyn Signed) -> Result<String, SignatureError> {
    let malformed =
        |error: pgp::errors::Error| SignatureError::Malformed { reason: shown(error.to_string().as_bytes()) };
    let (parsed, _) = DetachedSignature::from_reader_many(Cursor::new(bytes)).map_err(malformed)?;
    let signatures = parsed.collect::<Result<Vec<_>, _>>().map_err(malformed)?;
    let certificates = certificates(keys)?;
    let mut last = SignatureError::Malformed { reason: "there is no signature in it".to_owned() };
    for DetachedSignature { signature } in &signatures {
        match verify_one(signature, &certificates, signed) {
            Ok(made_by) => return Ok(made_by),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads all certificates; keys of other kinds are passed over, broken ones are not.
fn certificates(keys: &[Key]) -> Result<Vec<SignedPublicKey>, SignatureError> {
    let mut certificates = Vec::new();
    for key in keys {
        let is_armored = key.text().is_some_and(|text| text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----"));
        let is_binary = matches!(key.bytes.first(), Some(0x98..=0x9b | 0xc6));
        if !is_armored && !is_binary {
            continue;
        }
        let (found, _) =
            SignedPublicKey::from_reader_many(Cursor::new(&key.bytes[..])).map_err(|error| key.unusable(&error))?;
        for certificate in found {
            certificates.push(certificate.map_err(|error| key.unusable(&error))?);
        }
    }
    Ok(certificates)
}

fn verify_one(
    signature: &Signature,
    certificates: &[SignedPublicKey],
    signed: &dyn Signed,
) -> Result<String, SignatureError> {
    if signature.typ() != Some(SignatureType::Binary) {
        return Err(SignatureError::Malformed { reason: "it is not a signature over binary data".to_owned() });
    }
    let algorithm = signature.hash_alg();
    if !algorithm.is_some_and(is_strong) {
        return Err(SignatureError::Weak {
            algorithm: algorithm.map_or_else(|| "an unknown digest".to_owned(), |algorithm| algorithm.to_string()),
        });
    }
    if has_unknown_demand(signature) {
        return Err(SignatureError::Malformed { reason: "it makes a demand that is not understood".to_owned() });
    }
    let created = signature
        .created()
        .ok_or_else(|| SignatureError::Malformed { reason: "it does not say when it was made".to_owned() })?;
    let created = SystemTime::from(created);
    if signature.signature_expiration_time().is_some_and(|lifetime| !Duration::from(lifetime).is_zero()) {
        return Err(SignatureError::Malformed { reason: "it expires, and nothing here knows the time".to_owned() });
    }
    for certificate in certificates {
        let primary = &certificate.primary_key;
        if is_by(signature, primary) {
            check_primary(certificate, created, true)?;
            signature.verify(primary, signed.open()?).map_err(|_| SignatureError::Wrong)?;
            return Ok(name_of(certificate));
        }
        for subkey in &certificate.public_subkeys {
            if is_by(signature, &subkey.key) {
                check_primary(certificate, created, false)?;
                check_subkey(certificate, subkey, created)?;
                signature.verify(&subkey.key, signed.open()?).map_err(|_| SignatureError::Wrong)?;
                return Ok(name_of(certificate));
            }
        }
    }
    let issuer = signature.issuer_fingerprint().first().map(ToString::to_string);
    let issuer = issuer.or_else(|| signature.issuer_key_id().first().map(ToString::to_string));
    Err(SignatureError::OtherKey {
        made_by: issuer.map_or_else(|| "an unnamed OpenPGP key".to_owned(), |key| format!("OpenPGP key {key}")),
    })
}

/// Whether a signature names a key as the one that made it.
fn is_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if !fingerprints.is_empty() {
        return fingerprints.iter().any(|fingerprint| **fingerprint == key.fingerprint());
    }
    signature.issuer_key_id().iter().any(|id| **id == key.legacy_key_id())
}

/// Whether the primary key was valid at a time, and may sign when it is to.
fn check_primary(certificate: &SignedPublicKey, at: SystemTime, signs: bool) -> Result<(), SignatureError> {
    let key = &certificate.primary_key;
    let invalid = |why| SignatureError::Invalid { key: name_of(certificate), why };
    let details = &certificate.details;
    if details
        .revocation_signatures
        .iter()
        .any(|revocation| is_usable(revocation) && revocation.verify_key(key).is_ok())
    {
        return Err(invalid("is revoked"));
    }
    let direct = details
        .direct_signatures
        .iter()
        .filter(|own| is_usable(own) && own.typ() == Some(SignatureType::Key) && own.verify_key(key).is_ok());
    let of_users = details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|own| {
            let is_certification = matches!(
                own.typ(),
                Some(
                    SignatureType::CertGeneric
                        | SignatureType::CertPersona
                        | SignatureType::CertCasual
                        | SignatureType::CertPositive
                )
            );
            is_certification
                && is_usable(own)
                && is_by(own, key)
                && own.verify_certification(key, Tag::UserId, &user.id).is_ok()
        })
    });
    let newest =
        direct.chain(of_users).max_by_key(|own| own.created()).ok_or_else(|| invalid("has not signed itself"))?;
    check_times(key, newest, at).map_err(invalid)?;
    // A key without flags is as old as keys that may do everything.
    if signs && has_flags(newest) && !newest.key_flags().sign() {
        return Err(invalid("may not sign"));
    }
    Ok(())
}

/// Whether a subkey belonged to the certificate at a time, for signing.
fn check_subkey(
    certificate: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    at: SystemTime,
) -> Result<(), SignatureError> {
    let primary = &certificate.primary_key;
    let invalid = |why| SignatureError::Invalid {
        key: format!("{} (subkey {})", name_of(certificate), subkey.key.fingerprint()),
        why,
    };
    let valid = subkey
        .signatures
        .iter()
        .filter(|own| is_usable(own) && own.verify_subkey_binding(primary, &subkey.key).is_ok());
    let (revocations, bindings): (Vec<&Signature>, Vec<&Signature>) =
        valid.partition(|own| own.typ() == Some(SignatureType::SubkeyRevocation));
    if !revocations.is_empty() {
        return Err(invalid("is revoked"));
    }
    let newest = bindings
        .into_iter()
        .max_by_key(|own| own.created())
        .ok_or_else(|| invalid("is not bound to its certificate"))?;
    if !newest.key_flags().sign() {
        return Err(invalid("may not sign"));
    }
    // Else anyone could adopt a stranger's key and claim its signatures.
    let back = newest.embedded_signature().filter(|back| is_usable(back));
    if back.is_none_or(|back| back.verify_primary_key_binding(&subkey.key, primary).is_err()) {
        return Err(invalid("has not agreed to its certificate"));
    }
    check_times(&subkey.key, newest, at).map_err(invalid)
}

/// Whether a key was made before a time and did not expire before it.
fn check_times(key: &impl KeyDetails, own: &Signature, at: SystemTime) -> Result<(), &'static str> {
    let made = SystemTime::from(key.created_at());
    if made > at {
        return Err("was made after the signature");
    }
    let lifetime = own.key_expiration_time().map(Duration::from).filter(|lifetime| !lifetime.is_zero());
    let days = key.legacy_v3_expiration_days().filter(|days| *days > 0);
    let lifetime = lifetime.or(days.map(|days| Duration::from_secs(u64::from(days) * 86_400)));
    if lifetime.is_some_and(|lifetime| made.checked_add(lifetime).is_some_and(|end| end <= at)) {
        return Err("had expired when the signature was made");
    }
    Ok(())
}

fn is_strong(algorithm: HashAlgorithm) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha224, Sha256, Sha384, Sha512};
    matches!(algorithm, Sha224 | Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512)
}

/// Whether a certificate's own signature may be looked at.
fn is_usable(own: &Signature) -> bool {
    own.hash_alg().is_some_and(|algorithm| is_strong(algorithm) || algorithm == HashAlgorithm::Sha1)
        && !has_unknown_demand(own)
}

/// Whether a part that must be understood is not.
fn has_unknown_demand(signature: &Signature) -> bool {
    let Some(config) = signature.config() else { return true };
    config.hashed_subpackets().any(|part| {
        part.is_critical
            && matches!(
                part.data,
                SubpacketData::Other(..) | SubpacketData::Experimental(..) | SubpacketData::Notation(..)
            )
    })
}

fn has_flags(own: &Signature) -> bool {
    own.config()
        .is_some_and(|config| config.hashed_subpackets().any(|part| matches!(part.data, SubpacketData::KeyFlags(..))))
}

/// A certificate's fingerprint and its first name.
fn name_of(certificate: &SignedPublicKey) -> String {
    let fingerprint = certificate.primary_key.fingerprint().to_string();
    match certificate.details.users.first() {
        Some(user) => format!("{fingerprint} ({})", shown(user.id.id())),
        None => fingerprint,
    }
}
