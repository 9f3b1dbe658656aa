//! A certificate from an authority: pebble, which Let's Encrypt wrote for such tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::Certificate;
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{SOON, client_builder, soon};
use crate::programs::{Running, free_port, gatherd, program};

/// Names of the certificate; pebble's own resolver takes them all for this machine.
const NAMES: [&str; 2] = ["a.gatherd.test", "b.gatherd.test"];

/// A machine with gatherd's files, and room for an authority.
struct Place {
    directory: TempDir,
    /// Of the service, and where the authority looks for proof.
    https: u16,
    /// Of the authority, its management and its name server.
    ports: [u16; 3],
}

/// An authority that runs.
struct Authority {
    _pebble: Running,
    _names: Running,
}

impl Place {
    /// Nothing when there is no pebble here.
    fn new() -> Option<Self> {
        program("pebble")?;
        program("pebble-challtestsrv")?;
        let directory = TempDir::new().expect("a directory for this test");
        let place = Self {
            directory,
            https: free_port(),
            ports: [free_port(), free_port(), free_port()],
        };
        write_authority_of_the_authority(place.directory.path());
        place.configure(&NAMES);
        Some(place)
    }

    fn configure(&self, names: &[&str]) {
        let text = format!(
            "[server]\nhttps = [\"127.0.0.1:{}\"]\n[admin]\nenabled = false\n\
             [rate_limit]\nenabled = false\n\
             [tls.acme]\ndomains = {names:?}\ncontact = \"mailto:admin@gatherd.test\"\n\
             directory = \"https://localhost:{}/dir\"\nca = \"minica.pem\"\nstate_dir = \"state\"\n",
            self.https, self.ports[0]
        );
        fs::write(self.directory.path().join("config.toml"), text).expect("a file");
    }

    /// Starts the authority, which looks for proof at `port`.
    async fn authority(&self, port: u16, nonces_refused: u8) -> Authority {
        let [own, management, names] = self.ports;
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{own}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": "pebble.pem",
            "privateKey": "pebble.key",
            "httpPort": 1,
            "tlsPort": port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        let file = self.directory.path().join("pebble.json");
        fs::write(file, config.to_string()).expect("a file");
        let mut resolver = Command::new(program("pebble-challtestsrv").expect("it is there"));
        resolver.args([
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-defaultIPv6",
            "",
        ]);
        resolver
            .arg("-management")
            .arg(format!("127.0.0.1:{}", free_port()));
        resolver.arg("-dns01").arg(format!("127.0.0.1:{names}"));
        let mut pebble = Command::new(program("pebble").expect("it is there"));
        pebble
            .args(["-strict", "-config", "pebble.json", "-dnsserver"])
            .arg(format!("127.0.0.1:{names}"))
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env("PEBBLE_WFE_NONCEREJECT", nonces_refused.to_string())
            .current_dir(self.directory.path())
            .stdout(std::process::Stdio::null());
        resolver.stdout(std::process::Stdio::null());
        let authority = Authority {
            _names: Running::start(resolver),
            _pebble: Running::start(pebble),
        };
        self.root().await;
        authority
    }

    /// The root of what the authority signs, once it answers.
    async fn root(&self) -> String {
        let client = client_builder().build().expect("a client");
        let url = format!("https://localhost:{}/roots/0", self.ports[1]);
        // It makes RSA keys first, which takes its time on a busy machine.
        let root = tokio::time::timeout(3 * SOON, async {
            loop {
                if let Ok(response) = client.get(&url).send().await {
                    return response.text().await.expect("a certificate");
                }
                tokio::time::sleep(SOON / 200).await;
            }
        });
        root.await.expect("the authority answers")
    }

    fn serve(&self) -> Running {
        Running::start(gatherd::<&str>(self.directory.path(), &[]))
    }

    /// The chain that a client is shown who trusts this root; nothing when it refuses.
    async fn shown(&self, root: &str, name: &str) -> Option<Vec<u8>> {
        let root = Certificate::from_pem(root.as_bytes()).expect("a certificate");
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([root])
            .tls_info(true)
            .resolve(name, ([127, 0, 0, 1], self.https).into())
            .build()
            .expect("a client");
        let url = format!("https://{name}:{}/", self.https);
        let response = soon(client.get(url).send()).await.ok()?;
        let info = response.extensions().get::<reqwest::tls::TlsInfo>()?;
        info.peer_certificate().map(<[u8]>::to_vec)
    }

    /// Waits until both names are served by the authority's certificate.
    async fn served(&self, root: &str) -> Vec<u8> {
        soon(async {
            loop {
                if let Some(first) = self.shown(root, NAMES[0]).await {
                    assert_eq!(self.shown(root, NAMES[1]).await.as_ref(), Some(&first));
                    return first;
                }
            }
        })
        .await
    }

    /// Where account and certificate are.
    fn state(&self) -> PathBuf {
        let name = format!("acme/localhost-{}-dir", self.ports[0]);
        self.directory.path().join("state").join(name)
    }
}

/// The certificate of the authority's own HTTPS, and who vouches for it.
fn write_authority_of_the_authority(directory: &Path) {
    let write = |name: &str, text: String| fs::write(directory.join(name), text).expect("a file");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write(
        "minica.pem",
        params.self_signed(&key).expect("a root").pem(),
    );
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    write("pebble.pem", certificate.pem());
    write("pebble.key", key.serialize_pem());
}

