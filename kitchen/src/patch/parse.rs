// kitchen/src/patch/parse.rs
//! Reads a patch file: unified, context and git diffs among text that is none of them.

use std::borrow::Cow;

use super::PatchError;
use super::hunk::{Hunk, Line};

/// A part of a patch file that matters.
#[derive(Debug)]
pub(super) enum Parsed<'p> {
    /// A mail or commit starts.
    Commit,
    /// One file changes.
    File(FileDiff<'p>),
}

/// What a git header says besides the hunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    /// The file stays where it is.
    None,
    /// It moves.
    Rename,
    /// It gets a copy.
    Copy,
}

/// The kinds of files that a patch can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileMode {
    Plain,
    Executable,
    Symlink,
}

/// What a patch says about one file.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent facts of a header.
pub(super) struct FileDiff<'p> {
    /// The name before, unstripped; `None` for `/dev/null`.
    pub(super) old_name: Option<Vec<u8>>,
    /// The name after, unstripped; `None` for `/dev/null`.
    pub(super) new_name: Option<Vec<u8>>,
    pub(super) transfer: Transfer,
    /// The mode that the file gets, where the patch says so.
    pub(super) new_mode: Option<FileMode>,
    /// The patch says that the file did not exist.
    pub(super) creates: bool,
    /// The patch says that the file is to go.
    pub(super) deletes: bool,
    /// The new side's time is 1970: the file is to go if nothing is left in it.
    pub(super) new_side_is_absent: bool,
    /// Another file of the same commit takes the place away that this one moves to.
    pub(super) replaces_target: bool,
    pub(super) hunks: Vec<Hunk<'p>>,
}

impl FileDiff<'_> {
    /// Whether nothing is expected in the old file, so that it may be missing.
    pub(super) fn old_side_is_empty(&self) -> bool {
        match &self.hunks[..] {
            [hunk] => hunk.old_start == 0 && hunk.lines.iter().all(|line| matches!(line, Line::Added(_))),
            _ => false,
        }
    }
}

/// Finds every diff in `patch`, in order.
pub(super) fn parse(patch: &[u8]) -> Result<Vec<Parsed<'_>>, PatchError> {
    let mut reader = Reader { lines: patch.split_inclusive(|byte| *byte == b'\n').collect(), at: 0 };
    let mut parsed = Vec::new();
    while let Some(line) = reader.peek(0) {
        if line.starts_with(b"diff --git ") {
            parsed.push(Parsed::File(reader.git()?));
        } else if reader.is_unified() || reader.is_context() {
            parsed.push(Parsed::File(reader.plain()?));
        } else {
            if is_commit(line) {
                parsed.push(Parsed::Commit);
            } else if line.starts_with(b"@@ -") {
                return Err(reader.malformed("a hunk without the names of its file"));
            }
            reader.at += 1;
        }
    }
    let has_files = parsed.iter().any(|part| matches!(part, Parsed::File(_)));
    if !has_files {
        parsed.clear();
    }
    mark_swaps(&mut parsed);
    Ok(parsed)
}

/// Whether a line starts a commit of `git format-patch`: `From`, forty digits, a date.
fn is_commit(line: &[u8]) -> bool {
    line.strip_prefix(b"From ")
        .is_some_and(|rest| rest.len() > 41 && rest[..40].iter().all(u8::is_ascii_hexdigit) && rest[40] == b' ')
}

/// Notes which renames and copies move to a place that a rename of the same commit leaves.
fn mark_swaps(parsed: &mut [Parsed]) {
    for commit in parsed.split_mut(|part| matches!(part, Parsed::Commit)) {
        let left: Vec<Option<Vec<u8>>> = commit
            .iter()
            .filter_map(|part| match part {
                Parsed::File(diff) if diff.transfer == Transfer::Rename => Some(diff.old_name.clone()),
                _ => None,
            })
            .collect();
        for part in commit {
            if let Parsed::File(diff) = part {
                diff.replaces_target = diff.transfer != Transfer::None && left.contains(&diff.new_name);
            }
        }
    }
}

/// The lines of a patch, each with its line end.
struct Reader<'p> {
    lines: Vec<&'p [u8]>,
    at: usize,
}

