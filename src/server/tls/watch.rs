//! One thing kept in files, and whether its newer version may take its place.

use std::time::{Duration, Instant};

use rustls::crypto::CryptoProvider;

use super::place::Kept;
use crate::config::Problem;

/// How long files may disagree before that is told: they are written one after the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is in use, and what is the matter with what the files hold now.
pub(super) struct Watched<K: Kept> {
    pub(super) place: K,
    pub(super) made: K::Made,
    fingerprint: u64,
    stands_in: bool,
    trouble: Option<Trouble>,
}

struct Trouble {
    since: Instant,
    /// What the files held that has been told of.
    told: Option<u64>,
}

/// What a look at the files gave.
#[derive(Debug)]
pub(super) enum Seen {
    /// Nothing new, or nothing that may be used yet.
    Same,
    /// Something new, which is in use now.
    Replaced,
    /// Something that cannot be used, and has stayed so for a while.
    Unusable(Vec<Problem>),
}

impl<K: Kept> Watched<K> {
    /// What the files hold now.
    pub(super) fn load(place: K, provider: &CryptoProvider) -> Result<Self, Vec<Problem>> {
        let (fingerprint, contents) = place.read();
        let made = place.make(&contents?, provider);
        Ok(Self {
            made: made.map_err(|flaws| place.problems(flaws))?,
            place,
            fingerprint,
            stands_in: false,
            trouble: None,
        })
    }

    /// Something in the place of what the files will make.
    pub(super) fn with(place: K, made: K::Made) -> Self {
        let (fingerprint, _) = place.read();
        Self {
            place,
            made,
            fingerprint,
            stands_in: true,
            trouble: None,
        }
    }

    /// Whether it is something in the place of what the files will make.
    pub(super) fn is_stand_in(&self) -> bool {
        self.stands_in
    }

    /// Whether the files held the same when they were read.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// Why `new`, which was read from the same place, must not be used.
    pub(super) fn objection(&self, new: &Self) -> Vec<Problem> {
        let objection = self.place.objection(&new.made, &self.made);
        self.place.problems(objection.into_iter().collect())
    }

    /// Looks again, and takes what is new and good.
    pub(super) fn look(&mut self, provider: &CryptoProvider, now: Instant) -> Seen {
        let (fingerprint, contents) = self.place.read();
        if fingerprint == self.fingerprint {
            self.trouble = None;
            return Seen::Same;
        }
        let told = self.trouble.as_ref().and_then(|trouble| trouble.told);
        if told == Some(fingerprint) {
            return Seen::Same;
        }
        match contents.and_then(|contents| self.acceptable(&contents, provider)) {
            Ok(made) => {
                (self.made, self.fingerprint, self.trouble) = (made, fingerprint, None);
                self.stands_in = false;
                Seen::Replaced
            }
            Err(problems) => {
                let (since, told) = (now, None);
                let trouble = self.trouble.get_or_insert(Trouble { since, told });
                if now.duration_since(trouble.since) < PATIENCE {
                    return Seen::Same;
                }
                trouble.told = Some(fingerprint);
                Seen::Unusable(problems)
            }
        }
    }

    fn acceptable(
        &self,
        contents: &[Vec<u8>],
        provider: &CryptoProvider,
    ) -> Result<K::Made, Vec<Problem>> {
        let problems = |flaws| self.place.problems(flaws);
        let made = self.place.make(contents, provider).map_err(problems)?;
        match self.place.objection(&made, &self.made) {
            Some(objection) => Err(problems(vec![objection])),
            None => Ok(made),
        }
    }
}
