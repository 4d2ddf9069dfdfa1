//! Certificates and versions of TLS, as `tls_config` has them.

use opendata_core::{Error, Result};
use reqwest::tls::Version;
use reqwest::{Certificate, ClientBuilder, Identity};

use super::secret;
use crate::scrape::config::{TlsConfig, TlsVersion};

/// The client with what a job says of TLS.
///
/// # Errors
/// `Invalid` if a certificate or key is none, `Unavailable` if a file cannot be read.
pub(super) fn with(mut client: ClientBuilder, config: &TlsConfig) -> Result<ClientBuilder> {
    let wrong = |what: &'static str| move |error: reqwest::Error| Error::invalid(what).with_source(error);
    let authorities = secret(&config.ca, config.ca_file.as_ref())?;
    if !authorities.is_empty() {
        let authorities = Certificate::from_pem_bundle(authorities.as_bytes())
            .map_err(wrong("tls_config: the authorities are no certificates in PEM form"))?;
        for authority in authorities {
            client = client.add_root_certificate(authority);
        }
    }
    let certificate = secret(&config.cert, config.cert_file.as_ref())?;
    let key = secret(&config.key, config.key_file.as_ref())?;
    if certificate.is_empty() != key.is_empty() {
        return Err(Error::invalid("tls_config: a certificate and its key are given both or not at all"));
    }
    if !certificate.is_empty() {
        let identity = Identity::from_pem(format!("{key}\n{certificate}").as_bytes())
            .map_err(wrong("tls_config: the certificate and its key are not in PEM form"))?;
        client = client.identity(identity);
    }
    let version = |version| match version {
        TlsVersion::V12 => Version::TLS_1_2,
        TlsVersion::V13 => Version::TLS_1_3,
    };
    if let Some(least) = config.min_version {
        client = client.tls_version_min(version(least));
    }
    if let Some(most) = config.max_version {
        client = client.tls_version_max(version(most));
    }
    if config.insecure_skip_verify {
        client = client.tls_danger_accept_invalid_certs(true);
    }
    Ok(client)
}
