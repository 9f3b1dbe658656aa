//! A name server for one test, over UDP on an address of loopback.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::SOA;
use hickory_resolver::proto::rr::{Name, RData, Record};
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// What the server says of a name.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// These addresses hold for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// There is no such name.
    Nothing,
    /// Not a word.
    Silence,
}

/// One name server, which ends with this.
pub(crate) struct NameServer {
    pub(crate) addr: SocketAddr,
    says: Arc<Mutex<Said>>,
    asked: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl NameServer {
    /// One at `addr` that says the same of every name.
    pub(crate) async fn at(addr: SocketAddr, says: Said) -> Self {
        let socket = UdpSocket::bind(addr).await.expect("a port");
        let addr = socket.local_addr().expect("its address");
        let says = Arc::new(Mutex::new(says));
        let asked = Arc::default();
        let task = tokio::spawn(serve(socket, says.clone(), Arc::clone(&asked)));
        Self {
            addr,
            says,
            asked,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// One at a free port.
    pub(crate) async fn start(says: Said) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), says).await
    }

    /// What it says from now on.
    pub(crate) fn say(&self, says: Said) {
        *self.says.lock() = says;
    }

    /// Every question so far: name and type.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn serve(socket: UdpSocket, says: Arc<Mutex<Said>>, asked: Arc<Mutex<Vec<String>>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let Ok(request) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        let query = request.queries[0].clone();
        asked.lock().push(in_words(&query));
        let mut answer = request.into_response();
        let said = says.lock().clone();
        match said {
            Said::Silence => continue,
            Said::Nothing => answer.metadata.response_code = ResponseCode::NXDomain,
            Said::Addresses(addresses, seconds) => {
                let name = query.name().clone();
                let fit = addresses.into_iter().map(RData::from);
                let fit = fit.filter(|it| it.record_type() == query.query_type());
                answer.add_answers(fit.map(|it| Record::from_rdata(name.clone(), seconds, it)));
                if answer.answers.is_empty() {
                    // So that it is kept that there is none (RFC 2308 section 5).
                    let soa = SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, seconds);
                    answer.add_authority(Record::from_rdata(name, seconds, RData::SOA(soa)));
                }
            }
        }
        let bytes = answer.to_vec().expect("a message");
        let _ = socket.send_to(&bytes, peer).await;
    }
}

/// Name and type, without the escapes that are written for zone files.
fn in_words(query: &Query) -> String {
    let labels = query.name().iter().map(String::from_utf8_lossy);
    let name: String = labels.map(|label| format!("{label}.")).collect();
    format!("{name} {}", query.query_type())
}
