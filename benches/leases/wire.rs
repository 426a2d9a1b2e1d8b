//! The few protocol buffers of etcd that the bench needs, written and read by hand.

/// A message that is being written.
#[derive(Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

impl Message {
    pub(crate) fn number(mut self, field: u64, number: i64) -> Self {
        varint(&mut self.0, field << 3);
        varint(&mut self.0, number as u64);
        self
    }

    pub(crate) fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        varint(&mut self.0, field << 3 | 2);
        varint(&mut self.0, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }
}

/// One field of a message that is read.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Number(i64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
            shift += 7;
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()? as i64),
            2 => {
                let length = self.varint()? as usize;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            other => panic!("etcd sends no fields of wire type {other}"),
        };
        Some((key >> 3, value))
    }
}

/// A number of a message; 0 where it is not there.
pub(crate) fn number(message: &[u8], field: u64) -> i64 {
    let found = Fields(message).find_map(|(at, value)| match value {
        Value::Number(number) if at == field => Some(number),
        _ => None,
    });
    found.unwrap_or(0)
}

/// The parts of a message with this number.
pub(crate) fn parts(message: &[u8], field: u64) -> impl Iterator<Item = &[u8]> {
    Fields(message).filter_map(move |(at, value)| match value {
        Value::Bytes(bytes) if at == field => Some(bytes),
        _ => None,
    })
}

/// The first part of a message with this number; empty where there is none.
pub(crate) fn part(message: &[u8], field: u64) -> &[u8] {
    parts(message, field).next().unwrap_or_default()
}
