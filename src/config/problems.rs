//! stub
/// stub
#[derive(Debug, Clone)]
pub struct Problem(String);
impl Problem {
    /// stub
    #[must_use]
    pub fn unavailable(subject: &str, reason: &str) -> Self {
        Self(format!("{subject}: {reason}"))
    }
}
