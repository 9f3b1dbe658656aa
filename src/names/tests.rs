//! When the files are looked at, with the clock in hand; nothing is asked over a network.

use std::fs;

use tokio::time::advance;

use super::*;

const MOMENT: Duration = Duration::from_millis(1);

/// Names by files in a directory of this test, which are not there yet.
struct Scene {
    directory: tempfile::TempDir,
    names: Names,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [hosts, resolv_conf] = ["hosts", "resolv.conf"].map(|it| directory.path().join(it));
        let names = Names::of_files(hosts, resolv_conf, 1);
        Self { directory, names }
    }

    fn hosts(&self, text: &str) {
        fs::write(self.directory.path().join("hosts"), text).unwrap();
    }

    /// The addresses of a name, or the error.
    async fn found(&self, name: &str) -> String {
        match self.names.lookup(name).await {
            Ok(addresses) => format!("{addresses:?}"),
            Err(error) => error.to_string(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_hosts_file_is_looked_at_once_a_second_and_a_change_is_noticed() {
    let scene = Scene::new();
    scene.hosts("127.0.0.2 over.test\n");
    assert_eq!(scene.found("over.test").await, "[127.0.0.2]");
    scene.hosts("127.0.0.3 over.test\n");
    advance(LOOK - MOMENT).await;
    assert_eq!(scene.found("over.test").await, "[127.0.0.2]");
    advance(MOMENT).await;
    assert_eq!(scene.found("over.test").await, "[127.0.0.3]");
    scene.hosts("");
    advance(LOOK).await;
    assert!(scene.found("over.test").await.contains("no name server"));
    scene.hosts("::1 over.test\n");
    advance(LOOK).await;
    assert_eq!(scene.found("over.test").await, "[::1]");
}

#[tokio::test(start_paused = true)]
async fn files_are_read_again_at_once_when_that_is_told() {
    let scene = Scene::new();
    assert!(scene.found("over.test").await.contains("no name server"));
    scene.hosts("127.0.0.2 over.test\n");
    scene.names.clone().reread();
    assert_eq!(scene.found("over.test").await, "[127.0.0.2]");
}

#[tokio::test(start_paused = true)]
async fn many_that_ask_at_once_see_one_reading() {
    let scene = Scene::new();
    scene.hosts("127.0.0.2 over.test\n");
    let asked = (0..100).map(|_| scene.found("over.test"));
    for found in futures_util::future::join_all(asked).await {
        assert_eq!(found, "[127.0.0.2]");
    }
}

#[tokio::test(start_paused = true)]
async fn localhost_is_this_machine_whatever_the_files_say() {
    let scene = Scene::new();
    scene.hosts("192.0.2.1 localhost a.localhost\n");
    for name in ["localhost", "LocalHost.", "a.localhost"] {
        assert_eq!(scene.found(name).await, "[127.0.0.1, ::1]", "{name}");
    }
    assert!(
        scene
            .found("localhost.test")
            .await
            .contains("no name server")
    );
}
