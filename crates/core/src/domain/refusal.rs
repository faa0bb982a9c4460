//! A refusal: what, why, and what to do next.

use crate::reason::Code;

/// What is said to somebody who is refused: a stable code, a sentence that names the object, and one command that
/// works when pasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// What was refused and why, without the code.
    pub sentence: String,
    /// Further lines, for example what would be lost.
    pub details: Vec<String>,
    /// One command, or nothing where none would help.
    pub next: Option<Next>,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// Who runs the command and what it does.
    pub lead: String,
    /// The command, on a line of its own.
    pub command: String,
}

impl Refusal {
    /// A name that somebody made up must not look like a line of ours, so a sentence is one line.
    pub fn new(code: Code, sentence: impl Into<String>) -> Self {
        Self { code, sentence: one_line(&sentence.into()), details: Vec::new(), next: None }
    }

    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(one_line(&line.into()));
        self
    }

    #[must_use]
    pub fn next(mut self, lead: impl Into<String>, command: impl Into<String>) -> Self {
        self.next = Some(Next { lead: lead.into(), command: command.into() });
        self
    }

    /// One line, for warnings: the API server drops those with a newline or another control character (fact 23).
    pub fn one_line(&self) -> String {
        format!("{} [{}]", self.sentence, self.code)
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.sentence, self.code)?;
        for line in &self.details {
            write!(f, "\n{line}")?;
        }
        match &self.next {
            Some(next) => write!(f, "\n{}\n{}", next.lead, next.command),
            None => write!(f, "\n{}", self.code.what_to_do()),
        }
    }
}
