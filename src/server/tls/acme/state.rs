//! What is kept on disk: the account, the certificate with its key, and when to ask again.
//!
//! Each file is private and whole: written beside its place, synced, and renamed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};

use crate::config::AcmeSettings;
use crate::files::write_whole;

/// The first pause after a failure that the authority may count, in seconds. Let's Encrypt allows
/// five failed proofs of a name an hour.
const FIRST: i64 = 5 * 60;
/// The longest.
const LONGEST: i64 = 24 * 3600;
/// The first pause when the authority was not reached.
const FIRST_UNREACHED: i64 = 5;

/// A directory for each authority, so that accounts and certificates of several never mix.
#[derive(Clone, Debug)]
pub(in crate::server::tls) struct State {
    directory: PathBuf,
}

/// When the authority may be asked again, and how often it has failed until then.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Backoff {
    /// The names that failed: others are asked for at once.
    domains: Vec<String>,
    failures: u32,
    /// Seconds since 1970.
    pub(super) until: i64,
}

impl State {
    /// Where these settings keep theirs.
    pub(in crate::server::tls) fn of(settings: &AcmeSettings) -> Self {
        let url = &settings.directory;
        let text = format!(
            "{}{}{}",
            url.host_str().unwrap_or_default(),
            url.port()
                .map(|port| format!("-{port}"))
                .unwrap_or_default(),
            url.path()
        );
        let plain = |it: char| {
            if it.is_ascii_alphanumeric() || ".-".contains(it) {
                it
            } else {
                '-'
            }
        };
        let name: String = text.trim_end_matches('/').chars().map(plain).collect();
        Self {
            directory: settings.state_dir.join("acme").join(name),
        }
    }

    /// Makes the directory, for the owner alone.
    pub(in crate::server::tls) fn make(&self) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.directory)
    }

    /// The file of chain and key.
    pub(in crate::server::tls) fn certificate_file(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    /// Chain and key in PEM.
    pub(super) fn certificate(&self) -> io::Result<Vec<u8>> {
        fs::read(self.certificate_file())
    }

    /// Keeps chain and key.
    pub(super) fn write_certificate(&self, pem: &str) -> io::Result<()> {
        write_whole(&self.certificate_file(), pem.as_bytes())
    }

    /// The account with its key; nothing when there is none that can be read.
    pub(super) fn account(&self) -> Option<AccountCredentials> {
        serde_json::from_slice(&fs::read(self.account_file()).ok()?).ok()
    }

    /// Keeps the account.
    pub(super) fn write_account(&self, account: &AccountCredentials) -> io::Result<()> {
        write_whole(&self.account_file(), &serde_json::to_vec(account)?)
    }

    /// Puts an account aside that the authority does not know.
    pub(super) fn drop_account(&self) -> io::Result<()> {
        fs::rename(self.account_file(), self.directory.join("account.old.json"))
    }

    /// When the authority may be asked for these names; at once when nothing says otherwise.
    pub(super) fn backoff(&self, domains: &[String]) -> Backoff {
        let kept = fs::read(self.backoff_file()).ok();
        let kept = kept.and_then(|text| serde_json::from_slice::<Backoff>(&text).ok());
        let now = super::now();
        kept.filter(|kept| kept.domains == domains)
            // Of a clock that was ahead.
            .filter(|kept| kept.until <= now + LONGEST)
            .unwrap_or_default()
    }

    /// Keeps it.
    pub(super) fn write_backoff(&self, backoff: &Backoff) -> io::Result<()> {
        write_whole(&self.backoff_file(), &serde_json::to_vec(backoff)?)
    }

    /// All is well.
    pub(super) fn forget_backoff(&self) {
        // What cannot be removed is over some time later.
        let _ = fs::remove_file(self.backoff_file());
    }

    fn account_file(&self) -> PathBuf {
        self.directory.join("account.json")
    }

    fn backoff_file(&self) -> PathBuf {
        self.directory.join("backoff.json")
    }
}

impl Backoff {
    /// After one more failure: twice as long each time.
    pub(super) fn after_failure(&self, domains: &[String], now: i64) -> Self {
        let failures = self.failures.saturating_add(1);
        Self {
            domains: domains.to_vec(),
            failures,
            until: now + doubled(FIRST, failures),
        }
    }

    /// The same failure, which the authority has not counted.
    pub(super) fn soon(self, now: i64) -> Self {
        let until = now + doubled(FIRST_UNREACHED, self.failures);
        Self { until, ..self }
    }
}

/// `first`, doubled for each failure but the first, and up to a tenth less so that many hosts do not
/// ask at once.
fn doubled(first: i64, failures: u32) -> i64 {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let pause = doubled.min(LONGEST);
    pause - fastrand::i64(0..=pause / 10)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn settings(directory: &Path, url: &str) -> AcmeSettings {
        AcmeSettings {
            domains: vec!["a.example".to_owned()],
            contact: None,
            directory: url.parse().unwrap(),
            ca: None,
            state_dir: directory.to_owned(),
        }
    }

    #[test]
    fn state_is_private_whole_and_apart_for_each_authority() {
        let directory = tempfile::TempDir::new().unwrap();
        let state = |url| State::of(&settings(directory.path(), url));
        let one = state("https://ca.example:14000/dir");
        let other = state("https://ca.example/dir");
        one.make().unwrap();
        other.make().unwrap();
        one.write_certificate("first").unwrap();
        one.write_certificate("second").unwrap();
        assert_eq!(one.certificate().unwrap(), b"second");
        assert!(other.certificate().is_err());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&one.certificate_file()), 0o600);
        assert_eq!(mode(one.certificate_file().parent().unwrap()), 0o700);
        let files = fs::read_dir(one.certificate_file().parent().unwrap()).unwrap();
        assert_eq!(files.count(), 1, "nothing is left over");
    }

    #[test]
    fn pauses_grow_outlive_the_process_and_are_about_the_same_names() {
        let directory = tempfile::TempDir::new().unwrap();
        let settings = settings(directory.path(), "https://ca.example/dir");
        let state = State::of(&settings);
        state.make().unwrap();
        let (domains, now) = (&settings.domains, super::super::now());
        let first = state.backoff(domains).after_failure(domains, now);
        assert!(
            (now + 4 * 60..=now + 5 * 60).contains(&first.until),
            "{first:?}"
        );
        state.write_backoff(&first).unwrap();
        let kept = state.backoff(domains);
        assert_eq!(kept.until, first.until);
        let second = kept.after_failure(domains, now);
        assert!(second.until >= now + 9 * 60, "{second:?}");
        assert!(second.clone().soon(now).until <= now + 10, "{second:?}");
        let hundredth = (0..100).fold(second, |it, _| it.after_failure(domains, now));
        assert!(hundredth.until <= now + LONGEST);
        assert_eq!(state.backoff(&["b.example".to_owned()]).until, 0);
    }
}
