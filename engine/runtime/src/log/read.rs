//! Reads a container's log: the last lines, a span of time, and what is still to come.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::write::rotated;
use crate::error::Error;
use crate::stamp;

/// A line of a log file longer than this is no line of ours, and is passed over.
const LINE_LIMIT: u64 = 1024 * 1024;

/// Which entries of a log are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only the last so many; all if absent.
    pub tail: Option<u64>,
    /// Only entries at or after this time, nanoseconds since 1970.
    pub since: Option<i128>,
    /// Only entries at or before this time, nanoseconds since 1970.
    pub until: Option<i128>,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// The output, with its line feed if it has one.
    pub log: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The time as the log has it, RFC 3339 in UTC with up to nine digits.
    pub time: String,
}

/// Reads a log, over all the files that rotation left.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    query: Query,
    /// Files put aside that are still to be read, the oldest first.
    older: VecDeque<File>,
    current: Option<Position>,
    /// How many entries must be passed over for `tail`.
    skip: u64,
    line: Vec<u8>,
}

#[derive(Debug)]
struct Position {
    file: BufReader<File>,
    /// Whether this is `container.log` itself, which may still grow.
    live: bool,
}

impl Reader {
    /// Opens the log at `path`; `max_file` is how many files rotation keeps.
    ///
    /// # Errors
    ///
    /// If a file is there and can't be read. A log that is not there is empty.
    pub fn open(path: &Path, max_file: u32, query: &Query) -> Result<Self, Error> {
        let mut older = VecDeque::new();
        for number in (1..max_file.min(10_000)).rev() {
            older.extend(open(&rotated(path, number))?);
        }
        let live = open(path)?;
        // The tail is found from the end, so that the last ten lines of a huge log cost little.
        let skip = match query.tail {
            Some(tail) if query.stdout && query.stderr && query.until.is_none() => {
                seek_tail(&mut older, live.as_ref(), tail).map_err(|source| read_error(path, source))?;
                0
            }
            _ => 0,
        };
        let mut reader = Self {
            path: path.to_owned(),
            query: query.clone(),
            older,
            current: live.map(|file| Position { file: BufReader::new(file), live: true }),
            skip,
            line: Vec::new(),
        };
        if let Some(older) = reader.older.pop_front() {
            let live = reader.current.take();
            reader.current = Some(Position { file: BufReader::new(older), live: false });
            reader.older.extend(live.map(|position| position.file.into_inner()));
        }
        if let Some(tail) = query.tail
            && (!query.stdout || !query.stderr || query.until.is_some())
        {
            let mut counter = Self::open(path, max_file, &Query { tail: None, ..query.clone() })?;
            let mut count = 0_u64;
            while counter.next_entry()?.is_some() {
                count += 1;
            }
            reader.skip = count.saturating_sub(tail);
        }
        Ok(reader)
    }

    /// The next entry that is there; `None` at the present end. Asked again later,
    /// it goes on with what was written meanwhile (that is how to follow: wait a
    /// little, or for inotify(7), and ask again), also over a rotation.
    ///
    /// # Errors
    ///
    /// If the file can't be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        while let Some(entry) = self.next_any()? {
            if !self.is_wanted(&entry) {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    fn is_wanted(&self, entry: &Entry) -> bool {
        let stream = if entry.stream == "stderr" { self.query.stderr } else { self.query.stdout };
        if !stream || (self.query.since.is_none() && self.query.until.is_none()) {
            return stream;
        }
        let Some(time) = stamp::parse(&entry.time) else { return true };
        self.query.since.is_none_or(|since| time >= since)
            && self.query.until.is_none_or(|until| time <= until)
    }

    /// The next entry of any kind, from whichever file is next.
    fn next_any(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            if self.current.is_none() {
                self.current =
                    open(&self.path)?.map(|file| Position { file: BufReader::new(file), live: true });
            }
            let Some(position) = &mut self.current else { return Ok(None) };
            let whole = read_line(&mut position.file, &mut self.line)
                .map_err(|source| read_error(&self.path, source))?;
            if whole {
                let entry = serde_json::from_slice(&self.line);
                self.line.clear();
                match entry {
                    Ok(entry) => return Ok(Some(entry)),
                    // A line that a crash or a full disk cut short: what follows is still good.
                    Err(_) => continue,
                }
            }
            if let Some(older) = self.older.pop_front() {
                let live = self.older.is_empty();
                self.line.clear();
                self.current = Some(Position { file: BufReader::new(older), live });
            } else if !self.follow_rotation()? {
                return Ok(None);
            }
        }
    }

    /// At the end of the live file: was it put aside, or emptied, meanwhile?
    fn follow_rotation(&mut self) -> Result<bool, Error> {
        let Some(position) = &mut self.current else { return Ok(false) };
        let here = position.file.get_ref().metadata().map_err(|source| read_error(&self.path, source))?;
        let place = position.file.stream_position().map_err(|source| read_error(&self.path, source))?;
        if here.len() < place {
            position.file.seek(SeekFrom::Start(0)).map_err(|source| read_error(&self.path, source))?;
            self.line.clear();
            return Ok(true);
        }
        let Some(there) = open(&self.path)? else { return Ok(false) };
        let same = there.metadata().is_ok_and(|there| there.ino() == here.ino() && there.dev() == here.dev());
        if same && position.live || here.len() > place {
            return Ok(false);
        }
        self.line.clear();
        self.current = Some(Position { file: BufReader::new(there), live: true });
        Ok(!same)
    }
}

