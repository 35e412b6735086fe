// recipes/src/read/names.rs
//! The names that `%(name)s` may use: `[variables]`, and what `[package]` gives.

use toml::de::DeValue;

use crate::expansion::{Expander, is_name_character};
use crate::reader::{Reader, Section};
use crate::text::quote;

/// Keys of `[package]` that are names, and the values they have when the recipe has none.
const FROM_PACKAGE: [(&str, Option<&str>); 3] = [("name", None), ("version", None), ("release", Some("1"))];

/// Makes all names known, and reports variables that have no value.
pub(super) fn define<'t>(reader: &mut Reader<'t>, root: &Section<'t>) {
    let package = root.get("package").and_then(|value| value.get_ref().as_table());
    for (name, default) in FROM_PACKAGE {
        match (package.and_then(|package| package.get(name)).map(toml::Spanned::get_ref), default) {
            (Some(DeValue::String(text)), _) => reader.expander.define(name, text),
            (None, Some(default)) => reader.expander.set(name, default.to_owned()),
            _ => reader.expander.poison(name),
        }
    }
    match package.and_then(|package| package.get("epoch")).map(toml::Spanned::get_ref) {
        None => reader.expander.set("epoch", "0".to_owned()),
        Some(DeValue::Integer(epoch)) => reader.expander.set("epoch", epoch.as_str().to_owned()),
        Some(_) => reader.expander.poison("epoch"),
    }
    let Some(variables) = reader.section(root, "variables") else {
        return;
    };
    let mut defined = Vec::new();
    for (key, value) in variables.in_order() {
        let name = key.get_ref().as_ref();
        if name.is_empty() || !name.chars().all(is_name_character) {
            let hint = "letters, digits, `_` and `-` make a name".to_owned();
            reader.report(key.span(), format!("the variable {} can never be used", quote(name)), hint);
        } else if !Expander::may_define(name) {
            let hint = "choose another name".to_owned();
            reader.report(key.span(), format!("the variable `{name}` is built in"), hint);
        } else if let DeValue::String(text) = value.get_ref() {
            reader.expander.define(name, text);
            defined.push((name, value.span(), text));
        } else {
            reader.expander.poison(name);
            reader.text(&variables, name);
        }
    }
    for (name, span, text) in defined {
        if reader.is_full() {
            return;
        }
        if let Err(error) = reader.expander.value(name) {
            reader.report_expansion(&error, span, text);
        }
    }
}
