//! What bytes are worth as a reply, without a connection: for tests and fuzzers.

use std::sync::{Arc, LazyLock};

use super::reply::Reply;
use crate::metrics::{CallState, Metrics, UpstreamMetrics};
use crate::upstream::body::ReplyBody;
use crate::upstream::buffers::{Buffers, Reservation};
use crate::upstream::failure::{Kind, is_success};
use crate::upstream::progress::Progress;

/// What a reply was worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Outcome {
    /// Its status and body, and whether its connection may carry another request.
    Whole(u16, Vec<u8>, bool),
    /// A failing status, whatever its body.
    Refused(u16),
    /// No reply, or none that can be used.
    Broken(Kind),
}

/// A body of up to 1 MiB that is waited for.
fn body() -> ReplyBody {
    static SHARED: LazyLock<(Arc<Buffers>, Arc<UpstreamMetrics>)> = LazyLock::new(|| {
        let metrics = Metrics::new();
        let buffers = Buffers::new(1 << 24, metrics.load.clone());
        (buffers, metrics.upstream("work", &Kind::NAMES))
    });
    let (buffers, metrics) = &*SHARED;
    let progress = Progress::new(true, metrics.call(CallState::Running));
    let account = Reservation::new(buffers, None);
    ReplyBody::new(1 << 20, account, Arc::new(progress))
}

/// What comes of these pieces, and of the end of the connection behind them.
pub(in crate::upstream) fn outcome<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut reply, mut body) = (Reply::default(), body());
    for piece in pieces {
        if let Err((kind, _)) = reply.read(piece, &mut body) {
            return Outcome::Broken(kind);
        }
    }
    let keeps = reply.leaves_connection();
    let ended = reply.end();
    match (reply.head(), ended) {
        (Some(head), _) if !is_success(head.status) => Outcome::Refused(head.status.as_u16()),
        (_, Err((kind, _))) => Outcome::Broken(kind),
        (Some(head), Ok(())) => {
            Outcome::Whole(head.status.as_u16(), body.into_parts().0.to_vec(), keeps)
        }
        (None, Ok(())) => unreachable!("a reply that is over has a head"),
    }
}
