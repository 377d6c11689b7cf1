//! A short text in visible ASCII, written on the stack: the ids that every head gets, without what formatting costs.
//! Pure.

/// Bytes of a text; what is longer is none.
pub const SHORT_BYTES_MAX: usize = 128;

const DIGITS: [&[u8]; 16] =
    [b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"a", b"b", b"c", b"d", b"e", b"f"];

/// See the module's doc.
#[derive(Clone, Copy, Debug)]
pub struct ShortText {
    bytes: [u8; SHORT_BYTES_MAX],
    length: usize,
    is_whole: bool,
}

/// What is shown in a short text.
pub trait Shown {
    /// Appends it.
    fn show(&self, text: &mut ShortText);
}

impl Shown for str {
    fn show(&self, text: &mut ShortText) {
        text.push(self.as_bytes());
    }
}

impl ShortText {
    /// Returns what is shown.
    pub fn of<S: Shown + ?Sized>(shown: &S) -> Self {
        let mut text = Self { bytes: [0; SHORT_BYTES_MAX], length: 0, is_whole: true };
        shown.show(&mut text);
        text
    }

    /// Returns the text; nothing, if it was longer than may be.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        self.is_whole.then(|| &self.bytes[..self.length])
    }

    /// Appends bytes of visible ASCII.
    pub fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        match self.bytes.get_mut(self.length..end) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.length = end;
            }
            None => self.is_whole = false,
        }
    }

    /// Appends a number in hexadecimal, with so many digits at least.
    pub fn push_hex(&mut self, number: u64, digits_min: u32) {
        let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(digits_min).min(u64::BITS / 4);
        for at in (0..digits).rev() {
            let digit = number >> (4 * at) & 0xf;
            // Of the sixteen there are, whatever the number is.
            self.push(DIGITS[usize::try_from(digit).unwrap_or_default()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(number: u64, digits_min: u32) -> String {
        let mut text = ShortText::of("");
        text.push_hex(number, digits_min);
        String::from_utf8(text.bytes().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn text_that_is_too_long_is_none() {
        let longest = "x".repeat(SHORT_BYTES_MAX);
        assert_eq!(ShortText::of(&*longest).bytes(), Some(longest.as_bytes()));
        let mut text = ShortText::of(&*longest);
        text.push_hex(0, 1);
        assert_eq!(text.bytes(), None);
    }

    proptest! {
        #[test]
        fn number_is_written_as_formatting_does(number in any::<u64>(), shift in 0_u32..64) {
            let number = number >> shift;
            prop_assert_eq!(hex(number, 1), format!("{number:x}"));
            prop_assert_eq!(hex(number, 8), format!("{number:08x}"));
            prop_assert_eq!(hex(number, 16), format!("{number:016x}"));
        }
    }
}
