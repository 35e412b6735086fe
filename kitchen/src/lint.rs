// kitchen/src/lint.rs
//! What a build prints that says that its result depends on the machine.
//!
//! The wall hides facts, but no wall without a virtual machine hides what the processor says of itself. A compiler that is told to
//! ask it makes programs for that processor; its command line in the log shows it.

/// Flags that make a compiler ask the processor.
const FLAGS: [&str; 4] = ["-march=native", "-mtune=native", "-mcpu=native", "target-cpu=native"];

/// The longest of them, less one: what is kept of a piece, because the next one may go on with it.
const OVERLAP: usize = 16;

/// Reads the output of a step as it comes.
#[derive(Debug, Default)]
pub(crate) struct Lint {
    end: Vec<u8>,
    found: Option<&'static str>,
}

impl Lint {
    /// Reads one more piece.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        if self.found.is_some() {
            return;
        }
        let kept = self.end.len();
        self.end.extend_from_slice(&bytes[..bytes.len().min(OVERLAP)]);
        self.found = flag_in(&self.end).or_else(|| flag_in(bytes));
        self.end.truncate(kept);
        self.end.extend_from_slice(&bytes[bytes.len().saturating_sub(OVERLAP)..]);
        self.end.drain(..self.end.len().saturating_sub(OVERLAP));
    }

    /// Returns the flag that was seen.
    pub(crate) fn found(&self) -> Option<&'static str> {
        self.found
    }
}

fn flag_in(bytes: &[u8]) -> Option<&'static str> {
    // All of them end in the same word, and few lines of a build hold it.
    let mut from = 0;
    while let Some(at) = find(&bytes[from..], b"=native") {
        let end = from + at + b"=native".len();
        let ends = bytes.get(end).is_none_or(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_'));
        let flag = FLAGS.into_iter().find(|flag| bytes[..end].ends_with(flag.as_bytes()));
        if let (true, Some(flag)) = (ends, flag) {
            return Some(flag);
        }
        from = end;
    }
    None
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + bytes[from..].iter().position(|byte| *byte == wanted[0])?;
        if bytes[at..].starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lint(pieces: &[&str]) -> Option<&'static str> {
        let mut lint = Lint::default();
        for piece in pieces {
            lint.read(piece.as_bytes());
        }
        lint.found()
    }

    #[test]
    fn flags_are_found_however_they_come() {
        assert_eq!(lint(&["cc -O2 -march=native -c x.c\n"]), Some("-march=native"));
        assert_eq!(lint(&["rustc -C target-cpu=native x.rs"]), Some("target-cpu=native"));
        let line = "cc -mtune=native x.c";
        for at in 0..=line.len() {
            assert_eq!(lint(&[&line[..at], &line[at..]]), Some("-mtune=native"), "{at}");
        }
        let bytes: Vec<String> = line.chars().map(String::from).collect();
        assert_eq!(lint(&bytes.iter().map(String::as_str).collect::<Vec<_>>()), Some("-mtune=native"));
    }

    #[test]
    fn other_words_are_not() {
        assert_eq!(lint(&["-march=native-ish -march=nativex lang=native -march=x86-64 ", "=native"]), None);
    }
}
