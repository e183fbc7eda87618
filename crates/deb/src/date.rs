//! Dates as release files write them: the format of `date -R -u`, always in UTC
//! (the Debian wiki, DebianRepository/Format, Date and Valid-Until).

use crate::ValueError;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Seconds since 1970 of `Sat, 12 Sep 2026 07:55:41 UTC`.
pub(crate) fn parse(text: &str) -> Result<u64, ValueError> {
    seconds(text).ok_or_else(|| ValueError::Date(text.to_owned()))
}

fn seconds(text: &str) -> Option<u64> {
    let rest = text.split_once(',').map_or(text, |(_weekday, rest)| rest);
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let [day, month, year, time, zone] = words[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let (day, year) = (number(day)?, number(year)?);
    let time: Vec<u64> = time.split(':').map(number).collect::<Option<_>>()?;
    let [hour, minute, second] = time[..] else {
        return None;
    };
    let utc = matches!(zone, "UTC" | "GMT" | "Z" | "+0000" | "-0000");
    let ranges = (1970..=9999).contains(&year)
        && (1..=31).contains(&day)
        && (hour < 24 && minute < 60 && second < 61);
    // The way back drops days that a month does not have.
    let days = days(year, month, day);
    (utc && ranges && civil(days) == (year, month, day))
        .then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(text: &str) -> Option<u64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, not before it. Years are counted from
/// March, which puts the leap day at their end.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month < 3 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    (year * 365 + year / 4 - year / 100 + year / 400 + day_of_year).saturating_sub(719_468)
}

/// The year, month and day that is `days` after 1970-01-01.
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_archives_write() {
        let check = |text: &str, expect: u64| assert_eq!(parse(text), Ok(expect), "{text}");
        check("Thu, 01 Jan 1970 00:00:00 UTC", 0);
        check("Sat, 12 Sep 2026 07:55:41 UTC", 1_789_199_741);
        check("Tue, 29 Feb 2000 23:59:59 +0000", 951_868_799);
        check("Mon,  1 Mar 2100 00:00:00 GMT", 4_107_542_400);
        check("31 Dec 9999 23:59:59 Z", 253_402_300_799);
    }

    #[test]
    fn refuses_other_texts() {
        for text in [
            "",
            "today",
            "Sat, 12 Sep 2026 07:55:41",
            "Sat, 12 Sep 2026 07:55:41 CEST",
            "Sat, 31 Feb 2026 07:55:41 UTC",
            "Mon, 29 Feb 2100 00:00:00 UTC",
            "Sat, 12 Sep 1969 07:55:41 UTC",
            "Sat, 12 Sep 2026 24:00:00 UTC",
            "Sat, 12 Sep 2026 07:55 UTC",
            "Sat, +2 Sep 2026 07:55:41 UTC",
            "0 Jan 1970 00:00:00 UTC",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_day_comes_back() {
        for day in 0..200_000 {
            let (year, month, dom) = civil(day);
            assert_eq!(days(year, month, dom), day);
        }
    }
}
