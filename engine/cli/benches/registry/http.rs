//! A client of HTTP/1.1 that does as little as it can: one connection, one request at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::Result;

/// A connection.
pub(crate) struct Connection {
    address: String,
    stream: BufReader<TcpStream>,
    buffer: Vec<u8>,
}

/// What came back, but for the body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    /// How far an upload is.
    #[allow(dead_code, reason = "the bench doesn't ask; the tests, which share this client, do")]
    pub(crate) range: Option<String>,
    /// How many bytes the body had.
    pub(crate) length: u64,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let stream = BufReader::with_capacity(16 * 1024, stream);
        Ok(Self { address: address.to_owned(), stream, buffer: vec![0; 256 * 1024] })
    }

    /// Asks, and reads the answer to its end.
    pub(crate) fn ask(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) -> Result<Answer> {
        let path = target.strip_prefix(&format!("http://{}", self.address)).unwrap_or(target);
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n{headers}\r\n",
            self.address
        );
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        self.answer(method)
    }

    fn answer(&mut self, method: &str) -> Result<Answer> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).ok_or("no status")?.parse()?;
        let mut answer = Answer { status, location: None, range: None, length: 0 };
        let mut chunked = false;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => answer.length = value.parse()?,
                "range" => answer.range = Some(value.to_owned()),
                "location" => answer.location = Some(value.to_owned()),
                "transfer-encoding" => chunked = true,
                _ => {}
            }
        }
        if chunked {
            answer.length = 0;
            loop {
                line.clear();
                self.stream.read_line(&mut line)?;
                let size = u64::from_str_radix(line.trim(), 16)?;
                self.skip(size + 2)?;
                answer.length += size;
                if size == 0 {
                    break;
                }
            }
        } else if method != "HEAD" {
            self.skip(answer.length)?;
        }
        Ok(answer)
    }

    fn skip(&mut self, mut left: u64) -> Result<()> {
        while left > 0 {
            let most = usize::try_from(left)?.min(self.buffer.len());
            let count = self.stream.read(&mut self.buffer[..most])?;
            if count == 0 {
                return Err("the answer broke off".into());
            }
            left -= count as u64;
        }
        Ok(())
    }
}
