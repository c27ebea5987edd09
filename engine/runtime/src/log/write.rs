//! Writes a container's log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::bundle::Log;
use crate::stamp;

/// A line of output that is longer than this is written in pieces, as Docker does.
const LINE_LIMIT: usize = 16 * 1024;

/// Which of a process's outputs something came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Output {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }
}

/// The writer of one container's log.
///
/// The shim must live on a full disk: what can't be written is lost, and counted.
#[derive(Debug)]
pub struct Writer {
    log: Log,
    file: File,
    size: u64,
    /// The unfinished line of each output.
    unfinished: [Vec<u8>; 2],
    lost: u64,
}

impl Writer {
    /// Opens the log for appending; makes it if it is missing, readable by its owner only.
    ///
    /// # Errors
    ///
    /// open(2)'s.
    pub fn open(log: &Log) -> io::Result<Self> {
        let file = open(&log.path)?;
        let size = file.metadata()?.len();
        Ok(Self { log: log.clone(), file, size, unfinished: [Vec::new(), Vec::new()], lost: 0 })
    }

    /// Takes output; writes each line that is complete, and each that is too long.
    pub fn write(&mut self, output: Output, mut bytes: &[u8]) {
        let mut lines = String::new();
        while !bytes.is_empty() {
            let unfinished = &mut self.unfinished[output.index()];
            let room = LINE_LIMIT - unfinished.len();
            let line_end = bytes.iter().take(room).position(|byte| *byte == b'\n').map(|place| place + 1);
            let length = line_end.unwrap_or_else(|| room.min(bytes.len()));
            let (piece, rest) = bytes.split_at(length);
            bytes = rest;
            if line_end.is_none() && length < room {
                unfinished.extend_from_slice(piece);
                break;
            }
            if unfinished.is_empty() {
                self.line(&mut lines, output, piece);
            } else {
                unfinished.extend_from_slice(piece);
                let line = std::mem::take(unfinished);
                self.line(&mut lines, output, &line);
            }
        }
        self.flush(&lines);
    }

    /// The output ended: its unfinished line is written without a line feed.
    pub fn end(&mut self, output: Output) {
        let line = std::mem::take(&mut self.unfinished[output.index()]);
        if !line.is_empty() {
            let mut lines = String::new();
            self.line(&mut lines, output, &line);
            self.flush(&lines);
        }
    }

    /// How many lines could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn line(&mut self, lines: &mut String, output: Output, bytes: &[u8]) {
        let begin = lines.len();
        lines.push_str("{\"log\":");
        quote(bytes, lines);
        lines.push_str(",\"stream\":\"");
        lines.push_str(output.name());
        lines.push_str("\",\"time\":\"");
        lines.push_str(&stamp::now());
        lines.push_str("\"}\n");
        let Some(max_size) = self.log.max_size else { return };
        // Docker's rule: a file that has reached its size is put aside before the next line.
        if self.size + begin as u64 >= max_size && self.size + begin as u64 > 0 {
            let next = lines.split_off(begin);
            self.flush(lines);
            *lines = next;
            if self.rotate().is_err() {
                self.lost += 1;
            }
        }
    }

    fn flush(&mut self, lines: &str) {
        if lines.is_empty() {
            return;
        }
        match self.file.write_all(lines.as_bytes()) {
            Ok(()) => self.size += lines.len() as u64,
            Err(_) => self.lost += 1,
        }
    }

    /// `container.log` becomes `container.log.1`, that becomes `.2`, and so on; the
    /// oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        let path = &self.log.path;
        for number in (1..self.log.max_file).rev() {
            let from = if number == 1 { path.clone() } else { rotated(path, number - 1) };
            match fs::rename(&from, rotated(path, number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.log.max_file <= 1 {
            // One file only: it starts anew. A reader that has it open sees it shrink.
            self.file.set_len(0)?;
        } else {
            self.file = open(path)?;
        }
        self.size = 0;
        Ok(())
    }
}

/// The name of the `number`-th file that was put aside; 1 is the youngest.
pub(super) fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Appends bytes as a JSON string, exactly as Docker's writer does: what is not
/// UTF-8 becomes U+FFFD byte by byte, and `<`, `>`, `&` and the two line separators
/// that JavaScript trips over are escaped.
fn quote(bytes: &[u8], text: &mut String) {
    use std::fmt::Write;
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    // Writing to a String can't fail.
                    let _ = write!(text, "\\u{:04x}", u32::from(letter));
                }
                _ => text.push(letter),
            }
        }
        for _ in chunk.invalid() {
            text.push_str("\\ufffd");
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(folder: &Path, max_size: Option<u64>, max_file: u32) -> Writer {
        Writer::open(&Log { path: folder.join("container.log"), max_size, max_file }).expect("a new log")
    }

    fn logs(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).expect("the log");
        let entry =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["log"].clone();
        text.lines().map(|line| entry(line).as_str().expect("a string").to_owned()).collect()
    }

    #[test]
    fn lines_partial_lines_and_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = writer(folder.path(), None, 1);
        log.write(Output::Stdout, b"one\ntw");
        log.write(Output::Stderr, b"other\n");
        log.write(Output::Stdout, b"o\nthree");
        log.end(Output::Stdout);
        assert_eq!(logs(&folder.path().join("container.log")), ["one\n", "other\n", "two\n", "three"]);
    }

    #[test]
    fn a_long_line_is_written_in_pieces() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = writer(folder.path(), None, 1);
        let mut long = vec![b'x'; LINE_LIMIT * 2 + 5];
        long.push(b'\n');
        for chunk in long.chunks(7000) {
            log.write(Output::Stdout, chunk);
        }
        let lengths: Vec<_> = logs(&folder.path().join("container.log")).iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_LIMIT, LINE_LIMIT, 6]);
    }

    #[test]
    fn rotation_keeps_so_many_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = writer(folder.path(), Some(300), 3);
        for number in 0..40 {
            log.write(Output::Stdout, format!("line {number}\n").as_bytes());
        }
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        assert_eq!(names, ["container.log", "container.log.1", "container.log.2"]);
        assert_eq!(logs(&folder.path().join("container.log")).last().map(String::as_str), Some("line 39\n"));
    }

    #[test]
    fn quoting_is_dockers() {
        let mut text = String::new();
        quote(b"a\"b\\c\n\r\t\x1b<&>\xff\xfe\xe2\x80\xa8 \xc3\xa9", &mut text);
        assert_eq!(text, r#""a\"b\\c\n\r\u0009\u001b\u003c\u0026\u003e\ufffd\ufffd\u2028 é""#);
    }
}
