//! Certificates as operators have them: files that are broken, and files that change under a service.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use reqwest::{Certificate, Identity};
use tempfile::TempDir;

use crate::harness::{Upstream, client_builder, route, soon};
use crate::programs::{Running, Said, gatherd, program, said};

/// A certificate for a name of this machine and its key, made some seconds ago.
pub(crate) fn issue(name: &str, age: u64) -> [String; 2] {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    let ago = std::time::Duration::from_secs(age);
    params.not_before = (std::time::SystemTime::now() - ago).into();
    let certificate = params.self_signed(&key).expect("a certificate");
    [certificate.pem(), key.serialize_pem()]
}

fn write(directory: &Path, name: &str, [certificate, key]: &[String; 2]) {
    fs::write(directory.join(format!("{name}.pem")), certificate).expect("a file");
    fs::write(directory.join(format!("{name}.key")), key).expect("a file");
}

/// A config file with keys of `[tls]` besides the pair `a`, and one route.
fn with_config(tls: &str, upstream: &str) -> TempDir {
    let directory = TempDir::new().expect("a directory for this test");
    let text = format!(
        "[server]\nhttps = [\"127.0.0.1:0\"]\n[admin]\nenabled = false\n\
         [rate_limit]\nenabled = false\n\
         [tls]\ncertificate = \"a.pem\"\nprivate_key = \"a.key\"\n{tls}\n{upstream}"
    );
    fs::write(directory.path().join("config.toml"), text).expect("a file");
    directory
}

/// What the two files hold, and how it is told what is wrong with them.
struct Broken {
    certificate: Vec<u8>,
    key: Vec<u8>,
    told: [&'static str; 2],
}

impl Broken {
    fn certificate(certificate: impl Into<Vec<u8>>, key: &str, words: &'static str) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            told: ["tls.certificate", words],
        }
    }

    fn key(certificate: &str, key: impl Into<Vec<u8>>, words: &'static str) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            told: ["tls.private_key", words],
        }
    }

    /// Everything that may be wrong.
    fn all() -> Vec<Self> {
        use rustls::pki_types::pem::PemObject;
        let [pem, key] = issue("localhost", 0);
        let [other_pem, other_key] = issue("localhost", 0);
        let der = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes());
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        vec![
            Self::certificate("", &key, "is empty"),
            Self::certificate(der.expect("a certificate").to_vec(), &key, "DER"),
            Self::certificate("hello", &key, "no certificate"),
            Self::certificate(&pem.as_bytes()[..pem.len() / 2], &key, "PEM"),
            Self::certificate(pem.replace("MII", "MIJ"), &key, "X.509"),
            Self::certificate(key.clone(), &pem, "but a private key"),
            Self::certificate(format!("{other_pem}{pem}"), &key, "must begin with it"),
            Self::key(&pem, "\n", "is empty"),
            Self::key(&pem, encrypted, "encrypted"),
            Self::key(&pem, format!("{key}{other_key}"), "2 private keys"),
            Self::key(&pem, other_key, "not the key"),
        ]
    }
}

#[tokio::test]
async fn a_broken_certificate_file_is_named_with_its_key_and_what_is_wrong_with_it() {
    let directory = with_config("", "");
    let a_pem = directory.path().join("a.pem");
    for broken in Broken::all() {
        fs::write(&a_pem, broken.certificate).expect("a file");
        fs::write(directory.path().join("a.key"), broken.key).expect("a file");
        let [named, words] = broken.told;
        for command in ["check", "serve"] {
            let said = said(directory.path(), &[command]).await;
            assert_eq!(said.code, Some(69), "{words}: {said:?}");
            let file = if named.ends_with("key") {
                "a.key"
            } else {
                "a.pem"
            };
            let line = said.error.lines().find(|line| line.contains(named));
            let line = line.unwrap_or_else(|| panic!("{words}: no {named} in {said:?}"));
            assert!(
                line.contains(file) && line.contains(words),
                "{words}: {line}"
            );
            assert!(!said.error.contains("listening"), "{words}: {said:?}");
        }
    }
    fs::remove_file(&a_pem).expect("it was there");
    let missing = said(directory.path(), &["check"]).await;
    fs::create_dir(&a_pem).expect("a directory");
    let is_directory = said(directory.path(), &["check"]).await;
    for said in [missing, is_directory] {
        assert_eq!(said.code, Some(69), "{said:?}");
        assert!(said.error.contains("tls.certificate") && said.error.contains("a.pem"));
    }
}

