// kitchen/src/fetch/git/wire.rs
//! git's own protocol, as much of it as fetching one commit into an empty place takes.
//!
//! Version 2 is asked for and version 0 understood. There is nothing to negotiate, since nothing is here: we name
//! what we want, say that we are done, and a pack comes. A line is four hexadecimal digits with its length, which
//! counts them, and its content; 0000 to 0002 are marks. The pack comes in such lines as well, each with a byte
//! that says whether it is pack, progress or an error.

use std::io::{self, Read, Write};

use super::{GitError, Id};
use crate::shown::shown;

/// How many references a server may list.
const REFERENCES: usize = 1_000_000;

/// A line, or one of the marks between lines.
#[derive(Debug, PartialEq, Eq)]
enum Packet {
    Line(Vec<u8>),
    Flush,
    Delimiter,
    ResponseEnd,
}

/// A two-way talk with a server, by whatever carries it.
pub(super) trait Talk {
    /// What the server says of itself, first of all.
    fn greeting(&mut self) -> Result<Box<dyn Read + '_>, GitError>;
    /// Sends a request and gives the answer.
    fn ask(&mut self, request: Vec<u8>) -> Result<Box<dyn Read + '_>, GitError>;
}

/// What is wanted of a repository.
pub(super) struct Want<'a> {
    pub(super) commit: Id,
    /// A tag that must name the commit.
    pub(super) tag: Option<&'a str>,
}

/// What a server says that it is and has.
enum Server {
    /// It answers one command at a time.
    Two { shallow: bool },
    /// It has listed its references already.
    Zero { references: Vec<(Id, Vec<u8>)>, capabilities: Vec<Vec<u8>> },
}

/// Fetches the wanted commit, with everything it needs, into `pack`.
///
/// The commit comes alone where the server gives single commits. With `everything`, or from an old server that gives
/// only what references name, all history of all references comes. Returns what the tag names, a tag object or the commit; it comes too.
pub(super) fn fetch(
    talk: &mut dyn Talk,
    want: &Want,
    everything: bool,
    pack: &mut dyn Write,
) -> Result<Option<Id>, GitError> {
    match greet(talk)? {
        Server::Two { shallow } => {
            let mut tag_object = None;
            if let Some(tag) = want.tag {
                let references = list(talk, &format!("ref-prefix refs/tags/{tag}\n"))?;
                check_tag(&references, tag, want.commit)?;
                tag_object = of_tag(&references, tag);
            }
            let request = if everything {
                let references = list(talk, "ref-prefix refs/heads/\nref-prefix refs/tags/\n")?;
                command_fetch(&something(unique(&references), want)?, false)
            } else {
                command_fetch(&with_tag(vec![want.commit], tag_object), shallow)
            };
            receive_two(talk.ask(request)?, pack)?;
            Ok(tag_object)
        }
        Server::Zero { references, capabilities } => {
            let mut tag_object = None;
            if let Some(tag) = want.tag {
                check_tag(&references, tag, want.commit)?;
                tag_object = of_tag(&references, tag);
            }
            let can = |name: &[u8]| capabilities.iter().any(|capability| capability == name);
            if !can(b"side-band-64k") {
                return Err(GitError::Protocol("the server is too old: it has no side band"));
            }
            let gives_any = can(b"allow-reachable-sha1-in-want") || can(b"allow-any-sha1-in-want");
            let single = named(&references, want.commit).or(gives_any.then_some(want.commit)).filter(|_| !everything);
            let shallow = single.is_some() && can(b"shallow");
            let wants = match single {
                Some(id) => with_tag(vec![id], tag_object),
                None => something(unique(&references), want)?,
            };
            let mut request = Vec::new();
            let ofs = if can(b"ofs-delta") { " ofs-delta" } else { "" };
            for (index, id) in wants.iter().enumerate() {
                let tail =
                    if index == 0 { format!(" side-band-64k no-progress{ofs} agent=conary") } else { String::new() };
                line(&mut request, format!("want {id}{tail}\n").as_bytes());
            }
            if shallow {
                line(&mut request, b"deepen 1\n");
            }
            request.extend_from_slice(b"0000");
            line(&mut request, b"done\n");
            receive_zero(talk.ask(request)?, shallow, pack)?;
            Ok(tag_object)
        }
    }
}

