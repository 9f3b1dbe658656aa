use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::settings::{HedgeAfter, HedgeSettings};
use crate::gather::{Launch, Policy};

mod broken;
mod limits;
mod urls;

/// Everything that must be said, and two routes; tests append to it.
const BASE: &str = r#"
[server]
https = ["127.0.0.1:8443"]
[tls]
certificate = "absent/cert.pem"
private_key = "absent/key.pem"
self_signed = true
[upstreams.work]
url = "http://127.0.0.1:1234/"
[upstreams.keyed]
url = "http://h/?key=1"
headers = { x-api-key = "hush" }
"#;

fn read(text: &str) -> Result<Config, Problems> {
    read_with(text, &[])
}

fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
    parse(
        Path::new("config.toml"),
        text,
        &environment.iter().copied().collect(),
    )
}

fn problems(text: &str) -> Problems {
    read(text).map(|_| ()).expect_err(text)
}

fn keys(text: &str) -> Vec<String> {
    problems(text)
        .iter()
        .map(|it| it.key().unwrap_or_default().to_owned())
        .collect()
}

fn route(rest: &str) -> String {
    format!("{BASE}\n[[routes]]\npath = \"/x/{{id}}\"\n{rest}\n")
}

/// Reads a base with one line put under the header of a section.
fn with(section: &str, line: &str) -> String {
    if BASE.contains(section) {
        return BASE.replacen(section, &format!("{section}\n{line}"), 1);
    }
    format!("{BASE}\n{section}\n{line}\n")
}

#[test]
fn the_demonstration_has_no_problems() {
    let text = include_str!("../../config.toml");
    let config = read(text).unwrap_or_else(|problems| panic!("{problems}"));
    let paths: Vec<&str> = config
        .settings
        .routes
        .iter()
        .map(|route| &*route.path)
        .collect();
    assert_eq!(paths, ["/api/all", "/api/first"]);
    assert!(config.settings.mock.is_some() && config.settings.tls.as_ref().unwrap().self_signed);
    assert_eq!(config.settings.upstreams[0].max_calls, 4096);
}