impl<'p> Reader<'p> {
    fn peek(&self, ahead: usize) -> Option<&'p [u8]> {
        self.lines.get(self.at + ahead).copied()
    }

    fn starts(&self, ahead: usize, prefix: &[u8]) -> bool {
        self.peek(ahead).is_some_and(|line| line.starts_with(prefix))
    }

    fn is_unified(&self) -> bool {
        self.starts(0, b"--- ") && self.starts(1, b"+++ ") && self.starts(2, b"@@ -")
    }

    fn is_context(&self) -> bool {
        self.starts(0, b"*** ") && self.starts(1, b"--- ") && self.starts(2, b"***************")
    }

    fn malformed(&self, reason: &'static str) -> PatchError {
        PatchError::Malformed { line: self.at + 1, reason }
    }

    fn unsupported(&self, what: &'static str) -> PatchError {
        PatchError::Unsupported { line: self.at + 1, what }
    }

    /// Reads what `diff --git` heads.
    fn git(&mut self) -> Result<FileDiff<'p>, PatchError> {
        let heading = trim(self.peek(0).unwrap_or_default());
        let mut diff = FileDiff {
            old_name: None,
            new_name: None,
            transfer: Transfer::None,
            new_mode: None,
            creates: false,
            deletes: false,
            new_side_is_absent: false,
            replaces_target: false,
            hunks: Vec::new(),
        };
        self.at += 1;
        while let Some(line) = self.peek(0) {
            let line = trim(line);
            let after = |prefix: &[u8]| line.strip_prefix(prefix);
            if let Some(mode) = after(b"new file mode ") {
                diff.creates = true;
                diff.new_mode = Some(self.mode(mode)?);
            } else if let Some(mode) = after(b"deleted file mode ") {
                self.mode(mode)?;
                diff.deletes = true;
            } else if let Some(mode) = after(b"new mode ") {
                diff.new_mode = Some(self.mode(mode)?);
            } else if let Some(mode) = after(b"old mode ") {
                self.mode(mode)?;
            } else if let Some(name) = after(b"rename from ").or_else(|| after(b"copy from ")) {
                diff.transfer = if line.starts_with(b"rename") { Transfer::Rename } else { Transfer::Copy };
                diff.old_name = Some(self.unquote(name)?.into_owned());
            } else if let Some(name) = after(b"rename to ").or_else(|| after(b"copy to ")) {
                diff.new_name = Some(self.unquote(name)?.into_owned());
            } else if line.starts_with(b"GIT binary patch") || line.starts_with(b"Binary files ") {
                return Err(self.unsupported("a change of a binary file"));
            } else if !(line.starts_with(b"index ")
                || line.starts_with(b"similarity index ")
                || line.starts_with(b"dissimilarity index "))
            {
                break;
            }
            self.at += 1;
        }
        if diff.transfer != Transfer::None && (diff.old_name.is_none() || diff.new_name.is_none()) {
            return Err(self.malformed("a rename or copy without both of its names"));
        }
        if self.is_unified() {
            let plain = self.plain()?;
            diff.hunks = plain.hunks;
            if diff.transfer == Transfer::None {
                diff.creates |= plain.creates;
                diff.deletes |= plain.deletes;
                diff.old_name = plain.old_name;
                diff.new_name = plain.new_name;
            }
        } else if diff.transfer == Transfer::None {
            let (old, new) = self.git_names(heading)?;
            diff.old_name = (!diff.creates).then_some(old);
            diff.new_name = (!diff.deletes).then_some(new);
        }
        Ok(diff)
    }

    /// The two names of `diff --git a/NAME b/NAME`, which are the same but for their first part.
    fn git_names(&self, heading: &[u8]) -> Result<(Vec<u8>, Vec<u8>), PatchError> {
        let names = heading.strip_prefix(b"diff --git ").unwrap_or_default();
        let unclear = || self.malformed("the names in the git header are not clear");
        if names.starts_with(b"\"") {
            let end = closing_quote(names).ok_or_else(unclear)?;
            let new = names.get(end + 2..).ok_or_else(unclear)?;
            return Ok((self.unquote(&names[..=end])?.into_owned(), self.unquote(new)?.into_owned()));
        }
        let spaces = names.iter().enumerate().filter(|(_, byte)| **byte == b' ').map(|(at, _)| at);
        let tail = |name: &[u8]| name.iter().position(|byte| *byte == b'/').map(|slash| name[slash + 1..].to_vec());
        for space in spaces {
            let (old, new) = (&names[..space], &names[space + 1..]);
            if old == new || (tail(old).is_some() && tail(old) == tail(new)) {
                return Ok((old.to_vec(), new.to_vec()));
            }
        }
        Err(unclear())
    }

    fn mode(&self, text: &[u8]) -> Result<FileMode, PatchError> {
        match text {
            b"160000" => Err(self.unsupported("a change of a git submodule")),
            b"120000" => Ok(FileMode::Symlink),
            [b'1', b'0', b'0', owner, _, _] if owner & 1 == 1 => Ok(FileMode::Executable),
            [b'1', b'0', b'0', _, _, _] => Ok(FileMode::Plain),
            _ => Err(self.malformed("an unknown file mode")),
        }
    }

    /// Reads two lines of names and the hunks below them.
    fn plain(&mut self) -> Result<FileDiff<'p>, PatchError> {
        let is_context = self.is_context();
        let (old_line, new_line) = (self.peek(0).unwrap_or_default(), self.peek(1).unwrap_or_default());
        let old = self.header(&old_line[4..])?;
        let new = self.header(&new_line[4..])?;
        self.at += 2;
        let mut hunks = Vec::new();
        while self.starts(0, if is_context { b"***************" } else { b"@@ -" }) {
            hunks.push(if is_context { self.context_hunk()? } else { self.unified_hunk()? });
        }
        Ok(FileDiff {
            creates: old.name.is_none(),
            deletes: new.name.is_none(),
            new_side_is_absent: new.is_absent,
            old_name: old.name,
            new_name: new.name,
            transfer: Transfer::None,
            new_mode: None,
            replaces_target: false,
            hunks,
        })
    }

    /// Reads `NAME<tab>TIME`, where the time is optional.
    fn header(&self, line: &[u8]) -> Result<Header, PatchError> {
        let line = trim(line);
        let (name, time) = if line.starts_with(b"\"") {
            let end = closing_quote(line).ok_or_else(|| self.malformed("a quoted name without its end"))?;
            line.split_at(end + 1)
        } else {
            // A name with a space in it has a tab behind it.
            let end =
                line.iter().position(|byte| *byte == b'\t').or_else(|| line.iter().position(|byte| *byte == b' '));
            line.split_at(end.unwrap_or(line.len()))
        };
        let name = self.unquote(name)?;
        if name.is_empty() {
            return Err(self.malformed("a file without a name"));
        }
        let is_absent = is_epoch(time.trim_ascii());
        Ok(Header { name: (*name != *b"/dev/null").then(|| name.into_owned()), is_absent })
    }

    /// Undoes the quoting of names as C does it.
    fn unquote<'n>(&self, name: &'n [u8]) -> Result<Cow<'n, [u8]>, PatchError> {
        let Some(quoted) = name.strip_prefix(b"\"") else {
            return Ok(Cow::Borrowed(name));
        };
        let wrong = || self.malformed("a name is wrongly quoted");
        let quoted = quoted.strip_suffix(b"\"").ok_or_else(wrong)?;
        let mut plain = Vec::with_capacity(quoted.len());
        let mut rest = quoted;
        while let [byte, after @ ..] = rest {
            if *byte != b'\\' {
                plain.push(*byte);
                rest = after;
                continue;
            }
            let (byte, after) = match after {
                [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                    ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after)
                }
                [b'a', after @ ..] => (7, after),
                [b'b', after @ ..] => (8, after),
                [b't', after @ ..] => (b'\t', after),
                [b'n', after @ ..] => (b'\n', after),
                [b'v', after @ ..] => (11, after),
                [b'f', after @ ..] => (12, after),
                [b'r', after @ ..] => (b'\r', after),
                [byte @ (b'"' | b'\\'), after @ ..] => (*byte, after),
                _ => return Err(wrong()),
            };
            plain.push(byte);
            rest = after;
        }
        Ok(Cow::Owned(plain))
    }

    /// Reads `@@ -START,COUNT +START,COUNT @@` and its lines.
    fn unified_hunk(&mut self) -> Result<Hunk<'p>, PatchError> {
        let heading = self.peek(0).unwrap_or_default();
        let ranges = unified_ranges(heading).ok_or_else(|| self.malformed("the line numbers of a hunk"))?;
        let (old_start, mut old_left, mut new_left) = ranges;
        self.at += 1;
        let mut lines = Vec::new();
        while old_left > 0 || new_left > 0 {
            let line = self.peek(0).ok_or_else(|| self.malformed("a hunk is cut off"))?;
            let (takes_old, takes_new, line) = match line {
                [b' ', content @ ..] => (true, true, Line::Context(content)),
                // Mail programs drop spaces at the end of a line.
                b"\n" | b"\r\n" => (true, true, Line::Context(line)),
                [b'-', content @ ..] => (true, false, Line::Removed(content)),
                [b'+', content @ ..] => (false, true, Line::Added(content)),
                _ => return Err(self.malformed("a hunk has fewer lines than it says")),
            };
            let too_many = || self.malformed("a hunk has more lines than it says");
            old_left = old_left.checked_sub(usize::from(takes_old)).ok_or_else(too_many)?;
            new_left = new_left.checked_sub(usize::from(takes_new)).ok_or_else(too_many)?;
            lines.push(line);
            self.at += 1;
            self.no_newline(lines.last_mut());
        }
        if lines.is_empty() {
            return Err(self.malformed("a hunk without lines"));
        }
        Ok(Hunk { old_start, lines })
    }

    /// Takes the line end off the line before `\ No newline at end of file`.
    fn no_newline(&mut self, line: Option<&mut Line>) {
        if self.starts(0, b"\\ ") {
            if let Some(line) = line {
                line.drop_newline();
            }
            self.at += 1;
        }
    }

    /// Reads a hunk of a context diff and makes it what a unified one would be.
    fn context_hunk(&mut self) -> Result<Hunk<'p>, PatchError> {
        self.at += 1;
        let (old_start, old_count) = self.context_range(b"*** ", b" ****")?;
        let is_new_range = |line: &[u8]| context_range(line, b"--- ", b" ----").is_some();
        let old = if self.peek(0).is_some_and(is_new_range) { None } else { Some(self.context_lines(old_count)?) };
        let (_, new_count) = self.context_range(b"--- ", b" ----")?;
        let next = self.peek(0);
        let has_new =
            next.is_some_and(|line| matches!(line, [b' ' | b'+' | b'!', b' ', ..]) || (new_count > 0 && old.is_none()));
        let new = if new_count > 0 && has_new { Some(self.context_lines(new_count)?) } else { None };
        let lines = merge(old.unwrap_or_default(), new.unwrap_or_default())
            .ok_or_else(|| self.malformed("the halves of a hunk differ in their context"))?;
        if lines.is_empty() {
            return Err(self.malformed("a hunk without lines"));
        }
        Ok(Hunk { old_start, lines })
    }

    fn context_range(&mut self, before: &[u8], after: &[u8]) -> Result<(usize, usize), PatchError> {
        let line = self.peek(0).unwrap_or_default();
        let range = context_range(line, before, after).ok_or_else(|| self.malformed("the line numbers of a hunk"))?;
        self.at += 1;
        Ok(range)
    }

    /// Reads one half of a context hunk: the mark of each line, and the line.
    fn context_lines(&mut self, count: usize) -> Result<Vec<(u8, Line<'p>)>, PatchError> {
        let mut lines = Vec::new();
        for _ in 0..count {
            let line = self.peek(0).ok_or_else(|| self.malformed("a hunk is cut off"))?;
            let (mark, content) = match line {
                [mark @ (b' ' | b'-' | b'+' | b'!'), b' ', content @ ..] => (*mark, content),
                b"\n" | b" \n" => (b' ', &b"\n"[..]),
                _ => return Err(self.malformed("a hunk has fewer lines than it says")),
            };
            self.at += 1;
            let mut line = Line::Context(content);
            self.no_newline(Some(&mut line));
            lines.push((mark, line));
        }
        Ok(lines)
    }
}

