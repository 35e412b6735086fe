// converters/src/pkgbuild/sections.rs
//! From a shell's state to a description, by makepkg's own rules.
//!
//! What a package says for itself is not found by calling its function. makepkg prints the function, takes every line that
//! begins with `attribute=` or `attribute+=`, and evaluates that line alone, with `pkgname` set to the package's name, on top of the base's
//! value. So a condition around it does not count, and a variable that the function set before is not there.

use std::path::Path;

use super::lint;
use super::schema::{ARRAYS, BY_ARCHITECTURE, PACKAGE_ARRAYS, PACKAGE_SCALARS, SCALARS, SUMS, is_array};
use super::{Description, Note, ReadError, Section, Written};
use crate::shell::{Evaluator, Stop, Value, bytes_of, print_function};

/// Where an attribute's value is collected, as in makepkg.
const OUTPUT: &str = "outvalue";

/// An attribute of a package's function whose lines have to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub package: String,
    pub attribute: String,
    pub array: bool,
    /// What stands behind the attribute's name, from the operator on.
    pub lines: Vec<String>,
}

/// The values that such lines gave.
pub(super) type Answer = (Asked, Vec<String>);

/// What such lines gave, where somebody ran them.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub known: Vec<Answer>,
    /// What nobody ran yet; it counts as nothing.
    pub pending: Vec<Asked>,
}

/// Collects everything that the shell knows. Without `answers`, a line that has to be run is an error.
pub(super) fn describe(
    shell: &mut Evaluator<'_>,
    mut notes: Vec<Note>,
    beside: Option<&Path>,
    mut answers: Option<&mut Answers>,
) -> Result<Description, ReadError> {
    match check_effects(shell, &elements(shell, "pkgname")?) {
        Err(ReadError::Needs(_)) if answers.is_some() => {}
        other => other?,
    }
    notes.extend(lint::variables(shell, beside));
    let names = elements(shell, "pkgname")?;
    let Some(first) = names.first().cloned() else { return Err(ReadError::Nameless) };
    let base_name = match scalar(shell, "pkgbase")? {
        Some(name) if !name.is_empty() => name,
        _ => first,
    };
    let mut base = Section { name: base_name, attributes: Vec::new() };
    for attribute in SCALARS {
        if let Some(value) = scalar(shell, attribute)?.filter(|value| !value.is_empty()) {
            base.attributes.push((attribute.to_owned(), vec![normal(&value)]));
        }
    }
    let architectures = elements(shell, "arch")?;
    let by_architecture = architecture_attributes(&architectures);
    for attribute in ARRAYS.iter().chain(&SUMS).map(ToString::to_string).chain(by_architecture) {
        let values = elements(shell, &attribute)?;
        if !values.is_empty() {
            base.attributes.push((attribute, values.iter().map(|value| normal(value)).collect()));
        }
    }
    let mut packages = Vec::new();
    for name in &names {
        packages.push(package(shell, name, answers.as_deref_mut())?);
    }
    let functions = shell.functions().values().map(|function| Written {
        name: function.name.clone(),
        line: function.line,
        text: function.text.clone(),
        body: function.body_text.clone(),
    });
    let functions = functions.collect();
    notes.extend(lint::files_of(&packages, beside));
    notes.sort();
    notes.dedup();
    let (variables, unknown) = variables(shell);
    Ok(Description { base, packages, functions, variables, unknown, notes })
}

/// The names of attributes that the architectures may have of their own.
fn architecture_attributes(architectures: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    for architecture in architectures.iter().filter(|name| *name != "any") {
        names.extend(BY_ARCHITECTURE.iter().chain(&SUMS).map(|attribute| format!("{attribute}_{architecture}")));
    }
    names
}

/// The value of a variable with one value; an unknown one is an error.
fn scalar(shell: &Evaluator<'_>, name: &str) -> Result<Option<String>, ReadError> {
    match shell.variable(name).map(|variable| &variable.value) {
        Some(Value::Unknown(need)) => Err(ReadError::Needs(need.clone())),
        Some(value) => Ok(value.first().map(str::to_owned)),
        None => Ok(None),
    }
}

/// The values of a list.
fn elements(shell: &Evaluator<'_>, name: &str) -> Result<Vec<String>, ReadError> {
    match shell.variable(name).map(|variable| &variable.value) {
        Some(Value::Unknown(need)) => Err(ReadError::Needs(need.clone())),
        Some(value) => Ok(value.elements()),
        None => Ok(Vec::new()),
    }
}

