//! The text of a hosts file, hosts(5).

use std::collections::HashMap;
use std::net::IpAddr;

/// The addresses of each name, both families together.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// By the name as [`key`] writes it.
    addresses: HashMap<Box<[u8]>, Vec<IpAddr>>,
}

impl Hosts {
    /// What the text says. Lines that begin with no address are skipped, as the C library does: an address
    /// with a zone (`fe80::1%eth0`) is none, since it cannot be connected to without the zone.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut hosts = Self::default();
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        for line in text.split(|it| *it == b'\n') {
            hosts.read(line);
        }
        hosts
    }

    /// The addresses of `name` in the order of the file; none when it does not stand there.
    pub(super) fn addresses(&self, name: &str) -> Option<&[IpAddr]> {
        let addresses = self.addresses.get(&key(name.as_bytes()));
        addresses.map(Vec::as_slice)
    }

    fn read(&mut self, line: &[u8]) {
        let said = line.split(|it| *it == b'#').next().unwrap_or_default();
        let mut words = said
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let address = words.next().and_then(|word| str::from_utf8(word).ok());
        let Some(address) = address.and_then(|word| word.parse::<IpAddr>().ok()) else {
            return;
        };
        for name in words {
            let addresses = self.addresses.entry(key(name)).or_default();
            let address = address.to_canonical();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
}

/// Some editors of other systems put it before the text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Names are the same in any case (RFC 4343), and with a dot at the end.
fn key(name: &[u8]) -> Box<[u8]> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    name.to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses of `name` as text, with commas.
    fn found(text: &[u8], name: &str) -> Option<String> {
        let hosts = Hosts::parse(text);
        let addresses = hosts.addresses(name)?.iter().map(IpAddr::to_string);
        Some(addresses.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn a_name_has_all_addresses_of_all_its_lines_in_their_order() {
        let text =
            b"127.0.0.2 a.test b.test\n2001:db8::1\tb.test\n\n127.0.0.3  b.test a.test # b.test\n\
            127.0.0.2 b.test\n::ffff:192.0.2.1 b.test";
        assert_eq!(found(text, "a.test").unwrap(), "127.0.0.2,127.0.0.3");
        let all = "127.0.0.2,2001:db8::1,127.0.0.3,192.0.2.1";
        assert_eq!(found(text, "b.test").unwrap(), all);
    }

    #[test]
    fn names_are_the_same_in_any_case_and_with_a_dot_at_the_end() {
        let text = b"127.0.0.2 Over.TEST dotted.test.\n";
        for name in ["over.test", "OVER.test.", "dotted.test", "Dotted.Test."] {
            assert_eq!(found(text, name).as_deref(), Some("127.0.0.2"), "{name}");
        }
        assert_eq!(found(text, "test"), None);
        assert_eq!(found(text, ""), None);
    }

    #[test]
    fn names_that_are_no_host_names_are_taken_as_they_are() {
        let text = b"127.0.0.2 my_service _a._tcp a--b -c- *\n";
        for name in ["my_service", "_a._tcp", "a--b", "-c-", "*"] {
            assert_eq!(found(text, name).as_deref(), Some("127.0.0.2"), "{name}");
        }
    }

    #[test]
    fn what_is_no_line_of_hosts_is_skipped_and_the_rest_is_not() {
        let good = b"127.0.0.2 good.test\r\n";
        for line in [
            b"# 127.0.0.9 bad.test".as_slice(),
            b"#127.0.0.9 bad.test",
            b"   \t ",
            b"127.0.0.9",
            b"fe80::1%eth0 bad.test",
            b"127.0.0.1.1 bad.test",
            b"127.1 bad.test",
            b"bad.test 127.0.0.9",
            b"\xff\xfe 127.0.0.9 bad.test",
            b"127.0.0.9#bad.test bad.test",
            b"\x00\x00",
        ] {
            for text in [
                [line, b"\n", good].concat(),
                [good, line].concat(),
                [line, b"\r\n", good, line, b"\r\n"].concat(),
            ] {
                let shown = String::from_utf8_lossy(&text).into_owned();
                assert_eq!(found(&text, "bad.test"), None, "{shown}");
                let good = found(&text, "good.test");
                assert_eq!(good.as_deref(), Some("127.0.0.2"), "{shown}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_spoil_nothing_but_their_name() {
        let text = b"\xef\xbb\xbf127.0.0.2 \xff\xfe good.test \xc3( # \xff\n127.0.0.3 next.test";
        assert_eq!(found(text, "good.test").as_deref(), Some("127.0.0.2"));
        assert_eq!(found(text, "next.test").as_deref(), Some("127.0.0.3"));
    }
}