/// One of the two lines that name a file.
struct Header {
    name: Option<Vec<u8>>,
    is_absent: bool,
}

impl Line<'_> {
    fn drop_newline(&mut self) {
        match self {
            Self::Context(content) | Self::Removed(content) | Self::Added(content) => {
                *content = content.strip_suffix(b"\n").unwrap_or(content);
            }
        }
    }
}

/// Takes the carriage returns off the diffs whose two lines of names have them.
///
/// Those were converted with all of the patch, where a patch of a DOS file has carriage returns in its hunks alone.
/// The number of lines stays.
pub(super) fn without_carriage_returns(patch: &[u8]) -> Cow<'_, [u8]> {
    let lines: Vec<&[u8]> = patch.split_inclusive(|byte| *byte == b'\n').collect();
    let is_header = |at: usize| {
        let starts = |at: usize, prefix: &[u8]| lines.get(at).is_some_and(|line| line.starts_with(prefix));
        (starts(at, b"--- ") && starts(at + 1, b"+++ ") && starts(at + 2, b"@@ -"))
            || (starts(at, b"*** ") && starts(at + 1, b"--- ") && starts(at + 2, b"***************"))
    };
    let ends = |at: usize| lines.get(at).is_some_and(|line| line.ends_with(b"\r\n"));
    if !(0..lines.len()).any(|at| ends(at) && ends(at + 1) && is_header(at)) {
        return Cow::Borrowed(patch);
    }
    let mut converted = Vec::with_capacity(patch.len());
    let mut strips = false;
    for (at, line) in lines.iter().enumerate() {
        if is_header(at) {
            strips = ends(at) && ends(at + 1);
        }
        match line.strip_suffix(b"\r\n") {
            Some(content) if strips => {
                converted.extend_from_slice(content);
                converted.push(b'\n');
            }
            _ => converted.extend_from_slice(line),
        }
    }
    Cow::Owned(converted)
}

