//! TLS of the listener: the certificate, its key, and who may connect. Read again when the files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The PEM files.
#[derive(Debug)]
pub(crate) struct Files {
    /// The certificate, then those that lead to its root.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The roots of the certificates that clients must show, if they must show any.
    pub(crate) client_roots: Option<PathBuf>,
}

/// What the files hold.
#[derive(Clone, PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_roots: Option<Vec<u8>>,
}

/// The certificates in use. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Certificates(Arc<Shared>);

struct Shared {
    files: Files,
    used: Mutex<Used>,
}

struct Used {
    pem: Pem,
    config: Arc<ServerConfig>,
}

impl Certificates {
    /// Reads the files. An error names the file and what is wrong with it.
    pub(crate) fn load(files: Files) -> Result<Self, String> {
        let pem = files.read()?;
        let config = Arc::new(files.config(&pem)?);
        let used = Mutex::new(Used { pem, config });
        Ok(Self(Arc::new(Shared { files, used })))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.used(|used| used.config.clone()).into()
    }

    /// The certificate and its key: with them the server is a client of itself.
    pub(crate) fn identity(&self) -> Vec<u8> {
        self.used(|used| [&*used.pem.certificate, b"\n", &*used.pem.key].concat())
    }

    fn used<T>(&self, read: impl FnOnce(&mut Used) -> T) -> T {
        read(&mut self.0.used.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Uses what the files hold now; whether that is new.
    fn reload(&self) -> Result<bool, String> {
        let Shared { files, .. } = &*self.0;
        let pem = files.read()?;
        if self.used(|used| used.pem == pem) {
            return Ok(false);
        }
        let config = Arc::new(files.config(&pem)?);
        self.used(|used| *used = Used { pem, config });
        Ok(true)
    }

    /// Looks at the files now and then, and whenever `asked` completes. What cannot be used is logged once, and the server
    /// goes on with what it has.
    pub(crate) async fn follow<A: Future<Output = ()>>(self, mut asked: impl FnMut() -> A) {
        let mut last = Ok(false);
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = asked() => last = Ok(false),
            }
            let result = self.reload();
            match &result {
                Ok(true) => tracing::info!("the new TLS certificate is in use"),
                Err(error) if result != last => {
                    tracing::error!("{error}; the TLS certificate from before is still in use");
                }
                Ok(false) | Err(_) => {}
            }
            last = result;
        }
    }
}

impl Files {
    fn read(&self) -> Result<Pem, String> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| wrong(path, &error));
        Ok(Pem {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_roots: self.client_roots.as_deref().map(read).transpose()?,
        })
    }

    fn config(&self, pem: &Pem) -> Result<ServerConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&self.certificate, &pem.certificate)?;
        let key =
            PrivateKeyDer::from_pem_slice(&pem.key).map_err(|error| wrong(&self.key, &error))?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match (&self.client_roots, &pem.client_roots) {
            (Some(path), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for root in certificates(path, pem)? {
                    roots.add(root).map_err(|error| wrong(path, &error))?;
                }
                let others = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    .build()
                    .map_err(|error| wrong(path, &error))?;
                let own = chain[0].clone();
                builder.with_client_cert_verifier(Arc::new(OwnOrSigned { own, others }))
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| wrong(&self.certificate, &error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// At least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if all.is_empty() => Err(wrong(path, &"there is no certificate in it")),
        Ok(all) => Ok(all),
        Err(error) => Err(wrong(path, &error)),
    }
}

fn wrong(path: &Path, cause: &dyn std::fmt::Display) -> String {
    format!("{} cannot be used: {cause}", path.display())
}

/// Clients show a certificate of the given roots; canaries show that of the server, which has its key.
#[derive(Debug)]
struct OwnOrSigned {
    own: CertificateDer<'static>,
    others: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for OwnOrSigned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.others.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if *end_entity == self.own {
            return Ok(ClientCertVerified::assertion());
        }
        self.others
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.others.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.others.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.others.supported_verify_schemes()
    }
}
