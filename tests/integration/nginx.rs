//! Gathers from a server that none of us wrote: nginx, over HTTPS, with a certificate of a private CA.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::harness::{Answer, Service, route, soon};
use crate::programs::{Running, free_port, program};

/// Some JSON with spaces, escapes and a number that no float holds, to be embedded as it is.
const FILE: &str = "{ \"id\" : 123456789012345678901,\n  \"name\": \"caf\\u00e9 \\/ \u{e9}\" }\n";

#[tokio::test]
async fn nginx_is_asked_in_the_protocol_that_is_configured() {
    let Some(nginx) = Nginx::start().await else {
        return;
    };
    for (http, protocol) in [
        ("http = \"1\"", "HTTP/1.1"),
        ("http = \"2\"", "HTTP/2.0"),
        ("http = \"auto\"", "HTTP/2.0"),
        ("", "HTTP/2.0"),
    ] {
        let answer = nginx.gather(nginx.port, "ca.pem", http, "/protocol").await;
        assert_eq!(answer.status, 200, "{http}: {answer:?}");
        let one = format!(r#"{{"protocol":"{protocol}","host":"localhost"}}"#);
        assert_eq!(answer.body, format!("[{one},{one}]"), "{http}");
    }
}

#[tokio::test]
async fn a_file_that_nginx_serves_is_embedded_byte_for_byte() {
    let Some(nginx) = Nginx::start().await else {
        return;
    };
    for http in ["http = \"1\"", "http = \"2\""] {
        let answer = nginx.gather(nginx.port, "ca.pem", http, "/file.json").await;
        let expected = (200, format!("[{FILE},{FILE}]"));
        assert_eq!((answer.status, answer.body), expected, "{http}");
    }
}

#[tokio::test]
async fn a_status_of_nginx_that_is_no_success_fails_the_gather_with_that_status() {
    let Some(nginx) = Nginx::start().await else {
        return;
    };
    for (path, status) in [("/missing", 404), ("/nothing", 204), ("/away", 302)] {
        let answer = nginx.gather(nginx.port, "ca.pem", "", path).await;
        assert_eq!(answer.status, 500, "{answer:?}");
        let branch = &answer.json()["branches"][0];
        assert_eq!(
            (&branch["kind"], &branch["status"]),
            (&"status".into(), &status.into())
        );
    }
}

#[tokio::test]
async fn a_certificate_of_another_ca_or_for_another_name_is_refused_as_tls() {
    let Some(nginx) = Nginx::start().await else {
        return;
    };
    for http in ["http = \"1\"", "http = \"2\"", "http = \"auto\""] {
        for (what, port, ca) in [
            ("another CA", nginx.port, "ca = \"other.pem\""),
            ("the public CAs", nginx.port, "ca = \"bundled\""),
            ("the CAs of the system", nginx.port, "ca = \"system\""),
            (
                "another name",
                nginx.port_of_another_name,
                "ca = \"ca.pem\"",
            ),
        ] {
            let answer = nginx
                .gather_with(port, &format!("{ca}\n{http}"), "/protocol")
                .await;
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (500, "gather-failed"),
                "{what}, {http}"
            );
            assert!(
                answer.kinds().iter().all(|kind| kind == "tls"),
                "{what}: {answer:?}"
            );
        }
    }
}

/// An nginx with a configuration, a directory and two ports of its own.
struct Nginx {
    directory: TempDir,
    port: u16,
    port_of_another_name: u16,
    _running: Running,
}

impl Nginx {
    /// One that answers; none where there is no nginx.
    async fn start() -> Option<Self> {
        let nginx = program("nginx")?;
        let directory = TempDir::new().expect("a directory for this test");
        let (port, port_of_another_name) = (free_port(), free_port());
        write_certificates(directory.path());
        fs::write(directory.path().join("file.json"), FILE).expect("a file");
        let text = configuration(directory.path(), port, port_of_another_name);
        let file = directory.path().join("nginx.conf");
        fs::write(&file, text).expect("a file");
        let mut command = Command::new(nginx);
        command.arg("-p").arg(directory.path()).arg("-c").arg(&file);
        // Else it complains about the log that Debian built in, before it reads the file.
        command.args(["-e", "stderr"]);
        let mut running = Running::start(command);
        for port in [port, port_of_another_name] {
            soon(async {
                while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                    assert!(
                        running.runs(),
                        "nginx ended: {}",
                        running.line("none").await
                    );
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        Some(Self {
            directory,
            port,
            port_of_another_name,
            _running: running,
        })
    }

    async fn gather(&self, port: u16, ca: &str, http: &str, path: &str) -> Answer {
        self.gather_with(port, &format!("ca = \"{ca}\"\n{http}"), path)
            .await
    }

    /// What a service answers whose upstream has these keys; the CA files are beside its config file.
    async fn gather_with(&self, port: u16, keys: &str, path: &str) -> Answer {
        let beside = TempDir::new().expect("a directory for this test");
        for file in ["ca.pem", "other.pem"] {
            fs::copy(self.directory.path().join(file), beside.path().join(file)).expect("a copy");
        }
        let config = format!(
            "[upstreams.nginx]\nurl = \"https://localhost:{port}{path}\"\n{keys}\n{}",
            route("/all", "all", "nginx", "")
        );
        let unlimited = "[rate_limit]\nenabled = false";
        let service = Service::within(beside, "", unlimited, &config).await;
        service.get("/all").await
    }
}

fn configuration(directory: &Path, port: u16, port_of_another_name: u16) -> String {
    let directory = directory.display();
    let server = |port: u16, pair: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port} ssl http2; root {directory};
               ssl_certificate {directory}/{pair}.pem; ssl_certificate_key {directory}/{pair}.key;
               default_type application/json;
               location /protocol {{
                 return 200 '{{\"protocol\":\"$server_protocol\",\"host\":\"$host\"}}';
               }}
               location /nothing {{ return 204; }}
               location /away {{ return 302 /protocol; }}
             }}\n"
        )
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {directory}/{name};\n"))
        .concat();
    format!(
        "daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr notice;
         events {{}}
         http {{ access_log off; {temporary} {} {} }}\n",
        server(port, "localhost"),
        server(port_of_another_name, "elsewhere"),
    )
}

/// `ca.pem` with what it signed: `localhost` and `elsewhere`; and `other.pem`, which signed neither.
fn write_certificates(directory: &Path) {
    let write = |name: &str, text: String| {
        fs::write(directory.join(name), text).expect("a file");
    };
    let key = || KeyPair::generate().expect("a key");
    let ca = || {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let ca_key = key();
    let certificate = ca().self_signed(&ca_key).expect("a CA");
    write("ca.pem", certificate.pem());
    write("other.pem", ca().self_signed(&key()).expect("a CA").pem());
    let issuer = Issuer::new(ca(), ca_key);
    for (file, name) in [
        ("localhost", "localhost"),
        ("elsewhere", "elsewhere.example"),
    ] {
        let leaf = key();
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&leaf, &issuer).expect("a certificate");
        write(&format!("{file}.pem"), certificate.pem());
        write(&format!("{file}.key"), leaf.serialize_pem());
    }
}
