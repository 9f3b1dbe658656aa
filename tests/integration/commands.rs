//! What each command prints, and how it exits: 0, 64 for what is said, 69 for what is not there.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

use tempfile::TempDir;

use crate::harness::{Answer, client, config_text, soon};
use crate::programs::{Running, Said, free_port, gatherd, program, said};

const ROUTE: &str = "[upstreams.u]\nurl = \"http://127.0.0.1:9/\"\n\
                     [[routes]]\npath = \"/a\"\npolicy = \"all\"\nupstream = \"u\"\n";

/// A directory with this `config.toml`.
fn with_config(text: &str) -> TempDir {
    let directory = TempDir::new().expect("a directory for this test");
    fs::write(directory.path().join("config.toml"), text).expect("a file");
    directory
}

/// What `gatherd` says in a directory with this `config.toml`.
async fn says(text: &str, arguments: &[&str]) -> Said {
    said(with_config(text).path(), arguments).await
}

#[tokio::test]
async fn a_wrong_command_line_is_64_and_says_why() {
    let directory = TempDir::new().expect("a directory for this test");
    for arguments in [
        ["--nonsense"].as_slice(),
        &["frobnicate"],
        &["serve", "extra"],
        &["check", "--config"],
        &["mock", "--listen", "nowhere"],
        &["mock", "--delay", "soon"],
        &["mock", "--failure-rate", "2"],
    ] {
        let said = said(directory.path(), arguments).await;
        assert_eq!(
            (said.code, said.out.as_str()),
            (Some(64), ""),
            "{arguments:?}"
        );
        let last = arguments.last().expect("an argument");
        assert!(said.error.contains(last), "{arguments:?}: {said:?}");
    }
}

#[tokio::test]
async fn wrong_keys_are_64_all_at_once_with_file_key_and_line_before_anything_is_touched() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let text = config_text("max_bufered = \"1MiB\"\ndrain_timeout = \"soon\"", ROUTE)
        .replace("127.0.0.1:0", &address);
    for arguments in [[].as_slice(), &["serve"], &["check"], &["openapi"]] {
        let directory = with_config(&text);
        let said = said(directory.path(), arguments).await;
        assert_eq!((said.code, said.out.as_str()), (Some(64), ""), "{said:?}");
        let lines: Vec<&str> = said.error.lines().collect();
        assert_eq!(lines.len(), 2, "one line for each problem: {said:?}");
        for (line, words) in lines.iter().zip([
            ["config.toml", "3", "server.max_bufered"],
            ["config.toml", "4", "server.drain_timeout"],
        ]) {
            assert!(words.iter().all(|word| line.contains(word)), "{line}");
        }
        assert!(lines[1].contains("soon"), "the value: {}", lines[1]);
        assert!(
            !said.error.contains(&address),
            "nothing was bound: {said:?}"
        );
        assert!(
            !directory.path().join("key.pem").exists(),
            "nothing was made"
        );
    }
}

