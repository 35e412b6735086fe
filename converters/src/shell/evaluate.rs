// converters/src/shell/evaluate.rs
//! Follows statements without running anything.
//!
//! A command that only a machine could answer has an unknown status, and what it would have printed is an unknown value. Neither
//! stops the reading: it stops when a condition, an array or somebody outside asks.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::budget::Budget;
use super::parse::{SyntaxError, parse};
use super::pattern::Pattern;
use super::state::{Value, Variable};
use super::syntax::{Command, Function, Kind, Link, Pipeline, Statement, Word};
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

/// What is not known of something whose other parts are looked at all the same: each of them may end the shell.
#[derive(Default)]
pub(super) struct Missing(Option<Need>);

impl Missing {
    /// Keeps the first need; every other stop goes on.
    pub fn hold<T>(&mut self, result: Result<T, Stop>) -> Result<Option<T>, Stop> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(Stop::Unknown(need)) => {
                self.0.get_or_insert(need);
                Ok(None)
            }
            Err(stop) => Err(stop),
        }
    }

    /// Says at the end what was not known.
    pub fn end(self) -> Result<(), Stop> {
        self.0.map_or(Ok(()), |need| Err(Stop::Unknown(need)))
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

/// Deeper calls, substitutions and groups than this are no PKGBUILD's.
const DEEPEST: usize = 64;

/// The names beside the file, for `*` in words; nothing if they are not known.
pub(super) type Names<'n> = &'n dyn Fn() -> Option<Vec<String>>;

pub(super) struct Frame {
    pub saved: Vec<(String, Option<Variable>)>,
    pub name: String,
}

/// What `shopt` and `set` switch on, as far as it changes what words mean.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Switches {
    pub extglob: bool,
    pub nullglob: bool,
    /// `set -u`: to read what has no value ends the shell.
    pub nounset: bool,
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
    pub(super) switches: Switches,
    /// Whether a list that is not joined has been seen in the quotes that are read.
    pub(super) has_spread: bool,
    /// Whether a here-document or arithmetic is being expanded.
    pub(super) in_document: bool,
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
            switches: Switches::default(),
            has_spread: false,
            in_document: false,
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
        self.switches.extglob = on;
    }

    /// Evaluates a text whose first line has this number.
    ///
    /// # Errors
    /// [`Stop`] says how it ended before its end.
    pub fn run(&mut self, text: &str, first_line: usize) -> Result<(), Stop> {
        let script = parse(text, first_line)?;
        self.list(&script.statements)
    }

    /// Whether `set -u` is on.
    #[must_use]
    pub fn is_nounset(&self) -> bool {
        self.switches.nounset
    }

    /// Switches `set -u` off.
    pub fn forget_nounset(&mut self) {
        self.switches.nounset = false;
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
                    Err(Stop::Unknown(need)) => self.unknown_condition(condition, need)?,
                    Err(stop) => return Err(stop),
                }
                Ok(())
            }
            Kind::Coprocess(_) => Err(Stop::Run(self.need("a coprocess"))),
            Kind::Function(_) => Ok(()),
        }
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

/// What a variable holds behind a text, for tests.
#[cfg(test)]
pub(super) fn held(text: &str, name: &str) -> Vec<String> {
    let names = || Some(Vec::new());
    let mut shell = Evaluator::new(Budget::default(), &names);
    shell.run(text, 1).unwrap_or_else(|stop| panic!("{text}: {stop:?}"));
    shell.variable(name).map_or_else(Vec::new, |variable| variable.value.elements())
}

#[cfg(test)]
mod tests {
    use super::{Budget, Evaluator, Stop};
    use crate::shell::state::Value;

    #[test]
    fn what_has_to_be_run_is_unknown_until_somebody_asks() {
        let names = || Some(Vec::new());
        let mut shell = Evaluator::new(Budget::default(), &names);
        shell.run("a=$(git describe)\nb=\"v$a\"\nmake -j4\nc=1", 7).unwrap();
        assert!(matches!(&shell.variable("b").unwrap().value, Value::Unknown(need) if need.line == 7));
        assert_eq!(shell.variable("c").unwrap().value.elements(), ["1"]);
        let asked = shell.run("[[ $b == v1 ]] && c=2", 12);
        assert!(matches!(&asked, Err(Stop::Run(need)) if need.line == 12), "{asked:?}");
    }

    #[test]
    fn what_a_condition_would_have_set_is_not_known() {
        let names = || Some(Vec::new());
        for text in ["[[ $(date) =~ x ]]", "e=(''); [[ a =~ a ]]; x=n; case \"${e[*]}\"k in k) x=y ;; esac"] {
            let mut shell = Evaluator::new(Budget::default(), &names);
            let ended = shell.run(text, 1);
            let unknown = shell.variable("BASH_REMATCH").is_some_and(|held| matches!(held.value, Value::Unknown(_)));
            assert!(unknown || matches!(ended, Err(Stop::Run(_))), "{text}: {ended:?}");
        }
    }

