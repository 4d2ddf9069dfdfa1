//! Certificates, names and versions of TLS, as `tls_config` has them.
//!
//! Where authorities are given, they alone are believed, as by Prometheus. A certificate that is among them itself is believed
//! too, also if it says that it is an authority, as `openssl req -x509` makes them: its name and its dates count all the same.

use std::sync::Arc;

use opendata_core::{Error, Result};
use reqwest::ClientBuilder;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    version,
};

use super::secret;
use crate::scrape::config::{TlsConfig, TlsVersion};

/// The client with what a job says of TLS.
///
/// # Errors
/// `Invalid` if a certificate, key or name is none, `Unavailable` if a file cannot be read.
pub(super) fn with(client: ClientBuilder, config: &TlsConfig) -> Result<ClientBuilder> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(config, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(config)?)
        .map_err(|error| Error::invalid("tls_config: no such versions").with_source(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let (certificate, key) =
        (secret(&config.cert, config.cert_file.as_ref())?, secret(&config.key, config.key_file.as_ref())?);
    let mut tls = match (certificate.is_empty(), key.is_empty()) {
        (true, true) => builder.with_no_client_auth(),
        (false, false) => {
            let wrong = "tls_config: the certificate and its key are not in PEM form";
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|error| Error::invalid(wrong).with_source(error))?;
            builder.with_client_auth_cert(certificates(&certificate, wrong)?, key).map_err(|error| {
                Error::invalid("tls_config: the certificate and its key do not fit").with_source(error)
            })?
        }
        _ => return Err(Error::invalid("tls_config: a certificate and its key are given both or not at all")),
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(client.tls_backend_preconfigured(tls))
}

fn versions(config: &TlsConfig) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let (least, most) = (config.min_version.unwrap_or(TlsVersion::V12), config.max_version.unwrap_or(TlsVersion::V13));
    let all = [(TlsVersion::V12, &version::TLS12), (TlsVersion::V13, &version::TLS13)];
    let chosen: Vec<_> =
        all.into_iter().filter(|(one, _)| (least..=most).contains(one)).map(|(_, version)| version).collect();
    if chosen.is_empty() {
        return Err(Error::invalid("tls_config: min_version is above max_version"));
    }
    Ok(chosen)
}

fn certificates(pem: &str, wrong: &'static str) -> Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::invalid(wrong).with_source(error))?;
    if all.is_empty() { Err(Error::invalid(wrong)) } else { Ok(all) }
}

fn verifier(config: &TlsConfig, provider: &Arc<CryptoProvider>) -> Result<Arc<Verifier>> {
    let wrong = "tls_config: the authorities are no certificates in PEM form";
    let pem = secret(&config.ca, config.ca_file.as_ref())?;
    let (believed, inner): (_, Arc<dyn ServerCertVerifier>) = if pem.is_empty() {
        let machine = rustls_platform_verifier::Verifier::new(Arc::clone(provider))
            .map_err(|error| Error::unavailable("the machine's authorities cannot be read").with_source(error))?;
        (Vec::new(), Arc::new(machine))
    } else {
        let believed = certificates(&pem, wrong)?;
        let mut roots = RootCertStore::empty();
        for certificate in &believed {
            roots.add(certificate.clone()).map_err(|error| Error::invalid(wrong).with_source(error))?;
        }
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
        (believed, inner.map_err(|error| Error::invalid(wrong).with_source(error))?)
    };
    let name = match config.server_name.as_str() {
        "" => None,
        name => {
            let name = ServerName::try_from(name.to_owned());
            Some(name.map_err(|error| Error::invalid("tls_config: server_name is no name").with_source(error))?)
        }
    };
    Ok(Arc::new(Verifier { inner, believed, name, skip: config.insecure_skip_verify }))
}

/// Believes what the inner one does, by another name if that is wanted, and what was given as an authority itself.
#[derive(Debug)]
struct Verifier {
    inner: Arc<dyn ServerCertVerifier>,
    believed: Vec<CertificateDer<'static>>,
    name: Option<ServerName<'static>>,
    /// Any certificate will do.
    skip: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if self.skip {
            return Ok(ServerCertVerified::assertion());
        }
        let name = self.name.as_ref().unwrap_or(server_name);
        match self.inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now) {
            // Its dates were looked at before that is found.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(why)))
                if matches!(why.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
                    && self.believed.iter().any(|one| one.as_ref() == end_entity.as_ref()) =>
            {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
