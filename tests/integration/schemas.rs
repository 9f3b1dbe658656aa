//! The two documents that other programs read: the schema of `config.toml`, and the API's description.

use std::path::Path;

use gatherd::config::schema;
use gatherd::http::openapi;
use jsonschema::Validator;
use serde_json::Value;

use crate::harness::{config_text, settings};

const SHIPPED: &str = include_str!("../../config.toml");

fn json(toml: &str) -> Value {
    toml_edit::de::from_str(toml).unwrap_or_else(|error| panic!("{error}\n{toml}"))
}

/// What the validator says is wrong.
fn errors(validator: &Validator, instance: &Value) -> Vec<String> {
    let errors = validator.iter_errors(instance);
    errors
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect()
}

fn config_validator() -> Validator {
    jsonschema::draft202012::new(&schema()).expect("a schema")
}

#[test]
fn the_schema_of_the_config_is_a_draft_2020_12_schema() {
    let schema = schema();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    jsonschema::meta::validate(&schema).expect("valid by its own meta-schema");
}

#[test]
fn the_shipped_config_is_valid_with_and_without_its_comments() {
    let validator = config_validator();
    assert_eq!(errors(&validator, &json(SHIPPED)), Vec::<String>::new());
    // Every key that is shown as a comment; the production URL would be there twice.
    let (keys, _examples) = SHIPPED.split_once("# Other policies").expect("examples");
    let uncommented = keys
        .lines()
        .filter(|line| !line.contains("appspot"))
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if is_key(key) => key,
            _ => line,
        });
    let text: Vec<_> = uncommented.collect();
    let all = json(&text.join("\n"));
    assert_eq!(all["server"]["failure_status"], "500", "comments were read");
    assert_eq!(errors(&validator, &all), Vec::<String>::new());
}

/// Whether a comment is a key and its default.
fn is_key(comment: &str) -> bool {
    let name = comment.split_once(" = ").map_or("", |(name, _)| name);
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.bytes().all(allowed)
}

#[test]
fn wrong_configs_are_not_valid() {
    let validator = config_validator();
    let good = "[upstreams.work]\nurl = \"http://127.0.0.1:1/\"\n[[routes]]\npath = \"/a\"\npolicy = \"all\"\nupstream = \"work\"\n";
    assert_eq!(errors(&validator, &json(good)), Vec::<String>::new());
    let mut missed = Vec::new();
    for wrong in [
        "calls = \"two\"",
        "calls = 0",
        "calls = 65",
        "calls = 1.5",
        "timeout = 10",
        "enabled = \"yes\"",
        "call = 2",
        "shape = \"tree\"",
        "branches = [{ name = \"a\", upstream = \"work\", target = \"/\", urgent = true }]",
        "[server]\nfailure_status = \"teapot\"",
        "[server]\nmax_connections = 0",
        "[server]\nhttps = \"127.0.0.1:1\"",
        "[servers]\n",
        "[log]\nformat = \"xml\"",
        "[mock]\nfailure_rate = 1.5",
        "[rate_limit]\nburst = 0",
        "[upstreams.other]\nurl = \"http://127.0.0.1:1/\"\nhttp = \"3\"",
        "[[routes]]\npath = \"/b\"\npolicy = \"most\"\nupstream = \"work\"",
    ] {
        let instance = json(&format!("{good}{wrong}"));
        if validator.is_valid(&instance) {
            missed.push(wrong);
        }
    }
    assert_eq!(missed, Vec::<&str>::new());
}

const ROUTES: &str = r#"
[upstreams.work]
url = "http://127.0.0.1:1/"
[[routes]]
path = "/all"
policy = "all"
upstream = "work"
[[routes]]
path = "/first"
policy = "first"
upstream = "work"
calls = 64
timeout = "1s"
max_timeout = "4321ms"
forward_query = ["lang"]
forward_headers = ["authorization", "x-tenant"]
[[routes]]
path = "/hedged"
policy = "first_success"
upstream = "work"
hedge_after = "300ms"
[[routes]]
path = "/quorum"
policy = "quorum"
need = 2
upstream = "work"
calls = 3
[[routes]]
path = "/profile/{id}"
policy = "available"
shape = "object"
branches = [
  { name = "user", upstream = "work", target = "/users/{id}", required = true, forward_headers = ["x-tenant"] },
  { name = "orders", upstream = "work", target = "/orders?user={id}", forward_query = ["lang"], forward_headers = ["x-tenant"] },
]
"#;

/// Path, the most milliseconds, and those of a request that names none.
const TIMES: [(&str, u64, u64); 5] = [
    ("/all", 10_000, 10_000),
    ("/first", 4321, 1000),
    ("/hedged", 10_000, 10_000),
    ("/quorum", 10_000, 10_000),
    ("/profile/{id}", 10_000, 10_000),
];

fn description(server: &str) -> Value {
    openapi(&settings(
        Path::new("/nowhere"),
        &config_text(server, ROUTES),
    ))
}

#[test]
fn the_description_of_the_api_is_an_openapi_3_1_document() {
    let official = serde_json::from_str(include_str!("data/openapi-3.1.json")).expect("JSON");
    let validator = jsonschema::draft202012::new(&official).expect("a schema");
    for server in ["", "failure_status = \"gateway\""] {
        let mut document = description(server);
        assert_eq!(errors(&validator, &document), Vec::<String>::new());
        document["paths"]["/all"]["get"]["parameters"][0]["in"] = "body".into();
        assert!(
            !validator.is_valid(&document),
            "the official schema is not asleep"
        );
    }
}

#[test]
fn the_description_has_each_path_with_its_timeout_and_statuses() {
    let five = ["200", "400", "429", "500", "503"];
    let gateway = ["200", "400", "429", "502", "503", "504"];
    for (server, statuses) in [
        ("", &five[..]),
        ("failure_status = \"gateway\"", &gateway[..]),
    ] {
        let document = description(server);
        let paths = document["paths"].as_object().expect("paths");
        assert_eq!(paths.len(), TIMES.len());
        for ((path, most, usual), method) in TIMES.iter().flat_map(|it| [(it, "get"), (it, "head")])
        {
            let operation = &paths[*path][method];
            let parameters = operation["parameters"].as_array().expect("parameters");
            let timeout: Vec<_> = parameters
                .iter()
                .filter(|it| it["name"] == "timeout")
                .collect();
            assert_eq!(timeout.len(), 1, "{path}");
            assert_eq!(timeout[0]["in"], "query");
            let schema = &timeout[0]["schema"];
            let said = [&schema["minimum"], &schema["maximum"], &schema["default"]];
            assert_eq!(
                said,
                [&1.into(), &Value::from(*most), &Value::from(*usual)],
                "{path}"
            );
            for status in statuses {
                assert!(
                    operation["responses"].get(status).is_some(),
                    "{method} {path} {status}"
                );
            }
        }
        let profile = &paths["/profile/{id}"]["get"]["parameters"];
        let names = |place: &str| -> Vec<_> {
            let all = profile.as_array().expect("parameters").iter();
            all.filter(|it| it["in"] == place)
                .map(|it| it["name"].clone())
                .collect()
        };
        assert_eq!(names("path"), ["id"]);
        assert_eq!(names("query"), ["timeout", "lang"]);
        assert_eq!(names("header"), ["x-tenant"]);
    }
}
