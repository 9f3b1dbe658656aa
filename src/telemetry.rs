//! What is it doing: logs and the admin listener.
