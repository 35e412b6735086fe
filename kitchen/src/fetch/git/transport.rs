// kitchen/src/fetch/git/transport.rs
//! What carries git's protocol: HTTP(S), git's own port, or `ssh` where that program is installed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::process::{Child, Command, Stdio};

use super::super::Fetching;
use super::super::http::{Body, Http};
use super::wire::{Talk, line};
use super::{GitError, Location};
use crate::shown::shown;

/// The port of `git daemon`.
const GIT_PORT: u16 = 9418;

/// Begins to talk with the server of a repository that is elsewhere.
pub(super) fn connect<'f>(fetching: &'f Fetching<'_>, location: &Location) -> Result<Box<dyn Talk + 'f>, GitError> {
    Ok(match location {
        Location::Web(url) => Box::new(Web { http: &fetching.http, url: url.trim_end_matches('/').to_owned() }),
        Location::Daemon { host, port, path } => Box::new(daemon(fetching, host, port.unwrap_or(GIT_PORT), path)?),
        Location::Ssh { host, port, path } => Box::new(ssh(fetching, host, *port, path)?),
        Location::Local(_) => return Err(GitError::Protocol("a local repository is not talked with")),
    })
}

/// Requests to a web server, which remembers nothing between them.
struct Web<'f> {
    http: &'f Http<'f>,
    url: String,
}

impl Talk for Web<'_> {
    fn greeting(&mut self) -> Result<Box<dyn Read + '_>, GitError> {
        let url = format!("{}/info/refs?service=git-upload-pack", self.url);
        let body = self.http.open(&url, &|client| client.get(&url).header("Git-Protocol", "version=2"))?;
        Ok(Box::new(body))
    }

    fn ask(&mut self, request: Vec<u8>) -> Result<Box<dyn Read + '_>, GitError> {
        let url = format!("{}/git-upload-pack", self.url);
        let body = self.http.open(&url, &|client| {
            client
                .post(&url)
                .header("Git-Protocol", "version=2")
                .header("Content-Type", "application/x-git-upload-pack-request")
                .header("Accept", "application/x-git-upload-pack-result")
                .body(request.clone())
        })?;
        Ok(Box::new(body))
    }
}

/// A connection that carries both directions.
struct Stream<'f> {
    reader: Body<'f>,
    writer: Box<dyn Write>,
    /// Ends the other side when we are done with it.
    end: End,
}

enum End {
    Socket(TcpStream),
    Process(Child),
}

impl Talk for Stream<'_> {
    fn greeting(&mut self) -> Result<Box<dyn Read + '_>, GitError> {
        Ok(Box::new(&mut self.reader))
    }

    fn ask(&mut self, request: Vec<u8>) -> Result<Box<dyn Read + '_>, GitError> {
        self.writer.write_all(&request).and_then(|()| self.writer.flush()).map_err(GitError::Connection)?;
        Ok(Box::new(&mut self.reader))
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        // Nothing is lost with a connection or a process that is gone already.
        match &mut self.end {
            End::Socket(socket) => drop(socket.shutdown(Shutdown::Both)),
            End::Process(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn daemon<'f>(fetching: &'f Fetching<'_>, host: &str, port: u16, path: &str) -> Result<Stream<'f>, GitError> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = None;
    let mut connected = None;
    for address in (name, port).to_socket_addrs().map_err(GitError::Connection)? {
        match TcpStream::connect_timeout(&address, fetching.options.connect_timeout) {
            Ok(stream) => {
                connected = Some(stream);
                break;
            }
            Err(error) => last = Some(error),
        }
    }
    let Some(mut socket) = connected else {
        return Err(GitError::Connection(last.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))));
    };
    let mut request = Vec::new();
    line(&mut request, format!("git-upload-pack {path}\0host={host}\0\0version=2\0").as_bytes());
    socket.write_all(&request).map_err(GitError::Connection)?;
    let clone = || socket.try_clone().map_err(GitError::Connection);
    Ok(Stream {
        reader: Body::of(clone()?, fetching.cancel, fetching.options),
        writer: Box::new(clone()?),
        end: End::Socket(socket),
    })
}

fn ssh<'f>(fetching: &'f Fetching<'_>, host: &str, port: Option<u16>, path: &str) -> Result<Stream<'f>, GitError> {
    let mut command = Command::new("ssh");
    // Nobody is there to answer a question.
    command.args(["-o", "BatchMode=yes", "-o", "SendEnv=GIT_PROTOCOL"]).env("GIT_PROTOCOL", "version=2");
    if let Some(port) = port {
        command.args(["-p", &port.to_string()]);
    }
    let quoted = path.replace('\'', "'\\''");
    command.args(["--", host, &format!("git-upload-pack '{quoted}'")]);
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = spawned.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => GitError::NoSsh,
        _ => GitError::Connection(error),
    })?;
    let (Some(output), Some(input)) = (child.stdout.take(), child.stdin.take()) else {
        return Err(GitError::Protocol("ssh has no pipes"));
    };
    Ok(Stream {
        reader: Body::of(output, fetching.cancel, fetching.options),
        writer: Box::new(input),
        end: End::Process(child),
    })
}