/// What a tag names, itself and not what a tag object is of.
fn of_tag(references: &[(Id, Vec<u8>)], tag: &str) -> Option<Id> {
    let full = format!("refs/tags/{tag}");
    references.iter().find(|(_, name)| name == full.as_bytes()).map(|(id, _)| *id)
}

/// What is wanted, and a tag object.
fn with_tag(mut wants: Vec<Id>, tag: Option<Id>) -> Vec<Id> {
    wants.extend(tag.filter(|tag| !wants.contains(tag)));
    wants
}

/// What to ask for to get a commit that a reference names: itself, or the tag object that names it.
fn named(references: &[(Id, Vec<u8>)], commit: Id) -> Option<Id> {
    let mut of_commit = references.iter().filter(|(id, _)| *id == commit).map(|(_, name)| name);
    let name = of_commit.clone().find(|name| !name.ends_with(b"^{}")).or_else(|| of_commit.next())?;
    let own = name.strip_suffix(b"^{}").unwrap_or(name);
    references.iter().find(|(_, name)| name == own).map(|(id, _)| *id)
}

/// Refuses to ask for nothing: an empty repository has no commit.
fn something(wants: Vec<Id>, want: &Want) -> Result<Vec<Id>, GitError> {
    if wants.is_empty() { Err(GitError::NotFound { commit: want.commit.to_string() }) } else { Ok(wants) }
}

/// Reads the greeting and finds out which version the server speaks.
fn greet(talk: &mut dyn Talk) -> Result<Server, GitError> {
    let mut reader = talk.greeting()?;
    let mut first = packet(&mut reader)?;
    if let Packet::Line(content) = &first
        && content.starts_with(b"# service=")
    {
        expect(&packet(&mut reader)?, &Packet::Flush)?;
        first = packet(&mut reader)?;
    }
    if let Packet::Line(content) = &first
        && content.trim_ascii_end() == b"version 2"
    {
        let mut shallow = false;
        while let Packet::Line(content) = packet(&mut reader)? {
            let content = content.trim_ascii_end();
            if let Some(features) = content.strip_prefix(b"fetch=") {
                shallow = features.split(|byte| *byte == b' ').any(|feature| feature == b"shallow");
            }
            if content.strip_prefix(b"object-format=").is_some_and(|format| format != b"sha1") {
                return Err(GitError::Protocol("the repository does not use SHA-1 names"));
            }
        }
        return Ok(Server::Two { shallow });
    }
    if let Packet::Line(content) = &first
        && content.trim_ascii_end() == b"version 1"
    {
        first = packet(&mut reader)?;
    }
    let mut references = Vec::new();
    let mut capabilities = Vec::new();
    let mut next = first;
    while let Packet::Line(content) = next {
        let mut parts = content.splitn(2, |byte| *byte == 0);
        let reference = parts.next().unwrap_or_default();
        if let Some(text) = parts.next() {
            capabilities = text.trim_ascii().split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect();
        }
        let (id, name) =
            reference_of(reference).ok_or(GitError::Protocol("the server does not speak git's protocol"))?;
        // An empty repository names its capabilities behind this.
        if name != b"capabilities^{}" {
            references.push((id, name.to_vec()));
        }
        bound(&references)?;
        next = packet(&mut reader)?;
    }
    expect(&next, &Packet::Flush)?;
    Ok(Server::Zero { references, capabilities })
}