#[tokio::test]
async fn pairs_for_names_and_the_authorities_of_clients_are_told_by_their_own_keys() {
    let sni =
        "client_ca = \"ca.pem\"\n[[tls.sni]]\ncertificate = \"b.pem\"\nprivate_key = \"b.key\"";
    let directory = with_config(sni, "");
    write(directory.path(), "a", &issue("localhost", 0));
    let missing = said(directory.path(), &["check"]).await;
    assert_eq!(missing.code, Some(69), "{missing:?}");
    for key in [
        "tls.client_ca",
        "tls.sni[0].certificate",
        "tls.sni[0].private_key",
    ] {
        assert!(missing.error.contains(key), "{key}: {missing:?}");
    }
    let [certificate, _] = issue("b.example", 0);
    let [_, key] = issue("b.example", 0);
    write(directory.path(), "b", &[certificate, key.clone()]);
    fs::write(directory.path().join("ca.pem"), &key).expect("a file");
    let wrong = said(directory.path(), &["check"]).await;
    assert_eq!(wrong.code, Some(69), "{wrong:?}");
    for words in [
        "tls.client_ca",
        "but a private key",
        "tls.sni[0].private_key",
        "not the key",
    ] {
        assert!(wrong.error.contains(words), "{words}: {wrong:?}");
    }
}