/// Reads where a repository is.
pub(super) fn locate(url: &str, directory: &std::path::Path) -> Result<Location, GitError> {
    let bad = |reason| GitError::BadUrl { reason };
    if url.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(bad("it holds control characters"));
    }
    if let Some((scheme, rest)) = url.split_once("://") {
        return match scheme {
            "http" | "https" => Ok(Location::Web(url.to_owned())),
            "file" => {
                let path = super::super::place::decode_percent(rest.strip_prefix("localhost").unwrap_or(rest));
                let path = path.filter(|path| path.starts_with('/')).ok_or_else(|| bad("its path is not absolute"))?;
                Ok(Location::Local(path.into()))
            }
            "git" | "ssh" => {
                let (authority, path) = rest.split_once('/').ok_or_else(|| bad("it has no path"))?;
                let path = super::super::place::decode_percent(&format!("/{path}"))
                    .ok_or_else(|| bad("its path is wrongly encoded"))?;
                let (host, port) = split_port(authority).ok_or_else(|| bad("its port is not a number"))?;
                check_host(&host)?;
                // `/~user/repository` is how a URL says `~user/repository`.
                let path =
                    path.strip_prefix('/').filter(|path| path.starts_with('~')).map_or(path.clone(), str::to_owned);
                Ok(if scheme == "git" {
                    Location::Daemon { host, port, path }
                } else {
                    Location::Ssh { host, port, path }
                })
            }
            _ => Err(bad("its scheme is not known")),
        };
    }
    // host:path, as scp writes it, unless a slash comes first.
    if let Some((host, path)) = url.split_once(':')
        && !host.contains('/')
    {
        check_host(host)?;
        return Ok(Location::Ssh { host: host.to_owned(), port: None, path: path.to_owned() });
    }
    Ok(Location::Local(directory.join(url)))
}

/// Refuses a host that a program would take for something else.
fn check_host(host: &str) -> Result<(), GitError> {
    if host.is_empty() || host.starts_with('-') || host.contains("@-") {
        return Err(GitError::BadUrl { reason: "its host is empty or looks like an option" });
    }
    Ok(())
}

/// Splits `host:port`, where the host may be an IPv6 address in brackets.
fn split_port(authority: &str) -> Option<(String, Option<u16>)> {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_brackets..].rfind(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(after_brackets + colon);
            Some((host.to_owned(), Some(port[1..].parse().ok()?)))
        }
        None => Some((authority.to_owned(), None)),
    }
}

/// A repository's URL for messages.
pub(super) fn redacted(url: &str) -> String {
    if url.contains("://") { super::super::http::redact(url) } else { shown(url.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn repositories_are_located() {
        let here = Path::new("/recipes/x");
        let ssh = |host: &str, port, path: &str| Location::Ssh { host: host.to_owned(), port, path: path.to_owned() };
        let table = [
            ("https://example.org/a.git", Location::Web("https://example.org/a.git".to_owned())),
            (
                "git://example.org/a",
                Location::Daemon { host: "example.org".to_owned(), port: None, path: "/a".to_owned() },
            ),
            (
                "git://[::1]:1234/a",
                Location::Daemon { host: "[::1]".to_owned(), port: Some(1234), path: "/a".to_owned() },
            ),
            ("ssh://git@example.org:22/~me/a", ssh("git@example.org", Some(22), "~me/a")),
            ("git@example.org:a/b.git", ssh("git@example.org", None, "a/b.git")),
            ("file:///srv/a%20b", Location::Local("/srv/a b".into())),
            ("../a", Location::Local("/recipes/x/../a".into())),
            ("./a:b", Location::Local("/recipes/x/./a:b".into())),
        ];
        for (url, location) in table {
            assert_eq!(locate(url, here).unwrap(), location, "{url}");
        }
        for bad in [
            "ext://sh",
            "git:///a",
            "git://h:x/a",
            "ssh://h",
            "file://other/a",
            "https://a\nb/c",
            "ssh://-oProxyCommand=x/a",
            "-oProxyCommand=x:a",
            "me@-x:a",
            ":a",
        ] {
            assert!(locate(bad, here).is_err(), "{bad}");
        }
    }
}
