//! Scripted branches, and the log of everything the driver does with them.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::gather::{Attempt, Branches};

/// How one branch behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) gives: Gives,
    /// From its own start to its outcome.
    pub(super) after: u64,
    pub(super) timeout: Option<u64>,
    pub(super) required: bool,
    /// Whether it may not start as a hedge, nor have one.
    pub(super) held_back: bool,
    /// What its second attempt gives, and after how long.
    pub(super) second: (Gives, u64),
    /// When it wakes itself a few times for nothing.
    pub(super) fidgets_at: Option<u64>,
}

/// What a branch gives when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    Reply,
    Failure,
    Panic,
}

/// What the driver did, or what a call did to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Started(usize),
    Hedged(usize),
    HeldBack(usize),
    /// A second attempt starts.
    Again(usize),
    Succeeded(usize),
    Failed(usize),
    Panicked(usize),
    Lingers(usize),
}

/// What happened, each with its moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Rc<RefCell<Vec<(u64, Event)>>>);

impl Log {
    pub(super) fn events(&self) -> Vec<(u64, Event)> {
        self.0.borrow().clone()
    }

    /// The branches handed over, sorted; their order promises nothing.
    pub(super) fn lingers(&self) -> Vec<usize> {
        let lingers = |(_, event)| match event {
            Event::Lingers(branch) => Some(branch),
            _ => None,
        };
        let mut branches: Vec<_> = self.events().into_iter().filter_map(lingers).collect();
        branches.sort_unstable();
        branches
    }

    fn note(&self, opened: Instant, event: Event) {
        self.0.borrow_mut().push((since(opened), event));
    }
}

/// Added to the number of a branch, what its second attempt gives.
pub(super) const SECOND: usize = 1000;

/// The branches of a scene.
pub(super) struct Stage {
    scripts: Vec<Script>,
    patience: Option<u64>,
    opened: Instant,
    log: Log,
}

impl Stage {
    pub(super) fn new(scripts: &[Script], patience: Option<u64>, log: &Log) -> Self {
        Self {
            scripts: scripts.to_vec(),
            patience,
            opened: Instant::now(),
            log: log.clone(),
        }
    }

    fn call(&self, branch: usize, attempt: Attempt) -> Call {
        let script = self.scripts[branch];
        let (number, (gives, after)) = match attempt {
            Attempt::First => (branch, (script.gives, script.after)),
            Attempt::Second => (branch + SECOND, script.second),
        };
        let due = Instant::now() + Duration::from_millis(after);
        Call {
            branch,
            number,
            gives,
            done: Box::pin(sleep_until(due)),
            fidget: script
                .fidgets_at
                .map(|fidgets| Box::pin(sleep_until(at(self.opened, fidgets)))),
            fidgets_left: 3,
            over: false,
            opened: self.opened,
            log: self.log.clone(),
        }
    }
}

impl Branches for Stage {
    type Reply = usize;
    type Failure = usize;
    type Call = Call;

    fn start(&mut self, branch: usize) -> Call {
        self.log.note(self.opened, Event::Started(branch));
        self.call(branch, Attempt::First)
    }

    fn patience(&mut self, _branch: usize) -> Option<Duration> {
        self.patience.map(Duration::from_millis)
    }

    fn hedge(&mut self, branch: usize) -> Option<Call> {
        if self.scripts[branch].held_back {
            self.log.note(self.opened, Event::HeldBack(branch));
            return None;
        }
        self.log.note(self.opened, Event::Hedged(branch));
        Some(self.call(branch, Attempt::First))
    }

    fn again(&mut self, branch: usize, running: &Call) -> Option<Call> {
        assert_eq!(branch, running.branch, "another's call is running");
        if self.scripts[branch].held_back {
            self.log.note(self.opened, Event::HeldBack(branch));
            return None;
        }
        self.log.note(self.opened, Event::Again(branch));
        Some(self.call(branch, Attempt::Second))
    }

    fn linger(&mut self, branch: usize, call: Call) {
        assert_eq!(branch, call.branch, "a call is handed over as another's");
        self.log.note(self.opened, Event::Lingers(branch));
    }
}

/// A running branch. What it gives is its own number.
pub(super) struct Call {
    branch: usize,
    number: usize,
    gives: Gives,
    done: Pin<Box<Sleep>>,
    fidget: Option<Pin<Box<Sleep>>>,
    fidgets_left: u8,
    over: bool,
    opened: Instant,
    log: Log,
}

impl Call {
    fn end(&mut self) -> Result<usize, usize> {
        self.over = true;
        let (event, result) = match self.gives {
            Gives::Reply => (Event::Succeeded(self.branch), Ok(self.number)),
            Gives::Failure => (Event::Failed(self.branch), Err(self.number)),
            Gives::Panic => (Event::Panicked(self.branch), Err(self.number)),
        };
        self.log.note(self.opened, event);
        if self.gives == Gives::Panic {
            // Unlike `panic!`, this prints nothing.
            std::panic::resume_unwind(Box::new("a scripted panic"));
        }
        result
    }
}

impl Future for Call {
    type Output = Result<usize, usize>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.over, "a call is polled after its end");
        if reached(&mut self.done, context) {
            return Poll::Ready(self.end());
        }
        if self.fidgets_left > 0
            && let Some(fidget) = &mut self.fidget
            && reached(fidget, context)
        {
            self.fidgets_left -= 1;
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Whether the clock has reached an instant; if not, it will wake the task.
fn reached(sleep: &mut Pin<Box<Sleep>>, context: &mut Context<'_>) -> bool {
    Instant::now() >= sleep.deadline() || sleep.as_mut().poll(context).is_ready()
}

pub(super) fn at(opened: Instant, millis: u64) -> Instant {
    opened + Duration::from_millis(millis)
}

pub(super) fn since(opened: Instant) -> u64 {
    millis(opened.elapsed())
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}
