// converters/src/shell/builtins.rs
//! The builtins that only compute, and what is said of the others.

use super::evaluate::{Evaluator, Stop};
use super::parse::parse;
use super::quoting::{Escapes, unescape};
use super::state::{Value, Variable};

/// Builtins of bash, known here or not.
const BUILTINS: &[&str] = &[
    ".",
    ":",
    "[",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "cd",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "declare",
    "dirs",
    "disown",
    "echo",
    "enable",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "getopts",
    "hash",
    "help",
    "history",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "wait",
];

/// makepkg's own functions that only say something.
const MESSAGES: &[&str] = &["msg", "msg2", "plain", "plainerr", "warning", "error", "ask"];

pub(super) fn is_builtin(name: &str) -> bool {
    BUILTINS.contains(&name)
}

/// Builtins whose arguments are assignments.
pub(super) fn is_declaration(name: &str) -> bool {
    ["declare", "typeset", "local", "readonly", "export"].contains(&name)
}

impl Evaluator<'_> {
    /// Runs a builtin, or notes that something is not here.
    pub(super) fn builtin(&mut self, fields: &[String]) -> Result<(), Stop> {
        let name = fields[0].as_str();
        let arguments = &fields[1..];
        let status = match name {
            ":" | "true" => Some(0),
            "false" => Some(1),
            "echo" => {
                self.echo(arguments)?;
                Some(0)
            }
            "printf" => return self.printf(arguments),
            "[" | "test" => {
                let inner = if name == "[" {
                    match arguments.split_last() {
                        Some((last, inner)) if last == "]" => inner,
                        _ => return Err(Stop::Run(self.need("`[` without `]`"))),
                    }
                } else {
                    arguments
                };
                match self.test(inner) {
                    Ok(held) => Some(i32::from(!held)),
                    Err(Stop::Unknown(_)) => None,
                    Err(stop) => return Err(stop),
                }
            }
            "let" => {
                let mut value = 0;
                for argument in arguments {
                    value = self.plain_arithmetic(argument)?;
                }
                Some(i32::from(value == 0))
            }
            "unset" => Some(self.unset_names(arguments)?),
            "shift" => {
                let count = arguments.first().map_or(Ok(1), |count| count.parse::<usize>());
                let known = self.positionals().map_err(Self::must_run)?.len();
                match count {
                    Ok(count) if count <= known => {
                        self.budget.copy(known)?;
                        self.positional.drain(..count);
                        Some(0)
                    }
                    _ => Some(1),
                }
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    Some(0)
                } else {
                    let levels = arguments.first().and_then(|count| count.parse().ok()).unwrap_or(1_usize);
                    let levels = levels.clamp(1, self.loops);
                    self.status = Some(0);
                    return Err(if name == "break" { Stop::Break(levels) } else { Stop::Continue(levels) });
                }
            }
            "return" | "exit" => {
                let status = match arguments.first() {
                    Some(text) => Some(text.parse().map_err(|_| Stop::Run(self.need("a status that is no number")))?),
                    None => self.status,
                };
                return Err(if name == "return" { Stop::Return(status) } else { Stop::Exit(status) });
            }
            "eval" => {
                let text = arguments.join(" ");
                let line = self.line;
                let script = parse(&text, line)?;
                if script.statements.is_empty() {
                    self.status = Some(0);
                }
                return self.deeper(|shell| shell.list(&script.statements));
            }
            "set" => return self.set_positional(arguments),
            "shopt" => return self.shopt(arguments),
            "read" => return self.read_builtin(arguments),
            "mapfile" | "readarray" => return self.mapfile(arguments),
            "command" | "builtin" if arguments.first().is_some_and(|first| !first.starts_with('-')) => {
                return self.builtin(arguments);
            }
            "umask" | "ulimit" | "hash" | "alias" | "unalias" | "times" | "trap" if self.output.is_none() => Some(0),
            "type" | "command" | "pwd" | "kill" | "caller" | "compgen" | "dirs" | "jobs" | "wait" => {
                return self.unknown_command(name);
            }
            _ if is_builtin(name) => return Err(Stop::Run(self.need(format!("`{name}`")))),
            _ if MESSAGES.contains(&name) => Some(0),
            "in_array" => Some(i32::from(!arguments.iter().skip(1).any(|item| *item == arguments[0]))),
            "is_array" if arguments.len() == 1 => {
                let held =
                    self.lookup(&arguments[0])?.is_some_and(|variable| matches!(variable.value, Value::Indexed(_)));
                Some(i32::from(!held))
            }
            "have_function" if arguments.len() == 1 => Some(i32::from(self.function(&arguments[0]).is_none())),
            _ => return self.filter(name, arguments),
        };
        self.status = status;
        Ok(())
    }

    /// A command that is not carried out: what it prints and whether it succeeds is not known.
    pub(super) fn unknown_command(&mut self, name: &str) -> Result<(), Stop> {
        if self.output.is_some() {
            return Err(Stop::Unknown(self.need(format!("the output of `{name}`"))));
        }
        self.status = None;
        Ok(())
    }

    fn echo(&mut self, arguments: &[String]) -> Result<(), Stop> {
        let (mut newline, mut escapes) = (true, false);
        let mut rest = arguments;
        while let Some((first, behind)) = rest.split_first() {
            let Some(flags) = first.strip_prefix('-').filter(|flags| !flags.is_empty()) else { break };
            if !flags.chars().all(|flag| "neE".contains(flag)) {
                break;
            }
            for flag in flags.chars() {
                match flag {
                    'n' => newline = false,
                    'e' => escapes = true,
                    _ => escapes = false,
                }
            }
            rest = behind;
        }
        let mut text = rest.join(" ");
        if escapes {
            let (plain, ended) = unescape(&text, Escapes::Echo);
            text = plain;
            newline &= !ended;
        }
        if newline {
            text.push('\n');
        }
        self.print(&text)
    }

    fn unset_names(&mut self, arguments: &[String]) -> Result<i32, Stop> {
        let mut status = 0;
        let (mut functions, mut references) = (false, false);
        for argument in arguments {
            match argument.as_str() {
                "-f" => functions = true,
                "-v" => functions = false,
                "-n" => references = true,
                name if references => {
                    self.variables.remove(name);
                }
                name if functions => {
                    self.functions.remove(name);
                }
                name => {
                    if let Some((array, subscript)) = name.split_once('[') {
                        let subscript = subscript.trim_end_matches(']').to_owned();
                        if !self.unset_element(array, &subscript)? {
                            status = 1;
                        }
                    } else {
                        let name = self.resolve(name);
                        if self.variables.contains_key(&name) {
                            self.check_writable(&name)?;
                            self.unset_variable(&name);
                        } else {
                            self.functions.remove(&name);
                        }
                    }
                }
            }
        }
        Ok(status)
    }

    /// Unsets a variable. One that is local to a function that called the current one gives way to what it hides.
    fn unset_variable(&mut self, name: &str) {
        self.variables.remove(name);
        let is_it = |(saved, _): &(String, Option<Variable>)| saved == name;
        let Some((own, callers)) = self.frames.split_last_mut() else { return };
        if own.saved.iter().any(is_it) {
            return;
        }
        for frame in callers.iter_mut().rev() {
            if let Some(at) = frame.saved.iter().position(is_it) {
                if let (_, Some(hidden)) = frame.saved.remove(at) {
                    self.variables.insert(name.to_owned(), hidden);
                }
                return;
            }
        }
    }

    /// Removes an element; says whether its subscript is one.
    fn unset_element(&mut self, array: &str, subscript: &str) -> Result<bool, Stop> {
        let array = self.resolve(array);
        let value = match self.lookup(&array).map_err(Self::must_run)? {
            Some(variable) => variable.value.clone(),
            None => return Ok(true),
        };
        if let Value::Scalar(_) | Value::Assoc(_) = &value {
            self.budget.copy(value.weight())?;
        }
        match value {
            _ if subscript == "@" || subscript == "*" => {
                self.variables.remove(&array);
            }
            Value::Indexed(mut elements) => {
                let index = self.arithmetic(subscript)?;
                let index = self.element_index(&array, index);
                if index < 0 {
                    return Ok(false);
                }
                self.budget.copy(elements.shared())?;
                elements.remove(&index);
                self.put(&array, Value::Indexed(elements));
            }
            Value::Assoc(mut table) => {
                let key = self.string(subscript)?;
                table.remove(&key);
                self.put(&array, Value::Assoc(table));
            }
            Value::Scalar(_) if self.arithmetic(subscript)? == 0 => {
                self.variables.remove(&array);
            }
            Value::Scalar(_) => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    fn set_positional(&mut self, arguments: &[String]) -> Result<(), Stop> {
        match arguments {
            [first, rest @ ..] if first == "--" => {
                self.positional = rest.to_vec();
                self.positional_known = true;
            }
            [first] if first == "-u" || first == "+u" => self.switches.nounset = first == "-u",
            [first, ..] if first == "-e" || first == "-eu" => {
                return Err(Stop::Run(self.need("`set -e` ends the shell where something fails")));
            }
            [first] if first == "+e" => {}
            [first, ..] if !first.starts_with(['-', '+']) => {
                self.positional = arguments.to_vec();
                self.positional_known = true;
            }
            [first, ..]
                if ["-x", "+x", "-v", "+v", "-h", "+h", "+H", "+o", "+B"].contains(&first.as_str())
                    && arguments.len() <= 2 => {}
            _ => return Err(Stop::Run(self.need("`set` with options"))),
        }
        self.status = Some(0);
        Ok(())
    }

    fn shopt(&mut self, arguments: &[String]) -> Result<(), Stop> {
        let Some((flag, names)) = arguments.split_first() else { return self.unknown_command("shopt") };
        if flag == "-p" || flag == "-q" || !flag.starts_with('-') {
            if let [name] = if flag.starts_with('-') { names } else { arguments } {
                let on = match name.as_str() {
                    "extglob" => self.switches.extglob,
                    "nullglob" => self.switches.nullglob,
                    _ => return self.unknown_command("shopt"),
                };
                if flag == "-p" {
                    self.print(&format!("shopt -{} {name}\n", if on { 's' } else { 'u' }))?;
                }
                self.status = Some(i32::from(!on));
                return Ok(());
            }
            return self.unknown_command("shopt");
        }
        let on = match flag.as_str() {
            "-s" => true,
            "-u" => false,
            _ => return Err(Stop::Run(self.need("`shopt` with other options"))),
        };
        for name in names {
            match name.as_str() {
                "extglob" => self.switches.extglob = on,
                "nullglob" => self.switches.nullglob = on,
                "globstar" | "expand_aliases" | "checkwinsize" | "progcomp" | "histappend" | "sourcepath"
                | "cmdhist" | "failglob" | "inherit_errexit" | "lastpipe" | "nocaseglob" | "dotglob"
                | "nocasematch" | "patsub_replacement"
                    if !on && name != "patsub_replacement" => {}
                "globstar" | "expand_aliases" | "checkwinsize" | "progcomp" | "histappend" | "sourcepath"
                | "cmdhist" | "inherit_errexit" => {}
                _ => return Err(Stop::Run(self.need(format!("`shopt {flag} {name}`")))),
            }
        }
        self.status = Some(0);
        Ok(())
    }
}