/// Asks a server of version 2 for references.
fn list(talk: &mut dyn Talk, prefixes: &str) -> Result<Vec<(Id, Vec<u8>)>, GitError> {
    let mut request = Vec::new();
    line(&mut request, b"command=ls-refs\n");
    line(&mut request, b"agent=conary\n");
    request.extend_from_slice(b"0001");
    line(&mut request, b"peel\n");
    for prefix in prefixes.lines() {
        line(&mut request, format!("{prefix}\n").as_bytes());
    }
    request.extend_from_slice(b"0000");
    let mut reader = talk.ask(request)?;
    let mut references = Vec::new();
    loop {
        match packet(&mut reader)? {
            Packet::Line(content) => {
                let content = content.trim_ascii_end();
                let unclear = GitError::Protocol("a reference is malformed");
                let (id, rest) = reference_of(content).ok_or(unclear)?;
                let mut words = rest.split(|byte| *byte == b' ');
                let name = words.next().unwrap_or_default();
                references.push((id, name.to_vec()));
                for word in words {
                    if let Some(peeled) = word.strip_prefix(b"peeled:").and_then(Id::parse) {
                        references.push((peeled, [name, b"^{}"].concat()));
                    }
                }
                bound(&references)?;
            }
            Packet::Flush | Packet::ResponseEnd => return Ok(references),
            Packet::Delimiter => return Err(GitError::Protocol("an unexpected mark")),
        }
    }
}

/// Asks which commit a reference names.
pub(super) fn resolve(talk: &mut dyn Talk, reference: &str) -> Result<Id, GitError> {
    let references = match greet(talk)? {
        Server::Two { .. } => list(talk, &format!("ref-prefix {reference}\n"))?,
        Server::Zero { references, .. } => references,
    };
    let peeled = format!("{reference}^{{}}");
    let find = |name: &str| references.iter().find(|(_, found)| found == name.as_bytes()).map(|(id, _)| *id);
    find(&peeled).or_else(|| find(reference)).ok_or_else(|| GitError::NoReference { reference: reference.to_owned() })
}

/// Asks for all branches and tags.
pub(super) fn references(talk: &mut dyn Talk) -> Result<Vec<(Id, Vec<u8>)>, GitError> {
    match greet(talk)? {
        Server::Two { .. } => list(talk, "ref-prefix refs/heads/\nref-prefix refs/tags/\n"),
        Server::Zero { references, .. } => Ok(references),
    }
}

/// Whether the tag names the commit, itself or by a tag object.
pub(super) fn check_tag(references: &[(Id, Vec<u8>)], tag: &str, commit: Id) -> Result<(), GitError> {
    let full = format!("refs/tags/{tag}");
    let peeled = format!("{full}^{{}}");
    let find = |name: &str| references.iter().find(|(_, found)| found == name.as_bytes()).map(|(id, _)| *id);
    match find(&peeled).or_else(|| find(&full)) {
        Some(found) if found == commit => Ok(()),
        Some(found) => {
            Err(GitError::TagMoved { tag: tag.to_owned(), expected: commit.to_string(), actual: found.to_string() })
        }
        None => Err(GitError::NoTag { tag: tag.to_owned() }),
    }
}

