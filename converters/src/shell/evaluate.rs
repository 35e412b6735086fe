// converters/src/shell/evaluate.rs
//! Follows statements without running anything.
//!
//! A command that only a machine could answer has an unknown status, and what it would have printed is an unknown value. Neither
//! stops the reading: it stops when a condition, an array or somebody outside asks.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::parse::{SyntaxError, parse};
use super::pattern::Pattern;
use super::state::{Value, Variable};
use super::syntax::{ArmEnd, Command, Function, Kind, Link, Pipeline, Statement, Word};
use super::words::assignment;

/// Something that only running would tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The line that needs it.
    pub line: usize,
    /// What would have to be run or known.
    pub what: String,
}

/// Why evaluation went no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A value is not known without running something.
    Unknown(Need),
    /// What happens next is not known without running something.
    Run(Need),
    /// A text that was to be evaluated is not shell.
    Syntax(SyntaxError),
    /// It takes more steps or bytes than allowed.
    Budget(Need),
    /// `break`, out of so many loops.
    Break(usize),
    /// `continue`, out of so many loops.
    Continue(usize),
    /// `return`, with its status.
    Return(Option<i32>),
    /// `exit`, with its status.
    Exit(Option<i32>),
}

impl From<SyntaxError> for Stop {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}

/// How the last substitution of a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Substituted {
    /// There was none.
    No,
    /// With a status, where it is known.
    With(Option<i32>),
}

/// A budget that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent;

/// How much may be done.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Steps that are left.
    pub steps: u64,
    /// Bytes that may still be made.
    pub bytes: u64,
    pub(crate) line: usize,
    pub(crate) nesting: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: 4_000_000, bytes: 64 << 20, line: 0, nesting: 0 }
    }
}

impl Budget {
    pub(crate) fn step(&mut self) -> Result<(), Stop> {
        match self.steps.checked_sub(1) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(self.exhausted("it takes more steps than a PKGBUILD may")),
        }
    }

    /// One step of a match, which must not nest deeper than the stack.
    pub(crate) fn deeper(&mut self) -> Option<()> {
        const DEEPEST: usize = 3000;
        self.nesting += 1;
        if self.nesting > DEEPEST {
            self.steps = 0;
        }
        self.step().ok()
    }

    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Stop> {
        match self.bytes.checked_sub(bytes as u64) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => Err(self.exhausted("it makes more text than a PKGBUILD may")),
        }
    }

    pub(crate) fn exhausted(&self, what: &str) -> Stop {
        Stop::Budget(Need { line: self.line, what: what.to_owned() })
    }
}

/// Deeper calls, substitutions and groups than this are no PKGBUILD's.
const DEEPEST: usize = 64;

/// The names beside the file, for `*` in words; nothing if they are not known.
pub(super) type Names<'n> = &'n dyn Fn() -> Option<Vec<String>>;

pub(super) struct Frame {
    pub saved: Vec<(String, Option<Variable>)>,
    pub name: String,
}

/// What a subshell may change without its parent seeing it.
struct Kept {
    variables: HashMap<String, Variable>,
    functions: BTreeMap<String, Rc<Function>>,
    positional: Vec<String>,
    positional_known: bool,
    extglob: bool,
    nullglob: bool,
}

/// A shell that only computes.
pub struct Evaluator<'n> {
    pub(super) variables: HashMap<String, Variable>,
    pub(super) frames: Vec<Frame>,
    pub(super) functions: BTreeMap<String, Rc<Function>>,
    pub(super) positional: Vec<String>,
    pub(super) positional_known: bool,
    /// The status of the last command, where it is known.
    pub(super) status: Option<i32>,
    pub(super) substituted: Substituted,
    /// What is printed, where somebody reads it.
    pub(super) output: Option<String>,
    pub(super) input: Option<super::redirects::Input>,
    pub(super) budget: Budget,
    pub(super) depth: usize,
    pub(super) loops: usize,
    pub(super) extglob: bool,
    pub(super) nullglob: bool,
    pub(super) line: usize,
    pub(super) names: Names<'n>,
}

