//! Numbers and names as people read them.

use std::time::{Duration, SystemTime};

/// What is not known.
const NONE: &str = "-";

/// A count or a rate: more digits where they say something.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value < 0.01 {
        "<0.01".to_owned()
    } else if value < 1.0 {
        format!("{value:.2}")
    } else if value < 100.0 && value.fract() != 0.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// A part of 1, never rounded up to all nor down to nothing.
pub(super) fn share(part: Option<f64>) -> String {
    let Some(part) = part else {
        return NONE.to_owned();
    };
    let percent = part * 100.0;
    if percent > 0.0 && percent < 0.1 {
        "<0.1 %".to_owned()
    } else if percent == 0.0 || percent >= 100.0 {
        format!("{percent:.0} %")
    } else {
        format!("{:.1} %", (percent * 10.0).floor() / 10.0)
    }
}

/// A duration.
pub(super) fn milliseconds(value: Option<f64>) -> String {
    match value {
        None => NONE.to_owned(),
        Some(value) if value < 10.0 => format!("{} ms", (value * 10.0).round() / 10.0),
        Some(value) if value < 1_000.0 => format!("{value:.0} ms"),
        Some(value) if value < 60_000.0 => format!("{} s", (value / 100.0).round() / 10.0),
        Some(value) => age(value / 1_000.0),
    }
}

/// Seconds, in the two largest units.
pub(super) fn age(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let whole = Duration::try_from_secs_f64(seconds).map_or(0, |duration| duration.as_secs());
    let parts: Vec<String> = UNITS
        .iter()
        .scan(whole, |rest, &(size, unit)| {
            let count = *rest / size;
            *rest %= size;
            Some((count, unit))
        })
        .skip_while(|&(count, _)| count == 0)
        .take(2)
        .filter(|&(count, _)| count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    if parts.is_empty() {
        "0 s".to_owned()
    } else {
        parts.join(" ")
    }
}

/// Bytes.
pub(super) fn bytes(value: i64) -> String {
    let value = u64::try_from(value).unwrap_or(0);
    bytesize::ByteSize(value).display().iec().to_string()
}

/// Seconds since 1970 as date and time, in UTC.
pub(super) fn instant(at: f64) -> String {
    let since = Duration::try_from_secs_f64(at).unwrap_or_default();
    // Later than the year 9999 it could not be written.
    let since = since.min(Duration::from_secs(253_402_300_799));
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}

/// When a certificate ends, as a date; and in how long, where that says more.
pub(super) fn expiry(at: f64, seconds_left: f64) -> String {
    const YEAR: f64 = 365.0 * 86_400.0;
    let instant = instant(at);
    let date = instant.split('T').next().unwrap_or_default();
    if seconds_left < YEAR {
        format!("expires on {date}, in {}", age(seconds_left))
    } else {
        format!("expires on {date}")
    }
}

/// Text that may have come from outside, without anything that a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    let visible = |character: char| {
        if character.is_control() {
            '\u{fffd}'
        } else {
            character
        }
    };
    text.chars()
        .map(visible)
        .filter(|&character| character != '`')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_rounded_to_all_or_nothing() {
        for (part, text) in [
            (Some(1.0), "100 %"),
            (Some(0.999_99), "99.9 %"),
            (Some(0.000_01), "<0.1 %"),
            (Some(0.0), "0 %"),
            (Some(0.5), "50.0 %"),
            (None, "-"),
        ] {
            assert_eq!(share(part), text);
        }
    }

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        let texts = [0.0, 0.001, 0.25, 4.21, 42.0, 99.94, 1234.4].map(number);
        assert_eq!(texts, ["0", "<0.01", "0.25", "4.2", "42", "99.9", "1234"]);
        let texts = [0.84, 41.0, 1_234.0, 90_000.0].map(|ms| milliseconds(Some(ms)));
        assert_eq!(texts, ["0.8 ms", "41 ms", "1.2 s", "1 min 30 s"]);
        let texts = [0.2, 61.0, 3_600.0, 266_400.0, -1.0, f64::NAN].map(age);
        assert_eq!(texts, ["0 s", "1 min 1 s", "1 h", "3 d 2 h", "0 s", "0 s"]);
        assert_eq!([bytes(-1), bytes(42 << 20)], ["0 B", "42.0 MiB"]);
        assert_eq!(instant(1_795_557_600.0), "2026-11-24T22:00:00Z");
        assert_eq!(instant(f64::MAX), "1970-01-01T00:00:00Z");
        assert_eq!(expiry(0.0, 90_000.0), "expires on 1970-01-01, in 1 d 1 h");
        assert_eq!(expiry(67_090_200_000.0, 65e9), "expires on 4096-01-01");
    }
}
