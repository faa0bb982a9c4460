//! Playing a scenario: each line is shown as its person types it, run by a shell, and held against what it should do.

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::kubectl::Output;

/// How a line should end, with words that what it prints must contain.
#[derive(Clone, Copy)]
pub enum Ends<'a> {
    Well(&'a [&'a str]),
    Refused(&'a [&'a str]),
}

pub struct Stage<'a> {
    pub cluster: &'a Cluster,
}

/// A line of the narrator.
pub fn tell(text: &str) {
    println!("\n# {text}");
}

impl Stage<'_> {
    /// A line of a person; what it printed.
    pub fn types(&self, person: &str, line: &str, ends: Ends) -> Result<String> {
        println!("\n{person}$ {line}");
        let output = self.cluster.shell(person, line)?;
        let text = output.text();
        print!("{text}");
        if !text.ends_with('\n') {
            println!();
        }
        judge(&output, ends).map_err(|why| {
            Error::Other(format!("the story turned out otherwise: {person} typed `{line}`, and {why}"))
        })?;
        Ok(text)
    }
}

fn judge(output: &Output, ends: Ends) -> Result<(), String> {
    let (well, words) = match ends {
        Ends::Well(words) => (true, words),
        Ends::Refused(words) => (false, words),
    };
    match (well, output.ok()) {
        (true, false) => {
            return Err(format!("it should have worked, but ended with code {}", output.code));
        }
        (false, true) => return Err("it should have been refused, but worked".into()),
        _ => {}
    }
    let text = output.text();
    match words.iter().find(|word| !text.contains(**word)) {
        Some(word) => Err(format!("it should have said {word:?}")),
        None => Ok(()),
    }
}

/// The command that a refusal shows: a line of its own that begins like one.
pub fn pasteable(text: &str) -> Result<&str> {
    text.lines()
        .map(str::trim)
        .find(|line| line.starts_with("kubectl ") || line.starts_with("echo '"))
        .ok_or_else(|| Error::Other(format!("no command to paste in:\n{text}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Ends, judge, pasteable};
    use crate::kubectl::Output;

    #[test]
    fn the_command_is_the_line_that_begins_like_one() {
        let text =
            "Error from server (Forbidden): … use kubectl:\nwould be lost: a\nkubectl -n a annotate pvc b c=me@d\n";
        assert_eq!(pasteable(text).unwrap(), "kubectl -n a annotate pvc b c=me@d");
        assert_eq!(pasteable("x\n  echo '{}' | kubectl create -f -").unwrap(), "echo '{}' | kubectl create -f -");
        assert!(pasteable("no kubectl here").is_err());
    }

    #[test]
    fn a_line_is_held_against_its_end_and_its_words() {
        let output = |code| Output { stdout: "claim gone".into(), stderr: String::new(), code };
        assert!(judge(&output(0), Ends::Well(&["gone"])).is_ok());
        assert!(judge(&output(0), Ends::Well(&["refused"])).is_err());
        assert!(judge(&output(1), Ends::Well(&[])).is_err());
        assert!(judge(&output(1), Ends::Refused(&["gone"])).is_ok());
        assert!(judge(&output(0), Ends::Refused(&[])).is_err());
    }
}
