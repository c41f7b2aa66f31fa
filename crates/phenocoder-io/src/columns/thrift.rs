//! As much of Thrift's compact protocol as the metadata of Parquet need.
//!
//! The parquet crate reads the footer; page headers are read here, so that sizes are checked before memory is taken.
//! Protocol: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

use parquet::basic::Encoding;

/// How deep structures that are skipped may be nested.
const MAX_DEPTH: usize = 16;

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They end too early.
    Cut,
    /// They cannot be one, whatever follows.
    Wrong,
}

type Result<T> = std::result::Result<T, Fault>;

/// Bytes that are read from front to back.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

/// What a field of a structure holds.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    fn byte(&mut self) -> Result<u8> {
        let (&byte, rest) = self.rest.split_first().ok_or(Fault::Cut)?;
        self.rest = rest;
        Ok(byte)
    }

    fn advance(&mut self, n: u64) -> Result<()> {
        let n = usize::try_from(n).map_err(|_| Fault::Cut)?;
        self.rest = self.rest.get(n..).ok_or(Fault::Cut)?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Wrong)
    }

    fn zigzag(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn int(&mut self) -> Result<i32> {
        i32::try_from(self.zigzag()?).map_err(|_| Fault::Wrong)
    }

    fn size(&mut self) -> Result<u32> {
        u32::try_from(self.zigzag()?).map_err(|_| Fault::Wrong)
    }

    /// The number and type of the next field, or `None` at the end of a structure.
    fn field(&mut self, last: &mut i16) -> Result<Option<u8>> {
        let byte = self.byte()?;
        let kind = byte & 0x0F;
        if kind == 0 {
            return Ok(None);
        }
        let delta = i16::from(byte >> 4);
        *last = if delta == 0 {
            i16::try_from(self.zigzag()?).map_err(|_| Fault::Wrong)?
        } else {
            last.checked_add(delta).ok_or(Fault::Wrong)?
        };
        Ok(Some(kind))
    }

    /// The number and type of the entries of a list.
    fn list(&mut self) -> Result<(u64, u8)> {
        let byte = self.byte()?;
        let n = match byte >> 4 {
            15 => self.varint()?,
            n => u64::from(n),
        };
        if n > self.left() as u64 {
            return Err(Fault::Cut);
        }
        Ok((n, byte & 0x0F))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Fault::Wrong);
        }
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.byte().map(|_| ()),
            I16 | I32 | I64 => self.varint().map(|_| ()),
            DOUBLE => self.advance(8),
            BINARY => {
                let n = self.varint()?;
                self.advance(n)
            }
            LIST | SET => {
                let (n, kind) = self.list()?;
                for _ in 0..n {
                    // Truth values in a list take a byte each.
                    let kind = if kind == TRUE || kind == FALSE {
                        BYTE
                    } else {
                        kind
                    };
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            MAP => {
                let n = self.varint()?;
                if n > self.left() as u64 {
                    return Err(Fault::Cut);
                }
                if n == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                for _ in 0..n {
                    self.skip(kinds >> 4, depth + 1)?;
                    self.skip(kinds & 0x0F, depth + 1)?;
                }
                Ok(())
            }
            STRUCT => {
                let mut last = 0;
                while let Some(kind) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            _ => Err(Fault::Wrong),
        }
    }

    fn encoding(&mut self) -> Result<Encoding> {
        Ok(match self.int()? {
            0 => Encoding::PLAIN,
            2 => Encoding::PLAIN_DICTIONARY,
            3 => Encoding::RLE,
            #[expect(deprecated, reason = "files of other writers have it")]
            4 => Encoding::BIT_PACKED,
            5 => Encoding::DELTA_BINARY_PACKED,
            6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
            7 => Encoding::DELTA_BYTE_ARRAY,
            8 => Encoding::RLE_DICTIONARY,
            9 => Encoding::BYTE_STREAM_SPLIT,
            _ => return Err(Fault::Wrong),
        })
    }
}

/// The header of a page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PageHeader {
    pub(crate) unpacked: u32,
    pub(crate) packed: u32,
    pub(crate) crc: Option<u32>,
    pub(crate) kind: PageKind,
}

/// What a page is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PageKind {
    /// Values, with the levels of repetition and definition packed along.
    Data {
        n: u32,
        encoding: Encoding,
        definition: Encoding,
        repetition: Encoding,
    },
    /// Values, with the levels in front, not packed.
    DataV2 {
        n: u32,
        nulls: u32,
        rows: u32,
        encoding: Encoding,
        definition_bytes: u32,
        repetition_bytes: u32,
        is_packed: bool,
    },
    /// The values that the others point to.
    Dictionary {
        n: u32,
        encoding: Encoding,
        is_sorted: bool,
    },
    /// Something that can be passed over.
    Other,
}

