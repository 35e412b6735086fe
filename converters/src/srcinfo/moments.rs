// converters/src/srcinfo/moments.rs
//! What the functions of an `install=` file do, where all of it can be said without running them.
//!
//! A function is read statement by statement over the syntax tree. Every statement has to be one of [`commands`], a call of another
//! function of the file, or a question (`getent group x`, `[ -x /usr/bin/y ]`) that only keeps such a statement from being done twice or in
//! vain. Words are expanded by the evaluator, so a variable of the file is as good as its value, and `$1` is not known. The first
//! statement that is anything else makes the whole function one that has to be run: [`Unclear`], with its line.

mod commands;
mod declared;

use std::rc::Rc;

use crate::shell::{
    Budget, Command, Condition, Evaluator, Function, Kind, Link, Pipeline, Redirect, Statement, Value, Word,
};
pub(super) use declared::Declared;

/// How deep functions may call one another.
const DEEPEST: usize = 16;

/// One thing that a function does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// It prints something.
    Says(String),
    Group(recipes::HookGroup),
    User(recipes::HookUser),
    /// A user is put into further groups.
    Member {
        user: String,
        groups: Vec<String>,
    },
    /// An account is removed.
    Gone {
        name: String,
    },
    Directory(recipes::HookDirectory),
    /// A unit is enabled.
    Service(String),
    /// A unit is disabled.
    Disabled(String),
    /// What is done of itself: a cache that follows from files.
    Covered,
    /// What is not done in a root that may not be running, and why nothing is lost.
    Idle {
        command: String,
        why: &'static str,
    },
}

/// Why a function has to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unclear {
    pub line: usize,
    pub what: String,
}

type Read<T> = Result<T, Unclear>;

/// A question that stands before other statements.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Guard {
    /// Whether an account of this name is there.
    Account(String),
    /// Whether a program is there.
    Program,
}

/// How what follows a question depends on it.
type Under = (Guard, bool);

/// Reads one function of a file.
///
/// # Errors
/// [`Unclear`] names the first statement that cannot be said otherwise than by running it.
pub(super) fn read(text: &str, function: &str) -> Read<Vec<Act>> {
    let names = || Some(Vec::new());
    let mut shell = Evaluator::new(Budget::default(), &names);
    let outside = |line| Unclear { line, what: "what stands outside of functions has to be run".to_owned() };
    let script = crate::shell::parse(text, 1).map_err(|error| outside(error.line))?;
    for statement in &script.statements {
        let plain = |command: &&Command| match &command.kind {
            Kind::Function(_) => true,
            Kind::Simple { words, .. } => words.is_empty(),
            _ => false,
        };
        match &statement.first.commands[..] {
            [command] if statement.rest.is_empty() && !statement.background && plain(&command) => {}
            commands => return Err(outside(commands.first().map_or(1, |command| command.line))),
        }
    }
    shell.run(text, 1).map_err(|_| outside(1))?;
    let Some(function) = shell.function(function).cloned() else { return Ok(Vec::new()) };
    let mut reader = Reader { shell, acts: Vec::new(), depth: 0, line: function.line };
    reader.function(&function)?;
    Ok(reader.acts)
}

struct Reader<'n> {
    shell: Evaluator<'n>,
    acts: Vec<Act>,
    depth: usize,
    line: usize,
}

