// converters/tests/fuzz/commands.rs
//! Builtins, conditions and here-documents.

use super::{EXTENDED, SCALARS, VALUES, Writer, quoted};

impl Writer {
    /// Commands that print.
    pub(super) fn printing(&mut self) -> String {
        self.depth += 1;
        let text = match self.random.below(12) {
            0..=2 => format!("echo {} {}", self.random.of(&["", "-n", "-e", "-E", "-ne"]), self.words(3)),
            3 => "echo -e 'a\\tb\\x41\\0101\\n\\\\'".to_owned(),
            4..=6 => self.printf(""),
            7 if self.depth < 4 => {
                let statement = self.statement();
                // Bash does not always find the end of a list in a substitution, where quotes stand in it.
                let statement = if statement.contains("=(") { self.assignment_of_text() } else { statement };
                format!(" {statement}; echo {}", self.words(2))
            }
            8 => format!("[[ {} ]] && echo yes || echo no", self.condition()),
            9 => format!("printf '%s\\n' {}", self.words(3)),
            10 => format!("for k in {}; do printf '<%s>' \"$k\"; done", self.words(3)),
            _ => format!("echo {}", self.word_in_list()),
        };
        self.depth -= 1;
        text
    }

    pub(super) fn printf(&mut self, options: &str) -> String {
        let format = match self.random.below(6) {
            0 => self.random.of(&[
                "'%s.%s\\n'",
                "'%5s|%-5s|'",
                "'%.2s'",
                "'%b'",
                "'%q '",
                "'%%%s'",
                "'%c'",
                "'\\x41\\101\\n%s'",
                "'%*s'",
                "'%-*s|'",
                "'%s'",
            ]),
            1 => self.random.of(&["'[%s]'", "'%s\\t'", "\"%s\\n\"", "'%5.1s'", "%s", "'%s %s %s\\n'"]),
            _ => {
                let number = self.random.of(&[
                    "'%d'", "'%03d'", "'%x'", "'%X'", "'%o'", "'%+d'", "'%5d|'", "'%-5d|'", "'%#x'", "'%i,'", "'% d'",
                    "'%.3d'",
                ]);
                let values = self.random.of(&["1", "42", "-7", "0x1f", "017", "\"'a\"", "1 2 3", "''"]);
                return format!("printf {options} {number} {values}");
            }
        };
        format!("printf {options} {format} {}", self.words(4))
    }

    pub(super) fn condition(&mut self) -> String {
        self.depth += 1;
        let text = match self.random.below(16) {
            0 => format!("{} {}", self.random.of(&["-n", "-z"]), self.word_in_list()),
            1 => format!("-v {}", self.random.of(&["a", "e", "x", "x[1]", "m[k]", "nope", "y[0]", "x[@]"])),
            2 | 3 => {
                format!("{} {} {}", self.word_in_list(), self.random.of(&["==", "=", "!="]), self.pattern_word(true))
            }
            4 => {
                let right = self.random.of(&[
                    "^[0-9]+",
                    "([a-z]+)-([a-z_]+)",
                    "\"$b\"",
                    "^(.*)\\.([0-9]+)$",
                    "o{1,2}",
                    "^$",
                    "[[:space:]]",
                    "(foo|bar)",
                    "x|y",
                    "^v?([0-9]+)\\.([0-9]+)",
                    "'.'",
                    "[^a-z]",
                    "(a|ab)(c|bcd)?",
                    "\\.",
                    "$d",
                ]);
                format!("{} =~ {right}", self.word_in_list())
            }
            5 => format!(
                "{} {} {}",
                self.random.of(&["i", "j", "3", "$n"]),
                self.random.of(&["-eq", "-ne", "-lt", "-le", "-gt", "-ge"]),
                self.random.of(&["2", "n", "i+1", "$j"])
            ),
            6 => format!("{} {} {}", self.word_in_list(), self.random.of(&["<", ">"]), self.word_in_list()),
            7 if self.depth < 4 => format!("! {}", self.condition()),
            8 if self.depth < 4 => format!("( {} )", self.condition()),
            9 | 10 if self.depth < 4 => {
                format!("{} {} {}", self.condition(), self.random.of(&["&&", "||"]), self.condition())
            }
            _ => format!("{} == {}", self.parameter(false), self.pattern_word(true)),
        };
        self.depth -= 1;
        text
    }

    /// A pattern behind `in` or `==`; the latter knows the extended ones always.
    pub(super) fn pattern_word(&mut self, extended: bool) -> String {
        let piece =
            if extended && self.random.one_in(4) { self.random.of(&EXTENDED).to_owned() } else { self.pattern() };
        piece.replace(' ', "\\ ")
    }

