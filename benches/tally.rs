//! A whole gather in the tally: outcome in, verdict out.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use gatherd::gather::{Completion, Tally};

fn tally(criterion: &mut Criterion) {
    for branches in [2, 64] {
        let completion = Completion::AllDone { need: branches };
        criterion.bench_function(&format!("all of {branches}"), |bencher| {
            bencher.iter(|| {
                let mut tally = Tally::new(black_box(completion), branches, 0);
                let outcomes = 0..branches;
                outcomes
                    .map(|_| tally.success(black_box(false)))
                    .fold(None, |_, verdict| verdict)
            });
        });
    }
}

criterion_group!(benches, tally);
criterion_main!(benches);
