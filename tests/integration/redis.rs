//! A redis-server for one test, as Debian ships it.

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::harness::soon;
use crate::programs::{Running, free_port, program};

/// One on a port of its own, which stays the same when it is started again.
pub(crate) struct Redis {
    pub(crate) port: u16,
    directory: TempDir,
    arguments: Vec<String>,
    running: Option<Running>,
}

impl Redis {
    /// One that is not started; none where there is no redis-server.
    pub(crate) fn absent(arguments: &[&str]) -> Option<Self> {
        program("redis-server")?;
        Some(Self {
            port: free_port(),
            directory: TempDir::new().expect("a directory for this test"),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            running: None,
        })
    }

    /// One that answers; none where there is no redis-server.
    pub(crate) async fn start() -> Option<Self> {
        let mut redis = Self::absent(&[])?;
        redis.begin().await;
        Some(redis)
    }

    /// Starts it, with nothing that it knew before.
    pub(crate) async fn begin(&mut self) {
        let mut command = Command::new(program("redis-server").expect("it was there"));
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]);
        command.arg(self.directory.path()).args(&self.arguments);
        command.stdout(std::process::Stdio::null());
        self.running = Some(Running::start(command));
        soon(async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Ends it at once.
    pub(crate) async fn kill(&mut self) {
        let running = self.running.take().expect("it runs");
        running.signal(Signal::KILL);
        running.ended().await;
    }

    /// Stops it where it is: connections stay, and nothing is answered.
    pub(crate) fn pause(&self) {
        self.running.as_ref().expect("it runs").signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.running.as_ref().expect("it runs").signal(Signal::CONT);
    }

    /// What it answers to a command, as text.
    pub(crate) async fn ask(&self, command: &str) -> String {
        let stream = soon(TcpStream::connect(("127.0.0.1", self.port))).await;
        let mut stream = BufReader::new(stream.expect("it listens"));
        let line = format!("{command}\r\n");
        soon(stream.write_all(line.as_bytes())).await.expect("sent");
        let mut answer = String::new();
        soon(stream.read_line(&mut answer)).await.expect("a line");
        // Texts come with their length, which is -1 where there is none.
        let length = answer
            .strip_prefix('$')
            .filter(|length| !length.starts_with('-'));
        let Some(length) = length else {
            return answer.trim_end().to_owned();
        };
        let mut text = vec![0; length.trim().parse().expect("a length")];
        soon(stream.read_exact(&mut text)).await.expect("the text");
        String::from_utf8(text).expect("text")
    }

    /// How often the script has been asked for.
    pub(crate) async fn asked(&self) -> u64 {
        let statistics = self.ask("INFO commandstats").await;
        let calls = |name: &str| {
            let (_, rest) = statistics.split_once(&format!("cmdstat_{name}:calls="))?;
            rest.split(',').next()?.parse::<u64>().ok()
        };
        calls("evalsha").unwrap_or(0)
    }
}
