// conary/ui/text.rs
//! Text for people: foreign text made safe, sizes, durations and dates.
//!
//! What a recipe, an archive, a build or a server says may hold terminal escapes. Everything that goes to a
//! terminal passes [`safe`] or [`safe_log`] first.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// True for a character that could move the cursor, change colours, or turn the direction of text.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// One line of foreign text: control characters, line ends among them, are shown as `\u{1b}`.
pub fn safe(text: &str) -> Cow<'_, str> {
    escape(text, false)
}

/// Foreign text of several lines: as [`safe`], with line ends and tabs kept.
pub fn safe_lines(text: &str) -> Cow<'_, str> {
    escape(text, true)
}

fn escape(text: &str, lines: bool) -> Cow<'_, str> {
    let keep = |c: char| !is_unsafe(c) || (lines && matches!(c, '\n' | '\t'));
    if text.chars().all(keep) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if keep(character) {
            shown.push(character);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
        }
    }
    Cow::Owned(shown)
}

/// A piece of a build log for a terminal: colours are dropped, carriage returns end lines, and every other
/// control character is shown.
pub fn safe_log(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..start]);
        let after = &rest[start + 2..];
        let end = after.find(|c: char| !matches!(c, '0'..='9' | ';' | ':')).unwrap_or(after.len());
        if after[end..].starts_with('m') || after[end..].starts_with('K') {
            rest = &after[end + 1..];
        } else {
            plain.push_str("\u{1b}[");
            rest = after;
        }
    }
    plain.push_str(rest);
    safe_lines(&plain).into_owned()
}

/// A number of bytes for people: `17 B`, `3.2 KiB`, `1.0 GiB`.
#[allow(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A duration for people: `0.4s`, `12.3s`, `4m05s`, `2h03m`.
pub fn duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    if secs < 60 {
        let tenths = duration.as_millis() / 100;
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    if secs < 3600 {
        return format!("{}m{:02}s", secs / 60, secs % 60);
    }
    format!("{}h{:02}m", secs / 3600, secs % 3600 / 60)
}

/// `1 file`, `2 files`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Seconds since 1970 as `2024-05-17 12:34:56 UTC`.
pub fn date(unix_secs: i64) -> String {
    let days = unix_secs.div_euclid(86_400);
    let secs = unix_secs.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", secs / 3600, secs % 3600 / 60, secs % 60)
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Counts from 0000-03-01, so that the leap day is the last day of a year; an era is 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Lines, each with its end.
pub fn lines(lines: impl IntoIterator<Item = String>) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Rows in columns that are as wide as their widest cell; the last column is not padded.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if column + 1 < row.len() {
                let padding = widths[column] - cell.chars().count() + 2;
                line.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_never_reach_the_terminal() {
        for (text, shown) in [
            ("plain", "plain"),
            ("\u{1b}]0;owned\u{7}", "\\u{1b}]0;owned\\u{7}"),
            ("two\nlines", "two\\u{a}lines"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("Zażółć", "Zażółć"),
        ] {
            assert_eq!(safe(text), shown);
        }
        assert_eq!(safe_lines("a\n\tb\u{1b}"), "a\n\tb\\u{1b}");
    }

    #[test]
    fn logs_lose_their_colours_and_nothing_else() {
        assert_eq!(safe_log(b"\x1b[1;31merror:\x1b[0m x\r\n50%\r100%\n"), "error: x\n50%\n100%\n");
        assert_eq!(safe_log(b"\x1b[2J\x1b[mok\xff"), "\\u{1b}[2Jok\u{fffd}");
        assert_eq!(safe_log(b"tail \x1b["), "tail \\u{1b}[");
    }

    #[test]
    fn sizes_durations_and_dates_read_well() {
        let sizes = [0, 1023, 1024, 3277, 1_048_575, 1 << 30].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "3.2 KiB", "1.0 MiB", "1.0 GiB"]);
        let times = [40, 400, 12_340, 245_000, 7_380_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(times, ["0.0s", "0.4s", "12.3s", "4m05s", "2h03m"]);
        for (secs, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_715_949_296, "2024-05-17 12:34:56 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(date(secs), text);
        }
    }

    #[test]
    fn tables_line_up() {
        let rows = [vec!["a".into(), "1".into()], vec!["long".into(), "2".into()]];
        assert_eq!(table(&rows), "a     1\nlong  2\n");
    }
}
