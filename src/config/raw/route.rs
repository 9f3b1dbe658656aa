//! `[[routes]]` and their branches as they are written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RouteRateLimit;
use crate::config::scalar::{Period, PolicyName, Share, Text, Whole};
use crate::config::settings::{CacheSettings, HedgeAfter, Shape};

/// A time limit of a gather or a branch.
type Limit = Period<1, 3_600_000>;

/// What is answered at one path: `upstream` and `calls`, or a list of `branches`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Route {
    /// Required. The path, with parameters in braces: /api/profile/{id}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) path: Option<String>,
    /// Required. When a gather is over and what it is worth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) policy: Option<Text<PolicyName>>,
    /// How many branches must succeed, 1 to their number: required for quorum, default 1 for
    /// available.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) need: Option<Whole<1, 64>>,
    /// When a branch is slow, and gets a hedge: after a duration (1ms to 1h), after a percentile of its
    /// recent replies ("p50" to "p99.9"), or beside its "siblings". Not for first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) hedge_after: Option<Text<HedgeAfter>>,
    /// The least time before a hedge, where `hedge_after` is no duration; 0s to 1h, default 1ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) hedge_min: Option<Period<0, 3_600_000>>,
    /// Hedges as a share of calls; 0 to 1, default 0.05. Belongs to `hedge_after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) hedge_budget: Option<Share>,
    /// The upstream that is called, `calls` times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) upstream: Option<String>,
    /// How many times `upstream` is called; 1 to 64, default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) calls: Option<Whole<1, 64>>,
    /// Request headers passed on to `upstream`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::config) forward_headers: Vec<String>,
    /// Query parameters passed on to `upstream`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::config) forward_query: Vec<String>,
    /// Different branches instead of `upstream` and `calls`; 1 to 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) branches: Option<Vec<Branch>>,
    /// How several bodies become one: "array", or "object" for all and available with `branches`.
    pub(in crate::config) shape: Text<Shape>,
    /// The time limit when the request names none; 1ms to 1h, default 10s or `max_timeout` if that
    /// is shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) timeout: Option<Limit>,
    /// The most a request may name; 1ms to 1h, default 10s or `timeout` if that is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) max_timeout: Option<Limit>,
    /// The route's own rate limit, instead of the one of `[rate_limit]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) rate_limit: Option<RouteRateLimit>,
    /// Lets identical requests share a gather, and keeps answers for a moment; off without this table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) cache: Option<Cache>,
    /// Whether the route answers; 503 when not.
    pub(in crate::config) enabled: bool,
}

/// `[routes.cache]`: what identical requests share.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Cache {
    /// Whether identical requests that are under way share one gather.
    pub(in crate::config) coalesce: bool,
    /// How long a complete, successful answer is kept; 0s to 1h, 0s: not at all.
    pub(in crate::config) max_age: Period<0, 3_600_000>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            coalesce: true,
            max_age: Period::of_millis(1000),
        }
    }
}

impl Cache {
    /// The same as settings.
    pub(in crate::config) fn settings(&self) -> CacheSettings {
        CacheSettings {
            coalesce: self.coalesce,
            max_age: self.max_age.duration(),
        }
    }
}

/// One leg of a gather.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Branch {
    /// Required. Its name in the answer: a letter a-z, then letters, digits, underscores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) name: Option<String>,
    /// Required. The upstream that is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) upstream: Option<String>,
    /// What is asked for, joined to the upstream's url: /orders?user={id}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) target: Option<String>,
    /// Policy available: whether the gather fails when this branch fails.
    pub(in crate::config) required: bool,
    /// RFC 6901 pointer to the part of the body that counts, such as /items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) select: Option<String>,
    /// Its own time limit; the gather's deadline still holds. 1ms to 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) timeout: Option<Limit>,
    /// Request headers passed on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::config) forward_headers: Vec<String>,
    /// Query parameters passed on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::config) forward_query: Vec<String>,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            path: None,
            policy: None,
            need: None,
            hedge_after: None,
            hedge_min: None,
            hedge_budget: None,
            upstream: None,
            calls: None,
            forward_headers: Vec::new(),
            forward_query: Vec::new(),
            branches: None,
            shape: Text(Shape::Array),
            timeout: None,
            max_timeout: None,
            rate_limit: None,
            cache: None,
            enabled: true,
        }
    }
}
