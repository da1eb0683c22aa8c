//! TLS settings of the user for a target: trusted certificates, in addition to those of a scenario, and the
//! client certificate.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

mod certificates;

use certificates::TrustedCertificates;
pub use certificates::{install, reason};

/// TLS settings of the user, each file as text in PEM.
#[derive(Clone, Default)]
pub struct TlsGiven {
    /// Certificates to trust instead of those of the machine.
    pub ca_cert: Option<String>,
    /// The client certificate, with intermediate certificates.
    pub client_cert: Option<String>,
    /// Private key of the client certificate.
    pub client_key: Option<String>,
    /// True if any server certificate is accepted.
    pub insecure: bool,
    /// Equivalent options of `curl`.
    pub curl: Vec<String>,
}

/// TLS for the connections to a target. It does not implement `Debug`, because it holds a private key.
#[derive(Clone, Default)]
pub struct Tls(Arc<TlsGiven>);

impl Tls {
    /// Checks the settings, so that unusable files are reported before anything is sent.
    pub fn new(given: TlsGiven) -> Result<Self, String> {
        if given.client_cert.is_some() != given.client_key.is_some() {
            return Err("a client certificate and its key must be given together".to_owned());
        }
        if let Some(pem) = &given.ca_cert {
            TrustedCertificates::read(pem).map_err(|e| e.replace("`trust`", "`ca_cert`"))?;
        }
        let tls = Self(Arc::new(given));
        // Only given settings are checked, so that the certificates of the machine are not read for nothing.
        if tls.0.client_cert.is_some() {
            let any = Self(Arc::new(TlsGiven { insecure: true, ..(*tls.0).clone() }));
            any.trusting("").config()?;
        }
        Ok(tls)
    }

    /// The identity for a scenario that trusts the certificates in `trust`, if there are any.
    pub fn trusting(&self, trust: &str) -> TlsIdentity {
        let parts = [trust, self.0.ca_cert.as_deref().unwrap_or_default()];
        let pem = parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("\n");
        TlsIdentity { pem, tls: self.clone() }
    }

    /// Whether browser pages must ignore certificate errors, because a browser cannot be given trusted
    /// certificates.
    pub fn is_for_pages(&self) -> bool {
        self.0.insecure || self.0.ca_cert.is_some()
    }

    /// Whether there is a client certificate.
    pub fn has_client_certificate(&self) -> bool {
        self.0.client_cert.is_some()
    }

    /// Equivalent options of `curl`.
    pub fn curl(&self) -> &[String] {
        &self.0.curl
    }
}

/// Trusted certificates and the client certificate.
pub struct TlsIdentity {
    pem: String,
    tls: Tls,
}

impl TlsIdentity {
    /// Verifier of server certificates; `None` for that of the machine.
    pub fn verifier(&self) -> Result<Option<Arc<dyn ServerCertVerifier>>, String> {
        if self.tls.0.insecure {
            return Ok(Some(Arc::new(AnyCertificate(rustls::crypto::ring::default_provider()))));
        }
        if self.pem.is_empty() {
            return Ok(None);
        }
        Ok(Some(TrustedCertificates::read(&self.pem)?))
    }

    /// Client certificate and its key, in PEM.
    pub fn identity(&self) -> Option<(&str, &str)> {
        Some((self.tls.0.client_cert.as_deref()?, self.tls.0.client_key.as_deref()?))
    }

    /// Configuration of a TLS client.
    pub fn config_in_full(&self) -> Result<ClientConfig, String> {
        let plain = || ClientConfig::builder().with_root_certificates(of_the_machine()).with_no_client_auth();
        Ok(self.config()?.unwrap_or_else(plain))
    }

    /// Configuration of a TLS client; `None` for the default of the machine.
    pub fn config(&self) -> Result<Option<ClientConfig>, String> {
        install();
        let builder = match (self.verifier()?, self.identity()) {
            (None, None) => return Ok(None),
            (Some(verifier), _) => {
                ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier)
            }
            (None, Some(_)) => ClientConfig::builder().with_root_certificates(of_the_machine()),
        };
        let Some((certificate, key)) = self.identity() else {
            return Ok(Some(builder.with_no_client_auth()));
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|e| format!("`client_cert` is not a PEM certificate: {e}"))?;
        if chain.is_empty() {
            return Err("`client_cert` contains no PEM certificate".to_owned());
        }
        // The message of the library is not shown: it may repeat a part of the key.
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| "`client_key` contains no unencrypted PEM private key".to_owned())?;
        let key = certified(chain, key)?;
        Ok(Some(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))))
    }
}

/// Certificate and key, if they belong together. The server decides whether the certificate is valid: many
/// in-house authorities still issue version 1, which rustls refuses to read.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    let key = rustls::crypto::ring::default_provider().key_provider.load_private_key(key);
    let key = key.map_err(|_| "the type of `client_key` cannot sign".to_owned())?;
    let own = key.public_key();
    let holds = |public: &[u8]| chain[0].windows(public.len()).any(|part| part == public);
    if own.is_some_and(|own| !holds(own.as_ref())) {
        return Err(
            "`client_cert` and `client_key` do not belong together: the certificate has another public key"
                .to_owned(),
        );
    }
    Ok(CertifiedKey::new(chain, key))
}

/// The certificates that this machine trusts. Unreadable ones are skipped, as other clients do.
fn of_the_machine() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Accepts any certificate, but still checks that the server has its key.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_refused_without_a_word_of_the_key() {
        let error = |given: TlsGiven| Tls::new(given).err().unwrap();
        let some = |text: &str| Some(text.to_owned());
        let alone = TlsGiven { client_key: some("x"), ..TlsGiven::default() };
        assert_eq!(error(alone), "a client certificate and its key must be given together");
        let ca = TlsGiven { ca_cert: some("nothing"), ..TlsGiven::default() };
        assert_eq!(error(ca), "`ca_cert` contains no PEM certificate");
        let both =
            TlsGiven { client_cert: some("nothing"), client_key: some("open-sesame"), ..TlsGiven::default() };
        assert_eq!(error(both), "`client_cert` contains no PEM certificate");
        assert!(Tls::new(TlsGiven::default()).unwrap().trusting("").config().unwrap().is_none());
    }
}
