//! Messages and their attributes, to bytes and back.

use crate::netlink::socket::ACK;

/// Bytes of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;

/// The attribute holds attributes; `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// A message to the kernel, in the making.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of a kind, with its fixed structure. The socket fills in length
    /// and number.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    /// Adds an attribute of plain bytes.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        // Attributes here are names, numbers and addresses, far below the limit of 64 KiB.
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&value[..usize::from(length) - 4]);
        self.pad();
        self
    }

    /// Adds a number in the machine's byte order, as rtnetlink has them.
    pub(crate) fn put_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Adds a number in the network's byte order, as nftables has them.
    pub(crate) fn put_u32_be(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Adds a text, with the null byte that ends it.
    pub(crate) fn put_text(&mut self, kind: u16, text: &str) -> &mut Self {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.put(kind, &value)
    }

    /// Adds an attribute that holds what `fill` adds.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Adds bytes that are no attribute: a structure inside a nest.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// The message as it is sent.
    pub(super) fn sealed(mut self, sequence: u32, acknowledge: bool) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        if acknowledge {
            let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | ACK;
            self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        }
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;

/// A message from the kernel: its kind, and what follows the header.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The fixed structure's first `size` bytes, and the attributes after it; empty
    /// where the kernel sent less.
    pub(crate) fn split(&self, size: usize) -> (&[u8], &[u8]) {
        self.body.split_at_checked(size).unwrap_or((&[], &[]))
    }
}

/// The attributes in a run of bytes, with their kinds; ends at the first that is cut short.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]));
        let kind = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]) & !NESTED;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The first attribute of a kind.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A text attribute, up to its null byte.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// A number in the machine's byte order; 0 where it is cut short.
pub(crate) fn u32_ne(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// A number in the network's byte order; 0 where it is cut short.
pub(crate) fn u32_be(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_again() {
        let mut message = Message::new(16, 0, &[1, 2, 3, 4]);
        message.put_u32(3, 7).nest(9, |inside| {
            inside.put_text(1, "veth").put_u32_be(2, 5);
        });
        let bytes = message.sealed(42, true);
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(u32_ne(&bytes) as usize, bytes.len());
        assert_eq!(u32_ne(&bytes[8..]), 42);

        let reply = Reply { kind: 16, body: bytes[HEADER..].to_vec() };
        let (fixed, rest) = reply.split(4);
        assert_eq!(fixed, [1, 2, 3, 4]);
        assert_eq!(attribute(rest, 3).map(u32_ne), Some(7));
        let nest = attribute(rest, 9).expect("the nest is there");
        assert_eq!(attribute(nest, 1).map(text).as_deref(), Some("veth"));
        assert_eq!(attribute(nest, 2).map(u32_be), Some(5));
    }

    #[test]
    fn what_is_cut_short_ends_the_attributes() {
        for bytes in [&[][..], &[8], &[0, 0, 0, 0], &[3, 0, 1, 0], &[9, 0, 1, 0, 1, 2, 3, 4]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }
}
