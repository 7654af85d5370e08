//! TLS towards servers: whom the router trusts, who it is, and what it means when it fails.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Context, Result, bail};
use rustls::client::ResolvesClientCert;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};

use crate::settings::TlsFiles;

/// What is looked at of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing: the connection is encrypted, with whoever answers.
    Nothing,
    /// That a trusted authority has signed it.
    Authority,
    /// That, and that it is for the name that was connected to.
    Everything,
}

/// What people have to set, in the words of where they set it.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// The file with the authorities to trust.
    pub authorities: &'static str,
    /// The files with our certificate and its key.
    pub identity: &'static str,
    /// How to name the server as its certificate does.
    pub name: &'static str,
    /// What is there for a server that does not speak TLS.
    pub plain: &'static str,
}

/// How to make one connection.
#[derive(Clone, Debug)]
pub struct Tls {
    /// What rustls makes it with.
    pub config: Arc<ClientConfig>,
    identity: Arc<Identity>,
    words: Words,
}

impl Tls {
    /// Reads the files, which may have changed since the last connection.
    ///
    /// # Errors
    /// Names the file that cannot be read or used.
    pub fn new(files: &TlsFiles, check: Check, words: Words) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let roots = match (&files.ca_file, check) {
            (_, Check::Nothing) => None,
            (Some(file), _) => Some(authorities(file).with_context(|| {
                format!("{} {:?} cannot be used", words.authorities, file.display().to_string())
            })?),
            (None, _) => Some(of_the_system(words)?),
        };
        let identity = Arc::new(Identity::of(files, &provider, words)?);
        let verifier = Verifier::new(roots, check, Arc::clone(&provider))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.client_auth_cert_resolver = Arc::clone(&identity) as Arc<dyn ResolvesClientCert>;
        Ok(Self { config: Arc::new(config), identity, words })
    }

    /// The same for another connection, of which nothing is known yet.
    pub fn for_another(&self) -> Self {
        let key = self.identity.key.clone();
        let identity = Arc::new(Identity { key, asked: AtomicBool::new(false) });
        let mut config = ClientConfig::clone(&self.config);
        config.client_auth_cert_resolver = Arc::clone(&identity) as Arc<dyn ResolvesClientCert>;
        Self { config: Arc::new(config), identity, words: self.words }
    }

    /// Adds what people can do about an error of a connection that was made with this.
    /// `ended` says that the server ended the connection without a word that explains it:
    /// that it wants a certificate is not always told.
    pub fn explain(&self, error: anyhow::Error, ended: bool) -> anyhow::Error {
        let in_vain = self.identity.key.is_none() && self.identity.asked.load(Relaxed);
        let meaning = match error.chain().find_map(of_rustls) {
            Some(Error::InvalidCertificate(wrong)) => Some(self.of_certificate(wrong)),
            Some(Error::AlertReceived(_)) if in_vain => Some(self.wants_identity()),
            Some(Error::AlertReceived(alert)) if self.identity.key.is_some() => {
                Some(self.of_alert(*alert))
            }
            Some(Error::InvalidMessage(_)) => {
                Some(format!("what answers does not speak TLS: {}", self.words.plain))
            }
            Some(_) => None,
            None if ended && in_vain => Some(self.wants_identity()),
            // Its reason can be lost with the connection.
            None if ended && self.identity.asked.load(Relaxed) => Some(format!(
                "perhaps the server does not accept the client certificate in {}: has it expired, or \
                 does the server not trust who signed it?",
                self.words.identity
            )),
            None => None,
        };
        match meaning {
            Some(meaning) => error.context(meaning),
            None => error,
        }
    }

    fn wants_identity(&self) -> String {
        format!(
            "the server asks for a client certificate, and there is none: name its file and that of \
             its key in {}",
            self.words.identity
        )
    }

    fn of_alert(&self, alert: AlertDescription) -> String {
        format!(
            "the server does not accept the client certificate in {} ({alert:?}): has it expired, or \
             does the server not trust who signed it?",
            self.words.identity
        )
    }

    fn of_certificate(&self, wrong: &CertificateError) -> String {
        let Words { authorities, name, .. } = self.words;
        match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired: it must be renewed at the server".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet: is this machine's clock right?"
                    .to_owned()
            }
            CertificateError::UnknownIssuer => format!(
                "the server's certificate is signed by an authority that is not trusted: name the file \
                 with the authority's certificate in {authorities}"
            ),
            CertificateError::NotValidForNameContext { presented, .. } => format!(
                "the server's certificate is for another name ({}): {name}",
                presented.join(", ")
            ),
            CertificateError::NotValidForName => {
                format!("the server's certificate is for another name: {name}")
            }
            CertificateError::Revoked => "the server's certificate has been revoked".to_owned(),
            _ => "the server's certificate is not acceptable".to_owned(),
        }
    }
}

/// The error of rustls in a cause, which may be within one of the system's.
fn of_rustls<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let within = |error: &'a io::Error| of_rustls(error.get_ref()?);
    cause.downcast_ref().or_else(|| cause.downcast_ref().and_then(within))
}

fn authorities(file: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(file)?);
    if added == 0 {
        bail!("it has no certificate of an authority");
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(file)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>()?;
    if found.is_empty() {
        bail!("it has no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----");
    }
    Ok(found)
}

/// Those that the system trusts, or that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
fn of_the_system(words: Words) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        bail!(
            "this system trusts no authority (is ca-certificates installed?): name the file with the \
             one that signed the server's certificate in {}",
            words.authorities
        );
    }
    Ok(roots)
}

/// Who the router is, if the server asks.
#[derive(Debug)]
struct Identity {
    key: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Identity {
    fn of(files: &TlsFiles, provider: &CryptoProvider, words: Words) -> Result<Self> {
        let key = match (&files.cert_file, &files.key_file) {
            (None, None) => None,
            (Some(certificate), key) => {
                // One file can have both.
                let key = key.as_ref().unwrap_or(certificate);
                Some(Arc::new(identity(certificate, key, provider, words)?))
            }
            (None, Some(_)) => {
                bail!("a key is set without its certificate: {} are set together", words.identity)
            }
        };
        Ok(Self { key, asked: AtomicBool::new(false) })
    }
}

fn identity(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
    words: Words,
) -> Result<CertifiedKey> {
    let what = |file: &Path| {
        format!("{}: {:?} cannot be used", words.identity, file.display().to_string())
    };
    let chain = certificates(certificate).with_context(|| what(certificate))?;
    let pem = std::fs::read(key).with_context(|| what(key))?;
    // What is wrong with a key is not told in detail.
    let Ok(der) = PrivateKeyDer::from_pem_slice(&pem) else {
        bail!("{}: it has no private key in PEM without a passphrase", what(key));
    };
    CertifiedKey::from_der(chain, der, provider)
        .with_context(|| format!("{}: the key does not fit the certificate", what(key)))
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

/// Looks at as much of a certificate as is asked for.
struct Verifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(
        roots: Option<RootCertStore>,
        check: Check,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self> {
        let inner = roots.map(|roots| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
        });
        Ok(Self { inner: inner.transpose()?, check, provider })
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("check", &self.check).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        let verified =
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.check == Check::Authority => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