impl<'n> Evaluator<'n> {
    /// Makes a shell with nothing set.
    #[must_use]
    pub fn new(budget: Budget, names: &'n dyn Fn() -> Option<Vec<String>>) -> Self {
        Self {
            variables: HashMap::from([("IFS".to_owned(), Variable::new(Value::Scalar(" \t\n".to_owned())))]),
            frames: Vec::new(),
            functions: BTreeMap::new(),
            positional: Vec::new(),
            positional_known: false,
            status: Some(0),
            substituted: Substituted::No,
            output: None,
            input: None,
            budget,
            depth: 0,
            loops: 0,
            extglob: false,
            nullglob: false,
            line: 1,
            names,
        }
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: Value) {
        self.variables.insert(name.to_owned(), Variable::new(value));
    }

    /// Removes a variable.
    pub fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// A variable, if it is declared.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.get(name)
    }

    /// A function, if it is defined.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Rc<Function>> {
        self.functions.get(name)
    }

    /// All functions by name.
    #[must_use]
    pub fn functions(&self) -> &BTreeMap<String, Rc<Function>> {
        &self.functions
    }

    /// All variables.
    pub fn variables(&self) -> impl Iterator<Item = (&String, &Variable)> {
        self.variables.iter()
    }

    /// The status of the last command; nothing if it is not known.
    #[must_use]
    pub fn status(&self) -> Option<i32> {
        self.status
    }

    /// Sets `$1`, `$2` and so on.
    pub fn set_arguments(&mut self, arguments: Vec<String>) {
        self.positional = arguments;
        self.positional_known = true;
    }

    /// Sets `$1`, `$2` and so on, or that they are not known; returns what they were.
    pub(crate) fn swap_arguments(&mut self, arguments: Option<Vec<String>>) -> Option<Vec<String>> {
        let known = std::mem::replace(&mut self.positional_known, arguments.is_some());
        let before = std::mem::replace(&mut self.positional, arguments.unwrap_or_default());
        known.then_some(before)
    }

    /// Whether extended patterns are switched on.
    pub fn set_extended_patterns(&mut self, on: bool) {
        self.extglob = on;
    }

    /// Evaluates a text whose first line has this number.
    ///
    /// # Errors
    /// [`Stop`] says how it ended before its end.
    pub fn run(&mut self, text: &str, first_line: usize) -> Result<(), Stop> {
        let script = parse(text, first_line)?;
        self.list(&script.statements)
    }

    /// Does something as within a function: with variables of its own, which are gone behind it. Whatever else it sets remains.
    pub fn within<T>(&mut self, function: &str, own: &[(&str, Value)], work: impl FnOnce(&mut Self) -> T) -> T {
        let saved = own.iter().map(|(name, _)| ((*name).to_owned(), self.variables.get(*name).cloned())).collect();
        self.frames.push(Frame { saved, name: function.to_owned() });
        for (name, value) in own {
            self.set(name, value.clone());
        }
        let positional = (self.positional.clone(), self.positional_known);
        let result = work(self);
        (self.positional, self.positional_known) = positional;
        self.leave();
        result
    }

    /// Leaves a function: its variables are gone, and those that they hid are back.
    fn leave(&mut self) {
        for (name, value) in self.frames.pop().map(|frame| frame.saved).into_iter().flatten().rev() {
            match value {
                Some(value) => self.variables.insert(name, value),
                None => self.variables.remove(&name),
            };
        }
    }

    fn keep(&self) -> Kept {
        Kept {
            variables: self.variables.clone(),
            functions: self.functions.clone(),
            positional: self.positional.clone(),
            positional_known: self.positional_known,
            extglob: self.extglob,
            nullglob: self.nullglob,
        }
    }

    fn restore(&mut self, kept: Kept) {
        self.variables = kept.variables;
        self.functions = kept.functions;
        self.positional = kept.positional;
        self.positional_known = kept.positional_known;
        self.extglob = kept.extglob;
        self.nullglob = kept.nullglob;
    }

    pub(super) fn need(&self, what: impl Into<String>) -> Need {
        Need { line: self.line, what: what.into() }
    }

    pub(super) fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        if self.depth >= DEEPEST {
            return Err(self.budget.exhausted("calls and substitutions are nested too deep"));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    pub(super) fn list(&mut self, list: &[Statement]) -> Result<(), Stop> {
        for statement in list {
            self.statement(statement)?;
        }
        Ok(())
    }

    fn statement(&mut self, statement: &Statement) -> Result<(), Stop> {
        self.budget.step()?;
        if statement.background {
            return Err(Stop::Run(self.need("a command in the background")));
        }
        self.pipeline(&statement.first)?;
        for (link, pipeline) in &statement.rest {
            let wanted = match (self.known_status(), link) {
                (Ok(status), Link::And) => status == 0,
                (Ok(status), Link::Or) => status != 0,
                // Whether it comes to this does not matter if nothing follows from it.
                (Err(_), _) if pipeline.commands.iter().all(|command| self.is_inert(command)) => continue,
                (Err(stop), _) => return Err(stop),
            };
            if wanted {
                self.pipeline(pipeline)?;
            }
        }
        Ok(())
    }

    fn all_inert(&self, list: &[Statement]) -> bool {
        list.iter().all(|statement| {
            let mut commands = statement.rest.iter().map(|(_, pipeline)| pipeline).chain([&statement.first]);
            !statement.background
                && commands.all(|pipeline| pipeline.commands.iter().all(|command| self.is_inert(command)))
        })
    }

    /// Whether a command changes nothing here and prints nothing that is read.
    fn is_inert(&self, command: &Command) -> bool {
        let Kind::Simple { assignments, words } = &command.kind else { return false };
        let [name, ..] = &words[..] else { return false };
        let plain = !name.text.contains(['$', '`', '\'', '"', '\\', '*', '?', '[', '~']);
        let external =
            !super::builtins::is_builtin(&name.text) || ["echo", "printf", "true", "false", ":"].contains(&&*name.text);
        assignments.is_empty()
            && plain
            && external
            && self.output.is_none()
            && !self.functions.contains_key(&name.text)
            && !words.iter().any(|word| super::variables::has_effects(&word.text) || word.text == "-v")
    }

    /// The last status, which must be known because something depends on it.
    pub(super) fn known_status(&self) -> Result<i32, Stop> {
        self.status.ok_or_else(|| Stop::Run(self.need("a condition that depends on a command's success")))
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Result<(), Stop> {
        match &pipeline.commands[..] {
            [command] => self.command(command)?,
            commands => self.joined(commands)?,
        }
        if pipeline.negated {
            self.status = self.status.map(|status| i32::from(status == 0));
        }
        Ok(())
    }

    /// Commands that read what the one before them prints, each in a shell of its own.
    fn joined(&mut self, commands: &[Command]) -> Result<(), Stop> {
        let outer_input = self.input.take();
        let mut passed: Option<super::redirects::Input> = outer_input.clone();
        let last = commands.len() - 1;
        let mut result = Ok(());
        for (index, command) in commands.iter().enumerate() {
            self.input = passed.take();
            if index == last {
                result = self.subshell(|shell| shell.command(command));
                break;
            }
            let captured = self.captured(|shell| shell.command(command));
            passed = Some(match captured {
                Ok(text) => super::redirects::Input::new(text),
                Err(Stop::Unknown(need) | Stop::Run(need)) => super::redirects::Input::unknown(need),
                Err(Stop::Return(_) | Stop::Exit(_) | Stop::Break(_) | Stop::Continue(_)) => {
                    super::redirects::Input::unknown(self.need("a pipeline that ends its shell"))
                }
                Err(stop) => {
                    result = Err(stop);
                    break;
                }
            });
        }
        self.input = outer_input;
        match result {
            Err(Stop::Unknown(_) | Stop::Run(_)) if self.output.is_none() => {
                self.status = None;
                Ok(())
            }
            Err(Stop::Run(need)) => Err(Stop::Unknown(need)),
            Err(Stop::Return(status) | Stop::Exit(status)) => {
                self.status = status;
                Ok(())
            }
            other => other,
        }
    }

    /// Does something in a shell of its own.
    pub(super) fn subshell<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        let size = self.variables.len() * 64 + self.functions.len() * 16;
        self.budget.spend(size)?;
        let kept = self.keep();
        let frames = std::mem::take(&mut self.frames);
        self.frames = frames.iter().map(|frame| Frame { saved: Vec::new(), name: frame.name.clone() }).collect();
        let loops = std::mem::take(&mut self.loops);
        let result = self.deeper(work);
        self.restore(kept);
        self.frames = frames;
        self.loops = loops;
        result
    }

    /// What something prints, done in a shell of its own.
    pub(super) fn captured(&mut self, work: impl FnOnce(&mut Self) -> Result<(), Stop>) -> Result<String, Stop> {
        let outer = self.output.replace(String::new());
        let result = self.subshell(work);
        let text = std::mem::replace(&mut self.output, outer).unwrap_or_default();
        match result {
            Ok(()) => Ok(text),
            Err(Stop::Return(status) | Stop::Exit(status)) => {
                self.status = status;
                Ok(text)
            }
            Err(stop) => Err(stop),
        }
    }

    /// The output of commands in `$(...)`, without the newlines at its end.
    pub(super) fn substitution(&mut self, text: &str) -> Result<String, Stop> {
        let line = self.line;
        let script = parse(text, line)?;
        let result = self.captured(|shell| {
            if script.statements.is_empty() {
                shell.status = Some(0);
            }
            shell.list(&script.statements)
        });
        self.line = line;
        match result {
            Ok(mut text) => {
                text.truncate(text.trim_end_matches('\n').len());
                self.substituted = Substituted::With(self.status);
                Ok(text)
            }
            Err(Stop::Run(mut need) | Stop::Unknown(mut need)) => {
                need.line = line;
                self.substituted = Substituted::With(None);
                Err(Stop::Unknown(need))
            }
            Err(stop) => Err(stop),
        }
    }

    pub(super) fn print(&mut self, text: &str) -> Result<(), Stop> {
        self.budget.spend(text.len())?;
        if let Some(output) = &mut self.output {
            output.push_str(text);
        }
        Ok(())
    }

    pub(super) fn command(&mut self, command: &Command) -> Result<(), Stop> {
        self.budget.step()?;
        self.line = command.line;
        self.budget.line = command.line;
        if let Kind::Function(function) = &command.kind {
            self.functions.insert(function.name.clone(), Rc::clone(function));
            self.status = Some(0);
            return Ok(());
        }
        if command.redirects.is_empty() {
            return self.kind(command);
        }
        self.redirected(command)
    }

    pub(super) fn kind(&mut self, command: &Command) -> Result<(), Stop> {
        match &command.kind {
            Kind::Simple { assignments, words } => self.simple(assignments, words),
            Kind::Group(list) => self.deeper(|shell| shell.list(list)),
            Kind::Subshell(list) => self.isolated(list),
            Kind::If { condition, body, otherwise } => self.deeper(|shell| {
                shell.list(condition)?;
                if shell.status.is_none() && shell.all_inert(body) && otherwise.iter().all(|list| shell.all_inert(list))
                {
                    return Ok(());
                }
                if shell.known_status()? == 0 {
                    return shell.list(body);
                }
                if let Some(list) = otherwise {
                    return shell.list(list);
                }
                shell.status = Some(0);
                Ok(())
            }),
            Kind::While { until, condition, body } => self.while_loop(*until, condition, body),
            Kind::For { select: true, .. } => Err(Stop::Run(self.need("`select` asks somebody"))),
            Kind::For { name, words, body, .. } => self.for_loop(name, words.as_deref(), body),
            Kind::Count { start, test, step, body } => self.count_loop(start, test, step, body),
            Kind::Case { word, arms } => self.case(word, arms),
            Kind::Arithmetic(text) => {
                let value = self.arithmetic(text)?;
                self.status = Some(i32::from(value == 0));
                Ok(())
            }
            Kind::Test(condition) => {
                let held = self.deeper(|shell| shell.condition(condition));
                match held {
                    Ok(held) => self.status = Some(i32::from(!held)),
                    Err(Stop::Unknown(_)) => self.status = None,
                    Err(stop) => return Err(stop),
                }
                Ok(())
            }
            Kind::Coprocess(_) => Err(Stop::Run(self.need("a coprocess"))),
            Kind::Function(_) => Ok(()),
        }
    }

    /// A list in parentheses: what it sets is gone behind it.
    fn isolated(&mut self, list: &[Statement]) -> Result<(), Stop> {
        match self.subshell(|shell| shell.list(list)) {
            Err(Stop::Return(status) | Stop::Exit(status)) => {
                self.status = status;
                Ok(())
            }
            Err(Stop::Unknown(_) | Stop::Run(_)) if self.output.is_none() => {
                self.status = None;
                Ok(())
            }
            Err(Stop::Run(need)) => Err(Stop::Unknown(need)),
            other => other,
        }
    }

    /// Runs a loop's body; says whether the loop goes on.
    fn round(&mut self, body: &[Statement]) -> Result<bool, Stop> {
        self.budget.step()?;
        match self.list(body) {
            Ok(()) | Err(Stop::Continue(1)) => Ok(true),
            Err(Stop::Break(1)) => Ok(false),
            Err(Stop::Break(levels)) => Err(Stop::Break(levels - 1)),
            Err(Stop::Continue(levels)) => Err(Stop::Continue(levels - 1)),
            Err(stop) => Err(stop),
        }
    }

    fn in_loop(&mut self, work: impl FnOnce(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        self.loops += 1;
        let result = self.deeper(work);
        self.loops = self.loops.saturating_sub(1);
        result
    }

    fn while_loop(&mut self, until: bool, condition: &[Statement], body: &[Statement]) -> Result<(), Stop> {
        self.in_loop(|shell| {
            let mut status = Some(0);
            loop {
                shell.list(condition)?;
                if (shell.known_status()? == 0) == until {
                    break;
                }
                let goes_on = shell.round(body)?;
                status = shell.status;
                if !goes_on {
                    break;
                }
            }
            shell.status = status;
            Ok(())
        })
    }

    fn for_loop(&mut self, name: &str, words: Option<&[Word]>, body: &[Statement]) -> Result<(), Stop> {
        let values = match words {
            Some(words) => self.fields_of(words).map_err(Self::must_run)?,
            None => self.positionals().map_err(Self::must_run)?,
        };
        if values.is_empty() {
            self.status = Some(0);
        }
        self.in_loop(|shell| {
            for value in values {
                shell.assign_scalar(name, value)?;
                if !shell.round(body)? {
                    break;
                }
            }
            Ok(())
        })
    }

    fn count_loop(&mut self, start: &str, test: &str, step: &str, body: &[Statement]) -> Result<(), Stop> {
        self.in_loop(|shell| {
            let value = |shell: &mut Self, text: &str| {
                if text.is_empty() { Ok(1) } else { shell.arithmetic(text).map_err(Self::must_run) }
            };
            value(shell, start)?;
            let mut entered = false;
            while value(shell, test)? != 0 {
                entered = true;
                if !shell.round(body)? {
                    break;
                }
                value(shell, step)?;
            }
            if !entered {
                shell.status = Some(0);
            }
            Ok(())
        })
    }

    fn case(&mut self, word: &Word, arms: &[super::syntax::Arm]) -> Result<(), Stop> {
        let text = self.string(&word.text).map_err(Self::must_run)?;
        let chars: Vec<char> = text.chars().collect();
        let (mut falls, mut ran) = (false, false);
        for arm in arms {
            let mut taken = falls;
            for pattern in &arm.patterns {
                if taken {
                    break;
                }
                let pattern = self.pattern(&pattern.text).map_err(Self::must_run)?;
                taken = self.matches(&pattern, &chars)?;
            }
            if !taken {
                continue;
            }
            ran |= !arm.body.is_empty();
            self.deeper(|shell| shell.list(&arm.body))?;
            match arm.end {
                ArmEnd::Break => break,
                ArmEnd::Fall => falls = true,
                ArmEnd::Test => falls = false,
            }
        }
        if !ran {
            self.status = Some(0);
        }
        Ok(())
    }

    pub(super) fn matches(&mut self, pattern: &Pattern, text: &[char]) -> Result<bool, Stop> {
        match pattern.matches(text, &mut self.budget) {
            Some(found) => Ok(found),
            None => Err(self.budget.exhausted("a pattern takes too many steps")),
        }
    }

    /// An unknown value on which the course depends.
    pub(super) fn must_run(stop: Stop) -> Stop {
        match stop {
            Stop::Unknown(need) => Stop::Run(need),
            other => other,
        }
    }

    fn simple(&mut self, assignments: &[Word], words: &[Word]) -> Result<(), Stop> {
        if words.is_empty() {
            self.substituted = Substituted::No;
            for word in assignments {
                self.assign_word(word)?;
            }
            self.status = match self.substituted {
                Substituted::No => Some(0),
                Substituted::With(status) => status,
            };
            return Ok(());
        }
        let name = &words[0].text;
        if super::builtins::is_declaration(name) && !self.functions.contains_key(name) {
            return self.declaration(name, &words[1..]);
        }
        let fields = match self.fields_of(words) {
            Ok(fields) => fields,
            Err(Stop::Unknown(need)) => return self.unknown_arguments(words, need),
            Err(stop) => return Err(stop),
        };
        if fields.is_empty() {
            for word in assignments {
                self.assign_word(word)?;
            }
            self.status = Some(0);
            return Ok(());
        }
        let mut saved = Vec::new();
        for word in assignments {
            if let Some(found) = assignment(&word.text) {
                saved.push((found.name.to_owned(), self.variables.get(found.name).cloned()));
            }
            self.assign_word(word)?;
        }
        let result = self.call(&fields);
        for (name, value) in saved.into_iter().rev() {
            match value {
                Some(value) => self.variables.insert(name, value),
                None => self.variables.remove(&name),
            };
        }
        result
    }

    /// A command with an argument that is not known.
    fn unknown_arguments(&mut self, words: &[Word], need: Need) -> Result<(), Stop> {
        let name = &words[0].text;
        let effects = words.iter().any(|word| super::variables::has_effects(&word.text));
        let plain = !name.contains(['$', '`', '*', '?', '[']);
        let prints = ["echo", "printf", "test", "[", ":", "true", "false"].contains(&name.as_str())
            && words.get(1).is_none_or(|word| word.text != "-v");
        if self.functions.contains_key(name) || effects || !plain || (super::builtins::is_builtin(name) && !prints) {
            return Err(Stop::Run(need));
        }
        if self.output.is_some() && !["test", "[", ":", "true", "false"].contains(&name.as_str()) {
            return Err(Stop::Unknown(need));
        }
        self.status = match name.as_str() {
            "echo" | ":" | "true" | "printf" => Some(0),
            "false" => Some(1),
            _ => None,
        };
        Ok(())
    }

    /// Calls a function, a builtin, or something that is not here.
    pub(super) fn call(&mut self, fields: &[String]) -> Result<(), Stop> {
        let name = fields[0].as_str();
        if let Some(function) = self.functions.get(name) {
            let function = Rc::clone(function);
            return self.call_function(&function, &fields[1..]);
        }
        self.builtin(fields)
    }

    pub(super) fn call_function(&mut self, function: &Function, arguments: &[String]) -> Result<(), Stop> {
        let positional = std::mem::replace(&mut self.positional, arguments.to_vec());
        let known = std::mem::replace(&mut self.positional_known, true);
        let loops = std::mem::take(&mut self.loops);
        self.frames.push(Frame { saved: Vec::new(), name: function.name.clone() });
        let line = self.line;
        let result = self.deeper(|shell| shell.command(&function.body));
        self.line = line;
        self.leave();
        self.positional = positional;
        self.positional_known = known;
        self.loops = loops;
        match result {
            Err(Stop::Return(status)) => {
                self.status = status;
                Ok(())
            }
            Err(Stop::Break(_) | Stop::Continue(_)) => Ok(()),
            other => other,
        }
    }
}
