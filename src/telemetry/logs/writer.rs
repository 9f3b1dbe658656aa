//! A bounded queue of lines, and the thread that writes them: the service never waits for a disk,
//! a pipe or a journal.
//!
//! Not `tracing-appender`: it wakes its thread and writes once for each line, which on one core costs
//! more than making the line; its bound is in lines, not bytes; and its end prints to standard output.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::output::{Failed, Output};
use crate::metrics::Metrics;
use crate::throttle::Throttle;

/// Bytes that may wait: several thousand lines of the access log.
const MOST_PENDING: usize = 4 << 20;
/// How long lines are collected before they are written: one wake-up and one write for all of them.
const COLLECTED: Duration = Duration::from_millis(5);
/// What the queue keeps of its memory after a flood.
const KEPT: usize = 64 << 10;
/// How often at most the log tells that it has lost lines.
const LOSSES_TOLD: Duration = Duration::from_secs(1);

/// The queue of one output; clones share it.
#[derive(Clone)]
pub(super) struct Writer(Arc<Queue>);

struct Queue {
    pending: Mutex<Pending>,
    /// To the thread: there is something to do.
    work: Condvar,
    /// From the thread: it has ended.
    ended: Condvar,
    /// Lines that were lost since the start.
    lost: AtomicU64,
    /// Where they are counted too, once there are metrics.
    metrics: OnceLock<Arc<Metrics>>,
}

impl Queue {
    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        if let Some(metrics) = self.metrics.get() {
            metrics.service.log_lines_lost.inc_by(lines);
        }
    }
}

#[derive(Default)]
struct Pending {
    lines: Vec<u8>,
    reopen: bool,
    stop: bool,
    has_ended: bool,
}

impl Pending {
    fn is_idle(&self) -> bool {
        self.lines.is_empty() && !self.is_urgent()
    }

    fn is_urgent(&self) -> bool {
        self.reopen || self.stop
    }
}

impl Writer {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// When the operating system has no thread left.
    pub(super) fn start(output: Output) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            pending: Mutex::default(),
            work: Condvar::new(),
            ended: Condvar::new(),
            lost: AtomicU64::new(0),
            metrics: OnceLock::new(),
        });
        let mut job = Job {
            queue: queue.clone(),
            output,
            is_failing: false,
            told: 0,
            losses_told: Throttle::new(LOSSES_TOLD),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || job.run())?;
        Ok(Self(queue))
    }

    /// Queues a whole line, or loses it when too much waits already. Never blocks.
    pub(super) fn push(&self, line: &[u8]) {
        let mut pending = self.0.pending.lock();
        if pending.lines.len() + line.len() > MOST_PENDING {
            drop(pending);
            self.0.lose(1);
            return;
        }
        let was_empty = pending.lines.is_empty();
        pending.lines.extend_from_slice(line);
        drop(pending);
        // Otherwise it has been woken already.
        if was_empty {
            self.0.work.notify_one();
        }
    }

    /// Has the output opened anew, soon.
    pub(super) fn reopen(&self) {
        self.0.pending.lock().reopen = true;
        self.0.work.notify_one();
    }

    /// Counts lost lines there too, those that are lost already included.
    pub(super) fn count_in(&self, metrics: &Arc<Metrics>) {
        if self.0.metrics.set(metrics.clone()).is_ok() {
            let lost = self.0.lost.load(Ordering::Relaxed);
            metrics.service.log_lines_lost.inc_by(lost);
        }
    }

    /// Writes what waits and ends the thread; gives up at `deadline`.
    pub(super) fn finish(&self, deadline: Instant) {
        let mut pending = self.0.pending.lock();
        pending.stop = true;
        self.0.work.notify_one();
        while !pending.has_ended {
            if self.0.ended.wait_until(&mut pending, deadline).timed_out() {
                return;
            }
        }
    }
}

/// What the thread does.
struct Job {
    queue: Arc<Queue>,
    output: Output,
    is_failing: bool,
    /// Lost lines that have been told of, and when that was.
    told: u64,
    losses_told: Throttle,
}

impl Job {
    fn run(&mut self) {
        let mut lines = Vec::new();
        loop {
            let (reopen, stop) = self.next(&mut lines);
            if reopen && let Err(error) = self.output.reopen() {
                let file = self.output.name();
                tracing::error!(file, %error, "cannot open the log anew; the old file is written on");
            }
            let written = self.output.write(&lines);
            lines.clear();
            lines.shrink_to(KEPT);
            match written {
                Ok(()) => self.tell_losses(),
                Err(failed) => self.tell_failure(&failed),
            }
            if stop {
                self.queue.pending.lock().has_ended = true;
                self.queue.ended.notify_all();
                return;
            }
        }
    }

    /// Waits for something to do. Takes the lines that wait, and says whether to reopen and to stop.
    fn next(&self, lines: &mut Vec<u8>) -> (bool, bool) {
        let mut pending = self.queue.pending.lock();
        while pending.is_idle() {
            if self.untold() == 0 {
                self.queue.work.wait(&mut pending);
            } else if self
                .queue
                .work
                .wait_for(&mut pending, LOSSES_TOLD)
                .timed_out()
            {
                break;
            }
        }
        if !pending.is_urgent() {
            self.queue.work.wait_for(&mut pending, COLLECTED);
        }
        mem::swap(&mut pending.lines, lines);
        (mem::take(&mut pending.reopen), pending.stop)
    }

    fn untold(&self) -> u64 {
        self.queue.lost.load(Ordering::Relaxed) - self.told
    }

    /// Says once that writing fails; of standard error itself, that is lost.
    fn tell_failure(&mut self, failed: &Failed) {
        self.queue.lose(failed.lost);
        if !mem::replace(&mut self.is_failing, true) {
            let (file, error) = (self.output.name(), &failed.error);
            tracing::error!(file, %error, "cannot write the log; lines are lost until it can be written");
        }
    }

    /// Says how many lines were lost, now that there are lines again.
    fn tell_losses(&mut self) {
        self.is_failing = false;
        let lines = self.untold();
        if lines > 0 && self.losses_told.is_due() {
            self.told += lines;
            tracing::warn!(file = self.output.name(), lines, "log lines were lost");
        }
    }
}