/// Puts the halves of a context hunk together. A half that is left out says nothing but the shared context.
fn merge<'p>(old: Vec<(u8, Line<'p>)>, new: Vec<(u8, Line<'p>)>) -> Option<Vec<Line<'p>>> {
    let content = |line: Line<'p>| match line {
        Line::Context(content) | Line::Removed(content) | Line::Added(content) => content,
    };
    let (has_old, has_new) = (!old.is_empty(), !new.is_empty());
    let mut lines = Vec::with_capacity(old.len() + new.len());
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    loop {
        while let Some((_, line)) = old.next_if(|(mark, _)| matches!(mark, b'-' | b'!')) {
            lines.push(Line::Removed(content(line)));
        }
        while let Some((_, line)) = new.next_if(|(mark, _)| matches!(mark, b'+' | b'!')) {
            lines.push(Line::Added(content(line)));
        }
        match (old.next(), new.next()) {
            (None, None) => return Some(lines),
            (Some((b' ', line)), None) if !has_new => lines.push(line),
            (None, Some((b' ', line))) if !has_old => lines.push(line),
            (Some((b' ', line)), Some((b' ', other))) if line == other => lines.push(line),
            _ => return None,
        }
    }
}

/// `@@ -START,COUNT +START,COUNT @@`: the old start and both counts. A count that is left out is 1.
fn unified_ranges(line: &[u8]) -> Option<(usize, usize, usize)> {
    let text = std::str::from_utf8(line.strip_prefix(b"@@ -")?.split(|byte| *byte == b'@').next()?).ok()?;
    let (old, new) = text.trim_end().split_once(" +")?;
    let range = |text: &str| match text.split_once(',') {
        Some((start, count)) => Some((digits(start)?, digits(count)?)),
        None => Some((digits(text)?, 1)),
    };
    let ((old_start, old_count), (_, new_count)) = (range(old)?, range(new)?);
    line.windows(3).skip(3).any(|part| part == b" @@").then_some((old_start, old_count, new_count))
}

