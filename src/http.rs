//! Everything that is HTTP about a request: URLs, layers, limiter, handlers, problems.