#[tokio::test]
async fn what_the_machine_lacks_is_69_with_the_path_and_the_reason() {
    let pair = "self_signed = true";
    let missing = "No such file";
    let ca = ROUTE.replace("[[routes]]", "ca = \"none.pem\"\n[[routes]]");
    let secret = "headers = { authorization = { file = \"none.txt\" } }\n[[routes]]";
    let secret = ROUTE.replace("[[routes]]", secret);
    let good = config_text("", ROUTE);
    for (text, path, reason) in [
        (
            good.replace(pair, "self_signed = false"),
            "cert.pem",
            missing,
        ),
        (good.replace("cert.pem", "."), "", "directory"),
        (
            good.replace("cert.pem", "config.toml")
                .replace("key.pem", "config.toml"),
            "config.toml",
            "PEM",
        ),
        (config_text("", &ca), "none.pem", missing),
        (config_text("", &secret), "none.txt", missing),
    ] {
        let said = says(&text, &[]).await;
        assert_eq!(
            (said.code, said.out.as_str()),
            (Some(69), ""),
            "{text}\n{said:?}"
        );
        assert!(
            said.error.contains(path) && said.error.contains(reason),
            "{said:?}"
        );
        let about_config = |line: &str| line.starts_with("config.toml") || line.contains(path);
        assert!(said.error.lines().all(about_config), "{said:?}");
    }
    let empty = TempDir::new().expect("a directory for this test");
    for arguments in [[].as_slice(), &["check"], &["--config", "other.toml"]] {
        let said = said(empty.path(), arguments).await;
        let name = arguments.get(1).unwrap_or(&"config.toml");
        assert_eq!(said.code, Some(69), "{said:?}");
        assert!(
            said.error.contains(name) && said.error.contains(missing),
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_69_with_the_address_and_the_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let free = format!("127.0.0.1:{}", free_port());
    let good = config_text("", ROUTE);
    let admin = format!("enabled = true\nlisten = \"{address}\"");
    let both = format!("\"{free}\", \"{address}\"");
    for text in [
        good.replace("127.0.0.1:0", &address),
        good.replace("\"127.0.0.1:0\"", &both),
        good.replace("enabled = false", &admin),
        format!("{good}\n[mock]\nenabled = true\nlisten = \"{address}\"\n"),
    ] {
        let said = says(&text, &["serve"]).await;
        assert_eq!(said.code, Some(69), "{text}\n{said:?}");
        assert!(
            said.error.contains(&address) && said.error.contains("in use"),
            "{said:?}"
        );
        assert!(
            !said.error.contains("listening"),
            "no half a start: {said:?}"
        );
    }
    let directory = TempDir::new().expect("a directory for this test");
    let said = said(directory.path(), &["mock", "--listen", &address]).await;
    assert_eq!(said.code, Some(69), "{said:?}");
    assert!(
        said.error.contains(&address) && said.error.contains("in use"),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_key_of_another_certificate_is_69() {
    let other = with_config(&config_text("", ROUTE));
    let mut running = Running::start(gatherd::<&str>(other.path(), &[]));
    running.line("listening").await;
    let text = config_text("", ROUTE);
    let own = with_config(&text);
    let mut running = Running::start(gatherd::<&str>(own.path(), &[]));
    running.line("listening").await;
    fs::copy(other.path().join("key.pem"), own.path().join("key.pem")).expect("a copy");
    let said = said(own.path(), &["serve"]).await;
    assert_eq!(said.code, Some(69), "{said:?}");
    assert!(
        said.error.contains("key.pem") && said.error.contains("cert.pem"),
        "{said:?}"
    );
}

#[tokio::test]
async fn check_approves_and_prints_a_config_that_means_the_same_with_secrets_masked() {
    let headers = "headers = { authorization = \"Bearer PLAIN\", x-a = { file = \"token\" }, \
                   x-b = { env = \"TOKEN\" } }\n[[routes]]";
    let text = config_text("", &ROUTE.replace("[[routes]]", headers));
    let directory = with_config(&text);
    fs::write(directory.path().join("token"), "FILED\n").expect("a file");
    let check = async |arguments: &[&str]| {
        let mut command = gatherd(directory.path(), arguments);
        command
            .env("TOKEN", "ENVIRON")
            .env("GATHERD_RATE_LIMIT__BURST", "7");
        Said::of(command).await
    };
    let ok = check(&["check"]).await;
    assert_eq!(ok.code, Some(0), "{ok:?}");
    let said = check(&["check", "--print"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    for secret in ["PLAIN", "FILED", "ENVIRON"] {
        assert!(
            !said.out.contains(secret) && !said.error.contains(secret),
            "{said:?}"
        );
        assert!(
            !ok.out.contains(secret) && !ok.error.contains(secret),
            "{ok:?}"
        );
    }
    let printed: toml_edit::DocumentMut = said.out.parse().expect("TOML");
    assert_eq!(printed["rate_limit"]["burst"].as_integer(), Some(7));
    let route = &printed["routes"][0];
    assert_eq!(route["calls"].as_integer(), Some(2), "{}", said.out);
    for limit in ["timeout", "max_timeout"] {
        assert_eq!(
            route[limit].as_str(),
            Some("10s"),
            "{limit} in {}",
            said.out
        );
    }
    fs::write(directory.path().join("config.toml"), &said.out).expect("a file");
    let again = check(&["check", "--print"]).await;
    assert_eq!((again.code, &again.out), (Some(0), &said.out));
}

#[tokio::test]
async fn a_name_of_the_environment_that_is_not_a_key_is_64_and_one_that_is_not_ours_is_ignored() {
    let directory = with_config(&config_text("", ROUTE));
    for (name, value, code) in [
        ("GATHERD_SERVER__NONSENSE", "1", 64),
        ("GATHERD_RATE_LIMIT__BURST", "many", 64),
        ("GATHERD_HOME", "1", 0),
    ] {
        let mut command = gatherd(directory.path(), &["check"]);
        command.env(name, value);
        let said = Said::of(command).await;
        assert_eq!(said.code, Some(code), "{name}: {said:?}");
        assert_eq!(said.error.contains(name), code == 64, "{said:?}");
    }
}

#[tokio::test]
async fn help_version_and_schema_need_no_config_file() {
    let directory = TempDir::new().expect("a directory for this test");
    let version = said(directory.path(), &["--version"]).await;
    let expected = concat!("gatherd ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!((version.code, version.out.as_str()), (Some(0), expected));
    let help = said(directory.path(), &["--help"]).await;
    assert_eq!(help.code, Some(0), "{help:?}");
    for command in ["serve", "check", "schema", "openapi", "mock", "--config"] {
        assert!(help.out.contains(command), "{command} in {}", help.out);
    }
    let schema = said(directory.path(), &["schema"]).await;
    assert_eq!(schema.code, Some(0), "{schema:?}");
    serde_json::from_str::<serde_json::Value>(&schema.out).expect("JSON");
}

#[tokio::test]
async fn the_mock_answers_on_its_own_until_it_is_told_to_stop() {
    let directory = TempDir::new().expect("a directory for this test");
    let options = ["mock", "--listen", "127.0.0.1:0"];
    let mut running = Running::start(gatherd(directory.path(), &options));
    let address = running.address("mock").await;
    let url = format!("http://{address}/any/path");
    let answer = Answer::of(soon(client().get(&url).send()).await.expect("an answer")).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"time":250}"#)
    );
    running.terminate();
    assert_eq!(running.ended().await, Some(0));
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_error_and_no_panic() {
    let directory = with_config(&config_text("", ROUTE));
    let commands = [
        "schema",
        "openapi",
        "check",
        "check --print",
        "--help",
        "--version",
    ];
    for words in commands {
        let arguments: Vec<&str> = words.split(' ').collect();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = gatherd(directory.path(), &arguments);
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn();
        // The command holds a copy of the pipe's end.
        drop(command);
        let ended = soon(child.expect("it starts").wait_with_output()).await;
        let ended = ended.expect("a child");
        let error = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(0), "{words}: {error}");
        assert!(!error.contains("panicked"), "{words}: {error}");
    }
}

#[tokio::test]
async fn a_standard_output_that_is_closed_or_full_is_no_panic() {
    let Some(shell) = program("sh") else { return };
    let directory = with_config(&config_text("", ROUTE));
    for (redirection, code) in [(">&-", 0), (">/dev/full", 69)] {
        for words in ["schema", "openapi", "check", "check --print"] {
            let mut command = tokio::process::Command::new(&shell);
            let line = format!("exec \"$0\" {words} {redirection}");
            command.args(["-c", &line, env!("CARGO_BIN_EXE_gatherd")]);
            command.current_dir(directory.path()).env_clear();
            let said = Said::of(command).await;
            assert_eq!(said.code, Some(code), "{words} {redirection}: {said:?}");
            assert!(!said.error.contains("panicked"), "{words}: {said:?}");
        }
    }
}

#[tokio::test]
async fn the_service_is_asked_and_not_the_file_which_may_be_wrong_by_now() {
    let admin = format!("listen = \"127.0.0.1:{}\"", free_port());
    let good = config_text("", ROUTE).replace("enabled = false", &admin);
    let directory = with_config(&good);
    let write = |text: &str| {
        fs::write(directory.path().join("config.toml"), text).expect("a file");
    };
    let mut running = Running::start(gatherd::<&str>(directory.path(), &[]));
    running.address("listening for HTTPS").await;
    for wrong in [
        good.replace("policy = \"all\"", "policy = \"some\"\nsurprise = 1"),
        good.replace("key.pem", "other.pem")
            .replace("self_signed = true", ""),
    ] {
        write(&wrong);
        assert_ne!(said(directory.path(), &["check"]).await.code, Some(0));
        let healthy = said(directory.path(), &["healthcheck"]).await;
        assert_eq!(
            (healthy.code, healthy.error.as_str()),
            (Some(0), ""),
            "{wrong}"
        );
        let status = said(directory.path(), &["status"]).await;
        assert!(status.out.contains("gatherd "), "{wrong}: {status:?}");
    }
    running.terminate();
    assert_eq!(running.ended().await, Some(0));
    // Nobody answers: then what is wrong with the file may be why.
    write(&format!("{good}surprise = 1\n"));
    let down = said(directory.path(), &["healthcheck"]).await;
    assert_eq!(down.code, Some(64), "{down:?}");
    for words in ["surprise", "refused"] {
        assert!(down.error.contains(words), "{down:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_toml_leaves_the_usual_address_to_ask() {
    let directory = with_config("[[[");
    let mut command = gatherd(directory.path(), &["healthcheck"]);
    let address = format!("127.0.0.1:{}", free_port());
    command.env("GATHERD_ADMIN__LISTEN", &address);
    let down = Said::of(command).await;
    assert!(
        down.error.contains(&address) && down.error.contains("not valid TOML"),
        "{down:?}"
    );
    assert_eq!(down.code, Some(64));
}

#[tokio::test]
async fn what_files_hold_is_told_at_once_with_what_the_config_says() {
    let ca = ROUTE.replace(
        "http://127.0.0.1:9/\"",
        "https://127.0.0.1:9/\"\nca = \"key.pem\"",
    );
    let text =
        config_text("surprise = 1", &ca).replace("self_signed = true", "client_ca = \"none.pem\"");
    let directory = with_config(&text);
    let [certificate, _] = crate::certificates::issue("localhost", 0);
    let [_, key] = crate::certificates::issue("localhost", 0);
    fs::write(directory.path().join("cert.pem"), certificate).expect("a file");
    fs::write(directory.path().join("key.pem"), key).expect("a file");
    let said = said(directory.path(), &["check"]).await;
    let told = [
        "server.surprise",
        "tls.client_ca",
        "tls.private_key key.pem: is not the key",
        "upstreams.u.ca key.pem: holds no certificate, but a private key",
    ];
    for words in told {
        let lines = said.error.lines().filter(|line| line.contains(words));
        assert_eq!(lines.count(), 1, "{words}: {said:?}");
    }
    assert_eq!(
        (said.code, said.error.lines().count()),
        (Some(64), told.len()),
        "{said:?}"
    );
}

#[tokio::test]
async fn other_pairs_are_checked_before_a_self_signed_one_is_made() {
    let sni = "[[tls.sni]]\ncertificate = \"a.pem\"\nprivate_key = \"b.pem\"\n";
    let directory = with_config(&config_text("", &format!("{sni}{ROUTE}")));
    let [certificate, _] = crate::certificates::issue("localhost", 0);
    let [_, key] = crate::certificates::issue("localhost", 0);
    fs::write(directory.path().join("a.pem"), certificate).expect("a file");
    fs::write(directory.path().join("b.pem"), key).expect("a file");
    let said = said(directory.path(), &["check"]).await;
    assert_eq!(said.code, Some(69), "{said:?}");
    assert!(
        said.error.contains("tls.sni[0].private_key b.pem"),
        "{said:?}"
    );
    assert!(
        !directory.path().join("key.pem").exists(),
        "nothing was made"
    );
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    let text = config_text("", ROUTE).replace("self_signed = true", "client_ca = \"pipe\"");
    let directory = with_config(&text);
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is there").success());
    let said = said(directory.path(), &["check"]).await;
    assert_eq!(said.code, Some(69), "{said:?}");
    assert!(said.error.contains("tls.client_ca") && said.error.contains("not a regular file"));
}

#[tokio::test]
async fn of_acme_the_files_are_checked_before_the_authority_is_asked() {
    let tls = "[tls.acme]\ndomains = [\"a.example\"]\nca = \"config.toml\"\nstate_dir = \"config.toml\"\n";
    let text =
        format!("[server]\nhttps = [\"127.0.0.1:0\"]\n[admin]\nenabled = false\n{tls}{ROUTE}");
    for command in ["check", "serve"] {
        let said = says(&text, &[command]).await;
        assert_eq!(said.code, Some(69), "{said:?}");
        assert!(said.error.contains("tls.acme.state_dir"), "{said:?}");
    }
    let text = text.replace("state_dir = \"config.toml\"", "state_dir = \"state\"");
    for command in ["check", "serve"] {
        let said = says(&text, &[command]).await;
        assert_eq!(said.code, Some(69), "{said:?}");
        assert!(
            said.error.contains("tls.acme.ca") && said.error.contains("PEM"),
            "{said:?}"
        );
    }
}
