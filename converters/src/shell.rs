// converters/src/shell.rs
//! Bash, as far as text can say what it means: a parser of the whole syntax and an evaluator that runs nothing.
//!
//! The [`syntax`] tree comes from the [`parse`]r; [`print`] writes a function the way `declare -f` does, which matters because
//! makepkg reads overrides from that text. The [`evaluate`]-or follows assignments, expansions, conditions, loops, functions
//! and the builtins that only compute. Whatever would have to be run has an *unknown* value: it may be stored and passed
//! on, and asking for it is an error with its line. So nothing is guessed, and what nobody asks for does no harm.
//! Every step and every byte is counted against a [`Budget`]: no text can make it hang.

mod arithmetic;
mod assoc;
mod braces;
mod bracketed;
mod budget;
mod builtins;
mod bytes;
mod conditions;
mod declare;
mod evaluate;
mod expand;
mod fields;
mod filters;
mod heredoc;
mod loops;
mod parameters;
mod parse;

mod pattern;
mod print;
mod printf;
mod quoting;
mod redirects;
mod regex;
mod replace;
mod skip;
mod slices;
mod state;
mod subshells;
mod syntax;
mod variables;
mod words;

pub use budget::Budget;
pub use bytes::{bytes_of, text_of};
pub use evaluate::{Evaluator, Need, Stop};
pub use parse::{SyntaxError, parse};
pub use print::function as print_function;
pub use state::{Value, Variable};
pub(crate) use syntax::{Command, Condition, Kind, Link, Pipeline, Redirect, Statement, Word};
pub use syntax::{Function, Script};
pub use variables::is_surrounding;

/// Quotes a text so that a shell reads it back, plainly where that will do.
#[must_use]
pub fn quoted(text: &str) -> String {
    let plain =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-+./:,@%=".contains(&byte));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
