// converters/src/shell/variables.rs
//! Assigning and reading variables.

use super::assoc::Assoc;
use super::braces;
use super::evaluate::{Evaluator, Missing, Need, Stop};
use super::state::{Elements, Value, Variable};
use super::syntax::Word;
use super::words::{assignment, is_name};

/// Variables of the surroundings: what they hold is not in the text.
const SURROUNDINGS: &[&str] = &[
    "BASH",
    "BASHOPTS",
    "BASHPID",
    "BASH_ARGC",
    "BASH_ARGV",
    "BASH_ARGV0",
    "BASH_COMMAND",
    "BASH_LINENO",
    "BASH_SOURCE",
    "BASH_SUBSHELL",
    "BASH_VERSINFO",
    "BASH_VERSION",
    "BUILDDIR",
    "BUILDENV",
    "BUILDFILE",
    "BUILDTOOL",
    "BUILDTOOLVER",
    "CFLAGS",
    "COLUMNS",
    "COMP_WORDBREAKS",
    "CPPFLAGS",
    "CXXFLAGS",
    "DBGSRCDIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "DEBUG_CFLAGS",
    "DEBUG_CXXFLAGS",
    "DEBUG_RUSTFLAGS",
    "DIRSTACK",
    "DISPLAY",
    "DISTCC_HOSTS",
    "DLAGENTS",
    "EDITOR",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GNUPGHOME",
    "GPGKEY",
    "GROUPS",
    "HISTCMD",
    "HOME",
    "HOSTNAME",
    "HOSTTYPE",
    "INTEGRITY_CHECK",
    "LANG",
    "LC_ALL",
    "LDFLAGS",
    "LIBRARY",
    "LINENO",
    "LINES",
    "LOGDEST",
    "LOGNAME",
    "LTOFLAGS",
    "MACHTYPE",
    "MAKEFLAGS",
    "MAKEPKG_CONF",
    "MAN_DIRS",
    "NINJAFLAGS",
    "OLDPWD",
    "OPTIONS",
    "OSTYPE",
    "PACKAGER",
    "PACMAN",
    "PACMAN_AUTH",
    "PACMAN_OPTS",
    "PACMAN_PATH",
    "PATH",
    "PIPESTATUS",
    "PKGDEST",
    "PKGEXT",
    "PPID",
    "PURGE_TARGETS",
    "PWD",
    "RANDOM",
    "RUSTFLAGS",
    "SECONDS",
    "SHELL",
    "SHELLOPTS",
    "SHLVL",
    "SOURCE_DATE_EPOCH",
    "SRANDOM",
    "SRCDEST",
    "SRCEXT",
    "SRCPKGDEST",
    "STRIP_BINARIES",
    "STRIP_SHARED",
    "STRIP_STATIC",
    "TERM",
    "TMPDIR",
    "UID",
    "USER",
    "VCSCLIENTS",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "makepkg_version",
    "startdir",
    "COMPRESSZST",
    "COMPRESSXZ",
    "COMPRESSGZ",
    "GOFLAGS",
    "GOPATH",
    "CARGO_HOME",
];

/// Whether a variable belongs to the shell or to makepkg, and not to the text.
#[must_use]
pub fn is_surrounding(name: &str) -> bool {
    SURROUNDINGS.contains(&name)
        || name.starts_with("LC_")
        || name.starts_with("BASH_")
        || ["IFS", "OPTIND", "OPTERR", "PS4", "_"].contains(&name)
}

/// Whether a word that was not evaluated to its end could have set something.
pub(super) fn has_effects(text: &str) -> bool {
    text.contains(":=")
        || (["$((", "$["].iter().any(|start| text.contains(start))
            && (text.contains("++") || text.contains("--") || text.contains('=')))
        || (text.contains("${")
            && text.split("${").skip(1).any(|part| {
                part.split('}').next().is_some_and(|inner| inner.split_once('=').is_some_and(|(name, _)| is_name(name)))
            }))
}