impl PageHeader {
    /// Reads a header and says how long it is.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, usize)> {
        let mut cursor = Cursor::new(bytes);
        let (mut page_type, mut unpacked, mut packed, mut crc) = (None, None, None, None);
        let (mut data, mut dictionary, mut data_v2) = (None, None, None);
        let mut field = 0;
        while let Some(kind) = cursor.field(&mut field)? {
            match (field, kind) {
                (1, I32) => page_type = Some(cursor.int()?),
                (2, I32) => unpacked = Some(cursor.size()?),
                (3, I32) => packed = Some(cursor.size()?),
                (4, I32) => crc = Some(cursor.int()?.cast_unsigned()),
                (5, STRUCT) => data = Some(parse_data(&mut cursor)?),
                (7, STRUCT) => dictionary = Some(parse_dictionary(&mut cursor)?),
                (8, STRUCT) => data_v2 = Some(parse_data_v2(&mut cursor)?),
                _ => cursor.skip(kind, 0)?,
            }
        }
        let kind = match page_type.ok_or(Fault::Wrong)? {
            0 => data.ok_or(Fault::Wrong)?,
            2 => dictionary.ok_or(Fault::Wrong)?,
            3 => data_v2.ok_or(Fault::Wrong)?,
            _ => PageKind::Other,
        };
        let header = Self {
            unpacked: unpacked.ok_or(Fault::Wrong)?,
            packed: packed.ok_or(Fault::Wrong)?,
            crc,
            kind,
        };
        Ok((header, bytes.len() - cursor.left()))
    }
}

