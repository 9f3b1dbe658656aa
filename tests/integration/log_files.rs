//! Where lines go: files that are moved away, and places that take nothing.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Upstream, client, config_text, soon, until};
use crate::log_lines::{Logged, assert_members, work};
use crate::programs::{free_port, gatherd, said};

#[tokio::test]
async fn logrotate_moves_the_file_away_and_a_signal_begins_a_new_one() {
    let upstream = Upstream::start();
    let mut logged = Logged::start("", &work(&upstream)).await;
    let client = client();
    for signal in [Signal::USR1, Signal::HUP] {
        logged.ask(&client, "GET", "/all").await;
        logged.line().await;
        let file = logged.directory.path().join("access.log");
        let moved = logged.directory.path().join("access.log.1");
        fs::rename(&file, &moved).expect("it is moved");
        logged.running.signal(signal);
        until(|| file.exists()).await;
        logged.ask(&client, "GET", "/all").await;
        logged.read = 0;
        logged.line().await;
        assert_eq!(
            fs::read_to_string(&moved)
                .expect("the old file")
                .lines()
                .count(),
            1
        );
        fs::remove_file(&file).expect("it is removed");
        logged.running.signal(signal);
        until(|| file.exists()).await;
        logged.read = 0;
    }
    logged.end().await;
}

#[tokio::test]
async fn a_probe_has_a_line_with_the_health_path_as_its_route_and_is_no_gather() {
    let upstream = Upstream::start();
    let server = "health_path = \"/healthz\"";
    let mut logged = Logged::with(server, "", &work(&upstream)).await;
    assert_eq!(logged.ask(&client(), "GET", "/healthz").await.status, 200);
    let line = logged.line().await;
    assert_members(
        &line,
        &[
            ("route", "/healthz".into()),
            ("status", 200.into()),
            ("outcome", "answered".into()),
        ],
    );
    for absent in ["path", "policy", "branches", "deadline_left_ms"] {
        assert!(line.get(absent).is_none(), "{line}");
    }
    logged.end().await;
}

#[tokio::test]
async fn which_requests_are_logged_changes_with_a_reload() {
    let upstream = Upstream::start();
    let mut logged = Logged::start("access = \"off\"", &work(&upstream)).await;
    logged.ask(&client(), "GET", "/all").await;
    let file = logged.directory.path().join("config.toml");
    let text = fs::read_to_string(&file).expect("the config");
    let changed = text.replace("access = \"off\"", "access = \"all\"");
    fs::write(&file, changed).expect("it is written");
    logged.running.signal(Signal::HUP);
    let told = logged.running.line("reloaded").await;
    assert!(told.contains("log.access"), "{told}");
    let answer = logged.ask(&client(), "GET", "/all").await;
    let line = logged.line().await;
    let id = answer.headers["x-request-id"].to_str().expect("an id");
    assert_members(&line, &[("request_id", id.into())]);
    logged.end().await;
}

