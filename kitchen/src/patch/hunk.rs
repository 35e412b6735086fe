// kitchen/src/patch/hunk.rs
//! Finds where a hunk belongs and puts it there.
//!
//! The search is GNU patch's `locate_hunk`: the place that the header names, moved by what earlier hunks were
//! moved, then one line further away in both directions at a time. Less context on one side than on the other
//! means an end of the file, and the hunk must then lie at that end.

/// One line of a hunk, with its line end where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'p> {
    /// In both files.
    Context(&'p [u8]),
    /// In the old file alone.
    Removed(&'p [u8]),
    /// In the new file alone.
    Added(&'p [u8]),
}

/// A run of lines that differ, with what surrounds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hunk<'p> {
    /// The line of the old file at which it starts, from 1; 0 for an empty file.
    pub(super) old_start: usize,
    /// Its lines.
    pub(super) lines: Vec<Line<'p>>,
}

/// Why a file's hunks do not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The hunk, from 1.
    pub(super) hunk: usize,
    /// Where it was expected.
    pub(super) line: usize,
    /// Whether its result is there already.
    pub(super) already_applied: bool,
    /// The fuzz with which it would fit.
    pub(super) fuzz_needed: Option<u32>,
}

/// Applies `hunks`, in their order, to the file `old`.
pub(super) fn apply(old: &[u8], hunks: &[Hunk], fuzz: u32) -> Result<Vec<u8>, Failure> {
    let lines: Vec<&[u8]> = old.split_inclusive(|byte| *byte == b'\n').collect();
    let mut new = Vec::with_capacity(old.len());
    let mut place = Place { lines: &lines, frozen: 0, moved: 0 };
    for (index, hunk) in hunks.iter().enumerate() {
        let pattern = Pattern::of(hunk, Side::Old);
        let at = place.find_within(&pattern, fuzz).ok_or_else(|| place.explain(hunk, index, fuzz))?;
        for line in &lines[place.frozen..at] {
            new.extend_from_slice(line);
        }
        let mut from = at;
        for line in &hunk.lines {
            match line {
                // The file's own line: with fuzz it may not be the hunk's.
                Line::Context(_) => {
                    new.extend_from_slice(lines.get(from).copied().unwrap_or_default());
                    from += 1;
                }
                Line::Removed(_) => from += 1,
                Line::Added(line) => new.extend_from_slice(line),
            }
        }
        place.frozen = from;
    }
    for line in &lines[place.frozen..] {
        new.extend_from_slice(line);
    }
    Ok(new)
}

/// Which file of a hunk is looked for.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Old,
    New,
}

/// The lines that must stand somewhere, and how much of them is context.
struct Pattern<'p> {
    start: usize,
    lines: Vec<&'p [u8]>,
    prefix: usize,
    suffix: usize,
}

impl<'p> Pattern<'p> {
    fn of(hunk: &Hunk<'p>, side: Side) -> Self {
        let lines = hunk.lines.iter().filter_map(|line| match (line, side) {
            (Line::Context(line), _) | (Line::Removed(line), Side::Old) | (Line::Added(line), Side::New) => Some(*line),
            _ => None,
        });
        let context = |line: &&Line| matches!(line, Line::Context(_));
        Self {
            start: hunk.old_start,
            lines: lines.collect(),
            prefix: hunk.lines.iter().take_while(context).count(),
            suffix: hunk.lines.iter().rev().take_while(context).count(),
        }
    }
}

/// How far a file is patched.
struct Place<'f> {
    lines: &'f [&'f [u8]],
    /// Lines before this one are done.
    frozen: usize,
    /// By how much the last hunk lay away from where it was expected.
    moved: isize,
}

