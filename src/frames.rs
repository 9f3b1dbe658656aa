//! Tells the frames of HTTP/2 apart as their bytes come in: those of requests and replies, and those that
//! only cost work. What they say is the HTTP library's affair.

/// What a client begins HTTP/2 with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// DATA, HEADERS and CONTINUATION (RFC 9113 section 6): the library bounds their number.
const OF_REQUESTS: [u8; 3] = [0, 1, 9];
/// Bytes of a frame's head (RFC 9113 section 4.1).
const HEAD: usize = 9;

/// Where in its frames a connection is.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    state: State,
}

#[derive(Debug)]
enum State {
    /// So many bytes were those of the preface.
    Preface(usize),
    /// In the head of a frame.
    Head([u8; HEAD], usize),
    /// In a frame's payload, of which so much is left; whether it is one of a request.
    Payload(usize, bool),
    /// It is not HTTP/2.
    Other,
}

impl Default for State {
    fn default() -> Self {
        Self::Preface(0)
    }
}

impl Frames {
    /// The frames that a server sends: they have no preface before them.
    pub(crate) fn of_server() -> Self {
        Self {
            state: State::Head([0; HEAD], 0),
        }
    }

    /// How many of these bytes, the next ones of the connection, belong to frames that make no request.
    pub(crate) fn idle_bytes(&mut self, mut bytes: &[u8]) -> usize {
        let mut idle = 0;
        while let Some(first) = bytes.first() {
            let taken = match &mut self.state {
                State::Other => return idle,
                State::Preface(matched) if PREFACE[*matched] == *first => {
                    *matched += 1;
                    if *matched == PREFACE.len() {
                        self.state = State::Head([0; HEAD], 0);
                    }
                    1
                }
                State::Preface(_) => {
                    self.state = State::Other;
                    0
                }
                State::Head(head, filled) => {
                    head[*filled] = *first;
                    *filled += 1;
                    if *filled == HEAD {
                        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                        // An empty one of a request costs work, too, and brings nothing.
                        let requests = length > 0 && OF_REQUESTS.contains(&head[3]);
                        idle += if requests { 0 } else { HEAD };
                        self.state = State::Payload(length, requests);
                    }
                    1
                }
                State::Payload(0, _) => {
                    self.state = State::Head([0; HEAD], 0);
                    0
                }
                State::Payload(left, requests) => {
                    let taken = bytes.len().min(*left);
                    *left -= taken;
                    idle += if *requests { 0 } else { taken };
                    taken
                }
            };
            bytes = &bytes[taken..];
        }
        idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn frames_that_make_no_request_are_counted_however_the_bytes_are_cut() {
        let ping = frame(6, b"pingpong");
        let (head, body, empty) = (frame(1, b"head"), frame(0, b"body"), frame(0, b""));
        let all = [PREFACE, &ping, &head, &ping, &body, &empty, &frame(4, b"")].concat();
        for size in [1, 2, 7, 9, 10, all.len()] {
            let mut frames = Frames::default();
            let idle: usize = all.chunks(size).map(|cut| frames.idle_bytes(cut)).sum();
            assert_eq!(idle, 17 + 17 + 9 + 9, "pieces of {size}");
        }
    }

    #[test]
    fn what_is_not_http2_has_no_frames() {
        let mut frames = Frames::default();
        assert_eq!(frames.idle_bytes(b"PRI * HTTP/1.1\r\n\r\n"), 0);
        assert_eq!(frames.idle_bytes(&frame(6, b"pingpong")), 0);
    }
}
