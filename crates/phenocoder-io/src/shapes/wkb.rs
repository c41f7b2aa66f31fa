//! Well-known binary, OGC's form of geometries: ISO 13249-3 and the extended form of `PostGIS`.

use super::geometry::{Geometries, Geometry, GeometryKind};

/// How deep collections may be nested.
const MAX_DEPTH: usize = 8;

type Result<T> = std::result::Result<T, String>;

/// Reads bytes of either order.
#[derive(Debug)]
struct Reader<'a> {
    rest: &'a [u8],
}

/// The head of a geometry.
#[derive(Debug, Clone, Copy)]
struct Head {
    is_little: bool,
    kind: u32,
    /// How many numbers a vertex has, with `z` and `m`.
    width: usize,
    has_z: bool,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8> {
        let (&byte, rest) = self.rest.split_first().ok_or("it is cut short")?;
        self.rest = rest;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or("it is cut short")?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn u32(&mut self, is_little: bool) -> Result<u32> {
        let bytes = self.array()?;
        Ok(if is_little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    fn f64(&mut self, is_little: bool) -> Result<f64> {
        let bytes = self.array()?;
        Ok(if is_little {
            f64::from_le_bytes(bytes)
        } else {
            f64::from_be_bytes(bytes)
        })
    }

    /// A number of things of which each takes at least so many bytes.
    fn count(&mut self, is_little: bool, bytes_each: usize) -> Result<usize> {
        let n = self.u32(is_little)? as usize;
        if n.checked_mul(bytes_each)
            .is_none_or(|bytes| bytes > self.rest.len())
        {
            return Err(format!("it claims {n} parts, more than its bytes can hold"));
        }
        Ok(n)
    }

    fn head(&mut self) -> Result<Head> {
        let is_little = match self.byte()? {
            0 => false,
            1 => true,
            other => return Err(format!("the byte order {other} is not known")),
        };
        let code = self.u32(is_little)?;
        // EWKB has flags for z, m and an identifier of a coordinate system, ISO adds thousands.
        let (mut has_z, mut has_m) = (code & 0x8000_0000 != 0, code & 0x4000_0000 != 0);
        if code & 0x2000_0000 != 0 {
            self.u32(is_little)?;
        }
        let code = code & 0x0FFF_FFFF;
        match code / 1000 {
            0 => {}
            1 => has_z = true,
            2 => has_m = true,
            3 => (has_z, has_m) = (true, true),
            _ => return Err(format!("the type {code} is not known")),
        }
        Ok(Head {
            is_little,
            kind: code % 1000,
            width: 2 + usize::from(has_z) + usize::from(has_m),
            has_z,
        })
    }

    fn vertices(&mut self, head: Head, n: usize, out: &mut Geometries) -> Result<()> {
        let d = out.dimensions();
        out.reserve_vertices(n);
        for _ in 0..n {
            let mut vertex = [0.0; 4];
            for value in &mut vertex[..head.width] {
                *value = self.f64(head.is_little)?;
            }
            out.add_vertex(&vertex[..d]);
        }
        Ok(())
    }

    fn rings(&mut self, head: Head, out: &mut Geometries) -> Result<()> {
        for _ in 0..self.count(head.is_little, 4)? {
            let n = self.count(head.is_little, head.width * 8)?;
            if (1..4).contains(&n) {
                return Err(format!("a ring has {n} vertices, at least 4 are needed"));
            }
            self.vertices(head, n, out)?;
            if !out.is_closed() {
                return Err("the last vertex of a ring does not repeat the first".to_owned());
            }
            out.end_ring();
        }
        out.end_polygon();
        Ok(())
    }

    /// Reads the polygons in a multipolygon, or in a collection of such.
    fn polygons(&mut self, head: Head, depth: usize, out: &mut Geometries) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        for _ in 0..self.count(head.is_little, 9)? {
            let part = self.head()?;
            if part.has_z != head.has_z {
                return Err("vertices with and without z are mixed".to_owned());
            }
            match part.kind {
                3 => self.rings(part, out)?,
                6 | 7 if head.kind == 7 => self.polygons(part, depth + 1, out)?,
                other => return Err(format!("a part of type {other} is no polygon")),
            }
        }
        Ok(())
    }
}

/// How many dimensions a geometry has: 2 or 3.
pub(super) fn dimensions(bytes: &[u8]) -> Result<usize> {
    let head = Reader { rest: bytes }.head()?;
    Ok(if head.has_z { 3 } else { 2 })
}

/// Appends a geometry.
///
/// After an error `out` is not complete and must not be used.
pub(super) fn read(bytes: &[u8], out: &mut Geometries) -> Result<()> {
    let mut reader = Reader { rest: bytes };
    let head = reader.head()?;
    if (if head.has_z { 3 } else { 2 }) != out.dimensions() {
        return Err("geometries with and without z are mixed".to_owned());
    }
    match head.kind {
        1 => {
            let mut point = [0.0; 4];
            for value in &mut point[..head.width] {
                *value = reader.f64(head.is_little)?;
            }
            let d = out.dimensions();
            out.add_point(&point[..d]);
        }
        3 => {
            reader.rings(head, out)?;
            out.end_object(GeometryKind::Polygon);
        }
        6 | 7 => {
            reader.polygons(head, 1, out)?;
            out.end_object(GeometryKind::MultiPolygon);
        }
        other => {
            return Err(format!(
                "the type {other} is no point, polygon or multipolygon"
            ));
        }
    }
    if reader.rest.is_empty() {
        Ok(())
    } else {
        Err(format!("{} bytes follow its end", reader.rest.len()))
    }
}

/// Appends the bytes of a geometry, little-endian ISO.
pub(super) fn write(geometry: &Geometry<'_>, out: &mut Vec<u8>) {
    let offset = if geometry.dimensions() == 3 { 1000 } else { 0 };
    let head = |out: &mut Vec<u8>, kind: u32| {
        out.push(1);
        out.extend((kind + offset).to_le_bytes());
    };
    // Offsets into a vector of numbers are below 2^32 in a file; longer ones do not fit a Parquet value.
    let count = |out: &mut Vec<u8>, n: usize| {
        out.extend(u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes())
    };
    let numbers = |out: &mut Vec<u8>, values: &[f64]| {
        out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    };
    let polygon = |out: &mut Vec<u8>, polygon: &super::geometry::Polygon<'_>| {
        head(out, 3);
        count(out, polygon.rings().len());
        for ring in polygon.rings() {
            count(out, ring.len());
            numbers(out, ring.coordinates());
        }
    };
    match geometry.kind() {
        GeometryKind::Point => {
            head(out, 1);
            numbers(out, geometry.coordinates());
        }
        GeometryKind::Polygon => geometry.polygons().take(1).for_each(|p| polygon(out, &p)),
        GeometryKind::MultiPolygon => {
            head(out, 6);
            count(out, geometry.polygons().len());
            geometry.polygons().for_each(|p| polygon(out, &p));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Geometries {
        let mut shapes = Geometries::new(2).unwrap();
        let ring = [0.0, 0.0, 3.0, 0.0, 3.0, 3.0, 0.0, 0.0];
        let hole = [1.0, 0.5, 2.0, 0.5, 2.0, 1.0, 1.0, 0.5];
        shapes.push_polygon([ring.as_slice(), &hole]).unwrap();
        shapes
            .push_multipolygon([vec![ring.as_slice()], vec![hole.as_slice()]])
            .unwrap();
        shapes.push_point(&[5.0, -6.0]).unwrap();
        shapes
    }

    fn bytes(shapes: &Geometries, at: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&shapes.get(at).unwrap(), &mut bytes);
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let shapes = sample();
        let mut read_back = Geometries::new(2).unwrap();
        for at in 0..shapes.len() {
            read(&bytes(&shapes, at), &mut read_back).unwrap();
        }
        assert_eq!(read_back, shapes);
    }

    #[test]
    fn both_byte_orders_and_both_forms_of_z_are_read() {
        let mut iso = vec![1];
        iso.extend(1001_u32.to_le_bytes());
        let mut extended = vec![0];
        extended.extend(0xA000_0001_u32.to_be_bytes());
        extended.extend(4326_u32.to_be_bytes());
        for value in [1.0, 2.0, 3.0_f64] {
            iso.extend(value.to_le_bytes());
            extended.extend(value.to_be_bytes());
        }
        for bytes in [iso, extended] {
            assert_eq!(dimensions(&bytes), Ok(3));
            let mut out = Geometries::new(3).unwrap();
            read(&bytes, &mut out).unwrap();
            assert_eq!(out.coordinates(), [1.0, 2.0, 3.0]);
            assert!(read(&bytes, &mut Geometries::new(2).unwrap()).is_err());
        }
    }

    #[test]
    fn bytes_that_are_cut_anywhere_are_an_error() {
        let shapes = sample();
        for at in 0..shapes.len() {
            let whole = bytes(&shapes, at);
            for len in 0..whole.len() {
                assert!(
                    read(&whole[..len], &mut Geometries::new(2).unwrap()).is_err(),
                    "{at} {len}"
                );
            }
            let long = [whole.as_slice(), &[0]].concat();
            assert!(read(&long, &mut Geometries::new(2).unwrap()).is_err());
        }
    }

    #[test]
    fn counts_beyond_the_bytes_and_deep_nesting_take_no_memory() {
        for kind in [3_u32, 6, 7] {
            let mut huge = vec![1];
            huge.extend(kind.to_le_bytes());
            huge.extend(u32::MAX.to_le_bytes());
            let mut out = Geometries::new(2).unwrap();
            assert!(read(&huge, &mut out).is_err());
            huge.truncate(5);
            huge.extend(1_u32.to_le_bytes());
            huge.extend(u32::MAX.to_le_bytes());
            assert!(read(&huge, &mut out).is_err());
        }
        let mut deep = Vec::new();
        for _ in 0..100 {
            deep.push(1);
            deep.extend(7_u32.to_le_bytes());
            deep.extend(1_u32.to_le_bytes());
        }
        let error = read(&deep, &mut Geometries::new(2).unwrap()).unwrap_err();
        assert!(error.contains("nested"), "{error}");
    }

    #[test]
    fn any_flipped_bit_is_survived() {
        let shapes = sample();
        for at in 0..shapes.len() {
            let whole = bytes(&shapes, at);
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let mut out = Geometries::new(2).unwrap();
                if read(&flipped, &mut out).is_ok() {
                    assert_eq!(out.len(), 1);
                }
            }
        }
    }
}
