//! `config.toml`, from text to settings that cannot be invalid.

mod problems;
mod settings;
mod target;

pub use problems::{Problem, Problems};
pub use settings::{
    AdminSettings, AllowedOrigins, BranchSettings, CertificateAuthorities, FailureStatus,
    LogFormat, LogSettings, MockSettings, RateLimitSettings, RouteSettings, ServerSettings,
    Settings, Shape, TlsSettings, UpstreamHttp, UpstreamSettings,
};
pub use target::{BadParameter, Target};
