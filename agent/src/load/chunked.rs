//! Chunked transfer coding (RFC 9112, 7.1): finds where the body's data lies and where it ends.

use std::ops::Range;

/// The longest chunk header or trailer section.
const LINE_LIMIT: u32 = 16 << 10;

/// The state between two reads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chunks {
    place: Place,
    left: u64,
    digits: u8,
    line: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    TrailerLine,
    TrailerEnd,
}

#[derive(Debug)]
pub(crate) struct Step {
    /// Where data stands in the bytes given.
    pub(crate) data: Range<usize>,
    /// How many bytes were used.
    pub(crate) used: usize,
    pub(crate) ended: bool,
}

impl Chunks {
    /// Reads up to the end of the next piece of data, the end of the body, or the end of `bytes`;
    /// `None` when the coding is broken.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<Step> {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.place == Place::Data {
                let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= length as u64;
                if self.left == 0 {
                    self.place = Place::DataCr;
                }
                return Some(Step { data: at..at + length, used: at + length, ended: false });
            }
            if self.framing(byte)? {
                return Some(Step { data: 0..0, used: at + 1, ended: true });
            }
        }
        Some(Step { data: 0..0, used: bytes.len(), ended: false })
    }

    /// Takes one byte that is not data; true when it ended the body.
    fn framing(&mut self, byte: u8) -> Option<bool> {
        self.line += 1;
        if self.line > LINE_LIMIT {
            return None;
        }
        self.place = match (self.place, byte) {
            (Place::Size, digit) if digit.is_ascii_hexdigit() => {
                self.digits += 1;
                if self.digits > 15 {
                    return None;
                }
                let value = char::from(digit).to_digit(16)?;
                self.left = self.left * 16 + u64::from(value);
                Place::Size
            }
            (Place::Size, _) if self.digits == 0 => return None,
            (Place::Size | Place::Extension, b'\r') => Place::SizeEnd,
            (Place::Size | Place::Extension | Place::SizeEnd, b'\n') => self.size_line_ended(),
            (Place::Size, b';' | b' ' | b'\t') => Place::Extension,
            (Place::Extension, _) => Place::Extension,
            (Place::DataCr, b'\r') => Place::DataLf,
            (Place::DataCr | Place::DataLf, b'\n') => {
                self.line = 0;
                Place::Size
            }
            (Place::Trailer, b'\r') => Place::TrailerEnd,
            (Place::Trailer | Place::TrailerEnd, b'\n') => return Some(true),
            (Place::TrailerLine, b'\n') => Place::Trailer,
            (Place::Trailer | Place::TrailerLine, _) => Place::TrailerLine,
            (
                Place::Size
                | Place::SizeEnd
                | Place::Data
                | Place::DataCr
                | Place::DataLf
                | Place::TrailerEnd,
                _,
            ) => {
                return None;
            }
        };
        Some(false)
    }

    fn size_line_ended(&mut self) -> Place {
        self.digits = 0;
        self.line = 0;
        if self.left == 0 { Place::Trailer } else { Place::Data }
    }
}