/// Blanks as makepkg prints them: runs become one space, one at either end goes.
fn normal(text: &str) -> String {
    let is_blank = |c: char| c.is_ascii_whitespace() || c == '\u{b}';
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if !is_blank(c) {
            out.push(c);
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    let out = out.strip_prefix(' ').unwrap_or(&out);
    out.strip_suffix(' ').unwrap_or(out).to_owned()
}

/// What one package says otherwise than the base.
fn package(shell: &mut Evaluator<'_>, name: &str, mut answers: Option<&mut Answers>) -> Result<Section, ReadError> {
    let function = shell.function(&format!("package_{name}")).or_else(|| shell.function("package")).cloned();
    let mut section = Section { name: name.to_owned(), attributes: Vec::new() };
    let Some(function) = function else { return Ok(section) };
    let printed = print_function(&function);
    let lines: Vec<Line<'_>> = printed.lines().filter_map(Line::of).collect();
    if lines.is_empty() {
        return Ok(section);
    }
    let mut evaluate = |attribute: &str, array: bool| -> Result<Option<Vec<String>>, ReadError> {
        overridden(shell, name, function.line, &lines, attribute, array, answers.as_deref_mut())
    };
    for attribute in PACKAGE_SCALARS {
        if let Some(values) = evaluate(attribute, false)? {
            section.attributes.push((attribute.to_owned(), values));
        }
    }
    for attribute in PACKAGE_ARRAYS {
        if let Some(values) = evaluate(attribute, true)? {
            section.attributes.push((attribute.to_owned(), values));
        }
    }
    let architectures = match section.values("arch") {
        Some(architectures) => architectures.to_vec(),
        None => elements(shell, "arch")?,
    };
    for attribute in architecture_attributes(&architectures) {
        let values = overridden(shell, name, function.line, &lines, &attribute, true, answers.as_deref_mut())?;
        if let Some(values) = values {
            section.attributes.push((attribute, values));
        }
    }
    Ok(section)
}

/// A line of a printed function that begins like an assignment.
pub(super) struct Line<'t> {
    pub name: &'t str,
    pub array: bool,
    /// From the operator on.
    rest: &'t str,
}

impl<'t> Line<'t> {
    pub fn of(line: &'t str) -> Option<Self> {
        let text = line.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
        if !line[..line.len() - text.len()].ends_with(' ') {
            return None;
        }
        let length = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let (name, rest) = text.split_at(length);
        let value = rest.strip_prefix("+=").or_else(|| rest.strip_prefix('='))?;
        // makepkg wants something behind the equals sign.
        let first = value.chars().next()?;
        (!name.is_empty()).then_some(Self { name, array: first == '(', rest })
    }

    /// Assigns its value to another variable. As in makepkg, a line that is no shell by itself is passed over.
    fn evaluate(&self, shell: &mut Evaluator<'_>, output: &str, function_line: usize) -> Result<(), ReadError> {
        match shell.run(&format!("{output}{}", self.rest), function_line) {
            Ok(()) | Err(Stop::Syntax(_)) => Ok(()),
            Err(stop) => Err(stop.into()),
        }
    }
}

/// What makepkg's checks look at before anything is printed, in their order: an attribute, and whether as a list.
const CHECKED: [(&str, bool); 12] = [
    ("arch", true),
    ("backup", true),
    ("changelog", false),
    ("checkdepends", true),
    ("conflicts", true),
    ("depends", true),
    ("install", false),
    ("makedepends", true),
    ("optdepends", true),
    ("options", true),
    ("provides", true),
    ("replaces", false),
];

