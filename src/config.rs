//! `config.toml`, from text to settings that cannot be invalid.
//!
//! [`load()`] reads the file and the environment over it, and reports every problem at once. What it
//! gives has been checked as a whole: names refer to something, bounds hold, files can be read.
//! Nothing here opens a socket, and figment is used nowhere else.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

mod changes;
mod check;
mod effective;
mod environment;
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
use scalar::{Delay, Expected, Syntax};
use source::Source;

pub use changes::{Changes, NEED_A_RESTART};
pub use environment::Environment;
pub use problem::{Problem, Problems};
pub use schema::schema;
pub use settings::{
    AccessLog, AccessSettings, AcmeSettings, AdminSettings, AllowedOrigins, BranchSettings,
    CertificateAuthorities, CertificateSource, ClientSettings, FailureStatus, HttpMode, LogFormat,
    LogSettings, MockSettings, PairFiles, RateLimitSettings, RedisSettings, RouteRateLimit,
    RouteSettings, ServerSettings, Settings, Shape, SharedLimitSettings, TlsSettings, UpstreamHttp,
    UpstreamSettings, WithoutRedis,
};
pub use target::{BadParameter, Target};

/// A configuration without problems.
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
    settle(Source::read(path, environment)?)
}

/// Takes `text` as what stands in the file at `path`, which need not exist.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Config, Problems> {
    settle(Source::parse(path, text.to_owned(), environment)?)
}

fn settle(mut source: Source) -> Result<Config, Problems> {
    let mut problems = Vec::new();
    let merged = source.merged(&mut problems)?;
    let mut report = Report::new(&source, problems);
    let raw = load::extract(merged, &mut report);
    let settings = raw
        .as_ref()
        .and_then(|raw| check::settings(raw, &mut report));
    match (report.finish(), raw.zip(settings)) {
        (None, Some((raw, settings))) => Ok(Config { settings, raw }),
        (Some(problems), _) => Err(problems),
        // Only a part that was reported missing leaves no settings.
        (None, None) => Err(Problem::said("config", "cannot be read as a whole").into()),
    }
}

/// A delay as the file writes it: `"250ms"` or `"100ms..600ms"`.
///
/// # Errors
/// What is allowed.
pub fn parse_delay(text: &str) -> Result<RangeInclusive<Duration>, String> {
    let delay = Delay::parse(text).ok_or_else(|| Expected::<Delay>::new().to_string())?;
    Ok(delay.0)
}

#[cfg(test)]
mod tests;
