//! The check of every reply's body, beside what serde_json needs for the same bytes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gatherd::upstream::is_document;
use serde::de::IgnoredAny;

fn bodies() -> [(&'static str, String); 4] {
    let record = r#"{"id":1234,"name":"Ad\u00e9le","tags":["a","b"],"score":-12.5e3,"ok":true},"#;
    let records = format!("[{}null]", record.repeat(850));
    let text = format!("\"{}\"", "the quick brown fox ".repeat(3200));
    [
        ("small", r#"{"time":250}"#.to_owned()),
        ("records 64 KB", records),
        ("one string 64 KB", text),
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