/// `*** START,END ****`: the start and how many lines there are.
fn context_range(line: &[u8], before: &[u8], after: &[u8]) -> Option<(usize, usize)> {
    let text = std::str::from_utf8(trim(line).strip_prefix(before)?.strip_suffix(after)?).ok()?;
    match text.split_once(',') {
        Some((start, end)) => {
            let (start, end) = (digits(start)?, digits(end)?);
            Some((start, end.checked_sub(start)?.checked_add(1)?))
        }
        None => match digits(text)? {
            0 => Some((0, 0)),
            start => Some((start, 1)),
        },
    }
}

/// A line number: no sign, and small enough to count with.
fn digits(text: &str) -> Option<usize> {
    let is_plain = !text.is_empty() && text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok())?
}

/// Whether a header's time is the first second of 1970, with which diff marks a file that does not exist.
fn is_epoch(time: &[u8]) -> bool {
    let Ok(time) = std::str::from_utf8(time) else {
        return false;
    };
    let mut parts = time.split_ascii_whitespace();
    let (Some(date), Some(clock), Some(zone)) = (parts.next(), parts.next(), parts.next()) else {
        return time == "Thu Jan  1 00:00:00 1970";
    };
    let day: i32 = match date {
        "1970-01-01" => 0,
        "1969-12-31" => -24 * 60,
        _ => return false,
    };
    let minutes = |hours: Option<&str>, minutes: Option<&str>| {
        Some(hours?.parse::<i32>().ok()? * 60 + minutes?.parse::<i32>().ok()?)
    };
    let local = minutes(clock.get(0..2), clock.get(3..5));
    let offset =
        minutes(zone.get(1..3), zone.get(3..5)).map(|offset| if zone.starts_with('-') { -offset } else { offset });
    let is_whole = clock.get(5..).is_some_and(|seconds| seconds.bytes().all(|byte| matches!(byte, b':' | b'0' | b'.')));
    is_whole && local.zip(offset).is_some_and(|(local, offset)| day + local == offset)
}

/// Where the quote that opens `text` is closed.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn trim(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
