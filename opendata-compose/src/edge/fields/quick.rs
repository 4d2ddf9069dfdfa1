//! The short way through a payload that is what most are: one object of plain texts, numbers and constants.
//!
//! It reads only what it understands without doubt, and gives up on everything else: escapes, letters beyond ASCII, lists, objects, long numbers, and
//! whatever is wrong. The long way then says what is there, so both always agree.

use super::{Leaf, Node};

/// Reads an object, of whose fields a node without deeper ones asks for some. None: the long way must be gone, and `found` is not to be looked at.
pub(super) fn read<'a>(node: &Node, payload: &'a [u8], found: &mut [Leaf<'a>]) -> Option<()> {
    let mut rest = Rest(payload);
    rest.mark(b'{')?;
    if rest.peek()? == b'}' {
        rest.skip(1);
        return rest.end();
    }
    loop {
        let name = rest.text()?.as_bytes();
        rest.mark(b':')?;
        let value = rest.value()?;
        let asked = node.fields.iter().find(|(field, _)| field.as_bytes() == name);
        if let Some(leaf) = asked.and_then(|(_, node)| node.slot).and_then(|slot| found.get_mut(slot)) {
            // Of a name that occurs twice the last one counts.
            *leaf = value;
        }
        match rest.peek()? {
            b',' => rest.skip(1),
            b'}' => {
                rest.skip(1);
                return rest.end();
            }
            _ => return None,
        }
    }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn skip(&mut self, bytes: usize) {
        self.0 = self.0.get(bytes..).unwrap_or_default();
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', rest)) = self.0.split_first() {
            self.0 = rest;
        }
        self.0.first().copied()
    }

    fn mark(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.skip(1))
    }

    fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// A text without anything special in it.
    fn text(&mut self) -> Option<&'a str> {
        self.mark(b'"')?;
        let special = |byte: &u8| *byte == b'"' || *byte == b'\\' || !(b' '..=b'~').contains(byte);
        let length = self.0.iter().position(special)?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        self.mark(b'"')?;
        std::str::from_utf8(text).ok()
    }

    fn value(&mut self) -> Option<Leaf<'a>> {
        match self.peek()? {
            b'"' => self.text().map(|text| Leaf::Text(text.into())),
            b'n' => self.word(b"null", Leaf::Null),
            b't' => self.word(b"true", Leaf::Bool(true)),
            b'f' => self.word(b"false", Leaf::Bool(false)),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8], leaf: Leaf<'a>) -> Option<Leaf<'a>> {
        self.0 = self.0.strip_prefix(word)?;
        Some(leaf)
    }

    /// A number. Whole ones of up to 18 digits are read here; of the others only where they end is found here.
    fn number(&mut self) -> Option<Leaf<'a>> {
        let digits = self.0.strip_prefix(b"-").unwrap_or(self.0);
        let count = digits.iter().position(|byte| !byte.is_ascii_digit())?;
        let (whole, behind) = digits.split_at_checked(count)?;
        if matches!(behind.first(), Some(b'.' | b'e' | b'E')) {
            return self.fraction();
        }
        let is_plain = (1..=18).contains(&count) && (whole.first() != Some(&b'0') || count == 1);
        let size = whole.iter().fold(0_i64, |number, digit| number.wrapping_mul(10) + i64::from(digit - b'0'));
        let is_negative = digits.len() < self.0.len();
        // Minus zero is no integer.
        if !is_plain || is_negative && size == 0 {
            return None;
        }
        self.0 = behind;
        Some(Leaf::Int(if is_negative { -size } else { size }))
    }

    fn fraction(&mut self) -> Option<Leaf<'a>> {
        let belongs = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
        let length = self.0.iter().position(|byte| !belongs(byte))?;
        let (number, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        serde_json::from_slice(number).ok().map(Leaf::Float)
    }
}
