//! The status of the service: computed each second on the admin thread from what the metrics are and
//! were, and shown as text, as a page, and as server-sent events.
//!
//! A status is [`Finding`]s and [`Table`]s, made of the fields of [`Status`] in `tables.rs`; what draws
//! it knows no field. `/status.json` is one [`Shown`] with the [`History`] beside it:
//! `{"status": …, "history": …}`. `/events` sends `event: history` once with a [`History`], then
//! `event: status` each second with a [`Shown`], and `event: point` with each new [`Point`] of the history.

mod compute;
mod feed;
mod figures;
mod last_stop;
mod model;
mod shared_limit;
mod table;
mod tables;
mod text;
mod timeline;
mod verdict;
mod watch;
mod window;

pub use self::feed::Feed;
pub use self::last_stop::LastStop;
pub use self::model::{
    CertificateStatus, ClientStatus, FailureStatus, Finding, Health, History, LoadStatus, Point,
    ProcessStatus, RefusalStatus, ReloadStatus, ResourceStatus, RouteRates, RouteStatus, Status,
    TailStatus, UpstreamStatus,
};
pub use self::shared_limit::{CheckStatus, SharedLimitStatus};
pub use self::table::{Row, Table};
pub use self::tables::Shown;
pub use self::text::text;
pub use self::timeline::Timeline;
pub(super) use self::watch::Watch;
