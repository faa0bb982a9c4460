//! Everything that is printed. Words that people wrote never reach a terminal raw: what is not visible is spelled out.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use crate::error::{Error, Result};

/// How a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people, which pipe as they are
    #[default]
    Table,
    Json,
    Yaml,
    /// `kind/name`, one a line
    Name,
}

/// One line of text in which nothing is invisible: control characters, line ends, and marks that reorder what is read
/// are spelled out.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_hidden(letter) {
            plain.extend(letter.escape_unicode());
        } else {
            plain.push(letter);
        }
    }
    plain
}

fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text of several lines: each made plain, and led by `lead`, so that none can pass for a line of ours.
pub fn plain_lines(text: &str, lead: &str) -> String {
    text.lines().fold(String::new(), |mut lines, line| {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{lead}{}", plain(line).trim_end());
        lines
    })
}

/// Lines, each made plain and led by `lead`.
pub fn lines(lines: impl IntoIterator<Item = String>, lead: &str) -> String {
    lines.into_iter().fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "{lead}{}", plain(&line));
        all
    })
}

/// Rows under headings, in columns.
pub fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(headings);
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// A table for the inside of a page.
pub fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "  {line}");
        all
    })
}

/// `Label:   value`, aligned; a value of several lines is led by a bar.
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(label, _)| label.len()).max().unwrap_or_default() + 3;
    facts.iter().fold(String::new(), |mut text, (label, value)| {
        let label = format!("{label}:");
        if value.trim_end().contains('\n') {
            let _ = write!(text, "{label}\n{}", plain_lines(value.trim_end(), "  | "));
        } else {
            let _ = writeln!(text, "{label:width$}{}", plain(value.trim_end()));
        }
        text
    })
}

/// How long ago, as kubectl says it.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time that people read, to the second.
pub fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// Whether colours help whoever reads it.
pub fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes the result. A reader that has gone, such as `head`, has had enough.
pub fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Other(format!("can't write: {error}"))),
        _ => Ok(()),
    }
}

/// Writes something beside the result.
pub fn say(text: &str) {
    // Nobody is left to be told that this failed.
    let _ = io::stderr().write_all(plain_lines(text, "").as_bytes());
}

/// Writes an object as JSON or YAML; `None` for the formats that are no data.
pub fn data<T: Serialize>(format: Format, value: &T) -> Result<Option<String>> {
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(value).map_err(|error| Error::unreadable("the result", error))?;
            Ok(Some(format!("{text}\n")))
        }
        Format::Yaml => {
            serde_yaml_ng::to_string(value).map(Some).map_err(|error| Error::unreadable("the result", error))
        }
        Format::Table | Format::Name => Ok(None),
    }
}

/// What became of an object: its data, its name, or a sentence.
pub fn print_object<T: Serialize>(format: Format, object: &T, name: &str, done: &str) -> Result<()> {
    match data(format, object)? {
        Some(text) => print(&text),
        None if format == Format::Name => print(&format!("{}\n", plain(name))),
        None => print(&format!("{} {done}\n", plain(name))),
    }
}

/// Asks a person. Without a terminal there is nobody to ask.
pub fn confirmed(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Error::Usage(
            "there is no terminal to ask on: look at what is shown above, and repeat with --yes".to_owned(),
        ));
    }
    // Shown or not, the answer below is what counts.
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Error::Other(format!("can't read the answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("roll out web", "roll out web")]
    #[case("nginx:1 → nginx:2", "nginx:1 → nginx:2")]
    #[case("\u{1b}[2Jgone", "\\u{1b}[2Jgone")]
    #[case("a\rb\nc\td", "a\\u{d}b\\u{a}c\\u{9}d")]
    #[case("\u{202e}txt.exe", "\\u{202e}txt.exe")]
    #[case("a\u{9b}31mb", "a\\u{9b}31mb")]
    #[case("a\u{200b}b", "a\\u{200b}b")]
    fn nothing_that_somebody_wrote_is_invisible(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(plain(text), expected);
    }

    #[test]
    fn a_word_with_a_line_end_stays_one_cell_and_one_line() {
        let rows = [["chg/web".to_owned(), "ok\nyou  chg/evil".to_owned()], ["b".to_owned(), "c".to_owned()]];
        assert_eq!(table(["NAME", "TITLE"], &rows), "NAME      TITLE\nchg/web   ok\\u{a}you  chg/evil\nb         c\n");
    }

    #[test]
    fn words_of_several_lines_are_led_by_a_bar() {
        let text = facts(&[("Title", "web".to_owned()), ("Description", "one\nPhase: Approved\u{7}".to_owned())]);
        assert_eq!(text, "Title:        web\nDescription:\n  | one\n  | Phase: Approved\\u{7}\n");
    }

    #[rstest]
    #[case(5, "5s")]
    #[case(180, "3m")]
    #[case(7_300, "2h")]
    #[case(200_000, "2d")]
    #[case(-3, "0s")]
    fn ages_are_short(#[case] seconds: i64, #[case] expected: &str) {
        let now = Timestamp::from_second(1_000_000).unwrap();
        assert_eq!(age(Timestamp::from_second(1_000_000 - seconds).unwrap(), now), expected);
    }

    #[test]
    fn data_is_for_the_formats_that_are_data() {
        let value = serde_json::json!({"a": "\u{1b}"});
        assert_eq!(data(Format::Json, &value).unwrap().unwrap(), "{\n  \"a\": \"\\u001b\"\n}\n");
        assert!(!data(Format::Yaml, &value).unwrap().unwrap().contains('\u{1b}'));
        assert!(data(Format::Table, &value).unwrap().is_none());
    }
}
