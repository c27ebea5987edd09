//! Questions that are asked elsewhere: of the resolvers that a container was given,
//! or of the host's. The reply is handed on as it is.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::time::Duration;

use super::{PATIENCE, port_53};

/// How long one resolver may take before the next is asked.
const TURN: Duration = Duration::from_secs(2);

/// Asks by UDP.
pub(super) fn udp(question: &[u8], upstream: &[IpAddr]) -> Option<Vec<u8>> {
    resolvers(upstream).into_iter().find_map(|resolver| ask_udp(question, resolver).ok())
}

/// Asks by TCP.
pub(super) fn tcp(question: &[u8], upstream: &[IpAddr]) -> Option<Vec<u8>> {
    resolvers(upstream).into_iter().find_map(|resolver| ask_tcp(question, resolver).ok())
}

fn ask_udp(question: &[u8], resolver: IpAddr) -> io::Result<Vec<u8>> {
    let any = if resolver.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(port_53(resolver))?;
    socket.set_read_timeout(Some(TURN))?;
    socket.send(question)?;
    let mut reply = vec![0; 65535];
    loop {
        let length = socket.recv(&mut reply)?;
        // Only the reply to this question: its number stands first.
        if length >= 12 && reply[..2] == question[..2] {
            reply.truncate(length);
            return Ok(reply);
        }
    }
}

fn ask_tcp(question: &[u8], resolver: IpAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&port_53(resolver), TURN)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?.to_be_bytes();
    stream.write_all(&[&length[..], question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

/// Those that are named, or the host's of this moment.
fn resolvers(upstream: &[IpAddr]) -> Vec<IpAddr> {
    if !upstream.is_empty() {
        return upstream.to_vec();
    }
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut resolvers: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok())
        .filter(|address| *address != IpAddr::V4(super::ADDRESS))
        .collect();
    resolvers.truncate(3);
    resolvers
}
