//! The check of every reply's body, beside what serde_json needs for the same bytes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gatherd::upstream::is_document;
use serde::de::IgnoredAny;

fn bodies() -> Vec<(&'static str, String)> {
    let list = |element: &str| {
        let elements = vec![element; 64_000 / (element.len() + 1)];
        format!("[{}]", elements.join(","))
    };
    let record = r#"{"id":1234,"name":"Ad\u00e9le","tags":["a","b"],"score":-12.5e3,"ok":true}"#;
    let pretty = "\n  {\n    \"id\": 1234,\n    \"name\": \"Adele\",\n    \"ok\": true\n  }";
    let text = "the quick brown fox ";
    vec![
        ("tiny", r#"{"time":250}"#.to_owned()),
        ("records 64 KB", list(record)),
        ("records with white space 64 KB", list(pretty)),
        ("numbers 64 KB", list("14.421389,50.087811,190")),
        (
            "nested 64 KB",
            list(r#"{"a":{"b":{"c":1,"d":[]}},"e":[[2,true],{}]}"#),
        ),
        ("one string 64 KB", format!("\"{}\"", text.repeat(3200))),
        ("short strings 64 KB", list(r#""the quick brown fox""#)),
        (
            "not ASCII 64 KB",
            format!("\"{}\"", "žluťoučký kůň ".repeat(3300)),
        ),
    ]
}

fn check(criterion: &mut Criterion) {
    for (name, body) in bodies() {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("is_document", |bencher| {
            bencher.iter(|| is_document(black_box(body.as_bytes())));
        });
        group.bench_function("serde_json, without depth", |bencher| {
            bencher.iter(|| serde_json::from_str::<IgnoredAny>(black_box(&body)).is_ok());
        });
        group.finish();
    }
}

criterion_group!(benches, check);
criterion_main!(benches);
