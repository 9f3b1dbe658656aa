//! The PROXY header of a load balancer, version 1 and 2 (HAProxy's proxy-protocol.txt, section 2).

use std::io;
use std::net::SocketAddr;

use ppp::v2::Addresses as Binary;
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What both versions have at least.
const SHORTEST: usize = 12;
/// The longest line of version 1, its line feed included (section 2.1).
const LONGEST_LINE: usize = 107;
/// The longest header of version 2 that is taken; load balancers send a few hundred bytes of TLVs.
const LONGEST_BINARY: usize = 4096;
/// The first bytes of version 2.
const SIGNATURE: &[u8; SHORTEST] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads exactly the header: what follows it is TLS. None for a connection of the proxy itself
/// (LOCAL, UNKNOWN) and for addresses that are not IP.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; SHORTEST];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        read_binary(stream, header).await
    } else if header.starts_with(b"PROXY ") {
        read_line(stream, header).await
    } else {
        Err(malformed())
    }
}

async fn read_binary(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    header.resize(SHORTEST + 4, 0);
    stream.read_exact(&mut header[SHORTEST..]).await?;
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if length > LONGEST_BINARY {
        return Err(malformed());
    }
    header.resize(SHORTEST + 4 + length, 0);
    stream.read_exact(&mut header[SHORTEST + 4..]).await?;
    let header = v2::Header::try_from(header.as_slice()).map_err(|_| malformed())?;
    match (header.command, header.addresses) {
        (v2::Command::Local, _) => Ok(None),
        (v2::Command::Proxy, Binary::IPv4(ip)) => {
            Ok(Some((ip.source_address, ip.source_port).into()))
        }
        (v2::Command::Proxy, Binary::IPv6(ip)) => {
            Ok(Some((ip.source_address, ip.source_port).into()))
        }
        (v2::Command::Proxy, Binary::Unspecified | Binary::Unix(_)) => Ok(None),
    }
}

async fn read_line(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    while !header.ends_with(b"\r\n") {
        if header.len() >= LONGEST_LINE {
            return Err(malformed());
        }
        header.push(stream.read_u8().await?);
    }
    let header = v1::Header::try_from(header.as_slice()).map_err(|_| malformed())?;
    match header.addresses {
        v1::Addresses::Unknown => Ok(None),
        v1::Addresses::Tcp4(ip) => Ok(Some((ip.source_address, ip.source_port).into())),
        v1::Addresses::Tcp6(ip) => Ok(Some((ip.source_address, ip.source_port).into())),
    }
}

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the connection does not begin with a PROXY header",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let mut rest = bytes;
        let read = read(&mut rest).await;
        (read, rest.to_vec())
    }

    fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
        header.extend(addresses);
        header.extend(b"TLS");
        header
    }

    #[tokio::test]
    async fn a_line_names_its_source_and_not_a_byte_more_is_read() {
        let (source, rest) = read_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\nTLS").await;
        assert_eq!(source.unwrap(), Some("192.0.2.1:4711".parse().unwrap()));
        assert_eq!(rest, b"TLS");
        let (source, _) = read_all(b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\nTLS").await;
        assert_eq!(source.unwrap(), Some("[2001:db8::1]:4711".parse().unwrap()));
        let (source, rest) = read_all(b"PROXY UNKNOWN\r\nTLS").await;
        assert_eq!((source.unwrap(), rest.as_slice()), (None, &b"TLS"[..]));
    }

    #[tokio::test]
    async fn a_binary_header_names_its_source_and_not_a_byte_more_is_read() {
        let addresses = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 1, 187];
        let (source, rest) = read_all(&binary(1, 0x11, &addresses)).await;
        assert_eq!(source.unwrap(), Some("192.0.2.1:4711".parse().unwrap()));
        assert_eq!(rest, b"TLS");
        let (source, rest) = read_all(&binary(0, 0, &[])).await;
        assert_eq!((source.unwrap(), rest.as_slice()), (None, &b"TLS"[..]));
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        let huge = [SIGNATURE.as_slice(), &[0x21, 0x11, 0xff, 0xff]].concat();
        for wrong in [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00".as_slice(),
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 99999 443\r\n",
            b"PROXY TCP4 192.0.2",
            b"",
            &long,
            &huge,
            &binary(1, 0x11, &[1, 2, 3]),
        ] {
            assert!(read_all(wrong).await.0.is_err(), "{wrong:?}");
        }
    }

    /// What a header names that comes byte by byte; none for the proxy itself.
    async fn dripped(header: &[u8]) -> io::Result<Option<String>> {
        let (mut reader, mut writer) = tokio::io::duplex(1);
        let write = async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut writer, header).await;
            drop(writer);
            std::future::pending::<()>().await;
        };
        let read = tokio::select! {
            read = read(&mut reader) => read,
            () = write => unreachable!("it is pending to the end"),
        };
        Ok(read?.map(|source| source.to_string()))
    }

    #[tokio::test]
    async fn the_source_is_found_however_the_header_is_written() {
        let ipv4 = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 1, 187];
        let with_values = [ipv4.as_slice(), &[0x05, 0, 2, b'i', b'd', 0x20, 0, 0]].concat();
        let ipv6 = [[0; 15].as_slice(), &[1], &[0; 16], &[0x12, 0x67, 1, 187]].concat();
        let line = "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n";
        let source = Some("192.0.2.1:4711");
        for (header, expected) in [
            (binary(1, 0x11, &with_values), source),
            (binary(1, 0x12, &ipv4), source),
            (binary(1, 0x21, &ipv6), Some("[::1]:4711")),
            (binary(0, 0x11, &ipv4), None),
            (binary(1, 0x00, &[]), None),
            (binary(1, 0x31, &[b'/'; 216]), None),
            (line.into(), None),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".into(),
                source,
            ),
        ] {
            let read = dripped(&header).await;
            assert_eq!(read.unwrap().as_deref(), expected, "{header:?}");
        }
    }

    #[tokio::test]
    async fn a_source_that_is_not_written_properly_is_none() {
        let ipv4 = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 1, 187];
        for wrong in [
            b"proxy TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\n".into(),
            b"PROXY TCP4 2001:db8::1 2001:db8::2 4711 443\r\n".into(),
            b"PROXY TCP6 192.0.2.1 192.0.2.2 4711 443\r\n".into(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n".into(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n".into(),
            b"PROXY TCP4 localhost 192.0.2.2 4711 443\r\n".into(),
            b"PROXY  TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".into(),
            b"PROXY SCTP 192.0.2.1 192.0.2.2 4711 443\r\n".into(),
            binary(2, 0x11, &ipv4),
            binary(1, 0x51, &ipv4),
            binary(1, 0x31, &ipv4),
            binary(1, 0x21, &ipv4),
            binary(1, 0x11, &[0; 4097]),
        ] {
            assert!(dripped(&wrong).await.is_err(), "{wrong:?}");
        }
    }
}
