// conary/commands/cook/shell.rs
//! `conary cook --shell`: a look into the sandbox before the first step.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::PathBuf;

use recipes::Recipe;
use store::Store;

use super::story::Story;
use crate::commands::{Context, enter};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};

/// Lays the build of the one recipe out and opens a shell in it; ends this process as the shell ended.
pub fn run(recipes: &[(Recipe, PathBuf)], store: &Store, options: &kitchen::Options, context: &Context<'_>) -> Outcome {
    let [(recipe, directory)] = recipes else {
        return Err(Failure::new(Code::Usage, "a shell is for one recipe, and these are several").hint("name one"));
    };
    let (input, output) = (io::stdin(), io::stdout());
    if !input.is_terminal() || !output.is_terminal() {
        return Err(Failure::new(Code::Usage, "a shell wants a terminal, and this is none")
            .hint("`conary cook --keep-failed` and `conary enter NAME -- COMMAND` need none"));
    }
    let story = Story::new(context);
    let name = recipe.name();
    let outcome =
        kitchen::visit(recipe, directory, store, options, context.cancel, &|event| story.tell(event), |plan| {
            story.end();
            context.ui.story("Entering", &format!("{name} before its first step; `sh -eux /steps/make` runs one"));
            sandbox::run_on_terminal(plan, input.as_fd(), output.as_fd(), context.cancel)
        });
    story.end();
    Ok(enter::ended(outcome??.status))
}
