//! What machines read: the schema of the config file and the description of the API.

use std::fs;

use gatherd::{config, http};
use jsonschema::{Validator, meta};
use serde_json::{Value, json};

use crate::harness::{config_text, settings};

/// One route of each policy, with all that an API's description tells of.
const ROUTES: &str = r#"
[upstreams.work]
url = "http://127.0.0.1:1/"
[[routes]]
path = "/api/all"
policy = "all"
upstream = "work"
max_timeout = "7s"
[[routes]]
path = "/api/first"
policy = "first"
upstream = "work"
[[routes]]
path = "/api/good"
policy = "first_success"
hedge_after = "300ms"
upstream = "work"
[[routes]]
path = "/api/two"
policy = "quorum"
need = 2
upstream = "work"
calls = 3
[[routes]]
path = "/api/profile/{id}"
policy = "available"
shape = "object"
branches = [
  { name = "user", upstream = "work", target = "/users/{id}", required = true, forward_headers = ["authorization", "x-tenant"] },
  { name = "orders", upstream = "work", target = "/orders?user={id}", forward_query = ["lang"] },
]
"#;

fn openapi(server: &str) -> Value {
    let directory = tempfile::tempdir().unwrap();
    http::openapi(&settings(directory.path(), &config_text(server, ROUTES)))
}

fn errors(validator: &Validator, value: &Value) -> Vec<String> {
    let errors = validator.iter_errors(value);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

fn from_toml(text: &str) -> Value {
    toml_edit::de::from_str(text).unwrap()
}

#[test]
fn the_schema_is_one_and_accepts_the_shipped_config_and_no_other_key() {
    let schema = config::schema();
    assert!(meta::is_valid(&schema), "{:?}", meta::validate(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let shipped = fs::read_to_string("config.toml").unwrap();
    assert_eq!(errors(&validator, &from_toml(&shipped)), [""; 0]);
    assert_eq!(
        errors(&validator, &from_toml(&config_text("", ROUTES))),
        [""; 0]
    );
    for wrong in [
        "[server]\nmax_conections = 1\n",
        "[server]\ndrain_timeout = 12\n",
        "[rate_limit]\nburst = \"many\"\n",
        "[[routes]]\npath = \"/a\"\npolicy = \"most\"\n",
        "[upstreams.work]\nurl = 5\n",
    ] {
        assert!(!errors(&validator, &from_toml(wrong)).is_empty(), "{wrong}");
    }
}

#[test]
fn the_description_of_the_api_is_valid_openapi() {
    let schema = fs::read_to_string("tests/integration/data/openapi-3.1.json").unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for server in ["", "failure_status = \"gateway\""] {
        assert_eq!(errors(&validator, &openapi(server)), [""; 0]);
    }
    let mut broken = openapi("");
    broken["paths"]["/api/all"]["get"]["parameters"][0]["in"] = json!("nowhere");
    assert!(!errors(&validator, &broken).is_empty());
}

#[test]
fn each_path_is_described_with_its_deadline_its_parameters_and_its_statuses() {
    let document = openapi("");
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 5);
    for (path, item) in paths {
        for method in ["get", "head"] {
            let statuses: Vec<&str> = item[method]["responses"]
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            assert_eq!(
                statuses,
                ["200", "400", "429", "500", "503"],
                "{method} {path}"
            );
        }
    }
    let parameters = |path: &str| -> Vec<(String, String)> {
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let parameters = document["paths"][path]["get"]["parameters"]
            .as_array()
            .unwrap();
        parameters
            .iter()
            .map(|one| (word(&one["in"]), word(&one["name"])))
            .collect()
    };
    let named = |place: &str, name: &str| (place.to_owned(), name.to_owned());
    assert_eq!(parameters("/api/all"), [named("query", "timeout")]);
    let profile = parameters("/api/profile/{id}");
    for expected in [
        named("path", "id"),
        named("query", "lang"),
        named("header", "x-tenant"),
    ] {
        assert!(profile.contains(&expected), "{profile:?}");
    }
    let timeout = &document["paths"]["/api/all"]["get"]["parameters"][0]["schema"];
    assert_eq!(
        (&timeout["minimum"], &timeout["maximum"]),
        (&json!(1), &json!(7000))
    );
    let gateway = openapi("failure_status = \"gateway\"");
    for status in ["502", "504"] {
        assert!(
            gateway["paths"]["/api/all"]["get"]["responses"][status].is_object(),
            "{status}"
        );
    }
}
