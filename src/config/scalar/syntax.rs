//! The syntaxes: durations, sizes, addresses, networks, and the words that choose.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tracing::Level;

use super::{Syntax, Text};
use crate::config::settings::{
    AccessLog, CertificateAuthorities, FailureStatus, HedgeAfter, HttpMode, LogFormat, MockDelay,
    ServerTiming, Shape, UpstreamHttp, WithoutRedis,
};

/// A duration from `MIN` to `MAX` milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BoundedDuration<const MIN: u64, const MAX: u64>(Duration);

/// A number of bytes from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BoundedSize<const MIN: u64, const MAX: u64>(u64);

/// The policy of a route, without its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PolicyName {
    /// `all`.
    All,
    /// `first`.
    First,
    /// `first_success`.
    FirstSuccess,
    /// `quorum`.
    Quorum,
    /// `available`.
    Available,
}

/// `http` of an upstream.
pub(crate) type Protocol = UpstreamHttp;

impl<const MIN: u64, const MAX: u64> Text<BoundedDuration<MIN, MAX>> {
    /// A duration of the program's own; callers stay within the bounds.
    pub(crate) const fn of_millis(millis: u64) -> Self {
        Self(BoundedDuration(Duration::from_millis(millis)))
    }

    /// The duration, if it is within the bounds.
    pub(crate) fn from_duration(duration: Duration) -> Option<Self> {
        let bounds = Duration::from_millis(MIN)..=Duration::from_millis(MAX);
        bounds
            .contains(&duration)
            .then_some(Self(BoundedDuration(duration)))
    }

    /// What it says.
    pub(crate) const fn duration(self) -> Duration {
        self.0.0
    }
}

impl<const MIN: u64, const MAX: u64> Text<BoundedSize<MIN, MAX>> {
    /// A size of the program's own; callers stay within the bounds.
    pub(crate) const fn of_bytes(bytes: u64) -> Self {
        Self(BoundedSize(bytes))
    }

    /// What it says; saturates where addresses have fewer than 64 bits.
    pub(crate) fn bytes(self) -> usize {
        usize::try_from(self.0.0).unwrap_or(usize::MAX)
    }
}

impl<const MIN: u64, const MAX: u64> Syntax for BoundedDuration<MIN, MAX> {
    fn expected(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
        let (min, max) = (
            humantime::format_duration(min),
            humantime::format_duration(max),
        );
        write!(
            f,
            "a number with a unit, such as \"250ms\" or \"10s\", from {min} to {max}"
        )
    }

    fn parse(text: &str) -> Option<Self> {
        Text::from_duration(duration(text)?).map(|text| text.0)
    }

    fn print(&self) -> String {
        humantime::format_duration(self.0).to_string()
    }
}

impl<const MIN: u64, const MAX: u64> Syntax for BoundedSize<MIN, MAX> {
    fn expected(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (size(MIN), size(MAX));
        write!(
            f,
            "a number with a unit, such as \"64KiB\" or \"256MiB\", from {min} to {max}"
        )
    }

    fn parse(text: &str) -> Option<Self> {
        if !has_unit(text) {
            return None;
        }
        let bytes = text.parse::<bytesize::ByteSize>().ok()?.as_u64();
        (MIN..=MAX).contains(&bytes).then_some(Self(bytes))
    }

    fn print(&self) -> String {
        size(self.0)
    }
}

impl Syntax for MockDelay {
    fn expected(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a duration such as \"250ms\", or a range such as \"100ms..600ms\", up to 10m; then, after commas, \
             shares that take something else: \"5ms, 1%: 100ms\", at most 100% together",
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let most = range(parts.next()?)?;
        let shares: Vec<_> = parts.map(share).collect::<Option<_>>()?;
        let all: f64 = shares.iter().map(|(share, _)| share).sum();
        // Sums of decimal fractions are not exact.
        (all <= 1.0 + 1e-9).then_some(Self { most, shares })
    }

    fn print(&self) -> String {
        let mut text = print_range(&self.most);
        for (share, range) in &self.shares {
            let percent = (share * 1e8).round() / 1e6;
            text.push_str(&format!(", {percent}%: {}", print_range(range)));
        }
        text
    }
}

