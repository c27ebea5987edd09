//! The journal's records, as bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::server::storage::place::Act;
use glassdock_image::digest::Digest;

/// A record of a log: when it was made, and what it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) time: SystemTime,
    pub(super) acts: Vec<Act>,
}

/// A record's head: the length of what follows, and the first bytes of its digest.
const HEAD: usize = 4 + 8;

pub(super) fn encode(time: SystemTime, acts: &[Act]) -> Vec<u8> {
    let nanoseconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let mut body = u64::try_from(nanoseconds).unwrap_or(u64::MAX).to_le_bytes().to_vec();
    for act in acts {
        let (kind, key, bytes): (u8, &String, &[u8]) = match act {
            Act::Write { key, bytes } => (1, key, bytes),
            Act::Remove { key } => (2, key, &[]),
        };
        body.push(kind);
        for part in [key.as_bytes(), bytes] {
            body.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            body.extend_from_slice(part);
        }
    }
    let mut record = Vec::with_capacity(HEAD + body.len());
    record.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend(checksum(&body));
    record.append(&mut body);
    record
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    let digest = Digest::of(bytes);
    sum.copy_from_slice(&digest.hex().as_bytes()[..8]);
    sum
}

/// The records up to the first that is not whole: that one was never answered for.
pub(super) fn decode_all(mut bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some(record) = take_part(&mut bytes, 8)
        .and_then(|(sum, body)| if checksum(body) == sum { decode(body) } else { None })
    {
        records.push(record);
    }
    records
}

/// A length, `between` bytes, and as many bytes as the length says.
fn take_part<'a>(bytes: &mut &'a [u8], between: usize) -> Option<(&'a [u8], &'a [u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (head, rest) = rest.split_at_checked(between)?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *bytes = rest;
    Some((head, part))
}

fn decode(body: &[u8]) -> Option<Record> {
    let (time, mut rest) = body.split_first_chunk::<8>()?;
    let time = UNIX_EPOCH + Duration::from_nanos(u64::from_le_bytes(*time));
    let mut acts = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        rest = after;
        let key = std::str::from_utf8(take_part(&mut rest, 0)?.1).ok()?.to_owned();
        let bytes = take_part(&mut rest, 0)?.1;
        acts.push(match kind {
            1 => Act::Write { key, bytes: bytes::Bytes::copy_from_slice(bytes) },
            2 => Act::Remove { key },
            _ => return None,
        });
    }
    Some(Record { time, acts })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn acts() -> Vec<Act> {
        vec![
            Act::Write { key: "a/b".into(), bytes: bytes::Bytes::from_static(b"text") },
            Act::Remove { key: "c".into() },
        ]
    }

    #[test]
    fn a_log_is_read_up_to_where_it_breaks_off() {
        let one = encode(UNIX_EPOCH, &acts());
        let two = [one.clone(), one.clone()].concat();
        assert_eq!(decode_all(&two).len(), 2);
        assert_eq!(decode_all(&two)[1], Record { time: UNIX_EPOCH, acts: acts() });
        for cut in 0..one.len() {
            assert_eq!(decode_all(&two[..one.len() + cut]).len(), 1, "cut at {cut}");
        }
        let mut bent = two;
        bent[HEAD + 3] ^= 1;
        assert!(decode_all(&bent).is_empty(), "what a bent record says is not done");
        let room = [one, vec![0; 4096]].concat();
        assert_eq!(decode_all(&room).len(), 1, "zeros are no record");
    }
}
