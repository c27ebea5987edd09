//! A folder of `certs.d`: authorities to believe beside the system's, and who we are.
//!
//! As in Docker's engine, what is listed is believed itself, too: a registry may show the very
//! certificate that lies in the folder, also one that calls itself an authority, as
//! `openssl req -x509` makes them.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;

use super::Error;

/// What a folder has.
#[derive(Default)]
struct Certificates {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// How TLS is spoken with a host that has a folder.
pub(super) fn tls(folder: &Path) -> Result<rustls::ClientConfig, Error> {
    let found = read(folder)?;
    let failed = |error: rustls::Error| failed(folder, error);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Listed::new(found.authorities, Arc::clone(&provider)).map_err(failed)?;
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match found.identity {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(failed),
    }
}

/// Every `*.crt` is an authority, `NAME.cert` with `NAME.key` is us.
fn read(folder: &Path) -> Result<Certificates, Error> {
    let mut found = Certificates::default();
    let entries = std::fs::read_dir(folder).map_err(|error| failed(folder, error))?;
    for entry in entries.flatten() {
        let path = entry.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => found.authorities.extend(chain(&path)?),
            Some("cert") => {
                let key = path.with_extension("key");
                if !key.exists() {
                    let (cert, key) = (name_of(&path), name_of(&key));
                    let words = format!(
                        "missing key {key} for client certificate {cert}. \
                         CA certificates must use the extension .crt"
                    );
                    return Err(failed(&path, words));
                }
                let secret = PrivateKeyDer::from_pem_file(&key).map_err(|error| failed(&key, error))?;
                found.identity = Some((chain(&path)?, secret));
            }
            Some("key") if !path.with_extension("cert").exists() => {
                let (key, cert) = (name_of(&path), name_of(&path.with_extension("cert")));
                return Err(failed(&path, format!("missing client certificate {cert} for key {key}")));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The certificates of a file.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(path, error))
}

fn failed(path: &Path, reason: impl ToString) -> Error {
    Error::Setup { subject: path.display().to_string(), reason: reason.to_string() }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Believes whom the system believes, those that are listed, and those whom these vouch for.
#[derive(Debug)]
struct Listed {
    listed: Vec<CertificateDer<'static>>,
    vouched: Verifier,
}

impl Listed {
    fn new(
        listed: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let vouched = Verifier::new_with_extra_roots(listed.clone(), provider)?;
        Ok(Self { listed, vouched })
    }
}

impl ServerCertVerifier for Listed {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.vouched.verify_server_cert(shown, between, name, ocsp, now) {
            // Its time was looked at before these. Nobody needs to vouch for one that is listed.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Other(_) | CertificateError::UnknownIssuer,
            )) if self.listed.contains(shown) => {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.vouched.verify_tls12_signature(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.vouched.verify_tls13_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.vouched.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_identity_is_an_error_that_says_which_half_is_missing() {
        for (there, words) in [
            ("client.cert", "missing key client.key for client certificate client.cert"),
            ("client.key", "missing client certificate client.cert for key client.key"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join(there), "").expect("written");
            let error = read(folder.path()).err().expect("half of it").to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    /// A certificate for 127.0.0.1, made by openssl with these further words; `None` without openssl.
    fn certificate(folder: &Path, name: &str, words: &str) -> Option<CertificateDer<'static>> {
        let at = |kind: &str| folder.join(format!("{name}.{kind}"));
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(words.split_whitespace())
            .arg("-keyout")
            .arg(at("pem"))
            .arg("-out")
            .arg(at("crt"))
            .output()
            .ok()?;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Some(chain(&at("crt")).expect("readable").remove(0))
    }

    #[test]
    fn what_is_listed_is_believed_for_its_name_and_time_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(authority) = certificate(folder.path(), "authority", "-days 2") else {
            let words = b"skipped: no openssl in PATH\n";
            return std::io::Write::write_all(&mut std::io::stderr(), words).expect("said");
        };
        let plain = "-days 2 -addext basicConstraints=critical,CA:FALSE";
        let plain = certificate(folder.path(), "plain", plain).expect("as before");
        let other = certificate(folder.path(), "other", "-days 2").expect("as before");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Listed::new(vec![authority.clone(), plain.clone()], provider).expect("a verifier");
        let verify = |shown: &CertificateDer<'_>, name: &'static str, days: u64| {
            let now = UnixTime::now().as_secs() + days * 24 * 60 * 60;
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
            let name = ServerName::try_from(name).expect("a name");
            verifier.verify_server_cert(shown, &[], &name, &[], now).map(drop)
        };
        for shown in [&authority, &plain] {
            verify(shown, "127.0.0.1", 0).expect("it is listed");
            for (name, days) in [("127.0.0.2", 0), ("localhost", 0), ("127.0.0.1", 3)] {
                assert!(verify(shown, name, days).is_err(), "{name}, in {days} days");
            }
        }
        assert!(verify(&other, "127.0.0.1", 0).is_err(), "nobody vouches for it");
    }
}
