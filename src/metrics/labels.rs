//! What labels may say: closed sets of words.

use serde::{Serialize, Serializer};

/// A metric for each of a closed set of words.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The label's value.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}

words! {
    /// What a connection is doing.
    ConnectionState {
        /// It has not finished its TLS handshake.
        Handshaking => "handshaking",
        /// No request is open on it.
        Idle => "idle",
        /// A request is open on it.
        Active => "active",
    }
}

words! {
    /// How a TLS handshake went.
    Handshake {
        /// It was finished.
        Completed => "completed",
        /// `handshake_timeout` came first.
        TimedOut => "timed_out",
        /// The client went, or its place was given to another.
        Ended => "ended",
        /// Not TLS, or nothing that both sides speak.
        Failed => "failed",
        /// The PROXY header before it is missing, malformed, or of a source that is refused.
        ProxyHeader => "proxy_header",
    }
}

words! {
    /// What came of asking the shared rate limit about a request.
    SharedCheck {
        /// Redis had a token.
        Admitted => "admitted",
        /// Redis had none.
        Refused => "refused",
        /// It was refused before, until later than now, and Redis was not asked.
        Remembered => "remembered",
        /// Redis did not answer in time.
        TimedOut => "timed_out",
        /// Redis answered with an error, or the connection broke.
        Failed => "failed",
        /// There is no connection, or it is not waited for any more.
        Away => "away",
    }
}

words! {
    /// Why the service ended a connection.
    Ending {
        /// `idle_timeout`, or no first request within `header_timeout`.
        Idle => "idle_timeout",
        /// `header_timeout`.
        Header => "header_timeout",
        /// `write_timeout`.
        Write => "write_timeout",
        /// Its place was needed.
        Displaced => "displaced",
        /// Bytes without end that make no request.
        Flood => "flood",
    }
}

words! {
    /// A limit that refuses; named as its key.
    Limit {
        /// `[access]`.
        Access => "access",
        /// New connections of one peer.
        ConnectionsPerSecond => "connections_per_second",
        /// Connections of one peer at once.
        MaxConnectionsPerClient => "max_connections_per_client",
        /// Connections at once.
        MaxConnections => "max_connections",
        /// Requests of one client.
        RequestsPerSecond => "requests_per_second",
        /// Gathers of one client at once.
        MaxInFlightPerClient => "max_in_flight_per_client",
        /// Gathers at once.
        MaxInFlight => "max_in_flight",
        /// No call of an upstream was free in time; a branch is refused.
        MaxWait => "max_wait",
        /// Bytes of replies at once; a branch is refused.
        MaxBuffered => "max_buffered",
        /// A route that is switched off.
        RouteEnabled => "enabled",
    }
}

/// Which clients a limit refuses, and so what its refusals mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuses {
    /// Any client, since the service is full: the client has done nothing wrong.
    AnyClient,
    /// Requests of a client that has too many: a few clients should be refused, many are a sign.
    RequestsOfOne,
    /// The same for connections.
    ConnectionsOfOne,
    /// What the configuration forbids.
    AsConfigured,
}

impl Limit {
    /// Which clients it refuses.
    #[must_use]
    pub fn refuses(self) -> Refuses {
        match self {
            Self::MaxConnections | Self::MaxInFlight | Self::MaxWait | Self::MaxBuffered => {
                Refuses::AnyClient
            }
            Self::RequestsPerSecond | Self::MaxInFlightPerClient => Refuses::RequestsOfOne,
            Self::ConnectionsPerSecond | Self::MaxConnectionsPerClient => Refuses::ConnectionsOfOne,
            Self::Access | Self::RouteEnabled => Refuses::AsConfigured,
        }
    }
}
