//! Messages of Protocol Buffers: as much of the wire format as profiles need (protobuf.dev, "Encoding").

/// A message in the making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message(Vec<u8>);

const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;

impl Message {
    /// A number.
    pub(super) fn number(mut self, field: u32, value: u64) -> Self {
        self.put(u64::from(field) << 3 | VARINT);
        self.put(value);
        self
    }

    /// A text.
    pub(super) fn text(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// A message inside this one.
    pub(super) fn message(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    /// Numbers, packed.
    pub(super) fn numbers(self, field: u32, values: impl IntoIterator<Item = u64>) -> Self {
        let mut packed = Self::default();
        values.into_iter().for_each(|value| packed.put(value));
        self.bytes(field, &packed.0)
    }

    fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.put(u64::from(field) << 3 | LENGTH_DELIMITED);
        self.put(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn put(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// The message on the wire.
    pub(super) fn encoded(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_documentation() {
        // "Encoding": a = 150; b = "testing"; c { a = 150 }; f = [3, 270, 86942].
        assert_eq!(Message::default().number(1, 150).encoded(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().text(2, "testing").encoded(), b"\x12\x07testing");
        let inner = Message::default().number(1, 150);
        assert_eq!(Message::default().message(3, &inner).encoded(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let packed = Message::default().numbers(6, [3, 270, 86942]);
        assert_eq!(packed.encoded(), [0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05]);
    }
}