impl Reader<'_> {
    fn unclear<T>(&self, what: impl Into<String>) -> Read<T> {
        Err(Unclear { line: self.line, what: what.into() })
    }

    fn function(&mut self, function: &Rc<Function>) -> Read<()> {
        if self.depth >= DEEPEST {
            return self.unclear(format!("{}() calls itself", function.name));
        }
        self.depth += 1;
        self.quiet(&function.body.redirects)?;
        let done = match &function.body.kind {
            Kind::Group(list) | Kind::Subshell(list) => self.whole(list),
            _ => self.unclear(format!("{}() is no group of commands", function.name)),
        };
        self.depth -= 1;
        done
    }

    /// The body of a function, which may end with `return`.
    fn whole(&mut self, list: &[Statement]) -> Read<()> {
        match list.split_last() {
            Some((last, before)) if self.ends(last)? => self.list(before),
            _ => self.list(list),
        }
    }

    fn list(&mut self, list: &[Statement]) -> Read<()> {
        for statement in list {
            if self.ends(statement)? {
                return self.unclear("it returns before its end");
            }
            self.statement(statement)?;
        }
        Ok(())
    }

    /// Whether a statement is `return` of a success and nothing else; in what pacman calls, `exit` is the same.
    fn ends(&mut self, statement: &Statement) -> Read<bool> {
        let [Command { line, kind: Kind::Simple { assignments, words }, redirects }] = &statement.first.commands[..]
        else {
            return Ok(false);
        };
        if !(statement.rest.is_empty() && assignments.is_empty() && redirects.is_empty()) {
            return Ok(false);
        }
        self.line = *line;
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        match texts[..] {
            ["return"] | ["return", "0"] => Ok(true),
            ["exit"] | ["exit", "0"] if self.depth == 1 => Ok(true),
            ["return" | "exit", ..] => self.unclear("it ends with a status of its own"),
            _ => Ok(false),
        }
    }

    fn statement(&mut self, statement: &Statement) -> Read<()> {
        if statement.background {
            return self.unclear("it starts something in the background");
        }
        if statement.rest.is_empty() {
            return self.pipeline(&statement.first);
        }
        let mut before = Some(&statement.first);
        let mut under: Option<Under> = None;
        if let Some(guard) = self.question(&statement.first)? {
            under = Some((guard, asks_for(&statement.first)));
            before = None;
        }
        if let Some(first) = before {
            self.pipeline(first)?;
        }
        for (link, pipeline) in &statement.rest {
            match (link, &mut under) {
                // A failure that is passed over, or told.
                (Link::Or, None) => {
                    let start = self.acts.len();
                    self.pipeline(pipeline)?;
                    if self.acts[start..].iter().any(|act| !matches!(act, Act::Says(_))) {
                        return self.unclear("what it does depends on whether something else succeeds");
                    }
                    self.acts.truncate(start);
                }
                (Link::And, None) => self.pipeline(pipeline)?,
                (link, Some((guard, is_there))) => {
                    let (guard, is_there) = (guard.clone(), *is_there == (*link == Link::And));
                    let start = self.acts.len();
                    self.pipeline(pipeline)?;
                    self.fits(&guard, is_there, start)?;
                    if !pipeline_is_nothing(pipeline) && statement.rest.len() > 1 {
                        // `question && this || that`: that is for a failure of this as well.
                        under = None;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether what was found since `start` may stand behind a question.
    fn fits(&self, guard: &Guard, is_there: bool, start: usize) -> Read<()> {
        let found = &self.acts[start..];
        let said = found.iter().all(|act| matches!(act, Act::Says(_) | Act::Covered | Act::Idle { .. }));
        let sound = match guard {
            Guard::Program => said,
            Guard::Account(_) if is_there => {
                said || found.iter().all(|act| !matches!(act, Act::User(_) | Act::Group(_) | Act::Service(_)))
            }
            Guard::Account(name) => {
                let named = |act: &Act| match act {
                    Act::Group(group) => group.name == *name,
                    Act::User(user) => user.name == *name,
                    _ => false,
                };
                said || (found.iter().any(named) && !found.iter().any(|act| matches!(act, Act::Gone { .. })))
            }
        };
        if sound { Ok(()) } else { self.unclear("what it does depends on a question about something else") }
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Read<()> {
        let [command] = &pipeline.commands[..] else {
            return self.unclear("it passes the output of one command to another");
        };
        if pipeline.negated || pipeline.timed {
            return self.unclear("it turns a status around");
        }
        self.command(command)
    }

    fn command(&mut self, command: &Command) -> Read<()> {
        self.line = command.line;
        match &command.kind {
            Kind::Simple { assignments, words } => self.simple(assignments, words, &command.redirects),
            Kind::Group(list) => {
                self.quiet(&command.redirects)?;
                self.list(list)
            }
            Kind::If { condition, body, otherwise } => {
                self.quiet(&command.redirects)?;
                let [Statement { first, rest, background: false }] = &condition[..] else {
                    return self.unclear("it asks more than one question");
                };
                let guard = if rest.is_empty() { self.question(first)? } else { None };
                let Some(guard) = guard else {
                    return self.unclear("it asks something that only running it would tell");
                };
                let is_there = asks_for(first);
                for (list, is_there) in [(Some(body), is_there), (otherwise.as_ref(), !is_there)] {
                    let start = self.acts.len();
                    self.list(list.map_or(&[], Vec::as_slice))?;
                    self.fits(&guard, is_there, start)?;
                }
                Ok(())
            }
            Kind::For { select: false, name, words: Some(words), body } => {
                self.quiet(&command.redirects)?;
                for value in self.fields(words)? {
                    self.shell.set(name, Value::Scalar(value));
                    self.list(body)?;
                }
                Ok(())
            }
            _ => self.unclear("it has a construct that is not followed"),
        }
    }

    fn simple(&mut self, assignments: &[Word], words: &[Word], redirects: &[Redirect]) -> Read<()> {
        if words.is_empty() {
            let all = assignments.iter().try_for_each(|word| self.shell.assign_word(word));
            return if all.is_ok() { Ok(()) } else { self.unclear("it sets a variable to what only running tells") };
        }
        if !assignments.is_empty() {
            return self.unclear("it runs a command with variables of its own");
        }
        let called = self.shell.function(&words[0].text).cloned();
        if let Some(function) = called {
            self.quiet(redirects)?;
            // Where they are not known, the function may do without them.
            let arguments = self.fields(&words[1..]).ok();
            let before = self.shell.swap_arguments(arguments);
            let done = self.function(&function);
            self.shell.swap_arguments(before);
            return done;
        }
        let document = self.document(redirects)?;
        let fields = self.fields(words)?;
        let acts = commands::acts(&fields, document.as_deref()).map_err(|what| Unclear { line: self.line, what })?;
        for act in acts {
            match act {
                commands::Found::Act(act) => self.acts.push(act),
                commands::Found::Variable(name, value) => self.shell.set(&name, Value::Scalar(value)),
            }
        }
        Ok(())
    }

    fn fields(&mut self, words: &[Word]) -> Read<Vec<String>> {
        if let Ok(fields) = self.shell.fields_of(words) {
            return Ok(fields);
        }
        let word = words.iter().map(|word| word.text.as_str()).find(|text| text.contains(['$', '`', '*', '~']));
        self.unclear(format!("`{}` is known only when it runs", word.unwrap_or_default()))
    }

    /// Refuses redirections that write a file or read one.
    fn quiet(&self, redirects: &[Redirect]) -> Read<()> {
        let nowhere = |redirect: &Redirect| {
            redirect.document.is_none()
                && redirect.operator.contains('>')
                && matches!(redirect.target.text.as_str(), "/dev/null" | "&1" | "&2" | "1" | "2" | "/dev/stderr")
        };
        if redirects.iter().all(nowhere) { Ok(()) } else { self.unclear("it reads or writes a file") }
    }

    /// What a here-document gives to a command; other redirections must be quiet.
    fn document(&mut self, redirects: &[Redirect]) -> Read<Option<String>> {
        let mut text = None;
        for redirect in redirects {
            match &redirect.document {
                Some(document) if document.quoted => text = Some(document.body.clone()),
                Some(document) => match self.shell.document(&document.body) {
                    Ok(body) => text = Some(body),
                    Err(_) => return self.unclear("it prints what is known only when it runs"),
                },
                None => self.quiet(std::slice::from_ref(redirect))?,
            }
        }
        Ok(text)
    }

    /// The question that a pipeline asks; nothing if it does something.
    fn question(&mut self, pipeline: &Pipeline) -> Read<Option<Guard>> {
        let [command] = &pipeline.commands[..] else { return Ok(None) };
        self.line = command.line;
        match &command.kind {
            Kind::Simple { assignments, words } if assignments.is_empty() && !words.is_empty() => {
                if self.shell.function(&words[0].text).is_some() || self.quiet(&command.redirects).is_err() {
                    return Ok(None);
                }
                if let ["[" | "test", rest @ ..] = &words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>()[..]
                {
                    let rest: Vec<&str> = rest.iter().copied().filter(|word| *word != "]" && *word != "!").collect();
                    return Ok(match rest[..] {
                        ["-x" | "-f" | "-e", path] if !path.contains(['$', '`']) => program(path),
                        ["-n" | "-z", text] | [text] => self.substituted(text)?,
                        _ => None,
                    });
                }
                let Ok(fields) = self.shell.fields_of(words) else { return Ok(None) };
                Ok(asked(&fields))
            }
            Kind::Test(condition) => match bare(condition) {
                Condition::Unary(operator, word) => match operator.as_str() {
                    "-x" | "-f" | "-e" if !word.text.contains(['$', '`']) => Ok(program(&word.text)),
                    "-n" | "-z" => self.substituted(&word.text),
                    _ => Ok(None),
                },
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// The question within `$(...)`.
    fn substituted(&mut self, text: &str) -> Read<Option<Guard>> {
        let text = text.trim_matches('"');
        let inner = text
            .strip_prefix("$(")
            .and_then(|rest| rest.strip_suffix(')'))
            .or_else(|| text.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')));
        let Some(Ok(script)) = inner.map(|inner| crate::shell::parse(inner, self.line)) else { return Ok(None) };
        match &script.statements[..] {
            [Statement { first, rest, background: false }] if rest.is_empty() => {
                let line = self.line;
                let found = self.question(first);
                self.line = line;
                found
            }
            _ => Ok(None),
        }
    }
}

/// Whether a question is answered with yes by what is there, and not by what is missing.
fn asks_for(pipeline: &Pipeline) -> bool {
    pipeline.negated == is_negated(pipeline)
}

/// Whether a test is one for absence: `! -x`, `-z`.
fn is_negated(pipeline: &Pipeline) -> bool {
    let [command] = &pipeline.commands[..] else { return false };
    match &command.kind {
        Kind::Simple { words, .. } => {
            words.first().is_some_and(|word| word.text == "[" || word.text == "test")
                && words.iter().filter(|word| word.text == "!" || word.text == "-z").count() % 2 == 1
        }
        Kind::Test(condition) => negations(condition) % 2 == 1,
        _ => false,
    }
}

fn negations(condition: &Condition) -> usize {
    match condition {
        Condition::Not(inner) => 1 + negations(inner),
        Condition::Group(inner) => negations(inner),
        Condition::Unary(operator, _) => usize::from(operator == "-z"),
        _ => 0,
    }
}

/// A condition without what turns it around.
fn bare(condition: &Condition) -> &Condition {
    match condition {
        Condition::Not(inner) | Condition::Group(inner) => bare(inner),
        other => other,
    }
}

/// Whether a pipeline only passes over a failure.
fn pipeline_is_nothing(pipeline: &Pipeline) -> bool {
    let [Command { kind: Kind::Simple { words, .. }, .. }] = &pipeline.commands[..] else { return false };
    matches!(words.first().map(|word| word.text.as_str()), Some("true" | ":"))
}

/// The question whether a program is there.
fn program(path: &str) -> Option<Guard> {
    let path = path.trim_matches(['"', '\'']);
    path.contains("bin/").then_some(Guard::Program)
}

/// What a command asks, if it only asks.
fn asked(fields: &[String]) -> Option<Guard> {
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    match fields[..] {
        ["getent", "passwd" | "group", name] => Some(Guard::Account(name.to_owned())),
        ["id", name] | ["id", "-u" | "-g" | "-un" | "-gn", name] if !name.starts_with('-') => {
            Some(Guard::Account(name.to_owned()))
        }
        ["grep", "-q" | "-qs" | "-qE", pattern, "/etc/passwd" | "/etc/group" | "etc/passwd" | "etc/group"] => {
            let name = pattern.strip_prefix('^')?.strip_suffix(':')?;
            recipes::is_account_name(name).then(|| Guard::Account(name.to_owned()))
        }
        ["which" | "hash", _] | ["command", "-v", _] | ["type", "-p" | "-P" | "-t", _] => Some(Guard::Program),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Installs a text as `post_install`, and says what it declares.
    fn declared(body: &str) -> Result<String, String> {
        let text = format!("_user=svc\nhelp() {{ groupadd -r \"$1\"; }}\npost_install() {{\n{body}\n}}\n");
        let acts = read(&text, "post_install").map_err(|unclear| unclear.what)?;
        let mut all = Declared::default();
        all.take("post_install", acts, &|unit| unit == "svc.service")?;
        let mut out = super::super::writer::Writer::default();
        all.write(&mut out);
        let said: Vec<String> = all.says.iter().map(|(_, text)| format!("says {text}\n")).collect();
        let idle: Vec<String> = all.idle.iter().map(|(command, _)| format!("idle {command}\n")).collect();
        Ok(out.finish() + &said.concat() + &idle.concat())
    }

    #[test]
    fn what_is_understood_becomes_declarations() {
        let user = "users = [{ name = \"svc\", home = \"/home/svc\", shell = \"/bin/bash\" }]\n";
        let group = "groups = [{ name = \"svc\" }]\n";
        for (body, expected) in [
            ("getent group svc >/dev/null || groupadd -r svc", group),
            ("getent passwd svc &>/dev/null || useradd -r $_user >/dev/null 2>&1 || true", user),
            ("if ! getent passwd svc > /dev/null; then\n useradd --system svc\nfi", user),
            ("if ! id -u svc &>/dev/null; then useradd -r svc; fi; return 0", user),
            ("[[ $(getent passwd svc) ]] || useradd -r svc", ""),
            ("if [ -z \"`getent group svc`\" ]; then groupadd -r svc; fi", group),
            ("if [[ ! $(getent group svc) ]]; then groupadd -r svc; fi", ""),
            ("grep -q ^svc: /etc/group || groupadd --system svc", group),
            ("help svc", group),
            (
                "groupadd -g 77 svc\nuseradd -u 78 -g svc -G a,b -d var/lib/svc -s /usr/bin/nologin -c 'A b' svc\npasswd -l svc",
                "groups = [{ name = \"svc\", id = 77 }]\nusers = [{ name = \"svc\", id = 78, group = \"svc\", groups = [\"a\", \"b\"], \
              home = \"/var/lib/svc\", shell = \"/usr/bin/nologin\", comment = \"A b\" }]\n",
            ),
            (
                "useradd -r svc; usermod -aG video,audio svc",
                "users = [{ name = \"svc\", groups = [\"audio\", \"video\"], home = \"/home/svc\", shell = \"/bin/bash\" }]\n",
            ),
            (
                "for one in a b; do getent group $one || groupadd -r $one; done",
                "groups = [\n    { name = \"a\" },\n    { name = \"b\" },\n]\n",
            ),
            (
                "install -dm750 -o svc -g svc /var/lib/svc/",
                "directories = [{ path = \"/var/lib/svc\", mode = \"0750\", owner = \"svc\", group = \"svc\" }]\n",
            ),
            ("systemctl enable svc", "services = [\"svc.service\"]\n"),
            ("systemctl daemon-reload", "idle systemctl daemon-reload\n"),
            ("systemd-tmpfiles --create svc.conf", "idle systemd-tmpfiles --create svc.conf\n"),
            ("[ -x /usr/bin/update-desktop-database ] && update-desktop-database -q", ""),
            (
                "gtk-update-icon-cache -q -t -f usr/share/icons/hicolor\nglib-compile-schemas /usr/share/glib-2.0/schemas/",
                "",
            ),
            ("/sbin/ldconfig -r .; fc-cache -s; update-mime-database usr/share/mime &> /dev/null", ""),
            ("if [[ -x usr/bin/fc-cache ]]; then fc-cache -f; else echo none; fi", "says none\n"),
            ("echo -e \"one\\n\\e[1mtwo\"; printf '%s: %s\\n' a b >&2", "says one\ntwo\nsays a: b\n\n"),
            ("cat <<EOF\nhello ${_user}\nEOF", "says hello svc\n\n"),
            ("local who=there; echo hi $who", "says hi there\n"),
            (":", ""),
        ] {
            match declared(body) {
                Ok(found) if !expected.is_empty() => assert_eq!(found, expected, "{body}"),
                Ok(_) => {}
                Err(what) => panic!("{body}: {what}"),
            }
        }
    }

    #[test]
    fn what_is_not_understood_whole_has_to_be_run() {
        for (body, why) in [
            ("useradd -r svc\nchown -R svc /var/lib/svc", "`chown -R svc /var/lib/svc` has no declaration"),
            ("useradd -rm svc", "`useradd -rm svc` has no declaration"),
            ("useradd svc", "none of the system's"),
            ("groupadd svc", "none of the system's"),
            ("useradd -r \"$1\"", "`\"$1\"` is known only when it runs"),
            ("echo \"version $1\"", "is known only when it runs"),
            ("echo $(tput bold)", "is known only when it runs"),
            ("echo x > /etc/x", "reads or writes a file"),
            ("echo x | cat", "passes the output"),
            ("useradd -r svc &", "background"),
            ("if (( $(vercmp $2 1.0) < 0 )); then useradd -r svc; fi", "only running it would tell"),
            ("[ -f /etc/x ] && useradd -r svc", "has no declaration"),
            ("getent passwd svc && useradd -r svc", "depends on a question"),
            ("getent passwd other || useradd -r svc", "depends on a question"),
            ("[ -x /usr/bin/fc-cache ] && useradd -r svc", "depends on a question"),
            ("fc-cache -f || useradd -r svc", "depends on whether something else succeeds"),
            ("if [ -x /bin/a ]; then return; fi\nuseradd -r svc", "returns before its end"),
            ("return 1", "a status of its own"),
            ("fc-cache /usr/share/other", "has no declaration"),
            ("systemctl enable other.service", "whose unit"),
            ("systemctl enable svc@tty1", "has no declaration"),
            ("systemctl disable svc", "which no other function enables"),
            ("usermod -aG video somebody", "which it does not make"),
            ("userdel svc", "which no other function makes"),
            ("useradd -r svc; useradd -r -d / svc", "in two ways"),
            ("case $x in *) :; esac", "a construct that is not followed"),
            ("help() { :; }; help", "a construct that is not followed"),
            ("post_install", "calls itself"),
            ("X=1 fc-cache -f", "variables of its own"),
            ("rm -f /etc/x", "has no declaration"),
            ("! fc-cache -f", "turns a status around"),
        ] {
            match declared(body) {
                Err(what) => assert!(what.contains(why), "{body}: {what}"),
                Ok(found) => panic!("{body} was understood:\n{found}"),
            }
        }
        for top in ["touch /x", "x=$(date)", "[ -x /x ] && y=1"] {
            let read = read(&format!("\n{top}\npost_install() {{ echo $x; }}\n"), "post_install");
            assert!(read.is_err_and(|unclear| unclear.line > 1), "{top}");
        }
    }
}