impl Evaluator<'_> {
    /// The name behind a chain of references.
    pub(super) fn resolve(&self, name: &str) -> String {
        let mut name = name.to_owned();
        for _ in 0..8 {
            match self.variables.get(&name) {
                Some(Variable { reference: true, value: Value::Scalar(target), .. }) if !target.is_empty() => {
                    name.clone_from(target);
                }
                _ => break,
            }
        }
        name
    }

    /// A variable that is read.
    pub(super) fn lookup(&self, name: &str) -> Result<Option<&Variable>, Stop> {
        let found = match self.variables.get(name) {
            Some(variable) if variable.reference => self.variables.get(&self.resolve(name)),
            found => found,
        };
        match found {
            Some(Variable { value: Value::Unknown(need), .. }) => {
                Err(Stop::Unknown(Need { line: need.line, what: need.what.clone() }))
            }
            None if SURROUNDINGS.contains(&name) || name.starts_with("LC_") => {
                Err(Stop::Unknown(self.need(format!("${name} is not in the text"))))
            }
            found => Ok(found),
        }
    }

    pub(super) fn positionals(&self) -> Result<&[String], Stop> {
        if self.positional_known || !self.positional.is_empty() {
            return Ok(&self.positional);
        }
        Err(Stop::Unknown(self.need("the arguments of makepkg are not in the text")))
    }

    /// Applies what `declare -i`, `-l` and `-u` ask for.
    fn shaped(&mut self, name: &str, text: String) -> Result<String, Stop> {
        let Some(variable) = self.variables.get(name) else { return Ok(text) };
        let (integer, lower, upper) = (variable.integer, variable.lower, variable.upper);
        Ok(match (integer, lower, upper) {
            (true, ..) => self.arithmetic(&text)?.to_string(),
            (_, true, _) => text.to_lowercase(),
            (_, _, true) => text.to_uppercase(),
            _ => text,
        })
    }

    pub(super) fn assign_scalar(&mut self, name: &str, text: String) -> Result<(), Stop> {
        let name = self.resolve(name);
        if let Some((array, subscript)) = name.split_once('[') {
            let subscript = subscript.trim_end_matches(']').to_owned();
            let array = array.to_owned();
            return self.assign_element(&array, &subscript, text, false);
        }
        if !is_name(&name) {
            return Err(Stop::Run(self.need(format!("`{name}` cannot be assigned to"))));
        }
        self.check_writable(&name)?;
        let text = self.shaped(&name, text)?;
        self.budget.spend(text.len())?;
        let variable = self.variables.entry(name).or_insert_with(|| Variable::new(Value::Unset));
        match &mut variable.value {
            Value::Indexed(elements) => {
                self.budget.copy(elements.shared())?;
                elements.insert(0, text);
            }
            Value::Assoc(table) => table.insert("0".to_owned(), text),
            value => *value = Value::Scalar(text),
        }
        Ok(())
    }

    pub(super) fn check_writable(&self, name: &str) -> Result<(), Stop> {
        match self.variables.get(name) {
            Some(variable) if variable.readonly => {
                Err(Stop::Run(self.need(format!("{name} is read-only, yet assigned to"))))
            }
            _ => Ok(()),
        }
    }

    /// Stores that a variable's value is not known.
    pub(super) fn assign_unknown(&mut self, name: &str, need: Need) {
        let name = self.resolve(name);
        let variable = self.variables.entry(name).or_insert_with(|| Variable::new(Value::Unset));
        variable.value = Value::Unknown(need);
    }

    pub(super) fn assign_element(
        &mut self,
        name: &str,
        subscript: &str,
        text: String,
        append: bool,
    ) -> Result<(), Stop> {
        let name = self.resolve(name);
        self.check_writable(&name)?;
        self.budget.spend(text.len() + 16)?;
        if let Some(Variable { value: Value::Assoc(_), .. }) = self.variables.get(&name) {
            let key = self.string(subscript)?;
            if key.is_empty() {
                return Err(Stop::Run(self.need(format!("{name}[{subscript}] has an empty subscript"))));
            }
            if let Some(Variable { value: Value::Assoc(table), .. }) = self.variables.get_mut(&name) {
                self.budget.copy(table.weight())?;
                let old = if append { table.get(&key).unwrap_or_default().to_owned() } else { String::new() };
                table.insert(key, old + &text);
            }
            return Ok(());
        }
        let mut index = self.arithmetic(subscript)?;
        let integer = self.variables.get(&name).is_some_and(|variable| variable.integer);
        let mut elements = match self.variables.get(&name).map(|variable| &variable.value) {
            Some(Value::Unknown(need)) => return Err(Stop::Unknown(need.clone())),
            Some(Value::Indexed(_)) => {
                match self.variables.get_mut(&name).map(|v| std::mem::replace(&mut v.value, Value::Unset)) {
                    Some(Value::Indexed(elements)) => elements,
                    _ => Elements::default(),
                }
            }
            Some(Value::Scalar(text)) => Elements::first_of(text.clone()),
            _ => Elements::default(),
        };
        if index < 0 {
            index += elements.keys().next_back().map_or(0, |last| last + 1);
        }
        if index < 0 {
            self.put(&name, Value::Indexed(elements));
            return Err(Stop::Run(self.need(format!("{name}[{subscript}] is before the array's start"))));
        }
        self.budget.copy(elements.shared())?;
        let old = elements.get(&index).cloned().unwrap_or_default();
        let text = match (append, integer) {
            (true, false) => old + &text,
            (true, true) => (self.arithmetic(&old)?.wrapping_add(self.arithmetic(&text)?)).to_string(),
            (false, true) => self.arithmetic(&text)?.to_string(),
            (false, false) => text,
        };
        elements.insert(index, text);
        self.put(&name, Value::Indexed(elements));
        Ok(())
    }

    /// The index that is meant: a negative one counts from behind the last element.
    pub(super) fn element_index(&self, name: &str, index: i64) -> i64 {
        match self.variables.get(&self.resolve(name)).map(|variable| &variable.value) {
            Some(Value::Indexed(elements)) if index < 0 => {
                index.saturating_add(elements.keys().next_back().map_or(0, |last| last + 1))
            }
            _ => index,
        }
    }

    /// Replaces a value and keeps the attributes.
    pub(super) fn put(&mut self, name: &str, value: Value) {
        let name = self.resolve(name);
        self.variables.entry(name).or_insert_with(|| Variable::new(Value::Unset)).value = value;
    }

    /// Carries out an assignment as it is written; an unknown value is stored as unknown.
    pub(crate) fn assign_word(&mut self, word: &Word) -> Result<(), Stop> {
        self.line = word.line;
        self.budget.line = word.line;
        let Some(found) = assignment(&word.text) else { return Ok(()) };
        let name = found.name.to_owned();
        match self.try_assign(word) {
            Err(Stop::Unknown(need)) => {
                let elements = word.elements.iter().flatten().any(|element| has_effects(&element.text));
                if elements || has_effects(found.value) {
                    return Err(Stop::Run(need));
                }
                self.assign_unknown(&name, need);
                Ok(())
            }
            other => other,
        }
    }

    fn try_assign(&mut self, word: &Word) -> Result<(), Stop> {
        let Some(found) = assignment(&word.text) else { return Ok(()) };
        if let Some(elements) = &word.elements {
            if found.subscript.is_some() {
                return Err(Stop::Run(self.need("an array inside an array")));
            }
            return self.assign_array(found.name, elements, found.append);
        }
        let text = self.assigned_string(found.value)?;
        if let Some(subscript) = found.subscript {
            return self.assign_element(found.name, subscript, text, found.append);
        }
        if !found.append {
            return self.assign_scalar(found.name, text);
        }
        let name = self.resolve(found.name);
        self.check_writable(&name)?;
        if let Some(Variable { value: Value::Scalar(old), integer: false, lower: false, upper: false, .. }) =
            self.variables.get_mut(&name)
        {
            self.budget.spend(text.len())?;
            old.push_str(&text);
            return Ok(());
        }
        let old = self.lookup_for_append(&name)?;
        let integer = self.variables.get(&name).is_some_and(|variable| variable.integer);
        let text = if integer {
            (self.arithmetic(&old)?.wrapping_add(self.arithmetic(&text)?)).to_string()
        } else {
            old + &text
        };
        self.assign_scalar(&name, text)
    }

    fn lookup_for_append(&self, name: &str) -> Result<String, Stop> {
        Ok(self.lookup(name)?.and_then(|variable| variable.value.first()).unwrap_or_default().to_owned())
    }

    pub(super) fn assign_array(&mut self, name: &str, elements: &[Word], append: bool) -> Result<(), Stop> {
        let name = self.resolve(name);
        self.check_writable(&name)?;
        let integer = self.variables.get(&name).is_some_and(|variable| variable.integer);
        if let Some(Variable { value: Value::Assoc(_), .. }) = self.variables.get(&name) {
            return self.assign_table(&name, elements, append);
        }
        // All words are expanded before the array takes its new values.
        let (mut items, mut missing) = (Vec::new(), Missing::default());
        for element in elements {
            self.line = element.line;
            self.budget.line = element.line;
            if element.elements.is_some() {
                return Err(Stop::Run(self.need("an array inside an array")));
            }
            items.extend(missing.hold(self.items(element))?.unwrap_or_default());
        }
        missing.end()?;
        // Subscripts and numbers may ask for the elements that are there already.
        let asked = integer || items.iter().any(|item| matches!(item, Item::Keyed(..)));
        let mut array = if append { self.elements_to_extend(&name, asked)? } else { Elements::default() };
        self.budget.copy(array.shared())?;
        let mut index = array.keys().next_back().map_or(0, |last| last + 1);
        for item in items {
            let (text, add) = match item {
                Item::Plain(text) => (text, false),
                Item::Keyed(line, key, add, text) => {
                    self.line = line;
                    let mut place = self.arithmetic(&key)?;
                    if place < 0 {
                        place += array.keys().next_back().map_or(0, |last| last + 1);
                    }
                    // Bash says that one before the start is no subscript, and goes on.
                    if place < 0 {
                        continue;
                    }
                    index = place;
                    (text, add)
                }
            };
            self.budget.spend(text.len() + 16)?;
            let old = if add { array.get(&index).cloned().unwrap_or_default() } else { String::new() };
            let text = match (integer, add) {
                (false, _) => old + &text,
                (true, true) => (self.arithmetic(&old)?.wrapping_add(self.arithmetic(&text)?)).to_string(),
                (true, false) => self.arithmetic(&text)?.to_string(),
            };
            array.insert(index, text);
            index += 1;
        }
        if let Some(variable) = self.variables.get(&name) {
            let (lower, upper) = (variable.lower, variable.upper);
            if lower || upper {
                for text in array.values_mut() {
                    *text = if lower { text.to_lowercase() } else { text.to_uppercase() };
                }
            }
        }
        self.put(&name, Value::Indexed(array));
        Ok(())
    }

    /// The elements that an array is given more of; they stay where they are if they are asked for before it has them.
    fn elements_to_extend(&mut self, name: &str, asked: bool) -> Result<Elements, Stop> {
        match self.lookup(name)?.map(|variable| &variable.value) {
            Some(Value::Indexed(old)) if asked => return Ok(old.clone()),
            Some(Value::Scalar(text)) => return Ok(Elements::first_of(text.clone())),
            Some(Value::Indexed(_)) => {}
            _ => return Ok(Elements::default()),
        }
        match self.variables.get_mut(name).map(|variable| std::mem::replace(&mut variable.value, Value::Unset)) {
            Some(Value::Indexed(old)) => Ok(old),
            _ => Ok(Elements::default()),
        }
    }

    /// What one word between the parentheses of an array becomes.
    fn items(&mut self, element: &Word) -> Result<Vec<Item>, Stop> {
        let Some((subscript, add, value)) = keyed(&element.text) else {
            return Ok(self.fields(&element.text)?.into_iter().map(Item::Plain).collect());
        };
        // Where braces are expanded, an index is none.
        let words = braces::expand(&element.text, &mut self.budget)?;
        if words.len() == 1 {
            let key = self.string(subscript)?;
            let text = self.element_string(value)?;
            // Bash says that an empty one is no subscript, and goes on.
            let found = (!key.is_empty()).then_some(Item::Keyed(element.line, key, add, text));
            return Ok(found.into_iter().collect());
        }
        // They are words like any other, but none of them is taken away because no file matches it.
        let nullglob = std::mem::replace(&mut self.switches.nullglob, false);
        let fields: Result<Vec<_>, Stop> = words.iter().map(|word| self.fields(word)).collect();
        self.switches.nullglob = nullglob;
        Ok(fields?.into_iter().flatten().map(Item::Plain).collect())
    }

    fn assign_table(&mut self, name: &str, elements: &[Word], append: bool) -> Result<(), Stop> {
        let mut table = match self.variables.get(name) {
            Some(Variable { value: Value::Assoc(old), .. }) if append => old.clone(),
            _ => Assoc::default(),
        };
        let mut plain = Vec::new();
        for element in elements {
            self.budget.spend(element.text.len() + 16)?;
            self.budget.copy(table.weight())?;
            if let Some((subscript, add, value)) = keyed(&element.text) {
                let key = self.string(subscript)?;
                if key.is_empty() {
                    // Bash says that it is no subscript, and goes on.
                    continue;
                }
                let text = self.assigned_string(value)?;
                let old = if add { table.get(&key).unwrap_or_default().to_owned() } else { String::new() };
                table.insert(key, old + &text);
            } else {
                plain.extend(self.fields(&element.text)?);
            }
        }
        for pair in plain.chunks(2) {
            self.budget.copy(table.weight())?;
            table.insert(pair[0].clone(), pair.get(1).cloned().unwrap_or_default());
        }
        self.put(name, Value::Assoc(table));
        Ok(())
    }
}

