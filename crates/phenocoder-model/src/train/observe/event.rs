//! TensorBoard's event files: records with checksums around protocol buffers.
//!
//! A record is its length (8 bytes, little endian), the masked CRC-32C of these 8 bytes, the message, and the masked CRC-32C
//! of the message. The messages are `Event` and `Summary` of TensorFlow's `event.proto` and `summary.proto`; the few fields
//! that are needed are written by hand.

mod histogram;
mod hparams;

pub(super) use histogram::histogram;
pub(super) use hparams::{Outcome, experiment, flatten, session_end, session_start};

/// TensorFlow's mask: a checksum of data that itself contains checksums is weak, so they are rotated and shifted.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// Frames a message as a record.
pub(super) fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(message.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_crc(&length).to_le_bytes());
    record.extend_from_slice(message);
    record.extend_from_slice(&masked_crc(message).to_le_bytes());
    record
}

/// A protocol buffer under construction.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    /// A whole number.
    pub(super) fn int(mut self, field: u64, value: u64) -> Self {
        self.key(field, 0);
        self.varint(value);
        self
    }

    /// A 64-bit float.
    pub(super) fn double(mut self, field: u64, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A 32-bit float.
    pub(super) fn float(mut self, field: u64, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Several 64-bit floats.
    pub(super) fn doubles(self, field: u64, values: impl IntoIterator<Item = f64>) -> Self {
        let packed: Vec<u8> = values.into_iter().flat_map(f64::to_le_bytes).collect();
        self.bytes(field, &packed)
    }

    /// Text, bytes or an inner message.
    pub(super) fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// The first event of a file.
pub(super) fn version(wall_time: f64) -> Vec<u8> {
    Message::default()
        .double(1, wall_time)
        .bytes(3, b"brain.Event:2")
        .done()
}

/// A restart: TensorBoard forgets what it has read of this step and of later ones.
pub(super) fn restart(wall_time: f64, step: u64) -> Vec<u8> {
    const START: u64 = 1;
    let log = Message::default().int(1, START).done();
    Message::default()
        .double(1, wall_time)
        .int(2, step)
        .bytes(7, &log)
        .done()
}

/// An event that holds one value of a summary.
fn event(wall_time: f64, step: u64, value: Message) -> Vec<u8> {
    let summary = Message::default().bytes(1, &value.done()).done();
    Message::default()
        .double(1, wall_time)
        .int(2, step)
        .bytes(5, &summary)
        .done()
}

/// A number.
pub(super) fn scalar(wall_time: f64, step: u64, tag: &str, value: f64) -> Vec<u8> {
    let value = Message::default()
        .bytes(1, tag.as_bytes())
        .float(2, value as f32);
    event(wall_time, step, value)
}

/// A picture, already compressed as PNG.
pub(super) fn image(
    wall_time: f64,
    step: u64,
    tag: &str,
    header: PngHeader,
    png: &[u8],
) -> Vec<u8> {
    let image = Message::default()
        .int(1, u64::from(header.height))
        .int(2, u64::from(header.width))
        .int(3, header.channels)
        .bytes(4, png)
        .done();
    let value = Message::default().bytes(1, tag.as_bytes()).bytes(4, &image);
    event(wall_time, step, value)
}

/// A piece of text, shown as Markdown.
pub(super) fn text(wall_time: f64, step: u64, tag: &str, text: &str) -> Vec<u8> {
    const DT_STRING: u64 = 7;
    let tensor = Message::default()
        .int(1, DT_STRING)
        .bytes(2, &[])
        .bytes(8, text.as_bytes())
        .done();
    let plugin = Message::default().bytes(1, b"text").done();
    let metadata = Message::default().bytes(1, &plugin).done();
    let value = Message::default()
        .bytes(1, tag.as_bytes())
        .bytes(8, &tensor)
        .bytes(9, &metadata);
    event(wall_time, step, value)
}

/// What the first chunk of a PNG file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PngHeader {
    width: u32,
    height: u32,
    channels: u64,
}

impl PngHeader {
    /// Reads it; `None` when the bytes are no PNG file.
    pub(super) fn read(png: &[u8]) -> Option<Self> {
        // PNG specification, third edition, §5.2 and §11.2.1: signature, length 13, "IHDR", width, height, depth, type.
        let rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR")?;
        let (width, rest) = rest.split_first_chunk::<4>()?;
        let (height, rest) = rest.split_first_chunk::<4>()?;
        let channels = match rest.get(1)? {
            0 => 1,
            2 | 3 => 3,
            4 => 2,
            6 => 4,
            _ => return None,
        };
        Some(Self {
            width: u32::from_be_bytes(*width),
            height: u32::from_be_bytes(*height),
            channels,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_carry_both_masked_checksums() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720's polynomial, the usual check value); masked by hand:
        // rotate right by 15 gives 2507c60d, plus a282ead8 is c78ab0e5.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked_crc(b"123456789"), 0xc78a_b0e5);
        let framed = record(b"123456789");
        assert_eq!(framed.len(), 8 + 4 + 9 + 4);
        assert_eq!(framed[..8], 9_u64.to_le_bytes());
        assert_eq!(
            framed[8..12],
            masked_crc(&9_u64.to_le_bytes()).to_le_bytes()
        );
        assert_eq!(framed[21..], 0xc78a_b0e5_u32.to_le_bytes());
    }

    #[test]
    fn messages_have_the_bytes_of_protocol_buffers() {
        // Field 2, varint 300: the example of the encoding guide (there field 1).
        assert_eq!(Message::default().int(2, 300).done(), [0x10, 0xac, 0x02]);
        assert_eq!(
            Message::default().bytes(2, b"testing").done(),
            [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]
        );
        assert_eq!(
            Message::default().float(2, 1.0).done(),
            [0x15, 0, 0, 0x80, 0x3f]
        );
    }

    #[test]
    fn only_png_files_have_a_png_header() {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        png.extend_from_slice(&[0, 0, 0, 3, 0, 0, 1, 0, 8, 2]);
        let header = PngHeader {
            width: 3,
            height: 256,
            channels: 3,
        };
        assert_eq!(PngHeader::read(&png), Some(header));
        assert_eq!(PngHeader::read(&png[..20]), None);
        assert_eq!(PngHeader::read(b"GIF89a"), None);
    }
}
