//! What the program prints, where, and how it ends.

use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done.
    Success,
    /// Refused or failed.
    Failed,
    /// Called wrongly.
    Usage,
    /// Done in part: installed, but not loaded.
    Partial,
    /// Bad configuration.
    Config,
    /// A fault of this program.
    Fault,
    /// Interrupted by the user.
    Interrupted,
}

impl ExitStatus {
    /// The number that the shell sees.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Config => 64,
            Self::Fault => 70,
            Self::Interrupted => 130,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.number())
    }
}

/// Why a command failed, as its user reads it.
#[derive(Debug)]
pub struct CommandError {
    /// How the program ends.
    pub status: ExitStatus,
    /// The chain of causes.
    pub error: anyhow::Error,
    /// Stable and short, where there is one.
    pub code: Option<String>,
    /// Cures, one line each.
    pub hints: Vec<String>,
}

impl CommandError {
    /// A failure without a code or a cure: exit 1.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self { status: ExitStatus::Failed, error: error.into(), code: None, hints: Vec::new() }
    }

    /// A refusal with its stable word and its cure: exit 1.
    pub fn refused(error: impl Into<anyhow::Error>, code: &str, hint: impl Into<String>) -> Self {
        Self { code: Some(code.to_owned()), ..Self::failed(error) }.hint(hint)
    }

    /// A wrong call: exit 2.
    pub fn usage(message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self { status: ExitStatus::Usage, ..Self::failed(anyhow::Error::msg(message)) }
    }

    /// The same with a cure.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The causes in one line: `a: b: c`.
    #[must_use]
    pub fn chain(&self) -> String {
        format!("{:#}", self.error)
    }
}

impl<E: Into<anyhow::Error>> From<E> for CommandError {
    fn from(error: E) -> Self {
        Self::failed(error)
    }
}

/// Whether results are for people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// Lines for people.
    Text,
    /// One JSON document, indented by two (wire contract 10.11).
    Json,
}

/// Owns stdout and stderr: data goes to the first, everything else to the second.
///
/// Texts may be anybody's, a plugin's or a host's: their control characters are spelled out, so that they do nothing to the
/// terminal. Tabs stay, and so do line breaks; but what follows a break is indented, deeper than anything of ours, so that it
/// cannot be taken for another line of ours.
pub struct Printer {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    format: OutputFormat,
    terminal: bool,
    /// Whether the reader of the data went away.
    closed: bool,
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Printer {
    /// Prints to the streams of the process.
    #[must_use]
    pub fn of_process(format: OutputFormat) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { out: Box::new(std::io::stdout()), err: Box::new(std::io::stderr()), format, terminal, closed: false }
    }

    /// Prints elsewhere, never as to a terminal.
    #[must_use]
    pub fn to(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, format: OutputFormat) -> Self {
        Self { out, err, format, terminal: false, closed: false }
    }

    /// Text or JSON.
    #[must_use]
    pub fn format(&self) -> OutputFormat {
        self.format
    }

    /// Whether a progress bar may be drawn on stderr.
    #[must_use]
    pub fn draws_progress(&self) -> bool {
        self.terminal && self.format == OutputFormat::Text
    }

    /// One line of data.
    pub fn line(&mut self, text: &str) {
        self.data(&shown(text));
    }

    fn data(&mut self, text: &str) {
        // A reader that went away early (`| head`) is not our failure.
        self.closed |= writeln!(self.out, "{text}").and_then(|()| self.out.flush()).is_err();
    }

    /// Whether nobody reads the data any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// A JSON document as data.
    pub fn document(&mut self, value: &Value) {
        self.data(&json_text(value));
    }

    /// One line for the person at the terminal.
    pub fn note(&mut self, text: &str) {
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(self.err, "{}", shown(text));
    }

    /// A cure, on its own line.
    pub fn hint(&mut self, text: &str) {
        self.note(&format!("hint: {text}"));
    }

