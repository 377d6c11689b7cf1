//! Follows a chunked body to its end, strictly, without decoding it. Pure.
//!
//! Sizes are 1 to 15 hex digits; extensions are allowed up to a bound and must be free of control bytes; every line
//! ends in CRLF; trailers have a name and are bounded. Anything else is an error: nothing ambiguous is passed on.

use super::head::{Fault, is_token};

/// Bytes of one chunk-size line with its extension.
const SIZE_LINE_BYTES_MAX: u32 = 256;
/// Bytes of all trailers together.
const TRAILER_BYTES_MAX: u32 = 8 * 1024;

/// Where in a chunked body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the hex digits of a size.
    Size { digits: u8, size: u64, line: u32 },
    /// In a chunk extension.
    Extension { size: u64, line: u32 },
    /// After the CR of a size line.
    SizeLf { size: u64 },
    /// In data: bytes left.
    Data { left: u64 },
    /// At the CR after data.
    DataCr,
    /// At the LF after data.
    DataLf,
    /// At the beginning of a trailer line.
    TrailerStart { total: u32 },
    /// In the name of a trailer.
    TrailerName { total: u32 },
    /// In the value of a trailer.
    Trailer { total: u32 },
    /// After the CR of a trailer line.
    TrailerLf { total: u32 },
    /// After the CR of the last line.
    EndLf,
    /// Past the end.
    End,
}

/// Follows one chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunked {
    at: At,
    /// Data bytes that may still come.
    allowance: u64,
}

impl Chunked {
    /// Returns a follower of a body of at most `body_bytes_max` data bytes.
    #[must_use]
    pub fn new(body_bytes_max: u64) -> Self {
        Self { at: At::Size { digits: 0, size: 0, line: 0 }, allowance: body_bytes_max }
    }

    /// Takes in `bytes` and returns how many of them belong to the body; fewer than all only at its end.
    ///
    /// # Errors
    /// [`Fault::BadRequest`] where the coding is broken, [`Fault::BodyTooLarge`] over the bound.
    pub fn take_in(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut n = 0;
        while n < bytes.len() && self.at != At::End {
            if let At::Data { left } = self.at {
                let data = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - n);
                n += data;
                let left = left - data as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data { left } };
            } else {
                self.at = self.step(bytes[n])?;
                n += 1;
            }
        }
        Ok(n)
    }

    /// Returns whether the body is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.at == At::End
    }

    fn step(&mut self, byte: u8) -> Result<At, Fault> {
        let bad = |why| Err(Fault::BadRequest(why));
        match (self.at, byte) {
            (At::Size { digits, size, line }, b) if b.is_ascii_hexdigit() => {
                if digits == 15 {
                    return bad("a chunk size has too many digits");
                }
                let digit = u64::from((b as char).to_digit(16).unwrap_or(0));
                Ok(At::Size { digits: digits + 1, size: size << 4 | digit, line: line + 1 })
            }
            (At::Size { digits: 1.., size, .. } | At::Extension { size, .. }, b'\r') => Ok(At::SizeLf { size }),
            (At::Size { digits: 1.., size, line }, b';') => Ok(At::Extension { size, line: line + 1 }),
            (At::Extension { size, line }, b) if (b >= b' ' && b != 0x7f) || b == b'\t' => {
                if line >= SIZE_LINE_BYTES_MAX {
                    return bad("a chunk extension is too long");
                }
                Ok(At::Extension { size, line: line + 1 })
            }
            (At::SizeLf { size: 0 }, b'\n') => Ok(At::TrailerStart { total: 0 }),
            (At::SizeLf { size }, b'\n') => {
                self.allowance = self.allowance.checked_sub(size).ok_or(Fault::BodyTooLarge)?;
                Ok(At::Data { left: size })
            }
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size { digits: 0, size: 0, line: 0 }),
            (At::TrailerStart { .. }, b'\r') => Ok(At::EndLf),
            (At::Trailer { total }, b'\r') => Ok(At::TrailerLf { total }),
            (At::TrailerStart { total } | At::TrailerName { total } | At::Trailer { total }, _)
                if total >= TRAILER_BYTES_MAX =>
            {
                bad("the trailers are too long")
            }
            (At::TrailerStart { total } | At::TrailerName { total }, b) if is_token(b) => {
                Ok(At::TrailerName { total: total + 1 })
            }
            (At::TrailerName { total }, b':') => Ok(At::Trailer { total: total + 1 }),
            (At::TrailerStart { .. } | At::TrailerName { .. }, _) => {
                bad("a trailer has no name, or no colon behind it")
            }
            (At::Trailer { total }, b) if b >= b' ' && b != 0x7f || b == b'\t' => Ok(At::Trailer { total: total + 1 }),
            (At::TrailerLf { total }, b'\n') => Ok(At::TrailerStart { total }),
            (At::EndLf, b'\n') => Ok(At::End),
            _ => bad("the chunked coding is broken"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn follow(body: &[u8], step: usize) -> Result<(usize, bool), Fault> {
        let mut chunked = Chunked::new(1000);
        let mut total = 0;
        for piece in body.chunks(step) {
            let taken = chunked.take_in(piece)?;
            total += taken;
            if taken < piece.len() {
                break;
            }
        }
        Ok((total, chunked.is_over()))
    }

    #[test]
    fn chunked_body_ends_exactly_where_it_ends() {
        for body in [
            &b"0\r\n\r\n"[..],
            b"5\r\nhello\r\n0\r\n\r\n",
            b"A;name=\"v\"\r\n0123456789\r\n1\r\nx\r\n0\r\nTrailer: x\r\n\r\n",
            b"000\r\n\r\n",
        ] {
            let mut with_next = body.to_vec();
            with_next.extend_from_slice(b"GET / HTTP/1.1\r\n");
            for step in [1, 2, 3, 1000] {
                assert_eq!(follow(&with_next, step), Ok((body.len(), true)), "{body:?} by {step}");
            }
        }
    }

    #[test]
    fn chunked_body_that_is_broken_is_refused() {
        for body in [
            &b"\r\n"[..],
            b"5\nhello\r\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhelloX\r\n",
            b"0x5\r\nhello\r\n",
            b"-1\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"FFFFFFFFFFFFFFFFF\r\n",
            b"5;a\0\r\nhello\r\n",
            b"0\r\nTrailer: x\n\r\n",
            b"0\r\nTrailer\r\n\r\n",
            b"0\r\nTrailer : x\r\n\r\n",
            b"0\r\nTrailer: x\r\n y\r\n\r\n",
            b"0\r\n: x\r\n\r\n",
        ] {
            assert!(matches!(follow(body, 1), Err(Fault::BadRequest(_))), "{body:?}");
        }
    }

    #[test]
    fn chunked_body_over_the_bound_is_refused_before_its_data() {
        assert_eq!(follow(b"3e9\r\n", 1), Err(Fault::BodyTooLarge));
        assert_eq!(follow(b"3e8\r\n", 1), Ok((5, false)));
    }

    proptest! {
        #[test]
        fn chunked_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1..50usize) {
            let _ = follow(&bytes, step);
        }
    }
}
