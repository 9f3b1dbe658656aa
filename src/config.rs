//! `config.toml`, from text to settings that cannot be invalid.
//!
//! [`load()`] reads the file and the environment over it, and reports every problem at once. What it
//! gives has been checked as a whole: names refer to something, bounds hold, files can be read.
//! Nothing here opens a socket, and figment is used nowhere else.

use std::fmt;
use std::path::Path;

mod changes;
mod check;
mod effective;
mod environment;
#[cfg(fuzzing)]
pub mod fuzzing;
mod key;
mod load;
mod problem;
mod raw;
mod report;
mod scalar;
mod schema;
mod secret;
mod settings;
mod source;
mod target;

use raw::Raw;
use report::Report;
use scalar::{Expected, Syntax};
use source::Source;

pub use changes::{Changes, NEED_A_RESTART};
pub use environment::Environment;
pub use problem::{Problem, Problems};
pub use schema::schema;
pub use settings::{
    AccessLog, AccessSettings, AcmeSettings, AdminSettings, AllowedOrigins, BranchSettings,
    BreakerSettings, CacheSettings, CertificateAuthorities, CertificateSource, ClientSettings,
    FailureStatus, HedgeAfter, HedgeSettings, HttpMode, LogFormat, LogSettings, MockDelay,
    MockSettings, PairFiles, RateLimitSettings, RedisSettings, RouteRateLimit, RouteSettings,
    ServerSettings, ServerTiming, Settings, Shape, SharedLimitSettings, TlsSettings, UpstreamHttp,
    UpstreamSettings, WithoutRedis,
};
pub use target::{BadParameter, Forwarded, Target};

/// A configuration without problems.
#[derive(Clone)]
pub struct Config {
    /// What the rest of the program reads.
    pub settings: Settings,
    raw: Raw,
}

impl Config {
    /// The configuration as a TOML file that would mean the same: defaults and environment filled
    /// in, secrets masked.
    #[must_use]
    pub fn print(&self) -> String {
        effective::print(&self.raw, &self.settings)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// Reads the file at `path` and the environment over it.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(path: &Path, environment: &Environment) -> Result<Config, Problems> {
    load_and(path, environment, |_| Ok(())).map(|(config, ())| config)
}

/// As [`load()`], and at once what `more` finds wrong with as much as could be read.
///
/// # Errors
/// Everything that is wrong.
pub fn load_and<T>(
    path: &Path,
    environment: &Environment,
    more: impl FnOnce(&Settings) -> Result<T, Problems>,
) -> Result<(Config, T), Problems> {
    settle(Source::read(path, environment)?, more)
}

/// Takes `text` as what stands in the file at `path`, which need not exist.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Config, Problems> {
    let source = Source::parse(path, text.to_owned(), environment)?;
    settle(source, |_| Ok(())).map(|(config, ())| config)
}

/// The configuration, and what `more` makes of it; or everything that is wrong.
fn settle<T>(
    mut source: Source,
    more: impl FnOnce(&Settings) -> Result<T, Problems>,
) -> Result<(Config, T), Problems> {
    let mut problems = Vec::new();
    let merged = source.merged(&mut problems)?;
    let mut report = Report::new(&source, problems);
    let raw = load::extract(merged, &mut report);
    let settings = raw
        .as_ref()
        .and_then(|raw| check::settings(raw, &mut report));
    let more = settings.as_ref().map(more);
    // Only a part that was reported missing leaves no settings, so that this is never said.
    let unreadable = || Problem::said("config", "cannot be read as a whole").into();
    match (report.finish(), more, raw.zip(settings)) {
        (None, Some(Ok(more)), Some((raw, settings))) => Ok((Config { settings, raw }, more)),
        (found, Some(Err(more)), _) => Err(more.after(found)),
        (found, _, _) => Err(found.unwrap_or_else(unreadable)),
    }
}

/// The admin listener of a service that runs with the file at `path`. The service is what matters, which
/// goes by what the file said before: whatever else is wrong with it by now is left out, and of a file
/// that is no TOML, everything.
///
/// # Errors
/// When the file cannot be read at all.
pub fn admin(path: &Path, environment: &Environment) -> Result<Option<AdminSettings>, Problem> {
    let mut source = match Source::read(path, environment) {
        Err(problem) if problem.is_said() => Source::parse(path, String::new(), environment)?,
        source => source?,
    };
    let mut problems = Vec::new();
    let merged = source.merged(&mut problems)?;
    let mut report = Report::new(&source, problems);
    let raw = load::extract(merged, &mut report).unwrap_or_default();
    Ok(check::admin(&raw.admin, &mut report))
}

/// A delay as the file writes it: `"250ms"`, `"100ms..600ms"` or `"5ms, 1%: 100ms"`.
///
/// # Errors
/// What is allowed.
pub fn parse_delay(text: &str) -> Result<MockDelay, String> {
    MockDelay::parse(text).ok_or_else(|| Expected::<MockDelay>::new().to_string())
}

#[cfg(test)]
mod tests;