    /// A failure: `error: a: b: c` and its hints on stderr, or the JSON envelope on stdout (wire contract 10.11;
    /// `code` and `hint` are ours).
    pub fn failure(&mut self, error: &CommandError) {
        match self.format {
            OutputFormat::Text => {
                let code = error.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
                self.note(&format!("error: {}{code}", error.chain()));
                for hint in &error.hints {
                    self.hint(hint);
                }
            }
            OutputFormat::Json => {
                let mut envelope = json!({"status": "error", "message": error.chain()});
                if let Some(map) = envelope.as_object_mut() {
                    if let Some(code) = &error.code {
                        map.insert("code".into(), json!(code));
                    }
                    if !error.hints.is_empty() {
                        map.insert("hint".into(), json!(error.hints.join("; ")));
                    }
                }
                self.document(&envelope);
            }
        }
    }
}

/// A text as [`Printer`] says it.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.trim_end_matches('\n').chars() {
        match c {
            '\n' => shown.push_str("\n    "),
            c if c.is_control() && c != '\t' => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// `value` as indented JSON. The control characters that JSON leaves as they are, in texts only, are escaped as well.
fn json_text(value: &Value) -> String {
    let mut text = String::new();
    for c in format!("{value:#}").chars() {
        match c {
            '\u{7f}'..='\u{9f}' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

/// Keeps what is printed, for tests.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(super) struct Captured {
    out: Stream,
    err: Stream,
}

#[cfg(test)]
#[derive(Debug, Clone, Default)]
struct Stream(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

#[cfg(test)]
impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
impl Captured {
    /// Prints into this.
    pub(super) fn printer(&self, format: OutputFormat) -> Printer {
        Printer::to(Box::new(self.out.clone()), Box::new(self.err.clone()), format)
    }

    /// What went to stdout.
    pub(super) fn out(&self) -> String {
        String::from_utf8(self.out.0.lock().unwrap().clone()).unwrap()
    }

    /// What went to stderr.
    pub(super) fn err(&self) -> String {
        String::from_utf8(self.err.0.lock().unwrap().clone()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_does_anything_to_the_terminal() {
        let captured = Captured::default();
        let mut printer = captured.printer(OutputFormat::Text);
        let odd = "a\u{1b}]0;b\u{7}\r\u{9b}c";
        let spelled = r"a\u{1b}]0;b\u{7}\r\u{9b}c";
        printer.line(odd);
        printer.note(odd);
        printer.hint(odd);
        printer.failure(&CommandError::refused(anyhow::Error::msg(odd).context("d"), odd, odd));
        assert_eq!(captured.out(), format!("{spelled}\n"));
        assert_eq!(
            captured.err(),
            format!("{spelled}\nhint: {spelled}\nerror: d: {spelled} [{spelled}]\nhint: {spelled}\n")
        );
    }

    #[test]
    fn lines_and_columns_stay_and_no_further_line_looks_like_ours() {
        let captured = Captured::default();
        let mut printer = captured.printer(OutputFormat::Text);
        printer.line("id\tdigest");
        printer.line("a\n  b: c\n");
        printer.failure(&CommandError::failed(anyhow::Error::msg("line 1\n  |\nhint: run this\n").context("d")));
        assert_eq!(captured.out(), "id\tdigest\na\n      b: c\n");
        assert_eq!(captured.err(), "error: d: line 1\n      |\n    hint: run this\n");
    }

    #[test]
    fn a_document_is_json_without_control_characters() {
        let captured = Captured::default();
        let value = json!({"\u{7f}": "\u{1b}\n\u{80}é\u{9f}\u{a0}\\"});
        captured.printer(OutputFormat::Json).document(&value);
        assert_eq!(captured.out(), "{\n  \"\\u007f\": \"\\u001b\\n\\u0080é\\u009f\u{a0}\\\\\"\n}\n");
        assert_eq!(serde_json::from_str::<Value>(&captured.out()).unwrap(), value);
    }
}