#[tokio::test]
async fn keys_as_openssl_writes_them_are_taken() {
    let Some(openssl) = program("openssl") else {
        return;
    };
    let directory = with_config("", "");
    let kinds: [(&str, &[&str]); 5] = [
        (
            "PKCS #1",
            &["genrsa", "-traditional", "-out", "a.key", "2048"],
        ),
        (
            "SEC 1",
            &["ecparam", "-genkey", "-name", "prime256v1", "-out", "a.key"],
        ),
        (
            "SEC 1, P-384",
            &["ecparam", "-genkey", "-name", "secp384r1", "-out", "a.key"],
        ),
        (
            "Ed25519",
            &["genpkey", "-algorithm", "ed25519", "-out", "a.key"],
        ),
        ("RSA", &["genpkey", "-algorithm", "rsa", "-out", "a.key"]),
    ];
    for (kind, arguments) in kinds {
        let certify = "req -x509 -key a.key -out a.pem -days 30 -subj /CN=localhost";
        let certify: Vec<&str> = certify.split(' ').collect();
        for arguments in [arguments, &certify] {
            let mut command = tokio::process::Command::new(&openssl);
            command.args(arguments).current_dir(directory.path());
            let said = Said::of(command).await;
            assert_eq!(said.code, Some(0), "{kind}: {said:?}");
        }
        let said = said(directory.path(), &["check"]).await;
        assert_eq!(said.code, Some(0), "{kind}: {said:?}");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_told_of_and_served() {
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.not_after = (std::time::SystemTime::now() - std::time::Duration::from_secs(9)).into();
    let certificate = params.self_signed(&key).expect("a certificate");
    let upstream = Upstream::start();
    let routes = [upstream.section("u", "/"), route("/x", "all", "u", "")].concat();
    let directory = with_config("", &routes);
    write(
        directory.path(),
        "a",
        &[certificate.pem(), key.serialize_pem()],
    );
    let check = said(directory.path(), &["check"]).await;
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.out.contains("has expired"), "{check:?}");
    let mut running = Running::start(gatherd::<&str>(directory.path(), &[]));
    running.line("has expired").await;
    let address = running.address("listening for HTTPS").await;
    let answer = client_builder().build().expect("a client");
    let answer = soon(answer.get(format!("https://{address}/x")).send()).await;
    assert_eq!(answer.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_certificate_of_tomorrow_is_told_of_in_red_and_served() {
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let day = std::time::Duration::from_secs(24 * 3600);
    params.not_before = (std::time::SystemTime::now() + day).into();
    let certificate = params.self_signed(&key).expect("a certificate");
    let directory = with_config("", "");
    let pair = [certificate.pem(), key.serialize_pem()];
    write(directory.path(), "a", &pair);
    let config = directory.path().join("config.toml");
    let text = fs::read_to_string(&config).expect("a file");
    let admin = "listen = \"127.0.0.1:0\"";
    fs::write(
        config,
        text.replace("enabled = false\n[rate", &format!("{admin}\n[rate")),
    )
    .expect("a file");
    let mut running = Running::start(gatherd::<&str>(directory.path(), &[]));
    running.line("is not valid before").await;
    let address = running.address("listening for operators").await;
    let client = client_builder().build().expect("a client");
    let page = async |page: &str| {
        let answer = soon(client.get(format!("http://{address}{page}")).send()).await;
        answer.expect("an answer").text().await.expect("a page")
    };
    let metrics = page("/metrics").await;
    let metric = "gatherd_certificate_not_before_timestamp_seconds{certificate=\"tls\"}";
    assert!(metrics.contains(metric), "{metrics}");
    let status = soon(async {
        loop {
            let status = page("/status").await;
            if status.contains("NOT VALID for another") {
                return status;
            }
        }
    });
    let status = status.await;
    assert!(status.starts_with("Trouble"), "{status}");
    assert!(status.contains("certificate tls: is not valid"), "{status}");
}

/// A client of its own for each request, which trusts one certificate and may show one.
async fn status(address: &str, trusted: &str, shown: Option<&[String; 2]>) -> Option<u16> {
    let port = address.rsplit_once(':').expect("a port").1;
    let trusted = Certificate::from_pem(trusted.as_bytes()).expect("a certificate");
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([trusted]);
    if let Some(pair) = shown {
        let identity = Identity::from_pem(pair.concat().as_bytes()).expect("a pair");
        builder = builder.identity(identity);
    }
    let client = builder.build().expect("a client");
    let request = client.get(format!("https://localhost:{port}/x"));
    let response = soon(request.send()).await.ok()?;
    Some(response.status().as_u16())
}

/// Waits until a client that trusts only this certificate is served.
async fn served_with(address: &str, trusted: &str) {
    soon(async { while status(address, trusted, None).await != Some(200) {} }).await;
}

#[tokio::test]
async fn changed_files_are_in_use_within_seconds_however_they_were_changed() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let upstream = Upstream::start();
    let routes = [upstream.section("u", "/"), route("/x", "all", "u", "")].concat();
    let directory = with_config("", &routes);
    let path = |name: &str| directory.path().join(name);
    let pairs: Vec<_> = (0..4).map(|n| issue("localhost", 100 - n)).collect();
    // As certbot has it: links that change one after the other.
    write(directory.path(), "archive1", &pairs[0]);
    write(directory.path(), "archive2", &pairs[1]);
    for end in ["pem", "key"] {
        symlink(format!("archive1.{end}"), path(&format!("a.{end}"))).expect("a link");
    }
    let mut running = Running::start(gatherd::<&str>(directory.path(), &[]));
    let address = running.address("listening for HTTPS").await;
    assert_eq!(status(&address, &pairs[0][0], None).await, Some(200));
    for end in ["pem", "key"] {
        symlink(format!("archive2.{end}"), path("new")).expect("a link");
        fs::rename(path("new"), path(&format!("a.{end}"))).expect("a rename");
    }
    served_with(&address, &pairs[1][0]).await;
    // Written over, key first, through the link.
    write(
        directory.path(),
        "archive2",
        &[pairs[1][0].clone(), pairs[2][1].clone()],
    );
    write(directory.path(), "archive2", &pairs[2]);
    served_with(&address, &pairs[2][0]).await;
    // Replaced by files.
    write(directory.path(), "new", &pairs[3]);
    for end in ["pem", "key"] {
        let new = path(&format!("new.{end}"));
        fs::rename(new, path(&format!("a.{end}"))).expect("a rename");
    }
    served_with(&address, &pairs[3][0]).await;
    // What cannot be used is told once it has stayed so, and changes nothing.
    fs::write(path("a.key"), "nonsense").expect("a file");
    let told = running.line("cannot be used").await;
    assert!(told.contains("tls.private_key"), "{told}");
    assert_eq!(status(&address, &pairs[3][0], None).await, Some(200));
}

#[tokio::test]
async fn only_clients_of_the_right_authority_are_served_and_it_can_change() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let upstream = Upstream::start();
    let routes = [upstream.section("u", "/"), route("/x", "all", "u", "")].concat();
    let directory = with_config("client_ca = \"ca.pem\"", &routes);
    let server = issue("localhost", 0);
    write(directory.path(), "a", &server);
    let [first, second] = [client_pair(), client_pair()];
    let ca = |pair: &ClientPair| fs::write(directory.path().join("ca.pem"), &pair.authority);
    ca(&first).expect("a file");
    let mut running = Running::start(gatherd::<&str>(directory.path(), &[]));
    let address = running.address("listening for HTTPS").await;
    let trusted = &server[0];
    let asks = async |pair: &ClientPair| status(&address, trusted, Some(&pair.shown)).await;
    assert_eq!(asks(&first).await, Some(200));
    assert_eq!(asks(&second).await, None);
    assert_eq!(status(&address, trusted, None).await, None);
    ca(&second).expect("a file");
    soon(async { while asks(&second).await != Some(200) {} }).await;
    assert_eq!(asks(&first).await, None);
}

struct ClientPair {
    authority: String,
    shown: [String; 2],
}

/// An authority, and a client that it vouches for.
fn client_pair() -> ClientPair {
    use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer};
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("an authority").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["client.example".to_owned()]).expect("a name");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    ClientPair {
        authority,
        shown: [certificate.pem(), key.serialize_pem()],
    }
}