/// Reads to the next line feed; false if the file ends before it (what was read is
/// kept in `line`, for the next time).
fn read_line(file: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        let line_end = buffer.iter().position(|byte| *byte == b'\n');
        let length = line_end.map_or(buffer.len(), |place| place + 1);
        if line.len() as u64 <= LINE_LIMIT {
            line.extend_from_slice(&buffer[..length]);
        }
        file.consume(length);
        if line_end.is_some() {
            return Ok(true);
        }
    }
}

/// Places the files so that only the last `tail` lines are left to read.
fn seek_tail(older: &mut VecDeque<File>, live: Option<&File>, tail: u64) -> io::Result<()> {
    let mut missing = tail;
    if let Some(file) = live {
        missing -= seek_file(file, missing)?;
    }
    let mut kept = VecDeque::new();
    while let Some(file) = older.pop_back() {
        if missing == 0 {
            break;
        }
        missing -= seek_file(&file, missing)?;
        kept.push_front(file);
    }
    *older = kept;
    Ok(())
}

/// Places a file before its last `wanted` lines; returns how many lines are after that place.
fn seek_file(mut file: &File, wanted: u64) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut end = length;
    let mut lines = 0;
    while end > 0 {
        let begin = end.saturating_sub(buffer.len() as u64);
        let block = &mut buffer[..usize::try_from(end - begin).unwrap_or(0)];
        file.read_exact_at(block, begin)?;
        for (place, byte) in block.iter().enumerate().rev() {
            let after = begin + place as u64 + 1;
            // The last byte ends a line; it doesn't begin one more.
            if *byte == b'\n' && after != length {
                lines += 1;
                if lines == wanted {
                    file.seek(SeekFrom::Start(after))?;
                    return Ok(lines);
                }
            }
        }
        end = begin;
    }
    let all = if length == 0 { 0 } else { lines + 1 };
    file.seek(if wanted == 0 { SeekFrom::End(0) } else { SeekFrom::Start(0) })?;
    Ok(all.min(wanted))
}

fn open(path: &Path) -> Result<Option<File>, Error> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(read_error(path, source)),
    }
}

fn read_error(path: &Path, source: io::Error) -> Error {
    Error::Read { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Log;
    use crate::log::write::{Output, Writer};

    const BOTH: Query = Query { tail: None, since: None, until: None, stdout: true, stderr: true };

    fn all(reader: &mut Reader) -> Vec<String> {
        std::iter::from_fn(|| reader.next_entry().expect("a log")).map(|entry| entry.log).collect()
    }

    fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
        range.map(|number| format!("{number}\n")).collect()
    }

    #[test]
    fn tail_goes_over_rotated_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("container.log");
        let log = Log { path: path.clone(), max_size: Some(400), max_file: 50 };
        let mut writer = Writer::open(&log).expect("a log");
        (0..100).for_each(|number| writer.write(Output::Stdout, format!("{number}\n").as_bytes()));
        for tail in [0, 1, 7, 50, 100, 1000] {
            let mut reader = Reader::open(&path, 50, &Query { tail: Some(tail), ..BOTH }).expect("a log");
            let first = 100 - u32::try_from(tail.min(100)).expect("small");
            assert_eq!(all(&mut reader), numbers(first..100), "tail {tail}");
        }
        let mut reader = Reader::open(&path, 50, &BOTH).expect("a log");
        assert_eq!(all(&mut reader), numbers(0..100));
    }

    #[test]
    fn following_goes_on_over_a_rotation() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("container.log");
        let mut writer =
            Writer::open(&Log { path: path.clone(), max_size: Some(300), max_file: 3 }).expect("a log");
        let mut reader = Reader::open(&path, 3, &BOTH).expect("a log");
        let mut seen = Vec::new();
        for number in 0..50 {
            writer.write(Output::Stderr, format!("{number}\n").as_bytes());
            seen.extend(all(&mut reader));
        }
        assert_eq!(seen, numbers(0..50));
    }

    #[test]
    fn one_stream_and_a_span_of_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("container.log");
        let line = |log: &str, stream: &str, second: u32| {
            format!(
                "{{\"log\":\"{log}\\n\",\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:0{second}Z\"}}\n"
            )
        };
        let text =
            [line("a", "stdout", 1), "broken\n".into(), line("b", "stderr", 2), line("c", "stdout", 3)];
        std::fs::write(&path, text.concat()).expect("a log");
        let read = |query: &Query| all(&mut Reader::open(&path, 1, query).expect("a log"));
        assert_eq!(read(&BOTH), ["a\n", "b\n", "c\n"]);
        assert_eq!(read(&Query { stderr: false, tail: Some(1), ..BOTH }), ["c\n"]);
        let second = stamp::parse("2026-01-01T00:00:02Z");
        assert_eq!(read(&Query { since: second, ..BOTH }), ["b\n", "c\n"]);
        assert_eq!(read(&Query { until: second, ..BOTH }), ["a\n", "b\n"]);
    }
}
