//! Whose address counts when trusted proxies stand between the client and us.

use std::net::{IpAddr, SocketAddr};

use ::http::{HeaderMap, HeaderName};

use crate::config::ServerSettings;

/// The header in which proxies write down their peers.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client, as far as `X-Forwarded-For` may be believed.
///
/// With `trusted_proxies`: the TCP peer, or, if that is one of them, the right-most entry that is
/// not. With `trusted_hops = n`: the n-th entry from the right, since that many were written by
/// hops of ours (`1` where one load balancer adds the address it saw), or the left-most if there are
/// fewer. An entry that is no address ends the search: what is left of it may have been written by
/// anybody.
#[must_use]
pub fn identify(peer: IpAddr, headers: &HeaderMap, server: &ServerSettings) -> IpAddr {
    let peer = peer.to_canonical();
    if server.trusted_hops.is_none() && !server.trusts(peer) {
        return peer;
    }
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let entries = lines
        .flat_map(|line| line.to_str().unwrap_or("").rsplit(','))
        .map_while(|entry| parse(entry.trim()))
        .map(|address| address.to_canonical());
    match server.trusted_hops {
        Some(hops) => entries.take(hops).last().unwrap_or(peer),
        None => right_most_stranger(peer, entries, server),
    }
}

/// The first entry that is no trusted proxy, or the last of the trusted ones.
fn right_most_stranger(
    peer: IpAddr,
    entries: impl Iterator<Item = IpAddr>,
    server: &ServerSettings,
) -> IpAddr {
    let mut client = peer;
    for entry in entries {
        client = entry;
        if !server.trusts(client) {
            break;
        }
    }
    client
}

/// An address, as proxies write it: bare, in brackets, or with a port.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    bare.parse()
        .ok()
        .or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(more: &str) -> ServerSettings {
        let text = format!(
            "[server]\nhttps = [\"127.0.0.1:0\"]\n{more}\n[tls]\ncertificate = \"c\"\n\
             private_key = \"k\"\nself_signed = true\n"
        );
        let file = std::path::Path::new("/nonexistent/config.toml");
        match crate::config::parse(file, &text, &crate::config::Environment::default()) {
            Ok(config) => config.settings.server,
            Err(problems) => panic!("{problems}"),
        }
    }

    fn of(server: &ServerSettings, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        identify(peer.parse().unwrap(), &headers, server).to_string()
    }

    fn client(peer: &str, forwarded: &[&str]) -> String {
        of(
            &server("trusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]"),
            peer,
            forwarded,
        )
    }

    #[test]
    fn trusted_hops_count_entries_from_the_right() {
        let one = server("trusted_hops = 1");
        assert_eq!(of(&one, "10.0.0.1", &["6.6.6.6, 192.0.2.9"]), "192.0.2.9");
        assert_eq!(of(&one, "10.0.0.1", &["6.6.6.6", "192.0.2.9"]), "192.0.2.9");
        assert_eq!(of(&one, "10.0.0.1", &[]), "10.0.0.1");
        let two = server("trusted_hops = 2");
        assert_eq!(
            of(&two, "10.0.0.1", &["6.6.6.6, 192.0.2.9, 10.0.0.7"]),
            "192.0.2.9"
        );
        assert_eq!(of(&two, "10.0.0.1", &["192.0.2.9"]), "192.0.2.9");
        assert_eq!(
            of(&two, "10.0.0.1", &["6.6.6.6, nonsense, 10.0.0.7"]),
            "10.0.0.7"
        );
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_sends() {
        assert_eq!(client("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn behind_trusted_proxies_the_right_most_stranger_is_the_client() {
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, 192.0.2.9, 10.0.0.2"]),
            "192.0.2.9"
        );
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.9:4711"]), "192.0.2.9");
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1", "[2001:db8::1]:443,fd00::1"]),
            "2001:db8::1"
        );
    }

    #[test]
    fn the_search_never_goes_past_nonsense_or_off_the_left_end() {
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"]),
            "10.0.0.2"
        );
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(client("10.0.0.1", &[""]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }
}
