//! Who the client is: the one key that caps, limiter and logs share.
