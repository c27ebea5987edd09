//! A server that gives out one file by sendfile(2), and does nothing else: how fast a read can be here.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

use crate::Result;

/// Serves until the bench ends.
pub(crate) fn serve(file: PathBuf) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let file = file.clone();
            // A reader that gets too little says so.
            std::thread::spawn(move || answer(stream, file).is_ok());
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, file: PathBuf) -> Result<()> {
    let mut head = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes())?;
    // From a file into a socket the standard library copies by sendfile(2).
    std::io::copy(&mut file, &mut stream)?;
    Ok(())
}