/// The header of a new page with a checksum in it; `None` where it has one already or no place for one.
pub(crate) fn with_crc(header: &[u8], crc: u32) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(header);
    let mut field = 0;
    for expected in 1..=3 {
        if (cursor.field(&mut field).ok()?, field) != (Some(I32), expected) {
            return None;
        }
        cursor.varint().ok()?;
    }
    // The number of a field is told by how much greater it is than the last one.
    let (head, rest) = header.split_at(header.len() - cursor.left());
    let (&next, tail) = rest.split_first()?;
    let kind = next & 0x0F;
    if next >> 4 < 2 || kind != STRUCT {
        return None;
    }
    let mut out = Vec::with_capacity(header.len() + 6);
    out.extend(head);
    out.push(0x10 | I32);
    let value = crc.cast_signed();
    let mut zigzag = ((value << 1) ^ (value >> 31)).cast_unsigned();
    while zigzag >= 0x80 {
        out.push((zigzag & 0x7F) as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
    out.push(next - 0x10);
    out.extend(tail);
    Some(out)
}

fn parse_data(cursor: &mut Cursor<'_>) -> Result<PageKind> {
    let (mut n, mut encoding, mut definition, mut repetition) = (None, None, None, None);
    let mut field = 0;
    while let Some(kind) = cursor.field(&mut field)? {
        match (field, kind) {
            (1, I32) => n = Some(cursor.size()?),
            (2, I32) => encoding = Some(cursor.encoding()?),
            (3, I32) => definition = Some(cursor.encoding()?),
            (4, I32) => repetition = Some(cursor.encoding()?),
            _ => cursor.skip(kind, 0)?,
        }
    }
    Ok(PageKind::Data {
        n: n.ok_or(Fault::Wrong)?,
        encoding: encoding.ok_or(Fault::Wrong)?,
        definition: definition.ok_or(Fault::Wrong)?,
        repetition: repetition.ok_or(Fault::Wrong)?,
    })
}

fn parse_data_v2(cursor: &mut Cursor<'_>) -> Result<PageKind> {
    let (mut n, mut nulls, mut rows, mut encoding) = (None, None, None, None);
    let (mut definition_bytes, mut repetition_bytes, mut is_packed) = (None, None, true);
    let mut field = 0;
    while let Some(kind) = cursor.field(&mut field)? {
        match (field, kind) {
            (1, I32) => n = Some(cursor.size()?),
            (2, I32) => nulls = Some(cursor.size()?),
            (3, I32) => rows = Some(cursor.size()?),
            (4, I32) => encoding = Some(cursor.encoding()?),
            (5, I32) => definition_bytes = Some(cursor.size()?),
            (6, I32) => repetition_bytes = Some(cursor.size()?),
            (7, TRUE | FALSE) => is_packed = kind == TRUE,
            _ => cursor.skip(kind, 0)?,
        }
    }
    Ok(PageKind::DataV2 {
        n: n.ok_or(Fault::Wrong)?,
        nulls: nulls.ok_or(Fault::Wrong)?,
        rows: rows.ok_or(Fault::Wrong)?,
        encoding: encoding.ok_or(Fault::Wrong)?,
        definition_bytes: definition_bytes.ok_or(Fault::Wrong)?,
        repetition_bytes: repetition_bytes.ok_or(Fault::Wrong)?,
        is_packed,
    })
}

fn parse_dictionary(cursor: &mut Cursor<'_>) -> Result<PageKind> {
    let (mut n, mut encoding, mut is_sorted) = (None, None, false);
    let mut field = 0;
    while let Some(kind) = cursor.field(&mut field)? {
        match (field, kind) {
            (1, I32) => n = Some(cursor.size()?),
            (2, I32) => encoding = Some(cursor.encoding()?),
            (3, TRUE | FALSE) => is_sorted = kind == TRUE,
            _ => cursor.skip(kind, 0)?,
        }
    }
    Ok(PageKind::Dictionary {
        n: n.ok_or(Fault::Wrong)?,
        encoding: encoding.ok_or(Fault::Wrong)?,
        is_sorted,
    })
}

/// How deep the columns of a footer are nested, read without recursion.
///
/// The parquet crate follows the nesting by recursion, which a hostile footer would turn into a stack overflow.
pub(crate) fn schema_depth(footer: &[u8]) -> Result<usize> {
    let mut cursor = Cursor::new(footer);
    let mut field = 0;
    while let Some(kind) = cursor.field(&mut field)? {
        if (field, kind) != (2, LIST) {
            cursor.skip(kind, 0)?;
            continue;
        }
        let (n, entry) = cursor.list()?;
        if entry != STRUCT {
            return Err(Fault::Wrong);
        }
        // For each group that is open, how many of its children are to come.
        let mut open: Vec<u32> = Vec::new();
        let mut deepest = 0;
        for _ in 0..n {
            let mut children = 0;
            let mut field = 0;
            while let Some(kind) = cursor.field(&mut field)? {
                match (field, kind) {
                    (5, I32) => children = cursor.size()?,
                    _ => cursor.skip(kind, 0)?,
                }
            }
            if let Some(last) = open.last_mut() {
                *last = last.saturating_sub(1);
            }
            if children > 0 {
                open.push(children);
                deepest = deepest.max(open.len());
            }
            while open.last() == Some(&0) {
                open.pop();
            }
        }
        return Ok(deepest);
    }
    Err(Fault::Wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data page of 5 values: type 0, unpacked 40, packed 22.
    const HEADER: &[u8] = &[
        0x15, 0x00, 0x15, 0x50, 0x15, 0x2C, 0x2C, 0x15, 0x0A, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06,
        0x00, 0x00,
    ];

    #[test]
    fn a_page_header_is_read() {
        let (header, len) = PageHeader::parse(&[HEADER, &[7, 7]].concat()).unwrap();
        assert_eq!(len, HEADER.len());
        assert_eq!((header.unpacked, header.packed), (40, 22));
        let kind = PageKind::Data {
            n: 5,
            encoding: Encoding::PLAIN,
            definition: Encoding::RLE,
            repetition: Encoding::RLE,
        };
        assert_eq!(header.kind, kind);
    }

    #[test]
    fn a_checksum_is_put_into_a_header() {
        for crc in [0, 1, 0x7F, 0x8000_0000, u32::MAX, 0xCAFE_F00D] {
            let sealed = with_crc(HEADER, crc).unwrap();
            let (header, len) = PageHeader::parse(&sealed).unwrap();
            assert_eq!((header.crc, len), (Some(crc), sealed.len()));
            let (plain, _) = PageHeader::parse(HEADER).unwrap();
            assert_eq!(
                PageHeader {
                    crc: None,
                    ..header
                },
                plain
            );
            assert_eq!(with_crc(&sealed, crc), None);
        }
        for len in 0..7 {
            assert_eq!(with_crc(&HEADER[..len], 1), None);
        }
    }

    #[test]
    fn a_header_that_is_cut_anywhere_is_cut() {
        for len in 0..HEADER.len() {
            assert_eq!(PageHeader::parse(&HEADER[..len]), Err(Fault::Cut), "{len}");
        }
    }

    #[test]
    fn negative_sizes_and_deep_nesting_are_wrong() {
        assert_eq!(
            PageHeader::parse(&[0x15, 0x00, 0x15, 0x01]),
            Err(Fault::Wrong)
        );
        let deep = [0xF0 | STRUCT; 100];
        assert_eq!(PageHeader::parse(&deep), Err(Fault::Wrong));
        let long = [
            0x15, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        ];
        assert_eq!(PageHeader::parse(&long), Err(Fault::Wrong));
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_survived() {
        for bit in 0..HEADER.len() * 8 {
            let mut bytes = HEADER.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = PageHeader::parse(&bytes);
            let _ = schema_depth(&bytes);
        }
    }

    #[test]
    fn the_depth_of_a_schema_is_found_without_recursion() {
        let mut footer = vec![0x15, 0x02, 0x19, 0xFC, 0xA0, 0x8D, 0x06];
        for _ in 0..100_000 {
            footer.extend([0x55, 0x02, 0x00]);
        }
        footer.push(0x00);
        assert_eq!(schema_depth(&footer), Ok(100_000));
    }
}
