use std::fs;
use std::path::Path;

use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsConnector;

use super::*;
use crate::config::PairFiles;
use crate::trust::pem::chain;

const DAY: i64 = 24 * 3600;

/// A certificate for `names`, made `age` seconds ago and good for as long again and a month more.
fn issue(names: &[&str], age: i64, algorithm: &'static SignatureAlgorithm) -> [String; 2] {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let time = |seconds: i64| {
        let offset = std::time::Duration::from_secs(seconds.unsigned_abs());
        let now = std::time::SystemTime::now();
        let time = if seconds < 0 {
            now - offset
        } else {
            now + offset
        };
        time.into()
    };
    params.not_before = time(-age);
    params.not_after = time(30 * DAY + age);
    let certificate = params.self_signed(&key).unwrap();
    [certificate.pem(), key.serialize_pem()]
}

fn p256(names: &[&str], age: i64) -> [String; 2] {
    issue(names, age, &PKCS_ECDSA_P256_SHA256)
}

/// Writes a pair as NAME.pem and NAME.key.
fn write(directory: &Path, name: &str, [certificate, key]: &[String; 2]) -> PairFiles {
    let files = PairFiles {
        certificate: directory.join(format!("{name}.pem")),
        private_key: directory.join(format!("{name}.key")),
    };
    fs::write(&files.certificate, certificate).unwrap();
    fs::write(&files.private_key, key).unwrap();
    files
}

fn settings(files: PairFiles, sni: Vec<PairFiles>) -> TlsSettings {
    TlsSettings {
        source: CertificateSource::Files(files),
        self_signed: false,
        sni,
        client_ca: None,
        hsts: false,
    }
}

fn load(settings: &TlsSettings) -> Result<Tls, Problems> {
    Tls::load(settings, Names::default(), Metrics::new())
}

/// A client that trusts `roots` only.
struct Client(TlsConnector);

impl Client {
    /// One that never comes back with a session, for which no certificate is shown.
    fn trusting(roots: &[&str]) -> Self {
        Self::with(roots, Resumption::disabled())
    }