#[tokio::test]
async fn a_certificate_is_got_kept_privately_and_used_again_without_the_authority() {
    let Some(place) = Place::new() else { return };
    let authority = place.authority(place.https, 0).await;
    let root = place.root().await;
    let mut service = place.serve();
    service.line("a self-signed one stands in").await;
    service.line("got a certificate").await;
    let first = place.served(&root).await;
    for file in ["account.json", "certificate.pem"] {
        let mode = fs::metadata(place.state().join(file))
            .expect("it is kept")
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{file}");
    }
    let mode = fs::metadata(place.state())
        .expect("a directory")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o700);
    assert!(!place.state().join("backoff.json").exists());
    service.terminate();
    assert_eq!(service.ended().await, Some(0));
    drop(authority);
    let mut service = place.serve();
    service.line("listening for HTTPS").await;
    assert_eq!(place.shown(&root, NAMES[0]).await, Some(first));
    service.terminate();
    assert_eq!(service.ended().await, Some(0));
}

#[tokio::test]
async fn a_start_does_not_depend_on_the_authority_which_is_asked_again() {
    let Some(place) = Place::new() else { return };
    let mut service = place.serve();
    service.line("listening for HTTPS").await;
    service.line("cannot be reached").await;
    let anybody = client_builder().build().expect("a client");
    let url = format!("https://localhost:{}/", place.https);
    assert_eq!(
        soon(anybody.get(url).send())
            .await
            .expect("an answer")
            .status(),
        404
    );
    let _authority = place.authority(place.https, 0).await;
    let root = place.root().await;
    service.line("got a certificate").await;
    place.served(&root).await;
}

#[tokio::test]
async fn refused_nonces_are_no_failure() {
    let Some(place) = Place::new() else { return };
    let _authority = place.authority(place.https, 25).await;
    let mut service = place.serve();
    service.line("got a certificate").await;
    place.served(&place.root().await).await;
}

#[tokio::test]
async fn a_name_that_cannot_be_proven_is_told_of_and_a_restart_does_not_ask_at_once() {
    let Some(place) = Place::new() else { return };
    let _authority = place.authority(free_port(), 0).await;
    let mut service = place.serve();
    let told = service.line("no certificate from the authority").await;
    // A quick authority refuses the second name's challenge because the first has failed already.
    let ways = [
        "could not prove a name",
        "urn:ietf:params:acme:error:unauthorized",
    ];
    assert!(
        ways.iter().any(|way| told.contains(way)) && told.contains("Failed to connect"),
        "{told}"
    );
    service.terminate();
    assert_eq!(service.ended().await, Some(0));
    let mut service = place.serve();
    service.line("waiting before the authority is asked").await;
    service.terminate();
    assert_eq!(service.ended().await, Some(0));
    // Other names are another matter.
    place.configure(&["c.gatherd.test"]);
    let mut service = place.serve();
    service.line("asking for a certificate").await;
}

#[tokio::test]
async fn a_certificate_with_a_third_of_its_life_left_is_renewed_while_it_is_served() {
    let Some(place) = Place::new() else { return };
    let _authority = place.authority(place.https, 0).await;
    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = NAMES.map(str::to_owned).to_vec();
    let mut params = CertificateParams::new(names).expect("names");
    let days = |days: u64| std::time::Duration::from_secs(days * 24 * 3600);
    let now = std::time::SystemTime::now();
    (params.not_before, params.not_after) = ((now - days(61)).into(), (now + days(29)).into());
    let old = params.self_signed(&key).expect("a certificate").pem();
    fs::create_dir_all(place.state()).expect("a directory");
    let file = place.state().join("certificate.pem");
    fs::write(&file, format!("{old}{}", key.serialize_pem())).expect("a file");
    let mut service = place.serve();
    service.line("listening for HTTPS").await;
    let shown = place.shown(&old, NAMES[0]).await;
    let root = place.root().await;
    service.line("got a certificate").await;
    let renewed = place.served(&root).await;
    // A quick authority may have been quicker than the client.
    let old = CertificateDer::from_pem_slice(old.as_bytes()).expect("a certificate");
    assert!(shown.is_none_or(|shown| shown == old.as_ref()));
    assert_ne!(renewed, old.as_ref());
    let kept = CertificateDer::from_pem_file(file).expect("a certificate");
    assert_eq!(renewed, kept.as_ref());
}

#[tokio::test]
async fn a_reload_that_names_others_asks_for_a_certificate_of_theirs() {
    let Some(place) = Place::new() else { return };
    let _authority = place.authority(place.https, 0).await;
    let root = place.root().await;
    let mut service = place.serve();
    service.line("got a certificate").await;
    let first = place.served(&root).await;
    let other = "c.gatherd.test";
    place.configure(&[NAMES[0], other]);
    service.signal(Signal::HUP);
    let line = service.line("reloaded").await;
    assert!(line.contains("tls.acme.domains"), "{line}");
    service.line("got a certificate").await;
    let second = soon(async {
        loop {
            if let Some(shown) = place.shown(&root, other).await {
                return shown;
            }
        }
    });
    let second = second.await;
    assert_ne!(first, second);
    // What cannot be used later is refused at once, and nothing is asked for.
    fs::write(place.directory.path().join("minica.pem"), "broken").expect("a file");
    service.signal(Signal::HUP);
    service.line("not reloaded").await;
    let why = service.line("why not").await;
    assert!(why.contains("tls.acme.ca"), "{why}");
    assert_eq!(place.shown(&root, other).await, Some(second));
    service.terminate();
    assert_eq!(service.ended().await, Some(0));
}
