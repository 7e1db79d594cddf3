//! Dates as C's `strftime` writes them, for templates that tell the model today's date.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

const SECONDS_PER_DAY: i64 = 86_400;

/// A moment, taken apart.
struct Moment {
    year: i64,
    /// 0 to 11.
    month: usize,
    /// 1 to 31.
    day: i64,
    /// 1 to 366.
    day_of_year: i64,
    /// 0 is Sunday.
    weekday: usize,
    second_of_day: i64,
}

/// Formats a moment, in UTC and with English names. A directive that is not known stays as it is.
pub(super) fn format_utc(format: &str, unix_seconds: i64) -> String {
    let moment = Moment::from_unix(unix_seconds);
    let mut out = String::new();
    let mut characters = format.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        // `%-d` is `%d` without the leading zero.
        let is_bare = characters.next_if_eq(&'-').is_some();
        let Some(directive) = characters.next() else {
            out.push('%');
            break;
        };
        match moment.field(directive) {
            Some(text) if is_bare => {
                let bare = text.trim_start_matches(['0', ' ']);
                out.push_str(if bare.is_empty() { "0" } else { bare });
            }
            Some(text) => out.push_str(&text),
            None => {
                out.push_str(if is_bare { "%-" } else { "%" });
                out.push(directive);
            }
        }
    }
    out
}

impl Moment {
    /// The calendar date of a day number.
    ///
    /// Source: Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`,
    /// <https://howardhinnant.github.io/date_algorithms.html>.
    fn from_unix(unix_seconds: i64) -> Self {
        let days = unix_seconds.div_euclid(SECONDS_PER_DAY);
        // Years that begin in March end with the leap day; eras of 400 years all have one length.
        let from_era = days + 719_468;
        let (era, day_of_era) = (from_era.div_euclid(146_097), from_era.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_from_march + 2) / 153;
        let month = ((month_from_march + 2) % 12) as usize;
        let year = era * 400 + year_of_era + i64::from(month < 2);
        let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let day_of_year = match month < 2 {
            true => day_from_march - 305,
            false => day_from_march + 60 + i64::from(is_leap),
        };
        Self {
            year,
            month,
            day: day_from_march - (153 * month_from_march + 2) / 5 + 1,
            day_of_year,
            weekday: (days + 4).rem_euclid(7) as usize,
            second_of_day: unix_seconds.rem_euclid(SECONDS_PER_DAY),
        }
    }

    fn field(&self, directive: char) -> Option<String> {
        let hour = self.second_of_day / 3600;
        let (minute, second) = (self.second_of_day / 60 % 60, self.second_of_day % 60);
        let (month_name, weekday_name) = (MONTHS[self.month], WEEKDAYS[self.weekday]);
        Some(match directive {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year.rem_euclid(100)),
            'm' => format!("{:02}", self.month + 1),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'j' => format!("{:03}", self.day_of_year),
            'B' => month_name.to_string(),
            'b' | 'h' => month_name[..3].to_string(),
            'A' => weekday_name.to_string(),
            'a' => weekday_name[..3].to_string(),
            'w' => self.weekday.to_string(),
            'H' => format!("{hour:02}"),
            'I' => format!("{:02}", (hour + 11) % 12 + 1),
            'p' => if hour < 12 { "AM" } else { "PM" }.to_string(),
            'M' => format!("{minute:02}"),
            'S' => format!("{second:02}"),
            'F' => format!("{}-{:02}-{:02}", self.year, self.month + 1, self.day),
            'T' => format!("{hour:02}:{minute:02}:{second:02}"),
            'Z' => "UTC".to_string(),
            'z' => "+0000".to_string(),
            '%' => "%".to_string(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::format_utc;

    #[track_caller]
    fn check(format: &str, unix_seconds: i64, expected: &str) {
        assert_eq!(format_utc(format, unix_seconds), expected);
    }

    #[test]
    fn dates_match_gnu_date() {
        check("%F %T %j %a %A", 0, "1970-01-01 00:00:00 001 Thu Thursday");
        check("%F %T %j %a", 951_782_400, "2000-02-29 00:00:00 060 Tue");
        check("%F %T %j %a", 4_107_542_399, "2100-02-28 23:59:59 059 Sun");
        check("%F %j", 1_735_603_200, "2024-12-31 366");
        check("%F %T", -1, "1969-12-31 23:59:59");
        check("%d %b %Y, %I:%M %p", 1_721_999_100, "26 Jul 2024, 01:05 PM");
        check("%B %-d, %y", 1_720_000_000, "July 3, 24");
    }

    #[test]
    fn unknown_directives_stay() {
        check("100% %Q %-Q %%", 0, "100% %Q %-Q %");
        check("%", 0, "%");
    }
}
