//! Trusted certificates for TLS: those of the machine, or those that a scenario names.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Trusts the given certificates, whatever host names they have, and those that they have signed.
#[derive(Debug)]
pub struct TrustedCertificates {
    certificates: Vec<CertificateDer<'static>>,
    signed: Arc<WebPkiServerVerifier>,
}

impl TrustedCertificates {
    /// Parses certificates in PEM.
    pub fn read(pem: &str) -> Result<Arc<Self>, String> {
        install();
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|e| format!("`trust` is not a PEM certificate: {e}"))?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|e| format!("`trust` cannot be used: {e}"))?;
        }
        let signed = WebPkiServerVerifier::builder(roots.into()).build();
        let signed = signed.map_err(|_| "`trust` contains no PEM certificate".to_owned())?;
        Ok(Arc::new(Self { certificates, signed }))
    }
}

impl ServerCertVerifier for TrustedCertificates {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificates.contains(certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        self.signed.verify_server_cert(certificate, between, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// Installs the cryptography provider of this process. Later calls do nothing.
pub fn install() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A message for a TLS error that does not contain times or addresses; `said` for any other error.
pub fn reason(said: String) -> String {
    if said.contains("CertificateRequired") {
        return "the server requires a client certificate: set `--client-cert` and `--client-key`".to_owned();
    }
    let Some((_, why)) = said.split_once("invalid peer certificate") else { return said };
    let what = if why.contains("UnknownIssuer") {
        "its certificate is not signed by a trusted authority"
    } else if why.contains("not valid for name") || why.contains("NotValidForName") {
        "its certificate is for another name"
    } else if why.contains("expired") || why.contains("Expired") {
        "its certificate has expired"
    } else if why.contains("CaUsedAsEndEntity") {
        "its certificate is that of an authority, not of a server"
    } else {
        "its certificate is not trusted"
    };
    format!("{what}; set trusted certificates with `trust` or `--ca-cert`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        let error = |pem: &str| TrustedCertificates::read(pem).err().unwrap();
        assert_eq!(error(""), "`trust` contains no PEM certificate");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(error(broken).starts_with("`trust` cannot be used: "), "{}", error(broken));
        assert!(error(&broken.replace("AAAA", "?")).starts_with("`trust` is not a PEM certificate"));
    }

    #[test]
    fn reasons_are_the_same_at_every_time() {
        let expired =
            "invalid peer certificate: certificate expired: verification time 1763733333 (UNIX), but …";
        assert!(reason(expired.to_owned()).starts_with("its certificate has expired; "));
        assert_eq!(reason("connection refused".to_owned()), "connection refused");
        let wanted = reason("received fatal alert: CertificateRequired".to_owned());
        assert!(wanted.contains("--client-cert"), "{wanted}");
    }
}