#[tokio::test]
async fn a_file_that_became_a_directory_costs_a_message_and_no_request() {
    let upstream = Upstream::start();
    let mut logged = Logged::start("", &work(&upstream)).await;
    let client = client();
    let file = logged.directory.path().join("access.log");
    let moved = logged.directory.path().join("access.log.1");
    fs::rename(&file, &moved).expect("it is moved");
    fs::create_dir(&file).expect("a directory");
    logged.running.signal(Signal::USR1);
    let told = logged.running.line("cannot open the log anew").await;
    assert!(told.contains("access.log"), "{told}");
    assert_eq!(logged.ask(&client, "GET", "/all").await.status, 200);
    let lines = || fs::read_to_string(&moved).expect("the old file");
    until(|| lines().lines().count() == 1).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_69_with_the_path_and_the_reason() {
    let upstream = Upstream::start();
    let directory = TempDir::new().expect("a directory for this test");
    fs::create_dir(directory.path().join("there")).expect("a directory");
    for (file, reason) in [("there", "directory"), ("nowhere/access.log", "directory")] {
        let text = config_text(
            "",
            &format!("[log]\nfile = \"{file}\"\n{}", work(&upstream)),
        );
        fs::write(directory.path().join("config.toml"), text).expect("a file");
        for arguments in [&[][..], &["check"][..]] {
            let said = said(directory.path(), arguments).await;
            assert_eq!(said.code, Some(69), "{arguments:?}: {said:?}");
            let told = said.error.contains(file) && said.error.contains(reason);
            assert!(told, "{arguments:?}: {said:?}");
        }
    }
}

/// How long a request may take that nothing holds up, on a machine that does other things too.
const PROMPT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_standard_error_that_nobody_reads_holds_up_no_request_and_no_end() {
    let upstream = Upstream::start();
    let directory = TempDir::new().expect("a directory for this test");
    let port = free_port();
    let text =
        config_text("", &work(&upstream)).replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    fs::write(directory.path().join("config.toml"), text).expect("a file");
    let mut command = gatherd::<&str>(directory.path(), &[]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut child = command
        .stdin(std::process::Stdio::null())
        .stderr(writer)
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    drop(command);
    let client = client();
    let url = format!("https://127.0.0.1:{port}/none");
    until_it_answers(&client, &url).await;
    // Much more than a pipe holds (64 KiB).
    for _ in 0..500 {
        let answer = tokio::time::timeout(PROMPT, client.get(&url).send()).await;
        assert_eq!(answer.expect("prompt").expect("an answer").status(), 404);
    }
    let id = child.id().expect("it runs");
    let id = rustix::process::Pid::from_raw(id.try_into().expect("a process id")).expect("not 0");
    rustix::process::kill_process(id, Signal::TERM).expect("it is ours");
    let status = soon(child.wait()).await.expect("a child");
    assert_eq!(status.code(), Some(0));
    drop(reader);
}

async fn until_it_answers(client: &reqwest::Client, url: &str) {
    soon(async { while client.get(url).send().await.is_err() {} }).await;
}

/// A file system of 64 KiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one in a directory; none, loudly, where that is not permitted.
    fn mount(within: &Path) -> Option<Self> {
        let path = within.join("small");
        fs::create_dir(&path).expect("a directory");
        let arguments = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"];
        let mounted = Command::new("mount").args(arguments).arg(&path).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(path));
        }
        let loud = "\n!!! SKIPPED, not tested: mounting is not permitted here\n\n";
        let _ = std::io::stderr().lock().write_all(loud.as_bytes());
        None
    }

    /// Leaves no room.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut filler = fs::File::create(&path).expect("a file");
        while filler.write_all(&[0; 512]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_full_disk_costs_lines_that_are_counted_and_no_request() {
    const REQUESTS: usize = 30;
    let upstream = Upstream::start();
    let directory = TempDir::new().expect("a directory for this test");
    let Some(disk) = SmallDisk::mount(directory.path()) else {
        return;
    };
    let link = directory.path().join("access.log");
    std::os::unix::fs::symlink(disk.0.join("access.log"), link).expect("a link");
    let mut logged = Logged::within(directory, "", "", &work(&upstream)).await;
    let client = client();
    logged.ask(&client, "GET", "/all").await;
    logged.line().await;
    let filler = disk.fill();
    // The last page of the file has room for a few lines more.
    for _ in 0..REQUESTS {
        let answer = tokio::time::timeout(PROMPT, logged.ask(&client, "GET", "/all")).await;
        assert_eq!(answer.expect("prompt").status, 200);
    }
    let told = logged.running.line("cannot write the log").await;
    assert!(
        told.contains("No space left") && told.contains("access.log"),
        "{told}"
    );
    fs::remove_file(filler).expect("it is removed");
    logged.ask(&client, "GET", "/all").await;
    let told = logged.running.line("log lines were lost").await;
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let lost = usize::try_from(told["lines"].as_u64().expect("a number")).expect("few");
    for _ in 1..(REQUESTS + 2 - lost) {
        assert_eq!(logged.line().await["status"], 200);
    }
    logged.end().await;
}