    pub(super) fn test(&mut self) -> String {
        let words = ["a", "''", "\"$a\"", "\"$b\"", "1", "\"${x[0]}\"", "foo"];
        let (left, right) = (self.random.of(&words), self.random.of(&words));
        let inner = match self.random.below(7) {
            0 => format!("{} {left}", self.random.of(&["-n", "-z", "! -n", "! -z"])),
            1 | 2 => format!("{left} {} {right}", self.random.of(&["=", "!=", "==", "\\<", "\\>"])),
            3 => format!(
                "{} {} {}",
                self.random.of(&["1", "$((i))", "-2"]),
                self.random.of(&["-eq", "-ne", "-lt", "-le", "-gt", "-ge"]),
                self.random.below(4)
            ),
            4 => left.to_owned(),
            5 => format!("{left} = {right} {} -n {left}", self.random.of(&["-a", "-o"])),
            _ => format!("! {left} = {right}"),
        };
        if self.random.one_in(2) { format!("[ {inner} ]") } else { format!("test {inner}") }
    }

    pub(super) fn command_condition(&mut self) -> String {
        match self.random.below(8) {
            0..=3 => format!("[[ {} ]]", self.condition()),
            4 => self.test(),
            5 => format!("(( {} ))", self.arithmetic()),
            6 => self.random.of(&["true", "false", "! true", "true && false", "false || true", "! false"]).to_owned(),
            _ => format!("[[ {} ]] {} [[ {} ]]", self.condition(), self.random.of(&["&&", "||"]), self.condition()),
        }
    }

    pub(super) fn read(&mut self) -> String {
        let names = self.random.of(&["a", "a b", "a b c", "-r s", "-r a b", "-ra y", "-a z", "", "-r"]);
        match self.random.below(3) {
            0 => format!("read {names} <<< ''{}", self.assigned()),
            1 => format!("read {names} < <({})", self.printing()),
            _ => format!(
                "read -d '' {} <<EOF\n{}\nEOF",
                names,
                self.random.of(&["a b\nc", "$a x", "one  two\tthree ", "\\$a `echo q`"])
            ),
        }
    }

    pub(super) fn document(&mut self) -> String {
        let tag = self.random.of(&["EOF", "'EOF'", "\"EOF\"", "\\EOF"]);
        let dash = if self.random.one_in(3) { "-" } else { "" };
        let mut body = String::new();
        for _ in 0..self.random.below(4) {
            let line = match self.random.below(6) {
                0 => "\ttabbed".to_owned(),
                1 => self
                    .random
                    .of(&[
                        "it's",
                        "\"quoted\"",
                        "a \\",
                        "\\$a",
                        "\\\\",
                        "$(echo sub)",
                        "`echo tick`",
                        "'$a'",
                        "${a:-\"x\"}",
                        "${e:-'}'}",
                    ])
                    .to_owned(),
                2 => self.parameter(true),
                3 => format!("$(({}))", self.arithmetic()),
                _ => self.random.of(&VALUES).to_owned(),
            };
            body.push_str(&line);
            body.push('\n');
        }
        // A line that ends in a backslash would swallow the end.
        let body = body.replace("\\\nEOF", "\\ \nEOF");
        let body = if body.ends_with("\\\n") { format!("{body}x\n") } else { body };
        format!("s=$(while read -r line; do printf '%s|' \"$line\"; done <<{dash}{tag}\n{body}EOF\n)")
    }

    pub(super) fn declaration(&mut self) -> String {
        match self.random.below(10) {
            0 => format!("declare {}={}", self.random.of(&SCALARS), self.assigned()),
            1 => format!("declare -i n={}", self.random.of(&["3+4", "i*2", "0x10", "'2 + 2'"])),
            2 => format!("declare -l d={}", quoted(self.random.of(&VALUES))),
            3 => format!("declare -u e={}", quoted(self.random.of(&VALUES))),
            4 => format!("declare -a z=({})", self.elements()),
            5 => format!("export {}={}", self.random.of(&SCALARS), self.assigned()),
            6 => "declare -i n; n+=5".to_owned(),
            7 => format!("typeset {}", self.random.of(&["a", "e", "-a y", "-x b"])),
            8 => "declare -n reference=a; reference+=z; unset -n reference".to_owned(),
            _ => format!(
                "declare {}={} {}={}",
                self.random.of(&SCALARS),
                self.assigned(),
                self.random.of(&SCALARS),
                self.assigned()
            ),
        }
    }
}
