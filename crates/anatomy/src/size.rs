//! Bytes for people.

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// `bytes` with three digits that count and a binary unit: `512 B`, `1.50 KiB`, `23.4 MiB`.
pub fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    // What would be shown as 1024 is shown as 1.00 of the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// The way from one size to another: `+1.50 KiB`, `-3 B`; `±0`.
pub(crate) fn delta(from: u64, to: u64) -> String {
    match from.cmp(&to) {
        std::cmp::Ordering::Equal => "±0".to_owned(),
        std::cmp::Ordering::Less => format!("+{}", human(to - from)),
        std::cmp::Ordering::Greater => format!("-{}", human(from - to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        let check = |bytes, expect: &str| assert_eq!(human(bytes), expect, "{bytes}");
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.00 KiB");
        check(10_239, "10.0 KiB");
        check(1_048_575, "1.00 MiB");
        check(123_456_789, "118 MiB");
        check(u64::MAX, "16384 PiB");
        assert_eq!(delta(5, 3), "-2 B");
        assert_eq!(delta(3, 3), "±0");
        assert_eq!(delta(0, 1536), "+1.50 KiB");
    }
}
