//! Listeners, TLS and drain; generic over a tower service, knows no routes and no statuses.