/// `1%: 100ms`.
fn share(text: &str) -> Option<(f64, RangeInclusive<Duration>)> {
    let (percent, delay) = text.split_once(':')?;
    let percent: f64 = percent.trim().strip_suffix('%')?.trim_end().parse().ok()?;
    let is_share = (0.0..=100.0).contains(&percent);
    Some((percent / 100.0, range(delay)?)).filter(|_| is_share)
}

fn range(text: &str) -> Option<RangeInclusive<Duration>> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let (low, high) = (duration(low.trim())?, duration(high.trim())?);
    (low <= high && high <= Duration::from_secs(600)).then_some(low..=high)
}

fn print_range(range: &RangeInclusive<Duration>) -> String {
    let (low, high) = (range.start(), range.end());
    let low_text = humantime::format_duration(*low);
    if low == high {
        return low_text.to_string();
    }
    format!("{low_text}..{}", humantime::format_duration(*high))
}

impl Syntax for HedgeAfter {
    fn expected(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a duration such as \"250ms\", from 1ms to 1h, a percentile of recent replies from \"p50\" to \
             \"p99.9\", or \"siblings\"",
        )
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "siblings" {
            return Some(Self::Siblings);
        }
        if let Some(percent) = text.strip_prefix('p') {
            let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
            let is_plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
            if whole.len() != 2 || tenth.len() != 1 || !is_plain(whole) || !is_plain(tenth) {
                return None;
            }
            let tenths: u16 = format!("{whole}{tenth}").parse().ok()?;
            return (500..=999)
                .contains(&tenths)
                .then(|| Self::Quantile(f64::from(tenths) / 1000.0));
        }
        let text = BoundedDuration::<1, 3_600_000>::parse(text)?;
        Some(Self::Duration(text.0))
    }

    fn print(&self) -> String {
        match self {
            Self::Duration(duration) => humantime::format_duration(*duration).to_string(),
            Self::Quantile(quantile) => {
                let percent = format!("{:.1}", quantile * 100.0);
                format!("p{}", percent.trim_end_matches(".0"))
            }
            Self::Siblings => "siblings".to_owned(),
        }
    }
}

impl Syntax for SocketAddr {
    fn expected(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an IP address and a port, such as \"0.0.0.0:443\" or \"[::1]:8443\"")
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Syntax for IpNet {
    fn expected(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", or one address")
    }

    fn parse(text: &str) -> Option<Self> {
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>()
            .ok()
            .or_else(address)
            .map(|net| canonical(net.trunc()))
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

/// A network of v4-mapped addresses (RFC 4291 section 2.5.5.2) as the IPv4 network it is, since
/// addresses are compared in that form.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(mapped) = net else { return net };
    let (address, prefix) = (mapped.addr().to_ipv4_mapped(), mapped.prefix_len());
    let folded = address.zip(prefix.checked_sub(96));
    let folded = folded.and_then(|(address, prefix)| IpNet::new(address.into(), prefix).ok());
    folded.unwrap_or(net)
}

impl Syntax for PathBuf {
    fn expected(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the path of a file, not empty; a relative one starts at the config file")
    }

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains('\0')).then(|| Self::from(text))
    }

    fn print(&self) -> String {
        self.display().to_string()
    }
}

impl Syntax for CertificateAuthorities {
    fn expected(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"system\", \"bundled\", or the path of a PEM file")
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "system" => Some(Self::System),
            "bundled" => Some(Self::Bundled),
            path => PathBuf::parse(path).map(Self::File),
        }
    }

    fn print(&self) -> String {
        match self {
            Self::System => "system".to_owned(),
            Self::Bundled => "bundled".to_owned(),
            Self::File(path) => path.print(),
        }
    }
}

/// Gives an enum of plain variants its words, in one table.
macro_rules! words {
    ($type:ty: $($word:literal => $variant:expr),+ $(,)?) => {
        impl Syntax for $type {
            fn expected(f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_words(f, Self::words())
            }

            fn parse(text: &str) -> Option<Self> {
                match text {
                    $($word => Some($variant),)+
                    _ => None,
                }
            }

            fn print(&self) -> String {
                let known = [$(($word, $variant)),+];
                let word = known.into_iter().find(|(_, variant)| variant == self);
                word.map_or_else(String::new, |(word, _)| word.to_owned())
            }

            fn words() -> &'static [&'static str] {
                &[$($word),+]
            }
        }
    };
}

