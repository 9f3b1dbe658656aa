//! The API's description, made of the configured routes (OpenAPI 3.1).

use serde_json::{Map, Value, json};

use super::answer::milliseconds;
use super::problem::ProblemKind;
use crate::config::{FailureStatus, RouteSettings, Settings, Shape};
use crate::upstream::Kind;

/// Headers that OpenAPI describes elsewhere than in `parameters` (OpenAPI 3.1, Parameter Object).
const NOT_PARAMETERS: [&str; 3] = ["accept", "content-type", "authorization"];

/// The OpenAPI document of the configured routes.
#[must_use]
pub fn openapi(settings: &Settings) -> Value {
    let paths: Map<String, Value> = settings
        .routes
        .iter()
        .map(|route| (route.path.to_string(), path_item(route, settings)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "gatherd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Each path calls upstream services in parallel and makes one answer of the replies, before a deadline.",
        },
        "paths": paths,
        "components": { "schemas": { "Problem": problem_schema() }, "headers": headers() },
    })
}

fn path_item(route: &RouteSettings, settings: &Settings) -> Value {
    let name: String = route
        .path
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let operation = |method: &str| {
        json!({
            "operationId": format!("{method}{name}"),
            "summary": summary(route, settings),
            "parameters": parameters(route),
            "responses": responses(route, settings),
        })
    };
    json!({ "get": operation("get"), "head": operation("head") })
}

fn summary(route: &RouteSettings, settings: &Settings) -> String {
    let mut upstreams: Vec<&str> = route
        .branches
        .iter()
        .map(|branch| settings.upstreams[branch.upstream].name.as_ref())
        .collect();
    upstreams.dedup();
    let (policy, branches) = (route.policy.name(), route.branches.len());
    format!(
        "Policy {policy} over {branches} branches of {}",
        upstreams.join(", ")
    )
}

fn parameters(route: &RouteSettings) -> Vec<Value> {
    let path = path_parameters(&route.path).map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
    });
    let timeout = json!({
        "name": "timeout",
        "in": "query",
        "description": "Milliseconds from the arrival of the request to the deadline of the answer.",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": milliseconds(route.max_timeout),
            "default": milliseconds(route.timeout),
        },
    });
    let forwarded = |names: Vec<&str>, place: &str| {
        let parameter =
            |name: &str| json!({ "name": name, "in": place, "schema": { "type": "string" } });
        names.into_iter().map(parameter).collect::<Vec<_>>()
    };
    let query = once_each(
        route
            .branches
            .iter()
            .flat_map(|branch| &branch.forward_query)
            .map(AsRef::as_ref),
    );
    let headers = route
        .branches
        .iter()
        .flat_map(|branch| &branch.forward_headers);
    let headers = headers
        .map(|name| name.as_str())
        .filter(|name| !NOT_PARAMETERS.contains(name));
    path.chain([timeout])
        .chain(forwarded(query, "query"))
        .chain(forwarded(once_each(headers), "header"))
        .collect()
}

/// The names between braces in a route's path.
fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
}

fn once_each<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn responses(route: &RouteSettings, settings: &Settings) -> Value {
    let problem = |description: &str, extra: &[&str]| {
        let named = ["x-request-id"].iter().chain(extra);
        let headers: Map<String, Value> = named.map(|name| header_reference(name)).collect();
        json!({
            "description": description,
            "headers": headers,
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        })
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), gathered(route));
    let mut add = |status: &str, value| responses.insert(status.to_owned(), value);
    add(
        "400",
        problem(
            "The timeout or another parameter is not what it may be.",
            &[],
        ),
    );
    add(
        "429",
        problem(
            "More requests than this client may make.",
            &["retry-after", "ratelimit", "ratelimit-policy"],
        ),
    );
    add(
        "503",
        problem(
            "Overloaded, the route is switched off, or an upstream is not called for now.",
            &["retry-after", "gather"],
        ),
    );
    match settings.server.failure_status {
        FailureStatus::Internal => {
            add(
                "500",
                problem(
                    "The gather failed, or its deadline came first.",
                    &["gather"],
                ),
            );
        }
        FailureStatus::Gateway => {
            add("500", problem("An error of the service itself.", &[]));
            add("502", problem("The gather failed.", &["gather"]));
            add("504", problem("The deadline came first.", &["gather"]));
        }
    }
    Value::Object(responses)
}

fn gathered(route: &RouteSettings) -> Value {
    let schema = match (route.policy.answers_one(), route.shape) {
        (true, _) => json!({ "description": "The reply that counted, as it came." }),
        (false, Shape::Array) => json!({
            "type": "array",
            "description": "The replies, as they came, in branch order.",
            "maxItems": route.branches.len(),
        }),
        (false, Shape::Object) => {
            let members = route
                .branches
                .iter()
                .map(|branch| (branch.name.to_string(), json!({})));
            json!({ "type": "object", "properties": members.collect::<Map<_, _>>() })
        }
    };
    let cached: &[&str] = match route.cache {
        Some(_) => &["age", "cache-status"],
        None => &[],
    };
    let headers: Map<String, Value> = ["x-request-id", "gather"]
        .iter()
        .chain(cached)
        .map(|name| header_reference(name))
        .collect();
    json!({
        "description": "The policy is met.",
        "headers": headers,
        "content": { "application/json": { "schema": schema } },
    })
}

fn header_reference(name: &str) -> (String, Value) {
    (
        name.to_owned(),
        json!({ "$ref": format!("#/components/headers/{name}") }),
    )
}

fn headers() -> Value {
    let text =
        |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "x-request-id": text("Names this request in logs and in calls."),
        "gather": text("How the gather went, for example total=3, ok=2, failed=1, missing=(\"orders\") (RFC 9651)."),
        "retry-after": {
            "description": "Seconds after which to come back.",
            "schema": { "type": "integer", "minimum": 1 },
        },
        "age": text("How many seconds ago the answer was made, where it was kept (RFC 9111)."),
        "cache-status": text("Whether the answer was kept, made by another request's calls, or by its own (RFC 9211)."),
        "ratelimit": text("What is left of the quota (draft-ietf-httpapi-ratelimit-headers-10)."),
        "ratelimit-policy": text("The quota (draft-ietf-httpapi-ratelimit-headers-10)."),
    })
}

fn problem_schema() -> Value {
    let kinds = Kind::ALL.map(Kind::name);
    json!({
        "type": "object",
        "description": "RFC 9457.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "enum": ProblemKind::ALL.map(ProblemKind::urn) },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "branches": {
                "type": "array",
                "description": "The branches that failed.",
                "items": {
                    "type": "object",
                    "required": ["branch", "upstream", "kind", "elapsed_ms"],
                    "properties": {
                        "branch": { "type": "string" },
                        "upstream": { "type": "string" },
                        "kind": { "type": "string", "enum": kinds },
                        "status": { "type": "integer", "description": "The upstream's status, when its head came." },
                        "elapsed_ms": { "type": "integer", "minimum": 0 },
                    },
                },
            },
        },
    })
}