/// An element of an array that is assigned.
enum Item {
    /// A word, behind the one before it.
    Plain(String),
    /// `[index]=value` or `[index]+=value` on a line, with the index's text and the value as they are now.
    Keyed(usize, String, bool, String),
}

/// Takes `[subscript]=value` and `[subscript]+=value` apart.
pub(super) fn keyed(text: &str) -> Option<(&str, bool, &str)> {
    if !text.starts_with('[') {
        return None;
    }
    // A name in front makes it an assignment.
    let whole = format!("a{text}");
    let found = assignment(&whole)?;
    let length = found.subscript?.len();
    let value = found.value.len();
    Some((&text[1..=length], found.append, &text[text.len() - value..]))
}

#[cfg(test)]
mod tests {
    use crate::shell::evaluate::held;

    #[test]
    fn blanks_join_a_list_in_an_element_where_there_are_no_separators() {
        let cases: [(&str, &[&str]); 6] = [
            ("y=(a b); IFS=; x=([2]=${y[*]})", &["a b"]),
            ("y=(a b); IFS=; x=([2]+=${y[*]}c)", &["a bc"]),
            ("y=(a b); IFS=; x=([2]=\"${y[*]}\"${y[*]})", &["aba b"]),
            ("y=(a b); IFS=:; x=([2]=${y[*]})", &["a:b"]),
            ("y=(a b); IFS=; x=${y[*]}", &["ab"]),
            ("y=(a b); IFS=; declare -A x; x=([k]=${y[*]})", &["ab"]),
        ];
        for (text, expected) in cases {
            assert_eq!(held(text, "x"), expected, "{text}");
        }
    }

    #[test]
    fn an_element_with_an_empty_subscript_is_left_out() {
        let cases: [(&str, &[&str]); 3] = [
            ("x=([0]=k [\"$a\"]=l [-2]=m)", &["k"]),
            ("x=([3]=k [\"\"]=l m)", &["k", "m"]),
            ("x=([0]=k [$a]+=l)", &["k"]),
        ];
        for (text, expected) in cases {
            assert_eq!(held(text, "x"), expected, "{text}");
        }
    }
}
