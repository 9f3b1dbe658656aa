//! stub
use std::fmt;
/// stub
#[derive(Debug, Clone)]
pub struct Problem(String);
impl Problem {
    /// stub
    #[must_use]
    pub fn unavailable(subject: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self(format!("{subject}: {reason}"))
    }
}
/// stub
#[derive(Debug, Clone)]
pub struct Problems(pub Vec<Problem>);
impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}
impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        Self(problems.into_iter().collect())
    }
}
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
