// conary/trust.rs
//! Who may certify an https server: the host's certificate authorities, read when the first server shows its certificate.
//!
//! A cook that needs no https reads no certificates. `SSL_CERT_FILE` and `SSL_CERT_DIR` name others than the host's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::environment::Certificates;

/// Where distributions keep one file with all authorities.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// TLS for downloads, with these authorities or the host's.
///
/// # Errors
/// When the cryptography that is compiled in offers no protocol version.
pub fn client_config(certificates: &Certificates) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        LazyVerifier { certificates: certificates.clone(), provider: Arc::clone(&provider), inner: OnceLock::new() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        // "Dangerous" is any verifier that is not the usual one; this one hands every question to the usual one.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

/// The usual verifier, made when it is first asked.
#[derive(Debug)]
struct LazyVerifier {
    certificates: Certificates,
    provider: Arc<CryptoProvider>,
    inner: OnceLock<Result<Arc<WebPkiServerVerifier>, String>>,
}

impl LazyVerifier {
    fn inner(&self) -> Result<&WebPkiServerVerifier, Error> {
        let made = self.inner.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(authorities(&self.certificates)?);
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .map_err(|error| format!("no certificate authority is usable: {error}"))
        });
        made.as_deref().map_err(|reason| Error::General(reason.clone()))
    }
}

impl ServerCertVerifier for LazyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.inner()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner()?.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner()?.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// All authorities that are trusted.
fn authorities(certificates: &Certificates) -> Result<Vec<CertificateDer<'static>>, String> {
    let Certificates { file, directory } = certificates;
    let mut found = Vec::new();
    if let Some(file) = file {
        found.extend(read(file).map_err(|error| format!("cannot read SSL_CERT_FILE {}: {error}", file.display()))?);
    }
    if let Some(directory) = directory {
        for file in
            files_of(directory).map_err(|error| format!("cannot read SSL_CERT_DIR {}: {error}", directory.display()))?
        {
            // Such a directory also holds files that are no certificates.
            found.extend(read(&file).unwrap_or_default());
        }
    }
    if file.is_none() && directory.is_none() {
        let bundle = BUNDLES.iter().map(Path::new).find(|path| path.exists());
        let bundle = bundle.ok_or("this host has no file of certificate authorities; install its ca-certificates package, or set SSL_CERT_FILE")?;
        found = read(bundle).map_err(|error| format!("cannot read {}: {error}", bundle.display()))?;
    }
    Ok(found)
}

fn read(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let bytes = fs::read(file)?;
    Ok(CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok).collect())
}

fn files_of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_reads_no_certificates() {
        let certificates = Certificates { file: Some(PathBuf::from("/nowhere/at/all")), directory: None };
        assert!(client_config(&certificates).is_ok());
        let reason = authorities(&certificates).unwrap_err();
        assert!(reason.contains("SSL_CERT_FILE /nowhere/at/all"), "{reason}");
    }

    #[test]
    fn a_directory_may_hold_other_things() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("README"), "no certificate").unwrap();
        fs::write(directory.path().join("one.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        let certificates = Certificates { file: None, directory: Some(directory.path().to_owned()) };
        assert_eq!(authorities(&certificates).unwrap().len(), 1);
    }
}