fn unique(references: &[(Id, Vec<u8>)]) -> Vec<Id> {
    // Of what a tag object names, the tag itself is wanted.
    let mut ids: Vec<Id> = references.iter().filter(|(_, name)| !name.ends_with(b"^{}")).map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn bound(references: &[(Id, Vec<u8>)]) -> Result<(), GitError> {
    if references.len() > REFERENCES { Err(GitError::Protocol("the server lists too many references")) } else { Ok(()) }
}

fn command_fetch(wants: &[Id], shallow: bool) -> Vec<u8> {
    let mut request = Vec::new();
    line(&mut request, b"command=fetch\n");
    line(&mut request, b"agent=conary\n");
    request.extend_from_slice(b"0001");
    line(&mut request, b"no-progress\n");
    line(&mut request, b"ofs-delta\n");
    for id in wants {
        line(&mut request, format!("want {id}\n").as_bytes());
    }
    if shallow {
        line(&mut request, b"deepen 1\n");
    }
    line(&mut request, b"done\n");
    request.extend_from_slice(b"0000");
    request
}

/// Reads the answer to a fetch in version 2: sections, of which the last is the pack.
fn receive_two(mut reader: Box<dyn Read + '_>, pack: &mut dyn Write) -> Result<(), GitError> {
    loop {
        match packet(&mut reader)? {
            Packet::Line(content) if content.trim_ascii_end() == b"packfile" => return side_band(&mut reader, pack),
            // Other sections say what we know: that history is cut off.
            Packet::Line(_) | Packet::Delimiter => {}
            Packet::Flush | Packet::ResponseEnd => return Err(GitError::Protocol("the server sent no pack")),
        }
    }
}

/// Reads the answer to a fetch in version 0.
fn receive_zero(mut reader: Box<dyn Read + '_>, shallow: bool, pack: &mut dyn Write) -> Result<(), GitError> {
    if shallow {
        while let Packet::Line(_) = packet(&mut reader)? {}
    }
    loop {
        match packet(&mut reader)? {
            Packet::Line(content) if content.starts_with(b"NAK") => return side_band(&mut reader, pack),
            Packet::Line(content) if content.starts_with(b"ACK ") => {}
            _ => return Err(GitError::Protocol("the server sent no pack")),
        }
    }
}

/// Takes the pack out of its lines.
fn side_band(reader: &mut dyn Read, pack: &mut dyn Write) -> Result<(), GitError> {
    loop {
        match packet(reader)? {
            Packet::Line(content) => match content.split_first() {
                Some((1, bytes)) => pack.write_all(bytes).map_err(GitError::of_io)?,
                Some((2, _)) | None => {}
                Some((3, message)) => return Err(GitError::Remote { message: shown(message.trim_ascii()) }),
                Some(_) => return Err(GitError::Protocol("an unknown side band")),
            },
            Packet::Flush | Packet::ResponseEnd => return Ok(()),
            Packet::Delimiter => return Err(GitError::Protocol("an unexpected mark")),
        }
    }
}

/// Reads `ID NAME`.
fn reference_of(content: &[u8]) -> Option<(Id, &[u8])> {
    let id = Id::parse(content.get(..40)?)?;
    let name = content.get(40..)?.strip_prefix(b" ")?;
    Some((id, name.strip_suffix(b"\n").unwrap_or(name)))
}

fn expect(found: &Packet, wanted: &Packet) -> Result<(), GitError> {
    if found == wanted { Ok(()) } else { Err(GitError::Protocol("an unexpected line")) }
}

/// Appends a line to a request.
pub(super) fn line(request: &mut Vec<u8>, content: &[u8]) {
    request.extend_from_slice(format!("{:04x}", content.len() + 4).as_bytes());
    request.extend_from_slice(content);
}

/// Reads one line or mark; what the server reports as an error is one here.
fn packet(reader: &mut (impl Read + ?Sized)) -> Result<Packet, GitError> {
    let mut length = [0; 4];
    reader.read_exact(&mut length).map_err(GitError::of_io)?;
    let digits = std::str::from_utf8(&length).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let length = digits.and_then(|text| usize::from_str_radix(text, 16).ok());
    let content_length = match length.ok_or(GitError::Protocol("the server does not speak git's protocol"))? {
        0 => return Ok(Packet::Flush),
        1 => return Ok(Packet::Delimiter),
        2 => return Ok(Packet::ResponseEnd),
        3 => return Err(GitError::Protocol("a line with an impossible length")),
        length => length - 4,
    };
    let mut content = vec![0; content_length];
    reader.read_exact(&mut content).map_err(GitError::of_io)?;
    match content.strip_prefix(b"ERR ") {
        Some(message) => Err(GitError::Remote { message: shown(message.trim_ascii()) }),
        None => Ok(Packet::Line(content)),
    }
}

impl GitError {
    /// Finds our own reasons for a stop inside an error that came through a reader.
    pub(super) fn of_io(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Protocol("the server closed the connection too early");
        }
        match error.downcast::<GitError>() {
            Ok(ours) => ours,
            Err(error) => match error.downcast::<super::super::http::HttpError>() {
                Ok(http) => Self::Http(http),
                Err(error) => Self::Connection(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_strictly() {
        let read = |mut bytes: &[u8]| packet(&mut bytes);
        assert_eq!(read(b"0006a\n").unwrap(), Packet::Line(b"a\n".to_vec()));
        assert_eq!(read(b"0000").unwrap(), Packet::Flush);
        for bad in [&b"0003"[..], b"+006a\n", b"<htm", b"0009abc", b"00", b"zzzz"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(read(b"000eERR no way"), Err(GitError::Remote { message }) if message == "no way"));
    }
}