    fn with(roots: &[&str], resumption: Resumption) -> Self {
        let mut store = RootCertStore::empty();
        for root in roots {
            for certificate in chain(root.as_bytes()).unwrap() {
                store.add(certificate).unwrap();
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(store)
            .with_no_client_auth();
        config.resumption = resumption;
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// The certificate shown for a name, and how the handshake went; nothing when it fails.
    async fn shown(
        &self,
        tls: &Tls,
        name: &str,
    ) -> io::Result<(CertificateDer<'static>, HandshakeKind)> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let (served, seen) = tokio::join!(
            async {
                // Ends at once, so that the client reads its ticket and then the end.
                let mut stream = tls.accept(far).await?;
                tokio::io::AsyncWriteExt::shutdown(&mut stream).await
            },
            async {
                let mut stream = self.0.connect(name, near).await?;
                let _ = stream.read(&mut [0]).await;
                let (_, connection) = stream.get_ref();
                let chain = connection.peer_certificates().unwrap();
                Ok((
                    chain[0].clone().into_owned(),
                    connection.handshake_kind().unwrap(),
                ))
            }
        );
        served.and(seen)
    }
}

fn der(pem: &str) -> CertificateDer<'static> {
    chain(pem.as_bytes()).unwrap().remove(0)
}

#[tokio::test]
async fn every_usual_kind_of_key_is_served() {
    for algorithm in [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ED25519,
        &PKCS_RSA_SHA256,
    ] {
        let directory = TempDir::new().unwrap();
        let pair = issue(&["a.example"], 0, algorithm);
        let files = write(directory.path(), "a", &pair);
        let tls = load(&settings(files, Vec::new())).unwrap();
        let client = Client::trusting(&[&pair[0]]);
        let (shown, _) = client.shown(&tls, "a.example").await.unwrap();
        assert_eq!(shown, der(&pair[0]), "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_that_has_the_name_it_asks_for() {
    let directory = TempDir::new().unwrap();
    let (first, exact, wild) = (
        p256(&["first.example"], 0),
        p256(&["x.wild.example", "other.example"], 0),
        p256(&["*.wild.example"], 0),
    );
    let more = vec![
        write(directory.path(), "wild", &wild),
        write(directory.path(), "exact", &exact),
    ];
    let files = write(directory.path(), "first", &first);
    let tls = load(&settings(files, more)).unwrap();
    let client = Client::trusting(&[&first[0], &exact[0], &wild[0]]);
    for (name, expected) in [
        ("first.example", &first),
        ("x.wild.example", &exact),
        ("X.Wild.Example", &exact),
        ("other.example", &exact),
        ("y.wild.example", &wild),
    ] {
        let (shown, _) = client.shown(&tls, name).await.unwrap();
        assert_eq!(shown, der(&expected[0]), "{name}");
    }
    // A wildcard is for one label. The client refuses what it is shown, which is the first.
    for name in ["a.b.wild.example", "wild.example", "unknown.example"] {
        assert!(client.shown(&tls, name).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn no_handshake_fails_while_the_pair_is_swapped_hundreds_of_times() {
    let directory = TempDir::new().unwrap();
    let pairs = [p256(&["a.example"], 0), p256(&["a.example"], 0)];
    let files = write(directory.path(), "a", &pairs[0]);
    let settings = settings(files, Vec::new());
    let tls = load(&settings).unwrap();
    let client = Client::trusting(&[&pairs[0][0], &pairs[1][0]]);
    for round in 1..=200 {
        let pair = &pairs[round % 2];
        fs::write(directory.path().join("a.pem"), &pair[0]).unwrap();
        // Between the two writes the halves do not belong together, and the old pair is shown.
        let (before, looked) = tokio::join!(client.shown(&tls, "a.example"), async { tls.look() });
        let () = looked;
        assert_eq!(before.unwrap().0, der(&pairs[(round + 1) % 2][0]));
        fs::write(directory.path().join("a.key"), &pair[1]).unwrap();
        let (during, ()) = tokio::join!(client.shown(&tls, "a.example"), async {
            if round % 3 == 0 {
                tls.replace(tls.prepare(&settings).unwrap());
            } else {
                tls.look();
            }
        });
        during.unwrap();
        assert_eq!(
            client.shown(&tls, "a.example").await.unwrap().0,
            der(&pair[0])
        );
    }
}

#[tokio::test]
async fn what_is_bad_or_older_never_takes_the_place_of_what_is_in_use() {
    let directory = TempDir::new().unwrap();
    let (new, old) = (p256(&["a.example"], 10), p256(&["a.example"], DAY));
    let files = write(directory.path(), "a", &new);
    let settings = settings(files.clone(), Vec::new());
    let tls = load(&settings).unwrap();
    let client = Client::trusting(&[&new[0], &old[0]]);
    let write_whole = |pair: &[String; 2]| write(directory.path(), "a", pair);
    let half = [new[0].clone(), old[1].clone()];
    let nothing = [String::new(), String::new()];
    for bad in [&old, &half, &nothing] {
        write_whole(bad);
        tls.look();
        assert!(tls.prepare(&settings).is_err());
        let (shown, _) = client.shown(&tls, "a.example").await.unwrap();
        assert_eq!(shown, der(&new[0]));
    }
    fs::remove_file(&files.certificate).unwrap();
    tls.look();
    assert_eq!(
        client.shown(&tls, "a.example").await.unwrap().0,
        der(&new[0])
    );
    // What is newer is taken, whatever was there between.
    let newer = p256(&["a.example"], 5);
    write_whole(&newer);
    tls.look();
    let client = Client::trusting(&[&newer[0]]);
    let (shown, _) = client.shown(&tls, "a.example").await.unwrap();
    assert_eq!(shown, der(&newer[0]));
}

#[test]
fn an_older_certificate_is_taken_when_the_one_in_use_is_no_good() {
    let leaf = |not_before, not_after| leaf::Leaf {
        names: Vec::new(),
        not_before,
        not_after,
        rest: leaf::Rest::default(),
    };
    let now = 1000;
    let (expired, good) = (leaf(500, 900), leaf(400, 2000));
    assert!(!good.is_older_than(&expired, now));
    assert!(expired.is_older_than(&leaf(501, 2000), now));
    assert!(
        !leaf(500, 950).is_older_than(&expired, now),
        "the same age is not older"
    );
    assert!(
        leaf(400, 800).is_older_than(&expired, now),
        "neither is good"
    );
}

#[tokio::test]
async fn a_session_is_resumed_across_swaps() {
    let directory = TempDir::new().unwrap();
    let pairs = [p256(&["a.example"], 0), p256(&["a.example"], 0)];
    let settings = settings(write(directory.path(), "a", &pairs[0]), Vec::new());
    let tls = load(&settings).unwrap();
    let client = Client::with(&[&pairs[0][0], &pairs[1][0]], Resumption::default());
    let (_, kind) = client.shown(&tls, "a.example").await.unwrap();
    assert_eq!(kind, HandshakeKind::Full);
    write(directory.path(), "a", &pairs[1]);
    tls.look();
    let (_, kind) = client.shown(&tls, "a.example").await.unwrap();
    assert_eq!(kind, HandshakeKind::Resumed);
    tls.replace(tls.prepare(&settings).unwrap());
    let (_, kind) = client.shown(&tls, "a.example").await.unwrap();
    assert_eq!(kind, HandshakeKind::Resumed);
    // Who vouches for clients changes: a session of before was never verified so.
    let mut with_clients = settings.clone();
    with_clients.client_ca = Some(directory.path().join("a.pem"));
    tls.replace(tls.prepare(&with_clients).unwrap());
    assert!(
        client.shown(&tls, "a.example").await.is_err(),
        "it has no certificate"
    );
    tls.replace(tls.prepare(&settings).unwrap());
    let (_, kind) = client.shown(&tls, "a.example").await.unwrap();
    assert_eq!(kind, HandshakeKind::Full);
}

#[test]
fn a_chain_that_clients_may_refuse_is_complained_of() {
    let complaint = |texts: &[&str]| {
        let chain: Vec<_> = texts
            .iter()
            .flat_map(|text| chain(text.as_bytes()).unwrap())
            .collect();
        leaf::Leaf::of(&chain).unwrap().complaint(leaf::now())
    };
    let names = ["a.example"];
    let [good, _] = p256(&names, 0);
    // All of them are signed by the same name, "rcgen self signed cert".
    assert_eq!(complaint(&[&good]), None);
    assert_eq!(complaint(&[&good, &good]), None);
    let mut params = CertificateParams::new(["b.example".to_owned()]).unwrap();
    params.not_after = (std::time::SystemTime::now() - std::time::Duration::from_secs(9)).into();
    let key = KeyPair::generate().unwrap();
    let ended = params.self_signed(&key).unwrap().pem();
    let said = complaint(&[&good, &good, &ended]).unwrap();
    assert!(
        said.contains("certificate 3 of the file has expired"),
        "{said}"
    );
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "somebody else");
    let stranger = params.self_signed(&key).unwrap().pem();
    let said = complaint(&[&good, &stranger]).unwrap();
    assert!(
        said.contains("certificate 2 of the file did not sign"),
        "{said}"
    );
}

#[tokio::test]
async fn the_answers_of_an_order_that_a_reload_broke_off_are_given_no_more() {
    let directory = TempDir::new().unwrap();
    // It takes connections and says nothing, so that the order lasts.
    let authority = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/dir", authority.local_addr().unwrap());
    let files = settings(
        write(directory.path(), "a", &p256(&["a.example"], 0)),
        Vec::new(),
    );
    let acme = AcmeSettings {
        domains: vec!["a.example".to_owned()],
        contact: None,
        directory: url.parse().unwrap(),
        ca: None,
        state_dir: directory.path().join("state"),
    };
    let source = CertificateSource::Acme(acme);
    let tls = load(&TlsSettings {
        source,
        ..files.clone()
    })
    .unwrap();
    let watching = tokio::spawn(tls.clone().watch());
    let _asked = authority.accept().await.unwrap();
    let challenges = &tls.shared.challenges;
    challenges.insert("a.example", &[7; 32]).unwrap();
    tls.replace(tls.prepare(&files).unwrap());
    let forgotten = async {
        while !challenges.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let forgotten = tokio::time::timeout(Duration::from_secs(20), forgotten).await;
    assert!(forgotten.is_ok(), "the answer is still given");
    watching.abort();
}