/// Carries out what makepkg's checks set beside what they look at.
///
/// They evaluate a whole line for the attribute that begins it. What stands behind it on the same line, in
/// `provides=(a) conflicts=(b)`, is then set for the whole build, before the base is printed.
fn check_effects(shell: &mut Evaluator<'_>, names: &[String]) -> Result<(), ReadError> {
    let mut found = Vec::new();
    for name in names {
        let function = shell.function(&format!("package_{name}")).or_else(|| shell.function("package")).cloned();
        let Some(function) = function else { continue };
        let printed = print_function(&function);
        let sets_more = |line: &Line<'_>| {
            crate::shell::parse(&format!("x{}", line.rest), 1).is_ok_and(|script| !script.is_one_assignment())
        };
        if printed.lines().filter_map(Line::of).any(|line| sets_more(&line)) {
            found.push((function.line, printed));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let architectures = elements(shell, "arch")?;
    for (attribute, array) in CHECKED {
        for (function_line, printed) in &found {
            let by_architecture = architectures.iter().map(|architecture| format!("{attribute}_{architecture}"));
            for attribute in std::iter::once(attribute.to_owned()).chain(by_architecture) {
                let lines = printed.lines().filter_map(Line::of);
                for line in lines.filter(|line| line.name == attribute && line.array == array) {
                    shell.within("extract_function_variable", &[("list", Value::Unset)], |shell| {
                        shell.set_extended_patterns(true);
                        let result = line.evaluate(shell, "list", *function_line);
                        shell.set_extended_patterns(false);
                        result
                    })?;
                }
            }
        }
    }
    Ok(())
}

/// The value of an attribute on which a package's function has lines; nothing if it has none.
fn overridden(
    shell: &mut Evaluator<'_>,
    package: &str,
    function_line: usize,
    lines: &[Line<'_>],
    attribute: &str,
    array: bool,
    answers: Option<&mut Answers>,
) -> Result<Option<Vec<String>>, ReadError> {
    if !lines.iter().any(|line| line.name == attribute && line.array == array) {
        return Ok(None);
    }
    let plain = attribute.split_once('_').map_or(attribute, |(plain, _)| plain);
    debug_assert!(!array || is_array(plain));
    let value = if array {
        Value::Indexed((0..).zip(elements(shell, attribute)?).collect())
    } else {
        Value::Scalar(scalar(shell, attribute)?.unwrap_or_default())
    };
    let texts = lines.iter().filter(|line| line.name == attribute && line.array == array);
    let flag = if array { "1" } else { "0" };
    let own = [
        ("pkgname", package),
        ("attrname", attribute),
        ("attr", attribute),
        ("isarray", flag),
        ("outputvar", OUTPUT),
        ("funcname", &format!("package_{package}")),
    ]
    .map(|(name, text)| (name, Value::Scalar(text.to_owned())));
    // These belong to functions of makepkg that call that one, and hide what the file calls so.
    let callers = [("pkg", Value::Scalar(package.to_owned())), ("a", Value::Unset), ("package_arch", Value::Unset)];
    let own: Vec<(&str, Value)> = callers.into_iter().chain(own).chain([(OUTPUT, value)]).collect();
    let values = shell.within("extract_function_variable", &own, |shell| {
        let arguments = [&format!("package_{package}"), attribute, flag, OUTPUT];
        shell.set_arguments(arguments.map(ToOwned::to_owned).to_vec());
        shell.set_extended_patterns(true);
        for line in texts {
            line.evaluate(shell, OUTPUT, function_line)?;
        }
        shell.set_extended_patterns(false);
        elements(shell, OUTPUT)
    });
    let values = match (values, answers) {
        (Err(ReadError::Needs(_)), Some(answers)) => {
            let lines = lines.iter().filter(|line| line.name == attribute && line.array == array);
            let asked = Asked {
                package: package.to_owned(),
                attribute: attribute.to_owned(),
                array,
                lines: lines.map(|line| line.rest.to_owned()).collect(),
            };
            let known = answers.known.iter().find(|(known, _)| *known == asked).map(|(_, values)| values.clone());
            known.unwrap_or_else(|| {
                answers.pending.push(asked);
                Vec::new()
            })
        }
        (values, _) => values?,
    };
    Ok(Some(values.iter().map(|value| normal(value)).collect()))
}

/// Variables that are no metadata, as shell that sets them again; and those whose value is not known.
fn variables(shell: &Evaluator<'_>) -> (Vec<(String, String)>, Vec<Note>) {
    let quoted = crate::shell::quoted;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for (name, variable) in shell.variables() {
        if crate::shell::is_surrounding(name)
            || is_metadata(name)
            || ["CARCH", "CHOST", "BASH_REMATCH", "REPLY"].contains(&name.as_str())
        {
            continue;
        }
        let text = match &variable.value {
            Value::Scalar(text) => format!("{name}={}", quoted(text)),
            Value::Indexed(elements) => {
                let whole = elements.keys().enumerate().all(|(at, key)| i64::try_from(at).is_ok_and(|at| at == *key));
                let word = |(key, text): (&i64, &String)| {
                    if whole { quoted(text) } else { format!("[{key}]={}", quoted(text)) }
                };
                format!("{name}=({})", elements.iter().map(word).collect::<Vec<_>>().join(" "))
            }
            Value::Assoc(table) => {
                let words: Vec<String> = table
                    .in_order()
                    .into_iter()
                    .map(|(key, text)| format!("[{}]={}", quoted(key), quoted(text)))
                    .collect();
                format!("declare -A {name}=({})", words.join(" "))
            }
            Value::Unknown(need) => {
                unknown.push(Note { line: need.line, what: name.clone() });
                continue;
            }
            Value::Unset => continue,
        };
        known.push((name.clone(), if variable.exported { format!("{text}\nexport {name}") } else { text }));
    }
    known.sort();
    unknown.sort();
    (known, unknown)
}

/// Whether a variable is an attribute that the description has in its own place.
fn is_metadata(name: &str) -> bool {
    let plain = name.split_once('_').map_or(name, |(plain, _)| plain);
    name == "pkgname" || name == "pkgbase" || SCALARS.contains(&name) || (is_array(plain) && !name.starts_with('_'))
}

impl Description {
    /// The text that `makepkg --printsrcinfo` prints.
    #[must_use]
    pub fn srcinfo(&self) -> Vec<u8> {
        // Writing to a string does not fail.
        use std::fmt::Write as _;
        let mut out = format!("pkgbase = {}\n", self.base.name);
        let write = |section: &Section, out: &mut String| {
            for (attribute, values) in &section.attributes {
                if values.is_empty() {
                    let _ = writeln!(out, "\t{attribute} = ");
                }
                for value in values {
                    let _ = writeln!(out, "\t{attribute} = {value}");
                }
            }
        };
        write(&self.base, &mut out);
        for package in &self.packages {
            let _ = writeln!(out, "\npkgname = {}", package.name);
            write(package, &mut out);
        }
        bytes_of(&out)
    }
}