words!(PolicyName: "all" => Self::All, "first" => Self::First,
    "first_success" => Self::FirstSuccess, "quorum" => Self::Quorum, "available" => Self::Available);
words!(Shape: "array" => Self::Array, "object" => Self::Object);
words!(HttpMode: "redirect" => Self::Redirect, "serve" => Self::Serve);
words!(ServerTiming: "off" => Self::Off, "trusted" => Self::Trusted, "all" => Self::All);
words!(FailureStatus: "500" => Self::Internal, "gateway" => Self::Gateway);
words!(LogFormat: "auto" => Self::Auto, "text" => Self::Text, "json" => Self::Json);
words!(AccessLog: "all" => Self::All, "errors" => Self::Errors, "off" => Self::Off);
words!(UpstreamHttp: "auto" => Self::Auto, "1" => Self::Http1, "2" => Self::Http2);
words!(WithoutRedis: "local" => Self::Local, "allow" => Self::Allow, "deny" => Self::Deny);
words!(Level: "error" => Level::ERROR, "warn" => Level::WARN, "info" => Level::INFO,
    "debug" => Level::DEBUG, "trace" => Level::TRACE);

fn write_words(f: &mut fmt::Formatter<'_>, words: &[&str]) -> fmt::Result {
    for (position, word) in words.iter().enumerate() {
        let separator = match position {
            0 => "",
            _ if position + 1 == words.len() => " or ",
            _ => ", ",
        };
        write!(f, "{separator}{word:?}")?;
    }
    Ok(())
}

/// A duration with its unit; a bare `0` has none.
fn duration(text: &str) -> Option<Duration> {
    if !has_unit(text) {
        return None;
    }
    humantime::parse_duration(text).ok()
}

fn has_unit(text: &str) -> bool {
    text.contains(|character: char| character.is_ascii_alphabetic())
}

/// A size in the largest unit that needs no fraction.
fn size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = |shift: u32| bytes > 0 && bytes.trailing_zeros() >= shift;
    match units.into_iter().find(|(_, shift)| whole(*shift)) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_unit_and_stay_within_bounds() {
        type Limited = BoundedDuration<1, 1000>;
        assert!(Limited::parse("250ms").is_some());
        for wrong in ["", "250", "0", "0ms", "2s", "-1s", "1e3", "soon", "1.5"] {
            assert!(Limited::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(
            BoundedSize::<1, { 1 << 30 }>::parse("256MiB").map(|it| it.0),
            Some(256 << 20)
        );
        for wrong in ["", "12", "0B", "2GiB", "-1MiB", "many"] {
            assert!(
                BoundedSize::<1, { 1 << 30 }>::parse(wrong).is_none(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn what_is_printed_is_parsed_to_the_same() {
        for text in [
            "0s",
            "250ms",
            "100ms..600ms",
            "1m 30s",
            "5ms, 1%: 100ms, 0.5 % : 1s..2s",
        ] {
            let delay = MockDelay::parse(text).unwrap();
            assert_eq!(MockDelay::parse(&delay.print()), Some(delay), "{text}");
        }
        assert_eq!(size(256 << 20), "256MiB");
        assert_eq!(size(1000), "1000B");
        assert_eq!(Level::INFO.print(), "info");
    }

    #[test]
    fn a_plain_address_is_a_network_of_one() {
        assert_eq!(IpNet::parse("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(IpNet::parse("::1").unwrap().to_string(), "::1/128");
        assert_eq!(
            IpNet::parse("10.1.2.3/8").unwrap().to_string(),
            "10.0.0.0/8"
        );
    }

    #[test]
    fn a_delay_does_not_run_backwards_and_its_shares_are_at_most_all() {
        assert!(MockDelay::parse("0ms, 99.9%: 1s, 0.1%: 2s").is_some());
        for wrong in [
            "600ms..100ms",
            "1%: 100ms",
            "5ms, 100ms",
            "5ms, 1: 100ms",
            "5ms, -1%: 100ms",
            "5ms, NaN%: 100ms",
            "5ms, 60%: 1s, 50%: 2s",
            "5ms,",
        ] {
            assert_eq!(MockDelay::parse(wrong), None, "{wrong}");
        }
    }
}
