//! The table at the end.

use std::io::{self, Write};

use crate::process;

/// What is to be reached.
#[derive(Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

struct Row {
    what: String,
    measured: String,
    target: String,
    reached: &'static str,
}

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// A figure with its limit; `unit` follows both.
    pub fn figure(&mut self, what: impl Into<String>, value: f64, unit: &str, target: Target) {
        let (sign, limit, reached) = match target {
            Target::AtLeast(limit) => ("≥", limit, value >= limit),
            Target::AtMost(limit) => ("≤", limit, value <= limit),
        };
        let reached = if reached { "yes" } else { "no" };
        let target = format!("{sign} {} {unit}", number(limit));
        self.push(what.into(), format!("{} {unit}", number(value)), target, reached);
    }

    /// A figure that is only told.
    pub fn note(&mut self, what: impl Into<String>, measured: impl Into<String>) {
        self.push(what.into(), measured.into(), String::new(), "");
    }

    fn push(&mut self, what: String, measured: String, target: String, reached: &'static str) {
        eprintln!("  {what}: {measured}");
        self.rows.push(Row { what, measured, target, reached });
    }

    pub fn print(&self, to: &mut impl Write) -> io::Result<()> {
        let width =
            |column: fn(&Row) -> &str| self.rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
        let (what, measured, target) = (width(|row| &row.what), width(|row| &row.measured), width(|row| &row.target));
        writeln!(to, "\n{}\n", process::machine())?;
        writeln!(to, "{:what$}  {:>measured$}  {:>target$}  reached", "", "measured", "target")?;
        for row in &self.rows {
            let Row { what: name, measured: value, target: limit, reached } = row;
            writeln!(to, "{name:what$}  {value:>measured$}  {limit:>target$}  {reached}")?;
        }
        Ok(())
    }
}

/// Three significant digits, or whole with thousands apart.
fn number(value: f64) -> String {
    if value < 100.0 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