#[tokio::test]
async fn browsers_are_told_to_come_by_https_only_when_they_came_by_https() {
    let upstream = Upstream::start();
    let routes = [upstream.section("u", "/"), route("/x", "all", "u", "")].concat();
    for (key, expected) in [("", None), ("hsts = true", Some("max-age=31536000"))] {
        let directory = with_config(key, &routes);
        write(directory.path(), "a", &issue("localhost", 0));
        let mut command = gatherd::<&str>(directory.path(), &[]);
        command
            .env("GATHERD_SERVER__HTTP", "[\"127.0.0.1:0\"]")
            .env("GATHERD_SERVER__HTTP_MODE", "serve");
        let mut running = Running::start(command);
        let https = running.address("listening for HTTPS").await;
        let http = running.address("listening for plain HTTP").await;
        let client = client_builder().build().expect("a client");
        let told = async |url: String| {
            let answer = soon(client.get(url).send()).await.expect("an answer");
            let told = answer.headers().get("strict-transport-security").cloned();
            told.map(|value| value.to_str().expect("text").to_owned())
        };
        for path in ["x", "absent"] {
            assert_eq!(
                told(format!("https://{https}/{path}")).await.as_deref(),
                expected
            );
            assert_eq!(told(format!("http://{http}/{path}")).await, None);
        }
    }
}
