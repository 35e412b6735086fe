// converters/src/shell/subshells.rs
//! Shells of their own: parentheses, pipelines, and `$(...)`. What one of them sets is gone behind it; what it prints may be read.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::evaluate::{Evaluator, Frame, Stop, Substituted, Switches};
use super::parse::parse;
use super::redirects::Input;
use super::state::{Value, Variable, weights};
use super::syntax::{Command, Function, Statement};

/// What a subshell may change without its parent seeing it.
struct Kept {
    variables: HashMap<String, Variable>,
    functions: BTreeMap<String, Rc<Function>>,
    positional: Vec<String>,
    positional_known: bool,
    switches: Switches,
}

impl Evaluator<'_> {
    fn keep(&self) -> Kept {
        Kept {
            variables: self.variables.clone(),
            functions: self.functions.clone(),
            positional: self.positional.clone(),
            positional_known: self.positional_known,
            switches: self.switches,
        }
    }

    fn restore(&mut self, kept: Kept) {
        self.variables = kept.variables;
        self.functions = kept.functions;
        self.positional = kept.positional;
        self.positional_known = kept.positional_known;
        self.switches = kept.switches;
    }

    /// Commands that read what the one before them prints, each in a shell of its own.
    pub(super) fn joined(&mut self, commands: &[Command]) -> Result<(), Stop> {
        let outer_input = self.input.take();
        let mut passed: Option<Input> = outer_input.clone();
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
                Ok(text) => Input::new(text),
                Err(Stop::Unknown(need) | Stop::Run(need)) => Input::unknown(need),
                Err(Stop::Return(_) | Stop::Exit(_) | Stop::Break(_) | Stop::Continue(_)) => {
                    Input::unknown(self.need("a pipeline that ends its shell"))
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
        let texts = self.variables.values().filter_map(|variable| match &variable.value {
            Value::Scalar(text) => Some(text.len() / 64),
            _ => None,
        });
        let weight = texts.sum::<usize>() + weights(&self.positional);
        self.budget.copy(weight)?;
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

    /// A list in parentheses: what it sets is gone behind it.
    pub(super) fn isolated(&mut self, list: &[Statement]) -> Result<(), Stop> {
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
}