impl Place<'_> {
    /// Finds a hunk with as little fuzz as is needed, up to `fuzz`; returns the index of its first line.
    fn find_within(&mut self, pattern: &Pattern, fuzz: u32) -> Option<usize> {
        let most = usize::try_from(fuzz).unwrap_or(usize::MAX).min(pattern.prefix.max(pattern.suffix));
        (0..=most).find_map(|fuzz| self.find(pattern, fuzz))
    }

    /// Finds a hunk with exactly this fuzz.
    fn find(&mut self, pattern: &Pattern, fuzz: usize) -> Option<usize> {
        let count = signed(pattern.lines.len());
        let file = signed(self.lines.len());
        // Lines are counted from 0 from here on; a hunk without old lines stands behind the line it names.
        let named = if count == 0 { signed(pattern.start) } else { signed(pattern.start) - 1 };
        let guess = named.max(0) + self.moved;
        if count == 0 {
            return (guess >= signed(self.frozen) && guess <= file).then(|| guess.unsigned_abs());
        }
        let context = pattern.prefix.max(pattern.suffix);
        let prefix_fuzz = signed(fuzz) + signed(pattern.prefix) - signed(context);
        let suffix_fuzz = signed(fuzz) + signed(pattern.suffix) - signed(context);
        let frozen = signed(self.frozen);
        let matches = |at: isize, prefix: isize, suffix: isize| self.matches(pattern, at, prefix, suffix);
        if prefix_fuzz < 0 && pattern.start <= 1 {
            // It starts the file.
            let whole = suffix_fuzz < 0;
            let fits = frozen == 0 && (!whole || count == file) && matches(0, 0, suffix_fuzz.max(0));
            return fits.then(|| self.settle(0, guess));
        }
        let prefix_fuzz = prefix_fuzz.max(0);
        if suffix_fuzz < 0 {
            // It ends the file.
            let at = file - count;
            return (at >= frozen && matches(at, prefix_fuzz, 0)).then(|| self.settle(at, guess));
        }
        let last = file - (count - suffix_fuzz);
        let farthest = (last - guess).max(guess - frozen);
        (0..=farthest)
            .flat_map(|away| [guess + away, guess - away])
            .find(|at| *at >= frozen && *at <= last && matches(*at, prefix_fuzz, suffix_fuzz))
            .map(|at| self.settle(at, guess))
    }

    /// Remembers how far away the hunk was.
    fn settle(&mut self, at: isize, guess: isize) -> usize {
        self.moved += at - guess;
        at.unsigned_abs()
    }

    /// Whether the lines at `at` are the pattern's, but for so many at its edges.
    fn matches(&self, pattern: &Pattern, at: isize, prefix_fuzz: isize, suffix_fuzz: isize) -> bool {
        let (Ok(at), Ok(prefix), Ok(suffix)) =
            (usize::try_from(at), usize::try_from(prefix_fuzz), usize::try_from(suffix_fuzz))
        else {
            return false;
        };
        let prefix = prefix.min(pattern.prefix);
        let end = pattern.lines.len() - suffix.min(pattern.suffix);
        let Some(wanted) = pattern.lines.get(prefix..end) else {
            return true;
        };
        self.lines.get(at + prefix..at + end) == Some(wanted)
    }

    /// Says what is known about a hunk that does not fit.
    fn explain(&mut self, hunk: &Hunk, index: usize, fuzz: u32) -> Failure {
        let result = Pattern::of(hunk, Side::New);
        let changes = hunk.lines.iter().any(|line| matches!(line, Line::Added(_)));
        let moved = self.moved;
        let already_applied = changes && self.find(&result, 0).is_some();
        self.moved = moved;
        let pattern = Pattern::of(hunk, Side::Old);
        let fuzz_needed = (fuzz + 1..=3).find(|fuzz| {
            let found = self.find_within(&pattern, *fuzz).is_some();
            self.moved = moved;
            found
        });
        Failure {
            hunk: index + 1,
            line: hunk.old_start,
            already_applied,
            fuzz_needed: fuzz_needed.filter(|_| !already_applied),
        }
    }
}

fn signed(count: usize) -> isize {
    isize::try_from(count).expect("because no slice is longer than isize::MAX")
}