#[test]
fn the_defaults_that_the_demonstration_shows_as_comments_are_the_defaults() {
    let demo = include_str!("../../config.toml");
    let (sections, _) = demo.split_once("# Other policies").unwrap();
    let uncommented: String = sections
        .lines()
        .filter(|line| {
            ![
                "# file",
                "# url",
                "# headers",
                "# allow",
                "# client_ca",
                "# trusted_hops",
                "# health_path",
                "# acme_webroot",
                "# file",
                "# rate_limit",
                "# breaker",
                "# cache",
            ]
            .iter()
            .any(|it| line.starts_with(it))
        })
        .map(|line| match line.strip_prefix("# ") {
            Some(key)
                if key
                    .split_once(" = ")
                    .is_some_and(|(key, _)| !key.contains([' ', '"'])) =>
            {
                key
            }
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(uncommented.contains("\ndrain_timeout = \"12s\""));
    let (plain, full) = (read(demo).unwrap(), read(&uncommented).unwrap());
    assert_eq!(plain.print(), full.print());
}

#[test]
fn every_problem_is_told_at_once_with_its_line() {
    let text = "[server]\nhttps = [\"127.0.0.1:1\", 5, \"x\"]\nmax_bufered = \"1MiB\"\n[tls]\n\
        certificate = 1\nprivate_key = \"k\"\nself_signed = true\n[upstreams.w]\nurl = 5\n\
        [[routes]]\npath = \"/a\"\npolicy = \"all\"\nupstream = \"w\"\n";
    let told = problems(text).to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 5, "{told}");
    assert!(
        lines[0].starts_with("config.toml:2: server.https[1] = 5: must be an IP address"),
        "{told}"
    );
    assert!(
        lines[1].starts_with("config.toml:2: server.https[2] = \"x\": must be an IP"),
        "{told}"
    );
    assert!(
        lines[2].contains(
            "config.toml:3: server.max_bufered: unknown key (did you mean `max_buffered`?)"
        )
    );
    assert!(
        lines[3].starts_with("config.toml:5: tls.certificate = 1: must be the path"),
        "{told}"
    );
    assert!(
        lines[4].starts_with("config.toml:9: upstreams.w.url = 5: must be a string"),
        "{told}"
    );
}

#[test]
fn a_syntax_error_is_one_problem_with_its_line() {
    let told = problems("[server]\nhttps = [\n[tls]\n").to_string();
    assert!(
        told.starts_with("config.toml:") && told.contains("not valid TOML"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(
        problems("[server]\nx = 1\nx = 2\n")
            .to_string()
            .starts_with("config.toml:3:")
    );
}

#[test]
fn the_environment_overrides_the_file_and_is_named_when_it_is_wrong() {
    let config = read_with(
        BASE,
        &[
            ("GATHERD_ADMIN__ENABLED", "false"),
            ("GATHERD_SERVER__FAILURE_STATUS", "500"),
            (
                "GATHERD_SERVER__HTTPS",
                "[\"127.0.0.1:1\", \"127.0.0.1:2\"]",
            ),
            ("GATHERD_UPSTREAMS__WORK__HTTP", "2"),
            ("GATHERD_UPSTREAMS__WORK__HEADERS__X-TOKEN", "12345"),
            ("GATHERD_MOCK__ENABLED", "true"),
            ("GATHERD_MOCK__BODY", "[1,2]"),
            ("GATHERD_PORT", "tcp://10.0.0.1:80"),
        ],
    );
    let settings = config
        .unwrap_or_else(|problems| panic!("{problems}"))
        .settings;
    assert!(settings.admin.is_none());
    assert_eq!(settings.server.https.len(), 2);
    assert_eq!(settings.upstreams[1].http, UpstreamHttp::Http2);
    assert_eq!(settings.upstreams[1].headers[0].1, "12345");
    assert_eq!(settings.mock.unwrap().body, "[1,2]");
    let told = read_with(
        BASE,
        &[
            ("GATHERD_SERVER__DRAIN_TIMEOUT", "12"),
            ("GATHERD_SERVR__X", "1"),
            ("GATHERD_ROUTES__0__PATH", "/x"),
        ],
    );
    let told = told.unwrap_err().to_string();
    assert!(
        told.contains("GATHERD_SERVER__DRAIN_TIMEOUT: server.drain_timeout = 12: must be a number"),
        "{told}"
    );
    assert!(
        told.contains("GATHERD_SERVR__X: servr: unknown key (did you mean `server`?)"),
        "{told}"
    );
    assert!(
        told.contains("GATHERD_ROUTES__0__PATH: [[routes]] cannot"),
        "{told}"
    );
}

#[test]
fn what_the_machine_lacks_is_of_its_own_class() {
    let load = |path: &str| load(Path::new(path), &Environment::default());
    assert_eq!(load("absent/config.toml").unwrap_err().exit_code(), 69);
    assert_eq!(load("src").unwrap_err().exit_code(), 69);
    for text in [
        with(
            "[upstreams.work]",
            "headers = { x-a = { env = \"ABSENT\" } }",
        ),
        with(
            "[upstreams.work]",
            "headers = { x-a = { file = \"absent\" } }",
        ),
        with("[upstreams.work]", "ca = \"absent.pem\""),
        BASE.replace("self_signed = true", ""),
    ] {
        assert_eq!(problems(&text).exit_code(), 69, "{text}");
    }
}

#[test]
fn a_secret_is_found_and_never_shown() {
    let text = with(
        "[upstreams.work]",
        "headers = { authorization = { env = \"TOKEN\" } }",
    );
    let config = read_with(&text, &[("TOKEN", "Bearer hush")]).unwrap();
    let headers = &config.settings.upstreams[1].headers;
    assert_eq!(headers[0].1, "Bearer hush");
    assert!(headers[0].1.is_sensitive());
    for shown in [config.print(), format!("{config:?}")] {
        assert!(!shown.contains("hush"), "{shown}");
    }
    assert!(config.print().contains("env = \"TOKEN\""));
}

#[test]
fn a_secret_file_is_looked_up_beside_the_file_and_among_the_credentials() {
    let directory = std::env::temp_dir().join(format!("gatherd-secret-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("token"), "Bearer x\n").unwrap();
    let text = with(
        "[upstreams.work]",
        "headers = { authorization = { file = \"token\" } }",
    );
    let credentials = [("CREDENTIALS_DIRECTORY", directory.to_str().unwrap())];
    let elsewhere = read_with(&text, &credentials).unwrap();
    let beside = parse(
        &directory.join("config.toml"),
        &text,
        &Environment::default(),
    )
    .unwrap();
    for config in [elsewhere, beside] {
        assert_eq!(config.settings.upstreams[1].headers[0].1, "Bearer x");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_time_limit_follows_from_the_other() {
    let limits = |rest: &str| {
        let config = read(&route(&format!(
            "policy = \"all\"\nupstream = \"work\"\n{rest}"
        )))
        .unwrap();
        let route = &config.settings.routes[0];
        (route.timeout.as_secs(), route.max_timeout.as_secs())
    };
    assert_eq!(limits(""), (10, 10));
    assert_eq!(limits("timeout = \"30s\""), (30, 30));
    assert_eq!(limits("timeout = \"3s\""), (3, 10));
    assert_eq!(limits("max_timeout = \"3s\""), (3, 3));
    assert_eq!(limits("max_timeout = \"30s\""), (10, 30));
}

#[test]
fn policies_become_rules_and_plans() {
    let read = |rest: &str| {
        let config = read(&route(&format!("upstream = \"work\"\ncalls = 3\n{rest}"))).unwrap();
        let route = &config.settings.routes[0];
        let names: Vec<_> = route
            .branches
            .iter()
            .map(|branch| branch.name.to_string())
            .collect();
        assert_eq!(names, ["1", "2", "3"]);
        (route.policy, route.launch, route.hedging.clone())
    };
    assert_eq!(
        read("policy = \"available\"").0,
        Policy::Available { need: 1 }
    );
    let (policy, launch, hedging) = read("policy = \"quorum\"\nneed = 2\nhedge_after = \"1s\"");
    assert_eq!(policy, Policy::Quorum { need: 2 });
    assert_eq!(launch, Launch::Staggered { at_once: 2 });
    let after = |hedging: Option<HedgeSettings>| hedging.map(|it| (it.after, it.min, it.budget));
    let (second, millisecond) = (Duration::from_secs(1), Duration::from_millis(1));
    let expected = (HedgeAfter::Duration(second), millisecond, 0.05);
    assert_eq!(after(hedging), Some(expected));
    let (_, launch, hedging) =
        read("policy = \"all\"\nhedge_after = \"p99.9\"\nhedge_min = \"1s\"");
    assert_eq!(launch, Launch::Together);
    assert_eq!(
        after(hedging),
        Some((HedgeAfter::Quantile(0.999), second, 0.05))
    );
    let hedging = read("policy = \"available\"\nhedge_after = \"siblings\"").2;
    assert_eq!(hedging.map(|it| it.after), Some(HedgeAfter::Siblings));
    assert_eq!(read("policy = \"first_success\"").1, Launch::Together);
}

#[test]
fn what_is_printed_means_the_same() {
    let text = route(
        "policy = \"available\"\nshape = \"object\"\nbranches = [\n\
         { name = \"a\", upstream = \"work\", target = \"/{id}\", required = true },\n\
         { name = \"b\", upstream = \"work\", select = \"/x\", timeout = \"300ms\" },\n]",
    );
    let printed = read(&text).unwrap().print();
    let again = read(&printed).unwrap_or_else(|problems| panic!("{problems}\n{printed}"));
    assert_eq!(again.print(), printed);
    assert_eq!(again.settings.routes[0].branches.len(), 2);
}

#[test]
fn paths_start_at_the_config_file() {
    let config = parse(
        Path::new("/etc/gatherd/config.toml"),
        BASE,
        &Environment::default(),
    );
    let CertificateSource::Files(files) = config.unwrap().settings.tls.unwrap().source else {
        panic!("the pair is in files");
    };
    assert_eq!(files.certificate, Path::new("/etc/gatherd/absent/cert.pem"));
}
