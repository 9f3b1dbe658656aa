//! `server-timing`: where the time of an answer went, branch by branch (W3C, Server Timing).

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};

use super::answer::failure_of;
use super::route::Route;
use crate::gather::{Branch, Outcome};
use crate::upstream::{Failure, Stages};

/// The header that browsers draw.
pub(super) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// For each branch how long it took, and of that until its call had a permit, a connection, and the head of
/// its reply. Names of branches are plain words, which are tokens.
pub(super) fn server_timing<R>(
    route: &Route,
    branches: &[Branch<R, Failure>],
    stages: &[Arc<Stages>],
) -> HeaderValue {
    let mut value = String::new();
    let settings = route.settings.branches.iter();
    for ((branch, settings), stages) in branches.iter().zip(settings).zip(stages) {
        let name = &settings.name;
        if branch.started.is_none() {
            continue;
        }
        let took = if matches!(branch.outcome, Outcome::Unfinished) {
            branch.started.map_or(branch.elapsed, |it| it.elapsed())
        } else {
            branch.elapsed
        };
        push(&mut value, name, "", took);
        let outcome = match (&branch.outcome, failure_of(&branch.outcome)) {
            (_, Some(failure)) => failure.kind.name(),
            (Outcome::Succeeded(_), None) => "ok",
            (_, None) => "unfinished",
        };
        let hedged = if branch.hedged { " (hedged)" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(value, ";desc=\"{outcome}{hedged}\"");
        for (stage, until) in [
            (".wait", &stages.permit),
            (".connect", &stages.connection),
            (".first_byte", &stages.head),
        ] {
            if let Some(until) = until.get() {
                push(&mut value, name, stage, *until);
            }
        }
    }
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(""))
}

fn push(value: &mut String, name: &str, stage: &str, took: Duration) {
    let comma = if value.is_empty() { "" } else { ", " };
    let ms = took.as_secs_f64() * 1000.0;
    let _ = write!(value, "{comma}{name}{stage};dur={ms:.1}");
}
