// kitchen/src/order.rs
//! The order in which several recipes are cooked: what another of them needs to build comes first.

use std::collections::BTreeMap;

use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::DiGraph;
use recipes::{Capability, Name, Recipe};

/// Recipes that need one another to build.
#[derive(Debug, thiserror::Error)]
#[error("these recipes need one another to build: {}", .names.iter().map(Name::as_str).collect::<Vec<_>>().join(", "))]
pub struct CycleError {
    /// The packages of the cycle, sorted.
    pub names: Vec<Name>,
}

impl CycleError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some("cook one of them first without the other, from a recipe that can do without".to_owned())
    }
}

/// Positions of `recipes` in an order in which each comes after those that it needs to build.
///
/// A requirement is followed when it names a package, or something that a recipe's `runtime.provides`
/// declares. Recipes that do not need one another keep the order given.
///
/// # Errors
/// [`CycleError`] if there is no such order.
pub fn of(recipes: &[&Recipe]) -> Result<Vec<usize>, CycleError> {
    let mut graph = DiGraph::<usize, ()>::new();
    // The sort walks from the last node: added in reverse, equals come out as given.
    let mut nodes: Vec<_> = (0..recipes.len()).rev().map(|position| graph.add_node(position)).collect();
    nodes.reverse();
    let by_name: BTreeMap<&Name, usize> = recipes
        .iter()
        .enumerate()
        .flat_map(|(position, recipe)| names(recipe).map(move |name| (name, position)))
        .collect();
    for (position, recipe) in recipes.iter().enumerate() {
        let build = &recipe.build;
        for wanted in
            build.requires.iter().chain(&build.makedepends).chain(&build.checkdepends).flat_map(|r| &r.alternatives)
        {
            let needed = match wanted {
                Capability::Package { name, .. } => by_name.get(name).copied(),
                _ => None,
            };
            let needed = needed
                .or_else(|| recipes.iter().position(|other| provides(other).any(|given| wanted.satisfied_by(given))));
            if let Some(needed) = needed.filter(|needed| *needed != position) {
                graph.update_edge(nodes[needed], nodes[position], ());
            }
        }
    }
    if let Ok(sorted) = toposort(&graph, None) {
        return Ok(sorted.into_iter().map(|node| graph[node]).collect());
    }
    let cycle = tarjan_scc(&graph).into_iter().find(|group| group.len() > 1).unwrap_or_default();
    let mut names: Vec<Name> = cycle.into_iter().map(|node| recipes[graph[node]].name().clone()).collect();
    names.sort_unstable();
    Err(CycleError { names })
}

/// The names of all packages that a recipe makes.
fn names(recipe: &Recipe) -> impl Iterator<Item = &Name> {
    recipe.products().into_iter().map(|product| &product.package.name)
}

/// What the packages that a recipe makes are declared to give.
fn provides(recipe: &Recipe) -> impl Iterator<Item = &Capability> {
    recipe.products().into_iter().flat_map(|product| &product.runtime.provides)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(name: &str, needs: &str) -> Recipe {
        let text = format!(
            "[package]\nname = \"{name}\"\nversion = \"1\"\n[build]\nmakedepends = [{needs}]\ninstall = \"true\"\n"
        );
        recipes::parse(&text, "recipe.toml").unwrap()
    }

    fn order(list: &[(&str, &str)]) -> Result<Vec<String>, CycleError> {
        let recipes: Vec<Recipe> = list.iter().map(|(name, needs)| recipe(name, needs)).collect();
        let borrowed: Vec<&Recipe> = recipes.iter().collect();
        Ok(of(&borrowed)?.into_iter().map(|p| recipes[p].name().to_string()).collect())
    }

    #[test]
    fn needed_first_else_as_given() {
        assert_eq!(order(&[("b", ""), ("a", ""), ("c", "")]).unwrap(), ["b", "a", "c"]);
        assert_eq!(
            order(&[("less", "\"ncurses\""), ("ncurses", ""), ("sed", "")]).unwrap(),
            ["ncurses", "less", "sed"]
        );
    }

    #[test]
    fn a_cycle_names_its_members() {
        let error = order(&[("x", ""), ("b", "\"a\""), ("a", "\"b\"")]).unwrap_err();
        assert_eq!(error.to_string(), "these recipes need one another to build: a, b");
    }
}
