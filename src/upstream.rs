//! Calls to upstream services: clients, permits, names, and one call from request to checked reply.
