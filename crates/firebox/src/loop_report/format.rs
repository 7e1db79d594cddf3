//! Figures as people read them.

/// A number with a thin grouping of thousands: `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A duration with three figures at most: `0.42 s`, `37.5 s`, `2 min 05 s`, `1 h 02 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        ..0.995 => format!("{seconds:.2} s"),
        ..59.95 => format!("{seconds:.1} s"),
        ..3599.5 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Bytes in decimal units with three figures at most: `812 B`, `4.21 MB`, `1.35 GB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    // 999.5 would be written as 1000.
    while amount >= 999.5 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    let decimals = match amount {
        _ if unit == 0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{amount:.decimals$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let numbers = [0, 7, 999, 1000, 12_345, 1_234_567];
        let expected = ["0", "7", "999", "1,000", "12,345", "1,234,567"];
        assert_eq!(numbers.map(count), expected);
    }

    #[test]
    fn durations_carry_at_every_border() {
        let seconds = [
            0.0, 0.994, 0.996, 37.46, 59.94, 59.96, 125.0, 3599.4, 3599.6, 7384.0,
        ];
        let expected = [
            "0.00 s",
            "0.99 s",
            "1.0 s",
            "37.5 s",
            "59.9 s",
            "1 min 00 s",
            "2 min 05 s",
            "59 min 59 s",
            "1 h 00 min",
            "2 h 03 min",
        ];
        assert_eq!(seconds.map(duration), expected);
    }

    #[test]
    fn sizes_carry_at_every_border() {
        let bytes = [
            0,
            999,
            1000,
            9_994,
            9_996,
            99_960,
            999_600,
            4_212_345,
            u64::MAX,
        ];
        let expected = [
            "0 B",
            "999 B",
            "1.00 kB",
            "9.99 kB",
            "10.0 kB",
            "100 kB",
            "1.00 MB",
            "4.21 MB",
            "18446744 TB",
        ];
        assert_eq!(bytes.map(size), expected);
    }
}
