//! The files for other platforms: configs that `check` accepts, and numbers of two files that must fit.

use std::fs;
use std::path::Path;

use gatherd::config::{self, Environment, Settings};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::programs::{Said, gatherd};

/// A directory with the config of a platform and what its platform would put beside it.
fn deployed(platform: &str) -> TempDir {
    let directory = TempDir::new().expect("a directory for this test");
    let config = format!("deploy/{platform}/config.toml");
    fs::copy(config, directory.path().join("config.toml")).expect("a config");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["gatherd.example.com".to_owned()];
    let certificate = CertificateParams::new(names)
        .expect("parameters")
        .self_signed(&key);
    let tls = directory.path().join("tls");
    fs::create_dir(&tls).expect("a directory");
    fs::write(
        tls.join("cert.pem"),
        certificate.expect("a certificate").pem(),
    )
    .expect("a file");
    fs::write(tls.join("key.pem"), key.serialize_pem()).expect("a file");
    directory
}

fn settings(directory: &Path) -> Settings {
    let redis = [("REDIS_URL", "rediss://:hush@redis.example.com:6379")];
    let environment: Environment = redis.into_iter().collect();
    let config = config::load(&directory.join("config.toml"), &environment);
    config
        .unwrap_or_else(|problems| panic!("{problems}"))
        .settings
}

/// The number after `name:` in a file.
fn number(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).expect(file);
    let (_, rest) = text
        .split_once(&format!("{name}: "))
        .unwrap_or_else(|| panic!("{name} in {file}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("{name} in {file} is a number"))
}

#[tokio::test]
async fn check_accepts_the_config_of_every_platform() {
    for platform in ["ecs", "cloud-run"] {
        let directory = deployed(platform);
        let mut command = gatherd(directory.path(), &["check"]);
        command.env("REDIS_URL", "rediss://:hush@redis.example.com:6379");
        let said = Said::of(command).await;
        assert_eq!(said.code, Some(0), "{platform}: {said:?}");
        assert!(
            !format!("{said:?}").contains("hush"),
            "{platform}: {said:?}"
        );
    }
}

#[test]
fn ecs_waits_longer_for_a_task_to_stop_than_the_task_drains() {
    let file = "deploy/ecs/service.yaml";
    let server = settings(deployed("ecs").path()).server;
    assert!(number(file, "StopTimeout") > server.drain_timeout.as_secs());
    let port = u64::from(server.https[0].port());
    assert_eq!(number(file, "ContainerPort"), port);
    let path = server.health_path.expect("there is one");
    let text = fs::read_to_string(file).expect(file);
    assert!(text.contains(&format!("HealthCheckPath: {path}\n")));
}

#[test]
fn cloud_run_finds_the_port_and_the_health_path_and_waits_for_the_longest_gather() {
    let file = "deploy/cloud-run/service.yaml";
    let settings = settings(deployed("cloud-run").path());
    let server = &settings.server;
    assert_eq!(
        number(file, "containerPort"),
        u64::from(server.http[0].port())
    );
    let text = fs::read_to_string(file).expect(file);
    let path = server.health_path.as_deref().expect("there is one");
    assert!(text.contains(&format!("path: {path}\n")));
    assert!(
        server.drain_timeout.as_secs() < 10,
        "SIGKILL comes after 10 s"
    );
    assert!(server.max_in_flight < usize::try_from(number(file, "containerConcurrency")).unwrap());
    for route in &settings.routes {
        assert!(route.max_timeout < server.drain_timeout);
        assert!(route.max_timeout.as_secs() < number(file, "timeoutSeconds"));
    }
}