    #[test]
    fn what_ends_the_shell_counts_behind_what_is_not_known() {
        let names = || Some(Vec::new());
        let texts = [
            "x=($(date) ${m['two words']})",
            "x=`date`${m['two words']}",
            "x=\"$(date)${m['two words']}\"",
            "x=({$(date),${m['two words']}})",
            "x=([1]=$(date) ${m['two words']})",
            "make $(date) ${m['two words']}",
            "x=$(date)${y:?}",
            "[[ $(date) == ${y:=k} ]]",
            "export 'y[1]'",
            "declare 'y[1'",
        ];
        for text in texts {
            let ended = Evaluator::new(Budget::default(), &names).run(text, 1);
            assert!(matches!(ended, Err(Stop::Run(_))), "{text}: {ended:?}");
        }
    }

    #[test]
    fn every_step_and_byte_is_counted() {
        let names = || Some(Vec::new());
        for text in ["while :; do :; done", "x=ab; while :; do x=$x$x; done"] {
            let mut shell = Evaluator::new(Budget { steps: 10_000, bytes: 10_000, ..Budget::default() }, &names);
            assert!(matches!(shell.run(text, 1), Err(Stop::Budget(_))), "{text}");
        }
    }

    #[test]
    fn what_is_not_set_ends_the_shell_while_that_is_asked_for() {
        let names = || Some(Vec::new());
        let run = |text: &str| {
            let mut shell = Evaluator::new(Budget::default(), &names);
            shell.run(text, 1).map(|()| shell.is_nounset())
        };
        for text in ["x=$y", "x=${#y}", "x=${y%a}", "x=${y[2]}", "x=$((y))", "f() { x=$1; }; f", "x=${y/a/b}"] {
            let text = format!("set -u; {text}");
            assert!(matches!(run(&text), Err(Stop::Run(_))), "{text}");
        }
        for text in
            ["x=${y-}", "x=${y:+$y}", "y=; x=$y", "y=(); x=(\"${y[@]}\")", "(set +u; x=$y)", "[[ -v y ]] || x=1"]
        {
            let text = format!("set -u; {text}");
            assert_eq!(run(&text).ok(), Some(true), "{text}");
        }
        assert_eq!(run("set -u; set +u; x=$y").ok(), Some(false));
        assert_eq!(run("(set -u); x=$y").ok(), Some(false));
    }

    #[test]
    fn what_is_copied_is_counted() {
        let names = || Some(Vec::new());
        let texts = [
            "x=({1..20000}); for i in {1..20000}; do (x+=(k)); done",
            "x=({1..20000}); for i in {1..20000}; do (x[1]=k); done",
            "x=({1..20000}); for i in {1..20000}; do y=${#x[@]}; done",
            "x=({1..20000}); for i in {1..20000}; do [[ -v x[1] ]]; done",
            "declare -A m; for i in {1..40000}; do m[$i]=k; done",
            "declare -A m; m=({1..80000})",
            "printf -v x %020000d 0; for i in {1..20000}; do (:); done",
            "printf -v x %020000d 0; for i in {1..20000}; do y=${#x}; done",
            "printf -v x %020000d 0; for i in {1..20000}; do y=${x:5:1}; done",
            "printf -v x %020000d 0; x=($x); for i in {1..20000}; do y=${#x[0]}; done",
            "printf -v x %020000d 0; for i in {1..20000}; do [[ -v x ]]; done",
            "set -- {1..20000}; for i in {1..20000}; do (:); done",
            "set -- {1..20000}; while (($#)); do shift; done",
        ];
        for text in texts {
            let mut shell = Evaluator::new(Budget { steps: 300_000, ..Budget::default() }, &names);
            assert!(matches!(shell.run(text, 1), Err(Stop::Budget(_))), "{text}");
        }
    }

    #[test]
    fn what_grows_bit_by_bit_is_not_copied() {
        let names = || Some(Vec::new());
        let texts = [
            "for i in {1..10000}; do x+=(k); done",
            "for i in {1..10000}; do x+=line; done",
            "for i in {1..10000}; do x[i]=k; done",
            "x=({1..20000}); for i in {1..2000}; do y=$(:); done",
            "x=({1..20000}); for i in {1..10000}; do y=${x[i]}; done",
            "set -- {1..20000}; for i in {1..10000}; do y=$7; done",
            "printf -v x %020000d 0; for i in {1..10000}; do y=k; done",
        ];
        for text in texts {
            let mut shell = Evaluator::new(Budget { steps: 300_000, ..Budget::default() }, &names);
            assert!(shell.run(text, 1).is_ok(), "{text}");
        }
    }
}
